// What markup of others in the page, and answers of others to it, can do to the script: nothing.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FAILED_REQUEST, stubScene } from './harness.mjs';
import { BASE, FORM, LOGOUT, json, Stub } from './stub.mjs';

/** What images, frames and workers of these tests need, and pages of other sites are let in by. */
const LAX = "default-src 'self' http: data:; form-action http:; script-src 'self'; require-trusted-types-for 'script'";
const EVIL = 'http://evil.example';

/** Another site: it answers as it is told, and lets everybody read its timings. */
async function otherSite(t, answer) {
  const other = await new Stub({ csp: null }).start();
  t.after(() => other.stop());
  other.instead['/x'] = () => ({ ...answer, headers: { 'Timing-Allow-Origin': '*', 'Access-Control-Allow-Origin': '*', ...answer.headers } });
  return other;
}

const load = (page, url) => page.evaluate((url) => fetch(url).then((answer) => answer.text()).then(() => {}), url);

const marked = (left, session = 'A'.repeat(22), user = '-') => `st;dur=${left};desc="40000 - 25000 ${session} ${user}"`;

// T50: whose answers tell the time left.

for (const [what, timing] of [
  ['blanks the page', () => 'st;dur=1'],
  ['opens the warning', (s) => s.stub.timing(s.session).replace(/dur=\d+/, 'dur=20000')],
  ['hides the warning', (s) => s.stub.timing(s.session).replace(/dur=\d+/, 'dur=9e9')],
])
  for (const how of ['an image', 'a redirect to an image'])
    test(`T50 ${how} of another site never ${what}, whatever the site has learned`, async (t) => {
      const s = await stubScene(t, { server: { csp: LAX } });
      const other = await otherSite(t, { headers: { 'Server-Timing': timing(s) } });
      s.stub.instead['/go'] = () => ({ status: 302, headers: { Location: `${other.url}/x` } });
      const page = await s.open();
      await s.advance(5_000);
      const url = how === 'an image' ? `${other.url}/x` : '/go';
      await page.evaluate((url) => new Promise((done) => Object.assign(new Image(), { onerror: done, src: url })), url);
      assert.equal(other.requests('/x').length, 1);
      await s.settle(page);
      assert.equal(await s.state(page), 'active');
      assert.equal(s.seen('shown', 'dialog') + s.seen('shown', 'veil'), 0);
      await s.advance(11_000);
      await s.opened(page);
    });

for (const [what, timing] of [
  ['made up', () => marked(9e9)],
  ['of another session of the user', (s) => s.stub.timing(s.stub.sessions.get(s.stub.logIn('ada'))).replace(/dur=\d+/, 'dur=9e9')],
  ["of somebody else's session", (s) => s.stub.timing(s.stub.sessions.get(s.stub.logIn('grace'))).replace(/dur=\d+/, 'dur=1')],
  ["the application's own of this name", () => 'st;dur=9e9;desc="cache lookup"'],
  ['without a description', () => 'st;dur=9e9'],
])
  test(`T50 a timing that is ${what} moves no clock`, async (t) => {
    const s = await stubScene(t);
    const page = await s.open();
    await s.advance(5_000);
    s.stub.instead['/upload'] = () => ({ headers: { 'Server-Timing': timing(s) } });
    await load(page, '/upload');
    await s.settle(page);
    assert.equal(await s.state(page), 'active');
    await s.advance(11_000);
    await s.opened(page);
  });

test('T50 of another session the page asks the server at once', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await s.advance(6_000);
  await s.logIn('grace');
  await load(page, '/api');
  await s.becomes(page, 'replaced');
});

test("T50 the application's own timings are no news of the session", async (t) => {
  const s = await stubScene(t);
  s.stub.page('/own', { body: FORM });
  s.stub.instead['/own'] = ({ id }) => {
    const headers = { 'Content-Type': 'text/html', 'Server-Timing': `st;dur=1, db;dur=2, ${s.stub.timing(s.stub.sessions.get(id))}` };
    return { headers, body: s.stub.html({ body: FORM }, {}) };
  };
  const page = await s.open('/own');
  assert.equal(s.statuses(), 0);
  await s.warn(page);
});

