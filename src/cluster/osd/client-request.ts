/** A client's request on its way through the OSD, and who sent it. */

import type { EntityAddr, EntityName } from '../../encoding/entity.js';
import {
  type DecodedOsdRequest,
  MOSDOPREPLY_COMPAT,
  MOSDOPREPLY_VERSION,
  type OsdReply,
  OsdReplyFront,
} from '../../messages/osd-messages.js';
import { headId, type ObjectId } from '../store/object-id.js';
import { MSG, type OutgoingMessage, outgoing } from '../../messages/types.js';
import type { SessionBackoffs } from './backoffs.js';
import type { RequestId } from '../store/pg-record.js';

/** A connected client. */
export interface ClientSession {
  /** `client.<global id>` */
  readonly name: EntityName;
  readonly addr: EntityAddr;
  /** Its caps for OSDs, such as `allow *`. */
  readonly caps: string;
  readonly closed: boolean;
  /** What it was asked to wait for; undefined when the client cannot be asked. */
  readonly backoffs: SessionBackoffs | undefined;
  close(): void;
  send(message: OutgoingMessage): void;
}

export interface ClientRequest {
  readonly session: ClientSession;
  readonly request: DecodedOsdRequest;
  readonly tid: number;
  readonly priority: number;
  /** Bytes of the message's data segment. */
  readonly dataBytes: number;
  /** Their crc32c, seeded with all bits set, where the messenger had it. */
  readonly dataCrc: number | undefined;
  /** When it arrived, by the wall clock (`recv_stamp`). */
  readonly receivedMs: number;
  /** Called once when the request is answered or dropped: its memory counts no more. */
  release(): void;
}

/** The object that a request names. */
export function headOf({ request }: ClientRequest): ObjectId {
  const { pg, locator, oid, hash } = request;
  const { nspace, key } = locator;
  return headId({ pool: pg.pool, nspace, oid, key, hash });
}

/** Who asked for what: the same for every attempt, over reconnects too. */
export function requestId({ session, request, tid }: ClientRequest): RequestId {
  const { reqid, clientInc } = request;
  // Clients leave the reqid blank; daemons that forward fill it in (MOSDOp::get_reqid).
  return reqid.num === 0n && reqid.type === 0
    ? { name: session.name, inc: clientInc, tid }
    : { name: { type: reqid.type, num: reqid.num }, inc: reqid.inc, tid: reqid.tid };
}

const FAST_TEXT_MAX = 2n ** 53n;

export function requestIdKey({ name, inc, tid }: RequestId): string {
  // A number becomes text much faster than a bigint does, and global ids are small.
  const num = name.num < FAST_TEXT_MAX ? Number(name.num) : name.num;
  return `${name.type}.${num}:${inc}:${tid}`;
}

/** Answers a request and lets go of it. */
export function sendReply(client: ClientRequest, reply: OsdReply): void {
  const data: Uint8Array[] = [];
  for (const { outdata, bulk } of reply.ops) {
    if (outdata.length > 0) data.push(outdata);
    if (bulk) data.push(...bulk);
  }
  client.session.send(
    outgoing(MSG.OSD_OPREPLY, new OsdReplyFront(reply), {
      version: MOSDOPREPLY_VERSION,
      compat: MOSDOPREPLY_COMPAT,
      tid: client.tid,
      priority: client.priority,
      data,
    }),
  );
  client.release();
}
