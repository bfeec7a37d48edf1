/**
 * Cloning a snapshot (`librbd/image/CloneRequest.cc`): an image that shows the snapshot's bytes until it has its own.
 *
 *     checks -> image -> its parent -> known to the parent -> the parent's metadata -> its name opens it
 *     -> the parent's clients are told
 *
 * A clone that came less far cannot be opened by its name, only removed by it.
 *
 * Format 2 lists the clone in the parent's header, in any pool and namespace, and the snapshot needs no protection: if it is
 * removed it stays in the trash for its clones. Format 1 lists it in the clone's own pool, beside a protected snapshot.
 */

import { RadosError } from '../base/errors.js';
import { mutate } from '../rados/class-call.js';
import {
  addChild,
  attachChild,
  attachParent,
  setMetadata,
  setOpFeatures,
  SNAP_NAMESPACE,
} from '../rados/cls-rbd.js';
import type { IoContext } from '../rados/io-context.js';
import { type CreateOptions, createImage } from './create.js';
import type { RbdContext } from './context.js';
import { imageError } from './errors.js';
import { FEATURE, featureBits, OP_FEATURE } from './features.js';
import { readHeader } from './header.js';
import { listImageMetadata } from './metadata.js';
import { headerObject, RBD_CHILDREN } from './names.js';
import { notifyHeaderUpdate } from './notify.js';
import { type ImageHandle, openHeader } from './open.js';
import { leaveParent } from './remove.js';
import { formatImageSpec, type ImageSpec, type NamedImageSpec } from './spec.js';

export interface CloneOptions extends Partial<Omit<CreateOptions, 'size'>> {
  /** 2 where the cluster lets in no clients that are too old for it, unless told (`rbd_default_clone_format`). */
  readonly format?: 1 | 2 | 'auto';
}

/** Clients from this release on know clones of format 2. */
const MIMIC = 13;
/** What an image has by how it is laid out or used, rather than by inheritance. */
const NOT_INHERITED =
  FEATURE.STRIPINGV2 |
  FEATURE.DATA_POOL |
  FEATURE.OPERATIONS |
  FEATURE.MIGRATING |
  FEATURE.JOURNALING;

/**
 * Clones the snapshot that `parent` names, and returns the clone's id. Where the options are silent, it is laid out as its
 * parent. ENOENT: no such image or snapshot; EEXIST: the clone's name is taken; EINVAL: format 1 of a snapshot that is not
 * protected, or no snapshot of a user's; EXDEV: format 1 to another namespace; ENOSYS: without layering on both.
 */
export async function cloneImage(
  context: RbdContext,
  parent: ImageSpec,
  child: NamedImageSpec,
  options: CloneOptions = {},
): Promise<string> {
  try {
    const handle = await openHeader(context, parent, { readOnly: true });
    const format = formatOf(context, options);
    if (format === 1 && handle.ioctx.nspace !== (child.namespace ?? '')) {
      throw new RadosError('EXDEV', 'format 1 knows no clones in another namespace');
    }
    const snapshot = assertClonable(handle, format);
    const plan = { ...inherited(handle, options), size: snapshot.imageSize };
    if ((plan.features & FEATURE.LAYERING) === 0n) {
      throw new RadosError('ENOSYS', 'a clone needs feature layering');
    }
    const id = await createImage(context, child, plan, {
      add: (ioctx, childId) => attach(handle, ioctx, childId, format),
      undo: (ioctx, childId) => detach(context, ioctx, childId),
    });
    await notifyHeaderUpdate(handle.ioctx, handle.id, context.environment);
    return id;
  } catch (error) {
    throw imageError(error, `clone ${formatImageSpec(parent)} to`, formatImageSpec(child));
  }
}

function formatOf(context: RbdContext, { format = 'auto' }: CloneOptions): 1 | 2 {
  if (format !== 'auto') return format;
  return context.requireMinCompatClient >= MIMIC ? 2 : 1;
}

function assertClonable({ header, snapshot }: ImageHandle, format: 1 | 2) {
  if (!snapshot) throw new RadosError('EINVAL', 'a snapshot is cloned, and none is named');
  if (snapshot.namespace.type !== SNAP_NAMESPACE.USER) {
    throw new RadosError('EINVAL', `snapshot ${snapshot.name} is not one of a user's`);
  }
  if ((header.features & FEATURE.LAYERING) === 0n) {
    throw new RadosError('ENOSYS', 'the parent lacks feature layering');
  }
  if (format === 1 && !snapshot.isProtected) {
    throw new RadosError('EINVAL', 'the snapshot must be protected for a clone of format 1');
  }
  return snapshot;
}

function inherited(
  { header }: ImageHandle,
  { format: _, ...options }: CloneOptions,
): Omit<CreateOptions, 'size'> & { features: bigint } {
  const { order, stripeUnit, stripeCount } = header.layout;
  return {
    ...{ order, stripeUnit, stripeCount },
    ...options,
    features: featureBits(options.features ?? header.features & ~NOT_INHERITED),
  };
}

async function attach(
  parent: ImageHandle,
  childIoctx: IoContext,
  childId: string,
  format: 1 | 2,
): Promise<void> {
  const { context, snapshot, ioctx } = parent;
  if (!snapshot) throw new TypeError('a parent is open at a snapshot');
  const header = headerObject(childId);
  const spec = {
    poolId: ioctx.pool.id,
    poolNamespace: ioctx.nspace,
    imageId: parent.id,
    snapId: snapshot.id,
  };
  await mutate(childIoctx, header, [attachParent(spec, snapshot.imageSize)]);
  if (format === 2) {
    await mutate(childIoctx, header, [
      setOpFeatures(OP_FEATURE.CLONE_CHILD, OP_FEATURE.CLONE_CHILD),
    ]);
    const { pool, nspace } = childIoctx;
    await mutate(ioctx, headerObject(parent.id), [
      attachChild(snapshot.id, { poolId: pool.id, poolNamespace: nspace, imageId: childId }),
    ]);
  } else {
    await mutate(childIoctx, RBD_CHILDREN, [addChild(spec, childId)]);
    // It may have been unprotected just before the clone was listed.
    const { name: pool } = ioctx.pool;
    const again = { pool, namespace: ioctx.nspace, id: parent.id, snapId: snapshot.id };
    assertClonable(await openHeader(context, again, { readOnly: true }), format);
  }
  await copyMetadata(parent, childIoctx, header);
}

async function detach(context: RbdContext, ioctx: IoContext, childId: string): Promise<void> {
  await leaveParent(context, ioctx, await readHeader(ioctx, childId, { readOnly: false }));
}

async function copyMetadata(
  parent: ImageHandle,
  childIoctx: IoContext,
  header: string,
): Promise<void> {
  const pairs = await listImageMetadata(parent);
  if (pairs.size === 0) return;
  const values = [...pairs].map(([key, value]) => [key, Buffer.from(value)] as const);
  await mutate(childIoctx, header, [setMetadata(new Map(values))]);
}
