/** Streams of bytes that are no messenger v2.1, to either end. */

import { TAG, tagName } from '../../src/msgr/control-frames.js';
import { encodePreamble, MESSAGE_HEADER_BYTES } from '../../src/msgr/frame.js';
import { FrameReader, WINDOW_BYTES } from '../../src/msgr/frame-reader.js';
import { FrameWriter } from '../../src/msgr/frame-writer.js';
import { crc32c, TestReader } from '../support/frames.js';
import { type HostileCase, refusalOf } from './case.js';

const PREAMBLE_BYTES = 32;
const EPILOGUE_BYTES = 13;
const CONTROL_MAX = 32 * 1024;
const SEGMENT_MAX = 256 * 1024 * 1024;
const EDGES = [2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];
const window = new Uint8Array(WINDOW_BYTES);
const inSession = () => TestReader.inSession({ window });

function banner(
  text: string,
  {
    length = 16,
    supported = 1n,
    required = 0n,
  }: { length?: number; supported?: bigint; required?: bigint } = {},
): Buffer {
  const bytes = Buffer.alloc(26);
  bytes.write(text, 'latin1');
  bytes.writeUInt16LE(length, 8);
  bytes.writeBigUInt64LE(supported, 10);
  bytes.writeBigUInt64LE(required, 18);
  return bytes;
}

function refusedBanner(name: string, bytes: Buffer, expect: string): HostileCase {
  return {
    name: `banner: ${name}`,
    expect: `EPROTO: ${expect}`,
    act: () => refusalOf(() => new TestReader({ window }).feed(bytes)),
  };
}

const BANNERS: readonly HostileCase[] = [
  refusedBanner('of a web server', banner('HTTP/1.1'), 'the peer is not a Ceph daemon'),
  refusedBanner('of messenger v1', banner('ceph v02'), 'the peer speaks messenger v1 only'),
  refusedBanner('of messenger v3', banner('ceph v3\n'), 'the peer is not a Ceph daemon'),
  refusedBanner('in capitals', banner('CEPH V2\n'), 'the peer is not a Ceph daemon'),
  refusedBanner('of zeros', banner('\0\0\0\0\0\0\0\0'), 'the peer is not a Ceph daemon'),
  ...[0, 1, 15].map((length) =>
    refusedBanner(
      `with a payload of ${length} bytes`,
      banner('ceph v2\n', { length }),
      `banner payload of ${length} bytes`,
    ),
  ),
  ...[1025, 0x7fff, 0xffff].map((length) =>
    refusedBanner(
      `with a payload of ${length} bytes`,
      banner('ceph v2\n', { length }),
      `banner payload of ${length} bytes`,
    ),
  ),
  refusedBanner(
    'that requires what nobody has',
    banner('ceph v2\n', { required: 1n << 40n }),
    'the peer requires messenger features 0x10000000000',
  ),
  refusedBanner(
    'of v2.0',
    banner('ceph v2\n', { supported: 0n }),
    'the peer speaks messenger v2.0 only',
  ),
];

interface Shape {
  readonly tag: number;
  readonly segments?: number;
  readonly lengths?: readonly number[];
  readonly compressed?: number;
}

/** With the checksum that it should have. */
function preamble({ tag, segments = 1, lengths = [8], compressed = 0 }: Shape): Buffer {
  const bytes = Buffer.alloc(PREAMBLE_BYTES);
  const four = [0, 1, 2, 3].map((i) => lengths[i] ?? 0) as [number, number, number, number];
  encodePreamble(bytes, 0, { tag, segments, lengths: four }, crc32c);
  bytes[26] = compressed;
  bytes.writeUInt32LE(crc32c(0, bytes, 0, PREAMBLE_BYTES - 4), PREAMBLE_BYTES - 4);
  return bytes;
}

function refusedPreamble(name: string, shape: Shape, expect: string): HostileCase {
  return {
    name: `preamble: ${name}`,
    expect: `EPROTO: ${expect}`,
    act: () => refusalOf(() => inSession().feed(preamble(shape))),
  };
}

const CONTROLS = Object.values(TAG).filter((tag) => tag !== TAG.MESSAGE);
const HEADER = MESSAGE_HEADER_BYTES;

