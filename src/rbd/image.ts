/** An open image: its header, the gate in front of its data, and the operations that change its size. */

import { RadosError } from '../base/errors.js';
import { mutate } from '../rados/class-call.js';
import { setSize } from '../rados/cls-rbd.js';
import type { IoContext } from '../rados/io-context.js';
import { Admission, type AdmittedImage } from './admission.js';
import type { RbdContext } from './context.js';
import { imageError } from './errors.js';
import { assertReadable, assertWritable } from './features.js';
import { type ImageHeader, type ImageSnapshot, refreshHeader } from './header.js';
import { FreshnessGate } from './freshness-gate.js';
import { ImageGuard, type ImageGuardStatus, type ImageListener } from './image-guard.js';
import { ImageData, type WriteContext } from './io.js';
import { headerObject } from './names.js';
import { notifyHeaderUpdate } from './notify.js';
import type { LockOptions } from './lock-host.js';
import { type ImageHandle, openHeader } from './open.js';
import { formatImageSpec, type ImageSpec } from './spec.js';
import { type Progress, trimObjects } from './trim.js';

export interface OpenOptions {
  /** Opens for reading only, which more images allow. Implied by a snapshot. */
  readonly readOnly?: boolean;
  /** Discards shrink to multiples of this many bytes (krbd's `alloc_size`): a power of two. 64 KiB unless told. */
  readonly allocSize?: number;
  /** Tells the OSDs whether to compress what is written (krbd's `compression_hint`). */
  readonly compressionHint?: 'none' | 'compressible' | 'incompressible';
  /** Object operations of one request in flight at a time. */
  readonly objectOpsMax?: number;
  /** Hears of what happens to the image by others. */
  readonly listener?: ImageListener;
  /** How the exclusive lock is taken and given, for images that have the feature. */
  readonly lock?: Omit<LockOptions, 'listener'>;
  /** Shared memory, `GATE_WORDS` long, in which the freshness of the header can be seen from other threads. */
  readonly gateWords?: Int32Array;
  readonly signal?: AbortSignal;
}

export interface RequestOptions {
  /** Gives up waiting. A write that was under way then has an unknown outcome. */
  readonly signal?: AbortSignal;
}

export interface ResizeOptions extends RequestOptions {
  /** Without it, a smaller size is refused with EINVAL. */
  readonly allowShrink?: boolean;
  readonly onProgress?: Progress;
}

const ALLOC_SIZE = 65_536;
const OBJECT_OPS_MAX = 32;
const ALLOC_HINT_FLAGS = { none: 0, compressible: 0x100, incompressible: 0x200 } as const;

/**
 * An image, opened at its head or at a snapshot.
 *
 * Buffers given to `write` and its kin, and `into` of `read`, are borrowed until the call settles. Offsets and lengths
 * are bytes, of any alignment. Beyond the end of the image: a read returns what there is, a write does what fits, and
 * each tells how much that was; only one that starts past the end is refused (EINVAL). Nothing orders requests that
 * overlap while they are in flight.
 *
 * An image that is open for writing is watched: when another client has been told that its change of the header was heard
 * here, nothing goes by the header of before any more. One that is open for reading only, or at a snapshot, keeps the
 * header that it was opened with until `refresh`.
 *
 * Time stamps of access and modification are left alone, as krbd leaves them.
 */
export class Image implements ImageHandle, AsyncDisposable {
  readonly context: RbdContext;
  readonly id: string;
  readonly name: string | undefined;
  readonly target: string;
  readonly ioctx: IoContext;
  /** The pool and namespace of the data objects. */
  readonly dataIoctx: IoContext;
  readonly readOnly: boolean;
  readonly snapshot: ImageSnapshot | undefined;
  readonly #data: ImageData;
  readonly #admission: Admission;
  readonly #guard: ImageGuard | undefined;
  #header: ImageHeader;
  /** Refreshes begun so far, and which of them `#header` is from. */
  #refreshes = 0;
  #headerOf = 0;
  /** While a shrink runs: nothing is written beyond. */
  #writeLimit = Number.POSITIVE_INFINITY;
  #resizing = false;
  #closed = false;

