// Goal: an image with an object map works, its map is what Ceph's tools expect, and costs no more than it must. Method: the
// embedded cluster and clients in virtual time; what the map says is compared with the objects themselves.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FEATURE } from '../../../src/rbd/features.js';
import { Image } from '../../../src/rbd/image.js';
import { ClusterWorld } from '../../support/cluster-world.js';
import { MapOracle } from '../../support/map-oracle.js';
import { TracedClient } from '../../support/traced-client.js';

const OBJECT = 1 << 16;
const OBJECTS = 40;
const SPEC = { pool: 'rbd', namespace: '', name: 'vm1' };
const FEATURES = FEATURE.LAYERING | FEATURE.EXCLUSIVE_LOCK | FEATURE.OBJECT_MAP | FEATURE.FAST_DIFF;

let at: ClusterWorld;
let traced: TracedClient;
let oracle: MapOracle;
let image: Image;

beforeEach(async () => {
  at = await ClusterWorld.start();
  traced = await TracedClient.connect(at);
  await traced.client.create('vm1', { size: OBJECTS * OBJECT, order: 16, features: FEATURES });
  const judge = await at.client();
  oracle = new MapOracle(await at.until(judge.rados.ioctx('rbd')), 'vm1');
  image = await at.until(Image.open(traced.context, SPEC));
});

afterEach(() => at.stop());

const until = <T>(step: Promise<T>) => at.until(step);
const bytes = (fill: number, length = 4096) => Buffer.alloc(length, fill);
const states = async () => (await until(oracle.head())).states;
const map = (known: Record<number, number>) =>
  Array.from({ length: OBJECTS }, (_, i) => known[i] ?? 0);
/** Requests to the map's object, after `action`. */
async function mapRequests(action: () => Promise<unknown>): Promise<string[]> {
  const before = traced.log.length;
  await until(action());
  return traced.log.slice(before).filter((line) => line.startsWith('rbd_object_map.'));
}

describe('writes of an image with an object map', () => {
  it('pay one update of the map for an object that is new, and none for one that is there', async () => {
    await until(image.acquireLock());
    const updates = () => image.objectMap?.counters.updates;
    expect(await mapRequests(() => image.write(3 * OBJECT, bytes(1)))).toEqual([
      expect.stringMatching(/: lock.assert_locked, rbd.object_map_update$/),
    ]);
    expect(updates()).toBe(1);
    for (let i = 0; i < 100; i++) {
      expect(await mapRequests(() => image.write(3 * OBJECT + i * 512, bytes(i)))).toEqual([]);
    }
    expect(updates()).toBe(1);
    expect(await states()).toEqual(map({ 3: 1 }));
    // Nor do they hint at the size of an object that is there.
    const data = traced.log.filter((line) => line.startsWith('rbd_data.'));
    expect(data[0]).toMatch(/: setallochint, write$/);
    expect(new Set(data.slice(1).map((line) => line.replace(/^.*: /, '')))).toEqual(
      new Set(['write']),
    );
  });

  it('store the update before the data goes', async () => {
    await until(image.write(OBJECT, bytes(1)));
    const update = traced.log.findIndex((line) => line.includes('object_map_update'));
    const data = traced.log.findIndex((line) => /^rbd_data.*write/.test(line));
    expect(update).toBeGreaterThan(0);
    expect(data).toBeGreaterThan(update);
  });

  it('of many new objects at once share requests: one for neighbours', async () => {
    await until(image.acquireLock());
    expect(await mapRequests(() => image.write(5 * OBJECT, bytes(1, 20 * OBJECT)))).toHaveLength(1);
    expect(await states()).toEqual(map(Object.fromEntries(range(5, 25).map((i) => [i, 1]))));
  });

  it('of new objects here and there are one request each, that all take effect', async () => {
    await until(image.acquireLock());
    const write = (objectNo: number) => image.write(objectNo * OBJECT, bytes(1));
    const requests = await mapRequests(() => Promise.all([1, 3, 4, 9, 30].map(write)));
    expect(requests).toHaveLength(4);
    expect(await states()).toEqual(map({ 1: 1, 3: 1, 4: 1, 9: 1, 30: 1 }));
  });

  it('that come while an update is on its way go together with the next', async () => {
    await until(image.acquireLock());
    const requests = await mapRequests(async () => {
      const first = image.write(0, bytes(1));
      await at.world.advance(0.05);
      const others = [1, 2, 3].map((i) => image.write(i * OBJECT, bytes(1)));
      await until(Promise.all([first, ...others]));
    });
    expect(requests).toHaveLength(2);
    expect(await states()).toEqual(map({ 0: 1, 1: 1, 2: 1, 3: 1 }));
  });

  it('of one new object by several at once are one update', async () => {
    await until(image.acquireLock());
    const writes = () =>
      Promise.all([...range(0, 10)].map((i) => image.write(OBJECT + 4096 * i, bytes(i))));
    expect(await mapRequests(writes)).toHaveLength(1);
  });
});

