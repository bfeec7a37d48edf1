/**
 * One operation of an op vector: `ceph_osd_op` (38 bytes) and its input data (`include/rados.h`).
 *
 *      0        2            6                              34             38
 *     +--------+------------+------------------------------+--------------+
 *     | u16 op | u32 flags  | union, 28 bytes              | u32 payload  |
 *     +--------+------------+------------------------------+--------------+
 *
 * Input data of all operations follow one another in the message's data segment.
 */

import type { Decoder } from '../encoding/decoder.js';
import { type Encoder, encode, utf8Bytes } from '../encoding/encoder.js';

export const OP = {
  READ: 0x1201,
  STAT: 0x1202,
  MAPEXT: 0x1203,
  SPARSE_READ: 0x1205,
  NOTIFY: 0x1206,
  NOTIFY_ACK: 0x1207,
  ASSERT_VER: 0x1208,
  LIST_WATCHERS: 0x1209,
  LIST_SNAPS: 0x120a,
  SYNC_READ: 0x120b,
  OMAPGETKEYS: 0x1211,
  OMAPGETVALS: 0x1212,
  OMAPGETHEADER: 0x1213,
  OMAPGETVALSBYKEYS: 0x1214,
  OMAP_CMP: 0x1219,
  CMPEXT: 0x1220,
  CHECKSUM: 0x121f,
  WRITE: 0x2201,
  WRITEFULL: 0x2202,
  TRUNCATE: 0x2203,
  ZERO: 0x2204,
  DELETE: 0x2205,
  APPEND: 0x2206,
  CREATE: 0x220d,
  ROLLBACK: 0x220e,
  WATCH: 0x220f,
  OMAPSETVALS: 0x2215,
  OMAPSETHEADER: 0x2216,
  OMAPCLEAR: 0x2217,
  OMAPRMKEYS: 0x2218,
  COPY_FROM: 0x221a,
  SETALLOCHINT: 0x2223,
  WRITESAME: 0x2226,
  OMAPRMKEYRANGE: 0x222c,
  COPY_FROM2: 0x222d,
  GETXATTR: 0x1301,
  GETXATTRS: 0x1302,
  CMPXATTR: 0x1303,
  SETXATTR: 0x2301,
  RMXATTR: 0x2304,
  CALL: 0x1401,
  PGLS: 0x1501,
  PGNLS: 0x1505,
  SCRUBLS: 0x1507,
} as const;

const NAMES = new Map<number, string>(
  Object.entries(OP).map(([name, code]) => [code, name.toLowerCase().replaceAll('_', '-')]),
);

export function opName(code: number): string {
  return NAMES.get(code) ?? `op 0x${code.toString(16)}`;
}

const MODE_WRITE = 0x2000;

/** Whether the opcode itself changes the object. A CALL does so by its method's registration, which only the OSD knows. */
export function isWriteOp(code: number): boolean {
  return (code & MODE_WRITE) !== 0;
}

/** `ceph_osd_op.flags`. */
export const OP_FLAG = {
  EXCL: 1,
  FAILOK: 2,
  FADVISE_RANDOM: 4,
  FADVISE_SEQUENTIAL: 8,
  FADVISE_WILLNEED: 0x10,
  FADVISE_DONTNEED: 0x20,
  FADVISE_NOCACHE: 0x40,
} as const;

/** Operators of CMPXATTR and OMAP_CMP. They compare in opposite directions: see `osd-ops` of the embedded OSD. */
export const CMP = { EQ: 1, NE: 2, GT: 3, GTE: 4, LT: 5, LTE: 6 } as const;

export const WATCH_OP = { UNWATCH: 0, LEGACY_WATCH: 1, WATCH: 3, RECONNECT: 5, PING: 7 } as const;

