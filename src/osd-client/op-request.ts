/** One operation on its way: what was asked, where it goes, and who waits for it. */

import { copyBytes } from '../base/copy-bytes.js';
import { RadosError } from '../base/errors.js';
import { NOSNAP, type PgId, type SnapContext, type SpgId, samePgId } from '../encoding/types.js';
import { isWriteOp, OP, type OsdOp } from '../messages/osd-op.js';
import { OSD_FLAG, type OsdReply } from '../messages/osd-messages.js';
import type { LingerHooks } from './linger-op.js';
import type { ObjectTarget, OperateOptions, OperateResult, SendGate } from './request.js';

/** Where an object lies by the current map. */
export interface Placement {
  pg: PgId;
  /** Full 32-bit object hash. */
  hash: number;
  /** The acting primary; -1 while the PG has none. */
  osd: number;
  /** Position in the acting set of an erasure-coded pool, else -1. */
  shard: number;
  /** Changes when the PG is split or merged. */
  pgNum: number;
  /** Everyone who has the PG. */
  acting: readonly number[];
}

/**
 * Why an operation is not under way:
 * paused: the map's flags hold it; homeless: no primary, or no pool yet; backoff: the OSD asked to wait.
 */
export type ParkReason = 'paused' | 'homeless' | 'backoff';

export class OpRequest {
  readonly tid: number;
  target: ObjectTarget;
  readonly ops: readonly OsdOp[];
  readonly snapid: bigint;
  readonly snapContext: SnapContext | undefined;
  readonly isWrite: boolean;
  readonly isRead: boolean;
  flags: number;
  /** May another member of the acting set than the primary serve it? */
  mayReadReplica = false;
  /** Where the payload of a lone read or call belongs. */
  readonly into: Uint8Array | undefined;
  /** `clock.monotonic()` deadline, or Infinity. */
  readonly deadlineAt: number;
  readonly startedAt: number;
  readonly gate: SendGate | undefined;
  readonly madeAt: number;
  placement: Placement | undefined;
  parked: ParkReason | undefined;
  /** How often it was sent. */
  attempts = 0;
  /** How often an OSD named another object in its place. */
  redirects = 0;
  /** The map it was last sent with. */
  sentEpoch = 0;
  /** Of a watch or a notification. */
  linger: LingerHooks | undefined = undefined;
  /** Set while the connection writes the payload into `into`. */
  placing = false;
  readonly #resolve: (result: OperateResult) => void;
  readonly #reject: (error: Error) => void;
  #release: (() => void) | undefined;

  constructor(
    tid: number,
    target: ObjectTarget,
    ops: readonly OsdOp[],
    options: OperateOptions,
    times: { startedAt: number; deadlineAt: number },
    promise: { resolve: (result: OperateResult) => void; reject: (error: Error) => void },
  ) {
    this.tid = tid;
    this.target = target;
    this.ops = ops;
    this.snapid = options.snapid ?? NOSNAP;
    this.snapContext = options.snapContext;
    this.isWrite = options.write === true || ops.some((op) => isWriteOp(op.code));
    this.isRead = ops.some((op) => !isWriteOp(op.code));
    // As the Objecter: a vector with both kinds is marked as both; the OSD goes by the opcodes.
    this.flags =
      OSD_FLAG.ONDISK |
      OSD_FLAG.KNOWN_REDIR |
      (this.isWrite ? OSD_FLAG.WRITE : 0) |
      (this.isRead ? OSD_FLAG.READ : 0) |
      (options.flags ?? 0);
    this.into = ops.length === 1 && hasOutput(ops[0]) ? options.into : undefined;
    this.gate = options.gate;
    this.madeAt = options.madeAt ?? 0;
    this.startedAt = times.startedAt;
    this.deadlineAt = times.deadlineAt;
    this.#resolve = promise.resolve;
    this.#reject = promise.reject;
  }

  /** Runs when the request settles, however it does. */
  onSettled(release: () => void): void {
    this.#release = release;
  }

  resolve(result: OperateResult): void {
    this.#release?.();
    this.#resolve(result);
  }

  reject(error: Error): void {
    this.#release?.();
    this.#reject(error);
  }

  /** What a failure means for the object: a write that was never sent certainly did not happen. */
  get outcome(): 'not-applied' | 'unknown' | undefined {
    if (!this.isWrite) return undefined;
    return this.attempts === 0 ? 'not-applied' : 'unknown';
  }

  /** Another object in this one's place (cache tiers). */
  redirect({ locator, objectName }: NonNullable<OsdReply['redirect']>): void {
    const { pool, nspace, oid } = this.target;
    this.target = {
      pool: locator.pool >= 0 ? locator.pool : pool,
      nspace: locator.nspace || nspace,
      key: locator.key,
      oid: objectName || oid,
    };
    this.flags |= OSD_FLAG.REDIRECTED | OSD_FLAG.IGNORE_CACHE | OSD_FLAG.IGNORE_OVERLAY;
  }

  /** The reply's outputs; that of a lone read or call with `into` ends up there. */
  outputs(reply: OsdReply): OperateResult {
    const ops = reply.ops.map(({ rval, outdata }) => ({ rval, outdata }));
    const first = ops[0];
    if (this.into && first && first.outdata.length > 0) {
      first.outdata = this.#place(first.outdata, this.into);
    }
    return { result: reply.result, ops, userVersion: reply.userVersion };
  }

  #place(outdata: Uint8Array, into: Uint8Array): Uint8Array {
    if (startsAt(outdata, into)) return outdata;
    if (outdata.length <= into.length) {
      copyBytes(into, outdata);
      return into.subarray(0, outdata.length);
    }
    // Only the class knows how much its method has to say.
    if (this.ops[0]?.code === OP.CALL) return outdata;
    throw new RadosError(
      'EOVERFLOW',
      `the OSD returned ${outdata.length} bytes for a read of ${into.length}`,
    );
  }
}

function hasOutput(op: OsdOp | undefined): boolean {
  return op?.code === OP.READ || op?.code === OP.CALL;
}

/** Buffers of Node's pool share their memory: only the place tells whether two are the same. */
function startsAt(a: Uint8Array, b: Uint8Array): boolean {
  return a.buffer === b.buffer && a.byteOffset === b.byteOffset;
}

export function inTidOrder(requests: Iterable<OpRequest>): OpRequest[] {
  return [...requests].sort((a, b) => a.tid - b.tid);
}

export function spgOf({ pg, shard }: Placement): SpgId {
  return { pg, shard };
}

export function samePg(a: SpgId, b: SpgId): boolean {
  return samePgId(a.pg, b.pg) && a.shard === b.shard;
}
