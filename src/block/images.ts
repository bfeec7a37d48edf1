/** The images of a pool, as an application asks for them. */

import type { Readable, Writable } from 'node:stream';

import type { ImageLocks } from '../rbd/advisory-locks.js';
import type { ChildImage, ChildrenOptions } from '../rbd/children.js';
import type { CloneOptions } from '../rbd/clone.js';
import type { CreateOptions } from '../rbd/create.js';
import type { CopyImageOptions, DeepCopyOptions } from '../rbd/copy.js';
import type { DiffExtent, DiffOptions } from '../rbd/diff/diff.js';
import type { ImportImageOptions } from '../rbd/diff/import-image.js';
import type { ImageUsage, UsageOptions } from '../rbd/diff/usage.js';
import type { ImageInfo } from '../rbd/info.js';
import { type NamedImageSpec, parseImageSpec } from '../rbd/spec.js';
import type { ImageWatcherInfo } from '../rbd/watchers.js';
import { readableOf, writableTo } from './byte-streams.js';
import type { DeviceHost } from './device-host.js';
import type { ManageOptions, ObjectMapErrors } from './management.js';
import { Snapshots } from './snapshots.js';

const STREAM_BYTES = 1024 * 1024;

export interface ExportDiffOptions
  extends Pick<DiffOptions, 'from' | 'to' | 'wholeObject' | 'signal'> {}

export interface ImportDiffOptions {
  /** Blocks of so many bytes that are all zero are discarded rather than written; 0 writes all. Default 4096. */
  sparseSize?: number;
  signal?: AbortSignal;
}

export interface ImportOptions
  extends Pick<ImportImageOptions, 'layout' | 'sparseSize' | 'onProgress' | 'signal'> {}

/** The images of a pool. Every method rejects with ENOENT when the pool, namespace or image does not exist. */
export class Images {
  readonly #host: DeviceHost;
  readonly #pool: string;
  readonly #namespace: string;

  constructor(host: DeviceHost, pool: string, namespace: string) {
    this.#host = host;
    this.#pool = pool;
    this.#namespace = namespace;
  }

  /** Names, sorted. */
  list(options?: ManageOptions): Promise<string[]> {
    return this.#host.manage('listImages', [this.#pool, this.#namespace], options);
  }

  /** Creates an image; resolves with its id. EEXIST: the name is taken. */
  create(name: string, options: CreateOptions & ManageOptions): Promise<string> {
    const { signal, onProgress, ...create } = options;
    return this.#host.manage('createImage', [this.#spec(name), create], { signal, onProgress });
  }

