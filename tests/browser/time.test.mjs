// When the script asks, when it warns, and what it makes of clocks.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exampleScene, FAILED_REQUEST, START, stubScene } from './harness.mjs';
import { BASE, see } from './stub.mjs';

const HOUR = 3_600_000;

async function warnsInTime(s, page) {
  await s.advance(14_000);
  await s.settle(page);
  assert.equal(await s.isOpen(page), false);
  assert.equal(s.statuses(), 0, 'the page itself told the first values');
  await s.advance(2_000);
  await s.opened(page);
  assert.equal(s.statuses(), 1);
  assert.equal(s.keepAlives(), 0);
}

test('T2 the warning opens in time, after one question', async (t) => {
  const s = await stubScene(t);
  await warnsInTime(s, await s.open());
});

test('T3 a request of the application puts the warning off, and a question does not', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await s.advance(10_000);
  await page.evaluate(() => fetch('/api').then((answer) => answer.text()));
  const last = s.session.last;
  await s.settle(page);
  await s.advance(6_000);
  await s.settle(page);
  assert.equal(await s.isOpen(page), false);
  await s.advance(10_000);
  await s.opened(page);
  assert.equal(s.session.last, last);
  assert.equal(s.keepAlives(), 0);
});

test('T4 questions do not renew the session of the example', async (t) => {
  const s = await exampleScene(t);
  const page = await s.context.newPage();
  await s.logIn(page, 'ada');
  const answers = await page.evaluate(async (base) => {
    const answers = [];
    for (let count = 0; count < 200; count += 1) {
      const answer = await fetch(`${base}/status`);
      answers.push({ ...(await answer.json()), cache: answer.headers.get('cache-control') });
    }
    return answers;
  }, BASE);
  for (const [index, { state, cache, expires_in_ms: left }] of answers.entries()) {
    assert.equal(state, 'active');
    assert.equal(cache, 'no-store');
    if (index > 0) assert.ok(left <= answers[index - 1].expires_in_ms, 'never more');
  }
  assert.ok(answers.at(-1).expires_in_ms < answers[0].expires_in_ms);
  const answer = await page.request.get(`${BASE}/status`);
  assert.equal(answer.headers()['set-cookie'], undefined);
});

test('T11 typing without requests keeps the session alive, by few of them', async (t) => {
  const s = await stubScene(t, { server: { absolute: null } });
  const page = await s.open();
  await page.focus('#text');
  for (let second = 0; second < 120; second += 3) {
    await s.run(3_000);
    await page.keyboard.press('a');
  }
  await s.settle(page);
  assert.equal(await s.isOpen(page), false);
  assert.equal(s.seen('shown', 'dialog'), 0);
  assert.ok(s.keepAlives() >= 3, `${s.keepAlives()} keep-alives`);
  assert.ok(s.keepAlives() <= 13, `${s.keepAlives()} keep-alives`);
  assert.ok(s.stub.status(s.session).expires_in_ms > s.stub.warn);
});

test('T12 a renewal is dated at the last activity', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await s.run(2_000);
  await page.focus('#text');
  await page.keyboard.press('a');
  const typed = s.stub.now;
  for (let second = 0; second < 12 && s.keepAlives() === 0; second += 1) {
    await s.run(1_000);
    await s.settle(page);
  }
  assert.equal(s.keepAlives(), 1);
  const [{ headers, at }] = s.stub.requests('keep-alive');
  assert.ok(Math.abs(Number(headers['session-idle-for']) - (at - typed)) <= 150, headers['session-idle-for']);
  assert.ok(Math.abs(s.session.last - typed) <= 150);
  assert.equal(typeof headers['session-user'], 'string');
  await s.run(20_000);
  await s.settle(page);
  assert.equal(s.keepAlives(), 1, 'no activity, no request');
});

test('T13 what is no activity of the user renews nothing', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await s.run(1_000);
  for (let step = 0; step < 20; step += 1) await page.mouse.move(10 + step, 10 + step);
  await page.evaluate(() => {
    const text = document.querySelector('#text');
    for (const event of ['keydown', 'input', 'pointerdown', 'touchstart', 'wheel']) text.dispatchEvent(new Event(event, { bubbles: true, composed: true }));
    text.dispatchEvent(new KeyboardEvent('keydown', { key: 'a', bubbles: true }));
    document.querySelector('main').append(Object.assign(document.createElement('div'), { innerText: '\n'.repeat(200) }));
    scrollTo(0, 500);
  });
  await s.run(13_000);
  await s.settle(page);
  assert.equal(s.keepAlives(), 0);
  await s.run(2_000);
  await s.opened(page);
  assert.equal(s.keepAlives(), 0);
});

test('T14 after a sleep beyond the end the page is over at once', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await s.advance(600_000);
  await s.at(page, '/login');
  assert.ok(s.statuses() <= 2, `${s.statuses()} questions, one of them the log-in page's`);
  assert.equal(s.seen('shown', 'dialog'), 0);
  assert.equal(s.seen('event', 'expired'), 1);
});

test('T15 a clock set forward ends nothing', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await s.advance(6_000);
  await s.context.clock.setSystemTime(START + 3 * HOUR);
  await page.evaluate(() => window.dispatchEvent(new Event('focus')));
  await s.advance(1_000);
  await s.settle(page);
  assert.equal(s.statuses(), 1);
  assert.equal(await s.state(page), 'active');
  assert.equal(s.seen('shown', 'dialog'), 0);
  await s.advance(9_000);
  await s.opened(page);
  assert.equal(new URL(page.url()).pathname, '/');
});

