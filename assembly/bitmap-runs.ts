// Object maps as runs: where in a map, or between two of them, objects of one class begin and end. And the fast-diff of a
// chain of maps (librbd's diff_iterate, src/librbd/object_map/DiffRequest.cc), whose intermediate states are a map of the
// same packing. That packing is in bitmap-lanes.ts.
//
// Output: u32 for each object whose class is not that of the object before, `object << 2 | class`, ascending. Class 0 is what
// is before the first object and after the last; 256,000,000 objects leave room for two bits.
//
// Memory of a call, the caller's:
//
//   cursor   +0  u32 position   the next object to be looked at; `end` when all is done
//            +4  u32 class      of the object before it
//           +64  64 bytes       classes of one block, for the kernel alone
//   out          capacity x u32; a call stops at a block that might not fit, so that at least MIN_CAPACITY are needed
//
// The classes are computed for blocks of 256 objects. A block all of whose lanes are of the class that was before is passed
// over; the others are walked word by word, each with its bytes reversed: the first object in the highest bits.

import { BLOCK, BLOCK_OBJECTS, LOW } from './bitmap-lanes';

/** Transitions of one block and of the end, and what a store of four writes beyond the last. */
const MIN_CAPACITY: u32 = BLOCK_OBJECTS + 8;

/** From this many transitions among 32 objects on, four objects at a time are faster than one transition at a time. */
const DENSE: u64 = 7;

/**
 * By a byte of transitions (bits 6, 4, 2, 0): the swizzle that brings the entries of the objects that have one to the front
 * of four. Written once at instantiation with values that depend on nothing.
 */
const COMPRESS = memory.data(86 * 16, 16);

/** By a byte of classes: the entries of its four objects, were the first of them object 0. */
const SPREAD = memory.data(256 * 16, 16);

fillCompress();
fillSpread();

function fillCompress(): void {
  for (let flags: u32 = 0; flags < 86; flags++) {
    let to = COMPRESS + ((<usize>flags) << 4);
    for (let object: u32 = 0; object < 4; object++) {
      if (!((flags >>> (6 - 2 * object)) & 1)) continue;
      store<u32>(to, 0x03020100 + object * 0x04040404);
      to += 4;
    }
  }
}

function fillSpread(): void {
  for (let lanes: u32 = 0; lanes < 256; lanes++) {
    const to = SPREAD + ((<usize>lanes) << 4);
    store<u32>(to, lanes >>> 6);
    store<u32>(to, 4 | ((lanes >>> 4) & 3), 4);
    store<u32>(to, 8 | ((lanes >>> 2) & 3), 8);
    store<u32>(to, 12 | (lanes & 3), 12);
  }
}

/** The classes of the states, `classes` having two bits for each: state s has bits 2s and 2s + 1. Returns the entries. */
export function bitmapRuns(
  map: usize,
  classes: u32,
  end: u32,
  cursor: usize,
  out: usize,
  capacity: u32,
): i32 {
  if (capacity < MIN_CAPACITY) return -1;
  return runs(map, classes, end, cursor, out, out, capacity);
}

function runs(
  map: usize,
  classes: u32,
  end: u32,
  cursor: usize,
  out: usize,
  at: usize,
  capacity: u32,
): i32 {
  const full = out + <usize>(capacity - MIN_CAPACITY) * 4;
  const start = load<u32>(cursor);
  let before = load<u32>(cursor, 4);
  let position = start & ~(BLOCK_OBJECTS - 1);
  let carry = i8x16.splat(<u8>(before * 0x55));

  // Each plane of the class is a function of the two bits of the state, as `members` is.
  const c0 = classes & 3;
  const c1 = (classes >>> 2) & 3;
  const c2 = (classes >>> 4) & 3;
  const c3 = (classes >>> 6) & 3;
  const none = i8x16.splat(<u8>(c0 * 0x55));
  const low = i8x16.splat(<u8>((c0 ^ c1) * 0x55));
  const high = i8x16.splat(<u8>((c0 ^ c2) * 0x55));
  const both = i8x16.splat(<u8>((c0 ^ c1 ^ c2 ^ c3) * 0x55));
  const lanes = i64x2.splat(LOW);

  for (; position < end; position += BLOCK_OBJECTS) {
    const block = map + <usize>(position >>> 2);
    const a = classesOf(v128.load(block), none, low, high, both, lanes);
    const b = classesOf(v128.load(block, 16), none, low, high, both, lanes);
    const c = classesOf(v128.load(block, 32), none, low, high, both, lanes);
    const d = classesOf(v128.load(block, 48), none, low, high, both, lanes);
    const whole = position >= start && position + BLOCK_OBJECTS <= end;
    if (whole) {
      const ab = v128.or(v128.xor(a, carry), v128.xor(b, carry));
      const cd = v128.or(v128.xor(c, carry), v128.xor(d, carry));
      if (!v128.any_true(v128.or(ab, cd))) continue;
    }
    if (at > full) break;
    v128.store(cursor, reversed(a), 64);
    v128.store(cursor, reversed(b), 80);
    v128.store(cursor, reversed(c), 96);
    v128.store(cursor, reversed(d), 112);
    if (!whole) clip(cursor, position, start, end);
    at = emitBlock(cursor, position, before, at);
    before = load<u8>(cursor, 120) & 3;
    carry = i8x16.splat(<u8>(before * 0x55));
  }
  return finish(cursor, position, before, end, out, at);
}

