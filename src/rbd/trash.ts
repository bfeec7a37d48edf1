/**
 * The trash of a pool's namespace: images without a name, kept until somebody wants them back or they are removed
 * (`librbd/api/Trash.cc`).
 */

import { isRadosError, RadosError } from '../base/errors.js';
import { type Utime, utimeFromMs, utimeToMs } from '../encoding/types.js';
import { executeOne } from '../rados/class-call.js';
import {
  dirGetId,
  getMirrorImage,
  TRASH_SOURCE,
  TRASH_STATE,
  trashGet,
  type TrashImageSpec,
} from '../rados/cls-rbd.js';
import type { IoContext } from '../rados/io-context.js';
import type { UsageLimit } from '../rados/pool-usage.js';
import type { RbdContext } from './context.js';
import { assertNamespace, trashEntries } from './directory.js';
import { imageError, unless } from './errors.js';
import { assertWritable, FEATURE, OP_FEATURE } from './features.js';
import { type ImageHeader, readHeader } from './header.js';
import { Image } from './image.js';
import { RBD_DIRECTORY, RBD_MIRRORING, RBD_TRASH } from './names.js';
import { assertNotFormat1 } from './open.js';
import { imagesToFree } from './overfull.js';
import { type RemoveOptions, removeTrashedImage } from './remove.js';
import { assertImageName, formatImageSpec, type ImageSpec, type NamedImageSpec } from './spec.js';
import { enterTrash, leaveTrashAs } from './trash-entries.js';

/** In the order of their numbers (`TrashImageSource`). */
const SOURCES = ['user', 'mirroring', 'migration', 'removing', 'user-parent'] as const;

export interface TrashedImage {
  readonly id: string;
  /** That it had, and gets back unless told. */
  readonly name: string;
  /** Why it is there. `user-parent`: its user removed it, and clones need it. */
  readonly source: (typeof SOURCES)[number] | 'unknown';
  readonly deletedAt: Date;
  /** Until then it is only removed by force. */
  readonly expiresAt: Date;
}

export interface TrashMoveOptions {
  /** When it may be removed without force: at once, unless told. */
  readonly expiresAt?: Date;
}

/** An image that has no name any more. */
export interface TrashedImageSpec extends ImageSpec {
  readonly namespace: string;
  readonly id: string;
}

/**
 * Takes an image's name from it and keeps the rest. Clients that have it open stay. ENOENT: no such image; EBUSY: a client
 * keeps its exclusive lock, or it is being migrated; EMLINK: it belongs to a group.
 */
export async function moveToTrash(
  context: RbdContext,
  spec: NamedImageSpec,
  { expiresAt }: TrashMoveOptions = {},
): Promise<void> {
  const target = formatImageSpec(spec);
  try {
    const ioctx = await context.ioctx(spec.pool, spec.namespace);
    await assertNamespace(ioctx);
    const id = await idToMove(ioctx, spec.name);
    // An interrupted creation leaves a name without a header.
    const header = await unless('ENOENT', readHeader(ioctx, id, { readOnly: false }));
    if (header) await assertMovable(context, ioctx, header, spec);
    const { clock } = context.environment;
    const now = clock.now();
    await enterTrash(ioctx, context.environment, id, {
      source: TRASH_SOURCE.USER,
      name: spec.name,
      deletionTime: utimeFromMs(now),
      defermentEndTime: utimeFromMs(Math.max(now, expiresAt?.getTime() ?? now)),
    });
  } catch (error) {
    throw imageError(error, 'move to the trash', target);
  }
}

/** Also when a move of that image was interrupted, after the name was gone. */
async function idToMove(ioctx: IoContext, name: string): Promise<string> {
  const id = await unless('ENOENT', executeOne(ioctx, RBD_DIRECTORY, dirGetId(name)));
  if (id !== undefined) return id;
  await assertNotFormat1(ioctx, name);
  for await (const [trashId, entry] of trashEntries(ioctx)) {
    const { source, state } = entry;
    const isHalfMoved = source === TRASH_SOURCE.USER && state === TRASH_STATE.MOVING;
    if (isHalfMoved && entry.name === name) return trashId;
  }
  throw new RadosError('ENOENT', 'No such file or directory');
}

