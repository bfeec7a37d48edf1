/** An image's snapshots: looking them up, and listing them with all that is known of them. */

import { encodeWith } from '../encoding/codec.js';
import { utimeToMs } from '../encoding/types.js';
import { executeOne } from '../rados/class-call.js';
import {
  dirGetName,
  getGroupSnapshot,
  PROTECTION,
  type SnapNamespace,
  snapNamespace,
  snapNamespaceType,
} from '../rados/cls-rbd.js';
import type { IoContext } from '../rados/io-context.js';
import { unless } from './errors.js';
import type { ImageHeader, ImageSnapshot } from './header.js';
import { groupHeaderObject, RBD_GROUP_DIRECTORY } from './names.js';
import type { ImageHandle } from './open.js';

/** In the order of their numbers (`SnapshotMirrorState`). */
const MIRROR_STATES = ['primary', 'primary-demoted', 'non-primary', 'non-primary-demoted'] as const;

/** Whose a snapshot is. */
export type SnapshotNamespace =
  | { readonly type: 'user' }
  /** Of a group of images. Without names when the group is gone. */
  | {
      readonly type: 'group';
      readonly pool: string | undefined;
      readonly group: string | undefined;
      readonly groupSnapshot: string | undefined;
    }
  /** Removed, and kept for its clones: what it was before. */
  | { readonly type: 'trash'; readonly originalName: string; readonly originalType: string }
  | {
      readonly type: 'mirror';
      readonly state: (typeof MIRROR_STATES)[number] | 'unknown';
      readonly complete: boolean;
      readonly peerUuids: readonly string[];
      readonly primaryUuid: string;
      readonly primarySnapId: bigint;
      readonly lastCopiedObject: bigint;
    }
  /** Of a kind that this version does not know. */
  | { readonly type: 'unknown' };

export interface SnapshotInfo {
  readonly id: bigint;
  /** A snapshot in the trash has got a generated one. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly timestamp: Date;
  /** It cannot be removed: clones of format 1 may need it. */
  readonly protected: boolean;
  /** Clones of format 2 that it has. */
  readonly childCount: number;
  readonly namespace: SnapshotNamespace;
}

export interface ListSnapshotsOptions {
  /** Those of groups, of mirroring, and in the trash, too. */
  readonly all?: boolean;
}

/** Oldest first. */
export function listSnapshots(
  image: ImageHandle,
  { all = false }: ListSnapshotsOptions = {},
): Promise<SnapshotInfo[]> {
  const { snapshots } = image.header;
  const listed = all ? snapshots : snapshots.filter(({ namespace }) => namespace.type === 'user');
  return Promise.all(
    listed.map(async (snapshot) => ({
      id: snapshot.id,
      name: snapshot.name,
      size: snapshot.imageSize,
      timestamp: new Date(utimeToMs(snapshot.timestamp)),
      protected: snapshot.protectionStatus !== PROTECTION.UNPROTECTED,
      childCount: snapshot.childCount,
      namespace: await describeNamespace(image, snapshot.namespace),
    })),
  );
}

/** The one that a request between clients means. */
export function snapshotNamed(
  { snapshots }: ImageHeader,
  { name, namespace }: { name: string; namespace: SnapNamespace },
): ImageSnapshot | undefined {
  if (namespace.type === 'unknown') return undefined;
  const wanted = Buffer.from(encodeWith(snapNamespace, namespace));
  return snapshots.find(
    (each) =>
      each.name === name &&
      each.namespace.type === namespace.type &&
      wanted.equals(encodeWith(snapNamespace, each.namespace)),
  );
}

async function describeNamespace(
  { context, ioctx }: ImageHandle,
  namespace: SnapNamespace,
): Promise<SnapshotNamespace> {
  switch (namespace.type) {
    case 'group': {
      const groups = await unless('ENOENT', context.ioctx(namespace.poolId, ioctx.nspace));
      return { type: 'group', pool: groups?.pool.name, ...(await groupNames(groups, namespace)) };
    }
    case 'trash': {
      const { originalName, originalType } = namespace;
      return { type: 'trash', originalName, originalType: snapNamespaceType(originalType) };
    }
    case 'mirror':
      return {
        type: 'mirror',
        state: MIRROR_STATES[namespace.state] ?? 'unknown',
        complete: namespace.complete !== 0,
        peerUuids: namespace.peerUuids,
        primaryUuid: namespace.primaryUuid,
        primarySnapId: namespace.primarySnapId,
        lastCopiedObject: namespace.lastCopiedObjectNo,
      };
    default:
      return { type: namespace.type };
  }
}

async function groupNames(
  groups: IoContext | undefined,
  { groupId, groupSnapshotId }: { groupId: string; groupSnapshotId: string },
): Promise<{ group: string | undefined; groupSnapshot: string | undefined }> {
  if (!groups) return { group: undefined, groupSnapshot: undefined };
  const [group, snapshot] = await Promise.all([
    unless('ENOENT', executeOne(groups, RBD_GROUP_DIRECTORY, dirGetName(groupId))),
    unless(
      'ENOENT',
      executeOne(groups, groupHeaderObject(groupId), getGroupSnapshot(groupSnapshotId)),
    ),
  ]);
  return { group, groupSnapshot: snapshot?.name };
}
