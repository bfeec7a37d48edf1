/**
 * The blocks' contents: `DIR/data`, and what is on its way there.
 *
 *   changing    the newest content of blocks that small writes changed: in memory and in the log, not in the file yet
 *   flushing    the same, being written to the file just now
 *   arriving    blocks of large writes, which go to the file at once and not through the log
 *   the file    everything else, checked against the block's checksum whenever it is read
 *
 * A block is changed in place, but only when the log has its new content: whatever a crash leaves of it in the file is
 * written over by the log's replay.
 */

import type { DiskFile } from '../../../base/environment.js';
import type { Crc32c } from '../../../kernels/crc32c.js';
import { BLOCK_BYTES, type BlockRun, type BlockSpace } from './block-space.js';
import { CHECKSUM_SEED } from './format.js';
import { ImagePool, type Image } from './image-pool.js';

/** Blocks that go out in one write. */
const FLUSH_RUN_BLOCKS = 256;

/** What the file has of a block is not what was written there. */
export class DamagedBlock extends Error {
  constructor(
    readonly block: number,
    reason: string,
  ) {
    super(`block ${block} of the data file: ${reason}`);
  }
}

interface Arrival extends BlockRun {
  readonly bytes: Uint8Array;
}

export interface DataFileOptions {
  readonly file: DiskFile;
  /** The same file; what is written through it is durable. */
  readonly durableFile: DiskFile;
  readonly space: BlockSpace;
  /** Length of the file, in blocks. */
  readonly writtenEnd: number;
  readonly crc32c: Crc32c;
  /** Writes large data; tries again until it succeeds where the disk is only full. */
  readonly write: (file: DiskFile, bytes: Uint8Array, position: number) => Promise<void>;
}

/** What a transaction did to blocks, for its record in the log. */
export interface BlockChanges {
  /** Blocks whose new content goes into the log. */
  readonly changed: number[];
  /** Blocks that are written straight to the file. */
  readonly arrived: BlockRun[];
  /** Blocks that nobody uses any more. */
  readonly freed: BlockRun[];
  /** What must be on disk before the record is. */
  readonly writes: Promise<void>[];
}

export class DataFile {
  readonly space: BlockSpace;
  readonly #options: DataFileOptions;
  readonly #pool = new ImagePool();
  #changing = new Map<number, Image>();
  #flushing = new Map<number, Image>();
  readonly #arriving: Arrival[] = [];
  /** Content that a transaction will need of blocks that are in the file only. */
  readonly #fetched = new Map<number, Uint8Array>();
  #changes: BlockChanges = noChanges();
  #transaction = 1;
  /** Large writes that are under way. */
  readonly #writing = new Set<Promise<void>>();
  /** Came free during a flush, which may still write to them. */
  readonly #restless: BlockRun[] = [];
  readonly #scratch = Buffer.allocUnsafeSlow(BLOCK_BYTES);
  /** No block from here on was ever written: the file is no longer. */
  #writtenEnd: number;

  constructor(options: DataFileOptions) {
    this.#options = options;
    this.space = options.space;
    this.#writtenEnd = options.writtenEnd;
  }

  /** Length of the file, in blocks. */
  get writtenEnd(): number {
    return this.#writtenEnd;
  }

  /** Memory that holds changes which the file does not have yet. */
  get changedBytes(): number {
    return (this.#changing.size + this.#flushing.size) * BLOCK_BYTES;
  }

  // ---- a transaction ----

  /** What happened since the last call. */
  takeChanges(): BlockChanges {
    const changes = this.#changes;
    this.#changes = noChanges();
    this.#fetched.clear();
    this.#transaction++;
    return changes;
  }

  /** Reads what a transaction will change a part of. Throws DamagedBlock while nothing has changed yet. */
  fetch(block: number): void {
    if (this.#inMemory(block) || this.#fetched.has(block)) return;
    const bytes = Buffer.allocUnsafe(BLOCK_BYTES);
    this.#readFile(block, 1, bytes);
    this.#fetched.set(block, bytes);
  }

  allocate(): number {
    return this.space.allocate();
  }

  release(block: number): void {
    if (!this.space.release(block)) return;
    const image = this.#changing.get(block);
    if (image) {
      this.#changing.delete(block);
      this.#pool.give(image);
    }
    appendBlock(this.#changes.freed, block);
  }

  /** The content of a block to change, as it is now; with `blank`, as if it were new. */
  edit(block: number, options: { blank: boolean }): Image {
    let image = this.#changing.get(block);
    if (!image) {
      image = this.#pool.take();
      if (!options.blank) this.#copyContent(block, image);
      this.#changing.set(block, image);
    } else if (options.blank) {
      image.clear();
    }
    this.#note(block, image);
    return image;
  }

  /** A new block that begins as a copy of another. */
  editCopy(from: number, block: number): Image {
    const image = this.#pool.take();
    this.#copyContent(from, image);
    this.#changing.set(block, image);
    this.#note(block, image);
    return image;
  }

  /** Whole blocks of a large write: they are readable at once, and the transaction waits until the file has them. */
  arrive(run: BlockRun, bytes: Uint8Array): void {
    const { crc32c } = this.#options;
    for (let i = 0; i < run.count; i++) {
      const checksum = crc32c(CHECKSUM_SEED, bytes, i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES);
      this.space.setChecksum(run.start + i, checksum);
    }
    const arrival = { ...run, bytes };
    this.#arriving.push(arrival);
    this.#noteWritten(run);
    const written = this.#writeDurably(run.start, bytes).then(() => {
      this.#arriving.splice(this.#arriving.indexOf(arrival), 1);
    });
    this.#changes.arrived.push(run);
    this.#changes.writes.push(written);
  }

  /** A new block whose content is to be found damaged. */
  spoil(block: number): void {
    const { crc32c } = this.#options;
    const zeros = Buffer.alloc(BLOCK_BYTES);
    this.space.setChecksum(block, ~crc32c(CHECKSUM_SEED, zeros) >>> 0);
    this.#noteWritten({ start: block, count: 1 });
    this.#changes.arrived.push({ start: block, count: 1 });
    this.#changes.writes.push(this.#writeDurably(block, zeros));
  }

  #writeDurably(start: number, bytes: Uint8Array): Promise<void> {
    const { durableFile, write } = this.#options;
    const written = write(durableFile, bytes, start * BLOCK_BYTES);
    const ended = () => this.#writing.delete(written);
    this.#writing.add(written);
    written.then(ended, ended);
    return written;
  }

