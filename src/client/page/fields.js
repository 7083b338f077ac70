/** The fields of a form: which of them are kept, what they hold, and what they were rendered with. */
import { plain } from './dom.js';

/**
 * A field: its name, which of that name it is, its value, and the value it was rendered with.
 * @typedef {[name: string, index: number, value: unknown, rendered: unknown]} Field
 * @typedef {HTMLInputElement & HTMLSelectElement & HTMLTextAreaElement} Control
 */

const NEVER = /(^|\s)(\S*-password|one-time-code|cc-\S*)(\s|$)/i;
const BLOCK = /^(address|article|aside|blockquote|d[dlt]|div|fig\w+|footer|h[1-6r]|header|li|main|nav|ol|p|pre|section|table|tr|ul)$/;

/** What was once a password stays one, however it is shown now. @type {WeakSet<Element>} */
const secrets = new WeakSet();
/** And so does what is put in its place. @type {WeakMap<HTMLFormElement, Set<string>>} */
const secretNames = new WeakMap();

/** @param {Element} element */
export const noteSecret = (element) => {
  const { type, form, name } = /** @type {HTMLInputElement} */ (element);
  if (type !== 'password') return;
  secrets.add(element);
  if (!form || !name) return;
  if (!secretNames.has(form)) secretNames.set(form, new Set());
  secretNames.get(form)?.add(name);
};

/** @param {HTMLFormElement} form @param {Control} control */
const mayBeKept = (form, control) =>
  control.name &&
  !control.matches(':disabled') &&
  !secrets.has(control) &&
  !secretNames.get(form)?.has(control.name) &&
  control.dataset.sessionDraft !== 'off' &&
  !/^(password|file|hidden|submit|button|reset|image|fieldset|output|object)$/.test(control.type) &&
  // Not the property: where a browser does not know the word, that is empty.
  !NEVER.test(control.getAttribute('autocomplete') ?? '');

/**
 * The text of an element that is edited in place, as plain text. Not `innerText`, which is empty where nothing is shown.
 * @param {HTMLElement} root
 */
const textOf = (root) => {
  let text = '';
  /** The next text begins a line. */
  let isDue = false;
  const broken = () => {
    if (isDue && text && !text.endsWith('\n')) text = text.replace(/ +$/, '') + '\n';
    isDue = false;
  };
  /** @param {Node} node @param {boolean} isPre */
  const walk = (node, isPre) => {
    for (const child of node.childNodes) {
      const name = child.nodeName.toLowerCase();
      if (child instanceof Text) {
        let data = child.data;
        if (!isPre) {
          data = data.replace(/[ \t\r\n\f]+/g, ' ');
          if (isDue || !text || text.endsWith('\n')) data = data.replace(/^ /, '');
        }
        if (data) broken();
        text += data;
      } else if (name === 'br') {
        broken();
        text += '\n';
      } else if (!/^(script|style|template)$/.test(name)) {
        const isBlock = BLOCK.test(name);
        isDue ||= isBlock;
        walk(child, isPre || name === 'pre');
        isDue ||= isBlock;
      }
    }
  };
  walk(root, /pre|break/.test(getComputedStyle(root).whiteSpace));
  // An editor keeps a line break at the end, also of an empty text.
  return text.replace(/\n+$/, '');
};

/** What those that cannot tell it were rendered with: what they held when they were first looked at. @type {WeakMap<Element, unknown>} */
const first = new WeakMap();

const isBuiltIn = /^(input|select|textarea)$/;

/**
 * What an element holds, and what it was rendered with.
 * @param {Element} element
 * @returns {[unknown, unknown]}
 */
export const read = (element) => {
  const control = /** @type {Control} */ (element);
  if (!isBuiltIn.test(element.localName)) {
    const value = element.hasAttribute('contenteditable') ? textOf(control) : control.value;
    if (!first.has(element)) first.set(element, value);
    return [value, first.get(element)];
  }
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
  const { value, defaultValue } = control;
  if (value === defaultValue) return [value, value];
  // As its type reads it: a range has a value where none was rendered.
  const fresh = /** @type {Control} */ (control.cloneNode());
  fresh.value = defaultValue;
  return [value, fresh.value];
};

/**
 * @param {HTMLFormElement} form
 * @returns {[Field, HTMLElement][]}
 */
export const fieldsOf = (form) => {
  const controls = /** @type {Control[]} */ ([...plain(form).elements]);
  controls.forEach(noteSecret);
  const editable = /** @type {NodeListOf<HTMLElement>} */ (
    plain(form).querySelectorAll('[contenteditable][data-session-draft-field]')
  );
  /** @type {Record<string, number>} */
  const seen = Object.create(null);
  /** @type {[Field, HTMLElement][]} */
  const found = [];
  for (const it of [...controls, ...editable]) {
    const name = it.dataset.sessionDraftField ?? /** @type {Control} */ (it).name;
    // Those that are not kept count as well: they may be tomorrow.
    const index = (seen[name] = (seen[name] ?? -1) + 1);
    try {
      const isKept = it.hasAttribute('contenteditable') || mayBeKept(form, /** @type {Control} */ (it));
      if (isKept) found.push([[name, index, ...read(it)], it]);
    } catch {
      // An element of the application's own that does not tell.
    }
  }
  return found;
};

/** @param {unknown} a @param {unknown} b */
export const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** @param {Field} field */
export const isChanged = ([, , value, rendered]) => !same(value, rendered);

/** @param {HTMLFormElement} form */
export const isDirty = (form) => fieldsOf(form).some(([field]) => isChanged(field));

/** @param {Field} field */
export const keyOfField = ([name, index]) => index + ' ' + name;

/**
 * Scripts of the page hear of it as if it was typed.
 * @param {HTMLElement} element
 * @param {unknown} value
 * @returns whether the element can hold that
 */
export const write = (element, value) => {
  const control = /** @type {Control} */ (element);
  if (Array.isArray(value)) {
    const options = [...(control.options ?? [])];
    if (!value.every((wanted) => options.some((it) => it.value === wanted))) return false;
    for (const it of options) it.selected = value.includes(it.value);
  } else if (typeof value === 'boolean') control.checked = value;
  else if (element.hasAttribute('contenteditable')) element.innerText = String(value);
  else control.value = String(value);
  for (const type of ['input', 'change']) element.dispatchEvent(new Event(type, { bubbles: true }));
  return true;
};
