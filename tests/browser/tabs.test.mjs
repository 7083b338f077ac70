// Several tabs, several users, and pages kept for the Back button.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exampleScene, FAILED_REQUEST, PACE, stubScene } from './harness.mjs';
import { BASE, FORM, LOGOUT, Stub } from './stub.mjs';

test('T20 staying in one tab closes the warning in the other', async (t) => {
  const s = await stubScene(t);
  const [a, b] = [await s.open(), await s.open('/two')];
  await s.warn(a);
  await s.opened(b);
  const asked = s.statuses();
  await s.advance(600);
  await s.part(a, 'stay').click();
  await s.closed(a);
  await s.closed(b);
  assert.equal(s.keepAlives(), 1);
  assert.ok(s.statuses() > asked, 'the other asked for itself');
});

test('T20 so does a request of the application', async (t) => {
  const s = await stubScene(t);
  const [a, b] = [await s.open(), await s.open('/two')];
  await s.warn(a);
  await s.opened(b);
  await s.advance(1_000);
  await a.evaluate(() => fetch('/api').then((answer) => answer.text()));
  await s.closed(a);
  await s.closed(b);
  assert.equal(s.keepAlives(), 0);
});

test('T21 a message in the channel lengthens nothing by itself', async (t) => {
  const s = await stubScene(t);
  const [a, b] = [await s.open(), await s.open('/two')];
  await s.advance(10_000);
  const before = await b.evaluate(() => globalThis.sessionTimeout.remaining());
  await a.evaluate((base) => {
    const channel = new BroadcastChannel(`session-timeout:${location.origin}${base}/`);
    for (const left of ['expires_in_ms', 'remaining', 'dur', 'left'])
      channel.postMessage({ type: 'renewed', [left]: 9e9, expires: 9e9, session: 'x', at: Date.now() });
    channel.close();
  }, BASE);
  await s.settle(a, b);
  assert.ok((await b.evaluate(() => globalThis.sessionTimeout.remaining())) <= before);
  await s.advance(6_000);
  await s.opened(b);
});

test('T22 logging out in one tab of the example veils the other, and deletes the drafts', async (t) => {
  const s = await exampleScene(t);
  const [a, b] = [await s.context.newPage(), await s.context.newPage()];
  await s.logIn(a, 'ada');
  await b.goto('/notes');
  await s.ready(b);
  await s.write(b, 'half-written');
  await s.draftSaved(b);
  await s.become(b, 'hidden');
  assert.ok((await s.drafts(b)).length > 0);
  const began = Date.now();
  await a.click('header form button, form#logout button');
  await s.opened(b, 'veil');
  assert.ok(Date.now() - began < 1_000 * PACE, `${Date.now() - began} ms`);
  assert.equal((await b.evaluate(() => document.documentElement.innerText)).trim(), '');
  assert.match(await s.text(b, 'veil'), /another tab/i);
  assert.equal(new URL(b.url()).pathname, '/notes', 'hidden tabs go nowhere');
  await s.until('the drafts are gone', async () => (await s.drafts(b)).every((draft) => !/half/.test(draft)) && (await s.drafts(b)).length === 0);
  await s.become(b, 'visible');
  await s.at(b, '/login');
});

test('T22 what was typed before the user signed out in another tab is not saved after it', async (t) => {
  const s = await stubScene(t);
  s.stub.page('/stays', { attributes: 'data-login-url="/login" data-on-expire="screen"', body: FORM });
  const [a, b] = [await s.open('/two'), await s.open('/stays')];
  await b.fill('#text', 'half-written');
  await a.click('#logout button');
  await s.opened(b, 'veil');
  assert.match(await s.text(b, 'veil'), /another tab/i);
  await s.advance(1_000);
  await s.settle(b);
  assert.equal(s.seen('event', 'draft-saved'), 0);
  assert.deepEqual(await s.drafts(b), []);
});

test('T22 a tab that learns of the end tells the others', async (t) => {
  const s = await stubScene(t, { server: { attributes: 'data-login-url="/login" data-on-expire="screen"' } });
  const [a, b] = [await s.open(), await s.open('/two')];
  s.stub.end(s.sid);
  await a.evaluate(() => void globalThis.sessionTimeout.check());
  await s.opened(a, 'veil');
  await s.opened(b, 'veil');
});

