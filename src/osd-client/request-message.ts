/** An operation as the message that asks for it, and the message that answers it. */

import type { Clock } from '../base/environment.js';
import { ProtocolError } from '../base/errors.js';
import { EMPTY_SNAP_CONTEXT, utimeFromMs, ZERO_TIME } from '../encoding/types.js';
import { FEATURES_SUPPORTED } from '../messages/features.js';
import {
  decodeOsdReply,
  MOSDOP_COMPAT,
  MOSDOP_VERSION,
  OSD_FLAG,
  type OsdReply,
  OsdRequestFront,
  osdRequestData,
} from '../messages/osd-messages.js';
import {
  type IncomingMessage,
  MSG,
  type OutgoingMessage,
  outgoing,
  PRIORITY,
} from '../messages/types.js';
import type { OpRequest, Placement } from './op-request.js';

export function requestMessage(
  request: OpRequest,
  placement: Placement,
  epoch: number,
  clock: Clock,
): OutgoingMessage {
  const { target } = request;
  const front = new OsdRequestFront({
    pg: placement.pg,
    shard: placement.shard,
    hash: placement.hash,
    epoch,
    flags: request.attempts > 0 ? request.flags | OSD_FLAG.RETRY : request.flags,
    mtime: request.isWrite ? utimeFromMs(clock.now()) : ZERO_TIME,
    locator: {
      pool: target.pool,
      key: target.key ?? '',
      nspace: target.nspace,
      hash: target.hash ?? -1,
    },
    oid: target.oid,
    ops: request.ops,
    snapid: request.snapid,
    snapContext: request.snapContext ?? EMPTY_SNAP_CONTEXT,
    retryAttempt: request.attempts,
    features: FEATURES_SUPPORTED,
  });
  return outgoing(MSG.OSD_OP, front, {
    version: MOSDOP_VERSION,
    compat: MOSDOP_COMPAT,
    tid: request.tid,
    priority: PRIORITY.CLIENT_OP,
    data: osdRequestData(request.ops),
  });
}

/** Throws when the message cannot be the answer to this operation. */
export function replyTo(request: OpRequest, message: IncomingMessage): OsdReply {
  const reply = decodeOsdReply(message.front, message.data, message.version);
  if (reply.result >= 0 && !reply.redirect && reply.ops.length !== request.ops.length) {
    throw new ProtocolError(
      `a reply of ${reply.ops.length} operations to a request of ${request.ops.length}`,
    );
  }
  return reply;
}
