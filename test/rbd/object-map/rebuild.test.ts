// Goal: a map that is not to be believed becomes right under I/O, and one that is wrong is found out. Method: the embedded
// cluster and clients in virtual time; maps are spoilt behind everybody's back and compared with the objects.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { statOp, truncateOp, writeOp } from '../../../src/messages/osd-op.js';
import { mutate } from '../../../src/rados/class-call.js';
import {
  addSnapshot,
  objectMapUpdate,
  setFlags,
  SNAP_NAMESPACE,
} from '../../../src/rados/cls-rbd.js';
import type { IoContext } from '../../../src/rados/io-context.js';
import { FEATURE } from '../../../src/rbd/features.js';
import { Image } from '../../../src/rbd/image.js';
import type { ObjectMapError } from '../../../src/rbd/maintenance/check-object-map.js';
import { headerObject, objectMapObject } from '../../../src/rbd/names.js';
import { ClusterWorld } from '../../support/cluster-world.js';
import { MapOracle, type Version } from '../../support/map-oracle.js';
import { TracedClient } from '../../support/traced-client.js';

const OBJECT = 1 << 16;
const OBJECTS = 40;
const SPEC = { pool: 'rbd', namespace: '', name: 'vm1' };
const { LAYERING, EXCLUSIVE_LOCK, OBJECT_MAP, FAST_DIFF } = FEATURE;
const FEATURES = LAYERING | EXCLUSIVE_LOCK | OBJECT_MAP | FAST_DIFF;

let at: ClusterWorld;
let traced: TracedClient;
let ioctx: IoContext;
let oracle: MapOracle;
let image: Image;

beforeEach(async () => {
  at = await ClusterWorld.start();
  traced = await TracedClient.connect(at);
  const judge = await at.client();
  ioctx = await at.until(judge.rados.ioctx('rbd'));
  oracle = new MapOracle(ioctx, 'vm1');
});

afterEach(() => at.stop());

const numbers = Array.from({ length: OBJECTS }, (_, i) => i);
const until = <T>(step: Promise<T>) => at.until(step);
const bytes = (fill: number, length = 4096) => Buffer.alloc(length, fill);
async function open(features = FEATURES): Promise<void> {
  await traced.client.create('vm1', { size: OBJECTS * OBJECT, order: 16, features });
  image = await until(Image.open(traced.context, SPEC));
}
const head = async () => (await maps()).at(-1) as Omit<Version, 'objects'>;
/** Without the objects themselves. */
const maps = async () =>
  (await until(oracle.versions())).map(({ objects: _, ...version }) => version);
/** A snapshot with a map, as its owner makes it. */
async function snapshot(name: string): Promise<bigint> {
  const snapId = await until(image.dataIoctx.createSelfManagedSnap());
  await until(
    mutate(image.ioctx, headerObject(image.id), [
      addSnapshot(name, snapId, { type: SNAP_NAMESPACE.USER }),
    ]),
  );
  await until(image.refresh());
  await until(image.objectMap?.snapshotAdded(snapId) ?? Promise.resolve());
  return snapId;
}
/** As a fault of hardware or of another client would: the lock is not asked. */
const spoil = (objectNo: number, state: number, snapId?: bigint) =>
  until(
    mutate(ioctx, objectMapObject(image.id, snapId), [
      objectMapUpdate(objectNo, objectNo + 1, state),
    ]),
  );
const flag = (snapId?: bigint) =>
  until(mutate(ioctx, headerObject(image.id), [setFlags(3n, 3n, snapId)]));
/** The head's map, when its owner has loaded it anew. */
async function reopen(): Promise<void> {
  await until(image.close());
  image = await until(Image.open(traced.context, SPEC));
  await until(image.acquireLock());
}
async function check(snapId?: bigint): Promise<ObjectMapError[]> {
  const found: ObjectMapError[] = [];
  await until(image.checkObjectMap((error) => found.push(error), snapId ? { snapId } : {}));
  return found;
}

describe('a check of an object map', () => {
  it('finds nothing wrong in maps that nobody spoilt', async () => {
    await open();
    await until(image.write(0, bytes(1, 10 * OBJECT)));
    const s1 = await snapshot('s1');
    await until(image.write(3 * OBJECT, bytes(2, 3 * OBJECT)));
    await until(image.discard(8 * OBJECT, 5 * OBJECT));
    const s2 = await snapshot('s2');
    await until(image.write(9 * OBJECT, bytes(3)));
    expect([await check(), await check(s1), await check(s2)]).toEqual([[], [], []]);
    const versions = await maps();
    expect(versions.map(({ objectMapInvalid }) => objectMapInvalid)).toEqual([false, false, false]);
  });

  it('tells of an object that is missing in the map, and flags it', async () => {
    await open();
    await until(image.write(0, bytes(1, 10 * OBJECT)));
    await until(image.close());
    await spoil(4, 0);
    image = await until(Image.open(traced.context, SPEC));
    expect(await check()).toEqual([{ objectNo: 4, marked: 0, actual: 1 }]);
    expect(await head()).toMatchObject({ objectMapInvalid: true, fastDiffInvalid: true });
    expect(image.header.flags).toBe(3n);
  });

  it('tells of an object that was written since a snapshot and is called clean', async () => {
    await open();
    await until(image.write(0, bytes(1, 2 * OBJECT)));
    const s1 = await snapshot('s1');
    await until(image.write(0, bytes(2)));
    await spoil(0, 3);
    await spoil(1, 2, s1);
    await reopen();
    expect(await check()).toEqual([{ objectNo: 0, marked: 3, actual: 1 }]);
    expect(await check(s1)).toEqual([{ objectNo: 1, marked: 2, actual: 1 }]);
    expect(image.header.snapshots[0]?.flags).toBe(3n);
  });

  it('does not mind an object that the map has and nobody else', async () => {
    await open();
    await spoil(7, 1);
    await spoil(8, 3);
    expect(await check()).toEqual([]);
    expect((await head()).objectMapInvalid).toBe(false);
  });
});

