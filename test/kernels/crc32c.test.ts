/**
 * Goal: every path of `createCrc32c` (JS, wasm in place, wasm through the scratch window, several
 * windows) gives what the definition gives, and the definition gives what the rest of the world has.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { createCrc32c, crc32cTwin } from '../../src/kernels/crc32c.js';
import { loadKernels } from '../../src/kernels/load.js';

const KIB = 1024;
const kernels = loadKernels();
const crc32c = createCrc32c(kernels);
const arena = kernels.alloc(4 * KIB * KIB);

const ascii = (text: string) => new TextEncoder().encode(text);

/** The customary, inverted form, in which published vectors are given. */
const standard = (checksum: typeof crc32cTwin, bytes: Uint8Array) =>
  ~checksum(0xffffffff, bytes) >>> 0;

function pseudoRandomBytes(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = seed | 1;
  for (let i = 0; i < length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state;
  }
  return bytes;
}

function inKernelMemory(bytes: Uint8Array, offset = 0): Uint8Array {
  kernels.u8.set(bytes, arena + offset);
  return kernels.u8.subarray(arena + offset, arena + offset + bytes.length);
}

describe.each([
  ['the twin', crc32cTwin],
  ['JS and the scratch window', crc32c],
  ['the kernel in place', (seed: number, bytes: Uint8Array) => crc32c(seed, inKernelMemory(bytes))],
])('%s', (_name, checksum) => {
  it('gives the published vectors of CRC-32C', () => {
    const counting = Uint8Array.from({ length: 32 }, (_, i) => i);
    expect(standard(checksum, ascii('123456789'))).toBe(0xe3069283);
    // RFC 3720 B.4
    expect(standard(checksum, new Uint8Array(32))).toBe(0x8a9136aa);
    expect(standard(checksum, new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
    expect(standard(checksum, counting)).toBe(0x46dd794e);
    expect(standard(checksum, counting.slice().reverse())).toBe(0x113fdb5c);
  });

  it("gives the values of Ceph's own test of its crc32c", () => {
    expect(checksum(0, ascii('foo bar baz'))).toBe(4119623852);
    expect(checksum(1234, ascii('foo bar baz'))).toBe(881700046);
    expect(checksum(0, ascii('whiz bang boom'))).toBe(2360230088);
    expect(checksum(5678, ascii('whiz bang boom'))).toBe(3743019208);
  });

  it('returns the seed, unsigned, for no bytes', () => {
    for (const seed of [0, 1, 0x7fffffff, 0x80000000, 0xffffffff]) {
      expect(checksum(seed, new Uint8Array())).toBe(seed);
      expect(checksum(seed | 0, new Uint8Array())).toBe(seed);
    }
  });

  it('takes a signed seed for the unsigned one', () => {
    for (const length of [7, 63, 64, 200]) {
      const bytes = pseudoRandomBytes(length, 3);
      expect(checksum(-5, bytes)).toBe(checksum(0xfffffffb, bytes));
    }
  });

  it('chains: the checksum of a first part is the seed of the second', () => {
    const bytes = pseudoRandomBytes(700, 11);
    const whole = checksum(77, bytes);
    for (let cut = 0; cut <= bytes.length; cut += 7) {
      expect(checksum(checksum(77, bytes.subarray(0, cut)), bytes.subarray(cut))).toBe(whole);
    }
  });
});

describe('createCrc32c', () => {
  it("gives the values of Ceph's own test for megabytes", () => {
    const ones = new Uint8Array(4096000).fill(1);
    expect(crc32c(0, ones)).toBe(31583199);
    expect(crc32c(1234, ones)).toBe(1400919119);
    kernels.u8.fill(1, arena, arena + ones.length);
    const placed = kernels.u8.subarray(arena, arena + ones.length);
    expect(crc32c(0, placed)).toBe(31583199);
    expect(crc32c(1234, placed)).toBe(1400919119);
  });

  it('agrees with the twin at every length to 300 and every alignment, in place and copied', () => {
    const source = pseudoRandomBytes(400, 5);
    const placed = inKernelMemory(source);
    for (let offset = 0; offset < 16; offset++) {
      for (let length = 0; length <= 300; length++) {
        const seed = length * 0x9e3779b1;
        const outside = source.subarray(offset, offset + length);
        const expected = crc32cTwin(seed, outside);
        const where = `length ${length} at offset ${offset}`;
        expect(crc32c(seed, outside), `${where}, copied`).toBe(expected);
        expect(crc32c(seed, placed.subarray(offset, offset + length)), `${where}, in place`).toBe(
          expected,
        );
      }
    }
  });

  it('lets every single bit of several blocks reach the result as the twin says', () => {
    for (let bit = 0; bit < 8 * 200; bit++) {
      const bytes = new Uint8Array(200);
      bytes[bit >>> 3] = 1 << (bit & 7);
      expect(crc32c(0, bytes), `bit ${bit}`).toBe(crc32cTwin(0, bytes));
    }
  });

  it('agrees with the twin where long messages begin to be collapsed, and at the ends of its chunks', () => {
    const source = pseudoRandomBytes(70_000, 29);
    const placed = inKernelMemory(source);
    const tail = 418;
    const lengths = [2 * tail, 16 * KIB, 16 * KIB + tail, 32 * KIB + tail, 64 * KIB + tail].flatMap(
      (middle) => Array.from({ length: 140 }, (_, i) => middle - 70 + i),
    );
    for (const length of lengths) {
      const seed = length * 0x9e3779b1;
      const bytes = placed.subarray(3, 3 + length);
      expect(crc32c(seed, bytes), `length ${length}`).toBe(crc32cTwin(seed, bytes));
    }
  });

  it('lets every single bit of a collapsed message reach the result', () => {
    const length = 1500;
    const zeros = crc32cTwin(0, new Uint8Array(length));
    for (let bit = 0; bit < 8 * length; bit++) {
      const bytes = inKernelMemory(new Uint8Array(length));
      bytes[bit >>> 3] = 1 << (bit & 7);
      // Linear, and never zero: what one bit adds is x^n mod P.
      const rest = bytes.slice(bit >>> 3);
      expect(crc32c(0, bytes) ^ zeros, `bit ${bit}`).toBe(crc32cTwin(0, rest) | 0);
    }
  });

  it('agrees with the twin at sizes around the scratch window, where parts are chained', () => {
    const window = 128 * KIB;
    const source = pseudoRandomBytes(3 * window + 100, 17);
    for (const length of [
      window - 1,
      window,
      window + 1,
      window + 63,
      2 * window,
      3 * window + 77,
    ]) {
      const bytes = source.subarray(1, 1 + length);
      expect(crc32c(42, bytes), `length ${length}`).toBe(crc32cTwin(42, bytes));
    }
  });

  it('agrees with the twin on random bytes, seeds, sizes and places', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 0xffffffff }),
        fc.integer(),
        fc.oneof(fc.nat({ max: 5_000 }), fc.nat({ max: 600_000 })),
        fc.nat({ max: 100 }),
        (seed, contents, length, offset) => {
          const bytes = pseudoRandomBytes(length, contents);
          const expected = crc32cTwin(seed, bytes);
          expect(crc32c(seed, bytes)).toBe(expected);
          expect(crc32c(seed, inKernelMemory(bytes, offset))).toBe(expected);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('agrees with the twin on arbitrary short messages', () => {
    fc.assert(
      fc.property(fc.integer(), fc.uint8Array({ maxLength: 400 }), (seed, bytes) => {
        expect(crc32c(seed, bytes)).toBe(crc32cTwin(seed, bytes));
      }),
    );
  });

  it('reads a Buffer from the pool and a view of foreign shared memory', () => {
    const text = 'a message that is longer than one block, so that it goes through wasm'.repeat(3);
    const shared = new Uint8Array(new SharedArrayBuffer(1000), 13, text.length);
    shared.set(ascii(text));
    const expected = crc32cTwin(9, ascii(text));
    expect(crc32c(9, Buffer.from(text))).toBe(expected);
    expect(crc32c(9, shared)).toBe(expected);
  });

  it('takes one scratch window from the memory, however often it is created', () => {
    const own = loadKernels({ memoryBytes: KIB * KIB });
    for (let i = 0; i < 100; i++) expect(createCrc32c(own)(0, new Uint8Array(100))).toBe(0);
  });

  it('leaves the bytes and the memory around the scratch window as they are', () => {
    const own = loadKernels();
    const below = own.alloc(64);
    const checksum = createCrc32c(own);
    const above = own.alloc(64);
    own.u8.fill(0xa5, below, below + 64);
    own.u8.fill(0xa5, above, above + 64);
    const bytes = pseudoRandomBytes(300 * KIB, 23);
    const before = bytes.slice();
    checksum(0, bytes);
    expect(Buffer.compare(bytes, before)).toBe(0);
    const guard = new Uint8Array(64).fill(0xa5);
    expect(own.u8.slice(below, below + 64)).toEqual(guard);
    expect(own.u8.slice(above, above + 64)).toEqual(guard);
  });
});
