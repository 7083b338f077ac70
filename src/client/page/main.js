/**
 * The user is told in time, can stay, and loses nothing.
 *
 * Local time only decides when to ask the server, and the server's answer opens the warning or ends the page; without a
 * network, local time does what it can.
 */
import { jumped, now, since, timer } from './clock.js';
import { attempt, doc, onSite, plain } from './dom.js';
import * as drafts from './drafting.js';
import { inWords, message, timeOfDay } from './messages.js';
import { OF_SESSION } from './names.js';
import { base, fire, here, home, loginUrl, option } from './options.js';
import { ask, readTiming } from './server.js';
import { hide, isVeiled, unveil, veil, warning } from './view.js';

/**
 * @typedef {import('./server.js').Status} Status
 * @typedef {'starting' | 'active' | 'warning' | 'unknown' | 'ended' | 'anonymous' | 'replaced'} State
 */

/** Where a second tag, and a frame's script, find this one: neither markup nor the application's variables are named so. */
const MARK = Symbol.for('session-timeout');
const SIGNED_OUT = 'session-timeout:signed-out';
/** So long a log-out takes at most to lead elsewhere: later, it was called off. */
const SIGNING_OUT = 60_000;
/** Why a session may have ended, as far as other tabs are believed. */
const REASONS = ['idle', 'absolute', 'signed_out', 'revoked'];
const NO_DETAIL = {};

/** @type {State} */
let state = 'starting';
/** @type {Status | undefined} */
let status;
/** Whom this page was loaded for. @type {string | null | undefined} */
let user;
/** Of which session. @type {string | null | undefined} */
let session;
/** How long before the end the next warning is due, in milliseconds. */
let lead = 0;
/** The warning for this lead has been given. */
let warned = false;
/** @type {ReturnType<typeof warning> | undefined} */
let view;
/** The server could not be asked. */
let away = false;
let retryDelay = 0;
/** What another tab said of the end. @type {string | undefined} */
let hint;
/** The page came out of a cache, and nobody has said that it is of who is signed in now: it is hidden until then. */
let unsure = false;
/** The page can be left: nothing of it would be lost. */
let safe = true;
/** It is to be left for the log-in page, once somebody looks at it. */
let waiting = false;
let leaving = false;
/** @type {Promise<Status | undefined> | undefined} */
let asking;
/** @type {BroadcastChannel | undefined} */
let channel;

/** Whose drafts these are: the user's; where nobody says who that is, the session's. */
const whose = () => user ?? OF_SESSION + session;

const isHidden = () => doc.visibilityState === 'hidden';
const isOver = () => state === 'ended';
const isOn = () => state === 'active' || state === 'warning' || state === 'unknown';
const remaining = () => (status ? status.expires_in_ms - since(status.asked) : 0);

/**
 * @param {'renewed' | 'ended' | 'active'} type
 * @param {object} [more]
 */
const tell = (type, more = NO_DETAIL) => attempt(() => channel?.postMessage({ type, ...more }));

const wake = timer(() => {
  if (!jumped()) return update();
  wake(1000);
  check();
});
const retry = timer(() => check());

/** Asks how long the session has left; one request at a time. */
const check = () =>
  (asking ??= ask('status').then((told) => {
    asking = undefined;
    take(told);
    return told;
  }));

/** @param {number} idleFor milliseconds since the user was last active */
const renew = async (idleFor) => {
  sent = now();
  const headers = { 'Session-Idle-For': String(Math.round(idleFor)), ...(user && { 'Session-User': user }) };
  const told = await ask('keep-alive', { method: 'POST', headers });
  take(told);
  if (told && isOn()) {
    fire('renewed', { remaining: remaining() });
    tell('renewed');
  }
  return told;
};

/** @param {Status | undefined} told */
const take = (told) => {
  if (!told) return unknown();
  away = false;
  retryDelay = 0;
  retry();
  if (told.state !== 'active') return over(told.reason ?? hint);
  // Where nobody says who the user is, another session may be anybody's.
  if (user !== undefined && (told.user !== user || (!user && told.session !== session))) return replaced();
  unsure = false;
  const isFirst = !status;
  const isBack = isVeiled() || (!isFirst && told.session !== session);
  const wasEnded = state === 'ended';
  [user, session, status, hint] = [told.user, told.session, told, undefined];
  if (isFirst || told.expires_in_ms > told.warn_ms) lead = told.warn_ms;
  state = warned ? 'warning' : 'active';
  if (isBack) {
    unveil();
    leaving = false;
    drafts.keep(true);
    // The key for them may have been refused meanwhile.
    if (!isFirst) drafts.scan();
    if (!isFirst && (wasEnded || !warned)) fire('resumed');
  }
  if (isFirst) begin();
  update(true);
};

