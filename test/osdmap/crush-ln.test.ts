import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';

import { fineLogTable, reciprocalAndLogTable, straw2LogTable } from '../../src/osdmap/crush-ln.js';

function digest(table: readonly number[]): string {
  return createHash('sha256').update(BigUint64Array.from(table, BigInt)).digest('hex');
}

describe('the logarithm tables', () => {
  it("are Ceph's, irregular entries included", () => {
    expect(reciprocalAndLogTable()).toHaveLength(258);
    expect(digest(reciprocalAndLogTable())).toBe(
      '304b097c8de73930d785af5802b1f6b4e9827a69175038f910f6120565e8364c',
    );
    expect(fineLogTable()).toHaveLength(256);
    expect(digest(fineLogTable())).toBe(
      '56fecbea65b1d35d0d20f0327d783a870652a56356e9a5326b6ab16d6c31b6ca',
    );
  });

  it('give crush_ln at its ends and in between', () => {
    const crushLn = (u: number) => (straw2LogTable()[u] as number) + 2 ** 48;
    const known: [number, number][] = [
      [0, 0],
      [1, 0x100000000000],
      [255, 0x800000000000],
      [1000, 0x9f79b34927a5],
      [32768, 0xf0002e2a60a0],
      [65534, 0xfffffd61ad10],
      [65535, 0xfffff0000000],
    ];
    for (const [u, value] of known) expect(crushLn(u), `u ${u}`).toBe(value);
  });
});
