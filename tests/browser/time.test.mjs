// When the script asks, when it warns, and what it makes of clocks.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { exampleScene, FAILED_REQUEST, START, stubScene } from './harness.mjs';
import { BASE, FORM, json, see } from './stub.mjs';

const HOUR = 3_600_000;

async function warnsInTime(s, page) {
  await s.advance(14_000);
  await s.settle(page);
  assert.equal(await s.isOpen(page), false);
  assert.equal(s.statuses(), 0, 'the page itself told the first values');
  await s.advance(2_000);
  await s.opened(page);
  assert.equal(s.statuses(), 1);
  await s.run(5_000);
  await s.settle(page);
  assert.equal(s.statuses(), 1, 'and not every second');
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

test('T3 an answer out of the cache tells nothing', async (t) => {
  const s = await stubScene(t);
  s.stub.page('/cached', { headers: { 'Cache-Control': 'max-age=600' }, body: '' });
  const page = await s.open();
  const get = () => page.evaluate(() => fetch('/cached').then((answer) => answer.text()));
  await get();
  await s.settle(page);
  await s.advance(10_000);
  await get();
  await s.settle(page);
  assert.equal(s.stub.requests('/cached').length, 1);
  assert.ok(await page.evaluate(() => globalThis.sessionTimeout.remaining()) <= 30_000);
});

test('T3 an answer counts from the moment it was asked for', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  let answer;
  s.stub.instead.status = () => {
    const told = json(s.stub.status(s.session));
    return new Promise((resolve) => (answer = () => resolve(told)));
  };
  await page.evaluate(() => void globalThis.sessionTimeout.check());
  await s.until('it is asked', () => answer);
  await s.advance(5_000);
  answer();
  await s.settle(page);
  assert.ok(await page.evaluate(() => globalThis.sessionTimeout.remaining()) <= 35_000);
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
    await s.settle(page);
    await page.keyboard.press('a');
  }
  await s.settle(page);
  assert.equal(await s.isOpen(page), false);
  assert.equal(s.seen('shown', 'dialog'), 0);
  assert.ok(s.keepAlives() >= 3, `${s.keepAlives()} keep-alives`);
  assert.ok(s.keepAlives() <= 13, `${s.keepAlives()} keep-alives`);
  assert.ok(s.stub.status(s.session).expires_in_ms > s.stub.warn);
});

for (const [what, act] of [
  ['a click', (page) => page.mouse.click(5, 5)],
  ['the wheel', (page) => page.mouse.wheel(0, 10)],
])
  test(`T11 ${what} is activity, too, where the page has the focus`, async (t) => {
    const s = await stubScene(t);
    const page = await s.open();
    const keepsAlive = async () => {
      await s.advance(2_000);
      await act(page);
      await s.advance(10_000);
      await s.settle(page);
      return s.keepAlives();
    };
    await page.evaluate(() => {
      const { hasFocus } = Document.prototype;
      Document.prototype.hasFocus = () => false;
      globalThis.giveBack = () => (Document.prototype.hasFocus = hasFocus);
    });
    assert.equal(await keepsAlive(), 0);
    await page.evaluate(() => void globalThis.giveBack());
    s.stub.touch(s.sid);
    await page.evaluate(() => globalThis.sessionTimeout.check());
    await keepsAlive();
    await s.until('it is renewed', () => s.keepAlives() === 1);
  });

test('T11 a session of hours is renewed every five minutes', async (t) => {
  const s = await stubScene(t, { server: { idle: 8 * HOUR, absolute: null } });
  const page = await s.open();
  await s.advance(10_000);
  await page.focus('#text');
  await page.keyboard.press('a');
  await s.advance(280_000);
  await s.settle(page);
  assert.equal(s.keepAlives(), 0);
  await s.advance(11_000);
  await s.until('it is renewed', () => s.keepAlives() === 1);
});

