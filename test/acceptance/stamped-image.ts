/**
 * A device whose every block tells which write it came from, and a model of what each block may hold.
 *
 * A block of 4 KiB carries its number and the sequence number of its write, and is filled with bytes that follow from
 * the two: neither a lost write, nor a stale, torn or misplaced one goes unnoticed. The model keeps for every block all
 * writes ever made to it and what became of them. The rules:
 *
 * - From any client, at any time, a block holds its newest acknowledged write or one issued after it.
 * - The device itself orders calls: a read sees the newest write that was called before it, unless that was given up.
 */

import type { BlockDevice } from '../../src/index.js';
import { Random } from './support.js';

export const BLOCK_BYTES = 4096;
const WORDS = BLOCK_BYTES / 4;
const MAGIC = 0x73746d70;

interface Write {
  readonly zeroes: boolean;
  /** `unknown`: given up; it may take effect or not. */
  state: 'pending' | 'acknowledged' | 'unknown' | 'not-applied';
}

interface Block {
  /** By sequence number; the first stands for what a new image holds. */
  readonly writes: Write[];
  /** Of the newest acknowledged write. */
  acknowledged: number;
}

/** A run of blocks as it was when a read of it began. */
interface Expectation {
  readonly block: number;
  readonly oldest: number;
  readonly newest: number;
}

export interface BlockRange {
  readonly first: number;
  readonly count: number;
}

/** What is asked of a device. */
export type Device = Pick<BlockDevice, 'read' | 'writev' | 'writeZeroes' | 'compareAndWrite'>;

export class StampedImage {
  readonly blocks: number;
  readonly #blocks: Block[];
  /** Writes that were acknowledged, and reads that were found right. */
  acknowledged = 0;
  checked = 0;