test('T50 an answer that the server only confirmed tells nothing', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  s.stub.instead['/kept'] = ({ headers }) =>
    headers['if-none-match']
      ? { status: 304, headers: { ETag: '"1"' } }
      : { headers: { ETag: '"1"', 'Cache-Control': 'private, no-cache', 'Server-Timing': s.stub.timing(s.session) }, body: 'kept' };
  await load(page, '/kept');
  await s.settle(page);
  await s.advance(10_000);
  await load(page, '/kept');
  await s.settle(page);
  assert.equal(s.stub.requests('/kept').length, 2);
  assert.ok((await page.evaluate(() => globalThis.sessionTimeout.remaining())) <= 30_000);
});

test('T50 nor does a page that the server only confirmed', async (t) => {
  const s = await stubScene(t);
  const headers = { ETag: '"1"', 'Cache-Control': 'private, no-cache', 'Content-Type': 'text/html' };
  s.stub.instead['/kept'] = (request) =>
    request.headers['if-none-match']
      ? { status: 304, headers }
      : { headers: { ...headers, 'Server-Timing': s.stub.timing(s.session) }, body: s.stub.html({ body: FORM }, {}) };
  const page = await s.open('/kept');
  await s.becomes(page, 'active');
  await page.goto('/two');
  await s.ready(page);
  s.stub.end(s.sid);
  await page.goto('/kept');
  await s.at(page, '/login');
  assert.equal(s.stub.requests('/kept').length, 3, 'the server was asked once more for the page');
});

test('T50 nor does a page out of the cache of a service worker', async (t) => {
  const s = await stubScene(t, { clock: false, server: { csp: null } });
  s.stub.instead['/worker.js'] = () => ({
    headers: { 'Content-Type': 'text/javascript' },
    body: `addEventListener('install', () => skipWaiting());
addEventListener('activate', (event) => event.waitUntil(clients.claim()));
addEventListener('fetch', (event) => {
  if (new URL(event.request.url).pathname !== '/two') return;
  event.respondWith(caches.open('pages').then(async (pages) => {
    const kept = await pages.match('/two');
    if (kept) return kept;
    const answer = await fetch(event.request);
    await pages.put('/two', answer.clone());
    return answer;
  }));
});`,
  });
  const page = await s.open();
  await page.evaluate(async () => {
    await navigator.serviceWorker.register('/worker.js');
    await navigator.serviceWorker.ready;
    if (!navigator.serviceWorker.controller) await new Promise((done) => navigator.serviceWorker.addEventListener('controllerchange', done));
  });
  await page.goto('/two');
  await s.ready(page);
  s.stub.end(s.sid);
  await page.goto('/');
  await page.goto('/two');
  await s.ready(page);
  assert.equal(s.stub.requests('/two').length, 1, 'the page came out of the cache');
  await s.until('nobody sees it', async () => (await s.state(page)) === 'anonymous' || new URL(page.url()).pathname === '/login');
});

// T51: where the script goes.

const nothingOf = (s) => assert.deepEqual(s.wentTo, []);

/** Every request of the browser that leaves the site; it gets no answer. */
async function watched(t, options = {}) {
  const s = await stubScene(t, { allow: [FAILED_REQUEST, /ERR_FAILED/, /evil\.example/], ...options });
  s.wentTo = [];
  await s.context.route(
    (url) => url.origin !== s.url,
    (route) => {
      s.wentTo.push(route.request().url());
      return route.abort();
    },
  );
  return s;
}

for (const attributes of ['', 'data-login-url="/login"'])
  test(`T51 at //evil.example/x the end of the session leads to the log-in of this site${attributes && ', and back nowhere else'}`, async (t) => {
    const s = await watched(t, { server: { attributes } });
    s.stub.page('//evil.example/x', { body: FORM });
    const page = await s.context.newPage();
    await page.goto(`${s.url}//evil.example/x`);
    await s.ready(page);
    await s.advance(41_000);
    await s.at(page, '/login');
    nothingOf(s);
    if (attributes) assert.equal(new URL(page.url()).search, '');
  });

test('T51 nor does the link of a page that is now of somebody else', async (t) => {
  const s = await watched(t);
  s.stub.page('//evil.example/x', { body: FORM });
  const page = await s.context.newPage();
  await page.goto(`${s.url}//evil.example/x`);
  await s.ready(page);
  await s.logIn('grace');
  await page.evaluate(() => void globalThis.sessionTimeout.check());
  await s.becomes(page, 'replaced');
  await s.part(page, 'signin').click();
  await s.until('it is loaded again', () => s.stub.requests('//evil.example/x').length === 2);
  await s.ready(page);
  nothingOf(s);
});

