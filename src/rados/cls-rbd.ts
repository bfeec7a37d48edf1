/**
 * The methods of object class `rbd` (`cls/rbd/cls_rbd.cc`): an image's header and the pool's directories.
 *
 * Which object a method belongs to is in the section headings; errors named here are the class's own.
 */

import {
  blob,
  type Codec,
  decodeFirst,
  encodeWith,
  type Infer,
  list,
  map,
  optional,
  record,
  s64n,
  since,
  string,
  struct,
  u8,
  u32,
  u64,
  u64n,
} from '../encoding/codec.js';
import { type Encoder, encode } from '../encoding/encoder.js';
import { NOSNAP, snapContext, utime } from '../encoding/types.js';
import { type ClassCall, classCall } from './class-call.js';

function reads<T>(
  method: string,
  codec: Codec<T>,
  input?: (encoder: Encoder) => unknown,
): ClassCall<T> {
  return classCall('rbd', method, input && encode(input), (out) => decodeFirst(codec, out));
}

function writes(method: string, input?: (encoder: Encoder) => unknown): ClassCall<void> {
  return classCall('rbd', method, input && encode(input), () => undefined);
}

// ---- structures ----

export const SNAP_NAMESPACE = { USER: 0, GROUP: 1, TRASH: 2, MIRROR: 3 } as const;

/** What kind of snapshot it is. The payload of kinds that are not read here is skipped. */
export interface SnapNamespace {
  type: number;
  /** Of a snapshot in the trash: what the user had called it. */
  originalName?: string;
}

const snapNamespace: Codec<SnapNamespace> = {
  minBytes: 6,
  decode: (decoder) =>
    decoder.struct('SnapshotNamespace', 1, () => {
      const type = decoder.u32();
      return type === SNAP_NAMESPACE.TRASH ? { type, originalName: decoder.string() } : { type };
    }),
  encode(encoder, value) {
    if (value.type !== SNAP_NAMESPACE.USER) {
      throw new TypeError(`snapshots of namespace ${value.type} are not written`);
    }
    encoder.struct(1, 1, () => encoder.u32(value.type));
  },
  sample: () => ({ type: SNAP_NAMESPACE.USER }),
};

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

const parentImageSpec = struct(
  'ParentImageSpec',
  { version: 1, compat: 1 },
  { poolId: s64n, poolNamespace: string, imageId: string, snapId: u64 },
);
export type ParentImageSpec = Infer<typeof parentImageSpec>;

/** Pool -1: in no group. */
const groupSpec = struct('GroupSpec', { version: 1, compat: 1 }, { poolId: s64n, groupId: string });

/** Why an image is in the trash. REMOVING: `rbd rm` passes through it. */
export const TRASH_SOURCE = {
  USER: 0,
  MIRRORING: 1,
  MIGRATION: 2,
  REMOVING: 3,
  USER_PARENT: 4,
} as const;
export const TRASH_STATE = { NORMAL: 0, MOVING: 1, REMOVING: 2, RESTORING: 3 } as const;

export const trashImageSpec = struct(
  'TrashImageSpec',
  { version: 2, compat: 1 },
  {
    source: u8,
    name: string,
    deletionTime: utime,
    defermentEndTime: utime,
    state: since(2, u8, () => TRASH_STATE.NORMAL as number),
  },
);
export type TrashImageSpec = Infer<typeof trashImageSpec>;

// ---- rbd_header.ID: reads ----

/** `order` is log2 of the object size. */
const orderAndSize = record('get_size', { order: u8, size: u64n });

/** Size of the head or, with its id, of a snapshot (ENOENT when there is none). */
export const getSize = (snapId = NOSNAP) => reads('get_size', orderAndSize, (e) => e.u64(snapId));

const featurePair = record('get_features', { features: u64, incompatible: u64 });

/** The image's features, and those of them that a client must know to open it (read-only or not). */
export const getFeatures = (readOnly: boolean) =>
  reads('get_features', featurePair, (e) => e.u64(NOSNAP).bool(readOnly));

export const getObjectPrefix = () => reads('get_object_prefix', string);
/** -1: the data lies in the image's own pool. */
export const getDataPool = () => reads('get_data_pool', s64n);
/** ENOEXEC without feature striping. */
export const getStripeUnitCount = () =>
  reads(
    'get_stripe_unit_count',
    record('get_stripe_unit_count', { stripeUnit: u64n, stripeCount: u64n }),
  );
export const getFlags = (snapId = NOSNAP) => reads('get_flags', u64, (e) => e.u64(snapId));
export const getOpFeatures = () => reads('op_features_get', u64);
/** `seq` and the ids, descending: what writes carry. */
export const getSnapContext = () => reads('get_snapcontext', snapContext);
export const getCreateTimestamp = () => reads('get_create_timestamp', utime);
export const getAccessTimestamp = () => reads('get_access_timestamp', utime);
export const getModifyTimestamp = () => reads('get_modify_timestamp', utime);
/** ENOENT when the snapshot was removed. */
export const getSnapshot = (snapId: bigint) =>
  reads('snapshot_get', snapshotInfo, (e) => e.u64(snapId));
export const PROTECTION = { UNPROTECTED: 0, UNPROTECTING: 1, PROTECTED: 2 } as const;
/** ENOEXEC without feature layering. */
export const getProtectionStatus = (snapId: bigint) =>
  reads('get_protection_status', u8, (e) => e.u64(snapId));
