import { expect, it } from 'vitest';
import { allocShortLived } from '../../src/base/short-lived.js';

it('pieces have the length that was asked for, and no byte in common', () => {
  const lengths = [0, 1, 4095, 4096, 4097, 5000, 8191, 8192, 8193, 20_000];
  const pieces = [...lengths, ...lengths, ...lengths].map((length, i) => ({
    length,
    mark: i + 1,
    bytes: allocShortLived(length),
  }));
  for (const { bytes, mark } of pieces) bytes.fill(mark);
  for (const { bytes, mark, length } of pieces) {
    expect(bytes.length).toBe(length);
    expect(bytes.every((byte) => byte === mark)).toBe(true);
  }
});
