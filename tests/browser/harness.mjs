// A scene is a browser context with pages of one server: of the stub, whose clock moves with the pages', or of the real
// example, in real time. Whatever a page writes to its console as an error fails the test, and so does a violation of
// its Content-Security-Policy, which Chromium writes there.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before } from 'node:test';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { setTimeout as pause } from 'node:timers/promises';
import { chromium } from 'playwright-core';
import { Stub } from './stub.mjs';

/** How slow this machine is: see tests/pace. */
export const PACE = Number(process.env.PACE ?? 1);
/** Only a failure takes so long, on however busy a machine. */
const PATIENCE = 10_000 * PACE;
/** An instant on which no user's clock is wrong. */
export const START = Date.UTC(2030, 0, 7, 9);
export const FAILED_REQUEST = /Failed to load resource/;

let browser;
before(async () => {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    // The watchdog ends a browser on a machine that is merely busy.
    args: ['--no-sandbox', '--disable-gpu', '--in-process-gpu', '--disable-gpu-watchdog', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
    timeout: 3 * PATIENCE,
    // A test is about pages kept for the Back button.
    ignoreDefaultArgs: ['--disable-back-forward-cache'],
  });
});
after(() => browser.close());

/** In each page, before the clock is replaced. */
function keepReal() {
  globalThis.real = { performance, PerformanceObserver, setTimeout: globalThis.setTimeout.bind(globalThis) };
}

/**
 * In each page, after the clock was replaced: entries of the page's own requests, which the replaced `performance` hides,
 * on the replaced clock; and a clock of the page that begins with the page.
 */