const PREAMBLES: readonly HostileCase[] = [
  ...[0, 23, 24, 64, 127, 128, 255].map((tag) =>
    refusedPreamble(`tag ${tag}`, { tag }, `unknown frame tag ${tag}`),
  ),
  ...[0, 5, 6, 128, 255].map((segments) =>
    refusedPreamble(
      `a message of ${segments} segments`,
      { tag: TAG.MESSAGE, segments, lengths: [HEADER] },
      `MESSAGE frame with ${segments} segments`,
    ),
  ),
  ...CONTROLS.map((tag) =>
    refusedPreamble(
      `${tagName(tag)} of two segments`,
      { tag, segments: 2, lengths: [8, 8] },
      `${tagName(tag)} frame with 2 segments`,
    ),
  ),
  ...CONTROLS.flatMap((tag) =>
    [CONTROL_MAX + 1, 2 ** 31, 2 ** 32 - 1].map((length) =>
      refusedPreamble(
        `${tagName(tag)} of ${length} bytes`,
        { tag, lengths: [length] },
        `${tagName(tag)} frame of ${length} bytes`,
      ),
    ),
  ),
  ...[0, 1, HEADER - 1, HEADER + 1, ...EDGES].map((length) =>
    refusedPreamble(
      `a message with a header of ${length} bytes`,
      { tag: TAG.MESSAGE, segments: 2, lengths: [length, 8] },
      `message header of ${length} bytes`,
    ),
  ),
  ...[1, 2, 3].flatMap((segment) =>
    [SEGMENT_MAX + 1, ...EDGES].map((length) => {
      const lengths = [HEADER, 8, 8, 8].map((usual, i) => (i === segment ? length : usual));
      const [, front, middle, data] = lengths;
      return refusedPreamble(
        `a message with ${length} bytes in segment ${segment}`,
        { tag: TAG.MESSAGE, segments: 4, lengths },
        `message segments of ${front}, ${middle} and ${data} bytes`,
      );
    }),
  ),
  ...[2, 3, 4].map((segments) => {
    const lengths = [HEADER, 8, 8, 8].slice(0, segments - 1);
    return refusedPreamble(
      `a message whose segment ${segments - 1} is empty`,
      { tag: TAG.MESSAGE, segments, lengths },
      'MESSAGE frame whose last segment is empty',
    );
  }),
  ...[1, 2, 255].map((compressed) =>
    refusedPreamble(
      `a frame with flags ${compressed}`,
      { tag: TAG.KEEPALIVE2, compressed },
      'compressed frame, which was not negotiated',
    ),
  ),
  {
    name: 'preamble: a message before the session is established',
    expect: 'EPROTO: MESSAGE frame before the session is established',
    act: () =>
      refusalOf(() => {
        const sink = {
          onBanner: () => {},
          onControl: () => {},
          onMessage: () => {},
          placeData: () => undefined,
        };
        const reader = new FrameReader({ crc32c, window, sink });
        const bytes = Buffer.concat([
          banner('ceph v2\n'),
          preamble({ tag: TAG.MESSAGE, segments: 1, lengths: [HEADER] }),
        ]);
        reader.readInto().set(bytes);
        reader.onRead(bytes.length, reader.readInto());
      }),
  },
];

/** A whole message, with one byte of it changed. */
function damaged(
  name: string,
  at: (length: number) => number,
  expect: string,
  value?: number,
): HostileCase {
  return {
    name: `frame: ${name}`,
    expect: `EPROTO: ${expect}`,
    act: () => {
      const message = {
        ...{ type: 43, version: 8, compatVersion: 2, priority: 63, tid: 1 },
        ...{ front: Buffer.from('front'), middle: Buffer.from('mid'), data: [Buffer.from('data')] },
      };
      const bytes = Buffer.concat(new FrameWriter(crc32c).assemble([{ kind: 'message', message }]));
      const place = at(bytes.length);
      bytes[place] = value ?? (bytes[place] as number) ^ 0x10;
      return refusalOf(() => inSession().feed(bytes));
    },
  };
}

const FRONT_AT = PREAMBLE_BYTES + HEADER + 4;

const FRAMES: readonly HostileCase[] = [
  ...[0, 1, 2, 8, 14, 20, 27, 28, 31].map((at) =>
    damaged(`byte ${at} of the preamble changed`, () => at, 'preamble crc mismatch'),
  ),
  ...[0, 8, 16, HEADER - 1, HEADER, HEADER + 3].map((at) =>
    damaged(
      `byte ${at} of the header and its checksum changed`,
      () => PREAMBLE_BYTES + at,
      'crc mismatch in segment 0',
    ),
  ),
  damaged('the front changed', () => FRONT_AT, 'crc mismatch in segment 1'),
  damaged('the middle changed', () => FRONT_AT + 5, 'crc mismatch in segment 2'),
  damaged('the data changed', () => FRONT_AT + 8, 'crc mismatch in segment 3'),
  ...[1, 2, 3].map((segment) =>
    damaged(
      `the checksum of segment ${segment} changed`,
      (length) => length - EPILOGUE_BYTES + 1 + 4 * (segment - 1),
      `crc mismatch in segment ${segment}`,
    ),
  ),
  ...Array.from({ length: 16 }, (_, status) => status)
    .filter((status) => status !== 0x0e && status !== 0x01)
    .map((status) =>
      damaged(
        `late status ${status}`,
        (length) => length - EPILOGUE_BYTES,
        `epilogue status ${status}`,
        status,
      ),
    ),
];

export const FRAME_CASES: readonly HostileCase[] = [...BANNERS, ...PREAMBLES, ...FRAMES];