/** The lanes' classes: a lane of the state is spread over both bits first. Inlined. */
function classesOf(v: v128, none: v128, low: v128, high: v128, both: v128, lanes: v128): v128 {
  const l1 = v128.and(v, lanes);
  const h1 = v128.and(i64x2.shr_u(v, 1), lanes);
  const l = v128.or(l1, i64x2.shl(l1, 1));
  const h = v128.or(h1, i64x2.shl(h1, 1));
  return v128.xor(v128.xor(none, v128.and(low, l)), v128.and(h, v128.xor(high, v128.and(both, l))));
}

// ---- two maps ----
//
// Fast-diff from one map to the next, when no snapshot is between them: state by state
//
//   from \ to        NONEXISTENT   EXISTS, PENDING   EXISTS_CLEAN
//   NONEXISTENT      -             3                 3
//   EXISTS, CLEAN    2             3                 -
//   PENDING          2             3                 3
//
// with class 2 for what is gone and 3 for what was written. In bits: the object is in the diff
//
//   (toLow ^ toHigh)  |  (toLow ^ fromLow)  |  (fromHigh & ~toLow)
//
// and it is data if it exists. What is beyond the end of `from` was NONEXISTENT; so all of `to` is when there is no `from`,
// which is the diff from the beginning.

/** `fromBytes`: what `from` has, in whole blocks. */
export function bitmapDiff(
  from: usize,
  fromBytes: u32,
  to: usize,
  end: u32,
  cursor: usize,
  out: usize,
  capacity: u32,
): i32 {
  if (capacity < MIN_CAPACITY) return -1;
  const full = out + <usize>(capacity - MIN_CAPACITY) * 4;
  const start = load<u32>(cursor);
  let before = load<u32>(cursor, 4);
  let position = start & ~(BLOCK_OBJECTS - 1);
  let at = out;
  const lanes = i64x2.splat(LOW);
  let carry = i8x16.splat(<u8>(before * 0x55));
  const fromEnd = min(end, fromBytes << 2);

  for (; position < fromEnd; position += BLOCK_OBJECTS) {
    if (before === 0) {
      position += sameObjects(from, to, position, min(fromEnd, end & ~(BLOCK_OBJECTS - 1)));
      if (position >= fromEnd) break;
    }
    const f = from + <usize>(position >>> 2);
    const t = to + <usize>(position >>> 2);
    const ta = v128.load(t);
    const tb = v128.load(t, 16);
    const tc = v128.load(t, 32);
    const td = v128.load(t, 48);
    const ca = changes(v128.load(f), ta);
    const cb = changes(v128.load(f, 16), tb);
    const cc = changes(v128.load(f, 32), tc);
    const cd = changes(v128.load(f, 48), td);
    const whole = position >= start && position + BLOCK_OBJECTS <= end;
    if (at > full) break;
    const a = diffClasses(v128.and(ca, lanes), ta);
    const b = diffClasses(v128.and(cb, lanes), tb);
    const c = diffClasses(v128.and(cc, lanes), tc);
    const d = diffClasses(v128.and(cd, lanes), td);
    if (whole) {
      const ab = v128.or(v128.xor(a, carry), v128.xor(b, carry));
      const cd = v128.or(v128.xor(c, carry), v128.xor(d, carry));
      if (!v128.any_true(v128.or(ab, cd))) continue;
    }
    v128.store(cursor, reversed(a), 64);
    v128.store(cursor, reversed(b), 80);
    v128.store(cursor, reversed(c), 96);
    v128.store(cursor, reversed(d), 112);
    if (!whole) clip(cursor, position, start, end);
    at = emitBlock(cursor, position, before, at);
    before = load<u8>(cursor, 120) & 3;
    carry = i8x16.splat(<u8>(before * 0x55));
  }
  if (position < fromEnd || position >= end) return finish(cursor, position, before, end, out, at);
  store<u32>(cursor, max(position, start));
  store<u32>(cursor, before, 4);
  return runs(to, WRITTEN_IF_ANY, end, cursor, out, at, capacity);
}

