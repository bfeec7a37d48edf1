// A pool gets more PGs while clients work: nothing is lost, nothing happens twice, whoever dies meanwhile.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { nodeEnvironment } from '../../../src/base/node-environment.js';
import { EmbeddedCluster } from '../../../src/cluster/embedded-cluster.js';
import { childrenOf, splitPg } from '../../../src/cluster/osd/pg-split.js';
import type { ClusterSettingsInput } from '../../../src/cluster/settings.js';
import { MemoryStore } from '../../../src/cluster/store/memory-store.js';
import type { ObjectId } from '../../../src/cluster/store/object-id.js';
import { NEW_PG_INFO } from '../../../src/cluster/store/pg-record.js';
import type { Transaction } from '../../../src/cluster/store/transaction.js';
import { NOSNAP } from '../../../src/encoding/types.js';
import { loadKernels } from '../../../src/kernels/load.js';
import { appendOp, writeFullOp } from '../../../src/messages/osd-op.js';
import { stableMod } from '../../../src/osdmap/object-hash.js';
import { connectRados } from '../../../src/rados/connect.js';
import { type ListingPlace, type ObjectPage, placeAt } from '../../../src/rados/object-listing.js';
import type { IoContext } from '../../../src/rados/io-context.js';
import type { RadosClient } from '../../../src/rados/rados-client.js';
import './support/pipeline-rules.js';

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const NOTHING = {
  onStale: () => {},
  onLost: () => {},
  onReregistered: async () => {},
  onFailed: () => {},
};
const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(settings: ClusterSettingsInput = {}) {
  const cluster = await EmbeddedCluster.start({
    inThread: true,
    pools: [{ name: 'rbd', pgNum: 3 }],
    ...settings,
  });
  const { client } = await connectRados(nodeEnvironment(), loadKernels(), cluster.connectOptions);
  cleanups.push(async () => {
    client.close();
    await cluster.stop();
  });
  return { cluster, client, io: await client.ioctx('rbd') };
}

const setPool = (client: RadosClient, name: 'pg_num' | 'pgp_num', val: number) =>
  client.command({ prefix: 'osd pool set', pool: 'rbd', var: name, val: String(val) });

async function untilClean(cluster: EmbeddedCluster, pgs: number) {
  for (;;) {
    const states = (await cluster.status()).pgs;
    if (states['active+clean'] === pgs && Object.keys(states).length === 1) return;
    await sleep(10);
  }
}

/** Clients that append to objects of their own, one line at a time, until they are stopped. */
function appenders(io: IoContext, count: number) {
  let stopped = false;
  const written = Array.from({ length: count }, () => 0);
  const running = written.map(async (_, w) => {
    for (let line = 0; !stopped; line++) {
      await io.operate(`log-${w}`, [appendOp(Buffer.from(`${line}\n`))], { timeoutMs: 0 });
      written[w] = line + 1;
    }
  });
  return {
    async untilMore() {
      const before = [...written];
      while (written.some((lines, w) => lines <= (before[w] as number))) await sleep(1);
    },
    /** Each line once, in order. */
    async check() {
      stopped = true;
      await Promise.all(running);
      for (const [w, lines] of written.entries()) {
        const text = Buffer.from(await io.read(`log-${w}`, 0, 0)).toString();
        expect(text).toBe(Array.from({ length: lines }, (_, line) => `${line}\n`).join(''));
      }
    },
  };
}

/** Page by page, with something between two of them. */
async function listed(io: IoContext, between: () => Promise<unknown> = async () => {}) {
  const names = new Set<string>();
  for (let place: ListingPlace | undefined = placeAt(io.pool.id, 0); place; ) {
    const page: ObjectPage = await io.listPage(place, { timeoutMs: 0 });
    for (const name of page.names) names.add(name);
    place = page.next;
    await between();
  }
  return [...names].sort();
}

