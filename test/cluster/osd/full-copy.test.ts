// A copy of a PG that is made anew from another's: until all of it is there, it passes for nothing.

import { describe, expect, it } from 'vitest';
import { nodeEnvironment } from '../../../src/base/node-environment.js';
import { Interval } from '../../../src/cluster/osd/interval.js';
import type { OsdPeer } from '../../../src/cluster/osd/osd-peer.js';
import type { PgHost } from '../../../src/cluster/osd/pg-host.js';
import { PgMember } from '../../../src/cluster/osd/pg-member.js';
import { PgStorage } from '../../../src/cluster/osd/pg-storage.js';
import { MemoryStore } from '../../../src/cluster/store/memory-store.js';
import type { ObjectId } from '../../../src/cluster/store/object-id.js';
import { NOSNAP } from '../../../src/encoding/types.js';

const PG = { pool: 1, seed: 0 };
const COLLECTION = '1.0';
const OBJECTS = 300;
const SINCE = 9;

const ids = Array.from(
  { length: OBJECTS },
  (_, i): ObjectId => ({ pool: 1, nspace: '', oid: `object-${i}`, key: '', hash: i, snap: NOSNAP }),
);

function storageOf(osd: number) {
  const store = new MemoryStore();
  return { store, storage: new PgStorage(PG, { store, whoami: osd, faults: undefined }) };
}

/** A whole copy, whose log tells of the last hundred objects. */
function whole(osd = 0) {
  const made = storageOf(osd);
  const at = (version: number) => ({ version: BigInt(version), epoch: 5 });
  for (const [i, id] of ids.entries()) {
    const version = at(i + 1);
    const entry = { version, objects: [id], result: 0, userVersion: version.version };
    void made.storage.commit({ ops: [{ op: 'touch', id }], entry });
  }
  const entries = made.store.log(COLLECTION).slice(-100);
  void made.store.apply({ collection: COLLECTION, ops: [{ op: 'replaceLog', entries }] });
  made.storage.note({ mapEpoch: 5, lastEpochStarted: 5, logTail: at(OBJECTS - 100) });
  return made;
}

/** Answers as the OSD does, and runs `onPull` before each object that is asked for. */
function peerOf({ store, storage }: ReturnType<typeof whole>, onPull: (nth: number) => unknown) {
  let pulls = 0;
  return {
    history: async () => storage.history(),
    listObjects: async (_pg, _since, from, max) => store.list(COLLECTION, from, max),
    pull: async (_pg, _since, id, asOf) => {
      await onPull(++pulls);
      return storage.give(id, asOf);
    },
  } as Partial<OsdPeer> as OsdPeer;
}

interface Copying {
  source: OsdPeer;
  target: ReturnType<typeof storageOf>;
}

/** `recover`, as the primary asks for it. */
function recovering({ source, target: { store, storage } }: Copying) {
  const interval = new Interval({ epoch: SINCE, isKnown: true });
  const peers = { osd: () => source };
  const host = { store, peers, env: nodeEnvironment() } as Partial<PgHost> as PgHost;
  const member = new PgMember({ pg: PG, host, storage, interval: () => interval });
  return { interval, recover: () => member.recover(SINCE, 0) };
}

const held = ({ store }: { store: MemoryStore }) => store.list(COLLECTION, undefined, 1000).length;

/** A new map comes as an object is asked for, and ends the interval. */
async function interrupted(target: ReturnType<typeof storageOf>, nth: number): Promise<void> {
  const copying: ReturnType<typeof recovering> = recovering({
    target,
    source: peerOf(whole(), (pull) => {
      if (pull !== nth) return;
      target.storage.note({ mapEpoch: 10 });
      copying.interval.end();
    }),
  });
  await expect(copying.recover()).rejects.toThrow('the interval ended');
  expect(held(target)).toBe(nth - 1);
}

