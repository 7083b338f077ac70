import { now, since } from './clock.js';
import { attempt, doc, focused, plain } from './dom.js';
import { language, message } from './messages.js';

const STYLE = `:host{all:initial!important;display:contents!important;color-scheme:inherit!important;font:var(--st-font,max(1rem,16px)/1.5 system-ui,sans-serif)!important}
dialog{box-sizing:border-box;border:1px solid var(--st-border,GrayText);background:var(--st-bg,Canvas);color:var(--st-fg,CanvasText);border-radius:var(--st-radius,.5em);width:100%;max-width:min(var(--st-max-width,30em),100vw);max-height:100dvh;overflow:auto;padding:1.5em;overflow-wrap:anywhere}
dialog::backdrop{background:var(--st-backdrop,rgb(0 0 0/.6))}
.veil{border:0;border-radius:0;margin:0;max-width:none;width:100vw;height:100dvh;padding:15vh max(1.5em,calc(50vw - 15em))}
.veil::backdrop{background:linear-gradient(var(--st-bg,Canvas) 0 0)Canvas}
h2{margin:0 0 .4em;font-size:1.25em;line-height:1.3}p{margin:0 0 1em}
.clock{font-weight:600}.status:empty{display:none}
.spoken{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.actions{display:flex;flex-wrap:wrap;gap:.75em}
button,a{box-sizing:border-box;min-height:44px;min-width:44px;padding:.5em 1em;border:1px solid currentColor;border-radius:var(--st-radius,.5em);background:transparent;color:inherit;font:inherit;text-decoration:none;cursor:pointer}
.main{border-color:transparent;background:var(--st-accent,#1b4fb3);color:var(--st-accent-fg,#fff)}
:focus-visible{outline:3px solid var(--st-fg,CanvasText);outline-offset:2px}
@media(forced-colors:active){.main{border-color:ButtonText}}
@media print{:host{display:none!important}}`;

/**
 * Everything of the application's is out of sight, of reach and of the printer; its state stays as it is. Styles within undo
 * nothing of a box that is not there, and those of the page do not get in front of an important inline one.
 */
const HIDDEN = { display: 'none', 'transition-property': 'none' };

/** @param {string} text */
export const sheet = (text) => {
  const made = new CSSStyleSheet();
  made.replaceSync(text);
  return made;
};

/** What takes no inline style; frames of a `<frameset>`, of which Chromium takes no style at all; what the root itself shows. */
const hiding = sheet(
  ':root>:not(session-timeout){display:none!important}:root:has(>frameset){opacity:0!important}:root::before,:root::after{content:none!important}',
);
/** What the application's styles were, by element and property. @type {Map<HTMLElement, Record<string, [value: string, priority: string]>>} */
const hidden = new Map();
/** How far the page was scrolled. */
let scrolled = { left: 0, top: 0 };
const host = doc.createElement('session-timeout');
export const root = host.attachShadow({ mode: 'open' });
root.adoptedStyleSheets = [sheet(STYLE)];

/** In the document only while there is something to see. */
export const show = () => {
  if (host.isConnected) return;
  if (language) host.lang = language;
  host.dir = getComputedStyle(doc.documentElement).direction;
  doc.documentElement.append(host);
};

/**
 * @param {string} name of the element
 * @param {string} part
 * @param {Record<string, string>} [attributes]
 * @param {(HTMLElement | string)[]} children
 */
export const element = (name, part, attributes = {}, ...children) => {
  const made = doc.createElement(name);
  made.className = part;
  made.setAttribute('part', part);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children);
  return made;
};

/**
 * @param {string} part
 * @param {string} key
 * @param {() => void} press
 * @param {string} [style]
 */
export const button = (part, key, press, style) => {
  const made = element('button', part, { type: 'button' }, message(key));
  if (style) made.classList.add(style);
  made.onclick = press;
  return made;
};

/**
 * A modal dialog that nothing closes but `close`: browsers close one at the second Escape, whatever was prevented.
 * @param {string} part
 * @param {Record<string, string>} attributes
 * @param {() => void} dismiss
 * @param {string} title
 * @param {string} text
 * @param {HTMLElement[]} children
 */
const modal = (part, attributes, dismiss, title, text, ...children) => {
  const dialog = /** @type {HTMLDialogElement} */ (
    element(
      'dialog',
      part,
      { role: 'alertdialog', 'aria-labelledby': 'title', 'aria-describedby': 'text', ...attributes },
      element('h2', 'title', { id: 'title' }, title),
      element('p', 'text', { id: 'text' }, text),
      ...children,
    )
  );
  let wanted = true;
  const close = () => {
    wanted = false;
    attempt(() => dialog.close());
    dialog.remove();
    comeBack();
  };
  const open = () => attempt(() => dialog.showModal());
  /** Above what the application has opened since. */
  const raise = () => {
    attempt(() => dialog.close());
    open();
  };
  dialog.oncancel = (event) => {
    event.preventDefault();
    dismiss();
  };
  dialog.onclose = () => {
    if (wanted && !dialog.open) {
      open();
      dismiss();
    }
  };
  place ??= attempt(remember);
  attempt(() => {
    show();
    root.append(dialog);
    dialog.showModal();
    // Nobody sees it, and nobody could get past it.
    if (!dialog.getBoundingClientRect().height) close();
  });
  return { close, raise };
};

/** Where the user was on the page, as long as something of ours is in front of it. @type {(() => void) | undefined} */
let place;

