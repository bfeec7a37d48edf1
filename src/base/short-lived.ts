/**
 * Memory for bytes that are soon let go of: pieces of a shared buffer, as Node cuts them for less than 4 KiB.
 *
 * An ArrayBuffer of its own for each block of 4 KiB costs a request more than the copy that goes into it, and the garbage
 * collector as much again. What is kept for long holds on to the whole buffer: it belongs into memory of its own.
 */

const SHARED_BYTES = 32 * 1024;
/** Below this Node has memory to share of its own, above it the copy is what costs. */
const PIECE_MIN_BYTES = 4 * 1024;
const PIECE_MAX_BYTES = 8 * 1024;
const ALIGN = 8;

let shared = new ArrayBuffer(0);
let at = 0;

/** `length` bytes of any content. */
export function allocShortLived(length: number): Uint8Array {
  if (length < PIECE_MIN_BYTES || length > PIECE_MAX_BYTES) return Buffer.allocUnsafe(length);
  if (at + length > shared.byteLength) {
    shared = Buffer.allocUnsafeSlow(SHARED_BYTES).buffer as ArrayBuffer;
    at = 0;
  }
  const piece = new Uint8Array(shared, at, length);
  at = (at + length + ALIGN - 1) & -ALIGN;
  return piece;
}
