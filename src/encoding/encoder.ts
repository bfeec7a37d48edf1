/**
 * A growing little-endian byte writer: the counterpart of `Decoder`.
 *
 * It writes into slices of Node's buffer pool: an ArrayBuffer of its own for each small message costs more than the
 * encoding (1.5 us per operation on the data path, most of it in the garbage collector).
 */

/** Up to here a text is encoded faster here than by the two calls out of JavaScript that it takes: names of objects. */
const SHORT_TEXT = 64;

export class Encoder {
  #bytes: Buffer;
  #view: DataView;
  #length = 0;

  constructor(capacity = 256) {
    this.#bytes = Buffer.allocUnsafe(capacity);
    this.#view = viewOf(this.#bytes);
  }

  /** Goes on writing at `at` of other memory, with a view of all of it. */
  reset(bytes: Buffer, view: DataView, at: number): void {
    this.#bytes = bytes;
    this.#view = view;
    this.#length = at;
  }

  /** Begins anew, in the memory that there is. */
  rewind(): void {
    this.#length = 0;
  }

  get length(): number {
    return this.#length;
  }

  /** What was written, as a view of the encoder's memory. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  #claim(length: number): number {
    const at = this.#length;
    const needed = at + length;
    if (needed > this.#bytes.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, this.#bytes.length * 2));
      grown.set(this.#bytes.subarray(0, at));
      this.#bytes = grown;
      this.#view = viewOf(grown);
    }
    this.#length = needed;
    return at;
  }

  u8(value: number): this {
    const at = this.#claim(1);
    this.#view.setUint8(at, value);
    return this;
  }

  s8(value: number): this {
    const at = this.#claim(1);
    this.#view.setInt8(at, value);
    return this;
  }

  bool(value: boolean): this {
    return this.u8(value ? 1 : 0);
  }

  u16(value: number): this {
    const at = this.#claim(2);
    this.#view.setUint16(at, value, true);
    return this;
  }

  s16(value: number): this {
    const at = this.#claim(2);
    this.#view.setInt16(at, value, true);
    return this;
  }

  u32(value: number): this {
    const at = this.#claim(4);
    this.#view.setUint32(at, value, true);
    return this;
  }

  s32(value: number): this {
    const at = this.#claim(4);
    this.#view.setInt32(at, value, true);
    return this;
  }

  u64(value: bigint): this {
    const at = this.#claim(8);
    this.#view.setBigUint64(at, value, true);
    return this;
  }

  s64(value: bigint): this {
    const at = this.#claim(8);
    this.#view.setBigInt64(at, value, true);
    return this;
  }

  /** A size, offset or counter held as a safe integer. */
  u64n(value: number): this {
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new RangeError(`${value} is not an unsigned safe integer`);
    }
    const at = this.#claim(8);
    this.#view.setUint32(at, value >>> 0, true);
    this.#view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true);
    return this;
  }

  /** A signed 64-bit number held as a safe integer (pool ids). */
  s64n(value: number): this {
    if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is not a safe integer`);
    const at = this.#claim(8);
    this.#view.setUint32(at, value >>> 0, true);
    this.#view.setInt32(at + 4, Math.floor(value / 0x1_0000_0000), true);
    return this;
  }

  f32(value: number): this {
    const at = this.#claim(4);
    this.#view.setFloat32(at, value, true);
    return this;
  }

  f64(value: number): this {
    const at = this.#claim(8);
    this.#view.setFloat64(at, value, true);
    return this;
  }

  /** Bytes as they are, without a length. */
  raw(bytes: Uint8Array): this {
    const at = this.#claim(bytes.length);
    this.#bytes.set(bytes, at);
    return this;
  }

  zeros(length: number): this {
    const at = this.#claim(length);
    this.#bytes.fill(0, at, at + length);
    return this;
  }

  /** u32 length + bytes. */
  blob(bytes: Uint8Array): this {
    return this.u32(bytes.length).raw(bytes);
  }

  /** u32 length + UTF-8. */
  string(text: string): this {
    if (text.length <= SHORT_TEXT && this.#ascii(text)) return this;
    const length = Buffer.byteLength(text);
    this.u32(length);
    const at = this.#claim(length);
    this.#bytes.write(text, at);
    return this;
  }

  /** A string whose units are one byte each; false, and nothing is written, of any other. */
  #ascii(text: string): boolean {
    const { length } = text;
    const lengthAt = this.#claim(4 + length);
    this.#view.setUint32(lengthAt, length, true);
    for (let i = 0, at = lengthAt + 4; i < length; i++, at++) {
      const unit = text.charCodeAt(i);
      if (unit > 0x7f) {
        this.#length = lengthAt;
        return false;
      }
      this.#bytes[at] = unit;
    }
    return true;
  }

  /** A versioned structure (`ENCODE_START` .. `ENCODE_FINISH`): the length is filled in when `body` is done. */
  struct(version: number, compat: number, body: (encoder: this) => void): this {
    this.u8(version).u8(compat);
    const lengthAt = this.#claim(4);
    body(this);
    this.patchU32(lengthAt, this.#length - lengthAt - 4);
    return this;
  }

  /** Overwrites a u32 that was written before. */
  patchU32(at: number, value: number): void {
    this.#view.setUint32(at, value, true);
  }
}

/** Encodes with a fresh encoder and returns the bytes. */
export function encode(write: (encoder: Encoder) => unknown, capacity?: number): Uint8Array {
  const encoder = new Encoder(capacity);
  write(encoder);
  return encoder.bytes;
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** UTF-8 bytes of a text. */
export function utf8Bytes(text: string): Uint8Array {
  return Buffer.from(text);
}
