/**
 * Removing images, through the trash as librbd does (`librbd/api/Image.cc`, `Trash.cc`, `image/RemoveRequest.cc`).
 *
 *     checks -> trash entry (moving) -> name gone -> trash entry (normal) -> (removing) -> data -> header -> object map
 *     -> trash entry
 *
 * From the first trash entry on an interrupted removal can be seen and finished: `rbd ls` lists the image by its name,
 * and removing that name again, from here or by `rbd`, goes on where the other stopped.
 */

import { isRadosError, RadosError } from '../base/errors.js';
import { utimeFromMs } from '../encoding/types.js';
import { deleteOp } from '../messages/osd-op.js';
import { executeOne, mutate } from '../rados/class-call.js';
import { mirrorImageRemove, TRASH_SOURCE, TRASH_STATE, trashGet } from '../rados/cls-rbd.js';
import type { IoContext } from '../rados/io-context.js';
import { listWatchers } from '../rados/watchers.js';
import { eachManaged, type Progress } from './concurrency.js';
import { detachChild } from './children.js';
import type { RbdContext } from './context.js';
import { findImage } from './directory.js';
import { imageError, unless } from './errors.js';
import { assertWritable, OP_FEATURE } from './features.js';
import { FULL_TRY } from './full-try.js';
import { type ImageHeader, type ImageSnapshot, readHeader } from './header.js';
import { Image } from './image.js';
import { headerObject, objectMapObject, RBD_MIRRORING, RBD_TRASH } from './names.js';
import { doomedMap, loadMap } from './object-map/loaded-map.js';
import { formatImageSpec, type NamedImageSpec } from './spec.js';
import { enterTrash, leaveTrash, leaveTrashAs, setTrashState } from './trash-entries.js';
import { trimObjects } from './trim.js';

export interface RemoveOptions {
  readonly onProgress?: Progress;
  /** Stops between objects; the rest of the image is then in the trash. */
  readonly signal?: AbortSignal;
}

/**
 * Removes an image and its data. ENOENT: no such image; EBUSY: somebody has it open; ENOTEMPTY: it has snapshots, or clones
 * need one that it had; EMLINK: it belongs to a group; ENOSYS: it has a feature, named in the message, with which this version
 * cannot write it.
 */
export async function removeImage(
  context: RbdContext,
  spec: NamedImageSpec,
  options: RemoveOptions = {},
): Promise<void> {
  const { name } = spec;
  const target = formatImageSpec(spec);
  try {
    const ioctx = await context.ioctx(spec.pool, spec.namespace);
    const image = await findImage(ioctx, name);
    if (!image) throw new RadosError('ENOENT', 'No such file or directory');
    const { id } = image;
    const isMoved = !image.inTrash;
    if (isMoved) {
      // An interrupted creation leaves a name without a header: then the name is all there is to remove.
      const header = await unless('ENOENT', readHeader(ioctx, id, { readOnly: false }));
      if (header) await assertRemovable(context, ioctx, header, target);
      const now = utimeFromMs(context.environment.clock.now());
      const times = { deletionTime: now, defermentEndTime: now };
      await enterTrash(ioctx, context.environment, id, {
        ...{ source: TRASH_SOURCE.REMOVING, name, ...times },
      });
    }
    try {
      await removeTrashedImage(context, ioctx, id, { target, ...options });
    } catch (error) {
      if (isMoved && isRadosError(error) && STAYS.has(error.code))
        await giveBack(context, ioctx, id, name);
      throw error;
    }
  } catch (error) {
    throw imageError(error, 'remove', target);
  }
}

/** What came in between: the image is as it was, and has to be found by its name again. */
const STAYS: ReadonlySet<string> = new Set(['EBUSY', 'ENOTEMPTY', 'EMLINK']);

/** As well as it can be done: the failed removal is what the caller has to know of. */
async function giveBack(
  { environment }: RbdContext,
  ioctx: IoContext,
  id: string,
  name: string,
): Promise<void> {
  try {
    await leaveTrashAs(ioctx, environment, id, name);
  } catch (error) {
    environment.log.rbd.warn({ err: error, image: name, id }, 'an image stays in the trash');
  }
}

