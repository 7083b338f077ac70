// How drafts come back: what is asked, what is filled in, what is taken out again, and the bar.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { back, expired, holds, LAX, leaveAndReturn, LONG, offered, press, rows, withField } from './forms.mjs';
import { stubScene } from './harness.mjs';
import { FORM } from './stub.mjs';

const TWO = FORM + FORM.replace(/form"/g, 'other"').replace(/"text"/g, '"more"');

/** An offer of "an old text", that nobody has answered. */
async function unanswered(t, options = {}) {
  const s = await stubScene(t, { server: LONG, ...options });
  const page = await s.open();
  await page.fill('#text', 'an old text');
  await s.draftSaved(page);
  await leaveAndReturn(s, page);
  await offered(s, page);
  return { s, page };
}

/** "an old text", filled in unasked. */
async function filledIn(t, body = FORM, options = {}) {
  const s = await stubScene(t, options);
  s.stub.page('/edit', { body });
  const page = await s.open('/edit');
  await page.fill('#text', 'an old text');
  await s.draftSaved(page);
  await expired(s, page);
  await back(s, page, '/edit');
  await holds(s, page, 'an old text');
  return { s, page };
}

test('"Discard" takes nothing of what was written since it was offered', async (t) => {
  const { s, page } = await unanswered(t);
  await page.fill('#text', 'a new text');
  await s.draftSaved(page);
  await press(s, page, 'discard');
  await s.advance(2_000);
  assert.equal(await page.inputValue('#text'), 'a new text');
  assert.equal((await s.drafts(page)).length, 1);
  await leaveAndReturn(s, page);
  await press(s, page, 'restore');
  await holds(s, page, 'a new text');
});

test('nor does "Restore", and says so', async (t) => {
  const { s, page } = await unanswered(t);
  await page.fill('#text', 'a new text');
  await s.draftSaved(page);
  await press(s, page, 'restore');
  await s.until('it is told', async () => /could not be filled in/.test(await s.text(page, 'bar')));
  assert.equal(await page.inputValue('#text'), 'a new text');
  assert.equal((await s.drafts(page)).length, 2);
});

test('"Restore" can be undone, and done again', async (t) => {
  const { s, page } = await unanswered(t);
  await press(s, page, 'restore');
  await holds(s, page, 'an old text');
  await s.until('it is told', async () => /restored/.test(await s.text(page, 'bar')));
  await press(s, page, 'undo');
  await holds(s, page, '');
  await offered(s, page);
  await press(s, page, 'restore');
  await holds(s, page, 'an old text');
  await s.until('one draft', async () => (await s.drafts(page)).length === 1);
});

test('"Undo" takes out what was filled in, and nothing that was written since', async (t) => {
  const { s, page } = await filledIn(t, withField(FORM, '<input name="more" id="more"><input name="title" id="title">'));
  await page.fill('#more', 'written since');
  await page.type('#text', ', and a thousand words');
  await s.draftSaved(page);
  await press(s, page, 'undo');
  await s.advance(2_000);
  assert.deepEqual([await page.inputValue('#text'), await page.inputValue('#more')], ['an old text, and a thousand words', 'written since']);
  await leaveAndReturn(s, page, '/edit');
  await s.until('both are offered', async () => (await rows(page)).length === 2);
});

test('of radio buttons, "Undo" and "Restore" leave what was chosen since', async (t) => {
  const radios = ['a', 'b', 'c'].map((it) => `<input type="radio" name="r" value="${it}" id="${it}"${it === 'a' ? ' checked' : ''}>`).join('');
  const s = await stubScene(t, { server: LONG });
  s.stub.page('/edit', { body: withField(FORM, radios) });
  const page = await s.open('/edit');
  await page.check('#b');
  await s.draftSaved(page);
  await leaveAndReturn(s, page, '/edit');
  await page.check('#c');
  await press(s, page, 'restore');
  assert.equal(await page.isChecked('#c'), true);
  await page.check('#a');
  await press(s, page, 'restore');
  assert.equal(await page.isChecked('#b'), true);
  await page.check('#c');
  await press(s, page, 'undo');
  assert.equal(await page.isChecked('#c'), true);
});

test('nobody is offered their own text while they write it', async (t) => {
  const s = await stubScene(t, { server: LONG });
  const page = await s.open();
  await page.fill('#text', 'first');
  await s.draftSaved(page);
  await page.type('#text', ' and second');
  await page.evaluate(() => globalThis.sessionTimeout.scan());
  await s.settle(page);
  assert.deepEqual(await rows(page), []);
});

test('an offer that nobody answered is made again, whatever was typed meanwhile', async (t) => {
  const { s, page } = await unanswered(t);
  await page.type('#text', 'x');
  await s.draftSaved(page);
  await page.fill('#text', '');
  await s.advance(1_000);
  await leaveAndReturn(s, page);
  await offered(s, page);
  await press(s, page, 'restore');
  await holds(s, page, 'an old text');
});

test('an offer outlives what was sent meanwhile, and the end of the session', async (t) => {
  const { s, page } = await unanswered(t);
  s.stub.page('/done', { body: 'Saved' });
  await page.fill('#text', 'another note');
  await page.click('#save');
  await s.at(page, '/done');
  await s.ready(page);
  await s.until('one is left', async () => (await s.drafts(page)).length === 1);
  await leaveAndReturn(s, page);
  await offered(s, page);
  await page.type('#text', 'x');
  await s.draftSaved(page);
  s.stub.end(s.sid);
  await page.evaluate(() => void globalThis.sessionTimeout.check());
  await s.at(page, '/login');
  await back(s, page);
  await holds(s, page, 'x');
  await offered(s, page);
});

test('one bar tells of all forms', async (t) => {
  const s = await stubScene(t, { server: LONG });
  s.stub.page('/both', { body: TWO });
  const page = await s.open('/both');
  await page.fill('#text', 'one');
  await page.fill('#more', 'two');
  await s.advance(1_000);
  await s.until('both are saved', () => s.seen('event', 'draft-saved') === 2);
  await leaveAndReturn(s, page, '/both');
  await offered(s, page, 2);
  assert.equal(await page.evaluate(() => [...document.querySelectorAll('session-timeout')].flatMap((it) => [...it.shadowRoot.querySelectorAll('[part=bar]')]).length), 1);
  await press(s, page, 'restore', 0);
  await holds(s, page, 'one');
  await press(s, page, 'restore', 0);
  await holds(s, page, 'two', '#more');
  await s.until('all is said', async () => (await rows(page)).length === 2);
});

test('what was filled in unasked into two forms can be taken out of each', async (t) => {
  const s = await stubScene(t);
  s.stub.page('/both', { body: TWO });
  const page = await s.open('/both');
  await page.fill('#text', 'one');
  await page.fill('#more', 'two');
  await s.advance(1_000);
  await expired(s, page);
  await back(s, page, '/both');
  await holds(s, page, 'two', '#more');
  await press(s, page, 'undo', 0);
  assert.deepEqual([await page.inputValue('#text'), await page.inputValue('#more')], ['', 'two']);
});

// Unasked only into the same form.

const TO = (to) => withField(FORM, `<input type="hidden" name="csrf_token" value="${Math.random()}"><input type="hidden" name="to" value="${to}">`);
for (const [what, to, next, isUnasked] of [
  ['as it was', (request) => request.url.searchParams.get('to'), '/message?to=grace', true],
  ['with another query', () => 'grace', '/message?to=boss', false],
  ['with other hidden fields', (request, count) => (count < 2 ? 'grace' : 'boss'), '/message?to=grace', false],
])
  test(`a form ${what} is ${isUnasked ? '' : 'not '}filled in unasked`, async (t) => {
    const s = await stubScene(t);
    s.stub.page('/message', { body: (request) => TO(to(request, s.stub.requests('/message').length)) });
    const page = await s.open('/message?to=grace');
    await page.fill('#text', 'I love you');
    await s.draftSaved(page);
    await expired(s, page);
    await page.evaluate((next) => (document.querySelector('[name=next]').value = next), next);
    await back(s, page, '/message');
    if (isUnasked) return holds(s, page, 'I love you');
    await offered(s, page);
    assert.equal(await page.inputValue('#text'), '');
  });

test('one of several forms is not filled in unasked where it is the only one left', async (t) => {
  const s = await stubScene(t);
  const reply = (n) => `<form data-session-draft="reply" action="/reply" method="post"><textarea name="text" id="t${n}"></textarea></form>`;
  s.stub.page('/thread', { body: (request) => reply(1) + (s.stub.requests('/thread').length < 2 ? reply(2) : '') });
  const page = await s.open('/thread');
  await page.fill('#t2', 'to the second');
  await s.draftSaved(page);
  await expired(s, page);
  await back(s, page, '/thread');
  await offered(s, page);
  assert.equal(await page.inputValue('#t1'), '');
});

// Forms that change.

const addRow = (page) =>
  page.evaluate(() => {
    const last = [...document.querySelectorAll('[name=item]')].pop();
    last.after(Object.assign(document.createElement('input'), { name: 'item', id: 'i1' }));
  });

test('a row that is not there is filled in once it is, and told until then', async (t) => {
  const s = await stubScene(t);
  s.stub.page('/rows', { body: '<form id="form" data-session-draft="rows" action="/save" method="post"><input name="item" id="i0"><button id="save">Save</button></form>' });
  const page = await s.open('/rows');
  await addRow(page);
  await page.fill('#i0', 'one');
  await page.fill('#i1', 'two');
  await s.draftSaved(page);
  await expired(s, page);
  await back(s, page, '/rows');
  await offered(s, page);
  await press(s, page, 'restore');
  await holds(s, page, 'one', '#i0');
  await s.until('it is told', async () => /could not be filled in/.test(await s.text(page, 'bar')));
  await s.advance(2_000);
  await page.reload();
  await s.ready(page);
  await offered(s, page, 2);
  await press(s, page, 'restore');
  await press(s, page, 'restore');
  await holds(s, page, 'one', '#i0');
  await addRow(page);
  await holds(s, page, 'two', '#i1');
});

test('a choice that depends on another one is made once there is one', async (t) => {
  const s = await stubScene(t, { server: LAX });
  s.stub.page('/trip', {
    body: `<form id="form" data-session-draft="trip" action="/save" method="post"><select name="country" id="country"><option>de<option>fr</select><select name="city" id="city"><option>Berlin<option>Bonn</select><textarea id="text" name="text"></textarea><button>Save</button></form>
<script>country.onchange = () => setTimeout(() => { city.innerHTML = country.value === 'fr' ? '<option>Paris<option>Lyon' : '<option>Berlin<option>Bonn'; }, 100);</script>`,
  });
  const page = await s.open('/trip');
  await page.selectOption('#country', 'fr');
  await s.advance(200);
  await page.selectOption('#city', 'Lyon');
  await page.fill('#text', 'a text');
  await s.draftSaved(page);
  await expired(s, page);
  await back(s, page, '/trip');
  await offered(s, page);
  await press(s, page, 'restore');
  await s.until('the city is chosen', async () => (await page.inputValue('#city')) === 'Lyon');
  await s.until('it is told', async () => /restored/.test(await s.text(page, 'bar')));
});

// The bar.

test('the bar covers nothing that cannot be scrolled to, and goes by its button', async (t) => {
  const { s, page } = await filledIn(t, FORM.replace('<textarea', '<textarea style="height:300px;width:90%"'), { server: LAX, viewport: { width: 320, height: 480 } });
  await s.until('the bar is there', () => page.evaluate(() => globalThis.part('bar')));
  const padding = () => page.evaluate(() => getComputedStyle(document.body).paddingBottom);
  const covered = await padding();
  await page.evaluate(() => scrollTo(0, 1e5));
  await page.click('#save', { trial: true });
  await page.evaluate(() => scrollTo(0, 0));
  await page.focus('#text');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.getBoundingClientRect().bottom <= globalThis.part('bar').getBoundingClientRect().top), true);
  await press(s, page, 'close');
  assert.equal(await page.evaluate(() => globalThis.part('bar')), null);
  assert.notEqual(await padding(), covered);
  assert.equal(await page.inputValue('#text'), 'an old text');
});

