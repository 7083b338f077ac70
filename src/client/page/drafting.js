/** Drafts are loaded where a page has a form for them, or something of them was kept: most pages need none. */
import { english, message } from './messages.js';
import { doc, onSite, plain } from './dom.js';
import { FORM, PREFIX, SUBMITTED } from './names.js';
import { base, fire, option, tag } from './options.js';
import { readTiming } from './server.js';
import { button, element, isVeiled, root, sheet, show } from './view.js';

/** @type {ReturnType<typeof import('./drafts.js').connect> | undefined} */
let drafts;
/** @type {Promise<void> | undefined} */
let loading;
/** Whose drafts are those of this page: a user's, or a session's. @type {string | undefined} */
let owner;
let session = '';
/** Nothing is saved any more: the user signed out, or somebody else is signed in. */
let closed = false;

const isClosed = () => closed;

/** Not every browser tells it; the layer does. @param {PerformanceNavigationTiming | undefined} navigation */
const status = (navigation) => navigation?.responseStatus || readTiming(navigation)?.status || 0;

const isNeeded = () =>
  doc.querySelector(FORM) ||
  [localStorage, sessionStorage].some((kept) =>
    Object.keys(kept).some((name) => name.startsWith(PREFIX) || name === SUBMITTED),
  );

const load = async () => {
  try {
    if (!isNeeded()) return;
    loading ??= import(base + 'drafts.js' + new URL(tag.src).search).then(({ connect }) => {
      drafts = connect({ base, button, element, english, fire, isClosed, isVeiled, message, option, root, sheet, show, status });
    });
    await loading;
    return drafts;
  } catch (problem) {
    loading = undefined;
    fire('draft-error', { problem: String(problem) });
  }
  return undefined;
};

/** Looks for forms, and for what was kept of them. */
export const scan = async () => {
  if (owner) (await load())?.scan(owner, session);
};

/**
 * Begins, for this user or session.
 * @param {string} digest
 * @param {string} of the session's
 */
export const begin = (digest, of) => {
  owner = digest;
  session = of;
  return scan();
};

/**
 * Saves all of them.
 * @param {boolean} [expired] the session is over: the draft may be filled in again unasked
 * @returns {Promise<boolean>} whether all that the user changed is stored
 */
export const flush = async (expired) => !!(await drafts?.flush(expired));

/**
 * The user signed out, or a session is over that no user is known of: nothing of theirs stays.
 * @param {string} [digest] or how it begins
 */
export const forget = async (digest = owner) => {
  closed = true;
  (await load())?.forget(digest);
};

/**
 * Whether anything is saved: not while the session is over, or somebody else is signed in.
 * @param {boolean} open
 */
export const keep = (open) => {
  closed = !open;
};

/** What was submitted was not taken: nobody is signed in. */
export const refused = () => sessionStorage.removeItem(SUBMITTED);

/**
 * @param {string} key of a form
 * @param {string} [path] of its page, if that is another one
 */
export const clear = async (key, path) => {
  if (owner) (await load())?.clear(key, path);
};

/** @param {unknown} target @returns {target is HTMLFormElement} */
export const isDraftForm = (target) =>
  target instanceof HTMLFormElement && plain(target).matches(FORM) && !!onSite(plain(target).action);

/**
 * @param {HTMLFormElement} form
 * @param {SubmitEvent} event
 * @param {string} of the session's digest
 */
export const submitted = (form, event, of) => drafts?.submitted(form, event, of);

/**
 * A submission that has to wait.
 * @param {HTMLFormElement} form
 * @param {HTMLElement | null} submitter
 * @returns {() => void} sends it, as it was
 */
export const hold = (form, submitter) => drafts?.hold(form, submitter) ?? (() => plain(form).requestSubmit(submitter));
