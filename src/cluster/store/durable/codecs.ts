/** What transactions and checkpoints are made of, as the disk has it. */

import {
  type Codec,
  f64,
  list,
  record,
  string,
  tuple,
  u32,
  u64,
  u64n,
} from '../../../encoding/codec.js';
import type { Decoder } from '../../../encoding/decoder.js';
import type { Encoder } from '../../../encoding/encoder.js';
import { entityAddr, entityName } from '../../../encoding/entity.js';
import { eversion, intervalSet, utime } from '../../../encoding/types.js';
import type { ObjectId } from '../object-id.js';
import type { ObjectInfo, ObjectMeta, WatchRecord } from '../object-meta.js';
import type { LogEntry, PastInterval, PgInfo } from '../pg-record.js';

/** Written by hand, as what every transaction has most of. */
export const objectId: Codec<ObjectId> = {
  minBytes: 32,
  decode(decoder) {
    const pool = decoder.s64n();
    const hash = decoder.u32();
    const snap = decoder.u64();
    return {
      pool,
      nspace: decoder.string(),
      oid: decoder.string(),
      key: decoder.string(),
      hash,
      snap,
    };
  },
  encode(encoder, { pool, hash, snap, nspace, oid, key }) {
    encoder.s64n(pool).u32(hash).u64(snap).string(nspace).string(oid).string(key);
  },
  sample: (draw) => ({
    pool: draw(1000),
    nspace: string.sample(draw),
    oid: string.sample(draw),
    key: string.sample(draw),
    hash: draw(2 ** 32),
    snap: u64.sample(draw),
  }),
};

export const objectIds = list(objectId);

const watchRecord = record('watch', {
  entity: entityName,
  cookie: u64,
  timeoutS: f64,
  addr: entityAddr,
});

const watchRecords = list(watchRecord);

const IS_WHITEOUT = 1;
/** Since format 4. */
const HAS_DATA_DIGEST = 2;

/** By hand, because of formats before 4: where the flags are they had a bool, which is their lowest bit. */
const objectInfo: Codec<ObjectInfo> = {
  minBytes: 49,
  decode(decoder) {
    const version = eversion.decode(decoder);
    const userVersion = decoder.u64();
    const mtime = utime.decode(decoder);
    const watchers = watchRecords.decode(decoder);
    const flags = decoder.u8();
    return {
      ...{ version, userVersion, mtime, watchers },
      whiteout: (flags & IS_WHITEOUT) !== 0,
      truncateSeq: decoder.u64n(),
      truncateSize: decoder.u64n(),
      dataDigest: flags & HAS_DATA_DIGEST ? decoder.u32() : undefined,
    };
  },
  encode(encoder, info) {
    const { version, userVersion, mtime, watchers, whiteout, dataDigest } = info;
    eversion.encode(encoder, version);
    encoder.u64(userVersion);
    utime.encode(encoder, mtime);
    watchRecords.encode(encoder, watchers as WatchRecord[]);
    encoder
      .u8((whiteout ? IS_WHITEOUT : 0) | (dataDigest === undefined ? 0 : HAS_DATA_DIGEST))
      .u64n(info.truncateSeq)
      .u64n(info.truncateSize);
    if (dataDigest !== undefined) encoder.u32(dataDigest);
  },
  sample: (draw) => ({
    version: eversion.sample(draw),
    userVersion: u64.sample(draw),
    mtime: utime.sample(draw),
    watchers: watchRecords.sample(draw),
    whiteout: draw(2) === 1,
    truncateSeq: draw(1000),
    truncateSize: draw(1000),
    dataDigest: draw(2) ? draw(2 ** 32) : undefined,
  }),
};

const cloneInfo = record('clone', {
  id: u64,
  snaps: list(u64),
  size: u64n,
  overlap: list(tuple(u64n, u64n)),
});

export const objectMeta: Codec<ObjectMeta> = record('object meta', {
  info: objectInfo,
  snapSet: record('snapset', { seq: u64, clones: list(cloneInfo) }),
}) as Codec<ObjectMeta>;

const pastIntervals = list(
  record('interval', { first: u32, last: u32, acting: list(u32) }),
) as Codec<PastInterval[]>;

const IS_COMPLETE = 1;
const HAS_LAST_BACKFILL = 2;
const HAS_LOG_TAIL = 4;
/** Since format 3. */
const HAS_PG_NUM = 8;

