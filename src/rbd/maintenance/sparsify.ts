/**
 * Giving up the space of an image's zeros (`librbd/operation/SparsifyRequest.cc`).
 *
 *     each object that may exist: PENDING in the object map -> rbd.sparsify -> EXISTS, or NONEXISTENT when it is gone
 *
 * The image reads as before, whatever ends it half-way. An object that the parent would show through is not removed.
 */

import { isRadosError, RadosError } from '../../base/errors.js';
import { isZero } from '../../base/zeroes.js';
import { cmpExtOp, deleteOp, statOp, truncateOp } from '../../messages/osd-op.js';
import { mutate } from '../../rados/class-call.js';
import { sparsifyObject } from '../../rados/cls-rbd.js';
import { unless } from '../errors.js';
import { dataObject } from '../layout.js';
import type { OpenImage } from '../open-image.js';
import { eachObject, objectNumbers, type Operation, type RequestOf } from './operation.js';

type Sparsify = RequestOf<'sparsify'>;

/** librbd's limits: the largest is the object's size. */
const SPARSE_SIZE_MIN = 4096;
/** OSDs answer a mismatch of what is compared at byte `n` with `-(4095 + n)`. */
const CMPEXT_MISMATCH = 4095;
/** An object that changes faster than it can be looked at needs no sparsifying. */
const TRIMS_MAX = 10;

export const sparsify: Operation<Sparsify> = {
  name: 'sparsify',
  route: 'owner',
  exclusive: true,
  precheck: assertSparseSize,

  async run(image, request, context) {
    assertSparseSize(image, request);
    const { layout } = image.header;
    const total = layout.objectCount(image.size);
    const step = (objectNo: number) => sparsifyOne(image, objectNo, request.sparseSize);
    await eachObject(image, context, objectNumbers(0, total), total, async (objectNo) => {
      const map = image.objectMap;
      if (map && !map.mayExist(objectNo)) return;
      if (map) await map.mayRemoveObject(objectNo, () => step(objectNo), context.signal);
      else await step(objectNo);
    });
    await image.headerUpdated();
  },
};

function assertSparseSize(image: OpenImage, { sparseSize }: Sparsify): void {
  const isPowerOfTwo = Number.isInteger(Math.log2(sparseSize));
  if (isPowerOfTwo && sparseSize >= SPARSE_SIZE_MIN && sparseSize <= image.objectSize) return;
  throw new RadosError(
    'EINVAL',
    `the sparse size ${sparseSize} is no power of two from ${SPARSE_SIZE_MIN} to ${image.objectSize}`,
    { outcome: 'not-applied' },
  );
}

/**
 * Resolves with whether the object is still there. Once begun it is not given up: an operation that nobody waits for may
 * still wait at its OSD, and be done when the lock is another's.
 */
async function sparsifyOne(
  image: OpenImage,
  objectNo: number,
  sparseSize: number,
): Promise<boolean> {
  const { dataIoctx: ioctx, header } = image;
  const oid = dataObject(image.objectPrefix, objectNo);
  const overlap = header.parent?.ofHead ? header.parent.overlap : 0;
  const removeEmpty = objectNo >= header.layout.objectCount(overlap);
  const { snapContext } = header;
  try {
    await mutate(ioctx, oid, [sparsifyObject(sparseSize, removeEmpty)], { snapContext });
  } catch (error) {
    if (isRadosError(error, 'ENOENT')) return false;
    // Of an erasure-coded pool, whose OSDs have not all of an object.
    if (!isRadosError(error, 'EOPNOTSUPP')) throw error;
    await trimZeroes(image, oid, { sparseSize, removeEmpty });
  }
  if (!removeEmpty || !image.objectMap) return true;
  return (await unless('ENOENT', ioctx.operate(oid, [statOp()]))) !== undefined;
}

/** Cuts off the zeros at an object's end, unless they are written over meanwhile. */
async function trimZeroes(
  { dataIoctx: ioctx, header }: OpenImage,
  oid: string,
  { sparseSize, removeEmpty }: { sparseSize: number; removeEmpty: boolean },
): Promise<void> {
  const { layout, snapContext } = header;
  for (let attempt = 1; attempt <= TRIMS_MAX; attempt++) {
    const bytes = await unless('ENOENT', ioctx.read(oid, 0, layout.objectSize));
    if (!bytes) return;
    let end = bytes.length;
    while (end > 0) {
      const start = Math.floor((end - 1) / sparseSize) * sparseSize;
      if (!isZero(bytes.subarray(start, end))) break;
      end = start;
    }
    if (end === bytes.length && end > 0) return;
    const cut = end === 0 && removeEmpty ? deleteOp() : truncateOp(end);
    const zeroes = new Uint8Array(layout.objectSize - end);
    try {
      await ioctx.operate(oid, [cmpExtOp(end, zeroes), cut], { snapContext });
      return;
    } catch (error) {
      if (isRadosError(error, 'ENOENT')) return;
      if (!isRadosError(error) || error.errno > -CMPEXT_MISMATCH) throw error;
    }
  }
}
