// The warning: how it looks to the page, what closes it, what it says.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exampleScene, FAILED_REQUEST, stubScene } from './harness.mjs';
import { FORM, json } from './stub.mjs';

async function withCaret(page) {
  await page.fill('#text', 'some text');
  await page.evaluate(() => document.querySelector('#text').setSelectionRange(2, 5));
}

const caret = (page) =>
  page.evaluate(() => [document.activeElement?.id, document.querySelector('#text').selectionStart, document.querySelector('#text').selectionEnd]);

async function warned(t, options) {
  const s = await stubScene(t, options);
  const page = await s.open();
  await s.warn(page);
  return { s, page };
}

test('T1 the warning is styled under a strict Content-Security-Policy, in the example', async (t) => {
  const s = await exampleScene(t, { args: ['--idle', '23', '--warn', '20', '--absolute', '120'] });
  const page = await s.context.newPage();
  await s.logIn(page, 'ada', '/notes');
  const policy = (await (await page.request.get('/login')).headers())['content-security-policy'];
  assert.match(policy, /default-src 'none'/);
  assert.match(policy, /require-trusted-types-for 'script'/);
  assert.doesNotMatch(policy, /unsafe/);
  await s.opened(page);
  const style = await s.part(page, 'dialog').evaluate((dialog) => {
    const { backgroundColor, position } = getComputedStyle(dialog);
    const { width, height } = dialog.getBoundingClientRect();
    return { backgroundColor, position, width, height, stay: getComputedStyle(globalThis.part('stay')).backgroundColor };
  });
  assert.equal(style.position, 'fixed');
  assert.ok(style.width > 250 && style.height > 100);
  assert.notEqual(style.stay, style.backgroundColor, 'the button is in the accent colour');
  await s.part(page, 'stay').click();
  await s.closed(page);
});

for (const css of [
  'session-timeout { pointer-events: none; user-select: none; cursor: none }',
  'session-timeout { font-size: 0 !important; color: transparent; -webkit-text-fill-color: transparent; text-indent: -9999px }',
  'html { font-size: 5px; letter-spacing: 2em; line-height: 0; text-transform: uppercase; word-spacing: 5em }',
  'session-timeout { animation: fade 1s infinite } @keyframes fade { from { font-size: 1px; visibility: hidden } }',
  ':not(:defined) { display: none; opacity: 0; visibility: hidden } * { transition: all 9s }',
])
  test(`T1 no style of the page reaches the warning: ${css.slice(0, 40)}`, async (t) => {
    const s = await stubScene(t, { server: { csp: null } });
    s.stub.page('/styled', { head: `<style>${css}</style>`, body: FORM });
    const looks = async (page) => {
      await s.opened(page);
      return s.part(page, 'stay').evaluate((button) => {
        const { width, height } = button.getBoundingClientRect();
        const { fontSize, visibility, pointerEvents, color, webkitTextFillColor, textIndent, letterSpacing, cursor } = getComputedStyle(button);
        return { width, height, fontSize, visibility, pointerEvents, color, webkitTextFillColor, textIndent, letterSpacing, cursor };
      });
    };
    const [plain, styled] = [await s.open(), await s.open('/styled')];
    await s.warn(styled);
    assert.deepEqual(await looks(styled), await looks(plain));
  });

test('T5 Stay waits for the answer, then gives focus and selection back', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await withCaret(page);
  await s.run(11_000);
  await s.settle(page);
  const renewed = s.keepAlives();
  await s.warn(page);
  let answer;
  const answered = new Promise((resolve) => (answer = resolve));
  s.stub.instead['keep-alive'] = () => answered;
  await s.advance(600);
  await s.part(page, 'stay').click();
  await s.until('it is asked', () => s.keepAlives() === renewed + 1);
  assert.equal(await s.isOpen(page), true);
  assert.equal(s.stub.requests('keep-alive').at(-1).headers['session-idle-for'], '0');
  assert.equal(await s.part(page, 'stay').getAttribute('aria-disabled'), 'true');
  assert.equal(await s.text(page, 'stay'), 'Checking…');
  await s.advance(500);
  assert.equal(await s.isOpen(page), true);
  answer(undefined);
  await s.closed(page);
  assert.deepEqual(await caret(page), ['text', 2, 5]);
  assert.equal(s.seen('event', 'renewed') > 0, true);
});