/** Removes an image that no name leads to. What keeps it there leaves it as it was. */
export async function removeTrashedImage(
  context: RbdContext,
  ioctx: IoContext,
  id: string,
  { target, ...options }: RemoveOptions & { target: string },
): Promise<void> {
  await markRemoving(ioctx, id);
  // Whatever was checked before: the name is gone, so nobody opens it any more who has not done so already.
  const header = await unless('ENOENT', readHeader(ioctx, id, { readOnly: false }));
  if (header) {
    try {
      await assertRemovable(context, ioctx, header, target);
    } catch (error) {
      await setTrashState(ioctx, id, TRASH_STATE.NORMAL, TRASH_STATE.REMOVING);
      throw error;
    }
    await removeData(context, ioctx, header, options);
    await leaveParent(context, ioctx, header);
  }
  await unless('ENOENT', ioctx.operate(headerObject(id), [deleteOp()], FULL_TRY));
  await unless('ENOENT', ioctx.operate(objectMapObject(id), [deleteOp()], FULL_TRY));
  await unless('ENOENT', mutate(ioctx, RBD_MIRRORING, [mirrorImageRemove(id)], FULL_TRY));
  await leaveTrash(ioctx, context.environment, id);
}

/** The parent, if there is one, forgets a clone that is about to go, and loses the snapshot that it kept for that one alone. */
export async function leaveParent(
  context: RbdContext,
  ioctx: IoContext,
  header: ImageHeader,
): Promise<void> {
  const unused = header.parent && (await detachChild(context, { ioctx, header }, header.parent));
  if (unused) await Image.removeUnusedSnapshot(context, unused);
}

async function markRemoving(ioctx: IoContext, id: string): Promise<void> {
  const { state } = await executeOne(ioctx, RBD_TRASH, trashGet(id));
  // Interrupted between the directory and the next line: the name is gone, so it counts as moved.
  if (state === TRASH_STATE.MOVING) {
    await setTrashState(ioctx, id, TRASH_STATE.NORMAL, TRASH_STATE.MOVING);
  }
  await setTrashState(ioctx, id, TRASH_STATE.REMOVING, TRASH_STATE.NORMAL);
}

async function assertRemovable(
  context: RbdContext,
  ioctx: IoContext,
  { id, snapshots, features, opFeatures }: ImageHeader,
  target: string,
): Promise<void> {
  // First, as librbd does (`PreRemoveRequest.cc`): snapshots are in the way whatever else this version lacks.
  const isHidden = ({ namespace }: ImageSnapshot) => namespace.type === 'trash';
  if (!snapshots.every(isHidden)) throw new RadosError('ENOTEMPTY', 'the image has snapshots');
  assertWritable(features, target);
  const watchers = await listWatchers(ioctx, headerObject(id));
  if (watchers.length > 0) {
    throw new RadosError('EBUSY', 'the image is open by another client', { retryable: true });
  }
  if (opFeatures & OP_FEATURE.GROUP) {
    throw new RadosError('EMLINK', 'the image belongs to a group');
  }
  if (snapshots.length > 0) await removeHidden(context, ioctx, id, snapshots);
}

/** Removes what clones needed once: where that was interrupted, nobody else does it. */
async function removeHidden(
  context: RbdContext,
  { pool, nspace: namespace }: IoContext,
  id: string,
  snapshots: readonly ImageSnapshot[],
): Promise<void> {
  await using image = await Image.open(context, { pool: pool.name, namespace, id });
  for (const { id: snapId } of snapshots) {
    try {
      await image.snapshots.remove(snapId);
    } catch (error) {
      if (!isRadosError(error, 'EBUSY')) throw error;
      throw new RadosError('ENOTEMPTY', 'the image has clones', { cause: error });
    }
  }
}

async function removeData(
  context: RbdContext,
  ioctx: IoContext,
  header: ImageHeader,
  pace: RemoveOptions,
): Promise<void> {
  const dataIoctx =
    header.dataPoolId === undefined ? ioctx : await context.ioctx(header.dataPoolId, ioctx.nspace);
  const states = await loadMap({ ioctx, id: header.id, header });
  try {
    await trimObjects({
      ioctx: dataIoctx,
      layout: header.layout,
      objectPrefix: header.objectPrefix,
      fromSize: header.size,
      toSize: 0,
      snapContext: header.snapContext,
      objectMap: states && doomedMap(states),
      each: (items, total, step) => eachManaged(items, total, step, pace),
    });
  } finally {
    states?.free();
  }
}
