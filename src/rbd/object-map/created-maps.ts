/** The object maps of an image that comes to have them, or has them no more (`librbd/object_map/CreateRequest.cc`). */

import { OBJECT_STATE } from '../../kernels/object-state.js';
import { deleteOp, truncateOp } from '../../messages/osd-op.js';
import { mutate } from '../../rados/class-call.js';
import { MAP_FLAG, objectMapResize } from '../../rados/cls-rbd.js';
import { unless } from '../errors.js';
import { objectMapObject } from '../names.js';
import type { OpenImage } from '../open-image.js';
import { setMapFlags } from './map-flags.js';

const INVALID = MAP_FLAG.OBJECT_MAP_INVALID | MAP_FLAG.FAST_DIFF_INVALID;

/** Says of the maps of the head and of all snapshots, there or to come, whether they are to be believed. */
export async function flagMaps(image: OpenImage, isInvalid: boolean): Promise<void> {
  for (const { snapId } of versions(image)) {
    await setMapFlags(image, isInvalid ? INVALID : 0n, INVALID, snapId);
  }
}

/** Maps in which no object exists: flagged as invalid before. */
export async function createMaps(image: OpenImage): Promise<void> {
  const { layout } = image.header;
  for (const { snapId, size } of versions(image)) {
    const steps = [
      truncateOp(0),
      objectMapResize(layout.objectCount(size), OBJECT_STATE.NONEXISTENT),
    ];
    await mutate(image.ioctx, objectMapObject(image.id, snapId), steps);
  }
}

export async function removeMaps(image: OpenImage): Promise<void> {
  for (const { snapId } of versions(image)) {
    await unless('ENOENT', image.ioctx.operate(objectMapObject(image.id, snapId), [deleteOp()]));
  }
}

/** The snapshots first: what is left when this is interrupted is the head's. */
function versions({ header }: OpenImage): { snapId: bigint | undefined; size: number }[] {
  const snapshots = header.snapshots.map(({ id, imageSize }) => ({ snapId: id, size: imageSize }));
  return [...snapshots, { snapId: undefined, size: header.size }];
}
