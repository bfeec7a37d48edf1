// Goal: no damaged, lying or hostile stream gets through or takes memory. Each input ends in a ProtocolError, or in
// nothing delivered while more bytes are awaited; never in another error, and never in a frame that was not sent.

import { describe, expect, it } from 'vitest';

import { ProtocolError } from '../../src/base/errors.js';
import type { OutgoingMessage } from '../../src/messages/types.js';
import { TAG } from '../../src/msgr/control-frames.js';
import {
  encodeBanner,
  encodePreamble,
  MESSAGE_HEADER_BYTES,
  type Preamble,
} from '../../src/msgr/frame.js';
import { FrameReader } from '../../src/msgr/frame-reader.js';
import { FrameWriter, type OutgoingFrame } from '../../src/msgr/frame-writer.js';
import { onwireCrypto } from '../../src/msgr/onwire-crypto.js';
import { crc32c, TestReader } from '../support/frames.js';
import { seededRandom } from '../../src/sim/random.js';

const SECRET = seededRandom(9).bytes(64);
const PREAMBLE = 32;
const EPILOGUE = 13;

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

function crcFrame(frame: OutgoingFrame): Buffer {
  return Buffer.concat(new FrameWriter(crc32c).assemble([frame]));
}

function flip(bytes: Uint8Array, bit: number): Uint8Array {
  const damaged = new Uint8Array(bytes);
  damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7));
  return damaged;
}

/** Feeds and tells: the error, or undefined when there was none. Anything but a ProtocolError is thrown on. */
function errorOf(reader: TestReader, bytes: Uint8Array): ProtocolError | undefined {
  try {
    reader.feed(bytes);
    return undefined;
  } catch (error) {
    if (error instanceof ProtocolError) return error;
    throw error;
  }
}

describe('a flipped bit in crc mode', () => {
  const frame = crcFrame(
    message({
      front: Buffer.from('front'),
      middle: Buffer.from('mid'),
      data: [Buffer.from('data')],
    }),
  );
  const epilogueAt = frame.length - EPILOGUE;

  it('in the preamble, the header, any segment or any checksum is found', () => {
    for (let bit = 0; bit < 8 * frame.length; bit++) {
      const byte = bit >> 3;
      // Only the low half of the late status has a meaning, to Ceph as to us.
      if (byte === epilogueAt && (bit & 7) >= 4) continue;
      const reader = TestReader.inSession();
      const error = errorOf(reader, flip(frame, bit));
      expect(error, `bit ${bit & 7} of byte ${byte}`).toBeDefined();
      expect(reader.delivered).toEqual([]);
    }
  });

  it('in a control frame is found', () => {
    const control = crcFrame({
      kind: 'control',
      tag: TAG.KEEPALIVE2,
      payload: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
    });
    for (let bit = 0; bit < 8 * control.length; bit++) {
      expect(errorOf(TestReader.inSession(), flip(control, bit)), `bit ${bit}`).toBeDefined();
    }
  });

  it('in a message too large for the window is found, wherever its data went', () => {
    const data = new Uint8Array(100_000).fill(7);
    const large = crcFrame(message({ front: Buffer.from('front'), data: [data] }));
    const interesting = [
      PREAMBLE,
      PREAMBLE + MESSAGE_HEADER_BYTES,
      PREAMBLE + MESSAGE_HEADER_BYTES + 4,
      PREAMBLE + MESSAGE_HEADER_BYTES + 9,
      large.length - EPILOGUE - 50_000,
      large.length - EPILOGUE - 1,
      large.length - EPILOGUE + 1,
      large.length - 1,
    ];
    for (const byte of interesting) {
      for (const placed of [false, true]) {
        const place = new Uint8Array(data.length);
        const reader = TestReader.inSession(placed ? { placeData: () => place } : {});
        expect(errorOf(reader, flip(large, 8 * byte + 3)), `byte ${byte}`).toBeDefined();
        expect(reader.delivered).toEqual([]);
      }
    }
  });
});

describe('a flipped bit in secure mode', () => {
  it.each([10, 100, 70_000])(
    'in a frame with %i bytes of data is found, whichever it is',
    (size) => {
      const writer = new FrameWriter(crc32c);
      writer.enableSecureMode(onwireCrypto(SECRET, 'server').tx);
      const frame = Buffer.concat(
        writer.assemble([message({ front: Buffer.alloc(60, 5), data: [new Uint8Array(size)] })]),
      );
      const step = Math.max(1, Math.floor((8 * frame.length) / 600)) | 1;
      for (let bit = 0; bit < 8 * frame.length; bit += step) {
        const reader = TestReader.inSession();
        reader.reader.enableSecureMode(onwireCrypto(SECRET, 'client').rx);
        expect(errorOf(reader, flip(frame, bit))?.message, `bit ${bit}`).toContain('GCM tag');
        expect(reader.delivered).toEqual([]);
      }
    },
  );
});

