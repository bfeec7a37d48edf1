// Goal: we understand what librados and librbd 16.2.15 send, and say it the same way. Method: the captured frames pass
// our frame reader with all checksums, their fronts decode, and the decoded requests encode to the same bytes.

import { describe, expect, it } from 'vitest';

import { FEATURES_SUPPORTED } from '../../src/messages/features.js';
import {
  decodeOsdRequest,
  encodeOsdRequest,
  MOSDOP_COMPAT,
  MOSDOP_VERSION,
  OSD_FLAG,
  osdRequestData,
} from '../../src/messages/osd-messages.js';
import { OP, opName, WATCH_OP } from '../../src/messages/osd-op.js';
import { MSG, PRIORITY } from '../../src/messages/types.js';
import { FrameWriter } from '../../src/msgr/frame-writer.js';
import { crc32c, TestReader } from '../support/frames.js';
import { type CapturedFrame, libradosFrames } from '../support/librados-frames.js';

const frames = libradosFrames();

function received(frame: CapturedFrame) {
  const [message] = TestReader.inSession().feed(frame.bytes).messages;
  if (!message) throw new Error(`no message in ${frame.label}`);
  return message;
}

it('there are nine captured frames', () => {
  expect(frames).toHaveLength(9);
});

describe.each(frames)('$label', (frame) => {
  it('passes the frame reader, checksums included', () => {
    const { header } = received(frame);
    expect(header).toMatchObject({
      type: MSG.OSD_OP,
      version: MOSDOP_VERSION,
      compatVersion: MOSDOP_COMPAT,
      priority: PRIORITY.CLIENT_OP,
    });
  });

  it('decodes to the operations of its label', () => {
    const { front, data } = received(frame);
    const request = decodeOsdRequest(front, data);
    expect(request.oid).toBe(frame.oid);
    expect(request.ops.map((op) => op.code)).toEqual(frame.opCodes);
    expect(request.features).toBe(FEATURES_SUPPORTED);
    expect(request.flags & OSD_FLAG.ONDISK).toBe(OSD_FLAG.ONDISK);
    expect(request.ops.reduce((sum, op) => sum + op.indata.length, 0)).toBe(data.length);
    expect(
      request.ops.every(
        (op) => op.arg.kind !== 'none' || op.code === OP.STAT || op.code === OP.NOTIFY_ACK,
      ),
    ).toBe(true);
  });

  it('has a front and data that we encode to the same bytes', () => {
    const { front, data } = received(frame);
    const request = decodeOsdRequest(front, data);
    expect(Buffer.from(encodeOsdRequest(request)).toString('hex')).toBe(
      Buffer.from(front).toString('hex'),
    );
    expect(Buffer.concat(osdRequestData(request.ops))).toEqual(Buffer.from(data));
  });

  it('is a frame that our writer writes the same but for the counters of the session', () => {
    const { header, front, data } = received(frame);
    const writer = new FrameWriter(crc32c);
    const [ours] = writer.assemble([
      {
        kind: 'message',
        message: { ...header, front, ...(data.length > 0 ? { data: [data] } : {}) },
      },
    ]);
    const theirs = Buffer.from(frame.bytes);
    const written = Buffer.from(ours as Uint8Array);
    // seq, ack_seq, the flags byte, and the checksum over them.
    for (const bytes of [theirs, written]) {
      bytes.fill(0, 32, 40).fill(0, 60, 69).fill(0, 73, 77);
    }
    expect(written.toString('hex')).toBe(theirs.toString('hex'));
  });
});

it('the frames show class calls, a watch, a notify, and a write with its hint', () => {
  const requests = frames.map((frame) => {
    const { front, data } = received(frame);
    return decodeOsdRequest(front, data);
  });
  const call = requests[1]?.ops[0];
  expect(call?.arg.kind).toBe('cls');
  if (call?.arg.kind === 'cls') {
    const { classLength, methodLength } = call.arg;
    expect(Buffer.from(call.indata).toString('latin1', 0, classLength + methodLength)).toBe(
      'rbdget_id',
    );
  }
  const watch = requests.flatMap((request) => request.ops).find((op) => op.code === OP.WATCH);
  expect(watch?.arg).toMatchObject({ kind: 'watch', op: WATCH_OP.WATCH, gen: 0 });
  const [hint, write] = requests.at(-1)?.ops ?? [];
  expect(hint?.arg).toMatchObject({ kind: 'allocHint' });
  expect(write?.arg).toMatchObject({ kind: 'extent', offset: 0, length: write?.indata.length });
  expect(opName(write?.code ?? 0)).toBe('write');
});
