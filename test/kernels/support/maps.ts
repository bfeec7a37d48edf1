/** Object maps of all kinds, as arrays of states. */
import fc from 'fast-check';
import { expect } from 'vitest';

import { ObjectBitmap } from '../../../src/kernels/bitmap.js';
import type { BitmapMemory } from '../../../src/kernels/bitmap-memory.js';
import type { ObjectState } from '../../../src/kernels/object-state.js';

/** xorshift: the same bytes for the same seed. */
export function randomNumbers(seed: number): () => number {
  let state = Math.imul(seed, 0x9e3779b1) | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** `density` of the objects are not in `background`, at random or in runs of about `run`. */
export function randomStates(
  length: number,
  {
    seed,
    density,
    background = 0,
    run = 1,
  }: { seed: number; density: number; background?: number; run?: number },
): Uint8Array {
  const random = randomNumbers(seed);
  const states = new Uint8Array(length);
  let state = background;
  for (let objectNo = 0; objectNo < length; objectNo++) {
    if (run === 1 || random() < 1 / run) {
      state = random() < density ? Math.floor(random() * 4) : background;
    }
    states[objectNo] = state;
  }
  return states;
}

/** Sizes around the ends of bytes, words, blocks and rounds, and any others. */
export const sizes = fc.oneof(
  fc.nat({ max: 80 }),
  fc.nat({ max: 9000 }),
  fc
    .tuple(
      fc.constantFrom(4, 32, 64, 256, 512, 4096),
      fc.nat({ max: 20 }),
      fc.integer({ min: -2, max: 2 }),
    )
    .map(([unit, times, off]) => Math.max(0, unit * times + off)),
);

/** Densities 0, 1, 50 and 100 %, scattered and clustered, over each background. */
export const states = fc
  .record({
    length: sizes,
    seed: fc.integer(),
    density: fc.constantFrom(0, 0.01, 0.5, 1),
    background: fc.nat({ max: 3 }),
    run: fc.constantFrom(1, 1, 5, 300),
  })
  .map(({ length, ...rest }) => randomStates(length, rest));

/** A range within `length`. */
export function rangeIn(length: number, [a, b]: readonly [number, number]): [number, number] {
  const first = Math.floor(a * (length + 1));
  const second = Math.floor(b * (length + 1));
  return [Math.min(first, second), Math.max(first, second)];
}

export const fraction = fc.double({ min: 0, max: 0.999999, noNaN: true });
export const fractions = fc.oneof(
  fc.constant<[number, number]>([0, 0.999999]),
  fc.tuple(fraction, fraction),
);

export function bitmapOf(memory: BitmapMemory, of: Uint8Array): ObjectBitmap {
  const bitmap = ObjectBitmap.allocate(memory, of.length);
  of.forEach((state, objectNo) => {
    bitmap.set(objectNo, state as ObjectState);
  });
  return bitmap;
}

/** As `toEqual`, which compares typed arrays element by element: a thousand times slower. */
export function expectSame(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  where?: string,
): void {
  const isSame =
    actual.length === expected.length &&
    Buffer.compare(
      Buffer.from(Uint32Array.from(actual).buffer),
      Buffer.from(Uint32Array.from(expected).buffer),
    ) === 0;
  if (!isSame) expect(Array.from(actual), where).toEqual(Array.from(expected));
}

export function statesOf(bitmap: ObjectBitmap): Uint8Array {
  return Uint8Array.from({ length: bitmap.objectCount }, (_, objectNo) => bitmap.get(objectNo));
}