/** The 28-byte union, by what the opcode makes of it. */
export type OsdOpArg =
  | { kind: 'none' }
  | { kind: 'extent'; offset: number; length: number; truncateSize: number; truncateSeq: number }
  | { kind: 'xattr'; nameLength: number; valueLength: number; cmpOp: number; cmpMode: number }
  | {
      kind: 'cls';
      classLength: number;
      methodLength: number;
      indataLength: number;
      /** In replies only: an OSD writes it where other operations have their extent's length. */
      outputLength?: number;
    }
  | { kind: 'pgls'; count: number; startEpoch: number }
  | { kind: 'snap'; snapid: bigint }
  | { kind: 'watch'; cookie: bigint; version: bigint; op: number; gen: number; timeout: number }
  | { kind: 'notify'; cookie: bigint }
  | { kind: 'assertVer'; version: bigint }
  | { kind: 'writesame'; offset: number; length: number; dataLength: number }
  | { kind: 'allocHint'; expectedObjectSize: number; expectedWriteSize: number; flags: number }
  | { kind: 'copyFrom'; snapid: bigint; srcVersion: bigint; flags: number; srcFadviseFlags: number }
  | { kind: 'checksum'; offset: number; length: number; chunkSize: number; type: number };

export interface OsdOp {
  code: number;
  flags: number;
  arg: OsdOpArg;
  /** Input data, borrowed until the operation settles. */
  indata: Uint8Array;
}

const ARG_KIND: Partial<Record<number, OsdOpArg['kind']>> = {
  [OP.READ]: 'extent',
  [OP.MAPEXT]: 'extent',
  [OP.SPARSE_READ]: 'extent',
  [OP.SYNC_READ]: 'extent',
  [OP.CMPEXT]: 'extent',
  [OP.WRITE]: 'extent',
  [OP.WRITEFULL]: 'extent',
  [OP.TRUNCATE]: 'extent',
  [OP.ZERO]: 'extent',
  [OP.APPEND]: 'extent',
  [OP.GETXATTR]: 'xattr',
  [OP.CMPXATTR]: 'xattr',
  [OP.SETXATTR]: 'xattr',
  [OP.RMXATTR]: 'xattr',
  [OP.CALL]: 'cls',
  [OP.PGLS]: 'pgls',
  [OP.PGNLS]: 'pgls',
  [OP.ROLLBACK]: 'snap',
  [OP.WATCH]: 'watch',
  [OP.NOTIFY]: 'notify',
  [OP.ASSERT_VER]: 'assertVer',
  [OP.WRITESAME]: 'writesame',
  [OP.SETALLOCHINT]: 'allocHint',
  [OP.COPY_FROM]: 'copyFrom',
  [OP.COPY_FROM2]: 'copyFrom',
  [OP.CHECKSUM]: 'checksum',
};

export const OSD_OP_BYTES = 38;
const UNION_BYTES = 28;
const NO_ARG: OsdOpArg = { kind: 'none' };
const NO_DATA: Uint8Array = new Uint8Array(0);

/** `payloadBytes`: what the message's data segment holds for it. */
export function encodeOsdOp(encoder: Encoder, op: OsdOp, payloadBytes = op.indata.length): void {
  encoder.u16(op.code).u32(op.flags);
  const start = encoder.length;
  const arg = op.arg;
  switch (arg.kind) {
    case 'none':
      break;
    case 'extent':
      encoder.u64n(arg.offset).u64n(arg.length).u64n(arg.truncateSize).u32(arg.truncateSeq);
      break;
    case 'xattr':
      encoder.u32(arg.nameLength).u32(arg.valueLength).u8(arg.cmpOp).u8(arg.cmpMode);
      break;
    case 'cls':
      encoder.u8(arg.classLength).u8(arg.methodLength).u8(0).u32(arg.indataLength);
      if (arg.outputLength !== undefined) encoder.u8(0).u64n(arg.outputLength);
      break;
    case 'pgls':
      encoder.u64n(arg.count).u32(arg.startEpoch);
      break;
    case 'snap':
      encoder.u64(arg.snapid);
      break;
    case 'watch':
      encoder.u64(arg.cookie).u64(arg.version).u8(arg.op).u32(arg.gen).u32(arg.timeout);
      break;
    case 'notify':
      encoder.u64(arg.cookie);
      break;
    case 'assertVer':
      encoder.u64(0n).u64(arg.version);
      break;
    case 'writesame':
      encoder.u64n(arg.offset).u64n(arg.length).u64n(arg.dataLength);
      break;
    case 'allocHint':
      encoder.u64n(arg.expectedObjectSize).u64n(arg.expectedWriteSize).u32(arg.flags);
      break;
    case 'copyFrom':
      encoder.u64(arg.snapid).u64(arg.srcVersion).u8(arg.flags).u32(arg.srcFadviseFlags);
      break;
    case 'checksum':
      encoder.u64n(arg.offset).u64n(arg.length).u32(arg.chunkSize).u8(arg.type);
      break;
  }
  encoder.zeros(UNION_BYTES - (encoder.length - start));
  encoder.u32(payloadBytes);
}

