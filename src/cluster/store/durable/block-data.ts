/**
 * An object's bytes in blocks of the data file.
 *
 *   written   [100, 5000)                 byte exact, as SPARSE_READ and MAPEXT want it
 *   map       0 -> 17, 1 -> 18            object block -> block of the data file
 *   block 17  ....xxxxxxxxxxxxxxxxxxx     what lies outside of the written ranges is not part of the object
 *   block 18  xxxx...................
 *
 * Punching a hole and cutting are therefore changes of the written ranges alone; a block comes free when nothing
 * written is left in it.
 *
 * Invariant: a byte that is written lies in a mapped block.
 */

import { isRadosError, RadosError } from '../../../base/errors.js';
import { ObjectData } from '../object-data.js';
import { formatObject, type ObjectId } from '../object-id.js';
import type { ObjectBytes } from '../object-store.js';
import { type Extent, RangeSet } from '../range-set.js';
import type { ObjectDump } from '../transaction.js';
import { BlockMap } from './block-map.js';
import { BLOCK_BYTES, type BlockRun } from './block-space.js';
import { DamagedBlock, type DataFile } from './data-file.js';

/** Writes of at least this many whole blocks go to the data file at once instead of through the log. */
export const DIRECT_BLOCKS = 16;

/** Object blocks that got blocks of the data file: `count` consecutive ones on both sides. */
export interface Placement extends BlockRun {
  readonly index: number;
}

/** What the objects of a store share. */
export interface BlockHost {
  readonly file: DataFile;
  /** Where blocks were put since it was last emptied, for the log. */
  readonly placements: Placement[];
  readonly onDamage: (id: ObjectId, offset: number, reason: string) => void;
}

export class BlockData implements ObjectBytes {
  readonly #host: BlockHost;
  readonly #id: ObjectId;
  #size = 0;
  #written = new RangeSet();
  #map = new BlockMap();

  constructor(host: BlockHost, id: ObjectId) {
    this.#host = host;
    this.#id = id;
  }

  get size(): number {
    return this.#size;
  }

  get written(): RangeSet {
    return this.#written;
  }

  get map(): BlockMap {
    return this.#map;
  }

  extents(offset: number, length: number): Extent[] {
    return this.#written.within(offset, Math.min(offset + length, this.#size));
  }

  // ---- reading ----

  /** EIO, naming the object, when what the disk has is not what was written. */
  read(offset: number, length: number): Uint8Array {
    const end = Math.min(offset + length, this.#size);
    if (offset >= end) return new Uint8Array(0);
    const out = Buffer.allocUnsafe(end - offset);
    let at = offset;
    for (const [start, extentLength] of this.#written.within(offset, end)) {
      out.fill(0, at - offset, start - offset);
      this.#readWritten(start, out.subarray(start - offset, start - offset + extentLength));
      at = start + extentLength;
    }
    out.fill(0, at - offset);
    return out;
  }

  readShared(offset: number, length: number): readonly Uint8Array[] {
    return [this.read(offset, length)];
  }

  /** Bytes that are written, all of them. */
  #readWritten(offset: number, into: Uint8Array): void {
    const { file } = this.#host;
    const end = offset + into.length;
    let at = offset;
    try {
      while (at < end) {
        const index = Math.floor(at / BLOCK_BYTES);
        const within = at - index * BLOCK_BYTES;
        const block = this.#mapped(index);
        if (within > 0 || end - at < BLOCK_BYTES) {
          const part = Math.min(BLOCK_BYTES - within, end - at);
          file.readPart(block, within, into.subarray(at - offset, at - offset + part));
          at += part;
          continue;
        }
        let count = 1;
        while (
          (count + 1) * BLOCK_BYTES <= end - at &&
          this.#map.get(index + count) === block + count
        )
          count++;
        const bytes = count * BLOCK_BYTES;
        file.readRun(block, count, into.subarray(at - offset, at - offset + bytes));
        at += bytes;
      }
    } catch (error) {
      throw this.#damage(error, at);
    }
  }

