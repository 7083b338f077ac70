/**
 * An object as its class has it. Markup names things of the document and of forms, and gets in front of what they can
 * do: `<img name="querySelector">`, `<input name="matches">`.
 * @template {object} T
 * @param {T} object
 * @returns {T}
 */
export const plain = (object) => {
  const type = Object.getPrototypeOf(object);
  return /** @type {T} */ (
    new Proxy(
      {},
      {
        get: (_, key) => {
          const value = Reflect.get(type, key, object);
          return typeof value === 'function' ? value.bind(object) : value;
        },
        set: (_, key, value) => Reflect.set(type, key, value, object),
      },
    )
  );
};

export const doc = plain(document);

/** What has the focus, also within an element that has a tree of its own. */
export const focused = () => {
  let it = doc.activeElement;
  while (it?.shadowRoot?.activeElement) it = it.shadowRoot.activeElement;
  return it;
};

/**
 * A URL of this site, or nothing: no other is gone to, or asked.
 * @param {string | null | undefined} url if it is relative, to this page: whatever a `<base>` says
 */
export const onSite = (url) => {
  try {
    const read = url && new URL(url, location.href);
    if (read && read.origin === location.origin && read.protocol === location.protocol) return read;
  } catch {
    // Nothing that can be gone to.
  }
  return undefined;
};

/**
 * Whatever runs through what is the application's (its elements, its texts, what it put in the place of the browser's own) may
 * throw. That is written to the console, and keeps nobody from being warned, and no page in sight.
 * @template T
 * @param {() => T} act
 * @returns {T | undefined}
 */
export const attempt = (act) => {
  try {
    return act();
  } catch (problem) {
    console.error(problem);
  }
  return undefined;
};
