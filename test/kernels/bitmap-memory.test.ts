import { describe, expect, it } from 'vitest';

import { isRadosError } from '../../src/base/errors.js';
import { ObjectBitmap } from '../../src/kernels/bitmap.js';
import { BitmapMemory } from '../../src/kernels/bitmap-memory.js';

const MIB = 1024 * 1024;

describe('the memory of object maps', () => {
  it('starts small and grows as maps need it', () => {
    const memory = new BitmapMemory();
    expect(memory.memory.buffer.byteLength).toBe(MIB);
    const small = ObjectBitmap.allocate(memory, 1000, 1);
    const large = ObjectBitmap.allocate(memory, 40_000_000, 3);
    expect(memory.memory.buffer.byteLength).toBeGreaterThan(10_000_000);
    expect(memory.memory.buffer.byteLength).toBeLessThan(13_000_000);
    expect(small.count().exists).toBe(1000);
    expect(large.count().existsClean).toBe(40_000_000);
    expect(small.get(999)).toBe(1);
  });

  it('holds the largest map that there may be', () => {
    const memory = new BitmapMemory();
    const bitmap = ObjectBitmap.allocate(memory, 256_000_000, 2);
    bitmap.set(255_999_999, 1);
    expect(bitmap.count()).toEqual({
      nonexistent: 0,
      exists: 1,
      pending: 255_999_999,
      existsClean: 0,
    });
    expect(bitmap.next(0b10)).toBe(255_999_999);
    expect([...bitmap.runs()]).toEqual([
      { first: 0, end: 255_999_999, class: 2 },
      { first: 255_999_999, end: 256_000_000, class: 1 },
    ]);
  });

  it('uses freed memory again instead of growing', () => {
    const memory = new BitmapMemory();
    let size = 0;
    for (let round = 0; round < 50; round++) {
      const maps = [3_000_000, 10, 5_000_000 + round * 1000].map((objects) =>
        ObjectBitmap.allocate(memory, objects, 1),
      );
      for (const map of maps) map.free();
      if (round === 0) size = memory.memory.buffer.byteLength;
      expect(memory.usedBytes).toBe(0);
    }
    expect(memory.memory.buffer.byteLength).toBeLessThan(size + MIB + 1);
  });

  it('does not grow beyond its maximum: ENOMEM, and what was there stays', () => {
    const memory = new BitmapMemory({ maximumBytes: 4 * MIB });
    const map = ObjectBitmap.allocate(memory, 4_000_000, 1);
    for (const attempt of [
      () => ObjectBitmap.allocate(memory, 16_000_000),
      () => map.resize(16_000_000, 2),
      () => ObjectBitmap.decode(memory, new Uint8Array(4 * MIB)),
    ]) {
      let error: unknown;
      try {
        attempt();
      } catch (caught) {
        error = caught;
      }
      expect(isRadosError(error, 'ENOMEM'), String(error)).toBe(true);
    }
    expect(map.count().exists).toBe(4_000_000);
    map.free();
    expect(memory.usedBytes).toBe(0);
    ObjectBitmap.allocate(memory, 12_000_000);
    expect(memory.memory.buffer.byteLength).toBeLessThanOrEqual(4 * MIB);
  });

  it('refuses a maximum that the kernels cannot have', () => {
    for (const maximumBytes of [0, MIB - 1, 4096 * MIB + 1, NaN]) {
      expect(() => new BitmapMemory({ maximumBytes }), String(maximumBytes)).toThrow(RangeError);
    }
  });

  it('keeps a region that is given back until the last task has unpinned it', () => {
    const memory = new BitmapMemory();
    const map = ObjectBitmap.allocate(memory, 100, 1);
    const { region } = map;
    memory.pin(region);
    memory.pin(region);
    map.free();
    const other = ObjectBitmap.allocate(memory, 100, 2);
    expect(other.region.address).not.toBe(region.address);
    memory.unpin(region);
    expect(memory.usedBytes).toBe(8192);
    memory.unpin(region);
    expect(memory.usedBytes).toBe(4096);
    expect(ObjectBitmap.allocate(memory, 100).region.address).toBe(region.address);
  });

  it('does not take a region back twice', () => {
    const memory = new BitmapMemory();
    const region = memory.take(10);
    memory.give(region);
    expect(() => memory.give(region)).toThrow(RangeError);
  });
});
