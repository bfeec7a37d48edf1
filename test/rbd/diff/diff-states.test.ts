// Goal: the states that DiffStates computes by the word are those of the table that librbd computes object by object, for
// maps of any sizes and contents, and for what is left over in the last byte of a map.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DiffStates, type ObjectRun, type StateMap } from '../../../src/rbd/diff/diff-states.js';

const NONEXISTENT = 0;
const EXISTS = 1;
const PENDING = 2;
const EXISTS_CLEAN = 3;

type State = 'hole' | 'data' | 'hole-updated' | 'data-updated';

function mapOf(states: readonly number[], junk = 0): StateMap {
  const bytes = new Uint8Array(Math.ceil(states.length / 4) + 1).fill(junk);
  bytes.fill(0, 0, Math.floor(states.length / 4));
  for (const [i, state] of states.entries()) {
    const shift = (3 - (i % 4)) * 2;
    bytes[i >> 2] = ((bytes[i >> 2] as number) & ~(3 << shift)) | (state << shift);
  }
  return { bytes, objectCount: states.length };
}

/** The table, as the sheet on diffs has it. */
function tableDiff(maps: readonly (readonly number[])[], fromStart: boolean): State[] {
  let states: State[] = [];
  for (const [i, map] of maps.entries()) {
    const isEnd = i === maps.length - 1;
    states = map.map((now, objectNo) => {
      if (i === 0 && !fromStart) {
        if (now === NONEXISTENT) return 'hole';
        return now === PENDING ? 'data-updated' : 'data';
      }
      const before = states[objectNo] ?? 'hole';
      if (before === 'hole') return now !== NONEXISTENT && isEnd ? 'data-updated' : 'hole';
      if (now === NONEXISTENT) return 'hole-updated';
      return before === 'data' && now === EXISTS_CLEAN ? 'data' : 'data-updated';
    });
  }
  return states;
}

function follow(maps: readonly StateMap[], fromStart: boolean): DiffStates {
  const states = new DiffStates();
  for (const [i, map] of maps.entries()) {
    const isEnd = i === maps.length - 1;
    for (const _ of i === 0 && !fromStart ? states.start(map) : states.next(map, { isEnd }));
  }
  return states;
}

function runsOf(states: readonly State[]): ObjectRun[] {
  const runs: { first: number; end: number; exists: boolean }[] = [];
  for (const [objectNo, state] of states.entries()) {
    if (state !== 'hole-updated' && state !== 'data-updated') continue;
    const exists = state === 'data-updated';
    const last = runs.at(-1);
    if (last?.end === objectNo && last.exists === exists) last.end++;
    else runs.push({ first: objectNo, end: objectNo + 1, exists });
  }
  return runs;
}

/** Mostly runs of one state, as maps have them, with other states strewn in. */
const someStates = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 1, max: 40 })), {
    maxLength: 8,
  })
  .map((runs) => runs.flatMap(([state, length]) => Array<number>(length).fill(state)));

describe('the states of a diff', () => {
  it('are those of the table, for any chain of maps', () => {
    fc.assert(
      fc.property(
        fc.array(someStates, { minLength: 1, maxLength: 5 }),
        fc.boolean(),
        fc.integer({ min: 0, max: 255 }),
        (chain, fromStart, junk) => {
          const expected = tableDiff(chain, fromStart);
          const states = follow(
            chain.map((map) => mapOf(map, junk)),
            fromStart,
          );
          expect([...states.runs()]).toEqual(runsOf(expected));
          const holes = expected.map((_, objectNo) => states.isHole(objectNo));
          expect(holes).toEqual(expected.map((state) => state === 'hole'));
          const occupied = [...states.occupied()].flatMap(({ first, end }) =>
            Array.from({ length: end - first }, (_, i) => first + i),
          );
          expect(occupied).toEqual(
            expected.flatMap((state, objectNo) => (state === 'hole' ? [] : [objectNo])),
          );
        },
      ),
      { numRuns: 500 },
    );
  });

  it('tell of each object alone', () => {
    for (let objectNo = 0; objectNo < 200; objectNo++) {
      const before = Array<number>(200).fill(NONEXISTENT);
      const after = [...before];
      after[objectNo] = EXISTS;
      const run = { first: objectNo, end: objectNo + 1 };
      expect([...follow([mapOf(before), mapOf(after)], false).runs()]).toEqual([
        { ...run, exists: true },
      ]);
      expect([...follow([mapOf(after), mapOf(before)], false).runs()]).toEqual([
        { ...run, exists: false },
      ]);
    }
  });

  it('of an image without objects are none', () => {
    expect([...follow([mapOf([])], true).runs()]).toEqual([]);
    expect([...follow([mapOf([EXISTS]), mapOf([])], false).occupied()]).toEqual([]);
  });
});
