import { describe, expect, it } from 'vitest';

import { DecodeError } from '../../src/encoding/decoder.js';
import { encode } from '../../src/encoding/encoder.js';
import { NOSNAP, ZERO_EVERSION } from '../../src/encoding/types.js';
import {
  decodeOsdReply,
  decodeOsdRequest,
  encodeOsdReply,
  encodeOsdRequest,
  type OsdReply,
  type OsdRequest,
  osdRequestData,
} from '../../src/messages/osd-messages.js';
import {
  allocHintOp,
  appendOp,
  assertVersionOp,
  callOp,
  CMP,
  cmpExtOp,
  cmpXattrOp,
  cmpXattrU64Op,
  createOp,
  decodeOsdOp,
  deleteOp,
  encodeOsdOp,
  getXattrOp,
  getXattrsOp,
  isWriteOp,
  listSnapsOp,
  listWatchersOp,
  notifyOp,
  OP,
  OSD_OP_BYTES,
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
  type OsdOp,
  opName,
  pgnlsOp,
  readOp,
  rmXattrOp,
  rollbackOp,
  setXattrOp,
  sparseReadOp,
  statOp,
  truncateOp,
  writeFullOp,
  writeOp,
  writeSameOp,
  zeroOp,
} from '../../src/messages/osd-op.js';
import { Decoder } from '../../src/encoding/decoder.js';

const text = (value: string) => new TextEncoder().encode(value);

const ALL_OPS: readonly OsdOp[] = [
  readOp(5, 7),
  sparseReadOp(5, 7),
  statOp(),
  writeOp(5, text('data')),
  writeFullOp(text('data')),
  appendOp(text('more')),
  truncateOp(9),
  zeroOp(1, 2),
  deleteOp(),
  createOp(true),
  createOp(false),
  cmpExtOp(3, text('same')),
  writeSameOp(0, 16, text('four')),
  allocHintOp(4 << 20, 4096, 3),
  rollbackOp(7n),
  assertVersionOp(9n),
  listSnapsOp(),
  listWatchersOp(),
  notifyOp(77n, 30, text('hello')),
  getXattrOp('name'),
  getXattrsOp(),
  setXattrOp('näme', text('value')),
  rmXattrOp('name'),
  cmpXattrOp('name', CMP.EQ, text('v')),
  cmpXattrU64Op('name', CMP.GT, 8n),
  omapGetKeysOp('after', 10),
  omapGetValsOp('after', 10, 'prefix'),
  omapGetHeaderOp(),
  omapGetValsByKeysOp(['b', 'a']),
  omapSetValsOp(new Map([['k', text('v')]])),
  omapSetHeaderOp(text('header')),
  omapClearOp(),
  omapRmKeysOp(['k']),
  omapRmKeyRangeOp('a', 'b'),
  omapCmpOp(new Map([['k', { value: text('v'), op: CMP.LT }]])),
  callOp('rbd', 'get_id', text('in')),
  pgnlsOp(text('cursor'), 100, 5),
];

const REQUEST: OsdRequest = {
  pg: { pool: 3, seed: 0x1f },
  shard: -1,
  hash: 0xdeadbe1f,
  epoch: 42,
  flags: 0x400024,
  mtime: { sec: 1_700_000_000, nsec: 5 },
  locator: { pool: 3, key: '', nspace: 'ns', hash: -1 },
  oid: 'rbd_data.1.0000000000000000',
  ops: ALL_OPS,
  snapid: NOSNAP,
  snapContext: { seq: 9n, snaps: [9n, 4n] },
  retryAttempt: 2,
  features: 0x3f01cfbdfffdffffn,
};

const REPLY: OsdReply = {
  oid: 'object',
  pg: { pool: 3, seed: 0x1f },
  flags: 0x25,
  result: -2,
  epoch: 42,
  ops: [
    { op: readOp(0, 4), rval: 0, outdata: text('four') },
    { op: statOp(), rval: -2, outdata: text('') },
    { op: callOp('rbd', 'get_id'), rval: 1, outdata: text('id') },
  ],
  retryAttempt: 1,
  badReplayVersion: { version: 5n, epoch: 6 },
  replayVersion: { version: 7n, epoch: 8 },
  userVersion: 9n,
};

