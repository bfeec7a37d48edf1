import { describe, expect, it } from 'vitest';

import { loadKernels } from '../../src/kernels/load.js';

const MIB = 1024 * 1024;

describe('loadKernels', () => {
  it('gives a shared memory of the asked size, 16 MiB by default, that cannot grow', () => {
    expect(loadKernels().u8.length).toBe(16 * MIB);
    const kernels = loadKernels({ memoryBytes: 2 * MIB + 1 });
    expect(kernels.u8.length).toBe(2 * MIB + 64 * 1024);
    expect(kernels.memory.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(kernels.u8.buffer).toBe(kernels.memory.buffer);
  });

  it('gives each caller a memory of its own', () => {
    const first = loadKernels();
    const second = loadKernels();
    const address = first.alloc(8);
    first.u8[address] = 1;
    expect(second.u8[address]).toBe(0);
  });

  it('refuses a size that the module cannot have', () => {
    for (const memoryBytes of [0, -1, NaN, MIB - 1, 4096 * MIB + 1, Infinity]) {
      expect(() => loadKernels({ memoryBytes }), String(memoryBytes)).toThrow(RangeError);
    }
  });
});

describe('alloc', () => {
  it('hands out aligned, disjoint ranges above the tables of the kernels', () => {
    const kernels = loadKernels();
    let end = kernels.exports.heapBase();
    for (const [bytes, align] of [
      [1, 64],
      [100, 64],
      [0, 64],
      [3, 1],
      [8, 16],
      [5000, 4096],
    ] as const) {
      const address = kernels.alloc(bytes, align);
      expect(address % align).toBe(0);
      expect(address).toBeGreaterThanOrEqual(end);
      end = address + bytes;
    }
    expect(kernels.alloc(1) % 64).toBe(0);
  });

  it('hands out the memory to its last byte, then throws RangeError and stays usable', () => {
    const kernels = loadKernels({ memoryBytes: MIB });
    const start = kernels.alloc(0, 1);
    expect(() => kernels.alloc(MIB - start + 1, 1)).toThrow(RangeError);
    expect(kernels.alloc(MIB - start, 1)).toBe(start);
    expect(() => kernels.alloc(1, 1)).toThrow(/exhausted/);
    expect(() => kernels.alloc(1)).toThrow(RangeError);
    expect(kernels.alloc(0, 1)).toBe(MIB);
  });

  it('refuses sizes and alignments that make no sense', () => {
    const kernels = loadKernels();
    for (const bytes of [-1, 0.5, NaN, Infinity]) {
      expect(() => kernels.alloc(bytes), `${bytes} bytes`).toThrow(RangeError);
    }
    for (const align of [0, -64, 3, 0.5, NaN, 2 ** 40]) {
      expect(() => kernels.alloc(1, align), `align ${align}`).toThrow(RangeError);
    }
  });
});
