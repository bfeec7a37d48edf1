/** On `rbd_header.ID`: what the head of an image is. */

import { record, s64n, string, u8, u64, u64n } from '../../encoding/codec.js';
import { NOSNAP, snapContext, utime } from '../../encoding/types.js';
import { reads, writes } from './calls.js';

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

/** Features of `mask` become as in `features`. EINVAL: some of them cannot be switched; what depends on what is not checked. */
export const setFeatures = (features: bigint, mask: bigint) =>
  writes('set_features', (e) => e.u64(features).u64(mask));
/** Flags of `mask` become as in `flags`, of the head or of a snapshot (ENOENT: there is none of that id). */
export const setFlags = (flags: bigint, mask: bigint, snapId = NOSNAP) =>
  writes('set_flags', (e) => e.u64(flags).u64(mask).u64(snapId));
/** Of `mask`, as in `opFeatures`; feature `operations` follows by itself. */
export const setOpFeatures = (opFeatures: bigint, mask: bigint) =>
  writes('op_features_set', (e) => e.u64(opFeatures).u64(mask));
export const setAccessTimestamp = () => writes('set_access_timestamp');
export const setModifyTimestamp = () => writes('set_modify_timestamp');