  /** What `rbd info` shows. */
  info(name: string, options: ManageOptions & { snap?: string } = {}): Promise<ImageInfo> {
    const { snap, ...manage } = options;
    return this.#host.manage(
      'imageInfo',
      [{ ...this.#spec(name), ...(snap ? { snap } : {}) }],
      manage,
    );
  }

  /** EEXIST: the new name is taken. */
  rename(name: string, to: string, options?: ManageOptions): Promise<void> {
    return this.#host.manage('renameImage', [this.#spec(name), to], options);
  }

  /**
   * Progress counts objects. EBUSY: somebody has it open; ENOTEMPTY: it has snapshots, or clones of one that it had; EMLINK: it
   * belongs to a group.
   */
  remove(name: string, options?: ManageOptions): Promise<void> {
    return this.#host.manage('removeImage', [this.#spec(name)], options);
  }

  /** EINVAL: smaller than now without `allowShrink`. For a mapped image use its device's `resize`. */
  resize(
    name: string,
    size: number,
    options: ManageOptions & { allowShrink?: boolean } = {},
  ): Promise<void> {
    const { allowShrink, ...manage } = options;
    const resize = allowShrink === undefined ? {} : { allowShrink };
    return this.#host.manage('resizeImage', [this.#spec(name), size, resize], manage);
  }

  /**
   * Gives the image features: `exclusive-lock`, `object-map` (with `fast-diff`, invalid until it is rebuilt). EINVAL: one of
   * them cannot be enabled, or is already.
   */
  enableFeatures(
    name: string,
    features: readonly string[],
    options?: ManageOptions,
  ): Promise<void> {
    return this.#host.manage('updateFeatures', [this.#spec(name), features, true], options);
  }

  /** EINVAL: one of them cannot be disabled, is already, or another builds on it. */
  disableFeatures(
    name: string,
    features: readonly string[],
    options?: ManageOptions,
  ): Promise<void> {
    return this.#host.manage('updateFeatures', [this.#spec(name), features, false], options);
  }

  /**
   * Makes object maps right that are not to be believed, of the image and its snapshots, or that of one snapshot. Progress
   * counts objects. EINVAL: the image has none.
   */
  rebuildObjectMap(name: string, options: ManageOptions & { snap?: string } = {}): Promise<void> {
    const { snap, ...manage } = options;
    const spec = { ...this.#spec(name), ...(snap === undefined ? {} : { snap }) };
    return this.#host.manage('rebuildObjectMap', [spec], manage);
  }

  /**
   * Compares the object map of the image, or of a snapshot, with the objects: what is wrong is told, at most 1000 of them each,
   * and then the map is flagged as invalid. Progress counts objects. EINVAL: the image has none.
   */
  checkObjectMap(
    name: string,
    options: ManageOptions & { snap?: string } = {},
  ): Promise<ObjectMapErrors> {
    const { snap, ...manage } = options;
    const spec = { ...this.#spec(name), ...(snap === undefined ? {} : { snap }) };
    return this.#host.manage('checkObjectMap', [spec], manage);
  }

  /**
   * Whether several clients may write the image at a time, as a cluster file system does: then it has no exclusive lock,
   * nor what builds on it. EBUSY: another client is at work with it; nothing has changed.
   */
  setShared(name: string, shared: boolean, options?: ManageOptions): Promise<void> {
    return this.#host.manage('setShared', [this.#spec(name), shared], options);
  }

  /**
   * Clones a snapshot (`'vm1@base'`, or `'pool/namespace/vm1@base'` from elsewhere) to an image of this pool, which shows
   * the snapshot's bytes until it has its own; resolves with its id. EEXIST: the name is taken; EINVAL: the snapshot has to be
   * protected for a clone of format 1.
   */
  clone(parent: string, name: string, options: CloneOptions & ManageOptions = {}): Promise<string> {
    const { signal, onProgress, ...clone } = options;
    const specs = [this.#parse(parent), this.#spec(name)] as const;
    return this.#host.manage('cloneImage', [...specs, clone], { signal, onProgress });
  }

  /** The clones of an image, or of one of its snapshots (`rbd children`). */
  children(
    name: string,
    options: ChildrenOptions & ManageOptions & { snap?: string } = {},
  ): Promise<ChildImage[]> {
    const { snap, descendants, signal, onProgress } = options;
    const spec = { ...this.#spec(name), ...(snap === undefined ? {} : { snap }) };
    const which = descendants === undefined ? {} : { descendants };
    return this.#host.manage('imageChildren', [spec, which], { signal, onProgress });
  }

  /** Makes a clone independent of its parent. Progress counts objects. EINVAL: it is no clone. */
  flatten(name: string, options?: ManageOptions): Promise<void> {
    return this.#host.manage('flattenImage', [this.#spec(name)], options);
  }

  /**
   * What changed in the image since a snapshot, or since it was created, up to a snapshot, or to what it is now: in the
   * order of offsets (`rbd diff`). ENOENT: no such snapshot; EINVAL: the start is newer than the end.
   */
  async *diff(
    name: string,
    options: DiffOptions = {},
  ): AsyncGenerator<DiffExtent, void, undefined> {
    const { signal, ...diff } = options;
    const batches = this.#host.iterate('diffImage', [this.#spec(name), diff], signal);
    for await (const extents of batches) yield* extents;
  }

  /**
   * What changed, with its data, as a stream that `rbd import-diff` reads, too: since a snapshot or since it was created, up to
   * a snapshot or to what it is now (`rbd export-diff`). It is made as fast as it is read. Errors: as of `diff`.
   */
  exportDiff(name: string, options: ExportDiffOptions = {}): Readable {
    const { to, signal, ...diff } = options;
    const end = typeof to === 'bigint' ? { snapId: to } : to === undefined ? {} : { snap: to };
    return readableOf(
      (either) => this.#host.iterate('exportDiff', [{ ...this.#spec(name), ...end }, diff], either),
      { signal, highWaterMark: STREAM_BYTES },
    );
  }

  /**
   * Takes what `exportDiff`, or `rbd export-diff`, has made, and applies it; finishes when that is done, and the snapshot taken
   * that it leads to. Errors: ENOENT: no such image; EINVAL: the stream is no diff, or the image lacks the snapshot that it starts
   * from; EEXIST: the image has the one that it leads to; EBADMSG: the stream is cut off. What was applied by then stays.
   */
  importDiff(name: string, options: ImportDiffOptions = {}): Writable {
    const { sparseSize, signal } = options;
    const how: [NamedImageSpec, number?] = [this.#spec(name)];
    if (sparseSize !== undefined) how.push(sparseSize);
    return writableTo(
      (input, either) => this.#host.manage('importDiff', how, { input, signal: either }),
      { signal, highWaterMark: STREAM_BYTES },
    );
  }

  /**
   * The image with its snapshots, layout and metadata, as a stream (`rbd export --export-format 2`). It is made as fast as it is
   * read. Its bytes alone, as of format 1: `createReadStream` of a device.
   */
  export(name: string, options: { signal?: AbortSignal } = {}): Readable {
    return readableOf((either) => this.#host.iterate('exportImage', [this.#spec(name)], either), {
      signal: options.signal,
      highWaterMark: STREAM_BYTES,
    });
  }

  /**
   * Takes what `export`, or `rbd export --export-format 2`, has made, for a new image; finishes when that is complete. It is removed
   * again when it cannot be. `layout` wins over what the stream says; progress counts snapshots, and the head. Errors: EEXIST:
   * the name is taken; EINVAL: the stream is something else; EBADMSG: it is cut off.
   */
  import(name: string, options: ImportOptions = {}): Writable {
    const { signal, onProgress, ...how } = options;
    return writableTo(
      (input, either) =>
        this.#host.manage('importImage', [this.#spec(name), how], {
          ...{ input, onProgress },
          signal: either,
        }),
      { signal, highWaterMark: STREAM_BYTES },
    );
  }

  /** How much of the image is used, snapshot by snapshot (`rbd du`): by whole objects unless `exact`. */
  usage(name: string, options: UsageOptions = {}): Promise<ImageUsage> {
    const { signal, ...usage } = options;
    return this.#host.manage('imageUsage', [this.#spec(name), usage], { signal });
  }

  /**
   * Gives up the space of what is all zeros, in pieces of `sparseSize` bytes (4096 unless told: a power of two up to the
   * object size, else EINVAL). Progress counts objects.
   */
  sparsify(name: string, options: ManageOptions & { sparseSize?: number } = {}): Promise<void> {
    const { sparseSize, ...manage } = options;
    const how: [NamedImageSpec, number?] = [this.#spec(name)];
    if (sparseSize !== undefined) how.push(sparseSize);
    return this.#host.manage('sparsifyImage', how, manage);
  }

  /**
   * Copies what an image, or a snapshot of it, holds to a new image of this pool (`rbd cp`). `from` is
   * `[[pool/[namespace/]]image[@snap]`, in this pool unless it says otherwise. EEXIST: the name is taken. Progress counts bytes.
   */
  copy(from: string, name: string, options: CopyImageOptions = {}): Promise<void> {
    const { signal, onProgress, ...copy } = options;
    const specs = [this.#parse(from), this.#spec(name)] as const;
    return this.#host.manage('copyImage', [...specs, copy], { signal, onProgress });
  }

  /** As `copy`, with the snapshots and, unless `flatten`, the parent of the image (`rbd deep cp`). */
  deepCopy(from: string, name: string, options: DeepCopyOptions = {}): Promise<void> {
    const { signal, onProgress, ...copy } = options;
    const specs = [this.#parse(from), this.#spec(name)] as const;
    return this.#host.manage('deepCopyImage', [...specs, copy], { signal, onProgress });
  }

  /** Who has the image open for writing (`rbd status`). */
  watchers(name: string, options?: ManageOptions): Promise<ImageWatcherInfo[]> {
    return this.#host.manage('imageWatchers', [this.#spec(name)], options);
  }

  /** Who locked the image (`rbd lock ls`), the exclusive lock of a client that has it open included. */
  locks(name: string, options?: ManageOptions): Promise<ImageLocks> {
    return this.#host.manage('imageLocks', [this.#spec(name)], options);
  }

  /**
   * Locks the image for those who look at its locks: alone, or with all who give the same `shared` tag. The lock stays
   * until it is removed. EBUSY, EEXIST: it is locked already.
   */
  addLock(
    name: string,
    id: string,
    options: ManageOptions & { shared?: string } = {},
  ): Promise<void> {
    const { shared, ...manage } = options;
    const how = shared === undefined ? {} : { shared };
    return this.#host.manage('addImageLock', [this.#spec(name), id, how], manage);
  }

  /** Takes a lock from its holder, which is blocklisted. ENOENT: it has no such lock. */
  removeLock(
    name: string,
    holder: { client: string; id: string },
    options?: ManageOptions,
  ): Promise<void> {
    return this.#host.manage('removeImageLock', [this.#spec(name), holder], options);
  }

  /** The image's snapshots (`rbd snap`). */
  snapshots(name: string): Snapshots {
    return new Snapshots(this.#host, this.#spec(name));
  }

  /** The image's metadata (`rbd image-meta`). */
  metadata(name: string): ImageMetadata {
    return new ImageMetadata(this.#host, this.#spec(name));
  }

  #spec(name: string): NamedImageSpec {
    return { pool: this.#pool, namespace: this.#namespace, name };
  }

  #parse(spec: string): NamedImageSpec {
    return parseImageSpec(spec, { pool: this.#pool, namespace: this.#namespace });
  }
}

/** Keys and values that travel with an image. */
export class ImageMetadata {
  readonly #host: DeviceHost;
  readonly #spec: NamedImageSpec;

  constructor(host: DeviceHost, spec: NamedImageSpec) {
    this.#host = host;
    this.#spec = spec;
  }

  list(): Promise<Record<string, string>> {
    return this.#host.manage('listMetadata', [this.#spec]);
  }

  get(key: string): Promise<string | undefined> {
    return this.#host.manage('getMetadata', [this.#spec, key]);
  }

  set(key: string, value: string): Promise<void> {
    return this.#host.manage('setMetadata', [this.#spec, key, value]);
  }

  /** ENOENT: no such key. */
  remove(key: string): Promise<void> {
    return this.#host.manage('removeMetadata', [this.#spec, key]);
  }
}