test('T5 and the selection in a text that is edited in place', async (t) => {
  const s = await stubScene(t);
  s.stub.page('/rich', { body: '<p id="rich" contenteditable>some text</p>' });
  const page = await s.open('/rich');
  await page.focus('#rich');
  await page.evaluate(() => {
    const text = document.querySelector('#rich').firstChild;
    getSelection().setBaseAndExtent(text, 2, text, 5);
  });
  for (const stay of [() => s.part(page, 'stay').click(), () => page.keyboard.press('Escape')]) {
    await s.warn(page);
    await s.advance(600);
    await stay();
    await s.closed(page);
    assert.deepEqual(await page.evaluate(() => [document.activeElement.id, String(getSelection())]), ['rich', 'me ']);
  }
});

test('T5 and the focus to the page if the field is gone', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await page.focus('#text');
  await s.warn(page);
  await page.evaluate(() => document.querySelector('#text').remove());
  await s.advance(600);
  await s.part(page, 'stay').click();
  await s.closed(page);
  assert.equal(await page.evaluate(() => document.activeElement.localName), 'main');
});

test('T5 a field that no longer takes a selection keeps nobody from being warned again, and then hides the page', async (t) => {
  const s = await stubScene(t, { allow: [/setSelectionRange/] });
  s.stub.page('/typed', { body: '<input id="text" value="some text"><p id="secret">secret</p>' });
  const page = await s.open('/typed');
  for (let time = 0; time < 2; time += 1) {
    await page.evaluate(() => {
      const field = document.querySelector('#text');
      field.type = 'text';
      field.focus();
      field.setSelectionRange(1, 2);
    });
    await s.warn(page);
    await page.evaluate(() => (document.querySelector('#text').type = 'email'));
    await s.advance(600);
    await s.part(page, 'stay').click();
    await s.closed(page);
    await s.settle(page);
  }
  assert.equal(s.seen('shown', 'dialog'), 2);
  await s.advance(60_000);
  await s.at(page, '/login');
});

test('T6 Stay in a session that has ended leads to the log-in', async (t) => {
  const { s, page } = await warned(t);
  s.stub.end(s.sid);
  await s.advance(600);
  await s.part(page, 'stay').click();
  await s.at(page, '/login');
  assert.equal(s.seen('event', 'renewed'), 0);
});

test('T7 Stay while the server fails may be tried again', async (t) => {
  const { s, page } = await warned(t, { allow: [FAILED_REQUEST] });
  const quiet = await s.text(page, 'status');
  s.stub.instead['keep-alive'] = () => ({ status: 502 });
  await s.advance(600);
  await s.part(page, 'stay').click();
  await s.until('it says so', async () => (await s.text(page, 'dialog')).length > 0 && (await s.text(page, 'status')) !== quiet && (await s.part(page, 'stay').getAttribute('aria-disabled')) !== 'true');
  assert.equal(await s.isOpen(page), true);
  assert.equal(await s.text(page, 'stay'), 'Stay signed in');
  assert.equal(s.seen('event', 'renewed'), 0);
  s.stub.instead = {};
  // Two presses at once are one.
  await s.advance(600);
  await s.part(page, 'stay').click();
  await s.closed(page);
  assert.equal(s.keepAlives(), 2);
});

test('T8 Escape stays, and nothing closes the warning but an answer', async (t) => {
  const { s, page } = await warned(t);
  await s.advance(600);
  await page.keyboard.press('Escape');
  await s.closed(page);
  assert.equal(s.keepAlives(), 1);
  await s.warn(page);
  let answer;
  const answered = new Promise((resolve) => (answer = resolve));
  s.stub.instead['keep-alive'] = () => answered;
  await s.advance(600);
  await page.keyboard.press('Escape');
  await page.keyboard.press('Escape');
  await s.until('it is asked', () => s.keepAlives() === 2);
  await s.opened(page);
  await s.advance(1_000);
  assert.equal(await s.isOpen(page), true);
  assert.equal(s.keepAlives(), 2);
  answer(undefined);
  await s.closed(page);
});