const ELSEWHERE = ['//evil.example/', String.raw`/\evil.example/`, `${EVIL}/`, '/&#9;/evil.example/', 'javascript:location=`//evil.example/`', 'data:text/html,evil', 'http://[', 'blob:ORIGIN/x'];
for (const url of ELSEWHERE) {
  test(`T51 a log-in page that is ${url} is none`, async (t) => {
    const s = await watched(t);
    s.stub.attributes = `data-login-url="${url.replace('ORIGIN', s.url)}"`;
    s.stub.page('/from', { body: FORM });
    const page = await s.open('/from');
    await s.advance(41_000);
    await s.at(page, '/login');
    assert.equal(page.url(), `${s.url}/login?next=%2F`, 'by the way of the home page');
    nothingOf(s);
  });

  test(`T51 nobody comes back to ${url}, signs out there, or asks there`, async (t) => {
    const s = await watched(t);
    const to = url.replace('ORIGIN', s.url);
    s.stub.attributes = `data-login-url="/login" data-return="${to}" data-logout="${to.startsWith('/') ? to : ''}" data-base="${to}"`;
    s.stub.page('/from', { body: FORM });
    const page = await s.open('/from');
    await s.advance(10_000);
    await page.evaluate(() => void globalThis.sessionTimeout.signOut());
    await s.at(page, '/login');
    assert.equal(s.session.ended, 'signed_out');
    await s.logIn('ada');
    const again = await s.open('/from');
    await s.advance(41_000);
    await s.at(again, '/login');
    assert.equal(new URL(again.url()).search, '');
    nothingOf(s);
  });
}

test('T51 a <base> of another site leads nothing there', async (t) => {
  const s = await watched(t, { server: { csp: null } });
  s.stub.page('/based', { head: '', body: `<base href="${EVIL}/">${FORM}` });
  const page = await s.open('/based');
  await page.evaluate(() => globalThis.sessionTimeout.check());
  assert.equal(s.statuses(), 1);
  assert.equal(await s.state(page), 'active');
  await s.advance(60_000);
  await s.at(page, '/login');
  assert.equal(new URL(page.url()).searchParams.get('next'), '/based');
  nothingOf(s);
});

for (const [what, markup] of [
  ['a link to another site', `<a data-session-logout href="${EVIL}/">Bye</a>`],
  ['a form to another site', `<form data-session-logout action="${EVIL}/" method="post"></form>`],
  ['a form to another site that names its address otherwise', `<form data-session-logout action="${EVIL}/"><input name="action" value="/"></form>`],
  ['a form that is sent nowhere', '<form data-session-logout action="/logout" method="dialog"></form>'],
  ['a button to another site', `<form action="/"><button data-session-logout formaction="${EVIL}/">Bye</button></form>`],
  ['a button of a form to another site', `<form action="${EVIL}/"><button data-session-logout>Bye</button></form>`],
  ['what is in a link to another site', `<a href="${EVIL}/"><b data-session-logout>Bye</b></a>`],
  ['what is in a button to another site', `<form action="${EVIL}/"><button><b data-session-logout>Bye</b></button></form>`],
  ['a label of a button to another site', `<label data-session-logout for="hidden">Bye</label><form action="${EVIL}/"><button id="hidden"></button></form>`],
  ['what is in a drawn link to another site', `<svg><a href="${EVIL}/"><foreignObject><b data-session-logout>Bye</b></foreignObject></a></svg>`],
  ['a link that is a script', '<a data-session-logout href="javascript:location=`//evil.example/`">Bye</a>'],
])
  test(`T51 signing out does not press ${what}`, async (t) => {
    const s = await watched(t, { server: { csp: LAX, attributes: 'data-login-url="/login"' } });
    s.stub.page('/comments', { body: markup });
    const page = await s.open('/comments');
    await page.evaluate(() => void globalThis.sessionTimeout.signOut());
    await s.at(page, '/login');
    assert.equal(s.session.ended, 'signed_out');
    nothingOf(s);
  });

