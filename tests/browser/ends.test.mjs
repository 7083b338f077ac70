// What happens at the end of a session, and what the server refuses.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exampleScene, FAILED_REQUEST, stubScene } from './harness.mjs';
import { BASE, FORM, LOGOUT, Stub } from './stub.mjs';

const OFFLINE = [FAILED_REQUEST, /ERR_INTERNET_DISCONNECTED/];

/** Forms are sent nowhere, and counted. */
async function countForms(page) {
  await page.evaluate(() => {
    globalThis.sent = 0;
    document.addEventListener('submit', (event) => {
      event.preventDefault();
      globalThis.sent += 1;
    });
  });
}

const sent = (page) => page.evaluate(() => globalThis.sent);

async function offline(t) {
  const s = await stubScene(t, { allow: OFFLINE });
  const page = await s.open();
  await s.warn(page);
  await s.context.setOffline(true);
  await s.advance(26_000);
  await s.opened(page, 'veil');
  assert.match(await s.text(page, 'veil'), /connection/i);
  assert.equal(new URL(page.url()).pathname, '/');
  assert.equal(s.stub.requests('/login').length, 0);
  assert.equal(await page.evaluate(() => globalThis.sessionTimeout.remaining()), 0);
  // However often it is tried again.
  await s.advance(5_000);
  await s.settle(page);
  assert.equal(await page.locator('session-timeout dialog').count(), 1);
  assert.equal(s.seen('event', 'offline') > 0, true);
  return { s, page };
}

test('T28 without a network the page is veiled and goes nowhere; the session lives: it goes on', async (t) => {
  const { s, page } = await offline(t);
  s.session.last = s.stub.now;
  s.session.ended = null;
  await s.context.setOffline(false);
  await s.closed(page, 'veil');
  await s.becomes(page, 'active');
  assert.equal(await page.evaluate(() => document.body.checkVisibility()), true);
});

test('T28 the session is over: to the log-in', async (t) => {
  const { s, page } = await offline(t);
  await s.context.setOffline(false);
  await s.at(page, '/login');
});

test('T28 a network that is back while the drafts are saved veils nothing, and drafts are saved after that', async (t) => {
  const s = await stubScene(t, {
    allow: OFFLINE,
    before: () => {
      if (!isSecureContext) return;
      const { encrypt } = SubtleCrypto.prototype;
      const sealing = new Promise((resolve) => (globalThis.goOn = resolve));
      SubtleCrypto.prototype.encrypt = async function (...given) {
        await sealing;
        return encrypt.apply(this, given);
      };
    },
  });
  const page = await s.open();
  await page.fill('#text', 'a text');
  s.stub.instead.status = () => ({ status: 503 });
  await s.warn(page);
  await s.advance(25_100);
  await s.becomes(page, 'unknown');
  assert.equal(await s.isOpen(page, 'veil'), false);
  // What the page is asking meanwhile fails, too: a check that began later would take that answer.
  await page.evaluate(() => globalThis.sessionTimeout.check());
  s.stub.instead = {};
  s.session.last = s.stub.now;
  s.session.ended = null;
  await page.evaluate(() => globalThis.sessionTimeout.check());
  await s.becomes(page, 'active');
  await s.advance(400);
  await s.settle(page);
  assert.equal(await s.isOpen(page, 'veil'), false);
  await page.evaluate(() => globalThis.goOn());
  await s.until('the draft is saved', () => s.seen('event', 'draft-saved') >= 1);
  await s.settle(page);
  await s.draftSaved(page);
  await page.fill('#text', 'another text');
  await s.draftSaved(page);
});

