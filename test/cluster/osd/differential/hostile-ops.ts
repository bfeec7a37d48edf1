// Requests that no honest client sends, as far as a real OSD survives them: numbers near 2^64, lengths that lie, garbage for
// methods, vectors and snapshot contexts that make no sense.

import { lockClass } from '../../../../src/cluster/classes/lock.js';
import { rbdClass } from '../../../../src/cluster/classes/rbd/index.js';
import { NOSNAP } from '../../../../src/encoding/types.js';
import {
  createOp,
  OP,
  type OsdOp,
  omapSetValsOp,
  readOp,
  statOp,
  writeOp,
} from '../../../../src/messages/osd-op.js';
import { bytes, encoded, fill, rawOp, type Step, step } from './step.js';

const MAX = 2n ** 64n - 1n;
const NO_DATA = new Uint8Array(0);

/** An extent of any 64-bit numbers: they lie where a watch has its cookie and version. */
function extent(
  code: number,
  offset: bigint,
  length: bigint,
  { indata = NO_DATA as Uint8Array, truncateSize = 0n, truncateSeq = 0 } = {},
): OsdOp {
  const size = Buffer.alloc(12);
  size.writeBigUInt64LE(truncateSize);
  size.writeUInt32LE(truncateSeq, 8);
  const op = size[0] as number;
  const gen = size.readUInt32LE(1);
  const timeout = size.readUInt32LE(5);
  return rawOp(code, { kind: 'watch', cookie: offset, version: length, op, gen, timeout }, indata);
}

const EDGES = [2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 63n - 1n, 2n ** 63n, MAX - 1n, MAX];
const RANGES: [bigint, bigint][] = [
  ...EDGES.map((offset): [bigint, bigint] => [offset, 1n]),
  ...EDGES.map((length): [bigint, bigint] => [1n, length]),
  [MAX, MAX],
];
const results = { resultsOnly: true };

const ranges = (name: string, code: number, skip: (offset: bigint, length: bigint) => boolean) =>
  RANGES.filter(([offset, length]) => !skip(offset, length)).map(([offset, length]) =>
    step('h', `${name} ${offset}~${length}`, extent(code, offset, length), results),
  );
const none = () => false;

const extents: Step[] = [
  step('h', 'an object', writeOp(0, fill(64, 7))),
  // A real OSD dies of the last: its memory store adds offset and length.
  ...ranges('read', OP.READ, (offset, length) => offset === 1n && length === MAX),
  ...ranges('write of nothing that claims', OP.WRITE, none),
  ...ranges('append of nothing that claims', OP.APPEND, none),
  ...ranges('write-full of nothing that claims', OP.WRITEFULL, none),
  ...EDGES.slice(1).map((offset) =>
    step(
      'h',
      `write of a byte at ${offset}`,
      extent(OP.WRITE, offset, 1n, { indata: fill(1, 1) }),
      results,
    ),
  ),
  ...EDGES.map((size) => step('h', `truncate to ${size}`, extent(OP.TRUNCATE, size, 0n), results)),
  ...EDGES.map((offset) => step('h', `zero ${offset}~1`, extent(OP.ZERO, offset, 1n), results)),
  ...EDGES.map((offset) =>
    step(
      'h',
      `writesame at ${offset}`,
      extent(OP.WRITESAME, offset, 8n, { truncateSize: 8n, indata: fill(8, 2) }),
      results,
    ),
  ),
  step('h', 'it is as it was', readOp(0, 0)),
];

const codes = [0x0000, 0x0001, 0x1000, 0x11ff, 0x2000, 0x21ff, 0x1fff, 0x2fff, 0x3fff, 0xffff];
const vectors: Step[] = [
  ...codes.map((code) =>
    step('h', `opcode 0x${code.toString(16)}`, rawOp(code, { kind: 'none' }), results),
  ),
  step('h', 'no operation at all', [], results),
  step(
    'h',
    '16 operations',
    Array.from({ length: 16 }, () => statOp()),
    results,
  ),
  step(
    'h',
    '2000 operations',
    Array.from({ length: 2000 }, () => statOp()),
    results,
  ),
  step('h', 'a creation that excludes itself', [createOp(true), createOp(true)], results),
  step('x'.repeat(2049), 'a name of 2049 bytes', statOp(), results),
  step('h', 'a locator key of 2049 bytes', writeOp(0, fill(1, 1)), {
    key: 'k'.repeat(2049),
    ...results,
  }),
  step('h', 'a namespace of 300 bytes', statOp(), { nspace: 'n'.repeat(300), ...results }),
  step('h', 'a write to a snapshot', writeOp(0, fill(1, 1)), { snapid: 5n, ...results }),
];

