// A form that comes after its session has ended, in a browser without scripts; and what assistive technology gets of its
// page. `SCREENSHOTS=1` takes the pictures of the guide.
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { SCHEMES, violations } from './axe.mjs';
import { exampleScene } from './harness.mjs';

const NOTE = 'Half-written\nwhen the session ended: "nothing" <is> & lost.';

async function picture(page, name) {
  if (process.env.SCREENSHOTS !== '1') return;
  await page.screenshot({ path: fileURLToPath(new URL(`../../docs/unsent-${name}.png`, import.meta.url)), fullPage: true });
}

test('a form that comes too late is shown after the log-in, without a script, and sent once', async (t) => {
  const idle = 22;
  const s = await exampleScene(t, { args: ['--idle', `${idle}`, '--warn', '20', '--absolute', '28800'] });
  const withoutScripts = await s.plainContext({ javaScriptEnabled: false, viewport: { width: 760, height: 480 } });
  t.after(() => withoutScripts.close());
  const page = await withoutScripts.newPage();
  const leadsTo = (path) => page.waitForURL((url) => url.pathname === path);
  const logIn = async (next) => {
    await page.fill('#user', 'ada');
    await page.click('main form button');
    await leadsTo(next);
  };
  await page.goto('/login?next=/notes');
  await logIn('/notes');
  await page.fill('textarea', NOTE);
  await pause(idle * 1000 + 500);
  await page.click('main form button');
  await leadsTo('/login');
  await logIn('/_session-timeout/unsent');
  assert.equal(await page.title(), 'This was not sent');
  assert.equal(await page.inputValue('textarea'), NOTE);

  // axe needs scripts.
  const withScripts = await s.plainContext({ storageState: await withoutScripts.storageState(), viewport: { width: 760, height: 480 } });
  const seen = await withScripts.newPage();
  await seen.goto(page.url());
  for (const [scheme, media] of Object.entries(SCHEMES)) {
    await seen.emulateMedia(media);
    assert.deepEqual(await violations(s, seen), [], scheme);
    if (media.forcedColors === 'none') await picture(seen, scheme);
  }
  await seen.emulateMedia({ colorScheme: 'light', forcedColors: 'none' });
  await seen.setViewportSize({ width: 320, height: 480 });
  assert.ok((await seen.evaluate(() => document.documentElement.scrollWidth)) <= 320, 'WCAG 1.4.10: nothing is cut off');
  await picture(seen, '320');
  await withScripts.close();

  await page.getByRole('button', { name: 'Send it now' }).click();
  await leadsTo('/notes');
  assert.equal(await page.inputValue('textarea'), NOTE);
  await page.goto('/_session-timeout/unsent');
  assert.equal(await page.title(), 'There is nothing that was not sent.');
});
