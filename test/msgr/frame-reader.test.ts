// Goal: whatever pieces the bytes arrive in, the same frames come out, in both modes and at all sizes. The writer's frames
// are checked against librados' own in test/messages/librados-frames.test.ts.

import { describe, expect, it } from 'vitest';

import type { OutgoingMessage } from '../../src/messages/types.js';
import { TAG } from '../../src/msgr/control-frames.js';
import { encodeBanner } from '../../src/msgr/frame.js';
import { WINDOW_BYTES } from '../../src/msgr/frame-reader.js';
import { FrameWriter, type OutgoingFrame } from '../../src/msgr/frame-writer.js';
import { Nonce, onwireCrypto } from '../../src/msgr/onwire-crypto.js';
import { crc32c, type PlaceData, TestReader } from '../support/frames.js';
import { seededRandom } from '../../src/sim/random.js';

const SECRET = seededRandom(9).bytes(64);

type Mode = 'crc' | 'secure';

function writerOf(mode: Mode): FrameWriter {
  const writer = new FrameWriter(crc32c);
  if (mode === 'secure') writer.enableSecureMode(onwireCrypto(SECRET, 'server').tx);
  return writer;
}

function readerOf(mode: Mode, options: { placeData?: PlaceData } = {}): TestReader {
  const reader = TestReader.inSession(options);
  if (mode === 'secure') reader.reader.enableSecureMode(onwireCrypto(SECRET, 'client').rx);
  return reader;
}

function bytes(length: number, seed = 1): Uint8Array {
  const random = seededRandom(seed);
  const words = new Uint32Array(Math.ceil(length / 4));
  for (let i = 0; i < words.length; i++) words[i] = random.u32();
  return new Uint8Array(words.buffer, 0, length);
}

function message(parts: Partial<OutgoingMessage>): OutgoingFrame {
  return {
    kind: 'message',
    message: {
      type: 43,
      version: 8,
      compatVersion: 2,
      priority: 63,
      tid: 1,
      front: new Uint8Array(0),
      ...parts,
    },
  };
}

/** One of each shape: control frames, and messages with every combination of segments. */
const SHAPES: readonly OutgoingFrame[] = [
  { kind: 'control', tag: TAG.WAIT, payload: new Uint8Array(0) },
  { kind: 'control', tag: TAG.KEEPALIVE2, payload: bytes(8) },
  { kind: 'control', tag: TAG.AUTH_DONE, payload: bytes(48) },
  { kind: 'control', tag: TAG.AUTH_DONE, payload: bytes(49) },
  { kind: 'control', tag: TAG.AUTH_DONE, payload: bytes(3000) },
  message({ tid: 1 }),
  message({ tid: 2, front: bytes(1) }),
  message({ tid: 3, front: bytes(209), data: [bytes(39)] }),
  message({ tid: 4, data: [bytes(16)] }),
  message({ tid: 5, middle: bytes(5) }),
  message({ tid: 6, front: bytes(3), middle: bytes(17), data: [bytes(4), bytes(0), bytes(5)] }),
  message({ tid: 7, front: bytes(200), data: [bytes(4096)] }),
];

function expectShapes(reader: TestReader, shapes: readonly OutgoingFrame[]): void {
  expect(reader.delivered).toHaveLength(shapes.length);
  let seq = 0;
  shapes.forEach((frame, i) => {
    const got = reader.delivered[i];
    if (frame.kind === 'control') {
      expect(got).toEqual({
        kind: 'control',
        tag: frame.tag,
        payload: new Uint8Array(frame.payload),
      });
      return;
    }
    if (got?.kind !== 'message') throw new Error(`expected a message, got ${got?.kind}`);
    const { tid, type, version, compatVersion, priority, middle, data } = frame.message;
    const front = frame.message.front as Uint8Array;
    seq++;
    expect(got.header).toEqual({ seq, tid, type, version, compatVersion, priority });
    expect(Buffer.compare(got.front, front)).toBe(0);
    expect(Buffer.compare(got.middle, middle ?? new Uint8Array(0))).toBe(0);
    expect(Buffer.compare(got.data, Buffer.concat(data ?? []))).toBe(0);
  });
}

