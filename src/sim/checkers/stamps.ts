/**
 * 512-byte sectors that tell which write they came from: a sector carries its number and the number of its write, and is
 * filled with words that follow from the two. A lost write, or a stale, torn or misplaced one, does not go unnoticed.
 */

export const SECTOR_BYTES = 512;
const WORDS = SECTOR_BYTES / 4;
const MAGIC = 0x736b736f;
/** Of the sector, of the write, and what is the same in all. */
const HEAD_WORDS = 3;

/** `write` is from 1 to 2^32 - 1. */
export function stamp(sector: number, write: number): Buffer {
  return stamps(sector, 1, write);
}

/** Neighbouring sectors of one write. */
export function stamps(first: number, count: number, write: number): Buffer {
  const words = new Uint32Array(count * WORDS);
  for (let i = 0; i < count; i++) fillStamp(words, i * WORDS, first + i, write);
  return Buffer.from(words.buffer);
}

/** xorshift32: any state but 0. */
function seedOf(sector: number, write: number): number {
  return (Math.imul(sector + 1, 0x9e3779b1) ^ Math.imul(write, 0x85ebca6b)) | 1;
}

function next(state: number): number {
  const a = state ^ (state << 13);
  const b = a ^ (a >>> 17);
  return b ^ (b << 5);
}

function fillStamp(words: Uint32Array, at: number, sector: number, write: number): void {
  words[at] = MAGIC;
  words[at + 1] = sector;
  words[at + 2] = write;
  let state = seedOf(sector, write);
  for (let i = HEAD_WORDS; i < WORDS; i++) {
    state = next(state);
    words[at + i] = state;
  }
}

/** What no write can have left. */
export class StrangeBytes extends Error {}

/** The number of the write that a sector's bytes are, 0 for zeros. Throws what is wrong with any other bytes. */
export function identify(bytes: Uint8Array, sector: number): number {
  return identifyWords(wordsOf(bytes), 0, sector);
}

/** The same for neighbouring sectors. */
export function identifyAll(bytes: Uint8Array, first: number): Uint32Array {
  const words = wordsOf(bytes);
  const writes = new Uint32Array(words.length / WORDS);
  for (let i = 0; i < writes.length; i++) writes[i] = identifyWords(words, i * WORDS, first + i);
  return writes;
}

/** Every sector that is read comes by here: in words, and without making anything. */
function identifyWords(words: Uint32Array, at: number, sector: number): number {
  const magic = words[at] as number;
  if (magic === 0 && isZero(words, at)) return 0;
  if (magic !== MAGIC)
    throw new StrangeBytes(`sector ${sector} holds bytes that were never written`);
  const number = words[at + 1] as number;
  if (number !== sector) throw new StrangeBytes(`sector ${sector} holds what belongs to ${number}`);
  const write = words[at + 2] as number;
  let state = seedOf(sector, write);
  for (let i = HEAD_WORDS; i < WORDS; i++) {
    state = next(state);
    if (words[at + i] !== state >>> 0) {
      throw new StrangeBytes(`sector ${sector} is torn: it begins as write ${write}`);
    }
  }
  return write;
}

function isZero(words: Uint32Array, at: number): boolean {
  for (let i = 0; i < WORDS; i++) if (words[at + i] !== 0) return false;
  return true;
}

/** Wherever the bytes lie. Stamps are in the machine's own order, as memory is that is looked at in words. */
function wordsOf(bytes: Uint8Array): Uint32Array {
  const { buffer, byteOffset, length } = bytes;
  return byteOffset % 4 === 0
    ? new Uint32Array(buffer, byteOffset, length / 4)
    : new Uint32Array(Uint8Array.from(bytes).buffer);
}