test('T9 keys of a user who is typing do not press the button', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await withCaret(page);
  await s.run(11_000);
  await s.settle(page);
  const renewed = s.keepAlives();
  await s.warn(page);
  const before = await page.evaluate(() => document.activeElement?.localName);
  assert.equal(before, 'session-timeout');
  for (const key of ['Enter', ' ']) await page.keyboard.press(key);
  await s.settle(page);
  assert.equal(s.keepAlives(), renewed);
  await s.advance(400);
  await page.keyboard.press('Enter');
  await s.settle(page);
  assert.equal(s.keepAlives(), renewed);
  assert.equal(await s.isOpen(page), true);
  await s.advance(600);
  await page.keyboard.press('Enter');
  await s.closed(page);
  assert.equal(s.keepAlives(), renewed + 1);
});

test('T10 no movement, key or event of a script closes the warning', async (t) => {
  const { s, page } = await warned(t);
  await s.advance(600);
  for (let step = 0; step < 50; step += 1) await page.mouse.move(20 + step * 3, 20 + step);
  await page.keyboard.press('a');
  await page.mouse.click(5, 5);
  await page.evaluate(() => {
    for (const target of [document, document.body, globalThis.part('dialog')])
      for (const type of ['keydown', 'pointerdown', 'input', 'click']) target.dispatchEvent(new Event(type, { bubbles: true, composed: true }));
  });
  await s.settle(page);
  assert.equal(await s.isOpen(page), true);
  assert.equal(s.keepAlives(), 0);
});

test('T10 nor does a key after the page was looked at again', async (t) => {
  const { s, page } = await warned(t);
  const asked = s.statuses();
  await s.advance(6_000);
  await page.evaluate(() => window.dispatchEvent(new Event('focus')));
  await s.until('it asks', () => s.statuses() > asked);
  await s.settle(page);
  assert.equal(await s.state(page), 'warning');
  await page.keyboard.press('a');
  await s.settle(page);
  assert.equal(await s.isOpen(page), true);
  assert.equal(s.keepAlives(), 0);
});

test('T31 the absolute limit cannot be put off, and the warning says so', async (t) => {
  const { s, page } = await warned(t, { server: { idle: 100_000, absolute: 100_000, warn: 80_000 } });
  assert.doesNotMatch(await s.text(page, 'dialog'), /stay signed in/i);
  assert.match(await s.text(page, 'dialog'), /save/i);
  assert.equal((await s.text(page, 'stay')).trim(), 'OK');
  const before = s.stub.status(s.session).expires_in_ms;
  await s.advance(600);
  await s.part(page, 'stay').click();
  await s.closed(page);
  await page.evaluate(() => globalThis.sessionTimeout.keepAlive());
  assert.ok((await page.evaluate(() => globalThis.sessionTimeout.remaining())) <= before);
  await s.advance(s.stub.status(s.session).expires_in_ms - 61_000);
  await s.settle(page);
  assert.equal(await s.isOpen(page), false);
  await s.advance(1_100);
  await s.opened(page);
  await s.advance(600);
  await s.part(page, 'stay').click();
  await s.closed(page);
  await s.advance(s.stub.status(s.session).expires_in_ms - 1_000);
  await s.settle(page);
  assert.equal(s.seen('shown', 'dialog'), 2, 'warned once more, not again and again');
  await s.advance(1_100);
  await s.at(page, '/login');
});

test('T31 a warning turns into that of the absolute limit', async (t) => {
  const { s, page } = await warned(t, { server: { absolute: 60_000 } });
  await s.advance(21_000);
  await s.part(page, 'stay').click();
  await s.until('it is the other', async () => (await s.text(page, 'stay')) === 'OK');
  const end = await page.evaluate(() =>
    new Date(Date.now() + globalThis.sessionTimeout.remaining()).toLocaleTimeString('en', { hour: 'numeric', minute: '2-digit' }),
  );
  assert.match(await s.text(page, 'text'), new RegExp(`at ${end}\\.`));
});

test('T40 an application may warn and end by itself', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await page.evaluate(() => {
    for (const name of ['warning', 'expired']) document.addEventListener(`session-timeout:${name}`, (event) => event.preventDefault());
  });
  await s.advance(15_100);
  await s.until('the application is told', () => s.seen('event', 'warning') === 1);
  await s.settle(page);
  assert.equal(await s.isOpen(page), false);
  await s.advance(25_100);
  await s.until('the application is told', () => s.seen('event', 'expired') === 1);
  await s.settle(page);
  assert.equal(new URL(page.url()).pathname, '/');
  assert.equal(s.stub.requests('/login').length, 0);
});

