// A member's disk does not take a change: what was acknowledged stays, and clients hear of nothing.

import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { nodeEnvironment } from '../../../src/base/node-environment.js';
import { EmbeddedCluster } from '../../../src/cluster/embedded-cluster.js';
import { OSD_CHANNEL, type OsdDaemon } from '../../../src/cluster/osd-daemon.js';
import type { ClientSession } from '../../../src/cluster/osd/client-request.js';
import type { PgHost } from '../../../src/cluster/osd/pg-host.js';
import { PgWatches } from '../../../src/cluster/osd/pg-watches.js';
import { BLANK_ADDR, ENTITY_TYPE } from '../../../src/encoding/entity.js';
import { NOSNAP } from '../../../src/encoding/types.js';
import { loadKernels } from '../../../src/kernels/load.js';
import { deleteOp, writeFullOp, writeOp } from '../../../src/messages/osd-op.js';
import type { WatchHandler } from '../../../src/osd-client/watch-types.js';
import { connectRados } from '../../../src/rados/connect.js';
import type { IoContext } from '../../../src/rados/io-context.js';
import type { RadosClient } from '../../../src/rados/rados-client.js';
import './support/pipeline-rules.js';

const BLOCK = 4096;
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const osds = new Map<number, OsdDaemon>();
const onOsd = (osd: unknown) => osds.set((osd as OsdDaemon).whoami, osd as OsdDaemon);
beforeAll(() => subscribe(OSD_CHANNEL, onOsd));
afterAll(() => unsubscribe(OSD_CHANNEL, onOsd));

interface Scene {
  cluster: EmbeddedCluster;
  client: RadosClient;
  io: IoContext;
}

async function start(dataDir: string, size: number): Promise<Scene> {
  const cluster = await EmbeddedCluster.start({
    ...{ inThread: true, osds: size, size, dataDir },
    pools: [{ name: 'rbd', pgNum: 1 }],
  });
  const { client } = await connectRados(nodeEnvironment(), loadKernels(), cluster.connectOptions);
  cleanups.push(async () => {
    client.close();
    await cluster.stop();
  });
  await untilClean(cluster);
  return { cluster, client, io: await client.ioctx('rbd') };
}

async function untilClean(cluster: EmbeddedCluster): Promise<void> {
  while (Object.keys((await cluster.status()).pgs).join() !== 'active+clean') await sleep(5);
}

async function acting(client: RadosClient): Promise<number[]> {
  const { output } = await client.command({ prefix: 'pg map', pgid: '1.0', format: 'json' });
  return (JSON.parse(Buffer.from(output).toString()) as { acting: number[] }).acting;
}

/** Two blocks that each begin with a text of their own. */
const content = (name: string) =>
  Buffer.concat([0, 1].map((block) => Buffer.alloc(BLOCK, `block ${block} of ${name}, `)));

/** A cluster of whose disks some have lost the first block of an object: `[place in the acting set, object]`. */
async function withDamage(
  size: number,
  damaged: readonly (readonly [place: number, name: string])[],
): Promise<Scene> {
  const dataDir = await mkdtemp(join(tmpdir(), 'linger-refused-'));
  cleanups.push(() => rm(dataDir, { recursive: true }));
  const { client, io } = await start(dataDir, size);
  for (const [, name] of damaged) await io.operate(name, [writeFullOp(content(name))]);
  await io.operate('header', [writeFullOp(Buffer.from('header'))]);
  const order = await acting(client);
  await cleanups.pop()?.();
  for (const [place, name] of damaged) {
    const path = join(dataDir, `osd.${order[place]}`, 'data');
    const data = await readFile(path);
    const at = data.indexOf(`block 0 of ${name}, `);
    expect(at).toBeGreaterThanOrEqual(0);
    data[at] = 0;
    await writeFile(path, data);
  }
  return start(dataDir, size);
}

/** What a watch's handler is told; `ack` settles before it acknowledges. */
function watcher(ack: () => Promise<unknown>): { seen: string[]; handler: WatchHandler } {
  const seen: string[] = [];
  const handler: WatchHandler = {
    onStale: (cause) => seen.push(`stale ${cause}`),
    onNotify: async ({ payload }) => {
      seen.push(Buffer.from(payload).toString());
      await ack();
      return undefined;
    },
    onLost: ({ code }) => seen.push(`lost ${code}`),
    onReregistered: async () => {},
    onFailed: ({ code }) => seen.push(`failed ${code}`),
  };
  return { seen, handler };
}

