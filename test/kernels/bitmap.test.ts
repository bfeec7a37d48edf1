/**
 * Goal: the object map kernels do what their readable twins do, whatever the size, the density and the range; and nothing
 * that a map does reaches beyond its own objects.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { DiffChain, diffRuns, ObjectBitmap } from '../../src/kernels/bitmap.js';
import { BitmapMemory } from '../../src/kernels/bitmap-memory.js';
import type { Runs } from '../../src/kernels/bitmap-runs.js';
import {
  countTwin,
  diffTwin,
  entriesTwin,
  nextTwin,
  packTwin,
  reportedTwin,
  snapshotRemovedTwin,
  updateTwin,
} from '../../src/kernels/bitmap-twin.js';
import {
  MAY_EXIST,
  OBJECT_STATE,
  type ObjectState,
  setOf,
} from '../../src/kernels/object-state.js';
import {
  bitmapOf,
  expectSame,
  fractions,
  randomStates,
  rangeIn,
  states,
  statesOf,
} from './support/maps.js';

const { NONEXISTENT, EXISTS, PENDING, EXISTS_CLEAN } = OBJECT_STATE;
const memory = new BitmapMemory();
const someState = fc.constantFrom<ObjectState>(0, 1, 2, 3);

/** Frees what it made, so that thousands of cases find the memory dirty from one another. */
function using<T>(maps: Uint8Array[], body: (...bitmaps: ObjectBitmap[]) => T): T {
  const bitmaps = maps.map((map) => bitmapOf(memory, map));
  try {
    return body(...bitmaps);
  } finally {
    for (const bitmap of bitmaps) bitmap.free();
  }
}

function entriesOf(runs: Runs): number[] {
  const all: number[] = [];
  for (let entries = runs.read(); entries; entries = runs.read()) all.push(...entries);
  return all;
}

/** The bytes from the map's data to the end of its last block. */
function paddedBytes(bitmap: ObjectBitmap): Uint8Array {
  const length = Math.ceil(bitmap.objectCount / 256) * 64;
  return new Uint8Array(memory.memory.buffer, bitmap.address, length).slice();
}

function expectPacked(bitmap: ObjectBitmap, expected: Uint8Array): void {
  const bytes = new Uint8Array(Math.ceil(expected.length / 256) * 64);
  bytes.set(packTwin(expected));
  expect(Buffer.compare(paddedBytes(bitmap), bytes), 'packed bytes').toBe(0);
}

describe('single objects', () => {
  it('lie in Ceph order: the first in the two highest bits of the first byte', () => {
    using([Uint8Array.of(1, 2, 3, 0, 3)], (bitmap) => {
      expect([...paddedBytes(bitmap).subarray(0, 3)]).toEqual([0b01_10_11_00, 0b11_00_00_00, 0]);
      expect([0, 1, 2, 3, 4].map((objectNo) => bitmap.get(objectNo))).toEqual([1, 2, 3, 0, 3]);
    });
  });

  it('are set and read one by one without touching their neighbours', () => {
    fc.assert(
      fc.property(states, fc.nat(), someState, (before, at, state) => {
        fc.pre(before.length > 0);
        using([before], (bitmap) => {
          const objectNo = at % before.length;
          const expected = before.slice();
          expected[objectNo] = state;
          bitmap.set(objectNo, state);
          expectPacked(bitmap, expected);
          expectSame(statesOf(bitmap), expected);
        });
      }),
      { numRuns: 100 },
    );
  });

  it('are refused where there are none', () => {
    using([new Uint8Array(5)], (bitmap) => {
      for (const objectNo of [-1, 5, 6, 7, 8, 300, 2 ** 32, NaN, Infinity]) {
        expect(() => bitmap.get(objectNo), `get ${objectNo}`).toThrow(RangeError);
        expect(() => bitmap.set(objectNo, EXISTS), `set ${objectNo}`).toThrow(RangeError);
      }
    });
  });
});

