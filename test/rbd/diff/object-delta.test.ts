// Goal: the changes of one object, in the corners where librbd 16.2's answer is not what one would think.

import { describe, expect, it } from 'vitest';
import type { Ranges } from '../../../src/base/ranges.js';
import { NOSNAP } from '../../../src/encoding/types.js';
import type { CloneInfo } from '../../../src/messages/list-snaps.js';
import { type DeltaQuery, objectDelta } from '../../../src/rbd/diff/object-delta.js';

const OBJECT = 4_194_304;
const WHOLE: Ranges = [[0, OBJECT]];

const clone = (
  snaps: readonly number[],
  size: number,
  overlap: readonly (readonly [number, number])[] = [],
): CloneInfo => ({
  cloneId: BigInt(snaps.at(-1) ?? 0),
  snaps: snaps.map(BigInt),
  size,
  overlap: overlap.map(([start, length]) => [start, length]),
});
const head = (size: number): CloneInfo => ({ cloneId: NOSNAP, snaps: [], overlap: [], size });

function delta(
  clones: CloneInfo[],
  seq: number,
  query: Partial<Omit<DeltaQuery, 'from' | 'to'>> & { from?: number; to?: number },
  within = WHOLE,
) {
  const { from = 0, to, ...more } = query;
  const image = { objectSize: OBJECT, bytesAtStart: OBJECT };
  const options = { ...image, wholeObject: false, ignoreZeroes: false, ...more };
  const ends = { from: BigInt(from), to: to === undefined ? NOSNAP : BigInt(to) };
  return objectDelta({ clones, seq: BigInt(seq) }, within, { ...options, ...ends }).map(
    ({ start, end, exists }) => `${start}-${end} ${exists ? 'data' : 'zero'}`,
  );
}

describe('what changed in an object', () => {
  it('is all of it when it came into being since the start', () => {
    expect(delta([head(5000)], 3, { from: 3 })).toEqual(['0-5000 data']);
    expect(delta([head(5000)], 3, {})).toEqual(['0-5000 data']);
  });

  it('is nothing when it was not written since', () => {
    expect(delta([head(5000)], 3, { from: 4 })).toEqual([]);
    expect(delta([clone([4], 5000), head(5000)], 4, { from: 3, to: 4 })).toEqual(['0-5000 data']);
    expect(delta([clone([3, 4], 5000), head(5000)], 4, { from: 3, to: 4 })).toEqual([]);
  });

  it('is what versions do not share, of all that lie between', () => {
    const versions = [clone([1], 8192, [[0, 4096]]), clone([2], 8192, [[1000, 7192]]), head(8192)];
    expect(delta(versions, 2, { from: 1 })).toEqual(['0-1000 data', '4096-8192 data']);
    expect(delta(versions, 2, { from: 2 })).toEqual(['0-1000 data']);
    expect(delta(versions, 2, { from: 1, to: 2 })).toEqual(['4096-8192 data']);
  });

  it('is all of it, as zeros, when it was removed', () => {
    expect(delta([clone([1], 8192)], 1, { from: 1 })).toEqual(['0-8192 zero']);
    expect(delta([clone([1], 8192)], 1, {})).toEqual([]);
  });

  it('is nothing when it came and went in between', () => {
    expect(delta([clone([2], 8192)], 2, { from: 1 })).toEqual([]);
  });

  it('is what a truncation cut off, as zeros', () => {
    const versions = [clone([1], 65_536, [[0, 4096]]), head(4096)];
    expect(delta(versions, 1, { from: 1 })).toEqual(['4096-65536 zero']);
  });

  it('reaches, from the beginning, to the longest of its versions', () => {
    expect(delta([clone([1], 65_536), head(4096)], 1, {})).toEqual(['0-65536 data']);
  });

  it('is the object as a whole where that is asked for, but for what was cut off', () => {
    const grown = [clone([1], 4096, [[0, 4096]]), head(8192)];
    expect(delta(grown, 1, { from: 1, wholeObject: true })).toEqual([`0-${OBJECT} data`]);
    const rewritten = [clone([1], 65_536), head(4096)];
    expect(delta(rewritten, 1, { from: 1, wholeObject: true })).toEqual([
      '0-4096 data',
      '4096-65536 zero',
      `65536-${OBJECT} data`,
    ]);
  });

  it('is cut to what is asked for', () => {
    const within: Ranges = [
      [100, 200],
      [8000, 9000],
    ];
    expect(delta([head(8192)], 3, {}, within)).toEqual(['100-200 data', '8000-8192 data']);
  });

  it('leaves out zeros for who does not want to know of them', () => {
    const query = { from: 1, ignoreZeroes: true };
    expect(delta([clone([1], 65_536, [[0, 4096]]), head(4096)], 1, query)).toEqual([]);
    expect(delta([clone([1], 8192)], 1, query)).toEqual([]);
  });

  it('is what the object had beyond the end of the image, which has grown since', () => {
    const untouched = [clone([1, 2], 8192), head(8192)];
    expect(delta(untouched, 2, { from: 1, to: 2, bytesAtStart: 4096 })).toEqual(['4096-8192 data']);
    expect(delta([head(8192)], 1, { from: 2, bytesAtStart: 0 })).toEqual(['0-8192 data']);
    expect(delta([head(4096)], 1, { from: 2, bytesAtStart: 4096 })).toEqual([]);
    const cut = [clone([1], 8192, [[0, 4096]]), head(4096)];
    expect(delta(cut, 1, { from: 1, bytesAtStart: 4096 })).toEqual(['4096-8192 zero']);
    expect(delta([clone([1], 8192)], 1, { from: 1, bytesAtStart: 0 })).toEqual(['0-8192 zero']);
  });

  it('is the object as a whole when a version does not say which snapshots see it', () => {
    expect(delta([clone([], 8192), head(100)], 1, { from: 1 })).toEqual([`0-${OBJECT} data`]);
  });
});
