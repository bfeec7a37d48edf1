// How a bucket of each kind chooses one of its items for (x, r): the bucket_*_choose() of Ceph's crush/mapper.c.

import { HASH_SEED, HASH_X, HASH_Y, hash3, hash4 } from './crush-hash';
import { CTX_ARG_SET, CTX_LOGS, CTX_MAP, CTX_X, LIST, STRAW, TREE, UNIFORM } from './crush-layout';

/** `position` says which weights of a weight set count. The bucket is not empty. */
export function chooseItem(ctx: usize, bucket: usize, r: i32, position: i32): i32 {
  const x = load<i32>(ctx, CTX_X);
  switch (load<i32>(bucket, 8)) {
    case UNIFORM:
      return permutationItem(ctx, bucket, x, r);
    case LIST:
      return listItem(ctx, bucket, x, r);
    case TREE:
      return treeItem(ctx, bucket, x, r);
    case STRAW:
      return strawItem(ctx, bucket, x, r);
    default:
      return straw2Item(ctx, bucket, x, r, position);
  }
}

/**
 * Each item draws ln(uniform) / weight; the highest (they are negative) wins, the first of equals.
 *
 * The quotient is exact in doubles, like Ceph's 64-bit division: the dividend is below 2^49, so a quotient that is
 * not whole is further from the next whole number than rounding can carry it. No weight gives minus infinity.
 */
function straw2Item(ctx: usize, bucket: usize, x: i32, r: i32, position: i32): i32 {
  const map = load<usize>(ctx, CTX_MAP);
  const logs = load<usize>(ctx, CTX_LOGS);
  const size = load<i32>(bucket, 12);
  const items = map + load<u32>(bucket, 16);
  let ids = items;
  let weights = map + load<u32>(bucket, 20);

  const arg = findArg(ctx, bucket);
  if (arg) {
    const positions = load<i32>(arg, 4);
    if (positions > 0) {
      const stride = ((<usize>size + 3) & ~3) << 3;
      weights = map + load<u32>(arg, 8) + <usize>min<i32>(position, positions - 1) * stride;
    }
    const idList = load<u32>(arg, 12);
    if (idList) ids = map + idList;
  }

  let best = 0;
  let bestDraw: f64 = -Infinity;
  for (let i = 0; i < size; i += 4) {
    const u = v128.and(hash3x4(x, v128.load(ids), r), i32x4.splat(0xffff));
    const low = f64x2.trunc(
      f64x2.div(
        logPair(logs, i32x4.extract_lane(u, 0), i32x4.extract_lane(u, 1)),
        v128.load(weights),
      ),
    );
    const high = f64x2.trunc(
      f64x2.div(
        logPair(logs, i32x4.extract_lane(u, 2), i32x4.extract_lane(u, 3)),
        v128.load(weights, 16),
      ),
    );
    const draw0 = f64x2.extract_lane(low, 0);
    if (draw0 > bestDraw) {
      bestDraw = draw0;
      best = i;
    }
    const draw1 = f64x2.extract_lane(low, 1);
    if (draw1 > bestDraw) {
      bestDraw = draw1;
      best = i + 1;
    }
    const draw2 = f64x2.extract_lane(high, 0);
    if (draw2 > bestDraw) {
      bestDraw = draw2;
      best = i + 2;
    }
    const draw3 = f64x2.extract_lane(high, 1);
    if (draw3 > bestDraw) {
      bestDraw = draw3;
      best = i + 3;
    }
    ids += 16;
    weights += 32;
  }
  return load<i32>(items + ((<usize>best) << 2));
}

function logPair(logs: usize, u0: i32, u1: i32): v128 {
  const first = f64x2.splat(load<f64>(logs + ((<usize>u0) << 3)));
  return f64x2.replace_lane(first, 1, load<f64>(logs + ((<usize>u1) << 3)));
}

/** The choose_args of a bucket within the set of this run, 0 when there are none. */
function findArg(ctx: usize, bucket: usize): usize {
  let high = load<i32>(bucket, 36);
  if (high == 0) return 0;
  const set = load<i32>(ctx, CTX_ARG_SET);
  const args = load<usize>(ctx, CTX_MAP) + load<u32>(bucket, 32);
  let low = 0;
  while (low < high) {
    const middle = (low + high) >> 1;
    const arg = args + ((<usize>middle) << 4);
    const found = load<i32>(arg);
    if (found == set) return arg;
    if (found < set) low = middle + 1;
    else high = middle;
  }
  return 0;
}

function strawItem(ctx: usize, bucket: usize, x: i32, r: i32): i32 {
  const map = load<usize>(ctx, CTX_MAP);
  const size = load<i32>(bucket, 12);
  const items = map + load<u32>(bucket, 16);
  const straws = map + load<u32>(bucket, 20);
  let best: usize = 0;
  let bestDraw: u64 = 0;
  for (let i: usize = 0; i < <usize>size; i++) {
    const u = hash3(x, load<i32>(items + (i << 2)), r) & 0xffff;
    const draw = <u64>u * <u64>load<u32>(straws + (i << 2));
    if (i == 0 || draw > bestDraw) {
      best = i;
      bestDraw = draw;
    }
  }
  return load<i32>(items + (best << 2));
}

