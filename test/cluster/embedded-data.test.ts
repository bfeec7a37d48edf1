// Goal: a cluster with `dataDir` is the same one after each start. How it survives being killed is tested with the store
// (`store/durable/crash.test.ts`), on the cluster as a whole (`../../bench/soak`), and with Ceph's tools (`../ceph`).

import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { nodeEnvironment } from '../../src/base/node-environment.js';
import {
  EmbeddedCluster,
  type EmbeddedClusterOptions,
} from '../../src/cluster/embedded-cluster.js';
import { loadKernels } from '../../src/kernels/load.js';
import { writeFullOp, writeOp } from '../../src/messages/osd-op.js';
import { connectRados } from '../../src/rados/connect.js';
import type { RadosClient } from '../../src/rados/rados-client.js';
import { claimPorts } from '../support/ports.js';

const env = nodeEnvironment();
const kernels = loadKernels();
let dataDir: string;

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'linger-data-'));
});
afterEach(() => rm(dataDir, { recursive: true, force: true }));

const start = (options: EmbeddedClusterOptions = {}) =>
  EmbeddedCluster.start({ dataDir, inThread: true, ...options });

async function connect(cluster: EmbeddedCluster): Promise<RadosClient> {
  return (await connectRados(env, kernels, cluster.connectOptions)).client;
}

const textOf = (bytes: Uint8Array) => Buffer.from(bytes).toString();

describe('a cluster that keeps its data', () => {
  it.each([
    ['in a thread of its own', false],
    ['in the caller’s thread', true],
  ])('is the same one after a restart, also for a client that stays (%s)', async (_, inThread) => {
    const pools = ['rbd'];
    // Its own again afterwards: one of the kernel's choice may be another's by then.
    await using claimed = await claimPorts(1);
    const first = await start({ inThread, pools, port: claimed.ports[0] as number });
    const keyring = await readFile(first.keyringPath, 'utf8');
    const client = await connect(first);
    try {
      const io = await client.ioctx('rbd');
      await io.operate('object', [writeOp(0, Buffer.from('kept'))]);
      await first.stop();
      await using second = await start({ inThread, pools });
      expect([second.fsid, second.monHost]).toEqual([first.fsid, first.monHost]);
      expect(await readFile(second.keyringPath, 'utf8')).toBe(keyring);
      expect(textOf(await io.read('object', 0, 100))).toBe('kept');
      const { health, pools: found } = await second.status();
      expect([health, found.map(({ name }) => name)]).toEqual(['HEALTH_OK', pools]);
    } finally {
      client.close();
    }
  });

  it('is made of what it was made of, and refuses to be anything else', async () => {
    const first = await start({ osds: 2, size: 1, auth: 'none' });
    await first.stop();
    await expect(start({ osds: 3 })).rejects.toThrow('the cluster that is there has 2 OSDs, not 3');
    await expect(start({ fsid: '11111111-2222-4333-8444-555555555555' })).rejects.toThrow(
      first.fsid,
    );
    await using second = await start();
    expect([second.osds, second.size, second.auth]).toEqual([2, 1, 'none']);
  });

  it('belongs to one at a time', async () => {
    await using first = await start({ osds: 1 });
    await expect(start()).rejects.toMatchObject({ code: 'EBUSY' });
    await first.stop();
    await using second = await start();
    expect(second.fsid).toBe(first.fsid);
  });

  it('gets an OSD back from the others, whose disk was lost', async () => {
    const first = await start({ pools: [{ name: 'rbd', pgNum: 8, size: 2 }] });
    const writing = await connect(first);
    const io = await writing.ioctx('rbd');
    const names = Array.from({ length: 12 }, (_, i) => `object ${i}`);
    await Promise.all(names.map((name) => io.operate(name, [writeOp(0, Buffer.from(name))])));
    writing.close();
    await first.stop();
    await rm(join(dataDir, 'osd.1'), { recursive: true });
    await using second = await start();
    const client = await connect(second);
    try {
      const found = await client.ioctx('rbd');
      for (const name of names) expect(textOf(await found.read(name, 0, 100))).toBe(name);
    } finally {
      client.close();
    }
  });

  it('does not start on a damaged disk, says whose it is, and leaves the directory free', async () => {
    await (await start({ osds: 2, pools: ['rbd'] })).stop();
    const path = join(dataDir, 'osd.1', 'checkpoint');
    const intact = await readFile(path);
    const damaged = Buffer.from(intact);
    damaged[damaged.length >> 1] = ~(damaged[damaged.length >> 1] as number) & 255;
    await writeFile(path, damaged);
    for (let i = 0; i < 2; i++) {
      const failure: unknown = await start().catch((error: unknown) => error);
      expect(failure).toMatchObject({ code: 'EIO' });
      expect((failure as Error).message).toContain('osd.1');
    }
    await writeFile(path, intact);
    await (await start()).stop();
  });

  it('fails reads of what its disk has lost, of that object alone, until it is written anew', async () => {
    const options = { osds: 1, pools: [{ name: 'rbd', pgNum: 1 }] };
    const contents = { lost: Buffer.alloc(200_000, 'lost'), kept: Buffer.alloc(200_000, 'kept') };
    const first = await start(options);
    const writing = await connect(first);
    const target = await writing.ioctx('rbd');
    for (const [name, content] of Object.entries(contents)) {
      await target.operate(name, [writeFullOp(content)]);
    }
    writing.close();
    await first.stop();
    const path = join(dataDir, 'osd.0', 'data');
    const bytes = await readFile(path);
    bytes[bytes.indexOf(contents.lost.subarray(0, 4096)) + 100] = 0;
    await writeFile(path, bytes);

    await using second = await start();
    const client = await connect(second);
    try {
      const io = await client.ioctx('rbd');
      const failure: unknown = await io.read('lost', 0, 200_000).catch((error: unknown) => error);
      expect(failure).toMatchObject({ code: 'EIO' });
      const has = async (name: string, offset: number, content: Uint8Array) =>
        Buffer.from(await io.read(name, offset, 0)).equals(content);
      expect(await has('lost', 4096, contents.lost.subarray(4096))).toBe(true);
      expect(await has('kept', 0, contents.kept)).toBe(true);
      await io.operate('lost', [writeFullOp(contents.lost)]);
      expect(await has('lost', 0, contents.lost)).toBe(true);
    } finally {
      client.close();
    }
  });

  it.each([
    [
      'a description of a newer linger',
      (text: string) => text.replace('"version": 1', '"version": 2'),
      'written by a newer linger; this one reads up to 1',
    ],
    ['a description of something else', () => '{"format": "other"}', 'does not describe a cluster'],
    [
      'a description with a part missing',
      (text: string) => text.replace('"fsid"', '"id"'),
      'does not describe a cluster',
    ],
    ['a description that is cut', (text: string) => text.slice(0, 40), 'is not JSON'],
  ])('does not touch data with %s', async (_, change, message) => {
    await (await start({ osds: 1 })).stop();
    const path = join(dataDir, 'cluster-data.json');
    await writeFile(path, change(await readFile(path, 'utf8')));
    const failure: unknown = await start().catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'EINVAL' });
    expect((failure as Error).message).toContain(message);
  });

  it('does not begin a new one among the data of an old one', async () => {
    await (await start({ osds: 1 })).stop();
    await rm(join(dataDir, 'cluster-data.json'));
    const before = await readdir(join(dataDir, 'osd.0'));
    await expect(start()).rejects.toMatchObject({ code: 'EINVAL' });
    expect(await readdir(join(dataDir, 'osd.0'))).toEqual(before);
  });
});
