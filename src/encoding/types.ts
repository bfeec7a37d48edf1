/** Ceph's small common structures: times, ids, versions, locators (`include/`, `osd/osd_types.h`, `common/hobject.h`). */

import {
  type Codec,
  fixed,
  type Infer,
  list,
  mapped,
  record,
  s8,
  s32,
  s64,
  string,
  struct,
  tuple,
  u8,
  u32,
  u64,
} from './codec.js';
import { DecodeError } from './decoder.js';
import { entityName } from './entity.js';

/** `utime_t`: seconds and nanoseconds. */
export const utime = record('utime_t', { sec: u32, nsec: u32 });
export type Utime = Infer<typeof utime>;

export const ZERO_TIME: Utime = { sec: 0, nsec: 0 };

export function utimeFromMs(ms: number): Utime {
  const sec = Math.floor(ms / 1000);
  return { sec, nsec: Math.floor((ms - sec * 1000) * 1_000_000) };
}

export function utimeToMs(time: Utime): number {
  return time.sec * 1000 + time.nsec / 1_000_000;
}

/** A uuid as text; 16 raw bytes in text order on the wire. */
export const uuid: Codec<string> = mapped(fixed(16), formatUuid, parseUuid);

export function formatUuid(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

export function parseUuid(text: string): Uint8Array {
  const hex = text.replaceAll('-', '');
  if (!/^[0-9a-f]{32}$/i.test(hex)) throw new TypeError(`'${text}' is not a uuid`);
  return new Uint8Array(Buffer.from(hex, 'hex'));
}

/** The head of an object, as a snap id. */
export const NOSNAP = 0xffff_ffff_ffff_fffen;
/** The snapshot directory: what LIST_SNAPS asks for. */
export const SNAPDIR = 0xffff_ffff_ffff_ffffn;
export const MAXSNAP = 0xffff_ffff_ffff_fffdn;

/** `eversion_t`: a PG log position. */
export const eversion = record('eversion_t', { version: u64, epoch: u32 });
export type Eversion = Infer<typeof eversion>;
export const ZERO_EVERSION: Eversion = { version: 0n, epoch: 0 };

/** `pg_t`: u8 1, pool, seed, and a dead s32. */
export interface PgId {
  pool: number;
  seed: number;
}

export const pgId: Codec<PgId> = {
  minBytes: 17,
  decode(decoder) {
    const at = decoder.offset;
    const version = decoder.u8();
    if (version !== 1) throw new DecodeError(`version ${version}`, at, ['pg_t']);
    const pool = decoder.s64n();
    const seed = decoder.u32();
    decoder.take(4);
    return { pool, seed };
  },
  encode(encoder, pg) {
    encoder.u8(1).s64n(pg.pool).u32(pg.seed).s32(-1);
  },
  sample: (draw) => ({ pool: draw(2 ** 40), seed: draw(2 ** 32) }),
};

/** `1.2f`, the way Ceph prints a PG id. */
export function samePgId(a: PgId, b: PgId): boolean {
  return a.pool === b.pool && a.seed === b.seed;
}

export function formatPgId(pg: PgId): string {
  return `${pg.pool}.${pg.seed.toString(16)}`;
}

export const NO_SHARD = -1;

/** `spg_t`: a PG and, for erasure-coded pools, the shard. */
export const spgId = struct('spg_t', { version: 1, compat: 1 }, { pg: pgId, shard: s8 });
export type SpgId = Infer<typeof spgId>;

/** `object_locator_t`. `hash` -1 means "derived from the name"; a set hash needs a reader of version 6. */
export const objectLocator: Codec<ObjectLocator> = {
  minBytes: 6,
  decode: (decoder) =>
    decoder.struct('object_locator_t', 6, (version) => {
      const pool = decoder.s64n();
      decoder.take(4);
      const key = decoder.string();
      return {
        pool,
        key,
        nspace: version >= 5 ? decoder.string() : '',
        hash: version >= 6 ? decoder.s64n() : -1,
      };
    }),
  encode(encoder, locator) {
    encoder.struct(6, locator.hash === -1 ? 3 : 6, () => {
      encoder
        .s64n(locator.pool)
        .s32(-1)
        .string(locator.key)
        .string(locator.nspace)
        .s64n(locator.hash);
    });
  },
  sample: (draw) => ({
    pool: draw(1000),
    key: string.sample(draw),
    nspace: string.sample(draw),
    hash: draw(2) ? -1 : draw(2 ** 32),
  }),
};

export interface ObjectLocator {
  pool: number;
  key: string;
  nspace: string;
  hash: number;
}

/** `hobject_t`: an object's place in the order of its PG. `pool` of the "before everything" cursor is INT64_MIN. */
export const hobject = struct(
  'hobject_t',
  { version: 4, compat: 3 },
  {
    key: string,
    oid: string,
    snap: u64,
    hash: u32,
    max: u8,
    nspace: string,
    pool: s64,
  },
);
export type Hobject = Infer<typeof hobject>;

export const INT64_MIN = -(2n ** 63n);

/** `osd_reqid_t`. */
export const osdReqid = struct(
  'osd_reqid_t',
  { version: 2, compat: 2 },
  { name: entityName, tid: u64, inc: s32 },
);

/** `SnapContext`: snaps descending, none above `seq`. */
export const snapContext = record('SnapContext', { seq: u64, snaps: list(u64) });
export type SnapContext = Infer<typeof snapContext>;
export const EMPTY_SNAP_CONTEXT: SnapContext = { seq: 0n, snaps: [] };

/** `interval_set<u64>`: pairs of start and **length**. */
export const intervalSet = list(tuple(u64, u64));
export type IntervalSet = Infer<typeof intervalSet>;
