/**
 * Places for payloads in one region of memory: whole pages, first fit, lowest address first.
 *
 * Only the submitting side allocates and frees; the other side is told addresses.
 */

import { RadosError } from '../base/errors.js';
import { FreeExtents } from '../base/free-extents.js';

export const ARENA_PAGE_BYTES = 4096;

export class Arena {
  readonly bytes: Uint8Array;
  /** Added to an offset in `bytes` to give an address: what the other side understands. */
  readonly base: number;
  readonly pages: number;
  readonly #free: FreeExtents;

  /** `bytes` from `base` of `buffer`, a whole number of pages. */
  constructor(buffer: ArrayBufferLike, base: number, bytes: number) {
    if (bytes < ARENA_PAGE_BYTES || bytes % ARENA_PAGE_BYTES !== 0) {
      throw new RadosError('EINVAL', `an arena of ${bytes} bytes is not a whole number of pages`);
    }
    this.bytes = new Uint8Array(buffer, base, bytes);
    this.base = base;
    this.pages = bytes / ARENA_PAGE_BYTES;
    this.#free = new FreeExtents(this.pages);
  }

  get freeBytes(): number {
    return this.#free.free * ARENA_PAGE_BYTES;
  }

  /** Address of `bytes` contiguous bytes, or -1 when no free extent is long enough now. */
  alloc(bytes: number): number {
    const page = this.#free.take(pagesFor(bytes));
    return page < 0 ? -1 : this.base + page * ARENA_PAGE_BYTES;
  }

  /** `address` and `bytes` as `alloc` had them. */
  free(address: number, bytes: number): void {
    this.#free.give((address - this.base) / ARENA_PAGE_BYTES, pagesFor(bytes));
  }

  view(address: number, bytes: number): Uint8Array {
    const at = address - this.base;
    return this.bytes.subarray(at, at + bytes);
  }
}

function pagesFor(bytes: number): number {
  return Math.ceil(bytes / ARENA_PAGE_BYTES);
}
