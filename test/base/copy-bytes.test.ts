/** Goal: `copyBytes` is `set`, whatever memory the two lie in and however they lie there. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { copyBytes } from '../../src/base/copy-bytes.js';

const ROOM = 8192;
const memories = {
  private: () => new ArrayBuffer(ROOM),
  shared: () => new SharedArrayBuffer(ROOM),
};
const kinds = fc.constantFrom<keyof typeof memories>('private', 'shared');

describe('copyBytes', () => {
  it('copies all of the source to its place and touches nothing else', () => {
    fc.assert(
      fc.property(
        ...[kinds, kinds, fc.nat(4000), fc.nat(40), fc.nat(40), fc.nat(4000)],
        (from, to, length, sourceOffset, targetOffset, at) => {
          const source = new Uint8Array(memories[from](), sourceOffset, length);
          for (let i = 0; i < length; i++) source[i] = (i * 7 + 1) & 0xff;
          const memory = new Uint8Array(memories[to]()).fill(0xee);
          const expected = Uint8Array.from(memory);
          expected.set(source, targetOffset + at);
          copyBytes(memory.subarray(targetOffset), source, at);
          expect(Buffer.compare(memory, expected)).toBe(0);
        },
      ),
    );
  });

  it.each([1, 255, 256, 5000])('refuses %i bytes that do not fit, and copies nothing', (length) => {
    const target = new Uint8Array(length + 2);
    const source = new Uint8Array(length).fill(1);
    expect(() => copyBytes(target, source, 3)).toThrow(RangeError);
    expect(target.every((byte) => byte === 0)).toBe(true);
  });

  it('copies nothing from nothing, anywhere within the target', () => {
    copyBytes(new Uint8Array(0), new Uint8Array(0));
    copyBytes(new Uint8Array(4), new Uint8Array(0), 4);
  });
});
