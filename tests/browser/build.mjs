// Makes the script that the layer serves out of src/client/page: `node build.mjs`; with --check, it says whether the
// one in the repository is what the source gives, and small enough.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, brotliDecompressSync, constants, gunzipSync, gzipSync } from 'node:zlib';

import { build } from 'esbuild';
import { minify } from 'terser';

const LIMIT = 6144;
const client = fileURLToPath(new URL('../../src/client/', import.meta.url));
const target = client + 'session-timeout.min.js';

const bundled = await build({
  entryPoints: [client + 'page/main.js'],
  bundle: true,
  format: 'iife',
  // A second tag with the script (Turbo swaps bodies) only looks at the new forms.
  banner: { js: 'window.sessionTimeout?window.sessionTimeout.scan():' },
  target: 'es2020',
  write: false,
});
const { code } = await minify(bundled.outputFiles[0].text, {
  ecma: 2020,
  compress: { passes: 3, unsafe_arrows: true, pure_getters: true },
});
const script = Buffer.from(code.replace(/`(?:[^`\\]|\\.)*`/g, (css) => css.replaceAll('\\n', '')) + '\n');
const gzipped = gzipSync(script, { level: 9 });

console.log(`${script.length} bytes, ${gzipped.length} with gzip -9; the limit is ${LIMIT}`);
if (gzipped.length > LIMIT) {
  console.error('the script is too large');
  process.exit(1);
}
if (process.argv.includes('--check')) {
  const same =
    script.equals(readFileSync(target)) &&
    script.equals(gunzipSync(readFileSync(target + '.gz'))) &&
    script.equals(brotliDecompressSync(readFileSync(target + '.br')));
  if (!same) {
    console.error('the script in the repository is not what its source gives: run node tests/browser/build.mjs');
    process.exit(1);
  }
} else {
  writeFileSync(target, script);
  writeFileSync(target + '.gz', gzipped);
  const best = { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_MODE]: 1 } };
  writeFileSync(target + '.br', brotliCompressSync(script, best));
}