  /** The transaction begins to use a copy that the file has (`copyBlocks`). */
  noteCopied(block: number): void {
    appendBlock(this.#changes.arrived, block);
  }

  /** The content of a changed block for the log; undefined when it came free again. */
  changedContent(block: number): Uint8Array | undefined {
    const image = this.#changing.get(block);
    return image?.bytes.subarray(0, image.used);
  }

  /** The log has the content of a block, from before a restart. */
  restore(block: number, content: Uint8Array): void {
    const image = this.#changing.get(block) ?? this.#pool.take();
    image.clear();
    image.write(0, content);
    this.#changing.set(block, image);
  }

  /** The log says that the file has the content of a block. */
  restoreArrived(block: number, checksum: number): void {
    this.#changing.delete(block);
    this.space.setChecksum(block, checksum);
  }

  /** After a replay: what nobody uses is free, and contents of blocks that came free are nobody's. */
  settleReplay(): void {
    this.space.settle();
    for (const block of [...this.#changing.keys()]) {
      if (!this.space.isUsed(block)) this.#changing.delete(block);
    }
    this.takeChanges();
  }

  /** The transaction that freed these blocks is durable. */
  rested(runs: readonly BlockRun[]): void {
    for (const run of runs) {
      if (this.#flushing.size > 0) this.#restless.push(run);
      else this.space.reuse(run);
    }
  }

  // ---- reading ----

  /** A part of one block. */
  readPart(block: number, within: number, into: Uint8Array): void {
    const held = this.#held(block);
    if (held) {
      into.set(held.subarray(within, within + into.length));
      return;
    }
    this.#readFile(block, 1, this.#scratch);
    into.set(this.#scratch.subarray(within, within + into.length));
  }

  /** Whole consecutive blocks. */
  readRun(start: number, count: number, into: Uint8Array): void {
    let fromFile = start;
    const readUpTo = (end: number) => {
      if (end === fromFile) return;
      const at = (fromFile - start) * BLOCK_BYTES;
      this.#readFile(fromFile, end - fromFile, into.subarray(at, (end - start) * BLOCK_BYTES));
    };
    for (let block = start; block < start + count; block++) {
      const held = this.#held(block);
      if (!held) continue;
      readUpTo(block);
      into.set(held, (block - start) * BLOCK_BYTES);
      fromFile = block + 1;
    }
    readUpTo(start + count);
  }

  /** From the file, checked. */
  #readFile(start: number, count: number, into: Uint8Array): void {
    const { file, crc32c } = this.#options;
    let got: number;
    try {
      got = file.read(into, start * BLOCK_BYTES);
    } catch (error) {
      throw new DamagedBlock(start, `cannot be read: ${(error as Error).message}`);
    }
    for (let i = 0; i < count; i++) {
      const end = (i + 1) * BLOCK_BYTES;
      if (end > got) throw new DamagedBlock(start + i, 'is missing');
      const checksum = crc32c(CHECKSUM_SEED, into, i * BLOCK_BYTES, end);
      if (checksum !== this.space.checksum(start + i)) {
        throw new DamagedBlock(start + i, 'does not match its checksum');
      }
    }
  }

  #held(block: number): Uint8Array | undefined {
    const image = this.#changing.get(block) ?? this.#flushing.get(block);
    if (image) return image.bytes;
    for (const { start, count, bytes } of this.#arriving) {
      if (block < start || block >= start + count) continue;
      return bytes.subarray((block - start) * BLOCK_BYTES, (block - start + 1) * BLOCK_BYTES);
    }
    return undefined;
  }

  #inMemory(block: number): boolean {
    return this.#held(block) !== undefined;
  }

  #copyContent(block: number, image: Image): void {
    const held = this.#held(block) ?? this.#fetched.get(block);
    if (held) image.write(0, held);
    else {
      this.#readFile(block, 1, image.bytes);
      image.used = BLOCK_BYTES;
    }
  }