/** What an application may do to its page, and what throws then. */
const BROKEN = {
  'a field without a setter': () =>
    customElements.define('my-field', class extends HTMLElement {
      static formAssociated = true;
      get name() { return 'mine'; }
      get type() { return 'mine'; }
      get value() { return 'fixed'; }
    }),
  'a field without a getter': () =>
    customElements.define('my-field', class extends HTMLElement {
      static formAssociated = true;
      get name() { throw new Error('broken'); }
    }),
  'no sealing': () => {
    if (isSecureContext) SubtleCrypto.prototype.encrypt = () => { throw new Error('broken'); };
  },
  'no storage': () => Object.defineProperty(globalThis, 'sessionStorage', { get() { throw new Error('broken'); } }),
  'no dialogs': () => {
    HTMLDialogElement.prototype.showModal = () => { throw new Error('broken'); };
    HTMLDialogElement.prototype.close = () => { throw new Error('broken'); };
  },
  'a focus that throws': () => {
    HTMLElement.prototype.focus = () => { throw new Error('broken'); };
  },
};
for (const [what, breakIt] of Object.entries(BROKEN))
  for (const network of ['a', 'no'])
    test(`T30 with ${what}, and ${network} network, the page is hidden at its end`, async (t) => {
      const s = await stubScene(t, { allow: [/./], before: breakIt });
      s.stub.page('/broken', { body: `<p id="secret">secret</p>${FORM}<form action="/x"><my-field></my-field></form>` });
      const page = await s.open('/broken');
      await page.fill('#text', 'a text');
      if (network === 'no') s.stub.instead.status = () => ({ status: 503 });
      // A hidden page does not leave before it is looked at.
      await s.become(page, 'hidden');
      await s.advance(60_000);
      await s.until('it is hidden', () => page.evaluate(() => !document.querySelector('#secret').checkVisibility({ visibilityProperty: true })), 100);
      s.stub.instead = {};
      await s.become(page, 'visible');
      await s.until('it leaves', () => s.stub.requests('/login').length > 0, 100);
    });

/** As an application asks that runs its script after ours. */
const BEFOREUNLOAD = () => {
  addEventListener('DOMContentLoaded', () =>
    addEventListener('beforeunload', (event) => {
      event.preventDefault();
      event.returnValue = '1';
    }),
  );
};

/** Chromium asks on behalf of nobody who never touched the page. */
async function type(page, field, text) {
  await page.click(field);
  await page.keyboard.type(text);
}

test("T30 the application's own question does not hold the log-in up once the draft is stored", async (t) => {
  const s = await stubScene(t, { before: BEFOREUNLOAD });
  const asked = [];
  const page = await s.open();
  page.on('dialog', (dialog) => {
    asked.push(dialog.type());
    void dialog.dismiss();
  });
  await type(page, '#text', 'dirty');
  await s.advance(60_000);
  await s.at(page, '/login');
  assert.deepEqual(asked, []);
  assert.equal(new URL(page.url()).searchParams.get('next'), '/');
  assert.equal(s.seen('event', 'draft-saved') > 0, true);
});

test('T30 where work would be lost the question is asked, over the veil', async (t) => {
  // When the test closes the page.
  const s = await stubScene(t, { before: BEFOREUNLOAD, allow: [/'beforeunload' confirmation panel/] });
  s.stub.page('/plain', { body: '<form><input id="plain" name="plain" value=""></form>' });
  const page = await s.open('/plain');
  const asked = [];
  page.on('dialog', (dialog) => {
    asked.push(dialog.type());
    void dialog.dismiss();
  });
  await type(page, '#plain', 'dirty');
  await s.advance(60_000);
  await s.until('the question', () => asked.length > 0);
  assert.deepEqual(asked, ['beforeunload']);
  await s.opened(page, 'veil');
  assert.equal(new URL(page.url()).pathname, '/plain');
  assert.ok(await s.part(page, 'signin').isVisible());
  assert.equal(await s.part(page, 'signin').getAttribute('target'), null);
});

test('T30 once the session lives again the application asks as it did before', async (t) => {
  const holdsOnce = () => addEventListener('beforeunload', (event) => {
    if (!globalThis.hasHeld) event.preventDefault();
    globalThis.hasHeld = true;
  });
  const s = await stubScene(t, { before: `(${holdsOnce})();(${BEFOREUNLOAD})()`, allow: [/'beforeunload' confirmation panel/] });
  const page = await s.open();
  let asked = 0;
  page.on('dialog', (dialog) => {
    asked += 1;
    void dialog.dismiss();
  });
  await type(page, '#text', 'dirty');
  await s.advance(60_000);
  await s.until('its page is held', () => asked === 1);
  await s.opened(page, 'veil');
  const other = await s.context.newPage();
  await other.goto('/login?next=/two');
  await s.signIn(other, 'ada');
  await s.closed(page, 'veil');
  void page.evaluate(() => location.assign('/two')).catch(() => {});
  await s.until('the question', () => asked === 2);
});

test('T32 the log-in leads back to the page', async (t) => {
  const s = await stubScene(t);
  s.stub.page('/a', { body: FORM });
  const page = await s.open('/a?x=1#s');
  await s.advance(41_000);
  await s.at(page, '/login');
  assert.match(page.url(), /\?next=%2Fa%3Fx%3D1$/);
});

