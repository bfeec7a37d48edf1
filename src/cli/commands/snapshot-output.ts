/** What `snap ls` prints, in `rbd`'s shapes. */

import type { SnapshotInfo, SnapshotNamespace } from '../../rbd/snapshots.js';
import { formatTable, formatTime } from '../output.js';
import { formatSize } from '../sizes.js';

export function snapshotTable(
  snapshots: readonly SnapshotInfo[],
  { all, objectCount }: { all: boolean; objectCount: number },
): string {
  if (snapshots.length === 0) return '';
  return formatTable(
    [
      { title: 'SNAPID', align: 'right' },
      { title: 'NAME', align: 'left' },
      { title: 'SIZE', align: 'right' },
      { title: 'PROTECTED', align: 'left' },
      { title: 'TIMESTAMP', align: 'right' },
      ...(all ? [{ title: 'NAMESPACE', align: 'left' } as const] : []),
    ],
    snapshots.map((snapshot) => [
      String(snapshot.id),
      snapshot.name,
      formatSize(snapshot.size),
      isUsersProtected(snapshot) ? 'yes' : '',
      timeText(snapshot),
      ...(all ? [namespaceText(snapshot.namespace, objectCount)] : []),
    ]),
  );
}

export function snapshotJson(snapshot: SnapshotInfo, all: boolean): Record<string, unknown> {
  return {
    id: snapshot.id,
    name: snapshot.name,
    size: snapshot.size,
    protected: String(isUsersProtected(snapshot)),
    timestamp: timeText(snapshot),
    ...(all ? { namespace: namespaceJson(snapshot.namespace) } : {}),
  };
}

const isUsersProtected = (snapshot: SnapshotInfo) =>
  snapshot.namespace.type === 'user' && snapshot.protected;

/** Of times from before there were any. */
const timeText = ({ timestamp }: SnapshotInfo) =>
  timestamp.getTime() < 1000 ? '' : formatTime(timestamp);

type Mirror = Extract<SnapshotNamespace, { type: 'mirror' }>;

function namespaceText(namespace: SnapshotNamespace, objectCount: number): string {
  switch (namespace.type) {
    case 'group': {
      const { pool, group, groupSnapshot } = namespace;
      if (group === undefined || groupSnapshot === undefined) return 'group';
      return `group (${pool ?? ''}/${group}@${groupSnapshot})`;
    }
    case 'trash':
      return `trash (${namespace.originalName})`;
    case 'mirror':
      return `mirror (${mirrorStateText(namespace)} ${mirrorPeersText(namespace, objectCount)})`;
    default:
      return namespace.type;
  }
}

function mirrorPeersText(namespace: Mirror, objectCount: number): string {
  const peers = `peer_uuids:[${namespace.peerUuids.join(',')}]`;
  if (!isNonPrimary(namespace)) return peers;
  const origin = `${namespace.primaryUuid}:${namespace.primarySnapId}`;
  if (namespace.complete) return `${peers} ${origin} copied`;
  const copied = Number(namespace.lastCopiedObject);
  const share =
    objectCount > 0 ? `${Math.min(100, Math.floor((100 * copied) / objectCount))}%` : 'not';
  return `${peers} ${origin} ${share} copied`;
}

const isNonPrimary = ({ state }: Mirror) => state.startsWith('non-primary');

const mirrorStateText = ({ state }: Mirror) => (state.endsWith('demoted') ? 'demoted' : state);

function namespaceJson(namespace: SnapshotNamespace): Record<string, unknown> {
  const { type } = namespace;
  switch (type) {
    case 'group': {
      const { pool, group, groupSnapshot } = namespace;
      if (group === undefined || groupSnapshot === undefined) return { type };
      return { type, pool: pool ?? '', group, 'group snap': groupSnapshot };
    }
    case 'trash':
      return { type, original_name: namespace.originalName };
    case 'mirror':
      return {
        type,
        state: mirrorStateText(namespace),
        mirror_peer_uuids: namespace.peerUuids,
        complete: namespace.complete,
        ...(isNonPrimary(namespace)
          ? {
              primary_mirror_uuid: namespace.primaryUuid,
              primary_snap_id: namespace.primarySnapId,
              last_copied_object_number: namespace.lastCopiedObject,
            }
          : {}),
      };
    default:
      return { type };
  }
}
