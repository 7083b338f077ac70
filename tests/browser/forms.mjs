// What tests of drafts have in common.

/** Far from its end. */
export const LONG = { idle: 600_000, absolute: null };
/** For pages with scripts of their own. */
export const LAX = { csp: '' };

/** A form with one field more. */
export const withField = (form, field) => form.replace('<button', `${field}<button`);

/** The session ends by itself, and the browser is on the log-in page. */
export async function expired(s, page) {
  await s.advance(60_000);
  await s.at(page, '/login');
}

/** Logs in there, and is on the page again. */
export async function back(s, page, path = '/', user = 'ada') {
  await s.signIn(page, user);
  await s.at(page, path);
  await s.ready(page);
  await s.settle(page);
}

/** Away from the page and there again, while the session lives. */
export async function leaveAndReturn(s, page, path = '/') {
  await page.goto('/two');
  await page.goto(path);
  await s.ready(page);
  await s.settle(page);
}

/** The texts in the rows of the bar. */
export const rows = (page) =>
  page.evaluate(() => [...(globalThis.part('bar')?.querySelectorAll('[part~=text]') ?? [])].map((it) => it.innerText));

export const offered = (s, page, count = 1) => s.until('it is offered', async () => (await rows(page)).filter((text) => /^There are unsaved entries/.test(text)).length === count);

/** Presses a button of the bar. */
export async function press(s, page, name, row = 0) {
  const button = s.part(page, 'bar').locator(`[part~=${name}]`).nth(row);
  await s.until(`the button ${name} is there`, () => button.isVisible());
  await button.click();
}

export const holds = (s, page, value, selector = '#text') => s.until(`it says ${value}`, async () => (await page.inputValue(selector)) === value);