describe('O21 every kernel', () => {
  it('finds a single object in each place of two blocks', () => {
    const length = 512;
    for (let objectNo = 0; objectNo < length; objectNo++) {
      for (const state of [EXISTS, PENDING, EXISTS_CLEAN]) {
        const one = new Uint8Array(length);
        one[objectNo] = state;
        using([one, new Uint8Array(length)], (bitmap, empty) => {
          const where = `object ${objectNo} in state ${state}`;
          expect(bitmap.next(MAY_EXIST), where).toBe(objectNo);
          expect(bitmap.next(setOf(state)), where).toBe(objectNo);
          expect(bitmap.next(MAY_EXIST, objectNo + 1), where).toBe(-1);
          expect(bitmap.next(MAY_EXIST, 0, objectNo), where).toBe(-1);
          const counts = [0, 0, 0, 0];
          counts[NONEXISTENT] = length - 1;
          counts[state] = 1;
          expect(Object.values(bitmap.count()), where).toEqual(counts);
          expectSame(entriesOf(bitmap.runs()), entriesTwin(one, 0, length), where);
          const written = [objectNo * 4 + 3, (objectNo + 1) * 4];
          expectSame(entriesOf(diffRuns(undefined, bitmap)), written, where);
          expectSame(entriesOf(diffRuns(empty, bitmap)), written, where);
          const gone = [objectNo * 4 + 2, (objectNo + 1) * 4];
          expectSame(entriesOf(diffRuns(bitmap, empty)), gone, where);
          expect(bitmap.replace(setOf(state), NONEXISTENT), where).toBe(1);
          expectPacked(bitmap, new Uint8Array(length));
        });
      }
    }
  });

  it('finds the single object that does not exist, in each place', () => {
    const length = 512;
    for (let objectNo = 0; objectNo < length; objectNo++) {
      const but = new Uint8Array(length).fill(EXISTS_CLEAN);
      but[objectNo] = NONEXISTENT;
      using([new Uint8Array(length).fill(EXISTS), but], (full, bitmap) => {
        expect(bitmap.next(setOf(NONEXISTENT))).toBe(objectNo);
        expectSame(entriesOf(diffRuns(full, bitmap)), [objectNo * 4 + 2, (objectNo + 1) * 4]);
        expect(bitmap.update(0, length, EXISTS, NONEXISTENT)).toBe(1);
        expect(bitmap.get(objectNo)).toBe(EXISTS);
      });
    }
  });
});

describe('O21 count', () => {
  it('counts as the twin does', () => {
    fc.assert(
      fc.property(states, fractions, (map, between) => {
        const [start, end] = rangeIn(map.length, between);
        using([map], (bitmap) => {
          const { nonexistent, exists, pending, existsClean } = bitmap.count(start, end);
          const counts = [nonexistent, exists, pending, existsClean];
          expect(counts).toEqual(countTwin(map, start, end));
        });
      }),
      { numRuns: 400 },
    );
  });

  it('does not overflow where millions are in one state', () => {
    for (const state of [EXISTS, PENDING, EXISTS_CLEAN]) {
      const bitmap = ObjectBitmap.allocate(memory, 5_000_003, state);
      const counts = [0, 0, 0, 0];
      counts[state] = 5_000_003;
      expect(Object.values(bitmap.count())).toEqual(counts);
      bitmap.free();
    }
  });
});

describe('O21 next', () => {
  it('finds what the twin finds, of every set of states', () => {
    fc.assert(
      fc.property(states, fractions, fc.nat({ max: 15 }), (map, between, set) => {
        const [start, end] = rangeIn(map.length, between);
        using([map], (bitmap) => {
          expect(bitmap.next(set, start, end)).toBe(nextTwin(map, start, end, set));
        });
      }),
      { numRuns: 1000 },
    );
  });
});

