// What assistive technology gets: axe-core in every state and colour scheme, and A1 to A9.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inflateSync } from 'node:zlib';
import { SCHEMES, violations } from './axe.mjs';
import { FAILED_REQUEST, stubScene } from './harness.mjs';
import { FORM, json } from './stub.mjs';

const HEAD = '<meta name="color-scheme" content="light dark">';

async function scene(t, options) {
  const s = await stubScene(t, options);
  s.stub.page('/axe', { head: HEAD, body: `<h1>A page</h1>${FORM}` });
  return s;
}

const STATES = {
  'the warning': async (s, page) => s.warn(page),
  'the warning of the absolute limit': async (s, page) => s.warn(page),
  checking: async (s, page) => {
    await s.warn(page);
    s.stub.instead['keep-alive'] = () => new Promise(() => {});
    await s.advance(600);
    await s.part(page, 'stay').click();
    await s.until('it is busy', async () => (await s.part(page, 'stay').getAttribute('aria-disabled')) === 'true');
  },
  'no connection': async (s, page) => {
    await s.warn(page);
    s.stub.instead['keep-alive'] = () => ({ status: 503 });
    await s.advance(600);
    await s.part(page, 'stay').click();
    await s.until('it says so', async () => /connection/i.test(await s.text(page, 'dialog')));
  },
  'the veil': async (s, page) => {
    await s.become(page, 'hidden');
    await s.advance(60_000);
    await s.opened(page, 'veil');
  },
  'somebody else': async (s, page) => {
    s.stub.instead.status = () => json({ ...s.stub.status(s.session), user: 'somebody-else' });
    await page.evaluate(() => void globalThis.sessionTimeout.check());
    await s.opened(page, 'veil');
  },
  'the bar': async (s, page) => {
    await page.fill('#text', 'a text');
    await s.draftSaved(page);
    await s.advance(60_000);
    await s.at(page, '/login');
    await s.signIn(page, 'ada');
    await s.at(page, '/axe');
    await s.ready(page);
    await s.until('the bar is there', async () => /restored/i.test(await s.text(page, 'bar')));
  },
};
for (const [state, reach] of Object.entries(STATES))
  test(`axe finds nothing in ${state}`, async (t) => {
    const absolute = state.includes('absolute') ? 30_000 : 120_000;
    const s = await scene(t, { server: { absolute }, allow: state === 'no connection' ? [FAILED_REQUEST] : [] });
    const page = await s.open('/axe');
    await reach(s, page);
    for (const [scheme, media] of Object.entries(SCHEMES)) {
      await page.emulateMedia(media);
      assert.deepEqual(await violations(s, page), [], scheme);
    }
  });

test('A1 while the warning is open nothing else is in the accessibility tree', async (t) => {
  const s = await scene(t);
  const page = await s.open('/axe');
  await s.warn(page);
  const cdp = await s.context.newCDPSession(page);
  const { nodes } = await cdp.send('Accessibility.getFullAXTree');
  const seen = nodes.filter(({ ignored, role }) => !ignored && !/^(StaticText|InlineTextBox|none|generic|paragraph|RootWebArea)$/.test(role.value));
  const roles = seen.map(({ role }) => role.value).sort();
  assert.deepEqual(roles, ['alertdialog', 'button', 'button', 'heading', 'status', 'timer']);
  const dialog = seen.find(({ role }) => role.value === 'alertdialog');
  assert.match(dialog.name.value, /\w/);
  assert.match(dialog.description.value, /signed out/);
  assert.ok(dialog.properties.some(({ name, value }) => name === 'modal' && value.value === true));
  for (const { role, name } of seen) if (role.value === 'button') assert.match(name.value, /^(Stay signed in|Sign out)$/);
});

const focused = (page) =>
  page.evaluate(() => {
    const element = document.activeElement;
    return element?.shadowRoot?.activeElement?.getAttribute('part') ?? element?.id ?? element?.localName;
  });