test('T40 what happens is told on the document, and above', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  const told = await page.evaluateHandle(() => {
    const events = [];
    for (const name of ['warning', 'renewed']) addEventListener(`session-timeout:${name}`, ({ target, type, detail }) => events.push([target === document, type, detail]));
    return events;
  });
  await s.warn(page);
  await page.evaluate(() => globalThis.sessionTimeout.keepAlive());
  await s.closed(page);
  const [[, , warning], [, , renewed]] = await told.jsonValue();
  assert.deepEqual((await told.jsonValue()).map(([isDocument, type]) => [isDocument, type]), [[true, 'session-timeout:warning'], [true, 'session-timeout:renewed']]);
  assert.equal(warning.canExtend, true);
  assert.ok(warning.remaining > 24_000 && warning.remaining <= 25_000, `${warning.remaining}`);
  assert.ok(renewed.remaining > 39_000 && renewed.remaining <= 40_000, `${renewed.remaining}`);
});

test('T42 the warning waits for a word that is being composed', async (t) => {
  const s = await stubScene(t, { server: { idle: 100_000, warn: 60_000, absolute: null } });
  const page = await s.open();
  const cdp = await s.context.newCDPSession(page);
  await page.focus('#text');
  await s.advance(5_000);
  await cdp.send('Input.imeSetComposition', { text: 'にほ', selectionStart: 2, selectionEnd: 2 });
  await s.until('activity is told', () => s.keepAlives() > 0, 1_000);
  await s.settle(page);
  await s.advance(s.stub.status(s.session).expires_in_ms - s.stub.warn + 100);
  await s.settle(page);
  assert.equal(await s.isOpen(page), false);
  await cdp.send('Input.insertText', { text: '日本' });
  await s.advance(250);
  await s.opened(page);
  assert.equal(await page.inputValue('#text'), '日本');
});

test('T42 but not for long', async (t) => {
  const s = await stubScene(t, { server: { idle: 100_000, warn: 60_000, absolute: null } });
  s.stub.page('/quiet', { attributes: 'data-login-url="/login" data-activity="none"', body: FORM });
  const page = await s.open('/quiet');
  const cdp = await s.context.newCDPSession(page);
  await page.focus('#text');
  await cdp.send('Input.imeSetComposition', { text: 'にほ', selectionStart: 2, selectionEnd: 2 });
  await s.advance(40_100);
  await s.settle(page);
  assert.equal(await s.isOpen(page), false);
  await s.advance(3_000);
  await s.opened(page);
});

test("T43 the warning is above the application's own dialog, which stays open", async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await page.evaluate(() => {
    const dialog = document.createElement('dialog');
    dialog.id = 'theirs';
    const input = Object.assign(document.createElement('input'), { id: 'inner' });
    dialog.append(input);
    document.body.append(dialog);
    dialog.showModal();
    input.focus();
  });
  await s.warn(page);
  assert.equal(await page.evaluate(() => document.elementFromPoint(innerWidth / 2, innerHeight / 2)?.localName), 'session-timeout');
  assert.equal(await page.evaluate(() => document.activeElement?.localName), 'session-timeout');
  await s.advance(600);
  await s.part(page, 'stay').click();
  await s.closed(page);
  assert.deepEqual(await page.evaluate(() => [document.querySelector('#theirs').open, document.activeElement?.id]), [true, 'inner']);
});

test('T43 and above an element in full screen', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await page.evaluate(() => document.querySelector('main').requestFullscreen());
  await s.warn(page);
  assert.equal(await page.evaluate(() => document.elementFromPoint(innerWidth / 2, innerHeight / 2)?.localName), 'session-timeout');
  await s.advance(600);
  await s.part(page, 'stay').click();
  await s.closed(page);
  assert.equal(await page.evaluate(() => document.fullscreenElement?.localName), 'main');
});