test("T51 signing out presses what the application's tag names before what anybody's markup does", async (t) => {
  const s = await watched(t);
  s.stub.page('/comments', { body: `<a data-session-logout href="/two">Bye</a>${LOGOUT}` });
  const page = await s.open('/comments');
  await page.evaluate(() => void globalThis.sessionTimeout.signOut());
  await s.at(page, '/login');
  assert.equal(s.session.ended, 'signed_out');
});

test('T51 a selector that finds nothing is no path', async (t) => {
  const s = await watched(t);
  s.stub.page('/bare', { attributes: 'data-login-url="/login" data-logout="evil.example"', body: FORM });
  const page = await s.open('/bare');
  await page.evaluate(() => void globalThis.sessionTimeout.signOut());
  await s.at(page, '/login');
  assert.equal(s.session.ended, 'signed_out');
});

test('T51 no message makes the page go anywhere, or leaves it in sight', async (t) => {
  const s = await watched(t);
  const [a, b] = [await s.open(), await s.open('/two')];
  s.stub.instead.status = () => json({ v: 1, state: 'ended', reason: null });
  await a.evaluate((base) => {
    const channel = new BroadcastChannel(`session-timeout:${location.origin}${base}/`);
    for (const data of [null, 'ended', { type: 'ended', reason: '__proto__' }, { type: 'ended', reason: { toString: null } }]) channel.postMessage(data);
    channel.close();
  }, BASE);
  await s.at(b, '/login');
  nothingOf(s);
});

// T52: what markup can name.

const names = (page, type) =>
  page.evaluate((type) => {
    const found = new Set();
    for (let of = globalThis[type].prototype; of !== Object.prototype; of = Object.getPrototypeOf(of)) for (const name of Object.getOwnPropertyNames(of)) found.add(name);
    return [...found];
  }, type);

/** All that a document and a form can do, and the script defines, has an element of that name before it. */
async function named(t, options = {}) {
  const s = await watched(t, { ...options, server: { csp: LAX, attributes: 'data-login-url="/login"', ...options.server } });
  const plain = await s.open('/two');
  const inputs = (await names(plain, 'HTMLFormElement')).map((name) => `<input type="hidden" name="${name}">`).join('');
  const globals = (await plain.evaluate(() => Object.getOwnPropertyNames(window))).map((name) => `<a id="${name}" href="${EVIL}/"></a>`).join('');
  const images = [...(await names(plain, 'HTMLDocument')), 'prerendering', 'sessionTimeout'].map((name) => `<img name="${name}" data-base="${EVIL}/" data-login-url="${EVIL}/">`);
  await plain.close();
  s.stub.page('/named', {
    body: `${images.join('')}${globals}<form tabindex="0" id="focused"><input type="hidden" name="selectionStart"><input type="hidden" name="isConnected"></form>
${FORM.replace('</form>', `${inputs}</form>`)}<form id="logout" action="/logout" method="post">${inputs}<button>Leave</button></form>`,
  });
  const page = await s.context.newPage();
  await page.goto('/named', { waitUntil: 'commit' });
  await s.until('the script knows the state', () => page.evaluate(() => globalThis.sessionTimeout?.state === 'active'));
  await s.settle(page);
  assert.equal(await page.evaluate(() => document.querySelector instanceof HTMLImageElement), true, 'the names are taken');
  return { s, page };
}

const field = (page, act, value) =>
  page.evaluate(
    ([act, value]) => {
      const text = Document.prototype.getElementById.call(document, 'text');
      if (act === 'focus') Document.prototype.getElementById.call(document, value).focus();
      if (act === 'type') {
        text.value = value;
        text.dispatchEvent(new Event('input', { bubbles: true }));
      }
      return text.value;
    },
    [act, value],
  );

const press = (page, part) => page.evaluate((part) => globalThis.part(part).click(), part);

test('T52 no name in markup keeps the script from warning, staying and leading to the log-in', async (t) => {
  const { s, page } = await named(t);
  await field(page, 'focus', 'focused');
  for (const _ of [1, 2]) {
    await s.warn(page);
    await s.advance(600);
    await press(page, 'stay');
    await s.closed(page);
    await s.becomes(page, 'active');
  }
  assert.equal(s.keepAlives(), 2);
  await s.advance(60_000);
  await s.until('the log-in page', () => s.stub.requests('/login').length === 1);
  nothingOf(s);
});