  /**
   * ENOENT: no such pool, image or snapshot. ENOSYS: the image has a feature (named in the message) with which this
   * version cannot read or, unless `readOnly`, write it.
   */
  static async open(
    context: RbdContext,
    spec: ImageSpec,
    options: OpenOptions = {},
  ): Promise<Image> {
    const opening = new Opening();
    try {
      const handle = await openHeader(context, spec, {
        ...options,
        watch: async (ioctx, id) => {
          const target = formatImageSpec(spec);
          const { listener, lock, gateWords: words } = options;
          const refresh = () => opening.refresh();
          opening.guard = await ImageGuard.open({
            ...{ context, ioctx, id, target, listener, lock, words, refresh },
          });
        },
      });
      const { header, ioctx, readOnly, target } = handle;
      if (readOnly) assertReadable(header.features, header.incompatibleFeatures, target);
      else assertWritable(header.features, target);
      assertNoParent(handle);
      const dataIoctx =
        header.dataPoolId === undefined
          ? ioctx
          : await context.ioctx(header.dataPoolId, ioctx.nspace);
      const image = new Image(handle, dataIoctx, opening.guard, options);
      opening.done(image);
      return image;
    } catch (error) {
      await opening.undo();
      throw imageError(error, 'open', formatImageSpec(spec));
    }
  }

