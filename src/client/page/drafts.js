/**
 * Drafts of the forms that ask for it: sealed with a key that only the user's next log-in brings back.
 *
 * A draft is `<time>.<sealed fields>` in `localStorage`, under user, path, the form's key, and the form on one page of one
 * tab that writes it: no two write to the same place. `<time>!.` says that the session ended. What cannot be sealed is in
 * `sessionStorage`, if the page asks for it; and under the session, if no user is known.
 */

import * as bar from './bar.js';
import { at } from './clock.js';
import { doc, onSite, plain } from './dom.js';
import { fieldsOf, isChanged, isDirty, keyOfField, noteSecret, read, same, write } from './fields.js';
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
 * @property {typeof import('./view.js').isVeiled} isVeiled
 * @property {ShadowRoot} root
 * @property {typeof import('./view.js').sheet} sheet
 * @property {typeof import('./view.js').show} show
 * @property {(navigation: PerformanceNavigationTiming | undefined) => number} status of the answer that this page is; 0 if nobody says
 */

/**
 * @typedef {import('./fields.js').Field} Field
 * What a form is, and what it is for.
 * @typedef {object} About
 * @property {string} to where it leads, without which it is not filled in: a form of anybody's markup can have the same name
 * @property {number} hidden what its hidden fields say, in short
 * @property {boolean} alone no other form of the page claims the same draft
 * @typedef {About & { search: string, fields: Field[] }} Draft
 */

/**
 * What is known of a form of this page.
 * @typedef {object} Known
 * @property {string} id of what it writes
 * @property {{ path: string, search: string, suffix: string }} [where] its page, as it was when the user began
 * @property {string} [place] of its draft
 * @property {About} [about]
 * @property {Field[]} fields as they are to be kept
 * @property {string} wanted the same, in writing
 * @property {string} written what is in storage, not sealed
 * @property {string} stored and sealed
 * @property {string} [sent] what was submitted
 * @property {number} turn changes when nothing that was begun is to be written any more
 * @property {Promise<boolean>} writing
 * @property {boolean} isUnread the user has changed something since it was read
 * @property {boolean} isLookedAt for what was kept of it
 * @property {string} [refused] the draft of the page before that may be its own
 * @property {Map<string, unknown>} origin what the page before rendered, if this one only shows the form again
 * @property {Map<Element, unknown>} filled what drafts have put into it
 */

/**
 * A draft that was found for a form.
 * @typedef {object} Offer
 * @property {HTMLFormElement} form
 * @property {string} place
 * @property {string} stored
 * @property {Draft} draft
 * @property {Field[]} wanted what the user had changed
 * @property {Field[]} left of that, what is not in the form
 * @property {Map<HTMLElement, [before: unknown, filled: unknown]>} done
 * @property {boolean} isApplied
 */

const KEPT_FOR = 24 * 3_600_000;
const LARGEST = 64 * 1024;
/** Of one user: nobody's drafts take another's room. */
const LARGEST_IN_ALL = 512 * 1024;
/** Of one form. The others wait until these are answered. */
const MOST_OFFERS = 5;
const TAB = 'session-timeout:tab';

const ENGLISH = {
  restored: 'We restored your unsaved entries.',
  partly: 'Some of your unsaved entries could not be filled in. They are kept.',
  undo: 'Undo',
  found: 'There are unsaved entries from {time}.',
  restore: 'Restore',
  discard: 'Discard',
  close: 'Close',
};

/** @type {Page} */
let page;
/** Whose drafts these are: a user's, or a session's. @type {string | undefined} */
let owner;
/** @type {CryptoKey | undefined} */
let sealing;
/** @type {Storage | undefined} */
let storage;
/** Whether the next page gets to know where it comes from: the server saw what this page's policy sends. @type {boolean | undefined} */
let refers;
/** @type {WeakMap<HTMLFormElement, Known>} */
const known = new WeakMap();
/** Forms with something of the user's in them, also once they are out of the page. @type {Set<HTMLFormElement>} */
const touched = new Set();
/** Whatever the user has changed, wherever. @type {Set<HTMLElement>} */
const edited = new Set();
/** And has put back to what was rendered. @type {WeakSet<Element>} */
const putBack = new WeakSet();
/** What is in drafts. @type {WeakSet<Element>} */
const inDraft = new WeakSet();

