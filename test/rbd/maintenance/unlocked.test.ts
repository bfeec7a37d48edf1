// Goal: what is done to an image as a whole beside other clients, where no exclusive lock keeps them apart. Method: the
// removal of objects is held up at the OSD while another client does something.

import { afterEach, expect, it } from 'vitest';
import { MANAGEMENT_OPS_MAX } from '../../../src/rbd/concurrency.js';
import { FEATURE } from '../../../src/rbd/features.js';
import { Image } from '../../../src/rbd/image.js';
import type { CreateOptions } from '../../../src/rbd/create.js';
import { VirtualWorld } from '../../../src/sim/virtual-world.js';
import { ClusterWorld } from '../../support/cluster-world.js';

const OBJECT = 1 << 16;
/** More than are removed at a time. */
const OBJECTS = 3 * MANAGEMENT_OPS_MAX;

let at: ClusterWorld;
afterEach(() => at.stop());

const BYTES = Buffer.alloc(OBJECTS * OBJECT, 7);

async function unlockedImage(options: Partial<CreateOptions> = {}) {
  const client = await at.client();
  await client.create('vm1', {
    ...{ size: OBJECTS * OBJECT, order: 16, features: FEATURE.LAYERING },
    ...options,
  });
  const image = await client.open('vm1');
  const other = await (await at.client()).open('vm1');
  await at.until(image.write(0, BYTES));
  return { image, other };
}

/** Of the snapshot, all but the first objects. */
async function expectKept(objects: number): Promise<void> {
  const { rados } = await at.client();
  const spec = { pool: 'rbd', name: 'vm1', snap: 's' };
  const snapshot = await at.until(Image.open(rados, spec, { readOnly: true }));
  const rest = objects * OBJECT;
  const kept = await at.until(snapshot.read(rest, BYTES.length - rest));
  expect(Buffer.from(kept).equals(BYTES.subarray(rest))).toBe(true);
}

it('a shrink goes by the snapshots that others take meanwhile', async () => {
  at = await ClusterWorld.start();
  const { image, other } = await unlockedImage();
  const held = await at.until(
    at.faults.delayReplies({ prefix: 'rbd_data.', ops: 'write', ms: 60_000 }),
  );
  const shrunk = image.resize(0, { allowShrink: true });
  await at.world.advance(1000);
  expect(await at.until(held.fired())).toBe(MANAGEMENT_OPS_MAX);
  await at.until(other.snapshots.create('s'));
  await at.until(held.stop());
  await at.until(shrunk);
  await expectKept(MANAGEMENT_OPS_MAX);
});

it('also when a removal that was made before that was not sent yet', async () => {
  at = await ClusterWorld.startIn(new VirtualWorld(), {
    osds: 2,
    pools: [
      { name: 'rbd', pgNum: 1 },
      { name: 'data', pgNum: 1 },
    ],
  });
  await at.until(at.faults.movePg({ pool: 'rbd', pg: 0, to: 0 }));
  await at.until(at.faults.movePg({ pool: 'data', pg: 0, to: 1 }));
  const { image, other } = await unlockedImage({ dataPool: 'data' });
  const refused = await at.until(at.faults.refuseConnections({ osd: 1 }));
  // It has heard that its connection is gone.
  await at.world.advance(1000);
  const shrunk = image.resize(OBJECT, { allowShrink: true });
  await at.world.advance(1000);
  await at.until(other.snapshots.create('s'));
  await at.until(refused.stop());
  await at.until(shrunk);
  expect(image.size).toBe(OBJECT);
  await expectKept(0);
});