const replyData = Buffer.concat(REPLY.ops.map((op) => op.outdata));

describe('operations', () => {
  it.each(ALL_OPS.map((op) => [opName(op.code), op] as const))(
    '%s takes 38 bytes and comes back',
    (_name, op) => {
      const bytes = encode((e) => encodeOsdOp(e, op));
      expect(bytes.length).toBe(OSD_OP_BYTES);
      const { op: again, payloadLength } = decodeOsdOp(new Decoder(bytes));
      expect(again).toEqual({ ...op, indata: new Uint8Array(0) });
      expect(payloadLength).toBe(op.indata.length);
    },
  );

  it('know whether they change the object', () => {
    expect(isWriteOp(OP.WRITE)).toBe(true);
    expect(isWriteOp(OP.WATCH)).toBe(true);
    expect(isWriteOp(OP.READ)).toBe(false);
    expect(isWriteOp(OP.CALL)).toBe(false);
    expect(isWriteOp(OP.CMPEXT)).toBe(false);
  });

  it('of an opcode that nobody knows keep their code and take their bytes', () => {
    const bytes = Buffer.alloc(OSD_OP_BYTES, 0xff);
    const { op, payloadLength } = decodeOsdOp(new Decoder(bytes));
    expect(op).toMatchObject({ code: 0xffff, arg: { kind: 'none' } });
    expect(opName(op.code)).toBe('op 0xffff');
    expect(payloadLength).toBe(0xffff_ffff);
  });

  it('list keys in the order of their bytes, which is not that of UTF-16', () => {
    const keys = ['\u{1f600}', '\uffee', 'a'];
    const indata = Buffer.from(omapGetValsByKeysOp(keys).indata);
    expect(indata.indexOf('\uffee')).toBeLessThan(indata.indexOf('\u{1f600}'));
  });

  it('never ask an OSD to zero nothing, which it would not survive', () => {
    expect(() => zeroOp(0, 0)).toThrow(RangeError);
  });
});

describe('a request', () => {
  it('comes back with its operations and their data', () => {
    const data = Buffer.concat(osdRequestData(REQUEST.ops));
    const decoded = decodeOsdRequest(encodeOsdRequest(REQUEST), data);
    expect(decoded).toMatchObject({
      ...REQUEST,
      ops: REQUEST.ops.map(({ indata, ...op }) => ({
        ...op,
        indata: expect.anything() as unknown,
      })),
    });
    decoded.ops.forEach((op, i) => {
      expect(Buffer.from(op.indata)).toEqual(Buffer.from(REQUEST.ops[i]?.indata ?? []));
    });
  });

  it('that claims more data than came is refused: a real OSD would not survive it', () => {
    const front = encodeOsdRequest({ ...REQUEST, ops: [writeOp(0, text('1234'))] });
    expect(() => decodeOsdRequest(front, text('123'))).toThrow('claims 4 bytes of data, 3 left');
    for (const lie of [0xffff_ffff, 0x8000_0000, 5]) {
      const lying = encodeOsdRequest({
        ...REQUEST,
        ops: [{ ...writeOp(0, text('')), indata: { length: lie } as Uint8Array }],
      });
      expect(() => decodeOsdRequest(lying, text('1234'))).toThrow(DecodeError);
    }
  });

  it('of a tid that nobody counts to is refused', () => {
    const front = Buffer.from(encodeOsdRequest(REQUEST));
    // After the PG (24 bytes), hash, epoch and flags: the reqid's header, its type and its number.
    front.writeBigUInt64LE(2n ** 60n, 24 + 12 + 6 + 9);
    expect(() => decodeOsdRequest(front, Buffer.concat(osdRequestData(REQUEST.ops)))).toThrow(
      'over 2^53',
    );
  });

  it('has as many operations as the wire allows, if they are there', () => {
    const ops = Array.from({ length: 0xffff }, () => statOp());
    const front = encodeOsdRequest({ ...REQUEST, ops });
    expect(decodeOsdRequest(front, text('')).ops).toHaveLength(0xffff);
    expect(() => decodeOsdRequest(front.slice(0, 100_000), text(''))).toThrow(DecodeError);
  });

  it('is refused at every truncation', () => {
    const front = encodeOsdRequest(REQUEST);
    const data = Buffer.concat(osdRequestData(REQUEST.ops));
    for (let length = 0; length < front.length; length++) {
      expect(() => decodeOsdRequest(front.slice(0, length), data), `${length}`).toThrow(
        DecodeError,
      );
    }
  });
});