test('A2 Tab stays in the warning while it is open, and goes on when it is closed', async (t) => {
  const s = await scene(t);
  const page = await s.open('/axe');
  await page.focus('#text');
  await s.warn(page);
  assert.equal(await focused(page), 'stay');
  const visited = new Set();
  for (const key of ['Tab', 'Tab', 'Tab', 'Tab', 'Shift+Tab', 'Shift+Tab', 'Shift+Tab', 'Shift+Tab']) {
    await page.keyboard.press(key);
    visited.add(await focused(page));
  }
  // The empty name is the body's, while the focus is in the browser's own bars.
  for (const part of visited) assert.ok(['stay', 'signout', 'dialog', ''].includes(part), `${part} has the focus`);
  assert.ok(visited.has('stay') && visited.has('signout'));
  await s.advance(600);
  await page.keyboard.press('Escape');
  await s.closed(page);
  assert.equal(await focused(page), 'text');
  await page.keyboard.press('Tab');
  assert.equal(await focused(page), 'save');
});

test('A3 nothing is clipped in a small window, or at 400 %', async (t) => {
  const s = await scene(t, { viewport: { width: 320, height: 256 }, server: { absolute: 30_000 } });
  const page = await s.open('/axe');
  await s.warn(page);
  for (const part of ['stay', 'signout']) {
    await s.part(page, part).scrollIntoViewIfNeeded();
    const box = await s.part(page, part).boundingBox();
    assert.ok(box.x >= 0 && box.x + box.width <= 320, `${part} ${JSON.stringify(box)}`);
    assert.ok(box.y >= 0 && box.y + box.height <= 256, `${part} ${JSON.stringify(box)}`);
  }
  const widths = await s.part(page, 'dialog').evaluate((dialog) => [dialog.scrollWidth - dialog.clientWidth, document.documentElement.scrollWidth - innerWidth]);
  assert.ok(widths.every((width) => width <= 0), `${widths}`);
});

test('A4 nothing moves for those who asked for less motion', async (t) => {
  const s = await scene(t, { reducedMotion: 'reduce' });
  const page = await s.open('/axe');
  await s.warn(page);
  assert.equal(await page.evaluate(() => document.getAnimations().length + globalThis.part('dialog').getAnimations({ subtree: true }).length), 0);
});