describe('a pool that gets more PGs', () => {
  it.each(['seed', 'object', 'object-rw'] as const)(
    'keeps what it has and what is being written, in pipeline mode %s',
    async (mode) => {
      const { cluster, client, io } = await start({ pipeline: { mode } });
      const names = Array.from({ length: 200 }, (_, i) => `object-${i}`).sort();
      await Promise.all(names.map((name) => io.operate(name, [writeFullOp(Buffer.from(name))])));
      const load = appenders(io, 16);
      for (const pgs of [4, 7, 16, 33]) {
        await load.untilMore();
        await setPool(client, 'pg_num', pgs);
        await load.untilMore();
        await untilClean(cluster, pgs);
        // To other OSDs, with all that they have.
        await setPool(client, 'pgp_num', pgs);
        await load.untilMore();
        await untilClean(cluster, pgs);
        const found = (await listed(io)).filter((name) => name.startsWith('object-'));
        expect(found).toEqual(names);
      }
      await load.check();
      for (const name of names) {
        expect(Buffer.from(await io.read(name, 0, 0)).toString()).toBe(name);
      }
    },
  );

  it('keeps watches with their objects', async () => {
    const { cluster, client, io } = await start();
    const objects = Array.from({ length: 12 }, (_, i) => `watched-${i}`);
    const heard: string[] = [];
    for (const name of objects) {
      await io.operate(name, [writeFullOp(Buffer.from(name))]);
      await io.watch(name, {
        ...NOTHING,
        onNotify: ({ payload }) => {
          heard.push(`${name} ${Buffer.from(payload).toString()}`);
          return undefined;
        },
      });
    }
    await setPool(client, 'pg_num', 16);
    await untilClean(cluster, 16);
    for (const name of objects) await io.notify(name, Buffer.from('after'));
    // Once at least: what is sent again is another notify, as in Ceph.
    expect(new Set(heard)).toEqual(new Set(objects.map((name) => `${name} after`)));
    expect((await cluster.faults.watches({ pool: 'rbd' })).length).toBe(objects.length);
  });

  it('loses nothing when OSDs die and come back meanwhile', async () => {
    const { cluster, client, io } = await start({ size: 3, osds: 4 });
    const load = appenders(io, 12);
    for (const [i, pgs] of [5, 8, 13, 24].entries()) {
      await load.untilMore();
      cluster.faults.killOsd(i % 4).then(
        async (fault) => {
          await sleep(30);
          await fault.stop();
        },
        () => {},
      );
      await setPool(client, 'pg_num', pgs);
      await setPool(client, 'pgp_num', pgs);
      await load.untilMore();
      await untilClean(cluster, pgs);
    }
    await load.check();
  });

  it('is split on the disk of an OSD that was away when it comes back, and after a restart of all', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'linger-split-'));
    cleanups.push(() => rm(dir, { recursive: true }));
    const settings = { osds: 3, size: 2, dataDir: dir };
    const { cluster, client, io } = await start(settings);
    const names = Array.from({ length: 60 }, (_, i) => `object-${i}`).sort();
    await Promise.all(names.map((name) => io.operate(name, [writeFullOp(Buffer.from(name))])));
    const away = await cluster.faults.killOsd(1);
    await setPool(client, 'pg_num', 8);
    await Promise.all(
      names.slice(0, 20).map((name) => io.operate(name, [writeFullOp(Buffer.from(`new ${name}`))])),
    );
    await setPool(client, 'pg_num', 16);
    await away.stop();
    await untilClean(cluster, 16);
    await cleanups.pop()?.();
    const again = await start(settings);
    await untilClean(again.cluster, 16);
    expect(await listed(again.io)).toEqual(names);
    for (const [i, name] of names.entries()) {
      const text = Buffer.from(await again.io.read(name, 0, 0)).toString();
      expect(text).toBe(i < 20 ? `new ${name}` : name);
    }
  });

  it('is listed as a whole while it is split', async () => {
    const { client, io } = await start();
    const names = Array.from({ length: 300 }, (_, i) => `object-${i}`).sort();
    await Promise.all(names.map((name) => io.operate(name, [writeFullOp(Buffer.from(name))])));
    let pgs = 3;
    const found = await listed(io, async () => {
      if (pgs < 24) await setPool(client, 'pg_num', ++pgs);
    });
    expect(found).toEqual(names);
    expect(pgs).toBeGreaterThan(4);
  });

  it('does not get fewer again', async () => {
    const { client } = await start();
    await expect(setPool(client, 'pg_num', 2)).rejects.toMatchObject({ code: 'EOPNOTSUPP' });
  });
});

