// Goal: maps of many objects, up to as many as one may have, are kept in the memory that they take, and a change of one object
// costs what it costs in a small map. Method: the embedded cluster, in virtual time; the memory of maps counts what is in use.

import { afterEach, beforeEach, expect, it } from 'vitest';
import { threadBitmapMemory } from '../../../src/kernels/bitmap-memory.js';
import { type DiffExtent, diffBatches } from '../../../src/rbd/diff/diff.js';
import { FEATURE } from '../../../src/rbd/features.js';
import { Image } from '../../../src/rbd/image.js';
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

const until = <T>(step: Promise<T>) => at.until(step);

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
