/** The bar that tells of drafts: one for all of them, a row for each. */
import { doc, plain } from './dom.js';

/** @typedef {Pick<import('./drafts.js').Page, 'root' | 'sheet' | 'show' | 'element' | 'button' | 'message'>} Page */

const STYLE = `:host{display:contents}
.bar{box-sizing:border-box;border:1px solid var(--st-border,GrayText);background:var(--st-bg,Canvas);color:var(--st-fg,CanvasText);border-radius:var(--st-radius,.5rem);position:fixed;inset-inline:1rem;bottom:1rem;z-index:var(--st-z,2147483647);display:flex;flex-wrap:wrap;gap:.75rem;align-items:center;padding:.75rem 1rem}
.inside{position:sticky;bottom:0;margin-top:1rem}
.rows{flex:1 1 12rem;display:grid;gap:.75rem;max-height:45vh;overflow:auto;padding:5px;margin:-5px}.row{display:flex;flex-wrap:wrap;gap:.75rem;align-items:center}`;

/** @type {Page} */
let page;
/** @type {HTMLElement} */
let host;
/** @type {HTMLElement} */
let bar;
/** @type {HTMLElement} */
let list;
/** Of each draft that it tells of, with the form. @type {Map<import('./drafts.js').Offer, [HTMLFormElement, HTMLElement]>} */
const rows = new Map();
/** Where the focus came from. @type {HTMLElement | null} */
let before;

/** What the bar covers can be scrolled to. */
const makeRoom = () => {
  const isBelow = bar.isConnected && !bar.classList.contains('inside');
  const height = isBelow ? Math.ceil(innerHeight - bar.getBoundingClientRect().top) : 0;
  const others = doc.adoptedStyleSheets.filter((it) => it !== room);
  // As the application has it, without ours.
  doc.adoptedStyleSheets = others;
  if (!height) return;
  const padding = parseFloat(getComputedStyle(doc.body).paddingBottom) || 0;
  room.replaceSync(
    `@media screen{html{scroll-padding-bottom:${height}px!important}body{padding-bottom:${padding + height}px!important}}`,
  );
  doc.adoptedStyleSheets = [...others, room];
};
/** @type {CSSStyleSheet} */
let room;

/** Where it can be seen and reached: in a dialog that takes the rest of the page out of reach, at its end. */
const place = () => {
  if (!rows.size) return;
  const dialogs = doc.querySelectorAll('dialog:modal');
  const parent = dialogs[dialogs.length - 1] ?? doc.documentElement;
  if (host.parentNode !== parent) parent.append(host);
  bar.classList.toggle('inside', parent !== doc.documentElement);
  makeRoom();
};

/** It goes with what it tells of. */
const watch = new MutationObserver(() => {
  for (const [of, [form]] of rows) if (!plain(form).isConnected) take(of);
});

/** What it tells of. */
export const told = () => [...rows.keys()];

/** That of the page, if it names one. */
export const language = () => host.lang || undefined;

/** @param {import('./drafts.js').Offer} of */
export const take = (of) => {
  const hadFocus = doc.activeElement === host;
  rows.get(of)?.[1].remove();
  rows.delete(of);
  if (!host) return;
  if (!rows.size) {
    host.remove();
    watch.disconnect();
  }
  makeRoom();
  if (hadFocus && before?.isConnected) before.focus();
};

const close = () => {
  told().forEach(take);
};

/**
 * Tells of a draft, in the place of what it told of that before.
 * @param {import('./drafts.js').Offer} of
 * @param {HTMLFormElement} form
 * @param {string} text
 * @param {Record<string, () => void>} actions
 */
export const put = (of, form, text, actions) => {
  page.show();
  const outer = /** @type {HTMLElement} */ (page.root.host);
  [host.lang, host.dir] = [outer.lang, outer.dir];
  const row = page.element('div', 'row');
  const old = rows.get(of)?.[1];
  const hadFocus = doc.activeElement === host;
  if (old) old.replaceWith(row);
  else list.append(row);
  if (old && hadFocus) before?.focus();
  rows.set(of, [form, row]);
  watch.observe(doc.documentElement, { childList: true, subtree: true });
  place();
  // A live region tells only what changes once it is there.
  setTimeout(() => {
    row.append(
      page.element('span', 'text', {}, text),
      ...Object.entries(actions).map(([name, press]) => page.button(name, name, press)),
    );
    makeRoom();
  });
};

/** @param {Page} of */
export const begin = (of) => {
  page = of;
  room = page.sheet('');
  host = doc.createElement('session-timeout');
  const root = host.attachShadow({ mode: 'open' });
  root.adoptedStyleSheets = [...page.root.adoptedStyleSheets, page.sheet(STYLE)];
  list = page.element('div', 'rows');
  bar = page.element('div', 'bar', { role: 'status' }, list, page.button('close', 'close', close));
  root.append(bar);
  host.addEventListener('focusin', ({ relatedTarget }) => {
    before = /** @type {HTMLElement | null} */ (relatedTarget);
  });
  new ResizeObserver(makeRoom).observe(bar);
  // `close` does not bubble.
  for (const type of ['toggle', 'close']) addEventListener(type, place, true);
  addEventListener('keydown', (event) => {
    const { key, isComposing, defaultPrevented } = event;
    if (key !== 'Escape' || isComposing || defaultPrevented || !rows.size) return;
    // In a dialog, Escape is the dialog's.
    if (doc.activeElement !== host && doc.querySelector('dialog:modal')) return;
    if (page.root.querySelector('dialog')) return;
    event.preventDefault();
    close();
  });
};
