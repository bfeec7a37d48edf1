/**
 * An object's bytes: chunks of 16 KiB that exist where something was written, and the exact written ranges.
 *
 *   size 64 KiB  | chunk 0 | hole    | chunk 2 | hole
 *   written        [4096, 8192)        [32768, 49152)
 *
 * A chunk's buffer reaches no further than the chunk was written, so that small objects stay small. An overwrite of
 * 4 KiB touches one chunk; a clone shares all chunks and copies one only when it is next written. The written ranges
 * are byte exact because that is what a bluestore OSD reports to SPARSE_READ and MAPEXT.
 */

import { allocShortLived } from '../../base/short-lived.js';
import type { ObjectBytes } from './object-store.js';
import { type Extent, RangeSet } from './range-set.js';
import type { ReceivedData } from './spare-buffers.js';
import type { DataOwnership } from './transaction.js';

export const CHUNK_BYTES = 16 * 1024;

/** Buffers grow in these steps at least. */
const PAGE_BYTES = 4096;

interface Chunk {
  /** Of at most CHUNK_BYTES; what is beyond is zero. */
  readonly bytes: Uint8Array;
  /** Others see the same bytes (a clone, a replica, the message they came in): copy before writing. */
  shared: boolean;
  /** What it is a part of and makes use of, as long as it is known who else does. */
  received: ReceivedData | undefined;
}

/** Who sees a chunk from outside may do so for ever. */
function showToOthers(chunk: Chunk): void {
  chunk.shared = true;
  chunk.received = undefined;
}

/** One more piece, or the last one longer, where it lies right behind that in memory. */
function append(pieces: Uint8Array[], bytes: Uint8Array): void {
  const last = pieces.at(-1);
  if (last?.buffer === bytes.buffer && last.byteOffset + last.length === bytes.byteOffset) {
    pieces[pieces.length - 1] = new Uint8Array(
      last.buffer,
      last.byteOffset,
      last.length + bytes.length,
    );
  } else {
    pieces.push(bytes);
  }
}

export class ObjectData implements ObjectBytes {
  #size = 0;
  readonly #chunks = new Map<number, Chunk>();
  #written = new RangeSet();

  get size(): number {
    return this.#size;
  }

