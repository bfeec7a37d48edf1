/**
 * What lies in a slot of the rings (words of 4 bytes):
 *
 *   request     0 tag   1 op   2 flags   3,4 offset   5,6 length   7 address   8 bytes   9..15 unused
 *   completion  0 tag   1 result: 0 or a negative errno   2 1: the detail port has the error   3 unused
 *
 * `offset` and `length` are ranges of the image, low word first. `address` and `bytes` say where the
 * payload lies in shared memory: what to fill (read), what to write, the pattern (write same), or
 * compare data and then new data (compare and write). The tag comes back in the completion.
 */

export const OP = {
  READ: 1,
  WRITE: 2,
  DISCARD: 3,
  WRITE_ZEROES: 4,
  WRITE_SAME: 5,
  COMPARE_AND_WRITE: 6,
  FLUSH: 7,
} as const;
export type Op = (typeof OP)[keyof typeof OP];

const OP_NAMES: Readonly<Record<Op, string>> = {
  [OP.READ]: 'read',
  [OP.WRITE]: 'write',
  [OP.DISCARD]: 'discard',
  [OP.WRITE_ZEROES]: 'write-zeroes',
  [OP.WRITE_SAME]: 'write-same',
  [OP.COMPARE_AND_WRITE]: 'compare-and-write',
  [OP.FLUSH]: 'flush',
};

export function opName(op: Op): string {
  return OP_NAMES[op];
}

export const FLAG = {
  /** A write is durable when it completes. */
  FUA: 1,
  /** Zeroes keep their space allocated. */
  NO_UNMAP: 2,
} as const;

/** One request as it crosses to the backend. */
export interface BlockRequest {
  tag: number;
  op: Op;
  flags: number;
  offset: number;
  length: number;
  address: number;
  bytes: number;
}

const TWO_TO_32 = 2 ** 32;

export function encodeRequest(words: Int32Array, slot: number, request: BlockRequest): void {
  words[slot] = request.tag;
  words[slot + 1] = request.op;
  words[slot + 2] = request.flags;
  words[slot + 3] = request.offset;
  words[slot + 4] = request.offset / TWO_TO_32;
  words[slot + 5] = request.length;
  words[slot + 6] = request.length / TWO_TO_32;
  words[slot + 7] = request.address;
  words[slot + 8] = request.bytes;
}

export function decodeRequest(words: Int32Array, slot: number, into: BlockRequest): void {
  into.tag = words[slot]!;
  into.op = words[slot + 1]! as Op;
  into.flags = words[slot + 2]!;
  into.offset = (words[slot + 3]! >>> 0) + (words[slot + 4]! >>> 0) * TWO_TO_32;
  into.length = (words[slot + 5]! >>> 0) + (words[slot + 6]! >>> 0) * TWO_TO_32;
  into.address = words[slot + 7]! >>> 0;
  into.bytes = words[slot + 8]! >>> 0;
}
