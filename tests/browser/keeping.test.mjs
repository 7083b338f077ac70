// What drafts keep, whatever the page and the application do with the form meanwhile.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { back, expired, holds, LAX, leaveAndReturn, LONG, offered, press, rows, withField } from './forms.mjs';
import { FAILED_REQUEST, stubScene } from './harness.mjs';
import { FORM, see } from './stub.mjs';

const EDITABLE = '<div id="rich" contenteditable data-session-draft-field="rich"></div>';
const RICH = `<form id="form" data-session-draft="rich" action="/save" method="post">${EDITABLE}<button>Save</button></form><a id="go" href="/two">two</a>`;

async function typeInPlace(page, text) {
  await page.focus('#rich');
  await page.keyboard.type(text);
}

const inPlace = (s, page, text) => s.until('the text is back', async () => (await page.evaluate(() => document.querySelector('#rich').textContent)) === text);

test('a text that is edited in place is kept behind the veil', async (t) => {
  const s = await stubScene(t, { allow: [FAILED_REQUEST] });
  s.stub.page('/rich', { body: RICH });
  const page = await s.open('/rich');
  await typeInPlace(page, 'a long text');
  await s.draftSaved(page);
  await s.context.setOffline(true);
  await s.advance(60_000);
  await s.opened(page, 'veil');
  await s.context.setOffline(false);
  await s.until('the server says so', async () => {
    await page.evaluate(() => void globalThis.sessionTimeout?.check());
    return new URL(page.url()).pathname === '/login';
  });
  await s.at(page, '/login');
  await back(s, page, '/rich');
  await inPlace(s, page, 'a long text');
});

for (const ended of [false, true])
  test(`a text that is edited in place is kept while its page is in the browser's cache${ended ? ', and the session ends' : ''}`, async (t) => {
    const s = await stubScene(t, { clock: false, server: LONG });
    s.stub.page('/rich', { body: RICH });
    const page = await s.open('/rich');
    await typeInPlace(page, 'a long text');
    await s.draftSaved(page);
    await page.evaluate(() => document.querySelector('#go').click());
    await s.at(page, '/two');
    await s.settle(page);
    assert.equal((await s.drafts(page)).length, 1);
    if (ended) s.stub.end(s.sid, 'idle');
    await page.evaluate(() => history.back());
    await s.at(page, ended ? '/login' : '/rich');
    await s.settle(page);
    assert.equal((await s.drafts(page)).length, 1);
    if (!ended) return;
    await back(s, page, '/rich');
    await inPlace(s, page, 'a long text');
  });

test('a text is kept with its lines, also where the application does not show it', async (t) => {
  const s = await stubScene(t);
  s.stub.page('/rich', { body: withField(FORM, `<div id="panel">${EDITABLE}</div>`) });
  const page = await s.open('/rich');
  await page.focus('#rich');
  for (const line of ['one', '', 'two  words']) {
    await page.keyboard.type(line);
    await page.keyboard.press('Enter');
  }
  await page.keyboard.type('three');
  await page.evaluate(() => (document.querySelector('#panel').style.display = 'none'));
  await page.fill('#text', 'a text');
  await s.draftSaved(page);
  await expired(s, page);
  await back(s, page, '/rich');
  await holds(s, page, 'a text');
  assert.deepEqual((await page.innerText('#rich')).replaceAll('\u00a0', ' ').split('\n'), ['one', '', 'two  words', 'three']);
});

test('what is typed right before a link is followed is kept', async (t) => {
  const s = await stubScene(t, { clock: false, server: LONG });
  s.stub.page('/edit', { body: `${FORM}<a id="go" href="/two">two</a>` });
  const page = await s.open('/edit');
  await page.fill('#text', 'pasted');
  await page.click('#go');
  await s.at(page, '/two');
  await s.until('it is stored', async () => (await s.drafts(page)).length === 1);
});