test('Escape closes the bar, and what was offered is offered again', async (t) => {
  const { s, page } = await unanswered(t);
  await page.focus('#text');
  await page.keyboard.press('Escape');
  assert.equal(await page.evaluate(() => globalThis.part('bar')), null);
  await leaveAndReturn(s, page);
  await offered(s, page);
});

test('the focus is where it was after the bar is closed', async (t) => {
  const { s, page } = await unanswered(t);
  await page.focus('#save');
  await page.evaluate(() => document.querySelector('#logout').remove());
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.localName), 'session-timeout');
  await page.keyboard.press('Escape');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'save');
});

test('the bar goes with its form', async (t) => {
  const { s, page } = await filledIn(t);
  await s.until('the bar is there', () => page.evaluate(() => globalThis.part('bar')));
  await page.evaluate(() => document.querySelector('#form').remove());
  await s.until('it is gone', () => page.evaluate(() => !globalThis.part('bar')));
});

test('and when the draft is cleared', async (t) => {
  const { s, page } = await filledIn(t);
  await s.until('the bar is there', () => page.evaluate(() => globalThis.part('bar')));
  await page.evaluate(() => globalThis.sessionTimeout.clearDraft('note') && globalThis.sessionTimeout.clearDraft('form'));
  await s.until('it is gone', () => page.evaluate(() => !globalThis.part('bar')));
  assert.equal(await page.inputValue('#text'), 'an old text');
});

