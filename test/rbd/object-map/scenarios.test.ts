// Goal: what may happen to one update of an object map, to a map as it is loaded, and to its owner, leaves no object that
// exists and is not in the map. Method: the embedded cluster and clients in virtual time; clients die at a request, requests
// are held, fail, or lose their answers; what is stored is read straight from the objects.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readOp, truncateOp, writeOp } from '../../../src/messages/osd-op.js';
import { executeOne, mutate } from '../../../src/rados/class-call.js';
import { breakLock, getLockInfo, LOCK_TYPE, lock } from '../../../src/rados/cls-lock.js';
import { objectMapResize } from '../../../src/rados/cls-rbd.js';
import type { IoContext } from '../../../src/rados/io-context.js';
import { cloneImage } from '../../../src/rbd/clone.js';
import { diffBatches } from '../../../src/rbd/diff/diff.js';
import { unless } from '../../../src/rbd/errors.js';
import { FEATURE } from '../../../src/rbd/features.js';
import type { ImageSnapshot } from '../../../src/rbd/header.js';
import { Image } from '../../../src/rbd/image.js';
import { dataObject } from '../../../src/rbd/layout.js';
import { objectMapObject, RBD_LOCK_NAME } from '../../../src/rbd/names.js';
import { ClusterWorld } from '../../support/cluster-world.js';
import { MapOracle, type Version } from '../../support/map-oracle.js';
import { rejection } from '../../support/rejection.js';
import { TracedClient, type TracedRequest } from '../../support/traced-client.js';

const OBJECT = 1 << 16;
const OBJECTS = 40;
const SPEC = { pool: 'rbd', namespace: '', name: 'vm1' };
const { LAYERING, EXCLUSIVE_LOCK, OBJECT_MAP, FAST_DIFF, DEEP_FLATTEN } = FEATURE;
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
  await traced.client.create('vm1', { size: OBJECTS * OBJECT, order: 16, features: FEATURES });
  image = await until(Image.open(traced.context, SPEC));
  await until(image.acquireLock());
});

afterEach(() => at.stop());

const until = <T>(step: Promise<T>) => at.until(step);
const bytes = (fill: number, length = 4096) => Buffer.alloc(length, fill);
const ofMap = ({ oid }: TracedRequest) => oid.startsWith('rbd_object_map.');
const isUpdate = ({ text }: TracedRequest) => text.endsWith('rbd.object_map_update');
const isWrite = ({ text }: TracedRequest) => /(^|, )write$/.test(text);
const isDelete = ({ oid, text }: TracedRequest) => oid.startsWith('rbd_data.') && text === 'delete';
const head = () => until(oracle.head());
const stateOf = async (objectNo: number) => (await head()).states?.[objectNo];
const exists = async (objectNo: number) => (await head()).objects[objectNo] !== undefined;
const violations = () => until(oracle.violations());
const readOf = async (from: Image, objectNo: number) =>
  Buffer.from(await until(from.read(objectNo * OBJECT, 4096)));
/** The next client, with the lock. */
async function heir(): Promise<Image> {
  const next = await until(Image.open((await TracedClient.connect(at)).context, SPEC));
  await until(next.acquireLock());
  return next;
}
/** The owner dies in the middle of it. */
async function dies(
  action: Promise<unknown>,
  [matches, when, nth]: Parameters<TracedClient['dieAt']>,
): Promise<void> {
  const dead = traced.dieAt(matches, when, nth);
  void action.catch(() => undefined);
  await until(dead);
  await at.world.advance(100);
}

