/** Two diffs, the second of which goes on where the first ends, as one (`rbd merge-diff`). Files alone: no cluster. */

import { RadosError } from '../../base/errors.js';
import type { ByteReader } from './byte-reader.js';
import {
  DIFF_BANNER,
  DIFF_END,
  type DiffRecord,
  encodeDiffExtent,
  encodeDiffHeader,
  readBanner,
  readDiffRecord,
} from './diff-format.js';

/** Bytes of the image that both diffs have come to, of those that they are of. */
export type MergeProgress = (done: number, total: number) => void;

/**
 * The merged diff, in version 1 as its sources. Where both have something, the second has it; a source's extents must be
 * ascending.
 *
 * EINVAL: a source is no diff, or the second does not begin where the first ends. EBADMSG: one is cut off. EOPNOTSUPP: its
 * extents are not in order. The pieces are valid until the next one is asked for.
 */
export async function* mergeDiffs(
  first: ByteReader,
  second: ByteReader,
  onProgress?: MergeProgress,
): AsyncGenerator<Uint8Array, void, undefined> {
  const older = await DiffCursor.open('first', first);
  const newer = await DiffCursor.open('second', second);
  if (older.to !== newer.from) {
    throw new RadosError(
      'EINVAL',
      'The first TO snapshot must be equal with the second FROM snapshot, aborting',
    );
  }
  // What the image grew by reads as zeros, and of what it was cut by nothing is left to tell.
  older.andThen({ end: newer.size, kind: 'zero' });
  newer.andThen({ end: older.size, kind: 'nothing' });
  const { from } = older;
  const { to, size } = newer;
  yield encodeDiffHeader(1, { from: from || undefined, to: to || undefined, size });
  const total = 2 * Math.max(older.size, newer.size);
  for (;;) {
    await older.fill();
    await newer.fill();
    onProgress?.(Math.min(older.offset + newer.offset, total), total);
    if (older.length === 0 && newer.length === 0) break;
    if (older.length > 0 && older.offset < newer.offset) {
      yield* older.emit(Math.min(older.length, newer.offset - older.offset));
    } else if (older.length > 0 && older.offset < newer.offset + newer.length) {
      await older.drop(Math.min(older.length, newer.offset + newer.length - older.offset));
    } else {
      yield* newer.emit(newer.length);
    }
  }
  yield DIFF_END;
}

/** A place in a diff: an extent, or what is left of it. */
class DiffCursor {
  readonly #name: string;
  readonly #reader: ByteReader;
  /** Read already: the record after the header. */
  #next: DiffRecord | undefined;
  #after: { end: number; kind: 'zero' | 'nothing' } | undefined;
  #ended = false;
  #kind: 'write' | 'zero' | 'nothing' = 'nothing';
  from = '';
  to = '';
  size = 0;
  offset = 0;
  length = 0;

  static async open(name: string, reader: ByteReader): Promise<DiffCursor> {
    const cursor = new DiffCursor(name, reader);
    await readBanner(reader, DIFF_BANNER[1]);
    for (;;) {
      const record = await readDiffRecord(reader, 1);
      if (record.kind === 'from') cursor.from = record.name;
      else if (record.kind === 'to') cursor.to = record.name;
      else if (record.kind === 'size') cursor.size = record.size;
      else {
        cursor.#next = record;
        return cursor;
      }
    }
  }

  private constructor(name: string, reader: ByteReader) {
    this.#name = name;
    this.#reader = reader;
  }

  /** What comes after the last extent, from the image's size on. */
  andThen(after: { end: number; kind: 'zero' | 'nothing' }): void {
    this.#after = after;
  }

  /** Goes on to the next extent when this one is used up. At the end the length stays 0, and the offset is the size. */
  async fill(): Promise<void> {
    if (this.length > 0 || this.#ended) return;
    const record = this.#next ?? (await readDiffRecord(this.#reader, 1));
    this.#next = undefined;
    const before = this.offset;
    if (record.kind === 'end') {
      this.#ended = true;
      this.offset = this.size;
      this.length = Math.max(0, (this.#after?.end ?? 0) - this.size);
      this.#kind = this.#after?.kind ?? 'nothing';
    } else if ((record.kind === 'write' || record.kind === 'zero') && record.length > 0) {
      ({ kind: this.#kind, offset: this.offset, length: this.length } = record);
    } else {
      throw this.#unsupported(`a record '${record.kind}' where an extent belongs`);
    }
    if (this.offset < before) {
      throw this.#unsupported(`an extent out of order (${before} > ${this.offset})`);
    }
  }

  /** The first bytes of the extent, as a record. */
  async *emit(length: number): AsyncGenerator<Uint8Array, void, undefined> {
    const kind = this.#kind;
    if (kind !== 'nothing') {
      yield encodeDiffExtent(1, { offset: this.offset, length, exists: kind === 'write' });
    }
    for (let left = kind === 'write' ? length : 0; left > 0; ) {
      const bytes = await this.#reader.some(left);
      left -= bytes.length;
      yield bytes;
    }
    this.#advance(length);
  }

  async drop(length: number): Promise<void> {
    if (this.#kind === 'write') await this.#reader.skip(length);
    this.#advance(length);
  }

  #advance(length: number): void {
    this.offset += length;
    this.length -= length;
  }

  #unsupported(what: string): RadosError {
    return new RadosError('EOPNOTSUPP', `the ${this.#name} diff has ${what}`);
  }
}
