/**
 * What an open image is made of, and what its maintenance works with: the header as it was last read, the data, and the
 * gate and the lock in front of them. `Image` adds what is done with it.
 */

import { RadosError } from '../base/errors.js';
import type { ObjectBitmap } from '../kernels/bitmap.js';
import type { IoContext } from '../rados/io-context.js';
import { Admission, type AdmittedImage } from './admission.js';
import type { RbdContext } from './context.js';
import { imageError } from './errors.js';
import type { ExclusiveLock } from './exclusive-lock.js';
import { assertWritable } from './features.js';
import { FreshnessGate } from './freshness-gate.js';
import { type ImageHeader, type ImageSnapshot, refreshHeader } from './header.js';
import type { ImageGuard, ImageGuardStatus } from './image-guard.js';
import { ImageData } from './io.js';
import { notifyHeaderUpdate } from './notify.js';
import type { SendGate } from '../osd-client/request.js';
import type { ObjectBackground } from './object-request.js';
import { HeldObjectMap } from './object-map/held-object-map.js';
import { knownObjects } from './object-map/loaded-map.js';
import type { ObjectMap } from './object-map/object-map.js';
import type { KnownObjects } from './object-states.js';
import type { ImageHandle } from './open.js';
import type { ParentBytes, Parents } from './parent.js';
import type { ImageSpec } from './spec.js';

export interface RequestOptions {
  /** Gives up waiting. A write that was under way then has an unknown outcome. */
  readonly signal?: AbortSignal;
}

/** How an image's data is read and written. */
export interface DataOptions {
  /** Discards shrink to multiples of this many bytes (krbd's `alloc_size`): a power of two. 64 KiB unless told. */
  readonly allocSize?: number;
  /** Tells the OSDs whether to compress what is written (krbd's `compression_hint`). */
  readonly compressionHint?: 'none' | 'compressible' | 'incompressible';
  /** Object operations of one request in flight at a time. */
  readonly objectOpsMax?: number;
}

/** What an image is opened with besides its header. */
export interface ImageParts {
  readonly dataIoctx: IoContext;
  readonly guard: ImageGuard | undefined;
  readonly parents: Parents;
  /** By the header that it is opened with. */
  readonly parent: ParentBytes | undefined;
  /** Of the snapshot that it is opened at, when its map can be believed. */
  readonly snapshotMap: ObjectBitmap | undefined;
  readonly removeUnusedSnapshot: (spec: ImageSpec) => Promise<void>;
}

const ALLOC_SIZE = 65_536;
const OBJECT_OPS_MAX = 32;
const ALLOC_HINT_FLAGS = { none: 0, compressible: 0x100, incompressible: 0x200 } as const;

export class OpenImage implements ImageHandle {
  readonly context: RbdContext;
  readonly id: string;
  readonly name: string | undefined;
  readonly target: string;
  readonly ioctx: IoContext;
  /** The pool and namespace of the data objects. */
  readonly dataIoctx: IoContext;
  readonly readOnly: boolean;
  readonly snapshot: ImageSnapshot | undefined;
  readonly data: ImageData;
  protected readonly admission: Admission;
  protected readonly guard: ImageGuard | undefined;
  protected readonly heldMap = new HeldObjectMap(this);
  /** Removes a snapshot of another image, which was kept for this one alone. Does not reject. */
  readonly removeUnusedSnapshot: (spec: ImageSpec) => Promise<void>;
  protected closed = false;
  readonly #parents: Parents;
  readonly #snapshotMap: ObjectBitmap | undefined;
  readonly #snapshotObjects: KnownObjects | undefined;
  #parent: ParentBytes | undefined;
  #header: ImageHeader;
  /** Refreshes begun so far, and which of them `#header` is from. */
  #refreshes = 0;
  #headerOf = 0;
  #writeLimit = Number.POSITIVE_INFINITY;

