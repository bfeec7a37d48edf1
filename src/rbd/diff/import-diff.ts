/** Applying a diff that was exported: what `rbd import-diff` does. */

import { abortError, RadosError } from '../../base/errors.js';
import type { ByteReader } from './byte-reader.js';
import { DIFF_BANNER, type DiffFormat, readBanner, readDiffRecord } from './diff-format.js';
import { PIECE_BYTES } from './read-ahead.js';
import { SPARSE_SIZE, WriteBehind, type WriteTarget } from './write-behind.js';

/** The image that a diff is applied to: its head is as it was at the diff's start. */
export interface DiffTarget extends WriteTarget {
  readonly size: number;
  resize(size: number): Promise<void>;
  hasSnapshot(name: string): boolean | Promise<boolean>;
  createSnapshot(name: string): Promise<void>;
  protectSnapshot(name: string): Promise<void>;
}

export interface ImportDiffOptions {
  readonly format?: DiffFormat | undefined;
  /** Blocks of so many bytes that are all zero are discarded rather than written; 0 writes all. Default 4096. */
  readonly sparseSize?: number | undefined;
  /** Told how far it has come in the stream, in bytes. */
  readonly onProgress?: ((position: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads one diff to its end, and makes the snapshot that it leads to.
 *
 * EINVAL: the stream is no diff, or the image lacks the snapshot that it starts from. EEXIST: the image has the snapshot
 * that it leads to. EBADMSG: the stream is cut off. What was applied by then stays.
 */
export async function importDiff(
  target: DiffTarget,
  reader: ByteReader,
  options: ImportDiffOptions = {},
): Promise<void> {
  const { format = 1, sparseSize = SPARSE_SIZE, onProgress, signal } = options;
  await readBanner(reader, DIFF_BANNER[format]);
  const writes = new WriteBehind(target, sparseSize);
  let to: string | undefined;
  let isProtected = false;
  try {
    for (;;) {
      if (signal?.aborted) throw abortError(signal, { op: 'import-diff' });
      const record = await readDiffRecord(reader, format);
      if (record.kind === 'end') break;
      if (record.kind === 'from') await assertStart(target, record.name);
      else if (record.kind === 'to') await assertNoEnd(target, (to = record.name));
      else if (record.kind === 'protection') ({ isProtected } = record);
      else if (record.kind === 'size') {
        await writes.drain();
        if (record.size !== target.size) await target.resize(record.size);
      } else if (record.kind === 'zero') {
        const { offset, length } = record;
        await writes.writeZeroes(offset, length);
      } else {
        for await (const { offset, data, start } of pieces(reader, record)) {
          await writes.write(offset, data, start);
        }
      }
      onProgress?.(reader.position);
    }
  } finally {
    // Whatever happened, nothing is written any more after this has settled.
    await writes.settled();
  }
  await writes.drain();
  if (to === undefined || to === '') return;
  await target.createSnapshot(to);
  if (isProtected) await target.protectSnapshot(to);
}

async function assertStart(target: DiffTarget, name: string): Promise<void> {
  if (await target.hasSnapshot(name)) return;
  throw new RadosError('EINVAL', `start snapshot '${name}' does not exist in the image, aborting`);
}

async function assertNoEnd(target: DiffTarget, name: string): Promise<void> {
  if (!(await target.hasSnapshot(name))) return;
  throw new RadosError('EEXIST', `end snapshot '${name}' already exists, aborting`);
}

interface Piece {
  readonly offset: number;
  readonly data: Uint8Array;
  /** In the extent. */
  readonly start: number;
}

async function* pieces(
  reader: ByteReader,
  { offset, length }: { offset: number; length: number },
): AsyncGenerator<Piece, void, undefined> {
  for (let start = 0; start < length; ) {
    const at = offset + start;
    const bytes = Math.min(length - start, PIECE_BYTES - (at % PIECE_BYTES));
    yield { offset: at, data: await reader.exactly(bytes), start };
    start += bytes;
  }
}
