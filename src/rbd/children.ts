/** The clones of an image: finding them, and ending what ties one to its parent (`librbd/image/DetachChildRequest.cc`). */

import { executeOne, mutate } from '../rados/class-call.js';
import {
  detachChild as detachChildCall,
  getChildren,
  getSnapshot,
  listChildren as listChildrenCall,
  removeChild,
  SNAP_NAMESPACE,
} from '../rados/cls-rbd.js';
import type { IoContext } from '../rados/io-context.js';
import type { RbdContext } from './context.js';
import { imageError, unless } from './errors.js';
import { OP_FEATURE } from './features.js';
import type { ImageHeader, Parent } from './header.js';
import { headerObject, RBD_CHILDREN } from './names.js';
import { notifyHeaderUpdate } from './notify.js';
import { imageNameOf, openHeader } from './open.js';
import { formatImageSpec, type ImageSpec } from './spec.js';

export interface ChildImage {
  readonly pool: string;
  readonly poolNamespace: string;
  /** Absent for one that no name leads to. */
  readonly image: string | undefined;
  readonly id: string;
  /** It is in the trash. */
  readonly trash: boolean;
}

export interface ChildrenOptions {
  /** The clones' clones too, and so on. */
  readonly descendants?: boolean;
}

/** Clones refer to each other at most this deep, whatever they say. */
const DEPTH_MAX = 64;

/** The clones of a snapshot or, without one, of all of the image's: by pool, namespace and name. ENOENT: no such image. */
export async function listChildren(
  context: RbdContext,
  parent: ImageSpec,
  { descendants = false }: ChildrenOptions = {},
): Promise<ChildImage[]> {
  try {
    const found = new Map<string, ChildImage>();
    await collect(context, parent, found, descendants ? DEPTH_MAX : 1);
    return [...found.values()].sort(
      (a, b) =>
        compare(a.pool, b.pool) ||
        compare(a.poolNamespace, b.poolNamespace) ||
        compare(a.image ?? '', b.image ?? ''),
    );
  } catch (error) {
    throw imageError(error, 'children of', formatImageSpec(parent));
  }
}

async function collect(
  context: RbdContext,
  parent: ImageSpec,
  found: Map<string, ChildImage>,
  depth: number,
): Promise<void> {
  const { ioctx, id, header, snapshot } = await openHeader(context, parent, { readOnly: true });
  for (const { id: snapId } of snapshot ? [snapshot] : header.snapshots) {
    for (const { ioctx: pool, imageId } of await childrenOf(context, ioctx, id, snapId)) {
      const key = `${pool.pool.id}/${pool.nspace}/${imageId}`;
      if (found.has(key)) continue;
      const name = await imageNameOf(pool, imageId);
      found.set(key, {
        pool: pool.pool.name,
        poolNamespace: pool.nspace,
        image: name?.name,
        id: imageId,
        trash: name?.inTrash ?? false,
      });
      if (depth <= 1) continue;
      const spec = { pool: pool.pool.name, namespace: pool.nspace, id: imageId };
      await unless('ENOENT', collect(context, spec, found, depth - 1));
    }
  }
}

/** Those of format 1 are listed in each pool that has some, those of format 2 beside the snapshot. */
async function childrenOf(
  context: RbdContext,
  ioctx: IoContext,
  imageId: string,
  snapId: bigint,
): Promise<{ ioctx: IoContext; imageId: string }[]> {
  const children: { ioctx: IoContext; imageId: string }[] = [];
  const listed = await unless(
    'ENOENT',
    executeOne(ioctx, headerObject(imageId), listChildrenCall(snapId)),
  );
  for (const { poolId, poolNamespace, imageId: child } of listed ?? []) {
    const pool = await unless('ENOENT', context.ioctx(poolId, poolNamespace));
    if (pool) children.push({ ioctx: pool, imageId: child });
  }
  for await (const { ioctx: pool, imageIds } of format1Children(context, ioctx, imageId, snapId)) {
    for (const child of imageIds) children.push({ ioctx: pool, imageId: child });
  }
  return children;
}

/** Clones of format 1, by pool: they are in any, and in the namespace of their parent. */
export async function* format1Children(
  context: RbdContext,
  ioctx: IoContext,
  imageId: string,
  snapId: bigint,
): AsyncGenerator<{ ioctx: IoContext; imageIds: string[] }> {
  const call = getChildren({ poolId: ioctx.pool.id, imageId, snapId });
  for (const { id } of context.pools()) {
    const pool = await unless('ENOENT', context.ioctx(id, ioctx.nspace));
    const imageIds = pool && (await unless('ENOENT', executeOne(pool, RBD_CHILDREN, call)));
    if (pool && imageIds) yield { ioctx: pool, imageIds };
  }
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

/**
 * The parent forgets the clone, whose header has the link until then. Done already is no error. Returns the snapshot when it
 * was kept in the trash for this clone alone: it is to be removed now.
 */
export async function detachChild(
  context: RbdContext,
  child: { ioctx: IoContext; header: ImageHeader },
  parent: Parent,
): Promise<ImageSpec | undefined> {
  const { ioctx, header } = child;
  const { poolId, namespace, imageId, snapId } = parent;
  if ((header.opFeatures & OP_FEATURE.CLONE_CHILD) === 0n) {
    const removal = mutate(ioctx, RBD_CHILDREN, [
      removeChild({ poolId, imageId, snapId }, header.id),
    ]);
    await unless('ENOENT', removal);
    return undefined;
  }
  const parentIoctx = await unless('ENOENT', context.ioctx(poolId, namespace));
  if (!parentIoctx) return undefined;
  const oid = headerObject(imageId);
  const { pool, nspace: poolNamespace } = ioctx;
  const entry = { poolId: pool.id, poolNamespace, imageId: header.id };
  await unless('ENOENT', mutate(parentIoctx, oid, [detachChildCall(snapId, entry)]));
  const snapshot = await unless('ENOENT', executeOne(parentIoctx, oid, getSnapshot(snapId)));
  if (!snapshot) return undefined;
  await notifyHeaderUpdate(parentIoctx, imageId, context.environment);
  const isUnused = snapshot.namespace.type === SNAP_NAMESPACE.TRASH && snapshot.childCount === 0;
  return isUnused ? { pool: parentIoctx.pool.name, namespace, id: imageId, snapId } : undefined;
}