describe('the death of the owner', () => {
  it('O1 between the update of the map and the data leaves an object that may exist, and is not there', async () => {
    await dies(image.write(3 * OBJECT, bytes(1)), [isWrite, 'before']);
    expect([await stateOf(3), await exists(3)]).toEqual([1, false]);
    expect(await violations()).toEqual([]);
    const next = await heir();
    expect(await readOf(next, 3)).toEqual(bytes(0));
  });

  it('O3 after the data was written, before it is told, leaves an object that is there and in the map', async () => {
    await dies(image.write(3 * OBJECT, bytes(1)), [isWrite, 'after']);
    expect([await stateOf(3), await exists(3)]).toEqual([1, true]);
    expect(await readOf(await heir(), 3)).toEqual(bytes(1));
  });

  it.each([
    ['before', true],
    ['after', false],
  ] as const)(
    'O4 %s an object is deleted leaves it PENDING, which the next owner takes for one that may exist',
    async (when, isThere) => {
      await until(image.write(3 * OBJECT, bytes(1)));
      await dies(image.discard(3 * OBJECT, OBJECT), [isDelete, when]);
      expect([await stateOf(3), await exists(3)]).toEqual([2, isThere]);
      expect(await violations()).toEqual([]);
      const next = await heir();
      expect(await readOf(next, 3)).toEqual(bytes(isThere ? 1 : 0));
      await until(next.discard(3 * OBJECT, OBJECT));
      expect([await stateOf(3), await exists(3)]).toEqual([0, false]);
    },
  );

  it.each([
    ['between map and header', ({ text }: TracedRequest) => text.includes('rbd.set_size'), 40],
    ['after the header', ({ text }: TracedRequest) => text.includes('rbd.get_size'), 60],
  ] as const)(
    'O12 in a grow %s leaves a map that is as large as the image, or larger',
    async (_, matches, objects) => {
      await until(image.write(3 * OBJECT, bytes(1)));
      await dies(image.resize(60 * OBJECT), [matches, 'before']);
      expect((await until(oracle.header())).size).toBe(objects * OBJECT);
      const next = await heir();
      expect(next.objectMap?.head.isValid).toBe(true);
      expect(next.objectMap?.head.states.objectCount).toBe(objects);
      await until(next.resize(60 * OBJECT));
      await until(next.write(59 * OBJECT, bytes(2)));
      expect(await stateOf(59)).toBe(1);
      expect(await violations()).toEqual([]);
    },
  );

  it.each([
    ['before anything is deleted', isDelete, 1],
    ['half-way through the objects', isDelete, 8],
    ['before the header', ({ text }: TracedRequest) => text.includes('rbd.set_size'), 1],
    ['before the map is cut', ({ text }: TracedRequest) => text.includes('map_resize'), 1],
  ] as const)(
    'O13 in a shrink, %s, leaves nothing beyond the new size once it is done again',
    async (_, matches, nth) => {
      await until(image.write(0, bytes(1, 20 * OBJECT)));
      await dies(image.resize(5 * OBJECT + 512, { allowShrink: true }), [matches, 'before', nth]);
      expect([5 * OBJECT + 512, OBJECTS * OBJECT]).toContain((await until(oracle.header())).size);
      expect(await violations()).toEqual([]);
      const next = await heir();
      await until(next.resize(5 * OBJECT + 512, { allowShrink: true }));
      const found = await head();
      expect(found.states).toEqual([1, 1, 1, 1, 1, 1]);
      expect(await until(thereBeyond(next, 6))).toEqual([]);
      await until(next.resize(OBJECTS * OBJECT));
      expect(await violations()).toEqual([]);
    },
  );

  it.each([
    ['after the header has it', ({ text }: TracedRequest) => text === 'read', true],
    ['after its map is there', ({ text }: TracedRequest) => text.includes('snap_add'), false],
  ] as const)(
    'O14 while a snapshot is taken, %s, leaves diffs that tell of all that changed',
    async (_, matches, isMissing) => {
      await until(image.write(0, bytes(1, 4 * OBJECT)));
      await until(image.snapshots.create('s1'));
      await until(image.write(OBJECT, bytes(2)));
      await dies(image.snapshots.create('s2'), [(each) => ofMap(each) && matches(each), 'before']);
      const [first, second] = await until(oracle.versions());
      expect([first?.states === undefined, second?.states === undefined]).toEqual([
        false,
        isMissing,
      ]);
      expect(await violations()).toEqual([]);
      const next = await heir();
      await until(next.write(2 * OBJECT, bytes(3)));
      expect(await changed('s1')).toEqual([1, 2]);
      expect(await changed('s2')).toEqual(isMissing ? [2] : [1, 2]);
      expect(await changed('s1', 's2')).toEqual([1]);
      await until(next.rebuildObjectMap());
      expect(await changed('s2')).toEqual([2]);
      expect(await violations()).toEqual([]);
    },
  );

  it('O15 while the map of a snapshot that goes is merged leaves what was changed before it as changed', async () => {
    await until(image.write(0, bytes(1, 4 * OBJECT)));
    await until(image.snapshots.create('s1'));
    await until(image.write(OBJECT, bytes(2)));
    await until(image.snapshots.create('s2'));
    await until(image.write(2 * OBJECT, bytes(3)));
    const isMerge = ({ text }: TracedRequest) => text.includes('object_map_snap_remove');
    await dies(image.snapshots.remove('s2'), [isMerge, 'after']);
    expect((await head()).states?.slice(0, 4)).toEqual([3, 1, 1, 3]);
    expect(await violations()).toEqual([]);
    expect(await changed('s1')).toEqual([1, 2]);
  });
});

