/** Class `rbd`, the image's snapshots. */

import { encodeWith, u64 } from '../../../encoding/codec.js';
import { encode } from '../../../encoding/encoder.js';
import { formatUuid, MAXSNAP, NOSNAP, utime } from '../../../encoding/types.js';
import { byteString, copyBytes, latin1Bytes } from '../../byte-string.js';
import { ClassError, type ClassObject, readMethod, writeMethod } from '../class-registry.js';
import {
  allSnaps,
  FEATURE,
  findKey,
  isKnownNamespace,
  NO_PARENT,
  OP_FEATURE,
  parentExists,
  parentRecord,
  readKey,
  readSnap,
  removeKey,
  requireExists,
  requireFeature,
  SNAP_NAMESPACE,
  SNAP_PREFIX,
  type Snap,
  sameNamespace,
  setOpFeatures,
  snapHasParent,
  snapKey,
  snapNamespace,
  snapRecord,
  trashPayload,
  USER_NAMESPACE,
  writeKey,
  writeSnap,
} from './values.js';

const PROTECTION = { UNPROTECTED: 0, UNPROTECTING: 1, PROTECTED: 2 } as const;
const NO_LIMIT = 0xffff_ffff_ffff_ffffn;

/** Reads a snapshot that a client named; the head is no snapshot. */
function snapOf(object: ClassObject, id: bigint): Snap {
  if (id === NOSNAP) throw new ClassError('EINVAL');
  return readSnap(object, id);
}

const snapshotGet = readMethod((object, input) => {
  const snap = snapOf(object, input.u64());
  return encode((e) =>
    e.struct(1, 1, () => {
      e.u64(snap.id);
      snapNamespace.encode(e, snap.nspace);
      byteString.encode(e, snap.name);
      e.u64(snap.imageSize);
      utime.encode(e, snap.timestamp);
      e.u32(snap.childCount);
    }),
  );
});

const snapshotAdd = writeMethod((object, input) => {
  const name = byteString.decode(input);
  const id = input.u64();
  const nspace = input.remaining > 0 ? snapNamespace.decode(input) : USER_NAMESPACE;
  if (!isKnownNamespace(nspace) || id > MAXSNAP) throw new ClassError('EINVAL');
  // An older id means that another client's snapshot came first.
  if (id < readKey(object, 'snap_seq', u64)) throw new ClassError('ESTALE');
  const imageSize = readKey(object, 'size', u64);
  const flags = findKey(object, 'flags', u64) ?? 0n;
  const limit = findKey(object, 'snap_limit', u64) ?? NO_LIMIT;
  let count = 0n;
  for (const other of allSnaps(object)) {
    count++;
    if (count >= limit) throw new ClassError('EDQUOT');
    const sameName = other.name === name && sameNamespace(other.nspace, nspace);
    if (sameName || other.id === id) throw new ClassError('EEXIST');
  }
  if (nspace.type === SNAP_NAMESPACE.TRASH) {
    setOpFeatures(object, OP_FEATURE.SNAP_TRASH, OP_FEATURE.SNAP_TRASH);
  }
  const parent = findKey(object, 'parent', parentRecord) ?? NO_PARENT;
  writeKey(object, 'snap_seq', u64, id);
  writeKey(object, snapKey(id), snapRecord, {
    id,
    name,
    imageSize,
    protectionStatus: PROTECTION.UNPROTECTED,
    flags,
    nspace,
    timestamp: object.now(),
    childCount: 0,
    parentOverlap: parentExists(parent) ? parent.headOverlap : undefined,
    legacyParent: NO_PARENT,
  });
});

const snapshotRename = writeMethod((object, input) => {
  const id = input.u64();
  const name = byteString.decode(input);
  const taken = allSnaps(object).some(
    (snap) => snap.nspace.type === SNAP_NAMESPACE.USER && snap.name === name,
  );
  if (taken) throw new ClassError('EEXIST');
  const snap = readSnap(object, id);
  if (snap.nspace.type !== SNAP_NAMESPACE.USER) throw new ClassError('EINVAL');
  writeSnap(object, { ...snap, name });
});

