// Goal: the maps of an image of many objects, of which few exist, are made right and checked by listing its pool, under I/O as
// if each object was asked for. Method: the embedded cluster and clients in virtual time; maps are lost or spoilt behind
// everybody's back, writes are held where they hurt, and the maps are compared with the objects.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RadosError } from '../../../src/base/errors.js';
import { truncateOp, writeFullOp } from '../../../src/messages/osd-op.js';
import { objectHash, stableMod } from '../../../src/osdmap/object-hash.js';
import { OBJECT_HASH } from '../../../src/osdmap/pool.js';
import { mutate } from '../../../src/rados/class-call.js';
import { objectMapUpdate, setFlags } from '../../../src/rados/cls-rbd.js';
import {
  LISTING_END,
  type ObjectPage,
  placeAt,
  positionOf,
} from '../../../src/rados/object-listing.js';
import type { IoContext } from '../../../src/rados/io-context.js';
import { FEATURE } from '../../../src/rbd/features.js';
import { Image } from '../../../src/rbd/image.js';
import { dataObject } from '../../../src/rbd/layout.js';
import type { ObjectMapError } from '../../../src/rbd/maintenance/check-object-map.js';
import { headerObject, objectMapObject } from '../../../src/rbd/names.js';
import { ClusterWorld } from '../../support/cluster-world.js';
import { MapOracle } from '../../support/map-oracle.js';
import { TracedClient, type TracedRequest } from '../../support/traced-client.js';

const OBJECT = 4096;
const OBJECTS = 1000;
const SPEC = { pool: 'rbd', namespace: '', name: 'vm1' };
const FEATURES = FEATURE.LAYERING | FEATURE.EXCLUSIVE_LOCK | FEATURE.OBJECT_MAP | FEATURE.FAST_DIFF;

let at: ClusterWorld;
let traced: TracedClient;
let ioctx: IoContext;
let oracle: MapOracle;
let image: Image;

beforeEach(async () => {
  at = await ClusterWorld.start();
  traced = await TracedClient.connect(at);
  ioctx = await until((await at.client()).rados.ioctx('rbd'));
  oracle = new MapOracle(ioctx, 'vm1');
});
afterEach(() => at.stop());

const until = <T>(step: Promise<T>) => at.until(step);
const bytes = (fill: number) => Buffer.alloc(OBJECT, fill);
const write = (...objects: number[]) =>
  until(Promise.all(objects.map((objectNo) => image.write(objectNo * OBJECT, bytes(objectNo)))));

async function open(objects = OBJECTS): Promise<void> {
  await traced.client.create('vm1', { size: objects * OBJECT, order: 12, features: FEATURES });
  image = await until(Image.open(traced.context, SPEC));
}

async function reopen(): Promise<void> {
  await until(image.close());
  image = await until(Image.open(traced.context, SPEC));
  await until(image.acquireLock());
}

/** Objects in the head, in both snapshots, and in one of them only. */
async function written(): Promise<[bigint, bigint]> {
  await open();
  await write(0, 1, 2, 500, 999);
  const s1 = await until(image.snapshots.create('s1').then(() => image.header.snapshots[0]!.id));
  await until(image.discard(1 * OBJECT, OBJECT));
  await write(2, 300);
  const s2 = await until(image.snapshots.create('s2').then(() => image.header.snapshots[1]!.id));
  await until(image.discard(300 * OBJECT, OBJECT));
  await write(700);
  return [s1, s2];
}

const flag = (snapId?: bigint) =>
  until(mutate(ioctx, headerObject(image.id), [setFlags(3n, 3n, snapId)]));
/** As nothing is left of it: each object may exist. */
const lose = (snapId?: bigint) =>
  until(ioctx.operate(objectMapObject(image.id, snapId), [truncateOp(0)]));
const mark = (start: number, end: number, state: number, snapId?: bigint) =>
  until(mutate(ioctx, objectMapObject(image.id, snapId), [objectMapUpdate(start, end, state)]));
/** Of the snapshots and the head. */
const maps = async () =>
  (await until(oracle.versions())).map(({ objects: _, ...version }) => version);
async function check(snapId?: bigint): Promise<ObjectMapError[]> {
  const found: ObjectMapError[] = [];
  await until(image.checkObjectMap((error) => found.push(error), snapId ? { snapId } : {}));
  return found;
}
/** Requests that match, of all that go from here on. */
function count(what: string): () => number {
  const before = traced.log.length;
  return () => traced.log.slice(before).filter((line) => line.endsWith(`: ${what}`)).length;
}