/** The numbers of the objects that the head, or `to`, has otherwise than `from`. */
async function changed(from: string, to?: string): Promise<number[]> {
  const client = await at.client();
  const spec = to === undefined ? SPEC : { ...SPEC, snap: to };
  const opened = await until(Image.open(client.rados, spec, { readOnly: true }));
  const found: number[] = [];
  const list = async () => {
    for await (const batch of diffBatches(opened, { from, wholeObject: true })) {
      for (const { offset, length } of batch) {
        for (let no = offset / OBJECT; no < (offset + length) / OBJECT; no++) found.push(no);
      }
    }
  };
  await until(list());
  await until(opened.close());
  return found;
}

/** Data objects from `objectNo` on. */
async function thereBeyond({ objectPrefix }: Image, objectNo: number): Promise<number[]> {
  const found: number[] = [];
  for (let no = objectNo; no < OBJECTS; no++) {
    const read = ioctx.operate(dataObject(objectPrefix, no), [readOp(0, 1)]);
    if (await unless('ENOENT', read)) found.push(no);
  }
  return found;
}

describe('an update of the map', () => {
  it('O6 whose answer is lost with its connection is sent again, and takes effect once', async () => {
    const version = async () =>
      (await until(ioctx.operate(objectMapObject(image.id), [readOp(0, 1)]))).userVersion;
    const before = await version();
    await until(at.faults.dropReplies({ prefix: 'rbd_object_map.', ops: 'call', times: 1 }));
    const write = image.write(3 * OBJECT, bytes(1));
    await at.world.advance(1000);
    await until(at.faults.resetConnections({ osd: 0 }));
    await until(write);
    await until(image.write(4 * OBJECT, bytes(1)));
    expect((await version()) - before).toBe(2n);
    expect([await stateOf(3), await stateOf(4)]).toEqual([1, 1]);
    expect((await head()).objectMapInvalid).toBe(false);
    expect(await violations()).toEqual([]);
  });

  it('O7 that fails has the map flagged as invalid before the data goes', async () => {
    await until(
      at.faults.failOps({ prefix: 'rbd_object_map.', ops: 'call', errno: 'EIO', times: 1 }),
    );
    traced.log.length = 0;
    await until(image.write(3 * OBJECT, bytes(1)));
    const kinds = traced.log.map((line) => /object_map_update|set_flags|write$/.exec(line)?.[0]);
    expect(kinds.filter(Boolean)).toEqual(['object_map_update', 'set_flags', 'write']);
    expect(await head()).toMatchObject({ objectMapInvalid: true, fastDiffInvalid: true });
    expect(await readOf(image, 3)).toEqual(bytes(1));
    expect(await violations()).toEqual([]);
  });

  it('O8 of an owner whose lock on the map was broken is refused, and no data goes until it owns it again', async () => {
    const oid = objectMapObject(image.id);
    const { lockers } = await until(executeOne(ioctx, oid, getLockInfo(RBD_LOCK_NAME)));
    for (const { locker, cookie } of lockers) {
      await until(mutate(ioctx, oid, [breakLock(RBD_LOCK_NAME, locker, cookie)]));
    }
    await until(mutate(ioctx, oid, [lock({ name: RBD_LOCK_NAME, type: LOCK_TYPE.EXCLUSIVE })]));
    traced.log.length = 0;
    const error = await until(rejection(image.write(3 * OBJECT, bytes(1))));
    expect(error).toMatchObject({ code: 'EBUSY', outcome: 'not-applied' });
    expect(traced.log.filter((line) => line.startsWith('rbd_data.'))).toEqual([]);
    expect(await stateOf(3)).toBe(0);
    await until(image.write(4 * OBJECT, bytes(2)));
    expect([await stateOf(4), await exists(4)]).toEqual([1, true]);
    expect(await violations()).toEqual([]);
  });

  it('O9 of a fenced owner that arrives when its successor has loaded the map changes nothing', async () => {
    let letGo = () => {};
    const held = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    traced.onRequest = (request) => (isUpdate(request) ? held : undefined);
    const write = rejection(image.write(3 * OBJECT, bytes(1)));
    traced.client.process.stop();
    const next = await heir();
    await until(next.write(4 * OBJECT, bytes(2)));
    letGo();
    await at.world.advance(1000);
    traced.client.process.continue();
    expect(await until(write)).toMatchObject({ code: 'EBLOCKLISTED' });
    expect([await stateOf(3), await stateOf(4)]).toEqual([0, 1]);
    expect(await exists(3)).toBe(false);
    expect(next.objectMap?.head.states.get(3)).toBe(0);
    expect(await violations()).toEqual([]);
  });

  it('O24 after which the lock is lost is all that happens: the data is refused', async () => {
    const other = await at.client();
    let onUpdate: (() => void) | undefined;
    traced.onReply = (request) =>
      isUpdate(request) ? new Promise((resolve) => (onUpdate = resolve)) : undefined;
    const write = rejection(image.write(3 * OBJECT, bytes(1)));
    await at.until(() => onUpdate !== undefined);
    await until(other.rados.blocklistAdd(traced.client.rados.clientAddr));
    onUpdate?.();
    expect(await until(write)).toMatchObject({ code: 'EBLOCKLISTED' });
    expect([await stateOf(3), await exists(3)]).toEqual([1, false]);
    expect(await violations()).toEqual([]);
  });
});