describe.each(['crc', 'secure'] as const)('frames in %s mode', (mode) => {
  it('come out as they went in, written one by one or as a batch', () => {
    const batch = Buffer.concat(writerOf(mode).assemble(SHAPES));
    expectShapes(readerOf(mode).feed(batch), SHAPES);
    const writer = writerOf(mode);
    const single = Buffer.concat(SHAPES.flatMap((frame) => writer.assemble([frame])));
    expect(single.equals(batch)).toBe(true);
  });

  it('come out of reads of one byte', () => {
    const batch = Buffer.concat(writerOf(mode).assemble(SHAPES));
    expectShapes(readerOf(mode).feed(batch, 1), SHAPES);
  });

  it('come out of reads of any other size', () => {
    const batch = Buffer.concat(writerOf(mode).assemble(SHAPES));
    for (const size of [2, 3, 7, 13, 31, 32, 33, 41, 95, 96, 97, 500, 4096]) {
      expectShapes(readerOf(mode).feed(batch, size), SHAPES);
    }
  });

  it('come out when the stream is cut anywhere', () => {
    const shapes = SHAPES.slice(0, 4).concat(SHAPES.slice(6, 7));
    const batch = Buffer.concat(writerOf(mode).assemble(shapes));
    for (let cut = 1; cut < batch.length; cut++) {
      const reader = readerOf(mode).feed(batch.subarray(0, cut)).feed(batch.subarray(cut));
      expectShapes(reader, shapes);
    }
  });

  const sizes = [
    0,
    1,
    4095,
    4096,
    16 * 1024,
    65_000,
    65_536,
    65_537,
    131_072,
    200_000,
    1 << 20,
    (1 << 20) + 1,
    3_000_000,
  ];

  it.each(sizes)('carry %i bytes of data', (size) => {
    const frames = [
      message({ tid: 1, front: bytes(209), data: [bytes(size)] }),
      message({ tid: 2, front: bytes(10) }),
    ];
    const batch = Buffer.concat(writerOf(mode).assemble(frames));
    for (const segment of [Number.POSITIVE_INFINITY, 65_536, 1000]) {
      expectShapes(readerOf(mode).feed(batch, segment), frames);
    }
  });

  it.each([65_537, 1 << 20, 2_500_000])('carry a front and a middle of %i bytes', (size) => {
    const frames = [
      message({ tid: 1, front: bytes(size) }),
      message({ tid: 2, front: bytes(10), middle: bytes(size), data: [bytes(100)] }),
      message({ tid: 3, front: bytes(size), middle: bytes(size, 2), data: [bytes(size, 3)] }),
    ];
    const batch = Buffer.concat(writerOf(mode).assemble(frames));
    for (const segment of [Number.POSITIVE_INFINITY, 9999]) {
      expectShapes(readerOf(mode).feed(batch, segment), frames);
    }
  });

  it.each([100, 60_000, 70_000, 300_000, 2_000_000])(
    'put %i bytes of data where the receiver wants them, also from coalesced reads',
    (size) => {
      const frames = [1, 2, 3].map((tid) =>
        message({ tid, front: bytes(50), data: [bytes(size, tid)] }),
      );
      const batch = Buffer.concat(writerOf(mode).assemble(frames));
      for (const segment of [Number.POSITIVE_INFINITY, 100_000, 777]) {
        const places = [0, 1, 2].map(() => new Uint8Array(size + 2).fill(0xee));
        const reader = readerOf(mode, {
          placeData: ({ tid }, front, length) => {
            expect(front).toEqual(bytes(50));
            return places[tid - 1]?.subarray(1, 1 + length);
          },
        });
        expectShapes(reader.feed(batch, segment), frames);
        reader.messages.forEach(({ data }, i) => {
          const place = places[i] as Uint8Array;
          expect(data.buffer).toBe(place.buffer);
          expect(data.byteOffset).toBe(1);
          expect([place[0], place[size + 1]]).toEqual([0xee, 0xee]);
        });
      }
    },
  );

  it('ignore a place of the wrong size', () => {
    const frames = [message({ front: bytes(5), data: [bytes(80_000)] })];
    const batch = Buffer.concat(writerOf(mode).assemble(frames));
    const reader = readerOf(mode, { placeData: () => new Uint8Array(79_999) });
    expectShapes(reader.feed(batch), frames);
  });

  it('give each message data of its own, which later frames do not overwrite', () => {
    const frames = [1, 2, 3, 4].map((tid) => message({ tid, data: [bytes(30_000, tid)] }));
    const reader = readerOf(mode).feed(Buffer.concat(writerOf(mode).assemble(frames)));
    expectShapes(reader, frames);
  });
});

describe('the receive buffer', () => {
  it('of a large payload grows with the bytes that came, not with what was declared', () => {
    const frames = [message({ front: bytes(100), data: [bytes(64 << 20)] })];
    const [head] = writerOf('crc').assemble(frames);
    const reader = readerOf('crc').feed(head as Uint8Array);
    // All of the head is there and 64 MiB are announced: at most one read of room is offered.
    expect(reader.reader.readInto().length).toBeLessThanOrEqual(256 * 1024);
    const before = process.memoryUsage().arrayBuffers;
    reader.feed(new Uint8Array(10_000));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 << 20);
  });

  it('is the window for small frames, and never empty', () => {
    const reader = TestReader.inSession();
    expect(reader.reader.readInto().length).toBe(WINDOW_BYTES);
    const [half] = writerOf('crc').assemble([message({ data: [bytes(60_000)] })]);
    reader.feed((half as Uint8Array).subarray(0, 50));
    expect(reader.reader.readInto().length).toBeGreaterThan(0);
  });
});