describe('a truncated stream', () => {
  it('delivers nothing, and asks for more', () => {
    const frame = crcFrame(message({ front: Buffer.from('front'), data: [Buffer.from('data')] }));
    for (let length = 0; length < frame.length; length++) {
      const reader = TestReader.inSession();
      expect(errorOf(reader, frame.subarray(0, length))).toBeUndefined();
      expect(reader.delivered).toEqual([]);
      expect(reader.reader.readInto().length).toBeGreaterThan(0);
    }
  });
});

function preambleBytes(preamble: Preamble, change?: (bytes: Buffer) => void): Buffer {
  const bytes = Buffer.alloc(PREAMBLE);
  encodePreamble(bytes, 0, preamble, crc32c);
  change?.(bytes);
  bytes.writeUInt32LE(crc32c(0, bytes.subarray(0, 28)), 28);
  return bytes;
}

const HEADER = MESSAGE_HEADER_BYTES;
/** Sizes at which length arithmetic goes wrong. */
const SIZES = [0, 1, 2 ** 16, 2 ** 28 - 1, 2 ** 28, 2 ** 28 + 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];

describe('a preamble with a good checksum', () => {
  it.each([0, 23, 24, 127, 255])('and unknown tag %i is refused', (tag) => {
    const bytes = preambleBytes({ tag, segments: 1, lengths: [0, 0, 0, 0] });
    expect(errorOf(TestReader.inSession(), bytes)?.message).toContain(`unknown frame tag ${tag}`);
  });

  it.each([0, 5, 6, 255])('and %i segments is refused', (segments) => {
    const bytes = preambleBytes(
      { tag: TAG.MESSAGE, segments: 1, lengths: [HEADER, 0, 0, 0] },
      (b) => {
        b[1] = segments;
      },
    );
    expect(errorOf(TestReader.inSession(), bytes)?.message).toContain(`${segments} segments`);
  });

  it.each([2, 3, 4])('and %i segments of which the last is empty is refused', (segments) => {
    const bytes = preambleBytes({ tag: TAG.MESSAGE, segments, lengths: [HEADER, 0, 0, 0] });
    expect(errorOf(TestReader.inSession(), bytes)?.message).toContain('last segment is empty');
  });

  it('of a control frame with several segments or a large one is refused', () => {
    for (const tag of Object.values(TAG)) {
      if (tag === TAG.MESSAGE) continue;
      for (const preamble of [
        { tag, segments: 2, lengths: [8, 8, 0, 0] },
        { tag, segments: 1, lengths: [32 * 1024 + 1, 0, 0, 0] },
        { tag, segments: 1, lengths: [2 ** 32 - 1, 0, 0, 0] },
      ] as Preamble[]) {
        expect(errorOf(TestReader.inSession(), preambleBytes(preamble))).toBeDefined();
      }
    }
  });

  it.each([0, 1, 40, 42, 2 ** 31, 2 ** 32 - 1])(
    'and a message header of %i bytes is refused',
    (length) => {
      const bytes = preambleBytes({ tag: TAG.MESSAGE, segments: 1, lengths: [length, 0, 0, 0] });
      expect(errorOf(TestReader.inSession(), bytes)?.message).toContain(
        `header of ${length} bytes`,
      );
    },
  );

  it('that says it is compressed is refused, for compression was not negotiated', () => {
    const bytes = preambleBytes(
      { tag: TAG.MESSAGE, segments: 1, lengths: [HEADER, 0, 0, 0] },
      (b) => {
        b[26] = 1;
      },
    );
    expect(errorOf(TestReader.inSession(), bytes)?.message).toContain('compressed');
  });

  it('takes no memory for what it declares, at any size and in any segment', () => {
    const before = process.memoryUsage().arrayBuffers;
    const readers: TestReader[] = [];
    for (const front of SIZES) {
      for (const middle of SIZES) {
        for (const data of SIZES) {
          const lengths: Preamble['lengths'] = [HEADER, front, middle, data];
          const segments = data > 0 ? 4 : middle > 0 ? 3 : front > 0 ? 2 : 1;
          const reader = TestReader.inSession({ window: new Uint8Array(128 * 1024) });
          const bytes = preambleBytes({ tag: TAG.MESSAGE, segments, lengths });
          const tooLarge = Math.max(front, middle, data) > 2 ** 28;
          expect(errorOf(reader, bytes) !== undefined, lengths.join()).toBe(tooLarge);
          if (!tooLarge) expect(reader.reader.readInto().length).toBeLessThanOrEqual(256 * 1024);
          readers.push(reader);
        }
      }
    }
    const windows = readers.length * 128 * 1024;
    expect(process.memoryUsage().arrayBuffers - before - windows).toBeLessThan(16 << 20);
  });

  it('and an epilogue status that is neither complete nor aborted is refused', () => {
    const frame = crcFrame(message({ front: Buffer.from('front') }));
    for (let status = 0; status < 16; status++) {
      if (status === 0x0e || status === 0x01) continue;
      frame[frame.length - EPILOGUE] = status;
      expect(errorOf(TestReader.inSession(), frame)?.message).toContain('epilogue status');
    }
  });
});