describe('after a member refused a change', () => {
  it('no copy of its replaces what others have written since', async () => {
    const { cluster, client, io } = await withDamage(3, [
      [1, 'y'],
      [0, 'x'],
    ]);
    const text = (offset: number) =>
      io.read('x', offset, 3).then((found) => Buffer.from(found).toString());
    await Promise.all([
      // osd.1 cannot keep the rest of the block, and takes nothing from here on.
      io.operate('y', [writeOp(1, Buffer.from('W0.'))]),
      io.operate('x', [writeOp(BLOCK, Buffer.from('W1.'))]),
      // The primary's own is damaged: it has another's first.
      io.operate('x', [writeOp(1, Buffer.from('W2.'))]),
    ]);
    await untilClean(cluster);
    const [primary = 0] = await acting(client);
    expect([await text(BLOCK), await text(1)]).toEqual(['W1.', 'W2.']);
    // By the one that refused.
    await cluster.killOsd(primary);
    expect([await text(BLOCK), await text(1)]).toEqual(['W1.', 'W2.']);
  });

  it('nothing is served until all have the same again', async () => {
    const { cluster, client, io } = await withDamage(2, [[1, 'y']]);
    const [primary] = await acting(client);
    const isServed = () => osds.get(primary ?? -1)?.servedPgs().length === 1;
    expect(isServed()).toBe(true);
    const seen: boolean[] = [];
    let acknowledged = false;
    const writing = io.operate('y', [writeOp(1, Buffer.from('W0.'))]).then(() => {
      acknowledged = true;
    });
    while (!acknowledged) {
      seen.push(isServed());
      await sleep(10);
    }
    await writing;
    await untilClean(cluster);
    // But for the time that the write took to get there.
    const firstAway = seen.indexOf(false);
    expect(firstAway).toBeGreaterThanOrEqual(0);
    expect(firstAway).toBeLessThan(seen.length / 2);
  });

  it('watches and notifies go on: nobody would register or send them again on the same map', async () => {
    const { cluster, io } = await withDamage(2, [[1, 'y']]);
    const { seen, handler } = watcher(() => sleep(500));
    const watch = await io.watch('header', handler);
    const { epoch } = await cluster.status();
    const notifying = io.notify('header', Buffer.from('hello'), { timeoutSeconds: 10 });
    while (seen.length === 0) await sleep(5);
    await io.operate('y', [writeOp(1, Buffer.from('W0.'))]);
    const { replies, missed } = await notifying;
    expect([replies.length, missed.length]).toEqual([1, 0]);
    await watch.verify();
    expect(seen).toEqual(['hello']);
    expect((await cluster.status()).epoch).toBe(epoch);
  });

  it('a watch whose registration it did not take either is connected', async () => {
    const { io } = await withDamage(2, [[1, 'y']]);
    const { seen, handler } = watcher(() => Promise.resolve());
    const [, watch] = await Promise.all([
      io.operate('y', [writeOp(1, Buffer.from('W0.'))]),
      io.watch('header', handler),
    ]);
    await watch.verify();
    await io.notify('header', Buffer.from('hello'));
    expect(seen).toEqual(['hello']);
  });

  it('who watches an object whose deletion it did not take is told', async () => {
    const { io } = await withDamage(2, [[1, 'y']]);
    const { seen, handler } = watcher(() => Promise.resolve());
    await io.watch('header', handler);
    await Promise.all([
      io.operate('y', [writeOp(1, Buffer.from('W0.'))]),
      io.operate('header', [deleteOp()]),
    ]);
    // Before its next ping.
    await expect.poll(() => seen, { timeout: 2000 }).toContain('lost ENOTCONN');
  });
});

describe('the watches of a PG that peers again', () => {
  const id = { pool: 1, nspace: '', oid: 'header', key: '', hash: 7, snap: NOSNAP };
  const entity = { type: ENTITY_TYPE.CLIENT, num: 4n };
  const record = { cookie: 1n, entity, timeoutS: 30, addr: BLANK_ADDR };

  function loaded() {
    const host = { env: nodeEnvironment(), faults: undefined, pipeline: {} };
    const watches = new PgWatches(host as unknown as PgHost, () => {});
    const sent: unknown[] = [];
    const session = { closed: false, send: (message: unknown) => sent.push(message) };
    watches.load(id, [record]);
    const watch = watches.of(id)?.get(record);
    watch?.connect(session as unknown as ClientSession, true);
    return { watches, watch, sent };
  }

  it('stay as they are where the object has them', () => {
    const { watches, watch, sent } = loaded();
    watches.load(id, [record]);
    expect(watches.of(id)?.get(record)).toBe(watch);
    expect([watch?.connected, sent.length]).toEqual([true, 0]);
    watches.discard();
  });

  it('end, and say so, where it has them no more', () => {
    const { watches, watch, sent } = loaded();
    watches.load(id, []);
    expect([watches.heads(), watch?.connected, sent.length]).toEqual([[], false, 1]);
  });
});
