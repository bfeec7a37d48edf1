/**
 * What is done to images and pools without mapping them, as named operations with plain-data arguments: they run where
 * the runtime is, which may be another thread.
 */

import { RadosError } from '../base/errors.js';
import { type BlocklistEntry, listBlocklist } from '../rados/blocklist.js';
import { addImageLock, listImageLocks, removeImageLock } from '../rbd/advisory-locks.js';
import { type ChildImage, type ChildrenOptions, listChildren } from '../rbd/children.js';
import { type CloneOptions, cloneImage } from '../rbd/clone.js';
import type { Progress } from '../rbd/concurrency.js';
import {
  copyImage,
  type CopyImageOptions,
  deepCopyImage,
  type DeepCopyOptions,
} from '../rbd/copy.js';
import { type CreateOptions, createImage } from '../rbd/create.js';
import { diffBatches, type DiffExtent, type DiffOptions } from '../rbd/diff/diff.js';
import { exportImageDiff } from '../rbd/diff/export-diff.js';
import { exportImage } from '../rbd/diff/export-image.js';
import { diffTarget } from '../rbd/diff/image-target.js';
import { importDiff } from '../rbd/diff/import-diff.js';
import { importImage, type ImportImageOptions } from '../rbd/diff/import-image.js';
import { type ImageUsage, imageUsage, type UsageOptions } from '../rbd/diff/usage.js';
import { listImages, renameImage } from '../rbd/directory.js';
import { unless } from '../rbd/errors.js';
import { parseFeatures } from '../rbd/features.js';
import { findSnapshot } from '../rbd/header.js';
import { Image } from '../rbd/image.js';
import { type ImageInfo, imageInfo } from '../rbd/info.js';
import type { ObjectMapError } from '../rbd/maintenance/check-object-map.js';
import { getImageMetadata, listImageMetadata } from '../rbd/metadata.js';
import { createNamespace, listNamespaces, removeNamespace } from '../rbd/namespaces.js';
import { openHeader } from '../rbd/open.js';
import { validatePool } from '../rbd/pool.js';
import { removeImage } from '../rbd/remove.js';
import type { ImageSpec, NamedImageSpec } from '../rbd/spec.js';
import { listImageWatchers } from '../rbd/watchers.js';
import { joined } from './byte-streams.js';
import {
  header,
  inputOf,
  type OperationContext,
  progress,
  withImage,
} from './operation-context.js';
import { snapshotOperations } from './snapshot-operations.js';

export interface PoolCreateOptions {
  /** Placement groups; the monitors choose when absent. */
  pgNum?: number;
  /** Copies; the cluster's default when absent. */
  size?: number;
}

/** What is wrong in an object map: how many objects, and some of them. */
export interface ObjectMapErrors {
  count: number;
  errors: ObjectMapError[];
}

const OBJECT_MAP_ERRORS_MAX = 1000;

/** Operations that change a snapshot work on the image. */
function headSpec({ snap: _, snapId: __, ...spec }: ImageSpec): ImageSpec {
  return spec;
}

/** ENOENT: the image has no such snapshot. */
function snapIdOf(image: Image, spec: ImageSpec): { snapId?: bigint } {
  if (spec.snap === undefined && spec.snapId === undefined) return {};
  const snapshot = findSnapshot(image.header, spec);
  if (!snapshot) throw new RadosError('ENOENT', `${image.target} has no snapshot '${spec.snap}'`);
  return { snapId: snapshot.id };
}

