/** Making sure that a pool can hold images, once in its life (`librbd/image/ValidatePoolRequest.cc`). */

import { isRadosError, RadosError } from '../base/errors.js';
import { createOp, writeOp } from '../messages/osd-op.js';
import type { IoContext } from '../rados/io-context.js';
import { unless } from './errors.js';
import { RBD_INFO } from './names.js';

/** Two texts of different length: writing the second over the first proves that the pool takes overwrites. */
const BEFORE = Buffer.from('validate');
const VALIDATED = Buffer.from('overwrite validated');

/**
 * Marks the pool as validated unless it is already. Checks that it hands out self-managed snapshots (which puts the
 * pool into that mode for good) and that objects can be overwritten (not so in plain erasure-coded pools). EINVAL: one
 * of the two is not so.
 */
export async function validatePool(pool: IoContext): Promise<void> {
  const ioctx = pool.withNamespace('');
  const mark = await unless('ENOENT', ioctx.read(RBD_INFO, 0, 0));
  if (mark && Buffer.compare(mark, VALIDATED) === 0) return;
  try {
    await ioctx.removeSelfManagedSnap(await ioctx.createSelfManagedSnap());
  } catch (error) {
    throw isRadosError(error, 'EINVAL') ? unfit(pool, 'has pool snapshots', error) : error;
  }
  // Another client may be doing the same at this moment: whoever created the object, its contents are to be these.
  await unless('EEXIST', ioctx.operate(RBD_INFO, [createOp(true), writeOp(0, BEFORE)]));
  try {
    await ioctx.operate(RBD_INFO, [writeOp(0, VALIDATED)]);
  } catch (error) {
    throw isRadosError(error, 'EOPNOTSUPP') ? unfit(pool, 'takes no overwrites', error) : error;
  }
}

function unfit(pool: IoContext, why: string, cause: unknown): RadosError {
  return new RadosError('EINVAL', `pool ${pool.pool.name} cannot hold images: it ${why}`, {
    target: pool.pool.name,
    cause,
  });
}
