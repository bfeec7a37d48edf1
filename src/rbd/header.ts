/**
 * An image's header as one immutable value, and how it is read.
 *
 * The methods are those of librbd's open and refresh (`librbd/image/OpenRequest.cc`, `RefreshRequest.cc`), in fewer
 * requests: what cannot change together with the layout in one, all that can change in a second, and the snapshots in
 * a third. Each request sees one state of the header. A snapshot that is gone by the third means that the header
 * changed in between, and the read starts over.
 */

import { isRadosError, RadosError } from '../base/errors.js';
import { NOSNAP, type SnapContext, type Utime } from '../encoding/types.js';
import { type ClassCall, execute, executeVersioned } from '../rados/class-call.js';
import { getLockInfo, type LockInfo } from '../rados/cls-lock.js';
import {
  getAccessTimestamp,
  getCreateTimestamp,
  getDataPool,
  getFeatures,
  getFlags,
  getModifyTimestamp,
  getObjectPrefix,
  getOpFeatures,
  getParent,
  getParentOverlap,
  getProtectionStatus,
  getSize,
  getSnapContext,
  getSnapshot,
  getStripeUnitCount,
  PROTECTION,
  SNAP_NAMESPACE,
  type SnapshotInfo,
} from '../rados/cls-rbd.js';
import type { IoContext } from '../rados/io-context.js';
import { FEATURE } from './features.js';
import { Layout } from './layout.js';
import { headerObject, RBD_LOCK_NAME } from './names.js';

/** What never changes in an image's life. */
export interface FixedHeader {
  readonly id: string;
  readonly objectPrefix: string;
  readonly layout: Layout;
  /** Where the data lies, when it is not the image's own pool. */
  readonly dataPoolId: number | undefined;
  readonly createTimestamp: Utime;
}

export interface ImageHeader extends FixedHeader {
  /** Of the head, in bytes. */
  readonly size: number;
  readonly features: bigint;
  /** The features that a client must know for what it opened the image for. */
  readonly incompatibleFeatures: bigint;
  readonly opFeatures: bigint;
  readonly flags: bigint;
  /** What writes to the head must carry. */
  readonly snapContext: SnapContext;
  /** Oldest first. */
  readonly snapshots: readonly ImageSnapshot[];
  readonly parent: Parent | undefined;
  readonly accessTimestamp: Utime;
  readonly modifyTimestamp: Utime;
  /** The lock that `rbd lock` and exclusive-lock share. */
  readonly lock: LockInfo;
  /** Of the header's object: every change makes another. That of the snapshots may be a later one. */
  readonly version: bigint;
}

export interface ImageSnapshot extends SnapshotInfo {
  readonly flags: bigint;
  readonly isProtected: boolean;
  /** `PROTECTION`: whoever unprotects it may be looking for clones just now. */
  readonly protectionStatus: number;
  /** Bytes from the start that the parent still backs in this snapshot. */
  readonly parentOverlap: number;
}

/** The snapshot that a clone was made from. */
export interface Parent {
  readonly poolId: number;
  readonly namespace: string;
  readonly imageId: string;
  readonly snapId: bigint;
  /** Bytes from the start of the head that it still backs. */
  readonly overlap: number;
  /** The head is a clone; else only snapshots of it are, from before it was flattened. */
  readonly ofHead: boolean;
}

