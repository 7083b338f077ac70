// The scenes of the README's pictures, in the example; `SCREENSHOTS=1 node --test screenshots.test.mjs` takes them.
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { exampleScene } from './harness.mjs';

const IDLE = ['--idle', '122', '--warn', '120', '--absolute', '28800'];
const ABSOLUTE = ['--idle', '122', '--warn', '120', '--absolute', '122'];

async function picture(page, name) {
  if (process.env.SCREENSHOTS !== '1') return;
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    await page.screenshot({ path: fileURLToPath(new URL(`../../docs/${name}-${colorScheme}.png`, import.meta.url)) });
  }
}

async function begin(t, args) {
  const s = await exampleScene(t, { args });
  const page = await s.context.newPage();
  await s.logIn(page, 'ada', '/notes');
  return { s, page };
}

test('the warning', async (t) => {
  const { s, page } = await begin(t, IDLE);
  await s.opened(page);
  await picture(page, 'warning');
});

test('the absolute limit', async (t) => {
  const { s, page } = await begin(t, ABSOLUTE);
  await s.opened(page);
  await picture(page, 'absolute');
});

test('the veil', async (t) => {
  const { s, page } = await begin(t, IDLE);
  await s.become(page, 'hidden');
  await s.endElsewhere('ada');
  await page.evaluate(() => void globalThis.sessionTimeout.check());
  await s.opened(page, 'veil');
  await picture(page, 'veil');
});

test('a restored draft', async (t) => {
  const { s, page } = await begin(t, ['--idle', '900', '--warn', '120']);
  await s.write(page, 'Half-written when the session ended: nothing is lost.');
  await s.draftSaved(page);
  await s.endElsewhere('ada');
  await page.evaluate(() => void globalThis.sessionTimeout.check());
  await s.at(page, '/login');
  await s.signIn(page, 'ada');
  await s.at(page, '/notes');
  await s.until('the bar is there', async () => /restored/i.test(await s.text(page, 'bar')));
  await picture(page, 'restored');
});
