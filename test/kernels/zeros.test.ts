/** Goal: what is all zero is found as the twin finds it, wherever the bytes lie. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { dataExtentsTwin } from '../../src/kernels/bitmap-twin.js';
import { loadKernels } from '../../src/kernels/load.js';
import { createZeroFinder } from '../../src/kernels/zeros.js';

const kernels = loadKernels();
const finder = createZeroFinder(kernels);
const arena = kernels.alloc(2 * 1024 * 1024);

function inKernelMemory(bytes: Uint8Array, offset = 0): Uint8Array {
  const placed = kernels.u8.subarray(arena + offset, arena + offset + bytes.length);
  placed.set(bytes);
  return placed;
}

const outside = (bytes: Uint8Array) => bytes;

describe.each([
  ['in kernel memory', inKernelMemory],
  ['elsewhere', outside],
])('bytes that lie %s', (_name, place) => {
  it('are zero only if no single bit is set', () => {
    for (const length of [0, 1, 7, 8, 127, 128, 129, 700]) {
      expect(finder.isZero(place(new Uint8Array(length))), `${length} bytes`).toBe(true);
      for (let at = 0; at < length; at++) {
        const bytes = new Uint8Array(length);
        bytes[at] = 1 << (at % 8);
        expect(finder.isZero(place(bytes)), `byte ${at} of ${length}`).toBe(false);
      }
    }
  });

  it('have data in the extents in which the twin finds it', () => {
    const writes = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 700 })), { maxLength: 12 });
    fc.assert(
      fc.property(
        fc.nat({ max: 20_000 }),
        fc.constantFrom(1, 3, 16, 64, 512, 1000, 4096),
        writes,
        (length, block, data) => {
          const bytes = new Uint8Array(length);
          for (const [at, size] of data)
            bytes.fill(0xa5, at % (length + 1), (at % (length + 1)) + size);
          const boundaries = finder.dataExtents(place(bytes), block).flat();
          expect(boundaries).toEqual(dataExtentsTwin(bytes, block));
        },
      ),
      { numRuns: 200 },
    );
  });

  it('may have more extents than one call finds', () => {
    const bytes = new Uint8Array(64 * 5000);
    for (let at = 0; at < bytes.length; at += 128) bytes[at + 63] = 1;
    const extents = finder.dataExtents(place(bytes), 64);
    expect(extents).toHaveLength(2500);
    expect(extents.flat()).toEqual(dataExtentsTwin(bytes, 64));
  });

  it('are in blocks of a size that makes sense', () => {
    for (const block of [0, -1, 0.5, NaN, 2 ** 32]) {
      expect(() => finder.dataExtents(place(new Uint8Array(10)), block), `${block}`).toThrow(
        RangeError,
      );
    }
  });
});

it('looks at its own bytes only', () => {
  kernels.u8.fill(0xff, arena, arena + 1000);
  const hole = kernels.u8.subarray(arena + 100, arena + 400);
  hole.fill(0);
  expect(finder.isZero(hole)).toBe(true);
  expect(finder.dataExtents(hole, 7)).toEqual([]);
});
