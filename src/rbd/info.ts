/** Everything that `rbd info` shows of an image, but for mirroring and the journal. */

import { type Utime, utimeToMs } from '../encoding/types.js';
import { executeOne } from '../rados/class-call.js';
import { dirGetName, getImageGroup, getSnapshot, getSnapshotLimit } from '../rados/cls-rbd.js';
import type { RbdContext } from './context.js';
import { imageError } from './errors.js';
import { FEATURE, featureNames, flagNames, OP_FEATURE, opFeatureNames } from './features.js';
import type { Parent } from './header.js';
import { headerObject, RBD_GROUP_DIRECTORY } from './names.js';
import { type ImageHandle, imageNameOf, openHeader } from './open.js';
import { formatImageSpec, type ImageSpec } from './spec.js';

export interface ImageInfo {
  readonly name: string | undefined;
  readonly id: string;
  /** Bytes, of the head or of the snapshot asked for. */
  readonly size: number;
  readonly objects: number;
  readonly order: number;
  readonly objectSize: number;
  readonly snapshotCount: number;
  /** The name of the pool that holds the data, when it is another one. */
  readonly dataPool: string | undefined;
  readonly blockNamePrefix: string;
  readonly format: 2;
  readonly features: readonly string[];
  readonly opFeatures: readonly string[];
  readonly flags: readonly string[];
  /** `pool/group`, of an image in a group. */
  readonly group: string | undefined;
  readonly createTimestamp: Date;
  readonly accessTimestamp: Date;
  readonly modifyTimestamp: Date;
  /** Of a snapshot only. */
  readonly protected: boolean | undefined;
  readonly snapshotLimit: number | undefined;
  readonly parent: ParentInfo | undefined;
  /** With feature striping only. */
  readonly stripeUnit: number | undefined;
  readonly stripeCount: number | undefined;
}

export interface ParentInfo {
  readonly pool: string;
  readonly poolNamespace: string;
  readonly image: string;
  readonly id: string;
  /** For a snapshot that was removed while clones need it, the name that it got in the trash. */
  readonly snapshot: string;
  /** The parent image is in the trash. */
  readonly trash: boolean;
  readonly overlap: number;
}

/** ENOENT: no such image or snapshot. Works for images of any features. */
export async function imageInfo(context: RbdContext, spec: ImageSpec): Promise<ImageInfo> {
  try {
    return await infoOf(await openHeader(context, spec, { readOnly: true }));
  } catch (error) {
    throw imageError(error, 'info of', formatImageSpec(spec));
  }
}

export async function infoOf(image: ImageHandle): Promise<ImageInfo> {
  const { context, header, snapshot } = image;
  const { layout, dataPoolId } = header;
  const limit = await executeOne(image.ioctx, headerObject(image.id), getSnapshotLimit());
  const striped = (header.features & FEATURE.STRIPINGV2) !== 0n;
  const size = snapshot ? snapshot.imageSize : header.size;
  // That of a flattened head is kept for its snapshots.
  const parent = snapshot || header.parent?.ofHead ? header.parent : undefined;
  return {
    name: image.name,
    id: image.id,
    size,
    objects: layout.objectCount(size),
    order: layout.order,
    objectSize: layout.objectSize,
    snapshotCount: header.snapshots.length,
    dataPool: dataPoolId === undefined ? undefined : poolName(context, dataPoolId),
    blockNamePrefix: header.objectPrefix,
    format: 2,
    features: featureNames(header.features),
    opFeatures: opFeatureNames(header.opFeatures),
    flags: flagNames(snapshot ? snapshot.flags : header.flags),
    group: header.opFeatures & OP_FEATURE.GROUP ? await groupOf(image) : undefined,
    createTimestamp: date(header.createTimestamp),
    accessTimestamp: date(header.accessTimestamp),
    modifyTimestamp: date(header.modifyTimestamp),
    protected: snapshot?.isProtected,
    // All ones stands for "no limit".
    snapshotLimit: limit > BigInt(Number.MAX_SAFE_INTEGER) ? undefined : Number(limit),
    parent: parent && (await parentInfo(context, parent, snapshot?.parentOverlap)),
    stripeUnit: striped ? layout.stripeUnit : undefined,
    stripeCount: striped ? layout.stripeCount : undefined,
  };
}

async function groupOf({ context, ioctx, id }: ImageHandle): Promise<string | undefined> {
  const { poolId, groupId } = await executeOne(ioctx, headerObject(id), getImageGroup());
  if (poolId < 0) return undefined;
  const groups = await context.ioctx(poolId, ioctx.nspace);
  return groups.describe(await executeOne(groups, RBD_GROUP_DIRECTORY, dirGetName(groupId)));
}

async function parentInfo(
  context: RbdContext,
  parent: Parent,
  snapshotOverlap: number | undefined,
): Promise<ParentInfo> {
  const ioctx = await context.ioctx(parent.poolId, parent.namespace);
  const oid = headerObject(parent.imageId);
  const [name, snapshot] = await Promise.all([
    imageNameOf(ioctx, parent.imageId),
    executeOne(ioctx, oid, getSnapshot(parent.snapId)),
  ]);
  return {
    pool: ioctx.pool.name,
    poolNamespace: parent.namespace,
    image: name?.name ?? '',
    id: parent.imageId,
    snapshot: snapshot.name,
    trash: name?.inTrash ?? false,
    overlap: snapshotOverlap ?? parent.overlap,
  };
}

function poolName(context: RbdContext, id: number): string {
  return context.poolById(id)?.name ?? String(id);
}

const date = (time: Utime) => new Date(utimeToMs(time));
