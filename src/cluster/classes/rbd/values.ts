/** The values that class `rbd` keeps in omap, and how it reads and writes them (`cls/rbd/cls_rbd_types.h`). */

import {
  type Codec,
  encodeWith,
  type Infer,
  list,
  optional,
  record,
  s64n,
  struct,
  u8,
  u32,
  u64,
} from '../../../encoding/codec.js';
import { DecodeError, Decoder } from '../../../encoding/decoder.js';
import { NOSNAP, utime, ZERO_TIME } from '../../../encoding/types.js';
import { byBytes, byteString, copyBytes } from '../../byte-string.js';
import { ClassError, type ClassObject } from '../class-registry.js';

const V1 = { version: 1, compat: 1 } as const;

// ---- reading and writing keys ----

/** The decoded value of a key; undefined when there is none, EIO when it cannot be decoded. */
export function findKey<T>(object: ClassObject, key: string, codec: Codec<T>): T | undefined {
  const bytes = object.omapGet(key);
  return bytes === undefined ? undefined : decodeStored(codec, bytes);
}

/** As `findKey`, but a missing key is ENOENT. */
export function readKey<T>(object: ClassObject, key: string, codec: Codec<T>): T {
  const value = findKey(object, key, codec);
  if (value === undefined) throw new ClassError('ENOENT', key);
  return value;
}

export function decodeStored<T>(codec: Codec<T>, bytes: Uint8Array): T {
  try {
    return codec.decode(new Decoder(bytes));
  } catch (error) {
    if (error instanceof DecodeError) throw new ClassError('EIO', error.message);
    throw error;
  }
}

export function entry<T>(key: string, codec: Codec<T>, value: T): [string, Uint8Array] {
  return [key, encodeWith(codec, value)];
}

export function writeKey<T>(object: ClassObject, key: string, codec: Codec<T>, value: T): void {
  object.omapSet(entry(key, codec, value));
}

/** Removes a key; a missing object is fine. */
export function removeKey(object: ClassObject, key: string): void {
  if (object.exists) object.omapRemove(key);
}

export function requireExists(object: ClassObject): void {
  if (!object.exists) throw new ClassError('ENOENT');
}

/** Entries after `startAfter` under `prefix`, at most `max`, the prefix taken off the keys. */
export function listKeys(
  object: ClassObject,
  prefix: string,
  startAfter: string,
  max: bigint,
): [string, Uint8Array][] {
  const found: [string, Uint8Array][] = [];
  for (const [key, value] of object.omapEntries(prefix + startAfter, prefix)) {
    if (BigInt(found.length) >= max) break;
    found.push([key.slice(prefix.length), value]);
  }
  return found;
}

// ---- features ----

export const FEATURE = {
  LAYERING: 0x1n,
  STRIPINGV2: 0x2n,
  EXCLUSIVE_LOCK: 0x4n,
  OBJECT_MAP: 0x8n,
  FAST_DIFF: 0x10n,
  DEEP_FLATTEN: 0x20n,
  JOURNALING: 0x40n,
  DATA_POOL: 0x80n,
  OPERATIONS: 0x100n,
  MIGRATING: 0x200n,
  NON_PRIMARY: 0x400n,
  DIRTY_CACHE: 0x800n,
} as const;

export const FEATURES_ALL = 0xfffn;
/** What a reader must understand; a writer must understand all. */
export const FEATURES_INCOMPATIBLE = 0x883n;
export const FEATURES_INTERNAL = FEATURE.OPERATIONS | FEATURE.MIGRATING;
export const FEATURES_MUTABLE = 0xc5cn;
export const FEATURES_DISABLE_ONLY = FEATURE.DEEP_FLATTEN;

export const OP_FEATURE = {
  CLONE_PARENT: 1n,
  CLONE_CHILD: 2n,
  GROUP: 4n,
  SNAP_TRASH: 8n,
} as const;
export const OP_FEATURES_ALL = 0xfn;

/** ENOEXEC unless the image has the features. */
export function requireFeature(object: ClassObject, feature: bigint): void {
  if (!hasFeature(object, feature)) throw new ClassError('ENOEXEC');
}

export function hasFeature(object: ClassObject, feature: bigint): boolean {
  const features = findKey(object, 'features', u64);
  return features !== undefined && (features & feature) === feature;
}

/** Op features and the feature bit OPERATIONS, which says that there are any, change together. */
export function setOpFeatures(object: ClassObject, bits: bigint, mask: bigint): void {
  const features = readKey(object, 'features', u64);
  const before = findKey(object, 'op_features', u64) ?? 0n;
  const after = (before & ~mask) | (bits & mask);
  if (after === before) return;
  if (after === 0n) removeKey(object, 'op_features');
  else writeKey(object, 'op_features', u64, after);
  const newFeatures = after === 0n ? features & ~FEATURE.OPERATIONS : features | FEATURE.OPERATIONS;
  if (newFeatures !== features) writeKey(object, 'features', u64, newFeatures);
}

