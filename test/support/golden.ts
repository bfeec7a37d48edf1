/**
 * Ceph's own encodings (the public object corpus), where they are at hand. They are not part of this repository: tests
 * over them say so and skip when they are absent.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = '/work/shared/golden';

/** The newest of the release whose encodings we write comes first. */
export const GOLDEN_RELEASES: readonly string[] = existsSync(ROOT)
  ? readdirSync(ROOT)
      .filter((name) => /^\d+\./.test(name))
      .sort()
  : [];

if (GOLDEN_RELEASES.length === 0) console.warn(`SKIPPED: no golden encodings at ${ROOT}`);

/** Whether we write this release's versions: its files must come out again as they were. */
export function isWritten(release: string): boolean {
  return release.startsWith('16.2');
}

export function goldenTypes(release: string): string[] {
  return readdirSync(join(ROOT, release)).sort();
}

/** In 16.2 this file holds the text of a hex dump of the encoding: a mishap of the corpus. Later releases have it right. */
const HEX_DUMP = 'b2649e1e95b4e3aa075363b31846e62e';

export function goldenFiles(release: string, type: string): { name: string; bytes: Uint8Array }[] {
  const folder = join(ROOT, release, type);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => !(isWritten(release) && name === HEX_DUMP))
    .map((name) => ({ name, bytes: new Uint8Array(readFileSync(join(folder, name))) }));
}
