/**
 * Executes one op vector on one object: decides the reply and the change, applies neither.
 *
 * The order of the checks, what a failed vector still answers, and which versions a reply carries follow
 * `PrimaryLogPG::do_op`, `execute_ctx` and `prepare_transaction`.
 */

import { ERRNO, isRadosError } from '../../base/errors.js';
import {
  type Eversion,
  NOSNAP,
  SNAPDIR,
  type SnapContext,
  ZERO_EVERSION,
} from '../../encoding/types.js';
import { OSD_FLAG, type OsdReply, outputBytes } from '../../messages/osd-messages.js';
import { isWriteOp, OP, OP_FLAG } from '../../messages/osd-op.js';
import { objectHash } from '../../osdmap/object-hash.js';
import { POOL_FLAG } from '../../osdmap/pool.js';
import type { ClassRegistry } from '../classes/class-registry.js';
import type { ObjectId } from '../store/object-id.js';
import { EMPTY_SNAPSET } from '../store/object-meta.js';
import type { LogEntry } from '../store/pg-record.js';
import type { StoreOp } from '../store/transaction.js';
import { type ClientRequest, requestId } from './client-request.js';
import type { OpClass } from './op-class.js';
import { type CopySource, OpContext, type PgView } from './op-context.js';
import { dropOutput, type LiveOp, liveOps, type OpHandler, wholeOutput } from './ops/live-op.js';
import type { Answered } from './pg-log.js';
import { createOpTable } from './ops/op-table.js';
import { isValidSnapContext, makeWriteable, resolveSnap } from './snapshots.js';

export type Outcome =
  /** No answer: the client sends again when the map changes. */
  | { kind: 'drop' }
  /** Nothing to commit. Effects of a successful vector come before the reply. */
  | { kind: 'reply'; reply: OsdReply; context: OpContext | undefined }
  /** To be committed by the whole acting set; then effects, then the reply. */
  | {
      kind: 'commit';
      reply: OsdReply;
      ops: StoreOp[];
      entry: LogEntry;
      context: OpContext | undefined;
    }
  /** The disk has lost something that the vector needs: it has not happened. The reply is for when no other member has it. */
  | { kind: 'damaged'; reply: OsdReply };

/** What is executed. */
export interface Executed {
  readonly client: ClientRequest;
  readonly opClass: OpClass;
  readonly head: ObjectId;
  readonly sources: ReadonlyMap<number, CopySource> | undefined;
}

/** User modifications get a new user version; these manage theirs themselves or have none. */
const NOT_USER_MODIFY: ReadonlySet<number> = new Set([OP.WATCH, OP.COPY_FROM, OP.COPY_FROM2]);

const NO_SOURCES: ReadonlyMap<number, CopySource> = new Map();

const DONE_FLAGS = OSD_FLAG.ACK | OSD_FLAG.ONNVRAM | OSD_FLAG.ONDISK;

export class Executor {
  readonly #handlers: ReadonlyMap<number, OpHandler>;

  constructor(classes: ClassRegistry) {
    this.#handlers = createOpTable(classes);
  }

  /** What is wrong with a request whatever the object: a negative errno, or 0. */
  validate(pg: PgView, { request, dataBytes }: ClientRequest, opClass: OpClass): number {
    const { limits } = pg;
    if (opClass.errno !== 0) return opClass.errno;
    if (request.flags & OSD_FLAG.PARALLELEXEC) return -ERRNO.EINVAL;
    const { oid, locator, hash } = request;
    if (isLonger(oid, limits.maxObjectNameBytes)) return -ERRNO.ENAMETOOLONG;
    if (isLonger(locator.key, limits.maxObjectNameBytes)) return -ERRNO.ENAMETOOLONG;
    if (isLonger(locator.nspace, limits.maxNamespaceBytes)) return -ERRNO.ENAMETOOLONG;
    if (oid === '') return -ERRNO.EINVAL;
    // Objects are found by name and sorted by hash: a name must not come with two of them.
    const { key, nspace } = locator;
    if (hash !== objectHash(pg.pool.objectHash, { oid, key, nspace })) return -ERRNO.EINVAL;
    if (opClass.mayWrite) {
      if (request.snapid !== NOSNAP) return -ERRNO.EINVAL;
      if (dataBytes > limits.maxWriteBytes) return -ERRNO.EMSGSIZE;
    }
    // LIST_SNAPS asks the snapshot directory, and nothing else may.
    for (const op of request.ops) {
      if ((op.code === OP.LIST_SNAPS) !== (request.snapid === SNAPDIR)) return -ERRNO.EINVAL;
    }
    return 0;
  }