// ---- snapshots ----

export const SNAP_NAMESPACE = { USER: 0, GROUP: 1, TRASH: 2, MIRROR: 3 } as const;

/** A snapshot's namespace: the payload of types that this class does not look into is kept as it came. */
export interface SnapNamespace {
  type: number;
  payload: Uint8Array;
}

export const USER_NAMESPACE: SnapNamespace = {
  type: SNAP_NAMESPACE.USER,
  payload: new Uint8Array(0),
};

const groupPayload = record('GroupSnapshotNamespace', {
  pool: s64n,
  group: byteString,
  snapshot: byteString,
});
export const trashPayload = record('TrashSnapshotNamespace', {
  originalName: byteString,
  originalType: u32,
});
const mirrorPayload = record('MirrorSnapshotNamespace', {
  state: u8,
  complete: u8,
  peers: list(byteString),
  primaryUuid: byteString,
  primarySnap: u64,
  lastCopiedObject: u64,
  snapSeqs: list(record('snap_seq', { from: u64, to: u64 })),
});

const namespacePayloads: Partial<Record<number, Codec<unknown>>> = {
  [SNAP_NAMESPACE.GROUP]: groupPayload as Codec<unknown>,
  [SNAP_NAMESPACE.TRASH]: trashPayload as Codec<unknown>,
  [SNAP_NAMESPACE.MIRROR]: mirrorPayload as Codec<unknown>,
};

export const snapNamespace: Codec<SnapNamespace> = {
  minBytes: 10,
  decode: (decoder) =>
    decoder.struct('SnapshotNamespace', 1, () => {
      const type = decoder.u32();
      const start = decoder.offset;
      namespacePayloads[type]?.decode(decoder);
      return { type, payload: copyBytes(decoder.bytes.subarray(start, decoder.offset)) };
    }),
  encode(encoder, { type, payload }) {
    encoder.struct(1, 1, () => encoder.u32(type).raw(payload));
  },
  sample: () => USER_NAMESPACE,
};

export function isKnownNamespace({ type }: SnapNamespace): boolean {
  return type <= SNAP_NAMESPACE.MIRROR;
}

export function sameNamespace(a: SnapNamespace, b: SnapNamespace): boolean {
  return a.type === b.type && Buffer.compare(a.payload, b.payload) === 0;
}

// ---- parents ----

export const parentSpec = struct('ParentImageSpec', V1, {
  pool: s64n,
  nspace: byteString,
  image: byteString,
  snap: u64,
});
export type ParentSpec = Infer<typeof parentSpec>;

export interface Parent extends ParentSpec {
  /** Bytes of the head that the parent still backs; undefined when only snapshots need the parent. */
  headOverlap: bigint | undefined;
}

export const NO_PARENT: Parent = {
  pool: -1,
  nspace: '',
  image: '',
  snap: NOSNAP,
  headOverlap: undefined,
};

/** `cls_rbd_parent`: version 2 since Nautilus; version 1 has no namespace and always an overlap. */
export const parentRecord: Codec<Parent> = {
  minBytes: 6,
  decode: (decoder) =>
    decoder.struct('cls_rbd_parent', 2, (version) => {
      const pool = decoder.s64n();
      const nspace = version >= 2 ? byteString.decode(decoder) : '';
      const image = byteString.decode(decoder);
      const snap = decoder.u64();
      const headOverlap = version >= 2 ? optional(u64).decode(decoder) : decoder.u64();
      return { pool, nspace, image, snap, headOverlap };
    }),
  encode(encoder, { pool, nspace, image, snap, headOverlap }) {
    encoder.struct(2, 2, () => {
      encoder.s64n(pool);
      byteString.encode(encoder, nspace);
      byteString.encode(encoder, image);
      encoder.u64(snap);
      optional(u64).encode(encoder, headOverlap);
    });
  },
  sample: () => NO_PARENT,
};

export function parentExists({ pool, image, snap }: Parent): boolean {
  return pool >= 0 && image !== '' && snap !== NOSNAP;
}

// ---- snapshot records ----

export interface Snap {
  id: bigint;
  name: string;
  imageSize: bigint;
  protectionStatus: number;
  flags: bigint;
  nspace: SnapNamespace;
  timestamp: { sec: number; nsec: number };
  childCount: number;
  parentOverlap: bigint | undefined;
  /** Records before Nautilus carried the whole parent; on the next write it moves to its own key. */
  legacyParent: Parent;
}

const SNAP_VERSION = 8;