/** Not those of anybody's markup that lead to another site. @param {Element} form */
const isDraftForm = (form) => plain(form).matches(FORM) && !!onSite(plain(/** @type {HTMLFormElement} */ (form)).action);

const forms = () => [.../** @type {NodeListOf<HTMLFormElement>} */ (doc.querySelectorAll(FORM))].filter(isDraftForm);

/** @param {HTMLFormElement} form */
const keyOf = (form) => plain(form).dataset.sessionDraft ?? '';

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

/** Hidden fields that are others each time that the page is loaded. */
const CHANGING = /csrf|xsrf|token|nonce|viewstate|eventvalidation/i;

/**
 * What the form is about may be in its hidden fields: to whom, of which order. They are compared, and not kept.
 * @param {HTMLFormElement} form
 */
const hiddenFields = (form) => {
  const controls = /** @type {HTMLInputElement[]} */ ([...plain(form).elements]).filter(
    (it) => it.type === 'hidden' && it.name && !CHANGING.test(it.name) && it.dataset.sessionDraft !== 'off',
  );
  let digest = 0;
  for (const character of JSON.stringify(controls.map((it) => [it.name, it.value]))) {
    digest = (Math.imul(digest, 31) + character.charCodeAt(0)) | 0;
  }
  return digest;
};

/** @param {HTMLFormElement} form @returns {About} */
const about = (form) => ({
  to: destination(form),
  hidden: hiddenFields(form),
  alone: claimants(form).length < 2,
});

/**
 * Where drafts are: under user, path and key, which is written so that no path and key make another pair.
 * @param {string} key
 * @param {string} [path]
 */
const placeOf = (key, path = location.pathname) => PREFIX + owner + ':' + path + ':' + encodeURIComponent(key);

/**
 * Where more than one form claims a draft, each has its own besides: by where it leads, and which of those it is.
 * @param {HTMLFormElement} form
 */
const suffix = (form) => {
  const alike = claimants(form);
  if (alike.length < 2) return '';
  const to = destination(form);
  return '|' + encodeURIComponent(to) + '|' + alike.filter((other) => destination(other) === to).indexOf(form);
};

/** Without who writes there. @param {string} place */
const shelf = (place) => place.split('#')[0];

/**
 * All drafts there are, of whomever.
 * @param {Storage | undefined} kept
 */
const places = (kept = storage) => Object.keys(kept ?? {}).filter((name) => name.startsWith(PREFIX));

/** @param {string | undefined} place */
const stored = (place) => (place && storage?.getItem(place)) || '';

/** When a draft was saved. @param {string} place */
const timeOf = (place) => parseInt(stored(place));

/** @param {string} text @param {boolean} expired */
const marked = (text, expired) => text.replace(/^(\d+)!?/, '$1' + (expired ? '!' : ''));

/** @param {string} a @param {string} b */
const isSameDraft = (a, b) => !!a && marked(a, false) === marked(b, false);

/**
 * Removes a draft, unless another one is there by now.
 * @param {string} place
 * @param {string} what
 */
const drop = (place, what) => {
  if (isSameDraft(stored(place), what)) storage?.removeItem(place);
};

/** @param {ArrayBuffer | Uint8Array} bytes */
const toText = (bytes) => btoa(Array.from(new Uint8Array(bytes), (byte) => String.fromCharCode(byte)).join(''));
/** @param {string} text */
const toBytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

const random = () => toText(crypto.getRandomValues(new Uint8Array(9)));

/** @param {HTMLFormElement} form @returns {Known} */
const of = (form) => {
  let its = known.get(form);
  if (!its) {
    its = {
      id: random(),
      fields: [],
      wanted: '',
      written: '',
      stored: '',
      turn: 0,
      writing: Promise.resolve(true),
      isUnread: false,
      isLookedAt: false,
      origin: new Map(),
      filled: new Map(),
    };
    known.set(form, its);
  }
  return its;
};

