import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { BitmapMemory } from '../../src/kernels/bitmap-memory.js';
import { WRITE_ACTION, writeAction, writeActions } from '../../src/kernels/copy-on-write.js';
import { OBJECT_STATE, type ObjectState } from '../../src/kernels/object-state.js';
import { bitmapOf, fractions, rangeIn, states } from './support/maps.js';

const { SKIP, DIRECT, GUARDED, COPY_UP } = WRITE_ACTION;
const { NONEXISTENT, EXISTS, PENDING, EXISTS_CLEAN } = OBJECT_STATE;
const memory = new BitmapMemory();

describe('what a change has to do to an object', () => {
  it('is to be sent as it is where no parent is behind the object', () => {
    for (const state of [NONEXISTENT, EXISTS, PENDING, EXISTS_CLEAN] as const) {
      expect(writeAction(state, false)).toBe(DIRECT);
      expect(writeAction(state, false, { replaces: true })).toBe(DIRECT);
    }
  });

  it('is nothing when bytes are taken away from what is not there', () => {
    expect(writeAction(NONEXISTENT, false, { removes: true })).toBe(SKIP);
    expect(writeAction(NONEXISTENT, false, { removes: true, replaces: true })).toBe(SKIP);
    expect(writeAction(PENDING, false, { removes: true })).toBe(DIRECT);
  });

  it('is guarded under a parent, however sure the map is that the object exists', () => {
    for (const state of [EXISTS, PENDING, EXISTS_CLEAN] as const) {
      expect(writeAction(state, true)).toBe(GUARDED);
      expect(writeAction(state, true, { removes: true })).toBe(GUARDED);
    }
  });

  it('is a copy-up where the map knows that only the parent has it', () => {
    expect(writeAction(NONEXISTENT, true)).toBe(COPY_UP);
    expect(writeAction(NONEXISTENT, true, { removes: true })).toBe(COPY_UP);
  });

  it('does without the parent when it replaces all of the object', () => {
    for (const state of [NONEXISTENT, EXISTS, PENDING, EXISTS_CLEAN] as const) {
      expect(writeAction(state, true, { replaces: true })).toBe(DIRECT);
      // Hidden from the parent's bytes, not skipped.
      expect(writeAction(state, true, { replaces: true, removes: true })).toBe(DIRECT);
    }
  });

  it('is the same for ranges of objects as for each of them', () => {
    fc.assert(
      fc.property(
        states,
        fractions,
        fc.double({ min: 0, max: 1.2, noNaN: true }),
        fc.boolean(),
        fc.boolean(),
        (map, between, covered, replaces, removes) => {
          const [start, end] = rangeIn(map.length, between);
          const coveredEnd = Math.floor(map.length * covered);
          const bitmap = bitmapOf(memory, map);
          const actions = new Array<number>(map.length).fill(SKIP);
          const kind = { replaces, removes };
          for (const run of writeActions(bitmap, { start, end, coveredEnd }, kind)) {
            actions.fill(run.action, run.first, run.end);
          }
          bitmap.free();
          const expected = Array.from(map, (state, objectNo) =>
            objectNo < start || objectNo >= end
              ? SKIP
              : writeAction(state as ObjectState, objectNo < coveredEnd, kind),
          );
          expect(Buffer.from(actions).equals(Buffer.from(expected))).toBe(true);
        },
      ),
      { numRuns: 200 },
    );
  });
});
