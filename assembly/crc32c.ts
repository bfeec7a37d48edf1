// crc32c over linear memory, in Ceph's raw convention (as ceph_crc32c() in src/include/crc32c.h):
// the seed is the register's value, and neither seed nor result is inverted.
//
// Three stages, each for what the one before leaves:
//
//   collapse     long inputs to their last 418 bytes      18 GB/s: loads, xors and a store
//   foldBlocks   64-byte blocks to one                    5 GB/s: table lookups by swizzle
//   slices       the rest, 16, 4 and 1 bytes at a time    2.7 GB/s
//
// Collapse. Only the remainder of the message modulo the polynomial P counts, so any multiple of P may be
// added to it. This one has six terms, all of them powers of x^16, that is, whole pairs of bytes:
//
//   1 + y^14 + y^39 + y^54 + y^144 + y^209  =  0  (mod P),  y = x^16
//
// (P has the factor x + 1, so its multiples have an even number of terms; with four terms the shortest is
// 5,275 pairs long, too long for the tail of a 4 KiB block.) The pair of bytes at i may thus be cleared by xoring
// it into those 65, 155, 170, 195 and 209 pairs further on. Gathering instead of scattering:
//
//   v[i] = message[i] ^ v[i - 65] ^ v[i - 155] ^ v[i - 170] ^ v[i - 195] ^ v[i - 209]
//
// and what reaches the last 209 pairs from all before them replaces the whole message. 65 pairs are more than a
// vector, so eight pairs go at once; only v is written, in a scratch area that stays in the first-level cache.
//
// Blocks. A CRC register is linear in the bytes it has seen, so a word of the message may be replaced
// by its own "advance by 64 bytes" xored into the word 64 bytes further on. The message is therefore
// read as 64-byte blocks of 16 words, one stream per word, and each block is folded into the next:
//
//   state[j] = advance64(state[j] ^ word[j])        j = 0..15, seed xored into state[0] at the start
//
// The last block, xored with the state, is then an ordinary 64-byte message for slice-by-16.
//
// advance64 maps 32 bits to 32 bits, so it is the xor of eight 16-entry tables, one per nibble. The
// 16 states are kept as four byte planes (plane b holds byte b of every state), which makes each
// lookup one i8x16.swizzle over all 16 streams: 8 nibbles x 4 result bytes = 32 per block.
//
// Memory. The tables are written at instantiation with values that depend on nothing and are read-only after; `history` and
// `tail` are scratch of one call, which threads that share a memory must not share.
//
//   SLICES   16 tables x 256 x u32    slice k at +1024*k: register after byte b and k zero bytes
//   NIBBLES   8 groups x 4 x 16 x u8  group k at +64*k, result byte b at +16*b: advance64(v << 4k)
//   history  REACH + CHUNK bytes of v, then REACH zeros at the end of the message
//   tail     REACH bytes              what the message collapsed to

const POLYNOMIAL: u32 = 0x82f63b78; // Castagnoli, bit-reversed
const BLOCK: usize = 64;

/** Distances of the terms, in bytes, and where v lies at them when v[i - REACH] is at +0. */
const REACH: usize = 2 * 209;
const FROM_195: usize = REACH - 2 * 195;
const FROM_170: usize = REACH - 2 * 170;
const FROM_155: usize = REACH - 2 * 155;
const FROM_65: usize = REACH - 2 * 65;
/** How much of v is made before its end is moved back to the start of `history`. */
const CHUNK: usize = 16 * 1024;

const SLICES = memory.data(16 * 256 * 4, 16);
const NIBBLES = memory.data(8 * 4 * 16, 16);

const HISTORY_BYTES: usize = 16 * 1024 + 2 * 209;
let history = memory.data(16 * 1024 + 2 * 209, 64);
let tail = memory.data(2 * 209, 64);

/** What a thread needs of its own if others run this module over the same memory. */
export function crc32cScratchBytes(): usize {
  return HISTORY_BYTES + REACH;
}