interface ReadOptions {
  readonly readOnly: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** Starts over this often when snapshots vanish while they are read. */
const ATTEMPTS_MAX = 10;
/** Snapshots per request: four operations each. */
const SNAPSHOTS_PER_REQUEST = 64;

export async function readHeader(
  ioctx: IoContext,
  id: string,
  options: ReadOptions,
): Promise<ImageHeader> {
  return refreshHeader(ioctx, await readFixed(ioctx, id, options), options);
}

/** Reads again what may have changed: of a header, if it was changed since, all of it. */
export async function refreshHeader(
  ioctx: IoContext,
  known: FixedHeader | ImageHeader,
  options: ReadOptions,
): Promise<ImageHeader> {
  for (let attempt = 1; ; attempt++) {
    const changing = await readChanging(ioctx, known.id, options);
    try {
      const isSame = 'version' in known && known.version === changing.version;
      const snapshots = isSame
        ? known.snapshots
        : await readSnapshots(ioctx, known.id, changing, options);
      const { id, objectPrefix, layout, dataPoolId, createTimestamp } = known;
      return Object.freeze({
        ...{ id, objectPrefix, layout, dataPoolId, createTimestamp },
        ...changing,
        snapshots,
      });
    } catch (error) {
      if (!isRadosError(error, 'ENOENT') || attempt === ATTEMPTS_MAX) throw error;
    }
  }
}

async function readFixed(
  ioctx: IoContext,
  id: string,
  { readOnly, signal }: ReadOptions,
): Promise<FixedHeader> {
  const oid = headerObject(id);
  const options = signal ? { signal } : {};
  const [{ order }, objectPrefix, { features }, dataPoolId, createTimestamp] = await execute(
    ioctx,
    oid,
    [getSize(), getObjectPrefix(), getFeatures(readOnly), getDataPool(), getCreateTimestamp()],
    options,
  );
  if (objectPrefix === '') throw new RadosError('EINVAL', `${oid} has no object prefix`);
  // The class refuses this one (ENOEXEC) for images without the feature, so it cannot ride with the others.
  const striping =
    features & FEATURE.STRIPINGV2
      ? (await execute(ioctx, oid, [getStripeUnitCount()], options))[0]
      : {};
  return {
    id,
    objectPrefix,
    layout: new Layout({ order, ...striping }),
    dataPoolId: dataPoolId < 0 ? undefined : dataPoolId,
    createTimestamp,
  };
}

async function readChanging(
  ioctx: IoContext,
  id: string,
  { readOnly, signal }: ReadOptions,
): Promise<Omit<ImageHeader, keyof FixedHeader | 'snapshots'>> {
  const { values, version } = await executeVersioned(
    ioctx,
    headerObject(id),
    [
      getSize(),
      getFeatures(readOnly),
      getOpFeatures(),
      getFlags(),
      getSnapContext(),
      getParent(),
      getParentOverlap(),
      getAccessTimestamp(),
      getModifyTimestamp(),
      getLockInfo(RBD_LOCK_NAME),
    ],
    signal ? { signal } : {},
  );
  const [
    { size },
    { features, incompatible },
    opFeatures,
    flags,
    snapContext,
    spec,
    overlap,
    accessTimestamp,
    modifyTimestamp,
    lock,
  ] = values;
  const hasParent = spec.poolId >= 0 && spec.imageId !== '' && spec.snapId !== NOSNAP;
  return {
    size,
    features,
    incompatibleFeatures: incompatible,
    opFeatures,
    flags,
    snapContext,
    parent: hasParent
      ? {
          poolId: spec.poolId,
          namespace: spec.poolNamespace,
          imageId: spec.imageId,
          snapId: spec.snapId,
          overlap: overlap ?? 0,
          ofHead: overlap !== undefined,
        }
      : undefined,
    accessTimestamp,
    modifyTimestamp,
    lock,
    version,
  };
}

async function readSnapshots(
  ioctx: IoContext,
  id: string,
  { snapContext, features }: { snapContext: SnapContext; features: bigint },
  { signal }: ReadOptions,
): Promise<ImageSnapshot[]> {
  const ids = [...snapContext.snaps].reverse();
  // ENOEXEC without layering: nothing can be protected there.
  const protects = (features & FEATURE.LAYERING) !== 0n;
  const snapshots: ImageSnapshot[] = [];
  for (let start = 0; start < ids.length; start += SNAPSHOTS_PER_REQUEST) {
    const batch = ids.slice(start, start + SNAPSHOTS_PER_REQUEST);
    const calls: ClassCall<unknown>[] = batch.flatMap((snapId) => [
      getSnapshot(snapId),
      getParentOverlap(snapId),
      getFlags(snapId),
      ...(protects ? [getProtectionStatus(snapId)] : []),
    ]);
    const answers = await execute(ioctx, headerObject(id), calls, signal ? { signal } : {});
    const each = calls.length / batch.length;
    for (let i = 0; i < answers.length; i += each) {
      const protectionStatus = protects ? (answers[i + 3] as number) : PROTECTION.UNPROTECTED;
      snapshots.push({
        ...(answers[i] as SnapshotInfo),
        parentOverlap: (answers[i + 1] as number | undefined) ?? 0,
        flags: answers[i + 2] as bigint,
        isProtected: protectionStatus === PROTECTION.PROTECTED,
        protectionStatus,
      });
    }
  }
  return snapshots;
}

/** A snapshot by its id, or by its name among those that users made (others only have generated names). */
export function findSnapshot(
  header: ImageHeader,
  wanted: { snap?: string; snapId?: bigint },
): ImageSnapshot | undefined {
  if (wanted.snapId !== undefined) return header.snapshots.find(({ id }) => id === wanted.snapId);
  return header.snapshots.find(
    ({ name, namespace }) => name === wanted.snap && namespace.type === SNAP_NAMESPACE.USER,
  );
}