export const operations = {
  ...snapshotOperations,

  fsid: async ({ client }: OperationContext): Promise<string> => client.fsid,

  listPools: async ({ client }: OperationContext): Promise<string[]> => {
    await client.waitForLatestMap();
    return client.pools().map(({ name }) => name);
  },

  /** Creates a pool and makes it ready for images (`ceph osd pool create`, `rbd pool init`). */
  createPool: async (
    { client }: OperationContext,
    name: string,
    options: PoolCreateOptions = {},
  ) => {
    const { pgNum, size } = options;
    await client.command({
      prefix: 'osd pool create',
      pool: name,
      ...(pgNum === undefined ? {} : { pg_num: pgNum, pgp_num: pgNum }),
      ...(size === undefined ? {} : { size }),
    });
    await client.command({ prefix: 'osd pool application enable', pool: name, app: 'rbd' });
    await client.waitForLatestMap();
    await validatePool(await client.ioctx(name));
  },

  /** Removes a pool and everything in it. The cluster must allow it (`mon_allow_pool_delete`). */
  removePool: async ({ client }: OperationContext, name: string) => {
    await client.command({
      prefix: 'osd pool rm',
      pool: name,
      pool2: name,
      yes_i_really_really_mean_it: true,
    });
    // From here on its name is unknown to us as well.
    await client.waitForLatestMap();
  },

  listImages: async ({ client }: OperationContext, pool: string, namespace: string) => {
    const entries = await listImages(await client.ioctx(pool, namespace));
    return entries.map(({ name }) => name);
  },

  createImage: (
    { client }: OperationContext,
    spec: NamedImageSpec,
    options: CreateOptions,
  ): Promise<string> => createImage(client, spec, options),

  imageInfo: ({ client }: OperationContext, spec: ImageSpec): Promise<ImageInfo> =>
    imageInfo(client, spec),

  renameImage: async ({ client }: OperationContext, spec: NamedImageSpec, to: string) =>
    renameImage(await client.ioctx(spec.pool, spec.namespace), spec.name, to),

  removeImage: (context: OperationContext, spec: NamedImageSpec) =>
    removeImage(context.client, spec, progress(context)),

  resizeImage: (
    context: OperationContext,
    spec: NamedImageSpec,
    size: number,
    resize: { allowShrink?: boolean } = {},
  ) => withImage(context, spec, (image, options) => image.resize(size, { ...options, ...resize })),

  cloneImage: (
    { client }: OperationContext,
    parent: ImageSpec,
    child: NamedImageSpec,
    options: CloneOptions = {},
  ): Promise<string> => cloneImage(client, parent, child, options),

  imageChildren: (
    { client }: OperationContext,
    spec: ImageSpec,
    options: ChildrenOptions = {},
  ): Promise<ChildImage[]> => listChildren(client, spec, options),

  flattenImage: async (context: OperationContext, spec: NamedImageSpec) => {
    await using image = await Image.open(context.client, spec);
    await image.flatten(progress(context));
  },

  sparsifyImage: (context: OperationContext, spec: NamedImageSpec, sparseSize?: number) =>
    withImage(context, spec, (image, options) =>
      image.sparsify({ ...options, ...(sparseSize === undefined ? {} : { sparseSize }) }),
    ),

  copyImage: (
    context: OperationContext,
    from: ImageSpec,
    to: NamedImageSpec,
    options: Omit<CopyImageOptions, keyof ManageOptions>,
  ): Promise<void> => copyImage(context.client, from, to, { ...options, ...progress(context) }),

  deepCopyImage: (
    context: OperationContext,
    from: ImageSpec,
    to: NamedImageSpec,
    options: Omit<DeepCopyOptions, keyof ManageOptions>,
  ): Promise<void> => deepCopyImage(context.client, from, to, { ...options, ...progress(context) }),

  /** The input is what `exportDiff` gives. */
  importDiff: (context: OperationContext, spec: NamedImageSpec, sparseSize?: number) =>
    withImage(context, spec, (image, { signal }) =>
      importDiff(diffTarget(image, { signal }), inputOf(context), { sparseSize, signal }),
    ),

  /** The input is what `exportImage` gives. */
  importImage: (
    context: OperationContext,
    spec: NamedImageSpec,
    options: Pick<ImportImageOptions, 'layout' | 'sparseSize'>,
  ): Promise<void> =>
    importImage(context.client, spec, inputOf(context), { ...options, ...progress(context) }),

  imageUsage: async (
    context: OperationContext,
    spec: ImageSpec,
    options: Omit<UsageOptions, 'signal'>,
  ): Promise<ImageUsage> =>
    imageUsage(await header(context, spec, true), { ...options, signal: context.signal }),

  listMetadata: async (
    context: OperationContext,
    spec: ImageSpec,
  ): Promise<Record<string, string>> =>
    Object.fromEntries(await listImageMetadata(await header(context, spec, true))),

  /** Undefined when the image has no such key. */
  getMetadata: async (
    context: OperationContext,
    spec: ImageSpec,
    key: string,
  ): Promise<string | undefined> =>
    unless('ENOENT', getImageMetadata(await header(context, spec, true), key)),

  setMetadata: (context: OperationContext, spec: ImageSpec, key: string, value: string) =>
    withImage(context, spec, (image, options) => image.setMetadata(key, value, options)),

  removeMetadata: (context: OperationContext, spec: ImageSpec, key: string) =>
    withImage(context, spec, (image, options) => image.removeMetadata(key, options)),

  updateFeatures: (
    context: OperationContext,
    spec: NamedImageSpec,
    names: readonly string[],
    enabled: boolean,
  ) =>
    withImage(context, spec, (image, options) =>
      image.updateFeatures(parseFeatures(names), enabled, options),
    ),

  rebuildObjectMap: (context: OperationContext, spec: ImageSpec) =>
    withImage(context, headSpec(spec), (image, options) =>
      image.rebuildObjectMap({ ...snapIdOf(image, spec), ...options }),
    ),

  checkObjectMap: async (context: OperationContext, spec: ImageSpec): Promise<ObjectMapErrors> => {
    const found: ObjectMapErrors = { count: 0, errors: [] };
    await withImage(context, headSpec(spec), (image, options) =>
      image.checkObjectMap(
        (error) => {
          if (++found.count <= OBJECT_MAP_ERRORS_MAX) found.errors.push(error);
        },
        { ...snapIdOf(image, spec), ...options },
      ),
    );
    return found;
  },

  setShared: (context: OperationContext, spec: NamedImageSpec, shared: boolean) =>
    withImage(context, spec, (image, options) => image.setShared(shared, options)),

  listNamespaces: async ({ client }: OperationContext, pool: string) =>
    listNamespaces(await client.ioctx(pool)),

  createNamespace: async ({ client }: OperationContext, pool: string, name: string) =>
    createNamespace(await client.ioctx(pool), name),

  removeNamespace: async ({ client }: OperationContext, pool: string, name: string) =>
    removeNamespace(await client.ioctx(pool), name),

  imageWatchers: async (context: OperationContext, spec: ImageSpec) =>
    listImageWatchers(await header(context, spec, true)),

  imageLocks: async (context: OperationContext, spec: ImageSpec) =>
    listImageLocks(await header(context, spec, true)),

  addImageLock: async (
    context: OperationContext,
    spec: ImageSpec,
    id: string,
    options: { shared?: string } = {},
  ) => addImageLock(await header(context, spec, false), id, options),

  removeImageLock: async (
    context: OperationContext,
    spec: ImageSpec,
    holder: { client: string; id: string },
  ) => removeImageLock(await header(context, spec, false), holder, context.client),

  blocklist: ({ client }: OperationContext): Promise<BlocklistEntry[]> => listBlocklist(client),

  blocklistRemove: ({ client }: OperationContext, addr: string): Promise<void> =>
    client.blocklistRemove(addr),

  /** Fences a client by its address, `10.0.0.5:0/3141592`: from here on no OSD takes anything from it. */
  blocklistAdd: ({ client }: OperationContext, addr: string, expireS?: number): Promise<void> =>
    client.blocklistAdd(addr, expireS),

  command: async ({ client }: OperationContext, command: Record<string, unknown>) =>
    client.command(command),
};

