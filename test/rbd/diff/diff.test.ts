// Goal: a diff tells of all that an image has at its end and did not have at its start, where objects alone do not show it.
// Method: the embedded cluster in virtual time.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeOp } from '../../../src/messages/osd-op.js';
import { type CreateOptions, createImage } from '../../../src/rbd/create.js';
import { diffBatches } from '../../../src/rbd/diff/diff.js';
import { FEATURE } from '../../../src/rbd/features.js';
import { Image } from '../../../src/rbd/image.js';
import { dataObject } from '../../../src/rbd/layout.js';
import { ClusterWorld, type WorldClient } from '../../support/cluster-world.js';

const OBJECT = 65_536;
const SPEC = { pool: 'rbd', namespace: '', name: 'vm1' };

let at: ClusterWorld;
let client: WorldClient;

beforeEach(async () => {
  at = await ClusterWorld.start();
  client = await at.client();
});
afterEach(() => at.stop());

/** What changed while the image grew from one and a half objects to six; `late` were written beyond its end before. */
async function changesOfGrowth(
  late: readonly (readonly [objectNo: number, offset: number])[],
  options: Partial<CreateOptions> = {},
) {
  const plain = { size: 1.5 * OBJECT, order: 16, features: FEATURE.LAYERING };
  await createImage(client.rados, SPEC, { ...plain, ...options });
  await using image = await Image.open(client.rados, SPEC);
  await image.write(0, Buffer.alloc(image.size, 'data'));
  const { ioctx, header } = image;
  for (const [objectNo, offset] of late) {
    const oid = dataObject(header.objectPrefix, objectNo);
    await ioctx.operate(oid, [writeOp(offset, Buffer.from('late'))]);
  }
  await image.snapshots.create('small');
  await image.resize(6 * OBJECT);
  await image.snapshots.create('grown');
  const changes = async (wholeObject: boolean) => {
    const extents = [];
    for await (const batch of diffBatches(image, { from: 'small', to: 'grown', wholeObject })) {
      extents.push(...batch);
    }
    return extents;
  };
  return { exact: await changes(false), whole: await changes(true) };
}

describe('a diff from a smaller image to a larger one', () => {
  it('tells of nothing when nothing was written', async () => {
    expect(await at.until(changesOfGrowth([]))).toEqual({ exact: [], whole: [] });
  });

  it('tells of what was written beyond the end before, by a write that raced with a shrink', async () => {
    const late = [
      [1, 40_000],
      [4, 100],
    ] as const;
    const data = (offset: number, end: number) => ({ offset, length: end - offset, exists: true });
    expect(await at.until(changesOfGrowth(late))).toEqual({
      exact: [data(1.5 * OBJECT, OBJECT + 40_004), data(4 * OBJECT, 4 * OBJECT + 104)],
      whole: [data(OBJECT, 2 * OBJECT), data(4 * OBJECT, 5 * OBJECT)],
    });
  });

  it('tells of it in stripes too', async () => {
    // Objects 0, 1, 2 have 8 units of 8 KiB in turn; 12 units are the image at first.
    const striped = { stripeUnit: 8192, stripeCount: 3 };
    const unit = 8192;
    const { exact } = await at.until(changesOfGrowth([[2, 4 * unit]], striped));
    expect(exact).toEqual([{ offset: 14 * unit, length: 4, exists: true }]);
  });
});
