// Drafts: what is kept, for whom, how it comes back, and when it goes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exampleScene, FAILED_REQUEST, stubScene } from './harness.mjs';
import { FORM, see } from './stub.mjs';

// (Cc-Pin is a word no browser knows, as Firefox does not know one-time-code.)
const EVERYTHING = `<form id="form" data-session-draft="all" action="/save" method="post">
<input name="line" id="line"> <textarea name="area" id="area"></textarea>
<input type="radio" name="radio" value="one" checked><input type="radio" name="radio" value="two" id="two">
<input type="checkbox" name="box" value="a"><input type="checkbox" name="box" value="b" id="b" ><input type="checkbox" name="box" value="c" checked id="c">
<select name="many" id="many" multiple><option>x<option>y<option>z</select>
<select name="single" id="single"><option>first<option>second</select>
<input type="password" name="password" id="password"> <input type="file" name="file" id="file"> <input type="hidden" name="hidden" id="hidden" value="">
<input name="card" id="card" autocomplete="cc-number"> <input name="otp" id="otp" autocomplete="one-time-code"> <input name="pin" id="pin" autocomplete="Cc-Pin">
<input type="password" name="shown" id="shown"> <input name="locked" id="locked" disabled> <input name="off" id="off" data-session-draft="off">
<button>Save</button></form>`;

const expired = async (s, page) => {
  await s.advance(60_000);
  await s.at(page, '/login');
};

async function back(s, page, user, path = '/') {
  await s.signIn(page, user);
  await s.at(page, path);
  await s.ready(page);
  await s.settle(page);
}

/** For the application calls it off. */
async function signsOutInVain(page) {
  await page.evaluate(() => document.querySelector('#logout').addEventListener('submit', (event) => event.preventDefault()));
  await page.click('#logout button');
}

async function draftOutlivesTheSession(s, page) {
  s.stub.end(s.sid);
  await page.goto('/two');
  await s.at(page, '/login');
  await s.ready(page);
  assert.equal((await s.drafts(page)).length, 1);
}

const restored = (s, page, value, selector = '#text') => s.until('the draft is back', async () => (await page.inputValue(selector)) === value);

test('T33 what was typed comes back after the log-in, and secrets are not kept', async (t) => {
  const s = await stubScene(t);
  s.stub.page('/all', { body: EVERYTHING });
  const page = await s.open('/all');
  await page.fill('#line', 'alpha-line');
  await page.fill('#area', 'beta\narea');
  await page.check('#two');
  await page.check('#b');
  await page.uncheck('#c');
  await page.selectOption('#many', ['x', 'z']);
  await page.selectOption('#single', 'second');
  for (const secret of ['password', 'card', 'otp', 'pin', 'shown', 'off']) await page.fill(`#${secret}`, `secret-${secret}`);
  await page.evaluate(() => {
    document.querySelector('#shown').type = 'text';
    document.querySelector('#hidden').value = 'secret-hidden';
    document.querySelector('#locked').value = 'secret-locked';
  });
  await page.setInputFiles('#file', { name: 'secret-file.txt', mimeType: 'text/plain', buffer: Buffer.from('secret') });
  await page.type('#shown', 'more');
  await s.draftSaved(page);
  const stored = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }]));
  assert.ok((await s.drafts(page)).length > 0);
  assert.doesNotMatch(stored, /alpha|beta|secret/);
  await expired(s, page);
  assert.doesNotMatch(await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }])), /alpha|beta|secret/);
  await back(s, page, 'ada', '/all');
  // A hidden field says something else than it did: whoever filled it in is asked.
  await s.until('the draft is offered', async () => /restore/i.test(await s.text(page, 'bar')));
  await s.part(page, 'bar').locator('button', { hasText: /restore/i }).click();
  await restored(s, page, 'alpha-line', '#line');
  const values = await page.evaluate(() => {
    const form = document.querySelector('#form');
    const { line, area, radio, single, many, password, card, otp, pin, shown, locked, off, hidden, file } = form.elements;
    return {
      line: line.value, area: area.value, radio: radio.value, single: single.value,
      many: [...many.selectedOptions].map((option) => option.value), boxes: [...form.querySelectorAll('[name=box]')].map((box) => box.checked),
      secrets: [password, card, otp, pin, shown, locked, off, hidden].map((field) => field.value).concat(String(file.files.length)),
    };
  });
  assert.deepEqual(values, {
    line: 'alpha-line', area: 'beta\narea', radio: 'two', single: 'second', many: ['x', 'z'], boxes: [false, true, false],
    secrets: ['', '', '', '', '', '', '', '', '0'],
  });
  await s.until('the bar says so', async () => /restored/i.test(await s.text(page, 'bar')));
});

