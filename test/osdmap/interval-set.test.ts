import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { IntervalSet } from '../../src/encoding/types.js';
import {
  intervalsContain,
  subtractIntervals,
  unionIntervals,
} from '../../src/osdmap/interval-set.js';

const intervals: fc.Arbitrary<IntervalSet> = fc.array(
  fc.tuple(fc.bigInt(0n, 40n), fc.bigInt(0n, 8n)),
  { maxLength: 6 },
);

function members(set: IntervalSet): bigint[] {
  return Array.from({ length: 64 }, (_, i) => BigInt(i)).filter((i) => intervalsContain(set, i));
}

/** Ascending, and with room between: what Ceph's interval_set keeps. */
function expectNormal(set: IntervalSet): void {
  set.forEach(([start, length], i) => {
    expect(length > 0n).toBe(true);
    const before = set[i - 1];
    if (before) expect(start > before[0] + before[1]).toBe(true);
  });
}

describe('interval sets', () => {
  it('unite', () => {
    fc.assert(
      fc.property(intervals, intervals, (a, b) => {
        const union = unionIntervals(a, b);
        expectNormal(union);
        const both = new Set([...members(a), ...members(b)]);
        expect(new Set(members(union))).toEqual(both);
      }),
    );
  });

  it('subtract', () => {
    fc.assert(
      fc.property(intervals, intervals, (a, b) => {
        const difference = subtractIntervals(a, b);
        expectNormal(difference);
        const taken = new Set(members(b));
        expect(members(difference)).toEqual(members(a).filter((member) => !taken.has(member)));
      }),
    );
  });
});
