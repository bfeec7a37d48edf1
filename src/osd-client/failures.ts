/** How operations fail: what was asked, of which object and daemon, and whether it may have happened. */

import {
  errnoCode,
  isRadosError,
  type Outcome,
  RadosError,
  type RadosErrorOptions,
} from '../base/errors.js';
import { formatPgId } from '../encoding/types.js';
import type { OsdReply } from '../messages/osd-messages.js';
import { describeOps, type OsdOp, opName } from '../messages/osd-op.js';
import type { OpRequest } from './op-request.js';
import type { ObjectTarget } from './request.js';
import type { OsdSession } from './session.js';
import type { ClientMap } from './target.js';

/**
 * Errors that an OSD answers before it looks whether it has executed the operation already (`do_op`): of operations that are
 * sent again they say nothing.
 */
const UNSEEN_REFUSALS = ['EPERM', 'EACCES', 'ENOSPC', 'EDQUOT'];

/** The daemon did not take our ticket, or us. */
export function isRefusal(error: unknown): error is RadosError {
  return isRadosError(error) && ['EACCES', 'EPERM', 'EKEYREJECTED'].includes(error.code);
}

export interface FailureContext extends RadosErrorOptions {
  op: string;
  /** `rbd/ns/rbd_header.1014`. */
  target: string;
  outcome: Outcome | undefined;
}

export function failureContext(request: OpRequest, map: ClientMap | undefined): FailureContext {
  return {
    op: describeOps(request.ops),
    target: describeTarget(request.target, map),
    outcome: request.outcome,
  };
}

export function describeTarget(target: ObjectTarget, map: ClientMap | undefined): string {
  const pool = map?.poolName(target.pool) ?? `pool ${target.pool}`;
  return [pool, target.nspace, target.oid].filter((part) => part !== '').join('/');
}

/** The OSD's own word. */
export function resultError(
  context: FailureContext,
  request: OpRequest,
  reply: OsdReply,
  osd: number,
): RadosError {
  const failed = reply.ops.find((op) => op.rval < 0);
  const isVector = request.ops.length > 1;
  return RadosError.fromErrno(reply.result, {
    op: failed && isVector ? `${opName(failed.op.code)} in ${context.op}` : context.op,
    target: `${context.target} at osd.${osd}`,
    outcome: request.isWrite ? outcomeOf(request, reply) : undefined,
  });
}

/**
 * A vector that fails changes nothing, and the answer to one that is sent again is the answer to its first execution.
 * Only what the OSD refuses before it looks for that says nothing about earlier attempts.
 */
function outcomeOf(request: OpRequest, reply: OsdReply): Outcome {
  const code = errnoCode(reply.result);
  // An OSD starts again by itself with what it had not answered when a new interval begins: a client that was fenced in
  // between hears this of what has been done before.
  if (code === 'EBLOCKLISTED') return 'unknown';
  const refusedUnseen = UNSEEN_REFUSALS.includes(code);
  return refusedUnseen && request.attempts > 1 ? 'unknown' : 'not-applied';
}

/** Names who kept the operation waiting. */
export function timeoutError(
  context: FailureContext,
  request: OpRequest,
  session: OsdSession | undefined,
  now: number,
): RadosError {
  const seconds = ((now - request.startedAt) / 1000).toFixed(1);
  const culprit = culpritOf(request, session);
  return new RadosError(
    'ETIMEDOUT',
    `${context.op} ${context.target}: ${culprit} in ${seconds} s`,
    {
      ...context,
      retryable: true,
    },
  );
}

function culpritOf(request: OpRequest, session: OsdSession | undefined): string {
  if (request.parked === 'paused') return 'the cluster is paused or full';
  if (request.parked === 'backoff') return `${session?.name ?? 'the OSD'} asked to wait`;
  if (session) return `${session.name} did not answer${session.open ? '' : ' (not connected)'}`;
  const { placement } = request;
  if (!placement) return 'the osdmap has not come or lacks the pool';
  if (placement.osd < 0) return `pg ${formatPgId(placement.pg)} has no primary`;
  return `osd.${placement.osd} is down`;
}

/** No OSD takes our tickets. */
export function refusedError(
  context: FailureContext,
  request: OpRequest,
  cause: RadosError,
): RadosError {
  const what = `${describeOps(request.ops)} ${request.target.oid}`;
  return new RadosError(cause.errno, `${what}: ${cause.message}`, { ...context, cause });
}

export function closedError(
  ops: readonly OsdOp[],
  target: ObjectTarget,
  outcome: Outcome = 'not-applied',
): RadosError {
  const op = describeOps(ops);
  return new RadosError('ENOTCONN', `${op} ${target.oid}: the client was closed`, {
    op,
    target: target.oid,
    outcome,
  });
}
