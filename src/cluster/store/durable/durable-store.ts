/**
 * An ObjectStore on disk, which has every acknowledged transaction after a crash, and none in part.
 *
 *   apply ---> index (memory)          visible at once
 *         ---> log: group commit       acknowledged
 *   later ---> data file: flush        what small writes changed
 *         ---> checkpoint              the index as a whole; the log before it is used again
 *
 * Memory holds the index (some hundred bytes per object, what its xattrs and omap hold, and 10 bytes per block of 4 KiB),
 * and what was changed but not flushed, up to `changedMaxBytes`.
 */

import type { Disk, Timers } from '../../../base/environment.js';
import { RadosError, toRadosError } from '../../../base/errors.js';
import type { Logger } from '../../../base/log.js';
import type { Encoder } from '../../../encoding/encoder.js';
import type { Crc32c } from '../../../kernels/crc32c.js';
import { formatObject, type ObjectId } from '../object-id.js';
import type { ObjectStore, StoredObject } from '../object-store.js';
import type { LogEntry, PgInfo } from '../pg-record.js';
import { SPARE_MIN_BYTES, SpareBuffers } from '../spare-buffers.js';
import type { ObjectDump, Transaction } from '../transaction.js';
import { BLOCK_BYTES } from './block-space.js';
import { writeCheckpoint } from './checkpoint.js';
import { compact, isWorthCompacting } from './compaction.js';
import type { BlockChanges } from './data-file.js';
import type { DiskSpace, SpaceUser } from './disk-space.js';
import { Housekeeping, type Lane } from './housekeeping.js';
import { isDiskFull, type OpenedStore, openStore } from './open-store.js';
import { newBlocks, prepareTransaction, recordBytes } from './prepare.js';
import type { MovedBlocks } from './record.js';
import type { SegmentSizes } from './wal-segments.js';

export interface StoreLimits {
  readonly segments: SegmentSizes;
  /** A checkpoint is due after this much log; after more, up to four times as much, when checkpoints are large. */
  readonly checkpointBytes: number;
  /** A flush is due when this much is changed in memory. */
  readonly flushBytes: number;
  /** Beyond this, transactions wait for the flush. */
  readonly changedMaxBytes: number;
  /** Room within the data file that it does not give back. */
  readonly slackBytes: number;
  /** A checkpoint is made when nothing happened for so long. */
  readonly idleMs: number;
  /** Memory of writes of at least this size is used again. */
  readonly spareMinBytes: number;
}

const MIB = 1024 * 1024;

export const DEFAULT_STORE_LIMITS: StoreLimits = {
  segments: { firstBytes: MIB, maxBytes: 16 * MIB },
  checkpointBytes: 64 * MIB,
  flushBytes: 32 * MIB,
  changedMaxBytes: 96 * MIB,
  slackBytes: 16 * MIB,
  idleMs: 3000,
  spareMinBytes: SPARE_MIN_BYTES,
};

/** A checkpoint's successor is a little larger, and the file system needs some for itself. */
const CHECKPOINT_GROWTH = 1.25;
const SPARE_BYTES = 4 * MIB;
const ROOM_RETRY_MS = 1000;

export interface DurableStoreOptions {
  readonly disk: Disk;
  /** Made when missing. The caller sees to it that nobody else uses it. */
  readonly dir: string;
  readonly timers: Timers;
  readonly crc32c: Crc32c;
  readonly log: Logger;
  /** A random uuid for a new store. */
  readonly generateId: () => string;
  /** What stores on the same disk share. */
  readonly space: DiskSpace;
  readonly lane: Lane;
  readonly limits?: Partial<StoreLimits>;
  /** The disk failed: nothing that was not acknowledged may be believed, and nothing more will be. */
  readonly onFailure: (error: Error) => void;
}

export class DurableStore implements ObjectStore, SpaceUser {
  readonly spare: SpareBuffers;
  readonly #options: DurableStoreOptions;
  readonly #limits: StoreLimits;
  readonly #housekeeping: Housekeeping;
  #opened!: OpenedStore;
  #failure: Error | undefined;
  #closed = false;
  /** Who waits until less is changed in memory. */
  #waiting: (() => void)[] = [];
  #checkpointBytes = 0;
  #checkpointSeq = 0;
  /** The most that was asked for, and not there, since there was room last: of the data file, and of the log. */
  #refusedBytes = 0;
  #refusedLogBytes = 0;
  /** Bytes that the log had written when the last checkpoint began. */
  #logAtCheckpoint = 0;

  /**
   * Opens the store of a directory, or makes one. EIO: it is damaged; EINVAL: its format is not known; the system's
   * errors.
   */
  static async open(options: DurableStoreOptions): Promise<DurableStore> {
    const store = new DurableStore(options);
    await store.#open();
    return store;
  }

