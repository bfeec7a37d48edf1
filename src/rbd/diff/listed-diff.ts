/**
 * A diff by asking the OSDs: LIST_SNAPS of each object that may have changed.
 *
 * The answers come in any order and the extents in the image's: what is ahead waits, so what is asked for at a time is
 * limited, and with it the memory.
 */

import { abortError } from '../../base/errors.js';
import type { Range } from '../../base/ranges.js';
import { NOSNAP } from '../../encoding/types.js';
import type { ListSnapsReply } from '../../messages/list-snaps.js';
import { dataObject, type ImageExtent } from '../layout.js';
import { listSnaps } from '../list-snaps.js';
import { type DiffExtent, joinExtents } from './extents.js';
import type { DiffLevel } from './levels.js';
import { existsAt, objectDelta } from './object-delta.js';

export interface ListedDiffOptions {
  /** 0: the beginning. */
  readonly from: bigint;
  /** Bytes of the image then; 0 at the beginning. */
  readonly sizeAtStart: number;
  /** NOSNAP: the head. */
  readonly to: bigint;
  readonly wholeObject: boolean;
  /** Tells of the image's own objects what a clone of the same parent has to be given: see `ownDelta`. */
  readonly coverage?: Coverage | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Bytes from the image's start that its parent backs where it has no objects. */
export interface Coverage {
  readonly atStart: number;
  readonly atEnd: number;
}

interface ListQuery extends ListedDiffOptions {
  readonly ignoreZeroes: boolean;
}

/** Objects that are asked for at a time. */
const OBJECTS_MAX = 64;

/**
 * The changes within each of `places`, which are ascending and within one stripe period each: neighbours of different
 * places are not joined, as librbd does not join them.
 */
export async function* listedDiff(
  level: DiffLevel,
  places: Iterable<ImageExtent>,
  options: ListedDiffOptions,
): AsyncGenerator<DiffExtent[], void, undefined> {
  const { layout } = level.image.header;
  const { signal } = options;
  const query = { ...options, ignoreZeroes: false };
  const iterator = places[Symbol.iterator]();
  const ahead: { objects: number; listing: Promise<DiffExtent[]> }[] = [];
  let objectsAhead = 0;
  const askAhead = () => {
    while (objectsAhead < OBJECTS_MAX) {
      const next = iterator.next();
      if (next.done) return;
      const listing = listExtents(level, [next.value], query);
      // Its error is met when its turn comes, or never if the consumer leaves before.
      listing.catch(() => undefined);
      const objects = Math.min(layout.stripeCount, OBJECTS_MAX);
      ahead.push({ objects, listing });
      objectsAhead += objects;
    }
  };
  askAhead();
  for (let first = ahead.shift(); first; first = ahead.shift()) {
    const { target } = level.image;
    if (signal?.aborted) throw abortError(signal, { op: 'diff', target });
    const extents = await first.listing;
    objectsAhead -= first.objects;
    askAhead();
    if (extents.length > 0) yield extents;
  }
}

/** The changes within image extents that are asked for together: all of their objects at once. */
async function listExtents(
  level: DiffLevel,
  extents: readonly ImageExtent[],
  query: ListQuery,
): Promise<DiffExtent[]> {
  const { layout } = level.image.header;
  const rangesOf = new Map<number, Range[]>();
  for (const { offset, length } of extents) {
    for (const part of layout.objectExtents(offset, length)) {
      const ranges = rangesOf.get(part.objectNo) ?? [];
      rangesOf.set(part.objectNo, ranges);
      ranges.push([part.offset, part.offset + part.length]);
    }
  }
  const objects = [...rangesOf].map(([objectNo, ranges]) =>
    listObject(level, objectNo, ranges, query),
  );
  return joinExtents((await Promise.all(objects)).flat());
}

async function listObject(
  level: DiffLevel,
  objectNo: number,
  ranges: readonly Range[],
  query: ListQuery,
): Promise<DiffExtent[]> {
  const { layout } = level.image.header;
  const oid = dataObject(level.image.header.objectPrefix, objectNo);
  const snaps = await listSnaps(level.dataIoctx, oid, query.signal);
  const places = (start: number, end: number) => layout.imageExtents(objectNo, start, end - start);
  const asked = ranges.flatMap(([start, end]) => places(start, end));
  const own = query.coverage && ownDelta(snaps, asked, { ...query, coverage: query.coverage });
  if (own) return own;
  const { objectSize } = layout;
  const bytesAtStart = layout.objectBytes(objectNo, query.sizeAtStart);
  const delta = snaps ? objectDelta(snaps, ranges, { ...query, objectSize, bytesAtStart }) : [];
  if (delta.length > 0) {
    return delta.flatMap(({ start, end, exists }) =>
      places(start, end).map((extent) => ({ ...extent, exists })),
    );
  }
  const { parent } = level;
  if (!parent || query.from !== 0n) return [];
  const backed = asked
    .filter(({ offset }) => offset < parent.overlap)
    .map(({ offset, length }) => ({ offset, length: Math.min(length, parent.overlap - offset) }));
  if (backed.length === 0) return [];
  // A hole of the parent is one of the child, which has nothing to tell of it.
  const to = parent.image.snapshot?.id ?? NOSNAP;
  return listExtents(parent, backed, {
    ...query,
    from: 0n,
    sizeAtStart: 0,
    to,
    ignoreZeroes: true,
  });
}

/**
 * What a clone of the same parent lacks, where one of the objects is there only at the start or the end of the diff: an
 * object hides what the parent has in its place, a missing one shows it. Undefined: the delta tells it all.
 */
function ownDelta(
  snaps: ListSnapsReply | undefined,
  places: readonly ImageExtent[],
  { from, to, coverage }: { from: bigint; to: bigint; coverage: Coverage },
): DiffExtent[] | undefined {
  const { atStart, atEnd } = coverage;
  if (places.every(({ offset }) => offset >= Math.max(atStart, atEnd))) return undefined;
  const before = snaps !== undefined && existsAt(snaps, from);
  const after = snaps !== undefined && existsAt(snaps, to);
  if (before && after) return undefined;
  if (before || after) return places.map((place) => ({ ...place, exists: true }));
  return places
    .map(({ offset, length }) => {
      const start = Math.max(offset, atEnd);
      const end = Math.min(offset + length, atStart);
      return { offset: start, length: end - start, exists: false };
    })
    .filter(({ length }) => length > 0);
}