describe('a rebuild', () => {
  it('makes the maps of the head and of invalid snapshots what they should be', async () => {
    await open();
    await until(image.write(0, bytes(1, 10 * OBJECT)));
    const s1 = await snapshot('s1');
    await until(image.write(5 * OBJECT, bytes(2, 10 * OBJECT)));
    const s2 = await snapshot('s2');
    await until(image.discard(0, 3 * OBJECT));
    const right = await maps();
    for (const snapId of [s1, s2, undefined]) {
      await Promise.all(numbers.map((i) => spoil(i, (i * 7) % 4, snapId)));
      await flag(snapId);
    }
    await reopen();
    const seen: number[] = [];
    await until(image.rebuildObjectMap({ onProgress: (done, total) => seen.push(done / total) }));
    expect(await maps()).toEqual(right);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(seen.at(-1)).toBe(1);
    expect(image.header.flags).toBe(0n);
  });

  it.each([
    ['torn', [writeOp(20, bytes(0xee, 4))]],
    ['cut short', [truncateOp(20)]],
    ['empty', [truncateOp(0)]],
  ] as const)('makes a map anew that was %s', async (_, ops) => {
    await open();
    await until(image.write(3 * OBJECT, bytes(1, 2 * OBJECT)));
    const right = await head();
    await until(image.close());
    await until(ioctx.operate(objectMapObject(image.id), ops));
    await reopen();
    expect(await head()).toMatchObject({ objectMapInvalid: true });
    await until(image.rebuildObjectMap());
    expect(await head()).toEqual(right);
  });

  it('makes the map of one snapshot anew that is missing, and leaves the others', async () => {
    await open();
    await until(image.write(0, bytes(1, 10 * OBJECT)));
    const s1 = await snapshot('s1');
    const [right] = await maps();
    await spoil(1, 0);
    await until(ioctx.operate(objectMapObject(image.id, s1), [statOp(), truncateOp(0)]));
    await until(image.rebuildObjectMap({ snapId: s1 }));
    const [mended, present] = await maps();
    expect(mended).toEqual(right);
    expect(present?.states?.[1]).toBe(0);
  });

  it('O23 goes on under writes and discards, and leaves a map that is right', async () => {
    await open();
    await until(image.write(0, bytes(1, OBJECTS * OBJECT)));
    await flag();
    await reopen();
    let over = false;
    const rebuilt = image.rebuildObjectMap().finally(() => {
      over = true;
    });
    const random = (n: number) => Math.floor(at.world.random.float() * n);
    const lane = async () => {
      while (!over) {
        const offset = random(OBJECTS) * OBJECT;
        if (random(2) === 0) await image.write(offset, bytes(random(256)));
        else await image.discard(offset, OBJECT);
      }
    };
    await until(Promise.all([rebuilt, lane(), lane(), lane(), lane()]));
    expect(await until(oracle.violations())).toEqual([]);
    expect((await head()).objectMapInvalid).toBe(false);
    expect(await check()).toEqual([]);
  });

  it('O23 that is cut short leaves the map invalid, and is done by the next owner', async () => {
    await open();
    await until(image.write(0, bytes(1, 5 * OBJECT)));
    await Promise.all(numbers.map((i) => spoil(i, 0)));
    await flag();
    await reopen();
    void traced.dieAt(({ text }) => text === 'list-snaps', 'after', 30);
    void image.rebuildObjectMap();
    await at.world.advance(1000);
    expect((await head()).objectMapInvalid).toBe(true);
    expect(await until(oracle.violations())).toEqual([]);

    const heir = await TracedClient.connect(at);
    image = await until(Image.open(heir.context, SPEC));
    await until(image.rebuildObjectMap());
    expect((await head()).states).toEqual(Array.from({ length: OBJECTS }, (_, i) => Number(i < 5)));
    expect(await until(oracle.violations())).toEqual([]);
  });

  it('does not clear the flag when an update failed meanwhile', async () => {
    await open();
    await until(image.write(0, bytes(1, 5 * OBJECT)));
    await flag();
    await reopen();
    await until(
      at.faults.failOps({ prefix: 'rbd_object_map.', ops: 'call', errno: 'EIO', times: 1 }),
    );
    const write = image.write(30 * OBJECT, bytes(1));
    const rebuilt = await until(image.rebuildObjectMap().catch((error: unknown) => error));
    await until(write);
    expect(rebuilt).toMatchObject({ code: 'EAGAIN' });
    expect((await head()).objectMapInvalid).toBe(true);
    await until(image.rebuildObjectMap());
    expect((await head()).objectMapInvalid).toBe(false);
    expect(await check()).toEqual([]);
  });

  it('is done by the owner of the lock when a peer asks for it', async () => {
    await open();
    await until(image.write(0, bytes(1, 5 * OBJECT)));
    await flag();
    await reopen();
    const other = await TracedClient.connect(at);
    const peer = await until(Image.open(other.context, SPEC));
    await until(peer.rebuildObjectMap());
    expect((await head()).objectMapInvalid).toBe(false);
    expect(image.lock?.state).toBe('locked');
    expect(image.objectMap?.head.isValid).toBe(true);
  });

  it('is refused for an image that has no map', async () => {
    await open(LAYERING | EXCLUSIVE_LOCK);
    const error = await until(image.rebuildObjectMap().catch((failure: unknown) => failure));
    expect(error).toMatchObject({ code: 'EINVAL' });
  });
});