async function assertMovable(
  context: RbdContext,
  ioctx: IoContext,
  { id, features, opFeatures }: ImageHeader,
  spec: NamedImageSpec,
): Promise<void> {
  assertWritable(features, formatImageSpec(spec));
  if (features & FEATURE.MIGRATING) {
    throw new RadosError('EBUSY', 'the image is being migrated', { outcome: 'not-applied' });
  }
  if (opFeatures & OP_FEATURE.GROUP) {
    throw new RadosError('EMLINK', 'the image belongs to a group', { outcome: 'not-applied' });
  }
  if (await unless('ENOENT', executeOne(ioctx, RBD_MIRRORING, getMirrorImage(id)))) {
    throw new RadosError('ENOSYS', 'the image is mirrored, which this version cannot end', {
      outcome: 'not-applied',
    });
  }
  if ((features & FEATURE.EXCLUSIVE_LOCK) === 0n) return;
  // Who keeps the lock for itself wants to keep the image.
  await using image = await Image.open(context, { pool: spec.pool, namespace: spec.namespace, id });
  try {
    await image.acquireLock();
  } catch (error) {
    if (isRadosError(error, 'EBLOCKLISTED')) throw error;
    throw new RadosError('EBUSY', 'another client keeps the exclusive lock', { cause: error });
  }
}

/** By id. Without `all` those that users moved there; with it also what mirroring, migration and clones left there. */
export async function listTrash(
  ioctx: IoContext,
  { all = false }: { all?: boolean } = {},
): Promise<TrashedImage[]> {
  await assertNamespace(ioctx);
  const images: TrashedImage[] = [];
  for await (const [id, entry] of trashEntries(ioctx)) {
    // On its way out: the list of images has it.
    if (entry.source === TRASH_SOURCE.REMOVING) continue;
    if (!all && entry.source !== TRASH_SOURCE.USER) continue;
    images.push({
      id,
      name: entry.name,
      source: SOURCES[entry.source] ?? 'unknown',
      deletedAt: date(entry.deletionTime),
      expiresAt: date(entry.defermentEndTime),
    });
  }
  return images;
}

const date = (time: Utime) => new Date(utimeToMs(time));

const RESTORABLE: readonly number[] = [
  TRASH_SOURCE.USER,
  TRASH_SOURCE.MIRRORING,
  TRASH_SOURCE.USER_PARENT,
];

/**
 * Gives an image a name again, its old one unless told. ENOENT: it is not in the trash; EEXIST: the name is taken; EBUSY: it
 * is being removed; EINVAL: it is not in the trash for its user.
 */
export async function restoreFromTrash(
  context: RbdContext,
  spec: TrashedImageSpec,
  { name: newName }: { name?: string } = {},
): Promise<void> {
  const { id } = spec;
  try {
    const ioctx = await context.ioctx(spec.pool, spec.namespace);
    const entry = await executeOne(ioctx, RBD_TRASH, trashGet(id));
    const name = newName ?? entry.name;
    assertImageName(name);
    assertRestorable(entry);
    await leaveTrashAs(ioctx, context.environment, id, name);
  } catch (error) {
    throw imageError(error, 'restore', formatImageSpec(spec));
  }
}

function assertRestorable({ source, state }: TrashImageSpec): void {
  if (!RESTORABLE.includes(source)) {
    const why = SOURCES[source] ?? String(source);
    throw new RadosError('EINVAL', `the image is in the trash for ${why}, not to be restored`);
  }
  if (state !== TRASH_STATE.NORMAL && state !== TRASH_STATE.RESTORING) {
    throw new RadosError('EBUSY', 'the image is being removed, or moved to the trash');
  }
}

