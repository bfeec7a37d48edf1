/**
 * MOSDOp v8, MOSDOpReply v8 and MOSDBackoff: what a client and an OSD say to each other.
 *
 * The request and the reply are on the data path, so they are written out by hand; everything else is declared.
 */

import { totalBytes } from '../base/total-bytes.js';
import { type Infer, record, u8, u32, u64 } from '../encoding/codec.js';
import { DecodeError, Decoder } from '../encoding/decoder.js';
import { Encoder } from '../encoding/encoder.js';
import {
  type Eversion,
  eversion,
  hobject,
  type ObjectLocator,
  objectLocator,
  type PgId,
  pgId,
  type SnapContext,
  spgId,
  type Utime,
} from '../encoding/types.js';
import type { LazyFront } from './types.js';
import { decodeOsdOp, encodeOsdOp, OSD_OP_BYTES, type OsdOp } from './osd-op.js';

/** Flags of MOSDOp and MOSDOpReply (`CEPH_OSD_FLAG_*`). */
export const OSD_FLAG = {
  ACK: 1,
  ONNVRAM: 2,
  ONDISK: 4,
  RETRY: 8,
  READ: 0x10,
  WRITE: 0x20,
  ORDERSNAP: 0x40,
  BALANCE_READS: 0x100,
  PARALLELEXEC: 0x200,
  PGOP: 0x400,
  EXEC: 0x800,
  LOCALIZE_READS: 0x2000,
  RWORDERED: 0x4000,
  IGNORE_CACHE: 0x8000,
  SKIPRWLOCKS: 0x10000,
  IGNORE_OVERLAY: 0x20000,
  FLUSH: 0x40000,
  MAP_SNAP_CLONE: 0x80000,
  ENFORCE_SNAPC: 0x100000,
  REDIRECTED: 0x200000,
  KNOWN_REDIR: 0x400000,
  FULL_TRY: 0x800000,
  FULL_FORCE: 0x1000000,
  IGNORE_REDIRECT: 0x2000000,
  RETURNVEC: 0x4000000,
} as const;

export const MOSDOP_VERSION = 8;
export const MOSDOP_COMPAT = 3;
export const MOSDOPREPLY_VERSION = 8;
export const MOSDOPREPLY_COMPAT = 2;

export interface OsdRequest {
  /** The PG after stable_mod, and the shard (-1 for replicated pools). */
  pg: PgId;
  shard: number;
  /** The full 32-bit object hash. */
  hash: number;
  epoch: number;
  flags: number;
  mtime: Utime;
  locator: ObjectLocator;
  oid: string;
  ops: readonly OsdOp[];
  snapid: bigint;
  snapContext: SnapContext;
  retryAttempt: number;
  features: bigint;
}

const REQID_BYTES = 27;
const TRACE_BYTES = 24;

/** All of a MOSDOp's front but names, operations and snapshots. */
const FIXED_FRONT_BYTES = 256;
const SNAP_BYTES = 8;
/** UTF-8 takes at most three bytes for each of a string's units. */
const UTF8_MAX = 3;

/** The front of a MOSDOp, for the connection to encode. The data segment is the operations' input data in order. */
export class OsdRequestFront implements LazyFront {
  readonly #request: OsdRequest;

  constructor(request: OsdRequest) {
    this.#request = request;
  }

  get maxBytes(): number {
    const { oid, locator, ops, snapContext } = this.#request;
    const names = UTF8_MAX * (oid.length + locator.key.length + locator.nspace.length);
    return (
      FIXED_FRONT_BYTES + names + OSD_OP_BYTES * ops.length + SNAP_BYTES * snapContext.snaps.length
    );
  }

  encode(e: Encoder): void {
    const request = this.#request;
    spgId.encode(e, request);
    e.u32(request.hash).u32(request.epoch).u32(request.flags);
    // The reqid is blank: the OSD uses the session's global id, client_inc and the message's tid.
    e.u8(2)
      .u8(2)
      .u32(REQID_BYTES - 6)
      .zeros(REQID_BYTES - 6);
    e.zeros(TRACE_BYTES).u32(0);
    e.u32(request.mtime.sec).u32(request.mtime.nsec);
    objectLocator.encode(e, request.locator);
    e.string(request.oid).u16(request.ops.length);
    for (const op of request.ops) encodeOsdOp(e, op);
    e.u64(request.snapid).u64(request.snapContext.seq).u32(request.snapContext.snaps.length);
    for (const snap of request.snapContext.snaps) e.u64(snap);
    e.s32(request.retryAttempt).u64(request.features);
  }
}