  #note(block: number, image: Image): void {
    if (image.changedBy === this.#transaction) return;
    image.changedBy = this.#transaction;
    this.#changes.changed.push(block);
  }

  // ---- to the file ----

  /**
   * Writes all changed blocks to the file. `durable` resolves when the log has everything that changed so far. What
   * changes meanwhile is for the next time. On failure the changes stay in memory.
   */
  async flush(durable: () => Promise<void>): Promise<void> {
    if (this.#changing.size === 0) return;
    this.#flushing = this.#changing;
    this.#changing = new Map();
    try {
      await durable();
      await this.#writeImages();
    } finally {
      // What could not be written is still to be written, unless it changed again.
      for (const [block, image] of this.#flushing) {
        if (this.space.isUsed(block) && !this.#changing.has(block)) {
          this.#changing.set(block, image);
        } else {
          this.#pool.give(image);
        }
      }
      this.#flushing = new Map();
      for (const run of this.#restless.splice(0)) this.space.reuse(run);
    }
  }

  async #writeImages(): Promise<void> {
    const { file, crc32c } = this.#options;
    const blocks = Uint32Array.from(this.#flushing.keys()).sort();
    for (let i = 0; i < blocks.length; ) {
      const start = blocks[i] as number;
      const images: Image[] = [];
      while (images.length < FLUSH_RUN_BLOCKS && blocks[i] === start + images.length) {
        images.push(this.#flushing.get(blocks[i++] as number) as Image);
      }
      this.#noteWritten({ start, count: images.length });
      await file.write(
        images.map(({ bytes }) => bytes),
        start * BLOCK_BYTES,
      );
      for (const [k, image] of images.entries()) {
        this.space.setChecksum(start + k, crc32c(CHECKSUM_SEED, image.bytes));
        this.#flushing.delete(start + k);
        this.#pool.give(image);
      }
    }
  }

  sync(): Promise<void> {
    return this.#options.file.sync();
  }

  /** Gives what is free at the end of the file back to the file system. Not during a flush. */
  truncate(): void {
    const end = this.space.trimEnd();
    if (end >= this.#writtenEnd) return;
    this.#options.file.truncate(end * BLOCK_BYTES);
    this.#writtenEnd = end;
  }

  #noteWritten({ start, count }: BlockRun): void {
    if (start + count > this.#writtenEnd) this.#writtenEnd = start + count;
  }

  /**
   * Copies blocks to other places, durably; `to` ascends. Those whose content is in memory, or that cannot be read, are
   * left out of the answer. Not during a flush.
   */
  async copyBlocks(copies: readonly { from: number; to: number }[]): Promise<Set<number>> {
    const copied = new Set<number>();
    let run: { start: number; parts: Uint8Array[] } | undefined;
    const writeRun = async () => {
      if (run) await this.#writeDurably(run.start, Buffer.concat(run.parts));
      run = undefined;
    };
    for (const { from, to } of copies) {
      const bytes = this.#inMemory(from) ? undefined : this.#tryRead(from);
      if (!bytes) continue;
      this.space.setChecksum(to, this.space.checksum(from));
      if (run && to !== run.start + run.parts.length) await writeRun();
      run ??= { start: to, parts: [] };
      run.parts.push(bytes);
      copied.add(from);
    }
    await writeRun();
    return copied;
  }

  #tryRead(block: number): Uint8Array | undefined {
    const bytes = Buffer.allocUnsafe(BLOCK_BYTES);
    try {
      this.#readFile(block, 1, bytes);
      return bytes;
    } catch (error) {
      if (error instanceof DamagedBlock) return undefined;
      throw error;
    }
  }

  /** The file has the same in both blocks, and nothing newer is in memory. */
  holdsTheSame(block: number, copy: number): boolean {
    return !this.#inMemory(block) && this.space.checksum(block) === this.space.checksum(copy);
  }

  /** Gives back memory that only a busy time needed. */
  relax(): void {
    this.#pool.drain();
  }

  /** What is under way ends before: a closed descriptor's number may be another file's a moment later. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#writing);
    await Promise.all([this.#options.file.close(), this.#options.durableFile.close()]);
  }
}

function noChanges(): BlockChanges {
  return { changed: [], arrived: [], freed: [], writes: [] };
}

/** Blocks of one object mostly come one after the other. */
function appendBlock(runs: BlockRun[], block: number): void {
  const last = runs.at(-1);
  if (last && last.start + last.count === block) {
    runs[runs.length - 1] = { start: last.start, count: last.count + 1 };
  } else {
    runs.push({ start: block, count: 1 });
  }
}
