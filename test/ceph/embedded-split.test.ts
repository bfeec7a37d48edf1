// Pools of the embedded cluster get more PGs under the load of Ceph's own clients, and of kill -9.

import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { EmbeddedCluster } from '../../src/cluster/embedded-cluster.js';
import { describeCeph } from './support/ceph-cluster.js';
import { runLinger } from './support/linger-cli.js';
import { runOrThrow } from './support/processes.js';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'linger-split-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const withConf = (confPath: string) => {
  const env = { ...process.env, CEPH_CONF: confPath, CEPH_ARGS: undefined };
  return async (command: string, ...args: string[]) =>
    (await runOrThrow(command, args, { env })).stdout;
};

describeCeph('a pool that is split', () => {
  it('under rados bench and rbd has everything that was written', async () => {
    await using cluster = await EmbeddedCluster.start({ pools: [{ name: 'rbd', pgNum: 4 }] });
    const run = withConf(cluster.confPath);
    const image = join(dir, 'image');
    await writeFile(image, randomBytes(24 << 20));
    const bench = run(
      ...(['rados', '-p', 'rbd', 'bench', '8', 'write'] as const),
      ...['-b', '16384', '-t', '8', '--no-cleanup', '--run-name', 'split'],
    );
    const isEqual = async (i: number) => {
      const back = `${image}.back`;
      await rm(back, { force: true });
      await run('rbd', 'export', '--no-progress', `image-${i}`, back);
      return (await readFile(back)).equals(await readFile(image));
    };
    let splitting = true;
    const images = (async () => {
      let i = 0;
      for (; splitting; i++) {
        await run('rbd', 'import', '--no-progress', image, `image-${i}`);
        expect(await isEqual(i)).toBe(true);
      }
      return i;
    })();
    for (const pgs of ['6', '8', '16', '31', '32']) {
      await sleep(700);
      await run('ceph', 'osd', 'pool', 'set', 'rbd', 'pg_num', pgs);
      await run('ceph', 'osd', 'pool', 'set', 'rbd', 'pgp_num', pgs);
    }
    expect(await bench).toMatch(/Total writes made: +\d+/);
    splitting = false;
    const count = await images;
    // Reads and compares what it wrote.
    const read = await run('rados', '-p', 'rbd', 'bench', '20', 'seq', '--run-name', 'split');
    expect(read).toMatch(/Total reads made: +\d+/);
    for (let i = 0; i < count; i++) {
      expect(await isEqual(i)).toBe(true);
    }
    const listed = (await run('rados', '-p', 'rbd', 'ls')).split('\n');
    expect(new Set(listed).size).toBe(listed.length);
    while ((await cluster.status()).pgs['active+clean'] !== 32) await sleep(50);
    expect(await run('ceph', 'osd', 'pool', 'get', 'rbd', 'pg_num')).toBe('pg_num: 32\n');
  });

  it('by kill -9 in the middle has everything that was acknowledged', async () => {
    const place = join(dir, 'cluster');
    const args = ['--dir', place, '--format', 'json', '--data', join(dir, 'data'), '--osds', '2'];
    const start = async () => {
      const { code, stdout, stderr } = await runLinger('/nonexistent', [
        'cluster',
        'start',
        ...args,
      ]);
      expect(code, stderr).toBe(0);
      return JSON.parse(stdout) as { pid: number; conf: string };
    };
    const names: string[] = [];
    const file = join(dir, 'object');
    for (const [round, pgs] of [34, 37, 48, 64].entries()) {
      const { pid, conf } = await start();
      const run = withConf(conf);
      for (let i = 0; i < 6; i++) {
        const name = `object-${round}-${i}`;
        await writeFile(file, `content of ${name} `.repeat(2000));
        await run('rados', '-p', 'rbd', 'put', name, file);
        names.push(name);
      }
      const set = run('ceph', 'osd', 'pool', 'set', 'rbd', 'pg_num', String(pgs)).catch(() => '');
      // The tool takes most of this to start.
      await sleep(230 + 60 * round);
      process.kill(pid, 'SIGKILL');
      await Promise.race([set, sleep(100)]);
    }
    const { conf } = await start();
    const run = withConf(conf);
    try {
      await run('ceph', 'osd', 'pool', 'set', 'rbd', 'pg_num', '64');
      expect((await run('rados', '-p', 'rbd', 'ls')).trim().split('\n').sort()).toEqual(
        expect.arrayContaining([...names].sort()),
      );
      for (const name of names) {
        await run('rados', '-p', 'rbd', 'get', name, file);
        expect(await readFile(file, 'utf8')).toBe(`content of ${name} `.repeat(2000));
      }
    } finally {
      await runLinger('/nonexistent', ['cluster', 'stop', '--dir', place]);
    }
  });
});
