/**
 * The log: every transaction goes to it before it is acknowledged, in the order in which they were made.
 *
 * One write is under way at a time. What comes meanwhile is collected and goes out with the next: a lone writer gets its
 * answer after one write, many get theirs after two, and the disk sees few large writes.
 */

import type { DiskFile } from '../../../base/environment.js';
import { RadosError } from '../../../base/errors.js';
import type { Encoder } from '../../../encoding/encoder.js';
import type { Crc32c } from '../../../kernels/crc32c.js';
import type { BlockRun } from './block-space.js';
import { GroupBuffer, groupBytes } from './wal-group.js';
import type { Segment, SegmentFactory } from './wal-segments.js';

export interface WalOptions {
  readonly segments: SegmentFactory;
  readonly salt: number;
  readonly crc32c: Crc32c;
  /** Of the last record there is. */
  readonly lastSeq: number;
  /** What there is of it, oldest first. */
  readonly old: readonly Segment[];
  /** Writes; tries again until it succeeds where the disk is only full. */
  readonly write: (file: DiskFile, bytes: Uint8Array, position: number) => Promise<void>;
  /** Runs what may find the disk full, again and again until there is room. */
  readonly untilRoom: <T>(act: () => Promise<T>) => Promise<T>;
  /** These blocks may be used again. */
  readonly onFreed: (runs: readonly BlockRun[]) => void;
  /** A write failed: nothing can be acknowledged any more. */
  readonly onFailure: (error: Error) => void;
}

/** One write's worth of records, and who waits for it. */
class Group {
  readonly done: Promise<void>;
  readonly writes: Promise<void>[] = [];
  readonly freed: BlockRun[] = [];
  resolve: () => void = () => {};
  reject: (error: Error) => void = () => {};

  constructor(readonly buffer: GroupBuffer) {
    this.done = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // Whoever does not wait does not want to know.
    this.done.catch(() => {});
  }
}

export class Wal {
  readonly #options: WalOptions;
  readonly #segments: Segment[];
  /** Where groups go; none yet after a start: what a crash left at the end of the last one stays as it is. */
  #current: Segment | undefined;
  #seq: number;
  /** The group that takes records now. */
  #open: Group | undefined;
  #writing: Group | undefined;
  #spare: GroupBuffer | undefined;
  #running: Promise<void> | undefined;
  #failure: Error | undefined;
  #writtenBytes = 0;

  constructor(options: WalOptions) {
    this.#options = options;
    this.#segments = [...options.old];
    this.#seq = options.lastSeq;
  }

  /** Of the newest record. */
  get seq(): number {
    return this.#seq;
  }

  /** Of its files, the one that is ready included. */
  get fileBytes(): number {
    return this.#segments.reduce(
      (sum, { bytes }) => sum + bytes,
      this.#options.segments.readyBytes,
    );
  }

  /** Bytes of records since the start. */
  get writtenBytes(): number {
    return this.#writtenBytes;
  }

  /** Parts of it that can be used again when a checkpoint has what they tell. */
  get hasOlder(): boolean {
    return this.#segments.some((segment) => segment !== this.#current);
  }

  /** Whether a record of so many bytes has its place in the files that there are. */
  hasRoomFor(bytes: number): boolean {
    const current = this.#current;
    let left = current ? current.bytes - current.at : 0;
    for (const group of [this.#writing, this.#open]) {
      if (group) left -= groupBytes(group.buffer.encoder.length);
    }
    const ready = this.#options.segments.readyBytes;
    return Math.max(left, ready + Math.min(0, left)) >= bytes + UNASKED_BYTES;
  }

  /** Where the next record goes; `commit` ends it. */
  begin(): Encoder {
    this.#open ??= this.#newGroup();
    return this.#open.buffer.encoder;
  }

  /** Resolves when the record is on disk, and `writes` before it. `freed` comes free then. */
  commit(change: { writes: readonly Promise<void>[]; freed: readonly BlockRun[] }): Promise<void> {
    const group = this.#open as Group;
    this.#seq++;
    group.buffer.records++;
    for (const write of change.writes) {
      write.catch(() => {});
      group.writes.push(write);
    }
    for (const run of change.freed) group.freed.push(run);
    this.#running ??= this.#run();
    return group.done;
  }

  /** Half a record lies in the open group: neither that group nor anything after it may reach the disk. */
  fail(error: Error): void {
    this.#failure ??= error;
    if (this.#open) this.#running ??= this.#run();
  }

  /** Resolves when every record so far is on disk. */
  async settled(): Promise<void> {
    await (this.#open ?? this.#writing)?.done;
    if (this.#failure) throw this.#failure;
  }

  /** A checkpoint has everything up to `seq`. */
  async retire(seq: number): Promise<void> {
    while (this.#segments.length > 0) {
      const oldest = this.#segments[0] as Segment;
      if (oldest === this.#current || oldest.lastSeq > seq) return;
      this.#segments.shift();
      await this.#options.segments.recycle(oldest);
    }
  }

  /** After the last commit. */
  async close(): Promise<void> {
    await this.#running?.catch(() => {});
    await this.#options.segments.close();
    await Promise.all(this.#segments.map(({ file }) => file.close()));
  }

  #newGroup(): Group {
    const buffer = this.#spare ?? new GroupBuffer();
    this.#spare = undefined;
    buffer.begin(this.#seq + 1);
    return new Group(buffer);
  }

  async #run(): Promise<void> {
    // What the same turn still brings goes out together.
    await Promise.resolve();
    try {
      while (this.#open) {
        const group = this.#open;
        this.#open = undefined;
        this.#writing = group;
        await this.#write(group);
      }
    } finally {
      this.#writing = undefined;
      this.#running = undefined;
    }
  }

  async #write(group: Group): Promise<void> {
    const { salt, crc32c, write, onFreed, onFailure } = this.#options;
    const { buffer } = group;
    const lastSeq = buffer.firstSeq + buffer.records - 1;
    try {
      if (this.#failure) throw this.#failure;
      if (group.writes.length > 0) await Promise.all(group.writes);
      const bytes = buffer.seal(salt, crc32c);
      const segment = await this.#segmentFor(bytes.length);
      await write(segment.file, bytes, segment.at);
      segment.at += bytes.length;
      this.#writtenBytes += bytes.length;
      segment.lastSeq = lastSeq;
      if (segment.at > segment.bytes / 2) this.#options.segments.prepare();
    } catch (error) {
      const failure = new RadosError(
        'EIO',
        `the log cannot be written: ${(error as Error).message}`,
        {
          cause: error,
        },
      );
      if (!this.#failure) onFailure(failure);
      this.#failure ??= failure;
      group.reject(this.#failure);
      return;
    }
    this.#spare = buffer.encoder.length <= KEPT_BUFFER_BYTES ? buffer : undefined;
    onFreed(group.freed);
    group.resolve();
  }

  async #segmentFor(bytes: number): Promise<Segment> {
    const current = this.#current;
    if (current && current.at + bytes <= current.bytes) return current;
    const { segments, untilRoom } = this.#options;
    const next = await untilRoom(() => segments.take(bytes));
    this.#segments.push(next);
    this.#current = next;
    return next;
  }
}

/** For records that are made without asking: the PG's own. */
const UNASKED_BYTES = 8 * 1024;
/** Larger ones were for large transactions, which are rare. */
const KEPT_BUFFER_BYTES = 1024 * 1024;
