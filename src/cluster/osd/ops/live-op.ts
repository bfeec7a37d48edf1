/** One operation of a vector while it executes: its arguments become the echo, its results the reply. */

import type { OsdOp, OsdOpArg } from '../../../messages/osd-op.js';
import type { OpContext } from '../op-context.js';

export interface LiveOp {
  /** ZERO up to the end of the object becomes TRUNCATE, and is echoed so. */
  code: number;
  readonly flags: number;
  /** Echoed; reads shorten it to what was read. */
  readonly arg: OsdOpArg;
  readonly indata: Uint8Array;
  readonly index: number;
  rval: number;
  outdata: Uint8Array;
  /** What follows `outdata` in the reply: bytes as the store keeps them, not to be written to. */
  bulk: readonly Uint8Array[];
}

/**
 * Executes one operation and returns its result. `carried` is the result of the operation before: those that do not
 * set one of their own (STAT, ASSERT_VER, omap reads) hand it on, as `PrimaryLogPG::do_osd_ops` does.
 */
export type OpHandler = (ctx: OpContext, op: LiveOp, carried: number) => number;

type ArgOf<K extends OsdOpArg['kind']> = Extract<OsdOpArg, { kind: K }>;

/** The union as `kind`. The decoder chose the kind by the opcode, so a mismatch is a programmer's error. */
export function argOf<K extends OsdOpArg['kind']>(op: LiveOp, kind: K): ArgOf<K> {
  if (op.arg.kind !== kind)
    throw new TypeError(`operation 0x${op.code.toString(16)} is no ${kind}`);
  return op.arg as ArgOf<K>;
}

const NO_DATA: Uint8Array = new Uint8Array(0);
const NO_BULK: readonly Uint8Array[] = [];

export function liveOp(op: OsdOp, index: number): LiveOp {
  const arg = { ...op.arg };
  if (arg.kind === 'extent') {
    // "No truncation" is (1, all ones) from old clients (the munging at the head of do_osd_ops).
    if (arg.truncateSeq === 1 && arg.truncateSize >= 2 ** 64 - 2048) {
      arg.truncateSeq = 0;
      arg.truncateSize = 0;
    }
    arg.truncateSize = clamp(arg.truncateSize);
  } else if (arg.kind === 'pgls') {
    arg.count = clamp(arg.count);
  } else if (arg.kind === 'allocHint') {
    arg.expectedObjectSize = clamp(arg.expectedObjectSize);
    arg.expectedWriteSize = clamp(arg.expectedWriteSize);
  }
  return {
    code: op.code,
    flags: op.flags,
    arg,
    indata: op.indata,
    index,
    rval: 0,
    outdata: NO_DATA,
    bulk: NO_BULK,
  };
}

/** It answers nothing. */
export function dropOutput(op: LiveOp): void {
  op.outdata = NO_DATA;
  op.bulk = NO_BULK;
}

/** In one piece. */
export function wholeOutput({ outdata, bulk }: LiveOp): Uint8Array {
  return bulk.length === 0 ? outdata : Buffer.concat([outdata, ...bulk]);
}

/** Numbers over 2^53 were rounded on decoding; the echo must still be encodable. */
function clamp(value: number): number {
  return Math.min(value, Number.MAX_SAFE_INTEGER);
}
