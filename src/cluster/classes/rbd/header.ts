/** Class `rbd`, the image's header: size, features, flags, striping, timestamps. */

import { bool, s64n, u8, u64 } from '../../../encoding/codec.js';
import { encode } from '../../../encoding/encoder.js';
import { NOSNAP, utime, ZERO_TIME } from '../../../encoding/types.js';
import { byteString } from '../../byte-string.js';
import { ClassError, type ClassObject, readMethod, writeMethod } from '../class-registry.js';
import {
  entry,
  FEATURE,
  FEATURES_ALL,
  FEATURES_DISABLE_ONLY,
  FEATURES_INCOMPATIBLE,
  FEATURES_INTERNAL,
  FEATURES_MUTABLE,
  findKey,
  OP_FEATURES_ALL,
  parentExists,
  parentRecord,
  readKey,
  readSnap,
  requireExists,
  requireFeature,
  SNAP_PREFIX,
  setOpFeatures,
  writeKey,
  writeSnap,
} from './values.js';

const NO_DATA_POOL = -1;

const create = writeMethod((object, input) => {
  const size = input.u64();
  const order = input.u8();
  const features = input.u64();
  const prefix = byteString.decode(input);
  const dataPool = input.remaining > 0 ? input.s64n() : NO_DATA_POOL;
  if (features & ~FEATURES_ALL) throw new ClassError('ENOSYS');
  if (prefix === '') throw new ClassError('EINVAL', 'empty object prefix');
  if (object.omapGet('object_prefix') !== undefined) throw new ClassError('EEXIST');
  if (features & FEATURE.OPERATIONS) throw new ClassError('EINVAL', 'internal feature');
  const hasDataPool = (features & FEATURE.DATA_POOL) !== 0n;
  if (hasDataPool !== (dataPool !== NO_DATA_POOL)) throw new ClassError('EINVAL', 'data pool');
  const now = object.now();
  object.omapSet(
    entry('size', u64, size),
    entry('order', u8, order),
    entry('features', u64, features),
    entry('object_prefix', byteString, prefix),
    entry('snap_seq', u64, 0n),
    entry('create_timestamp', utime, now),
    entry('access_timestamp', utime, now),
    entry('modify_timestamp', utime, now),
  );
  if (hasDataPool) writeKey(object, 'data_pool_id', s64n, dataPool);
});

const getSize = readMethod((object, input) => {
  const snap = input.u64();
  const order = readKey(object, 'order', u8);
  const size = snap === NOSNAP ? readKey(object, 'size', u64) : readSnap(object, snap).imageSize;
  return encode((e) => e.u8(order).u64(size));
});

const setSize = writeMethod((object, input) => {
  const size = input.u64();
  const before = readKey(object, 'size', u64);
  writeKey(object, 'size', u64, size);
  if (size >= before) return;
  // What was cut off no longer comes from the parent, not even when the image grows again.
  const parent = findKey(object, 'parent', parentRecord);
  if (parent && parentExists(parent) && (parent.headOverlap ?? 0n) > size) {
    writeKey(object, 'parent', parentRecord, { ...parent, headOverlap: size });
  }
});

const getFeatures = readMethod((object, input) => {
  input.u64();
  const readOnly = input.remaining > 0 && bool.decode(input);
  const features = readKey(object, 'features', u64);
  const incompatible = features & (readOnly ? FEATURES_INCOMPATIBLE : FEATURES_ALL);
  return encode((e) => e.u64(features).u64(incompatible));
});

const setFeatures = writeMethod((object, input) => {
  const features = input.u64();
  const asked = input.u64();
  const before = findKey(object, 'features', u64) ?? 0n;
  if (asked & FEATURES_INTERNAL) throw new ClassError('EINVAL', 'internal feature');
  const mask = asked & FEATURES_ALL;
  if (features & mask & ~FEATURES_MUTABLE) throw new ClassError('EINVAL', 'immutable feature');
  if (~features & mask & ~(FEATURES_MUTABLE | FEATURES_DISABLE_ONLY)) {
    throw new ClassError('EINVAL', 'immutable feature');
  }
  writeKey(object, 'features', u64, (before & ~mask) | (features & mask));
});