/** @returns {() => void} what puts focus and selection back there */
const remember = () => {
  const before = focused();
  const field = before && plain(/** @type {HTMLInputElement} */ (before));
  const [from, to] = attempt(() => [field?.selectionStart, field?.selectionEnd]) ?? [];
  const selection = getSelection();
  const range = selection?.rangeCount ? selection.getRangeAt(0) : undefined;
  return () => {
    // The browser gives the focus back, if it can; but Chromium loses the selection once something is clicked.
    if (doc.activeElement === doc.body) field?.focus({ preventScroll: true });
    if (from != null) field?.setSelectionRange(from, to ?? from);
    else if (range) selection?.addRange(range);
    if (before && !before.isConnected) {
      const main = doc.querySelector('main') ?? doc.body;
      if (!main.hasAttribute('tabindex')) main.tabIndex = -1;
      main.focus();
    }
  };
};

const comeBack = () => {
  if (isVeiled() || !place) return;
  attempt(place);
  place = undefined;
};

/**
 * The warning.
 * @param {object} how
 * @param {boolean} how.canExtend
 * @param {string} how.at time of day of its end
 * @param {() => void} how.stay
 * @param {() => void} how.signOut
 */
export const warning = ({ canExtend, at, stay, signOut }) => {
  const kind = canExtend ? '' : 'absolute-';
  const opened = now();
  const clock = element('p', 'clock', { role: 'timer' });
  const status = element('p', 'status', { role: 'status' });
  const main = button('stay', canExtend ? 'stay' : 'ok', stay, 'main');
  main.autofocus = true;
  const actions = element('div', 'actions', {}, main, button('signout', 'signout', signOut));
  // Whoever was typing meant their text, not our button.
  actions.addEventListener(
    'click',
    (event) => {
      if (event.detail === 0 && event.isTrusted && since(opened) < 500) event.stopPropagation();
    },
    true,
  );
  const { close } = modal(
    'dialog',
    {},
    stay,
    message(kind + 'title'),
    message(kind + 'text', at),
    clock,
    status,
    actions,
  );
  return {
    canExtend,
    close,
    /** @param {string} text */
    tick: (text) => {
      clock.textContent = text;
    },
    /**
     * Said to screen readers, and shown unless the clock says it already.
     * @param {string} text
     * @param {'spoken' | 'shown' | 'urgent'} how
     */
    say: (text, how) => {
      status.ariaLive = how === 'urgent' ? 'assertive' : 'polite';
      status.classList.toggle('spoken', how !== 'shown');
      status.textContent = text;
    },
    /** @param {boolean} busy */
    busy: (busy) => {
      main.ariaDisabled = String(busy);
      main.textContent = message(busy ? 'checking' : canExtend ? 'stay' : 'ok');
    },
  };
};

/** @type {ReturnType<typeof modal> | undefined} */
let screen;

const conceal = () => {
  for (const it of /** @type {Iterable<HTMLElement>} */ (doc.documentElement.children)) {
    const { style } = it;
    if (it === host || !style) continue;
    const earlier = hidden.get(it) ?? {};
    hidden.set(it, earlier);
    for (const [name, value] of Object.entries(HIDDEN)) {
      const had = /** @type {[string, string]} */ ([style.getPropertyValue(name), style.getPropertyPriority(name)]);
      if (earlier[name] && had[0] === value && had[1]) continue;
      earlier[name] = had;
      style.setProperty(name, value, 'important');
    }
  }
};

/** How often the application was answered without a pause. */
let turns = 0;

/** The application goes on meanwhile: it adds to its page, styles it, and opens dialogs. */
const watch = new MutationObserver((changes) => {
  // One that undoes each answer at once would never let the browser come to anything else.
  if (!turns) setTimeout(() => (turns = 0));
  if ((turns += 1) > 100) return;
  conceal();
  const opened = changes.filter(({ attributeName }) => attributeName === 'open').map(({ target }) => target);
  if (opened.some((it) => it instanceof HTMLDialogElement && it.matches('dialog:modal'))) screen?.raise();
});

/** Hides the page at once, also where no dialog can be shown: in `pagehide`, for a page that may come back. */
export const hide = () => {
  if (isVeiled()) return;
  place ??= attempt(remember);
  scrolled = { left: scrollX, top: scrollY };
  doc.adoptedStyleSheets.push(hiding);
  conceal();
  watch.observe(doc.documentElement, { childList: true, subtree: true, attributeFilter: ['style', 'open'] });
};

export const unveil = () => {
  if (isVeiled()) {
    watch.disconnect();
    doc.adoptedStyleSheets = doc.adoptedStyleSheets.filter((used) => used !== hiding);
    for (const [it, styles] of hidden) {
      for (const [name, [value, priority]] of Object.entries(styles)) it.style.setProperty(name, value, priority);
      if (!it.getAttribute('style')) it.removeAttribute('style');
    }
    hidden.clear();
    scrollTo({ ...scrolled, behavior: 'instant' });
  }
  screen?.close();
  screen = undefined;
  comeBack();
};

export const isVeiled = () => doc.adoptedStyleSheets.includes(hiding);

/**
 * Hides the page behind an explanation.
 * @param {string} title
 * @param {string} text
 * @param {string} [action] the key of its link's text
 * @param {string} [href]
 * @param {boolean} [elsewhere] in a tab of its own
 */
export const veil = (title, text, action, href = '', elsewhere = false) => {
  screen?.close();
  hide();
  const children = [];
  if (action) {
    const link = element('a', 'signin', { href, ...(elsewhere && { target: '_blank' }) }, message(action));
    link.classList.add('main');
    children.push(element('p', 'actions', {}, link));
  }
  screen = modal('veil', { closedby: 'none' }, () => {}, title, text, ...children);
};
