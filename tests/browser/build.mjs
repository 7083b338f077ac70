// Makes the scripts that the layer serves out of src/client/page: `node build.mjs`; with --check, it says whether those
// in the repository are what the source gives, and small enough.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, brotliDecompressSync, constants, gunzipSync, gzipSync } from 'node:zlib';

import { build } from 'esbuild';
import { minify } from 'terser';

/**
 * Bytes with gzip -9. Of what each page loads: 6 KiB; one for what keeps markup and answers of others from being taken for
 * ours; and one for a page that is hidden whatever is in it, or goes wrong there. Of what only pages with drafts load: one more,
 * for the work that two tabs, a reload, an application that disables and redraws its fields, or a button pressed by mistake
 * would have destroyed.
 */
const LIMITS = { 'client.min.js': 8192, 'drafts.min.js': 9216 };
const client = fileURLToPath(new URL('../../src/client/', import.meta.url));

/**
 * @param {string} source
 * @param {'iife' | 'esm'} format
 * @param {string} banner
 */
const make = async (source, format, banner = '') => {
  const bundled = await build({
    entryPoints: [client + 'page/' + source],
    bundle: true,
    format,
    banner: { js: banner },
    target: 'es2022',
    write: false,
  });
  const { code } = await minify(bundled.outputFiles[0].text, {
    ecma: 2020,
    module: format === 'esm',
    compress: { passes: 3, unsafe_arrows: true, pure_getters: true },
  });
  return Buffer.from((code ?? '').replaceAll('}\\n', '}') + '\n');
};

const scripts = {
  // A second tag with the script (Turbo swaps bodies) only looks at the new forms.
  'client.min.js': await make('main.js', 'iife', 'window[Symbol.for("session-timeout")]?window[Symbol.for("session-timeout")].scan():'),
  'drafts.min.js': await make('drafts.js', 'esm'),
};

let isFine = true;
/** @param {string} problem */
const complain = (problem) => {
  console.error(problem);
  isFine = false;
};
for (const [name, script] of Object.entries(scripts)) {
  const target = client + name;
  const gzipped = gzipSync(script, { level: 9 });
  const limit = LIMITS[/** @type {keyof typeof LIMITS} */ (name)];
  console.log(`${name}: ${script.length} bytes, ${gzipped.length} with gzip -9; the limit is ${limit}`);
  if (gzipped.length > limit) complain(`${name} is too large`);
  if (!process.argv.includes('--check')) {
    writeFileSync(target, script);
    writeFileSync(target + '.gz', gzipped);
    const best = { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_MODE]: 1 } };
    writeFileSync(target + '.br', brotliCompressSync(script, best));
  } else if (
    !script.equals(readFileSync(target)) ||
    !script.equals(gunzipSync(readFileSync(target + '.gz'))) ||
    !script.equals(brotliDecompressSync(readFileSync(target + '.br')))
  ) {
    complain(`${name} in the repository is not what its source gives: run node tests/browser/build.mjs`);
  }
}
process.exit(isFine ? 0 : 1);