  constructor(bytes: number) {
    this.blocks = Math.floor(bytes / BLOCK_BYTES);
    this.#blocks = Array.from({ length: this.blocks }, () => ({
      writes: [{ zeroes: true, state: 'acknowledged' }],
      acknowledged: 0,
    }));
  }

  /** Writes new stamps, as one call. Rejects as the device does, with the outcome taken into the model. */
  write(device: Device, range: BlockRange, signal?: AbortSignal): Promise<void> {
    const sequences = this.#issue(range, false);
    const parts = sequences.map((sequence, i) => stamp(range.first + i, sequence));
    const options = signal ? { signal } : {};
    return this.#track(range, sequences, device.writev(offsetOf(range), parts, options));
  }

  writeZeroes(device: Device, range: BlockRange): Promise<void> {
    const sequences = this.#issue(range, true);
    const call = device.writeZeroes(offsetOf(range), range.count * BLOCK_BYTES);
    return this.#track(range, sequences, call);
  }

  /** Replaces what was written last, which nobody else may have changed meanwhile: so it must succeed. */
  compareAndWrite(device: Device, block: number): Promise<void> {
    const before = (this.#blocks[block] as Block).writes.length - 1;
    const range = { first: block, count: 1 };
    const sequences = this.#issue(range, false);
    const call = device.compareAndWrite(
      offsetOf(range),
      before === 0 ? Buffer.alloc(BLOCK_BYTES) : stamp(block, before),
      stamp(block, before + 1),
    );
    return this.#track(range, sequences, call);
  }

  /** Reads through the device that writes, and checks its order as well. */
  async read(device: Device, range: BlockRange): Promise<void> {
    const newest = this.#each(range, ({ writes }) => writes.length - 1);
    const bytes = await device.read(offsetOf(range), range.count * BLOCK_BYTES);
    this.#check(
      bytes,
      newest.map((sequence, i) => ({
        block: range.first + i,
        oldest: this.#lastCertain(range.first + i, sequence),
        newest: sequence,
      })),
    );
  }

  /** Reads through another client. */
  async observe(device: Device, range: BlockRange): Promise<void> {
    const oldest = this.#each(range, ({ acknowledged }) => acknowledged);
    const bytes = await device.read(offsetOf(range), range.count * BLOCK_BYTES);
    this.#check(
      bytes,
      oldest.map((sequence, i) => {
        const block = range.first + i;
        const newest = (this.#blocks[block] as Block).writes.length - 1;
        return { block, oldest: sequence, newest };
      }),
    );
  }

  /** Checks every block, through any client. */
  async verify(device: Device): Promise<void> {
    const step = 256;
    for (let first = 0; first < this.blocks; first += step) {
      await this.observe(device, { first, count: Math.min(step, this.blocks - first) });
    }
  }

  #issue(range: BlockRange, zeroes: boolean): number[] {
    return this.#each(range, ({ writes }) => writes.push({ zeroes, state: 'pending' }) - 1);
  }

  async #track(range: BlockRange, sequences: number[], call: Promise<void>): Promise<void> {
    const settle = (state: Write['state']) =>
      sequences.forEach((sequence, i) => {
        const block = this.#blocks[range.first + i] as Block;
        (block.writes[sequence] as Write).state = state;
        if (state === 'acknowledged') block.acknowledged = Math.max(block.acknowledged, sequence);
      });
    try {
      await call;
    } catch (error) {
      const { outcome } = error as { outcome?: unknown };
      if (outcome !== 'unknown' && outcome !== 'not-applied') {
        throw new Error('a failed write does not say what became of it', { cause: error });
      }
      settle(outcome);
      throw error;
    }
    settle('acknowledged');
    this.acknowledged++;
  }

  /** The newest write up to `sequence` that has certainly taken effect by the time a later read is answered. */
  #lastCertain(block: number, sequence: number): number {
    const { writes } = this.#blocks[block] as Block;
    let at = sequence;
    while (at > 0 && ['unknown', 'not-applied'].includes((writes[at] as Write).state)) at--;
    return at;
  }

  #each(range: BlockRange, value: (block: Block) => number): number[] {
    return Array.from({ length: range.count }, (_, i) =>
      value(this.#blocks[range.first + i] as Block),
    );
  }

  #check(bytes: Uint8Array, expectations: readonly Expectation[]): void {
    expectations.forEach((expectation, i) => {
      const content = bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES);
      const found = this.#identify(content, expectation.block);
      const allowed = this.#allowed(expectation);
      if (
        typeof found === 'number' ? allowed.includes(found) : this.#zeroesIn(expectation, allowed)
      )
        return;
      throw new Error(
        `block ${expectation.block} holds ${typeof found === 'number' ? `write ${found}` : found}; ` +
          `it may hold ${allowed.map((sequence) => this.#describe(expectation.block, sequence)).join(', ')}`,
      );
    });
    this.checked++;
  }

  #allowed({ block, oldest, newest }: Expectation): number[] {
    const { writes } = this.#blocks[block] as Block;
    const sequences = Array.from({ length: newest - oldest + 1 }, (_, i) => oldest + i);
    return sequences.filter((sequence) => (writes[sequence] as Write).state !== 'not-applied');
  }

  #zeroesIn({ block }: Expectation, allowed: readonly number[]): boolean {
    const { writes } = this.#blocks[block] as Block;
    return allowed.some((sequence) => (writes[sequence] as Write).zeroes);
  }

  #describe(block: number, sequence: number): string {
    const { state, zeroes } = (this.#blocks[block] as Block).writes[sequence] as Write;
    return `write ${sequence} (${zeroes ? 'zeroes, ' : ''}${state})`;
  }

  /** The sequence number of the write that a block's bytes are, or what they are instead. */
  #identify(content: Uint8Array, block: number): number | 'zeroes' {
    if (Buffer.compare(content, ZEROES) === 0) return 'zeroes';
    const view = new DataView(content.buffer, content.byteOffset, 12);
    const [magic, number, sequence] = [0, 4, 8].map((at) => view.getUint32(at, true));
    if (magic !== MAGIC) throw new Error(`block ${block} holds bytes that were never written`);
    if (number !== block) throw new Error(`block ${block} holds what belongs to block ${number}`);
    if (Buffer.compare(content, stamp(block, sequence as number)) !== 0) {
      throw new Error(
        `block ${block} is torn: it begins as write ${sequence} and goes on otherwise`,
      );
    }
    return sequence as number;
  }
}

const ZEROES = Buffer.alloc(BLOCK_BYTES);

function offsetOf({ first }: BlockRange): number {
  return first * BLOCK_BYTES;
}

function stamp(block: number, sequence: number): Buffer {
  const words = new Uint32Array(WORDS);
  const random = new Random(Math.imul(block + 1, 0x9e3779b1) ^ Math.imul(sequence, 0x85ebca6b));
  words[0] = MAGIC;
  words[1] = block;
  words[2] = sequence;
  for (let i = 3; i < WORDS; i++) words[i] = random.u32();
  return Buffer.from(words.buffer);
}