  #mapped(index: number): number {
    const block = this.#map.get(index);
    if (block === 0) throw new DamagedBlock(0, 'was never placed');
    return block;
  }

  #damage(error: unknown, offset: number): unknown {
    if (!(error instanceof DamagedBlock)) return error;
    this.#host.onDamage(this.#id, offset, error.message);
    const object = formatObject(this.#id);
    return new RadosError(
      'EIO',
      `object ${object} is damaged at byte ${offset}: ${error.message}`,
      {
        target: object,
        cause: error,
      },
    );
  }

  export(): { data: ObjectData; damaged: readonly Extent[] } {
    const data = new ObjectData();
    const damaged: Extent[] = [];
    for (const [offset, length] of this.extents(0, this.#size)) {
      this.#exportRange(offset, length, data, damaged);
    }
    data.truncate(this.#size);
    return { data, damaged };
  }

  /** As one; where something is damaged, block by block. */
  #exportRange(offset: number, length: number, data: ObjectData, damaged: Extent[]): void {
    try {
      data.write(offset, this.read(offset, length));
    } catch (error) {
      if (!isRadosError(error, 'EIO')) throw error;
      const left = BLOCK_BYTES - (offset % BLOCK_BYTES);
      if (length <= left) {
        damaged.push([offset, length]);
        return;
      }
      this.#exportRange(offset, left, data, damaged);
      this.#exportRange(offset + left, length - left, data, damaged);
    }
  }

  /**
   * Makes sure that a write can keep what it must of the blocks at its ends: reads them unless nothing of them survives,
   * given `changed`, what the same transaction does to the object before. EIO while nothing has changed yet.
   */
  prepareWrite(offset: number, length: number, changed: RangeSet | undefined): void {
    if (length === 0) return;
    const end = offset + length;
    const first = Math.floor(offset / BLOCK_BYTES);
    const last = Math.floor((end - 1) / BLOCK_BYTES);
    this.#prepareBlock(first, offset, end, changed);
    if (last !== first) this.#prepareBlock(last, offset, end, changed);
  }

  #prepareBlock(index: number, start: number, end: number, changed: RangeSet | undefined): void {
    const block = this.#map.get(index);
    const from = index * BLOCK_BYTES;
    if (block === 0 || !this.#survives(index, start, end)) return;
    if (changed) {
      const surviving = new RangeSet();
      for (const [at, length] of this.#written.within(from, from + BLOCK_BYTES)) {
        surviving.add(at, at + length);
      }
      for (const [at, to] of changed.ranges()) surviving.remove(at, to);
      surviving.remove(start, end);
      if (surviving.count === 0) return;
    }
    try {
      this.#host.file.fetch(block);
    } catch (error) {
      throw this.#damage(error, from);
    }
  }

  /** Blocks that such a write would take. */
  newBlocks(offset: number, length: number): number {
    const first = Math.floor(offset / BLOCK_BYTES);
    const end = Math.ceil((offset + length) / BLOCK_BYTES);
    if (end - first >= DIRECT_BLOCKS) return end - first;
    let own = 0;
    this.#map.forEach(first, end, (_, block) => {
      if (!this.#host.file.space.isShared(block)) own++;
    });
    return end - first - own;
  }

  /** Something written in the block lies outside of `[start, end)`. */
  #survives(index: number, start: number, end: number): boolean {
    const from = index * BLOCK_BYTES;
    const to = from + BLOCK_BYTES;
    return (
      (start > from && this.#written.touches(from, start)) ||
      (end < to && this.#written.touches(end, to))
    );
  }

  // ---- changing ----

  write(offset: number, data: Uint8Array): void {
    if (data.length === 0) return;
    const end = offset + data.length;
    const wholeFrom = Math.ceil(offset / BLOCK_BYTES);
    const wholeTo = Math.floor(end / BLOCK_BYTES);
    if (wholeTo - wholeFrom >= DIRECT_BLOCKS) {
      const from = wholeFrom * BLOCK_BYTES;
      const to = wholeTo * BLOCK_BYTES;
      if (offset < from) this.#writeBlocks(offset, data.subarray(0, from - offset));
      this.#writeDirect(wholeFrom, data.subarray(from - offset, to - offset));
      if (to < end) this.#writeBlocks(to, data.subarray(to - offset));
    } else {
      this.#writeBlocks(offset, data);
    }
    this.#written.add(offset, end);
    if (end > this.#size) this.#size = end;
  }

  #writeBlocks(offset: number, data: Uint8Array): void {
    const end = offset + data.length;
    for (let at = offset; at < end; ) {
      const index = Math.floor(at / BLOCK_BYTES);
      const within = at - index * BLOCK_BYTES;
      const part = data.subarray(at - offset, at - offset + BLOCK_BYTES - within);
      this.#writeBlock(index, within, part);
      at += part.length;
    }
  }

  #writeBlock(index: number, within: number, part: Uint8Array): void {
    const { file } = this.#host;
    const start = index * BLOCK_BYTES + within;
    const blank = !this.#survives(index, start, start + part.length);
    const block = this.#map.get(index);
    if (block !== 0 && !file.space.isShared(block)) {
      file.edit(block, { blank }).write(within, part);
      return;
    }
    const own = file.allocate();
    const image =
      block === 0 || blank ? file.edit(own, { blank: true }) : file.editCopy(block, own);
    image.write(within, part);
    this.#place(index, { start: own, count: 1 });
  }

  #writeDirect(index: number, data: Uint8Array): void {
    const { file } = this.#host;
    let at = 0;
    for (const run of file.space.allocateRuns(data.length / BLOCK_BYTES)) {
      const bytes = run.count * BLOCK_BYTES;
      file.arrive(run, data.subarray(at, at + bytes));
      this.#place(index + at / BLOCK_BYTES, run);
      at += bytes;
    }
  }

  #place(index: number, { start, count }: BlockRun): void {
    const { placements } = this.#host;
    this.#remap(index, start, count);
    const last = placements.at(-1);
    if (last && last.index + last.count === index && last.start + last.count === start) {
      placements[placements.length - 1] = { ...last, count: last.count + count };
    } else {
      placements.push({ index, start, count });
    }
  }

  #remap(index: number, start: number, count: number): void {
    for (let i = 0; i < count; i++) {
      const before = this.#map.get(index + i);
      if (before !== 0) this.#host.file.release(before);
      this.#map.set(index + i, start + i);
    }
  }

  zero(offset: number, length: number): void {
    const end = Math.min(offset + length, this.#size);
    if (offset >= end) return;
    this.#written.remove(offset, end);
    const first = Math.floor(offset / BLOCK_BYTES);
    this.#map.forEach(first, Math.ceil(end / BLOCK_BYTES), (index, block) => {
      const from = index * BLOCK_BYTES;
      if (this.#written.touches(from, from + BLOCK_BYTES)) return;
      this.#map.set(index, 0);
      this.#host.file.release(block);
    });
  }

  truncate(size: number): void {
    if (size < this.#size) this.zero(size, this.#size - size);
    this.#size = size;
  }

  /** Shares all blocks with the copy until either changes one. */
  copyFor(id: ObjectId): BlockData {
    const copy = new BlockData(this.#host, id);
    copy.#size = this.#size;
    copy.#written = this.#written.clone();
    copy.#map = this.#map.clone();
    const { space } = this.#host.file;
    this.#map.all((_, block) => space.share(block));
    return copy;
  }

  importFrom({ data, damaged = [] }: ObjectDump): void {
    for (const [offset, length] of data.extents(0, data.size)) {
      this.write(offset, data.read(offset, length));
    }
    for (const [offset, length] of damaged) {
      this.#loseBlock(Math.floor(offset / BLOCK_BYTES));
      this.#written.add(offset, offset + length);
    }
    this.#size = data.size;
  }

  /** What is in the block is as good as lost: reading it says so, until it is written anew. */
  #loseBlock(index: number): void {
    const own = this.#host.file.allocate();
    this.#host.file.spoil(own);
    this.#place(index, { start: own, count: 1 });
  }

  release(): void {
    this.#map.all((_, block) => this.#host.file.release(block));
    this.#map = new BlockMap();
    this.#written = new RangeSet();
    this.#size = 0;
  }

  /** The object's block is elsewhere now, with the same content. */
  move(index: number, to: number): void {
    const { file } = this.#host;
    file.noteCopied(to);
    file.space.share(to);
    file.release(this.#map.get(index));
    this.#map.set(index, to);
  }

  // ---- from the log and from checkpoints ----

  /** A write whose bytes the log has kept apart: only where they lie. */
  restoreWrite(offset: number, length: number, placements: readonly Placement[]): void {
    for (const placement of placements) this.restorePlacement(placement);
    if (length === 0) return;
    this.#written.add(offset, offset + length);
    this.#size = Math.max(this.#size, offset + length);
  }

  restorePlacement({ index, start, count }: Placement): void {
    this.#host.file.space.adopt(start, count);
    this.#remap(index, start, count);
  }

  restoreSize(size: number): void {
    this.#size = size;
  }
}
