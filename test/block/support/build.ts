/**
 * Compiles a module of this folder for use in a worker thread, which cannot load TypeScript: beside the
 * built library, so that its imports of `src/` find that.
 */

import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { pathToFileURL } from 'node:url';
import ts from 'typescript';

import { packageFile } from '../../../src/base/paths.js';

/** `name` without its ending. Returns the URL of the JavaScript file. */
export function buildSupport(name: string): string {
  const source = readFileSync(packageFile(`test/block/support/${name}.ts`), 'utf8');
  const target = packageFile(`dist/test/block/support/${name}.js`);
  const { outputText } = ts.transpileModule(source, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
  });
  mkdirSync(dirname(target), { recursive: true });
  // Several test files may do this at once; each renames a whole file into place.
  writeFileSync(`${target}.${process.pid}`, outputText);
  renameSync(`${target}.${process.pid}`, target);
  return pathToFileURL(target).href;
}