test('T52 nor from keeping drafts, and giving them back', async (t) => {
  const { s, page } = await named(t);
  await field(page, 'type', 'a text');
  await s.draftSaved(page);
  await s.advance(60_000);
  await s.at(page, '/login');
  assert.equal(new URL(page.url()).searchParams.get('next'), '/named');
  await page.fill('#user', 'ada');
  await Promise.all([page.waitForURL('**/named', { waitUntil: 'commit' }), page.click('#login button')]);
  await s.until('the draft is back', async () => (await field(page, 'read')) === 'a text');
});

test('T52 nor from asking before a form is sent', async (t) => {
  const { s, page } = await named(t, { server: { idle: 600_000, warn: 30_000, absolute: null } });
  await field(page, 'type', 'important');
  const send = () => page.evaluate(() => HTMLFormElement.prototype.requestSubmit.call(Document.prototype.getElementById.call(document, 'form')));
  await s.advance(70_000);
  s.stub.page('/done', { body: '<p>Saved</p>' });
  void send().catch(() => {});
  await s.until('it is sent', () => s.stub.requests('/save').length === 1);
  assert.ok(s.statuses() >= 1);
});

test('T52 nor from signing out', async (t) => {
  const { s, page } = await named(t, { server: { attributes: 'data-login-url="/login" data-logout="form#logout"' } });
  void page.evaluate(() => void globalThis.sessionTimeout.signOut()).catch(() => {});
  await s.at(page, '/login');
  assert.equal(s.stub.requests('/logout', 'POST').length, 1);
});

for (const [what, markup] of [
  ['an image', '<img name="currentScript" data-base="//evil.example/" data-login-url="//evil.example/">'],
  ['an image for the tag, and its attributes', '<img name="currentScript" src="//evil.example/client.js" data-base="http://evil.example/x">'],
  ['a form', '<form name="currentScript" data-base="//evil.example/"></form>'],
])
  test(`T52 ${what} is not the tag of the script`, async (t) => {
    const s = await watched(t, { server: { csp: LAX.replace("script-src 'self'", 'script-src http:') } });
    s.stub.page('/tag', { body: markup + FORM });
    const page = await s.open('/tag');
    await page.evaluate(() => globalThis.sessionTimeout.check());
    assert.equal(s.statuses(), 1);
    assert.equal(s.stub.requests('drafts.js').length, 1);
    assert.deepEqual(s.wentTo.filter((url) => !url.endsWith('/client.js')), []);
  });

test('T52 a frame leaves everything to the page around it only if the script is there', async (t) => {
  const s = await watched(t, { server: { csp: LAX } });
  s.stub.page('/around', { tag: '', body: '<iframe name="sessionTimeout" src="/two"></iframe><a id="sessionTimeout" href="/">x</a><iframe src="/"></iframe>' });
  const page = await s.context.newPage();
  await page.goto('/around');
  for (const path of [/two$/, /\/$/])
    await s.until('it knows the state', () => page.frame({ url: path }).evaluate(() => globalThis.sessionTimeout?.state === 'active'));
});

test('T52 nor does a frame in a page of another site that names one so', async (t) => {
  const s = await stubScene(t);
  const elsewhere = await new Stub({ csp: "default-src 'none'; frame-src *" }).start();
  t.after(() => elsewhere.stop());
  elsewhere.page('/empty', { isPublic: true, body: '', tag: '' });
  elsewhere.page('/around', { isPublic: true, body: `<iframe name="sessionTimeout" src="/empty"></iframe><iframe src="${s.url}/two"></iframe>`, tag: '' });
  const page = await s.context.newPage();
  await page.goto(`${elsewhere.url}/around`);
  const frame = page.frame({ url: /two/ });
  await s.until('the script knows the state', () => frame.evaluate(() => globalThis.sessionTimeout?.state === 'active'));
});

test('T52 no draft is filled into a form that leads to another site', async (t) => {
  const s = await stubScene(t, { server: { csp: LAX } });
  const page = await s.open();
  await page.fill('#text', 'of ada');
  await s.draftSaved(page);
  for (const form of [FORM.replace('/save', `${EVIL}/save`), `${FORM.replace('/save', `${EVIL}/save`).replace('<label', '<input type="hidden" name="action" value="/save"><label')}`]) {
    s.stub.page('/', { body: form });
    s.stub.end(s.sid);
    await page.goto('/two');
    await s.at(page, '/login');
    await s.logIn('ada');
    await page.goto('/');
    await s.ready(page);
    await page.evaluate(() => globalThis.sessionTimeout.scan());
    await s.settle(page);
    assert.equal(await page.inputValue('#text'), '');
    assert.equal(s.seen('event', 'draft-restore'), 0);
  }
});