test('T23 a page of another user is veiled, renews nothing and shows no draft, in the example', async (t) => {
  const s = await exampleScene(t, { allow: [FAILED_REQUEST] });
  const [a, b] = [await s.context.newPage(), await s.context.newPage()];
  await s.logIn(b, 'ada', '/notes');
  await s.write(b, 'of ada');
  await s.draftSaved(b);
  const requests = [];
  b.on('request', (request) => requests.push(new URL(request.url()).pathname));
  await s.logIn(a, 'grace', '/notes');
  assert.equal(await a.inputValue('textarea'), '');
  assert.equal(await s.isOpen(a, 'veil'), false);
  await s.until('the other tab notices', async () => {
    await s.become(b, 'visible');
    return (await s.state(b)) === 'replaced';
  });
  await s.opened(b, 'veil');
  assert.match(await s.text(b, 'veil'), /someone else/i);
  assert.equal((await b.evaluate(() => document.documentElement.innerText)).trim(), '');
  await b.evaluate(() => globalThis.sessionTimeout.keepAlive());
  assert.equal(await s.state(b), 'replaced');
  assert.equal(await a.evaluate(async (base) => (await fetch(`${base}/keep-alive`, { method: 'POST', headers: { 'Session-Idle-For': '0', 'Session-User': 'ada' } })).status, BASE), 409);
  assert.equal(s.seen('event', 'draft-restore', a), 0);
});

test('T23 a page in view notices at once that somebody else signed in, and saves nothing more', async (t) => {
  const s = await stubScene(t);
  const [a, b] = [await s.open('/two'), await s.open()];
  await a.goto('/login?next=/two');
  await s.signIn(a, 'grace');
  await s.becomes(b, 'replaced');
  await s.opened(b, 'veil');
  assert.equal(await s.part(b, 'signin').getAttribute('href'), `${s.url}/`);
  await b.evaluate(() => {
    const text = document.querySelector('#text');
    text.value = 'of ada';
    text.dispatchEvent(new Event('input', { bubbles: true }));
  });
  await s.advance(1_000);
  await s.settle(b);
  assert.deepEqual(await s.drafts(b), []);
  const check = () => b.evaluate(() => void globalThis.sessionTimeout.check());
  await check();
  await s.settle(b);
  for (const id of s.stub.sessions.keys()) s.stub.end(id);
  await check();
  await s.settle(b);
  assert.equal(await s.state(b), 'replaced');
  assert.equal(s.seen('event', 'replaced', b), 1);
});

test('T23 a session of nobody is not that of somebody', async (t) => {
  const s = await stubScene(t, { user: null });
  await s.logIn(null);
  const page = await s.open('/two');
  const check = () => page.evaluate(async () => (await globalThis.sessionTimeout.check()).user);
  assert.equal(await check(), null);
  assert.equal(await s.state(page), 'active');
  await s.logIn('ada');
  await check();
  assert.equal(await s.state(page), 'replaced');
});

test('T23 nor is it that of another nobody, and a page in view notices at once', async (t) => {
  const s = await stubScene(t, { user: null });
  await s.logIn(null);
  const page = await s.open('/two');
  await s.logIn(null, 'another');
  const other = await s.open();
  await s.becomes(page, 'replaced');
  await s.opened(page, 'veil');
  assert.equal(await s.state(other), 'active');
});

test('T24 after a log-in elsewhere the page goes on with everything in it', async (t) => {
  const s = await stubScene(t, { server: { attributes: 'data-login-url="/login" data-on-expire="screen"' } });
  s.stub.page('/plain', { body: '<textarea id="free"></textarea>' });
  const [a, b] = [await s.open('/plain'), await s.open('/plain')];
  await b.fill('#free', 'work in progress');
  await s.advance(60_000);
  await s.opened(a, 'veil');
  await s.opened(b, 'veil');
  assert.equal(new URL(b.url()).pathname, '/plain');
  assert.equal(await s.part(b, 'signin').getAttribute('target'), '_blank');
  await a.goto('/login?next=/two');
  await s.signIn(a, 'ada');
  await s.at(a, '/two');
  await s.ready(a);
  await s.until('the other tab goes on', async () => !(await s.isOpen(b, 'veil')));
  await s.becomes(b, 'active');
  assert.equal(await b.inputValue('#free'), 'work in progress');
  assert.equal(await b.evaluate(() => document.body.checkVisibility()), true);
  assert.equal(s.seen('event', 'resumed', b), 1);
});

