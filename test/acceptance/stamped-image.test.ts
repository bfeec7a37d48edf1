/** The judge of the failover tests has to be right itself: it must notice everything that a device may do wrong. */

import { describe, expect, it } from 'vitest';

import { RadosError } from '../../src/index.js';
import { BLOCK_BYTES, type Device, StampedImage } from './stamped-image.js';

const BLOCKS = 8;

/** A device in memory that can be made to lie. */
class Memory {
  readonly bytes = Buffer.alloc(BLOCKS * BLOCK_BYTES);
  /** Called instead of the next write. */
  instead: ((offset: number, data: Buffer) => void) | undefined;

  readonly device = {
    read: (offset: number, length: number) =>
      Promise.resolve(Buffer.from(this.bytes.subarray(offset, offset + length))),
    writev: async (offset: number, parts: readonly Uint8Array[]) => {
      await Promise.resolve();
      this.#write(offset, Buffer.concat(parts));
    },
    writeZeroes: async (offset: number, length: number) => {
      await Promise.resolve();
      this.#write(offset, Buffer.alloc(length));
    },
    compareAndWrite: async (offset: number, compare: Uint8Array, data: Uint8Array) => {
      await Promise.resolve();
      const found = this.bytes.subarray(offset, offset + compare.length);
      if (Buffer.compare(found, compare) !== 0) {
        throw new RadosError('EILSEQ', 'differs', { outcome: 'not-applied' });
      }
      this.#write(offset, Buffer.from(data));
    },
  } as unknown as Device;

  #write(offset: number, data: Buffer): void {
    const { instead } = this;
    this.instead = undefined;
    if (instead) instead(offset, data);
    else data.copy(this.bytes, offset);
  }
}

const block = (first: number, count = 1) => ({ first, count });
const fail = (outcome: 'unknown' | 'not-applied') => {
  throw new RadosError('EIO', 'failed', { outcome });
};

async function setUp() {
  const memory = new Memory();
  const { device } = memory;
  const image = new StampedImage(BLOCKS * BLOCK_BYTES);
  await image.write(device, block(0, 4));
  await image.write(device, block(2, 4));
  return { memory, device, image };
}

describe('a stamped image', () => {
  it('finds nothing wrong where all is right', async () => {
    const { device, image } = await setUp();
    await image.writeZeroes(device, block(1, 2));
    await image.compareAndWrite(device, 7);
    await image.compareAndWrite(device, 7);
    await image.read(device, block(0, BLOCKS));
    await image.observe(device, block(0, BLOCKS));
    await image.verify(device);
  });

  it.each<[string, (offset: number, data: Buffer, memory: Memory) => void, RegExp]>([
    ['is lost', () => {}, /block 3 holds write 2; it may hold write 3/],
    [
      'goes elsewhere',
      (_, data, { bytes }) => data.copy(bytes, 5 * BLOCK_BYTES),
      /block 3 holds write 2/,
    ],
    [
      'is torn',
      (offset, data, { bytes }) => data.copy(bytes, offset, 0, 512),
      /block 3 is torn: it begins as write 3/,
    ],
    [
      'becomes zeroes',
      (offset, data, { bytes }) => bytes.fill(0, offset, offset + data.length),
      /block 3 holds zeroes/,
    ],
    [
      'brings bytes that nobody wrote',
      (offset, data, { bytes }) => bytes.fill(1, offset, offset + data.length),
      /block 3 holds bytes that were never written/,
    ],
    [
      'brings another block’s bytes',
      (offset, _, { bytes }) => bytes.copy(bytes, offset, 0, BLOCK_BYTES),
      /block 3 holds what belongs to block 0/,
    ],
  ])('notices an acknowledged write that %s', async (_, lie, message) => {
    const { memory, device, image } = await setUp();
    memory.instead = (offset, data) => lie(offset, data, memory);
    await image.write(device, block(3));
    await expect(image.read(device, block(3))).rejects.toThrow(message);
    await expect(image.observe(device, block(3))).rejects.toThrow(message);
    await expect(image.verify(device)).rejects.toThrow();
  });

  it('notices zeroes that did not come', async () => {
    const { memory, device, image } = await setUp();
    memory.instead = () => {};
    await image.writeZeroes(device, block(3));
    await expect(image.verify(device)).rejects.toThrow(/it may hold write 3 \(zeroes/);
  });

  it('takes a write of unknown outcome either way, until a newer one is acknowledged', async () => {
    const { memory, device, image } = await setUp();
    memory.instead = () => fail('unknown');
    await expect(image.write(device, block(3))).rejects.toMatchObject({ outcome: 'unknown' });
    await image.verify(device);
    await image.read(device, block(3));
    memory.instead = (offset, data) => {
      data.copy(memory.bytes, offset);
      fail('unknown');
    };
    await expect(image.write(device, block(3))).rejects.toMatchObject({ outcome: 'unknown' });
    await image.verify(device);
    const old = Buffer.from(memory.bytes.subarray(3 * BLOCK_BYTES, 4 * BLOCK_BYTES));
    await image.write(device, block(3));
    await image.verify(device);
    old.copy(memory.bytes, 3 * BLOCK_BYTES);
    await expect(image.verify(device)).rejects.toThrow(
      /block 3 holds write 4; it may hold write 5/,
    );
  });

  it('notices a write that is there although it was said not to be', async () => {
    const { memory, device, image } = await setUp();
    memory.instead = (offset, data) => {
      data.copy(memory.bytes, offset);
      fail('not-applied');
    };
    await expect(image.write(device, block(3))).rejects.toThrow();
    await expect(image.verify(device)).rejects.toThrow(/block 3 holds write 3/);
  });

  it('notices a write that was repeated after a newer one', async () => {
    const { memory, device, image } = await setUp();
    const repeated = Buffer.from(memory.bytes.subarray(3 * BLOCK_BYTES, 4 * BLOCK_BYTES));
    await image.write(device, block(3));
    repeated.copy(memory.bytes, 3 * BLOCK_BYTES);
    await expect(image.compareAndWrite(device, 3)).rejects.toMatchObject({ code: 'EILSEQ' });
    await expect(image.verify(device)).rejects.toThrow();
  });
});