for (const [lang, seconds, unit] of [
  ['de', 22, /22 Sekunden/],
  ['pl', 22, /22 sekundy/],
  ['pl', 25, /25 sekund(?!y)/],
  ['ar', 22, /(22|٢٢) ثانية/],
])
  test(`T44 units are those of the page's language: ${lang}, ${seconds}`, async (t) => {
    const s = await stubScene(t);
    s.stub.page('/words', { lang, dir: lang === 'ar' ? 'rtl' : '', body: FORM });
    const page = await s.open('/words');
    await s.advance(40_000 - seconds * 1000 + 50);
    await s.opened(page);
    assert.match(await s.text(page, 'clock'), unit);
    const dialog = await s.part(page, 'dialog').evaluate((element) => getComputedStyle(element).direction);
    assert.equal(dialog, lang === 'ar' ? 'rtl' : 'ltr');
    assert.equal(await page.locator('session-timeout').getAttribute('lang'), lang);
  });

test('T44 the time may be that of a clock', async (t) => {
  const s = await stubScene(t, { server: { idle: 80_000, warn: 65_000 } });
  s.stub.page('/clock', { attributes: 'data-time-format="clock"', body: FORM });
  const page = await s.open('/clock');
  await s.warn(page);
  assert.equal(await s.text(page, 'clock'), '1:05');
});

test('T44 a language that is none keeps nobody from being warned', async (t) => {
  const { s, page } = await warned(t, { server: { lang: 'en_US' } });
  assert.match(await s.text(page, 'clock'), /\d/);
});

for (const texts of ['{"title":', 'null', '7', '"title"', '[]', '[null]', '{"title":null,"text":{"a":1},"left":7,"second.other":7,"minute.other":[],"ended":7,"alert":null}'])
  test(`T44 texts that cannot be read leave the English ones: ${texts.slice(0, 15)}`, async (t) => {
    const s = await stubScene(t);
    s.stub.page('/words', { head: `<script type="application/json" data-session-timeout-messages>${texts}</script>`, body: FORM });
    const page = await s.open('/words');
    await s.become(page, 'hidden');
    await s.advance(19_100);
    await s.opened(page);
    assert.equal(await s.text(page, 'title'), 'Are you still there?');
    assert.match(await s.text(page, 'clock'), /^\d+ seconds$/);
    await s.advance(40_000);
    await s.opened(page, 'veil');
    assert.equal(await s.text(page, 'title'), 'You have been signed out');
  });

test('T44 a time is put into a text as it is', async (t) => {
  const s = await stubScene(t);
  s.stub.page('/words', { attributes: `data-msg-second.other="$&amp; {n}" data-msg-left="in {time}"`, body: FORM });
  const page = await s.open('/words');
  await s.advance(18_050);
  await s.opened(page);
  assert.equal(await s.text(page, 'clock'), '$& 22');
  assert.equal(await s.text(page, 'status'), 'in $& 22');
});

test('T44 texts are the page\'s own, and text', async (t) => {
  const s = await stubScene(t);
  s.stub.page('/words', {
    lang: 'cy',
    attributes: 'data-login-url="/login" data-msg-title="&lt;b&gt;Ydych chi yno?&lt;/b&gt;"',
    head: '<script type="application/json" data-session-timeout-messages>{"title":"hidden by the attribute","stay":"Aros <i>yma</i>","second.other":"{n} eiliad"}</script>',
    body: FORM,
  });
  const page = await s.open('/words');
  await s.advance(18_050);
  await s.opened(page);
  assert.equal(await s.text(page, 'title'), '<b>Ydych chi yno?</b>');
  assert.equal(await s.text(page, 'stay'), 'Aros <i>yma</i>');
  assert.match(await s.text(page, 'clock'), /22 eiliad/);
  assert.equal(await page.locator('session-timeout :is(b, i)').count(), 0);
});

