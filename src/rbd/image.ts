/** An open image: reading and writing it, its lock, and the operations that change what it is. */

import { RadosError } from '../base/errors.js';
import { NOSNAP } from '../encoding/types.js';
import type { RbdContext } from './context.js';
import { imageError } from './errors.js';
import { assertReadable, assertWritable, FEATURE } from './features.js';
import { ImageGuard, type ImageListener } from './image-guard.js';
import { ImageSnapshots } from './image-snapshots.js';
import type { LockOptions } from './lock-host.js';
import { checkObjectMap, type ObjectMapError } from './maintenance/check-object-map.js';
import { flatten } from './maintenance/flatten.js';
import { Maintenance } from './maintenance/maintenance.js';
import { updateMetadata } from './maintenance/metadata.js';
import type { MaintenanceOptions, Operation } from './maintenance/operation.js';
import { rebuildObjectMap, rebuildSnapshotMap } from './maintenance/rebuild-object-map.js';
import { resize } from './maintenance/resize.js';
import { setShared } from './maintenance/share.js';
import { sparsify } from './maintenance/sparsify.js';
import { updateFeatures } from './maintenance/update-features.js';
import type { WriteContext } from './object-request.js';
import { loadMap } from './object-map/loaded-map.js';
import { type DataOptions, type ImageParts, OpenImage, type RequestOptions } from './open-image.js';
import { type ImageHandle, openHeader } from './open.js';
import { Parents } from './parent.js';
import { formatImageSpec, type ImageSpec } from './spec.js';

export interface OpenOptions extends DataOptions {
  /** Opens for reading only, which more images allow. Implied by a snapshot. */
  readonly readOnly?: boolean;
  /** Hears of what happens to the image by others. */
  readonly listener?: ImageListener;
  /** How the exclusive lock is taken and given, for images that have the feature. */
  readonly lock?: Omit<LockOptions, 'listener'>;
  /** Shared memory, `GATE_WORDS` long, in which the freshness of the header can be seen from other threads. */
  readonly gateWords?: Int32Array;
  /** @internal Of a parent: the images that were followed to get to it. */
  readonly parentDepth?: number;
  readonly signal?: AbortSignal;
}

export interface ResizeOptions extends MaintenanceOptions {
  /** Without it, a smaller size is refused with EINVAL. */
  readonly allowShrink?: boolean;
}

export interface SparsifyOptions extends MaintenanceOptions {
  /** Bytes. */
  readonly sparseSize?: number;
}

const SPARSE_SIZE = 4096;

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
 * What changes the image as a whole is done by the client that owns its exclusive lock: here, or there at our request.
 *
 * Time stamps of access and modification are left alone, as krbd leaves them.
 */