/** Decodes the 38 bytes; the input data is attached by `attachIndata`, its length is returned. */
export function decodeOsdOp(decoder: Decoder): { op: OsdOp; payloadLength: number } {
  const code = decoder.u16();
  const flags = decoder.u32();
  const start = decoder.offset;
  const arg = decodeArg(decoder, ARG_KIND[code] ?? 'none');
  decoder.take(UNION_BYTES - (decoder.offset - start));
  return { op: { code, flags, arg, indata: NO_DATA }, payloadLength: decoder.u32() };
}

function decodeArg(d: Decoder, kind: OsdOpArg['kind']): OsdOpArg {
  switch (kind) {
    case 'none':
      return NO_ARG;
    case 'extent':
      return {
        kind,
        offset: safeU64(d),
        length: safeU64(d),
        truncateSize: clampU64(d),
        truncateSeq: d.u32(),
      };
    case 'xattr':
      return { kind, nameLength: d.u32(), valueLength: d.u32(), cmpOp: d.u8(), cmpMode: d.u8() };
    case 'cls': {
      const classLength = d.u8();
      const methodLength = d.u8();
      d.u8();
      return { kind, classLength, methodLength, indataLength: d.u32() };
    }
    case 'pgls':
      return { kind, count: clampU64(d), startEpoch: d.u32() };
    case 'snap':
      return { kind, snapid: d.u64() };
    case 'watch':
      return {
        kind,
        cookie: d.u64(),
        version: d.u64(),
        op: d.u8(),
        gen: d.u32(),
        timeout: d.u32(),
      };
    case 'notify':
      return { kind, cookie: d.u64() };
    case 'assertVer':
      d.u64();
      return { kind, version: d.u64() };
    case 'writesame':
      return { kind, offset: safeU64(d), length: safeU64(d), dataLength: safeU64(d) };
    case 'allocHint':
      return {
        kind,
        expectedObjectSize: clampU64(d),
        expectedWriteSize: clampU64(d),
        flags: d.u32(),
      };
    case 'copyFrom':
      return {
        kind,
        snapid: d.u64(),
        srcVersion: d.u64(),
        flags: d.u8(),
        srcFadviseFlags: d.u32(),
      };
    case 'checksum':
      return { kind, offset: safeU64(d), length: safeU64(d), chunkSize: d.u32(), type: d.u8() };
  }
}

/** A u64 whose exact value does not matter above 2^53 (counts, hints, the "no truncate" all-ones). */
/** Beyond what any object can be, one offset is as good as another. */
function safeU64(decoder: Decoder): number {
  return Math.min(Number(decoder.u64()), Number.MAX_SAFE_INTEGER);
}

function clampU64(decoder: Decoder): number {
  return Number(decoder.u64());
}

// ---- makers: one for each operation that a client sends ----

function extent(code: number, offset: number, length: number, indata = NO_DATA, flags = 0): OsdOp {
  return {
    code,
    flags,
    arg: { kind: 'extent', offset, length, truncateSize: 0, truncateSeq: 0 },
    indata,
  };
}

function plain(code: number, indata = NO_DATA, flags = 0): OsdOp {
  return { code, flags, arg: NO_ARG, indata };
}

/** `length` 0 reads to the end of the object. Output: the bytes, short at the end of the object. */
export const readOp = (offset: number, length: number, flags = 0) =>
  extent(OP.READ, offset, length, NO_DATA, flags);
/** Output: `map<u64 offset, u64 length>` and a blob with the extents' bytes. */
export const sparseReadOp = (offset: number, length: number, flags = 0) =>
  extent(OP.SPARSE_READ, offset, length, NO_DATA, flags);
/** Output: u64 size, utime mtime. */
export const statOp = () => plain(OP.STAT);
export const writeOp = (offset: number, data: Uint8Array, flags = 0) =>
  extent(OP.WRITE, offset, data.length, data, flags);
export const writeFullOp = (data: Uint8Array, flags = 0) =>
  extent(OP.WRITEFULL, 0, data.length, data, flags);