test('T33 a half-written note in the example survives expiry, log-in and return; Undo takes it out', async (t) => {
  const s = await exampleScene(t);
  const page = await s.context.newPage();
  await s.logIn(page, 'ada', '/notes');
  await s.write(page, 'a half-written note');
  await s.draftSaved(page);
  await s.endElsewhere('ada');
  await page.evaluate(() => void globalThis.sessionTimeout.check());
  await s.at(page, '/login');
  assert.equal(new URL(page.url()).searchParams.get('next'), '/notes');
  await s.signIn(page, 'ada');
  await s.at(page, '/notes');
  await restored(s, page, 'a half-written note', 'textarea');
  assert.match(await s.text(page, 'bar'), /restored/i);
  assert.equal(await s.part(page, 'bar').getAttribute('role'), 'status');
  await s.part(page, 'bar').locator('button', { hasText: 'Undo' }).click();
  await restored(s, page, '', 'textarea');
});

test('T33 a text that is edited in place comes back, and scripts hear of what does', async (t) => {
  const s = await stubScene(t);
  s.stub.page('/rich', { body: FORM.replace('<button', '<div id="rich" contenteditable data-session-draft-field="rich"></div><button') });
  const page = await s.open('/rich');
  await page.fill('#text', 'a text');
  await page.focus('#rich');
  for (const line of ['edited', 'in place']) {
    await page.keyboard.type(line);
    await page.keyboard.press('Enter');
  }
  await s.draftSaved(page);
  await expired(s, page);
  await s.context.addInitScript(() => {
    globalThis.heard = [];
    for (const type of ['input', 'change']) addEventListener(type, ({ target }) => globalThis.heard.push(`${type} ${target.id}`), true);
  });
  await back(s, page, 'ada', '/rich');
  await restored(s, page, 'a text');
  assert.equal((await page.innerText('#rich')).trim(), 'edited\nin place');
  assert.deepEqual(await page.evaluate(() => globalThis.heard), ['input text', 'change text', 'input rich', 'change rich']);
});

test('T33 a text that is edited in place is kept where nothing else of the form was changed', async (t) => {
  const s = await stubScene(t);
  s.stub.page('/rich', { body: FORM.replace('<button', '<div id="rich" contenteditable data-session-draft-field="rich"></div><button') });
  const page = await s.open('/rich');
  await page.fill('#rich', 'edited in place');
  await s.draftSaved(page);
  await expired(s, page);
  await back(s, page, 'ada', '/rich');
  await s.until('the draft is back', async () => (await page.innerText('#rich')) === 'edited in place');
});

test('T33 what was typed last comes back unasked, though its pause ends after the session', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await page.fill('#text', 'a text');
  await s.become(page, 'hidden');
  s.stub.end(s.sid);
  await page.evaluate(() => globalThis.sessionTimeout.check());
  await s.opened(page, 'veil');
  const saved = s.seen('event', 'draft-saved');
  await s.advance(1_000);
  await s.settle(page);
  assert.equal(s.seen('event', 'draft-saved'), saved);
  await s.become(page, 'visible');
  await s.at(page, '/login');
  await back(s, page, 'ada');
  await restored(s, page, 'a text');
});

test('T33 a draft is saved when the page is hidden, and once', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await page.fill('#text', 'a text');
  await s.become(page, 'hidden');
  await s.until('the draft is saved', () => s.seen('event', 'draft-saved') === 1, 0);
  await s.advance(1_000);
  await s.settle(page);
  assert.equal(s.seen('event', 'draft-saved'), 1);
});

test('T33 a draft is saved when the warning opens', async (t) => {
  const s = await stubScene(t, { server: { attributes: 'data-login-url="/login" data-activity="none"' } });
  const page = await s.open();
  await s.advance(14_800);
  await page.fill('#text', 'a text');
  await s.advance(300);
  await s.until('the draft is saved', () => s.seen('event', 'draft-saved') === 1, 0);
});

test('T33 drafts of two forms are saved, quickly as one follows the other', async (t) => {
  const s = await stubScene(t);
  s.stub.page('/two-forms', { body: FORM + FORM.replace(/form"/g, 'other"').replace(/"text"/g, '"more"') });
  const page = await s.open('/two-forms');
  await page.fill('#text', 'one');
  await page.fill('#more', 'two');
  await s.advance(1_000);
  await s.until('both are saved', () => s.seen('event', 'draft-saved') === 2);
});

test('T33 no two drafts are sealed alike', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  const vectors = new Set();
  for (const text of ['one', 'two']) {
    await page.fill('#text', text);
    await s.draftSaved(page);
    const [draft] = await s.drafts(page);
    vectors.add(draft.split('.')[1]);
  }
  assert.equal(vectors.size, 2);
});

test('T33 a form put back to what it was leaves no draft', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await page.fill('#text', 'a text');
  await s.draftSaved(page);
  await page.fill('#text', '');
  await s.advance(1_000);
  await s.until('it is gone', async () => (await s.drafts(page)).length === 0);
});

test('T34 nobody gets the draft of somebody else', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await page.fill('#text', 'of ada');
  await s.draftSaved(page);
  await expired(s, page);
  await back(s, page, 'grace');
  assert.equal(await page.inputValue('#text'), '');
  assert.equal(s.seen('event', 'draft-restore'), 0);
  assert.equal((await s.text(page, 'bar')).trim(), '');
  await expired(s, page);
  await back(s, page, 'ada');
  await s.until('it is offered, or back', async () => (await page.inputValue('#text')) === 'of ada' || /restore/i.test(await s.text(page, 'bar')));
});