/** Who has signed out here, if this page is the first to ask. */
const signedOut = () =>
  attempt(() => {
    const [at, left] = sessionStorage.getItem(SIGNED_OUT)?.split(' ') ?? [];
    sessionStorage.removeItem(SIGNED_OUT);
    return Math.abs(Date.now() - Number(at)) < SIGNING_OUT ? left : undefined;
  });

const begin = () => {
  tell('active', { whose: whose() });
  const left = signedOut();
  if (left && left !== whose()) drafts.forget(left);
  drafts.keep(true);
  drafts.begin(whose(), String(session));
};

/**
 * Sets the timer for what is next, and does what is due: whatever goes wrong there, the time is looked at again.
 * @param {boolean} [isFresh] the server has just said so
 */
const update = (isFresh) => {
  if (!isOn() || !status) return wake();
  const left = remaining();
  // Ticks notice a clock that jumped. A hidden page has one timer, at a moment of its own.
  if (left > lead) wake(isHidden() ? left - lead + Math.random() * 4000 : Math.min(left - lead, 15_000));
  else wake(left > 0 ? left % 1000 || 1000 : 1000);
  if (view && (left > lead || view.canExtend !== status.can_extend)) closeWarning();
  if (left > lead) {
    warned = false;
    if (state === 'warning') state = 'active';
    return plan();
  }
  if (!isFresh && !away && (!warned || left <= 0)) return void check();
  if (left <= 0) return void (away && lost());
  if (!warned) {
    if (composing && left > Math.max(30_000, lead - 3000)) return wake(250);
    attempt(() => openWarning(left));
  }
  attempt(() => count(left));
};

/** @param {number} left */
const openWarning = (left) => {
  warned = true;
  state = 'warning';
  spoken = undefined;
  const canExtend = !!status?.can_extend;
  drafts.flush();
  if (!fire('warning', { remaining: left, canExtend })) return;
  view = warning({ canExtend, at: timeOfDay(left), stay, signOut });
  if (isHidden()) doc.title = message('alert') + ' ' + doc.title;
  if (away) view.say(message('offline'), 'shown');
};

const closeWarning = () => {
  const open = view;
  view = undefined;
  warned = false;
  open?.close();
  restoreTitle();
};

const restoreTitle = () => {
  const prefix = message('alert') + ' ';
  if (doc.title.startsWith(prefix)) doc.title = doc.title.slice(prefix.length);
};

/** What a screen reader was told last, and when. @type {{ stage: number, at: import('./clock.js').Instant } | undefined} */
let spoken;

/**
 * Shows the time left; says it at full minutes, half a minute and ten seconds.
 * @param {number} left
 */
const count = (left) => {
  if (!view) return;
  view.tick(inWords(left));
  const seconds = Math.ceil(left / 1000);
  const stage = seconds > 60 ? 3 + Math.ceil(seconds / 60) : seconds > 30 ? 3 : seconds > 10 ? 2 : 1;
  if (away || isHidden() || stage === spoken?.stage || (spoken && since(spoken.at) < 10_000)) return;
  spoken = { stage, at: now() };
  view.say(message('left', inWords(left)), stage === 1 ? 'urgent' : 'spoken');
};

/** The answer to Stay is on its way. */
let staying = false;

const stay = async () => {
  if (!view) return;
  if (!view.canExtend) {
    lead = lead > 60_000 ? 60_000 : 0;
    return update();
  }
  if (staying || since(sent) < 500) return;
  staying = true;
  view.busy(true);
  try {
    await renew(0);
  } finally {
    staying = false;
    view?.busy(false);
  }
};

const unknown = () => {
  if (state === 'anonymous' || state === 'ended' || state === 'replaced') return;
  if (!away) fire('offline');
  away = true;
  retryDelay = Math.min(retryDelay * 2 || 2000, 60_000);
  retry(retryDelay);
  if (!status && !unsure) return;
  if (remaining() <= 0 || isVeiled()) return lost();
  update();
  view?.say(message('offline'), 'shown');
};

