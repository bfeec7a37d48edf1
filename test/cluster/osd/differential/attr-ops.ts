// Xattrs and omap.

import {
  CMP,
  cmpXattrOp,
  cmpXattrU64Op,
  createOp,
  deleteOp,
  getXattrOp,
  getXattrsOp,
  OP,
  omapClearOp,
  omapCmpOp,
  omapGetHeaderOp,
  omapGetKeysOp,
  omapGetValsByKeysOp,
  omapGetValsOp,
  omapRmKeyRangeOp,
  omapRmKeysOp,
  omapSetHeaderOp,
  omapSetValsOp,
  rmXattrOp,
  setXattrOp,
  statOp,
  truncateOp,
  writeFullOp,
} from '../../../../src/messages/osd-op.js';
import { OSD_FLAG } from '../../../../src/messages/osd-messages.js';
import { bytes, encoded, rawOp, type Step, step } from './step.js';

const RETURNVEC = { flags: OSD_FLAG.RETURNVEC };
const pairs = (...entries: [string, string][]) =>
  new Map(entries.map(([key, value]) => [key, bytes(value)]));
const xattrArg = (nameLength: number, valueLength: number, cmpOp = 0, cmpMode = 0) =>
  ({ kind: 'xattr', nameLength, valueLength, cmpOp, cmpMode }) as const;
const ALL_CMP = Object.values(CMP);

export const xattrSteps: Step[] = [
  step('a1', 'getxattr of a missing object', getXattrOp('k')),
  step('a1', 'rmxattr of a missing object', rmXattrOp('k')),
  step('a1', 'cmpxattr of a missing object', cmpXattrOp('k', CMP.EQ, bytes(''))),
  step('a1', 'setxattr creates the object', setXattrOp('k', bytes('value'))),
  step('a1', 'stat', statOp()),
  step('a1', 'getxattr', getXattrOp('k')),
  step('a1', 'getxattr of a missing attribute', getXattrOp('zz')),
  step('a1', 'more attributes', [
    setXattrOp('b', bytes('2')),
    setXattrOp('a', bytes('')),
    setXattrOp('é', bytes('x')),
  ]),
  step('a1', 'getxattrs', getXattrsOp()),
  step(
    'a1',
    'a set is not seen by a get of its vector',
    [setXattrOp('k', bytes('later')), getXattrOp('k')],
    RETURNVEC,
  ),
  step('a1', 'but after it', getXattrOp('k')),
  step('a1', 'a set is not seen by a compare of its vector', [
    setXattrOp('k', bytes('v3')),
    cmpXattrOp('k', CMP.EQ, bytes('v3')),
  ]),
  step('a1', 'the old value is', [
    setXattrOp('k', bytes('v3')),
    cmpXattrOp('k', CMP.EQ, bytes('later')),
  ]),
  ...ALL_CMP.flatMap((op) => [
    step('a1', `cmpxattr ${op} with a smaller value`, cmpXattrOp('k', op, bytes('v2'))),
    step('a1', `cmpxattr ${op} with the same value`, cmpXattrOp('k', op, bytes('v3'))),
    step('a1', `cmpxattr ${op} with a larger value`, cmpXattrOp('k', op, bytes('v4'))),
    step('a1', `cmpxattr ${op} of a missing attribute`, cmpXattrOp('none', op, bytes('v'))),
  ]),
  step('a1', 'cmpxattr with an unknown operator', cmpXattrOp('k', 9, bytes('v3'))),
  step(
    'a1',
    'cmpxattr with an unknown mode',
    rawOp(OP.CMPXATTR, xattrArg(1, 2, CMP.EQ, 7), bytes('kv3')),
  ),
  step(
    'a1',
    'cmpxattr of an empty value with a missing attribute',
    cmpXattrOp('none', CMP.EQ, bytes('')),
  ),
  step('a1', 'a number', setXattrOp('n', bytes('42'))),
  ...ALL_CMP.flatMap((op) => [
    step('a1', `cmpxattr u64 ${op} with 41`, cmpXattrU64Op('n', op, 41n)),
    step('a1', `cmpxattr u64 ${op} with 42`, cmpXattrU64Op('n', op, 42n)),
    step('a1', `cmpxattr u64 ${op} with 43`, cmpXattrU64Op('n', op, 43n)),
  ]),
  step('a1', 'cmpxattr u64 of a missing attribute', cmpXattrU64Op('none', CMP.EQ, 0n)),
  step('a1', 'cmpxattr u64 of text', cmpXattrU64Op('k', CMP.EQ, 0n)),
  step(
    'a1',
    'cmpxattr u64 with too short a value',
    rawOp(OP.CMPXATTR, xattrArg(1, 3, CMP.EQ, 2), bytes('nabc')),
  ),
  step('a1', 'a failing compare stops the chain', [
    cmpXattrOp('k', CMP.EQ, bytes('no')),
    getXattrOp('k'),
  ]),
  step('a1', 'the longest attribute name', setXattrOp('x'.repeat(100), bytes('1'))),
  step('a1', 'an attribute name that is too long', setXattrOp('x'.repeat(101), bytes('1'))),
  step('a1', 'rmxattr', rmXattrOp('k')),
  step('a1', 'gone', getXattrOp('k')),
  step('a1', 'truncate keeps attributes', truncateOp(0)),
  step('a1', 'writefull keeps attributes', writeFullOp(bytes('x'))),
  step('a1', 'getxattrs', getXattrsOp()),
  step('a2', 'get on an object created in the vector', [createOp(true), getXattrOp('k')]),
  step('a2', 'getxattrs on an object created in the vector', [createOp(true), getXattrsOp()]),
  step('a2', 'compare on an object created in the vector', [
    createOp(true),
    cmpXattrOp('k', CMP.EQ, bytes('')),
  ]),
];

