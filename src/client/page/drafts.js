/**
 * Drafts of the forms that ask for it: sealed with a key that only the user's next log-in brings back.
 *
 * A draft is `<time>.<sealed fields>` in `localStorage`, under user, path and the form's key. What cannot be sealed is in
 * `sessionStorage`, if the page asks for it; and under the session, if no user is known.
 */

import { doc, onSite, plain } from './dom.js';
import { FORM, OF_SESSION, PREFIX, SUBMITTED } from './names.js';

/**
 * What this needs of the script that loads it.
 * @typedef {object} Page
 * @property {string} base
 * @property {typeof import('./view.js').button} button
 * @property {typeof import('./view.js').element} element
 * @property {typeof import('./messages.js').english} english
 * @property {typeof import('./options.js').fire} fire
 * @property {typeof import('./messages.js').message} message
 * @property {typeof import('./options.js').option} option
 * @property {() => boolean} isClosed nothing is to be saved any more
 * @property {ShadowRoot} root
 * @property {typeof import('./view.js').sheet} sheet
 * @property {typeof import('./view.js').show} show
 */

const KEPT_FOR = 24 * 3_600_000;
const LARGEST = 64 * 1024;
const LARGEST_IN_ALL = 512 * 1024;
const NEVER = /(^|\s)(\S*-password|one-time-code|cc-\S*)(\s|$)/i;

/**
 * A field: its name, which of that name it is, its value, and the value it was rendered with.
 * @typedef {[name: string, index: number, value: unknown, rendered: unknown]} Field
 * @typedef {HTMLInputElement & HTMLSelectElement & HTMLTextAreaElement} Control
 * @typedef {{ expired: boolean, fields: Field[] }} Draft
 */

const ENGLISH = {
  restored: 'We restored your unsaved entries.',
  undo: 'Undo',
  found: 'There are unsaved entries.',
  restore: 'Restore',
  discard: 'Discard',
};

const STYLE = `.bar{box-sizing:border-box;border:1px solid var(--st-border,GrayText);background:var(--st-bg,Canvas);color:var(--st-fg,CanvasText);border-radius:var(--st-radius,.5rem);position:fixed;inset-inline:1rem;bottom:1rem;z-index:var(--st-z,2147483647);display:flex;flex-wrap:wrap;gap:.75rem;align-items:center;padding:.75rem 1rem}`;

/** @type {Page} */
let page;
/** Whose drafts these are: a user's, or a session's. @type {string | undefined} */
let owner;
/** @type {CryptoKey | undefined} */
let key;
/** @type {Storage | undefined} */
let storage;
/** What was once a password stays one, however it is shown now. @type {WeakSet<Element>} */
const secrets = new WeakSet();
/** @type {WeakMap<HTMLFormElement, string>} */
const saved = new WeakMap();

/** Not those of anybody's markup that lead to another site. */
const forms = () =>
  [.../** @type {NodeListOf<HTMLFormElement>} */ (doc.querySelectorAll(FORM))].filter((form) =>
    onSite(plain(form).action),
  );

/** @param {HTMLFormElement} form */
const keyOf = (form) => plain(form).dataset.sessionDraft;

/** @param {string | undefined} whose */
const isOfSession = (whose) => !!whose?.startsWith(OF_SESSION);

/** @param {HTMLFormElement} form */
const place = (form) => PREFIX + owner + ':' + location.pathname + ':' + keyOf(form);

/** @param {unknown} problem */
const failed = (problem) => {
  page.fire('draft-error', { problem: String(problem) });
  return false;
};

/** @param {ArrayBuffer | Uint8Array} bytes */
const toText = (bytes) => btoa(Array.from(new Uint8Array(bytes), (byte) => String.fromCharCode(byte)).join(''));
/** @param {string} text */
const toBytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

/** @param {Element} element */
const noteSecret = (element) => {
  if (/** @type {HTMLInputElement} */ (element).type === 'password') secrets.add(element);
};

