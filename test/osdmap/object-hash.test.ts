import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { utf8Bytes } from '../../src/encoding/encoder.js';
import {
  crushHash2,
  crushHash3,
  crushHash4,
  linuxDcacheHash,
  objectHash,
  pgNumMask,
  rjenkinsHash,
  stableMod,
} from '../../src/osdmap/object-hash.js';
import { OBJECT_HASH } from '../../src/osdmap/pool.js';

describe('hashes of placement', () => {
  it("hash names as Ceph's rjenkins does", () => {
    expect(rjenkinsHash(utf8Bytes(''))).toBe(0xbd49d10d);
    expect(rjenkinsHash(utf8Bytes('foo'))).toBe(0x7fc1f406);
  });

  it("hash integers as CRUSH's rjenkins1 does, negative ids included", () => {
    expect(crushHash2(1, 2)).toBe(0xb78dee9c);
    expect(crushHash3(1, 2, 3)).toBe(0x735ad42b);
    expect(crushHash4(1, 2, 3, 4)).toBe(0x696d1f16);
    expect(crushHash2(-1, -2)).toBe(0xe35b0b85);
    expect(crushHash2(0xffff_ffff, 0xffff_fffe)).toBe(0xe35b0b85);
  });

  it("hash names as Linux's dcache did, for pools that say so", () => {
    // One step by hand: (0 + ('a' << 4) + ('a' >> 4)) * 11, then the same with 'b'.
    const first = (0x610 + 0x6) * 11;
    expect(linuxDcacheHash(utf8Bytes('a'))).toBe(first);
    expect(linuxDcacheHash(utf8Bytes('ab'))).toBe((first + 0x620 + 0x6) * 11);
    expect(objectHash(OBJECT_HASH.LINUX, { oid: 'a' })).toBe(first);
    expect(linuxDcacheHash(new Uint8Array(100).fill(255))).toBeLessThan(2 ** 32);
  });

  it('hash the key in place of the name, and the namespace before it', () => {
    const rjenkins = (text: string) => rjenkinsHash(utf8Bytes(text));
    const hash = (object: Parameters<typeof objectHash>[1]) =>
      objectHash(OBJECT_HASH.RJENKINS, object);
    expect(hash({ oid: 'foo' })).toBe(rjenkins('foo'));
    expect(hash({ oid: 'foo', key: 'k', nspace: '' })).toBe(rjenkins('k'));
    expect(hash({ oid: 'foo', nspace: 'ns' })).toBe(rjenkins('ns\x1ffoo'));
    expect(hash({ oid: 'foo', key: 'k', nspace: 'ns' })).toBe(rjenkins('ns\x1fk'));
  });
});

describe('stableMod', () => {
  it('stays below the number of PGs', () => {
    fc.assert(
      fc.property(fc.nat(0xffff_ffff), fc.integer({ min: 1, max: 0xffff_ffff }), (hash, pgNum) => {
        const seed = stableMod(hash, pgNum);
        return seed >= 0 && seed < pgNum;
      }),
    );
  });

  it('moves, when a PG is added, only objects of one PG and only to the new one', () => {
    fc.assert(
      fc.property(fc.nat(0xffff_ffff), fc.integer({ min: 1, max: 100_000 }), (hash, pgNum) => {
        const before = stableMod(hash, pgNum);
        const after = stableMod(hash, pgNum + 1);
        // The PG that splits is the one that the new PG is without its highest bit.
        return (
          after === before || (after === pgNum && before === (pgNum & (pgNumMask(pgNum + 1) >>> 1)))
        );
      }),
    );
  });
});
