// Threads start whatever flags the program itself was started with.

import { execFile } from 'node:child_process';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

import { packageFile } from '../../src/base/paths.js';

const LIBRARY = pathToFileURL(packageFile('dist/bundle/index.js')).href;

const PROGRAM = `
  const { connect, EmbeddedCluster } = await import('${LIBRARY}');
  const embedded = await EmbeddedCluster.start({ osds: 1, size: 1, pools: ['rbd'] });
  const cluster = await connect(embedded, { threads: 1 });
  await cluster.pool('rbd').images.create('disk', { size: 2 ** 20 });
  const disk = await cluster.map('rbd/disk');
  await disk.write(0, Buffer.from('it works'));
  console.log(Buffer.from(await disk.read(0, 8)).toString());
  await disk.close();
  await cluster.close();
  await embedded.stop();
`;

const SCRIPT = `(async () => { ${PROGRAM} })()`;

describe('a program that is no file', () => {
  it.each<[string, string[]]>([
    ['a module', ['--input-type=module', '-e', PROGRAM]],
    ['a module, in other words', ['--input-type', 'module', '--eval', PROGRAM]],
    ['a script with flags of V8', ['--max-old-space-size=512', '--expose-gc', '-e', SCRIPT]],
    ['an expression', ['-p', SCRIPT]],
  ])('runs a cluster and maps an image: %s', async (_, args) => {
    const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 60_000 });
    expect(stdout).toContain('it works\n');
  });
});
