import { doc } from './dom.js';
import { option } from './options.js';

/** @type {Record<string, string>} */
export const english = {
  title: 'Are you still there?',
  text: 'You have not used this page for a while. You will be signed out to keep your data safe.',
  stay: 'Stay signed in',
  signout: 'Sign out',
  'absolute-title': 'Your session is about to end',
  'absolute-text': 'You will be signed out at {time}. Save your work.',
  ok: 'OK',
  left: '{time} until you are signed out',
  checking: 'Checking…',
  offline: 'No connection. Trying again…',
  ended: 'You have been signed out',
  idle: 'You did not use this page for too long. Your entries are kept.',
  absolute: 'Your session reached its longest time. Your entries are kept.',
  signed_out: 'You signed out in another tab.',
  revoked: 'You were signed out from elsewhere. Your entries are kept.',
  lost: 'Connection lost',
  'lost-text': 'Your entries are kept on this device.',
  replaced: 'You are now signed in as someone else',
  'other-session': 'This page is of another session',
  reload: 'Reload',
  signin: 'Sign in',
  again: 'Sign in again',
  alert: '(!)',
};

const block = doc.querySelector('script[data-session-timeout-messages]');
/** @type {Record<string, unknown> | null | undefined} */
let given;
try {
  given = JSON.parse(block?.textContent || '{}');
} catch {
  // The English ones do.
}

/** The page's; the browser's, where that is none (`en_US`). @type {string | undefined} */
export let language;
try {
  [language] = Intl.getCanonicalLocales(doc.documentElement.lang);
} catch {
  // The browser's does.
}

/**
 * The page's text, if it is one.
 * @param {string} key
 */
const own = (key) => {
  const text = option('msg-' + key) ?? given?.[key];
  return typeof text === 'string' ? text : undefined;
};

/**
 * @param {string} key
 * @param {string} [time]
 */
export const message = (key, time = '') => (own(key) ?? english[key] ?? '').replace('{time}', () => time);

/**
 * One number of minutes or seconds, in the language of the page.
 * @param {number} count
 * @param {string} unit
 */
const counted = (count, unit) => {
  const form = own(unit + '.' + new Intl.PluralRules(language).select(count)) ?? own(unit + '.other');
  return form
    ? form.replace('{n}', () => new Intl.NumberFormat(language).format(count))
    : new Intl.NumberFormat(language, { style: 'unit', unit, unitDisplay: 'long' }).format(count);
};

/** @param {number} ms */
export const inWords = (ms) => {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const [minutes, rest] = [Math.floor(seconds / 60), seconds % 60];
  if (option('time-format') === 'clock') return minutes + ':' + String(rest).padStart(2, '0');
  return [minutes && counted(minutes, 'minute'), (rest || !minutes) && counted(rest, 'second')]
    .filter(Boolean)
    .join(' ');
};

/** @param {number} ms from now */
export const timeOfDay = (ms) =>
  new Date(Date.now() + ms).toLocaleTimeString(language, { hour: 'numeric', minute: '2-digit' });