test('T16 a clock set back does not put the warning off', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await s.context.clock.setSystemTime(START - 3 * HOUR);
  await s.advance(16_000);
  await s.opened(page);
});

test('T17 a clock that is wrong by a year does not matter', async (t) => {
  const s = await stubScene(t, { time: START - 365 * 24 * HOUR });
  await warnsInTime(s, await s.open());
});

test('T18 a page that becomes visible after a renewal elsewhere does not flash the warning', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  await s.advance(1_000);
  await s.become(page, 'hidden');
  await s.advance(11_000);
  s.stub.touch(s.sid);
  await s.advance(10_000);
  await s.settle(page);
  await s.become(page, 'visible');
  await s.settle(page);
  assert.equal(s.statuses(), 1);
  assert.equal(s.seen('shown', 'dialog'), 0);
  await s.advance(6_000);
  await s.opened(page);
});

test('T19 a page whose timers were throttled warns as soon as it is visible', async (t) => {
  const s = await stubScene(t, { isHidden: true, throttled: 60_000 });
  const page = await s.open();
  await s.advance(38_000);
  assert.equal(await s.isOpen(page), false);
  await s.become(page, 'visible');
  await s.opened(page);
  const left = await page.evaluate(() => globalThis.sessionTimeout.remaining());
  assert.ok(left > 0 && left <= 2_000, `${left} ms left`);
  await s.advance(2_100);
  await s.at(page, '/login');
});

for (const [what, answer] of [
  ['a redirect', see('/sso')],
  ['a page', { headers: { 'Content-Type': 'text/html' }, body: '<p>Sign in here</p>' }],
  ['503', { status: 503 }],
])
  test(`T29 ${what} instead of a status ends nothing`, async (t) => {
    const s = await stubScene(t, { allow: [FAILED_REQUEST] });
    const page = await s.open();
    s.stub.instead.status = () => answer;
    await s.advance(15_100);
    const asked = () => s.statuses();
    await s.until('the first question', () => asked() === 1);
    for (const [count, pause] of [2_000, 4_000, 8_000].entries()) {
      await s.settle(page);
      const waited = s.stub.now;
      await s.advance(pause - 400);
      await s.settle(page);
      assert.equal(asked(), count + 1, `not before ${pause} ms, at ${s.stub.now - waited}`);
      await s.advance(1_000);
      await s.until('the next question', () => asked() === count + 2);
    }
    assert.equal(new URL(page.url()).pathname, '/');
    assert.equal(s.seen('event', 'expired') + s.seen('event', 'ended'), 0);
    await s.settle(page);
    s.stub.instead = {};
    s.stub.touch(s.sid);
    await page.evaluate(() => globalThis.sessionTimeout.check());
    await s.becomes(page, 'active');
    await s.closed(page);
  });

test('T41 the script may be loaded twice, and the body be swapped', async (t) => {
  const s = await stubScene(t);
  s.stub.page('/twice', { body: `<h1>Twice</h1><script src="${BASE}/client.js?again" data-login-url="/login"></script>` });
  const page = await s.open('/twice');
  await page.evaluate(() => {
    const body = document.createElement('body');
    const script = document.createElement('script');
    body.append(document.createElement('main'), script);
    document.body.replaceWith(body);
  });
  await s.advance(15_100);
  await s.opened(page);
  assert.equal(await page.evaluate(() => document.querySelectorAll('session-timeout').length), 1);
  assert.equal(s.statuses(), 1);
  assert.equal(s.seen('shown', 'dialog'), 1);
});

test('T47 a page that is only prerendered asks nothing', async (t) => {
  const s = await stubScene(t, {
    server: { idle: 40_000 },
    before: () => {
      globalThis.prerendering = true;
      Object.defineProperty(Document.prototype, 'prerendering', { get: () => globalThis.prerendering });
    },
  });
  const page = await s.context.newPage();
  await page.goto('/');
  await s.advance(20_000);
  await s.settle(page);
  assert.equal(s.stub.log.filter(({ path }) => path.startsWith(BASE) && !path.endsWith('client.js')).length, 0);
  assert.equal(s.seen('shown', 'dialog'), 0);
  await page.evaluate(() => {
    globalThis.prerendering = false;
    document.dispatchEvent(new Event('prerenderingchange'));
  });
  await s.opened(page);
  assert.ok(await page.evaluate(() => globalThis.sessionTimeout.remaining()) <= 20_000);
});

test('T48 limits of a month overflow no timer', async (t) => {
  const s = await stubScene(t, { server: { idle: 30 * 24 * HOUR, absolute: null, warn: 120_000 } });
  const page = await s.open();
  await s.advance(HOUR);
  await s.settle(page);
  assert.equal(s.statuses() + s.keepAlives(), 0);
  const longest = await page.evaluate(() => globalThis.longest);
  assert.ok(longest > 0 && longest < 2 ** 31, `${longest}`);
  for (let week = 0; week < 4; week += 1) await s.advance(7 * 24 * HOUR);
  await s.settle(page);
  assert.equal(s.seen('shown', 'dialog'), 0);
  await s.advance(2 * 24 * HOUR - HOUR - 60_000);
  await s.opened(page);
});
