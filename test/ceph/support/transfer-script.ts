// One script of imports and exports, whichever cluster it runs on: what `rbd` brought in, `linger` takes out, and the
// other way round.

import { createHash } from 'node:crypto';
import { open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { LINGER, runLinger } from './linger-cli.js';
import { type RunOptions, type RunResult, runProcess } from './processes.js';
import { patternBytes } from './rbd-client.js';

const KIB = 1024;
const MIB = 1024 * KIB;

/** The cluster that a script runs on; known when its tests run. */
export interface Place {
  confPath: string;
  /** For files. */
  dir: string;
}

export interface TransferKind {
  kind: string;
  pool: string;
  /** Layout options, alike for both programs. */
  options: string[];
}

/** `dataPool` and the namespace `ns` of `rbd` must be there. */
export const transferKinds = (dataPool: string): TransferKind[] => [
  { kind: 'plain', pool: 'rbd', options: [] },
  { kind: 'small-object', pool: 'rbd', options: ['--object-size', '64K'] },
  {
    kind: 'striped',
    pool: 'rbd',
    options: ['--object-size', '1M', '--stripe-unit', '64K', '--stripe-count', '3'],
  },
  { kind: 'data-pool', pool: 'rbd', options: ['--data-pool', dataPool] },
  { kind: 'namespaced', pool: 'rbd/ns', options: [] },
  {
    kind: 'namespaced, striped, data-pool',
    pool: 'rbd/ns',
    options: ['--data-pool', dataPool, '--stripe-unit', '4K', '--stripe-count', '5'],
  },
];

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** Data and holes that neither begin nor end where objects, stripes or blocks do. */
export const CONTENT = Buffer.concat([
  patternBytes(3 * MIB + 77, 1),
  Buffer.alloc(6 * MIB + 5),
  patternBytes(5 * MIB - 1234, 2),
  Buffer.alloc(777),
]);
const DIGEST = sha256(CONTENT);

export function transferTests(place: () => Place, kinds: readonly TransferKind[]): void {
  const path = (name: string) => join(place().dir, name);
  const check = (result: RunResult): RunResult => {
    expect(result.code, result.stderr).toBe(0);
    return result;
  };
  const rbd = async (args: readonly string[], options: RunOptions = {}) =>
    check(await runProcess('rbd', args, { ...options, env: { CEPH_CONF: place().confPath } }));
  const linger = async (args: readonly string[], options: RunOptions = {}) =>
    check(await runLinger(place().confPath, args, options));
  const digestOfFile = async (name: string) => sha256(await readFile(path(name)));

  it.each(kinds)('linger exports a $kind image that rbd imported', async ({ pool, options }) => {
    await writeFile(path('in'), CONTENT);
    const features = ['--image-feature', 'layering', '--no-progress'];
    await rbd(['import', ...features, ...options, path('in'), `${pool}/theirs`]);
    await linger(['export', `${pool}/theirs`, path('out')]);
    expect(await digestOfFile('out')).toBe(DIGEST);
    await rm(path('out'));
    await linger(['rm', `${pool}/theirs`]);
  });

  it.each(kinds)('rbd exports a $kind image that linger imported', async ({ pool, options }) => {
    await writeFile(path('in'), CONTENT);
    const imported = await linger(['import', ...options, path('in'), `${pool}/ours`]);
    expect(imported).toEqual({ code: 0, stdout: '', stderr: '' });
    await rbd(['export', '--no-progress', `${pool}/ours`, path('out')]);
    expect(await digestOfFile('out')).toBe(DIGEST);
    await rm(path('out'));
    await rbd(['rm', '--no-progress', `${pool}/ours`]);
  });

  it('pipes carry the same bytes', async () => {
    await linger(['import', '-', 'rbd/ours'], { input: CONTENT });
    await rbd(['export', '--no-progress', 'rbd/ours', path('out')]);
    expect(await digestOfFile('out')).toBe(DIGEST);
    await rm(path('out'));
    // Twice through both programs, and still the same.
    const { confPath } = place();
    const script = '"$0" "$1" export rbd/ours - | rbd import --image-feature layering - rbd/theirs';
    const node = process.execPath;
    const env = { CEPH_CONF: confPath };
    check(await runProcess('bash', ['-o', 'pipefail', '-c', script, node, LINGER], { env }));
    const back = 'rbd export --no-progress rbd/theirs - | "$0" "$1" import - rbd/again';
    check(await runProcess('bash', ['-o', 'pipefail', '-c', back, node, LINGER], { env }));
    await linger(['export', 'rbd/again', path('out')]);
    expect(await digestOfFile('out')).toBe(DIGEST);
    await rm(path('out'));
    for (const name of ['ours', 'theirs', 'again']) await linger(['rm', name]);
  });

  it('an empty pipe makes an empty image, and an empty image an empty file', async () => {
    await linger(['import', '-', 'rbd/nothing'], { input: '' });
    const info = await rbd(['info', 'rbd/nothing', '--format', 'json']);
    expect(JSON.parse(info.stdout)).toMatchObject({ size: 0, objects: 0 });
    await linger(['export', 'rbd/nothing', path('out')]);
    expect((await stat(path('out'))).size).toBe(0);
    await rm(path('out'));
    await linger(['rm', 'nothing']);
  });

  it('holes of a file stay holes in the image and in the file that comes back', async () => {
    const size = 200 * MIB;
    const file = await open(path('sparse'), 'w');
    await file.truncate(size);
    await file.write(CONTENT.subarray(0, 10_000), 0, 10_000, 150 * MIB + 13);
    await file.close();
    await linger(['import', path('sparse'), 'rbd/sparse']);
    const { stdout } = await rbd(['info', 'rbd/sparse', '--format', 'json']);
    const { block_name_prefix: prefix } = JSON.parse(stdout) as { block_name_prefix: string };
    const env = { CEPH_CONF: place().confPath };
    const objects = check(await runProcess('rados', ['-p', 'rbd', 'ls'], { env })).stdout;
    const data = objects.split('\n').filter((name) => name.startsWith(prefix));
    expect(data).toEqual([`${prefix}.${(37).toString(16).padStart(16, '0')}`]);
    await linger(['export', 'rbd/sparse', path('out')]);
    const { size: outSize, blocks } = await stat(path('out'));
    expect(outSize).toBe(size);
    expect(blocks * 512).toBeLessThan(64 * KIB);
    expect(await digestOfFile('out')).toBe(await digestOfFile('sparse'));
    await rm(path('out'));
    await linger(['rm', 'sparse']);
  });

  it('a snapshot is exported as it was', async () => {
    await linger(['import', '-', 'rbd/snapped'], { input: CONTENT });
    await rbd(['snap', 'create', '--no-progress', 'rbd/snapped@then']);
    const bench = [
      'bench',
      '--io-type',
      'write',
      '--io-size',
      '64K',
      '--io-total',
      '4M',
      'rbd/snapped',
    ];
    await linger(bench);
    await linger(['export', 'rbd/snapped@then', path('out')]);
    expect(await digestOfFile('out')).toBe(DIGEST);
    await rm(path('out'));
    await linger(['export', 'rbd/snapped', path('out')]);
    expect(await digestOfFile('out')).not.toBe(DIGEST);
    await rm(path('out'));
    await rbd(['snap', 'purge', '--no-progress', 'rbd/snapped']);
    await linger(['rm', 'snapped']);
  });

  it('a reader that leaves ends an export without a word', async () => {
    await linger(['import', '-', 'rbd/ours'], { input: CONTENT });
    const script = '"$0" "$1" export rbd/ours - | head -c 1 | wc -c; exit ${PIPESTATUS[0]}';
    const env = { CEPH_CONF: place().confPath };
    const { code, stdout, stderr } = await runProcess(
      'bash',
      ['-c', script, process.execPath, LINGER],
      { env },
    );
    // EPIPE, as for rbd, which says more about it.
    expect([code, stdout.trim(), stderr]).toEqual([32, '1', '']);
    await linger(['rm', 'ours']);
  });
}
