/**
 * crc32c (Castagnoli) in Ceph's raw convention: the seed is the register's value and nothing is
 * inverted, as ceph_crc32c() in src/include/crc32c.h. Checksums chain: the result for a first part
 * is the seed for the second.
 *
 * Three ways, each where it is fastest (ns per call, one EPYC core, Node 20.20):
 *
 *   bytes                         32   128   4,096      4 MiB
 *   JS, slice-by-8                28    75   2,020  2,100,000   below 64 B: preambles, epilogues
 *   wasm, in place                37    70     390    250,000   bytes that lie in kernel memory
 *   wasm, through the window      42    75     470    320,000   all others
 *
 * and `crc32cTwin`, the definition itself, by which the others are judged.
 */
import { copyBytes } from '../base/copy-bytes.js';
import type { Kernels } from './load.js';

/**
 * `seed` is any 32-bit value, signed or not; the result is unsigned. `start` and `end` choose a part of `bytes`, as
 * `subarray` would, without the cost of making one.
 */
export type Crc32c = (seed: number, bytes: Uint8Array, start?: number, end?: number) => number;

/** x^32 + x^28 + x^27 + … + 1 without its leading term, lowest power in the highest bit. */
const POLYNOMIAL = 0x82f63b78;

/** Below this the way into wasm costs more than it saves; up to 128 B there is little between them. */
const WASM_MIN_BYTES = 64;

/** Below this, bytes that lie elsewhere cost more to copy into wasm memory than is saved there (measured between requests, cold). */
const COPY_MIN_BYTES = 256;

/** Bytes copied per wasm call: small enough to stay in the second-level cache. */
const SCRATCH_BYTES = 128 * 1024;

export function createCrc32c(kernels: Kernels): Crc32c {
  const { u8 } = kernels;
  const buffer = kernels.memory.buffer;
  const wasmCrc32c = kernels.exports.crc32c;
  const scratch = scratchWindow(kernels);
  const place = u8.subarray(scratch, scratch + SCRATCH_BYTES);
  const slices = createSlices();

  return (seed, bytes, start = 0, end = bytes.length) => {
    const length = end - start;
    if (length < WASM_MIN_BYTES) return sliceBy8(slices, seed, bytes, start, end);
    if (bytes.buffer === buffer) return wasmCrc32c(seed, bytes.byteOffset + start, length) >>> 0;
    if (length < COPY_MIN_BYTES) return sliceBy8(slices, seed, bytes, start, end);
    let register = seed;
    for (let at = start; at < end; at += SCRATCH_BYTES) {
      const isWhole = length === bytes.length && length <= SCRATCH_BYTES;
      const part = isWhole ? bytes : bytes.subarray(at, Math.min(end, at + SCRATCH_BYTES));
      copyBytes(place, part);
      register = wasmCrc32c(register, scratch, part.length);
    }
    return register >>> 0;
  };
}

/** The definition, one bit at a time: readable, slow, the oracle of the tests. */
export function crc32cTwin(seed: number, bytes: Uint8Array): number {
  let register = seed;
  for (const byte of bytes) {
    register ^= byte;
    for (let bit = 0; bit < 8; bit++) {
      register = register & 1 ? (register >>> 1) ^ POLYNOMIAL : register >>> 1;
    }
  }
  return register >>> 0;
}

/** One window per kernels, however many checksums are created over them. */
const scratchWindows = new WeakMap<Kernels, number>();

function scratchWindow(kernels: Kernels): number {
  let address = scratchWindows.get(kernels);
  if (address === undefined) {
    address = kernels.alloc(SCRATCH_BYTES);
    scratchWindows.set(kernels, address);
  }
  return address;
}

/** Eight tables in a row; entry `byte` of table k is the register after `byte` and k zero bytes. */
function createSlices(): Int32Array {
  const slices = new Int32Array(8 * 256);
  const message = new Uint8Array(8);
  for (let byte = 0; byte < 256; byte++) {
    message[0] = byte;
    for (let k = 0; k < 8; k++) slices[k * 256 + byte] = crc32cTwin(0, message.subarray(0, k + 1));
  }
  return slices;
}

function sliceBy8(
  t: Int32Array,
  seed: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): number {
  // Indices are in bounds by construction: 8 bytes are left, and 0 <= index < 8 * 256.
  let register = seed | 0;
  let i = start;
  for (; i + 8 <= end; i += 8) {
    register =
      t[0x700 | ((register ^ bytes[i]!) & 0xff)]! ^
      t[0x600 | (((register >>> 8) ^ bytes[i + 1]!) & 0xff)]! ^
      t[0x500 | (((register >>> 16) ^ bytes[i + 2]!) & 0xff)]! ^
      t[0x400 | ((register >>> 24) ^ bytes[i + 3]!)]! ^
      t[0x300 | bytes[i + 4]!]! ^
      t[0x200 | bytes[i + 5]!]! ^
      t[0x100 | bytes[i + 6]!]! ^
      t[bytes[i + 7]!]!;
  }
  for (; i < end; i++) {
    register = t[(register ^ bytes[i]!) & 0xff]! ^ (register >>> 8);
  }
  return register >>> 0;
}
