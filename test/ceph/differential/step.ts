// One request of the differential script, and how its answer is made comparable between two OSDs.

import { encode } from '../../../src/encoding/encoder.js';
import type { OsdOp, OsdOpArg } from '../../../src/messages/osd-op.js';
import { OSD_OP_BYTES } from '../../../src/messages/osd-op.js';
import type { RawReply, RawRequest } from '../../cluster/osd/support/raw-client.js';

export interface Step extends RawRequest {
  name: string;
  /** Operations that name the pool. */
  build?: (pool: number) => OsdOp[];
  /** Takes out of the output data what no two OSDs agree on: clocks, random names. */
  mask?: (outdata: Uint8Array) => Uint8Array | string;
}

export function step(
  oid: string,
  name: string,
  ops: OsdOp | OsdOp[],
  more: Partial<Step> = {},
): Step {
  return { oid, name, ops: Array.isArray(ops) ? ops : [ops], ...more };
}

const NO_DATA = new Uint8Array(0);

/** An operation that no maker makes: unknown codes, wrong lengths. */
export function rawOp(code: number, arg: OsdOpArg, indata: Uint8Array = NO_DATA, flags = 0): OsdOp {
  return { code, flags, arg, indata };
}

export const extentArg = (offset: number, length: number, truncateSeq = 0, truncateSize = 0) =>
  ({ kind: 'extent', offset, length, truncateSize, truncateSeq }) as const;

export const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1');
export const fill = (length: number, value: number): Uint8Array => Buffer.alloc(length, value);
export const encoded = encode;

export const zeroed = (at: number, length: number) => (outdata: Uint8Array) => {
  const copy = Uint8Array.from(outdata);
  if (copy.length >= at + length) copy.fill(0, at, at + length);
  return copy;
};

/** The answer as lines of text. Versions count from `base`, so that what the PG did before does not matter. */
export function describeReply(
  { front, reply }: RawReply,
  base: bigint,
  mask: Step['mask'],
): Record<string, unknown> {
  const version = (value: bigint) => (value === 0n ? 'none' : String(value - base));
  const eversion = ({ version: v, epoch }: { version: bigint; epoch: number }) =>
    `${version(v)}${epoch === 0 ? '' : "'e"}`;
  // The operations as they stand on the wire: after oid, pg, flags, result, version, epoch and count.
  const opsAt = 4 + Buffer.byteLength(reply.oid) + 17 + 8 + 4 + 12 + 4 + 4;
  return {
    oid: reply.oid,
    flags: `0x${reply.flags.toString(16)}`,
    result: reply.result,
    retryAttempt: reply.retryAttempt,
    replayVersion: eversion(reply.replayVersion),
    badReplayVersion: eversion(reply.badReplayVersion),
    userVersion: version(reply.userVersion),
    ops: reply.ops.map(({ rval, outdata }, i) => {
      const at = opsAt + OSD_OP_BYTES * i;
      const shown = mask ? mask(outdata) : outdata;
      return {
        echo: Buffer.from(front.subarray(at, at + OSD_OP_BYTES)).toString('hex'),
        rval,
        outdata: typeof shown === 'string' ? shown : Buffer.from(shown).toString('hex'),
      };
    }),
  };
}
