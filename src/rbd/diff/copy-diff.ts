/** A diff of one image, applied to another. */

import { abortError } from '../../base/errors.js';
import { type DiffSource, readPieces } from './read-ahead.js';
import { WriteBehind, type WriteTarget } from './write-behind.js';

export interface CopyDiffOptions {
  /** Bytes; 0 copies zeroes as data. */
  readonly sparseSize: number;
  /** Told how far into the image it has come, in bytes. */
  readonly onProgress?: ((offset: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Resolves when all is written. When it fails, nothing is written any more after it has rejected. */
export async function copyDiff(
  source: DiffSource,
  target: WriteTarget,
  { sparseSize, onProgress, signal }: CopyDiffOptions,
): Promise<void> {
  const writes = new WriteBehind(target, sparseSize);
  try {
    for await (const { extent, start, data } of readPieces(source, signal)) {
      if (signal?.aborted) throw abortError(signal, { op: 'copy' });
      const offset = extent.offset + start;
      if (data) await writes.write(offset, await data, start);
      else await writes.writeZeroes(offset, extent.length);
      onProgress?.(offset);
    }
  } finally {
    await writes.settled();
  }
  await writes.drain();
}