test('T24 and saves drafts again', async (t) => {
  const s = await stubScene(t, { server: { attributes: 'data-login-url="/login" data-on-expire="screen"' } });
  const [a, b] = [await s.open('/two'), await s.open()];
  await s.advance(60_000);
  await s.opened(b, 'veil');
  await a.goto('/login?next=/two');
  await s.signIn(a, 'ada');
  await s.closed(b, 'veil');
  await b.fill('#text', 'later');
  await s.draftSaved(b);
});

test('T24 a page that never noticed is told of the new session, too', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await s.logIn('ada');
  await page.evaluate(() => globalThis.sessionTimeout.check());
  await page.evaluate(() => globalThis.sessionTimeout.check());
  assert.equal(s.seen('event', 'resumed'), 1);
  assert.equal(await s.state(page), 'active');
});

test('T24 an answer from before the end does not bring the page back', async (t) => {
  const s = await stubScene(t, { server: { attributes: 'data-login-url="/login" data-on-expire="screen"' } });
  const page = await s.open();
  let answer;
  s.stub.instead['/api'] = () => {
    const headers = { 'Server-Timing': s.stub.timing(s.session) };
    return new Promise((resolve) => (answer = () => resolve({ headers, body: '{}' })));
  };
  await s.advance(1_000);
  await page.evaluate(() => void fetch('/api').then((response) => response.text()).then(() => (globalThis.isAnswered = true)));
  await s.until('it is asked', () => answer);
  s.stub.end(s.sid);
  await page.evaluate(() => void globalThis.sessionTimeout.check());
  await s.opened(page, 'veil');
  answer();
  await s.until('it is answered', () => page.evaluate(() => globalThis.isAnswered));
  await s.settle(page);
  assert.equal(await s.state(page), 'ended');
  assert.equal(await s.isOpen(page, 'veil'), true);
});

test('T24 nor does a network that fails behind the screen end it once more', async (t) => {
  const s = await stubScene(t, { server: { attributes: 'data-login-url="/login" data-on-expire="screen"' }, allow: [FAILED_REQUEST] });
  const page = await s.open();
  await s.advance(60_000);
  await s.opened(page, 'veil');
  s.stub.instead.status = () => ({ status: 503 });
  await page.evaluate(() => globalThis.sessionTimeout.check());
  await s.settle(page);
  assert.match(await s.text(page, 'veil'), /signed out/i);
  assert.equal(await s.state(page), 'ended');
  s.stub.instead = {};
  await page.evaluate(() => globalThis.sessionTimeout.check());
  await s.settle(page);
  assert.equal(s.seen('event', 'ended'), 1);
});

test('T24 but not after a log-in of somebody else', async (t) => {
  const s = await stubScene(t, { server: { attributes: 'data-login-url="/login" data-on-expire="screen"' } });
  const [a, b] = [await s.open(), await s.open('/two')];
  await s.advance(60_000);
  await s.opened(b, 'veil');
  await a.goto('/login?next=/two');
  await s.signIn(a, 'grace');
  await s.at(a, '/two');
  await s.becomes(b, 'replaced');
  assert.equal(await s.isOpen(b, 'veil'), true);
  assert.equal(s.seen('event', 'resumed', b), 0);
});

test('T25 of ten tabs one goes to the log-in page', async (t) => {
  const s = await stubScene(t);
  const pages = [];
  for (let tab = 0; tab < 10; tab += 1) pages.push(await s.open('/two'));
  for (const page of pages.slice(1)) await s.become(page, 'hidden');
  await s.advance(41_000);
  await s.at(pages[0], '/login');
  await s.advance(5_000);
  for (const page of pages.slice(1)) await s.opened(page, 'veil');
  assert.equal(s.stub.requests('/login').length, 1);
});

const PROBE = `addEventListener('pageshow', (event) => {
  const visibility = document.body.checkVisibility() ? 'visible' : 'hidden';
  fetch('/log?page=' + location.pathname.slice(1) + '&persisted=' + event.persisted + '&visibility=' + visibility);
}, true);
document.addEventListener('session-timeout:renewed', () => fetch('/log?event=renewed'));
setInterval(() => { if (globalThis.sessionTimeout) fetch('/log?state=' + sessionTimeout.state + '&visibility=' + (document.body.checkVisibility() ? 'visible' : 'hidden')); }, 100);`;

