/** What is asked of a PG: PGNLS and PGLS, its objects page by page, SCRUBLS (`PrimaryLogPG::do_pg_op`). */

import { ERRNO } from '../../base/errors.js';
import { encodeWith } from '../../encoding/codec.js';
import { DecodeError, Decoder } from '../../encoding/decoder.js';
import { encode } from '../../encoding/encoder.js';
import { type Hobject, hobject, NOSNAP } from '../../encoding/types.js';
import { OSD_FLAG, type OsdReply } from '../../messages/osd-messages.js';
import { OP } from '../../messages/osd-op.js';
import { LISTING_START, pgnlsReply } from '../../messages/pg-listing.js';
import { compareHobject } from '../../osdmap/hobject-order.js';
import { type ObjectId, reverseBits } from '../store/object-id.js';
import type { ClientRequest } from './client-request.js';
import type { PgView } from './op-context.js';
import { argOf, type LiveOp, liveOps } from './ops/live-op.js';
import { listInconsistent, type ScrubListing } from './scrub/scrub-listing.js';

/** As a namespace: the objects of all namespaces. */
const ALL_NAMESPACES = '\x01';

/** After everything: where a listing ends. */
const MAX: Hobject = { ...LISTING_START, max: 1 };

export function executePgOps(
  pg: PgView,
  { request }: ClientRequest,
  scrubs: ScrubListing,
): OsdReply {
  const ops = liveOps(request.ops);
  let result = 0;
  for (const op of ops) {
    result =
      op.code === OP.SCRUBLS
        ? listScrubs(scrubs, op)
        : runPgOp(pg, op, request.locator.nspace, request.snapid);
    if (result < 0) break;
  }
  return {
    oid: request.oid,
    pg: request.pg,
    flags: (request.flags & ~OSD_FLAG.ONNVRAM) | OSD_FLAG.ACK | OSD_FLAG.ONDISK,
    result,
    epoch: pg.epoch,
    ops,
    retryAttempt: request.retryAttempt,
    replayVersion: pg.lastUpdate,
    badReplayVersion:
      pg.lastUserVersion === 0n ? pg.lastUpdate : { ...pg.lastUpdate, version: pg.lastUserVersion },
    userVersion: pg.lastUserVersion,
  };
}

function listScrubs(scrubs: ScrubListing, op: LiveOp): number {
  const page = listInconsistent(scrubs, op.indata);
  if (typeof page === 'number') return page;
  op.outdata = page;
  return 0;
}

function runPgOp(pg: PgView, op: LiveOp, nspace: string, snapid: bigint): number {
  if (op.code !== OP.PGNLS && op.code !== OP.PGLS) return -ERRNO.EOPNOTSUPP;
  if (snapid !== NOSNAP) return -ERRNO.EINVAL;
  let cursor: Hobject;
  try {
    cursor = hobject.decode(new Decoder(op.indata));
  } catch (error) {
    if (error instanceof DecodeError) return -ERRNO.EINVAL;
    throw error;
  }
  const { count } = argOf(op, 'pgls');
  const max = Math.min(count, pg.limits.maxPgls);
  if (max === 0) {
    // Nothing asked for, nowhere got to: the client would begin again.
    op.outdata = encodePage(op.code, LISTING_START, []);
    return 0;
  }
  const start = pgStart(pg.poolId, pg.seed);
  const next = pgEnd(pg.poolId, pg.seed, pg.pool.pgNum);
  const end = op.code === OP.PGNLS ? next : MAX;
  if (cursor.max !== 0) {
    op.outdata = encodePage(op.code, end, []);
    return 1;
  }
  if (compareHobject(cursor, LISTING_START) === 0) cursor = start;
  else if (compareHobject(cursor, start) < 0 || compareHobject(cursor, next) >= 0) {
    return -ERRNO.EINVAL;
  }
  // Clones count towards the page although they are not shown.
  const ids = pg.store.list(pg.collection, asObjectId(cursor), max + 1);
  const following = ids.length > max ? ids.pop() : undefined;
  const shown = ids.filter(
    (id) => id.snap === NOSNAP && (nspace === ALL_NAMESPACES || id.nspace === nspace),
  );
  op.outdata = encodePage(op.code, following ? asHobject(following) : end, shown);
  return following ? 0 : 1;
}

function encodePage(code: number, handle: Hobject, ids: readonly ObjectId[]): Uint8Array {
  if (code === OP.PGNLS) {
    const entries = ids.map(({ nspace, oid, key }) => ({ nspace, oid, locator: key }));
    return encodeWith(pgnlsReply, { handle, entries });
  }
  return encode((e) => {
    hobject.encode(e.u8(1), handle);
    e.u32(ids.length);
    for (const { oid, key } of ids) e.string(oid).string(key);
  });
}

/** The first place of a PG. */
export function pgStart(pool: number, seed: number): Hobject {
  return { ...LISTING_START, pool: BigInt(pool), hash: seed };
}

/** The first place of the next PG in the order of reversed bits; after the last PG, the end of everything. */
export function pgEnd(pool: number, seed: number, pgNum: number): Hobject {
  const bits = Math.ceil(Math.log2(pgNum));
  // With a number of PGs that is no power of two, a seed whose high bit has no PG of its own covers both halves.
  const upper = bits > 0 ? seed | (1 << (bits - 1)) : seed;
  const covered = upper === seed || upper < pgNum ? bits : bits - 1;
  const reversedEnd = reverseBits(seed) + 2 ** (32 - covered);
  if (reversedEnd >= 2 ** 32) return MAX;
  return {
    ...LISTING_START,
    pool: BigInt(pool),
    hash: reverseBits(reversedEnd),
    snap: NOSNAP,
  };
}

function asObjectId({ pool, nspace, oid, key, hash, snap }: Hobject): ObjectId {
  return { pool: Number(pool), nspace, oid, key, hash, snap };
}

function asHobject({ pool, nspace, oid, key, hash, snap }: ObjectId): Hobject {
  return { pool: BigInt(pool), nspace, oid, key, hash, snap, max: 0 };
}
