// What hides the page, whatever is in it; and what is back once it is shown again.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FAILED_REQUEST, stubScene } from './harness.mjs';

const STYLES = `<style>@layer mine { .layered { visibility: visible !important; display: block !important; opacity: 1 !important } }
* { transition: all 5s allow-discrete }
html::before { content: 'secret' }
body { display: flex !important; visibility: visible !important; content-visibility: visible !important }
.visible { visibility: visible !important; content-visibility: visible !important; position: fixed; top: 0 }
#before::before { content: 'secret'; visibility: visible !important }
html > * { display: block !important }
@media print { * { visibility: visible !important } }</style>`;
const SECRETS = `<p class="visible secret">secret</p><p class="layered secret">secret</p><p id="before" class="secret"></p><div id="tree" class="secret"></div>
<p class="secret" style="visibility: visible !important; display: block !important">secret</p><p class="secret" popover id="popover">secret</p>
<iframe id="frame" src="/two"></iframe><div id="scrolled" style="height: 50px; overflow: auto"><div style="height: 900px"></div></div>
<input id="text" value="some text"><p style="height: 4000px"></p>`;

/** `display`: what the body is. */
async function secretive(t, { display = 'grid', before } = {}) {
  const s = await stubScene(t, { before, allow: [FAILED_REQUEST], server: { csp: null, attributes: 'data-login-url="/login" data-on-expire="screen"' } });
  s.stub.page('/secrets', { head: STYLES, body: SECRETS });
  s.stub.page('/blank', { isPublic: true, tag: '', body: '' });
  const page = await s.open('/secrets');
  await page.evaluate((display) => {
    document.querySelector('#tree').attachShadow({ mode: 'open' }).innerHTML = '<style>p { visibility: visible !important }</style><p>secret</p>';
    document.documentElement.insertAdjacentHTML('beforeend', '<div class="secret" style="display: block !important">secret</div>');
    document.querySelector('#popover').showPopover();
    document.body.style.cssText = `display: ${display} !important; margin: 1px`;
  }, display);
  await s.settle(page);
  return { s, page };
}

const inSight = (page) =>
  page.evaluate(() => {
    const text = document.documentElement.innerText.trim();
    return text + [...document.querySelectorAll('.secret')].filter((it) => it.checkVisibility({ visibilityProperty: true })).map((it) => it.outerHTML).join('');
  });

/** As a page is left that is kept for Back, and comes back. */
const leave = (page) => page.evaluate(() => void dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true })));
const comeBack = (page) => page.evaluate(() => void dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true })));
const isShown = (s, page) => s.until('it is shown', async () => /secret/.test(await inSight(page)));
/** What is drawn is drawn. */
const drawn = (page) => page.screenshot();

for (const display of ['grid', 'contents', 'inline', 'table'])
  test(`nothing of a hidden page is seen, whatever its styles say, on screen and on paper: a body that is ${display}`, async (t) => {
    const { s, page } = await secretive(t, { display });
    assert.match(await inSight(page), /secret/);
    const blank = await s.context.newPage();
    await blank.goto('/blank');
    await leave(page);
    assert.equal(await inSight(page), '');
    for (const media of ['screen', 'print']) {
      await Promise.all([page, blank].map((it) => it.emulateMedia({ media })));
      assert.ok((await page.screenshot()).equals(await blank.screenshot()), media);
    }
  });

test('nor in a browser without content-visibility', async (t) => {
  const { page } = await secretive(t, {
    before: () => {
      const { setProperty } = CSSStyleDeclaration.prototype;
      CSSStyleDeclaration.prototype.setProperty = function (name, ...rest) {
        if (name !== 'content-visibility') setProperty.call(this, name, ...rest);
      };
    },
  });
  await leave(page);
  assert.equal(await inSight(page), '');
});

test('nor what is put into it while it is hidden, or set on it', async (t) => {
  const { s, page } = await secretive(t);
  await s.advance(60_000);
  await s.opened(page, 'veil');
  assert.equal(await inSight(page), '');
  await page.evaluate(() => {
    document.body.style.cssText = 'display: block !important; content-visibility: visible !important; transition: none';
    document.documentElement.insertAdjacentHTML('beforeend', '<div class="secret" style="display: block !important">secret</div>');
    document.documentElement.append(document.createElementNS('https://example.com/', 'of-none'));
    const body = document.createElement('body');
    body.innerHTML = '<p class="secret visible">secret</p>';
    document.body.after(body);
  });
  await s.settle(page);
  assert.equal(await inSight(page), '');
  await page.emulateMedia({ media: 'print' });
  assert.equal(await inSight(page), '');
});

test('a page that is shown again is as it was', async (t) => {
  const { s, page } = await secretive(t);
  const frame = page.frame({ url: /two/ });
  await frame.evaluate(() => (globalThis.since = 'before'));
  await page.focus('#text');
  await page.evaluate(() => {
    document.documentElement.style.scrollBehavior = 'smooth';
    document.querySelector('#text').setSelectionRange(2, 5);
    document.querySelector('#scrolled').scrollTop = 300;
    scrollTo({ top: 700, behavior: 'instant' });
  });
  const state = () =>
    page.evaluate(() => {
      const { activeElement: field, documentElement: html } = document;
      const styles = [...html.children].filter(({ localName }) => localName !== 'session-timeout').map((it) => it.getAttribute('style') && it.style.cssText);
      return [scrollY, document.querySelector('#scrolled').scrollTop, field.id, field.selectionStart, field.selectionEnd, styles];
    });
  const before = await state();
  assert.equal(before[0], 700);
  await leave(page);
  await drawn(page);
  await comeBack(page);
  await isShown(s, page);
  assert.deepEqual(await state(), before);
  // And from behind a screen, after a warning.
  await s.warn(page);
  s.stub.instead.status = () => ({ status: 503 });
  await s.advance(60_000);
  await s.opened(page, 'veil');
  await drawn(page);
  s.stub.instead = {};
  s.session.last = s.stub.now;
  s.session.ended = null;
  await page.evaluate(() => void globalThis.sessionTimeout.check());
  await s.closed(page, 'veil');
  assert.deepEqual(await state(), before);
  assert.equal(await frame.evaluate(() => globalThis.since), 'before');
});

