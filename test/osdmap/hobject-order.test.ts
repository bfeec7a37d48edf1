import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { type Hobject, INT64_MIN, NOSNAP } from '../../src/encoding/types.js';
import { compareHobject, reverseBits } from '../../src/osdmap/hobject-order.js';
import { stableMod } from '../../src/osdmap/object-hash.js';

function object(change: Partial<Hobject>): Hobject {
  return { key: '', oid: 'o', snap: NOSNAP, hash: 0, max: 0, nspace: '', pool: 1n, ...change };
}

describe('compareHobject', () => {
  it('compares end marker, pool, reversed hash, namespace, key, name and snapshot, in this order', () => {
    const ascending = [
      object({ pool: INT64_MIN, oid: '' }),
      object({ pool: 1n, hash: 0x8000_0000, oid: 'z' }),
      object({ pool: 1n, hash: 0x0000_0001, oid: 'a' }),
      object({ pool: 2n, oid: 'b', snap: 3n }),
      object({ pool: 2n, oid: 'b', snap: 4n }),
      object({ pool: 2n, oid: 'b', snap: NOSNAP }),
      // The key stands in for the name, then the name decides.
      object({ pool: 2n, oid: 'x', key: 'c' }),
      object({ pool: 2n, oid: 'y', key: 'c' }),
      object({ pool: 2n, oid: 'd' }),
      object({ pool: 2n, oid: 'a', nspace: 'n' }),
      object({ pool: 0n, max: 1 }),
    ];
    for (let i = 0; i < ascending.length; i++) {
      for (let j = 0; j < ascending.length; j++) {
        const sign = Math.sign(compareHobject(ascending[i]!, ascending[j]!));
        expect(sign, `${i} and ${j}`).toBe(Math.sign(i - j));
      }
    }
  });

  it('compares names by their UTF-8 bytes', () => {
    // In UTF-16 the first is smaller, because it begins with a surrogate.
    expect(compareHobject(object({ oid: '😀' }), object({ oid: '\uff5e' }))).toBeGreaterThan(0);
  });

  it('keeps the objects of a PG together', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(0xffff_ffff), { minLength: 3 }), (hashes) => {
        const sorted = hashes
          .map((hash) => object({ hash }))
          .sort(compareHobject)
          .map(({ hash }) => stableMod(hash, 8));
        const runs = sorted.filter((pg, i) => pg !== sorted[i - 1]);
        expect(new Set(runs).size).toBe(runs.length);
      }),
    );
  });
});

describe('reverseBits', () => {
  it('turns bit i into bit 31 - i', () => {
    expect(reverseBits(1)).toBe(0x8000_0000);
    expect(reverseBits(0x8000_0000)).toBe(1);
    expect(reverseBits(0x1234_5678)).toBe(0x1e6a_2c48);
  });
});