export const omapSteps: Step[] = [
  step('o1', 'keys of a missing object', omapGetKeysOp('', 10)),
  step('o1', 'clear of a missing object', omapClearOp()),
  step('o1', 'rmkeys of a missing object', omapRmKeysOp(['a'])),
  step('o1', 'rmkeyrange of a missing object', omapRmKeyRangeOp('a', 'b')),
  step(
    'o1',
    'compare on a missing object',
    omapCmpOp(new Map([['a', { value: bytes(''), op: CMP.EQ }]])),
  ),
  step('o1', 'compare on a missing object, with a write', [
    omapCmpOp(new Map([['a', { value: bytes(''), op: CMP.EQ }]])),
    createOp(false),
  ]),
  step(
    'o1',
    'setvals creates the object',
    omapSetValsOp(pairs(['b', '2'], ['a', '1'], ['c', '3'])),
  ),
  step('o1', 'stat', statOp()),
  step('o1', 'all keys', omapGetKeysOp('', 100)),
  step('o1', 'keys after a', omapGetKeysOp('a', 100)),
  step('o1', 'two keys', omapGetKeysOp('', 2)),
  step('o1', 'three of three keys', omapGetKeysOp('', 3)),
  step('o1', 'no keys', omapGetKeysOp('', 0)),
  step('o1', 'all values', omapGetValsOp('', 100)),
  step('o1', 'values after b', omapGetValsOp('b', 100)),
  step(
    'o1',
    'more keys',
    omapSetValsOp(pairs(['p_1', 'x'], ['p_2', 'y'], ['q', 'z'], ['', 'empty key'])),
  ),
  step('o1', 'values with a prefix', omapGetValsOp('', 100, 'p_')),
  step('o1', 'values with a prefix, one', omapGetValsOp('', 1, 'p_')),
  step('o1', 'values with a prefix, after', omapGetValsOp('p_1', 100, 'p_')),
  step('o1', 'values with a prefix, after another prefix', omapGetValsOp('pz', 100, 'p_')),
  step('o1', 'values with a prefix, after something before', omapGetValsOp('a', 100, 'p_')),
  step('o1', 'values with a prefix that nothing has', omapGetValsOp('', 100, 'zz')),
  step('o1', 'the empty key comes first', omapGetKeysOp('', 100)),
  step('o1', 'values by keys', omapGetValsByKeysOp(['a', 'nothing', 'q', ''])),
  step('o1', 'values by no keys', omapGetValsByKeysOp([])),
  step('o1', 'header, none', omapGetHeaderOp()),
  step('o1', 'set header', omapSetHeaderOp(bytes('HEAD'))),
  step('o1', 'header', omapGetHeaderOp()),
  step(
    'o1',
    'truncated arguments of getkeys',
    rawOp(OP.OMAPGETKEYS, { kind: 'none' }, bytes('\x01\0\0\0a')),
  ),
  step(
    'o1',
    'truncated arguments of getvals',
    rawOp(
      OP.OMAPGETVALS,
      { kind: 'none' },
      encoded((e) => e.string('').u64(3n)),
    ),
  ),
  step(
    'o1',
    'truncated arguments of getvalsbykeys',
    rawOp(
      OP.OMAPGETVALSBYKEYS,
      { kind: 'none' },
      encoded((e) => e.u32(5).string('a')),
    ),
  ),
  step(
    'o1',
    'truncated arguments of setvals',
    rawOp(
      OP.OMAPSETVALS,
      { kind: 'none' },
      encoded((e) => e.u32(2).string('a').string('b')),
    ),
  ),
  step(
    'o1',
    'truncated arguments of rmkeys',
    rawOp(
      OP.OMAPRMKEYS,
      { kind: 'none' },
      encoded((e) => e.u32(9)),
    ),
  ),
  step(
    'o1',
    'truncated arguments of rmkeyrange',
    rawOp(
      OP.OMAPRMKEYRANGE,
      { kind: 'none' },
      encoded((e) => e.string('a')),
    ),
  ),
  step(
    'o1',
    'truncated arguments of compare',
    rawOp(
      OP.OMAP_CMP,
      { kind: 'none' },
      encoded((e) => e.u32(1).string('a')),
    ),
  ),
  ...Object.values(CMP).flatMap((op) => [
    step(
      'o1',
      `omap compare ${op} with a smaller value`,
      omapCmpOp(new Map([['b', { value: bytes('1'), op }]])),
    ),
    step(
      'o1',
      `omap compare ${op} with the same value`,
      omapCmpOp(new Map([['b', { value: bytes('2'), op }]])),
    ),
    step(
      'o1',
      `omap compare ${op} with a larger value`,
      omapCmpOp(new Map([['b', { value: bytes('3'), op }]])),
    ),
    step(
      'o1',
      `omap compare ${op} of a missing key`,
      omapCmpOp(new Map([['nokey', { value: bytes('3'), op }]])),
    ),
  ]),
  step(
    'o1',
    'omap compare of two keys, the second fails',
    omapCmpOp(
      new Map([
        ['a', { value: bytes('1'), op: CMP.EQ }],
        ['b', { value: bytes('9'), op: CMP.EQ }],
      ]),
    ),
  ),
  step('o1', 'omap compare of nothing', omapCmpOp(new Map())),
  step('o1', 'a set is not seen by a compare of its vector', [
    omapSetValsOp(pairs(['a', '5'])),
    omapCmpOp(new Map([['a', { value: bytes('5'), op: CMP.EQ }]])),
  ]),
  step(
    'o1',
    'a set is not seen by a get of its vector',
    [omapSetValsOp(pairs(['new', '5'])), omapGetValsByKeysOp(['new', 'a'])],
    RETURNVEC,
  ),
  step('o1', 'a clear is seen by a get of its vector', [
    omapClearOp(),
    omapGetKeysOp('', 10),
    createOp(true),
  ]),
  step('o1', 'a set after a clear shows the old omap', [
    omapClearOp(),
    omapSetValsOp(pairs(['m', '5'])),
    omapGetKeysOp('', 2),
    createOp(true),
  ]),
  step('o1', 'rmkeys', omapRmKeysOp(['a', 'nothing'])),
  step('o1', 'rmkeyrange', omapRmKeyRangeOp('p', 'p_2')),
  step('o1', 'all values', omapGetValsOp('', 100)),
  // Not a backward range: a real OSD on memstore aborts.
  step('o1', 'rmkeyrange of an empty range', omapRmKeyRangeOp('z', 'z')),
  step(
    'o1',
    'binary keys',
    rawOp(
      OP.OMAPSETVALS,
      { kind: 'none' },
      encoded((e) =>
        e
          .u32(2)
          .blob(Uint8Array.of(0xff, 0, 0x80))
          .blob(bytes('bin'))
          .blob(Uint8Array.of(0x80))
          .blob(bytes('bin2')),
      ),
    ),
  ),
  step('o1', 'keys with binary ones last', omapGetKeysOp('', 100)),
  step('o1', 'clear', omapClearOp()),
  step('o1', 'clear again', omapClearOp()),
  step('o1', 'nothing left', omapGetKeysOp('', 100)),
  step('o1', 'header is gone too', omapGetHeaderOp()),
  step('o1', 'delete', deleteOp()),
  step(
    'o2',
    'get on an object created in the vector',
    [createOp(true), omapGetKeysOp('', 5), omapGetHeaderOp()],
    RETURNVEC,
  ),
  step('o3', 'a header creates the object', omapSetHeaderOp(bytes('h'))),
  step('o3', 'header', omapGetHeaderOp()),
];