describe('an image that comes to have an object map', () => {
  it('has one that is not to be believed until it is rebuilt, and does with it what is to be done', async () => {
    await open(LAYERING | EXCLUSIVE_LOCK);
    await until(image.write(0, bytes(1, 5 * OBJECT)));
    const s1 = await snapshot('s1');
    await until(image.updateFeatures(OBJECT_MAP, true));
    expect(image.features).toBe(FEATURES);
    expect(await head()).toMatchObject({ objectMapInvalid: true, fastDiffInvalid: true });
    expect(image.header.snapshots[0]?.flags).toBe(3n);
    await until(image.write(9 * OBJECT, bytes(1)));
    expect((await head()).states?.[9]).toBe(1);
    expect(Buffer.from(await until(image.read(0, 4096)))).toEqual(bytes(1));
    await until(image.rebuildObjectMap());
    expect([await check(), await check(s1)]).toEqual([[], []]);
    expect(await until(oracle.violations())).toEqual([]);
    const versions = await maps();
    expect(versions.map(({ states }) => states?.slice(0, 10))).toEqual([
      [1, 1, 1, 1, 1, 0, 0, 0, 0, 0],
      [3, 3, 3, 3, 3, 0, 0, 0, 0, 1],
    ]);
  });

  it('loses it with the feature, and nothing of it stays', async () => {
    await open();
    await until(image.write(0, bytes(1)));
    await snapshot('s1');
    await until(image.updateFeatures(FAST_DIFF, false));
    expect(image.features).toBe(LAYERING | EXCLUSIVE_LOCK);
    expect((await maps()).map(({ states }) => states)).toEqual([undefined, undefined]);
    expect(image.objectMap).toBeUndefined();
    await until(image.write(OBJECT, bytes(2)));
    await until(image.updateFeatures(OBJECT_MAP, true));
    await until(image.rebuildObjectMap());
    expect(await check()).toEqual([]);
  });

  it('needs an exclusive lock, which goes last', async () => {
    await open(LAYERING);
    const update = (features: bigint, enabled: boolean) =>
      until(image.updateFeatures(features, enabled).catch((error: unknown) => error));
    expect(await update(OBJECT_MAP, true)).toMatchObject({ code: 'EINVAL' });
    expect(await update(OBJECT_MAP | EXCLUSIVE_LOCK, true)).toBeUndefined();
    expect(await update(EXCLUSIVE_LOCK, false)).toMatchObject({ code: 'EINVAL' });
    expect(await update(FEATURE.JOURNALING, true)).toMatchObject({
      code: 'EOPNOTSUPP',
      message: expect.stringContaining('journaling'),
    });
    expect(await update(EXCLUSIVE_LOCK | OBJECT_MAP, false)).toBeUndefined();
    expect(image.features).toBe(LAYERING);
  });

  it('M29 has it when it is shared no more; cut short, it is invalid, and the image works', async () => {
    await open();
    await until(image.write(0, bytes(1, 3 * OBJECT)));
    await until(image.setShared(true));
    expect((await head()).states).toBeUndefined();
    await until(image.write(5 * OBJECT, bytes(1)));
    void traced.dieAt(({ text }) => text === 'list-snaps', 'before', 10);
    void image.setShared(false);
    await at.world.advance(1000);
    expect(await head()).toMatchObject({ objectMapInvalid: true });

    const heir = await TracedClient.connect(at);
    image = await until(Image.open(heir.context, SPEC));
    await until(image.write(7 * OBJECT, bytes(2)));
    await until(image.rebuildObjectMap());
    expect((await head()).states?.slice(0, 9)).toEqual([1, 1, 1, 0, 0, 1, 0, 1, 0]);
    expect(await check()).toEqual([]);
  });
});
