/**
 * Goal: object maps are read and written as Ceph has them: its own bytes from live images and from its corpus, and a codec
 * of the embedded cluster that shares nothing with this one.
 */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { packageFile } from '../../src/base/paths.js';
import { BitVector } from '../../src/cluster/classes/rbd/bit-vector.js';
import { DecodeError, Decoder } from '../../src/encoding/decoder.js';
import { ObjectBitmap, StagedBitmap } from '../../src/kernels/bitmap.js';
import { BitmapMemory } from '../../src/kernels/bitmap-memory.js';
import { createCrc32c } from '../../src/kernels/crc32c.js';
import { loadKernels } from '../../src/kernels/load.js';
import { GOLDEN_RELEASES, goldenFiles } from '../support/golden.js';
import { bitmapOf, expectSame, randomStates, states, statesOf } from './support/maps.js';

const memory = new BitmapMemory();
const crc32c = createCrc32c(loadKernels());

/** As the embedded cluster stores a map. */
function serverEncoded(map: Uint8Array, checksums: boolean): Uint8Array {
  const vector = new BitVector(map.length);
  map.forEach((state, objectNo) => {
    vector.set(objectNo, state);
  });
  return vector.encode(checksums ? crc32c : undefined);
}

function expectCorrupt(encoded: Uint8Array, why: string): void {
  const used = memory.usedBytes;
  let error: unknown;
  try {
    ObjectBitmap.decode(memory, encoded);
  } catch (caught) {
    error = caught;
  }
  expect(error, why).toBeInstanceOf(DecodeError);
  expect(memory.usedBytes, `${why}: memory is given back`).toBe(used);
}

describe('an encoded object map', () => {
  it('is what the embedded cluster makes of the same states, with checksums and without', () => {
    fc.assert(
      fc.property(states, fc.boolean(), (map, checksums) => {
        const bitmap = bitmapOf(memory, map);
        const encoded = bitmap.encode({ checksums });
        bitmap.free();
        expect(Buffer.compare(encoded, serverEncoded(map, checksums))).toBe(0);
      }),
      { numRuns: 200 },
    );
  });

  it('is read again with all its states, and with nothing beyond them', () => {
    fc.assert(
      fc.property(states, fc.boolean(), (map, checksums) => {
        const bitmap = ObjectBitmap.decode(memory, serverEncoded(map, checksums));
        expect(bitmap.objectCount).toBe(map.length);
        expectSame(statesOf(bitmap), map);
        bitmap.resize(map.length + 300);
        expect(bitmap.count(map.length).nonexistent).toBe(300);
        bitmap.free();
      }),
      { numRuns: 200 },
    );
    expect(memory.usedBytes).toBe(0);
  });

  it('may have bits beyond its last object, as a shrink by the class leaves them: they are ignored', () => {
    const vector = new BitVector(10);
    for (let objectNo = 0; objectNo < 10; objectNo++) vector.set(objectNo, 1);
    vector.resize(6, 1);
    const encoded = vector.encode(crc32c);
    expect([...encoded.subarray(18, 20)]).toEqual([0x55, 0x55]);
    const bitmap = ObjectBitmap.decode(memory, encoded);
    bitmap.resize(12);
    expect([...statesOf(bitmap)]).toEqual([1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0]);
    bitmap.free();
  });

  it('becomes a map where it was read into, with no copy', () => {
    const map = randomStates(50_000, { seed: 9, density: 1 });
    const encoded = serverEncoded(map, true);
    const staged = new StagedBitmap(memory, encoded.length);
    staged.bytes.set(encoded);
    const bitmap = staged.decode();
    expect(bitmap.address).toBe(staged.bytes.byteOffset + 18);
    expectSame(statesOf(bitmap), map);
    bitmap.free();
    const given = new StagedBitmap(memory, 100);
    given.discard();
    expect(memory.usedBytes).toBe(0);
  });

  it('of a later version, with a longer header, is read', () => {
    const map = randomStates(100, { seed: 2, density: 1 });
    const encoded = serverEncoded(map, false);
    const longer = new Uint8Array(encoded.length + 3);
    longer.set(encoded.subarray(0, 18));
    longer.set(encoded.subarray(18), 21);
    longer[0] = 17;
    longer[6] = 11;
    const bitmap = ObjectBitmap.decode(memory, longer);
    expectSame(statesOf(bitmap), map);
    bitmap.free();
  });

  it('is refused when any bit of it is flipped', () => {
    const map = randomStates(3 * 16_384 + 5, { seed: 3, density: 0.5 });
    const encoded = serverEncoded(map, true);
    const places = [...Array.from({ length: 18 }, (_, at) => at)];
    for (let at = 18; at < encoded.length; at += 61) places.push(at);
    for (let at = encoded.length - 24; at < encoded.length; at++) places.push(at);
    for (const at of places) {
      for (const bit of [0, 3, 7]) {
        const flipped = encoded.slice();
        flipped[at]! ^= 1 << bit;
        expectCorrupt(flipped, `byte ${at}, bit ${bit}`);
      }
    }
  });

  it('is refused when it is cut anywhere', () => {
    const encoded = serverEncoded(randomStates(500, { seed: 4, density: 1 }), true);
    for (let length = 0; length < encoded.length; length++) {
      expectCorrupt(encoded.slice(0, length), `${length} bytes`);
    }
  });

  it('does not take memory for a size that it only claims', () => {
    const lying = serverEncoded(new Uint8Array(4), false);
    const view = new DataView(lying.buffer, lying.byteOffset);
    for (const objects of [5n, 255_999_999n, 256_000_001n, 2n ** 53n, 2n ** 64n - 1n]) {
      view.setBigUint64(10, objects, true);
      expectCorrupt(lying, `${objects} objects`);
    }
    expect(memory.memory.buffer.byteLength).toBe(1024 * 1024);
  });
});

describe("live images' object maps, as Ceph stored them", () => {
  const path = packageFile('test/fixtures/ceph-16.2.15/rbd/objects.json');
  const objects = JSON.parse(readFileSync(path, 'utf8')) as { name: string; data: string }[];
  const maps = objects.filter(({ name }) => name.startsWith('rbd_object_map.'));

  it.each(maps)('$name is read, and comes out as it was', ({ data }) => {
    const stored = Buffer.from(data, 'hex');
    const bitmap = ObjectBitmap.decode(memory, stored);
    const vector = BitVector.decode(new Decoder(stored), crc32c);
    const expected = Uint8Array.from({ length: vector.size }, (_, i) => vector.get(i));
    expectSame(statesOf(bitmap), expected);
    expect(bitmap.encode()).toEqual(stored);
    bitmap.free();
  });

  it('are several, of heads and of snapshots', () => {
    expect(maps.length).toBeGreaterThan(8);
  });
});

describe.skipIf(GOLDEN_RELEASES.length === 0)('the golden corpus', () => {
  const files = GOLDEN_RELEASES.flatMap((release) =>
    goldenFiles(release, 'ceph::BitVector<2>').map((file) => ({ release, ...file })),
  );

  it.each(files)('$release/$name is read, and comes out as it was', ({ bytes }) => {
    const bitmap = ObjectBitmap.decode(memory, bytes);
    const vector = BitVector.decode(new Decoder(bytes), crc32c);
    const expected = Uint8Array.from({ length: vector.size }, (_, i) => vector.get(i));
    expectSame(statesOf(bitmap), expected);
    const checksums = bytes.length > 18 + Math.ceil(vector.size / 4) + 4;
    expect(Buffer.compare(bitmap.encode({ checksums }), bytes)).toBe(0);
    bitmap.free();
  });
});
