/** The tag that loaded this script: all is configured by its attributes. */
export const tag = /** @type {HTMLScriptElement} */ (document.currentScript);

/** @param {string} name */
export const option = (name) => tag.getAttribute('data-' + name);

/** Where the endpoints are, with a slash at its end. */
export const base = option('base')?.replace(/\/?$/, '/') ?? new URL('.', tag.src).pathname;

/** Where to come back to after the log-in: the server looks at it once more. */
const here = () => option('return') ?? location.pathname + location.search;

/** The log-in page with a way back; without one, this page, for the server to say where to go. */
export const loginUrl = () => {
  const login = option('login-url');
  const next = here();
  if (!login) return next;
  const parameter = (option('return-param') ?? 'next') + '=' + encodeURIComponent(next);
  return next.length > 2000 ? login : login + (login.includes('?') ? '&' : '?') + parameter;
};

/**
 * Tells the page.
 * @param {string} name
 * @param {object} [detail]
 * @returns whether the default is still wanted
 */
export const fire = (name, detail) =>
  document.dispatchEvent(
    new CustomEvent('session-timeout:' + name, { bubbles: true, cancelable: true, detail }),
  );