/** The time ran out, and nobody can say whether the session has. */
const lost = async () => {
  stop('unknown');
  await flushed();
  if (state === 'unknown' && away) veil(message('lost'), message(safe ? 'lost-text' : 'offline'));
};

/**
 * First of all, the page is out of sight.
 * @param {State} next
 * @param {boolean} [stays] in sight
 */
const stop = (next, stays) => {
  if (!stays) hide();
  state = next;
  wake();
  plan();
  attempt(closeWarning);
};

/** Saves the drafts, but does not wait for them for long. */
const flushed = async () => {
  safe = await Promise.race([
    drafts.flush(true).catch((problem) => (console.error(problem), false)),
    /** @type {Promise<boolean>} */ (new Promise((resolve) => setTimeout(resolve, 300, false))),
  ]);
  // What is saved later would not be filled in unasked. (Meanwhile, the session may be known to live.)
  if (away || !isOn()) drafts.keep(false);
};

/** @param {string | undefined} reason */
const over = async (reason) => {
  if (isOver()) return leave();
  if (state === 'anonymous' || state === 'replaced') return;
  if (loadsAnew()) return;
  if (!unsure && !(isOn() && status)) {
    stop('anonymous', true);
    const left = signedOut();
    if (left) drafts.forget(left);
    drafts.forget(OF_SESSION);
    attempt(drafts.refused);
    return tell('ended', { reason: left ? 'signed_out' : undefined });
  }
  const wasVeiled = isVeiled();
  const byApplication = option('on-expire') === 'event';
  stop('ended', byApplication);
  fire('ended', { reason });
  tell('ended', { reason });
  if (reason !== 'signed_out') {
    // A sign-out that was asked for, and then called off.
    if (reason) signedOut();
    await flushed();
    if (!isOver()) return;
  }
  if (reason === 'signed_out' || !user) drafts.forget();
  // What was hidden before is shown to nobody, whatever the application does.
  if (!fire('expired', { reason }) || byApplication) {
    if (!wasVeiled) unveil();
    return;
  }
  const stays = option('on-expire') === 'screen';
  const text = message(reason ?? '') + (safe && reason !== 'signed_out' ? ' ' + message('kept') : '');
  veil(message('ended'), text.trim(), stays ? 'again' : 'signin', loginUrl(), stays);
  waiting = !stays;
  leave();
};

const leave = () => {
  if (!waiting || isHidden()) return;
  waiting = false;
  leaving = safe;
  location.replace(loginUrl());
};

const replaced = () => {
  if (state === 'replaced' || loadsAnew()) return;
  stop('replaced');
  drafts.keep(false);
  fire('replaced');
  veil(message(user ? 'replaced' : 'other-session'), '', 'reload', here());
};

/** A page that a cache kept of somebody else is asked of the server, once: a service worker may give the same again. */
const loadsAnew = () => {
  if (!unsure || navigation?.type === 'reload') return false;
  location.reload();
  return true;
};

// The user's activity.

/** @type {import('./clock.js').Instant | undefined} */
let activity;
/** When a renewal was last asked for. */
let sent = { wall: 0, steady: -Infinity };

/** Renews, if the user was active since the server heard of it last; not more often than it takes. */
const plan = () => {
  if (state !== 'active' || !status?.can_extend || !activity) return renewal();
  const { idle_ms: idle, warn_ms: warn, expires_in_ms: left, asked } = status;
  const heard = since(asked) + idle - left;
  const idleFor = since(activity);
  if (idleFor > heard - 1000) return renewal();
  const period = Math.max(5000, Math.min(Math.min(Math.max(idle / 4, 15_000), 300_000), idle - warn - 5000));
  const wait = period - Math.min(heard, since(sent));
  if (wait > 0) return renewal(wait);
  renew(idleFor);
};
const renewal = timer(plan);

const active = () => {
  if (state !== 'active' || isHidden() || !doc.hasFocus()) return;
  activity = now();
  plan();
};

/** A word is being put together with an input method. */
let composing = false;

