// The admin sockets of a cluster, byte by byte, and the faults of one that runs in another process.

import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { nodeEnvironment } from '../../src/base/node-environment.js';
import { askAdminSocket } from '../../src/cluster/admin/admin-socket.js';
import { EmbeddedCluster } from '../../src/cluster/embedded-cluster.js';

let base: string;
let cluster: EmbeddedCluster;

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'linger-asok-'));
});
afterAll(() => rm(base, { recursive: true, force: true }));
beforeEach(async () => {
  const dir = join(base, 'cluster');
  cluster = await EmbeddedCluster.start({ osds: 2, pools: ['rbd'], dir, inThread: true });
});
afterEach(() => cluster.stop());

const path = (name: string) => join(cluster.dir, `${name}.asok`);

/** All that comes back for these pieces, until the other side ends. */
async function raw(name: string, pieces: readonly string[]): Promise<Buffer> {
  const socket = createConnection(path(name));
  for (const piece of pieces) {
    socket.write(piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

const ask = async (name: string, prefix: string, args: object = {}): Promise<unknown> =>
  JSON.parse(await askAdminSocket(nodeEnvironment().network, path(name), { prefix, ...args }));

describe('an admin socket', () => {
  it('answers a length and so many bytes, whatever ends the request and however it comes', async () => {
    const expected = '{"version":"16.2.15","release":"pacific","release_type":"stable"}';
    const request = '{"prefix": "version", "format": "json"}';
    for (const pieces of [[`${request}\0`], [`${request}\n`], [...`${request}\0`]]) {
      const reply = await raw('osd.0', pieces);
      expect(reply.readUInt32BE(0)).toBe(expected.length);
      expect(reply.toString('utf8', 4)).toBe(expected);
    }
  });

  it('says what is wrong with a request', async () => {
    const text = async (request: string) =>
      (await raw('osd.0', [`${request}\0`])).toString('utf8', 4);
    const notJson = 'ERROR: (22) Invalid argument\ninvalid json\n';
    for (const request of ['version', '{', '[]', '0', 'null', '{"prefix": 1}']) {
      expect(await text(request)).toBe(notJson);
    }
    expect(await text('{"prefix": "nosuch"}')).toBe(
      'ERROR: (22) Invalid argument\nunknown command prefix nosuch\n',
    );
    expect(await text('{"prefix": "config get"}')).toContain("'config get' needs var");
  });

  it('hangs up on a request that does not end', async () => {
    expect(await raw('osd.0', ['x'.repeat(70_000)]).catch(() => '')).toHaveLength(0);
    expect(await ask('osd.0', 'version')).toMatchObject({ version: '16.2.15' });
  });

  it('is its owner’s alone, and gone with the cluster', async () => {
    expect((await stat(path('osd.0'))).mode & 0o777).toBe(0o600);
    await cluster.stop();
    expect((await readdir(cluster.dir)).filter((name) => name.endsWith('.asok'))).toEqual([]);
    await expect(ask('osd.0', 'version')).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('says so when its OSD is not running', async () => {
    await cluster.killOsd(1);
    await expect(ask('osd.1', 'version')).rejects.toMatchObject({
      code: 'ENOENT',
      message: 'osd.1 is not running',
    });
  });
});

describe('faults through the cluster’s socket', () => {
  it('are put in place, shown, counted and undone', async () => {
    const { id } = (await ask('cluster', 'fault arm', {
      kind: 'killOsd',
      options: '{"osd": 1}',
    })) as { id: number };
    expect(await ask('cluster', 'fault ls')).toEqual([
      { id, kind: 'killOsd', fired: 1, over: false },
    ]);
    expect((await cluster.status()).osds[1]?.running).toBe(false);
    expect(await ask('cluster', 'fault stop', { id })).toEqual({ id, fired: 1 });
    expect((await cluster.status()).osds[1]?.running).toBe(true);
    expect(await ask('cluster', 'fault counters')).toMatchObject({ killOsd: 1, stopOsd: 0 });
    await cluster.faults.full();
    expect(await ask('cluster', 'fault clear')).toEqual({ stopped: 1 });
    expect(await ask('cluster', 'fault ls')).toEqual([]);
    expect(await ask('cluster', 'fault watches')).toEqual([]);
  });

  it('are refused with what is wrong', async () => {
    const arm = (args: object) => ask('cluster', 'fault arm', args);
    await expect(arm({ kind: 'nosuch' })).rejects.toMatchObject({ code: 'EINVAL' });
    await expect(arm({ kind: 'killOsd', options: '{' })).rejects.toMatchObject({ code: 'EINVAL' });
    await expect(arm({ kind: 'killOsd', options: { osd: 7 } })).rejects.toThrow(
      'there is no osd.7',
    );
    await expect(ask('cluster', 'fault stop', { id: 99 })).rejects.toMatchObject({
      code: 'ENOENT',
    });
  });
});
