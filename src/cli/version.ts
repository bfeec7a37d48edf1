/** The package's version. */

import { readFileSync } from 'node:fs';
import { packageFile } from '../base/paths.js';

export function version(): string {
  return (JSON.parse(readFileSync(packageFile('package.json'), 'utf8')) as { version: string })
    .version;
}