  private constructor(
    handle: ImageHandle,
    dataIoctx: IoContext,
    guard: ImageGuard | undefined,
    options: OpenOptions,
  ) {
    const { header } = handle;
    this.context = handle.context;
    this.id = handle.id;
    this.name = handle.name;
    this.target = handle.target;
    this.ioctx = handle.ioctx;
    this.dataIoctx = dataIoctx;
    this.readOnly = handle.readOnly;
    this.snapshot = handle.snapshot;
    this.#header = header;
    this.#guard = guard;
    guard?.applyFeatures(header.features);
    this.#admission = new Admission(
      this.#admitted(),
      guard?.gate ??
        new FreshnessGate({
          clock: handle.context.environment.clock,
          refresh: () => this.reread(),
          target: handle.target,
        }),
    );
    this.#data = new ImageData({
      ioctx: dataIoctx,
      layout: header.layout,
      objectPrefix: header.objectPrefix,
      target: handle.target,
      allocSize: options.allocSize ?? ALLOC_SIZE,
      allocHintFlags: ALLOC_HINT_FLAGS[options.compressionHint ?? 'none'],
      objectOpsMax: options.objectOpsMax ?? OBJECT_OPS_MAX,
    });
  }

  /** The header as last read. */
  get header(): ImageHeader {
    return this.#header;
  }

  /** Bytes of the head or of the opened snapshot. */
  get size(): number {
    return this.snapshot ? this.snapshot.imageSize : this.#header.size;
  }

  /** Bytes that writes may go to: while a shrink runs, fewer than there are. */
  get writableSize(): number {
    return Math.min(this.size, this.#writeLimit);
  }

  get features(): bigint {
    return this.#header.features;
  }

  get objectSize(): number {
    return this.#header.layout.objectSize;
  }

  get stripeUnit(): number {
    return this.#header.layout.stripeUnit;
  }

  get stripeCount(): number {
    return this.#header.layout.stripeCount;
  }

  get objectPrefix(): string {
    return this.#header.objectPrefix;
  }

  /** Objects that the size makes room for. */
  get objectCount(): number {
    return this.#header.layout.objectCount(this.size);
  }

  /**
   * Reads into `into` when given, which may be longer than `length`, and returns the bytes read as a view of it.
   * Shorter than `length` only at the end of the image.
   */
  async read(
    offset: number,
    length: number,
    into?: Uint8Array,
    options: RequestOptions = {},
  ): Promise<Uint8Array> {
    this.#assertOpen('read');
    return this.#admission.read(offset, length, options.signal, (clipped, context) => {
      if (into && into.length < clipped) {
        throw new RangeError(`the buffer of ${into.length} bytes does not hold ${clipped}`);
      }
      if (clipped > 0) return this.#data.read(offset, clipped, into, context);
      return Promise.resolve(into ? into.subarray(0, 0) : new Uint8Array(0));
    });
  }

  /** Returns the bytes written: fewer than given only at the end of the image. They are durable. */
  write(offset: number, data: Uint8Array, options: RequestOptions = {}): Promise<number> {
    return this.#change('write', offset, data.length, options, (clipped, context) =>
      this.#data.write(offset, data.subarray(0, clipped), context),
    );
  }

  /** Gives space back where whole multiples of the alloc size are covered; these read as zeros afterwards. */
  discard(offset: number, length: number, options: RequestOptions = {}): Promise<number> {
    return this.#change('discard', offset, length, options, (clipped, context) =>
      this.#data.discard(offset, clipped, context),
    );
  }

  /** Makes the range read as zeros, and gives space back where that does it. */
  writeZeroes(offset: number, length: number, options: RequestOptions = {}): Promise<number> {
    return this.#change('write-zeroes', offset, length, options, (clipped, context) =>
      this.#data.writeZeroes(offset, clipped, context),
    );
  }

  /** Repeats `pattern` over the range. EINVAL unless `length` is a multiple of the pattern's length. */
  writeSame(
    offset: number,
    length: number,
    pattern: Uint8Array,
    options: RequestOptions = {},
  ): Promise<number> {
    return this.#change('write-same', offset, length, options, (clipped, context) => {
      if (pattern.length === 0 || length % pattern.length !== 0) {
        throw this.#error(
          'EINVAL',
          'write-same',
          `${length} bytes are not a multiple of the pattern's ${pattern.length}`,
        );
      }
      return this.#data.writeSame(offset, clipped, pattern, context);
    });
  }

  /**
   * Writes `data` if the image holds `compare` there, as one atomic step. Otherwise EILSEQ, a `CompareMismatchError`
   * with `mismatchOffset`. EINVAL: lengths differ, or the range is not within one object.
   */
  compareAndWrite(
    offset: number,
    compare: Uint8Array,
    data: Uint8Array,
    options: RequestOptions = {},
  ): Promise<number> {
    return this.#change(
      'compare-and-write',
      offset,
      compare.length,
      options,
      (clipped, context) => {
        if (compare.length !== data.length || clipped !== data.length) {
          throw this.#error(
            'EINVAL',
            'compare-and-write',
            'the lengths differ or reach over the end of the image',
          );
        }
        return this.#data.compareAndWrite(offset, compare, data, context);
      },
    );
  }

  /** Resolves when all writes that had begun before it have settled: an acknowledged write is durable by itself. */
  async flush(): Promise<void> {
    this.#assertOpen('flush');
    await this.#admission.settled();
  }

  /** Reads the header again: size, snapshots, features as other clients left them. */
  async refresh(options: RequestOptions = {}): Promise<void> {
    this.#assertOpen('refresh');
    await this.reread(options);
  }

  /** @internal As `refresh`, also while the image closes: what has begun is let through first. */
  async reread(options: RequestOptions = {}): Promise<void> {
    const turn = ++this.#refreshes;
    try {
      const header = await refreshHeader(this.ioctx, this.#header, {
        readOnly: this.readOnly,
        signal: options.signal,
      });
      // Of refreshes that overlap, the one that began last has the newest.
      if (turn < this.#headerOf) return;
      this.#headerOf = turn;
      this.#header = header;
      this.#guard?.applyFeatures(header.features);
    } catch (error) {
      throw imageError(error, 'refresh', this.target);
    }
  }

  /**
   * Changes the size. A shrink first waits for the writes in flight, then removes the data beyond, then lowers the size:
   * when it fails in between, the size is as before and the range beyond reads as zeros where it was removed already.
   */
  async resize(size: number, options: ResizeOptions = {}): Promise<void> {
    this.#assertWritable('resize');
    if (!Number.isSafeInteger(size) || size < 0) throw new RangeError(`${size} is not a size`);
    if (this.#resizing) throw this.#error('EBUSY', 'resize', 'another resize is running');
    if (size < this.size && !options.allowShrink) {
      throw this.#error('EINVAL', 'resize', 'shrinking an image is only allowed with allowShrink');
    }
    this.#resizing = true;
    const lock = this.#guard?.lock;
    let entered = false;
    try {
      const entry = lock?.enter(options.signal);
      if (entry) await entry;
      entered = true;
      if (size < this.size) await this.#trim(size, options);
      await mutate(this.ioctx, headerObject(this.id), [setSize(size)], signalOption(options));
      await this.refresh();
      await notifyHeaderUpdate(this.ioctx, this.id, this.context.environment);
    } catch (error) {
      // The size may have changed all the same, if it is only the answer that is missing.
      await this.refresh().catch(() => undefined);
      throw imageError(error, 'resize', this.target);
    } finally {
      if (entered) lock?.leave();
      this.#writeLimit = Number.POSITIVE_INFINITY;
      this.#resizing = false;
    }
  }

  /** Whether the image has an exclusive lock that this client takes before it writes. */
  get hasExclusiveLock(): boolean {
    return this.#guard?.lock !== undefined;
  }

  /**
   * Takes the exclusive lock and waits for it, `lockTimeoutMs` long. ETIMEDOUT; EROFS: its owner keeps it; EBUSY: it was
   * taken by `rbd lock add`; EBLOCKLISTED; EINVAL: the image has none.
   */
  async acquireLock(options: RequestOptions = {}): Promise<void> {
    this.#assertWritable('lock');
    const lock = this.#guard?.lock;
    if (!lock) throw this.#error('EINVAL', 'lock', 'exclusive-lock feature is not enabled');
    try {
      await lock.acquire(signalOption(options));
    } catch (error) {
      throw imageError(error, 'lock', this.target);
    }
  }

  /** Watch, notifications and freshness; undefined for an image that is open for reading only. */
  watchStatus(): ImageGuardStatus | undefined {
    return this.#guard?.status();
  }

  /** Waits for the writes in flight and lets go of the watch; afterwards every call is refused. Safe to call twice. */
  async close(): Promise<void> {
    this.#closed = true;
    // Still listening: a write may be waiting for another client to release the lock.
    await this.#admission.settled();
    await this.#guard?.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #trim(size: number, { onProgress, signal }: ResizeOptions): Promise<void> {
    this.#writeLimit = size;
    await this.#admission.drained();
    await trimObjects({
      ioctx: this.dataIoctx,
      layout: this.#header.layout,
      objectPrefix: this.objectPrefix,
      fromSize: this.size,
      toSize: size,
      snapContext: this.#header.snapContext,
      onProgress,
      signal,
    });
  }

  #change(
    op: string,
    offset: number,
    length: number,
    { signal }: RequestOptions,
    change: (clipped: number, context: WriteContext) => Promise<void>,
  ): Promise<number> {
    try {
      this.#assertWritable(op);
    } catch (error) {
      return Promise.reject(error as Error);
    }
    return this.#admission.change(op, offset, length, signal, change);
  }

  #assertOpen(op: string): void {
    if (this.#closed) throw this.#error('EBADF', op, 'the image is closed');
  }

  #assertWritable(op: string): void {
    this.#assertOpen(op);
    if (this.readOnly) throw this.#error('EROFS', op, 'the image is open for reading only');
    // Another client may have added a feature since.
    assertWritable(this.#header.features, this.target);
  }

  /** What requests need to know of this image, always as of now. */
  #admitted(): AdmittedImage {
    const image = () => this;
    const guard = this.#guard;
    return {
      target: this.target,
      snapId: this.snapshot?.id,
      get size() {
        return image().size;
      },
      get writableSize() {
        return image().writableSize;
      },
      get snapContext() {
        return image().header.snapContext;
      },
      get lock() {
        return guard?.lock;
      },
      assertFeatures: () => assertWritable(this.#header.features, this.target),
    };
  }

  #error(code: 'EINVAL' | 'EROFS' | 'EBADF' | 'EBUSY', op: string, why: string): RadosError {
    return new RadosError(code, `${op} ${this.target}: ${why}`, {
      op,
      target: this.target,
      outcome: 'not-applied',
    });
  }
}

