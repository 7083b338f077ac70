/**
 * Drafts of the forms that ask for it: sealed with a key that only the user's next log-in brings back.
 *
 * A draft is `<time>.<sealed fields>` in `localStorage`, under user, path and the form's key. What cannot be sealed is in
 * `sessionStorage`, if the page asks for it; and under the session, if no user is known.
 */

import { at } from './clock.js';
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
 * @property {(navigation: PerformanceNavigationTiming | undefined) => number} status of the answer that this page is; 0 if nobody says
 */

const KEPT_FOR = 24 * 3_600_000;
const LARGEST = 64 * 1024;
const LARGEST_IN_ALL = 512 * 1024;
const NEVER = /(^|\s)(\S*-password|one-time-code|cc-\S*)(\s|$)/i;

/**
 * A field: its name, which of that name it is, its value, and the value it was rendered with.
 * @typedef {[name: string, index: number, value: unknown, rendered: unknown]} Field
 * @typedef {HTMLInputElement & HTMLSelectElement & HTMLTextAreaElement} Control
 * Where a form leads to, without which it is not filled in: a form of anybody's markup can have the same name.
 * @typedef {{ expired: boolean, to: string, fields: Field[] }} Draft
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
let sealing;
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

/**
 * Where each of its buttons that has a say sends what is in it, wherever that button is in the page.
 * @param {HTMLFormElement} form
 */
const waysOut = (form) =>
  [.../** @type {NodeListOf<HTMLButtonElement>} */ (doc.querySelectorAll('[formaction]'))]
    .filter((button) => button.form === form)
    .map((button) => onSite(button.formAction));

/**
 * Whether it may be sent to another site.
 * @param {HTMLFormElement} form
 */
const leadsAway = (form) => !waysOut(form).every(Boolean);

/** @param {HTMLFormElement} form */
const destination = (form) => {
  const paths = [...new Set([onSite(plain(form).action), ...waysOut(form)].map((url) => url?.pathname))];
  paths.sort();
  return plain(form).method + ' ' + paths.join(' ');
};

/** The forms of this page that claim the same draft, this one included. @param {HTMLFormElement} form */
const claimants = (form) => forms().filter((other) => keyOf(other) === keyOf(form));

/**
 * Where a draft is: under its user, path and key, which is written so that no path and key make another pair.
 * @param {string | undefined} key
 * @param {string} [path]
 */
const placeOf = (key, path = location.pathname) => PREFIX + owner + ':' + path + ':' + encodeURIComponent(key ?? '');

/**
 * Where more than one form claims a draft, each has its own besides: by where it leads, and which of those it is.
 * @param {HTMLFormElement} form
 */
const place = (form) => {
  const alike = claimants(form);
  if (alike.length < 2) return placeOf(keyOf(form));
  const to = destination(form);
  const index = alike.filter((other) => destination(other) === to).indexOf(form);
  return placeOf(keyOf(form)) + '|' + encodeURIComponent(to) + '|' + index;
};

/**
 * When a draft was saved.
 * @param {string} name
 */
const timeOf = (name) => parseInt(storage?.getItem(name) ?? '');

/**
 * The drafts that may be this form's, the last one first.
 * @param {HTMLFormElement} form
 */
const candidates = (form) => {
  const shared = placeOf(keyOf(form));
  const own = place(form);
  const found = places().filter(
    (name) => name === shared || name === own || (own === shared && name.startsWith(shared + '|')),
  );
  found.sort((a, b) => timeOf(b) - timeOf(a));
  return found;
};

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
      rendered.length || control.multiple
        ? rendered
        : [[...control.options].find((it) => !it.disabled)?.value].filter((it) => it != null),
    ];
  }
  // As its type reads it: a range has a value where none was rendered.
  const fresh = /** @type {Control} */ (control.cloneNode());
  fresh.value = control.defaultValue;
  return [control.value, fresh.value];
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
  if (!sealing) return toText(bytes);
  const iv = crypto.getRandomValues(new Uint8Array(12));
  return toText(iv) + '.' + toText(await crypto.subtle.encrypt({ name: 'AES-GCM', iv }, sealing, bytes));
};

