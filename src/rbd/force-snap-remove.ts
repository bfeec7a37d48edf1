/** Removing a snapshot whatever stands in the way, as `rbd snap rm --force` does. */

import { isRadosError } from '../base/errors.js';
import { listChildren } from './children.js';
import { Image } from './image.js';
import type { SnapshotRef } from './image-snapshots.js';
import type { MaintenanceOptions } from './maintenance/operation.js';

/**
 * Flattens the snapshot's clones, ends its protection and removes it. ENOENT: there is no such snapshot; EBUSY: a clone needs
 * it still, for snapshots of its own. Progress counts the clones and the snapshot.
 */
export async function forceSnapRemove(
  image: Image,
  ref: SnapshotRef,
  { onProgress, ...options }: MaintenanceOptions = {},
): Promise<void> {
  const { context, ioctx, id, snapshots } = image;
  const which = typeof ref === 'bigint' ? { snapId: ref } : { snap: ref };
  const parent = { pool: ioctx.pool.name, namespace: ioctx.nspace, id, ...which };
  const clones = await listChildren(context, parent);
  for (const [i, { pool, poolNamespace: namespace, id: cloneId }] of clones.entries()) {
    await using clone = await Image.open(context, { pool, namespace, id: cloneId });
    await clone.flatten(options);
    onProgress?.(i + 1, clones.length + 1);
  }
  try {
    await snapshots.unprotect(ref, options);
  } catch (error) {
    // EINVAL: it was not protected, or is of a kind that never is. ENOSYS: the image cannot have clones.
    if (!isRadosError(error, 'EINVAL') && !isRadosError(error, 'ENOSYS')) throw error;
  }
  await snapshots.remove(ref, options);
  onProgress?.(clones.length + 1, clones.length + 1);
}