function signalOption({ signal }: RequestOptions): { signal?: AbortSignal } {
  return signal ? { signal } : {};
}

/** An image on its way: what its watch wants to have refreshed waits until it is there. */
class Opening {
  guard: ImageGuard | undefined;
  done!: (image: Image) => void;
  #failed!: (error: Error) => void;
  readonly #image: Promise<Image>;

  constructor() {
    this.#image = new Promise<Image>((resolve, reject) => {
      this.done = resolve;
      this.#failed = reject;
    });
    this.#image.catch(() => undefined);
  }

  async refresh(): Promise<void> {
    const image = await this.#image;
    await image.reread();
  }

  async undo(): Promise<void> {
    this.#failed(new RadosError('ECANCELED', 'the image was not opened'));
    await this.guard?.close().catch(() => undefined);
  }
}

/** Bytes that a parent still backs cannot be read yet, let alone be copied up before a write. */
function assertNoParent({ context, header, snapshot, target }: ImageHandle): void {
  const { parent } = header;
  const overlap = snapshot ? snapshot.parentOverlap : (parent?.overlap ?? 0);
  if (!parent || overlap === 0) return;
  const pool = context.poolById(parent.poolId)?.name ?? `pool ${parent.poolId}`;
  const place = [pool, parent.namespace].filter((part) => part !== '').join('/');
  throw new RadosError(
    'ENOSYS',
    `image ${target} has feature 'layering' in use (clone of ${place}/id ${parent.imageId}@id ${parent.snapId}), ` +
      'which this version cannot follow: flatten it first',
    { target },
  );
}
