// Goal: a full pool can be emptied. Method: the embedded cluster, whose OSDs take what real ones do.

import { expect, it } from 'vitest';
import { createImage } from '../../src/rbd/create.js';
import { listImages } from '../../src/rbd/directory.js';
import { FEATURE } from '../../src/rbd/features.js';
import { removeImage } from '../../src/rbd/remove.js';
import { Image } from '../../src/rbd/image.js';
import { Bench, POOL } from '../cluster/faults/support.js';

it('an image is removed from a full pool, also when nothing was ever in its trash', async () => {
  const bench = await Bench.start();
  const { rados, io } = await bench.client();
  const spec = { pool: POOL, namespace: '', name: 'vm1' };
  await createImage(rados, spec, { size: 16 * 1024 * 1024, features: FEATURE.LAYERING });
  {
    await using image = await Image.open(rados, spec);
    await image.write(0, Buffer.alloc(4096, 1));
  }
  const fault = await bench.faults.full({ pool: POOL });
  await removeImage(rados, spec);
  expect(await listImages(io)).toEqual([]);
  await fault.stop();
});
