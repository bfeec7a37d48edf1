/**
 * Streams of a device's bytes, for export and import. Several requests are in flight; the order is kept.
 */

import { type Readable, Writable } from 'node:stream';

import { sparseRuns } from '../base/zeroes.js';
import { readableOf } from './byte-streams.js';
import type { BlockDevice } from './device.js';

const MIB = 1024 * 1024;
const DEFAULT_CHUNK_BYTES = MIB;
const DEFAULT_CONCURRENCY = 8;

export interface ReadRangeOptions {
  /** First byte. Default 0. */
  start?: number;
  /** Last byte, as for `fs.createReadStream`. Default: the device's last. */
  end?: number;
  /** Bytes of one read. Default 1 MiB. */
  chunkBytes?: number;
  /** Reads in flight. Default 8. */
  concurrency?: number;
  signal?: AbortSignal;
}

export interface ReadStreamOptions extends ReadRangeOptions {}

export interface ReadExtentsOptions extends ReadRangeOptions {
  /** Leave out blocks of so many bytes that hold zeroes only, at multiples of it. Default: none is left out. */
  skipZeroBlocks?: number;
}

/** A run of bytes at its place. */
export interface DataExtent {
  offset: number;
  data: Uint8Array;
}

export interface WriteStreamOptions {
  /** Where the first byte goes. Default 0. */
  start?: number;
  /** Bytes of one write: what comes in is joined and cut at multiples of it. Default 1 MiB. */
  chunkBytes?: number;
  /** Writes in flight. Default 8. */
  concurrency?: number;
  /**
   * Do not write blocks of so many bytes that hold zeroes only (at multiples of it, on the device): for an image
   * that is known to read as zeroes there, as a new one does.
   */
  skipZeroBlocks?: number;
  /** Flush at the end, before the stream finishes. Default true. */
  flush?: boolean;
  signal?: AbortSignal;
}

/**
 * The range in order, from `concurrency` reads in flight. With `skipZeroBlocks` the extents have gaps: what is
 * needed to export into a sparse file.
 */
export async function* readExtents(
  device: BlockDevice,
  options: ReadExtentsOptions = {},
): AsyncGenerator<DataExtent, void, undefined> {
  const { signal, skipZeroBlocks } = options;
  const start = options.start ?? 0;
  const end = options.end === undefined ? device.size : options.end + 1;
  const chunkBytes = positive('chunkBytes', options.chunkBytes ?? DEFAULT_CHUNK_BYTES);
  const concurrency = positive('concurrency', options.concurrency ?? DEFAULT_CONCURRENCY);
  if (skipZeroBlocks !== undefined) positive('skipZeroBlocks', skipZeroBlocks);

  const ahead: { offset: number; reading: Promise<Uint8Array> }[] = [];
  let next = start;
  const readAhead = () => {
    while (next < end && ahead.length < concurrency) {
      const length = Math.min(end - next, chunkBytes - (next % chunkBytes));
      const reading = device.read(next, length, signal ? { signal } : {});
      // Its error is met when its turn comes, or never if the consumer leaves before.
      reading.catch(() => {});
      ahead.push({ offset: next, reading });
      next += length;
    }
  };
  readAhead();
  for (let chunk = ahead.shift(); chunk; chunk = ahead.shift()) {
    const data = await chunk.reading;
    readAhead();
    if (skipZeroBlocks === undefined) yield { offset: chunk.offset, data };
    else yield* nonZeroExtents(chunk.offset, data, skipZeroBlocks);
  }
}

/** The range as a stream of bytes. `start` and `end` are inclusive, as for `fs.createReadStream`. */
export function createReadStream(device: BlockDevice, options: ReadStreamOptions = {}): Readable {
  const bytes = async function* (signal: AbortSignal) {
    for await (const { data } of readExtents(device, { ...options, signal })) yield data;
  };
  const { signal, chunkBytes: highWaterMark = DEFAULT_CHUNK_BYTES } = options;
  return readableOf(bytes, { signal, highWaterMark });
}