test("T34 who signs out takes nobody else's draft along", async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await page.fill('#text', 'of ada');
  await s.draftSaved(page);
  await expired(s, page);
  await back(s, page, 'grace');
  await page.click('#logout button');
  await s.at(page, '/login');
  await s.ready(page);
  await s.settle(page);
  assert.equal((await s.drafts(page)).length, 1);
});

test('T34 nor is a form of another page filled in', async (t) => {
  const s = await stubScene(t);
  s.stub.page('/same', { body: FORM });
  const page = await s.open();
  await page.fill('#text', 'a text');
  await s.draftSaved(page);
  await page.goto('/same');
  await s.ready(page);
  assert.equal(s.seen('event', 'draft-restore'), 0);
});

test('T35 what the server has changed meanwhile is not overwritten without a word', async (t) => {
  const s = await stubScene(t);
  let saved = 'first';
  s.stub.page('/doc', { body: () => FORM.replace('</textarea>', `${saved}</textarea>`) });
  const page = await s.open('/doc');
  await page.fill('#text', 'my version');
  await s.draftSaved(page);
  await expired(s, page);
  saved = 'changed by a colleague';
  await back(s, page, 'ada', '/doc');
  await s.until('the draft is offered', async () => /restore/i.test(await s.text(page, 'bar')));
  assert.equal(await page.inputValue('#text'), 'changed by a colleague');
  assert.match(await s.text(page, 'bar'), /discard/i);
  await s.part(page, 'bar').locator('button', { hasText: /restore/i }).click();
  await restored(s, page, 'my version');
});

test('T35 a page that was left while the session lived is not filled in unasked', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await page.fill('#text', 'a text');
  await s.draftSaved(page);
  await page.goto('/two');
  await page.goto('/');
  await s.ready(page);
  await s.until('the draft is offered', async () => /discard/i.test(await s.text(page, 'bar')));
  assert.equal(await page.inputValue('#text'), '');
  await s.part(page, 'bar').locator('button', { hasText: /restore/i }).click();
  await restored(s, page, 'a text');
});

test('T35 an application may ask by itself', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await page.fill('#text', 'a text');
  await s.draftSaved(page);
  await expired(s, page);
  await s.context.addInitScript(() =>
    addEventListener('session-timeout:draft-restore', (event) => {
      event.preventDefault();
      globalThis.offered = event.detail;
    }),
  );
  await back(s, page, 'ada');
  await s.until('it is told', () => page.evaluate(() => globalThis.offered?.key === 'form'));
  await s.settle(page);
  assert.equal(await page.inputValue('#text'), '');
  assert.equal(await page.evaluate(() => globalThis.part('bar')), null);
  await page.evaluate(() => globalThis.offered.restore());
  assert.equal(await page.inputValue('#text'), 'a text');
  await page.evaluate(() => globalThis.offered.discard());
  assert.equal(await page.inputValue('#text'), '');
  assert.deepEqual(await s.drafts(page), []);
});

test('T35 a draft may be discarded', async (t) => {
  const s = await stubScene(t);
  let saved = 'first';
  s.stub.page('/doc', { body: () => FORM.replace('</textarea>', `${saved}</textarea>`) });
  const page = await s.open('/doc');
  await page.fill('#text', 'my version');
  await s.draftSaved(page);
  await expired(s, page);
  saved = 'changed';
  await back(s, page, 'ada', '/doc');
  await s.until('the draft is offered', async () => /discard/i.test(await s.text(page, 'bar')));
  await s.part(page, 'bar').locator('button', { hasText: /discard/i }).click();
  await s.until('it is gone', async () => (await s.drafts(page)).length === 0);
  assert.equal(await page.inputValue('#text'), 'changed');
});

