/** Applying a diff that was exported: what `rbd import-diff` does. */

import { abortError, RadosError } from '../../base/errors.js';
import { sparseRuns } from '../../base/zeroes.js';
import type { ByteReader } from './byte-reader.js';
import { DIFF_BANNER, type DiffFormat, readBanner, readDiffRecord } from './diff-format.js';

/** The image that a diff is applied to: its head is as it was at the diff's start. */
export interface DiffTarget {
  readonly size: number;
  resize(size: number): Promise<void>;
  write(offset: number, data: Uint8Array): Promise<unknown>;
  writeZeroes(offset: number, length: number): Promise<unknown>;
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

const SPARSE_SIZE = 4096;
/** What is written at a time, and how many such writes are under way: what an import holds in memory. */
const PIECE_BYTES = 4 * 1024 * 1024;
const WRITES_MAX = 10;

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
  const writes = new WriteWindow();
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
        await writes.add(offset, length, () => target.writeZeroes(offset, length));
      } else {
        for await (const piece of pieces(reader, record)) {
          await writePiece(target, writes, piece, sparseSize);
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
  /** Of the extent: blocks are counted from there. */
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

async function writePiece(
  target: DiffTarget,
  writes: WriteWindow,
  { offset, data, start }: Piece,
  sparseSize: number,
): Promise<void> {
  if (sparseSize === 0) {
    await writes.add(offset, data.length, () => target.write(offset, data));
    return;
  }
  for (const run of sparseRuns(data, sparseSize, start)) {
    const at = offset + run.start;
    const length = run.end - run.start;
    const write = run.zero
      ? () => target.writeZeroes(at, length)
      : () => target.write(at, data.subarray(run.start, run.end));
    await writes.add(at, length, write);
  }
}

/** Writes side by side, as long as they go up through the image: one that goes back waits for those before it. */
class WriteWindow {
  readonly #inFlight = new Set<Promise<unknown>>();
  #failure: { error: unknown } | undefined;
  #end = 0;

  /** Resolves when the write has begun. Rejects with the first failure there was. */
  async add(offset: number, length: number, write: () => Promise<unknown>): Promise<void> {
    if (offset < this.#end) await this.settled();
    while (this.#inFlight.size >= WRITES_MAX) await Promise.race(this.#inFlight);
    this.#rethrow();
    this.#end = offset + length;
    const writing = write()
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#inFlight.delete(writing));
    this.#inFlight.add(writing);
  }

  /** Resolves when none is under way, however they ended. */
  async settled(): Promise<void> {
    while (this.#inFlight.size > 0) await Promise.race(this.#inFlight);
  }

  async drain(): Promise<void> {
    await this.settled();
    this.#rethrow();
  }

  #rethrow(): void {
    if (this.#failure) throw this.#failure.error;
  }
}