describe('a map that is loaded', () => {
  /** What the next owner finds when something has happened to the map. */
  async function loaded(...ops: Parameters<IoContext['operate']>[1]): Promise<Version> {
    await until(image.write(3 * OBJECT, bytes(1, 2 * OBJECT)));
    await until(image.close());
    await until(ioctx.operate(objectMapObject(image.id), ops));
    image = await heir();
    return head();
  }

  it.each([
    ['bits that have flipped', [writeOp(20, bytes(0xee, 4))]],
    ['an end that is missing', [truncateOp(20)]],
    ['wrong checksums', [writeOp(40, bytes(0x11, 8))]],
    ['nothing in it', [truncateOp(0)]],
  ] as const)('O10 with %s is flagged, and every object may exist', async (_, ops) => {
    expect(await loaded(...ops)).toMatchObject({ objectMapInvalid: true, fastDiffInvalid: true });
    expect(image.objectMap?.head.states.count().exists).toBe(OBJECTS);
    expect([await readOf(image, 3), await readOf(image, 7)]).toEqual([bytes(1), bytes(0)]);
    await until(image.write(7 * OBJECT, bytes(2)));
    expect(await readOf(image, 7)).toEqual(bytes(2));
    expect(await violations()).toEqual([]);
  });

  it('O11 that is shorter than the image is flagged, and made as long', async () => {
    await until(image.write(3 * OBJECT, bytes(1)));
    await until(image.close());
    await until(mutate(ioctx, objectMapObject(image.id), [objectMapResize(20, 0)]));
    image = await heir();
    const found = await head();
    expect(found).toMatchObject({ objectMapInvalid: true });
    expect(found.states).toHaveLength(OBJECTS);
    expect(image.objectMap?.mayExist(30)).toBe(true);
  });

  it('O11 that is longer than the image is believed', async () => {
    await until(image.write(3 * OBJECT, bytes(1)));
    await until(image.close());
    await until(mutate(ioctx, objectMapObject(image.id), [objectMapResize(60, 0)]));
    image = await heir();
    expect(await head()).toMatchObject({ objectMapInvalid: false });
    expect([image.objectMap?.mayExist(3), image.objectMap?.mayExist(30)]).toEqual([true, false]);
  });
});