describe('discards', () => {
  it('of a whole object go by way of PENDING, and leave none', async () => {
    await until(image.write(OBJECT, bytes(1, 3 * OBJECT)));
    expect(await states()).toEqual(map({ 1: 1, 2: 1, 3: 1 }));
    const seen: unknown[] = [];
    traced.onRequest = async ({ oid, text }) => {
      if (oid.startsWith('rbd_data.') && text === 'delete') {
        seen.push((await oracle.head()).states?.[2]);
      }
    };
    await until(image.discard(2 * OBJECT, OBJECT));
    expect(seen).toEqual([2]);
    expect(await states()).toEqual(map({ 1: 1, 3: 1 }));
    expect(await until(oracle.violations())).toEqual([]);
  });

  it('of what is not there send nothing', async () => {
    await until(image.acquireLock());
    const before = traced.log.length;
    await until(image.discard(0, 4 * OBJECT));
    await until(image.writeZeroes(100, 5000));
    expect(traced.log.slice(before)).toEqual([]);
  });

  it('O5 and writes of the same object, in any order, leave no object that the map does not have', async () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = (n: number) => Math.floor(at.world.random.float() * n);
      const act = async () => {
        await new Promise<void>((resolve) => at.world.after(random(20) / 10, resolve));
        if (random(2) === 0) await image.write(random(4096), bytes(seed));
        else await image.discard(0, OBJECT);
      };
      await until(Promise.all(range(0, 6).map(act)));
      const { states: seen, objects } = await until(oracle.head());
      expect([seed, seen?.[0]]).toEqual([seed, objects[0] ? 1 : 0]);
    }
  });
});

describe('reads', () => {
  it('of what the owner of the lock knows not to be there ask nobody', async () => {
    await until(image.write(2 * OBJECT, bytes(7)));
    const before = traced.log.length;
    const read = Buffer.from(await until(image.read(0, 4 * OBJECT)));
    expect(traced.log.slice(before)).toEqual([expect.stringMatching(/^rbd_data.*2: read$/)]);
    expect(read.subarray(2 * OBJECT, 2 * OBJECT + 4096).equals(bytes(7))).toBe(true);
    expect(read.subarray(2 * OBJECT + 4096).equals(bytes(0, 2 * OBJECT - 4096))).toBe(true);
  });

  it('O19 of a client without the lock ask for every object, whatever the map said once', async () => {
    await until(image.acquireLock());
    const other = await TracedClient.connect(at);
    const peer = await until(Image.open(other.context, SPEC));
    for (let round = 1; round <= 20; round++) {
      await until(image.write(round * OBJECT, bytes(round)));
      const read = await until(peer.read(round * OBJECT, 4096));
      expect(Buffer.from(read).equals(bytes(round))).toBe(true);
    }
    expect(peer.objectMap).toBeUndefined();
    await until(peer.close());
  });
});

describe('a change of the size', () => {
  it('comes with a change of the map', async () => {
    await until(image.write(10 * OBJECT, bytes(1, 20 * OBJECT)));
    await until(image.resize(60 * OBJECT));
    expect((await until(oracle.head())).states).toHaveLength(60);
    await until(image.write(59 * OBJECT, bytes(1)));
    await until(image.resize(20 * OBJECT + 100, { allowShrink: true }));
    const known = map(Object.fromEntries(range(10, 21).map((i) => [i, 1]))).slice(0, 21);
    expect(await states()).toEqual(known);
    await until(image.resize(20 * OBJECT, { allowShrink: true }));
    expect(await states()).toEqual(known.slice(0, 20));
    expect(await until(oracle.violations())).toEqual([]);
  });

  it('deletes only what is there', async () => {
    await until(image.write(30 * OBJECT, bytes(1)));
    const before = traced.log.length;
    await until(image.resize(0, { allowShrink: true }));
    const requests = traced.log.slice(before).map((line) => line.replace(/\.[0-9a-f]{6,}/, ''));
    expect(requests.filter((line) => line.startsWith('rbd_data'))).toHaveLength(1);
    expect(requests.filter((line) => line.startsWith('rbd_object_map'))).toEqual([
      'rbd_object_map: lock.assert_locked, rbd.object_map_update',
      'rbd_object_map: lock.assert_locked, rbd.object_map_update',
      'rbd_object_map: lock.assert_locked, rbd.object_map_resize',
    ]);
  });

  it('is refused beyond what a map may have', async () => {
    const error = await until(image.resize(256_000_001 * OBJECT).catch((e: unknown) => e));
    expect(error).toMatchObject({ code: 'EINVAL', outcome: 'not-applied' });
    expect(image.size).toBe(OBJECTS * OBJECT);
  });
});

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}