/** From now on this instance has its scratch there. */
export function setCrc32cScratch(at: usize): void {
  history = at;
  tail = at + HISTORY_BYTES;
}

fillSlices();
fillNibbles();

function fillSlices(): void {
  for (let byte: u32 = 0; byte < 256; byte++) {
    let register = byte;
    for (let bit = 0; bit < 8; bit++) {
      register = register & 1 ? (register >>> 1) ^ POLYNOMIAL : register >>> 1;
    }
    store<u32>(SLICES + (byte << 2), register);
  }
  for (let slice: usize = 1; slice < 16; slice++) {
    for (let byte: usize = 0; byte < 256; byte++) {
      const register = load<u32>(SLICES + ((slice - 1) << 10) + (byte << 2));
      store<u32>(SLICES + (slice << 10) + (byte << 2), step(register, 0));
    }
  }
}

function fillNibbles(): void {
  for (let nibble: usize = 0; nibble < 8; nibble++) {
    for (let value: usize = 0; value < 16; value++) {
      let register = (<u32>value) << ((<u32>nibble) << 2);
      for (let i: usize = 0; i < BLOCK; i++) register = step(register, 0);
      for (let byte: usize = 0; byte < 4; byte++) {
        store<u8>(NIBBLES + (nibble << 6) + (byte << 4) + value, register >>> ((<u32>byte) << 3));
      }
    }
  }
}

/** The register after one more byte. */
function step(register: u32, byte: u32): u32 {
  return load<u32>(SLICES + (((register ^ byte) & 0xff) << 2)) ^ (register >>> 8);
}

/** What one word contributes; `table` is the slice of its last byte. */
function wordSlices(word: u32, table: usize): u32 {
  return (
    load<u32>(table + ((word & 0xff) << 2), 3 << 10) ^
    load<u32>(table + (((word >>> 8) & 0xff) << 2), 2 << 10) ^
    load<u32>(table + (((word >>> 16) & 0xff) << 2), 1 << 10) ^
    load<u32>(table + ((word >>> 24) << 2))
  );
}

/** The register after four words; the register before is already xored into the first. */
function fourWords(a: u32, b: u32, c: u32, d: u32): u32 {
  return (
    wordSlices(a, SLICES + (12 << 10)) ^
    wordSlices(b, SLICES + (8 << 10)) ^
    wordSlices(c, SLICES + (4 << 10)) ^
    wordSlices(d, SLICES)
  );
}

export function crc32c(seed: u32, ptr: usize, len: usize): u32 {
  if (len < 2 * REACH) return foldAll(seed, ptr, len);
  const cleared = (len - REACH) & ~(BLOCK - 1);
  collapse(seed, ptr, cleared);
  ptr += cleared;
  const register = foldAll(0, tail, REACH);
  return foldAll(register, ptr + REACH, len - cleared - REACH);
}

/** `tail` = the REACH bytes after the first `cleared` ones (a multiple of BLOCK), with all that those add to them. */
function collapse(seed: u32, ptr: usize, cleared: usize): void {
  memory.fill(history, 0, REACH);
  // No term reaches into the first block, so that it is its own v, the seed xored into its first word.
  const first = v128.xor(v128.load(ptr), i32x4.replace_lane(i32x4.splat(0), 0, seed));
  memory.copy(history + REACH, ptr, BLOCK);
  v128.store(history + REACH, first);
  ptr += BLOCK;
  let done = BLOCK;
  let at = history + BLOCK;
  for (;;) {
    const end = min(history + CHUNK, at + (cleared - done));
    done += end - at;
    for (; at < end; at += BLOCK, ptr += BLOCK) {
      v128.store(at + REACH, v128.xor(v128.load(ptr), terms(at)));
      v128.store(at + REACH, v128.xor(v128.load(ptr, 16), terms(at + 16)), 16);
      v128.store(at + REACH, v128.xor(v128.load(ptr, 32), terms(at + 32)), 32);
      v128.store(at + REACH, v128.xor(v128.load(ptr, 48), terms(at + 48)), 48);
    }
    memory.copy(history, end, REACH);
    if (done === cleared) break;
    at = history;
  }
  // Nothing is cleared from here on: the terms that would come from here are zero.
  memory.fill(history + REACH, 0, REACH);
  let i: usize = 0;
  for (; i + 16 <= REACH; i += 16) {
    v128.store(tail + i, v128.xor(v128.load(ptr + i), terms(history + i)));
  }
  const rest = history + i;
  store<u16>(
    tail + i,
    load<u16>(ptr + i) ^
      load<u16>(rest) ^
      load<u16>(rest, FROM_195) ^
      load<u16>(rest, FROM_170) ^
      load<u16>(rest, FROM_155) ^
      load<u16>(rest, FROM_65),
  );
}