// T53: drafts and the markup of others.

async function offered(s, page, path = '/') {
  await page.goto(path);
  await s.ready(page);
  await s.until('it is offered', async () => /restore/i.test(await s.text(page, 'bar')));
}

test('T53 no markup clears a draft that was not sent, of whomever', async (t) => {
  const s = await stubScene(t);
  s.stub.page('/comments', { body: '<p data-session-draft-clear="form"></p>' });
  const page = await s.open();
  await page.fill('#text', 'hours of work');
  await s.draftSaved(page);
  for (const user of ['ada', 'grace']) {
    await s.logIn(user);
    await page.goto('/comments');
    await s.ready(page);
    assert.equal((await s.drafts(page)).length, 1);
  }
});

test('T53 no path and key together are those of another page', async (t) => {
  const s = await stubScene(t);
  s.stub.page('/a:b', { body: FORM });
  s.stub.page('/a', { body: FORM.replace('"form" action', '"b:form" action') });
  const page = await s.open('/a:b');
  await page.fill('#text', 'of another page');
  await s.draftSaved(page);
  await page.goto('/a');
  await s.ready(page);
  assert.equal(s.seen('event', 'draft-restore'), 0);
});

for (const [what, rival] of [
  ['in front of it', (form) => `<form data-session-draft="form" action="/comments" method="post"><textarea id="rival" name="text"></textarea></form>${form}`],
  ['behind it', (form) => `${form}<form data-session-draft="form" action="/comments" method="post"><textarea id="rival" name="text"></textarea></form>`],
  ['that leads to the same', (form) => `<form data-session-draft="form" action="/save" method="post"><textarea id="rival" name="text"></textarea></form>${form}`],
])
  test(`T53 a second form of the same key, ${what}, neither gets the draft, nor overwrites it`, async (t) => {
    const s = await stubScene(t);
    const page = await s.open();
    await page.fill('#text', 'private');
    await s.draftSaved(page);
    await s.advance(60_000);
    await s.at(page, '/login');
    s.stub.page('/', { body: rival(FORM) });
    await s.signIn(page, 'ada');
    await s.at(page, '/');
    await s.ready(page);
    await s.until('it is offered', async () => /restore/i.test(await s.text(page, 'bar')));
    assert.deepEqual(await page.evaluate(() => [document.querySelector('#text').value, document.querySelector('#rival').value]), ['', '']);
    await page.fill('#rival', 'of mallory');
    await s.draftSaved(page);
    await page.fill('#text', 'private, and more');
    await s.draftSaved(page);
    await page.fill('#rival', '');
    await s.advance(1_000);
    await s.settle(page);
    await offered(s, page);
    await s.part(page, 'bar').locator('button', { hasText: /restore/i }).first().click();
    const values = await page.evaluate(() => [document.querySelector('#text').value, document.querySelector('#rival').value]);
    if (what !== 'that leads to the same') assert.deepEqual(values, ['private, and more', '']);
    s.stub.page('/', { body: FORM });
    await offered(s, page);
    await s.part(page, 'bar').locator('button', { hasText: /restore/i }).first().click();
    assert.match(await page.inputValue('#text'), /^private/);
  });

for (const field of ['<input type="range" name="r">', '<input type="color" name="r">', '<select name="r"><option disabled value="">Choose<option>b</select>', '<input type="number" name="r" value="1,5">'])
  test(`T53 a form that nobody touched takes no room: ${field}`, async (t) => {
    const s = await stubScene(t);
    s.stub.page('/comments', { body: `<form data-session-draft="z" action="/save" method="post" aria-label="z">${field}</form>` });
    const page = await s.open('/comments');
    await s.become(page, 'hidden');
    await s.settle(page);
    assert.equal((await s.drafts(page)).length, 0);
  });