/** From the last item to the first, each is taken with the share that it has of the items up to it. */
function listItem(ctx: usize, bucket: usize, x: i32, r: i32): i32 {
  const map = load<usize>(ctx, CTX_MAP);
  const id = load<i32>(bucket);
  const items = map + load<u32>(bucket, 16);
  const weights = map + load<u32>(bucket, 20);
  const sums = map + load<u32>(bucket, 24);
  for (let i = load<i32>(bucket, 12) - 1; i >= 0; i--) {
    const at = (<usize>i) << 2;
    const item = load<i32>(items + at);
    const u = hash4(x, item, r, id) & 0xffff;
    const drawn = (<u64>u * <u64>load<u32>(sums + at)) >> 16;
    if (drawn < <u64>load<u32>(weights + at)) return item;
  }
  return load<i32>(items);
}

/** Down a binary tree laid out in order: leaves at odd nodes, the root in the middle. */
function treeItem(ctx: usize, bucket: usize, x: i32, r: i32): i32 {
  const map = load<usize>(ctx, CTX_MAP);
  const id = load<i32>(bucket);
  const size = load<u32>(bucket, 12);
  const items = map + load<u32>(bucket, 16);
  const weights = map + load<u32>(bucket, 20);
  let node = load<u32>(bucket, 24) >> 1;
  while ((node & 1) == 0) {
    const weight = load<u32>(weights + (node << 2));
    const drawn = (<u64>hash4(x, node, r, id) * <u64>weight) >> 32;
    const half = (node & (0 - node)) >> 1;
    const left = node - half;
    node = drawn < <u64>load<u32>(weights + (left << 2)) ? left : node + half;
  }
  // Leaves beyond the items have no weight, and are met only if no item has any.
  let index: usize = node >> 1;
  if (index >= <usize>size) index = 0;
  return load<i32>(items + (index << 2));
}

/** Place r of a permutation of the items that depends on x and the bucket; settled as far as it is asked for. */
export function permutationItem(ctx: usize, bucket: usize, x: i32, r: i32): i32 {
  const map = load<usize>(ctx, CTX_MAP);
  const id = load<i32>(bucket);
  const size = load<u32>(bucket, 12);
  const cache = map + load<u32>(bucket, 28);
  const permutation = cache + 8;
  const place = <u32>r % size;

  let settled = load<u32>(cache, 4);
  if (settled == 0 || load<i32>(cache) != x) {
    for (let i: u32 = 0; i < size; i++) store<u32>(permutation + (i << 2), i);
    store<i32>(cache, x);
    settled = 0;
  }
  for (; settled <= place; settled++) {
    const here = permutation + (settled << 2);
    const there = here + ((hash3(x, id, settled) % (size - settled)) << 2);
    const swap = load<u32>(there);
    store<u32>(there, load<u32>(here));
    store<u32>(here, swap);
  }
  store<u32>(cache, settled, 4);
  const chosen = load<u32>(permutation + (place << 2));
  return load<i32>(map + load<u32>(bucket, 16) + (chosen << 2));
}

/** hash3(x, id, r) for four ids at once: where nearly all the time of a straw2 map goes. */
function hash3x4(x: i32, ids: v128, r: i32): v128 {
  let a = i32x4.splat(x);
  let b = ids;
  let c = i32x4.splat(r);
  let h = v128.xor(i32x4.splat(HASH_SEED ^ x ^ r), ids);
  let fx = i32x4.splat(HASH_X);
  let fy = i32x4.splat(HASH_Y);

  a = right(a, b, h, 13);
  b = left(b, h, a, 8);
  h = right(h, a, b, 13);
  a = right(a, b, h, 12);
  b = left(b, h, a, 16);
  h = right(h, a, b, 5);
  a = right(a, b, h, 3);
  b = left(b, h, a, 10);
  h = right(h, a, b, 15);

  c = right(c, fx, h, 13);
  fx = left(fx, h, c, 8);
  h = right(h, c, fx, 13);
  c = right(c, fx, h, 12);
  fx = left(fx, h, c, 16);
  h = right(h, c, fx, 5);
  c = right(c, fx, h, 3);
  fx = left(fx, h, c, 10);
  h = right(h, c, fx, 15);

  fy = right(fy, a, h, 13);
  a = left(a, h, fy, 8);
  h = right(h, fy, a, 13);
  fy = right(fy, a, h, 12);
  a = left(a, h, fy, 16);
  h = right(h, fy, a, 5);
  fy = right(fy, a, h, 3);
  a = left(a, h, fy, 10);
  h = right(h, fy, a, 15);

  b = right(b, fx, h, 13);
  fx = left(fx, h, b, 8);
  h = right(h, b, fx, 13);
  b = right(b, fx, h, 12);
  fx = left(fx, h, b, 16);
  h = right(h, b, fx, 5);
  b = right(b, fx, h, 3);
  fx = left(fx, h, b, 10);
  h = right(h, b, fx, 15);

  fy = right(fy, c, h, 13);
  c = left(c, h, fy, 8);
  h = right(h, fy, c, 13);
  fy = right(fy, c, h, 12);
  c = left(c, h, fy, 16);
  h = right(h, fy, c, 5);
  fy = right(fy, c, h, 3);
  c = left(c, h, fy, 10);
  h = right(h, fy, c, 15);
  return h;
}

/** One line of a mix: (p - q - s) with s folded in from the right, or from the left. */
function right(p: v128, q: v128, s: v128, bits: i32): v128 {
  return v128.xor(i32x4.sub(i32x4.sub(p, q), s), i32x4.shr_u(s, bits));
}

function left(p: v128, q: v128, s: v128, bits: i32): v128 {
  return v128.xor(i32x4.sub(i32x4.sub(p, q), s), i32x4.shl(s, bits));
}
