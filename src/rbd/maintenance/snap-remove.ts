/**
 * Removing a snapshot (`librbd/operation/SnapshotRemoveRequest.cc`).
 *
 *     to the snapshots' trash -> has it clones? -> object map -> id given back -> header
 *                                    \-> it stays there, and goes with the last of them
 *
 * Of the trash, users see nothing. What was interrupted there is removed with the image, if nobody asks again; and who takes the
 * last of a snapshot's clones away removes it from there, at any time.
 */

import { RadosError } from '../../base/errors.js';
import { executeOne, mutate } from '../../rados/class-call.js';
import {
  detachChild as detachChildCall,
  getSize,
  getSnapshot,
  listChildren,
  PROTECTION,
  removeSnapshot,
  trashSnapshot,
} from '../../rados/cls-rbd.js';
import { detachChild } from '../children.js';
import { unless } from '../errors.js';
import { FEATURE } from '../features.js';
import { FULL_TRY } from '../full-try.js';
import type { ImageSnapshot } from '../header.js';
import { headerObject } from '../names.js';
import type { OpenImage } from '../open-image.js';
import { snapshotNamed } from '../snapshots.js';
import type { ImageSpec } from '../spec.js';
import type { Operation, OperationContext, RequestOf, Route } from './operation.js';

type SnapRemove = RequestOf<'snapRemove'>;

/** Snapshots of such images have something that the owner of the lock keeps. */
const OWNED = FEATURE.OBJECT_MAP | FEATURE.JOURNALING;

export const snapRemove: Operation<SnapRemove> = {
  name: 'snap remove',
  route: ({ features }): Route => (features & OWNED ? 'owner' : 'anyone'),
  exclusive: true,
  doneErrors: new Set(['ENOENT']),

  precheck(image, request) {
    assertUnprotected(find(image, request));
  },

  isDone: (image, request) => snapshotNamed(image.header, request) === undefined,

  async run(image, request, context) {
    const snapshot = find(image, request);
    assertUnprotected(snapshot);
    await remove(image, snapshot, context);
    await image.headerUpdated();
    context.onProgress(1, 1);
  },
};

function find({ header }: OpenImage, request: SnapRemove): ImageSnapshot {
  const snapshot = snapshotNamed(header, request);
  if (snapshot) return snapshot;
  throw new RadosError('ENOENT', `there is no snapshot '${request.name}'`, {
    outcome: 'not-applied',
  });
}

function assertUnprotected({ name, protectionStatus }: ImageSnapshot): void {
  if (protectionStatus === PROTECTION.UNPROTECTED) return;
  throw new RadosError('EBUSY', `snapshot '${name}' is protected`, { outcome: 'not-applied' });
}

async function remove(
  image: OpenImage,
  snapshot: ImageSnapshot,
  context: OperationContext,
): Promise<void> {
  const { ioctx, dataIoctx, objectMap } = image;
  const oid = headerObject(image.id);
  const { id } = snapshot;
  const wasInTrash = snapshot.namespace.type === 'trash';
  if (!wasInTrash) {
    await unless('EEXIST', mutate(ioctx, oid, [trashSnapshot(id)], FULL_TRY));
    context.changed();
  }
  if (await hasClones(image, id)) {
    if (!wasInTrash) return;
    throw new RadosError('EBUSY', `snapshot ${id} has clones`, { outcome: 'not-applied' });
  }
  context.changed();
  const unused = await forgetParent(image, snapshot);
  await objectMap?.snapshotRemoved(id);
  await unless('ENOENT', dataIoctx.removeSelfManagedSnap(id));
  const removed = mutate(ioctx, oid, [removeSnapshot(id)], FULL_TRY);
  await (wasInTrash ? removed : unless('ENOENT', removed));
  if (unused) await image.removeUnusedSnapshot(unused);
}

/** The last snapshot that saw the parent of a clone which was flattened since: the parent knows the clone until then. */
async function forgetParent(
  image: OpenImage,
  snapshot: ImageSnapshot,
): Promise<ImageSpec | undefined> {
  const { parent, snapshots } = image.header;
  if (!parent || parent.ofHead || snapshot.parentOverlap === 0) return undefined;
  const others = snapshots.filter(({ id }) => id !== snapshot.id);
  if (others.some(({ parentOverlap }) => parentOverlap > 0)) return undefined;
  return detachChild(image.context, image, parent);
}

/** Of format 2: those of format 1 need it to be protected. */
async function hasClones(image: OpenImage, snapId: bigint): Promise<boolean> {
  const { context, ioctx } = image;
  const oid = headerObject(image.id);
  const found = await unless('ENOENT', executeOne(ioctx, oid, getSnapshot(snapId)));
  if (!found || found.childCount === 0) return false;
  const children = await executeOne(ioctx, oid, listChildren(snapId));
  let left = children.length;
  for (const child of children) {
    const { poolId, poolNamespace, imageId } = child;
    const pool = await unless('ENOENT', context.ioctx(poolId, poolNamespace));
    const size =
      pool && (await unless('ENOENT', executeOne(pool, headerObject(imageId), getSize())));
    if (size) continue;
    // Its creation or its removal was interrupted, or its pool is gone: nobody else ends this.
    await unless('ENOENT', mutate(ioctx, oid, [detachChildCall(snapId, child)]));
    left--;
  }
  return left > 0;
}