/** @param {Control} control */
const mayBeKept = (control) =>
  control.name &&
  !control.disabled &&
  !secrets.has(control) &&
  control.dataset.sessionDraft !== 'off' &&
  !/^(password|file|hidden|submit|button|reset|image|fieldset|output|object)$/.test(control.type) &&
  // Not the property: where a browser does not know the word, that is empty.
  !NEVER.test(control.getAttribute('autocomplete') ?? '');

/**
 * What a control holds, and what it was rendered with.
 * @param {Control} control
 * @returns {[unknown, unknown]}
 */
const read = (control) => {
  if (/^(checkbox|radio)$/.test(control.type)) return [control.checked, control.defaultChecked];
  if (control.options) {
    /** @param {'selected' | 'defaultSelected'} which */
    const chosen = (which) => [...control.options].filter((it) => it[which]).map((it) => it.value);
    const rendered = chosen('defaultSelected');
    // A list without a choice shows its first option.
    return [
      chosen('selected'),
      rendered.length || control.multiple ? rendered : [control.options[0]?.value].filter((it) => it != null),
    ];
  }
  return [control.value, control.defaultValue];
};

/** @type {WeakMap<Element, string>} */
const renderedText = new WeakMap();

/**
 * @param {HTMLFormElement} form
 * @returns {[name: string, field: HTMLElement, value: unknown, rendered: unknown][]}
 */
const fieldsOf = (form) => {
  const controls = /** @type {Control[]} */ ([...plain(form).elements]);
  controls.forEach(noteSecret);
  const editable = /** @type {NodeListOf<HTMLElement>} */ (
    plain(form).querySelectorAll('[contenteditable][data-session-draft-field]')
  );
  return [
    ...controls.filter(mayBeKept).map((it) => /** @type {const} */ ([it.name, it, ...read(it)])),
    ...[...editable].map((it) => {
      if (!renderedText.has(it)) renderedText.set(it, it.innerText);
      return /** @type {const} */ ([
        it.dataset.sessionDraftField ?? '',
        it,
        it.innerText,
        renderedText.get(it),
      ]);
    }),
  ].map(([name, field, value, rendered]) => [name, field, value, rendered]);
};

/** @param {unknown} a @param {unknown} b */
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** @param {HTMLFormElement} form */
const isDirty = (form) => fieldsOf(form).some(([, , value, rendered]) => !same(value, rendered));

/** @param {HTMLFormElement} form @returns {Field[]} */
const contents = (form) => {
  /** @type {Record<string, number>} */
  const seen = Object.create(null);
  return fieldsOf(form).map(([name, , value, rendered]) => {
    seen[name] = (seen[name] ?? -1) + 1;
    return [name, seen[name], value, rendered];
  });
};

/** @param {string} text */
const seal = async (text) => {
  const bytes = new TextEncoder().encode(text);
  if (bytes.length > LARGEST) throw new RangeError('a draft is larger than 64 KiB');
  if (!key) return toText(bytes);
  const iv = crypto.getRandomValues(new Uint8Array(12));
  return toText(iv) + '.' + toText(await crypto.subtle.encrypt({ name: 'AES-GCM', iv }, key, bytes));
};

/** @param {string} stored @returns {Promise<Draft | undefined>} */
const unseal = async (stored) => {
  const [, first, second] = stored.split('.');
  try {
    const bytes = key
      ? await crypto.subtle.decrypt({ name: 'AES-GCM', iv: toBytes(first) }, key, toBytes(second))
      : toBytes(first);
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    // Sealed with a key that is gone, or damaged.
    return undefined;
  }
};

/**
 * All drafts there are, of whomever.
 * @param {Storage | undefined} kept
 */
const places = (kept = storage) => Object.keys(kept ?? {}).filter((name) => name.startsWith(PREFIX));

/** @param {string} name */
const drop = (name) => storage?.removeItem(name);

/**
 * Saves one form. A form as it was rendered needs no draft.
 * @param {HTMLFormElement} form
 * @param {boolean} [expired]
 * @returns {Promise<boolean>} whether nothing of it can be lost
 */