/** The application takes its time to send the form by itself, and is told that the session is over. */
const SENT = (meanwhile) => `<script>document.querySelector('#form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const area = document.querySelector('#text');
  (${meanwhile})(area);
  const answer = await fetch('/orders', { method: 'POST' });
  if (answer.status === 401) await sessionTimeout.check();
})</script>`;
for (const [what, meanwhile] of [
  ['disables the field', '(area) => { area.disabled = true; }'],
  ['disables all of them', "(area) => { area.form.querySelector('fieldset').disabled = true; }"],
  ['takes the field out', '(area) => area.remove()'],
  ['gives it another name', "(area) => { area.name = 'other'; }"],
  ['empties it', "(area) => { area.value = ''; }"],
])
  test(`a draft stays while the application sends the form, and ${what}`, async (t) => {
    const s = await stubScene(t, { allow: [FAILED_REQUEST], server: { ...LONG, ...LAX } });
    s.stub.page('/edit', { body: withField(FORM.replace(/(<label.*<\/textarea>)/, '<fieldset>$1</fieldset>'), '<input id="title" name="title">') + SENT(meanwhile) });
    s.stub.instead['/orders'] = () => ({ status: 401 });
    const page = await s.open('/edit');
    await page.fill('#title', 'a title');
    await page.fill('#text', 'hours of work');
    await s.draftSaved(page);
    s.stub.end(s.sid, 'idle');
    await page.click('#save');
    await s.at(page, '/login');
    await back(s, page, '/edit');
    if ((await page.inputValue('#text')) === '') await press(s, page, 'restore');
    await holds(s, page, 'hours of work');
    assert.equal(await page.inputValue('#title'), 'a title');
  });

test('a form that a script emptied keeps its draft, and one that the user put back does not', async (t) => {
  const s = await stubScene(t, { server: LONG });
  const page = await s.open();
  await page.fill('#text', 'a text');
  await s.draftSaved(page);
  await page.evaluate(() => document.querySelector('#form').reset());
  await s.become(page, 'hidden');
  await s.settle(page);
  assert.equal((await s.drafts(page)).length, 1);
  await page.fill('#text', 'x');
  await page.fill('#text', '');
  await s.advance(1_000);
  await s.until('it is gone', async () => (await s.drafts(page)).length === 0);
});

test('two tabs with the same form keep a draft each, and each gets its own', async (t) => {
  const s = await stubScene(t);
  const [a, b] = [await s.open(), await s.open()];
  for (const [page, text] of [[a, 'of tab A'], [b, 'of tab B']]) {
    await page.fill('#text', text);
    await s.draftSaved(page);
  }
  await s.advance(60_000);
  for (const page of [a, b]) await s.at(page, '/login');
  await back(s, a);
  await holds(s, a, 'of tab A');
  await offered(s, a);
  await b.goto('/');
  await s.ready(b);
  await holds(s, b, 'of tab B');
});

test('what one tab saved takes nothing of the other', async (t) => {
  const s = await stubScene(t, { server: LONG });
  s.stub.page('/done', { body: 'Saved' });
  const [a, b] = [await s.open(), await s.open()];
  for (const [page, text] of [[a, 'of tab A'], [b, 'of tab B']]) {
    await page.fill('#text', text);
    await s.draftSaved(page);
  }
  await a.click('#save');
  await s.at(a, '/done');
  await s.ready(a);
  await s.until('the first is gone', async () => (await s.drafts(a)).length === 1);
  await a.evaluate(() => globalThis.sessionTimeout.clearDraft('form', '/'));
  await s.settle(a);
  await leaveAndReturn(s, b);
  await offered(s, b);
  await press(s, b, 'restore');
  await holds(s, b, 'of tab B');
});

