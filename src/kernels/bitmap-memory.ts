/**
 * One growing shared WASM memory for all object maps of a thread, and what its kernels need beside them:
 *
 *   0           heapBase()   cursor    counts  entries              first page                        maximumBytes
 *   | tables    | 128 bytes  | 16 bytes | ENTRIES_MAX x u32 | regions: whole pages, first fit, freed and used again |
 *
 * It grows when no free extent is long enough, up to its maximum; what was freed is used first. A view of the memory stays
 * valid for what it spans, whatever grows later. Other threads get `memory` and addresses, never copies (pool.ts).
 */

import { RadosError } from '../base/errors.js';
import { FreeExtents } from '../base/free-extents.js';
import {
  instantiateKernels,
  type KernelExports,
  MAX_MEMORY_BYTES,
  MIN_MEMORY_BYTES,
  WASM_PAGE_BYTES,
} from './load.js';

export interface BitmapMemoryOptions {
  /** How far the memory may grow: a whole number of MiB up to 4 GiB, 1 GiB by default. */
  maximumBytes?: number;
}

/** A part of the memory, from a multiple of 64 on. */
export interface Region {
  readonly address: number;
  readonly bytes: Uint8Array;
}

interface TakenRegion extends Region {
  pins: number;
  isGivenBack: boolean;
}

const PAGE_BYTES = 4096;
const DEFAULT_MAXIMUM_BYTES = 1024 * 1024 * 1024;
/** Small growth would come one map at a time. */
const GROWTH_BYTES = 1024 * 1024;
const CURSOR_BYTES = 128;
const COUNTS_BYTES = 16;

/** What one call of a kernel that makes a list writes at most; and a checksum for each block of the largest map. */
export const ENTRIES_MAX = 16_384;

let ofThisThread: BitmapMemory | undefined;

/** The memory for the object maps of this thread, made when it is first asked for. */
export function threadBitmapMemory(): BitmapMemory {
  ofThisThread ??= new BitmapMemory();
  return ofThisThread;
}

export class BitmapMemory {
  readonly memory: WebAssembly.Memory;
  readonly exports: KernelExports;
  readonly maximumBytes: number;
  /** For the length of one call of a kernel. */
  readonly cursorAddress: number;
  readonly cursor: Uint32Array;
  readonly countsAddress: number;
  readonly counts: Uint32Array;
  readonly entriesAddress: number;
  readonly entries: Uint32Array;
  readonly #firstPage: number;
  readonly #pages: FreeExtents;

  constructor({ maximumBytes = DEFAULT_MAXIMUM_BYTES }: BitmapMemoryOptions = {}) {
    if (!(maximumBytes >= MIN_MEMORY_BYTES && maximumBytes <= MAX_MEMORY_BYTES)) {
      throw new RangeError(`maximumBytes ${maximumBytes} is not within 1 MiB and 4 GiB`);
    }
    const maximum = Math.ceil(maximumBytes / WASM_PAGE_BYTES);
    const initial = MIN_MEMORY_BYTES / WASM_PAGE_BYTES;
    this.maximumBytes = maximum * WASM_PAGE_BYTES;
    this.memory = new WebAssembly.Memory({ initial, maximum, shared: true });
    this.exports = instantiateKernels(this.memory);
    this.cursorAddress = Math.ceil(this.exports.heapBase() / 64) * 64;
    this.countsAddress = this.cursorAddress + CURSOR_BYTES;
    this.entriesAddress = this.countsAddress + COUNTS_BYTES;
    const { buffer } = this.memory;
    this.cursor = new Uint32Array(buffer, this.cursorAddress, 2);
    this.counts = new Uint32Array(buffer, this.countsAddress, 4);
    this.entries = new Uint32Array(buffer, this.entriesAddress, ENTRIES_MAX);
    this.#firstPage = Math.ceil((this.entriesAddress + 4 * ENTRIES_MAX) / PAGE_BYTES);
    this.#pages = new FreeExtents(buffer.byteLength / PAGE_BYTES - this.#firstPage);
  }

  /** In regions that are taken, or pinned by a task after they were given back. */
  get usedBytes(): number {
    return (this.#pages.units - this.#pages.free) * PAGE_BYTES;
  }

  /** At least `bytes`, with what somebody left in it. Throws ENOMEM when the memory is full. */
  take(bytes: number): Region {
    const pages = Math.max(1, Math.ceil(bytes / PAGE_BYTES));
    let first = this.#pages.take(pages);
    if (first < 0) {
      this.#grow(pages);
      first = this.#pages.take(pages);
    }
    const address = (this.#firstPage + first) * PAGE_BYTES;
    const region: TakenRegion = {
      address,
      bytes: new Uint8Array(this.memory.buffer, address, pages * PAGE_BYTES),
      pins: 0,
      isGivenBack: false,
    };
    return region;
  }

  /** Once. The memory is used again when nobody has it pinned. */
  give(region: Region): void {
    const taken = region as TakenRegion;
    if (taken.isGivenBack) throw new RangeError(`region ${region.address} was given back before`);
    taken.isGivenBack = true;
    this.#reuseIfIdle(taken);
  }

  /** A task of another thread uses the region: not to be used for anything else before `unpin`. */
  pin(region: Region): void {
    (region as TakenRegion).pins++;
  }

  unpin(region: Region): void {
    const taken = region as TakenRegion;
    taken.pins--;
    this.#reuseIfIdle(taken);
  }

  #reuseIfIdle({ address, bytes, pins, isGivenBack }: TakenRegion): void {
    if (!isGivenBack || pins > 0) return;
    this.#pages.give(address / PAGE_BYTES - this.#firstPage, bytes.length / PAGE_BYTES);
  }

  #grow(pages: number): void {
    const missing = (pages - this.#pages.freeAtEnd) * PAGE_BYTES;
    const size = this.memory.buffer.byteLength;
    const left = this.maximumBytes - size;
    if (missing > left) {
      throw new RadosError(
        'ENOMEM',
        `no room for ${pages * PAGE_BYTES} bytes of object maps: ${this.usedBytes} of ${this.maximumBytes} are in use`,
      );
    }
    const growth = Math.ceil(Math.min(left, Math.max(missing, GROWTH_BYTES)) / WASM_PAGE_BYTES);
    try {
      this.memory.grow(growth);
    } catch (cause) {
      throw new RadosError('ENOMEM', `object maps: the system has no ${missing} bytes left`, {
        cause,
      });
    }
    this.#pages.grow((growth * WASM_PAGE_BYTES) / PAGE_BYTES);
  }
}