const save = async (form, expired = false) => {
  if (!isDirty(form)) {
    if (saved.get(form)) drop(place(form));
    saved.delete(form);
    return true;
  }
  if (page.isClosed() || !storage) return false;
  const text = JSON.stringify({ expired, fields: contents(form) });
  if (saved.get(form) === text) return true;
  try {
    const sealed = Date.now() + '.' + (await seal(text));
    const others = places().filter((name) => name !== place(form));
    const used = others.reduce((sum, name) => sum + (storage?.getItem(name)?.length ?? 0), sealed.length);
    if (used > LARGEST_IN_ALL) throw new RangeError('all drafts are larger than 512 KiB');
    storage.setItem(place(form), sealed);
    saved.set(form, text);
    page.fire('draft-saved', { key: keyOf(form) });
    return true;
  } catch (problem) {
    return failed(problem);
  }
};

/**
 * Saves all of them.
 * @param {boolean} [expired] the session is over: the draft may be filled in again unasked
 * @returns {Promise<boolean>} whether the page can be left without loss, by what its forms show
 */
const flush = async (expired) => {
  const results = await Promise.all(forms().map((form) => save(form, expired)));
  const others = [...doc.forms].filter((form) => !plain(form).matches(FORM));
  // A session's draft goes with it.
  if (expired && isOfSession(owner)) others.push(...forms());
  return results.every(Boolean) && !others.some(isDirty);
};

/**
 * @param {HTMLFormElement} form
 * @param {Field[]} fields
 */
const fill = (form, fields) => {
  const now = contents(form);
  fieldsOf(form).forEach(([, element], position) => {
    const [name, index] = now[position];
    const field = fields.find(([other, at]) => other === name && at === index);
    if (!field || same(field[2], now[position][2])) return;
    const control = /** @type {Control} */ (element);
    const value = field[2];
    if (typeof value === 'boolean') control.checked = value;
    else if (Array.isArray(value)) {
      for (const it of control.options) it.selected = value.includes(it.value);
    } else if (control.form) control.value = String(value);
    else element.innerText = String(value);
    for (const type of ['input', 'change']) element.dispatchEvent(new Event(type, { bubbles: true }));
  });
};

/**
 * The bar that tells of drafts. A live region tells only what changes once it is there.
 * @param {string} text
 * @param {[name: string, press: () => void][]} actions
 */
const bar = (text, actions) => {
  page.show();
  page.root.querySelector('.bar')?.remove();
  const made = page.element('div', 'bar', { role: 'status' });
  page.root.append(made);
  setTimeout(() => {
    made.append(
      page.element('span', 'text', {}, text),
      ...actions.map(([name, press]) =>
        page.button(name, name, () => {
          made.remove();
          press();
        }),
      ),
    );
  });
};

/** @param {HTMLFormElement} form */
const restore = async (form) => {
  const name = place(form);
  const stored = storage?.getItem(name);
  const draft = stored && (await unseal(stored));
  if (!draft || page.isClosed()) return;
  const before = contents(form);
  if (same(before.map(([, , value]) => value), draft.fields.map(([, , value]) => value))) return;
  const apply = () => fill(form, draft.fields);
  const discard = () => {
    fill(form, before);
    drop(name);
    saved.delete(form);
  };
  if (!page.fire('draft-restore', { key: keyOf(form), restore: apply, discard })) return;
  const untouched = !isDirty(form) && same(before.map((it) => it[3]), draft.fields.map((it) => it[3]));
  if (draft.expired && untouched) {
    apply();
    bar(page.message('restored'), [['undo', discard]]);
  } else {
    bar(page.message('found'), [
      ['restore', apply],
      ['discard', discard],
    ]);
  }
};

const submittedPlaces = () => (sessionStorage.getItem(SUBMITTED) ?? '').split('\n').filter(Boolean);

/** @param {string[]} submitted */
const setSubmitted = (submitted) => {
  if (submitted.length) sessionStorage.setItem(SUBMITTED, submitted.join('\n'));
  else sessionStorage.removeItem(SUBMITTED);
};