/** Every state but NONEXISTENT is class 3. */
const WRITTEN_IF_ANY: u32 = 0b11111100;

/**
 * How many objects from `position` on are surely not in the diff: whole pairs of blocks. The same test in fewer steps: if the
 * bits of `to` are alike, its high bit does for the low one beside that of `from`.
 */
function sameObjects(from: usize, to: usize, position: u32, end: u32): u32 {
  const first = to + <usize>(position >>> 2);
  const apart = from - to;
  const last = to + <usize>(end >>> 2);
  const lanes = i64x2.splat(LOW);
  let at = first;
  for (; at + 2 * BLOCK <= last; at += 2 * BLOCK) {
    const f = at + apart;
    let t = v128.load(at);
    let g = v128.load(f);
    let low = v128.or(v128.xor(t, i64x2.shr_u(t, 1)), v128.xor(t, g));
    let both = v128.andnot(g, t);
    t = v128.load(at, 16);
    g = v128.load(f, 16);
    low = v128.or(low, v128.or(v128.xor(t, i64x2.shr_u(t, 1)), v128.xor(t, g)));
    both = v128.or(both, v128.andnot(g, t));
    t = v128.load(at, 32);
    g = v128.load(f, 32);
    low = v128.or(low, v128.or(v128.xor(t, i64x2.shr_u(t, 1)), v128.xor(t, g)));
    both = v128.or(both, v128.andnot(g, t));
    t = v128.load(at, 48);
    g = v128.load(f, 48);
    low = v128.or(low, v128.or(v128.xor(t, i64x2.shr_u(t, 1)), v128.xor(t, g)));
    both = v128.or(both, v128.andnot(g, t));
    t = v128.load(at, 64);
    g = v128.load(f, 64);
    low = v128.or(low, v128.or(v128.xor(t, i64x2.shr_u(t, 1)), v128.xor(t, g)));
    both = v128.or(both, v128.andnot(g, t));
    t = v128.load(at, 80);
    g = v128.load(f, 80);
    low = v128.or(low, v128.or(v128.xor(t, i64x2.shr_u(t, 1)), v128.xor(t, g)));
    both = v128.or(both, v128.andnot(g, t));
    t = v128.load(at, 96);
    g = v128.load(f, 96);
    low = v128.or(low, v128.or(v128.xor(t, i64x2.shr_u(t, 1)), v128.xor(t, g)));
    both = v128.or(both, v128.andnot(g, t));
    t = v128.load(at, 112);
    g = v128.load(f, 112);
    low = v128.or(low, v128.or(v128.xor(t, i64x2.shr_u(t, 1)), v128.xor(t, g)));
    both = v128.or(both, v128.andnot(g, t));
    if (v128.any_true(v128.or(v128.and(low, lanes), both))) break;
  }
  return (<u32>(at - first)) << 2;
}

/** Whether the object is in the diff; noise in the high bit of each lane. Inlined. */
function changes(from: v128, to: v128): v128 {
  const dirty = v128.xor(to, i64x2.shr_u(to, 1));
  const appeared = v128.or(v128.xor(to, from), v128.andnot(i64x2.shr_u(from, 1), to));
  return v128.or(dirty, appeared);
}

/** The low bits of what changed, to classes: the high bit for all, the low one for what exists. Inlined. */
function diffClasses(changed: v128, to: v128): v128 {
  const exists = v128.or(to, i64x2.shr_u(to, 1));
  return v128.or(i64x2.shl(changed, 1), v128.and(changed, exists));
}

// ---- a chain of maps ----
//
// States in lanes: HOLE 0, DATA 1, HOLE_UPDATED 2, DATA_UPDATED 3. What is reported at the end are 2 and 3.