const tab = () => {
  const name = sessionStorage.getItem(TAB) ?? random();
  sessionStorage.setItem(TAB, name);
  return '#' + name + '.';
};

/** @param {HTMLFormElement} form */
const placeFor = (form) => {
  const its = of(form);
  its.where ??= { path: location.pathname, search: location.search, suffix: suffix(form) };
  its.place ??= placeOf(keyOf(form), its.where.path) + its.where.suffix + tab() + its.id;
  return its.place;
};

/** There is something of the user's in it. It is of the page as it is now. @param {HTMLFormElement} form */
const touch = (form) => {
  const its = of(form);
  its.where ??= { path: location.pathname, search: location.search, suffix: suffix(form) };
  its.about ??= about(form);
  its.isUnread = true;
  touched.add(form);
};

/** @param {unknown} problem */
const failed = (problem) => {
  page.fire('draft-error', { problem: String(problem) });
  return false;
};

/** @param {string} text */
const seal = async (text) => {
  const bytes = new TextEncoder().encode(text);
  if (bytes.length > LARGEST) throw new RangeError('a draft is larger than 64 KiB');
  if (!sealing) return toText(bytes);
  const iv = crypto.getRandomValues(new Uint8Array(12));
  return toText(iv) + '.' + toText(await crypto.subtle.encrypt({ name: 'AES-GCM', iv }, sealing, bytes));
};