/** By hand, because of format 1: where the flags are it had a bool, which is their lowest bit. */
export const pgInfo: Codec<PgInfo> = {
  minBytes: 37,
  decode(decoder) {
    const info = {
      lastUpdate: eversion.decode(decoder),
      lastUserVersion: decoder.u64(),
      lastEpochStarted: decoder.u32(),
      pastIntervals: pastIntervals.decode(decoder),
      mapEpoch: decoder.u32(),
    };
    const has = decoder.u8();
    return {
      ...info,
      complete: (has & IS_COMPLETE) !== 0,
      purgedSnaps: intervalSet.decode(decoder),
      ...(has & HAS_LAST_BACKFILL ? { lastBackfill: objectId.decode(decoder) } : {}),
      ...(has & HAS_LOG_TAIL ? { logTail: eversion.decode(decoder) } : {}),
      ...(has & HAS_PG_NUM ? { pgNum: decoder.u32() } : {}),
    };
  },
  encode(encoder, info) {
    const { lastBackfill, logTail, pgNum, complete } = info;
    eversion.encode(encoder, info.lastUpdate);
    encoder.u64(info.lastUserVersion).u32(info.lastEpochStarted);
    pastIntervals.encode(encoder, info.pastIntervals as PastInterval[]);
    encoder
      .u32(info.mapEpoch)
      .u8(
        (complete ? IS_COMPLETE : 0) |
          (lastBackfill ? HAS_LAST_BACKFILL : 0) |
          (logTail ? HAS_LOG_TAIL : 0) |
          (pgNum === undefined ? 0 : HAS_PG_NUM),
      );
    intervalSet.encode(encoder, info.purgedSnaps);
    if (lastBackfill) objectId.encode(encoder, lastBackfill);
    if (logTail) eversion.encode(encoder, logTail);
    if (pgNum !== undefined) encoder.u32(pgNum);
  },
  sample: (draw) => ({
    lastUpdate: eversion.sample(draw),
    lastUserVersion: u64.sample(draw),
    lastEpochStarted: draw(2 ** 32),
    pastIntervals: pastIntervals.sample(draw),
    mapEpoch: draw(2 ** 32),
    complete: draw(2) === 1,
    purgedSnaps: intervalSet.sample(draw),
    ...(draw(2) ? { lastBackfill: objectId.sample(draw) } : {}),
    ...(draw(2) ? { logTail: eversion.sample(draw) } : {}),
    ...(draw(2) ? { pgNum: draw(2 ** 32) } : {}),
  }),
};

const HAS_REQID = 1;
const HAS_RETURNS = 2;

const returned = list({
  minBytes: 8,
  decode: (decoder: Decoder) => ({ rval: decoder.s32(), outdata: new Uint8Array(decoder.blob()) }),
  encode: (encoder: Encoder, { rval, outdata }) => void encoder.s32(rval).blob(outdata),
  sample: (draw) => ({ rval: -draw(100), outdata: Uint8Array.from([draw(256)]) }),
} satisfies Codec<{ rval: number; outdata: Uint8Array }>);

export const logEntry: Codec<LogEntry> = {
  minBytes: 29,
  decode(decoder) {
    const has = decoder.u8();
    const entry: LogEntry = {
      version: eversion.decode(decoder),
      objects: objectIds.decode(decoder),
      result: decoder.s32(),
      userVersion: decoder.u64(),
    };
    return {
      ...entry,
      ...(has & HAS_REQID
        ? { reqid: { name: entityName.decode(decoder), inc: decoder.s32(), tid: decoder.u64n() } }
        : {}),
      ...(has & HAS_RETURNS ? { returns: returned.decode(decoder) } : {}),
    };
  },
  encode(encoder, { version, objects, result, userVersion, reqid, returns }) {
    encoder.u8((reqid ? HAS_REQID : 0) | (returns ? HAS_RETURNS : 0));
    eversion.encode(encoder, version);
    objectIds.encode(encoder, objects as ObjectId[]);
    encoder.s32(result).u64(userVersion);
    if (reqid) {
      entityName.encode(encoder, reqid.name);
      encoder.s32(reqid.inc).u64n(reqid.tid);
    }
    if (returns) returned.encode(encoder, returns as { rval: number; outdata: Uint8Array }[]);
  },
  sample: (draw) => ({
    version: eversion.sample(draw),
    objects: objectIds.sample(draw),
    result: -draw(100),
    userVersion: u64.sample(draw),
    ...(draw(2)
      ? { reqid: { name: entityName.sample(draw), inc: draw(100), tid: draw(1000) } }
      : {}),
    ...(draw(2) ? { returns: returned.sample(draw) } : {}),
  }),
};
