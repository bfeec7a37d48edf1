// Object maps: what is counted, looked for and changed in one map, or in one by another. The packing is in bitmap-lanes.ts.
// Objects from `start` on and before `end`; ranges are the caller's to check.

import {
  ALL,
  BLOCK,
  LOW,
  lanesFrom,
  lanesTo,
  members,
  setBoth,
  setHigh,
  setLow,
  setNone,
  wordOf,
} from './bitmap-lanes';

// ---- count ----
//
// Of each lane: its low bit, its high bit, and both. The states' counts follow from those of the three. Lanes of 16 bytes are
// added side by side, and widened before they can overflow:
//
//   2 bits, 3 vectors: up to 3      4 bits, 6 vectors: up to 12      8 bits, 60 vectors: up to 240      32 bits

const MASKS = memory.data(48, 16);
memory.fill(MASKS, 0x55, 16);
memory.fill(MASKS + 16, 0x33, 16);
memory.fill(MASKS + 32, 0x0f, 16);

const GROUP: usize = 3 * 16;
const ROUND: usize = 2 * GROUP;
const CHUNK: usize = 10 * ROUND;

/** out: u32 of each state's objects. */
export function bitmapCount(map: usize, start: u32, end: u32, out: usize): void {
  let low: u64 = 0;
  let high: u64 = 0;
  let both: u64 = 0;
  if (start < end) {
    let at = wordOf(map, start);
    const last = wordOf(map, end - 1);
    let lanes = lanesFrom(start);
    if (at < last) {
      const word = load<u64>(at) & lanes;
      low += popcnt(word & LOW);
      high += popcnt(word & ~LOW);
      both += popcnt(word & (word >>> 1) & LOW);
      lanes = ALL;
      at += 8;

      let lows = i32x4.splat(0);
      let highs = i32x4.splat(0);
      let boths = i32x4.splat(0);
      const m1 = v128.load(MASKS);
      const m2 = v128.load(MASKS, 16);
      const m4 = v128.load(MASKS, 32);
      while (at + ROUND <= last) {
        const stop = at + min(CHUNK, ((last - at) / ROUND) * ROUND);
        let lows8 = i32x4.splat(0);
        let highs8 = i32x4.splat(0);
        let boths8 = i32x4.splat(0);
        while (at < stop) {
          let lows4 = i32x4.splat(0);
          let highs4 = i32x4.splat(0);
          let boths4 = i32x4.splat(0);
          // Not unrolled: with both groups at once, V8 runs out of registers.
          for (const second = at + ROUND; at < second; at += GROUP) {
            let a = v128.load(at);
            let b = v128.load(at, 16);
            let c = v128.load(at, 32);
            const a1 = i64x2.shr_u(a, 1);
            const b1 = i64x2.shr_u(b, 1);
            const c1 = i64x2.shr_u(c, 1);
            a = v128.and(a, m1);
            b = v128.and(b, m1);
            c = v128.and(c, m1);
            const l = i8x16.add(i8x16.add(a, b), c);
            const z = i8x16.add(i8x16.add(v128.and(a, a1), v128.and(b, b1)), v128.and(c, c1));
            const h = i8x16.add(i8x16.add(v128.and(a1, m1), v128.and(b1, m1)), v128.and(c1, m1));
            lows4 = i8x16.add(lows4, i8x16.add(v128.and(l, m2), v128.and(i64x2.shr_u(l, 2), m2)));
            highs4 = i8x16.add(highs4, i8x16.add(v128.and(h, m2), v128.and(i64x2.shr_u(h, 2), m2)));
            boths4 = i8x16.add(boths4, i8x16.add(v128.and(z, m2), v128.and(i64x2.shr_u(z, 2), m2)));
          }
          lows8 = i8x16.add(
            lows8,
            i8x16.add(v128.and(lows4, m4), v128.and(i64x2.shr_u(lows4, 4), m4)),
          );
          highs8 = i8x16.add(
            highs8,
            i8x16.add(v128.and(highs4, m4), v128.and(i64x2.shr_u(highs4, 4), m4)),
          );
          boths8 = i8x16.add(
            boths8,
            i8x16.add(v128.and(boths4, m4), v128.and(i64x2.shr_u(boths4, 4), m4)),
          );
        }
        lows = i32x4.add(lows, sumOfBytes(lows8));
        highs = i32x4.add(highs, sumOfBytes(highs8));
        boths = i32x4.add(boths, sumOfBytes(boths8));
      }
      low += sumOfWords(lows);
      high += sumOfWords(highs);
      both += sumOfWords(boths);

      for (; at < last; at += 8) {
        const word = load<u64>(at);
        low += popcnt(word & LOW);
        high += popcnt(word & ~LOW);
        both += popcnt(word & (word >>> 1) & LOW);
      }
    }
    const word = load<u64>(last) & lanes & lanesTo(end - 1);
    low += popcnt(word & LOW);
    high += popcnt(word & ~LOW);
    both += popcnt(word & (word >>> 1) & LOW);
  }
  store<u32>(out, end - start - <u32>(low + high - both));
  store<u32>(out, <u32>(low - both), 4);
  store<u32>(out, <u32>(high - both), 8);
  store<u32>(out, <u32>both, 12);
}