const LONG = `/?${'x'.repeat(2_000)}`;
for (const [attributes, from, to] of [
  ['data-login-url="/login?lang=en"', '/', '/login?lang=en&next=%2F'],
  ['data-login-url="/login" data-return="/two#top" data-return-param="back"', '/', '/login?back=%2Ftwo%23top'],
  ['data-login-url="/login"', LONG, '/login'],
  // The server says where it is.
  ['', '/?x=1', '/login?next=%2F%3Fx%3D1'],
])
  test(`T32 ${attributes || 'without a path of the log-in page'}, from ${from.slice(0, 9)}`, async (t) => {
    const s = await stubScene(t, { server: { attributes } });
    const page = await s.open(from);
    await s.advance(41_000);
    await s.at(page, '/login');
    assert.equal(page.url().replace(s.url, ''), to);
  });

test('T32 but to no other site, whatever the path', async (t) => {
  const s = await exampleScene(t, { allow: [FAILED_REQUEST] });
  const page = await s.context.newPage();
  await page.goto('/login?next=%2F%2Fevil.example%2F');
  await s.signIn(page, 'ada');
  await s.at(page, '/account');
  const stub = await stubScene(t);
  stub.stub.page('//evil.example/', { body: FORM });
  const evil = await stub.context.newPage();
  await evil.goto(`${stub.url}//evil.example/`);
  await stub.ready(evil);
  await stub.advance(41_000);
  await stub.at(evil, '/login');
  await stub.signIn(evil, 'ada');
  await stub.at(evil, '/');
  assert.equal(new URL(evil.url()).origin, stub.url);
});

test('T37 a form is not sent into a session that has ended; later it is, once', async (t) => {
  const s = await stubScene(t, { server: { idle: 600_000, warn: 30_000, absolute: null, attributes: 'data-login-url="/login" data-activity="none"' } });
  const page = await s.open();
  await page.fill('#text', 'important');
  await s.advance(70_000);
  s.stub.end(s.sid);
  await page.click('#save');
  await s.at(page, '/login');
  assert.equal(s.stub.requests('/save').length, 0);
  await s.signIn(page, 'ada');
  await s.at(page, '/');
  await s.ready(page);
  await s.until('the draft is back', async () => (await page.inputValue('#text')) === 'important');
  s.stub.page('/done', { body: '<p>Saved</p>' });
  await s.advance(70_000);
  await page.click('#save');
  await s.at(page, '/done');
  assert.deepEqual(s.stub.requests('/save').map(({ body }) => Object.fromEntries(new URLSearchParams(body))), [{ text: 'important', how: 'plainly' }]);
});

test('T37 a form goes out while nobody knows', async (t) => {
  const s = await stubScene(t, { allow: [FAILED_REQUEST], server: { idle: 600_000, warn: 30_000, absolute: null } });
  s.stub.page('/done', { body: '<p>Saved</p>' });
  const page = await s.open();
  await page.fill('#text', 'important');
  await s.advance(70_000);
  s.stub.instead.status = () => ({ status: 503 });
  await page.click('#save');
  await s.at(page, '/done');
  assert.equal(s.stub.requests('/save').length, 1);
});

const LATER = { idle: 600_000, warn: 30_000, absolute: null, attributes: 'data-login-url="/login" data-activity="none"' };

test('T37 a form is not sent in the last ten seconds without asking, young as the last answer may be', async (t) => {
  const s = await stubScene(t, { server: { warn: 8_000, attributes: 'data-login-url="/login" data-activity="none"' } });
  const page = await s.open();
  await page.fill('#text', 'important');
  await s.advance(31_000);
  assert.equal(await s.isOpen(page), false);
  s.stub.end(s.sid);
  await page.click('#save');
  await s.at(page, '/login');
  assert.equal(s.stub.requests('/save').length, 0);
});

test('T37 but while the warning is open, a session that lives gets it', async (t) => {
  const s = await stubScene(t, { server: { warn: 8_000, attributes: 'data-login-url="/login" data-activity="none"' } });
  s.stub.page('/done', { body: '<p>Saved</p>' });
  const page = await s.open();
  await page.fill('#text', 'important');
  await s.warn(page);
  // By a script: nobody can press what is behind the warning.
  await page.evaluate(() => document.querySelector('#form').requestSubmit());
  await s.at(page, '/done');
  assert.equal(s.stub.requests('/save').length, 1);
});