  private constructor(options: DurableStoreOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_STORE_LIMITS, ...options.limits };
    this.spare = new SpareBuffers(this.#limits.spareMinBytes);
    this.#housekeeping = new Housekeeping({
      timers: options.timers,
      lane: options.lane,
      next: () => this.#due(),
      whenIdle: () => (this.#isCheckpointed() ? undefined : () => this.#checkpoint()),
      activity: () => this.#opened.wal.seq,
      onError: (error) => this.#onHousekeepingError(error),
      idleMs: this.#limits.idleMs,
    });
  }

  async #open(): Promise<void> {
    const { disk, dir, crc32c, log, generateId, space } = this.#options;
    this.#opened = await openStore({
      disk,
      dir,
      crc32c,
      generateId,
      segments: this.#limits.segments,
      untilRoom: (act) => this.#untilRoom(act),
      onFailure: (error) => this.#fail(error),
      onDamage: (id, offset, reason) => {
        log.error({ dir, object: formatObject(id), offset, reason }, 'damaged object');
      },
    });
    this.#checkpointBytes = this.#opened.checkpointBytes;
    this.#checkpointSeq = this.#opened.checkpointSeq;
    // What was replayed counts as if it had just been written.
    this.#logAtCheckpoint = -this.#opened.replayedBytes;
    space.add(this);
    await space.look();
    const making = this.#opened.segments.prepared().catch(() => {});
    // With no room for a new part of the log it must do with the old ones, and know it before the first record.
    if (space.isShort) await making;
    this.#housekeeping.wake();
  }

  // ---- reading ----

  collections(): string[] {
    return this.#opened.index.names();
  }

  pgInfo(collection: string): PgInfo | undefined {
    return this.#opened.index.find(collection)?.info;
  }

  log(collection: string): readonly LogEntry[] {
    return this.#opened.index.find(collection)?.log.entries() ?? [];
  }

  missing(collection: string): readonly ObjectId[] {
    return [...(this.#opened.index.find(collection)?.missing.values() ?? [])];
  }

  isMissing(collection: string, id: ObjectId): boolean {
    return this.#opened.index.isMissing(collection, id);
  }

  get(collection: string, id: ObjectId): StoredObject | undefined {
    return this.#opened.index.get(collection, id);
  }

  list(collection: string, from: ObjectId | undefined, max: number): ObjectId[] {
    return this.#opened.index.list(collection, from, max);
  }

  dump(collection: string, id: ObjectId): ObjectDump | undefined {
    return this.#opened.index.get(collection, id)?.dump();
  }

  // ---- changing ----

  hasRoomFor({ collection, ops }: Transaction): boolean {
    const { space } = this.#options;
    const { segments, wal } = this.#opened;
    if (!space.isShort && !segments.lacksRoom) return true;
    // The log cannot grow now: whatever changes must have its place in what there is of it, or it waits for room with a
    // promise given, and the checkpoint that would make room waits for it.
    const logBytes = recordBytes(ops);
    if (!wal.hasRoomFor(logBytes)) {
      this.#refusedLogBytes = Math.max(this.#refusedLogBytes, logBytes);
      this.#housekeeping.wake();
      return false;
    }
    const bytes = newBlocks(this.#opened.index, collection, ops) * BLOCK_BYTES;
    // What lies free in the data files needs nothing of the file system.
    if (bytes === 0 || bytes <= space.reusableBytes) return true;
    this.#refusedBytes = Math.max(this.#refusedBytes, bytes);
    return false;
  }

  get isFull(): boolean {
    const { space } = this.#options;
    const { segments, wal } = this.#opened;
    if (this.#refusedLogBytes > 0) {
      const isTight = space.isShort || segments.lacksRoom;
      if (isTight && !wal.hasRoomFor(this.#refusedLogBytes)) {
        this.#housekeeping.wake();
        return true;
      }
      this.#refusedLogBytes = 0;
    }
    if (space.isShort && this.#refusedBytes > space.reusableBytes) return true;
    this.#refusedBytes = 0;
    return false;
  }

  apply({ collection, ops }: Transaction): Promise<void> {
    this.#checkUsable();
    const { index, writer } = this.#opened;
    prepareTransaction(index, collection, ops);
    return this.#record((encoder) =>
      writer.transaction(encoder, index, index.ensure(collection), ops),
    );
  }

  removeCollection(collection: string): Promise<void> {
    this.#checkUsable();
    const { index, writer } = this.#opened;
    return this.#record((encoder) => writer.removeCollection(encoder, index, collection));
  }

  /** `change` happens in memory while its record is written. */
  #record(change: (encoder: Encoder) => BlockChanges): Promise<void> {
    const { wal, file } = this.#opened;
    let changes: BlockChanges;
    try {
      changes = change(wal.begin());
    } catch (error) {
      // Half of it may have happened, and half of its record be written: neither can be taken back.
      const failure = toRadosError(error, { op: 'apply' });
      wal.fail(failure);
      this.#fail(failure);
      throw error;
    }
    const done = wal.commit(changes);
    this.#housekeeping.wake();
    return file.changedBytes > this.#limits.changedMaxBytes ? this.#afterFlush(done) : done;
  }

  async #afterFlush(done: Promise<void>): Promise<void> {
    await done;
    const { file } = this.#opened;
    while (file.changedBytes > this.#limits.changedMaxBytes && !this.#failure && !this.#closed) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #checkUsable(): void {
    if (this.#failure) throw this.#failure;
    if (this.#closed) throw new RadosError('ESTALE', 'the store is closed', { op: 'apply' });
  }

  #fail(error: Error): void {
    if (this.#failure) return;
    this.#failure = error;
    this.#options.log.error({ dir: this.#options.dir, err: error }, 'the store failed');
    this.#letWaitersGo();
    this.#options.onFailure(error);
  }

  // ---- housekeeping ----

  #due(): (() => Promise<void>) | undefined {
    if (this.#failure) return undefined;
    const { wal, file, segments } = this.#opened;
    if (segments.lacksRoom) {
      // What the log has of older parts can be used again; or there is room by now.
      if (wal.hasOlder) return () => this.#checkpoint();
      if (!this.#options.space.isShort) return () => segments.prepared();
    }
    const { checkpointBytes, flushBytes } = this.#limits;
    const limit = Math.min(4 * checkpointBytes, Math.max(checkpointBytes, this.#checkpointBytes));
    if (wal.writtenBytes - this.#logAtCheckpoint > limit) return () => this.#checkpoint();
    if (file.changedBytes > flushBytes) return () => this.#flush();
    return undefined;
  }

  #isCheckpointed(): boolean {
    return this.#failure !== undefined || this.#opened.wal.seq === this.#checkpointSeq;
  }

  async #flush(): Promise<void> {
    const { wal, file } = this.#opened;
    try {
      await file.flush(() => wal.settled());
    } finally {
      this.#letWaitersGo();
    }
  }

  #letWaitersGo(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  async #checkpoint(): Promise<void> {
    const { wal, file, index, checkpoint } = this.#opened;
    const flushedSeq = wal.seq;
    const logBytes = wal.writtenBytes;
    await this.#flush();
    await wal.settled();
    await this.#sync();
    this.#checkpointBytes = await writeCheckpoint(checkpoint, {
      index,
      space: file.space,
      flushedSeq,
      seq: () => wal.seq,
      pause: () => this.#pause(),
      settled: () => wal.settled(),
    });
    this.#checkpointSeq = flushedSeq;
    this.#logAtCheckpoint = logBytes;
    await wal.retire(flushedSeq);
    file.relax();
    file.truncate();
    if (isWorthCompacting(file, this.#limits.slackBytes) && !this.#closed) await this.#compact();
    await this.#options.space.look();
  }

  /**
   * What a sync that failed has lost nobody can tell, and the next one would not say it again. The log still has all of it:
   * the store is to be opened anew.
   */
  async #sync(): Promise<void> {
    try {
      await this.#opened.file.sync();
    } catch (error) {
      const reason = `what was written may be lost: ${(error as Error).message}`;
      throw new RadosError('EIO', reason, { op: 'sync', cause: error });
    }
  }

  async #compact(): Promise<void> {
    const { index, file, writer } = this.#opened;
    await compact({
      index,
      file,
      pause: () => this.#pause(),
      move: (collection: string, moved: readonly MovedBlocks[]) =>
        this.#record((encoder) => writer.moves(encoder, index, collection, moved)),
    });
    file.truncate();
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => this.#options.timers.nextTurn(resolve));
  }

  /** The log keeps what could not be written elsewhere: nothing is lost, and it is tried again. */
  #onHousekeepingError(error: Error): void {
    const { dir, log } = this.#options;
    if (isDiskFull(error)) log.warn({ dir }, 'the disk is full');
    else this.#fail(toRadosError(error, { op: 'housekeeping', target: dir }));
  }

  async #untilRoom<T>(act: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await act();
      } catch (error) {
        if (this.#closed || !isDiskFull(error)) throw error;
        this.#options.log.warn({ dir: this.#options.dir }, 'waiting for room on the disk');
      }
      await new Promise<void>((resolve) => this.#options.timers.after(ROOM_RETRY_MS, resolve));
    }
  }

  // ---- space ----

  writtenBytes(): number {
    return this.#opened.file.writtenEnd * BLOCK_BYTES + this.#otherBytes();
  }

  acceptedBytes(): number {
    return this.#opened.file.space.end * BLOCK_BYTES + this.#otherBytes();
  }

  reservedBytes(): number {
    const checkpoint = this.#checkpointBytes * CHECKPOINT_GROWTH;
    return this.#opened.segments.nextBytes + checkpoint + SPARE_BYTES;
  }

  reusableBytes(): number | undefined {
    const { space } = this.#opened.file;
    return space.used === 0 ? undefined : space.free * BLOCK_BYTES;
  }

  #otherBytes(): number {
    return this.#opened.wal.fileBytes + this.#checkpointBytes;
  }

  // ---- the end ----

  /** Leaves a checkpoint, so that the next start has nothing to replay. Safe to call twice. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const { wal, file } = this.#opened;
    await this.#housekeeping.stop();
    try {
      if (!this.#isCheckpointed()) await this.#options.lane.run(() => this.#checkpoint());
    } catch (error) {
      this.#options.log.warn({ dir: this.#options.dir, err: error }, 'closed without a checkpoint');
    }
    this.#letWaitersGo();
    this.#options.space.remove(this);
    await wal.close();
    await file.close();
  }
}
