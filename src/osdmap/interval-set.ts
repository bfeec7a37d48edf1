/** Sets of snapshot ids as ascending, disjoint (start, length) pairs: Ceph's `interval_set`. */

import type { IntervalSet } from '../encoding/types.js';

export function unionIntervals(a: IntervalSet, b: IntervalSet): IntervalSet {
  const sorted = [...a, ...b].sort(([x], [y]) => (x < y ? -1 : x > y ? 1 : 0));
  const result: IntervalSet = [];
  for (const [start, length] of sorted) {
    if (length === 0n) continue;
    const last = result[result.length - 1];
    const end = start + length;
    if (last && start <= last[0] + last[1]) {
      if (end > last[0] + last[1]) last[1] = end - last[0];
    } else {
      result.push([start, length]);
    }
  }
  return result;
}

/** What is in `a` and not in `b`. */
export function subtractIntervals(a: IntervalSet, b: IntervalSet): IntervalSet {
  const holes = unionIntervals(b, []);
  const result: IntervalSet = [];
  let hole = 0;
  for (const [start, length] of unionIntervals(a, [])) {
    const end = start + length;
    let from = start;
    // Holes that end before this interval end before all later ones too.
    while (hole < holes.length && endOf(holes[hole]) <= start) hole++;
    for (let i = hole; i < holes.length; i++) {
      const [holeStart, holeLength] = holes[i] as [bigint, bigint];
      if (holeStart >= end) break;
      if (holeStart > from) result.push([from, holeStart - from]);
      from = holeStart + holeLength;
    }
    if (from < end) result.push([from, end - from]);
  }
  return result;
}

export function intervalsContain(set: IntervalSet, value: bigint): boolean {
  return set.some(([start, length]) => value >= start && value < start + length);
}

function endOf(interval: readonly [bigint, bigint] | undefined): bigint {
  return interval ? interval[0] + interval[1] : 0n;
}