test('T11 a renewal that failed is not tried again with each key', async (t) => {
  const s = await stubScene(t, { server: { idle: 600_000, absolute: null }, allow: [FAILED_REQUEST] });
  const page = await s.open();
  s.stub.instead['keep-alive'] = () => ({ status: 503 });
  await page.focus('#text');
  await s.advance(151_000);
  await page.keyboard.press('a');
  await s.until('it is tried', () => s.keepAlives() === 1);
  for (let key = 0; key < 5; key += 1) {
    await s.settle(page);
    await s.advance(1_000);
    await page.keyboard.press('a');
  }
  await s.settle(page);
  assert.equal(s.keepAlives(), 1);
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

test('T12 what the server has heard of is not told again', async (t) => {
  const s = await stubScene(t, { server: { idle: 600_000, absolute: null } });
  const page = await s.open();
  await s.advance(2_000);
  await page.focus('#text');
  await page.keyboard.press('a');
  await s.advance(149_000);
  await s.until('it is renewed', () => s.keepAlives() === 1);
  await s.settle(page);
  for (let period = 0; period < 2; period += 1) {
    await s.advance(151_000);
    await s.settle(page);
  }
  assert.equal(s.keepAlives(), 1);
});

test('T12 and in whole milliseconds, which a clock does not have', async (t) => {
  const s = await stubScene(t, {
    before: () => {
      const now = performance.now;
      let more = 0;
      performance.now = () => now.call(performance) + (more += 0.01);
    },
  });
  const page = await s.open();
  await s.advance(2_000);
  await page.focus('#text');
  await page.keyboard.press('a');
  await s.advance(10_000);
  await s.until('it is renewed', () => s.keepAlives() === 1);
  assert.match(s.stub.requests('keep-alive')[0].headers['session-idle-for'], /^\d+$/);
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

test('T13 nothing that scrolls waits for the script', async (t) => {
  const s = await stubScene(t, {
    before: () => {
      globalThis.waitedFor = [];
      const listen = EventTarget.prototype.addEventListener;
      EventTarget.prototype.addEventListener = function (type, listener, options) {
        if (/^(touch|wheel|pointer)/.test(type) && options?.passive !== true) globalThis.waitedFor.push(type);
        return listen.call(this, type, listener, options);
      };
    },
  });
  const page = await s.open();
  assert.deepEqual(await page.evaluate(() => globalThis.waitedFor), []);
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
  await s.advance(5_000);
  assert.ok(await page.evaluate(() => globalThis.sessionTimeout.remaining()) <= 35_000);
  await s.advance(11_000);
  await s.opened(page);
});

test('T16 a steady clock that stood still does not, either', async (t) => {
  const s = await stubScene(t);
  const page = await s.open();
  s.stub.now += 10_000;
  await s.context.clock.setSystemTime(START + 11_000);
  assert.ok(await page.evaluate(() => globalThis.sessionTimeout.remaining()) <= 30_000);
});

test('T15 a page at which nobody does anything notices a clock that was set, too', async (t) => {
  const s = await stubScene(t, { server: { idle: 600_000, absolute: null } });
  const page = await s.open();
  await s.context.clock.setSystemTime(START + 61_000);
  await s.run(16_000);
  await s.until('it asks', () => s.statuses() === 1);
  await s.settle(page);
  assert.ok(await page.evaluate(() => globalThis.sessionTimeout.remaining()) > 580_000);
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

test('T18 whatever wakes a page up makes it ask, and everything at once asks once', async (t) => {
  const s = await stubScene(t, { server: { idle: 600_000, absolute: null } });
  const page = await s.open();
  const events = [
    () => dispatchEvent(new Event('focus')),
    () => dispatchEvent(new Event('online')),
    () => document.dispatchEvent(new Event('resume')),
    () => globalThis.become('visible'),
  ];
  for (const [before, wake] of events.entries()) {
    await s.advance(4_000);
    await page.evaluate(wake);
    await s.settle(page);
    assert.equal(s.statuses(), before, 'the last answer is young');
    await s.advance(2_000);
    await page.evaluate(wake);
    await s.until(`it asks: ${wake}`, () => s.statuses() === before + 1);
    await s.settle(page);
  }
  await s.advance(6_000);
  await page.evaluate(`for (const wake of [${events}]) wake()`);
  await s.until('it asks', () => s.statuses() > events.length);
  await s.settle(page);
  assert.equal(s.statuses(), events.length + 1);
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
  ['JSON of something else', json({ state: 'ended' })],
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

test('T29 the pauses grow to a minute, and are short again after an answer', async (t) => {
  const s = await stubScene(t, { server: { idle: HOUR, absolute: null }, allow: [FAILED_REQUEST] });
  const page = await s.open();
  const fail = async () => {
    s.stub.instead.status = () => ({ status: 503 });
    await page.evaluate(() => globalThis.sessionTimeout.check());
  };
  const asksAfter = async (pause) => {
    const before = s.statuses();
    await s.advance(pause);
    await s.until(`it asks after ${pause} ms`, () => s.statuses() === before + 1, 0);
    await s.settle(page);
  };
  const asksNothing = async () => {
    const before = s.statuses();
    await s.advance(60_100);
    await s.settle(page);
    assert.equal(s.statuses(), before);
  };
  await fail();
  for (let question = 0; question < 9; question += 1) await asksAfter(60_100);
  assert.equal(s.seen('event', 'offline'), 1, 'told once');
  s.stub.instead = {};
  await asksAfter(60_100);
  await asksNothing();
  await fail();
  await asksAfter(2_100);
  assert.equal(s.seen('event', 'offline'), 2);
  s.stub.instead = {};
  await page.evaluate(() => globalThis.sessionTimeout.check());
  await asksNothing();
});

test('T29 an answer that does not come is none after ten seconds', async (t) => {
  const s = await stubScene(t, {
    before: () => {
      // By the clock that the test moves.
      AbortSignal.timeout = (ms) => {
        const controller = new AbortController();
        setTimeout(() => controller.abort(), ms);
        return controller.signal;
      };
    },
  });
  await s.open();
  s.stub.instead.status = () => new Promise(() => {});
  await s.advance(15_100);
  await s.until('it is asked', () => s.statuses() === 1);
  await s.advance(9_000);
  assert.equal(s.seen('event', 'offline'), 0);
  await s.advance(1_000);
  await s.until('it is told', () => s.seen('event', 'offline') === 1);
  await s.advance(2_100);
  await s.until('it is asked again', () => s.statuses() === 2);
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

test('T41 a script that is served from elsewhere is told where the endpoints are', async (t) => {
  const s = await stubScene(t);
  s.stub.probe = readFileSync(new URL('../../src/client/client.min.js', import.meta.url));
  s.stub.page('/elsewhere', { body: FORM, tag: `<script src="/probe.js" defer data-base="${BASE}" data-login-url="/login"></script>` });
  const page = await s.open('/elsewhere');
  await page.fill('#text', 'a text');
  await s.draftSaved(page);
  await s.warn(page);
  await s.part(page, 'stay').click();
  await s.closed(page);
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

for (const isHidden of [false, true])
  test(`T48 limits of a month overflow no timer${isHidden ? ' of a hidden page' : ''}`, async (t) => {
    const s = await stubScene(t, { isHidden, server: { idle: 30 * 24 * HOUR, absolute: null, warn: 120_000 } });
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