const framed = () => {
  try {
    return top !== self && /** @type {any} */ (top)[MARK];
  } catch {
    // A page of another site around this one.
    return undefined;
  }
};

const outer = framed();
for (const type of ['keydown', 'input', 'pointerdown', 'touchstart', 'wheel']) {
  addEventListener(
    type,
    (event) => {
      if (event.isTrusted && option('activity') !== 'none') (outer ? outer.active : active)();
    },
    { capture: true, passive: true },
  );
}

// Signing out.

const logout = option('logout');
const isPath = logout?.[0] === '/';
/** The application's word comes first. */
const logoutSelectors = ['[data-session-logout]'];
if (logout) logoutSelectors.unshift(isPath ? `a[href="${logout}"],form[action="${logout}"]` : logout);
const logoutSelector = logoutSelectors.join();

/**
 * Whether pressing it leads somewhere, and nowhere but to this site: anybody's markup may say that it signs out.
 * @param {Element} it
 */
const staysHere = (it) => {
  if (it instanceof HTMLFormElement) return plain(it).method !== 'dialog' && onSite(plain(it).action);
  const pressed = /** @type {HTMLAnchorElement & HTMLButtonElement} */ (it.closest('a,area,button,input,label') ?? it);
  const urls = [pressed.href, pressed.formAction, pressed.form && plain(pressed.form).action];
  return pressed instanceof HTMLElement && pressed.localName !== 'label' && urls.every((url) => !url || onSite(url));
};

const markSignedOut = () => attempt(() => session && sessionStorage.setItem(SIGNED_OUT, `${Date.now()} ${whose()}`));

/**
 * Goes by the application's log-out, if the tag's selector finds one thing only, and that is certain to lead there: others'
 * markup may fit the selector as well. A path can be gone to, unless a form wants to be sent there.
 * @returns whether it did
 */
const leaveByLogout = () => {
  const found = logout ? [...doc.querySelectorAll(logoutSelectors[0])] : [];
  const path = isPath && onSite(logout);
  if (path && found.every((it) => it instanceof HTMLAnchorElement)) return (location.assign(path), true);
  const [it] = found;
  if (found.length !== 1 || !(it instanceof HTMLElement) || !staysHere(it) || doc.querySelector('base[target]')) return false;
  if (it instanceof HTMLAnchorElement) return !it.target && !it.hasAttribute('download') && (it.click(), true);
  // Its buttons sign out as the form does; one that changes what is sent, or where, is none of those.
  if (plain(it).matches('[formaction],[formmethod],[formtarget]')) return false;
  const form = it instanceof HTMLButtonElement ? it.form : it;
  if (!(form instanceof HTMLFormElement) || plain(form).method !== 'post' || plain(form).target) return false;
  return plain(form).checkValidity() && (plain(form).requestSubmit(), true);
};

/** The session is ended first: what the application does for it comes on top. */
const signOut = async () => {
  const told = await ask('sign-out', { method: 'POST' });
  if (!told || told.state === 'active') return void view?.say(message('offline'), 'shown');
  markSignedOut();
  // Whatever the application makes of its own log-out.
  hide();
  await drafts.forget();
  tell('ended', { reason: 'signed_out' });
  if (!leaveByLogout()) location.assign(onSite(option('login-url')) ?? home);
  // Wherever that led, the page does not stay.
  retry(10_000);
};

/** A form that the guard is looking at. @type {HTMLFormElement | undefined} */
let held;
/** And one on its way after that. @type {HTMLFormElement | undefined} */
let passing;

/** @param {SubmitEvent} event */
const guard = async (event) => {
  const form = event.target;
  if (!event.isTrusted || !drafts.isDraftForm(form) || !isOn()) return;
  if (passing === form || (status && since(status.asked) < 60_000 && remaining() > 10_000)) {
    passing = undefined;
    return drafts.submitted(form, event, String(session));
  }
  // Nothing is sent into a session that is over.
  event.preventDefault();
  event.stopImmediatePropagation();
  // Whoever sees nothing happen presses once more.
  if (held === form) return;
  held = form;
  const send = drafts.hold(form, /** @type {HTMLElement | null} */ (event.submitter));
  drafts.flush();
  await check();
  held = undefined;
  if (!isOn()) return;
  passing = form;
  send();
  passing = undefined;
};

// The page, its other tabs, and what wakes it up.

