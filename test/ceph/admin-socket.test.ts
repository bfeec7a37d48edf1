// The admin sockets of OSDs: `ceph daemon` has the same to say of ours as of real ones, in the same shape.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { EmbeddedCluster } from '../../src/cluster/embedded-cluster.js';
import { CephCluster, describeCeph } from './support/ceph-cluster.js';
import { runOrThrow, runProcess } from './support/processes.js';

interface Side {
  confPath: string;
  socket: string;
}

interface Op {
  description: string;
  type_data: { client_info: object; events: { event: string }[] };
}

let base: string;
let real: CephCluster;
let ours: EmbeddedCluster;
let sides: { theirs: Side; ours: Side };

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'linger-asok-'));
});
afterAll(() => rm(base, { recursive: true, force: true }));

const keys = (value: unknown) => Object.keys(value as object).sort();
/** Whatever differs from run to run: ids of clients, cookies, epochs, and object ids with their hashes. */
const anonymous = (description: string) =>
  description
    .replace(/client\.\d+\.0:\d+ [\da-f.]+ /, 'client ')
    .replace(/cookie \d+/g, 'cookie')
    // An OSD that has read writes into the operation how much.
    .replace(/(read 0~)\d+|(getxattr \w+ )\(\d+\) /, '$1$2')
    .replace(/ e\d+\)/, ')');

describeCeph('ceph daemon', () => {
  beforeAll(async () => {
    const pools = [{ name: 'p', pgNum: 8 }];
    real = await CephCluster.start({ osds: 1, pools, osdConf: 'osd op history size = 500' });
    ours = await EmbeddedCluster.start({ osds: 1, pools, dir: join(base, 'ours') });
    sides = {
      theirs: { confPath: real.confPath, socket: join(real.dir, 'run', 'osd.0.asok') },
      ours: { confPath: ours.confPath, socket: join(ours.dir, 'osd.0.asok') },
    };
  }, 120_000);
  afterAll(async () => {
    await real?.stop();
    await ours?.stop();
  });

  const tool = async (side: Side, command: string, ...args: string[]) =>
    (await runOrThrow(command, args, { env: { ...process.env, CEPH_CONF: side.confPath } })).stdout;
  const ask = async <T>(side: Side, ...words: string[]): Promise<T> =>
    JSON.parse(await tool(side, 'ceph', 'daemon', side.socket, ...words)) as T;
  const both = async <T>(...words: string[]) => ({
    theirs: await ask<T>(sides.theirs, ...words),
    ours: await ask<T>(sides.ours, ...words),
  });

  it('finds the sockets by the OSD’s name through ceph.conf', async () => {
    const status = await tool(sides.ours, 'ceph', 'daemon', 'osd.0', 'status');
    expect(JSON.parse(status)).toMatchObject({ whoami: 0, state: 'active' });
  });

  it('tells the same of an OSD at rest', async () => {
    const status = await both('status');
    expect(keys(status.ours)).toEqual(keys(status.theirs));
    expect(status.ours).toMatchObject({ whoami: 0, state: 'active', num_pgs: 8 });
    const version = await both<{ version: string }>('version');
    expect(version.ours).toEqual({ ...version.theirs, version: '16.2.15' });
    const option = await both('config', 'get', 'osd_max_write_size');
    expect(option.ours).toEqual(option.theirs);
    const pools = await both('get_mapped_pools');
    expect(pools.ours).toEqual(pools.theirs);
    for (const command of ['dump_blocked_ops', 'dump_historic_slow_ops', 'dump_watchers']) {
      const { theirs, ours: own } = await both(command);
      expect(own, command).toEqual(theirs);
    }
    const inFlight = await both<object>('dump_ops_in_flight');
    expect(inFlight.ours).toMatchObject(inFlight.theirs);
    const help = await both<object>('help');
    const beyond = keys(help.ours).filter((name) => !keys(help.theirs).includes(name));
    expect(beyond.sort()).toEqual(['dump_backoffs', 'dump_pipelines']);
  });

  it('tells of requests in the same words', async () => {
    const seen = { theirs: [] as Op[], ours: [] as Op[] };
    for (const side of ['theirs', 'ours'] as const) {
      const file = join(base, 'file');
      await writeFile(file, 'some bytes');
      const rados = (...args: string[]) => tool(sides[side], 'rados', '-p', 'p', ...args);
      await rados('put', 'object', file);
      await rados('--namespace', 'ns', '--object-locator', 'key', 'put', 'other', file);
      await rados('setxattr', 'object', 'name', 'value');
      await rados('getxattr', 'object', 'name');
      await rados('setomapval', 'object', 'k', 'v');
      await rados('listomapvals', 'object');
      await rados('truncate', 'object', '4');
      await rados('stat', 'object');
      await rados('get', 'object', file);
      await rados('lock', 'get', 'object', 'a lock');
      await rados('rm', 'object');
      const { ops } = await ask<{ ops: Op[] }>(sides[side], 'dump_historic_ops');
      seen[side] = ops.filter(({ description }) => !description.includes('rbd_info'));
      expect(await readFile(file, 'utf8')).toBe('some');
    }
    const newest = (ops: Op[]) => ops.map(({ description }) => anonymous(description)).sort();
    const own = newest(seen.ours);
    expect(own.length).toBeGreaterThanOrEqual(11);
    expect(own).toEqual(newest(seen.theirs));
    const [theirs] = seen.theirs;
    const [mine] = seen.ours;
    expect(keys(mine)).toEqual(expect.arrayContaining(keys(theirs)));
    expect(keys(mine?.type_data)).toEqual(keys(theirs?.type_data));
    expect(keys(mine?.type_data.client_info)).toEqual(keys(theirs?.type_data.client_info));
    expect(keys(mine?.type_data.events[0])).toEqual(keys(theirs?.type_data.events[0]));
  });

  it('tells of fenced clients and networks, and of watches, in the same shape', async () => {
    const shapes = [];
    for (const side of [sides.theirs, sides.ours]) {
      await tool(side, 'ceph', 'osd', 'blocklist', 'add', '1.2.3.4:0/567', '1000');
      let text = '';
      while (!text.includes('567')) {
        text = await tool(side, 'ceph', 'daemon', side.socket, 'dump_blocklist');
      }
      shapes.push(text.replace(/"expire_time": "[^"]*"/g, '"expire_time": "..."'));
    }
    expect(shapes[1]).toBe(shapes[0]);
  });

  it('refuses what there is not', async () => {
    for (const side of [sides.theirs, sides.ours]) {
      const result = await runProcess('ceph', ['daemon', side.socket, 'dump_everything'], {});
      expect(result.code).toBe(22);
      expect(result.stderr).toContain('admin_socket: invalid command');
    }
  });
});