  execute(pg: PgView, { client, opClass, head, sources = NO_SOURCES }: Executed): Outcome {
    const { request } = client;
    const onSnapDir = request.snapid === SNAPDIR;
    const target = resolveSnap(pg, head, onSnapDir ? NOSNAP : request.snapid);
    if (typeof target === 'number') return early(pg, client, target);
    const object = pg.store.get(pg.collection, head);
    const before = target === head ? object : pg.store.get(pg.collection, target);
    const snapSet = object?.meta.snapSet ?? EMPTY_SNAPSET;
    const snapContext = withoutRemoved(pg, request.snapContext);
    const ctx = new OpContext({
      ...{ pg, id: target, client, copySources: sources, before, snapSet, snapContext },
    });
    if (!opClass.mayWrite && (!ctx.exists || (ctx.info.whiteout && !onSnapDir))) {
      return early(pg, client, -ERRNO.ENOENT);
    }
    if (!opClass.mayWrite) return this.#read(ctx);

    if (request.flags & OSD_FLAG.ORDERSNAP && snapContext.seq < snapSet.seq) {
      return early(pg, client, -ERRNO.ERESTART);
    }
    if (!isValidSnapContext(snapContext)) {
      return replied(reply(ctx, liveOps(request.ops), -ERRNO.EINVAL));
    }
    return this.#write(ctx);
  }

  #read(ctx: OpContext): Outcome {
    const ops = liveOps(ctx.client.request.ops);
    const result = this.#run(ctx, ops);
    if (ctx.damaged) return { kind: 'damaged', reply: reply(ctx, ops, result) };
    return replied(reply(ctx, ops, result), result < 0 ? undefined : ctx);
  }

  #write(ctx: OpContext): Outcome {
    const { pg, client } = ctx;
    const { request } = client;
    const returnVector = (request.flags & OSD_FLAG.RETURNVEC) !== 0;
    const ops = liveOps(request.ops);
    const userVersionBefore = ctx.info.userVersion;
    let result = this.#run(ctx, ops);
    if (ctx.damaged) return { kind: 'damaged', reply: reply(ctx, ops, result) };

    // What was created and deleted within the vector never was.
    const nothing = !ctx.before && !ctx.exists;
    const changes = ctx.dirty && !nothing && result >= 0;
    if (changes && isFull(ctx)) {
      if (!(request.flags & OSD_FLAG.FULL_TRY)) return { kind: 'drop' };
      const quota = (pg.pool.flags & POOL_FLAG.FULL_QUOTA) !== 0;
      return replied(reply(ctx, ops, quota ? -ERRNO.EDQUOT : -ERRNO.ENOSPC));
    }
    if (changes && returnVector) {
      for (const op of ops) {
        if (outputBytes(op) <= pg.limits.maxWriteReplyBytes) continue;
        op.rval = -ERRNO.EOVERFLOW;
        dropOutput(op);
        result = -ERRNO.EOVERFLOW;
      }
      if (result < 0) return replied(reply(ctx, ops, result));
    }
    if (changes && !returnVector) {
      // Old clients took a positive result of a write for an error, and had no place for its output.
      result = 0;
      for (const op of ops) dropOutput(op);
    }

    let version = nextVersion(pg, pg.lastUpdate.version);
    const objects: ObjectId[] = [];
    let storeOps: StoreOp[] = [];
    let userVersion = userVersionBefore;
    if (changes) {
      const clone = makeWriteable(ctx);
      if (clone) {
        objects.push(clone);
        version = nextVersion(pg, version.version);
      }
      objects.push(ctx.id);
      userVersion = settleUserVersion(ctx, version, userVersionBefore);
      storeOps = finish(ctx, version, userVersion);
    }
    const returns = returnVector
      ? ops.map((op) => ({ rval: op.rval, outdata: wholeOutput(op) }))
      : undefined;
    const entry: LogEntry = {
      version,
      objects,
      reqid: requestId(client),
      result: changes && !returnVector ? 0 : result,
      userVersion,
      ...(returns ? { returns } : {}),
    };
    const answer = reply(ctx, ops, result, { version, userVersion });
    if (!changes && result === -ERRNO.ENOENT) {
      answer.userVersion = pg.lastUserVersion;
      answer.badReplayVersion = pg.lastUpdate;
    }
    const context = result < 0 ? undefined : ctx;
    return { kind: 'commit', reply: answer, ops: storeOps, entry, context };
  }

  #run(ctx: OpContext, ops: readonly LiveOp[]): number {
    let result = 0;
    for (const op of ops) {
      const handler = this.#handlers.get(op.code);
      if (isWriteOp(op.code) && !NOT_USER_MODIFY.has(op.code)) ctx.userModify = true;
      result = handler ? runHandler(handler, ctx, op, result) : -ERRNO.EOPNOTSUPP;
      op.rval = result;
      if (result < 0 && op.flags & OP_FLAG.FAILOK && !ctx.damaged) result = 0;
      if (result < 0) break;
    }
    return result;
  }
}

/** What the disk has lost ends the vector, whatever would be made of an error of its operation. */
function runHandler(handler: OpHandler, ctx: OpContext, op: LiveOp, carried: number): number {
  try {
    return handler(ctx, op, carried);
  } catch (error) {
    if (!isRadosError(error, 'EIO')) throw error;
    ctx.damaged = true;
    return -ERRNO.EIO;
  }
}

