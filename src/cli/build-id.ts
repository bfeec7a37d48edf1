/** What is built: two machines that have the same run the same code. */

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageFile } from '../base/paths.js';

const RUNS = /\.(js|wasm)$/;
const SHOWN_DIGITS = 16;

/** Of all that runs, in `dist/`: 16 hexadecimal digits. */
export function buildId(): string {
  const hash = createHash('sha256');
  for (const folder of ['bundle', 'wasm']) {
    const root = packageFile(join('dist', folder));
    const files = readdirSync(root, { recursive: true, encoding: 'utf8' });
    for (const file of files.filter((name) => RUNS.test(name)).sort()) {
      hash.update(`${folder}/${file}\n`).update(readFileSync(join(root, file)));
    }
  }
  return hash.digest('hex').slice(0, SHOWN_DIGITS);
}
