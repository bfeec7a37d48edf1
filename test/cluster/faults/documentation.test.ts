/** What docs/fault-injection.md shows is what users paste: its example runs as it stands and prints what it says. */

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import ts from 'typescript';
import { expect, it } from 'vitest';
import { packageFile } from '../../../src/base/paths.js';
import { FAULT_KINDS } from '../../../src/cluster/faults/fault-spec.js';

const text = () => readFile(packageFile('docs/fault-injection.md'), 'utf8');

it('the example of a lost watch runs as it is written', async () => {
  const [, example = '', output = ''] =
    /```ts\n(.*?)```.*?It prints\n\n```\n(.*?)```/s.exec(await text()) ?? [];
  const { outputText } = ts.transpileModule(example, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
  });
  const entry = pathToFileURL(packageFile('dist/bundle/index.js')).href;
  const directory = await mkdtemp(join(tmpdir(), 'linger-example-'));
  try {
    const script = join(directory, 'example.mjs');
    await writeFile(script, outputText.replace("'linger-rbd'", JSON.stringify(entry)));
    const run = promisify(execFile)(process.execPath, [script], { timeout: 25_000 });
    expect((await run).stdout).toBe(output);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});

it('every fault is in the table', async () => {
  const table = await text();
  for (const kind of FAULT_KINDS) expect(table).toContain(`\`${kind}`);
});
