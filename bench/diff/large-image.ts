/** An image of millions of objects, none of which is there: its object maps are made, and say otherwise. */

import { ObjectBitmap } from '../../src/kernels/bitmap.js';
import { threadBitmapMemory } from '../../src/kernels/bitmap-memory.js';
import { OBJECT_STATE } from '../../src/kernels/object-state.js';
import { mutate } from '../../src/rados/class-call.js';
import { objectMapSave } from '../../src/rados/cls-rbd.js';
import type { RadosClient } from '../../src/rados/rados-client.js';
import { createImage } from '../../src/rbd/create.js';
import { FEATURE } from '../../src/rbd/features.js';
import { Image } from '../../src/rbd/image.js';
import { objectMapObject } from '../../src/rbd/names.js';
import type { NamedImageSpec } from '../../src/rbd/spec.js';

const { LAYERING, EXCLUSIVE_LOCK, OBJECT_MAP, FAST_DIFF } = FEATURE;
const { EXISTS, EXISTS_CLEAN, NONEXISTENT } = OBJECT_STATE;

export interface LargeImageOptions {
  readonly objects: number;
  /** Objects that were written between snapshot `a` and snapshot `b`, and as many since. */
  readonly changed: number;
}

/** With snapshots `a` and `b`. Three of four objects exist, in long runs; those that changed lie scattered. */
export async function makeLargeImage(
  client: RadosClient,
  spec: NamedImageSpec,
  { objects, changed }: LargeImageOptions,
): Promise<void> {
  const order = 22;
  const features = LAYERING | EXCLUSIVE_LOCK | OBJECT_MAP | FAST_DIFF;
  await createImage(client, spec, { size: objects * 2 ** order, order, features });
  await using image = await Image.open(client, spec);
  await image.snapshots.create('a');
  await image.snapshots.create('b');
  const [a, b] = image.header.snapshots.map(({ id }) => id);

  const map = ObjectBitmap.allocate(threadBitmapMemory(), objects, EXISTS);
  const holes = 64;
  for (let i = 0; i < holes; i++) {
    const start = Math.floor((i * objects) / holes);
    map.fill(start, start + Math.floor(objects / holes / 4), NONEXISTENT);
  }
  await save(image, map, a);
  map.snapshotAdded();
  const clean = map.clone();
  // Two strides that have no divisor in common with the number of objects go over all of them, far apart.
  scatter(map, changed, 7919);
  await save(image, map, b);
  scatter(clean, changed, 104_729);
  await save(image, clean, undefined);
  map.free();
  clean.free();
}

function scatter(map: ObjectBitmap, count: number, stride: number): void {
  const { objectCount } = map;
  const step = (Math.floor(objectCount / count) * stride) | 1;
  for (let i = 0; i < count; i++) {
    const objectNo = (i * step) % objectCount;
    if (map.get(objectNo) === EXISTS_CLEAN) map.set(objectNo, EXISTS);
  }
}

/** The lock is nobody's: the head's map is written as it stands. */
async function save(image: Image, map: ObjectBitmap, snapId: bigint | undefined): Promise<void> {
  await mutate(image.ioctx, objectMapObject(image.id, snapId), [objectMapSave(map.encode())]);
}
