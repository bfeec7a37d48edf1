/**
 * The integer hashes of placement: object names to a placement seed, and CRUSH's mixing of small integers. All are
 * rounds of Robert Jenkins' 96-bit mix (`common/ceph_hash.cc`, `crush/hash.c`).
 */

import { utf8Bytes } from '../encoding/encoder.js';
import { OBJECT_HASH } from './pool.js';

const GOLDEN_RATIO = 0x9e3779b9 | 0;
const CRUSH_HASH_SEED = 1315423911;
/** The two words that CRUSH mixes in where it has no argument left. */
const CRUSH_X = 231232;
const CRUSH_Y = 1232;

/**
 * The words that a hash is computed in: up to four arguments, two fillers and the hash itself. Shared, because a
 * hash is computed millions of times and never re-entered.
 */
const words = new Int32Array(7);
const A = 0;
const B = 1;
const C = 2;
const D = 3;
const X = 4;
const Y = 5;
const H = 6;

/** Mixes three of the words; each line subtracts two and folds the third in. */
function mix(first: number, second: number, third: number): void {
  // In bounds: the indices are the constants above.
  let a = words[first]!;
  let b = words[second]!;
  let c = words[third]!;
  a = (a - b - c) ^ (c >>> 13);
  b = (b - c - a) ^ (a << 8);
  c = (c - a - b) ^ (b >>> 13);
  a = (a - b - c) ^ (c >>> 12);
  b = (b - c - a) ^ (a << 16);
  c = (c - a - b) ^ (b >>> 5);
  a = (a - b - c) ^ (c >>> 3);
  b = (b - c - a) ^ (a << 10);
  c = (c - a - b) ^ (b >>> 15);
  words[first] = a;
  words[second] = b;
  words[third] = c;
}

/** The name hash of all pools since 2010 (`ceph_str_hash_rjenkins`). */
export function rjenkinsHash(name: Uint8Array, length = name.length): number {
  const byte = (at: number) => (at < length ? (name[at] as number) : 0);
  const word = (at: number) =>
    byte(at) | (byte(at + 1) << 8) | (byte(at + 2) << 16) | (byte(at + 3) << 24);
  words[A] = GOLDEN_RATIO;
  words[B] = GOLDEN_RATIO;
  words[C] = 0;
  let at = 0;
  for (; length - at >= 12; at += 12) {
    words[A]! += word(at);
    words[B]! += word(at + 4);
    words[C]! += word(at + 8);
    mix(A, B, C);
  }
  // The lowest byte of c is the length; the last up to 11 bytes (absent ones are 0) fill the rest.
  words[A]! += word(at);
  words[B]! += word(at + 4);
  words[C]! += length + (word(at + 8) << 8);
  mix(A, B, C);
  return words[C]! >>> 0;
}

/** The Linux dcache's name hash, for pools that were created with it (`ceph_str_hash_linux`). */
export function linuxDcacheHash(name: Uint8Array): number {
  let hash = 0;
  for (const byte of name) hash = Math.imul(hash + (byte << 4) + (byte >> 4), 11);
  return hash >>> 0;
}

/** Between namespace and name in what is hashed. */
const NAMESPACE_SEPARATOR = '\x1f';

/** The placement seed of an object: the hash of its key, or of its name when it has none. */
export function objectHash(
  algorithm: number,
  object: { oid: string; key?: string | undefined; nspace?: string | undefined },
): number {
  const name = object.key || object.oid;
  const text = object.nspace ? `${object.nspace}${NAMESPACE_SEPARATOR}${name}` : name;
  if (algorithm === OBJECT_HASH.LINUX) return linuxDcacheHash(utf8Bytes(text));
  // Every operation comes through here: names are spelled out in memory of our own.
  if (text.length * UTF8_MAX > scratch.length) return rjenkinsHash(utf8Bytes(text));
  return rjenkinsHash(scratch, scratch.write(text));
}

/** UTF-8 takes at most three bytes for each of a string's units. */
const UTF8_MAX = 3;
/** Object names have at most 2048 bytes. */
const scratch = Buffer.alloc(8192);

/** The mask for `stableMod`: one less than the next power of two. */
export function pgNumMask(pgNum: number): number {
  return pgNum <= 1 ? 0 : 0xffff_ffff >>> Math.clz32(pgNum - 1);
}

/** `hash` modulo a number of PGs so that growing from n to n+1 only splits one PG (`ceph_stable_mod`). */
export function stableMod(hash: number, pgNum: number): number {
  const mask = pgNumMask(pgNum);
  const low = (hash & mask) >>> 0;
  return low < pgNum ? low : (hash & (mask >>> 1)) >>> 0;
}

/** `crush_hash32_2`. Arguments are any 32-bit values: bucket ids are negative. */
export function crushHash2(a: number, b: number): number {
  start(a, b, 0, 0);
  mix(A, B, H);
  mix(X, A, H);
  mix(B, Y, H);
  return words[H]! >>> 0;
}

export function crushHash3(a: number, b: number, c: number): number {
  start(a, b, c, 0);
  mix(A, B, H);
  mix(C, X, H);
  mix(Y, A, H);
  mix(B, X, H);
  mix(Y, C, H);
  return words[H]! >>> 0;
}

export function crushHash4(a: number, b: number, c: number, d: number): number {
  start(a, b, c, d);
  mix(A, B, H);
  mix(C, D, H);
  mix(A, X, H);
  mix(Y, B, H);
  mix(C, X, H);
  mix(Y, D, H);
  return words[H]! >>> 0;
}

function start(a: number, b: number, c: number, d: number): void {
  words[A] = a;
  words[B] = b;
  words[C] = c;
  words[D] = d;
  words[X] = CRUSH_X;
  words[Y] = CRUSH_Y;
  words[H] = CRUSH_HASH_SEED ^ a ^ b ^ c ^ d;
}