for (const [what, button] of [
  ['in it', (form) => form.replace('<button', `<button formaction="${EVIL}/x">Save</button><button`)],
  ['elsewhere in the page', (form) => `${form}<button form="form" formaction="${EVIL}/x">Save</button>`],
  ['that is an image', (form) => `${form}<input type="image" alt="Save" form="form" formaction="${EVIL}/x">`],
])
  test(`T53 no draft is filled into a form with a button ${what} that sends it to another site; it waits`, async (t) => {
    const s = await stubScene(t, { server: { csp: LAX } });
    const page = await s.open();
    await page.fill('#text', 'of ada');
    await s.draftSaved(page);
    s.stub.page('/', { body: button(FORM) });
    s.stub.end(s.sid);
    await page.goto('/two');
    await s.at(page, '/login');
    await s.logIn('ada');
    await page.goto('/');
    await s.ready(page);
    assert.equal(await page.inputValue('#text'), '');
    assert.equal(s.seen('event', 'draft-restore'), 0);
    s.stub.page('/', { body: FORM });
    await offered(s, page);
  });

test('T53 nor into one with a button that sends it to another place of this site than before', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await page.fill('#text', 'of ada');
  await s.draftSaved(page);
  await s.advance(60_000);
  await s.at(page, '/login');
  s.stub.page('/', { body: `${FORM}<button form="form" formaction="/comments">Save</button>` });
  await s.signIn(page, 'ada');
  await s.at(page, '/');
  await s.ready(page);
  assert.equal(await page.inputValue('#text'), '');
  s.stub.page('/', { body: FORM });
  await page.goto('/');
  await s.ready(page);
  assert.equal(await page.inputValue('#text'), 'of ada');
});

// T54: the dialog's button signs out, whatever the page holds.

const TRANSFER = (attributes) => `<form ${attributes} action="/transfer" method="post"><input type="hidden" name="to" value="mallory"></form>`;
for (const [what, logout, markup] of [
  ["a form of somebody's that says it signs out", '', TRANSFER('data-session-logout')],
  ['such a form, where the selector finds nothing', 'form#gone', TRANSFER('data-session-logout')],
  ['a form with the same id', 'form#logout', TRANSFER('id="logout"') + LOGOUT],
  ['a form that is sent by GET', '/logout', '<form action="/logout" method="get"></form>'],
  ['a form that is sent to another window', '/logout', '<form action="/logout" method="post" target="_blank"></form>'],
  ['a form that cannot be sent', '/logout', '<form action="/logout" method="post" hidden><input required name="x"></form>'],
  ['a link to another window', '#out', '<a id="out" href="/logout" target="_blank" rel="noopener">x</a>'],
  ['a link that downloads', '#out', '<a id="out" href="/logout" download>x</a>'],
  ['a button that sends its form elsewhere', '#out', `<form action="/logout" method="post"><button id="out" formaction="/transfer">x</button></form>`],
])
  test(`T54 "Sign out" ends the session, and does not press ${what}`, async (t) => {
    const s = await watched(t, { server: { attributes: `data-login-url="/login" data-logout="${logout}"` } });
    s.stub.page('/comments', { body: markup });
    const page = await s.open('/comments');
    await s.warn(page);
    await s.advance(600);
    await s.part(page, 'signout').click();
    await s.at(page, '/login');
    assert.equal(s.session.ended, 'signed_out');
    assert.equal(s.stub.requests('sign-out').length, 1);
    assert.deepEqual([...s.stub.requests('/transfer'), ...s.stub.requests('/logout')], []);
    assert.equal(s.context.pages().length, 1);
  });

for (const [what, logout, markup, method] of [
  ['form', 'form#logout', LOGOUT, 'POST'],
  ['form, by its path', '/logout', LOGOUT, 'POST'],
  ["form's button", '#out', LOGOUT.replace('<button', '<button id="out"'), 'POST'],
  ['link', '#out', '<a id="out" href="/logout">x</a>', 'GET'],
  ['path', '/logout', '<a href="/logout" target="_blank">x</a><a href="/logout" download>x</a>', 'GET'],
  ['path, without a link', '/logout', '', 'GET'],
])
  test(`T54 once the session has ended, "Sign out" goes by the application's ${what}`, async (t) => {
    const s = await stubScene(t, { server: { attributes: `data-login-url="/login" data-logout="${logout}"` } });
    let ended;
    s.stub.instead['/logout'] = (request) => {
      ended = [request.method, s.session.ended];
      return { status: 303, headers: { Location: '/login' } };
    };
    s.stub.page('/comments', { body: markup });
    const page = await s.open('/comments');
    await page.evaluate(() => void globalThis.sessionTimeout.signOut());
    await s.at(page, '/login');
    assert.deepEqual(ended, [method, 'signed_out']);
  });