test('a draft that is not in the storage any more is written once more', async (t) => {
  const s = await stubScene(t, { server: LONG });
  const page = await s.open();
  await page.fill('#text', 'a text');
  await s.draftSaved(page);
  await page.evaluate(() => localStorage.clear());
  await s.become(page, 'hidden');
  await s.until('it is there', async () => (await s.drafts(page)).length === 1);
});

test("another user's drafts take no room from anybody", async (t) => {
  const s = await stubScene(t, { server: LONG });
  const page = await s.open();
  await page.evaluate(() => {
    for (let n = 0; n < 6; n += 1) localStorage.setItem(`session-timeout:draft:somebody-else:/x:f${n}#tab.${n}`, `${Date.now()}.${'A'.repeat(87_500)}`);
  });
  await page.fill('#text', 'a text');
  await s.draftSaved(page);
  assert.equal((await s.drafts(page)).length, 7);
});

test('where there is no more room, the oldest draft goes', async (t) => {
  const s = await stubScene(t, { server: LONG });
  const page = await s.open();
  await page.fill('#text', 'first');
  await s.draftSaved(page);
  const owner = (await s.drafts(page))[0].split(':')[2];
  await page.evaluate((owner) => {
    for (let n = 0; n < 6; n += 1) localStorage.setItem(`session-timeout:draft:${owner}:/x:f${n}#tab.${n}`, `${Date.now() - 1000 - n}.${'A'.repeat(87_000)}`);
  }, owner);
  await page.fill('#text', 'x'.repeat(10_000));
  await s.draftSaved(page);
  const drafts = (await s.drafts(page)).map((draft) => draft.split(' ')[0]);
  assert.equal(drafts.length, 6);
  assert.equal(drafts.some((name) => name.includes(':f5#')), false, 'the oldest');
});

for (const [what, field, change] of [
  ['a file that was chosen', '<input type="file" name="file" id="file">', (page) => page.setInputFiles('#file', { name: 'a.txt', mimeType: 'text/plain', buffer: Buffer.from('x') })],
  ['a password that was typed', '<input type="password" name="new" id="new">', (page) => page.fill('#new', 'a long passphrase')],
])
  test(`nobody is sent away from ${what} without being asked`, (t) => asked(t, withField(FORM, field), change, 1));

test('nor from a text that is edited in place outside of forms', (t) =>
  asked(t, `${FORM}<div id="article" contenteditable></div>`, async (page) => {
    await page.focus('#article');
    await page.keyboard.type('an article');
  }, 1));

test('but from what is all in drafts', (t) => asked(t, FORM, () => {}, 0));

async function asked(t, body, change, times) {
  const s = await stubScene(t, {
    allow: [/'beforeunload' confirmation panel/],
    before: () => addEventListener('DOMContentLoaded', () => addEventListener('beforeunload', (event) => event.preventDefault())),
  });
  s.stub.page('/edit', { body });
  const page = await s.open('/edit');
  let count = 0;
  page.on('dialog', (dialog) => {
    count += 1;
    void dialog.accept();
  });
  await page.focus('#text');
  await page.keyboard.type('a text');
  await change(page);
  await s.draftSaved(page);
  await expired(s, page);
  assert.equal(count, times);
}

test('a form that only scripts have filled in gets no draft', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await page.evaluate(() => (document.querySelector('#text').value = 'from the server'));
  await s.become(page, 'hidden');
  await s.settle(page);
  await expired(s, page).catch(() => {});
  assert.equal(s.seen('event', 'draft-saved'), 0);
});

test('what replaces a password field is as secret', async (t) => {
  const s = await stubScene(t, { user: null, server: { ...LONG, attributes: 'data-login-url="/login" data-drafts="tab"' } });
  await s.logIn(null);
  s.stub.page('/edit', { body: withField(FORM, '<input type="password" name="pw" id="pw">') });
  const page = await s.open('/edit');
  await page.type('#pw', 'hunter2');
  await page.evaluate(() => {
    const old = document.querySelector('#pw');
    const shown = Object.assign(document.createElement('input'), { name: old.name, id: old.id, value: old.value });
    old.replaceWith(shown);
  });
  await page.fill('#text', 'a text');
  await s.draftSaved(page);
  const kept = await page.evaluate(() => Object.values(sessionStorage).map((it) => { try { return atob(it.split('.')[1]); } catch { return ''; } }).join());
  assert.match(kept, /a text/);
  assert.doesNotMatch(kept, /hunter2/);
});

