// COPY_FROM: an object becomes a copy of another.

import { NOSNAP, objectLocator } from '../../../../src/encoding/types.js';
import {
  getXattrsOp,
  listSnapsOp,
  OP,
  type OsdOp,
  omapGetHeaderOp,
  omapGetValsOp,
  omapSetHeaderOp,
  omapSetValsOp,
  readOp,
  setXattrOp,
  statOp,
  writeOp,
} from '../../../../src/messages/osd-op.js';
import { SNAPDIR } from '../../../../src/encoding/types.js';
import { bytes, encoded, fill, rawOp, type Step, step } from './step.js';

interface Copy {
  snapid?: bigint;
  version?: bigint;
  flags?: number;
  nspace?: string;
  truncate?: [seq: number, size: number];
}

const copyFrom =
  (
    code: number,
    oid: string,
    { snapid = NOSNAP, version = 0n, flags = 0, nspace = '', truncate }: Copy = {},
  ) =>
  (pool: number): OsdOp =>
    rawOp(
      code,
      { kind: 'copyFrom', snapid, srcVersion: version, flags, srcFadviseFlags: 0 },
      encoded((e) => {
        e.string(oid);
        objectLocator.encode(e, { pool, key: '', nspace, hash: -1 });
        if (truncate) e.u32(truncate[0]).u64n(truncate[1]);
      }),
    );

const copy = (
  oid: string,
  name: string,
  from: string,
  options: Copy = {},
  more: Partial<Step> = {},
) =>
  step(oid, name, [], {
    build: (pool) => [copyFrom(OP.COPY_FROM2, from, options)(pool)],
    write: true,
    ...more,
  });

export const copySteps: Step[] = [
  step('src', 'a source', [
    writeOp(10, fill(5000, 3)),
    setXattrOp('x', bytes('1')),
    omapSetValsOp(new Map([['k', bytes('v')]])),
    omapSetHeaderOp(bytes('head')),
  ]),
  copy('dst', 'copy', 'src'),
  step('dst', 'stat', statOp()),
  step('dst', 'data', readOp(0, 0)),
  step('dst', 'xattrs', getXattrsOp()),
  step('dst', 'omap', [omapGetValsOp('', 10), omapGetHeaderOp()]),
  step('dst', 'the old form', [], {
    build: (pool) => [copyFrom(OP.COPY_FROM, 'src')(pool)],
    write: true,
  }),
  copy('dst', 'from a missing object', 'nothing'),
  copy('dst', 'from itself', 'dst'),
  copy('dst', 'from another namespace', 'src', { nspace: 'other' }),
  copy('dst', 'with unknown flags', 'src', { flags: 0x40 }),
  copy('dst', 'without the announced truncation', 'src', { flags: 32 }),
  copy(
    'dst',
    'truncated arguments',
    'src',
    {},
    {
      build: () => [
        rawOp(
          OP.COPY_FROM2,
          { kind: 'copyFrom', snapid: NOSNAP, srcVersion: 0n, flags: 0, srcFadviseFlags: 0 },
          bytes('\x09\0\0\0ab'),
        ),
      ],
    },
  ),
  step('over', 'something to replace', [writeOp(0, fill(9000, 1)), setXattrOp('gone', bytes('x'))]),
  copy(
    'over',
    'copy over it, after a snapshot',
    'src',
    {},
    { snapContext: { seq: 5n, snaps: [5n] } },
  ),
  step('over', 'stat', statOp()),
  step('over', 'xattrs', getXattrsOp()),
  step('over', 'list snaps', listSnapsOp(), { snapid: SNAPDIR }),
  copy('old', 'from a snapshot', 'over', { snapid: 5n }),
  step('old', 'stat', statOp()),
  step('old', 'xattrs', getXattrsOp()),
  step('old', 'write afterwards', writeOp(0, bytes('z'))),
  step('old', 'stat', statOp()),
];