describe('an aborted frame', () => {
  it.each([
    ['crc', 100],
    ['crc', 100_000],
    ['secure', 100],
    ['secure', 100_000],
  ] as const)('in %s mode with %i bytes is dropped, and the next one counts', (mode, size) => {
    const kept = message({ tid: 2, front: bytes(4) });
    const writer = abortingWriter(mode);
    const reader = readerOf(mode).feed(
      Buffer.concat([
        ...writer.aborted(message({ tid: 1, data: [bytes(size)] })),
        ...writer.next(kept),
      ]),
    );
    expect(reader.messages.map(({ header }) => header.tid)).toEqual([2]);
  });
});

/** Writes frames whose epilogue says that the sender gave up. */
function abortingWriter(mode: Mode) {
  const ABORTED = 0x01;
  const { tx } = onwireCrypto(SECRET, 'server');
  let abort = true;
  const writer = new FrameWriter(crc32c);
  if (mode === 'secure') {
    writer.enableSecureMode(
      Object.assign(Object.create(tx) as typeof tx, {
        seal: (parts: readonly Uint8Array[]) => {
          const last = parts.at(-1);
          const isEpilogue = parts.length > 1 && last?.length === 16 && last[0] === 0x0e;
          if (abort && isEpilogue) last[0] = ABORTED;
          return tx.seal(parts);
        },
      }),
    );
  }
  return {
    aborted(frame: OutgoingFrame): Uint8Array[] {
      const buffers = writer.assemble([frame]);
      if (mode === 'crc') {
        const last = buffers.at(-1) as Uint8Array;
        last[last.length - 13] = ABORTED;
      }
      return buffers;
    },
    next(frame: OutgoingFrame): Uint8Array[] {
      abort = false;
      return writer.assemble([frame]);
    },
  };
}

describe('the banner', () => {
  it('may carry more than we know, in whatever pieces', () => {
    const longer = Buffer.concat([encodeBanner(), Buffer.alloc(20, 7)]);
    longer.writeUInt16LE(36, 8);
    const [frame] = writerOf('crc').assemble([SHAPES[1] as OutgoingFrame]);
    for (const segment of [1, 3, 1000]) {
      const reader = new TestReader().feed(Buffer.concat([longer, frame as Uint8Array]), segment);
      expect(reader.delivered.map(({ kind }) => kind)).toEqual(['banner', 'control']);
    }
  });
});

describe('secure mode', () => {
  it('uses another nonce for each block: the same frame twice is not the same bytes twice', () => {
    const writer = writerOf('secure');
    const frame: OutgoingFrame = { kind: 'control', tag: TAG.KEEPALIVE2, payload: bytes(8) };
    const [first, second] = [writer.assemble([frame]), writer.assemble([frame])];
    expect(Buffer.concat(first).equals(Buffer.concat(second))).toBe(false);
  });

  it('refuses a frame that is played again', () => {
    const frame = Buffer.concat(writerOf('secure').assemble([message({ front: bytes(9) })]));
    const reader = readerOf('secure').feed(frame);
    expect(() => reader.feed(frame)).toThrow('GCM tag mismatch');
    expect(reader.messages).toHaveLength(1);
  });

  it('refuses its own frames played back: the directions have nonces of their own', () => {
    const own = new FrameWriter(crc32c);
    own.enableSecureMode(onwireCrypto(SECRET, 'client').tx);
    const frame = Buffer.concat(own.assemble([message({ front: bytes(9) })]));
    expect(() => readerOf('secure').feed(frame)).toThrow('GCM tag mismatch');
  });

  it('carries its counter through all 64 bits, and ends the session rather than use a nonce twice', () => {
    const start = Buffer.alloc(12, 1);
    start.writeBigUInt64LE(0xffff_fffen, 4);
    const nonce = new Nonce(start);
    const next = () => {
      nonce.check();
      nonce.advance();
      return nonce.bytes.readBigUInt64LE(4);
    };
    expect([next(), next(), next()]).toEqual([0xffff_ffffn, 0x1_0000_0000n, 0x1_0000_0001n]);
    nonce.bytes.writeBigUInt64LE(2n ** 64n - 1n, 4);
    expect([next(), next()]).toEqual([0n, 1n]);
    expect(nonce.bytes.subarray(0, 4)).toEqual(Buffer.alloc(4, 1));
    nonce.bytes.writeBigUInt64LE(0xffff_fffdn, 4);
    next();
    expect(next).toThrow('nonces of this session are used up');
  });

  it('refuses a connection secret that is too short', () => {
    expect(() => onwireCrypto(new Uint8Array(39), 'client')).toThrow('secret of 39 bytes');
  });
});
