// What axe-core finds in a page.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
export const SCHEMES = {
  light: { colorScheme: 'light', forcedColors: 'none' },
  dark: { colorScheme: 'dark', forcedColors: 'none' },
  'forced colours': { colorScheme: 'dark', forcedColors: 'active' },
};

export async function violations(s, page) {
  await page.evaluate(AXE);
  await page.evaluate((rules) => {
    globalThis.found = undefined;
    void globalThis.axe.run(document, { runOnly: rules }).then(({ violations, passes }) => {
      globalThis.found = { passed: passes.length, violations: violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join('; ')}`) };
    });
  }, RULES);
  const found = await s.until('axe is done', () => page.evaluate(() => globalThis.found), 5);
  assert.ok(found.passed > 5);
  return found.violations;
}
