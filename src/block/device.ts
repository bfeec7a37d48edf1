/**
 * The block device: an image as a range of bytes, for the thread that uses it.
 *
 * All offsets and lengths are in bytes and need no alignment. Ranges lie within `size`, wholly: nothing is
 * clipped (EINVAL). Overlapping calls take effect in the order in which they were made, where at
 * least one of them changes the range; all others go side by side. A flush covers every write that was
 * called before it, answered or not.
 */

import { EventEmitter } from 'node:events';

import { RadosError, toRadosError } from '../base/errors.js';
import type { DiffExtent, DiffOptions } from '../rbd/diff/diff.js';
import type { ImageWatcherInfo } from '../rbd/watchers.js';
import { AbortWatch } from './abort-watch.js';
import type { DeviceAttributes } from './attributes.js';
import type { BackendEvent } from './backend.js';
import { totalBytes } from '../base/total-bytes.js';
import { BlockCall, type BlockCallOptions } from './block-call.js';
import { CallErrors, checkInteger, describeTarget } from './call-errors.js';
import type { Channel } from './channel.js';
import type {
  BlockDeviceEvents,
  BlockDeviceOptions,
  IoOptions,
  ReadView,
  WorkerReplacement,
  WriteOptions,
} from './device-types.js';
import { asFileHandle, type BlockFileHandle } from './file-handle.js';
import { RequestQueue } from './request-queue.js';
import { FLAG, OP, type Op, opName } from './requests.js';

export type {
  BlockDeviceEvents,
  BlockDeviceOptions,
  IoOptions,
  ReadView,
  Reopened,
  WorkerReplacement,
  WriteOptions,
} from './device-types.js';

const MIB = 1024 * 1024;
const DEFAULT_MAX_QUEUED = 16384;
const DEFAULT_MAX_QUEUED_BYTES = 256 * MIB;
export const DEFAULT_PIECE_BYTES = 4 * MIB;

export class BlockDevice extends EventEmitter<BlockDeviceEvents> {
  #channel: Channel;
  readonly #queue: RequestQueue;
  readonly #aborts = new AbortWatch();
  readonly #options: BlockDeviceOptions;
  readonly #pieceBytes: number;
  readonly #errors: CallErrors;
  #attributes: DeviceAttributes;
  #failure: RadosError | undefined;
  /** Why the image is being opened again. */
  #interruption: RadosError | undefined;
  #closing: Promise<void> | undefined;
  #releasing: Promise<void> | undefined;
  #closed = false;