/** @param {string} text @returns {Promise<Draft | undefined>} */
const unseal = async (text) => {
  const [, first, second] = text.split('.');
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
 * Where there is no more room, the user's oldest drafts go; not those of this page.
 * @param {string} place
 * @param {number} size
 */
const makeRoom = (place, size) => {
  const own = new Set([...touched].map((form) => of(form).place));
  const others = places().filter((name) => name !== place && name.startsWith(PREFIX + owner + ':'));
  others.sort((a, b) => timeOf(a) - timeOf(b));
  let used = others.reduce((sum, name) => sum + stored(name).length, size);
  for (const name of others) {
    if (used <= LARGEST_IN_ALL) return;
    if (own.has(name)) continue;
    used -= stored(name).length;
    storage?.removeItem(name);
  }
  if (used > LARGEST_IN_ALL) throw new RangeError('all drafts are larger than 512 KiB');
};

/**
 * What a form holds, and what it held last of what the user did not take out: a field that is gone, disabled, or emptied by
 * a script was not put back.
 * @param {HTMLFormElement} form
 * @returns {Field[]}
 */
const contents = (form) => {
  const its = of(form);
  const last = new Map(its.fields.filter(isChanged).map((field) => [keyOfField(field), field]));
  const now = fieldsOf(form).map(([[name, index, value, shown], element]) => {
    const key = keyOfField([name, index, 0, 0]);
    const before = last.get(key);
    last.delete(key);
    inDraft.add(element);
    /** @type {Field} */
    const field = [name, index, value, its.origin.has(key) ? its.origin.get(key) : shown];
    return before && !isChanged(field) && !putBack.has(element) ? before : field;
  });
  return [...now, ...last.values()];
};

/** The draft that this page wrote of a form, and nobody else's. @param {HTMLFormElement} form */
const dropOwn = (form) => {
  const its = of(form);
  its.turn += 1;
  if (its.place) drop(its.place, its.stored);
  its.fields = [];
  its.wanted = its.written = its.stored = '';
  // What is typed next may be of another page of an application that never loads one.
  if (!its.origin.size) its.where = its.place = its.about = undefined;
  touched.delete(form);
};

/**
 * Writes down what was read last.
 * @param {HTMLFormElement} form
 * @param {boolean} expired
 * @returns {Promise<boolean>}
 */
const put = (form, expired) => {
  const its = of(form);
  const { wanted, turn } = its;
  // One after the other: the last one stays.
  its.writing = its.writing.then(async () => {
    const isGone = () => turn !== its.turn || !storage;
    if (isGone()) return false;
    const name = placeFor(form);
    const there = stored(name);
    // It was taken.
    if (!there && wanted === its.sent) return true;
    try {
      // Other tabs have a say in what is in storage.
      const isThere = wanted === its.written && isSameDraft(there, its.stored);
      const text = isThere ? there : Date.now() + '.' + (await seal(wanted));
      if (isGone()) return false;
      its.stored = marked(text, expired);
      if (there === its.stored) return true;
      makeRoom(name, text.length);
      storage?.setItem(name, its.stored);
      its.written = wanted;
      if (!isThere) page.fire('draft-saved', { key: keyOf(form) });
      return true;
    } catch (problem) {
      return failed(problem);
    }
  });
  return its.writing;
};

/**
 * Saves one form. A form as it was rendered needs no draft.
 * @param {HTMLFormElement} form
 * @param {boolean} [expired]
 * @returns {Promise<boolean>} whether nothing of it can be lost
 */
const save = async (form, expired = false) => {
  const its = of(form);
  // Behind the veil nobody types: what was read before is what there is, but for what was typed right before.
  if (!page.isVeiled() || its.isUnread) {
    if (!page.isClosed()) {
      its.fields = contents(form);
      its.isUnread = false;
    }
    if (!its.fields.some(isChanged)) {
      dropOwn(form);
      return true;
    }
    if (plain(form).isConnected) its.about = about(form);
    its.wanted = JSON.stringify({ ...its.about, search: its.where?.search, fields: its.fields });
  }
  if (!storage || page.isClosed()) return its.wanted === its.written && isSameDraft(stored(its.place), its.stored);
  return !its.wanted || put(form, expired);
};

/** Whether it is in a draft, or is nothing that could be lost. @param {HTMLElement} element */
const isSafe = (element) => {
  if (!plain(element).isConnected) return edited.delete(element);
  for (let it = /** @type {HTMLElement | null} */ (element); it; it = it.parentElement) if (inDraft.has(it)) return true;
  const { files, localName } = /** @type {HTMLInputElement} */ (element);
  if (files) return !files.length;
  return /^(input|select|textarea)$/.test(localName) && same(...read(element));
};

/**
 * Saves all of them.
 * @param {boolean} [expired] the session is over: the draft may be filled in again unasked
 * @returns {Promise<boolean>} whether all that the user changed is stored
 */
const flush = async (expired) => {
  clearTimeout(pause);
  try {
    const saving = [...touched].map((form) => save(form, expired));
    const others = [...doc.forms].filter((form) => !plain(form).matches(FORM));
    const isAllSafe = [...edited].every(isSafe) && !others.some(isDirty);
    const results = await Promise.all(saving);
    for (const form of touched) if (!plain(form).isConnected) touched.delete(form);
    // A session's draft goes with it.
    return isAllSafe && results.every(Boolean) && !(expired && results.length && isOfSession(owner));
  } catch (problem) {
    return failed(problem);
  }
};

// What was kept comes back.

/**
 * The drafts that may be this form's.
 * @param {HTMLFormElement} form
 */
const candidates = (form) => {
  const shared = placeOf(keyOf(form));
  const own = shared + suffix(form);
  const ofThisPage = new Set([...touched].map((it) => of(it).place));
  return places().filter((name) => {
    const base = shelf(name);
    const isIts = base === shared || base === own || (own === shared && base.startsWith(shared + '|'));
    return (isIts || of(form).refused === name) && !ofThisPage.has(name);
  });
};

/** @param {Offer} offer */
const show = (offer) => {
  const { form, left, done, isApplied } = offer;
  const actions = {
    restore: () => restore(offer) && show(offer),
    undo: () => {
      undo(offer);
      show(offer);
    },
    discard: () => discard(offer),
  };
  const { undo: takeOut, ...asked } = actions;
  if (!isApplied) bar.put(offer, form, page.message('found', timeOfDay(offer.stored)), asked);
  else if (!left.length) bar.put(offer, form, page.message('restored'), { undo: takeOut });
  else bar.put(offer, form, page.message('partly'), done.size ? { undo: takeOut, discard: actions.discard } : asked);
};

/** @param {string} text */
const timeOfDay = (text) =>
  new Date(parseInt(text)).toLocaleTimeString(bar.language(), { hour: 'numeric', minute: '2-digit' });

/**
 * Fills in what is left of a draft, and can be: a field has to be there, and hold nothing of the user's own.
 * @param {Offer} offer
 * @param {(element: HTMLElement) => boolean} isFree
 */
const fill = (offer, isFree) => {
  const { filled } = of(offer.form);
  const found = fieldsOf(offer.form);
  const now = new Map(found.map((it) => [keyOfField(it[0]), it]));
  /** @param {[Field, HTMLElement]} of */
  const isAsItWas = ([[, , value, rendered], element]) =>
    (same(value, rendered) || (filled.has(element) && same(value, filled.get(element)))) && isFree(element);
  const busy = new Set(found.filter((it) => isRadio(it[1]) && !isAsItWas(it)).map(([[name]]) => name));
  offer.left = offer.left.filter((field) => {
    const it = now.get(keyOfField(field));
    if (!it) return true;
    const [[name, , value], element] = it;
    if (same(value, field[2])) return false;
    // Of radio buttons, one changes the others.
    if ((isRadio(element) ? busy.has(name) : !isAsItWas(it)) || !write(element, field[2])) return true;
    filled.set(element, read(element)[0]);
    offer.done.set(element, [value, filled.get(element)]);
    return false;
  });
};

/** @param {Element} element */
const isRadio = (element) => /** @type {HTMLInputElement} */ (element).type === 'radio';

/** It is answered: nobody is asked again. @param {Offer} offer */
const answered = (offer) => {
  drop(offer.place, offer.stored);
  for (const other of bar.told()) if (other !== offer && other.place === offer.place && !other.isApplied) bar.take(other);
};

/**
 * Once all of a draft is in the form, it is the form's own.
 * @param {Offer} offer
 */
const adopt = async (offer) => {
  touch(offer.form);
  if ((await save(offer.form)) && offer.isApplied && !offer.left.length) answered(offer);
};

/** @param {Offer} offer @returns {boolean} */
const restore = (offer) => {
  // Its buttons may be others by the time that somebody is asked.
  if (leadsAway(offer.form)) return false;
  const isFirst = !offer.isApplied;
  offer.isApplied = true;
  fill(offer, () => true);
  adopt(offer);
  // A row that is added, options that are fetched.
  const watching = new MutationObserver(() => {
    const before = offer.left.length;
    if (!offer.isApplied || !before || leadsAway(offer.form)) return watching.disconnect();
    fill(offer, (element) => !edited.has(element));
    if (offer.left.length === before) return undefined;
    adopt(offer);
    return bar.told().includes(offer) && show(offer);
  });
  if (isFirst && offer.left.length) {
    watching.observe(offer.form, { childList: true, subtree: true, attributes: true, attributeFilter: ['disabled', 'name'] });
  }
  return true;
};

/** Takes out what is still as it was filled in; the draft is one again. @param {Offer} offer */
const undo = (offer) => {
  const { form, done } = offer;
  const entries = [...done].map(([element, [before, filled]]) => ({
    element,
    before,
    isThere: same(read(element)[0], filled),
  }));
  for (const { element, before, isThere } of entries) {
    const { name } = /** @type {HTMLInputElement} */ (element);
    const group = isRadio(element) ? entries.filter((it) => isRadio(it.element) && plain(it.element).getAttribute('name') === name) : [];
    if (isThere && group.every((it) => it.isThere) && write(element, before)) putBack.add(element);
    of(form).filled.delete(element);
  }
  done.clear();
  [offer.isApplied, offer.left] = [false, offer.wanted];
  if (!stored(offer.place)) storage?.setItem(offer.place, marked(offer.stored, false));
  save(form);
};

/** Leaves a form alone that was not filled in from it. @param {Offer} offer */
const discard = (offer) => {
  if (offer.isApplied) undo(offer);
  answered(offer);
  bar.take(offer);
};

/** This tab's first, then the last one. @param {Offer} offer */
const rank = ({ place }) => (place.includes(tab()) ? KEPT_FOR : 0) * 1e3 + timeOf(place);

/**
 * Looks for what was kept of a form, once.
 * @param {HTMLFormElement} form
 */
const look = async (form) => {
  const its = of(form);
  if (its.isLookedAt || leadsAway(form)) return;
  its.isLookedAt = true;
  /** @type {Offer[]} */
  const found = [];
  for (const place of candidates(form)) {
    const text = stored(place);
    const draft = await unseal(text);
    if (draft?.to !== destination(form)) continue;
    const wanted = draft.fields.filter(isChanged);
    found.push({ form, place, stored: text, draft, wanted, left: wanted, done: new Map(), isApplied: false });
  }
  if (page.isClosed()) return;
  found.sort((a, b) => rank(b) - rank(a));
  const now = fieldsOf(form).map(([field]) => field);
  const shown = new Map(now.map((field) => [keyOfField(field), field]));
  const { hidden, alone } = about(form);
  const texts = new Set();
  for (const offer of found) {
    const { draft, wanted } = offer;
    const text = JSON.stringify(wanted);
    if (texts.has(text)) {
      drop(offer.place, offer.stored);
      continue;
    }
    texts.add(text);
    if (wanted.every((field) => same(shown.get(keyOfField(field))?.[2], field[2])) || texts.size > MOST_OFFERS) continue;
    const isWanted = page.fire('draft-restore', {
      key: keyOf(form),
      restore: () => restore(offer),
      discard: () => discard(offer),
    });
    if (!isWanted) continue;
    // Unasked only what the end of the session has taken, into the same form as it was.
    const isAlike =
      draft.search === location.search &&
      draft.hidden === hidden &&
      draft.alone &&
      alone &&
      draft.fields.length === now.length &&
      draft.fields.every((field) => same(shown.get(keyOfField(field))?.[3], field[3]));
    if (offer === found[0] && isAlike && /^\d+!/.test(offer.stored) && !isDirty(form)) restore(offer);
    show(offer);
  }
};

/**
 * A form on its way to the server from this tab.
 * @typedef {object} Submission
 * @property {string} place of its draft
 * @property {string} form where it leads, by itself
 * @property {string} key
 * @property {string} session
 * @property {string} from the address of its page
 * @property {boolean} [refers] which the answer gets to know
 * @property {string} to
 * @property {boolean} isSave as far as anybody can tell before
 * @property {boolean} isFramed
 * @property {number} at
 */

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
const settleSubmitted = async (session) => {
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
    // Without one, where one is sent, somebody has typed an address.
    (referrer
      ? referrer.href === location.origin + '/' || referrer.href === bare(sent.from)
      : !sent.refers) &&
    // A second redirect may be that of a log-in page that has nothing to ask.
    (redirectCount === 1 || (!redirectCount && url === to));
  if (!isAnswer || !sent.place.startsWith(PREFIX + owner + ':')) return;
  const form = forms().find((it) => keyOf(it) === sent.key && destination(it) === sent.form);
  const isTaken =
    sent.isSave &&
    status >= 200 &&
    sent.session === session &&
    onSite(page.option('login-url'))?.pathname !== location.pathname &&
    !(form && (!redirectCount || isDirty(form)));
  // Whatever the answer says in an error is not of a success.
  if (status < 400 && (isTaken || isNamed(sent.key, navigation))) drop(sent.place, stored(sent.place));
  else if (form) await goOn(form, sent.place);
};

/**
 * A form is shown again, perhaps under another address that nobody can go back to: what is typed now is of the page that
 * it came from.
 * @param {HTMLFormElement} form
 * @param {string} place
 */
const goOn = async (form, place) => {
  const text = stored(place);
  const draft = await unseal(text);
  if (!draft) return;
  const its = of(form);
  const shown = new Map(fieldsOf(form).map(([field]) => [keyOfField(field), field[2]]));
  its.where = { path: '', search: draft.search, suffix: '' };
  its.origin = new Map(draft.fields.map((field) => [keyOfField(field), field[3]]));
  if (draft.fields.every((field) => !isChanged(field) || same(shown.get(keyOfField(field)), field[2]))) {
    [its.place, its.fields, its.stored] = [place, draft.fields, text];
    its.wanted = its.written = JSON.stringify(draft);
    touched.add(form);
  } else {
    its.place = shelf(place) + tab() + its.id;
    its.refused = place;
  }
};

/**
 * Whether the answer says that it was taken. Markup of others may say so, hence only of what was sent; headers are the
 * application's own.
 * @param {string} key
 * @param {PerformanceNavigationTiming | undefined} navigation
 */
const isNamed = (key, navigation) =>
  (navigation?.serverTiming ?? []).some((it) => it.name === 'draft-clear' && it.description === key) ||
  [...doc.querySelectorAll('[data-session-draft-clear]')].some(
    (it) => it.getAttribute('data-session-draft-clear') === key,
  );

/**
 * @param {string} key of a form
 * @param {string} [path] of its page
 */
const clear = (key, path) => {
  const shared = placeOf(key, path);
  /** @param {string} name */
  const isIts = (name) => shelf(name) === shared || name.startsWith(shared + '|');
  for (const form of touched) if (isIts(placeFor(form))) dropOwn(form);
  for (const offer of bar.told()) {
    if (!isIts(offer.place) || !(offer.isApplied || offer.place.includes(tab()))) continue;
    drop(offer.place, offer.stored);
    bar.take(offer);
  }
  // What other tabs have written is theirs.
  for (const name of places()) if (isIts(name) && name.includes(tab())) storage?.removeItem(name);
};

/** Fetches the key, and throws away what is too old, or can be nobody's any more. */
const open = async () => {
  for (const name of places(localStorage)) {
    const age = Date.now() - parseInt(localStorage.getItem(name) ?? '');
    // Nor is what a clock that went wrong has dated.
    if (!(Math.abs(age) < KEPT_FOR)) localStorage.removeItem(name);
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
      // Who is signed in by now may be somebody else.
      headers: { 'Session-User': String(owner) },
      signal: AbortSignal.timeout(10_000),
    });
    if (answer.status !== 403 && answer.status !== 200) throw new Error('no key for drafts: ' + answer.status);
    if (answer.ok) {
      const told = await answer.json();
      refers = told.refers;
      const secret = toBytes(told.key.replace(/-/g, '+').replace(/_/g, '/'));
      sealing = await crypto.subtle.importKey('raw', secret, 'AES-GCM', false, ['encrypt', 'decrypt']);
      storage = localStorage;
    }
  }
  if (!sealing && page.option('drafts') === 'tab') storage = sessionStorage;
  if (!storage && forms().length) failed('drafts need a user and a secure context');
};