  protected constructor(
    handle: ImageHandle,
    { dataIoctx, guard, parents, parent, snapshotMap, removeUnusedSnapshot }: ImageParts,
    options: DataOptions,
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
    this.#parents = parents;
    this.#snapshotMap = snapshotMap;
    this.#snapshotObjects = snapshotMap && knownObjects(snapshotMap);
    this.#parent = parent;
    this.removeUnusedSnapshot = removeUnusedSnapshot;
    this.guard = guard;
    this.admission = new Admission(
      this.#admitted(),
      guard?.gate ??
        new FreshnessGate({
          clock: handle.context.environment.clock,
          refresh: () => this.reread(),
          target: handle.target,
        }),
    );
    this.data = new ImageData({
      ioctx: dataIoctx,
      layout: header.layout,
      objectPrefix: header.objectPrefix,
      target: handle.target,
      allocSize: options.allocSize ?? ALLOC_SIZE,
      allocHintFlags: ALLOC_HINT_FLAGS[options.compressionHint ?? 'none'],
      objectOpsMax: options.objectOpsMax ?? OBJECT_OPS_MAX,
      background: this.#background(),
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

  /** What shows through where a clone has no objects; undefined for an image that needs no parent. */
  get parent(): ParentBytes | undefined {
    return this.#parent;
  }

  /** What whoever changes the image enters and leaves; undefined without the feature. */
  get lock(): ExclusiveLock | undefined {
    return this.guard?.lock;
  }

  /**
   * What an operation on the image as a whole passes before each object: the lock, which may be in doubt or on its way to
   * another cookie; without the feature the gate, for others may have taken snapshots. Undefined: it may go on at once.
   */
  passObject(signal: AbortSignal | undefined): Promise<void> | undefined {
    return this.lock ? this.lock.passObject(signal) : this.guard?.gate.pass(signal);
  }

  /** What is asked again as each object operation of it is sent; the lock's owner alone changes what it goes by. */
  get sendGate(): SendGate | undefined {
    return this.lock ? undefined : this.guard?.gate;
  }

  /** Of the owner of the exclusive lock, while it has it, of an image with the feature. */
  get objectMap(): ObjectMap | undefined {
    return this.heldMap.current;
  }

  /** Watch, notifications and freshness; undefined for an image that is open for reading only. */
  watchStatus(): ImageGuardStatus | undefined {
    return this.guard?.status();
  }

  /** Reads the header again: size, snapshots, features as other clients left them. */
  async refresh(options: RequestOptions = {}): Promise<void> {
    this.assertOpen('refresh');
    await this.reread(options);
  }

  /** As `refresh`, also while the image closes: what has begun is let through first. */
  async reread(options: RequestOptions = {}): Promise<void> {
    const turn = ++this.#refreshes;
    try {
      const header = await refreshHeader(this.ioctx, this.#header, {
        readOnly: this.readOnly,
        signal: options.signal,
      });
      // Of refreshes that overlap, the one that began last has the newest.
      if (turn < this.#headerOf) return;
      const parent = await this.#parents.follow(header);
      if (turn < this.#headerOf) return;
      this.#headerOf = turn;
      this.#header = header;
      this.#parent = parent;
      this.guard?.applyFeatures(header.features);
      this.heldMap.headerRead();
    } catch (error) {
      throw imageError(error, 'refresh', this.target);
    }
  }

  // What maintenance operations need.

  /** Brings the header up to date when another client is known to have changed it. */
  async refreshIfStale(): Promise<void> {
    await this.guard?.gate.refreshIfStale();
  }

  /** Nothing is written by the header as it was read so far: it is about to change. */
  headerStale(): void {
    this.guard?.gate.stale();
  }

  /**
   * After a change of the header: reads it, and tells the other clients. Resolves when they have heard it, or had the time
   * to; that nobody could be told is only logged, because the change itself has happened.
   */
  async headerUpdated(): Promise<void> {
    await this.reread();
    await this.announceHeader();
  }

  /** As `headerUpdated`, when the header was read already. */
  async announceHeader(): Promise<void> {
    if (this.guard) await this.guard.watcher.headerUpdate();
    else await notifyHeaderUpdate(this.ioctx, this.id, this.context.environment);
  }

  /** The image has come to have an object map, or another one, and nothing is written meanwhile. */
  async objectMapCreated(): Promise<void> {
    if (this.lock?.state === 'locked') await this.heldMap.open();
  }

  /**
   * Resolves when none of this client's changes to the data is under way; none is let through until the function that it
   * resolves with was called, and those go by the header as it is then.
   */
  quiesceWrites(): Promise<() => void> {
    return this.admission.quiesce();
  }

  /**
   * Has the applications of all clients hold still, as far as they registered for it, until the function that it resolves
   * with was called. Rejects, and lets them go on, when one refused or did not answer for a minute.
   */
  async quiesceClients(): Promise<() => Promise<void>> {
    const watcher = this.guard?.watcher;
    if (!watcher) return () => Promise.resolve();
    const id = watcher.newRequestId();
    const letGo = () => watcher.unquiesce(id);
    try {
      await watcher.quiesce(id);
    } catch (error) {
      await letGo();
      throw error;
    }
    return letGo;
  }

  /** Nothing is written beyond `size` from here on. Resolves when what was under way is done, with how to lift it. */
  async limitWrites(size: number): Promise<() => void> {
    this.#writeLimit = size;
    await this.admission.drained();
    return () => {
      this.#writeLimit = Number.POSITIVE_INFINITY;
    };
  }

  protected closeParents(): Promise<void> {
    return this.#parents.close();
  }

  /** What is read afterwards is asked of the OSDs. */
  protected freeSnapshotMap(): void {
    this.#snapshotMap?.free();
  }

  protected assertOpen(op: string): void {
    if (this.closed) throw this.error('EBADF', op, 'the image is closed');
  }

  protected assertWritable(op: string): void {
    this.assertOpen(op);
    if (this.readOnly) throw this.error('EROFS', op, 'the image is open for reading only');
    // Another client may have added a feature since.
    assertWritable(this.#header.features, this.target);
  }

  protected error(code: 'EINVAL' | 'EROFS' | 'EBADF', op: string, why: string): RadosError {
    return new RadosError(code, `${op} ${this.target}: ${why}`, {
      op,
      target: this.target,
      outcome: 'not-applied',
    });
  }

  /** What object requests go by, always as of now. */
  #background(): ObjectBackground {
    const image = () => this;
    return {
      get states() {
        return image().objectMap;
      },
      get existence() {
        return image().#snapshotObjects ?? image().objectMap;
      },
      get parent() {
        return image().#parent;
      },
    };
  }

  /** What requests need to know of this image, always as of now. */
  #admitted(): AdmittedImage {
    const image = () => this;
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
        return image().lock;
      },
      assertFeatures: () => assertWritable(this.#header.features, this.target),
    };
  }
}