function sumOfBytes(bytes: v128): v128 {
  return i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(bytes));
}

function sumOfWords(words: v128): u64 {
  return (
    <u64>(<u32>i32x4.extract_lane(words, 0)) +
    <u64>(<u32>i32x4.extract_lane(words, 1)) +
    <u64>(<u32>i32x4.extract_lane(words, 2)) +
    <u64>(<u32>i32x4.extract_lane(words, 3))
  );
}

// ---- next ----

/** The states but NONEXISTENT: of these no lane needs to be looked at to see that a block has none. */
const ANY_STATE: u32 = 0b1110;

/** The first object whose state is in the set, or -1. */
export function bitmapNext(map: usize, start: u32, end: u32, states: u32): i32 {
  if (start >= end) return -1;
  let at = wordOf(map, start);
  const last = wordOf(map, end - 1);
  const head = members(load<u64>(at), states) & lanesFrom(start);
  let found = at < last ? head : head & lanesTo(end - 1);
  if (found === 0 && at < last) {
    at += 8;
    at = states === ANY_STATE ? skipZeros(at, last) : skipBlocks(at, last, states);
    for (;;) {
      found = members(load<u64>(at), states);
      if (at === last) found &= lanesTo(end - 1);
      if (found !== 0 || at === last) break;
      at += 8;
    }
  }
  if (found === 0) return -1;
  return ((<i32>(at - map)) << 2) + <i32>(clz(bswap<u64>(found)) >> 1);
}

/** Where the first block begins, or what is left of one, that may have a bit set. */
function skipZeros(at: usize, last: usize): usize {
  for (; at + 2 * BLOCK <= last; at += 2 * BLOCK) {
    const a = v128.or(v128.load(at), v128.load(at, 16));
    const b = v128.or(v128.load(at, 32), v128.load(at, 48));
    const c = v128.or(v128.load(at, 64), v128.load(at, 80));
    const d = v128.or(v128.load(at, 96), v128.load(at, 112));
    if (v128.any_true(v128.or(v128.or(a, b), v128.or(c, d)))) break;
  }
  return at;
}

function skipBlocks(at: usize, last: usize, states: u32): usize {
  const none = i64x2.splat(setNone(states));
  const low = i64x2.splat(setLow(states));
  const high = i64x2.splat(setHigh(states));
  const both = i64x2.splat(setBoth(states));
  const lanes = i64x2.splat(LOW);
  for (; at + BLOCK <= last; at += BLOCK) {
    const a = v128.load(at);
    const b = v128.load(at, 16);
    const c = v128.load(at, 32);
    const d = v128.load(at, 48);
    const ab = v128.or(membersOf(a, none, low, high, both), membersOf(b, none, low, high, both));
    const cd = v128.or(membersOf(c, none, low, high, both), membersOf(d, none, low, high, both));
    if (v128.any_true(v128.and(v128.or(ab, cd), lanes))) break;
  }
  return at;
}

/** As `members`, with noise in the high bit of each lane. Inlined. */
function membersOf(v: v128, none: v128, low: v128, high: v128, both: v128): v128 {
  const ofHigh = v128.and(i64x2.shr_u(v, 1), v128.xor(high, v128.and(both, v)));
  return v128.xor(v128.xor(none, v128.and(low, v)), ofHigh);
}

// ---- changes ----

export function bitmapFill(map: usize, start: u32, end: u32, state: u32): void {
  if (start >= end) return;
  let at = wordOf(map, start);
  const last = wordOf(map, end - 1);
  const filled = LOW * <u64>state;
  let lanes = lanesFrom(start);
  if (at < last) {
    store<u64>(at, (load<u64>(at) & ~lanes) | (filled & lanes));
    at += 8;
    memory.fill(at, <u8>filled, last - at);
    lanes = ALL;
  }
  lanes &= lanesTo(end - 1);
  store<u64>(last, (load<u64>(last) & ~lanes) | (filled & lanes));
}

