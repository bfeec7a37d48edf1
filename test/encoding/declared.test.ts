// Goal: every declared structure, of whatever folder, keeps what it is given and survives what a peer may send. The
// structures are found by looking through the modules' exports, so that a new one is tested from the day it is declared.

import { describe, expect, it } from 'vitest';

import { type Codec, decodeAll, encodeWith } from '../../src/encoding/codec.js';
import { DecodeError } from '../../src/encoding/decoder.js';
import { declaredCodecs, sampleBytes, seededDraw } from '../support/codecs.js';

const codecs = await declaredCodecs();
const SAMPLES = 40;

/** Undefined when it decodes; anything but a DecodeError is thrown on. */
function failureOf(codec: Codec<unknown>, bytes: Uint8Array): DecodeError | undefined {
  try {
    decodeAll('value', codec, bytes);
    return undefined;
  } catch (error) {
    if (error instanceof DecodeError) return error;
    throw error;
  }
}

it('finds the structures of every folder', () => {
  expect(codecs.length).toBeGreaterThan(80);
});

describe.each(codecs)('$name', ({ codec }) => {
  it('decodes what it encodes, to the last byte and back to the same bytes', () => {
    for (let seed = 1; seed <= SAMPLES; seed++) {
      const bytes = sampleBytes(codec, seed);
      expect(bytes.length).toBeGreaterThanOrEqual(codec.minBytes);
      const again = encodeWith(codec, decodeAll('value', codec, bytes));
      expect(Buffer.from(again).equals(bytes), `seed ${seed}`).toBe(true);
    }
  });

  it('refuses every truncation with a DecodeError', () => {
    for (let seed = 1; seed <= 8; seed++) {
      const bytes = sampleBytes(codec, seed);
      for (let length = 0; length < bytes.length; length++) {
        const failure = failureOf(codec, bytes.slice(0, length));
        expect(failure, `seed ${seed}, ${length} of ${bytes.length} bytes`).toBeDefined();
        expect(failure?.offset).toBeLessThanOrEqual(length);
      }
    }
  });

  it('answers lies about lengths and counts with a DecodeError or with a value', () => {
    for (let seed = 1; seed <= 8; seed++) {
      const bytes = sampleBytes(codec, seed);
      for (let at = 0; at + 4 <= bytes.length; at++) {
        for (const lie of [0xffff_ffff, 0x8000_0000, 0x7fff_ffff, bytes.length - at - 3, 0]) {
          const lying = Buffer.from(bytes);
          lying.writeUInt32LE(lie, at);
          failureOf(codec, lying);
        }
      }
    }
  });

  it('answers random damage with a DecodeError or with a value', () => {
    for (let seed = 1; seed <= SAMPLES; seed++) {
      const draw = seededDraw(seed);
      const bytes = sampleBytes(codec, seed);
      if (bytes.length === 0) continue;
      for (let changes = 0; changes <= draw(4); changes++) {
        bytes[draw(bytes.length)] = draw(256);
      }
      failureOf(codec, bytes);
    }
  });
});