// T55: whose page came out of the cache.

const HISTORY = { server: { csp: null, idle: 4e6, warn: 1e6, absolute: null }, clock: false };
for (const cache of [undefined, 'private', 'private, max-age=600'])
  for (const next of ['nobody', 'grace'])
    test(`T55 a page out of the browser's cache (${cache ?? 'without a word on it'}) is not shown to ${next}`, async (t) => {
      const s = await stubScene(t, HISTORY);
      const name = ({ id }) => s.stub.sessions.get(id)?.user;
      s.stub.page('/account', { body: (request) => `<p id="iban">IBAN of ${name(request)}</p>`, headers: { ...(cache && { 'Cache-Control': cache }) } });
      const page = await s.open('/account');
      // A page with such a listener is not kept as it is: it is loaded again, out of the cache.
      await page.evaluate(() => addEventListener('unload', () => {}));
      await page.goto('/two');
      await s.ready(page);
      s.stub.end(s.sid, 'signed_out');
      if (next === 'grace') await s.logIn('grace');
      else await s.context.clearCookies();
      await page.goBack({ waitUntil: 'commit' });
      const visible = () => page.evaluate(() => [...document.querySelectorAll('#iban')].some((it) => /ada/.test(it.textContent) && it.checkVisibility({ visibilityProperty: true })));
      if (next === 'nobody') await s.at(page, '/login');
      else await s.until('it is of grace', () => page.evaluate(() => /grace/.test(document.body.innerText)));
      assert.equal(await visible(), false);
      assert.equal(s.stub.requests('/account').length, 2, 'the server was asked for it once more');
    });

test('T55 it is hidden until the server says that it is of who is signed in, and then shown', async (t) => {
  const s = await stubScene(t, { ...HISTORY, allow: [FAILED_REQUEST] });
  s.stub.page('/account', { body: '<p id="iban">IBAN of ada</p>', headers: { 'Cache-Control': 'private, max-age=600' } });
  const page = await s.open('/account');
  await page.goto('/two');
  await s.ready(page);
  let answer;
  s.stub.instead.status = () => new Promise((done) => (answer = done));
  await page.goto('/account');
  await s.until('the server is asked', () => answer);
  assert.equal(s.stub.requests('/account').length, 1, 'it came out of the cache');
  assert.equal(await page.evaluate(() => document.documentElement.innerText.trim()), '');
  answer(json({}, 503));
  await s.opened(page, 'veil');
  s.stub.instead = {};
  await page.evaluate(() => void globalThis.sessionTimeout.check());
  await s.becomes(page, 'active');
  assert.match(await page.evaluate(() => document.body.innerText), /IBAN/);
});

test("an application's own sessionTimeout stays what it is, and the script works", async (t) => {
  const s = await stubScene(t, { server: { csp: null } });
  s.stub.page('/own', { head: '<script>var sessionTimeout = 1800</script>', body: FORM });
  const page = await s.context.newPage();
  const warnings = [];
  page.on('console', (message) => message.type() === 'warning' && warnings.push(message.text()));
  await page.goto('/own');
  await s.settle(page);
  assert.equal(await page.evaluate(() => globalThis.sessionTimeout), 1800);
  assert.equal(warnings.filter((text) => /sessionTimeout/.test(text)).length, 1);
  // A second tag is no second script.
  await page.evaluate((src) => document.head.append(Object.assign(document.createElement('script'), { src })), `${BASE}/client.js`);
  await s.settle(page);
  await s.warn(page);
  assert.equal(await page.evaluate(() => document.querySelectorAll('session-timeout').length), 1);
  assert.equal(warnings.filter((text) => /sessionTimeout/.test(text)).length, 1);
});

test('a tag that makes the script a module is told why it does nothing', async (t) => {
  const s = await stubScene(t, { allow: [/module/] });
  s.stub.page('/module', { body: FORM, tag: `<script type="module" src="${BASE}/client.js"></script>` });
  const page = await s.context.newPage();
  await page.goto('/module');
  await s.until('it is said', () => s.errors.some((error) => /not type="?module/.test(error)));
});
