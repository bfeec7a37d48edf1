// Goal: R6, B6. A write that has waited for its OSD while the header changed goes by the new header, and the image can prove
// it. Method: the embedded cluster, one of whose OSDs takes no connections for a while.

import { expect, it } from 'vitest';
import { createImage } from '../../src/rbd/create.js';
import { FEATURE } from '../../src/rbd/features.js';
import { Image } from '../../src/rbd/image.js';
import { notifyHeaderUpdate } from '../../src/rbd/notify.js';
import { Bench, env, POOL, until } from '../cluster/faults/support.js';

const MIB = 1024 * 1024;

it('an operation that waited for its OSD while the header changed goes by the new one', async () => {
  const bench = await Bench.start({ pools: [{ name: POOL, pgNum: 16 }] });
  const { rados, io } = await bench.client();
  const spec = { pool: POOL, namespace: '', name: 'vm1' };
  // Of so many objects that not all can be where the header is: one OSD of three has 11 of these 16 PGs.
  const objects = 1024;
  await createImage(rados, spec, { size: objects * 4 * MIB, features: FEATURE.LAYERING });
  await using image = await Image.open(rados, spec);
  const status = () => {
    const found = image.watchStatus();
    if (!found) throw new Error('not watched');
    return found;
  };
  const objectOf = (objectNo: number) =>
    `${image.header.objectPrefix}.${objectNo.toString(16).padStart(16, '0')}`;
  const headerOsd = await bench.primary(rados, `rbd_header.${image.id}`);
  let objectNo = 0;
  while ((await bench.primary(rados, objectOf(objectNo))) === headerOsd) objectNo++;
  expect(objectNo).toBeLessThan(objects);

  const osd = await bench.primary(rados, objectOf(objectNo));
  const refusal = await bench.faults.refuseConnections({ osd });
  const written = image.write(objectNo * 4 * MIB, Buffer.from('late'));
  await refusal.untilFired(2);
  const { refreshes } = status();
  await notifyHeaderUpdate(io, image.id, env);
  // Read again already when the write can go: only by what it was made by is it known to be late.
  await until(() => status().refreshes > refreshes && status().appliedSeq === status().refreshSeq);
  expect(rados.pending).toBe(1);
  await refusal.stop();
  expect(await written).toBe(4);
  expect(status().staleSends).toBe(0);
  expect(Buffer.from(await image.read(objectNo * 4 * MIB, 4)).toString()).toBe('late');
});
