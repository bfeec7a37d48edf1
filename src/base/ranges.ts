/** Sets of byte ranges `[start, end)`, ascending and disjoint. */

export type Range = readonly [start: number, end: number];
export type Ranges = readonly Range[];

export function unionRange(ranges: Ranges, start: number, end: number): Ranges {
  if (start >= end) return ranges;
  const merged: Range[] = [];
  for (const range of ranges) {
    if (range[1] < start || range[0] > end) merged.push(range);
    else {
      start = Math.min(start, range[0]);
      end = Math.max(end, range[1]);
    }
  }
  merged.push([start, end]);
  return merged.sort((a, b) => a[0] - b[0]);
}

export function unionRanges(a: Ranges, b: Ranges): Ranges {
  if (a.length === 0) return b;
  if (b.length === 0) return a;
  const merged: [start: number, end: number][] = [];
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    const [x, y] = [a[i], b[j]];
    const [start, end] = (x && (!y || x[0] <= y[0]) ? a[i++] : b[j++]) as Range;
    const last = merged.at(-1);
    if (last && start <= last[1]) last[1] = Math.max(last[1], end);
    else merged.push([start, end]);
  }
  return merged;
}

export function intersectRanges(a: Ranges, b: Ranges): Ranges {
  const common: Range[] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    const [aStart, aEnd] = a[i] as Range;
    const [bStart, bEnd] = b[j] as Range;
    const start = Math.max(aStart, bStart);
    const end = Math.min(aEnd, bEnd);
    if (start < end) common.push([start, end]);
    if (aEnd < bEnd) i++;
    else j++;
  }
  return common;
}

export function subtractRanges(from: Ranges, what: Ranges): Ranges {
  if (what.length === 0) return from;
  const left: Range[] = [];
  for (const [start, end] of from) {
    let at = start;
    for (const [cutStart, cutEnd] of what) {
      if (cutEnd <= at || cutStart >= end) continue;
      if (cutStart > at) left.push([at, cutStart]);
      at = Math.max(at, cutEnd);
    }
    if (at < end) left.push([at, end]);
  }
  return left;
}