test('T37 a form is not sent into the session of somebody else', async (t) => {
  const s = await stubScene(t, { server: LATER });
  const page = await s.open();
  await page.fill('#text', 'of ada');
  await s.advance(70_000);
  await s.logIn('grace');
  await page.click('#save');
  await s.becomes(page, 'replaced');
  await s.opened(page, 'veil');
  await s.settle(page);
  assert.equal(s.stub.requests('/save').length, 0);
});

test('T37 each time, and what sends the form by itself hears of it once', async (t) => {
  const s = await stubScene(t, { server: LATER });
  const page = await s.open();
  await countForms(page);
  await page.fill('#text', 'important');
  for (const time of [1, 2]) {
    await s.advance(70_000);
    const asked = s.statuses();
    await page.click('#save');
    await s.until('it is sent', async () => (await sent(page)) >= time);
    await s.settle(page);
    assert.equal(await sent(page), time);
    assert.equal(s.statuses(), asked + 1);
  }
});

test('T37 pressed twice while the script asks, a form is sent once', async (t) => {
  const s = await stubScene(t, { server: LATER });
  const page = await s.open();
  await countForms(page);
  await page.fill('#text', 'important');
  await s.advance(70_000);
  let answer;
  const answered = new Promise((resolve) => (answer = resolve));
  s.stub.instead.status = () => answered;
  await page.click('#save');
  await page.click('#save');
  answer(undefined);
  await s.until('it is sent', async () => (await sent(page)) > 0);
  await s.settle(page);
  assert.equal(await sent(page), 1);
});

test('T46 other sites can neither keep a session of the example alive nor end it', async (t) => {
  const s = await exampleScene(t, { allow: [/./] });
  const elsewhere = await new Stub({ csp: null }).start();
  t.after(() => elsewhere.stop());
  elsewhere.page('/evil', { isPublic: true, body: 'evil', tag: '' });
  const page = await s.context.newPage();
  await s.logIn(page, 'ada');
  const left = async () => (await (await page.request.get(`${BASE}/status`)).json()).expires_in_ms;
  const evil = await s.context.newPage();
  await evil.goto(`${elsewhere.url}/evil`);
  const before = await left();
  const failed = await evil.evaluate(async ([url, base]) => {
    const tell = (path, options) => fetch(url + base + path, { credentials: 'include', ...options }).then(() => 'sent', () => 'failed');
    return [
      await tell('/keep-alive', { method: 'POST', mode: 'no-cors' }),
      await tell('/sign-out', { method: 'POST', mode: 'no-cors' }),
      await tell('/keep-alive', { method: 'POST', headers: { 'Session-Idle-For': '0' } }),
      await tell('/keep-alive', { mode: 'no-cors' }),
    ];
  }, [s.url, BASE]);
  assert.deepEqual(failed, ['failed', 'failed', 'failed', 'failed']);
  assert.ok((await left()) <= before);
  const by = async (site, method, path) => (await page.request.fetch(BASE + path, { method, headers: { 'Sec-Fetch-Site': site } })).status();
  for (const site of ['cross-site', 'same-site', 'none'])
    for (const path of ['/keep-alive', '/sign-out']) assert.equal(await by(site, 'POST', path), 403, `${site} ${path}`);
  assert.equal(await by('same-origin', 'GET', '/keep-alive'), 405);
  assert.ok((await left()) <= before);
});

test('signing out ends the session by the form of the application', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await s.warn(page);
  await s.advance(600);
  await s.part(page, 'signout').click();
  await s.at(page, '/login');
  assert.equal(s.stub.requests('/logout', 'POST').length + s.stub.requests('sign-out').length >= 1, true);
  assert.equal(s.session.ended, 'signed_out');
});

test('signing out by the path of the application finds its form', async (t) => {
  const s = await stubScene(t);
  s.stub.page('/path', { attributes: 'data-login-url="/login" data-logout="/logout"', body: `${FORM}${LOGOUT}` });
  const page = await s.open('/path');
  await page.fill('#text', 'a text');
  await s.draftSaved(page);
  await s.warn(page);
  await s.advance(600);
  await s.part(page, 'signout').click();
  await s.at(page, '/login');
  assert.deepEqual(s.stub.requests('/logout').map(({ method }) => method), ['POST']);
  await s.until('the drafts are gone', async () => (await s.drafts(page)).length === 0);
});