describe('a map that is read by', () => {
  it('O17 a clone has reads of what it has not go to the parent, and writers at a time copy up once', async () => {
    await until(image.write(0, bytes(7, 3 * OBJECT)));
    await until(image.snapshots.create('s'));
    const features = FEATURES | DEEP_FLATTEN;
    const child = { ...SPEC, name: 'child' };
    const parent = { ...SPEC, snap: 's' };
    await until(cloneImage(traced.context, parent, child, { format: 2, features }));
    const clone = await until(Image.open(traced.context, child));
    await until(clone.acquireLock());
    traced.log.length = 0;
    expect(await readOf(clone, 1)).toEqual(bytes(7));
    expect(traced.log).toEqual([expect.stringContaining(`${image.id}.`)]);
    traced.log.length = 0;
    const writes = [0, 1, 2, 3].map((i) => clone.write(OBJECT + i * 8192, bytes(i)));
    await until(Promise.all(writes));
    const requests = (text: RegExp) => traced.log.filter((line) => text.test(line)).length;
    expect(requests(/object_map_update/)).toBe(1);
    expect(requests(/copyup/)).toBe(1);
    const read = Buffer.from(await until(clone.read(OBJECT, OBJECT)));
    const expected = bytes(7, OBJECT);
    for (const i of [0, 1, 2, 3]) expected.fill(i, i * 8192, i * 8192 + 4096);
    expect(read.equals(expected)).toBe(true);
    const clones = new MapOracle(ioctx, 'child');
    expect((await until(clones.head())).states?.slice(0, 4)).toEqual([0, 1, 0, 0]);
    expect(await until(clones.violations())).toEqual([]);
    await until(clone.close());
  });

  it('a flatten leaves clean what the newest snapshot has as well, as librbd finds it', async () => {
    await until(image.write(0, bytes(7, 3 * OBJECT)));
    await until(image.snapshots.create('s'));
    const features = FEATURES | DEEP_FLATTEN;
    const child = { ...SPEC, name: 'child' };
    const parent = { ...SPEC, snap: 's' };
    await until(cloneImage(traced.context, parent, child, { format: 2, features }));
    const clone = await until(Image.open(traced.context, child));
    await until(clone.acquireLock());
    await until(clone.snapshots.create('before'));
    await until(clone.write(OBJECT, bytes(1)));
    await until(clone.flatten());
    const clones = new MapOracle(ioctx, 'child');
    expect((await until(clones.head())).states?.slice(0, 4)).toEqual([3, 1, 3, 0]);
    await until(clone.write(2 * OBJECT, bytes(2)));
    expect((await until(clones.head())).states?.slice(0, 4)).toEqual([3, 1, 1, 0]);
    expect(await until(clones.violations())).toEqual([]);
    await until(clone.close());
  });

  it.each(['by the same owner', 'by the next one'] as const)(
    'a copy-up while a snapshot is removed says of the next one that the object is new in it, %s',
    async (whose) => {
      await until(image.write(0, bytes(7, 3 * OBJECT)));
      await until(image.snapshots.create('s'));
      const child = { ...SPEC, name: 'child' };
      await until(
        cloneImage(traced.context, { ...SPEC, snap: 's' }, child, {
          format: 2,
          features: FEATURES,
        }),
      );
      const first = await TracedClient.connect(at);
      let clone = await until(Image.open(first.context, child));
      await until(clone.acquireLock());
      for (const snap of ['s1', 's2']) await until(clone.snapshots.create(snap));
      const [{ id: removedId }, { id }] = clone.header.snapshots as [ImageSnapshot, ImageSnapshot];
      const isRemoval = ({ text }: TracedRequest) => text.includes('rbd.snapshot_remove');
      let goOn = () => {};
      const held = new Promise<void>((resolve) => {
        first.onRequest = (request) =>
          isRemoval(request) ? (resolve(), new Promise<void>((go) => (goOn = go))) : undefined;
      });
      const removal = clone.snapshots.remove('s1');
      removal.catch(() => undefined);
      await until(held);
      if (whose === 'by the next one') {
        first.client.kill();
        await at.world.advance(100);
        clone = await until(Image.open((await TracedClient.connect(at)).context, child));
        await until(clone.acquireLock());
      }
      await until(clone.write(OBJECT, bytes(1)));
      await until(clone.write(2 * OBJECT, bytes(2)));
      goOn();
      await until(whose === 'by the next one' ? clone.snapshots.remove(removedId) : removal);
      const clones = new MapOracle(ioctx, 'child');
      const versions = await until(clones.versions());
      expect(versions.map(({ snapId }) => snapId)).toEqual([id, undefined]);
      expect(versions[0]?.states?.slice(0, 4)).toEqual([0, 1, 1, 0]);
      expect(await until(clones.violations())).toEqual([]);
      await until(clone.close());
    },
  );

  it('O20 a reader of a snapshot lets it skip what is not there, unless the map is flagged', async () => {
    await until(image.write(3 * OBJECT, bytes(1)));
    await until(image.snapshots.create('s1'));
    await until(image.write(4 * OBJECT, bytes(2)));
    const asked = async () => {
      const reader = await TracedClient.connect(at);
      const snapshot = await until(Image.open(reader.context, { ...SPEC, snap: 's1' }));
      reader.log.length = 0;
      const read = Buffer.from(await until(snapshot.read(0, 6 * OBJECT)));
      expect(read.subarray(3 * OBJECT, 3 * OBJECT + 4096)).toEqual(bytes(1));
      expect(read.subarray(4 * OBJECT).equals(bytes(0, 2 * OBJECT))).toBe(true);
      await until(snapshot.close());
      return reader.log.length;
    };
    expect(await asked()).toBe(1);
    await until(image.objectMap?.invalidate(image.header.snapshots[0]?.id) ?? Promise.resolve());
    expect(await asked()).toBe(6);
  });
});