test('T36 a form that was refused keeps its draft, one that was taken does not', async (t) => {
  const s = await stubScene(t, { allow: [FAILED_REQUEST], server: { idle: 600_000, absolute: null } });
  const page = await s.open();
  await page.fill('#text', 'a text');
  await s.draftSaved(page);
  s.stub.instead['/save'] = ({ id }) => ({
    status: 422,
    headers: { 'Content-Type': 'text/html', 'Server-Timing': s.stub.timing(s.stub.sessions.get(id)) },
    body: s.stub.html({ body: `<p>Too short</p>${FORM.replace('</textarea>', 'a text</textarea>')}` }, {}),
  });
  await page.click('#save');
  await s.at(page, '/save');
  await s.ready(page);
  await s.settle(page);
  assert.ok((await s.drafts(page)).length > 0, 'kept after a refusal');
  s.stub.instead = {};
  s.stub.page('/done', { body: '<p>Saved</p>' });
  await page.click('#save');
  await s.at(page, '/done');
  await s.ready(page);
  await s.until('deleted after a success', async () => (await s.drafts(page)).length === 0);
});

test('T36 what was typed right before the form was sent is saved at once', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await page.evaluate(() => document.addEventListener('submit', (event) => event.preventDefault()));
  await page.fill('#text', 'a text');
  await page.click('#save');
  await s.until('the draft is saved', () => s.seen('event', 'draft-saved') === 1, 0);
});

test('T36 a page that sent the form by itself, and still shows it, keeps its draft', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await page.evaluate(() => document.addEventListener('submit', (event) => event.preventDefault()));
  await page.fill('#text', 'a text');
  await s.draftSaved(page);
  await page.click('#save');
  await page.evaluate(() => globalThis.sessionTimeout.scan());
  await s.settle(page);
  assert.equal((await s.drafts(page)).length, 1);
});