const snaps = (name: string, seq: bigint, list: bigint[]) =>
  step('s', name, writeOp(0, fill(4, 1)), { snapContext: { seq, snaps: list }, ...results });
const contexts: Step[] = [
  snaps('snapshots that ascend', 9n, [1n, 5n]),
  snaps('the same snapshot twice', 9n, [5n, 5n]),
  snaps('a snapshot above the newest', 3n, [9n]),
  snaps('a snapshot 0', 3n, [0n]),
  snaps('NOSNAP as the newest', NOSNAP, [1n]),
  step('s', 'what is there', statOp(), results),
];

const lies: readonly (readonly [string, Uint8Array])[] = [
  ['nothing', NO_DATA],
  ['one byte', fill(1, 1)],
  ['ones', fill(64, 255)],
  ['a count of 2^32 - 1', encoded((e) => e.u32(0xffff_ffff))],
  ['a string of 4 GiB', encoded((e) => e.u32(1).u32(0xffff_fff0).u32(3))],
  ['half of what it claims', encoded((e) => e.u32(2).string('k').u32(100).u8(1))],
];
const OMAP_CODES = {
  OMAPGETKEYS: OP.OMAPGETKEYS,
  OMAPGETVALS: OP.OMAPGETVALS,
  OMAPGETVALSBYKEYS: OP.OMAPGETVALSBYKEYS,
  OMAPSETVALS: OP.OMAPSETVALS,
  OMAPRMKEYS: OP.OMAPRMKEYS,
  OMAP_CMP: OP.OMAP_CMP,
};
const omap: Step[] = [
  step('m', 'an omap', omapSetValsOp(new Map([['k', bytes('v')]]))),
  ...Object.entries(OMAP_CODES).flatMap(([name, code]) =>
    lies.map(([lie, indata]) =>
      step('m', `${name} of ${lie}`, rawOp(code, { kind: 'none' }, indata), results),
    ),
  ),
  ...[OP.OMAPGETKEYS, OP.OMAPGETVALS].map((code) =>
    step(
      'm',
      `${code} with a maximum of 2^64 - 1`,
      rawOp(
        code,
        { kind: 'none' },
        encoded((e) => e.string('').u64(MAX).string('')),
      ),
      results,
    ),
  ),
  step(
    'm',
    'a key of a megabyte',
    omapSetValsOp(new Map([['k'.repeat(1 << 20), bytes('v')]])),
    results,
  ),
  step('m', 'an empty key', omapSetValsOp(new Map([['', bytes('v')]])), results),
];

const watching: Step[] = [
  ...[2, 4, 6, 8, 77, 255].map((what) =>
    step(
      'h',
      `a watch that wants ${what}`,
      rawOp(OP.WATCH, { kind: 'watch', cookie: 1n, version: 0n, op: what, gen: 0, timeout: 0 }),
      results,
    ),
  ),
  ...lies
    .slice(0, 3)
    .map(([lie, indata]) =>
      step(
        'h',
        `an acknowledgement of ${lie}`,
        rawOp(OP.NOTIFY_ACK, { kind: 'none' }, indata),
        results,
      ),
    ),
];

/** Of each method of each class: garbage, and lengths that lie. */
function methods(): Step[] {
  const inputs = lies.filter(([lie]) => lie !== 'one byte' && lie !== 'half of what it claims');
  const classes = Object.entries({ lock: lockClass, rbd: rbdClass });
  return classes
    .flatMap(([name, all]) => Object.keys(all).map((method) => [name, method] as const))
    .flatMap(([className, methodName]) =>
      inputs.map(([lie, input]) =>
        step(
          'c',
          `${className}.${methodName} of ${lie}`,
          rawOp(
            OP.CALL,
            {
              kind: 'cls',
              classLength: className.length,
              methodLength: methodName.length,
              indataLength: input.length,
            },
            Buffer.concat([bytes(className), bytes(methodName), input]),
          ),
          results,
        ),
      ),
    );
}

export const hostileSteps: readonly Step[] = [
  ...extents,
  ...vectors,
  ...contexts,
  ...omap,
  ...watching,
  step('c', 'an object for methods', createOp(true)),
  ...methods(),
];
