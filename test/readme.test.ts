/** What the README shows is what users paste: its first example runs as it stands, against the built package. */

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { packageFile } from '../src/base/paths.js';

const run = promisify(execFile);

async function examples(): Promise<string[]> {
  const text = await readFile(packageFile('README.md'), 'utf8');
  return [...text.matchAll(/```ts\n(.*?)```/gs)].map((match) => match[1] as string);
}

describe('the README', () => {
  it('has a first example that runs', async () => {
    const [first] = await examples();
    const { outputText } = ts.transpileModule(`${first}\nconsole.log(String(bytes));`, {
      compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
    });
    const entry = pathToFileURL(packageFile('dist/bundle/index.js')).href;
    const directory = await mkdtemp(join(tmpdir(), 'linger-readme-'));
    try {
      const script = join(directory, 'example.mjs');
      await writeFile(script, outputText.replace("'linger-rbd'", JSON.stringify(entry)));
      const { stdout } = await run(process.execPath, [script], { timeout: 25_000 });
      expect(stdout).toBe('hello\n');
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });

  it('begins with the two commands', async () => {
    const text = await readFile(packageFile('README.md'), 'utf8');
    expect(text).toContain('npm ci && npm start\nnpm ci && npm test\n');
  });
});