function nextVersion(pg: PgView, after: bigint): Eversion {
  return { version: after + 1n, epoch: pg.epoch };
}

/** In bytes of UTF-8, of which there are at most three for each unit. */
function isLonger(text: string, maxBytes: number): boolean {
  return text.length * 3 > maxBytes && Buffer.byteLength(text) > maxBytes;
}

/** Snapshots that were removed meanwhile make no clones any more (`filter_snapc`). */
function withoutRemoved(pg: PgView, snapContext: SnapContext): SnapContext {
  const { seq, snaps } = snapContext;
  if (snaps.length === 0) return snapContext;
  return { seq, snaps: snaps.filter((snap) => !pg.isRemovedSnap(snap)) };
}

function isFull(ctx: OpContext): boolean {
  const { pool } = ctx.pg;
  if (!(pool.flags & POOL_FLAG.FULL)) return false;
  if (ctx.client.request.flags & OSD_FLAG.FULL_FORCE) return false;
  return ctx.size > (ctx.before?.size ?? 0) || (ctx.exists && !ctx.before);
}

/** Grows by at least one, and never stays below the PG's version (`finish_ctx`). */
function settleUserVersion(ctx: OpContext, version: Eversion, before: bigint): bigint {
  if (ctx.forcedUserVersion !== undefined && !ctx.userModify) return ctx.forcedUserVersion;
  if (!ctx.userModify) return before;
  const { lastUserVersion } = ctx.pg;
  const next = (lastUserVersion > before ? lastUserVersion : before) + 1n;
  return next > version.version ? next : version.version;
}

/** The vector's changes with the object's new meta. */
function finish(ctx: OpContext, version: Eversion, userVersion: bigint): StoreOp[] {
  if (!ctx.exists) return ctx.changes;
  const { mtime } = ctx.client.request;
  const stamped = mtime.sec !== 0 || mtime.nsec !== 0;
  const { watchers, whiteout, truncateSeq, truncateSize } = ctx.info;
  ctx.info = {
    version,
    userVersion,
    mtime: stamped && ctx.forcedUserVersion === undefined ? mtime : ctx.info.mtime,
    watchers,
    whiteout,
    truncateSeq,
    truncateSize,
    dataDigest: ctx.dataDigest,
  };
  ctx.changes.push({
    op: 'setMeta',
    id: ctx.id,
    meta: { info: ctx.info, snapSet: ctx.snapSet },
  });
  return ctx.changes;
}

const ZERO_VERSIONS = {
  replayVersion: ZERO_EVERSION,
  badReplayVersion: ZERO_EVERSION,
  userVersion: 0n,
};

/** The reply of an executed vector. Without `write`, versions are those of a read. */
function reply(
  ctx: OpContext,
  ops: LiveOp[],
  result: number,
  write?: { version: Eversion; userVersion: bigint },
): OsdReply {
  const { pg, client } = ctx;
  const { request } = client;
  const userVersion = write?.userVersion ?? ctx.info.userVersion;
  const replayVersion = write?.version ?? ZERO_EVERSION;
  const bad = userVersion !== 0n ? { ...replayVersion, version: userVersion } : replayVersion;
  const versions =
    write || result >= 0
      ? { replayVersion, badReplayVersion: bad, userVersion }
      : result === -ERRNO.ENOENT
        ? {
            replayVersion: ZERO_EVERSION,
            badReplayVersion: pg.lastUpdate,
            userVersion: pg.lastUserVersion,
          }
        : ZERO_VERSIONS;
  return {
    oid: request.oid,
    pg: request.pg,
    flags: (request.flags & ~DONE_FLAGS) | OSD_FLAG.ACK | OSD_FLAG.ONDISK,
    result,
    epoch: pg.epoch,
    ops,
    retryAttempt: request.retryAttempt,
    ...versions,
  };
}

/** The reply of a request that was not executed, or was before (`OSDService::reply_op_error`). */
export function errorReply(
  pg: Pick<PgView, 'epoch'>,
  { request }: ClientRequest,
  result: number,
  logged?: Answered,
): OsdReply {
  const ops = liveOps(request.ops);
  for (const op of ops) Object.assign(op, logged?.returns?.[op.index]);
  const userVersion = logged?.userVersion ?? 0n;
  const replayVersion = logged?.version ?? ZERO_EVERSION;
  return {
    oid: request.oid,
    pg: request.pg,
    flags: request.flags & ~OSD_FLAG.ONNVRAM,
    result,
    epoch: pg.epoch,
    ops,
    retryAttempt: request.retryAttempt,
    replayVersion,
    badReplayVersion:
      userVersion !== 0n ? { ...replayVersion, version: userVersion } : replayVersion,
    userVersion,
  };
}

function early(pg: PgView, client: ClientRequest, errno: number): Outcome {
  return replied(errorReply(pg, client, errno));
}

/** `context`: of a vector that has effects. */
function replied(reply: OsdReply, context?: OpContext): Outcome {
  return { kind: 'reply', reply, context };
}