describe('a full copy', () => {
  it('is whole when it has ended, with what maps came meanwhile', async () => {
    const target = storageOf(1);
    const source = peerOf(whole(), (nth) => target.storage.note({ mapEpoch: 10 + nth }));
    await recovering({ source, target }).recover();
    expect(held(target)).toBe(OBJECTS);
    expect(target.storage.info).toMatchObject({ complete: true, mapEpoch: 10 + OBJECTS });
    expect(target.store.pgInfo(COLLECTION)).toEqual(target.storage.info);
  });

  it('that was interrupted does not pass for the whole copy that it was before', async () => {
    const target = whole(1);
    await interrupted(target, 150);
    expect(target.storage.info.complete).toBe(false);
    expect(target.store.pgInfo(COLLECTION)).toMatchObject({ complete: false, mapEpoch: 10 });
  });

  it('leaves nothing of a backfill that got further than it', async () => {
    const authority = whole();
    const target = storageOf(1);
    target.storage.note({ mapEpoch: 8 });
    await target.storage.beginBackfill(authority.storage.history());
    const push = async (id: ObjectId) => {
      const object = authority.storage.give(id, authority.storage.info.lastUpdate);
      if (object) await target.storage.backfill([object], id);
    };
    const inOrder = authority.store.list(COLLECTION, undefined, OBJECTS);
    for (const id of inOrder.slice(0, 210)) await push(id);
    await interrupted(target, 30);
    const { last } = await target.storage.beginBackfill(authority.storage.history());
    expect(last).toBeUndefined();
    for (const id of inOrder) await push(id);
    await target.storage.endBackfill();
    expect([held(target), target.storage.info.complete]).toEqual([OBJECTS, true]);
  });

  it('ends when another begins, and does not say of that one that it is whole', async () => {
    const target = storageOf(1);
    let go = () => {};
    const untilGo = new Promise<void>((resolve) => {
      go = resolve;
    });
    let second: Promise<void> | undefined;
    let secondBegan = () => {};
    const untilBegun = new Promise<void>((resolve) => {
      secondBegan = resolve;
    });
    const source = whole();
    const slow = peerOf(source, async (nth) => {
      if (nth !== 200) return;
      second = recovering({ target, source: other }).recover();
      await untilBegun;
    });
    const other = peerOf(source, async (nth) => {
      if (nth !== 50) return;
      secondBegan();
      await untilGo;
    });
    const first = recovering({ target, source: slow }).recover();
    await expect(first).rejects.toMatchObject({ code: 'ESTALE' });
    expect([held(target), target.storage.info.complete]).toEqual([49, false]);
    go();
    await second;
    expect([held(target), target.storage.info.complete]).toEqual([OBJECTS, true]);
  });

  it('ends when a backfill takes its place', async () => {
    const target = storageOf(1);
    const source = whole();
    const copying = recovering({
      target,
      source: peerOf(source, async (nth) => {
        if (nth === 100) await target.storage.beginBackfill(source.storage.history());
      }),
    });
    await expect(copying.recover()).rejects.toMatchObject({ code: 'ESTALE' });
    expect([held(target), target.storage.info.complete]).toEqual([0, false]);
  });

  it('tells of no more than the log that it took, so that an empty member is not whole by it', async () => {
    const target = storageOf(1);
    const source = whole();
    await recovering({ source: peerOf(source, () => {}), target }).recover();
    const { storage } = target;
    expect(storage.info.logTail).toEqual(source.storage.info.logTail);
    expect(await storageOf(2).storage.merge(storage.history())).toBeUndefined();
  });

  it('of all that ever happened tells of all, whatever the log before it told of', async () => {
    const target = whole(1);
    const source = storageOf(0);
    const version = { version: 1n, epoch: 6 };
    const entry = { version, objects: [], result: 0, userVersion: 1n };
    await source.storage.commit({ ops: [], entry });
    await recovering({ source: peerOf(source, () => {}), target }).recover();
    expect(target.storage.info.logTail).toBeUndefined();
    expect(await storageOf(2).storage.merge(target.storage.history())).toEqual([]);
  });
});
