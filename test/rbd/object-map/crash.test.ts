// Goal: whatever an operation was at when its client died, or when a request failed, no object is ever missing in a map that
// is to be believed. Method: each operation meets with an accident at each of its requests in turn; see crash-scene.ts.

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { cloneImage } from '../../../src/rbd/clone.js';
import { FEATURE } from '../../../src/rbd/features.js';
import type { Image } from '../../../src/rbd/image.js';
import { ClusterWorld, type WorldClient } from '../../support/cluster-world.js';
import { type CrashScenario, CrashScene, OBJECT } from '../../support/crash-scene.js';

const OBJECTS = 5;
const SIZE = OBJECTS * OBJECT;
const { LAYERING, EXCLUSIVE_LOCK, OBJECT_MAP, FAST_DIFF, DEEP_FLATTEN } = FEATURE;
const FEATURES = LAYERING | EXCLUSIVE_LOCK | OBJECT_MAP | FAST_DIFF;

// Each is many runs.
vi.setConfig({ testTimeout: 120_000 });

let at: ClusterWorld;

beforeEach(async () => {
  at = await ClusterWorld.start();
  await parent(await at.client());
});
afterEach(() => at.stop());

/** Objects 0 to 2 of a parent. */
async function parent(client: WorldClient): Promise<void> {
  await client.create('parent', { size: SIZE, order: 16, features: LAYERING });
  const image = await client.open('parent');
  await at.until(write(image, [0, 1, 2], 0xaa));
  await at.until(image.snapshots.create('s'));
  await at.until(image.close());
}

const plain = (client: WorldClient, name: string) =>
  client.create(name, { size: SIZE, order: 16, features: FEATURES });
const withoutMap = (client: WorldClient, name: string) =>
  client.create(name, { size: SIZE, order: 16, features: LAYERING | EXCLUSIVE_LOCK });
const clone = (client: WorldClient, name: string) =>
  at.until(
    cloneImage(
      client.rados,
      { pool: 'rbd', name: 'parent', snap: 's' },
      { pool: 'rbd', namespace: '', name },
      { format: 2, features: FEATURES | DEEP_FLATTEN },
    ),
  );
const nothing = () => Promise.resolve();
/** Some bytes into each object, all at a time. */
const write = (image: Image, objects: readonly number[], fill: number) =>
  Promise.all(objects.map((objectNo) => image.write(objectNo * OBJECT, Buffer.alloc(4096, fill))));
/** Objects 0 to 2, with a snapshot that has them. */
async function withSnapshot(image: Image): Promise<void> {
  await write(image, [0, 1, 2], 1);
  await image.snapshots.create('s1');
}

