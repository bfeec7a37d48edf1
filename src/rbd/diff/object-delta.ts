/**
 * What changed in one object between two snapshots, from the versions that its OSD keeps.
 *
 * The rules, odd corners included, are those of librbd 16.2 (`librados/snap_set_diff.cc`, `librbd/io/ObjectRequest.cc`
 * and `librbd/api/DiffIterate.cc`), so that a diff made here and one made there are the same bytes:
 *
 *     version      1         2         3 (head)
 *     seen by      s1        s2,s4     everything since            diff s1..s3: what 1 does not share with 2
 *     overlap      |--same as 2--|                                 diff s2..s4: nothing
 *                            |--same as 3--|                       diff s1..head: what 1 and 2, or 2 and 3 do not share
 *
 * But for one corner, where librbd misses a change: bytes that lie beyond the image's end at the diff's start. Without an
 * exclusive lock a write that races with a shrink leaves such, and the image has them when it has grown again.
 */

import {
  intersectRanges,
  type Range,
  type Ranges,
  subtractRanges,
  unionRanges,
} from '../../base/ranges.js';
import { NOSNAP } from '../../encoding/types.js';
import type { CloneInfo, ListSnapsReply } from '../../messages/list-snaps.js';

/** The object at its end, and where it differs from its start. */
interface SnapSetDiff {
  readonly ranges: Ranges;
  readonly endSize: number;
  readonly endExists: boolean;
}

/** A stretch of an object: bytes that were written, or that read as zeros now. */
export interface ObjectDelta {
  readonly start: number;
  readonly end: number;
  readonly exists: boolean;
}

export interface DeltaQuery {
  /** 0: the beginning, before there was anything. */
  readonly from: bigint;
  /** NOSNAP: the head. */
  readonly to: bigint;
  readonly objectSize: number;
  /** How much of the object, from its start on, the image had at the diff's start. */
  readonly bytesAtStart: number;
  /** A change anywhere in the object counts for all of it. */
  readonly wholeObject: boolean;
  /** Says nothing of what reads as zeros now. */
  readonly ignoreZeroes: boolean;
}

/** The changes within `within`, ascending. */
export function objectDelta(
  snaps: ListSnapsReply,
  within: Ranges,
  { from, to, objectSize, bytesAtStart, wholeObject, ignoreZeroes }: DeltaQuery,
): ObjectDelta[] {
  const whole: SnapSetDiff = { ranges: [[0, objectSize]], endSize: objectSize, endExists: true };
  const sizeBefore = from === 0n ? 0 : (snapSetDiff(snaps, 0n, from) ?? whole).endSize;
  const { ranges, endSize, endExists } = snapSetDiff(snaps, from, to, bytesAtStart) ?? whole;
  const changed = wholeObject && ranges.length > 0 ? whole.ranges : ranges;

  // What a truncation cut off is told as zeros, whatever was written there in between.
  const cut: Ranges = endSize < sizeBefore ? [[endSize, sizeBefore]] : [];
  const truncated = intersectRanges(cut, within);
  const written = subtractRanges(intersectRanges(changed, within), truncated);
  const data = endExists ? written : [];
  const zeroes = ignoreZeroes ? [] : endExists ? truncated : unionRanges(truncated, written);
  return [...stretches(data, true), ...stretches(zeroes, false)].sort((a, b) => a.start - b.start);
}

/** Whether the object is there at a snapshot, or at the head. */
export function existsAt(snaps: ListSnapsReply, at: bigint): boolean {
  // When it cannot be told, it is safe to take it for one that is.
  return at !== 0n && (snapSetDiff(snaps, 0n, at)?.endExists ?? true);
}

const stretches = (ranges: Ranges, exists: boolean) =>
  ranges.map(([start, end]): ObjectDelta => ({ start, end, exists }));

/** Undefined: the OSD does not say which snapshots see a version, so that all of the object may have changed. */
function snapSetDiff(
  { clones, seq }: ListSnapsReply,
  from: bigint,
  to: bigint,
  bytesAtStart = Number.POSITIVE_INFINITY,
): SnapSetDiff | undefined {
  let sawStart = false;
  let startSize = 0;
  let ranges: Ranges = [];
  for (let i = 0; i < clones.length; i++) {
    const clone = clones[i] as CloneInfo;
    const [first, last] = seenBy(clone, seq) ?? [];
    if (first === undefined || last === undefined) return undefined;
    if (last < from) continue;
    if (!sawStart) {
      sawStart = true;
      // An object that came into being after the start differs in all that it has.
      if (from < first) ranges = upTo(clone.size);
      else {
        startSize = clone.size;
        ranges = subtractRanges(upTo(clone.size), upTo(bytesAtStart));
      }
    }
    if (to < first) break;
    if (to <= last) return { ranges, endSize: clone.size, endExists: true };
    const longest = Math.max(clone.size, clones[i + 1]?.size ?? 0);
    const shared = clone.overlap.map(([start, length]): Range => [start, start + length]);
    ranges = unionRanges(ranges, subtractRanges(upTo(longest), shared));
  }
  // At the end there is no object: gone is what there was at the start.
  return { ranges: upTo(startSize), endSize: 0, endExists: false };
}

/** The first and the last snapshot that see a version; the head's last one is the head itself. */
function seenBy({ cloneId, snaps }: CloneInfo, seq: bigint): [bigint, bigint] | undefined {
  if (cloneId === NOSNAP) return [seq + 1n, NOSNAP];
  const [first, last] = [snaps[0], snaps.at(-1)];
  return first === undefined || last === undefined ? undefined : [first, last];
}

const upTo = (size: number): Ranges => (size > 0 ? [[0, size]] : []);