test('a draft from the future goes', async (t) => {
  const s = await stubScene(t, { server: LONG });
  const page = await s.open();
  await page.fill('#text', 'a text');
  await s.draftSaved(page);
  await page.goto('/two');
  await page.evaluate(() => {
    for (const [name, draft] of Object.entries(localStorage)) localStorage.setItem(name, draft.replace(/^\d+/, String(Date.now() + 400 * 86_400_000)));
  });
  await page.goto('/');
  await s.ready(page);
  await s.settle(page);
  assert.deepEqual(await rows(page), []);
  assert.equal((await s.drafts(page)).length, 0);
});

// Applications that load no pages.

test('a draft is of the page that its form began on, whatever the address is by then', async (t) => {
  const s = await stubScene(t, { server: LONG });
  s.stub.page('/a', { body: FORM });
  s.stub.page('/done', { body: 'Saved' });
  const page = await s.open('/a');
  await page.fill('#text', 'of a');
  await s.draftSaved(page);
  await page.evaluate(() => history.pushState(null, '', '/b?dialog=1'));
  await page.type('#text', ' and more');
  await s.draftSaved(page);
  assert.equal((await s.drafts(page)).length, 1);
  await page.click('#save');
  await s.at(page, '/done');
  await s.ready(page);
  await s.until('it is gone', async () => (await s.drafts(page)).length === 0);
});

test('what was typed into a form that went right after that is kept', async (t) => {
  const s = await stubScene(t, { server: LONG });
  const page = await s.open();
  await page.fill('#text', 'pasted');
  await page.evaluate(() => {
    document.querySelector('#form').remove();
    history.pushState(null, '', '/two');
  });
  await s.draftSaved(page);
  await page.goto('/');
  await s.ready(page);
  await offered(s, page);
});

test('a draft that was cleared does not come back after the pause, and does with what is typed then', async (t) => {
  const s = await stubScene(t, { server: LONG });
  const page = await s.open();
  await page.fill('#text', 'sent');
  await s.draftSaved(page);
  await page.keyboard.type(' by a script');
  await page.evaluate(() => globalThis.sessionTimeout.clearDraft('form'));
  await s.advance(2_000);
  await s.settle(page);
  await s.become(page, 'hidden');
  await s.settle(page);
  assert.equal((await s.drafts(page)).length, 0);
  await s.become(page, 'visible');
  await page.fill('#text', 'sent');
  await s.draftSaved(page);
  assert.equal((await s.drafts(page)).length, 1);
});

test('nobody seals a draft with the key of somebody else', async (t) => {
  const s = await stubScene(t, { allow: [FAILED_REQUEST], server: LONG });
  s.stub.instead['draft-key'] = () => ({ status: 503 });
  const page = await s.open();
  const ada = s.sid;
  await s.logIn('grace');
  s.stub.instead = {};
  await s.run(8_000);
  await s.settle(page);
  const asked = s.stub.requests('draft-key');
  assert.ok(asked.length >= 2);
  await s.context.addCookies([{ name: 'sid', value: ada, url: s.url, httpOnly: true }]);
  await page.evaluate(() => globalThis.sessionTimeout.check());
  await page.fill('#text', 'of ada');
  await s.run(70_000);
  await s.draftSaved(page);
  s.stub.end(ada);
  await page.evaluate(() => void globalThis.sessionTimeout.check());
  await s.at(page, '/login');
  await back(s, page);
  await holds(s, page, 'of ada');
});