  constructor(options: BlockDeviceOptions) {
    super();
    const { channel, attributes } = options;
    this.#options = options;
    this.#channel = channel;
    this.#attributes = Object.freeze({ ...attributes });
    this.#errors = new CallErrors(describeTarget(attributes));
    const halfArena = channel.arena.bytes.length / 2;
    this.#pieceBytes = Math.min(options.pieceBytes ?? DEFAULT_PIECE_BYTES, halfArena);
    this.#queue = new RequestQueue({
      channel,
      target: this.#errors.target,
      queueDepth: options.queueDepth,
      maxQueued: options.maxQueued ?? DEFAULT_MAX_QUEUED,
      maxQueuedBytes: options.maxQueuedBytes ?? DEFAULT_MAX_QUEUED_BYTES,
      pieceBytes: this.#pieceBytes,
    });
    this.#listen(channel);
  }

  /** Bytes. Follows resizes by anyone. */
  get size(): number {
    return this.#attributes.size;
  }

  get readOnly(): boolean {
    return this.#attributes.readOnly;
  }

  /** What krbd shows in sysfs; see `sysfsAttributes` for its spelling. Frozen; a resize makes a new one. */
  get attributes(): DeviceAttributes {
    return this.#attributes;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Longest range of `readView`, and twice the longest of `compareAndWrite`. */
  get maxPayloadBytes(): number {
    return this.#pieceBytes;
  }

  /** Requests at the backend and calls that wait: what a monitor would show. */
  get load(): { inFlight: number; waiting: number; viewBytes: number } {
    const { inFlight, waiting, keptBytes } = this.#queue;
    return { inFlight, waiting, viewBytes: keptBytes };
  }

  /** Reads into a fresh buffer, or into `into`, which is filled; it is untouched after an abort. */
  read(offset: number, length: number, options?: IoOptions): Promise<Uint8Array>;
  read(offset: number, into: Uint8Array, options?: IoOptions): Promise<Uint8Array>;
  async read(
    offset: number,
    lengthOrInto: number | Uint8Array,
    options: IoOptions = {},
  ): Promise<Uint8Array> {
    const into = this.#readTarget(offset, lengthOrInto);
    // A buffer that nobody else holds may be filled late; so may any buffer when nothing can abort the call.
    const inPlace = typeof lengthOrInto === 'number' || options.signal === undefined;
    await this.#run(
      { op: OP.READ, offset, length: into.length, vector: [into], inPlace },
      options.signal,
    );
    return into;
  }

  async readInto(offset: number, into: Uint8Array, options?: IoOptions): Promise<void> {
    await this.read(offset, into, options);
  }

  /**
   * Reads without the copy to a buffer of the caller: the bytes stay where they arrived until `release()`. At
   * most `maxPayloadBytes`; views hold at most half of the device's memory (EAGAIN).
   */
  async readView(offset: number, length: number, options: IoOptions = {}): Promise<ReadView> {
    this.#check(OP.READ, offset, length);
    this.#checkPayload(OP.READ, length);
    const call = await this.#run(
      { op: OP.READ, offset, length, keepsPayload: true },
      options.signal,
    );
    if (call.keptAddress < 0) return { data: new Uint8Array(0), release() {} };
    let held = true;
    const { arena } = this.#channel;
    return {
      data: arena.view(call.keptAddress, length),
      release: () => {
        if (held) this.#queue.release(arena, call.keptAddress, length);
        held = false;
      },
    };
  }

  /** Fills the buffers one after the other. */
  async readv(offset: number, into: readonly Uint8Array[], options: IoOptions = {}): Promise<void> {
    const length = totalBytes(into);
    this.#check(OP.READ, offset, length);
    const inPlace = options.signal === undefined;
    await this.#run({ op: OP.READ, offset, length, vector: [...into], inPlace }, options.signal);
  }

  /** Writes. `data` is copied on call, so it may be changed at once (unless `borrowed`). */
  write(offset: number, data: Uint8Array, options?: WriteOptions): Promise<void> {
    return this.writev(offset, [data], options);
  }

  /** Writes the buffers one after the other, as one write. Copied on call, as `write`. */
  async writev(
    offset: number,
    data: readonly Uint8Array[],
    options: WriteOptions = {},
  ): Promise<void> {
    const length = totalBytes(data);
    this.#check(OP.WRITE, offset, length);
    const flags = options.fua ? FLAG.FUA : 0;
    const borrowed = options.borrowed ?? false;
    // After an abort the caller has its buffers back, but the backend may still send from them.
    const inPlace = borrowed && options.signal === undefined;
    const call = { op: OP.WRITE, flags, offset, length, vector: [...data], borrowed, inPlace };
    await this.#run(call, options.signal);
  }

  /** Lets go of the space of a range. */
  async discard(offset: number, length: number, options: IoOptions = {}): Promise<void> {
    await this.#run(this.#discardCall(offset, length), options.signal);
  }

  /** The range reads as zeroes afterwards. `noUnmap`: its space stays allocated. */
  async writeZeroes(
    offset: number,
    length: number,
    options: IoOptions & { noUnmap?: boolean } = {},
  ): Promise<void> {
    this.#check(OP.WRITE_ZEROES, offset, length);
    const flags = (options.noUnmap ?? this.#options.notrim) ? FLAG.NO_UNMAP : 0;
    await this.#run({ op: OP.WRITE_ZEROES, flags, offset, length }, options.signal);
  }

  /** Fills the range with copies of `pattern`, whose length divides `length`. Copied on call. */
  async writeSame(
    offset: number,
    length: number,
    pattern: Uint8Array,
    options: IoOptions = {},
  ): Promise<void> {
    this.#check(OP.WRITE_SAME, offset, length);
    this.#checkPayload(OP.WRITE_SAME, pattern.length);
    if (length > 0 && (pattern.length === 0 || length % pattern.length !== 0)) {
      const why = `a pattern of ${pattern.length} bytes does not fill ${length}`;
      throw this.#errors.invalid(OP.WRITE_SAME, why);
    }
    await this.#run({ op: OP.WRITE_SAME, offset, length, vector: [pattern] }, options.signal);
  }

  /**
   * Writes `data` if the range equals `compare`, in one step; otherwise rejects with EILSEQ and changes nothing.
   * Both are of the same length, and copied on call. The range lies within one object.
   */
  async compareAndWrite(
    offset: number,
    compare: Uint8Array,
    data: Uint8Array,
    options: IoOptions = {},
  ): Promise<void> {
    const length = data.length;
    this.#check(OP.COMPARE_AND_WRITE, offset, length);
    this.#checkPayload(OP.COMPARE_AND_WRITE, 2 * length);
    if (compare.length !== length) {
      throw this.#errors.invalid(OP.COMPARE_AND_WRITE, 'both buffers must have the same length');
    }
    const call = { op: OP.COMPARE_AND_WRITE, offset, length, vector: [compare, data] };
    await this.#run(call, options.signal);
  }

  /** Resolves when all writes that were called before are durable. */
  async flush(options: IoOptions = {}): Promise<void> {
    this.#checkOpen(OP.FLUSH);
    await this.#run({ op: OP.FLUSH, offset: 0, length: 0 }, options.signal);
  }

  /**
   * The synchronous calls block this thread until the worker answered: for emulators that cannot await. They
   * keep their order with the asynchronous ones. EOPNOTSUPP with `threads: 0`. ENOTCONN while a worker that ended is
   * being replaced: that needs this thread's event loop.
   */
  readSync(offset: number, lengthOrInto: number | Uint8Array): Uint8Array {
    const into = this.#readTarget(offset, lengthOrInto);
    this.#runSync({ op: OP.READ, offset, length: into.length, vector: [into] });
    return into;
  }

  writeSync(offset: number, data: Uint8Array, options: { fua?: boolean } = {}): void {
    this.#check(OP.WRITE, offset, data.length);
    const flags = options.fua ? FLAG.FUA : 0;
    const { length } = data;
    this.#runSync({ op: OP.WRITE, flags, offset, length, vector: [data], borrowed: true });
  }

  discardSync(offset: number, length: number): void {
    this.#runSync(this.#discardCall(offset, length));
  }

  flushSync(): void {
    this.#checkOpen(OP.FLUSH);
    this.#runSync({ op: OP.FLUSH, offset: 0, length: 0 });
  }

  /**
   * What changed in the image since a snapshot, or since it was created, up to a snapshot, or to what is mapped here: in
   * the order of offsets, and with every write that was called before. ENOENT: no such snapshot; EINVAL: the start is newer
   * than the end.
   */
  async *diff(options: DiffOptions = {}): AsyncGenerator<DiffExtent, void, undefined> {
    const { target } = this.#errors;
    const { diff } = this.#options;
    if (!diff) throw new RadosError('EOPNOTSUPP', `diff ${target}: not supported`, { target });
    await this.flush(options.signal ? { signal: options.signal } : {});
    for await (const extents of diff(options)) yield* extents;
  }

  /** Sets the image's size, for everybody. */
  async resize(size: number): Promise<void> {
    this.#checkOpen(OP.WRITE, 'resize');
    checkInteger('size', size);
    const { resize } = this.#options;
    if (this.readOnly || !resize) {
      const code = this.readOnly ? 'EROFS' : 'EOPNOTSUPP';
      throw new RadosError(
        code,
        `resize ${this.#errors.target}: the image cannot be resized from here`,
        {
          op: 'resize',
          target: this.#errors.target,
          outcome: 'not-applied',
        },
      );
    }
    this.#setSize(await resize(size));
  }

  /** Who has the image open for writing, this device included unless it is read-only (`rbd status`). */
  async watchers(): Promise<ImageWatcherInfo[]> {
    this.#checkOpen(OP.READ, 'watchers');
    return this.#options.watchers();
  }

  /** The device in the shape of `fs.promises.FileHandle`. Closing the handle closes the device. */
  asFileHandle(): BlockFileHandle {
    return asFileHandle(this);
  }

  /**
   * Waits for all calls, flushes, and lets go of the image. `force` does not wait: pending calls reject, writes
   * with an unknown outcome (also when another `close()` waits already). Safe to call twice.
   */
  async close(options: { force?: boolean } = {}): Promise<void> {
    if (options.force && !this.#failure && !this.#releasing) {
      this.#failure = new RadosError('ECANCELED', 'the device was closed by force');
      this.#queue.fail(this.#failure);
    }
    this.#closing ??= this.#drainAndRelease();
    await this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #drainAndRelease(): Promise<void> {
    let flushed: RadosError | undefined;
    if (!this.#failure && !this.readOnly) {
      // The flush waits for the writes before it; nothing comes after, `#closing` is set by then.
      const call = this.#start({ op: OP.FLUSH, offset: 0, length: 0 });
      await call.done.catch((error: RadosError) => {
        flushed = error;
      });
    }
    await this.#queue.idle();
    await this.#release(this.#failure !== undefined);
    if (flushed && !this.#failure) throw flushed;
  }

  #release(force: boolean): Promise<void> {
    this.#releasing ??= this.#options.release(force).finally(() => {
      this.#channel.close();
      this.#finish();
    });
    return this.#releasing;
  }

  #finish(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.emit('close');
  }

  #listen(channel: Channel): void {
    channel.start({
      onComplete: (tag, error) => this.#queue.onComplete(tag, error),
      onEvent: (event) => this.#onEvent(event),
      onFailure: (error) => this.#onChannelFailure(error),
    });
  }

  #onChannelFailure(failure: RadosError): void {
    const { reopen } = this.#options;
    if (!reopen || this.#releasing || this.#failure) {
      this.#fail(failure);
      return;
    }
    this.#interruption = failure;
    const unknown = this.#queue.interrupt(failure);
    reopen(unknown > 0).then(
      ({ channel, attributes }) => {
        // Closed by force meanwhile: what was opened again is closed again by who opened it.
        if (this.#failure) channel.close();
        else this.#resume(channel, attributes, { reason: failure, unknown });
      },
      (error: unknown) => this.#fail(toRadosError(error)),
    );
  }

  #resume(
    channel: Channel,
    attributes: DeviceAttributes,
    interruption: Omit<WorkerReplacement, 'repeated'>,
  ): void {
    const { size } = this;
    this.#channel = channel;
    this.#attributes = Object.freeze({ ...attributes, size });
    this.#interruption = undefined;
    this.#listen(channel);
    const repeated = this.#queue.resume(channel);
    this.#setSize(attributes.size);
    this.emit('worker-replaced', { ...interruption, repeated });
  }

  #fail(failure: RadosError): void {
    if (this.#failure || this.#closed) return;
    this.#failure = failure;
    this.#queue.fail(failure);
    // Whether the backend lets go in good order does not matter any more.
    void this.#release(true).catch(() => {});
    if (this.listenerCount('error') > 0) this.emit('error', failure);
  }

  #onEvent(event: BackendEvent): void {
    switch (event.type) {
      case 'resize':
        this.#setSize(event.size);
        return;
      case 'error':
        this.#fail(event.error);
        return;
      case 'watch-error':
        this.emit('watch-error', event.error);
        return;
      case 'lock-lost':
        this.emit('lock-lost', event.reason, event.error);
        return;
      default:
        this.emit(event.type);
    }
  }

  #setSize(size: number): void {
    if (size === this.size) return;
    this.#attributes = Object.freeze({ ...this.#attributes, size });
    this.emit('resize', size);
  }

  async #run(options: BlockCallOptions, signal: AbortSignal | undefined): Promise<BlockCall> {
    if (signal?.aborted) throw this.#errors.aborted(options.op, signal, undefined);
    if (options.length === 0 && options.op !== OP.FLUSH) return new BlockCall(options);
    const { call, done } = this.#start(options);
    if (!signal) {
      await done;
      return call;
    }
    const onAbort = () => this.#queue.abort(call, this.#errors.aborted(options.op, signal, call));
    const unwatch = this.#aborts.watch(signal, onAbort);
    try {
      await done;
    } finally {
      unwatch();
    }
    return call;
  }

  #start(options: BlockCallOptions): { call: BlockCall; done: Promise<void> } {
    const call = new BlockCall(options);
    const done = new Promise<void>((resolve, reject) => {
      call.onSettled = (error) => (error ? reject(error) : resolve());
    });
    this.#queue.submit(call);
    return { call, done };
  }

  #runSync(options: BlockCallOptions): void {
    if (!this.#channel.canBlock) {
      const why = 'synchronous calls need a worker thread (not `threads: 0`)';
      throw this.#errors.refused('EOPNOTSUPP', options.op, why);
    }
    if (options.length === 0 && options.op !== OP.FLUSH) return;
    const call = new BlockCall(options);
    let failure: RadosError | undefined;
    call.onSettled = (error) => {
      failure = error;
    };
    this.#queue.submit(call, true);
    while (!call.settled) {
      this.#channel.poll();
      if (call.settled) break;
      if (this.#interruption) {
        const why = 'it is being replaced, which needs the event loop of this thread';
        const error = new RadosError('ENOTCONN', `${this.#interruption.message}: ${why}`);
        this.#queue.abort(call, call.errorOf(error, this.#errors.target));
      } else if (this.#queue.inFlight > 0) this.#channel.block();
      else {
        const why = 'no memory is left beside the views that were not released';
        this.#queue.abort(call, call.errorOf(new RadosError('EAGAIN', why), this.#errors.target));
      }
    }
    this.#channel.resume();
    if (failure) throw failure;
  }

  #discardCall(offset: number, length: number): BlockCallOptions {
    this.#check(OP.DISCARD, offset, length);
    if (this.#options.notrim) {
      const why = 'the device was mapped with notrim';
      throw this.#errors.refused('EOPNOTSUPP', OP.DISCARD, why);
    }
    return { op: OP.DISCARD, offset, length };
  }

  #readTarget(offset: number, lengthOrInto: number | Uint8Array): Uint8Array {
    const wanted = typeof lengthOrInto === 'number';
    this.#check(OP.READ, offset, wanted ? lengthOrInto : lengthOrInto.length);
    return wanted ? Buffer.allocUnsafe(lengthOrInto) : lengthOrInto;
  }

  #check(op: Op, offset: number, length: number): void {
    checkInteger('offset', offset);
    checkInteger('length', length);
    this.#checkOpen(op);
    if (op !== OP.READ && this.readOnly) {
      throw this.#errors.refused('EROFS', op, 'the image is open read-only');
    }
    if (offset + length > this.size) {
      throw this.#errors.invalid(
        op,
        `${length} bytes at ${offset} reach beyond the size ${this.size}`,
      );
    }
  }

  #checkPayload(op: Op, bytes: number): void {
    if (bytes > this.#pieceBytes) {
      throw this.#errors.invalid(op, `${bytes} bytes are more than one request carries`);
    }
  }

  #checkOpen(op: Op, name: string = opName(op)): void {
    if (this.#closing) throw this.#errors.closed(op, name, this.#failure);
    if (this.#failure) throw this.#errors.failed(op, name, this.#failure);
  }
}