const openChannel = () => {
  channel = new BroadcastChannel('session-timeout:' + base);
  channel.onmessage = ({ data }) => {
    if (!data) return;
    if (data.type === 'ended') hint = REASONS.find((reason) => reason === data.reason);
    if (data.type === 'ended' ? isOn() : data.type === 'renewed' ? warned || away : data.whose !== whose() || !isOn()) {
      if (state !== 'anonymous' && state !== 'starting') check();
    }
  };
};

const wakeUp = () => {
  if (state === 'anonymous' || state === 'starting' || state === 'replaced') return;
  if (jumped() || !isOn() || !status || since(status.asked) > 5000) check();
  else update();
};

/** How this page was loaded. @type {PerformanceNavigationTiming | undefined} */
let navigation;

const start = () => {
  [navigation] = /** @type {PerformanceNavigationTiming[]} */ (performance.getEntriesByType('navigation'));
  attempt(openChannel);
  const atLoad = readTiming(navigation);
  if (atLoad?.isFresh) take(atLoad);
  else {
    if (atLoad) {
      unsure = true;
      [user, session] = [atLoad.user, atLoad.session];
      hide();
    }
    check();
  }
  new PerformanceObserver((list) => {
    for (const entry of /** @type {PerformanceResourceTiming[]} */ (list.getEntries())) {
      const told = readTiming(entry);
      if (!told?.isFresh || state === 'ended' || state === 'replaced') continue;
      // The layer's answers to this page know its session's digest. What else there is, and what another site may have
      // answered in the end, may be anybody's: the server is asked.
      if (!isOn() || told.session !== session || told.user !== user || entry.redirectStart) {
        if (isOn()) wakeUp();
        else check();
        continue;
      }
      if (status && told.asked.steady <= status.asked.steady) continue;
      const isRenewed = told.expires_in_ms > remaining() + 1000;
      take(told);
      if (isRenewed) tell('renewed');
    }
  }).observe({ type: 'resource', buffered: true });

  addEventListener('visibilitychange', () => {
    if (!isHidden()) {
      restoreTitle();
      wakeUp();
    } else if (isOn()) drafts.flush();
  });
  for (const type of ['focus', 'online']) addEventListener(type, wakeUp);
  doc.addEventListener('resume', wakeUp);
  addEventListener('pagehide', ({ persisted }) => {
    // A message would throw the page out of the cache.
    channel?.close();
    channel = undefined;
    if (persisted && isOn()) hide();
  });
  addEventListener('pageshow', ({ persisted }) => {
    if (!persisted) return;
    attempt(openChannel);
    if (state !== 'anonymous') check();
  });
  // The application's question whether to leave would keep the veiled page; what it asks for is saved. Chromium asks the
  // listeners in their order: this one is before those of scripts that run later.
  addEventListener('beforeunload', (event) => leaving && event.stopImmediatePropagation(), true);
  addEventListener('compositionstart', () => (composing = true), true);
  addEventListener('compositionend', () => (composing = false), true);
  addEventListener('submit', guard, true);
  addEventListener(
    'submit',
    (event) => {
      const of = [event.target, event.submitter];
      if (of.some((it) => it instanceof Element && plain(it).matches(logoutSelector) && staysHere(it))) markSignedOut();
    },
    true,
  );
  addEventListener(
    'click',
    ({ target }) => {
      const pressed = target instanceof Element && plain(target).closest(logoutSelector);
      if (pressed && !(pressed instanceof HTMLFormElement) && staysHere(pressed)) markSignedOut();
    },
    true,
  );
};

const api = {
  get state() {
    return state;
  },
  /** Milliseconds, or nothing if there is no session. */
  remaining: () => (isOn() && status ? Math.max(0, remaining()) : undefined),
  check,
  keepAlive: () => renew(0),
  signOut,
  active,
  scan: drafts.scan,
  clearDraft: drafts.clear,
};
Object.defineProperty(window, MARK, { value: api });
if (Object.hasOwn(window, 'sessionTimeout')) console.warn('session-timeout: the page keeps its own sessionTimeout');
else Object.defineProperty(window, 'sessionTimeout', { value: api });

if (!outer) {
  if (/** @type {any} */ (doc).prerendering) {
    doc.addEventListener('prerenderingchange', start, { once: true });
  } else start();
}