export type Operations = typeof operations;
export type OperationName = keyof Operations;

type Arguments<F> = F extends (context: OperationContext, ...args: infer A) => unknown ? A : never;
export type OperationArguments<K extends OperationName> = Arguments<Operations[K]>;
export type OperationResult<K extends OperationName> = Awaited<ReturnType<Operations[K]>>;

/** Operations that have more to tell than fits in one answer. */
export const iterations = {
  diffImage: async function* (
    { client, signal }: OperationContext,
    spec: ImageSpec,
    options: Omit<DiffOptions, 'signal'>,
  ): AsyncGenerator<DiffExtent[], void, undefined> {
    const image = await openHeader(client, spec, { readOnly: true, ...(signal ? { signal } : {}) });
    yield* diffBatches(image, { ...options, signal });
  },

  /** Up to the snapshot of the spec. */
  exportDiff: async function* (
    { client, signal }: OperationContext,
    spec: ImageSpec,
    options: Pick<DiffOptions, 'from' | 'wholeObject'>,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    await using image = await Image.open(client, spec, {
      ...{ readOnly: true },
      ...(signal ? { signal } : {}),
    });
    yield* joined(exportImageDiff(image, { ...options, signal }));
  },

  exportImage: (
    { client, signal }: OperationContext,
    spec: NamedImageSpec,
  ): AsyncGenerator<Uint8Array, void, undefined> => joined(exportImage(client, spec, { signal })),
};

export type Iterations = typeof iterations;
export type IterationName = keyof Iterations;
export type IterationArguments<K extends IterationName> = Arguments<Iterations[K]>;
export type IterationBatch<K extends IterationName> =
  ReturnType<Iterations[K]> extends AsyncIterable<infer Batch> ? Batch : never;

/** Runs an iteration by name. */
export function runIteration<K extends IterationName>(
  context: OperationContext,
  name: K,
  args: IterationArguments<K>,
): AsyncIterable<IterationBatch<K>> {
  const iteration = iterations[name] as unknown as (
    context: OperationContext,
    ...args: IterationArguments<K>
  ) => AsyncIterable<IterationBatch<K>>;
  return iteration(context, ...args);
}

export interface ManageOptions {
  signal?: AbortSignal | undefined;
  onProgress?: Progress | undefined;
}

/** How a host is asked for an operation. */
export interface RunOptions extends ManageOptions {
  /** Bytes for it, which are taken as it needs them. */
  input?: AsyncIterable<Uint8Array> | undefined;
}

/** Runs an operation by name. */
export function runOperation<K extends OperationName>(
  context: OperationContext,
  name: K,
  args: OperationArguments<K>,
): Promise<OperationResult<K>> {
  const operation = operations[name] as unknown as (
    context: OperationContext,
    ...args: OperationArguments<K>
  ) => Promise<OperationResult<K>>;
  return operation(context, ...args);
}
