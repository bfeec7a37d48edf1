/**
 * `pg_pool_t`: a pool's settings (`osd/osd_types.cc`). Written as version 29, the form of Pacific to Squid; newer
 * versions only append (stretch-mode peering limits), and are read up to what we know.
 */

import {
  type Codec,
  type Infer,
  list,
  s32,
  s64n,
  since,
  string,
  struct,
  u8,
  u32,
  u64,
  u64n,
} from '../encoding/codec.js';
import { DecodeError } from '../encoding/decoder.js';
import { eversion, intervalSet, pgId, utime, ZERO_EVERSION, ZERO_TIME } from '../encoding/types.js';
import { byNumber, sortedList, sortedMap, stringMap } from './collections.js';

export const POOL_TYPE = { REPLICATED: 1, ERASURE: 3 } as const;

export const POOL_FLAG = {
  HASHPSPOOL: 0x1,
  FULL: 0x2,
  EC_OVERWRITES: 0x4,
  NODELETE: 0x10,
  NOPGCHANGE: 0x20,
  NOSIZECHANGE: 0x40,
  WRITE_FADVISE_DONTNEED: 0x80,
  NOSCRUB: 0x100,
  NODEEP_SCRUB: 0x200,
  FULL_QUOTA: 0x400,
  NEARFULL: 0x800,
  BACKFILLFULL: 0x1000,
  SELFMANAGED_SNAPS: 0x2000,
  POOL_SNAPS: 0x4000,
  CREATING: 0x8000,
  EIO: 0x10000,
  BULK: 0x20000,
} as const;

export const OBJECT_HASH = { LINUX: 1, RJENKINS: 2 } as const;

export const poolSnapInfo = struct(
  'pool_snap_info_t',
  { version: 2, compat: 2 },
  { snapid: u64, stamp: utime, name: string },
);
export type PoolSnapInfo = Infer<typeof poolSnapInfo>;

/** A pool option's value; the JavaScript type is the wire type: string, 64-bit integer, double. */
export type PoolOption = string | bigint | number;

const OPTION_TYPE = { STRING: 0, INT: 1, DOUBLE: 2 } as const;

const poolOption: Codec<PoolOption> = {
  minBytes: 8,
  decode(decoder) {
    const at = decoder.offset;
    const type = decoder.s32();
    if (type === OPTION_TYPE.STRING) return decoder.string();
    if (type === OPTION_TYPE.INT) return decoder.s64();
    if (type === OPTION_TYPE.DOUBLE) return decoder.f64();
    throw new DecodeError(`option of unknown type ${type}`, at);
  },
  encode(encoder, value) {
    if (typeof value === 'string') encoder.s32(OPTION_TYPE.STRING).string(value);
    else if (typeof value === 'bigint') encoder.s32(OPTION_TYPE.INT).s64(value);
    else encoder.s32(OPTION_TYPE.DOUBLE).f64(value);
  },
  sample: (draw) => [string.sample(draw), BigInt(draw(1000)), draw(1000) / 8][draw(3)] ?? '',
};

/** `pool_opts_t`: by option number (`pool_opts_t::key_t`). */
export const poolOptions = struct(
  'pool_opts_t',
  { version: 2, compat: 1 },
  { options: sortedMap(s32, poolOption, byNumber) },
);

/** A versioned structure that we carry without looking inside. */
const opaqueStruct: Codec<Uint8Array> = {
  minBytes: 6,
  decode(decoder) {
    const start = decoder.offset;
    decoder.take(2);
    decoder.take(decoder.u32());
    return new Uint8Array(decoder.bytes.subarray(start, decoder.offset));
  },
  encode: (encoder, bytes) => void encoder.raw(bytes),
  sample: () => NO_HIT_SET.slice(),
};

/** `HitSet::Params` of a pool without a hit set: version 1, compat 1, one byte TYPE_NONE. */
const NO_HIT_SET = Uint8Array.of(1, 1, 1, 0, 0, 0, 0);

const pgMergeMeta = struct(
  'pg_merge_meta_t',
  { version: 1, compat: 1 },
  {
    sourcePgid: pgId,
    readyEpoch: u32,
    lastEpochStarted: u32,
    lastEpochClean: u32,
    sourceVersion: eversion,
    targetVersion: eversion,
  },
);

const NO_MERGE: Infer<typeof pgMergeMeta> = {
  sourcePgid: { pool: 0, seed: 0 },
  readyEpoch: 0,
  lastEpochStarted: 0,
  lastEpochClean: 0,
  sourceVersion: ZERO_EVERSION,
  targetVersion: ZERO_EVERSION,
};