export interface TrashRemoveOptions extends RemoveOptions {
  /** Also before it has expired. */
  readonly force?: boolean;
}

/**
 * Removes an image for good. ENOENT: it is not in the trash; EPERM: it has not expired; EBUSY: somebody has it open, or is
 * restoring it; EUCLEAN: its move to the trash was interrupted; ENOTEMPTY: it has snapshots, or clones need one that it had;
 * EMLINK: it belongs to a group.
 */
export async function removeFromTrash(
  context: RbdContext,
  spec: TrashedImageSpec,
  { force = false, ...options }: TrashRemoveOptions = {},
): Promise<void> {
  const { id } = spec;
  const target = formatImageSpec(spec);
  try {
    const ioctx = await context.ioctx(spec.pool, spec.namespace);
    const { state, defermentEndTime } = await executeOne(ioctx, RBD_TRASH, trashGet(id));
    const isExpired = context.environment.clock.now() >= utimeToMs(defermentEndTime);
    if (!isExpired && !force) {
      throw new RadosError('EPERM', `it is kept until ${date(defermentEndTime).toISOString()}`);
    }
    if (state === TRASH_STATE.MOVING) {
      throw new RadosError('EUCLEAN', 'its move to the trash was interrupted');
    }
    if (state === TRASH_STATE.RESTORING) {
      throw new RadosError('EBUSY', 'the image is being restored');
    }
    await removeTrashedImage(context, ioctx, id, { target, ...options });
  } catch (error) {
    throw imageError(error, 'remove', target);
  }
}

export interface TrashPurgeOptions extends RemoveOptions {
  /** Those that have expired by then: by now, unless told. */
  readonly expiredBefore?: Date;
  /**
   * Only if a pool is fuller than that: then also images that have not expired, those first that soonest will, until it is not.
   */
  readonly limit?: UsageLimit;
}

/** What keeps one image there and is no reason to leave the others. */
const KEPT = ['ENOTEMPTY', 'EBUSY', 'EMLINK', 'EUCLEAN'];

/**
 * Removes the images that users moved there and that have expired, or are to make room. Progress counts images. Rejects with why the first of
 * those was not removed that have to stay: ENOTEMPTY, EBUSY, EMLINK, EUCLEAN as `removeFromTrash`.
 */
export async function purgeTrash(
  context: RbdContext,
  { pool, namespace }: { pool: string; namespace: string },
  { expiredBefore, limit, onProgress, ...options }: TrashPurgeOptions = {},
): Promise<void> {
  const until = expiredBefore?.getTime() ?? context.environment.clock.now();
  const images = (await listTrash(await context.ioctx(pool, namespace), { all: true }))
    .filter(({ source }) => source === 'user' || source === 'user-parent')
    .sort((a, b) => a.expiresAt.getTime() - b.expiresAt.getTime());
  const specs = images.map(({ id }) => ({ pool, namespace, id }));
  const toFree = limit && (await imagesToFree(context, specs, limit, options.signal));
  if (toFree?.size === 0) return;
  const expired = images.filter(
    ({ id, expiresAt }) => toFree?.has(id) || expiresAt.getTime() <= until,
  );
  let removed = 0;
  for (let left = expired; left.length > 0; ) {
    const kept: TrashedImage[] = [];
    let failure: unknown;
    for (const image of left) {
      try {
        // ENOENT: it went with the last of its clones.
        const spec = { pool, namespace, id: image.id };
        await unless('ENOENT', removeFromTrash(context, spec, { ...options, force: true }));
        onProgress?.(++removed, expired.length);
      } catch (error) {
        if (!isRadosError(error) || !KEPT.includes(error.code)) throw error;
        failure ??= error;
        kept.push(image);
      }
    }
    // A clone that went may have been all that kept another.
    if (kept.length === left.length) throw failure;
    left = kept;
  }
}
