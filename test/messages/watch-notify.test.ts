// Goal: we read what OSDs say to watchers and notifiers, and ask as librados does. Method: messages of a live OSD 16.2.15
// (two watches of client 4107, of which one answered `pong` in time), and the frames captured from librados.

import { describe, expect, it } from 'vitest';

import { decodeAll, encodeWith } from '../../src/encoding/codec.js';
import { Decoder } from '../../src/encoding/decoder.js';
import { decodeOsdRequest } from '../../src/messages/osd-messages.js';
import { notifyAckOp, notifyOp, OP, type OsdOp, watchOp } from '../../src/messages/osd-op.js';
import { notifyReplies, WATCH_EVENT, watchNotify } from '../../src/messages/watch-notify.js';
import { TestReader } from '../support/frames.js';
import { libradosFrames } from '../support/librados-frames.js';

const bytes = (text: string) => new Uint8Array(Buffer.from(text));
const hex = (value: Uint8Array) => Buffer.from(value).toString('hex');

const NOTIFY =
  '010101000000000000000100000000000000000000000a0000000400000070696e67000000000b10000000000000';
const COMPLETE =
  '010203000000000000000100000000000000000000000a0000000000000092ffffff0b10000000000000';
const COMPLETE_DATA =
  '010000000b10000000000000010000000000000004000000706f6e67010000000b100000000000000200000000000000';
const DISCONNECT =
  '010302000000000000000000000000000000000000000000000000000000000000000000000000000000';

const decode = (front: string) => decodeAll('MWatchNotify', watchNotify, Buffer.from(front, 'hex'));

describe('what a live OSD says', () => {
  it('to a watcher, of a notification', () => {
    expect(decode(NOTIFY)).toEqual({
      protocolVersion: 1,
      event: WATCH_EVENT.NOTIFY,
      cookie: 1n,
      version: 1n,
      notifyId: 42_949_672_960n,
      payload: bytes('ping'),
      returnCode: 0,
      notifierGid: 4107n,
    });
  });

  it('to a notifier, of who answered and who did not', () => {
    expect(decode(COMPLETE)).toMatchObject({
      event: WATCH_EVENT.COMPLETE,
      cookie: 3n,
      returnCode: -110,
    });
    const data = Buffer.from(COMPLETE_DATA, 'hex');
    expect(decodeAll('notify_reply', notifyReplies, data)).toEqual({
      replies: [{ gid: 4107n, cookie: 1n, payload: bytes('pong') }],
      missed: [{ gid: 4107n, cookie: 2n }],
    });
  });

  it('to a watcher, of its end', () => {
    expect(decode(DISCONNECT)).toMatchObject({ event: WATCH_EVENT.DISCONNECT, cookie: 2n });
  });

  it.each([
    ['NOTIFY', NOTIFY],
    ['COMPLETE', COMPLETE],
    ['DISCONNECT', DISCONNECT],
  ])('is written the same by us, and refused at every truncation: %s', (_name, front) => {
    expect(hex(encodeWith(watchNotify, decode(front)))).toBe(front);
    for (let length = 0; length < front.length; length += 2) {
      expect(() => decode(front.slice(0, length))).toThrow();
    }
  });

  it('is refused when it claims more answers than it has', () => {
    const lying = Buffer.from(COMPLETE_DATA, 'hex');
    lying.writeUInt32LE(0xffff_ffff, 0);
    expect(() => decodeAll('notify_reply', notifyReplies, lying)).toThrow();
  });
});

describe('what we ask', () => {
  const captured = libradosFrames().flatMap((frame) => {
    const [message] = TestReader.inSession().feed(frame.bytes).messages;
    return message ? decodeOsdRequest(message.front, message.data).ops : [];
  });
  const plain = ({ code, flags, arg, indata }: OsdOp) => ({
    code,
    flags,
    arg,
    indata: hex(indata),
  });
  const theirs = (code: number) => {
    const found = captured.find((op) => op.code === code);
    if (!found) throw new Error('not captured');
    return found;
  };

  it('is the WATCH of librbd', () => {
    const op = theirs(OP.WATCH);
    if (op.arg.kind !== 'watch') throw new Error('no watch');
    const { arg } = op;
    const ours = watchOp(arg.op, arg.cookie, { gen: arg.gen, timeoutSeconds: arg.timeout });
    expect(plain(ours)).toEqual(plain(op));
  });

  it('is the NOTIFY and the NOTIFY_ACK of librbd', () => {
    const notify = theirs(OP.NOTIFY);
    if (notify.arg.kind !== 'notify') throw new Error('no notify');
    const input = new Decoder(notify.indata);
    input.u32();
    const ours = notifyOp(notify.arg.cookie, input.u32(), new Uint8Array(input.blob()));
    expect(plain(ours)).toEqual(plain(notify));
    const ack = theirs(OP.NOTIFY_ACK);
    const answered = new Decoder(ack.indata);
    const ourAck = notifyAckOp(answered.u64(), answered.u64(), new Uint8Array(answered.blob()));
    expect(plain(ourAck)).toEqual(plain(ack));
  });
});
