/** On data objects. */

import { list, tuple, u64n } from '../../encoding/codec.js';
import { writes } from './calls.js';

/** Writes the parent's bytes at the start, unless the object exists: then it does nothing. */
export const copyup = (data: Uint8Array) => writes('copyup', (e) => e.raw(data));

const extentMap = list(tuple(u64n, u64n));

/** As `copyup`, of the extents `[offset, length]` alone, whose bytes follow each other in `data`. None: an empty object. */
export const sparseCopyup = (
  extents: readonly (readonly [offset: number, length: number])[],
  data: Uint8Array,
) =>
  writes('sparse_copyup', (e) => {
    extentMap.encode(e, extents as [number, number][]);
    e.blob(data);
  });

export const SNAPC_SEQ = { GREATER: 0, LESS_OR_EQUAL: 1 } as const;

/** ERANGE unless `seq` is above (or not above) the newest snapshot that the object was written after. */
export const assertSnapContextSeq = (seq: bigint, mode: number) =>
  writes('assert_snapc_seq', (e) => e.u64(seq).u8(mode));

/**
 * Gives up the space of pieces of `pieceBytes` that are all zeros; of an object that has no others, too, if `removeEmpty`.
 * ENOENT: there is no object.
 */
export const sparsifyObject = (pieceBytes: number, removeEmpty: boolean) => {
  // A real OSD never returns from a piece size of 0.
  if (!(pieceBytes > 0)) throw new RangeError(`pieces of ${pieceBytes} bytes`);
  return writes('sparsify', (e) => e.u64n(pieceBytes).bool(removeEmpty));
};
