/**
 * Loads the AssemblyScript kernels (assembly/) over a shared memory.
 *
 *   0            heapBase()                                  memoryBytes
 *   | tables     | allocations of `alloc`, upwards, never freed |
 *
 * `loadKernels` makes a memory at its final size that never grows: a view of it stays valid for ever, here and in any
 * thread that the buffer is handed to. Each thread loads its own; other threads may read and write the memory.
 *
 * `instantiateKernels` is for a memory that somebody else keeps (bitmap-memory.ts): it may grow, and several threads may
 * have instances over it, each with a place of its own for the scratch of crc32c.
 */
import { readFileSync } from 'node:fs';

import { packageFile } from '../base/paths.js';

/** The functions of dist/wasm/kernels.wasm. Pointers and lengths are bytes; results are signed. */
export interface KernelExports {
  heapBase(): number;
  crc32c(seed: number, ptr: number, len: number): number;
  crc32cScratchBytes(): number;
  setCrc32cScratch(at: number): void;
  crushScratchBytes(): number;
  crushDoRule(
    map: number,
    logs: number,
    rule: number,
    x: number,
    resultMax: number,
    weights: number,
    weightCount: number,
    argSet: number,
    workLimit: number,
    scratch: number,
    out: number,
  ): number;
  bitmapCount(map: number, start: number, end: number, out: number): void;
  bitmapNext(map: number, start: number, end: number, states: number): number;
  bitmapFill(map: number, start: number, end: number, state: number): void;
  bitmapReplace(map: number, start: number, end: number, states: number, to: number): number;
  bitmapMerge(next: number, removed: number, blocks: number): number;
  bitmapRuns(
    map: number,
    classes: number,
    end: number,
    cursor: number,
    out: number,
    capacity: number,
  ): number;
  bitmapDiff(
    from: number,
    fromBytes: number,
    to: number,
    end: number,
    cursor: number,
    out: number,
    capacity: number,
  ): number;
  bitmapDiffStart(states: number, from: number, blocks: number): void;
  bitmapDiffStep(states: number, map: number, blocks: number, isLast: number): void;
  bitVectorChecksums(data: number, len: number, out: number): void;
  bitVectorBadBlock(data: number, len: number, sums: number): number;
  isZero(ptr: number, len: number): number;
  dataExtents(
    ptr: number,
    len: number,
    block: number,
    from: number,
    out: number,
    capacity: number,
  ): number;
}

export interface Kernels {
  readonly memory: WebAssembly.Memory;
  readonly exports: KernelExports;
  /** All of `memory`. */
  readonly u8: Uint8Array;
  /**
   * Reserves memory for the life of these kernels, zeroed, and returns its address.
   * `align` is a power of two. Throws RangeError when the memory is exhausted.
   */
  alloc(bytes: number, align?: number): number;
}

export interface KernelOptions {
  /** Size of the memory, rounded up to whole 64 KiB pages. */
  memoryBytes?: number;
}

const MIB = 1024 * 1024;
export const WASM_PAGE_BYTES = 64 * 1024;
const DEFAULT_MEMORY_BYTES = 16 * MIB;
/** The limits that the module declares for its memory (asconfig.json); 4 GiB is all that 32 bits reach. */
export const MIN_MEMORY_BYTES = 1 * MIB;
export const MAX_MEMORY_BYTES = 4096 * MIB;
/** A cache line, and what the SIMD kernels like best. */
const DEFAULT_ALIGN = 64;

let compiledModule: WebAssembly.Module | undefined;

/** Compiled once per thread, on first use: importing the package costs nothing. May be posted to other threads. */
export function kernelModule(): WebAssembly.Module {
  compiledModule ??= new WebAssembly.Module(readFileSync(packageFile('dist/wasm/kernels.wasm')));
  return compiledModule;
}

export function instantiateKernels(
  memory: WebAssembly.Memory,
  module: WebAssembly.Module = kernelModule(),
): KernelExports {
  return new WebAssembly.Instance(module, { env: { memory } }).exports as KernelExports;
}

export function loadKernels(options: KernelOptions = {}): Kernels {
  const { memoryBytes = DEFAULT_MEMORY_BYTES } = options;
  if (!(memoryBytes >= MIN_MEMORY_BYTES && memoryBytes <= MAX_MEMORY_BYTES)) {
    throw new RangeError(`memoryBytes ${memoryBytes} is not within 1 MiB and 4 GiB`);
  }
  const pages = Math.ceil(memoryBytes / WASM_PAGE_BYTES);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const exports = instantiateKernels(memory);
  return {
    memory,
    exports,
    u8: new Uint8Array(memory.buffer),
    alloc: createBumpAllocator(exports.heapBase(), memory.buffer.byteLength),
  };
}

function createBumpAllocator(start: number, end: number): Kernels['alloc'] {
  let next = start;
  return (bytes, align = DEFAULT_ALIGN) => {
    if (!Number.isSafeInteger(bytes) || bytes < 0) {
      throw new RangeError(`cannot allocate ${bytes} bytes`);
    }
    const isPowerOfTwo = Number.isInteger(align) && align > 0 && (align & (align - 1)) === 0;
    if (!isPowerOfTwo || align > WASM_PAGE_BYTES) {
      throw new RangeError(`alignment ${align} is not a power of two up to ${WASM_PAGE_BYTES}`);
    }
    const address = Math.ceil(next / align) * align;
    if (bytes > end - address) {
      const left = Math.max(0, end - address);
      throw new RangeError(
        `kernel memory exhausted: ${bytes} bytes wanted, ${left} of ${end} left`,
      );
    }
    next = address + bytes;
    return address;
  };
}