/** From the map that the diff begins with. The two may be the same place. `blocks` of 64 bytes. */
export function bitmapDiffStart(states: usize, from: usize, blocks: u32): void {
  const end = states + <usize>blocks * BLOCK;
  const lanes = i64x2.splat(LOW);
  for (; states < end; states += 16, from += 16) {
    const f = v128.load(from);
    const low = v128.and(f, lanes);
    const high = v128.and(i64x2.shr_u(f, 1), lanes);
    // EXISTS and EXISTS_CLEAN are DATA, PENDING is DATA_UPDATED.
    const pending = v128.andnot(high, low);
    v128.store(states, v128.or(v128.or(low, high), i64x2.shl(pending, 1)));
  }
}

/** One map on. `isLast`: 1 for the one that the diff ends with, where what was a hole all along counts as well. */
export function bitmapDiffStep(states: usize, map: usize, blocks: u32, isLast: u32): void {
  const end = states + <usize>blocks * BLOCK;
  const lanes = i64x2.splat(LOW);
  const last = isLast ? lanes : i64x2.splat(0);
  for (; states < end; states += 16, map += 16) {
    const s = v128.load(states);
    const m = v128.load(map);
    const s1 = i64x2.shr_u(s, 1);
    const m1 = i64x2.shr_u(m, 1);
    const exists = v128.or(m, m1);
    const dirty = v128.xor(m, m1);
    const known = v128.or(s, s1);
    const written = v128.or(v128.or(s1, v128.and(s, dirty)), v128.andnot(last, known));
    const updated = v128.bitselect(written, known, exists);
    const data = v128.and(exists, v128.or(known, last));
    v128.store(states, v128.or(v128.and(data, lanes), i64x2.shl(v128.and(updated, lanes), 1)));
  }
}

// ---- transitions ----

/** The bytes of each word: the first object in its highest bits. Inlined. */
function reversed(v: v128): v128 {
  return i8x16.shuffle(v, v, 7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8);
}

/** Objects of the block at `position` that are before `start` or not before `end`: of no class. */
function clip(cursor: usize, position: u32, start: u32, end: u32): void {
  for (let word: u32 = 0; word < 8; word++) {
    const first = position + word * 32;
    const at = cursor + 64 + <usize>(word << 3);
    if (first + 32 <= start || first >= end) {
      store<u64>(at, 0);
      continue;
    }
    let lanes: u64 = 0xffffffffffffffff;
    if (first < start) lanes >>>= (<u64>(start - first)) << 1;
    if (first + 32 > end) lanes &= ~(<u64>0xffffffffffffffff >>> ((<u64>(end - first)) << 1));
    store<u64>(at, load<u64>(at) & lanes);
  }
}

/** Entries of the block in the cursor's 64 bytes; returns where the next entry goes. */
function emitBlock(cursor: usize, position: u32, before: u32, at: usize): usize {
  const end = cursor + 128;
  for (let word = cursor + 64; word < end; word += 8) {
    const classes = load<u64>(word);
    const differs = classes ^ ((classes >>> 2) | ((<u64>before) << 62));
    let flags = (differs | (differs >>> 1)) & LOW;
    if (flags !== 0) {
      if (popcnt(flags) < DENSE) {
        do {
          const bit = clz(flags) - 1;
          const state = <u32>(classes >>> (62 - bit)) & 3;
          store<u32>(at, ((position + <u32>(bit >>> 1)) << 2) | state);
          at += 4;
          flags ^= (<u64>1) << (62 - bit);
        } while (flags !== 0);
      } else {
        // A byte at a time from the highest on: `flags` and `classes` times 16, the size of a table's entry.
        let rest = classes;
        for (let first = position << 2; first < (position + 32) << 2; first += 16) {
          const group = <u32>(flags >>> 52) & 0x550;
          const entries = v128.or(
            i32x4.splat(first),
            v128.load(<usize>(rest >>> 52) & 0xff0, SPREAD),
          );
          v128.store(at, i8x16.swizzle(entries, v128.load(group, COMPRESS)));
          at += (<usize>popcnt(group)) << 2;
          flags <<= 8;
          rest <<= 8;
        }
      }
    }
    before = <u32>classes & 3;
    position += 32;
  }
  return at;
}

/** Leaves the cursor for the next call; at the end, what is still open is closed. */
function finish(cursor: usize, position: u32, before: u32, end: u32, out: usize, at: usize): i32 {
  if (position >= end) {
    position = end;
    if (before !== 0) {
      store<u32>(at, end << 2);
      at += 4;
      before = 0;
    }
  }
  store<u32>(cursor, position);
  store<u32>(cursor, before, 4);
  return <i32>((at - out) >>> 2);
}