/**
 * Drafts that were submitted from this tab, and whose page has gone by: the server has them. A form that was refused may
 * be shown again under another path, and be submitted from there.
 */
const settleSubmitted = () => {
  const [navigation] = /** @type {PerformanceNavigationTiming[]} */ (performance.getEntriesByType('navigation'));
  const refused = navigation?.responseStatus >= 400;
  const left = submittedPlaces().filter((submitted) => {
    const form = forms().find((it) => place(it) === submitted);
    if (refused || (form && isDirty(form))) return true;
    drop(submitted);
    return false;
  });
  setSubmitted(left);
};

/** @param {string} name of a form */
const clear = (name) => {
  for (const stored of places()) if (stored.endsWith(':' + name)) drop(stored);
};

/** Fetches the key, and throws away what is too old, or can be nobody's any more. */
const open = async () => {
  for (const name of places(localStorage)) {
    const age = Date.now() - parseInt(localStorage.getItem(name) ?? '');
    if (!(age < KEPT_FOR)) localStorage.removeItem(name);
  }
  for (const name of places(sessionStorage)) {
    const whose = name.slice(PREFIX.length).split(':')[0];
    // After a user's session there may be one that no user is known of yet, on the page where they log in.
    if (whose !== owner && (isOfSession(whose) || !isOfSession(owner))) sessionStorage.removeItem(name);
  }
  if (!isOfSession(owner) && crypto.subtle) {
    const answer = await fetch(page.base + 'draft-key', { cache: 'no-store' });
    if (answer.ok) {
      const secret = toBytes((await answer.json()).key.replace(/-/g, '+').replace(/_/g, '/'));
      key = await crypto.subtle.importKey('raw', secret, 'AES-GCM', false, ['encrypt', 'decrypt']);
      storage = localStorage;
    }
  }
  if (!key && page.option('drafts') === 'tab') storage = sessionStorage;
  if (!storage && forms().length) failed('drafts need a user and a secure context');
};

/**
 * Looks for forms, and for what was kept of them.
 * @param {string} whose a user's digest, or a session's
 */
const scan = async (whose) => {
  try {
    const found = forms();
    // Notes what is a secret, and what an element for editing shows before anybody edits it.
    found.forEach(fieldsOf);
    if (!owner) {
      owner = whose;
      await open();
    }
    if (!storage || page.isClosed()) return;
    for (const it of doc.querySelectorAll('[data-session-draft-clear]')) {
      clear(it.getAttribute('data-session-draft-clear') ?? '');
    }
    settleSubmitted();
    for (const form of found) await restore(form);
  } catch (problem) {
    failed(problem);
  }
};

/**
 * Nothing of theirs stays.
 * @param {string | undefined} whose or how it begins
 */
const forget = (whose) => {
  for (const kept of [localStorage, sessionStorage]) {
    for (const name of places(kept)) if (name.startsWith(PREFIX + whose)) kept.removeItem(name);
  }
};

/** @param {HTMLFormElement} form */
const submitted = (form) => {
  if (!storage || page.isClosed()) return;
  setSubmitted([...new Set([...submittedPlaces(), place(form)])]);
  save(form);
};

/** @type {ReturnType<typeof setTimeout> | undefined} */
let pause;

/** @param {Event} event */
const changed = ({ target }) => {
  if (!(target instanceof HTMLElement)) return;
  noteSecret(target);
  const form = plain(/** @type {Control} */ (target)).form ?? plain(target).closest('form');
  if (form && plain(form).matches(FORM)) {
    clearTimeout(pause);
    // All of them: the pause is also that of a form left a moment ago.
    pause = setTimeout(flush, 800);
  }
};

/** @param {Page} of */
export const connect = (of) => {
  page = of;
  Object.assign(page.english, ENGLISH);
  page.root.adoptedStyleSheets = [...page.root.adoptedStyleSheets, page.sheet(STYLE)];
  addEventListener('input', changed, true);
  return { scan, flush, forget, clear, submitted };
};
