/**
 * The log's files, `wal.<n>`: written full of zeros before they are used, because a write that lengthens a file costs a
 * second write of the file system's own (twice the time, measured). One is always ready in advance; those that a
 * checkpoint has made superfluous are used again.
 *
 * The first ones are small, so that a store that holds little takes little; each is twice as large as the one before.
 */

import type { Disk, DiskFile } from '../../../base/environment.js';

export interface SegmentSizes {
  readonly firstBytes: number;
  readonly maxBytes: number;
}

export interface Segment {
  readonly path: string;
  readonly file: DiskFile;
  readonly bytes: number;
  /** Where the next group goes. */
  at: number;
  /** The newest record in it. */
  lastSeq: number;
}

const ZEROS = Buffer.alloc(256 * 1024);
const NAME = /^wal\.(\d{1,15})$/;

export function segmentNames(names: readonly string[]): string[] {
  return names.filter((name) => NAME.test(name));
}

function segmentNumber(path: string): number {
  return Number(NAME.exec(path.slice(path.lastIndexOf('/') + 1))?.[1] ?? 0);
}

export class SegmentFactory {
  readonly #disk: Disk;
  readonly #dir: string;
  readonly #sizes: SegmentSizes;
  #nextBytes: number;
  #nextNumber: number;
  #ready: Segment | undefined;
  #making: Promise<Segment> | undefined;
  #lacksRoom = false;

  /** `existing`: those that there are already. */
  constructor(disk: Disk, dir: string, sizes: SegmentSizes, existing: readonly Segment[]) {
    this.#disk = disk;
    this.#dir = dir;
    this.#sizes = sizes;
    const largest = Math.max(sizes.firstBytes, ...existing.map(({ bytes }) => bytes));
    this.#nextBytes = Math.min(sizes.maxBytes, largest);
    this.#nextNumber = Math.max(0, ...existing.map(({ path }) => segmentNumber(path))) + 1;
  }

  /** Of the one that is ready in advance. */
  get readyBytes(): number {
    return this.#ready?.bytes ?? 0;
  }

  /** Of the next one to be made. */
  get nextBytes(): number {
    return this.#nextBytes;
  }

  /** One was to be made in advance, and could not. */
  get lacksRoom(): boolean {
    return this.#lacksRoom;
  }

  /** A segment in which a group of `atLeast` bytes fits. */
  async take(atLeast: number): Promise<Segment> {
    if (this.#making) await this.#making.catch(() => {});
    const ready = this.#ready;
    this.#ready = undefined;
    if (ready && ready.bytes >= atLeast) return ready;
    if (ready) await this.#discard(ready);
    return this.#make(atLeast);
  }

  /** Makes one in advance, if there is none. Where that fails, `lacksRoom` says so, and the next `take` tries again. */
  prepare(): void {
    this.prepared().catch(() => {});
  }

  /** Resolves when there is one in advance; rejects where none can be made. */
  async prepared(): Promise<void> {
    if (this.#ready) return;
    this.#making ??= this.#make(0).finally(() => {
      this.#making = undefined;
    });
    try {
      this.#ready = await this.#making;
      this.#lacksRoom = false;
    } catch (error) {
      this.#lacksRoom = true;
      throw error;
    }
  }

  /** One whose records nobody needs any more. A small one is kept where a larger one has no room. */
  async recycle(segment: Segment): Promise<void> {
    const isTooSmall = segment.bytes < this.#nextBytes && !this.#lacksRoom;
    if (this.#ready || this.#making || isTooSmall) {
      await this.#discard(segment);
      return;
    }
    segment.at = 0;
    segment.lastSeq = 0;
    this.#ready = segment;
    this.#lacksRoom = false;
  }

  async close(): Promise<void> {
    await this.#making?.catch(() => {});
    await this.#ready?.file.close();
    this.#ready = undefined;
  }

  async #discard(segment: Segment): Promise<void> {
    await segment.file.close();
    await this.#disk.remove(segment.path);
  }

  async #make(atLeast: number): Promise<Segment> {
    const bytes = Math.max(this.#nextBytes, atLeast);
    const path = `${this.#dir}/wal.${this.#nextNumber++}`;
    try {
      await this.#fill(path, bytes);
    } catch (error) {
      // What there is of it stands in the way of others.
      await this.#disk.remove(path).catch(() => {});
      throw error;
    }
    const file = await this.#disk.open(path, { durable: true });
    this.#nextBytes = Math.min(this.#sizes.maxBytes, Math.max(this.#nextBytes, bytes) * 2);
    return { path, file, bytes, at: 0, lastSeq: 0 };
  }

  async #fill(path: string, bytes: number): Promise<void> {
    const file = await this.#disk.open(path, { create: true });
    try {
      for (let at = 0; at < bytes; at += ZEROS.length) {
        await file.write([ZEROS.subarray(0, Math.min(ZEROS.length, bytes - at))], at);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await this.#disk.syncDir(this.#dir);
  }
}