describe('O21 update', () => {
  it('changes what the twin changes, and says how many', () => {
    fc.assert(
      fc.property(
        states,
        fractions,
        someState,
        fc.option(someState, { nil: undefined }),
        (map, between, state, current) => {
          const [start, end] = rangeIn(map.length, between);
          using([map], (bitmap) => {
            const expected = map.slice();
            const changed = updateTwin(expected, start, end, state, current);
            expect(bitmap.wouldUpdate(start, end, state, current)).toBe(changed > 0);
            expect(bitmap.update(start, end, state, current)).toBe(changed);
            expectPacked(bitmap, expected);
            expect(bitmap.wouldUpdate(start, end, state, current)).toBe(false);
          });
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('fills a range, and nothing beside it', () => {
    fc.assert(
      fc.property(states, fractions, someState, (map, between, state) => {
        const [start, end] = rangeIn(map.length, between);
        using([map], (bitmap) => {
          bitmap.fill(start, end, state);
          expectPacked(bitmap, map.slice().fill(state, start, end));
        });
      }),
      { numRuns: 300 },
    );
  });

  it('makes clean what exists when a snapshot is taken, and nothing else', () => {
    using([Uint8Array.of(0, 1, 2, 3, 1, 1)], (bitmap) => {
      expect(bitmap.snapshotAdded()).toBe(3);
      expect([...statesOf(bitmap)]).toEqual([0, 3, 2, 3, 3, 3]);
      expect(bitmap.snapshotAdded()).toBe(0);
    });
  });

  it('merges the map of a removed snapshot of any size as the twin does', () => {
    fc.assert(
      fc.property(states, states, (next, removed) => {
        using([next, removed], (bitmap, gone) => {
          const expected = next.slice();
          const changed = snapshotRemovedTwin(expected, removed);
          expect(bitmap.snapshotRemoved(gone)).toBe(changed);
          expectPacked(bitmap, expected);
          expectPacked(gone, removed);
        });
      }),
      { numRuns: 400 },
    );
  });

  it('refuses ranges that are not within the map', () => {
    using([new Uint8Array(10)], (bitmap) => {
      for (const [start, end] of [
        [-1, 3],
        [4, 3],
        [0, 11],
        [11, 11],
        [0.5, 3],
        [0, NaN],
      ] as const) {
        expect(() => bitmap.fill(start, end, EXISTS), `${start} to ${end}`).toThrow(RangeError);
        expect(() => bitmap.count(start, end)).toThrow(RangeError);
        expect(() => bitmap.next(MAY_EXIST, start, end)).toThrow(RangeError);
        expect(() => bitmap.update(start, end, EXISTS)).toThrow(RangeError);
        expect(() => bitmap.runs(undefined, start, end)).toThrow(RangeError);
        expect(() => diffRuns(undefined, bitmap, start, end)).toThrow(RangeError);
      }
    });
  });
});

describe('O21 runs', () => {
  it('are those of the twin, for any classes of the states', () => {
    fc.assert(
      fc.property(states, fractions, fc.nat({ max: 255 }), (map, between, classes) => {
        const [start, end] = rangeIn(map.length, between);
        using([map], (bitmap) => {
          const byObject = map.map((state) => (classes >>> (2 * state)) & 3);
          expectSame(
            entriesOf(bitmap.runs(classes, start, end)),
            entriesTwin(byObject, start, end),
          );
        });
      }),
      { numRuns: 600 },
    );
  });

  it('go on where a call was full, in maps with more boundaries than fit into one', () => {
    for (const density of [0.3, 1]) {
      const map = randomStates(200_000, { seed: 7, density });
      using([map], (bitmap) => {
        expectSame(entriesOf(bitmap.runs()), entriesTwin(map, 0, map.length));
      });
    }
  });

  it('are given as extents, neighbours of one class as one, those of class 0 not at all', () => {
    using([Uint8Array.of(0, 1, 1, 2, 0, 0, 3, 3)], (bitmap) => {
      expect([...bitmap.runs()]).toEqual([
        { first: 1, end: 3, class: 1 },
        { first: 3, end: 4, class: 2 },
        { first: 6, end: 8, class: 3 },
      ]);
      expect([...bitmap.runs(undefined, 2, 4)]).toEqual([
        { first: 2, end: 3, class: 1 },
        { first: 3, end: 4, class: 2 },
      ]);
      expect([...bitmap.runs(undefined, 4, 4)]).toEqual([]);
    });
  });

  it('of two maps may be read in turns', () => {
    const first = randomStates(60_000, { seed: 1, density: 1 });
    const second = randomStates(60_000, { seed: 2, density: 1 });
    using([first, second], (a, b) => {
      const passes = [a.runs(), b.runs()] as const;
      const entries: [number[], number[]] = [[], []];
      for (let going = true; going; ) {
        going = false;
        for (const i of [0, 1] as const) {
          const some = passes[i].read();
          if (!some) continue;
          going = true;
          entries[i].push(...some);
        }
      }
      expectSame(entries[0], entriesTwin(first, 0, first.length));
      expectSame(entries[1], entriesTwin(second, 0, second.length));
    });
  });
});

describe('O21 fast-diff', () => {
  it('of one map, from the beginning, reports what exists', () => {
    fc.assert(
      fc.property(states, fractions, (to, between) => {
        const [start, end] = rangeIn(to.length, between);
        using([to], (bitmap) => {
          const reported = reportedTwin(diffTwin([to], true));
          const expected = entriesTwin(reported, start, end);
          expectSame(entriesOf(diffRuns(undefined, bitmap, start, end)), expected);
        });
      }),
      { numRuns: 300 },
    );
  });

  it('of two maps of any sizes is that of the twin', () => {
    fc.assert(
      fc.property(states, states, fractions, (from, to, between) => {
        const [start, end] = rangeIn(to.length, between);
        using([from, to], (a, b) => {
          const reported = reportedTwin(diffTwin([from, to]));
          const expected = entriesTwin(reported, start, end);
          expectSame(entriesOf(diffRuns(a, b, start, end)), expected);
        });
      }),
      { numRuns: 600 },
    );
  });

  it('of two maps that differ in little is that of the twin', () => {
    const change = fc.tuple(fc.nat(), someState);
    fc.assert(
      fc.property(states, fc.array(change, { maxLength: 20 }), (from, changes) => {
        fc.pre(from.length > 0);
        // As after a snapshot: what existed is clean, and then a few things happen.
        const to = from.map((state) => (state === EXISTS ? EXISTS_CLEAN : state));
        for (const [at, state] of changes) to[at % to.length] = state;
        using([from, to], (a, b) => {
          const expected = entriesTwin(reportedTwin(diffTwin([from, to])), 0, to.length);
          expectSame(entriesOf(diffRuns(a, b)), expected);
        });
      }),
      { numRuns: 400 },
    );
  });

  it('goes on where a call was full, also beyond the end of the first map', () => {
    const from = randomStates(100_000, { seed: 3, density: 1 });
    const to = randomStates(250_000, { seed: 4, density: 1 });
    using([from, to], (a, b) => {
      const expected = entriesTwin(reportedTwin(diffTwin([from, to])), 0, to.length);
      expect(expected.length).toBeGreaterThan(16_384 * 3);
      expectSame(entriesOf(diffRuns(a, b)), expected);
    });
  });

  it('of a chain of maps also tells of what exists at either end, and of holes', () => {
    fc.assert(
      fc.property(
        fc.array(states, { minLength: 1, maxLength: 4 }),
        fc.boolean(),
        (maps, fromStart) => {
          using(maps, (...bitmaps) => {
            const steps = fromStart ? bitmaps : bitmaps.slice(1);
            fc.pre(steps.length > 0);
            const chain = fromStart
              ? DiffChain.begin(memory)
              : DiffChain.start(bitmaps[0]!.clone());
            for (const bitmap of steps) chain.step(bitmap, { isLast: bitmap === steps.at(-1) });
            const diff = diffTwin(fromStart ? [Uint8Array.of(), ...maps] : maps);
            const occupied = diff.map((state) => (state === 0 ? 0 : 1));
            expectSame(entriesOf(chain.occupied()), entriesTwin(occupied, 0, diff.length));
            expectSame(entriesOf(chain.runs()), entriesTwin(reportedTwin(diff), 0, diff.length));
            const isOccupied = diff.map((_, objectNo) => (chain.isHole(objectNo) ? 0 : 1));
            expectSame([...isOccupied], [...occupied]);
            chain.free();
          });
        },
      ),
      { numRuns: 200 },
    );
  });

  it('of a chain of maps of any sizes is that of the twin', () => {
    fc.assert(
      fc.property(fc.array(states, { minLength: 2, maxLength: 6 }), (maps) => {
        using(maps, (...bitmaps) => {
          const chain = DiffChain.start(bitmaps[0]!.clone());
          bitmaps.slice(1).forEach((bitmap, index) => {
            chain.step(bitmap, { isLast: index === bitmaps.length - 2 });
          });
          const last = maps[maps.length - 1]!;
          const expected = entriesTwin(reportedTwin(diffTwin(maps)), 0, last.length);
          expectSame(entriesOf(chain.runs()), expected);
          chain.free();
          bitmaps.forEach((bitmap, index) => {
            expectPacked(bitmap, maps[index]!);
          });
        });
      }),
      { numRuns: 300 },
    );
  });

  it("has librbd's answers to what may happen to an object between two snapshots", () => {
    const cases = [
      { was: 'written before only', from: EXISTS, to: EXISTS_CLEAN, reported: 0 },
      { was: 'clean all along', from: EXISTS_CLEAN, to: EXISTS_CLEAN, reported: 0 },
      { was: 'rewritten', from: EXISTS, to: EXISTS, reported: 3 },
      { was: 'discarded', from: EXISTS_CLEAN, to: NONEXISTENT, reported: 2 },
      { was: 'new', from: NONEXISTENT, to: EXISTS, reported: 3 },
      { was: 'never there', from: NONEXISTENT, to: NONEXISTENT, reported: 0 },
      { was: 'being removed at the end', from: EXISTS, to: PENDING, reported: 3 },
      { was: 'being removed at the beginning', from: PENDING, to: EXISTS_CLEAN, reported: 3 },
    ];
    using(
      [Uint8Array.from(cases, ({ from }) => from), Uint8Array.from(cases, ({ to }) => to)],
      (from, to) => {
        const classes = new Array<number>(cases.length).fill(0);
        for (const run of diffRuns(from, to)) classes.fill(run.class, run.first, run.end);
        expect(classes).toEqual(cases.map(({ reported }) => reported));
      },
    );
  });
});

describe('the size of a map', () => {
  it('grows and shrinks as the twin array does, with new objects in the given state', () => {
    fc.assert(
      fc.property(
        states,
        fc.array(fc.tuple(fc.nat({ max: 40_000 }), someState), { maxLength: 5 }),
        (map, resizes) => {
          using([map], (bitmap) => {
            let expected = map;
            for (const [length, state] of resizes) {
              bitmap.resize(length, state);
              const before = expected;
              expected = new Uint8Array(length).fill(state);
              expected.set(before.subarray(0, length));
              expectPacked(bitmap, expected);
            }
          });
        },
      ),
      { numRuns: 200 },
    );
  });

  it('is at most what Ceph allows', () => {
    expect(() => ObjectBitmap.allocate(memory, 256_000_001)).toThrow(/256000001/);
    expect(() => ObjectBitmap.allocate(memory, -1)).toThrow();
    using([new Uint8Array(3)], (bitmap) => {
      expect(() => bitmap.resize(256_000_001)).toThrow();
      expect(bitmap.objectCount).toBe(3);
    });
  });

  it('is copied by clone', () => {
    using([randomStates(1000, { seed: 5, density: 1 })], (bitmap) => {
      const copy = bitmap.clone();
      const before = statesOf(bitmap);
      bitmap.fill(0, 1000, EXISTS);
      expectPacked(copy, before);
      copy.free();
    });
  });

  it('is zero after free, which may be called twice', () => {
    const bitmap = ObjectBitmap.allocate(memory, 100, EXISTS);
    bitmap.free();
    bitmap.free();
    expect(bitmap.objectCount).toBe(0);
    expect(() => bitmap.get(0)).toThrow(RangeError);
    expect(() => bitmap.next(MAY_EXIST)).toThrow(/freed/);
  });
});
