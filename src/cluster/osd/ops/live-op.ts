/** One operation of a vector while it executes: its arguments become the echo, its results the reply. */

import type { OsdReplyOp } from '../../../messages/osd-messages.js';
import type { OsdOp, OsdOpArg } from '../../../messages/osd-op.js';
import type { OpContext } from '../op-context.js';

const NO_DATA: Uint8Array = new Uint8Array(0);
const NO_BULK: readonly Uint8Array[] = [];

export class LiveOp implements OsdOp, OsdReplyOp {
  /** ZERO up to the end of the object becomes TRUNCATE, and is echoed so. */
  code: number;
  readonly flags: number;
  /** Echoed; reads shorten it to what was read. */
  readonly arg: OsdOpArg;
  readonly indata: Uint8Array;
  readonly index: number;
  rval = 0;
  outdata = NO_DATA;
  /** What follows `outdata` in the reply: bytes as the store keeps them, not to be written to. */
  bulk = NO_BULK;

  constructor({ code, flags, arg, indata }: OsdOp, index: number) {
    this.code = code;
    this.flags = flags;
    this.arg = ownArg(arg);
    this.indata = indata;
    this.index = index;
  }

  /** As the reply echoes it. */
  get op(): OsdOp {
    return this;
  }
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

export function liveOps(ops: readonly OsdOp[]): LiveOp[] {
  return ops.map((op, index) => new LiveOp(op, index));
}

/** A copy, as an operation may be executed more than once, with numbers that can be encoded again. */
function ownArg(arg: OsdOpArg): OsdOpArg {
  switch (arg.kind) {
    case 'none':
      return arg;
    case 'extent': {
      const { kind, offset, length, truncateSize, truncateSeq } = arg;
      // "No truncation" is (1, all ones) from old clients (the munging at the head of do_osd_ops).
      const isNone = truncateSeq === 1 && truncateSize >= 2 ** 64 - 2048;
      if (isNone) return { kind, offset, length, truncateSize: 0, truncateSeq: 0 };
      return { kind, offset, length, truncateSize: clamp(truncateSize), truncateSeq };
    }
    case 'allocHint': {
      const { kind, expectedObjectSize, expectedWriteSize, flags } = arg;
      return {
        kind,
        expectedObjectSize: clamp(expectedObjectSize),
        expectedWriteSize: clamp(expectedWriteSize),
        flags,
      };
    }
    case 'pgls':
      return { ...arg, count: clamp(arg.count) };
    default:
      return { ...arg };
  }
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