describe('before the session is established', () => {
  it('a message is refused at its preamble', () => {
    const reader = new FrameReader({
      crc32c,
      window: new Uint8Array(128 * 1024),
      sink: {
        onBanner: () => {},
        onControl: () => {},
        onMessage: () => expect.unreachable(),
        placeData: () => undefined,
      },
    });
    const bytes = Buffer.concat([
      encodeBanner(),
      preambleBytes({ tag: TAG.MESSAGE, segments: 4, lengths: [HEADER, 1, 0, 1 << 20] }),
    ]);
    const place = reader.readInto();
    place.set(bytes);
    expect(() => reader.onRead(bytes.length, place)).toThrow('before the session is established');
  });
});

describe('a banner', () => {
  const banner = (text: string, length: number, payload: Uint8Array) => {
    const head = Buffer.alloc(10);
    head.write(text, 'latin1');
    head.writeUInt16LE(length, 8);
    return Buffer.concat([head, payload]);
  };
  const features = (supported: bigint, required: bigint) => {
    const bytes = Buffer.alloc(16);
    bytes.writeBigUInt64LE(supported);
    bytes.writeBigUInt64LE(required, 8);
    return bytes;
  };

  it.each([
    ['of messenger v1', banner('ceph v027', 0, Buffer.alloc(300)), 'messenger v1 only'],
    ['of a web server', Buffer.from('HTTP/1.1 400 Bad Request\r\n'), 'not a Ceph daemon'],
    ['of an SSH server', Buffer.from('SSH-2.0-OpenSSH_9.2p1\r\n'), 'not a Ceph daemon'],
    ['of noise', Buffer.from(seededRandom(4).bytes(64)), 'not a Ceph daemon'],
    ['of zeros', Buffer.alloc(64), 'not a Ceph daemon'],
    ['with a short payload', banner('ceph v2\n', 15, Buffer.alloc(15)), 'payload of 15 bytes'],
    ['with no payload', banner('ceph v2\n', 0, Buffer.alloc(0)), 'payload of 0 bytes'],
    ['with a huge payload', banner('ceph v2\n', 65_535, Buffer.alloc(9)), 'payload of 65535 bytes'],
    ['of messenger v2.0', banner('ceph v2\n', 16, features(0n, 0n)), 'v2.0 only'],
    ['that requires compression', banner('ceph v2\n', 16, features(3n, 2n)), 'requires messenger'],
    [
      'that requires what nobody knows',
      banner('ceph v2\n', 16, features(1n, 1n << 63n)),
      'requires',
    ],
  ])('%s is refused', (_what, bytes, reason) => {
    for (const segment of [1, 1000]) {
      const reader = new TestReader();
      expect(() => reader.feed(bytes, segment)).toThrow(ProtocolError);
      expect(() => new TestReader().feed(bytes, segment)).toThrow(reason);
    }
  });

  it('of a newer peer, which offers compression, is accepted', () => {
    const reader = new TestReader().feed(banner('ceph v2\n', 16, features(3n, 0n)));
    expect(reader.delivered).toEqual([{ kind: 'banner' }]);
  });
});

it('random streams end in a ProtocolError or in waiting', () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = seededRandom(seed);
    const reader = TestReader.inSession();
    errorOf(reader, random.bytes(random.u32() % 2000));
    expect(reader.delivered).toEqual([]);
  }
});
