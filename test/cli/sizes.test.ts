import { describe, expect, it } from 'vitest';
import { formatSize, orderOf, parseSize, wholeNumber } from '../../src/cli/sizes.js';

const KIB = 1024;

describe('formatSize', () => {
  // What `rbd info` of Ceph 16.2.15 printed for images resized to these.
  it.each([
    [0, '0 B'],
    [1, '1 B'],
    [1000, '1000 B'],
    [1023, '1023 B'],
    [1024, '1 KiB'],
    [1025, '1.0 KiB'],
    [1536, '1.5 KiB'],
    [10_239, '10 KiB'],
    [102_400, '100 KiB'],
    [1_000_000, '977 KiB'],
    [1_048_575, '1024 KiB'],
    [1_048_576, '1 MiB'],
    [1_049_600, '1.0 MiB'],
    [1_572_864, '1.5 MiB'],
    [10_485_761, '10 MiB'],
    [15_728_640, '15 MiB'],
    [104_857_600, '100 MiB'],
    [107_374_182, '102 MiB'],
    [1_073_741_823, '1024 MiB'],
    [1_073_741_824, '1 GiB'],
    [1_080_000_000, '1.0 GiB'],
    [1_610_612_736, '1.5 GiB'],
    [10_737_418_240, '10 GiB'],
    [10_800_000_000, '10 GiB'],
    [108_000_000_000, '101 GiB'],
    [1_099_511_627_775, '1024 GiB'],
    [1_099_511_627_776, '1 TiB'],
    [1_234_567_890_123, '1.1 TiB'],
    [11_257_873_168_519_397_376, '9.8 EiB'],
  ])('prints %d bytes as rbd does: %s', (bytes, text) => {
    expect(formatSize(bytes)).toBe(text);
  });

  it('prints rates, which are no whole numbers of bytes', () => {
    expect(formatSize(123.7)).toBe('123 B');
    expect(formatSize(4096.5 * KIB)).toBe('4.0 MiB');
  });
});

describe('parseSize', () => {
  it.each([
    ['10', 'M', 10 * KIB ** 2],
    ['10', 'B', 10],
    ['10B', 'M', 10],
    ['3K', 'M', 3 * KIB],
    ['3k', 'M', 3 * KIB],
    ['3KiB', 'M', 3 * KIB],
    ['2G', 'M', 2 * KIB ** 3],
    ['1T', 'B', KIB ** 4],
    ['0', 'M', 0],
  ] as const)('reads %s with default unit %s as %d bytes', (text, unit, bytes) => {
    expect(parseSize(text, unit)).toBe(bytes);
  });

  it.each(['', 'G', '1.5G', '-5', '+5', '5X', '5 G', '5GG', '5iB', '0x10', '9999P', '1e3'])(
    'refuses %j',
    (text) => {
      expect(() => parseSize(text, 'M')).toThrow();
    },
  );
});

describe('orderOf', () => {
  it.each([
    [4096, 12],
    [65_536, 16],
    [100_000, 17],
    [3 * KIB ** 2, 22],
    [4 * KIB ** 2, 22],
  ])('takes the power of two from %d on: %d', (size, order) => {
    expect(orderOf(size)).toBe(order);
  });
});

describe('wholeNumber', () => {
  it('reads digits within its limits', () => {
    expect(wholeNumber('16', 1)).toBe(16);
    expect(wholeNumber('25', 12, 25)).toBe(25);
  });

  it.each(['0', '26', '1.0', '', ' 5', '5 ', '0x5', '1e1', '-3'])('refuses %j', (text) => {
    expect(() => wholeNumber(text, 1, 25)).toThrow('no whole number from 1 to 25');
  });
});