/** Writes a stream of bytes from `start` on. Finishes when all of them are written and flushed. */
export function createWriteStream(device: BlockDevice, options: WriteStreamOptions = {}): Writable {
  const writer = new ChunkWriter(device, options);
  return new Writable({
    highWaterMark: writer.chunkBytes,
    write(chunk: Uint8Array | string, encoding, callback) {
      const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk;
      writer.write(bytes).then(() => callback(), callback);
    },
    final(callback) {
      writer.end().then(() => callback(), callback);
    },
    destroy(error, callback) {
      writer.stop();
      callback(error);
    },
  });
}

/** Joins what comes into chunks that end at multiples of their size, and keeps several writes in flight. */
class ChunkWriter {
  readonly chunkBytes: number;
  readonly #device: BlockDevice;
  readonly #concurrency: number;
  readonly #skipZeroBlocks: number | undefined;
  readonly #flush: boolean;
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  readonly #inFlight = new Set<Promise<void>>();
  #position: number;
  #chunk: Uint8Array;
  #filled = 0;
  #error: Error | undefined;

  constructor(device: BlockDevice, options: WriteStreamOptions) {
    const { skipZeroBlocks, signal } = options;
    this.chunkBytes = positive('chunkBytes', options.chunkBytes ?? DEFAULT_CHUNK_BYTES);
    this.#concurrency = positive('concurrency', options.concurrency ?? DEFAULT_CONCURRENCY);
    if (skipZeroBlocks !== undefined) positive('skipZeroBlocks', skipZeroBlocks);
    this.#device = device;
    this.#skipZeroBlocks = skipZeroBlocks;
    this.#flush = options.flush ?? true;
    this.#signal = signal ? AbortSignal.any([signal, this.#stop.signal]) : this.#stop.signal;
    this.#position = options.start ?? 0;
    this.#chunk = this.#newChunk();
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const part = bytes.subarray(at, at + this.#chunk.length - this.#filled);
      this.#chunk.set(part, this.#filled);
      this.#filled += part.length;
      at += part.length;
      if (this.#filled === this.#chunk.length) await this.#send();
    }
  }

  async end(): Promise<void> {
    await this.#send();
    while (this.#inFlight.size > 0) await Promise.race(this.#inFlight);
    if (this.#error) throw this.#error;
    if (this.#flush) await this.#device.flush({ signal: this.#signal });
  }

  stop(): void {
    this.#stop.abort();
  }

  /** Writes what was gathered; waits while too many writes are in flight. */
  async #send(): Promise<void> {
    const data = this.#chunk.subarray(0, this.#filled);
    const offset = this.#position;
    this.#position += this.#filled;
    this.#filled = 0;
    this.#chunk = this.#newChunk();
    const extents =
      this.#skipZeroBlocks === undefined
        ? [{ offset, data }]
        : nonZeroExtents(offset, data, this.#skipZeroBlocks);
    for (const extent of extents) {
      if (extent.data.length === 0) continue;
      while (this.#inFlight.size >= this.#concurrency) await Promise.race(this.#inFlight);
      if (this.#error) break;
      // The chunk is not touched again, so the device need not copy it.
      const writing = this.#device
        .write(extent.offset, extent.data, { borrowed: true, signal: this.#signal })
        .catch((error: Error) => {
          this.#error ??= error;
        })
        .finally(() => this.#inFlight.delete(writing));
      this.#inFlight.add(writing);
    }
    if (this.#error) throw this.#error;
  }

  #newChunk(): Uint8Array {
    return Buffer.allocUnsafe(this.chunkBytes - (this.#position % this.chunkBytes));
  }
}

/** The runs of blocks that are not all zero. Blocks lie at multiples of `blockBytes` of the device. */
export function* nonZeroExtents(
  offset: number,
  data: Uint8Array,
  blockBytes: number,
): Generator<DataExtent, void, undefined> {
  for (const { start, end, zero } of sparseRuns(data, blockBytes, offset)) {
    if (!zero) yield { offset: offset + start, data: data.subarray(start, end) };
  }
}

function positive(name: string, value: number): number {
  if (!Number.isSafeInteger(value) || value < 1) {
    throw new RangeError(`${name} ${value} is not a positive integer`);
  }
  return value;
}