/** A page that was left, whose console nobody hears while it is kept: what it does it tells the server. */
async function leftPage(t) {
  const s = await stubScene(t, { clock: false, server: { probe: PROBE } });
  s.stub.page('/kept', { body: `<p id="secret">top secret</p>${FORM}${LOGOUT}<script src="/probe.js"></script>` });
  const page = await s.open('/kept');
  await page.goto('/two');
  await s.ready(page);
  s.stub.log.length = 0;
  return { s, page, logged: () => s.stub.requests('/log').map(({ url }) => Object.fromEntries(url.searchParams)) };
}

/** Nobody waits for the answer: it might get lost with the page that gives it. */
const goBack = (page) => void page.evaluate(() => history.back()).catch(() => {});

test('T26 a page kept for Back is hidden until it is known that its session lives', async (t) => {
  const { s, page, logged } = await leftPage(t);
  s.stub.end(s.sid);
  goBack(page);
  await s.until('it is back', () => logged().some(({ persisted }) => persisted));
  assert.deepEqual(logged().find(({ persisted }) => persisted), { page: 'kept', persisted: 'true', visibility: 'hidden' });
  await s.until('it goes to the log-in page', () => s.stub.requests('/login').length > 0);
  assert.ok(logged().every(({ visibility }) => visibility === 'hidden'), JSON.stringify(logged()));
});

test('T27 a page kept for Back goes on, and hears of other tabs', async (t) => {
  const { s, page, logged } = await leftPage(t);
  const sibling = await s.open('/two');
  await sibling.evaluate(() => globalThis.sessionTimeout.keepAlive());
  s.stub.log.length = 0;
  goBack(page);
  await s.until('it is back', () => logged().some(({ persisted }) => persisted));
  assert.equal(logged().find(({ persisted }) => persisted).persisted, 'true');
  await s.until('it is shown', () => logged().some(({ state, visibility }) => state === 'active' && visibility === 'visible'));
  s.stub.end(s.sid, 'signed_out');
  void sibling.evaluate(() => globalThis.sessionTimeout.signOut()).catch(() => {});
  // The sibling goes there, too, and may be sent twice: by the log-out, and as it hears of the end.
  await s.until('it goes to the log-in page', () => s.stub.requests('/login', 'GET').some(({ url }) => url.searchParams.get('next') === '/kept'));
});

test('T26 a page that comes back without a network stays hidden, and says why', async (t) => {
  const s = await stubScene(t, { allow: [FAILED_REQUEST] });
  const page = await s.open();
  s.stub.instead.status = () => ({ status: 503 });
  await page.evaluate(() => {
    for (const type of ['pagehide', 'pageshow']) dispatchEvent(new PageTransitionEvent(type, { persisted: true }));
  });
  await s.opened(page, 'veil');
  assert.match(await s.text(page, 'veil'), /connection/i);
  assert.equal(await page.evaluate(() => document.body.checkVisibility()), false);
  s.stub.instead = {};
  await s.advance(2_100);
  await s.closed(page, 'veil');
  assert.equal(await page.evaluate(() => document.body.checkVisibility()), true);
});

test('a frame of the same site tells the page around it of activity, and leaves all else to it', async (t) => {
  const s = await stubScene(t, { server: { csp: "default-src 'none'; script-src 'self'; connect-src 'self'; frame-src 'self'" } });
  s.stub.page('/around', { body: '<iframe src="/inside"></iframe>' });
  s.stub.page('/inside', { body: '<input id="inside">' });
  const page = await s.open('/around');
  const frame = page.frame({ url: /inside/ });
  await s.advance(2_000);
  await frame.focus('#inside');
  await page.keyboard.press('a');
  await s.advance(10_000);
  await s.until('it is renewed', () => s.keepAlives() === 1);
  await s.settle(page);
  const asked = s.statuses();
  await s.warn(page);
  await s.settle(page);
  assert.equal(s.statuses(), asked + 1);
  assert.equal(s.seen('shown', 'dialog'), 1);
  assert.equal(s.keepAlives(), 1);
});

test('a frame of another site is a page of its own', async (t) => {
  const s = await stubScene(t);
  const elsewhere = await new Stub({ csp: "default-src 'none'; frame-src *" }).start();
  t.after(() => elsewhere.stop());
  elsewhere.page('/around', { isPublic: true, body: `<iframe src="${s.url}/two"></iframe>`, tag: '' });
  const page = await s.context.newPage();
  await page.goto(`${elsewhere.url}/around`);
  const frame = page.frame({ url: /two/ });
  await s.until('the script knows the state', () => frame.evaluate(() => globalThis.sessionTimeout?.state === 'active'));
});