describe('a listing of a pool', () => {
  it('has every object of its namespace, page by page, and those that only snapshots have', async () => {
    const [s1] = await written();
    const other = ioctx.withNamespace('other');
    await until(other.operate('elsewhere', [writeFullOp(bytes(1))]));
    await until(
      Promise.all(
        Array.from({ length: 1500 }, (_, i) =>
          ioctx.operate(`object ${i}`, [writeFullOp(bytes(1))]),
        ),
      ),
    );
    const list = async (from: IoContext) => {
      const names: string[] = [];
      let place: ReturnType<typeof placeAt> | undefined = placeAt(from.pool.id, 0);
      let position = 0;
      while (place) {
        const page: ObjectPage = await until(from.listPage(place));
        names.push(...page.names);
        place = page.next;
        expect(positionOf(place)).toBeGreaterThan(position);
        position = positionOf(place);
      }
      expect(position).toBe(LISTING_END);
      return names;
    };
    const names = await list(ioctx);
    expect(new Set(names).size).toBe(names.length);
    expect(names.filter((name) => name.startsWith('object '))).toHaveLength(1500);
    expect(names).toContain(objectMapObject(image.id, s1));
    const data = names.filter((name) => name.startsWith(`${image.objectPrefix}.`)).sort();
    const expected = [0, 1, 2, 300, 500, 700, 999];
    expect(data).toEqual(expected.map((objectNo) => dataObject(image.objectPrefix, objectNo)));
    expect(await list(other)).toEqual(['elsewhere']);
  });
});

