/** What changed in an image between two snapshots, or since its beginning, up to a snapshot or the head. */

import { RadosError } from '../../base/errors.js';
import { NOSNAP } from '../../encoding/types.js';
import type { DiffChain } from '../../kernels/bitmap.js';
import { imageError } from '../errors.js';
import { findSnapshot, type ImageSnapshot } from '../header.js';
import type { ImageExtent, Layout } from '../layout.js';
import type { ImageHandle } from '../open.js';
import type { DiffExtent } from './extents.js';
import { type DiffLevel, openLevel } from './levels.js';
import { type Coverage, listedDiff } from './listed-diff.js';
import { changedObjects, occupiedObjects } from './map-chain.js';
import { wholeBytes, wholeDiff } from './whole-diff.js';

export type { DiffExtent } from './extents.js';

export interface DiffOptions {
  /** The snapshot to start from, by name or id. Absent: the beginning, when the image was empty. */
  readonly from?: string | bigint | undefined;
  /** The snapshot to end at, by name or id. Absent: the one that the image is opened at, or the head. */
  readonly to?: string | bigint | undefined;
  /** A change anywhere in an object counts for all of it: fast where the image has feature fast-diff. Default false. */
  readonly wholeObject?: boolean | undefined;
  /** From the beginning, also tells of what the image gets from its parent. Default true. */
  readonly includeParent?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The extents that changed up to the image's snapshot, or its head, in the order of their offsets; in batches, as they
 * are found out. As `rbd diff`.
 *
 * ENOENT: no such snapshot. EINVAL: it is newer than the one that the image is opened at. Writes under way may be told or
 * not: an image that is open here is flushed first by the caller.
 */
export async function* diffBatches(
  image: ImageHandle,
  options: DiffOptions = {},
): AsyncGenerator<DiffExtent[], void, undefined> {
  const { wholeObject = false, includeParent = true, signal } = options;
  try {
    const from = options.from === undefined ? 0n : findVersion(image, options.from).id;
    const end =
      options.to === undefined ? image : atSnapshot(image, findVersion(image, options.to));
    const to = end.snapshot?.id ?? NOSNAP;
    if (from === to) return;
    if (from > to) throw new RadosError('EINVAL', 'the start is newer than the end');
    const level = await openLevel(end, { includeParent: includeParent && from === 0n, signal });
    yield* changes(level, { from, to, length: sizeOf(end), wholeObject, signal });
  } catch (error) {
    throw imageError(error, 'diff', image.target);
  }
}

/** How many bytes of the image's own objects the diff has that exist at its end. */
export async function diffedBytes(
  image: ImageHandle,
  options: Omit<DiffOptions, 'to' | 'includeParent'>,
): Promise<number> {
  const { from = 0n, wholeObject, signal } = options;
  if (wholeObject && typeof from === 'bigint') {
    const to = image.snapshot?.id ?? NOSNAP;
    const objects = await changedObjects(image, { from, to, signal });
    try {
      if (objects) return wholeBytes(objects, image.header.layout, sizeOf(image));
    } finally {
      objects?.free();
    }
  }
  let bytes = 0;
  for await (const extents of diffBatches(image, { ...options, includeParent: false })) {
    for (const { length, exists } of extents) if (exists) bytes += length;
  }
  return bytes;
}

/**
 * What changed in the image's own objects, as a clone of the same parent has to be given it: also where the parent came
 * to be hidden, or to show through. Up to the image's snapshot, or its head.
 */
export async function* ownChanges(
  image: ImageHandle,
  options: { from: bigint; coverage: Coverage; signal?: AbortSignal | undefined },
): AsyncGenerator<DiffExtent[], void, undefined> {
  const to = image.snapshot?.id ?? NOSNAP;
  const level = await openLevel(image, { includeParent: false, signal: options.signal });
  yield* changes(level, { ...options, to, length: sizeOf(image), wholeObject: false });
}

interface Span {
  /** 0: the beginning. */
  readonly from: bigint;
  /** NOSNAP: the head. */
  readonly to: bigint;
  /** Bytes of the image that are looked at. */
  readonly length: number;
  readonly wholeObject: boolean;
  readonly coverage?: Coverage | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** By the object maps where they tell enough; else by asking for the objects, for those that may have changed. */
async function* changes(
  level: DiffLevel,
  span: Span,
): AsyncGenerator<DiffExtent[], void, undefined> {
  const { image } = level;
  const { layout } = image.header;
  const { length, wholeObject, coverage } = span;
  if (wholeObject) {
    const changed = await changedObjects(image, span);
    try {
      if (changed) {
        yield* wholeDiff(changed, { layout, length, behind: behind(level, span) });
        return;
      }
    } finally {
      changed?.free();
    }
  }
  // Where there is no object either, but what shows in its place is to be told.
  const uncovered = coverage && coverage.atStart !== coverage.atEnd ? coverage.atStart : 0;
  const overlap = Math.min(length, level.parent?.overlap ?? uncovered);
  const occupied = await occupiedObjects(image, span);
  try {
    const places = occupied
      ? occupiedPeriods(occupied, layout, { length, overlap })
      : periods(layout, length);
    yield* listedDiff(level, places, { ...span, sizeAtStart: sizeAtStart(image, span) });
  } finally {
    occupied?.free();
  }
}

function sizeAtStart({ header }: ImageHandle, { from }: Span): number {
  return from === 0n ? 0 : (findSnapshot(header, { snapId: from })?.imageSize ?? 0);
}

/** What of the parent shows through where the image has no object. */
function behind({ parent }: DiffLevel, span: Span) {
  if (!parent) return undefined;
  const to = parent.image.snapshot?.id ?? NOSNAP;
  const length = Math.min(span.length, parent.overlap);
  return changes(parent, { ...span, from: 0n, to, length });
}

function findVersion({ header }: ImageHandle, ref: string | bigint): ImageSnapshot {
  const wanted = typeof ref === 'bigint' ? { snapId: ref } : { snap: ref };
  const snapshot = findSnapshot(header, wanted);
  if (!snapshot) throw new RadosError('ENOENT', `the image has no snapshot '${ref}'`);
  return snapshot;
}

/** The same image, looked at as it was then; absent: as it is. */
export function atSnapshot(image: ImageHandle, snapshot: ImageSnapshot | undefined): ImageHandle {
  const { context, ioctx, id, name, target, header } = image;
  return { context, ioctx, id, name, target, readOnly: true, header, snapshot };
}

/** Bytes of what the diff ends at. */
function sizeOf({ header, snapshot }: ImageHandle): number {
  return snapshot ? snapshot.imageSize : header.size;
}

function* periods({ period }: Layout, size: number): Generator<ImageExtent> {
  for (let offset = 0; offset < size; offset += period) {
    yield { offset, length: Math.min(period, size - offset) };
  }
}

/** Periods that have an object, or had one at the diff's start, and those that the parent may show through. */
function* occupiedPeriods(
  objects: DiffChain,
  { period, stripeCount }: Layout,
  { length, overlap }: { length: number; overlap: number },
): Generator<ImageExtent> {
  let next = 0;
  const upTo = function* (end: number) {
    for (; next < end; next += period) {
      if (next < length) yield { offset: next, length: Math.min(period, length - next) };
    }
  };
  yield* upTo(overlap);
  for (const { first, end } of objects.occupied()) {
    next = Math.max(next, Math.floor(first / stripeCount) * period);
    yield* upTo(Math.ceil(end / stripeCount) * period);
  }
}