/** What earlier bytes add to the 16 at `at` + REACH. Inlined. */
function terms(at: usize): v128 {
  const far = v128.xor(v128.load(at), v128.load(at, FROM_195));
  const middle = v128.xor(v128.load(at, FROM_170), v128.load(at, FROM_155));
  return v128.xor(v128.xor(far, middle), v128.load(at, FROM_65));
}

function foldAll(seed: u32, ptr: usize, len: usize): u32 {
  let register = seed;
  const end = ptr + len;
  if (len >= 2 * BLOCK) {
    const lastBlock = ptr + ((len & ~(BLOCK - 1)) - BLOCK);
    register = foldBlocks(register, ptr, lastBlock);
    ptr = lastBlock + BLOCK;
  }
  while (end - ptr >= 16) {
    register = fourWords(
      register ^ load<u32>(ptr),
      load<u32>(ptr, 4),
      load<u32>(ptr, 8),
      load<u32>(ptr, 12),
    );
    ptr += 16;
  }
  while (end - ptr >= 4) {
    register = wordSlices(register ^ load<u32>(ptr), SLICES);
    ptr += 4;
  }
  while (ptr < end) {
    register = step(register, load<u8>(ptr));
    ptr++;
  }
  return register;
}

/** The register after the blocks from `ptr` to `lastBlock`, that one included. */
function foldBlocks(seed: u32, ptr: usize, lastBlock: usize): u32 {
  const low = i8x16.splat(0x0f);
  let plane0 = i32x4.replace_lane(i32x4.splat(0), 0, seed & 0xff);
  let plane1 = i32x4.replace_lane(i32x4.splat(0), 0, (seed >>> 8) & 0xff);
  let plane2 = i32x4.replace_lane(i32x4.splat(0), 0, (seed >>> 16) & 0xff);
  let plane3 = i32x4.replace_lane(i32x4.splat(0), 0, seed >>> 24);

  for (; ptr < lastBlock; ptr += BLOCK) {
    const a = v128.load(ptr);
    const b = v128.load(ptr, 16);
    const c = v128.load(ptr, 32);
    const d = v128.load(ptr, 48);

    // Transpose 16 words to four byte planes: bytes 0 | 1 and 2 | 3 of eight words first.
    const ab01 = i8x16.shuffle(a, b, 0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29);
    const ab23 = i8x16.shuffle(a, b, 2, 6, 10, 14, 18, 22, 26, 30, 3, 7, 11, 15, 19, 23, 27, 31);
    const cd01 = i8x16.shuffle(c, d, 0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29);
    const cd23 = i8x16.shuffle(c, d, 2, 6, 10, 14, 18, 22, 26, 30, 3, 7, 11, 15, 19, 23, 27, 31);
    plane0 = v128.xor(plane0, i64x2.shuffle(ab01, cd01, 0, 2));
    plane1 = v128.xor(plane1, i64x2.shuffle(ab01, cd01, 1, 3));
    plane2 = v128.xor(plane2, i64x2.shuffle(ab23, cd23, 0, 2));
    plane3 = v128.xor(plane3, i64x2.shuffle(ab23, cd23, 1, 3));

    const n0 = v128.and(plane0, low);
    const n1 = v128.and(i16x8.shr_u(plane0, 4), low);
    const n2 = v128.and(plane1, low);
    const n3 = v128.and(i16x8.shr_u(plane1, 4), low);
    const n4 = v128.and(plane2, low);
    const n5 = v128.and(i16x8.shr_u(plane2, 4), low);
    const n6 = v128.and(plane3, low);
    const n7 = v128.and(i16x8.shr_u(plane3, 4), low);
    plane0 = advancedPlane(0, n0, n1, n2, n3, n4, n5, n6, n7);
    plane1 = advancedPlane(1, n0, n1, n2, n3, n4, n5, n6, n7);
    plane2 = advancedPlane(2, n0, n1, n2, n3, n4, n5, n6, n7);
    plane3 = advancedPlane(3, n0, n1, n2, n3, n4, n5, n6, n7);
  }

  // The planes back to words (even and odd halves hold words 0-7 and 8-15), into the last block.
  const low01 = i8x16.shuffle(
    plane0,
    plane1,
    0,
    16,
    1,
    17,
    2,
    18,
    3,
    19,
    4,
    20,
    5,
    21,
    6,
    22,
    7,
    23,
  );
  const low23 = i8x16.shuffle(
    plane2,
    plane3,
    0,
    16,
    1,
    17,
    2,
    18,
    3,
    19,
    4,
    20,
    5,
    21,
    6,
    22,
    7,
    23,
  );
  const high01 = i8x16.shuffle(
    plane0,
    plane1,
    8,
    24,
    9,
    25,
    10,
    26,
    11,
    27,
    12,
    28,
    13,
    29,
    14,
    30,
    15,
    31,
  );
  const high23 = i8x16.shuffle(
    plane2,
    plane3,
    8,
    24,
    9,
    25,
    10,
    26,
    11,
    27,
    12,
    28,
    13,
    29,
    14,
    30,
    15,
    31,
  );
  let register = fourLanes(0, ptr, i16x8.shuffle(low01, low23, 0, 8, 1, 9, 2, 10, 3, 11));
  register = fourLanes(register, ptr + 16, i16x8.shuffle(low01, low23, 4, 12, 5, 13, 6, 14, 7, 15));
  register = fourLanes(register, ptr + 32, i16x8.shuffle(high01, high23, 0, 8, 1, 9, 2, 10, 3, 11));
  return fourLanes(register, ptr + 48, i16x8.shuffle(high01, high23, 4, 12, 5, 13, 6, 14, 7, 15));
}