/** The front of a MOSDOp as bytes. */
export function encodeOsdRequest(request: OsdRequest): Uint8Array {
  const front = new OsdRequestFront(request);
  const e = new Encoder(front.maxBytes);
  front.encode(e);
  return e.bytes;
}

/** Pieces of the data segment. */
export function osdRequestData(ops: readonly OsdOp[]): Uint8Array[] {
  const data: Uint8Array[] = [];
  for (const op of ops) if (op.indata.length > 0) data.push(op.indata);
  return data;
}

export interface DecodedOsdRequest extends OsdRequest {
  /** All zero from clients; set by daemons that forward. */
  reqid: { type: number; num: bigint; tid: number; inc: number };
  clientInc: number;
}

/**
 * Decodes a MOSDOp of version 8. Operations' data are views of `data`; their lengths must add up to no more than
 * what came (a real 16.2 OSD aborts there, so a hostile client must not be able to take ours down).
 */
export function decodeOsdRequest(front: Uint8Array, data: Uint8Array): DecodedOsdRequest {
  const d = new Decoder(front);
  const { pg, shard } = spgId.decode(d);
  const hash = d.u32();
  const epoch = d.u32();
  const flags = d.u32();
  const reqid = d.struct('osd_reqid_t', 2, () => ({
    type: d.u8(),
    num: d.s64(),
    tid: d.u64n(),
    inc: d.s32(),
  }));
  d.take(TRACE_BYTES);
  const clientInc = d.u32();
  const mtime = { sec: d.u32(), nsec: d.u32() };
  const locator = objectLocator.decode(d);
  const oid = d.string();
  // librbd asks for several things of every snapshot at once: thousands of operations are no mischief.
  const count = d.u16();
  const ops: OsdOp[] = [];
  let dataAt = 0;
  for (let i = 0; i < count; i++) {
    const { op, payloadLength } = decodeOsdOp(d);
    if (payloadLength > data.length - dataAt) {
      throw new DecodeError(
        `operation ${i} claims ${payloadLength} bytes of data, ${data.length - dataAt} left`,
        d.offset,
        ['MOSDOp'],
      );
    }
    if (payloadLength > 0) {
      op.indata =
        payloadLength === data.length ? data : data.subarray(dataAt, dataAt + payloadLength);
    }
    dataAt += payloadLength;
    ops.push(op);
  }
  const snapid = d.u64();
  const seq = d.u64();
  const snaps: bigint[] = [];
  for (let left = d.count(8); left > 0; left--) snaps.push(d.u64());
  const retryAttempt = d.s32();
  const features = d.u64();
  return {
    pg,
    shard,
    hash,
    epoch,
    flags,
    reqid,
    clientInc,
    mtime,
    locator,
    oid,
    ops,
    snapid,
    snapContext: { seq, snaps },
    retryAttempt,
    features,
  };
}

export interface OsdReplyOp {
  /** As the OSD echoes it: extents shortened to what was read. */
  op: OsdOp;
  rval: number;
  outdata: Uint8Array;
  /** In replies to be sent: what follows `outdata`, in pieces. */
  bulk?: readonly Uint8Array[];
}

export interface OsdReply {
  oid: string;
  pg: PgId;
  flags: number;
  result: number;
  epoch: number;
  ops: OsdReplyOp[];
  retryAttempt: number;
  badReplayVersion: Eversion;
  replayVersion: Eversion;
  userVersion: bigint;
  redirect?: { locator: ObjectLocator; objectName: string } | undefined;
}

