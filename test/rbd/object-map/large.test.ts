// Goal: maps of many objects, up to as many as one may have, are kept in the memory that they take, and a change of one object
// costs what it costs in a small map. Method: the embedded cluster, in virtual time; the memory of maps counts what is in use.

import { afterEach, beforeEach, expect, it } from 'vitest';
import { threadBitmapMemory } from '../../../src/kernels/bitmap-memory.js';
import { type DiffExtent, diffBatches } from '../../../src/rbd/diff/diff.js';
import { truncateOp } from '../../../src/messages/osd-op.js';
import { mutate } from '../../../src/rados/class-call.js';
import { setFlags } from '../../../src/rados/cls-rbd.js';
import { FEATURE } from '../../../src/rbd/features.js';
import { Image } from '../../../src/rbd/image.js';
import { headerObject, objectMapObject } from '../../../src/rbd/names.js';
import { ClusterWorld } from '../../support/cluster-world.js';
import { TracedClient } from '../../support/traced-client.js';

const OBJECT = 4096;
const SPEC = { pool: 'rbd', namespace: '', name: 'vm1' };
const FEATURES = FEATURE.LAYERING | FEATURE.EXCLUSIVE_LOCK | FEATURE.OBJECT_MAP | FEATURE.FAST_DIFF;
/** What is read into a map's place, and pages. */
const SPARE_BYTES = 512 * 1024;
/** The desk of the pool's threads, which maps above 8 MiB have. */
const POOL_BYTES = 2 * 1024 * 1024;

let at: ClusterWorld;
let traced: TracedClient;

beforeEach(async () => {
  at = await ClusterWorld.start();
  traced = await TracedClient.connect(at);
});
afterEach(() => at.stop());

/** As many as a listing tells of, and some that only a snapshot has. */
const SPREAD = 1000;

/** The threads of the kernels' pool work by real time, while virtual time flies. */
const PATIENCE_MS = 1e9;

const until = <T>(step: Promise<T>) => at.world.until(step, { patienceMs: PATIENCE_MS });

it.each([10_000_000, 256_000_000])(
  'O22 an image of %i objects is opened, written, compared and cut in the memory of its map',
  async (objects) => {
    const before = threadBitmapMemory().usedBytes;
    const used = () => threadBitmapMemory().usedBytes - before;
    const size = objects * OBJECT;
    await traced.client.create('vm1', { size, order: 12, features: FEATURES });
    const image = await until(Image.open(traced.context, SPEC));
    await until(image.acquireLock());
    expect(image.objectMap?.head.isValid).toBe(true);
    expect(used()).toBeLessThan(objects / 4 + SPARE_BYTES);

    const sent: number[] = [];
    traced.onRequest = ({ text, ops }) => {
      if (text.includes('object_map_update')) sent.push(ops.at(-1)?.indata.length ?? 0);
    };
    const write = (objectNo: number) =>
      until(image.write(objectNo * OBJECT, Buffer.alloc(OBJECT, 1)));
    for (const objectNo of [0, objects >>> 1, objects - 1]) await write(objectNo);
    expect(sent).toHaveLength(3);
    expect(Math.max(...sent)).toBeLessThan(64);

    await until(image.snapshots.create('s1'));
    await write(7_777_777);
    await until(image.discard((objects - 1) * OBJECT, OBJECT));
    expect(image.objectMap?.countExisting(0, objects)).toBe(3);
    expect(used()).toBeLessThan(objects / 4 + SPARE_BYTES);
    const found: DiffExtent[] = [];
    const compare = async () => {
      for await (const batch of diffBatches(image, { from: 's1', wholeObject: true })) {
        found.push(...batch);
      }
    };
    await until(compare());
    expect(found).toEqual([
      { offset: 7_777_777 * OBJECT, length: OBJECT, exists: true },
      { offset: (objects - 1) * OBJECT, length: OBJECT, exists: false },
    ]);

    const deletes = () => traced.log.filter((line) => /rbd_data.*delete$/.test(line)).length;
    const deleted = deletes();
    await until(image.resize(1000 * OBJECT, { allowShrink: true }));
    expect(deletes() - deleted).toBe(2);
    expect(image.objectMap?.head.states.objectCount).toBe(1000);
    await until(image.close());
    expect(used()).toBeLessThan(POOL_BYTES);
  },
  120_000,
);

// Each of the objects would be asked for, and this would take days, if they were not listed.
it('O23 an image of 256000000 objects, of which 1000 exist, is rebuilt and checked by what its pool lists', async () => {
  const objects = 256_000_000;
  await traced.client.create('vm1', { size: objects * OBJECT, order: 12, features: FEATURES });
  let image = await until(Image.open(traced.context, SPEC));
  await until(image.acquireLock());
  const offsets = Array.from({ length: SPREAD }, (_, i) => (i * 127_999 + 1) * OBJECT);
  const write = (offset: number) => image.write(offset, Buffer.alloc(1, 1));
  await until(Promise.all(offsets.map(write)));
  await until(image.snapshots.create('s1'));
  const gone = offsets.slice(0, SPREAD / 2);
  await until(Promise.all(gone.map((offset) => image.discard(offset, OBJECT))));
  await until(write(5 * OBJECT));
  const snapId = image.header.snapshots[0]?.id;
  const judge = await at.client();
  const ioctx = await until(judge.rados.ioctx('rbd'));
  const stored = async (of?: bigint) =>
    Buffer.from(await until(ioctx.read(objectMapObject(image.id, of), 0, 0)));
  const right = [await stored(), await stored(snapId)];
  await until(image.close());

  for (const of of [undefined, snapId]) {
    await until(ioctx.operate(objectMapObject(image.id, of), [truncateOp(0)]));
    await until(mutate(ioctx, headerObject(image.id), [setFlags(3n, 3n, of)]));
  }
  image = await until(Image.open(traced.context, SPEC));
  await until(image.acquireLock());
  const before = threadBitmapMemory().usedBytes;
  let used = 0;
  traced.onRequest = () => {
    used = Math.max(used, threadBitmapMemory().usedBytes - before);
  };
  const asked = traced.log.length;
  await until(image.rebuildObjectMap());
  expect(traced.log.slice(asked).filter((line) => line.endsWith('list-snaps'))).toHaveLength(
    SPREAD + 1,
  );
  // The snapshot's map, the objects that were found, and the head's as it was, while it is stored.
  expect(used).toBeLessThan(3 * (objects / 4 + SPARE_BYTES));
  const rebuilt = [await stored(), await stored(snapId)];
  expect(rebuilt.map((bytes, i) => bytes.equals(right[i] ?? bytes.subarray(1)))).toEqual([
    true,
    true,
  ]);
  const wrong: unknown[] = [];
  await until(image.checkObjectMap((error) => wrong.push(error)));
  expect(wrong).toEqual([]);
  await until(image.close());
}, 120_000);