export const appendOp = (data: Uint8Array) => extent(OP.APPEND, 0, data.length, data);
export const truncateOp = (size: number) => extent(OP.TRUNCATE, size, 0);
/** A real OSD aborts on length 0 (`ceph_assert`), so it is never sent. */
export function zeroOp(offset: number, length: number): OsdOp {
  if (length <= 0) throw new RangeError('zero needs a length above 0');
  return extent(OP.ZERO, offset, length);
}
export const deleteOp = () => plain(OP.DELETE);
export const createOp = (exclusive: boolean) =>
  plain(OP.CREATE, NO_DATA, exclusive ? OP_FLAG.EXCL : 0);
export const cmpExtOp = (offset: number, data: Uint8Array) =>
  extent(OP.CMPEXT, offset, data.length, data);
export const writeSameOp = (
  offset: number,
  length: number,
  pattern: Uint8Array,
  flags = 0,
): OsdOp => ({
  code: OP.WRITESAME,
  flags,
  arg: { kind: 'writesame', offset, length, dataLength: pattern.length },
  indata: pattern,
});
export const allocHintOp = (
  expectedObjectSize: number,
  expectedWriteSize: number,
  hintFlags = 0,
): OsdOp => ({
  code: OP.SETALLOCHINT,
  flags: OP_FLAG.FAILOK,
  arg: { kind: 'allocHint', expectedObjectSize, expectedWriteSize, flags: hintFlags },
  indata: NO_DATA,
});
export const rollbackOp = (snapid: bigint): OsdOp => ({
  code: OP.ROLLBACK,
  flags: 0,
  arg: { kind: 'snap', snapid },
  indata: NO_DATA,
});
export const assertVersionOp = (version: bigint): OsdOp => ({
  code: OP.ASSERT_VER,
  flags: 0,
  arg: { kind: 'assertVer', version },
  indata: NO_DATA,
});
export const listSnapsOp = () => plain(OP.LIST_SNAPS);
export const listWatchersOp = () => plain(OP.LIST_WATCHERS);

/** `op` is a `WATCH_OP`; `gen` counts the connections of one registration; `timeoutSeconds` 0: the OSD's own (30). */
export const watchOp = (
  op: number,
  cookie: bigint,
  { gen = 0, timeoutSeconds = 0 }: { gen?: number; timeoutSeconds?: number } = {},
): OsdOp => ({
  code: OP.WATCH,
  flags: 0,
  arg: { kind: 'watch', cookie, version: 0n, op, gen, timeout: timeoutSeconds },
  indata: NO_DATA,
});

/** A watcher's answer to a notification. */
export const notifyAckOp = (notifyId: bigint, cookie: bigint, reply: Uint8Array): OsdOp => ({
  code: OP.NOTIFY_ACK,
  flags: 0,
  arg: NO_ARG,
  indata: encode((e) => e.u64(notifyId).u64(cookie).blob(reply)),
});

const NOTIFY_PROTOCOL = 1;
/**
 * Tells every watcher of the object. Output: u64 notify id, at once; that all watchers acknowledged (or the timeout,
 * 0 for the OSD's own, passed) comes later as a WATCH_NOTIFY message with `cookie`.
 */
export const notifyOp = (cookie: bigint, timeoutSeconds: number, payload: Uint8Array): OsdOp => ({
  code: OP.NOTIFY,
  flags: 0,
  arg: { kind: 'notify', cookie },
  indata: encode((e) => e.u32(NOTIFY_PROTOCOL).u32(timeoutSeconds).blob(payload)),
});

function concat(...parts: Uint8Array[]): Uint8Array {
  return parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
}

function xattr(code: number, name: string, value = NO_DATA, cmpOp = 0, cmpMode = 0): OsdOp {
  const nameBytes = utf8Bytes(name);
  return {
    code,
    flags: 0,
    arg: { kind: 'xattr', nameLength: nameBytes.length, valueLength: value.length, cmpOp, cmpMode },
    indata: concat(nameBytes, value),
  };
}

export const getXattrOp = (name: string) => xattr(OP.GETXATTR, name);
export const getXattrsOp = () => plain(OP.GETXATTRS);
export const setXattrOp = (name: string, value: Uint8Array) => xattr(OP.SETXATTR, name, value);
export const rmXattrOp = (name: string) => xattr(OP.RMXATTR, name);
const CMP_MODE_STRING = 1;
const CMP_MODE_U64 = 2;
export const cmpXattrOp = (name: string, cmpOp: number, value: Uint8Array) =>
  xattr(OP.CMPXATTR, name, value, cmpOp, CMP_MODE_STRING);
