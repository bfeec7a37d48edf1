/**
 * Places for payloads in one region of memory: whole pages, first fit, lowest address first.
 *
 * Only the submitting side allocates and frees; the other side is told addresses. Free extents are kept
 * sorted by address, so that neighbours merge and large extents survive at the high end while
 * small requests come and go at the low one.
 */

import { RadosError } from '../base/errors.js';

export const ARENA_PAGE_BYTES = 4096;

export class Arena {
  readonly bytes: Uint8Array;
  /** Added to an offset in `bytes` to give an address: what the other side understands. */
  readonly base: number;
  readonly pages: number;

  /** Free extents, by first page. `#count` entries are in use; two free extents never touch. */
  readonly #starts: Int32Array;
  readonly #lengths: Int32Array;
  #count = 1;
  #freePages: number;

  /** `bytes` from `base` of `buffer`, a whole number of pages. */
  constructor(buffer: ArrayBufferLike, base: number, bytes: number) {
    if (bytes < ARENA_PAGE_BYTES || bytes % ARENA_PAGE_BYTES !== 0) {
      throw new RadosError('EINVAL', `an arena of ${bytes} bytes is not a whole number of pages`);
    }
    this.bytes = new Uint8Array(buffer, base, bytes);
    this.base = base;
    this.pages = bytes / ARENA_PAGE_BYTES;
    this.#freePages = this.pages;
    // Free extents are separated by used pages, so there is at most one for every two pages.
    this.#starts = new Int32Array(Math.ceil(this.pages / 2) + 1);
    this.#lengths = new Int32Array(this.#starts.length);
    this.#lengths[0] = this.pages;
  }

  get freeBytes(): number {
    return this.#freePages * ARENA_PAGE_BYTES;
  }

  /** Address of `bytes` contiguous bytes, or -1 when no free extent is long enough now. */
  alloc(bytes: number): number {
    const pages = pagesFor(bytes);
    const lengths = this.#lengths;
    for (let i = 0; i < this.#count; i++) {
      const length = lengths[i]!;
      if (length < pages) continue;
      const start = this.#starts[i]!;
      if (length === pages) this.#remove(i);
      else {
        this.#starts[i] = start + pages;
        lengths[i] = length - pages;
      }
      this.#freePages -= pages;
      return this.base + start * ARENA_PAGE_BYTES;
    }
    return -1;
  }

  /** `address` and `bytes` as `alloc` had them. */
  free(address: number, bytes: number): void {
    const pages = pagesFor(bytes);
    const start = (address - this.base) / ARENA_PAGE_BYTES;
    const end = start + pages;
    const next = this.#firstFrom(start);
    const starts = this.#starts;
    const lengths = this.#lengths;
    const touchesPrevious = next > 0 && starts[next - 1]! + lengths[next - 1]! === start;
    const touchesNext = next < this.#count && starts[next]! === end;
    const overlaps =
      (next > 0 && starts[next - 1]! + lengths[next - 1]! > start) ||
      (next < this.#count && starts[next]! < end);
    if (!Number.isInteger(start) || start < 0 || end > this.pages || overlaps) {
      throw new RangeError(`arena: ${bytes} bytes at ${address} were not allocated`);
    }
    if (touchesPrevious && touchesNext) {
      lengths[next - 1] = lengths[next - 1]! + pages + lengths[next]!;
      this.#remove(next);
    } else if (touchesPrevious) {
      lengths[next - 1] = lengths[next - 1]! + pages;
    } else if (touchesNext) {
      starts[next] = start;
      lengths[next] = lengths[next]! + pages;
    } else {
      this.#insert(next, start, pages);
    }
    this.#freePages += pages;
  }

  view(address: number, bytes: number): Uint8Array {
    const at = address - this.base;
    return this.bytes.subarray(at, at + bytes);
  }

  /** Index of the first free extent that starts at or after `page`. */
  #firstFrom(page: number): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#starts[middle]! < page) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #remove(index: number): void {
    this.#starts.copyWithin(index, index + 1, this.#count);
    this.#lengths.copyWithin(index, index + 1, this.#count);
    this.#count--;
  }

  #insert(index: number, start: number, pages: number): void {
    this.#starts.copyWithin(index + 1, index, this.#count);
    this.#lengths.copyWithin(index + 1, index, this.#count);
    this.#starts[index] = start;
    this.#lengths[index] = pages;
    this.#count++;
  }
}

function pagesFor(bytes: number): number {
  return Math.ceil(bytes / ARENA_PAGE_BYTES);
}