  /** The bytes in the range, holes as zeros, short at the end of the object. Always a copy. */
  read(offset: number, length: number): Uint8Array {
    const end = Math.min(offset + length, this.#size);
    if (offset >= end) return new Uint8Array(0);
    const out = allocShortLived(end - offset);
    for (let at = offset; at < end; ) {
      const index = Math.floor(at / CHUNK_BYTES);
      const within = at - index * CHUNK_BYTES;
      const part = Math.min(CHUNK_BYTES - within, end - at);
      const found = this.#chunks.get(index)?.bytes.subarray(within, within + part);
      if (found) out.set(found, at - offset);
      const length = found?.length ?? 0;
      if (length < part) out.fill(0, at - offset + length, at - offset + part);
      at += part;
    }
    return out;
  }

  /**
   * Whole chunks as they are, which are copied when they are next written, neighbours of one write as one piece; what is
   * less than a chunk as a copy. Large reads so cost neither memory nor the time to fill it.
   */
  readShared(offset: number, length: number): readonly Uint8Array[] {
    const end = Math.min(offset + length, this.#size);
    const pieces: Uint8Array[] = [];
    for (let at = offset; at < end; ) {
      const index = Math.floor(at / CHUNK_BYTES);
      const part = Math.min((index + 1) * CHUNK_BYTES - at, end - at);
      const chunk = this.#chunks.get(index);
      if (part === CHUNK_BYTES && chunk?.bytes.length === CHUNK_BYTES) {
        showToOthers(chunk);
        append(pieces, chunk.bytes);
      } else {
        pieces.push(this.read(at, part));
      }
      at += part;
    }
    return pieces;
  }

  /** Whole chunks are kept as views of `data`: the caller gives it up. */
  write(
    offset: number,
    data: Uint8Array,
    { ownsData = false, received }: DataOwnership = {},
  ): void {
    if (data.length === 0) return;
    const end = offset + data.length;
    const shared = !ownsData;
    const users = received?.bytes === data ? received : undefined;
    for (let at = offset; at < end; ) {
      const index = Math.floor(at / CHUNK_BYTES);
      const within = at - index * CHUNK_BYTES;
      const part = Math.min(CHUNK_BYTES - within, end - at);
      const source = data.subarray(at - offset, at - offset + part);
      if (part === CHUNK_BYTES) this.#put(index, { bytes: source, shared, received: users });
      else this.#ownChunk(index, within + part).set(source, within);
      at += part;
    }
    this.#written.add(offset, end);
    if (end > this.#size) this.#size = end;
  }

  /** Punches a hole; the size stays. */
  zero(offset: number, length: number): void {
    const end = Math.min(offset + length, this.#size);
    if (offset >= end) return;
    for (let at = offset; at < end; ) {
      const index = Math.floor(at / CHUNK_BYTES);
      const within = at - index * CHUNK_BYTES;
      const part = Math.min(CHUNK_BYTES - within, end - at);
      if (part === CHUNK_BYTES) this.#remove(index);
      else if (this.#chunks.has(index)) this.#ownChunk(index, 0).fill(0, within, within + part);
      at += part;
    }
    this.#written.remove(offset, end);
  }

  /** Cuts, or grows with a hole. */
  truncate(size: number): void {
    if (size < this.#size) {
      this.zero(size, this.#size - size);
      const firstGone = Math.ceil(size / CHUNK_BYTES);
      for (const index of this.#chunks.keys()) if (index >= firstGone) this.#remove(index);
    }
    this.#size = size;
  }

  /** Shares the chunks: costs what the number of chunks costs, not their bytes. */
  clone(): ObjectData {
    const copy = new ObjectData();
    copy.#size = this.#size;
    copy.#written = this.#written.clone();
    for (const [index, chunk] of this.#chunks) {
      showToOthers(chunk);
      copy.#chunks.set(index, { bytes: chunk.bytes, shared: true, received: undefined });
    }
    return copy;
  }

  /** The written ranges within `[offset, offset + length)`, ascending, merged where they touch. */
  extents(offset: number, length: number): Extent[] {
    return this.#written.within(offset, Math.min(offset + length, this.#size));
  }

  export(): { data: ObjectData; damaged: readonly Extent[] } {
    return { data: this.clone(), damaged: [] };
  }

  release(): void {
    for (const index of this.#chunks.keys()) this.#remove(index);
  }

  /** A chunk's buffer, nobody else's, of at least `length` bytes. */
  #ownChunk(index: number, length: number): Uint8Array {
    const chunk = this.#chunks.get(index);
    const held = chunk?.bytes.length ?? 0;
    if (chunk && !chunk.shared && held >= length) return chunk.bytes;
    // Doubled when it grows, so that appends do not copy what is there each time.
    const wanted = held < length ? Math.max(length, 2 * held) : held;
    const grown = Math.min(CHUNK_BYTES, Math.ceil(wanted / PAGE_BYTES) * PAGE_BYTES);
    const bytes = new Uint8Array(Buffer.allocUnsafeSlow(grown).buffer);
    if (chunk) bytes.set(chunk.bytes);
    if (held < bytes.length) bytes.fill(0, held);
    this.#put(index, { bytes, shared: false, received: undefined });
    return bytes;
  }

  #put(index: number, chunk: Chunk): void {
    chunk.received?.use();
    this.#chunks.get(index)?.received?.drop();
    this.#chunks.set(index, chunk);
  }

  #remove(index: number): void {
    this.#chunks.get(index)?.received?.drop();
    this.#chunks.delete(index);
  }
}