test('T36 the answer that tells of a success clears the draft it names, and no other', async (t) => {
  const s = await stubScene(t, { allow: [FAILED_REQUEST] });
  s.stub.page('/forms', { body: ['note', 'notebook'].map((key) => `<form data-session-draft="${key}" action="/save" method="post"><input id="${key}" name="text" aria-label="${key}"></form>`).join('') });
  // Of which nothing else says so: the form is shown again.
  s.stub.instead['/save'] = ({ id }) => ({ headers: { 'Content-Type': 'text/html', 'Server-Timing': s.stub.timing(s.stub.sessions.get(id)) }, body: s.stub.html({ body: '<p data-session-draft-clear="note">Saved</p><p data-session-draft-clear="notebook"><form data-session-draft="note" action="/save" method="post"></form>' }, {}) });
  const page = await s.open('/forms');
  for (const key of ['note', 'notebook']) {
    await page.fill(`#${key}`, 'a text');
    await s.draftSaved(page);
  }
  assert.equal((await s.drafts(page)).length, 2);
  await page.press('#note', 'Enter');
  await s.at(page, '/save');
  await s.ready(page);
  await s.until('one is gone', async () => (await s.drafts(page)).length === 1);
  assert.match((await s.drafts(page))[0], /:notebook#/);
});

const EDIT = `${FORM}<a id="away" href="/two">Away</a>`;

/** A form of another page than the home page, with a draft. */
async function edited(t, options = {}) {
  const s = await stubScene(t, { allow: [FAILED_REQUEST, /ERR_/], ...options, server: { idle: 600_000, absolute: null, ...options.server } });
  s.stub.page('/edit', { body: EDIT });
  s.stub.page('/done', { body: '<p>Saved</p>' });
  const page = await s.open('/edit');
  await page.fill('#text', 'hours of work');
  await s.draftSaved(page);
  return { s, page };
}

async function keptAndOffered(s, page) {
  await page.goto('/two');
  await s.at(page, '/two');
  await s.ready(page);
  assert.equal((await s.drafts(page)).length, 1, 'the draft stays');
  await page.goto('/edit');
  await s.ready(page);
  await s.until('it is offered', async () => /restore/i.test(await s.text(page, 'bar')));
}

const html = (body, headers = {}) => ({ headers: { 'Content-Type': 'text/html', ...headers }, body });
for (const [what, answer] of [
  ['met an error of the application', () => ({ status: 500, ...html('<h1>Sorry</h1>') })],
  ['met an error of the application whose page has the script', (s, { id }) => ({ status: 500, ...html(s.stub.html({ body: 'Sorry' }, {}), { 'Server-Timing': s.stub.timing(s.stub.sessions.get(id)) }) })],
  ['was refused by the layer', () => ({ status: 503, headers: { 'Content-Type': 'application/problem+json' }, body: '{}' })],
  ['got no page for an answer', () => ({ status: 204 })],
  ['was sent to the log-in page though the session lives, as by limits_for', () => see('/login')],
  ['was sent on by a log-in page that had nothing to ask', (s) => see('/go')],
  ['was sent on by a single sign-on into another session', (s) => see('/two', { 'Set-Cookie': `sid=${s.stub.logIn('ada')}; Path=/; HttpOnly` })],
  ['came back as it was, with what is wrong', (s, { id }) => html(s.stub.html({ body: EDIT.replace('</textarea>', 'hours of work</textarea>') }, {}), { 'Server-Timing': s.stub.timing(s.stub.sessions.get(id)) })],
])
  test(`T36 a form that ${what} keeps its draft`, async (t) => {
    const { s, page } = await edited(t);
    s.stub.instead['/go'] = () => see('/two');
    s.stub.instead['/save'] = (request) => answer(s, request);
    await page.click('#save', { noWaitAfter: true });
    await s.until('it was sent', () => s.stub.requests('/save').length === 1);
    await s.until('it is answered', () => s.stub.inFlight === 0);
    if (what !== 'got no page for an answer') await s.until('the answer is shown', () => page.evaluate(() => location.pathname !== '/edit' && document.readyState === 'complete'));
    await s.settle(page);
    await keptAndOffered(s, page);
  });

test('T36 a form that did not reach the server keeps its draft', async (t) => {
  const { s, page } = await edited(t);
  await page.route('**/save', (route) => route.abort('connectionfailed'));
  await page.click('#save', { noWaitAfter: true });
  await s.until('the error', () => page.url().startsWith('chrome-error'));
  await keptAndOffered(s, page);
});

test("T36 a form that the application's own check did not let go keeps its draft", async (t) => {
  const { s, page } = await edited(t);
  await page.evaluate(() => document.querySelector('#form').addEventListener('submit', (event) => event.preventDefault()));
  await page.click('#save');
  await s.settle(page);
  await page.evaluate(() => location.assign('/two'));
  await s.at(page, '/two');
  await s.ready(page);
  await keptAndOffered(s, page);
  assert.equal(s.stub.requests('/save').length, 0);
});

test('T36 a form whose answer nobody waited for keeps its draft', async (t) => {
  const { s, page } = await edited(t);
  s.stub.instead['/save'] = () => new Promise(() => {});
  await page.evaluate(() => addEventListener('submit', () => globalThis.real.setTimeout(() => document.querySelector('#away').click(), 300)));
  await page.click('#save', { noWaitAfter: true });
  await s.until('it was sent', () => s.stub.requests('/save').length === 1);
  await s.at(page, '/two');
  await s.ready(page);
  await keptAndOffered(s, page);
});

test('T36 where the browser does not tell the status, the layer does', async (t) => {
  const { s, page } = await edited(t, { before: () => Object.defineProperty(PerformanceResourceTiming.prototype, 'responseStatus', { value: undefined }) });
  const answer = (status) => ({ id }) => ({ status, ...html(s.stub.html({ body: 'Sorry' }, {}), { 'Server-Timing': s.stub.timing(s.stub.sessions.get(id)).replace(/"$/, status < 400 ? '"' : ` ${status}"`) }) });
  const send = async (status) => {
    s.stub.instead['/save'] = answer(status);
    await page.click('#save');
    await s.at(page, '/save');
    await s.ready(page);
    await s.settle(page);
  };
  await send(500);
  await keptAndOffered(s, page);
  await s.part(page, 'bar').locator('button', { hasText: /restore/i }).click();
  await restored(s, page, 'hours of work');
  await send(200);
  assert.equal((await s.drafts(page)).length, 0);
});

test('T36 a form that was taken leaves no draft, with and without a redirect', async (t) => {
  const { s, page } = await edited(t);
  const taken = async (path) => {
    await page.click('#save');
    await s.at(page, path);
    await s.ready(page);
    await s.until('it is gone', async () => (await s.drafts(page)).length === 0);
  };
  await taken('/done');
  await page.goto('/edit');
  await s.ready(page);
  await page.fill('#text', 'more work');
  await s.draftSaved(page);
  s.stub.instead['/save'] = ({ id }) => html(s.stub.html({ body: 'Saved' }, {}), { 'Server-Timing': s.stub.timing(s.stub.sessions.get(id)) });
  await taken('/save');
});

test('T36 a form that was sent to the log-in page keeps its draft', async (t) => {
  const s = await stubScene(t, { server: { idle: 600_000, absolute: null } });
  const page = await s.open();
  await page.fill('#text', 'a text');
  await s.draftSaved(page);
  s.stub.instead['/save'] = () => see('/login');
  s.stub.end(s.sid);
  await page.click('#save');
  await s.at(page, '/login');
  await s.ready(page);
  await s.settle(page);
  assert.ok((await s.drafts(page)).length > 0);
  s.stub.instead = {};
  await back(s, page, 'ada');
  await s.until('it is offered, or back', async () => (await page.inputValue('#text')) === 'a text' || /restore/i.test(await s.text(page, 'bar')));
});

test('T33 what was typed before the script for drafts came is saved once it is there', async (t) => {
  const s = await exampleScene(t);
  let come;
  const hasCome = new Promise((done) => (come = done));
  await s.context.route(/drafts\.js/, async (route) => {
    await hasCome;
    await route.continue();
  });
  const page = await s.context.newPage();
  await s.logIn(page, 'ada', '/notes');
  await s.write(page, 'typed early');
  assert.equal(s.seen('event', 'draft-saved', page), 0);
  come();
  await s.draftSaved(page);
});

test('T36 a note that was saved in the example leaves no draft', async (t) => {
  const s = await exampleScene(t);
  const page = await s.context.newPage();
  await s.logIn(page, 'ada', '/notes');
  await s.write(page, 'a whole note');
  await s.draftSaved(page);
  await page.click('main form button');
  await s.until('the note is saved', async () => (await page.evaluate(() => document.querySelector('textarea').defaultValue)) === 'a whole note');
  // On the page that the answer leads to: who leaves that before the script has looked at it keeps the draft for now.
  await s.until('the draft is gone', async () => (await s.drafts(page)).length === 0);
  await page.goto('/account');
  await s.ready(page);
  assert.deepEqual(await s.drafts(page), []);
});

const BLOCKED = {
  'a full storage': () => {
    Storage.prototype.setItem = () => {
      throw new DOMException('full', 'QuotaExceededError');
    };
  },
  'a blocked storage': () => {
    Object.defineProperty(globalThis, 'localStorage', {
      get() {
        throw new DOMException('blocked', 'SecurityError');
      },
    });
  },
  'no WebCrypto': () => {
    Object.defineProperty(Crypto.prototype, 'subtle', { value: undefined });
  },
};
for (const [what, block] of Object.entries(BLOCKED))
  test(`T38 ${what} is told, and breaks nothing`, async (t) => {
    const s = await stubScene(t, { before: block });
    const page = await s.open();
    await page.fill('#text', 'a text');
    await s.advance(1_000);
    await s.until('it is told', () => s.seen('event', 'draft-error') > 0, 100);
    await s.warn(page);
    await s.advance(26_000);
    await s.at(page, '/login');
  });

test('T39 a draft of yesterday is removed', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await page.fill('#text', 'of yesterday');
  await s.draftSaved(page);
  await expired(s, page);
  assert.ok((await s.drafts(page)).length > 0);
  await s.advance(25 * 3_600_000);
  await back(s, page, 'ada');
  await s.until('it is gone', async () => (await s.drafts(page)).length === 0);
  assert.equal(await page.inputValue('#text'), '');
});

test('T39 a draft of 21 hours ago is filled in', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await page.fill('#text', 'of last evening');
  await s.draftSaved(page);
  await expired(s, page);
  await s.advance(21 * 3_600_000);
  await back(s, page, 'ada');
  await s.until('it is there', async () => (await page.inputValue('#text')) === 'of last evening');
});

test('T39 what is no draft, or damaged, is neither kept nor told', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await page.fill('#text', 'a text');
  await s.draftSaved(page);
  await page.goto('/login');
  await page.evaluate(() => {
    for (const [name, draft] of Object.entries(localStorage)) localStorage.setItem(name, draft.slice(0, -8));
    localStorage.setItem('session-timeout:draft:nonsense', 'nonsense');
  });
  await page.goto('/');
  await s.ready(page);
  await s.until('one is gone', async () => (await s.drafts(page)).length === 1);
  await s.settle(page);
  assert.equal(s.seen('event', 'draft-restore') + s.seen('event', 'draft-error'), 0);
});

test('T39 a form that is too long is refused, aloud', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await page.fill('#text', 'x'.repeat(65 * 1024 + 1));
  await s.until('it is told', () => s.seen('event', 'draft-error') > 0, 100);
  assert.equal((await s.drafts(page)).length, 0);
});

test('T39 all drafts together may not be too long, either', async (t) => {
  const s = await stubScene(t);
  const forms = Array.from({ length: 7 }, (_, index) => `<form data-session-draft="${index}"><textarea name="text" aria-label="${index}"></textarea></form>`);
  s.stub.page('/long', { body: forms.join('') });
  const page = await s.open('/long');
  // Each is 80 KiB once it is sealed and written down.
  for (const area of await page.locator('textarea').all()) {
    await area.evaluate((area) => (area.value = 'x'.repeat(60 * 1024)));
    await area.press('x');
  }
  await s.become(page, 'hidden');
  await s.until('it is told', () => s.seen('event', 'draft-error') === 1, 0);
  assert.equal((await s.drafts(page)).length, 6);
});

test('T38 data-drafts="tab" keeps drafts in the tab where they cannot be sealed', async (t) => {
  const s = await stubScene(t, { user: null, server: { attributes: 'data-login-url="/login" data-drafts="tab"' } });
  await s.logIn(null);
  const page = await s.open();
  await page.fill('#text', 'of nobody');
  await s.draftSaved(page);
  assert.deepEqual(await s.drafts(page), []);
  await page.reload();
  await s.ready(page);
  await s.until('the draft is offered', async () => /restore/i.test(await s.text(page, 'bar')));
  await s.part(page, 'bar').locator('button', { hasText: /restore/i }).click();
  await restored(s, page, 'of nobody');
});

const TAB = 'data-login-url="/login" data-drafts="tab"';

const inTab = (page) => page.evaluate(() => Object.keys(sessionStorage).filter((name) => name.startsWith('session-timeout:draft:')).map((name) => atob(sessionStorage.getItem(name).split('.')[1])).join());

/** Somebody types, whom nobody knows; their session ends, and in the same tab another one begins. */
async function nextSession(t, end) {
  const s = await stubScene(t, { user: null, server: { attributes: TAB } });
  await s.logIn(null);
  const page = await s.open();
  await page.fill('#text', 'of nobody');
  await s.draftSaved(page);
  assert.match(await inTab(page), /of nobody/);
  await end(s, page);
  return { s, page };
}

async function notFilledIn(s, page) {
  assert.equal(await page.inputValue('#text'), '');
  assert.equal(s.seen('event', 'draft-restore'), 0);
  assert.equal(await s.text(page, 'bar'), '');
  assert.equal(await inTab(page), '');
}

for (const [what, end] of [
  ['after it expired', (s, page) => expired(s, page)],
  ['after it was revoked', async (s, page) => {
    s.stub.end(s.sid);
    await page.goto('/');
    await s.at(page, '/login');
  }],
  ['though it never ended', (s, page) => page.goto('/login')],
])
  for (const user of ['', 'ada'])
    test(`T34 what was typed in a session of nobody is not filled into one ${user ? 'of somebody' : 'of somebody else'}, ${what}`, async (t) => {
      const { s, page } = await nextSession(t, end);
      if (user) await back(s, page, user);
      else {
        await s.logIn(null, 'another');
        await page.goto('/');
        await s.ready(page);
      }
      await notFilledIn(s, page);
    });

test('T34 what was typed in a session of nobody is gone as soon as the session is known to be over', async (t) => {
  const { s, page } = await nextSession(t, expired);
  await s.ready(page);
  await s.until('it is gone', async () => (await inTab(page)) === '');
});

test('T34 and when they sign out', async (t) => {
  const { s, page } = await nextSession(t, async (s, page) => {
    await page.evaluate(() => void globalThis.sessionTimeout.signOut());
    await s.at(page, '/login');
  });
  await s.ready(page);
  await s.until('it is gone', async () => (await inTab(page)) === '');
});

test('T34 a page of a session of nobody is not shown to whoever comes next', async (t) => {
  const s = await stubScene(t, { user: null, server: { attributes: `${TAB} data-on-expire="screen"` } });
  await s.logIn(null);
  const page = await s.open();
  await page.fill('#text', 'of nobody');
  await s.advance(60_000);
  await s.opened(page, 'veil');
  await s.logIn(null, 'another');
  await page.evaluate(() => void globalThis.sessionTimeout.check());
  await s.becomes(page, 'replaced');
  assert.match(await s.text(page, 'veil'), /another session/);
  assert.equal((await page.evaluate(() => document.documentElement.innerText)).trim(), '');
  assert.equal(s.seen('event', 'resumed'), 0);
  await s.part(page, 'signin').click();
  await s.until('it is loaded again', () => s.stub.requests('/').length === 2);
  await s.ready(page);
  await notFilledIn(s, page);
});

test('T30 nobody is sent away from what a session of nobody takes with it without being asked', async (t) => {
  const s = await stubScene(t, {
    user: null,
    server: { attributes: TAB },
    allow: [/'beforeunload' confirmation panel/],
    before: () => addEventListener('DOMContentLoaded', () => addEventListener('beforeunload', (event) => event.preventDefault())),
  });
  await s.logIn(null);
  const page = await s.open();
  let asked = 0;
  page.on('dialog', (dialog) => {
    asked += 1;
    void dialog.dismiss();
  });
  await page.click('#text');
  await page.keyboard.type('of nobody');
  await s.draftSaved(page);
  await s.advance(60_000);
  await s.until('the question', () => asked === 1);
});

test("T34 nor does anybody get a user's draft that could not be sealed; that user does", async (t) => {
  const s = await stubScene(t, { before: BLOCKED['no WebCrypto'], server: { attributes: TAB } });
  const page = await s.open();
  const typed = async (text) => {
    await page.fill('#text', text);
    await s.draftSaved(page);
  };
  await typed('of ada');
  await expired(s, page);
  await back(s, page, 'ada');
  await restored(s, page, 'of ada');
  await typed('of ada again');
  await expired(s, page);
  await back(s, page, 'grace');
  assert.equal(await page.inputValue('#text'), '');
  assert.equal(await inTab(page), '');
});

test("T34 a session of nobody in between, as a log-in page may have, leaves the user's draft in the tab", async (t) => {
  const s = await stubScene(t, { before: BLOCKED['no WebCrypto'], server: { attributes: TAB } });
  const page = await s.open();
  await page.fill('#text', 'of ada');
  await s.draftSaved(page);
  await expired(s, page);
  await s.logIn(null);
  await page.goto('/login');
  await s.ready(page);
  await back(s, page, 'ada');
  await restored(s, page, 'of ada');
});

test('drafts go when the user signs out, and stay when the session ends', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await page.fill('#text', 'a text');
  await s.draftSaved(page);
  await page.click('#logout button');
  await s.at(page, '/login');
  await s.until('they are gone', async () => (await s.drafts(page)).length === 0);
});

test('drafts go when the user signs out by a link that says so', async (t) => {
  const s = await stubScene(t);
  s.stub.page('/link', { attributes: 'data-login-url="/login"', body: `${FORM}<a id="leave" href="/bye" data-session-logout><b>Leave</b></a>` });
  s.stub.instead['/bye'] = () => see('/login', { 'Set-Cookie': 'sid=; Path=/; Max-Age=0' });
  const page = await s.open('/link');
  await page.fill('#text', 'a text');
  await s.draftSaved(page);
  await page.click('#leave b');
  await s.at(page, '/login');
  await s.until('they are gone', async () => (await s.drafts(page)).length === 0);
});

test('drafts go when somebody else is signed in by the answer to the sign-out', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await page.fill('#text', 'of ada');
  await s.draftSaved(page);
  s.stub.instead['/logout'] = () => see('/two', { 'Set-Cookie': `sid=${s.stub.logIn('grace')}; Path=/; HttpOnly` });
  await page.click('#logout button');
  await s.at(page, '/two');
  await s.until('they are gone', async () => (await s.drafts(page)).length === 0);
});