test('signing out where the application has nothing for it asks the layer', async (t) => {
  const s = await stubScene(t, { allow: [FAILED_REQUEST] });
  s.stub.page('/bare', { attributes: 'data-login-url="/login"', body: FORM });
  const page = await s.open('/bare');
  await page.fill('#text', 'a text');
  await s.draftSaved(page);
  await s.warn(page);
  await s.advance(600);
  s.stub.instead['sign-out'] = () => ({ status: 503 });
  await s.part(page, 'signout').click();
  await s.until('it says so', async () => /connection/i.test(await s.text(page, 'status')));
  assert.equal(new URL(page.url()).pathname, '/bare');
  s.stub.instead = {};
  await s.part(page, 'signout').click();
  await s.at(page, '/login');
  assert.equal(s.session.ended, 'signed_out');
  await s.until('the drafts are gone', async () => (await s.drafts(page)).length === 0);
});

test('T40 data-on-expire="event" leaves the end to the application', async (t) => {
  const s = await stubScene(t, { server: { attributes: 'data-login-url="/login" data-on-expire="event"' } });
  const page = await s.open();
  const reasons = await page.evaluateHandle(() => {
    const given = [];
    for (const name of ['ended', 'expired']) document.addEventListener(`session-timeout:${name}`, ({ detail }) => given.push(detail.reason));
    return given;
  });
  await s.advance(41_000);
  await s.until('the application is told', () => s.seen('event', 'expired') === 1);
  await s.settle(page);
  assert.deepEqual(await reasons.jsonValue(), ['idle', 'idle']);
  assert.equal(await s.isOpen(page, 'veil'), false);
  assert.equal(s.stub.requests('/login').length, 0);
});

test('a page without a session does nothing', async (t) => {
  const s = await stubScene(t, { user: null });
  const page = await s.open('/login');
  await s.becomes(page, 'anonymous');
  const asked = s.statuses();
  await s.advance(600_000);
  await page.evaluate(() => window.dispatchEvent(new Event('focus')));
  await s.settle(page);
  assert.equal(s.statuses(), asked);
  assert.equal(LOGOUT.length > 0 && (await s.isOpen(page, 'veil')), false);
});

/** Elements that show, though the page is hidden. */
const inSight = (page) =>
  page.evaluate(() => [...document.querySelectorAll('.secret')].filter((it) => it.checkVisibility({ contentVisibilityAuto: true })).length);

test('T30 nothing that a page styles shows through the veil, and all is as it was once it is lifted', async (t) => {
  const body = `<style>.secret{visibility:visible!important}@layer x{.secret{visibility:visible!important}}</style>
<p class="secret">4711</p><p class="secret" style="visibility:visible!important;display:block!important">4711</p>
<div style="height:4000px"></div>`;
  const s = await stubScene(t, { allow: OFFLINE, server: { csp: null, attributes: 'data-login-url="/login"' } });
  s.stub.page('/styled', { body });
  const page = await s.open('/styled');
  await page.evaluate(() => scrollTo(0, 500));
  assert.equal(await inSight(page), 2);
  await s.warn(page);
  await s.context.setOffline(true);
  await s.advance(26_000);
  await s.opened(page, 'veil');
  assert.equal(await inSight(page), 0);
  s.session.last = s.stub.now;
  s.session.ended = null;
  await s.context.setOffline(false);
  await s.closed(page, 'veil');
  assert.equal(await inSight(page), 2);
  assert.equal(await page.evaluate(() => [scrollY, document.body.style.cssText].join()), '500,');
});

test('T30 a dialog that nobody sees is none: the page can be used', async (t) => {
  const s = await stubScene(t, { server: { csp: null } });
  s.stub.page('/hidden', { body: `<style>session-timeout::part(dialog){display:none!important}</style>${FORM}` });
  const page = await s.open('/hidden');
  await s.advance(s.stub.status(s.session).expires_in_ms - s.stub.warn + 1);
  await s.becomes(page, 'warning');
  assert.equal(await page.evaluate(() => document.elementFromPoint(5, 5)?.closest('session-timeout') ?? null), null);
  await page.click('body');
});

test('T30 a page style that hides what is not defined does not hide the dialog', async (t) => {
  const s = await stubScene(t, { server: { csp: null } });
  s.stub.page('/undefined', { body: `<style>:not(:defined){display:none}session-timeout{opacity:0}html{font-size:62.5%}</style>${FORM}` });
  const page = await s.open('/undefined');
  await s.warn(page);
  const size = await page.evaluate(() => {
    const dialog = globalThis.part('dialog');
    return [dialog.getBoundingClientRect().height > 50, Number.parseFloat(getComputedStyle(dialog).fontSize)];
  });
  assert.deepEqual(size, [true, 16]);
});
