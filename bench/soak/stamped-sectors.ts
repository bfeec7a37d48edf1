/**
 * Stamped sectors, and a model of what each of them may hold. Writes are expected to succeed, all of them.
 *
 * Invariant: the device that writes reads the newest write that it was asked for before; everybody else reads the newest
 * acknowledged one, or one that was asked for later.
 */

import type { BlockDevice } from '../../src/block/device.js';
import { identify, SECTOR_BYTES, stamp } from '../../src/sim/checkers/stamps.js';

/** Sectors of one read when all are verified. */
const VERIFY_SECTORS = 1024;

export class StampedSectors {
  readonly count: number;
  /** Sequence numbers by sector; 0 is what a new image holds. */
  readonly #issued: Uint32Array;
  readonly #acknowledged: Uint32Array;
  writes = 0;
  reads = 0;

  constructor(bytes: number) {
    this.count = Math.floor(bytes / SECTOR_BYTES);
    this.#issued = new Uint32Array(this.count);
    this.#acknowledged = new Uint32Array(this.count);
  }

  async write(device: BlockDevice, sector: number): Promise<void> {
    const sequence = at(this.#issued, sector) + 1;
    this.#issued[sector] = sequence;
    await device.write(sector * SECTOR_BYTES, stamp(sector, sequence));
    this.#acknowledged[sector] = Math.max(at(this.#acknowledged, sector), sequence);
    this.writes++;
  }

  /** Reads through the device that writes. */
  async read(device: BlockDevice, sector: number): Promise<void> {
    const expected = at(this.#issued, sector);
    const bytes = await device.read(sector * SECTOR_BYTES, SECTOR_BYTES);
    const found = identify(bytes, sector);
    if (found !== expected) throw wrong(sector, found, expected, expected);
    this.reads++;
  }

  /** Reads every sector through any client; throws what is wrong with the first that is. */
  async verify(device: BlockDevice): Promise<void> {
    for (let first = 0; first < this.count; first += VERIFY_SECTORS) {
      const count = Math.min(VERIFY_SECTORS, this.count - first);
      const oldest = this.#acknowledged.slice(first, first + count);
      const bytes = await device.read(first * SECTOR_BYTES, count * SECTOR_BYTES);
      for (let i = 0; i < count; i++) {
        const sector = first + i;
        const found = identify(bytes.subarray(i * SECTOR_BYTES, (i + 1) * SECTOR_BYTES), sector);
        const [low, high] = [at(oldest, i), at(this.#issued, sector)];
        if (found < low || found > high) throw wrong(sector, found, low, high);
      }
      this.reads++;
    }
  }
}

function at(numbers: Uint32Array, index: number): number {
  return numbers[index] ?? 0;
}

function wrong(sector: number, found: number, low: number, high: number): Error {
  const allowed = low === high ? `write ${low}` : `one of the writes ${low} to ${high}`;
  return new Error(`sector ${sector} holds write ${found}; it must hold ${allowed}`);
}