/** Plane `byte` of the 16 advanced states, from the eight nibbles of the states. Inlined. */
function advancedPlane(
  byte: usize,
  n0: v128,
  n1: v128,
  n2: v128,
  n3: v128,
  n4: v128,
  n5: v128,
  n6: v128,
  n7: v128,
): v128 {
  const table = NIBBLES + (byte << 4);
  let plane = i8x16.swizzle(v128.load(table), n0);
  plane = v128.xor(plane, i8x16.swizzle(v128.load(table, 1 << 6), n1));
  plane = v128.xor(plane, i8x16.swizzle(v128.load(table, 2 << 6), n2));
  plane = v128.xor(plane, i8x16.swizzle(v128.load(table, 3 << 6), n3));
  plane = v128.xor(plane, i8x16.swizzle(v128.load(table, 4 << 6), n4));
  plane = v128.xor(plane, i8x16.swizzle(v128.load(table, 5 << 6), n5));
  plane = v128.xor(plane, i8x16.swizzle(v128.load(table, 6 << 6), n6));
  return v128.xor(plane, i8x16.swizzle(v128.load(table, 7 << 6), n7));
}

/** The register after the 16 bytes at `ptr`, xored with the states of their four streams. */
function fourLanes(register: u32, ptr: usize, states: v128): u32 {
  const words = v128.xor(v128.load(ptr), states);
  return fourWords(
    register ^ i32x4.extract_lane(words, 0),
    i32x4.extract_lane(words, 1),
    i32x4.extract_lane(words, 2),
    i32x4.extract_lane(words, 3),
  );
}
