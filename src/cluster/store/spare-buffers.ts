/**
 * Large buffers whose bytes nobody needs any more, to receive others in.
 *
 * V8 takes what ArrayBuffers hold for pressure, and collects the whole heap for every few dozen MiB of them; to the system
 * their pages are new each time. Together that was half of what a write of 4 MiB cost.
 */

/** Smaller ones cost less to make than to keep. */
export const SPARE_MIN_BYTES = 256 * 1024;
/** For as many large writes as are received at a time. */
const MAX_BYTES = 32 * 1024 * 1024;

export class SpareBuffers {
  readonly minBytes: number;
  /** The newest last: it is most likely to be in a cache. */
  #buffers: Uint8Array[] = [];
  #bytes = 0;

  constructor(minBytes = SPARE_MIN_BYTES) {
    this.minBytes = minBytes;
  }

  /** One of exactly this length, of any content. */
  take(length: number): Uint8Array | undefined {
    const at = this.#buffers.findLastIndex((buffer) => buffer.length === length);
    if (at < 0) return undefined;
    const [buffer] = this.#buffers.splice(at, 1);
    this.#bytes -= length;
    return buffer;
  }

  give(buffer: Uint8Array): void {
    this.#buffers.push(buffer);
    this.#bytes += buffer.length;
    while (this.#bytes > MAX_BYTES) this.#bytes -= (this.#buffers.shift() as Uint8Array).length;
  }
}

/**
 * Data of a write, while they are in use: by the change that is being made, and by the stores that keep them. With the last
 * use others may be received in their memory. Whoever cannot tell when it is done with them never says so, and they stay.
 */
export class ReceivedData {
  /** By their bytes: a request that is begun anew has the uses of before, which may never end. */
  static readonly #known = new WeakMap<Uint8Array, ReceivedData>();
  readonly bytes: Uint8Array;
  readonly #spare: SpareBuffers;
  #uses = 0;

  private constructor(bytes: Uint8Array, spare: SpareBuffers) {
    this.bytes = bytes;
    this.#spare = spare;
  }

  /** Of bytes that a request brought. Undefined: not worth it, or a part of something else. */
  static of(bytes: Uint8Array, spare: SpareBuffers): ReceivedData | undefined {
    const { length, buffer } = bytes;
    if (length < spare.minBytes || length !== buffer.byteLength) return undefined;
    const known = ReceivedData.#known.get(bytes);
    if (known) return known;
    const received = new ReceivedData(bytes, spare);
    ReceivedData.#known.set(bytes, received);
    return received;
  }

  use(): void {
    this.#uses++;
  }

  drop(): void {
    if (--this.#uses === 0) this.#spare.give(this.bytes);
  }
}
