// Draft forms on their way to the server: what counts as taken, and what does not get lost while the session is looked at.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { back, expired, holds, LAX, leaveAndReturn, LONG, offered, press, withField } from './forms.mjs';
import { FAILED_REQUEST, stubScene } from './harness.mjs';
import { FORM, see } from './stub.mjs';

const html = (s, { id }, body, headers = {}) => ({ headers: { 'Content-Type': 'text/html', 'Server-Timing': s.stub.timing(s.stub.sessions.get(id)), ...headers }, body: s.stub.html({ body }, {}) });

async function typed(t, body = FORM, options = {}) {
  const s = await stubScene(t, { allow: [FAILED_REQUEST, /ERR_/], server: LONG, ...options });
  s.stub.page('/edit', { body });
  s.stub.page('/done', { body: 'Saved' });
  const page = await s.open('/edit');
  await page.fill('#text', 'hours of work');
  await s.draftSaved(page);
  return { s, page };
}

async function answered(s, page, path) {
  await s.at(page, path);
  await s.ready(page);
  await s.settle(page);
  return (await s.drafts(page)).length;
}

test('an address that is typed while the server hangs is no answer, wherever it leads', async (t) => {
  const { s, page } = await typed(t);
  s.stub.instead['/save'] = () => new Promise(() => {});
  s.stub.instead['/home'] = () => see('/two');
  await page.click('#save', { noWaitAfter: true });
  await s.until('it was sent', () => s.stub.requests('/save').length === 1);
  await page.goto('/home');
  assert.equal(await answered(s, page, '/two'), 1);
});

for (const [what, headers] of [['sends no referrer', { 'Referrer-Policy': 'no-referrer' }], ['sends the origin', { 'Referrer-Policy': 'origin' }]])
  test(`a form of a page that ${what} is taken all the same`, async (t) => {
    const s = await stubScene(t, { server: LONG });
    s.stub.page('/edit', { body: FORM, headers });
    s.stub.page('/done', { body: 'Saved' });
    const page = await s.open('/edit');
    await page.fill('#text', 'hours of work');
    await s.draftSaved(page);
    await page.click('#save');
    assert.equal(await answered(s, page, '/done'), 0);
  });

const PREVIEW = withField(FORM, '<button id="preview" formaction="/preview">Preview</button>');
test('a preview is no save, unless its answer says so', async (t) => {
  const { s, page } = await typed(t, PREVIEW);
  s.stub.instead['/preview'] = (request) => html(s, request, 'A preview');
  await page.click('#preview');
  assert.equal(await answered(s, page, '/preview'), 1);
  await leaveAndReturn(s, page, '/edit');
  await press(s, page, 'restore');
  await holds(s, page, 'hours of work');
  s.stub.instead['/preview'] = (request) => html(s, request, '<p data-session-draft-clear="form">Saved</p>');
  await page.click('#preview');
  assert.equal(await answered(s, page, '/preview'), 0);
});

test('a search saves nothing', async (t) => {
  const { s, page } = await typed(t, FORM.replace('post', 'get').replace('/save', '/find'));
  s.stub.page('/found', { body: 'Found' });
  s.stub.instead['/find'] = () => see('/found');
  await page.click('#save');
  assert.equal(await answered(s, page, '/found'), 1);
});

test('what an error page says clears no draft', async (t) => {
  const { s, page } = await typed(t);
  s.stub.instead['/save'] = (request) => ({ ...html(s, request, `Too short${FORM}<b data-session-draft-clear="form">A comment</b>`), status: 422 });
  await page.click('#save');
  assert.equal(await answered(s, page, '/save'), 1);
});

test("a header of the answer clears the draft, also where the form is shown again", async (t) => {
  const { s, page } = await typed(t);
  s.stub.instead['/save'] = (request) => html(s, request, FORM, { 'Server-Timing': `${s.stub.timing(s.stub.sessions.get(request.id))}, draft-clear;desc="form"` });
  await page.click('#save');
  assert.equal(await answered(s, page, '/save'), 0);
});

test('corrections of a form that was refused are kept for the page that it came from', async (t) => {
  const { s, page } = await typed(t, FORM, { server: {} });
  s.stub.instead['/save'] = (request) =>
    request.method === 'POST' ? { ...html(s, request, `Too short${FORM.replace('</textarea>', 'hours of work</textarea>')}`), status: 422 } : { status: 405, headers: { 'Content-Type': 'text/html' }, body: 'Not so' };
  await page.click('#save');
  assert.equal(await answered(s, page, '/save'), 1);
  await page.fill('#text', 'hours of work, and of corrections');
  await s.draftSaved(page);
  assert.equal((await s.drafts(page)).length, 1);
  await expired(s, page);
  await s.signIn(page, 'ada');
  await s.at(page, '/save');
  await page.goto('/edit');
  await s.ready(page);
  await holds(s, page, 'hours of work, and of corrections');
  s.stub.instead = {};
  await page.click('#save');
  assert.equal(await answered(s, page, '/done'), 0);
});

test('where the page of a refusal does not show what was typed, that is offered', async (t) => {
  const { s, page } = await typed(t);
  s.stub.instead['/save'] = (request) => ({ ...html(s, request, `Sorry${FORM}`), status: 422 });
  await page.click('#save');
  await s.at(page, '/save');
  await s.ready(page);
  await offered(s, page);
  await press(s, page, 'restore');
  await holds(s, page, 'hours of work');
  await s.advance(1_000);
  await leaveAndReturn(s, page, '/edit');
  await offered(s, page);
});

test('a page that is back after its form was taken keeps no draft of it', async (t) => {
  const { s, page } = await typed(t, FORM, { clock: false });
  await page.evaluate(() => document.querySelector('#save').click());
  assert.equal(await answered(s, page, '/done'), 0);
  await page.evaluate(() => history.back());
  await s.at(page, '/edit');
  await s.settle(page);
  await page.goto('/two');
  await s.ready(page);
  assert.equal((await s.drafts(page)).length, 0);
});

// The session has to be looked at before the form is sent.

for (const [what, meanwhile] of [
  ['its button is removed', (button) => { button.replaceWith('Sending…'); }],
  ['its button is disabled', (button) => { button.disabled = true; }],
  ['its button says something else', (button) => { button.value = 'Sending…'; }],
  ['its fields are disabled', (button) => { button.form.text.disabled = true; }],
  ['another form is put in its place', (button) => { button.form.replaceWith(button.form.cloneNode(true)); }],
  ['it is removed', (button) => { button.form.remove(); }],
])
  test(`a form is sent as it was, though ${what} meanwhile`, async (t) => {
    const { s, page } = await typed(t);
    await s.advance(90_000);
    let answer;
    s.stub.instead.status = () => new Promise((done) => (answer = done));
    await page.click('#save', { noWaitAfter: true });
    await s.until('the server is asked', () => answer);
    await page.evaluate(`(${meanwhile})(document.querySelector('#save'))`);
    answer(undefined);
    await s.until('it is sent', () => s.stub.requests('/save').length === 1);
    assert.deepEqual(s.stub.requests('/save')[0].body.split('&').sort(), ['how=plainly', 'text=hours+of+work']);
  });

test('a submit event that a script made up sends nothing', async (t) => {
  const { s, page } = await typed(t);
  await s.advance(90_000);
  await page.evaluate(() => document.querySelector('#form').dispatchEvent(new Event('submit', { bubbles: true, cancelable: true })));
  await s.settle(page);
  await s.advance(1_000);
  assert.equal(s.stub.requests('/save').length, 0);
  assert.equal(new URL(page.url()).pathname, '/edit');
});