function matchPerformance() {
  const { performance: real, PerformanceObserver: RealObserver } = globalThis.real;
  const sinceInstall = performance.now;
  let began;
  performance.now = () => sinceInstall() - (began ??= sinceInstall());
  document.addEventListener('readystatechange', () => performance.now(), { once: true });
  const times = new Set(['startTime', 'fetchStart', 'requestStart', 'responseStart', 'responseEnd']);
  const moved = (offset) => (entry) =>
    new Proxy(entry, {
      get(target, key) {
        const value = target[key];
        if (times.has(key)) return Math.max(0, value + offset);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  const now = (entries) => entries.map(moved(performance.now() - real.now()));
  performance.getEntriesByType = (type) =>
    type === 'navigation' ? real.getEntriesByType(type).map(moved(-Infinity)) : now(real.getEntriesByType(type));
  performance.getEntries = () => now(real.getEntries());
  globalThis.PerformanceObserver = class extends RealObserver {
    constructor(observe) {
      super((list, observer) => {
        const entries = (got) => got.map((entry) => moved(entry.entryType === 'navigation' ? -Infinity : performance.now() - real.now())(entry));
        observe(
          {
            getEntries: () => entries(list.getEntries()),
            getEntriesByType: (type) => entries(list.getEntriesByType(type)),
            getEntriesByName: (name, type) => entries(list.getEntriesByName(name, type)),
          },
          observer,
        );
      });
    }
  };
}

/** In each page: what a test looks at. */
function look({ isHidden, throttled }) {
  globalThis.visibility = isHidden ? 'hidden' : 'visible';
  // In truth each page here is visible, until it is left.
  const { get: truth } = Object.getOwnPropertyDescriptor(Document.prototype, 'visibilityState');
  Object.defineProperty(Document.prototype, 'visibilityState', { get: () => (truth.call(document) === 'hidden' ? 'hidden' : globalThis.visibility) });
  // As markup cannot name them.
  const [send, query] = [Document.prototype.dispatchEvent, Document.prototype.querySelectorAll];
  Object.defineProperty(Document.prototype, 'hidden', { get: () => truth.call(document) === 'hidden' || globalThis.visibility === 'hidden' });
  globalThis.become = (visibility) => {
    globalThis.visibility = visibility;
    send.call(document, new Event('visibilitychange', { bubbles: true }));
  };
  globalThis.part = (name) =>
    [...query.call(document, 'session-timeout')].map((host) => host.shadowRoot?.querySelector(`[part~="${name}"]`)).find(Boolean) ?? null;
  globalThis.isOpen = (name) => globalThis.part(name)?.open === true;
  globalThis.longest = 0;
  const setTimer = globalThis.setTimeout;
  globalThis.setTimeout = (act, delay = 0, ...rest) => {
    globalThis.longest = Math.max(globalThis.longest, delay);
    return setTimer(act, throttled && globalThis.visibility === 'hidden' ? Math.max(delay, throttled) : delay, ...rest);
  };
  const report = (kind, name, detail) => void globalThis.report?.(kind, name, detail)?.catch?.(() => {});
  const showModal = HTMLDialogElement.prototype.showModal;
  HTMLDialogElement.prototype.showModal = function () {
    report('shown', this.getAttribute('part') ?? this.id);
    return showModal.call(this);
  };
  for (const name of ['warning', 'renewed', 'expired', 'ended', 'replaced', 'resumed', 'offline', 'draft-saved', 'draft-restore', 'draft-error'])
    addEventListener(`session-timeout:${name}`, () => report('event', name), true);
}

/** While a page navigates, nobody can look into it. */
function unlessNavigating(error) {
  if (!/context was destroyed|navigat|Cannot find context|Target .*closed/i.test(String(error))) throw error;
}

class Scene {
  /** What its pages did: `{ kind: 'event' | 'shown', name, page }`. */
  reports = [];
  errors = [];
  /** How many drafts each page had saved when somebody asked last. */
  saved = new Map();

  async begin({ clock, allow = [], reducedMotion, viewport, isHidden = false, throttled = 0, time = START, before: first }) {
    this.allow = allow;
    this.clock = clock;
    this.context = await browser.newContext({ baseURL: this.url, reducedMotion, viewport: viewport ?? { width: 760, height: 480 } });
    this.context.setDefaultTimeout(PATIENCE);
    await this.context.exposeBinding('report', ({ page }, kind, name) => void this.reports.push({ kind, name, page }));
    await this.context.addInitScript(keepReal);
    if (clock) {
      await this.context.clock.install({ time });
      await this.context.clock.pauseAt(time + 1000);
      await this.context.addInitScript(matchPerformance);
    }
    await this.context.addInitScript(look, { isHidden, throttled });
    if (first) await this.context.addInitScript(first);
    this.context.on('page', (page) => this.#watch(page));
  }

  /** A browser context of its own, in which nothing is watched or replaced. */
  plainContext(options) {
    return browser.newContext({ baseURL: this.url, ...options });
  }

  #watch(page) {
    page.on('console', (message) => {
      if (message.type() === 'error') this.errors.push(`${message.text()} (${message.location().url})`);
    });
    page.on('pageerror', (error) => this.errors.push(String(error)));
  }

  async finish() {
    // Chromium may not come back from closing a page that was kept for the Back button; it goes with the browser.
    await Promise.race([this.context?.close(), pause(2_000)]);
    assert.deepEqual(this.errors.filter((error) => !this.allow.some((allowed) => allowed.test(error))), [], 'errors on the console');
  }

  /** A page that knows the state of its session. */
  async open(path = '/') {
    const page = await this.context.newPage();
    await page.goto(path);
    await this.ready(page);
    return page;
  }

  async ready(page) {
    await this.until('the script knows the state', () => page.evaluate(() => globalThis.sessionTimeout && globalThis.sessionTimeout.state !== 'starting'));
  }

  /** Polls, for no page tells when it is done; moves a replaced clock by a hair, for timers of 0 ms. */
  async until(what, condition, tick = 1) {
    const end = Date.now() + PATIENCE;
    for (;;) {
      const result = await Promise.resolve(condition()).catch(unlessNavigating);
      if (result) return result;
      assert.ok(Date.now() < end, `waited in vain: ${what}`);
      if (this.clock) await this.advance(tick);
      await pause(20);
    }
  }

  /** Until the pages' requests are answered, and what follows from the answers is done. */
  async settle(...pages) {
    for (let quiet = 0; quiet < 3; ) {
      const turn = () => new Promise((done) => globalThis.real.setTimeout(() => done(true), 10));
      const turns = await Promise.all(pages.map((page) => page.evaluate(turn).catch(unlessNavigating)));
      if (this.clock) await this.advance(1);
      quiet = this.stub.inFlight === 0 && turns.every(Boolean) ? quiet + 1 : 0;
    }
  }

  seen(kind, name, page) {
    return this.reports.filter((report) => report.kind === kind && report.name === name && (!page || report.page === page)).length;
  }

  isOpen(page, part = 'dialog') {
    return page.evaluate((part) => globalThis.isOpen(part), part);
  }

  async opened(page, part = 'dialog') {
    await this.until(`the ${part} is open`, () => this.isOpen(page, part));
  }

  async closed(page, part = 'dialog') {
    await this.until(`the ${part} is closed`, async () => !(await this.isOpen(page, part)));
  }

  state(page) {
    return page.evaluate(() => globalThis.sessionTimeout.state);
  }

  async becomes(page, state) {
    await this.until(`the state is ${state}`, async () => (await this.state(page)) === state);
  }

  async at(page, path) {
    await this.until(`the page is ${path}`, async () => new URL(page.url()).pathname === path && (await page.evaluate(() => document.readyState)) === 'complete');
  }

  /** What the user reads there. */
  text(page, part) {
    return page.evaluate((part) => globalThis.part(part)?.innerText ?? '', part);
  }

  part(page, part, within) {
    return page.locator(`session-timeout ${within ? `[part~="${within}"] ` : ''}[part~="${part}"]`).first();
  }

  become(page, visibility) {
    return page.evaluate((visibility) => globalThis.become(visibility), visibility);
  }

  /** Fills in the form of the log-in page on which this page is. */
  async signIn(page, user) {
    await page.fill('#user', user);
    await page.click('main form button');
  }

  drafts(page) {
    return page.evaluate(() => Object.entries(localStorage).filter(([key]) => key.startsWith('session-timeout:')).map(([key, value]) => `${key} ${value}`));
  }

  /** Once more since this was asked last, for it may have been saved before anybody asks. */
  async draftSaved(page) {
    const before = this.saved.get(page) ?? 0;
    await this.until('the draft is saved', () => this.seen('event', 'draft-saved', page) > before, 200);
    this.saved.set(page, this.seen('event', 'draft-saved', page));
  }
}

class StubScene extends Scene {
  /** And has fetched what it needs for drafts. */
  async ready(page) {
    await super.ready(page);
    await this.settle(page);
  }

  async advance(ms) {
    this.stub.now += ms;
    await this.context.clock.fastForward(ms);
  }

  /** One second after the other, as a page that stays awake sees them. */
  async run(ms) {
    for (let left = ms; left > 0; left -= 1000) {
      const step = Math.min(left, 1000);
      this.stub.now += step;
      await this.context.clock.runFor(step);
    }
  }

  async logIn(user, id) {
    this.sid = this.stub.logIn(user, id);
    await this.context.addCookies([{ name: 'sid', value: this.sid, url: this.url, httpOnly: true }]);
    return this.sid;
  }

  get session() {
    return this.stub.sessions.get(this.sid);
  }

  statuses() {
    return this.stub.requests('status').length;
  }

  keepAlives() {
    return this.stub.requests('keep-alive').length;
  }

  /** Until the warning is due, and open. */
  async warn(page) {
    await this.advance(this.stub.status(this.session).expires_in_ms - this.stub.warn + 1);
    await this.opened(page);
  }
}

/** `server`: settings of the stub. Signed in as ada, unless `user` says otherwise. */
export async function stubScene(t, { server, user = 'ada', clock = true, ...options } = {}) {
  const scene = new StubScene();
  scene.stub = await new Stub(server).start();
  scene.url = scene.stub.url;
  t.after(async () => {
    await scene.finish().finally(() => scene.stub.stop());
  });
  await scene.begin({ clock, ...options });
  if (user !== null) await scene.logIn(user);
  return scene;
}

export async function startExample(t, ...args) {
  const target = process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL('../../target', import.meta.url));
  const server = spawn(`${target}/debug/examples/axum`, ['--listen', '127.0.0.1:0', ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(async () => {
    if (server.exitCode !== null) return;
    server.kill('SIGKILL');
    await once(server, 'exit');
  });
  for await (const line of createInterface({ input: server.stdout })) {
    const url = /^listening on (http:\S+)$/.exec(line)?.[1];
    if (url) return url;
  }
  throw new Error('the example does not start');
}

/** With the example; `logIn(page, user, next)` leads there. */
export async function exampleScene(t, { args = ['--idle', '40', '--warn', '25', '--absolute', '120'], ...options } = {}) {
  const scene = new Scene();
  // Hooks run in this order: a page that still asks a server that is gone would count as an error.
  t.after(() => scene.finish());
  scene.url = await startExample(t, ...args);
  await scene.begin({ clock: false, ...options });
  scene.logIn = async (page, user, next = '/account') => {
    await page.goto(`/login?next=${encodeURIComponent(next)}`);
    await scene.signIn(page, user);
    await scene.at(page, new URL(next, scene.url).pathname);
    await scene.ready(page);
  };
  /** As a user does, who clicks there first: what is typed before the script for drafts has come counts, too. */
  scene.write = async (page, note) => {
    await page.click('textarea');
    await page.fill('textarea', note);
  };
  /** Ends the user's sessions from another browser. */
  scene.endElsewhere = async (user) => {
    const elsewhere = await browser.newContext({ baseURL: scene.url });
    await elsewhere.request.post('/login', { form: { user } });
    const answer = await elsewhere.request.post('/account/end-others', { maxRedirects: 0 });
    assert.equal(answer.status(), 303);
    await elsewhere.close();
  };
  return scene;
}