/** Puts the objects whose state is in the set into state `to`; returns how many were not in it. */
export function bitmapReplace(map: usize, start: u32, end: u32, states: u32, to: u32): u32 {
  states &= ~((<u32>1) << to);
  if (start >= end || states === 0) return 0;
  let at = wordOf(map, start);
  const last = wordOf(map, end - 1);
  const target = LOW * <u64>to;
  let changed: u64 = 0;
  let lanes = lanesFrom(start);
  if (at < last) {
    changed += replaceInWord(at, states, target, lanes);
    at += 8;
    lanes = ALL;

    const none = i64x2.splat(setNone(states));
    const low = i64x2.splat(setLow(states));
    const high = i64x2.splat(setHigh(states));
    const both = i64x2.splat(setBoth(states));
    const lowBits = i64x2.splat(LOW);
    const targets = i64x2.splat(target);
    for (; at + BLOCK <= last; at += BLOCK) {
      const a = v128.load(at);
      const b = v128.load(at, 16);
      const c = v128.load(at, 32);
      const d = v128.load(at, 48);
      const fa = v128.and(membersOf(a, none, low, high, both), lowBits);
      const fb = v128.and(membersOf(b, none, low, high, both), lowBits);
      const fc = v128.and(membersOf(c, none, low, high, both), lowBits);
      const fd = v128.and(membersOf(d, none, low, high, both), lowBits);
      if (!v128.any_true(v128.or(v128.or(fa, fb), v128.or(fc, fd)))) continue;
      const ab = v128.or(fa, i64x2.shl(fb, 1));
      const cd = v128.or(fc, i64x2.shl(fd, 1));
      changed +=
        popcnt(<u64>i64x2.extract_lane(ab, 0)) +
        popcnt(<u64>i64x2.extract_lane(ab, 1)) +
        popcnt(<u64>i64x2.extract_lane(cd, 0)) +
        popcnt(<u64>i64x2.extract_lane(cd, 1));
      v128.store(at, v128.bitselect(targets, a, v128.or(fa, i64x2.shl(fa, 1))));
      v128.store(at, v128.bitselect(targets, b, v128.or(fb, i64x2.shl(fb, 1))), 16);
      v128.store(at, v128.bitselect(targets, c, v128.or(fc, i64x2.shl(fc, 1))), 32);
      v128.store(at, v128.bitselect(targets, d, v128.or(fd, i64x2.shl(fd, 1))), 48);
    }
    for (; at < last; at += 8) changed += replaceInWord(at, states, target, ALL);
  }
  return <u32>(changed + replaceInWord(last, states, target, lanes & lanesTo(end - 1)));
}

function replaceInWord(at: usize, states: u32, target: u64, lanes: u64): u64 {
  const word = load<u64>(at);
  const found = members(word, states) & lanes;
  if (found === 0) return 0;
  const whole = found | (found << 1);
  store<u64>(at, (word & ~whole) | (target & whole));
  return popcnt(found);
}

/**
 * A snapshot goes (`object_map_snap_remove`): what is EXISTS in its map, the next one cannot call EXISTS_CLEAN any more.
 * `blocks` of 64 bytes that both maps have. Returns how many became EXISTS.
 */
export function bitmapMerge(next: usize, removed: usize, blocks: u32): u32 {
  const end = next + <usize>blocks * BLOCK;
  const lanes = i64x2.splat(LOW);
  let changed: u64 = 0;
  for (; next < end; next += BLOCK, removed += BLOCK) {
    const a = v128.load(next);
    const b = v128.load(next, 16);
    const c = v128.load(next, 32);
    const d = v128.load(next, 48);
    const fa = v128.and(dirtied(a, v128.load(removed)), lanes);
    const fb = v128.and(dirtied(b, v128.load(removed, 16)), lanes);
    const fc = v128.and(dirtied(c, v128.load(removed, 32)), lanes);
    const fd = v128.and(dirtied(d, v128.load(removed, 48)), lanes);
    if (!v128.any_true(v128.or(v128.or(fa, fb), v128.or(fc, fd)))) continue;
    const ab = v128.or(fa, i64x2.shl(fb, 1));
    const cd = v128.or(fc, i64x2.shl(fd, 1));
    changed +=
      popcnt(<u64>i64x2.extract_lane(ab, 0)) +
      popcnt(<u64>i64x2.extract_lane(ab, 1)) +
      popcnt(<u64>i64x2.extract_lane(cd, 0)) +
      popcnt(<u64>i64x2.extract_lane(cd, 1));
    // From both bits to the low one alone.
    v128.store(next, v128.xor(a, i64x2.shl(fa, 1)));
    v128.store(next, v128.xor(b, i64x2.shl(fb, 1)), 16);
    v128.store(next, v128.xor(c, i64x2.shl(fc, 1)), 32);
    v128.store(next, v128.xor(d, i64x2.shl(fd, 1)), 48);
  }
  return <u32>changed;
}

/** Both bits of one, the low bit alone of the other; noise in the high bit of each lane. Inlined. */
function dirtied(next: v128, removed: v128): v128 {
  const clean = v128.and(next, i64x2.shr_u(next, 1));
  return v128.and(clean, v128.andnot(removed, i64x2.shr_u(removed, 1)));
}
