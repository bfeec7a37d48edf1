/** A diff with its data, as a stream: what `rbd export-diff` writes. */

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
import { readerOf } from './image-target.js';
import { type DiffSource, readPieces } from './read-ahead.js';

export interface ExportedDiff extends DiffSource {
  readonly header: DiffHeader;
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
    read: readerOf(image, { signal }),
  };
  return exportDiff(diff, options);
}

const ZEROES = new Uint8Array(64 * 1024);

/** Chunks of the file, in order. An extent that has nothing but zeros is told as one that was discarded. */
export async function* exportDiff(
  diff: ExportedDiff,
  { format = 1, onProgress, signal }: ExportDiffOptions = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  const { size } = diff.header;
  yield encodeDiffHeader(format, diff.header);
  let writing = false;
  for await (const { extent, start, end, data } of readPieces(diff, signal)) {
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

function* zeroes(length: number): Generator<Uint8Array> {
  for (let left = length; left > 0; left -= ZEROES.length) yield ZEROES.subarray(0, left);
}