export class Image extends OpenImage implements AsyncDisposable {
  readonly snapshots: ImageSnapshots;
  readonly #maintenance: Maintenance;

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
      const dataIoctx =
        header.dataPoolId === undefined
          ? ioctx
          : await context.ioctx(header.dataPoolId, ioctx.nspace);
      const parents = new Parents({
        ...{ context, target, snapshot: handle.snapshot, depth: options.parentDepth ?? 0 },
        open: (parent, depth) =>
          Image.open(context, parent, { readOnly: true, parentDepth: depth }),
      });
      const parent = await parents.follow(header);
      const { snapshot } = handle;
      const snapshotMap = snapshot && (await loadMap(handle, snapshot));
      const image = new Image(
        handle,
        {
          ...{ dataIoctx, guard: opening.guard, parents, parent, snapshotMap },
          removeUnusedSnapshot: (unused) => Image.removeUnusedSnapshot(context, unused),
        },
        options,
      );
      opening.done(image);
      return image;
    } catch (error) {
      await opening.undo();
      throw imageError(error, 'open', formatImageSpec(spec));
    }
  }

  /**
   * Removes a snapshot that was kept in the trash for a clone that is none any more. Does not reject: what stays there is
   * in nobody's way, and goes with its image.
   */
  static async removeUnusedSnapshot(context: RbdContext, spec: ImageSpec): Promise<void> {
    const { snapId, ...head } = spec;
    if (snapId === undefined) throw new TypeError('which snapshot is unused?');
    try {
      await using image = await Image.open(context, head);
      await image.snapshots.remove(snapId);
    } catch (error) {
      context.environment.log.rbd.warn(
        { image: formatImageSpec(spec), err: error },
        'failed to remove a snapshot that no clone needs any more',
      );
    }
  }

  private constructor(handle: ImageHandle, parts: ImageParts, options: DataOptions) {
    super(handle, parts, options);
    this.snapshots = new ImageSnapshots(this, (...what) => this.#maintain(...what));
    this.#maintenance = new Maintenance(this, parts.guard?.watcher);
    this.guard?.serve(
      {
        accept: (request) => this.#maintenance.accept(request),
        interrupt: (cause) => this.#maintenance.interrupt(cause),
        lockAcquired: () => this.heldMap.open(),
        lockReleasing: () => this.heldMap.close(),
      },
      this.header.features,
    );
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
    this.assertOpen('read');
    return this.admission.read(offset, length, options.signal, (clipped, context) => {
      if (into && into.length < clipped) {
        throw new RangeError(`the buffer of ${into.length} bytes does not hold ${clipped}`);
      }
      if (clipped > 0) return this.data.read(offset, clipped, into, context);
      return Promise.resolve(into ? into.subarray(0, 0) : new Uint8Array(0));
    });
  }

  /** Returns the bytes written: fewer than given only at the end of the image. They are durable. */
  write(offset: number, data: Uint8Array, options: RequestOptions = {}): Promise<number> {
    return this.#change('write', offset, data.length, options, (clipped, context) =>
      this.data.write(offset, data.subarray(0, clipped), context),
    );
  }

  /** Gives space back where whole multiples of the alloc size are covered; these read as zeros afterwards. */
  discard(offset: number, length: number, options: RequestOptions = {}): Promise<number> {
    return this.#change('discard', offset, length, options, (clipped, context) =>
      this.data.discard(offset, clipped, context),
    );
  }

  /** Makes the range read as zeros, and gives space back where that does it. */
  writeZeroes(offset: number, length: number, options: RequestOptions = {}): Promise<number> {
    return this.#change('write-zeroes', offset, length, options, (clipped, context) =>
      this.data.writeZeroes(offset, clipped, context),
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
        throw this.error(
          'EINVAL',
          'write-same',
          `${length} bytes are not a multiple of the pattern's ${pattern.length}`,
        );
      }
      return this.data.writeSame(offset, clipped, pattern, context);
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
          throw this.error(
            'EINVAL',
            'compare-and-write',
            'the lengths differ or reach over the end of the image',
          );
        }
        return this.data.compareAndWrite(offset, compare, data, context);
      },
    );
  }

  /** Resolves when all writes that had begun before it have settled: an acknowledged write is durable by itself. */
  async flush(): Promise<void> {
    this.assertOpen('flush');
    await this.admission.settled();
  }

  /**
   * Changes the size. A shrink first waits for the writes in flight, then removes the data beyond, then lowers the size:
   * when it fails in between, the size is as before and the range beyond reads as zeros where it was removed already.
   */
  async resize(size: number, options: ResizeOptions = {}): Promise<void> {
    if (!Number.isSafeInteger(size) || size < 0) throw new RangeError(`${size} is not a size`);
    const { allowShrink = false, ...maintenance } = options;
    await this.#maintain(resize, { op: 'resize', size, allowShrink }, maintenance);
  }

  async setMetadata(key: string, value: string, options: MaintenanceOptions = {}): Promise<void> {
    await this.#maintain(updateMetadata, { op: 'metadataUpdate', key, value }, options);
  }

  /** ENOENT: no such key. */
  async removeMetadata(key: string, options: MaintenanceOptions = {}): Promise<void> {
    const request = { op: 'metadataUpdate', key, value: undefined } as const;
    await this.#maintain(updateMetadata, request, options);
  }

  /**
   * Gives the image features, or takes them away: bits of `FEATURE`. EINVAL: one cannot be changed, is so already, or
   * another builds on it.
   */
  async updateFeatures(
    features: bigint,
    enabled: boolean,
    options: MaintenanceOptions = {},
  ): Promise<void> {
    await this.#maintain(updateFeatures, { op: 'updateFeatures', features, enabled }, options);
  }

  /**
   * Whether several clients may write at a time, which then have to agree among themselves, as a cluster file system does:
   * a shared image has no exclusive lock, nor what builds on it. EBUSY, and nothing has changed: another client owns the
   * lock or, of an image that is to be shared no more, has it open. Such an image gets an object map, which is right when
   * this is over.
   */
  async setShared(shared: boolean, options: MaintenanceOptions = {}): Promise<void> {
    await this.#maintain(setShared, { shared }, options);
    if (this.features & FEATURE.OBJECT_MAP) await this.rebuildObjectMap(options);
  }

  /**
   * Makes a clone independent of its parent: what it shows of it becomes its own. Progress counts objects. EINVAL: it is
   * none.
   */
  async flatten(options: MaintenanceOptions = {}): Promise<void> {
    await this.#maintain(flatten, { op: 'flatten' }, options);
  }

  /**
   * Makes object maps right that are not to be believed: the head's, and those of all snapshots of which that is so. Or that of
   * one snapshot. Progress counts objects. EINVAL: the image has no object map.
   */
  async rebuildObjectMap(
    options: MaintenanceOptions & { readonly snapId?: bigint } = {},
  ): Promise<void> {
    const { snapId, ...maintenance } = options;
    if (snapId === undefined) {
      await this.#maintain(rebuildObjectMap, { op: 'rebuildObjectMap' }, maintenance);
    } else await this.#maintain(rebuildSnapshotMap, { snapId }, maintenance);
  }

  /**
   * Compares the head's object map, or a snapshot's, with the objects, and tells `onError` of what is wrong; then the map is
   * flagged as invalid. Takes the exclusive lock. EINVAL: the image has no object map.
   */
  async checkObjectMap(
    onError: (error: ObjectMapError) => void,
    options: MaintenanceOptions & { readonly snapId?: bigint } = {},
  ): Promise<void> {
    const { snapId = NOSNAP, ...maintenance } = options;
    await this.#maintain(checkObjectMap, { snapId, onError }, maintenance);
  }

  /**
   * Gives up the space of pieces of `sparseSize` bytes (4096 unless told) that are all zeros. Progress counts objects.
   * EINVAL: that is no power of two from 4096 to the object size.
   */
  async sparsify(options: SparsifyOptions = {}): Promise<void> {
    const { sparseSize = SPARSE_SIZE, ...maintenance } = options;
    await this.#maintain(sparsify, { op: 'sparsify', sparseSize }, maintenance);
  }

  /** Whether the image has an exclusive lock that this client takes before it writes. */
  get hasExclusiveLock(): boolean {
    return this.lock !== undefined;
  }

  /**
   * Takes the exclusive lock and waits for it, `lockTimeoutMs` long. ETIMEDOUT; EROFS: its owner keeps it; EBUSY: it was
   * taken by `rbd lock add`; EBLOCKLISTED; EINVAL: the image has none.
   */
  async acquireLock(options: RequestOptions = {}): Promise<void> {
    this.assertWritable('lock');
    const { lock } = this;
    if (!lock) throw this.error('EINVAL', 'lock', 'exclusive-lock feature is not enabled');
    try {
      await lock.acquire(options.signal ? { signal: options.signal } : {});
    } catch (error) {
      throw imageError(error, 'lock', this.target);
    }
  }

  /** Waits for the writes in flight and lets go of the watch; afterwards every call is refused. Safe to call twice. */
  async close(): Promise<void> {
    this.closed = true;
    // Still listening: a write may be waiting for another client to release the lock.
    await this.admission.settled();
    this.guard?.block();
    await this.#maintenance.close();
    await this.guard?.close();
    await this.closeParents();
    this.freeSnapshotMap();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Has an operation done, by whoever may. */
  async #maintain<R extends object>(
    operation: Operation<R>,
    request: R,
    options: MaintenanceOptions,
  ): Promise<void> {
    this.assertWritable(operation.name);
    await this.#maintenance.run(operation, request, options);
  }

  #change(
    op: string,
    offset: number,
    length: number,
    { signal }: RequestOptions,
    change: (clipped: number, context: WriteContext) => Promise<void>,
  ): Promise<number> {
    try {
      this.assertWritable(op);
    } catch (error) {
      return Promise.reject(error as Error);
    }
    return this.admission.change(op, offset, length, signal, change);
  }
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