/** `cls_rbd_snap`. Version 8 dropped the image's features and the parent, and has only the overlap. */
export const snapRecord: Codec<Snap> = {
  minBytes: 6,
  decode: (decoder) =>
    decoder.struct('cls_rbd_snap', SNAP_VERSION, (version) => {
      const legacy = version < SNAP_VERSION;
      const id = decoder.u64();
      const name = byteString.decode(decoder);
      const imageSize = decoder.u64();
      if (legacy) decoder.u64();
      const legacyParent = legacy && version >= 2 ? parentRecord.decode(decoder) : NO_PARENT;
      return {
        id,
        name,
        imageSize,
        legacyParent,
        protectionStatus: version >= 3 ? decoder.u8() : 0,
        flags: version >= 4 ? decoder.u64() : 0n,
        nspace: version >= 5 ? snapNamespace.decode(decoder) : USER_NAMESPACE,
        timestamp: version >= 6 ? utime.decode(decoder) : ZERO_TIME,
        childCount: version >= 7 ? decoder.u32() : 0,
        parentOverlap: version >= 8 ? optional(u64).decode(decoder) : undefined,
      };
    }),
  encode(encoder, snap) {
    encoder.struct(SNAP_VERSION, SNAP_VERSION, () => {
      encoder.u64(snap.id);
      byteString.encode(encoder, snap.name);
      encoder.u64(snap.imageSize).u8(snap.protectionStatus).u64(snap.flags);
      snapNamespace.encode(encoder, snap.nspace);
      utime.encode(encoder, snap.timestamp);
      encoder.u32(snap.childCount);
      optional(u64).encode(encoder, snap.parentOverlap);
    });
  },
  sample: (draw) => ({
    id: u64.sample(draw),
    name: byteString.sample(draw),
    imageSize: u64.sample(draw),
    protectionStatus: draw(3),
    flags: BigInt(draw(4)),
    nspace: USER_NAMESPACE,
    timestamp: utime.sample(draw),
    childCount: draw(3),
    parentOverlap: draw(2) ? u64.sample(draw) : undefined,
    legacyParent: NO_PARENT,
  }),
};

export const SNAP_PREFIX = 'snapshot_';

export function snapKey(id: bigint): string {
  return SNAP_PREFIX + id.toString(16).padStart(16, '0');
}

export function snapChildrenKey(id: bigint): string {
  return `snap_children_${id.toString(16).padStart(16, '0')}`;
}

export function readSnap(object: ClassObject, id: bigint): Snap {
  return readKey(object, snapKey(id), snapRecord);
}

export function allSnaps(object: ClassObject): Snap[] {
  const snaps: Snap[] = [];
  for (const [, bytes] of object.omapEntries(SNAP_PREFIX, SNAP_PREFIX)) {
    snaps.push(decodeStored(snapRecord, bytes));
  }
  return snaps;
}

/** Writes a snapshot's record; a whole parent in it becomes the image's `parent` key and an overlap. */
export function writeSnap(object: ClassObject, snap: Snap): void {
  const { legacyParent } = snap;
  if (parentExists(legacyParent)) {
    const stored = findKey(object, 'parent', parentRecord) ?? NO_PARENT;
    if (!parentExists(stored)) {
      writeKey(object, 'parent', parentRecord, { ...legacyParent, headOverlap: undefined });
    }
    snap = { ...snap, parentOverlap: legacyParent.headOverlap, legacyParent: NO_PARENT };
  }
  writeKey(object, snapKey(snap.id), snapRecord, snap);
}

export function snapHasParent({ legacyParent, parentOverlap }: Snap): boolean {
  return legacyParent.pool !== -1 || parentOverlap !== undefined;
}

// ---- children ----

/** Version 2 has the namespace, which version 1 lacked; readers of version 1 skip it. */
export const childSpec: Codec<ChildSpec> = {
  minBytes: 6,
  decode: (decoder) =>
    decoder.struct('ChildImageSpec', 2, (version) => ({
      pool: decoder.s64n(),
      image: byteString.decode(decoder),
      nspace: version >= 2 ? byteString.decode(decoder) : '',
    })),
  encode(encoder, { pool, image, nspace }) {
    encoder.struct(2, 1, () => {
      encoder.s64n(pool);
      byteString.encode(encoder, image);
      byteString.encode(encoder, nspace);
    });
  },
  sample: (draw) => ({ pool: draw(9), image: byteString.sample(draw), nspace: '' }),
};

export interface ChildSpec {
  pool: number;
  image: string;
  nspace: string;
}

export const childSpecs = list(childSpec);

export function compareChildren(a: ChildSpec, b: ChildSpec): number {
  return a.pool - b.pool || byBytes(a.nspace, b.nspace) || byBytes(a.image, b.image);
}