describe('a rebuild of the maps of an image of which little exists', () => {
  it.each(['empty', 'lost', 'spoilt'])('asks for few objects where they are %s', async (how) => {
    const snapshots = await written();
    const right = await maps();
    for (const snapId of [...snapshots, undefined]) {
      if (how === 'empty') await mark(0, OBJECTS, 0, snapId);
      else if (how === 'spoilt') await mark(290, 305, 2, snapId);
      else await until(image.close()).then(() => lose(snapId));
      await flag(snapId);
    }
    await reopen();
    const probes = count('list-snaps');
    const shares: number[] = [];
    await until(image.rebuildObjectMap({ onProgress: (done, all) => shares.push(done / all) }));
    expect(await maps()).toEqual(right);
    expect(image.header.flags).toBe(0n);
    expect(probes()).toBe(how === 'spoilt' ? 7 + 14 : 7);
    expect(shares).toEqual([...shares].sort((a, b) => a - b));
    expect(shares.at(-1)).toBe(1);
  });

  it('does not take objects of others for its own', async () => {
    await written();
    const right = await maps();
    const { objectPrefix } = image;
    const names = [`${objectPrefix}0.0000000000000005`, `${objectPrefix}.5`, `${objectPrefix}.`];
    const more = [dataObject(objectPrefix, OBJECTS), `${objectPrefix}.000000000000000A`];
    for (const name of [...names, ...more]) {
      await until(ioctx.operate(name, [writeFullOp(bytes(1))]));
    }
    const elsewhere = dataObject(objectPrefix, 6);
    await until(ioctx.withNamespace('other').operate(elsewhere, [writeFullOp(bytes(1))]));
    await flag();
    const probes = count('list-snaps');
    await until(image.rebuildObjectMap());
    expect(await maps()).toEqual(right);
    expect(probes()).toBe(7);
  });

  it('asks for each object where the pool is full of others', async () => {
    await open(85);
    await write(3);
    const inOnePg = Array.from({ length: 12_000 }, (_, i) => `object ${i}`).filter(
      (oid) => stableMod(objectHash(OBJECT_HASH.RJENKINS, { oid }), 8) === 1,
    );
    expect(inOnePg.length).toBeGreaterThan(1200);
    const touch = (oid: string) => ioctx.operate(oid, [writeFullOp(Buffer.alloc(1))]);
    await flag();
    const [pages, probes] = [count('pgnls'), count('list-snaps')];
    await until(image.rebuildObjectMap());
    expect([pages(), probes()]).toEqual([8, 1]);
    await until(Promise.all(inOnePg.map(touch)));
    await flag();
    await reopen();
    await until(image.rebuildObjectMap());
    expect([pages(), probes()]).toEqual([8 + 9, 1 + 85]);
    expect((await maps()).at(-1)).toMatchObject({ objectMapInvalid: false });
    expect(await check()).toEqual([]);
  });

  it('asks for each object where it may not list', async () => {
    await written();
    const right = await maps();
    await flag();
    traced.onRequest = ({ text }) => {
      if (text === 'pgnls') throw RadosError.fromErrno(-1, { op: 'pgnls', target: '' });
    };
    const probes = count('list-snaps');
    await until(image.rebuildObjectMap());
    expect(probes()).toBe(OBJECTS);
    expect(await maps()).toEqual(right);
  });

  it('O23 leaves a map that is right, wherever in it an object is written or removed', async () => {
    const objects = 100;
    await open(objects);
    await write(0, 1, 99);
    await until(image.snapshots.create('s1'));
    await write(1);
    const isRebuilding = ({ oid, text }: TracedRequest) =>
      text === 'pgnls' || text === 'list-snaps' || oid.startsWith('rbd_object_map.');
    const put = (objectNo: number) => image.write(objectNo * OBJECT, bytes(1));
    for (let nth = 1, isOver = false; !isOver; nth++) {
      traced.onRequest = () => undefined;
      await until(image.close());
      await lose();
      await flag();
      await reopen();
      let left = nth;
      const created = 2 + (nth % 90);
      const done: Promise<unknown>[] = [];
      traced.onRequest = (request) => {
        if (!isRebuilding(request) || --left !== 0) return;
        done.push(
          put(2 + nth),
          image.discard(99 * OBJECT, OBJECT).then(() => put(99)),
        );
      };
      await until(image.rebuildObjectMap());
      isOver = left > 0;
      await until(Promise.all(done));
      expect(await until(oracle.violations()), `at request ${nth}`).toEqual([]);
      expect((await maps()).at(-1)).toMatchObject({ objectMapInvalid: false });
      await until(image.discard(created * OBJECT, OBJECT));
    }
  });

  it('O23 has an object whose write was under way when its map was emptied, and came after the listing', async () => {
    await written();
    await until(image.close());
    await lose();
    await flag();
    await reopen();
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const pages = count('pgnls');
    traced.onRequest = ({ oid, text }) => {
      if (oid === dataObject(image.objectPrefix, 42) && text.includes('write')) return held;
      // The write is let go when the pool has been listed for the second time.
      if (text === 'list-snaps' && pages() === 2 * 8) release();
      return undefined;
    };
    const writing = image.write(42 * OBJECT, bytes(42));
    await until(Promise.all([writing, image.rebuildObjectMap()]));
    expect(await until(oracle.violations())).toEqual([]);
    expect((await maps()).at(-1)?.states?.[42]).toBe(1);
    expect(await check()).toEqual([]);
  });

  it.each([3, 12, 16])('O23 cut short at page %i leaves the map invalid', async (nth) => {
    await written();
    const right = await maps();
    await until(image.close());
    await lose();
    await flag();
    await reopen();
    void traced.dieAt(({ text }) => text === 'pgnls', 'after', nth);
    void image.rebuildObjectMap();
    await at.world.advance(1000);
    expect((await maps()).at(-1)).toMatchObject({ objectMapInvalid: true });
    const heir = await TracedClient.connect(at);
    image = await until(Image.open(heir.context, SPEC));
    await until(image.rebuildObjectMap());
    expect(await maps()).toEqual(right);
  });

  it('stops between two pages when it is to', async () => {
    await written();
    await flag();
    const control = new AbortController();
    traced.onRequest = ({ text }) => {
      if (text === 'pgnls') control.abort();
    };
    const error = await until(
      image.rebuildObjectMap({ signal: control.signal }).catch((failure: unknown) => failure),
    );
    expect(error).toMatchObject({ code: 'ECANCELED' });
    expect((await maps()).at(-1)).toMatchObject({ objectMapInvalid: true });
  });
});

describe('a check of the maps of an image of which little exists', () => {
  it('asks for few objects, and tells what it would tell of all', async () => {
    const [s1, s2] = await written();
    await mark(0, 1, 0);
    await mark(100, 110, 1);
    await mark(200, 202, 2);
    await mark(1, 2, 0, s1);
    await mark(300, 301, 0, s2);
    await reopen();
    const probes = count('list-snaps');
    expect(await check()).toEqual([
      { objectNo: 0, marked: 0, actual: 3 },
      { objectNo: 200, marked: 2, actual: 0 },
      { objectNo: 201, marked: 2, actual: 0 },
    ]);
    expect(probes()).toBe(7 + 2);
    expect(await check(s1)).toEqual([{ objectNo: 1, marked: 0, actual: 1 }]);
    expect(await check(s2)).toEqual([{ objectNo: 300, marked: 0, actual: 1 }]);
    expect((await maps()).map(({ objectMapInvalid }) => objectMapInvalid)).toEqual([
      true,
      true,
      true,
    ]);
  });
});
