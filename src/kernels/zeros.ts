/**
 * What of a buffer is not all zeros: what a sparse copy has to carry. In place where the bytes lie in kernel memory (a quarter of
 * the time of memcmp, block by block, and less where there is data); where they would have to be copied there first, memcmp is
 * as fast.
 */

import type { Range } from '../base/ranges.js';
import * as plain from '../base/zeroes.js';
import type { Kernels } from './load.js';

export interface ZeroFinder {
  isZero(bytes: Uint8Array): boolean;
  /** The blocks that are not all zeros, neighbours as one, as offsets in `bytes`. The last block may be short. */
  dataExtents(bytes: Uint8Array, blockBytes: number): Range[];
}

/** Of one call of the kernel; a buffer with more extents takes several. */
const BOUNDARIES = 1024;

export function createZeroFinder(kernels: Kernels): ZeroFinder {
  const { exports, memory } = kernels;
  const { buffer } = memory;
  const at = boundariesOf(kernels);
  const boundaries = new Uint32Array(buffer, at, BOUNDARIES);

  return {
    isZero(bytes) {
      if (bytes.buffer !== buffer) return plain.isZero(bytes);
      return exports.isZero(bytes.byteOffset, bytes.length) !== 0;
    },

    dataExtents(bytes, blockBytes) {
      if (!(Number.isInteger(blockBytes) && blockBytes > 0 && blockBytes < 2 ** 31)) {
        throw new RangeError(`blocks of ${blockBytes} bytes`);
      }
      const { byteOffset, length } = bytes;
      if (bytes.buffer !== buffer) {
        return [...plain.sparseRuns(bytes, blockBytes)].flatMap(({ start, end, zero }) =>
          zero ? [] : [[start, end] as const],
        );
      }
      const extents: Range[] = [];
      for (let from = 0, count = BOUNDARIES; count === BOUNDARIES; ) {
        count = exports.dataExtents(byteOffset, length, blockBytes, from, at, BOUNDARIES);
        for (let i = 0; i < count; i += 2) extents.push([boundaries[i]!, boundaries[i + 1]!]);
        from = boundaries[BOUNDARIES - 1]!;
      }
      return extents;
    },
  };
}

/** One place per kernels, however many finders are created over them. */
const places = new WeakMap<Kernels, number>();

function boundariesOf(kernels: Kernels): number {
  let place = places.get(kernels);
  if (place === undefined) {
    place = kernels.alloc(4 * BOUNDARIES);
    places.set(kernels, place);
  }
  return place;
}
