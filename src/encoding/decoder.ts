/**
 * A bounds-checked cursor over bytes that a peer sent.
 *
 * Every length is compared with the bytes left before it is used: a lying count costs a typed error, never an
 * allocation or a loop. Little-endian throughout, as Ceph's `encoding.h`.
 */

import { utf8Text } from '../base/bytes-as-text.js';
import { ProtocolError } from '../base/errors.js';

/** A value does not fit its bytes. Carries the offset and, once it leaves a structure, that structure's name. */
export class DecodeError extends ProtocolError {
  override readonly name: string = 'DecodeError';
  /** Innermost structure first: `pool_snap_info_t < pg_pool_t < OSDMap`. */
  readonly path: readonly string[];

  constructor(reason: string, offset: number, path: readonly string[] = []) {
    super(`${reason} at byte ${offset}${path.length ? ` of ${path.join(' < ')}` : ''}`, { offset });
    this.path = path;
    this.reason = reason;
  }

  readonly reason: string;

  within(structure: string): DecodeError {
    return new DecodeError(this.reason, this.offset ?? 0, [...this.path, structure]);
  }
}

// A leading byte order mark belongs to the text: an object's name is its bytes.

export class Decoder {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  /** Offset of the next byte, from the start of `bytes`. */
  offset: number;
  /** First offset that may not be read. Lowered while inside a structure with a declared length. */
  end: number;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.offset = 0;
    this.end = bytes.byteLength;
  }

  get remaining(): number {
    return this.end - this.offset;
  }

  /** Claims `length` bytes and returns where they start. */
  take(length: number): number {
    const at = this.offset;
    if (length > this.end - at || length < 0) {
      throw new DecodeError(`needs ${length} bytes, ${this.end - at} left`, at);
    }
    this.offset = at + length;
    return at;
  }

  u8(): number {
    return this.#view.getUint8(this.take(1));
  }

  s8(): number {
    return this.#view.getInt8(this.take(1));
  }

  bool(): boolean {
    return this.u8() !== 0;
  }

  u16(): number {
    return this.#view.getUint16(this.take(2), true);
  }

  s16(): number {
    return this.#view.getInt16(this.take(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.take(4), true);
  }

  s32(): number {
    return this.#view.getInt32(this.take(4), true);
  }

  /** An id: global id, cookie, snap id, feature mask. */
  u64(): bigint {
    return this.#view.getBigUint64(this.take(8), true);
  }

  s64(): bigint {
    return this.#view.getBigInt64(this.take(8), true);
  }

  /** A size, offset or counter: refused when it does not fit a safe integer. */
  u64n(): number {
    const at = this.take(8);
    const high = this.#view.getUint32(at + 4, true);
    if (high > 0x1fffff) throw new DecodeError('64-bit value is over 2^53', at);
    return high * 0x1_0000_0000 + this.#view.getUint32(at, true);
  }

  /** A signed 64-bit number within the safe integers (pool ids). */
  s64n(): number {
    const at = this.take(8);
    const high = this.#view.getInt32(at + 4, true);
    const value = high * 0x1_0000_0000 + this.#view.getUint32(at, true);
    if (!Number.isSafeInteger(value)) throw new DecodeError('64-bit value is over 2^53', at);
    return value;
  }

  f32(): number {
    return this.#view.getFloat32(this.take(4), true);
  }

  f64(): number {
    return this.#view.getFloat64(this.take(8), true);
  }

  /** A view of the next `length` bytes: it shares memory with the input. */
  view(length: number): Uint8Array {
    const at = this.take(length);
    return this.bytes.subarray(at, at + length);
  }

  /** u32 length + bytes, as a view. */
  blob(): Uint8Array {
    return this.view(this.u32());
  }

  /** u32 length + UTF-8. */
  string(): string {
    return this.text(this.u32());
  }

  /** UTF-8 of a known length. */
  text(length: number): string {
    const at = this.take(length);
    return length === 0 ? '' : utf8Text(this.bytes, at, at + length);
  }

  /** A u32 element count, refused when even the smallest elements would not fit in what is left. */
  count(elementMinBytes: number): number {
    const at = this.offset;
    const count = this.u32();
    if (count * elementMinBytes > this.remaining) {
      throw new DecodeError(`count ${count} does not fit in the ${this.remaining} bytes left`, at);
    }
    return count;
  }

  /**
   * A versioned structure (`DECODE_START` .. `DECODE_FINISH`): reads what `body` knows and skips to the declared end.
   * Refused when the writer says that version `known` cannot read it.
   */
  struct<T>(name: string, known: number, body: (version: number) => T): T {
    const at = this.offset;
    try {
      const version = this.u8();
      const compat = this.u8();
      if (compat > known) {
        throw new DecodeError(
          `struct version ${version} needs a reader of version ${compat}, this is ${known}`,
          at,
        );
      }
      const length = this.u32();
      const start = this.take(length);
      const outerEnd = this.end;
      this.offset = start;
      this.end = start + length;
      const value = body(version);
      this.offset = this.end;
      this.end = outerEnd;
      return value;
    } catch (error) {
      throw error instanceof DecodeError ? error.within(name) : error;
    }
  }

  /** Fails unless everything was read. */
  finish(name: string): void {
    if (this.remaining !== 0) {
      throw new DecodeError(`${this.remaining} bytes left over`, this.offset, [name]);
    }
  }
}