const SCENARIOS: readonly CrashScenario[] = [
  {
    name: 'writes of new objects',
    create: plain,
    prepare: (image) => write(image, [1], 1),
    act: (image) => write(image, [0, 1, 2, 4], 2),
  },
  {
    name: 'writes of clean objects',
    create: plain,
    prepare: withSnapshot,
    act: (image) => write(image, [1, 2], 2),
  },
  {
    name: 'discards of whole objects',
    create: plain,
    prepare: (image) => write(image, [0, 1, 2, 3], 1),
    act: (image) => image.discard(OBJECT, 2 * OBJECT),
  },
  {
    name: 'discards of objects that a snapshot keeps',
    create: plain,
    prepare: withSnapshot,
    act: (image) => image.discard(OBJECT, 2 * OBJECT),
  },
  {
    name: 'zeros over parts of objects',
    create: plain,
    prepare: withSnapshot,
    act: (image) => image.writeZeroes(OBJECT / 2, 2 * OBJECT),
  },
  {
    name: 'a write and a discard of the same object',
    create: plain,
    hasZeros: true,
    prepare: (image) => write(image, [1], 1),
    act: async (image) => {
      await Promise.all([image.discard(OBJECT, OBJECT), write(image, [1, 2], 2)]);
      await write(image, [1, 2], 2);
    },
  },
  {
    name: 'a snapshot that is taken',
    create: plain,
    prepare: async (image) => {
      await withSnapshot(image);
      await write(image, [2, 4], 2);
    },
    act: (image) => image.snapshots.create('s2'),
  },
  {
    name: 'the first of two snapshots that is removed',
    create: plain,
    prepare: async (image) => {
      await withSnapshot(image);
      await write(image, [2, 4], 2);
      await image.snapshots.create('s2');
      await write(image, [3], 3);
    },
    act: (image) => image.snapshots.remove('s1'),
  },
  {
    name: 'the last of two snapshots that is removed',
    create: plain,
    prepare: async (image) => {
      await withSnapshot(image);
      await write(image, [2, 4], 2);
      await image.snapshots.create('s2');
      await write(image, [3], 3);
    },
    act: (image) => image.snapshots.remove('s2'),
  },
  {
    name: 'a roll-back',
    create: plain,
    prepare: async (image) => {
      await withSnapshot(image);
      await write(image, [2, 4], 2);
      await image.discard(0, OBJECT);
    },
    act: (image) => image.snapshots.rollback('s1'),
  },
  {
    name: 'an image that grows, and is written there',
    create: plain,
    prepare: withSnapshot,
    act: async (image) => {
      await image.resize(SIZE + 2 * OBJECT);
      await write(image, [OBJECTS + 1], 2);
    },
  },
  {
    name: 'an image that shrinks',
    create: plain,
    prepare: (image) => write(image, [0, 1, 2, 4], 1),
    act: (image) => image.resize(OBJECT + 512, { allowShrink: true }),
  },
  {
    name: 'an image with a snapshot that shrinks',
    create: plain,
    prepare: withSnapshot,
    act: (image) => image.resize(OBJECT + 512, { allowShrink: true }),
  },
  {
    name: 'writes that copy up',
    create: clone,
    prepare: nothing,
    act: (image) => write(image, [0, 2, 4], 2),
  },
  {
    name: 'writes that copy up under a snapshot',
    create: clone,
    prepare: (image) => image.snapshots.create('s1'),
    act: (image) => write(image, [0, 2, 4], 2),
  },
  {
    name: 'discards in a clone',
    create: clone,
    prepare: (image) => write(image, [1], 2),
    act: (image) => image.discard(0, 2 * OBJECT),
  },
  {
    name: 'a flatten',
    create: clone,
    prepare: (image) => write(image, [1], 2),
    act: (image) => image.flatten(),
  },
  {
    name: 'a flatten with a snapshot',
    create: clone,
    prepare: async (image) => {
      await image.snapshots.create('s1');
      await write(image, [1], 2);
    },
    act: (image) => image.flatten(),
  },
  {
    name: 'a rebuild',
    create: withoutMap,
    prepare: async (image) => {
      await withSnapshot(image);
      await write(image, [2, 4], 2);
      await image.updateFeatures(OBJECT_MAP, true);
    },
    act: (image) => image.rebuildObjectMap(),
  },
  {
    name: 'a map that is given',
    create: withoutMap,
    prepare: withSnapshot,
    act: (image) => image.updateFeatures(OBJECT_MAP, true),
  },
  {
    name: 'a map that is taken away',
    create: plain,
    prepare: withSnapshot,
    act: (image) => image.updateFeatures(OBJECT_MAP, false),
  },
];

describe.each(SCENARIOS)('O25 $name', (scenario) => {
  it('with a client that dies at any request', async () => {
    const scene = await CrashScene.begin(at, scenario);
    expect(await scene.everywhere('die')).toBeGreaterThan(1);
  });

  it('with a request that fails, carried out or not', async () => {
    const scene = await CrashScene.begin(at, scenario);
    expect(await scene.everywhere('refuse', 'lose')).toBeGreaterThan(1);
  });
});
