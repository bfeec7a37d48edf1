// One request of the differential script, and how its answer is made comparable between two OSDs.

import { createHash } from 'node:crypto';
import { encode } from '../../../../src/encoding/encoder.js';
import type { OsdOp, OsdOpArg } from '../../../../src/messages/osd-op.js';
import { OSD_OP_BYTES } from '../../../../src/messages/osd-op.js';
import type { RawReply, RawRequest } from '../support/raw-client.js';

export interface Step extends RawRequest {
  name: string;
  /** Operations that name the pool. */
  build?: (pool: number) => OsdOp[];
  /** Takes out of the output data what no two OSDs agree on: clocks, random names. */
  mask?: (outdata: Uint8Array) => Uint8Array | string;
  /** The results alone: values beyond 2^53 are echoed as 2^53. */
  resultsOnly?: boolean;
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

/** The answer as a line of text. Versions count from `base`, so that what the PG did before does not matter. */
export function describeReply(
  { front, reply }: RawReply,
  base: bigint,
  mask: Step['mask'],
): string {
  const version = (value: bigint) => (value === 0n ? '-' : String(value - base));
  const eversion = ({ version: v, epoch }: { version: bigint; epoch: number }) =>
    `${version(v)}${epoch === 0 ? '' : "'e"}`;
  // The operations as they stand on the wire: after oid, pg, flags, result, version, epoch and count.
  const opsAt = 4 + Buffer.byteLength(reply.oid) + 17 + 8 + 4 + 12 + 4 + 4;
  const ops = reply.ops.map(({ rval, outdata }, i) => {
    const at = opsAt + OSD_OP_BYTES * i;
    const echo = Buffer.from(front.subarray(at, at + OSD_OP_BYTES)).toString('hex');
    return `[${echo.replace(/(00)+$/, '*')} ${rval} ${shown(mask ? mask(outdata) : outdata)}]`;
  });
  const { replayVersion, badReplayVersion, userVersion, retryAttempt, result, flags } = reply;
  const versions = [eversion(replayVersion), eversion(badReplayVersion), version(userVersion)];
  const head = `result ${result} flags ${flags.toString(16)} versions ${versions.join(' ')}`;
  return `${head}${retryAttempt === 0 ? '' : ` attempt ${retryAttempt}`} ${ops.join(' ')}`.trim();
}

const SHOWN_BYTES = 600;

function shown(outdata: Uint8Array | string): string {
  if (typeof outdata === 'string') return outdata;
  if (outdata.length <= SHOWN_BYTES) return Buffer.from(outdata).toString('hex');
  return `${outdata.length} bytes, sha256 ${createHash('sha256').update(outdata).digest('hex')}`;
}

/** What an answer says of success and failure. */
export function describeResults({ reply }: RawReply): string {
  return `result ${reply.result} ${reply.ops.map(({ rval }) => rval).join(' ')}`.trim();
}
