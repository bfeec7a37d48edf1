/**
 * Copying images: what one holds now (`rbd cp`), or all of it with its past and its parent (`rbd deep cp`).
 *
 * A deep copy goes through the snapshots, oldest first: what changed up to each is written, then the snapshot is taken. The
 * copy of a clone is a clone of the same parent, and is given what the other has objects of.
 */

import { RadosError } from '../base/errors.js';
import { cloneImage } from './clone.js';
import type { RbdContext } from './context.js';
import { type CreateOptions, createImage } from './create.js';
import { copyDiff } from './diff/copy-diff.js';
import { diffBatches, ownChanges } from './diff/diff.js';
import { diffTarget, readerOf } from './diff/image-target.js';
import { SPARSE_SIZE } from './diff/write-behind.js';
import { imageError } from './errors.js';
import type { ImageSnapshot, Parent } from './header.js';
import { Image } from './image.js';
import { listImageMetadata } from './metadata.js';
import { fillNewImage, layoutOptions } from './new-image.js';
import { formatImageSpec, type ImageSpec, type NamedImageSpec } from './spec.js';

export interface CopyOptions {
  /** What is to be other than in the source. */
  readonly layout?: Partial<Omit<CreateOptions, 'size'>> | undefined;
  /** Counts bytes of the image, and of its snapshots. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface CopyImageOptions extends CopyOptions {
  /** Blocks of so many bytes that are all zero are left out; 0 copies all. Default 4096. */
  readonly sparseSize?: number | undefined;
}

export interface DeepCopyOptions extends CopyOptions {
  /** The copy of a clone has its parent's data itself. */
  readonly flatten?: boolean | undefined;
}

/**
 * Copies what an image or a snapshot holds, its parent's data included, and its metadata. EEXIST: the name is taken. The
 * copy is removed again when it cannot be completed.
 */
export async function copyImage(
  context: RbdContext,
  from: ImageSpec,
  to: NamedImageSpec,
  options: CopyImageOptions = {},
): Promise<void> {
  const { layout, sparseSize = SPARSE_SIZE, onProgress, signal } = options;
  try {
    await using source = await openSource(context, from, signal);
    const { size } = source;
    const how = { ...layoutOptions(source.header), ...layout, size };
    await fillNewImage(
      context,
      to,
      () => createImage(context, to, how),
      async (image) => {
        await copyMetadata(source, image);
        const { write } = diffTarget(image, { signal });
        await copyDiff(
          { extents: diffBatches(source, { signal }), read: readerOf(source, { signal }) },
          // A new image reads as zeros.
          { write, writeZeroes: () => Promise.resolve() },
          { sparseSize, signal, onProgress: (offset) => onProgress?.(offset, size) },
        );
      },
    );
  } catch (error) {
    throw copyError(error, from, to);
  }
}

/**
 * Copies an image with its snapshots (those of users), up to the one that `from` names, its metadata and, unless told
 * otherwise, its parent. EEXIST: the name is taken. The copy is removed again when it cannot be completed.
 */
export async function deepCopyImage(
  context: RbdContext,
  from: ImageSpec,
  to: NamedImageSpec,
  options: DeepCopyOptions = {},
): Promise<void> {
  const { layout, flatten = false, signal } = options;
  try {
    await using source = await openSource(context, from, signal);
    const how = { ...layoutOptions(source.header), ...layout };
    const parent = flatten ? undefined : source.header.parent;
    const create = () =>
      parent
        ? cloneImage(context, parentSpec(context, parent), to, how)
        : createImage(context, to, { ...how, size: 0 });
    await fillNewImage(context, to, create, async (image) => {
      await copyMetadata(source, image);
      // A new clone shows all that its parent has.
      await copyVersions(source, image, parent && image.size, options);
      const isFlattened = parent && !parent.ofHead && !source.snapshot;
      if (isFlattened) await image.flatten(signal ? { signal } : {});
    });
  } catch (error) {
    throw copyError(error, from, to);
  }
}

/** `covered`: how much the copy gets from its parent; absent: it has none. */
async function copyVersions(
  source: Image,
  image: Image,
  covered: number | undefined,
  { onProgress, signal }: DeepCopyOptions,
): Promise<void> {
  const versions = versionsOf(source);
  const { header } = source;
  const sizes = versions.map((version) => version?.imageSize ?? header.size);
  const total = sizes.reduce((bytes, size) => bytes + size, 0);
  const target = diffTarget(image, { signal });
  let done = 0;
  let before: ImageSnapshot | undefined;
  let atStart = covered ?? 0;
  for (const version of versions) {
    await using at = await openVersion(source, version, signal);
    if (at.size !== image.size) await target.resize(at.size);
    const headOverlap = header.parent?.ofHead ? header.parent.overlap : 0;
    const atEnd = version?.parentOverlap ?? headOverlap;
    const extents =
      covered === undefined
        ? diffBatches(at, { from: before?.id, signal })
        : ownChanges(at, { from: before?.id ?? 0n, coverage: { atStart, atEnd }, signal });
    const onCopied = (offset: number) => onProgress?.(done + offset, total);
    await copyDiff({ extents, read: readerOf(at, { signal }) }, target, {
      ...{ sparseSize: SPARSE_SIZE, signal, onProgress: onCopied },
    });
    done += at.size;
    if (!version) return;
    await target.createSnapshot(version.name);
    if (version.isProtected) await target.protectSnapshot(version.name);
    before = version;
    atStart = atEnd;
  }
}

/** Users' snapshots, up to the one that is copied; else all of them, and at last the head: undefined. */
function versionsOf({ header, snapshot }: Image): (ImageSnapshot | undefined)[] {
  const users = header.snapshots.filter(({ namespace }) => namespace.type === 'user');
  return snapshot ? users.filter(({ id }) => id <= snapshot.id) : [...users, undefined];
}

function openSource(
  context: RbdContext,
  spec: ImageSpec,
  signal: AbortSignal | undefined,
): Promise<Image> {
  return Image.open(context, spec, { readOnly: true, ...(signal ? { signal } : {}) });
}

function openVersion(
  { context, ioctx, id }: Image,
  version: ImageSnapshot | undefined,
  signal: AbortSignal | undefined,
): Promise<Image> {
  const at = version ? { snapId: version.id } : {};
  return openSource(context, { pool: ioctx.pool.name, namespace: ioctx.nspace, id, ...at }, signal);
}

function parentSpec(context: RbdContext, parent: Parent): ImageSpec {
  const { poolId, namespace, imageId: id, snapId } = parent;
  const pool = context.poolById(poolId)?.name;
  if (pool !== undefined) return { pool, namespace, id, snapId };
  throw new RadosError('ENOENT', `its parent's pool ${poolId} does not exist`);
}

async function copyMetadata(source: Image, image: Image): Promise<void> {
  const wanted = await listImageMetadata(source);
  // A clone begins with what its parent has.
  for (const key of (await listImageMetadata(image)).keys()) {
    if (!wanted.has(key)) await image.removeMetadata(key);
  }
  for (const [key, value] of wanted) await image.setMetadata(key, value);
}

const copyError = (error: unknown, from: ImageSpec, to: NamedImageSpec) =>
  imageError(error, `copy ${formatImageSpec(from)} to`, formatImageSpec(to));