describe('the split of one PG', () => {
  const parent = { pool: 1, seed: 1 };

  function filled(): { store: Recorder; ids: ObjectId[] } {
    const store = new Recorder();
    const ids = Array.from(
      { length: 50 },
      (_, i): ObjectId => ({
        ...{ pool: 1, nspace: '', oid: `object-${i}`, key: '', snap: NOSNAP },
        hash: (i * 0x9e3779b1 * 4 + 1) >>> 0,
      }),
    );
    const info = { ...NEW_PG_INFO, mapEpoch: 7, pgNum: 4 };
    for (const [i, id] of ids.entries()) {
      const version = { epoch: 3, version: BigInt(i + 1) };
      void store.apply({
        collection: '1.1',
        ops: [
          { op: 'write', id, offset: 0, data: Buffer.from(id.oid) },
          { op: 'log', entry: { version, objects: [id], result: 0, userVersion: 1n } },
          { op: 'missing', add: i % 5 === 0 ? [id] : [], remove: [] },
          { op: 'pgInfo', info: { ...info, lastUpdate: version } },
        ],
      });
    }
    return { store, ids };
  }

  function check(store: MemoryStore, ids: readonly ObjectId[]) {
    const pgs = [parent, ...childrenOf(parent, 4, 16)];
    expect(pgs.map(({ seed }) => seed)).toEqual([1, 5, 9, 13]);
    for (const { seed } of pgs) {
      const name = `1.${seed.toString(16)}`;
      const mine = ids.filter(({ hash }) => stableMod(hash, 16) === seed);
      const names = (found: readonly ObjectId[]) => found.map(({ oid }) => oid).sort();
      expect(names(store.list(name, undefined, 100))).toEqual(names(mine));
      expect(names(store.log(name).flatMap(({ objects }) => objects))).toEqual(names(mine));
      expect(names(store.missing(name))).toEqual(
        names(mine.filter((id) => ids.indexOf(id) % 5 === 0)),
      );
      expect(store.pgInfo(name)).toMatchObject({ pgNum: 16, lastUpdate: { version: 50n } });
      for (const id of mine) {
        expect(Buffer.from(store.get(name, id)?.read(0, 20) ?? []).toString()).toBe(id.oid);
      }
    }
  }

  it('gives each child its objects, its part of the log and what it lacks', () => {
    const { store, ids } = filled();
    splitPg(parent, { store, before: 4, after: 16 });
    check(store, ids);
  });

  it('is done again after a crash at any of its writes', () => {
    const whole = filled();
    const before = whole.store.transactions.length;
    splitPg(parent, { store: whole.store, before: 4, after: 16 });
    const { transactions } = whole.store;
    for (let cut = before; cut < transactions.length; cut++) {
      const store = new Recorder();
      for (const transaction of transactions.slice(0, cut)) void store.apply(transaction);
      // Until the parent says so, nobody takes it for split.
      expect(store.pgInfo('1.1')?.pgNum).toBe(4);
      splitPg(parent, { store, before: 4, after: 16 });
      check(store, whole.ids);
    }
  });
});

class Recorder extends MemoryStore {
  readonly transactions: Transaction[] = [];

  override apply(transaction: Transaction): Promise<void> {
    this.transactions.push(transaction);
    return super.apply(transaction);
  }
}