const getFlags = readMethod((object, input) => {
  const snap = input.u64();
  const flags =
    snap === NOSNAP ? (findKey(object, 'flags', u64) ?? 0n) : readSnap(object, snap).flags;
  return encode((e) => e.u64(flags));
});

const setFlags = writeMethod((object, input) => {
  const flags = input.u64();
  const mask = input.u64();
  const snapid = input.remaining > 0 ? input.u64() : NOSNAP;
  const changed = (before: bigint) => (before & ~mask) | (flags & mask);
  if (snapid === NOSNAP) {
    writeKey(object, 'flags', u64, changed(findKey(object, 'flags', u64) ?? 0n));
  } else {
    const snap = readSnap(object, snapid);
    writeSnap(object, { ...snap, flags: changed(snap.flags) });
  }
});

const opFeaturesSet = writeMethod((object, input) => {
  const features = input.u64();
  const mask = input.u64();
  if (mask & ~OP_FEATURES_ALL) throw new ClassError('EINVAL', 'unknown op feature');
  setOpFeatures(object, features, mask);
});

const getSnapContext = readMethod((object) => {
  const ids: bigint[] = [];
  for (const [key] of object.omapEntries(SNAP_PREFIX, SNAP_PREFIX)) {
    ids.push(BigInt(`0x${key.slice(SNAP_PREFIX.length)}`));
  }
  const seq = readKey(object, 'snap_seq', u64);
  return encode((e) => {
    e.u64(seq).u32(ids.length);
    for (const id of ids.reverse()) e.u64(id);
  });
});

const getStripeUnitCount = readMethod((object) => {
  requireExists(object);
  requireFeature(object, FEATURE.STRIPINGV2);
  const unit = findKey(object, 'stripe_unit', u64) ?? 1n << BigInt(orderOrEio(object));
  const count = findKey(object, 'stripe_count', u64) ?? 1n;
  return encode((e) => e.u64(unit).u64(count));
});

function orderOrEio(object: ClassObject): number {
  const order = findKey(object, 'order', u8);
  if (order === undefined) throw new ClassError('EIO', 'no order');
  return order;
}

const setStripeUnitCount = writeMethod((object, input) => {
  const unit = input.u64();
  const count = input.u64();
  if (unit === 0n || count === 0n) throw new ClassError('EINVAL');
  requireExists(object);
  requireFeature(object, FEATURE.STRIPINGV2);
  const objectBytes = 1n << BigInt(readKey(object, 'order', u8));
  if (objectBytes % unit !== 0n) throw new ClassError('EINVAL', 'stripe unit');
  object.omapSet(entry('stripe_unit', u64, unit), entry('stripe_count', u64, count));
});

const getTimestamp = (key: string) =>
  readMethod((object) => {
    const { sec, nsec } = findKey(object, key, utime) ?? ZERO_TIME;
    return encode((e) => e.u32(sec).u32(nsec));
  });

const touchTimestamp = (key: string) =>
  writeMethod((object) => {
    requireExists(object);
    writeKey(object, key, utime, object.now());
  });

export const headerMethods = {
  create,
  get_size: getSize,
  set_size: setSize,
  get_features: getFeatures,
  set_features: setFeatures,
  get_all_features: readMethod(() => encode((e) => e.u64(FEATURES_ALL))),
  get_flags: getFlags,
  set_flags: setFlags,
  op_features_get: readMethod((object) =>
    encode((e) => e.u64(findKey(object, 'op_features', u64) ?? 0n)),
  ),
  op_features_set: opFeaturesSet,
  get_snapcontext: getSnapContext,
  get_object_prefix: readMethod((object) => {
    const prefix = readKey(object, 'object_prefix', byteString);
    return encode((e) => byteString.encode(e, prefix));
  }),
  get_data_pool: readMethod((object) =>
    encode((e) => e.s64n(findKey(object, 'data_pool_id', s64n) ?? NO_DATA_POOL)),
  ),
  get_stripe_unit_count: getStripeUnitCount,
  set_stripe_unit_count: setStripeUnitCount,
  get_create_timestamp: getTimestamp('create_timestamp'),
  get_access_timestamp: getTimestamp('access_timestamp'),
  get_modify_timestamp: getTimestamp('modify_timestamp'),
  set_access_timestamp: touchTimestamp('access_timestamp'),
  set_modify_timestamp: touchTimestamp('modify_timestamp'),
};
