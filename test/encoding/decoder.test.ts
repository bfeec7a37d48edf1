import { describe, expect, it } from 'vitest';

import { list, record, since, string, struct, u8, u32, wrapped } from '../../src/encoding/codec.js';
import { decodeAll, decodeFirst, encodeWith } from '../../src/encoding/codec.js';
import { DecodeError, Decoder } from '../../src/encoding/decoder.js';
import { Encoder, encode } from '../../src/encoding/encoder.js';

const decoder = (...bytes: number[]) => new Decoder(Uint8Array.from(bytes));

describe('reading numbers', () => {
  it('is little-endian', () => {
    const d = decoder(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    expect(d.u8()).toBe(1);
    expect(d.u16()).toBe(0x0302);
    expect(d.u32()).toBe(0x07060504);
    expect(d.u64()).toBe(0x0f0e0d0c0b0a0908n);
    expect(d.remaining).toBe(0);
  });

  it('keeps the sign of signed ones', () => {
    const bytes = encode((e) => e.s8(-2).s16(-3).s32(-4).s64(-5n).s64n(-6));
    const d = new Decoder(bytes);
    expect([d.s8(), d.s16(), d.s32(), d.s64(), d.s64n()]).toEqual([-2, -3, -4, -5n, -6]);
  });

  it('accepts sizes up to 2^53 - 1 and refuses what a number cannot hold exactly', () => {
    const of = (value: bigint) => new Decoder(encode((e) => e.u64(value)));
    expect(of(2n ** 53n - 1n).u64n()).toBe(Number.MAX_SAFE_INTEGER);
    expect(() => of(2n ** 53n).u64n()).toThrow(DecodeError);
    expect(() => of(2n ** 64n - 1n).u64n()).toThrow(DecodeError);
    expect(of(2n ** 64n - 1n).s64n()).toBe(-1);
    expect(of(BigInt.asUintN(64, -(2n ** 53n - 1n))).s64n()).toBe(Number.MIN_SAFE_INTEGER);
    expect(() => of(BigInt.asUintN(64, -(2n ** 53n))).s64n()).toThrow(DecodeError);
    expect(() => of(2n ** 63n).s64n()).toThrow(DecodeError);
  });

  it('names the offset where the bytes ran out', () => {
    const d = decoder(1, 2, 3);
    d.u8();
    expect(() => d.u32()).toThrow('needs 4 bytes, 2 left at byte 1');
  });
});

describe('reading lengths and counts', () => {
  it('compares a length with what is left before using it', () => {
    for (const length of [4, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
      const bytes = encode((e) => e.u32(length).u8(1).u8(2).u8(3));
      expect(() => new Decoder(bytes).blob()).toThrow(DecodeError);
      expect(() => new Decoder(bytes).string()).toThrow(DecodeError);
    }
  });

  it('compares a count with what even the smallest elements would take', () => {
    for (const count of [2, 0xffff_ffff]) {
      const bytes = encode((e) => e.u32(count).u32(7));
      expect(() => decodeFirst(list(u32), bytes)).toThrow(`count ${count} does not fit`);
    }
    expect(
      decodeFirst(
        list(u32),
        encode((e) => e.u32(1).u32(7)),
      ),
    ).toEqual([7]);
  });

  it('refuses to go backwards', () => {
    expect(() => decoder(1, 2).take(-1)).toThrow(DecodeError);
  });

  it('gives views of the input, and copies from memory that is shared', () => {
    const shared = new Uint8Array(new SharedArrayBuffer(16));
    shared.set(encode((e) => e.string('grün')));
    expect(new Decoder(shared).string()).toBe('grün');
    expect(new Decoder(shared).blob().buffer).toBe(shared.buffer);
  });
});

describe('text', () => {
  it('keeps a leading byte order mark: names are bytes', () => {
    const name = '\ufeffvm1';
    expect(new Decoder(encode((e) => e.string(name))).string()).toBe(name);
  });

  it('replaces what is not UTF-8 instead of failing', () => {
    expect(new Decoder(encode((e) => e.blob(Uint8Array.of(0x61, 0xff, 0x62)))).string()).toBe(
      'a\ufffdb',
    );
  });
});

describe('versioned structures', () => {
  const v2 = struct('thing_t', { version: 2, compat: 1 }, { a: u8, b: since(2, u8, () => 42) });

  it('fills in what an older writer did not know', () => {
    expect(
      decodeAll(
        'x',
        v2,
        encode((e) => e.struct(1, 1, () => e.u8(7))),
      ),
    ).toEqual({
      a: 7,
      b: 42,
    });
  });

  it('skips what a newer writer appended', () => {
    const bytes = encode((e) => e.struct(3, 1, () => e.u8(7).u8(8).u32(9)).u8(0xaa));
    const d = new Decoder(bytes);
    expect(v2.decode(d)).toEqual({ a: 7, b: 8 });
    expect(d.u8()).toBe(0xaa);
  });

  it('refuses a writer that needs a newer reader, and says which', () => {
    const bytes = encode((e) => e.struct(5, 3, () => e.u8(7)));
    expect(() => decodeAll('x', v2, bytes)).toThrow(
      'struct version 5 needs a reader of version 3, this is 2',
    );
  });

  it('never reads past the declared end, even where more bytes follow', () => {
    const bytes = encode((e) =>
      e
        .struct(2, 1, () => e.u8(7))
        .u8(8)
        .u8(9),
    );
    expect(() => v2.decode(new Decoder(bytes))).toThrow(DecodeError);
  });

  it('refuses a declared end beyond the enclosing structure', () => {
    const outer = struct('outer_t', { version: 1, compat: 1 }, { inner: v2 });
    const bytes = Buffer.from(
      encode((e) => e.struct(1, 1, () => e.struct(2, 1, () => e.u8(7).u8(8)))),
    );
    bytes.writeUInt32LE(3, 8);
    const room = Buffer.concat([bytes, Buffer.alloc(16)]);
    expect(() => outer.decode(new Decoder(room))).toThrow(DecodeError);
  });

  it('says in which structure and field it went wrong, innermost first', () => {
    const outer = record('outer_t', { items: list(v2), name: string });
    const bytes = encode((e) =>
      e
        .u32(1)
        .struct(2, 1, () => e.u8(7))
        .string('x'),
    );
    try {
      decodeAll('MThing', outer, bytes);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(DecodeError);
      expect((error as DecodeError).path).toEqual(['b', 'thing_t', 'items', 'outer_t', 'MThing']);
      expect((error as DecodeError).code).toBe('EPROTO');
    }
  });
});

describe('whole buffers', () => {
  it('refuses what is left over', () => {
    expect(() => decodeAll('x', u8, Uint8Array.of(1, 2))).toThrow('1 bytes left over');
    expect(() =>
      decodeAll(
        'x',
        wrapped('y', u8),
        encode((e) => e.blob(Uint8Array.of(1, 2))),
      ),
    ).toThrow('1 bytes left over');
  });

  it('ignores it where a reply may carry more', () => {
    expect(decodeFirst(u8, Uint8Array.of(1, 2))).toBe(1);
  });
});

describe('writing', () => {
  it('grows as needed and keeps what was written', () => {
    const e = new Encoder(1);
    for (let i = 0; i < 1000; i++) e.u32(i);
    const d = new Decoder(e.bytes);
    for (let i = 0; i < 1000; i++) expect(d.u32()).toBe(i);
  });

  it('writes zeros where it says so, also into grown memory', () => {
    expect([...encode((e) => e.u8(0xff).zeros(5).u8(1), 2)]).toEqual([0xff, 0, 0, 0, 0, 0, 1]);
  });

  it('refuses numbers that are no sizes', () => {
    for (const value of [-1, 0.5, Number.NaN, 2 ** 53]) {
      expect(() => encode((e) => e.u64n(value))).toThrow(RangeError);
    }
    expect(() => encode((e) => e.s64n(-(2 ** 53)))).toThrow(RangeError);
  });

  it('writes only fields that its own version has', () => {
    const thing = struct(
      'thing_t',
      { version: 1, compat: 1, reads: 2 },
      { a: u8, b: since(2, u8, () => 9) },
    );
    expect([...encodeWith(thing, { a: 1, b: 2 })]).toEqual([1, 1, 1, 0, 0, 0, 1]);
    const newer = encode((e) => e.struct(2, 2, () => e.u8(1).u8(2)));
    expect(decodeAll('x', thing, newer)).toEqual({ a: 1, b: 2 });
  });
});
