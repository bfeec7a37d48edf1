/** Inputs for decoders: valid encodings with damage of every kind, and soups of what encodings are made of. */

import type { Draw } from '../../src/encoding/codec.js';

/** Numbers at which lengths, counts and versions turn. */
const EDGES = [
  ...[0, 1, 2, 7, 8, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x1_0000, 0xff_ffff],
  ...[0x7fff_fffe, 0x7fff_ffff, 0x8000_0000, 0xffff_fff8, 0xffff_fffe, 0xffff_ffff],
];
const CHANGES_MAX = 4;
/** Nothing that a decoder does depends on more. */
const INPUT_MAX_BYTES = 64 * 1024;

export const pick = <T>(draw: Draw, of: readonly T[]): T => of[draw(of.length)] as T;

/** Of a valid encoding; `seeds` are others, to splice in. */
export function mutated(seed: Uint8Array, seeds: readonly Uint8Array[], draw: Draw): Uint8Array {
  let bytes: Buffer = Buffer.from(seed);
  for (let changes = draw(CHANGES_MAX); changes >= 0; changes--) {
    bytes = pick(draw, MUTATIONS)(bytes, draw, seeds);
  }
  return bytes.subarray(0, INPUT_MAX_BYTES);
}

type Mutation = (bytes: Buffer, draw: Draw, seeds: readonly Uint8Array[]) => Buffer;

const MUTATIONS: readonly Mutation[] = [
  // A bit, a byte.
  (bytes, draw) => at(bytes, draw, 1, (i) => (bytes[i] = (bytes[i] as number) ^ (1 << draw(8)))),
  (bytes, draw) => at(bytes, draw, 1, (i) => (bytes[i] = draw(256))),
  // A number that turns something, as a count, a length, half of a 64-bit one.
  (bytes, draw) => at(bytes, draw, 4, (i) => bytes.writeUInt32LE(pick(draw, EDGES), i)),
  (bytes, draw) => at(bytes, draw, 2, (i) => bytes.writeUInt16LE(pick(draw, EDGES) & 0xffff, i)),
  // One more or less: off by one is what checks get wrong.
  (bytes, draw) =>
    at(bytes, draw, 4, (i) => {
      bytes.writeUInt32LE((bytes.readUInt32LE(i) + (draw(2) === 0 ? 1 : -1)) >>> 0, i);
    }),
  // A length that reaches to the end, or just beyond.
  (bytes, draw) =>
    at(bytes, draw, 4, (i) => bytes.writeUInt32LE(Math.max(0, bytes.length - i - 5 + draw(3)), i)),
  // Cut, lengthened, a piece out, a piece twice, a piece of another.
  (bytes, draw) => bytes.subarray(0, draw(bytes.length + 1)),
  (bytes, draw) => Buffer.concat([bytes, soup(draw, draw(32))]),
  (bytes, draw) => {
    const from = draw(bytes.length + 1);
    return Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + draw(16))]);
  },
  (bytes, draw) => {
    const from = draw(bytes.length + 1);
    const piece = bytes.subarray(from, from + draw(32));
    return Buffer.concat([bytes.subarray(0, from), piece, bytes.subarray(from)]);
  },
  (bytes, draw, seeds) => {
    const other = pick(draw, seeds);
    return Buffer.concat([
      bytes.subarray(0, draw(bytes.length + 1)),
      other.subarray(draw(other.length + 1)),
    ]);
  },
];

function at(bytes: Buffer, draw: Draw, length: number, change: (i: number) => void): Buffer {
  if (bytes.length >= length) change(draw(bytes.length - length + 1));
  return bytes;
}

/** Numbers, texts, lists and structures one after the other, some of them lying. */
export function soup(draw: Draw, parts: number): Buffer {
  const all: Buffer[] = [];
  for (let i = 0; i < parts; i++) all.push(pick(draw, INGREDIENTS)(draw));
  return Buffer.concat(all);
}

const INGREDIENTS: readonly ((draw: Draw) => Buffer)[] = [
  (draw) => Buffer.from([draw(draw(2) === 0 ? 4 : 256)]),
  (draw) => u32(draw(2) === 0 ? draw(8) : pick(draw, EDGES)),
  (draw) => Buffer.concat([u32(draw(2 ** 32)), u32(draw(2) === 0 ? 0 : draw(2 ** 32))]),
  (draw) => {
    const length = draw(12);
    return Buffer.concat([u32(length), Buffer.alloc(length, 97 + draw(26))]);
  },
  (draw) => {
    const version = 1 + draw(8);
    const body = soup(draw, draw(3));
    const length = u32(draw(4) === 0 ? pick(draw, EDGES) : body.length);
    return Buffer.concat([Buffer.from([version, 1 + draw(version)]), length, body]);
  },
  (draw) => Buffer.alloc(draw(9)),
];

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