let isFirstScan = true;

/**
 * Looks for forms, and for what was kept of them.
 * @param {string} whose a user's digest, or a session's
 * @param {string} session
 */
const scan = async (whose, session) => {
  try {
    // Notes what is a secret, and what an element for editing shows before anybody edits it.
    for (const form of forms()) {
      // Typed before this script was there.
      if (isDirty(form) && isFirstScan && navigator.userActivation?.hasBeenActive) touch(form);
    }
    isFirstScan = false;
    owner = whose;
    if (!storage) await open();
    if (!storage || page.isClosed()) return;
    await settleSubmitted(session);
    for (const form of forms()) await look(form);
    // What was typed before this script, or its key, was there.
    await flush();
    retryDelay = 0;
  } catch (problem) {
    failed(problem);
    // Nobody has said that there is no key.
    if (storage) return;
    retryDelay = Math.min(retryDelay * 2 || 2000, 60_000);
    setTimeout(() => storage || page.isClosed() || scan(whose, session), retryDelay);
  }
};

/** How long to wait before the key is asked for again. */
let retryDelay = 0;

/**
 * Nothing of theirs stays.
 * @param {string | undefined} whose or how it begins
 */
const forget = (whose) => {
  if (owner?.startsWith(whose ?? '')) {
    for (const form of touched) of(form).turn += 1;
    bar.told().forEach(bar.take);
  }
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
  if (touched.has(form)) save(form);
  const its = of(form);
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
    place: placeFor(form),
    form: destination(form),
    key: keyOf(form),
    session,
    from: location.href,
    refers: refers && !/noreferrer/i.test(plain(form).getAttribute('rel') ?? ''),
    to: to.href,
    // A preview, a search and the like save nothing.
    isSave: /^post$/i.test(chosen('method')) && !button?.hasAttribute('formaction'),
    isFramed: isFramed(),
    at: Date.now(),
  };
  // Once all have heard of the event; before the page is left.
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    if (event.defaultPrevented) return;
    its.sent = its.wanted;
    sessionStorage.setItem(SUBMITTED, JSON.stringify(sent));
    // Who goes elsewhere meanwhile gets another page than the answer.
    addEventListener('click', () => sessionStorage.removeItem(SUBMITTED), { capture: true, once: true });
  };
  port2.postMessage(0);
};

