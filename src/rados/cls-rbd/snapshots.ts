/** On `rbd_header.ID`: an image's snapshots. */

import {
  encodeWith,
  type Infer,
  string,
  struct,
  u8,
  u32,
  u64,
  u64n,
} from '../../encoding/codec.js';
import { utime } from '../../encoding/types.js';
import { reads, writes } from './calls.js';
import { type SnapNamespace, snapNamespace } from './snap-namespace.js';

const snapshotInfo = struct(
  'SnapshotInfo',
  { version: 1, compat: 1 },
  {
    id: u64,
    namespace: snapNamespace,
    name: string,
    imageSize: u64n,
    timestamp: utime,
    childCount: u32,
  },
);
export type SnapshotInfo = Infer<typeof snapshotInfo>;

/** ENOENT when the snapshot was removed. */
export const getSnapshot = (snapId: bigint) =>
  reads('snapshot_get', snapshotInfo, (e) => e.u64(snapId));
export const PROTECTION = { UNPROTECTED: 0, UNPROTECTING: 1, PROTECTED: 2 } as const;
/** ENOEXEC without feature layering. */
export const getProtectionStatus = (snapId: bigint) =>
  reads('get_protection_status', u8, (e) => e.u64(snapId));
/** All ones: no limit. */
export const getSnapshotLimit = () => reads('snapshot_get_limit', u64);

export const NO_SNAPSHOT_LIMIT = 0xffff_ffff_ffff_ffffn;

/**
 * Takes the id that the monitors gave. ESTALE: the image has had a higher one; EDQUOT: it has as many as it may; EEXIST: the
 * id, or the name in its namespace.
 */
export const addSnapshot = (name: string, snapId: bigint, namespace: SnapNamespace) =>
  writes('snapshot_add', (e) =>
    e.string(name).u64(snapId).raw(encodeWith(snapNamespace, namespace)),
  );
/** EBUSY: it is protected, or has clones. ENOENT. */
export const removeSnapshot = (snapId: bigint) => writes('snapshot_remove', (e) => e.u64(snapId));
/** EEXIST: a user's snapshot has the name; EINVAL: it is no user's snapshot itself; ENOENT. */
export const renameSnapshot = (snapId: bigint, name: string) =>
  writes('snapshot_rename', (e) => e.u64(snapId).string(name));
/** Hides it until its last clone is gone. EBUSY: it is protected; EEXIST: it is hidden already; ENOENT. */
export const trashSnapshot = (snapId: bigint) => writes('snapshot_trash_add', (e) => e.u64(snapId));
/** ENOEXEC without feature layering. */
export const setProtectionStatus = (snapId: bigint, status: number) =>
  writes('set_protection_status', (e) => e.u64(snapId).u8(status));
/** All ones: no limit. ERANGE: it has more already. */
export const setSnapshotLimit = (limit: bigint) =>
  writes('snapshot_set_limit', (e) => e.u64(limit));
