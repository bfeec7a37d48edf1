/**
 * Removing images, through the trash as librbd does (`librbd/api/Image.cc`, `Trash.cc`, `image/RemoveRequest.cc`).
 *
 *     checks -> trash entry (moving) -> name gone -> trash entry (normal) -> (removing) -> data -> header -> object map
 *     -> trash entry
 *
 * From the first trash entry on an interrupted removal can be seen and finished: `rbd ls` lists the image by its name,
 * and removing that name again, from here or by `rbd`, goes on where the other stopped.
 */

import { RadosError } from '../base/errors.js';
import { utimeFromMs } from '../encoding/types.js';
import { deleteOp } from '../messages/osd-op.js';
import { executeOne, mutate } from '../rados/class-call.js';
import {
  dirRemoveImage,
  mirrorImageRemove,
  TRASH_SOURCE,
  TRASH_STATE,
  trashAdd,
  trashGet,
  trashRemove,
  trashStateSet,
} from '../rados/cls-rbd.js';
import type { IoContext } from '../rados/io-context.js';
import { listWatchers } from '../rados/watchers.js';
import { eachManaged, type Progress } from './concurrency.js';
import { detachChild } from './children.js';
import type { RbdContext } from './context.js';
import { findImage } from './directory.js';
import { imageError, unless } from './errors.js';
import { assertWritable } from './features.js';
import { FULL_TRY } from './full-try.js';
import { type ImageHeader, readHeader } from './header.js';
import { Image } from './image.js';
import {
  headerObject,
  idObject,
  objectMapObject,
  RBD_DIRECTORY,
  RBD_MIRRORING,
  RBD_TRASH,
} from './names.js';
import { doomedMap, loadMap } from './object-map/loaded-map.js';
import { formatImageSpec, type NamedImageSpec } from './spec.js';
import { trimObjects } from './trim.js';

export interface RemoveOptions {
  readonly onProgress?: Progress;
  /** Stops between objects; the rest of the image is then in the trash. */
  readonly signal?: AbortSignal;
}

/**
 * Removes an image and its data. ENOENT: no such image; EBUSY: somebody has it open; ENOTEMPTY: it has snapshots;
 * ENOSYS: it has a feature, named in the message, with which this version cannot write it.
 */
export async function removeImage(
  context: RbdContext,
  spec: NamedImageSpec,
  options: RemoveOptions = {},
): Promise<void> {
  const target = formatImageSpec(spec);
  try {
    const ioctx = await context.ioctx(spec.pool, spec.namespace);
    const image = await findImage(ioctx, spec.name);
    if (!image) throw new RadosError('ENOENT', 'No such file or directory');
    const { id } = image;
    if (!image.inTrash) {
      // An interrupted creation leaves a name without a header: then the name is all there is to remove.
      const header = await unless('ENOENT', readHeader(ioctx, id, { readOnly: false }));
      if (header) await assertRemovable(ioctx, header, target);
      await moveToTrash(context, ioctx, spec.name, id);
    }
    await markRemoving(ioctx, id);
    // Again, and this time for good: the name is gone, so nobody opens it any more who has not done so already.
    const header = await unless('ENOENT', readHeader(ioctx, id, { readOnly: false }));
    if (header) {
      await assertRemovable(ioctx, header, target);
      await removeData(context, ioctx, header, options);
      const unused =
        header.parent && (await detachChild(context, { ioctx, header }, header.parent));
      if (unused) await Image.removeUnusedSnapshot(context, unused);
    }
    await unless('ENOENT', ioctx.operate(headerObject(id), [deleteOp()], FULL_TRY));
    await unless('ENOENT', ioctx.operate(objectMapObject(id), [deleteOp()], FULL_TRY));
    await unless('ENOENT', mutate(ioctx, RBD_MIRRORING, [mirrorImageRemove(id)], FULL_TRY));
    await unless('ENOENT', mutate(ioctx, RBD_TRASH, [trashRemove(id)], FULL_TRY));
  } catch (error) {
    throw imageError(error, 'remove', target);
  }
}

async function assertRemovable(
  ioctx: IoContext,
  header: ImageHeader,
  target: string,
): Promise<void> {
  // First, as librbd does (`PreRemoveRequest.cc`): snapshots are in the way whatever else this version lacks.
  if (header.snapshots.length > 0) throw new RadosError('ENOTEMPTY', 'the image has snapshots');
  assertWritable(header.features, target);
  const watchers = await listWatchers(ioctx, headerObject(header.id));
  if (watchers.length > 0) {
    throw new RadosError('EBUSY', 'the image is open by another client', { retryable: true });
  }
}

async function moveToTrash(
  { environment }: RbdContext,
  ioctx: IoContext,
  name: string,
  id: string,
): Promise<void> {
  const now = utimeFromMs(environment.clock.now());
  const entry = {
    source: TRASH_SOURCE.REMOVING,
    name,
    deletionTime: now,
    defermentEndTime: now,
    state: TRASH_STATE.MOVING,
  };
  // EEXIST, ENOENT: an earlier removal came this far.
  await unless('EEXIST', mutate(ioctx, RBD_TRASH, [trashAdd(id, entry)], FULL_TRY));
  await unless('ENOENT', ioctx.operate(idObject(name), [deleteOp()], FULL_TRY));
  await unless('ENOENT', mutate(ioctx, RBD_DIRECTORY, [dirRemoveImage(name, id)], FULL_TRY));
  await setState(ioctx, id, TRASH_STATE.NORMAL, TRASH_STATE.MOVING);
}

async function markRemoving(ioctx: IoContext, id: string): Promise<void> {
  const { state } = await executeOne(ioctx, RBD_TRASH, trashGet(id));
  // Interrupted between the directory and the next line: the name is gone, so it counts as moved.
  if (state === TRASH_STATE.MOVING) {
    await setState(ioctx, id, TRASH_STATE.NORMAL, TRASH_STATE.MOVING);
  }
  await setState(ioctx, id, TRASH_STATE.REMOVING, TRASH_STATE.NORMAL);
}

const setState = (ioctx: IoContext, id: string, state: number, expected: number) =>
  mutate(ioctx, RBD_TRASH, [trashStateSet(id, state, expected)], FULL_TRY);

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
