/** Frames that librados and librbd 16.2.15 sent to an OSD: captured with strace, complete from preamble to epilogue. */

import { readFileSync } from 'node:fs';

import { packageFile } from '../../src/base/paths.js';

export interface CapturedFrame {
  /** `MOSDOp oid=rbd_id.w1 ops=0x1202`. */
  label: string;
  oid: string;
  opCodes: number[];
  bytes: Uint8Array;
}

export function libradosFrames(): CapturedFrame[] {
  const text = readFileSync(packageFile('test/fixtures/librados-frames.txt'), 'utf8');
  return text
    .split('\n')
    .filter((line) => line.startsWith('MOSDOp'))
    .map((line) => {
      const [label = '', hex = ''] = line.split(' : ');
      return {
        label,
        oid: /oid=(\S+)/.exec(label)?.[1] ?? '',
        opCodes: (/ops=(\S+)/.exec(label)?.[1] ?? '').split(',').map(Number),
        bytes: new Uint8Array(Buffer.from(hex.trim(), 'hex')),
      };
    });
}
