// Ceph's own tools against the embedded cluster: clients that nobody here wrote.

import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EmbeddedCluster } from '../../src/cluster/embedded-cluster.js';
import { describeCeph } from './support/ceph-cluster.js';
import { despiteCrashes, type RunResult, runOrThrow, runProcess } from './support/processes.js';

/** Tools with the cluster's configuration. */
class Tools {
  constructor(readonly cluster: EmbeddedCluster) {}

  async run(command: string, ...args: string[]): Promise<string> {
    return (await runOrThrow(command, args, this.#options())).stdout;
  }

  try(command: string, ...args: string[]): Promise<RunResult> {
    return runProcess(command, args, this.#options());
  }

  ceph = (...args: string[]) => this.run('ceph', ...args);
  rados = (...args: string[]) => this.run('rados', '-p', 'rbd', ...args);
  rbd = (...args: string[]) => this.run('rbd', ...args);

  #options() {
    const env = { ...process.env, CEPH_CONF: this.cluster.confPath, CEPH_ARGS: undefined };
    return { env };
  }
}

let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'linger-tools-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

describeCeph('the real tools on the embedded cluster', () => {
  describe.each(['cephx', 'none'] as const)('with auth %s', (auth) => {
    let tools: Tools;

    beforeAll(async () => {
      tools = new Tools(await EmbeddedCluster.start({ auth, pools: ['rbd'] }));
    });
    afterAll(() => tools?.cluster.stop());

    it('ceph shows its state, its maps and its tree', async () => {
      const { fsid } = tools.cluster;
      expect(await tools.ceph('-s')).toContain('mon: 1 daemons, quorum a');
      expect(await tools.ceph('health')).toBe('HEALTH_OK\n');
      expect(await tools.ceph('fsid')).toBe(`${fsid}\n`);
      expect(await tools.ceph('osd', 'dump')).toContain("pool 1 'rbd' replicated size 2");
      const tree = await tools.ceph('osd', 'tree');
      expect(tree.match(/osd\.\d+ +up +1\.00000/g)).toHaveLength(3);
      const status = JSON.parse(await tools.ceph('status', '-f', 'json')) as { fsid: string };
      expect(status.fsid).toBe(fsid);
    });

    it('osdmaptool and monmaptool read its maps', async () => {
      const osdMap = join(dir, `osdmap-${auth}`);
      await tools.ceph('osd', 'getmap', '-o', osdMap);
      expect(await tools.run('osdmaptool', osdMap, '--print')).toContain(tools.cluster.fsid);
      const monMap = join(dir, `monmap-${auth}`);
      await tools.ceph('mon', 'getmap', '-o', monMap);
      expect(await tools.run('monmaptool', '--print', monMap)).toContain('mon.a');
      const crush = join(dir, `crush-${auth}`);
      await tools.ceph('osd', 'getcrushmap', '-o', crush);
      expect(await tools.run('crushtool', '-d', crush)).toContain('step choose firstn 0 type osd');
      await tools.ceph('osd', 'setcrushmap', '-i', crush);
    });

    it('places objects where osdmaptool says', async () => {
      const osdMap = join(dir, `placement-${auth}`);
      await tools.ceph('osd', 'getmap', '-o', osdMap);
      for (const object of ['foo', 'bar', 'rbd_header.1']) {
        const [, pg, osds] =
          /\((\S+)\) -> up \((\[[\d,]+\]), p\d+\)/.exec(
            await tools.ceph('osd', 'map', 'rbd', object),
          ) ?? [];
        const line = await tools.run('osdmaptool', osdMap, '--test-map-pg', pg as string);
        expect(line).toContain(`up (${osds}`);
      }
    });

    it('ceph makes pools and takes them away', async () => {
      await tools.ceph('osd', 'pool', 'create', 'made', '8');
      await tools.ceph('osd', 'pool', 'application', 'enable', 'made', 'rbd');
      expect(await tools.ceph('osd', 'pool', 'ls')).toBe('rbd\nmade\n');
      expect(await tools.run('rados', 'lspools')).toBe('rbd\nmade\n');
      const { code, stderr } = await tools.try('ceph', 'osd', 'pool', 'rm', 'made');
      expect([code, stderr]).toEqual([1, expect.stringContaining('PERMANENTLY DESTROY')]);
      await tools.ceph('osd', 'pool', 'rm', 'made', 'made', '--yes-i-really-really-mean-it');
      expect(await tools.ceph('osd', 'pool', 'ls')).toBe('rbd\n');
    });

    it('ceph knows the commands that there are, and only those', async () => {
      const { code, stderr } = await tools.try('ceph', 'osd', 'fly');
      expect([code, stderr]).toEqual([22, expect.stringContaining('no valid command found')]);
    });

    it('rados puts, gets, lists, stats and removes', async () => {
      const written = join(dir, `written-${auth}`);
      await writeFile(written, randomBytes(5_000_000));
      await tools.rados('put', 'object', written);
      expect(await tools.rados('ls')).toBe('object\n');
      expect(await tools.rados('stat', 'object')).toMatch(/rbd\/object mtime .*, size 5000000\n/);
      const read = join(dir, `read-${auth}`);
      await tools.rados('get', 'object', read);
      expect((await readFile(read)).equals(await readFile(written))).toBe(true);
      expect(await tools.run('rados', 'df')).toContain('total_objects');
      await tools.rados('rm', 'object');
      expect(await tools.rados('ls')).toBe('');
      const { code, stderr } = await tools.try('rados', '-p', 'rbd', 'rm', 'object');
      expect([code, stderr]).toEqual([1, expect.stringContaining('No such file or directory')]);
    });

    it('rbd creates, lists, shows, imports, exports, benches and removes images', async () => {
      await tools.rbd('create', 'image', '--size', '64M');
      expect(await tools.rbd('ls')).toBe('image\n');
      const info = await tools.rbd('info', 'image');
      expect(info).toContain('size 64 MiB in 16 objects');
      expect(info).toContain('features: layering, exclusive-lock, object-map, fast-diff');
      await tools.rbd(
        'bench',
        '--io-type',
        'write',
        '--io-threads',
        '1',
        '--io-total',
        '8M',
        'image',
      );
      const used = await despiteCrashes(() => tools.try('rbd', 'du', 'image'));
      expect(used.stdout).toContain('8 MiB');
      const written = join(dir, `image-${auth}`);
      const read = join(dir, `export-${auth}`);
      await writeFile(written, randomBytes(9_000_000));
      await tools.rbd('import', written, 'imported', '--no-progress');
      await tools.rbd('export', 'imported', read, '--no-progress');
      expect((await readFile(read)).equals(await readFile(written))).toBe(true);
      await tools.rbd('rm', 'image', '--no-progress');
      await tools.rbd('rm', 'imported', '--no-progress');
      expect(await tools.rbd('ls')).toBe('');
    });

    it('rbd makes, reads and removes snapshots', async () => {
      const first = join(dir, `snap-first-${auth}`);
      const read = join(dir, `snap-read-${auth}`);
      const isFirst = async () => (await readFile(read)).equals(await readFile(first));
      await writeFile(first, randomBytes(1_000_000));
      await tools.rbd('import', first, 'image', '--no-progress');
      await tools.rbd('snap', 'create', 'image@one', '--no-progress');
      await tools.rbd('bench', '--io-type', 'write', '--io-total', '500K', 'image');
      await tools.rbd('export', 'image', read, '--no-progress');
      expect(await isFirst()).toBe(false);
      await rm(read);
      await tools.rbd('export', 'image@one', read, '--no-progress');
      expect(await isFirst()).toBe(true);
      await tools.rbd('snap', 'rollback', 'image@one', '--no-progress');
      await rm(read);
      await tools.rbd('export', 'image', read, '--no-progress');
      expect(await isFirst()).toBe(true);
      await tools.rbd('snap', 'rm', 'image@one', '--no-progress');
      await tools.rbd('rm', 'image', '--no-progress');
    });
  });

  it('works in secure and in crc mode', async () => {
    await using cluster = await EmbeddedCluster.start({ pools: ['rbd'] });
    const tools = new Tools(cluster);
    for (const mode of ['secure', 'crc']) {
      const modes = ['--ms-client-mode', mode, '--ms-mon-client-mode', mode];
      await tools.run('rados', ...modes, '-p', 'rbd', 'put', mode, cluster.confPath);
      expect(await tools.run('rados', ...modes, '-p', 'rbd', 'get', mode, '-')).toBe(
        await readFile(cluster.confPath, 'utf8'),
      );
    }
  });

  it('lets users do what their caps say', async () => {
    await using cluster = await EmbeddedCluster.start({ pools: ['rbd', 'other'] });
    const tools = new Tools(cluster);
    const keyring = join(dir, 'reader.keyring');
    await tools.ceph(
      ...['auth', 'get-or-create', 'client.reader', 'mon', 'profile rbd'],
      ...['osd', 'profile rbd-read-only pool=rbd', '-o', keyring],
    );
    const as = ['--id', 'reader', '--keyring', keyring];
    await tools.rbd('create', 'image', '--size', '16M');
    expect(await tools.rbd(...as, 'ls')).toBe('image\n');
    expect((await tools.try('rbd', ...as, 'rm', 'image')).code).not.toBe(0);
    expect((await tools.try('ceph', ...as, 'osd', 'pool', 'create', 'x')).code).toBe(13);
    expect(await tools.ceph(...as, 'osd', 'pool', 'ls')).toBe('rbd\nother\n');
    await tools.ceph('auth', 'rm', 'client.reader');
    expect((await tools.try('rbd', ...as, 'ls')).code).not.toBe(0);
  });

  it('goes on through the kill of an OSD under load, and loses nothing', async () => {
    await using cluster = await EmbeddedCluster.start({ pools: ['rbd'] });
    const tools = new Tools(cluster);
    const bench = tools.rados('bench', '4', 'write', '-b', '65536', '-t', '8', '--no-cleanup');
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await cluster.killOsd(1);
    expect(await tools.ceph('health')).toContain('1 osds down');
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await cluster.startOsd(1);
    const output = await bench;
    const written = Number(/Total writes made: +(\d+)/.exec(output)?.[1]);
    expect(written).toBeGreaterThan(10);
    await tools.rados('bench', '10', 'seq', '-t', '8');
    const objects = (await tools.rados('ls'))
      .split('\n')
      .filter((name) => /^benchmark_data/.test(name));
    expect(objects.length).toBeGreaterThanOrEqual(written);
    expect(await tools.ceph('health')).toBe('HEALTH_OK\n');
  });
});
