import { doc, onSite } from './dom.js';

/** The tag that loaded this script: all is configured by its attributes. */
export const tag = /** @type {HTMLScriptElement} */ (doc.currentScript);
if (!tag) throw Error('session-timeout: load this script by a tag of its own, not type="module"');

/** @param {string} name */
export const option = (name) => tag.getAttribute('data-' + name);

/** Where the endpoints are, with a slash at its end. */
export const base = (onSite(option('base'))?.href ?? location.origin + new URL('.', tag.src).pathname).replace(/\/?$/, '/');

export const home = location.origin + '/';

/** This page, as an address: its path alone could be read as that of another site. */
export const here = () => location.href.split('#')[0];

/** The log-in page with a way back; without one, this page, for the server to say where to go. */
export const loginUrl = () => {
  // Where to come back to: the server looks at it once more.
  const back = onSite(option('return') ?? here());
  const login = onSite(option('login-url') ?? back?.href);
  if (!login) return home;
  const next = back ? back.pathname + back.search + back.hash : '';
  if (option('login-url') && /^\/(?!\/).{0,1999}$/.test(next)) {
    login.search += (login.search && '&') + (option('return-param') ?? 'next') + '=' + encodeURIComponent(next);
  }
  return login.href;
};

/**
 * Tells the page.
 * @param {string} name
 * @param {object} [detail]
 * @returns whether the default is still wanted
 */
export const fire = (name, detail) =>
  doc.dispatchEvent(new CustomEvent('session-timeout:' + name, { bubbles: true, cancelable: true, detail }));