/** Decodes a MOSDOpReply of version 6 to 8. Output data are views of `data`. */
export function decodeOsdReply(front: Uint8Array, data: Uint8Array, version: number): OsdReply {
  const d = new Decoder(front);
  const oid = d.string();
  const pg = pgId.decode(d);
  const flags = d.u64n();
  const result = d.s32();
  const badReplayVersion = eversion.decode(d);
  const epoch = d.u32();
  const count = d.count(OSD_OP_BYTES);
  const ops: OsdReplyOp[] = [];
  let dataAt = 0;
  for (let i = 0; i < count; i++) {
    const { op, payloadLength } = decodeOsdOp(d);
    if (payloadLength > data.length - dataAt) {
      throw new DecodeError(
        `operation ${i} claims ${payloadLength} bytes of data, ${data.length - dataAt} left`,
        d.offset,
        ['MOSDOpReply'],
      );
    }
    ops.push({ op, rval: 0, outdata: data.subarray(dataAt, dataAt + payloadLength) });
    dataAt += payloadLength;
  }
  const retryAttempt = d.s32();
  for (const op of ops) op.rval = d.s32();
  const replayVersion = eversion.decode(d);
  const userVersion = d.u64();
  const redirected = version < 7 || d.bool();
  const redirect = redirected ? decodeRedirect(d) : undefined;
  return {
    oid,
    pg,
    flags,
    result,
    epoch,
    ops,
    retryAttempt,
    badReplayVersion,
    replayVersion,
    userVersion,
    redirect,
  };
}

/** `request_redirect_t`: empty (no pool, no name) means none. */
function decodeRedirect(d: Decoder): OsdReply['redirect'] {
  return d.struct('request_redirect_t', 1, () => {
    const locator = objectLocator.decode(d);
    const objectName = d.string();
    return locator.pool < 0 && objectName === '' ? undefined : { locator, objectName };
  });
}

/** Of one operation, in the data segment of the reply. */
export function outputBytes({ outdata, bulk }: Pick<OsdReplyOp, 'outdata' | 'bulk'>): number {
  return outdata.length + (bulk ? totalBytes(bulk) : 0);
}

/** All of a MOSDOpReply's front but the object's name, operations, and where it is redirected to. */
const FIXED_REPLY_FRONT_BYTES = 128;
const REPLY_OP_BYTES = OSD_OP_BYTES + 4;
const REDIRECT_BYTES = 64;

/** The front of a MOSDOpReply v8, for the connection to encode. The data segment is the operations' output data in order. */
export class OsdReplyFront implements LazyFront {
  readonly #reply: OsdReply;

  constructor(reply: OsdReply) {
    this.#reply = reply;
  }

  get maxBytes(): number {
    const { oid, ops, redirect } = this.#reply;
    const bytes = FIXED_REPLY_FRONT_BYTES + UTF8_MAX * oid.length + REPLY_OP_BYTES * ops.length;
    if (!redirect) return bytes;
    const { locator, objectName } = redirect;
    const names = objectName.length + locator.key.length + locator.nspace.length;
    return bytes + REDIRECT_BYTES + UTF8_MAX * names;
  }

  encode(e: Encoder): void {
    const reply = this.#reply;
    const { badReplayVersion: bad, replayVersion, redirect } = reply;
    e.string(reply.oid);
    pgId.encode(e, reply.pg);
    e.u64n(reply.flags).s32(reply.result);
    e.u64(bad.version).u32(bad.epoch);
    e.u32(reply.epoch).u32(reply.ops.length);
    for (const each of reply.ops) encodeOsdOp(e, each.op, outputBytes(each));
    e.s32(reply.retryAttempt);
    for (const { rval } of reply.ops) e.s32(rval);
    e.u64(replayVersion.version).u32(replayVersion.epoch);
    e.u64(reply.userVersion).bool(redirect !== undefined);
    if (redirect) {
      e.struct(1, 1, () => {
        objectLocator.encode(e, redirect.locator);
        e.string(redirect.objectName).u32(0);
      });
    }
    e.zeros(TRACE_BYTES);
  }
}

/** The front of a MOSDOpReply as bytes. */
export function encodeOsdReply(reply: OsdReply): Uint8Array {
  const front = new OsdReplyFront(reply);
  const e = new Encoder(front.maxBytes);
  front.encode(e);
  return e.bytes;
}

export const BACKOFF_OP = { BLOCK: 1, ACK_BLOCK: 2, UNBLOCK: 3 } as const;

/** MOSDBackoff v1: an OSD asks a client to hold, and later to resend, the operations in [begin, end). */
export const osdBackoff = record('MOSDBackoff', {
  pg: spgId,
  epoch: u32,
  op: u8,
  id: u64,
  begin: hobject,
  end: hobject,
});
export type OsdBackoff = Infer<typeof osdBackoff>;
