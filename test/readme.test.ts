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

/** What a module prints that has the package by its name. */
async function printed(source: string): Promise<string> {
  const { outputText } = ts.transpileModule(source, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
  });
  const entry = pathToFileURL(packageFile('dist/bundle/index.js')).href;
  const directory = await mkdtemp(join(tmpdir(), 'linger-readme-'));
  try {
    const script = join(directory, 'example.mjs');
    await writeFile(script, outputText.replace("'linger-rbd'", JSON.stringify(entry)));
    const { stdout } = await run(process.execPath, [script], { timeout: 25_000 });
    return stdout;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

describe('the README', () => {
  it('has a first example that runs', async () => {
    const [first] = await examples();
    expect(await printed(`${first}\nconsole.log(String(bytes));`)).toBe('hello\n');
  });

  it('has an example of snapshots and the trash that runs behind the first', async () => {
    const [first, second] = await examples();
    // A block: it names some things as the first does.
    const source = `${first}\n{\n${second}\nconsole.log((await images.list()).join());\n}`;
    expect(await printed(source)).toMatch(/\nvm1\n$/);
  });

  it('begins with the two commands', async () => {
    const text = await readFile(packageFile('README.md'), 'utf8');
    expect(text).toContain('npm ci && npm start\nnpm ci && npm test\n');
  });
});