/** In the page: WCAG's contrast of two colours. */
function contrast(one, two) {
  const luminance = (colour) => {
    const [red, green, blue] = colour.match(/[\d.]+/g).slice(0, 3).map((value) => {
      const share = Number(value) / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const [darker, lighter] = [luminance(one), luminance(two)].sort((a, b) => a - b);
  return (lighter + 0.05) / (darker + 0.05);
}

for (const scheme of ['light', 'dark'])
  test(`A5 texts have a contrast of 4.5, and the ring of the focus of 3: ${scheme}`, async (t) => {
    const s = await scene(t);
    const page = await s.open('/axe');
    await page.emulateMedia({ colorScheme: scheme });
    await s.warn(page);
    await page.keyboard.press('Shift');
    const colours = await page.evaluate(() => {
      const of = (part) => {
        const { color, backgroundColor, outlineColor, outlineStyle } = getComputedStyle(globalThis.part(part));
        return { color, backgroundColor, outlineColor, outlineStyle };
      };
      return { dialog: of('dialog'), stay: of('stay'), signout: of('signout'), text: of('text'), clock: of('clock') };
    });
    const behind = colours.dialog.backgroundColor;
    assert.equal(colours.stay.outlineStyle, 'solid');
    assert.ok(contrast(colours.stay.outlineColor, behind) >= 3, JSON.stringify(colours.stay));
    assert.ok(contrast(colours.stay.color, colours.stay.backgroundColor) >= 4.5, JSON.stringify(colours.stay));
    for (const part of ['text', 'clock', 'signout']) assert.ok(contrast(colours[part].color, behind) >= 4.5, part);
  });

test('A6 everything to press is 44 pixels wide and high', async (t) => {
  const s = await scene(t);
  const page = await s.open('/axe');
  await s.warn(page);
  const targets = async () => Promise.all((await page.locator('session-timeout :is(button, a)').all()).map((target) => target.boundingBox()));
  const boxes = await targets();
  await s.become(page, 'hidden');
  await s.advance(60_000);
  await s.opened(page, 'veil');
  boxes.push(...(await targets()));
  assert.ok(boxes.length >= 3);
  for (const { width, height } of boxes) assert.ok(width >= 44 && height >= 44, `${width} × ${height}`);
});

test('A7 a session can be extended eleven times in a row', async (t) => {
  const s = await scene(t, { server: { absolute: null } });
  const page = await s.open('/axe');
  for (let extension = 1; extension <= 11; extension += 1) {
    await s.warn(page);
    await s.advance(600);
    await s.part(page, 'stay').click();
    await s.closed(page);
    assert.equal(s.keepAlives(), extension);
  }
});

test('A8 the keyboard is enough for the whole way', async (t) => {
  const s = await scene(t);
  const page = await s.open('/axe');
  await s.warn(page);
  await s.advance(600);
  await page.keyboard.press('Enter');
  await s.closed(page);
  await page.focus('#text');
  await page.keyboard.type('by keyboard');
  await s.draftSaved(page);
  await s.run(11_000);
  await s.settle(page);
  await s.warn(page);
  await s.advance(600);
  await page.keyboard.press('Tab');
  assert.equal(await focused(page), 'signout');
  await s.advance(26_000);
  await s.at(page, '/login');
  await page.keyboard.press('Tab');
  await page.keyboard.type('ada');
  await page.keyboard.press('Enter');
  await s.at(page, '/axe');
  await s.ready(page);
  await s.until('the draft is back', async () => (await page.inputValue('#text')) === 'by keyboard');
});

/** Whether a letter is among those a printed document can show: its fonts list them in `ToUnicode` tables. */
function prints(pdf, letter) {
  const code = letter.charCodeAt(0).toString(16).padStart(4, '0');
  const streams = [];
  for (let at = pdf.indexOf('stream\n'); at !== -1; at = pdf.indexOf('stream\n', at + 1)) {
    try {
      streams.push(inflateSync(pdf.subarray(at + 7), { finishFlush: 2 }).toString('latin1'));
    } catch {
      // Not compressed, or the word within other data.
    }
  }
  return streams.some((text) => text.includes('beginbf') && new RegExp(`<${code}>`, 'i').test(text));
}

test('A9 the warning is not printed', async (t) => {
  const s = await scene(t);
  const page = await s.open('/axe');
  await s.warn(page);
  await page.emulateMedia({ media: 'print' });
  assert.equal(await s.part(page, 'dialog').isVisible(), false);
});

test('A9 nothing of a veiled page can be read, found or printed', async (t) => {
  const s = await scene(t);
  s.stub.page('/secret', { body: '<h1>A page</h1><p>secret</p><div id="shown">secret Ж</div>' });
  const page = await s.open('/secret');
  // An application may show by itself what is in a hidden element.
  await page.evaluate(() => document.querySelector('#shown').style.setProperty('visibility', 'visible'));
  assert.match(await page.evaluate(() => document.body.innerText), /secret/);
  assert.equal(await page.evaluate(() => window.find('secret')), true);
  assert.equal(prints(await page.pdf(), 'Ж'), true);
  await page.evaluate(() => getSelection().removeAllRanges());
  await s.become(page, 'hidden');
  await s.advance(60_000);
  await s.opened(page, 'veil');
  assert.equal((await page.evaluate(() => document.documentElement.innerText)).trim(), '');
  assert.equal(await page.evaluate(() => window.find('secret')), false);
  assert.equal(prints(await page.pdf(), 'Ж'), false);
});
