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
