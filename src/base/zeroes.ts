/** Bytes that are all zero: what a sparse image, file or stream leaves out. */

const ZEROES = Buffer.alloc(64 * 1024);

/** By memcmp: several times as fast as a loop over the bytes. */
export function isZero(data: Uint8Array): boolean {
  for (let at = 0; at < data.length; at += ZEROES.length) {
    const part = data.subarray(at, at + ZEROES.length);
    if (Buffer.compare(part, ZEROES.subarray(0, part.length)) !== 0) return false;
  }
  return true;
}

/** A stretch of blocks of one kind. */
export interface SparseRun {
  readonly start: number;
  readonly end: number;
  readonly zero: boolean;
}

/** Runs of blocks that are all zero, and of others. The first block ends where `offset + start` is a multiple of its size. */
export function* sparseRuns(
  data: Uint8Array,
  blockBytes: number,
  offset = 0,
): Generator<SparseRun, void, undefined> {
  let start = 0;
  let zero: boolean | undefined;
  for (let at = 0; at < data.length; ) {
    const end = Math.min(data.length, at + blockBytes - ((offset + at) % blockBytes));
    const next = isZero(data.subarray(at, end));
    if (zero !== undefined && zero !== next) {
      yield { start, end: at, zero };
      start = at;
    }
    zero = next;
    at = end;
  }
  if (zero !== undefined) yield { start, end: data.length, zero };
}