/** Quotas and targets are `bigint`: users may set any 64-bit value, and one odd pool must not cost the whole map. */
export const pgPool = struct(
  'pg_pool_t',
  { version: 29, compat: 5, reads: 32 },
  {
    type: u8,
    size: u8,
    crushRule: u8,
    objectHash: u8,
    pgNum: u32,
    pgpNum: u32,
    lpgNum: u32,
    lpgpNum: u32,
    lastChange: u32,
    snapSeq: u64,
    snapEpoch: u32,
    snaps: sortedMap(u64, poolSnapInfo, (a, b) => (a < b ? -1 : a > b ? 1 : 0)),
    removedSnaps: intervalSet,
    auid: u64,
    flags: u64n,
    crashReplayInterval: u32,
    minSize: u8,
    quotaMaxBytes: u64,
    quotaMaxObjects: u64,
    tiers: sortedList(list(u64n), byNumber),
    tierOf: s64n,
    cacheMode: u8,
    readTier: s64n,
    writeTier: s64n,
    properties: stringMap(string),
    hitSetParams: opaqueStruct,
    hitSetPeriod: u32,
    hitSetCount: u32,
    stripeWidth: u32,
    targetMaxBytes: u64,
    targetMaxObjects: u64,
    cacheTargetDirtyRatioMicro: u32,
    cacheTargetFullRatioMicro: u32,
    cacheMinFlushAge: u32,
    cacheMinEvictAge: u32,
    erasureCodeProfile: string,
    lastForceOpResendPreluminous: u32,
    minReadRecencyForPromote: u32,
    expectedNumObjects: u64,
    cacheTargetDirtyHighRatioMicro: u32,
    minWriteRecencyForPromote: u32,
    useGmtHitset: u8,
    fastRead: u8,
    hitSetGradeDecayRate: s32,
    hitSetSearchLastN: u32,
    opts: poolOptions,
    lastForceOpResendPrenautilus: u32,
    applicationMetadata: stringMap(stringMap(string)),
    createTime: utime,
    pgNumTarget: since(28, u32, () => 0),
    pgpNumTarget: since(28, u32, () => 0),
    pgNumPending: since(28, u32, () => 0),
    // Two words of Nautilus pre-releases, replaced by pg_merge_meta_t and always 0.
    pgNumDecLastEpochStarted: since(28, u32, () => 0),
    pgNumDecLastEpochClean: since(28, u32, () => 0),
    lastForceOpResend: since(28, u32, () => 0),
    pgAutoscaleMode: since(28, u8, () => 0),
    lastPgMergeMeta: since(29, pgMergeMeta, () => NO_MERGE),
    // Versions 30 and up append the peering limits of stretch mode: they bind OSDs, not clients, and are skipped.
  },
);
export type PgPool = Infer<typeof pgPool>;

export interface NewPool {
  type?: number;
  size: number;
  minSize?: number;
  crushRule?: number;
  pgNum: number;
  pgpNum?: number;
  flags?: number;
  erasureCodeProfile?: string;
  stripeWidth?: number;
  /** e.g. `['rbd']`. */
  applications?: readonly string[];
}

/** A pool as a 16.2 monitor creates it. */
export function createPool(pool: NewPool): PgPool {
  const pgpNum = pool.pgpNum ?? pool.pgNum;
  return {
    type: pool.type ?? POOL_TYPE.REPLICATED,
    size: pool.size,
    crushRule: pool.crushRule ?? 0,
    objectHash: OBJECT_HASH.RJENKINS,
    pgNum: pool.pgNum,
    pgpNum,
    lpgNum: 0,
    lpgpNum: 0,
    lastChange: 0,
    snapSeq: 0n,
    snapEpoch: 0,
    snaps: new Map(),
    removedSnaps: [],
    auid: 0n,
    flags: pool.flags ?? POOL_FLAG.HASHPSPOOL,
    crashReplayInterval: 0,
    minSize: pool.minSize ?? pool.size - Math.floor(pool.size / 2),
    quotaMaxBytes: 0n,
    quotaMaxObjects: 0n,
    tiers: [],
    tierOf: -1,
    cacheMode: 0,
    readTier: -1,
    writeTier: -1,
    properties: new Map(),
    hitSetParams: NO_HIT_SET,
    hitSetPeriod: 0,
    hitSetCount: 0,
    stripeWidth: pool.stripeWidth ?? 0,
    targetMaxBytes: 0n,
    targetMaxObjects: 0n,
    cacheTargetDirtyRatioMicro: 400_000,
    cacheTargetFullRatioMicro: 800_000,
    cacheMinFlushAge: 0,
    cacheMinEvictAge: 0,
    erasureCodeProfile: pool.erasureCodeProfile ?? '',
    lastForceOpResendPreluminous: 0,
    minReadRecencyForPromote: 0,
    expectedNumObjects: 0n,
    cacheTargetDirtyHighRatioMicro: 600_000,
    minWriteRecencyForPromote: 0,
    useGmtHitset: 1,
    fastRead: 0,
    hitSetGradeDecayRate: 0,
    hitSetSearchLastN: 0,
    opts: { options: new Map() },
    lastForceOpResendPrenautilus: 0,
    applicationMetadata: new Map((pool.applications ?? []).map((name) => [name, new Map()])),
    createTime: ZERO_TIME,
    pgNumTarget: pool.pgNum,
    pgpNumTarget: pgpNum,
    pgNumPending: pool.pgNum,
    pgNumDecLastEpochStarted: 0,
    pgNumDecLastEpochClean: 0,
    lastForceOpResend: 0,
    pgAutoscaleMode: 0,
    lastPgMergeMeta: NO_MERGE,
  };
}

/** In replicated pools a missing OSD closes up the list; in erasure-coded ones the place is the shard. */
export function canShiftOsds(pool: PgPool): boolean {
  return pool.type !== POOL_TYPE.ERASURE;
}
