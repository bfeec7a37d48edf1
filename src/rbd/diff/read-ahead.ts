/** Reading what a diff tells of, piece by piece, with some of the pieces on their way ahead. */

import { abortError, RadosError } from '../../base/errors.js';
import type { DiffExtent } from './extents.js';

/** A diff with its data. */
export interface DiffSource {
  readonly extents: AsyncIterable<readonly DiffExtent[]>;
  /** Bytes of the image as it was at the diff's end. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** A stretch of an extent. */
export interface DiffPiece {
  readonly extent: DiffExtent;
  /** In the extent. */
  readonly start: number;
  readonly end: number;
  /** Absent: the extent reads as zeros, all of it. */
  readonly data: Promise<Uint8Array> | undefined;
}

/** What is read at a time, and how many such reads are under way: what is held in memory. */
export const PIECE_BYTES = 4 * 1024 * 1024;
const PIECES_MAX = 10;

/** In the order of the diff. An extent is cut where the image has a multiple of the piece's size. */
export async function* readPieces(
  source: DiffSource,
  signal: AbortSignal | undefined,
): AsyncGenerator<DiffPiece, void, undefined> {
  const ahead: DiffPiece[] = [];
  for await (const batch of source.extents) {
    for (const extent of batch) {
      const { offset, length, exists } = extent;
      for (let start = 0; start < length; ) {
        if (signal?.aborted) throw abortError(signal, { op: 'read diff' });
        const toBoundary = PIECE_BYTES - ((offset + start) % PIECE_BYTES);
        const end = exists ? Math.min(start + toBoundary, length) : length;
        const data = exists ? readAll(source, offset + start, end - start) : undefined;
        // Its error is met when its turn comes, or never if the consumer leaves before.
        data?.catch(() => undefined);
        ahead.push({ extent, start, end, data });
        start = end;
        if (ahead.length >= PIECES_MAX) yield ahead.shift() as DiffPiece;
      }
    }
  }
  yield* ahead;
}

async function readAll(source: DiffSource, offset: number, length: number): Promise<Uint8Array> {
  const bytes = await source.read(offset, length);
  if (bytes.length === length) return bytes;
  throw new RadosError('EIO', `the image has ${bytes.length} of ${length} bytes at ${offset} left`);
}