/** @param {string} stored @returns {Promise<Draft | undefined>} */
const unseal = async (stored) => {
  const [, first, second] = stored.split('.');
  try {
    const bytes = sealing
      ? await crypto.subtle.decrypt({ name: 'AES-GCM', iv: toBytes(first) }, sealing, toBytes(second))
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
  const text = JSON.stringify({ expired, to: destination(form), fields: contents(form) });
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
    const field = fields.find(([other, which]) => other === name && which === index);
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
  if (leadsAway(form)) return;
  /** @type {string | undefined} */
  let name;
  /** @type {Draft | undefined} */
  let draft;
  for (name of candidates(form)) {
    draft = await unseal(storage?.getItem(name) ?? '');
    if (draft?.to === destination(form)) break;
    draft = undefined;
  }
  if (!name || !draft || page.isClosed()) return;
  const [from, { fields, expired }] = [name, draft];
  const before = contents(form);
  if (same(before.map(([, , value]) => value), fields.map(([, , value]) => value))) return;
  // Its buttons may be others by the time that somebody is asked.
  const apply = () => {
    if (leadsAway(form)) return;
    earlier.set(form, [...(earlier.get(form) ?? []), from]);
    fill(form, fields);
  };
  const discard = () => {
    fill(form, before);
    drop(from);
    saved.delete(form);
  };
  if (!page.fire('draft-restore', { key: keyOf(form), restore: apply, discard })) return;
  const untouched = !isDirty(form) && same(before.map((it) => it[3]), fields.map((it) => it[3]));
  if (expired && untouched && claimants(form).length < 2) {
    apply();
    bar(page.message('restored'), [['undo', discard]]);
  } else {
    bar(page.message('found'), [
      ['restore', apply],
      ['discard', discard],
    ]);
  }
};

/**
 * A form on its way to the server from this tab.
 * @typedef {object} Submission
 * @property {string[]} places of its drafts
 * @property {string} form where it leads, by itself
 * @property {string} key
 * @property {string} session
 * @property {string} from the address of its page
 * @property {string} to
 * @property {boolean} isFramed
 * @property {number} at
 */

/** Drafts that a form has besides its own: those it was filled in from, or that were refused. @type {WeakMap<HTMLFormElement, string[]>} */
const earlier = new WeakMap();

/** Longer than it takes from a submission to the navigation. */
const AT_ONCE = 3000;

const isFramed = () => top !== self;

/** @param {string} url */
const bare = (url) => url.split('#')[0];

/**
 * What was sent is on the server for sure if this page is the answer to it, and neither an error, nor the log-in page, nor
 * of another session, nor the form once more. Whatever else happened, its draft stays.
 * @param {string} session of this page
 */
const settleSubmitted = (session) => {
  const kept = sessionStorage.getItem(SUBMITTED);
  if (!kept) return;
  /** @type {Submission} */
  const sent = JSON.parse(kept);
  if (sent.isFramed !== isFramed()) return;
  sessionStorage.removeItem(SUBMITTED);
  const [navigation] = /** @type {PerformanceNavigationTiming[]} */ (performance.getEntriesByType('navigation'));
  const { type, redirectCount } = navigation ?? {};
  const status = page.status(navigation);
  const [url, to] = [bare(location.href), bare(sent.to)];
  // Only as much of it as the site's policy lets through.
  const referrer = doc.referrer && new URL(doc.referrer);
  const isAnswer =
    type === 'navigate' &&
    Math.abs(at(0).wall - sent.at) < AT_ONCE &&
    (!referrer || referrer.href === location.origin + '/' || referrer.href === bare(sent.from)) &&
    // A second redirect may be that of a log-in page that has nothing to ask.
    (redirectCount === 1 || (!redirectCount && url === to));
  if (!isAnswer || !sent.places.every((it) => it.startsWith(PREFIX + owner + ':'))) return;
  const form = forms().find((it) => keyOf(it) === sent.key && destination(it) === sent.form);
  const isTaken =
    status >= 200 &&
    status < 400 &&
    sent.session === session &&
    onSite(page.option('login-url'))?.pathname !== location.pathname &&
    !(form && (!redirectCount || isDirty(form)));
  if (isTaken || isNamed(sent.key)) sent.places.forEach(drop);
  // Shown again, it may be under another path.
  else if (form) earlier.set(form, sent.places);
};

/**
 * Whether the answer says that it was taken. Markup of others may say so anywhere, hence only of what was sent.
 * @param {string} key
 */
const isNamed = (key) =>
  [...doc.querySelectorAll('[data-session-draft-clear]')].some(
    (it) => it.getAttribute('data-session-draft-clear') === key,
  );

/**
 * @param {string} key of a form
 * @param {string} [path] of its page
 */
const clear = (key, path) => {
  const shared = placeOf(key, path);
  for (const stored of places()) if (stored === shared || stored.startsWith(shared + '|')) drop(stored);
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
    const answer = await fetch(page.base + 'draft-key', {
      cache: 'no-store',
      redirect: 'manual',
      signal: AbortSignal.timeout(10_000),
    });
    if (answer.status !== 403 && answer.status !== 200) throw new Error('no key for drafts: ' + answer.status);
    if (answer.ok) {
      const secret = toBytes((await answer.json()).key.replace(/-/g, '+').replace(/_/g, '/'));
      sealing = await crypto.subtle.importKey('raw', secret, 'AES-GCM', false, ['encrypt', 'decrypt']);
      storage = localStorage;
    }
  }
  if (!sealing && page.option('drafts') === 'tab') storage = sessionStorage;
  if (!storage && forms().length) failed('drafts need a user and a secure context');
};

