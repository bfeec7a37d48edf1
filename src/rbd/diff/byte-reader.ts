/** Reading records from a stream of bytes, whatever pieces it comes in. */

import { RadosError } from '../../base/errors.js';

export class ByteReader {
  readonly #iterator: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  #piece: Uint8Array = new Uint8Array(0);
  /** Bytes read so far. */
  position = 0;

  constructor(source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>) {
    this.#iterator =
      Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
  }

  /** The next bytes, as few as `length` and never none. EBADMSG: the stream ended. Valid until the next call. */
  async some(length: number): Promise<Uint8Array> {
    while (this.#piece.length === 0) {
      const next = await this.#iterator.next();
      if (next.done) throw new RadosError('EBADMSG', 'the stream ends in the midst of a record');
      this.#piece = next.value;
    }
    const bytes = this.#piece.subarray(0, length);
    this.#piece = this.#piece.subarray(bytes.length);
    this.position += bytes.length;
    return bytes;
  }

  /** Exactly so many bytes: for what is short, since memory for all of it is taken at once. */
  async exactly(length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    for (let filled = 0; filled < length; ) {
      const some = await this.some(length - filled);
      bytes.set(some, filled);
      filled += some.length;
    }
    return bytes;
  }

  async skip(length: number): Promise<void> {
    for (let left = length; left > 0; ) left -= (await this.some(left)).length;
  }

  async u8(): Promise<number> {
    return (await this.some(1))[0] as number;
  }

  async u32(): Promise<number> {
    return view(await this.exactly(4)).getUint32(0, true);
  }

  async u64(): Promise<bigint> {
    return view(await this.exactly(8)).getBigUint64(0, true);
  }

  /** EBADMSG for what is over 2^53. */
  async u64n(): Promise<number> {
    const value = Number(await this.u64());
    if (Number.isSafeInteger(value)) return value;
    throw new RadosError('EBADMSG', 'the stream has a number over 2^53');
  }

  /** u32 length and UTF-8. EINVAL: longer than `max` bytes. */
  async string(max: number): Promise<string> {
    const length = await this.u32();
    if (length > max) throw new RadosError('EINVAL', `a text of ${length} bytes is over ${max}`);
    return Buffer.from(await this.exactly(length)).toString();
  }

  /** Lets go of the source. */
  async close(): Promise<void> {
    await this.#iterator.return?.();
  }
}

const view = ({ buffer, byteOffset, byteLength }: Uint8Array) =>
  new DataView(buffer, byteOffset, byteLength);
