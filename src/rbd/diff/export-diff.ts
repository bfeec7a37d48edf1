/** A diff with its data, as a stream: what `rbd export-diff` writes. */

import { abortError, RadosError } from '../../base/errors.js';
import { isZero } from '../../base/zeroes.js';
import { findSnapshot } from '../header.js';
import type { Image } from '../image.js';
import {
  DIFF_END,
  type DiffFormat,
  type DiffHeader,
  encodeDiffExtent,
  encodeDiffHeader,
} from './diff-format.js';
import { diffBatches, type DiffOptions } from './diff.js';
import type { DiffExtent } from './extents.js';

/** What is exported: a diff, and how to read what it tells of. */
export interface ExportedDiff {
  readonly header: DiffHeader;
  readonly extents: AsyncIterable<readonly DiffExtent[]>;
  /** Bytes of the image as it was at the diff's end. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

export interface ExportDiffOptions {
  readonly format?: DiffFormat;
  /** Told how far into the image it has come. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ExportImageDiffOptions
  extends ExportDiffOptions,
    Pick<DiffOptions, 'from' | 'wholeObject'> {}

/**
 * The diff of an open image up to its snapshot, or its head, with what it gets from its parent. ENOENT, EINVAL: as
 * `diffBatches`.
 */
export function exportImageDiff(
  image: Image,
  options: ExportImageDiffOptions = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  const { from, wholeObject, signal } = options;
  const { snapshot, size } = image;
  const diff: ExportedDiff = {
    header: {
      from: typeof from === 'bigint' ? findSnapshot(image.header, { snapId: from })?.name : from,
      to: snapshot?.name,
      isProtected: snapshot?.isProtected,
      size,
    },
    extents: diffBatches(image, { from, wholeObject, signal }),
    read: (offset, length) => image.read(offset, length, undefined, signal ? { signal } : {}),
  };
  return exportDiff(diff, options);
}

/** What is read at a time, and how many such reads are under way: what an export holds in memory. */
const PIECE_BYTES = 4 * 1024 * 1024;
const PIECES_MAX = 10;
const ZEROES = new Uint8Array(64 * 1024);

/** Chunks of the file, in order. An extent that has nothing but zeros is told as one that was discarded. */
export async function* exportDiff(
  diff: ExportedDiff,
  { format = 1, onProgress, signal }: ExportDiffOptions = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  const { size } = diff.header;
  yield encodeDiffHeader(format, diff.header);
  let writing = false;
  for await (const { extent, start, end, data } of piecesInOrder(diff, signal)) {
    const { offset, length } = extent;
    const bytes = await data;
    if (bytes && !writing && !isZero(bytes)) {
      yield encodeDiffExtent(format, { offset, length, exists: true });
      yield* zeroes(start);
      writing = true;
    }
    if (bytes && writing) yield bytes;
    if (end < length) continue;
    if (!writing) yield encodeDiffExtent(format, { offset, length, exists: false });
    writing = false;
    onProgress?.(offset, size);
  }
  yield DIFF_END;
}

interface Piece {
  readonly extent: DiffExtent;
  /** In the extent. */
  readonly start: number;
  readonly end: number;
  /** Absent: the extent reads as zeros, all of it. */
  readonly data: Promise<Uint8Array> | undefined;
}

/** The extents in pieces, some of which are being read ahead. */
async function* piecesInOrder(
  diff: ExportedDiff,
  signal: AbortSignal | undefined,
): AsyncGenerator<Piece, void, undefined> {
  const ahead: Piece[] = [];
  for await (const extents of diff.extents) {
    for (const extent of extents) {
      const { offset, exists } = extent;
      for (let start = 0; start < extent.length; ) {
        if (signal?.aborted) throw abortError(signal, { op: 'export-diff' });
        const end = exists ? Math.min(start + PIECE_BYTES, extent.length) : extent.length;
        const data = exists ? readAll(diff, offset + start, end - start) : undefined;
        // Its error is met when its turn comes, or never if the consumer leaves before.
        data?.catch(() => undefined);
        ahead.push({ extent, start, end, data });
        start = end;
        if (ahead.length >= PIECES_MAX) yield ahead.shift() as Piece;
      }
    }
  }
  yield* ahead;
}

async function readAll(diff: ExportedDiff, offset: number, length: number): Promise<Uint8Array> {
  const bytes = await diff.read(offset, length);
  if (bytes.length === length) return bytes;
  throw new RadosError('EIO', `the image has ${bytes.length} of ${length} bytes at ${offset} left`);
}

function* zeroes(length: number): Generator<Uint8Array> {
  for (let left = length; left > 0; left -= ZEROES.length) yield ZEROES.subarray(0, left);
}
