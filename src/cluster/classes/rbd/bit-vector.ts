/**
 * An object map's encoding: two bits per object, in blocks with checksums (`common/bit_vector.hpp`).
 *
 *     0   u32 14, then struct(1,1){ u64 N }              header, 18 bytes with its length
 *    18   ceil(N / 4) bytes                              the first object in the two highest bits
 *         u32 length, u32 header crc, u32 B, B x u32     footer: a crc per 4,096 bytes of data; or empty
 */

import { DecodeError, Decoder } from '../../../encoding/decoder.js';
import { Encoder, encode } from '../../../encoding/encoder.js';
import type { Crc32c } from '../../../kernels/crc32c.js';
import { copyBytes } from '../../byte-string.js';

export const HEADER_BYTES = 18;
export const BLOCK_BYTES = 4096;
const ELEMENTS_PER_BYTE = 4;

export function dataBytes(size: number): number {
  return Math.ceil(size / ELEMENTS_PER_BYTE);
}

function headerBlob(size: number): Uint8Array {
  return encode((e) => e.struct(1, 1, () => e.u64n(size)));
}

/** N, from the first 18 bytes. */
export function decodeHeader(bytes: Uint8Array): number {
  const header = new Decoder(new Decoder(bytes).blob());
  return header.struct('BitVector', 1, () => header.u64n());
}

/** Where the footer's parts lie in the object. */
export function footerOffsets(size: number): { headerCrc: number; blockCrcs: number } {
  const footer = HEADER_BYTES + dataBytes(size);
  return { headerCrc: footer + 4, blockCrcs: footer + 12 };
}

/** The elements `[start, end)` lie in these blocks. */
export function blockRange(size: number, start: number, end: number) {
  const first = Math.floor(start / ELEMENTS_PER_BYTE / BLOCK_BYTES);
  const last = Math.floor((end - 1) / ELEMENTS_PER_BYTE / BLOCK_BYTES);
  const from = first * BLOCK_BYTES;
  const to = Math.min((last + 1) * BLOCK_BYTES, dataBytes(size));
  return { first, count: last - first + 1, from, to };
}

export function blockCrcs(data: Uint8Array, crc32c: Crc32c): Uint8Array {
  return encode((e) => {
    for (let at = 0; at < data.length; at += BLOCK_BYTES) {
      e.u32(crc32c(0, data.subarray(at, at + BLOCK_BYTES)));
    }
  });
}

/** One element, where `data` begins with the element `first`. */
export function getElement(data: Uint8Array, index: number): number {
  return ((data[index >>> 2] as number) >>> ((3 - (index & 3)) * 2)) & 3;
}

export function setElement(data: Uint8Array, index: number, value: number): void {
  const shift = (3 - (index & 3)) * 2;
  const byte = data[index >>> 2] as number;
  data[index >>> 2] = (byte & ~(3 << shift)) | ((value & 3) << shift);
}

export class BitVector {
  #data: Uint8Array;
  #size: number;

  constructor(size = 0, data: Uint8Array = new Uint8Array(dataBytes(size))) {
    this.#size = size;
    this.#data = data;
  }

  /** Throws DecodeError for a short vector, a lying size or a wrong checksum. */
  static decode(decoder: Decoder, crc32c: Crc32c): BitVector {
    const header = decoder.blob();
    const size = decodeHeader(encode((e) => e.blob(header)));
    const length = dataBytes(size);
    const data = copyBytes(decoder.view(length));
    const footer = new Decoder(decoder.blob());
    if (footer.remaining > 0) {
      if (footer.u32() !== crc32c(0, header)) throw new DecodeError('header checksum', 0);
      const sums = blockCrcs(data, crc32c);
      if (footer.u32() * 4 !== sums.length) throw new DecodeError('block count', 0);
      if (Buffer.compare(footer.view(sums.length), sums) !== 0) {
        throw new DecodeError('block checksum', 0);
      }
    }
    return new BitVector(size, data);
  }

  get size(): number {
    return this.#size;
  }

  get(index: number): number {
    return getElement(this.#data, index);
  }

  set(index: number, value: number): void {
    setElement(this.#data, index, value);
  }

  /** Cuts, leaving the last byte's unused bits as they are, or grows by elements of `value`. */
  resize(size: number, value: number): void {
    const data = new Uint8Array(dataBytes(size));
    data.set(this.#data.subarray(0, data.length));
    this.#data = data;
    // Element by element only up to a whole byte; the bulk is a fill.
    let at = this.#size;
    for (; at < size && at % ELEMENTS_PER_BYTE !== 0; at++) this.set(at, value);
    if (at < size) {
      data.fill((value & 3) * 0b01010101, at / ELEMENTS_PER_BYTE);
      // The fill reached into unused bits of the last byte.
      const used = size % ELEMENTS_PER_BYTE;
      const last = data.length - 1;
      if (used !== 0) {
        data[last] = (data[last] as number) & (0xff << ((ELEMENTS_PER_BYTE - used) * 2)) & 0xff;
      }
    }
    this.#size = size;
  }

  /** `crc32c` absent: with an empty footer, as `object_map_load` answers. */
  encode(crc32c?: Crc32c): Uint8Array {
    const header = headerBlob(this.#size);
    const e = new Encoder(HEADER_BYTES + this.#data.length + 64);
    e.blob(header).raw(this.#data);
    if (!crc32c) return e.u32(0).bytes;
    const sums = blockCrcs(this.#data, crc32c);
    return e
      .u32(8 + sums.length)
      .u32(crc32c(0, header))
      .u32(sums.length / 4)
      .raw(sums).bytes;
  }
}