for (const warn of [120_000, 62_000])
  test(`T45 a screen reader hears the time seldom, and first: ${warn / 1000} seconds`, async (t) => {
    const s = await stubScene(t, { server: { idle: 130_000, warn, absolute: null } });
    const page = await s.open();
    await s.advance(130_000 - warn + 100);
    await s.opened(page);
    await page.evaluate(() => {
      const region = globalThis.part('status');
      globalThis.heard = [];
      const hear = () => {
        const text = region.textContent.trim();
        if (text && globalThis.heard.at(-1)?.text !== text) globalThis.heard.push({ at: performance.now(), text, live: region.ariaLive });
      };
      hear();
      new MutationObserver(hear).observe(region, { subtree: true, childList: true, characterData: true });
    });
    await s.run(warn - 2_000);
    const heard = await page.evaluate(() => globalThis.heard);
    assert.ok(heard.length >= 3 && heard.length <= 5, JSON.stringify(heard));
    for (const [index, { at, text }] of heard.entries()) {
      assert.match(text, /^\d+ (minute|second)/);
      if (index > 0) assert.ok(at - heard[index - 1].at >= 9_900, JSON.stringify(heard));
    }
    assert.deepEqual(heard.map(({ live }) => live), heard.map((_, index) => (index === heard.length - 1 ? 'assertive' : 'polite')));
    const clock = await s.part(page, 'clock').evaluate((element) => [element.getAttribute('role'), element.getAttribute('aria-hidden'), element.closest('[aria-live], [role=status], [role=alert]') === null]);
    assert.deepEqual(clock, ['timer', null, true]);
  });

test('T45 each warning is told', async (t) => {
  const { s, page } = await warned(t);
  assert.match(await s.text(page, 'status'), /seconds/);
  await s.advance(600);
  await s.part(page, 'stay').click();
  await s.closed(page);
  await s.warn(page);
  assert.match(await s.text(page, 'status'), /seconds/);
});

test('T45 a hidden page tells by its title, until it is looked at or need not any more', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await s.become(page, 'hidden');
  const title = page.title.bind(page);
  // At a moment of its own within four seconds.
  await s.advance(19_100);
  await s.opened(page);
  assert.equal(await title(), '(!) A page');
  assert.equal(await s.text(page, 'status'), '');
  await s.become(page, 'visible');
  assert.equal(await title(), 'A page');
  await s.until('it is told', async () => /seconds/.test(await s.text(page, 'status')));
  await s.advance(600);
  await s.part(page, 'stay').click();
  await s.closed(page);
  await s.become(page, 'hidden');
  await s.advance(19_100);
  await s.opened(page);
  assert.equal(await title(), '(!) A page');
  await page.evaluate(() => globalThis.sessionTimeout.keepAlive());
  await s.closed(page);
  assert.equal(await title(), 'A page');
});

test('T28 a warning that opens without a network says so', async (t) => {
  const s = await stubScene(t, { allow: [FAILED_REQUEST] });
  const page = await s.open();
  s.stub.instead.status = () => ({ status: 503 });
  await page.evaluate(() => globalThis.sessionTimeout.check());
  // Asks after 2, 4 and 8 seconds, and not when the warning is due.
  for (const pause of [2_000, 4_000, 8_000]) {
    const asked = s.statuses();
    await s.advance(pause);
    await s.until('it asks', () => s.statuses() > asked);
    await s.settle(page);
  }
  const asked = s.statuses();
  await s.advance(1_500);
  await s.opened(page);
  assert.equal(s.statuses(), asked);
  assert.match(await s.text(page, 'status'), /connection/i);
});

test('a request of the application closes the warning', async (t) => {
  const { s, page } = await warned(t);
  await s.advance(1_000);
  await page.evaluate(() => fetch('/api').then((answer) => answer.text()));
  await s.closed(page);
  assert.equal(s.keepAlives(), 0);
});

test('a renewal answered with another user ends the page', async (t) => {
  const { s, page } = await warned(t, { allow: [FAILED_REQUEST] });
  s.stub.instead['keep-alive'] = () => json({ ...s.stub.status(s.session), user: 'somebody-else' }, 409);
  await s.advance(600);
  await s.part(page, 'stay').click();
  await s.becomes(page, 'replaced');
  await s.opened(page, 'veil');
});

test('a renewal that takes its time is asked for once, however often Escape is pressed', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await s.warn(page);
  let answer;
  s.stub.instead['keep-alive'] = () => new Promise((resolve) => (answer = resolve));
  for (let time = 0; time < 3; time += 1) {
    await page.keyboard.press('Escape');
    await s.advance(1_000);
  }
  await s.until('it is asked for', () => answer);
  assert.equal(s.keepAlives(), 1);
  s.stub.instead = {};
  answer();
  await s.closed(page);
});
