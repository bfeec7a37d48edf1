/**
 * The states of an image's objects, two bits each, in the bytes of Ceph's BitVector (`common/bit_vector.hpp`): the first
 * object in the two highest bits of the first byte.
 */

import { DecodeError, Decoder } from '../../encoding/decoder.js';
import { Encoder, encode } from '../../encoding/encoder.js';

/** `OBJECT_NONEXISTENT` and so on in Ceph. PENDING: being removed, so it may exist. CLEAN: not written since the last snapshot. */
export const OBJECT_STATE = { NONEXISTENT: 0, EXISTS: 1, PENDING: 2, EXISTS_CLEAN: 3 } as const;

const { NONEXISTENT, EXISTS, EXISTS_CLEAN } = OBJECT_STATE;
const PER_BYTE = 4;

export class StateBitmap {
  #bytes: Uint8Array;
  #size: number;

  constructor(size: number, state: number = NONEXISTENT) {
    this.#bytes = new Uint8Array(Math.ceil(size / PER_BYTE)).fill(filled(state));
    this.#size = size;
  }

  /** What `object_map_load` answers. Throws DecodeError when it is short. */
  static decode(input: Uint8Array): StateBitmap {
    const decoder = new Decoder(input);
    const header = new Decoder(decoder.blob());
    const size = header.struct('BitVector', 1, () => header.u64n());
    const bytes = decoder.view(Math.ceil(size / PER_BYTE));
    if (bytes.length * PER_BYTE < size) throw new DecodeError('short bit vector', decoder.offset);
    const bitmap = new StateBitmap(0);
    bitmap.#bytes = bytes.slice();
    bitmap.#size = size;
    return bitmap;
  }

  /** With an empty footer, as `object_map_save` takes it. */
  encode(): Uint8Array {
    const header = encode((e) => e.struct(1, 1, () => e.u64n(this.#size)));
    return new Encoder(this.#bytes.length + 64).blob(header).raw(this.#bytes).u32(0).bytes;
  }

  get size(): number {
    return this.#size;
  }

  get(index: number): number {
    return ((this.#bytes[index >>> 2] as number) >>> ((3 - (index & 3)) * 2)) & 3;
  }

  set(index: number, state: number): void {
    const shift = (3 - (index & 3)) * 2;
    const byte = this.#bytes[index >>> 2] as number;
    this.#bytes[index >>> 2] = (byte & ~(3 << shift)) | (state << shift);
  }

  fill(start: number, end: number, state: number): void {
    let at = start;
    for (; at < end && at % PER_BYTE !== 0; at++) this.set(at, state);
    const whole = Math.floor((end - at) / PER_BYTE);
    if (whole > 0) {
      this.#bytes.fill(filled(state), at / PER_BYTE, at / PER_BYTE + whole);
      at += whole * PER_BYTE;
    }
    for (; at < end; at++) this.set(at, state);
  }

  /** As the class method `object_map_update`: of the elements that are `current` (EXISTS means clean ones too), or of all. */
  update(start: number, end: number, state: number, current?: number): void {
    for (let i = start; i < end; i++) {
      const before = this.get(i);
      const matches =
        current === undefined ||
        before === current ||
        (current === EXISTS && before === EXISTS_CLEAN);
      if (matches) this.set(i, state);
    }
  }

  /** The first object from `from` on and before `end` that is not NONEXISTENT, or -1. */
  nextExisting(from: number, end: number): number {
    for (let i = from; i < end; ) {
      if (i % PER_BYTE === 0 && this.#bytes[i / PER_BYTE] === 0) i += PER_BYTE;
      else if (this.get(i) !== NONEXISTENT) return i;
      else i++;
    }
    return -1;
  }

  countExisting(from: number, end: number): number {
    let count = 0;
    for (let i = this.nextExisting(from, end); i >= 0; i = this.nextExisting(i + 1, end)) count++;
    return count;
  }

  resize(size: number, state: number): void {
    const bytes = new Uint8Array(Math.ceil(size / PER_BYTE));
    bytes.set(this.#bytes.subarray(0, bytes.length));
    this.#bytes = bytes;
    const before = this.#size;
    this.#size = size;
    if (size > before) this.fill(before, size, state);
  }

  /** A snapshot was taken: what exists is clean. */
  snapshotAdded(): void {
    this.#map((state) => (state === EXISTS ? EXISTS_CLEAN : state));
  }

  /** A snapshot is gone, whose map was `removed`: what was written before it was written since the one before that. */
  snapshotRemoved(removed: StateBitmap): void {
    for (
      let i = this.nextExisting(0, this.#size);
      i >= 0;
      i = this.nextExisting(i + 1, this.#size)
    ) {
      if (this.get(i) !== EXISTS_CLEAN) continue;
      if (i >= removed.size || removed.get(i) === EXISTS) this.set(i, EXISTS);
    }
  }

  #map(each: (state: number) => number): void {
    const table = new Uint8Array(256).map(
      (_, byte) =>
        (each(byte >>> 6) << 6) |
        (each((byte >>> 4) & 3) << 4) |
        (each((byte >>> 2) & 3) << 2) |
        each(byte & 3),
    );
    const bytes = this.#bytes;
    for (let i = 0; i < bytes.length; i++) bytes[i] = table[bytes[i] as number] as number;
  }
}

const filled = (state: number) => state * 0b01010101;