test('drafts stay after a sign-out that did not happen', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await signsOutInVain(page);
  await page.goto('/two');
  await page.goto('/');
  await s.ready(page);
  await page.fill('#text', 'a text');
  await s.draftSaved(page);
  await draftOutlivesTheSession(s, page);
});

test('drafts stay after a sign-out that was called off, and nothing else happened until the end', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await signsOutInVain(page);
  await page.fill('#text', 'a text');
  await s.draftSaved(page);
  await expired(s, page);
  await s.ready(page);
  assert.equal((await s.drafts(page)).length, 1);
});

test('drafts stay after a click beside the button that signs out', async (t) => {
  const s = await stubScene(t);
  s.stub.page('/beside', { body: `${FORM}<form id="logout" action="/logout" method="post"><p id="beside">You are ada.</p><button>Leave</button></form>` });
  const page = await s.open('/beside');
  await page.fill('#text', 'a text');
  await s.draftSaved(page);
  await page.click('#beside');
  await draftOutlivesTheSession(s, page);
});

test('T38 a key that could not be had is asked for again, and what was typed meanwhile is saved', async (t) => {
  const s = await stubScene(t, { allow: [FAILED_REQUEST] });
  let asked = 0;
  s.stub.instead['draft-key'] = () => ((asked += 1) < 3 ? { status: 503 } : undefined);
  const page = await s.open();
  await page.fill('#text', 'a long work');
  await s.settle(page);
  assert.equal((await s.drafts(page)).length, 0);
  await s.run(8_000);
  await s.draftSaved(page);
  assert.equal(asked, 3);
});

test('T38 but not where there is none', async (t) => {
  const s = await stubScene(t, { allow: [FAILED_REQUEST] });
  s.stub.instead['draft-key'] = () => ({ status: 403 });
  await s.open();
  await s.run(10_000);
  assert.equal(s.stub.requests('draft-key').length, 1);
});

test('an application may clear a draft', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await page.fill('#text', 'a text');
  await s.draftSaved(page);
  await page.evaluate(() => globalThis.sessionTimeout.clearDraft('form'));
  await s.until('it is gone', async () => (await s.drafts(page)).length === 0);
});

test('an application may clear a draft of another of its pages, and of no other user', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await page.fill('#text', 'of ada');
  await s.draftSaved(page);
  await page.goto('/two');
  await s.ready(page);
  const clear = async (...of) => {
    await page.evaluate((of) => globalThis.sessionTimeout.clearDraft(...of), of);
    await s.settle(page);
    return (await s.drafts(page)).length;
  };
  assert.equal(await clear('form'), 1);
  await s.logIn('grace');
  await page.goto('/two');
  await s.ready(page);
  assert.equal(await clear('form', '/'), 1);
  await s.logIn('ada');
  await page.goto('/two');
  await s.ready(page);
  assert.equal(await clear('form', '/'), 0);
});