export const cmpXattrU64Op = (name: string, cmpOp: number, value: bigint) =>
  xattr(
    OP.CMPXATTR,
    name,
    encode((e) => e.u64(value)),
    cmpOp,
    CMP_MODE_U64,
  );

export const omapGetKeysOp = (startAfter: string, max: number) =>
  plain(
    OP.OMAPGETKEYS,
    encode((e) => e.string(startAfter).u64n(max)),
  );
export const omapGetValsOp = (startAfter: string, max: number, prefix = '') =>
  plain(
    OP.OMAPGETVALS,
    encode((e) => e.string(startAfter).u64n(max).string(prefix)),
  );
export const omapGetHeaderOp = () => plain(OP.OMAPGETHEADER);
export const omapGetValsByKeysOp = (keys: readonly string[]) =>
  plain(
    OP.OMAPGETVALSBYKEYS,
    encode((e) => encodeStrings(e, keys)),
  );
export const omapSetValsOp = (values: ReadonlyMap<string, Uint8Array>) =>
  plain(
    OP.OMAPSETVALS,
    encode((e) => {
      e.u32(values.size);
      for (const key of sortedKeys(values.keys()))
        e.string(key).blob(values.get(key) as Uint8Array);
    }),
  );
export const omapSetHeaderOp = (header: Uint8Array) => plain(OP.OMAPSETHEADER, header);
export const omapClearOp = () => plain(OP.OMAPCLEAR);
export const omapRmKeysOp = (keys: readonly string[]) =>
  plain(
    OP.OMAPRMKEYS,
    encode((e) => encodeStrings(e, keys)),
  );
export const omapRmKeyRangeOp = (begin: string, end: string) =>
  plain(
    OP.OMAPRMKEYRANGE,
    encode((e) => e.string(begin).string(end)),
  );
/** Each entry: the stored value compared with the given one (`stored OP given`); false fails with ECANCELED. */
export const omapCmpOp = (assertions: ReadonlyMap<string, { value: Uint8Array; op: number }>) =>
  plain(
    OP.OMAP_CMP,
    encode((e) => {
      e.u32(assertions.size);
      for (const key of sortedKeys(assertions.keys())) {
        const { value, op } = assertions.get(key) as { value: Uint8Array; op: number };
        e.string(key).blob(value).s32(op);
      }
    }),
  );

function encodeStrings(encoder: Encoder, strings: readonly string[]): void {
  encoder.u32(strings.length);
  for (const text of sortedKeys(strings)) encoder.string(text);
}

/** Ceph orders string keys by unsigned bytes; JavaScript's default order is by UTF-16 unit. */
function sortedKeys(keys: Iterable<string>): string[] {
  return [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

/** A class call: `method` of object class `cls` with `input`. */
export function callOp(cls: string, method: string, input: Uint8Array = NO_DATA): OsdOp {
  const name = utf8Bytes(cls + method);
  return {
    code: OP.CALL,
    flags: 0,
    arg: {
      kind: 'cls',
      classLength: cls.length,
      methodLength: method.length,
      indataLength: input.length,
    },
    indata: concat(name, input),
  };
}

/** Lists a PG's objects from `cursor` (an encoded hobject). */
export const pgnlsOp = (cursor: Uint8Array, count: number, startEpoch: number): OsdOp => ({
  code: OP.PGNLS,
  flags: 0,
  arg: { kind: 'pgls', count, startEpoch },
  indata: cursor,
});

/** `set-alloc-hint, write`, `rbd.get_id`: an op vector for messages and logs. */
export function describeOps(ops: readonly OsdOp[]): string {
  return ops
    .map((op) => (op.arg.kind === 'cls' ? classCallName(op, op.arg) : opName(op.code)))
    .join(', ');
}

function classCallName(op: OsdOp, arg: { classLength: number; methodLength: number }): string {
  const { buffer, byteOffset } = op.indata;
  const name = Buffer.from(buffer, byteOffset, arg.classLength + arg.methodLength).toString(
    'latin1',
  );
  return `${name.slice(0, arg.classLength)}.${name.slice(arg.classLength)}`;
}