/** All ones: no limit. */
export const getSnapshotLimit = () => reads('snapshot_get_limit', u64);
/** An image without a parent answers pool -1. */
export const getParent = () => reads('parent_get', parentImageSpec);
/** Bytes from the start that the parent still backs, of the head or a snapshot; absent: none. */
export const getParentOverlap = (snapId = NOSNAP) =>
  reads('parent_overlap_get', optional(u64n), (e) => e.u64(snapId));

export const getImageGroup = () => reads('image_group_get', groupSpec);

// ---- rbd_header.ID: writes ----

const NO_POOL = -1;

export interface HeaderFields {
  size: number;
  order: number;
  features: bigint;
  objectPrefix: string;
  /** Only with feature data-pool, and then necessary. */
  dataPoolId?: number;
}

/** Writes a new header. EEXIST: it has one. ENOSYS: features that the class does not know. */
export const createHeader = (fields: HeaderFields) =>
  writes('create', (e) => {
    e.u64n(fields.size).u8(fields.order).u64(fields.features).string(fields.objectPrefix);
    e.s64n(fields.dataPoolId ?? NO_POOL);
  });
export const setSize = (size: number) => writes('set_size', (e) => e.u64n(size));
export const setStripeUnitCount = (stripeUnit: number, stripeCount: number) =>
  writes('set_stripe_unit_count', (e) => e.u64n(stripeUnit).u64n(stripeCount));

/** Up to `max` pairs after the key `startAfter`, in key order. */
export const listMetadata = (startAfter: string, max: number) =>
  reads('metadata_list', map(string, blob), (e) => e.string(startAfter).u64n(max));
export const getMetadata = (key: string) => reads('metadata_get', blob, (e) => e.string(key));
export const setMetadata = (pairs: ReadonlyMap<string, Uint8Array>) =>
  writes('metadata_set', (e) => {
    e.u32(pairs.size);
    for (const [key, value] of pairs) e.string(key).blob(value);
  });
/** A key that is not there is no error. */
export const removeMetadata = (key: string) => writes('metadata_remove', (e) => e.string(key));

// ---- rbd_id.NAME ----

export const getId = () => reads('get_id', string);
/** The object must have been created, in the same request for example. EEXIST: it has an id. */
export const setId = (id: string) => writes('set_id', (e) => e.string(id));

// ---- rbd_directory ----

export const DIRECTORY_STATE = { READY: 0, ADD_DISABLED: 1 } as const;

export const dirGetId = (name: string) => reads('dir_get_id', string, (e) => e.string(name));
/** Also of a group, in `rbd_group_directory`. */
export const dirGetName = (id: string) => reads('dir_get_name', string, (e) => e.string(id));
/** Name to id, up to `max` after the name `startAfter`, in name order. */
export const dirList = (startAfter: string, max: number) =>
  reads('dir_list', map(string, string), (e) => e.string(startAfter).u64n(max));
/** EEXIST: the name is taken; EBADF: the id is. */
export const dirAddImage = (name: string, id: string) =>
  writes('dir_add_image', (e) => e.string(name).string(id));
/** ESTALE unless name and id belong together. */
export const dirRemoveImage = (name: string, id: string) =>
  writes('dir_remove_image', (e) => e.string(name).string(id));
export const dirRenameImage = (from: string, to: string, id: string) =>
  writes('dir_rename_image', (e) => e.string(from).string(to).string(id));
/** ENOENT unless the directory is in this state. A namespace's directory has one; the default namespace's has not. */
export const dirStateAssert = (state: number) => writes('dir_state_assert', (e) => e.u8(state));
/** ADD_DISABLED: EBUSY while images are in it. */
export const dirStateSet = (state: number) => writes('dir_state_set', (e) => e.u8(state));

// ---- rbd_trash ----

export const trashGet = (id: string) => reads('trash_get', trashImageSpec, (e) => e.string(id));
export const trashList = (startAfterId: string, max: number) =>
  reads('trash_list', map(string, trashImageSpec), (e) => e.string(startAfterId).u64n(max));
/** EEXIST: it is there already. */
export const trashAdd = (id: string, spec: TrashImageSpec) =>
  writes('trash_add', (e) => e.string(id).raw(encodeWith(trashImageSpec, spec)));
export const trashRemove = (id: string) => writes('trash_remove', (e) => e.string(id));
/** ESTALE unless the state is `expected`, or `state` already. */
export const trashStateSet = (id: string, state: number, expected: number) =>
  writes('trash_state_set', (e) => e.string(id).u8(state).u8(expected));

// ---- rbd_namespace ----

export const namespaceList = (startAfter: string, max: number) =>
  reads('namespace_list', list(string), (e) => e.string(startAfter).u64n(max));
/** EEXIST. */
export const namespaceAdd = (name: string) => writes('namespace_add', (e) => e.string(name));
/** ENOENT. */
export const namespaceRemove = (name: string) => writes('namespace_remove', (e) => e.string(name));

// ---- rbd_mirroring ----

/** Forgets an image that was mirrored. ENOENT when it was not. */
export const mirrorImageRemove = (imageId: string) =>
  writes('mirror_image_remove', (e) => e.string(imageId));