/**
 * A submission that has to wait. Until it is sent, its form or button may be gone, or disabled, or say something else.
 * @param {HTMLFormElement} form
 * @param {HTMLElement | null} submitter
 * @returns {() => void} sends it, as it was
 */
const hold = (form, submitter) => {
  const button = /** @type {HTMLButtonElement | null} */ (submitter);
  const copy = /** @type {HTMLButtonElement | undefined} */ (button?.cloneNode(true));
  const entries = [...new FormData(form, button)];
  return () => {
    if (!plain(form).isConnected) {
      plain(form).hidden = true;
      doc.body.append(form);
      setTimeout(() => plain(form).remove(), AT_ONCE);
    }
    /** @param {FormDataEvent} event */
    const complete = ({ formData }) => {
      for (const name of new Set(entries.map(([own]) => own))) {
        const values = entries.filter(([own]) => own === name).map(([, value]) => value);
        // What the application adds or changes is its own.
        if (formData.getAll(name).length >= values.length && name !== button?.name) continue;
        formData.delete(name);
        for (const value of values) formData.append(name, value);
      }
    };
    const isThere = button?.form === form && /^(submit|image)$/.test(button.type);
    if (copy && !isThere) {
      copy.hidden = true;
      plain(form).append(copy);
    }
    plain(form).addEventListener('formdata', complete);
    plain(form).requestSubmit(isThere ? button : copy);
    plain(form).removeEventListener('formdata', complete);
    copy?.remove();
  };
};