/**
 * Looks for forms, and for what was kept of them.
 * @param {string} whose a user's digest, or a session's
 * @param {string} session
 */
const scan = async (whose, session) => {
  try {
    const found = forms();
    // Notes what is a secret, and what an element for editing shows before anybody edits it.
    found.forEach(fieldsOf);
    owner = whose;
    if (!storage) await open();
    if (!storage || page.isClosed()) return;
    settleSubmitted(session);
    for (const form of found) await restore(form);
    if (retryDelay) await flush();
    retryDelay = 0;
  } catch (problem) {
    failed(problem);
    // Nobody has said that there is no key.
    if (storage) return;
    retryDelay = Math.min(retryDelay * 2 || 2000, 60_000);
    setTimeout(() => storage || scan(whose, session), retryDelay);
  }
};

/** How long to wait before the key is asked for again. */
let retryDelay = 0;

/**
 * Nothing of theirs stays.
 * @param {string | undefined} whose or how it begins
 */
const forget = (whose) => {
  for (const kept of [localStorage, sessionStorage]) {
    for (const name of places(kept)) if (name.startsWith(PREFIX + whose)) kept.removeItem(name);
  }
};

/**
 * A form is being submitted, unless the application calls that off.
 * @param {HTMLFormElement} form
 * @param {SubmitEvent} event
 * @param {string} session
 */
const submitted = (form, event, session) => {
  if (!storage || page.isClosed()) return;
  save(form);
  const button = /** @type {HTMLButtonElement | null} */ (event.submitter);
  /** @param {'action' | 'method' | 'target'} what */
  const chosen = (what) => {
    const own = button?.getAttribute('form' + what);
    if (own == null) return plain(form)[what];
    return what === 'action' ? /** @type {HTMLButtonElement} */ (button).formAction : own;
  };
  const to = onSite(chosen('action'));
  if (!to || /^dialog$/i.test(chosen('method')) || !/^(_self)?$/i.test(chosen('target'))) return;
  /** @type {Submission} */
  const sent = {
    places: [...new Set([place(form), ...(earlier.get(form) ?? [])])],
    form: destination(form),
    key: keyOf(form) ?? '',
    session,
    from: location.href,
    to: to.href,
    isFramed: isFramed(),
    at: Date.now(),
  };
  // Once all have heard of the event; before the page is left.
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    if (event.defaultPrevented) return;
    sessionStorage.setItem(SUBMITTED, JSON.stringify(sent));
    // Who goes elsewhere meanwhile gets another page than the answer.
    addEventListener('click', () => sessionStorage.removeItem(SUBMITTED), { capture: true, once: true });
  };
  port2.postMessage(0);
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