const snapshotRemove = writeMethod((object, input) => {
  const id = input.u64();
  const snap = readSnap(object, id);
  if (snap.protectionStatus !== PROTECTION.UNPROTECTED || snap.childCount > 0) {
    throw new ClassError('EBUSY');
  }
  removeKey(object, snapKey(id));

  const others = allSnaps(object).filter((other) => other.id !== id);
  const snapsNeedParent = others.some(snapHasParent);
  const parent = findKey(object, 'parent', parentRecord) ?? NO_PARENT;
  const headNeedsParent = parentExists(parent) && parent.headOverlap !== undefined;
  if (parentExists(parent) && !headNeedsParent && !snapsNeedParent) removeKey(object, 'parent');

  const trashed = others.some((other) => other.nspace.type === SNAP_NAMESPACE.TRASH);
  let unused = 0n;
  if (!snapsNeedParent && !headNeedsParent) unused |= OP_FEATURE.CLONE_CHILD;
  if (!trashed) unused |= OP_FEATURE.SNAP_TRASH;
  if (unused !== 0n) setOpFeatures(object, 0n, unused);
});

const snapshotTrashAdd = writeMethod((object, input) => {
  const snap = readSnap(object, input.u64());
  if (snap.protectionStatus !== PROTECTION.UNPROTECTED) throw new ClassError('EBUSY');
  if (snap.nspace.type === SNAP_NAMESPACE.TRASH) throw new ClassError('EEXIST');
  setOpFeatures(object, OP_FEATURE.SNAP_TRASH, OP_FEATURE.SNAP_TRASH);
  const payload = encodeWith(trashPayload, {
    originalName: snap.name,
    originalType: snap.nspace.type,
  });
  writeSnap(object, {
    ...snap,
    name: randomUuid(object),
    nspace: { type: SNAP_NAMESPACE.TRASH, payload },
  });
});

/** A version 4 uuid. */
function randomUuid(object: ClassObject): string {
  const bytes = copyBytes(object.randomBytes(16));
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80;
  return formatUuid(bytes);
}

const getProtectionStatus = readMethod((object, input) => {
  const { protectionStatus } = snapOf(object, input.u64());
  if (protectionStatus > PROTECTION.PROTECTED) throw new ClassError('EIO');
  return Uint8Array.of(protectionStatus);
});

const setProtectionStatus = writeMethod((object, input) => {
  const id = input.u64();
  const protectionStatus = input.u8();
  requireExists(object);
  requireFeature(object, FEATURE.LAYERING);
  if (id === NOSNAP || protectionStatus > PROTECTION.PROTECTED) throw new ClassError('EINVAL');
  writeSnap(object, { ...readSnap(object, id), protectionStatus });
});

const snapshotSetLimit = writeMethod((object, input) => {
  const limit = input.u64();
  if (limit === NO_LIMIT) {
    object.omapRemove('snap_limit');
    return;
  }
  let count = 0n;
  for (const _ of object.omapEntries(SNAP_PREFIX, SNAP_PREFIX)) count++;
  if (limit < count) throw new ClassError('ERANGE');
  writeKey(object, 'snap_limit', u64, limit);
});

export const snapshotMethods = {
  snapshot_get: snapshotGet,
  snapshot_add: snapshotAdd,
  snapshot_rename: snapshotRename,
  snapshot_remove: snapshotRemove,
  snapshot_trash_add: snapshotTrashAdd,
  get_snapshot_name: readMethod((object, input) => {
    const { name } = snapOf(object, input.u64());
    return encode((e) => e.blob(latin1Bytes(name)));
  }),
  get_snapshot_timestamp: readMethod((object, input) => {
    const { timestamp } = snapOf(object, input.u64());
    return encode((e) => utime.encode(e, timestamp));
  }),
  get_protection_status: getProtectionStatus,
  set_protection_status: setProtectionStatus,
  snapshot_get_limit: readMethod((object) =>
    encode((e) => e.u64(findKey(object, 'snap_limit', u64) ?? NO_LIMIT)),
  ),
  snapshot_set_limit: snapshotSetLimit,
};