/** @type {ReturnType<typeof setTimeout> | undefined} */
let pause;

/** What scripts change is not the user's, unless they do it on the user's press. @param {Event} event */
const changed = ({ target, isTrusted }) => {
  if (!(target instanceof HTMLElement)) return;
  noteSecret(target);
  if (!isTrusted && !navigator.userActivation?.isActive) return;
  const form = plain(/** @type {HTMLInputElement} */ (target)).form ?? plain(target).closest('form');
  edited.add(target);
  if (!form || !isDraftForm(form)) return;
  touch(form);
  const { type, name } = /** @type {HTMLInputElement} */ (target);
  const radios = /** @type {HTMLInputElement[]} */ ([...plain(form).elements]).filter((it) => it.type === type && it.name === name);
  // Of radio buttons, one changes the others.
  for (const element of type === 'radio' ? radios : [target]) {
    if (same(...read(element))) putBack.add(element);
    else putBack.delete(element);
  }
  clearTimeout(pause);
  // All of them: the pause is also that of a form left a moment ago.
  pause = setTimeout(flush, 800);
};

/** @param {Page} from */
export const connect = (from) => {
  page = from;
  Object.assign(page.english, ENGLISH);
  bar.begin(page);
  for (const type of ['input', 'change']) addEventListener(type, changed, true);
  // While there is time to seal it, and before the page is hidden.
  for (const type of ['beforeunload', 'pagehide']) addEventListener(type, () => void flush(), true);
  return { scan, flush, forget, clear, submitted, hold };
};
