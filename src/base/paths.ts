/**
 * Where the package's own files are: wasm modules and worker entries are files, not imports.
 *
 * The same source runs from `src/` (tests), from `dist/src/` (benchmarks) and in bundles, so the root is looked for
 * upwards instead of being a fixed number of steps away.
 */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PACKAGE_NAME = 'linger-rbd';

let root: string | undefined;

/** Absolute path of a file of this package, given relative to the package's root. */
export function packageFile(relativePath: string): string {
  root ??= findPackageRoot(dirname(fileURLToPath(import.meta.url)));
  return join(root, relativePath);
}

function findPackageRoot(start: string): string {
  for (let folder = start; ; folder = dirname(folder)) {
    if (packageNameIn(folder) === PACKAGE_NAME) return folder;
    if (dirname(folder) === folder) {
      throw new Error(`no package.json of ${PACKAGE_NAME} in or above ${start}`);
    }
  }
}

function packageNameIn(folder: string): unknown {
  let text: string;
  try {
    text = readFileSync(join(folder, 'package.json'), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  return (JSON.parse(text) as { name?: unknown }).name;
}