describe('a reply', () => {
  it('comes back with results, versions and output data', () => {
    const decoded = decodeOsdReply(encodeOsdReply(REPLY), replyData, 8);
    expect(decoded).toMatchObject({
      ...REPLY,
      ops: REPLY.ops.map(({ rval, op }) => ({ rval, op: { code: op.code } })),
    });
    expect(decoded.ops.map((op) => Buffer.from(op.outdata).toString())).toEqual(['four', '', 'id']);
    expect(decoded.redirect).toBeUndefined();
  });

  it('carries a redirect', () => {
    const redirect = {
      locator: { pool: 5, key: 'k', nspace: 'n', hash: -1 },
      objectName: 'elsewhere',
    };
    const decoded = decodeOsdReply(encodeOsdReply({ ...REPLY, redirect }), replyData, 8);
    expect(decoded.redirect).toEqual(redirect);
  });

  it('of version 6 always has a redirect, of which an empty one is none', () => {
    // Version 6 ends with the redirect, and has neither the u8 before it nor the trace behind.
    const v8 = encodeOsdReply({ ...REPLY, ops: [] });
    const empty = encode((e) =>
      e.struct(1, 1, () =>
        e
          .struct(6, 3, () => e.s64n(-1).s32(-1).string('').string('').s64n(-1))
          .string('')
          .u32(0),
      ),
    );
    const v6 = Buffer.concat([v8.subarray(0, v8.length - 25), empty]);
    expect(decodeOsdReply(v6, text(''), 6).redirect).toBeUndefined();
    expect(decodeOsdReply(v6, text(''), 6).userVersion).toBe(9n);
  });

  it('has the bytes of a live OSD', () => {
    // A NOTIFY on an object `wobj`, answered by 16.2.15.
    const front = Buffer.from(
      '04000000776f626a010100000000000000' +
        '06000000ffffffff15000000000000000000000001000000000000000000000' +
        '00b000000010000000612000000000500000000000000' +
        '00'.repeat(20) +
        '080000000000000000000000' +
        '00'.repeat(12) +
        '010000000000000000' +
        '00'.repeat(24),
      'hex',
    );
    const decoded = decodeOsdReply(front, Buffer.from('000000000b000000', 'hex'), 8);
    expect(decoded).toMatchObject({
      oid: 'wobj',
      pg: { pool: 1, seed: 6 },
      result: 0,
      epoch: 11,
      userVersion: 1n,
      replayVersion: ZERO_EVERSION,
    });
    expect(decoded.ops[0]?.op).toMatchObject({ code: OP.NOTIFY, arg: { cookie: 5n } });
    expect(Buffer.from(decoded.ops[0]?.outdata ?? []).readBigUInt64LE()).toBe(0xb00000000n);
    expect(Buffer.from(encodeOsdReply(decoded)).toString('hex')).toBe(front.toString('hex'));
  });

  it('whose operations claim more output than came is refused', () => {
    expect(() => decodeOsdReply(encodeOsdReply(REPLY), replyData.subarray(1), 8)).toThrow(
      'claims 2 bytes of data, 1 left',
    );
  });

  it('with a lying number of operations is refused at once', () => {
    const front = Buffer.from(encodeOsdReply(REPLY));
    const countAt = 4 + REPLY.oid.length + 17 + 8 + 4 + 12 + 4;
    expect(front.readUInt32LE(countAt)).toBe(3);
    for (const lie of [4, 0x7fff_ffff, 0xffff_ffff]) {
      front.writeUInt32LE(lie, countAt);
      expect(() => decodeOsdReply(front, replyData, 8)).toThrow(DecodeError);
    }
  });

  it('is refused at every truncation before its trace, which is not read', () => {
    const front = encodeOsdReply(REPLY);
    for (let length = 0; length < front.length - 24; length++) {
      expect(() => decodeOsdReply(front.slice(0, length), replyData, 8), `${length}`).toThrow(
        DecodeError,
      );
    }
  });
});
