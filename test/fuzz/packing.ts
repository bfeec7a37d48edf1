/** Inputs of more than one part, and checksums made right again. */

import { PREAMBLE_BYTES } from '../../src/msgr/frame.js';
import { crc32c } from '../support/frames.js';

/** A front and data, as one input. */
export function packed(front: Uint8Array, data: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(2 + front.length + data.length);
  bytes.writeUInt16LE(front.length);
  bytes.set(front, 2);
  bytes.set(data, 2 + front.length);
  return bytes;
}

export function unpacked(bytes: Uint8Array): [front: Uint8Array, data: Uint8Array] {
  if (bytes.length < 2) return [bytes, new Uint8Array(0)];
  const end = 2 + ((bytes[0] as number) | ((bytes[1] as number) << 8));
  return [bytes.subarray(2, end), bytes.subarray(end)];
}

/** A frame of one message whose checksums are those of what is in it. */
export function repairedFrame(bytes: Uint8Array): Uint8Array {
  const frame = Buffer.from(bytes);
  if (frame.length < PREAMBLE_BYTES) return frame;
  frame.writeUInt32LE(crc32c(0, frame, 0, PREAMBLE_BYTES - 4), PREAMBLE_BYTES - 4);
  const segments = Math.min(frame[1] as number, 4);
  const lengths = [0, 1, 2, 3].map((i) => (i < segments ? frame.readUInt32LE(2 + 6 * i) : 0));
  const [first = 0, ...rest] = lengths;
  let at = PREAMBLE_BYTES + first;
  if (first > 0 && at + 4 <= frame.length) {
    frame.writeUInt32LE(crc32c(0xffff_ffff, frame, PREAMBLE_BYTES, at), at);
    at += 4;
  }
  const epilogueAt = at + rest.reduce((sum, length) => sum + length, 0);
  if (segments < 2 || epilogueAt + 13 > frame.length) return frame;
  for (const [i, length] of rest.entries()) {
    frame.writeUInt32LE(crc32c(0xffff_ffff, frame, at, at + length), epilogueAt + 1 + 4 * i);
    at += length;
  }
  return frame;
}