test('and keeps what was set on it meanwhile', async (t) => {
  const { s, page } = await secretive(t);
  await leave(page);
  await page.evaluate(() => (document.body.style.cssText = 'display: inline-block'));
  await s.settle(page);
  assert.equal(await inSight(page), '');
  await comeBack(page);
  await isShown(s, page);
  assert.equal(await page.evaluate(() => document.body.style.cssText), 'display: inline-block;');
});

test('a dialog that the application opens over the veil does not keep anybody from it', async (t) => {
  const { s, page } = await secretive(t);
  await s.advance(60_000);
  await s.opened(page, 'veil');
  await page.evaluate(() => {
    const dialog = document.createElement('dialog');
    dialog.textContent = 'Request failed';
    document.body.append(dialog);
    dialog.showModal();
  });
  await s.settle(page);
  await s.part(page, 'signin').click({ trial: true, timeout: 2_000 });
  assert.equal(await page.evaluate(() => document.activeElement.localName), 'session-timeout');
  for (let time = 0; time < 3; time += 1) await page.keyboard.press('Escape');
  await s.settle(page);
  assert.equal(await s.isOpen(page, 'veil'), true);
});

test('a veil shows nothing through, of whatever colour the page makes it', async (t) => {
  const s = await stubScene(t, { server: { csp: null, attributes: 'data-on-expire="screen"' } });
  s.stub.page('/thin', { head: '<style>html { background: #f00; --st-bg: rgb(255 255 255 / .1) }</style>', body: '<p>secret</p>' });
  const page = await s.open('/thin');
  await s.advance(60_000);
  await s.opened(page, 'veil');
  const corner = await page.evaluate(() => getComputedStyle(globalThis.part('veil'), '::backdrop').backgroundColor);
  assert.doesNotMatch(corner, /rgba|\//);
});

test('an application that undoes at once what hides it does not keep the page from running', async (t) => {
  const { s, page } = await secretive(t);
  await page.evaluate(() => {
    globalThis.rounds = 0;
    // It gives up in the end, for a test that fails to come to its end.
    const again = (act) => (globalThis.rounds += 1) < 20_000 && act();
    new MutationObserver(() => {
      if (document.body.style.display === 'none') again(() => document.body.style.setProperty('display', 'block'));
    }).observe(document.body, { attributeFilter: ['style'] });
  });
  await leave(page);
  await s.settle(page);
  const rounds = await page.evaluate(() => globalThis.rounds);
  assert.ok(rounds > 0 && rounds < 1_000, `${rounds} rounds`);
});

test('nor does one that opens its dialog again as soon as it loses the focus', async (t) => {
  const s = await stubScene(t, { allow: [FAILED_REQUEST], server: { csp: null, attributes: 'data-login-url="/login" data-on-expire="screen"' } });
  s.stub.page('/greedy', { body: '<p>secret</p><dialog id="own"><button>Own</button></dialog>' });
  const page = await s.open('/greedy');
  await s.advance(60_000);
  await s.opened(page, 'veil');
  await page.evaluate(() => {
    globalThis.rounds = 0;
    const own = document.querySelector('#own');
    const open = () => {
      if ((globalThis.rounds += 1) > 20_000) return;
      own.close();
      own.showModal();
    };
    addEventListener('focusin', open);
    open();
  });
  await s.settle(page);
  const rounds = await page.evaluate(() => globalThis.rounds);
  assert.ok(rounds > 1 && rounds < 1_000, `${rounds} rounds`);
  assert.equal(await page.evaluate(() => document.documentElement.innerText.trim()), '');
});

test('nothing of a hidden page of frames is seen, which takes no styles', async (t) => {
  const s = await stubScene(t, { allow: [FAILED_REQUEST], server: { csp: null } });
  const headers = { 'Content-Type': 'text/html', 'Server-Timing': s.stub.timing(s.session) };
  const body = '<script src="/_session-timeout/client.js" defer data-on-expire="screen"></script><frameset cols="50%,50%"><frame src="/two"><frame src="/two"></frameset>';
  s.stub.instead['/frames'] = () => ({ headers, body: `<html><head>${body}</html>` });
  s.stub.page('/blank', { isPublic: true, tag: '', body: '' });
  const blank = await s.context.newPage();
  await blank.goto('/blank');
  const page = await s.open('/frames');
  assert.equal((await page.screenshot()).equals(await blank.screenshot()), false);
  await leave(page);
  assert.ok((await page.screenshot()).equals(await blank.screenshot()), 'it is hidden');
  await s.advance(60_000);
  await s.opened(page, 'veil');
  assert.equal((await page.screenshot()).equals(await blank.screenshot()), false, 'the veil is seen');
  await page.emulateMedia({ media: 'print' });
  assert.ok((await page.screenshot()).equals(await blank.screenshot()), 'nothing is printed');
});