test('in a modal dialog the bar can be reached', async (t) => {
  const s = await stubScene(t, { server: LONG });
  s.stub.probe = 'document.querySelector("#dialog").showModal()';
  s.stub.page('/dialog', { head: '<script src="/probe.js" defer></script>', body: `<dialog id="dialog">${FORM}</dialog>` });
  const page = await s.open('/dialog');
  await page.fill('#text', 'in a dialog');
  await s.draftSaved(page);
  await leaveAndReturn(s, page, '/dialog');
  await offered(s, page);
  await page.click('#save', { trial: true });
  await press(s, page, 'restore');
  await holds(s, page, 'in a dialog');
  await page.evaluate(() => document.querySelector('#dialog').close());
  await s.until('it is in the page', () => page.evaluate(() => document.querySelector('#dialog session-timeout') === null));
});

test('all texts of the bar can be given', async (t) => {
  const s = await stubScene(t, { server: { ...LONG, attributes: 'data-login-url="/login" data-msg-found="Entwurf von {time}" data-msg-restore="Holen" data-msg-discard="Weg" data-msg-close="Zu" data-msg-partly="Nicht alles"' } });
  const page = await s.open();
  await page.fill('#text', 'an old text');
  await s.draftSaved(page);
  await leaveAndReturn(s, page);
  await s.until('it is offered', async () => /^Entwurf von .*\d+:\d+.*Holen.*Weg.*Zu$/s.test(await s.text(page, 'bar')));
  await page.fill('#text', 'a new text');
  await press(s, page, 'restore');
  await s.until('it is told', async () => /^Nicht alles.*Holen.*Weg.*Zu$/s.test(await s.text(page, 'bar')));
});
