// CRUSH: which items a rule chooses for an input, bit for bit as crush_do_rule() in Ceph's crush/mapper.c.
// The idea of the algorithm is told in src/osdmap/crush-twin.ts, which says the same in TypeScript.
//
// The map is an image made by src/osdmap/crush-layout.ts from a validated map: offsets stay inside it and
// no bucket contains itself. All fields are 32 bits wide, all offsets are bytes from the image's start, all
// parts lie on multiples of 16, and an absent part has offset 0.
//
//   HEADER   +0 buckets   +4 rules   +8 max devices   +12 bucket table   +16 rule table   +20 total tries
//            +24 local tries   +28 local fallback tries   +32 descend once   +36 vary r   +40 stable
//   TABLE    offset of a BUCKET or RULE per slot; bucket -1-i is in slot i
//   RULE     +0 steps   then per step: op, arg1, arg2
//   BUCKET   +0 id   +4 type   +8 alg   +12 size   +16 items   +20 first   +24 second   +28 permutation
//            +32 args   +36 number of args
//              alg          first                      second
//              1 uniform    -                          -
//              2 list       weight of each item        sum of the weights up to each item
//              3 tree       weight of each node        number of nodes
//              4 straw      straw length of each item  -
//              5 straw2     weights as f64             -
//            lists of items and of f64 are padded with zeros to a multiple of 4 entries
//   PERM     +0 x   +4 places that are settled   +8 the permutation. Only a cache: a pure function of x.
//   ARG      +0 set   +4 positions   +8 weights (a padded f64 list per position)   +12 ids; ascending by set
//
// SCRATCH, which the host gives for the time of a call:
//
//   +0      what all functions need to know (see the constants below)
//   +64     working set, +1088 chosen items, +2112 leaves of the chosen items: 256 x i32 each

const CTX_MAP: usize = 0;
const CTX_LOGS: usize = 4;
const CTX_WEIGHTS: usize = 8;
const CTX_WEIGHT_COUNT: usize = 12;
const CTX_X: usize = 16;
const CTX_ARG_SET: usize = 20;
/** What is left of the work limit; below 0 everything returns at once. */
const CTX_WORK: usize = 24;
const CTX_LEAF_TRIES: usize = 28;
const CTX_LOCAL_TRIES: usize = 32;
const CTX_FALLBACK_TRIES: usize = 36;
const CTX_VARY_R: usize = 40;
const CTX_STABLE: usize = 44;
const WORKING: usize = 64;
const CHOSEN: usize = WORKING + 1024;
const LEAVES: usize = CHOSEN + 1024;
const SCRATCH_BYTES: usize = LEAVES + 1024;
const MAX_RESULT: i32 = 255;

const UNIFORM: i32 = 1;
const LIST: i32 = 2;
const TREE: i32 = 3;
const STRAW: i32 = 4;

const OP_TAKE: i32 = 1;
const OP_CHOOSE_FIRSTN: i32 = 2;
const OP_CHOOSE_INDEP: i32 = 3;
const OP_EMIT: i32 = 4;
const OP_CHOOSELEAF_FIRSTN: i32 = 6;
const OP_CHOOSELEAF_INDEP: i32 = 7;
const OP_SET_CHOOSE_TRIES: i32 = 8;
const OP_SET_CHOOSELEAF_TRIES: i32 = 9;
const OP_SET_LOCAL_TRIES: i32 = 10;
const OP_SET_FALLBACK_TRIES: i32 = 11;
const OP_SET_VARY_R: i32 = 12;
const OP_SET_STABLE: i32 = 13;

/** No item could be found. */
const NONE: i32 = 0x7fffffff;
/** Not found yet. */
const UNDEFINED: i32 = 0x7ffffffe;
/** In functions that return an item: this try failed. No bucket has this id. */
const RETRY: i32 = i32.MIN_VALUE;

const WORK_EXCEEDED: i32 = -1;

const HASH_SEED: i32 = 1315423911;
const HASH_X: i32 = 231232;
const HASH_Y: i32 = 1232;

export function crushScratchBytes(): usize {
  return SCRATCH_BYTES;
}

/**
 * Writes up to `resultMax` items to `out` and returns their number, or -1 when more than `workLimit` items were
 * weighed. `logs` holds crush_ln(u) - 2^48 as 65,536 f64; `argSet` is -1 for no choose_args.
 */
export function crushDoRule(
  map: usize,
  logs: usize,
  rule: u32,
  x: i32,
  resultMax: i32,
  weights: usize,
  weightCount: u32,
  argSet: i32,
  workLimit: i32,
  scratch: usize,
  out: usize,
): i32 {
  if (rule >= load<u32>(map, 4)) return 0;
  const ruleOffset = load<u32>(map + load<u32>(map, 16) + (rule << 2));
  if (ruleOffset == 0) return 0;
  if (resultMax > MAX_RESULT) resultMax = MAX_RESULT;

  store<usize>(scratch, map, CTX_MAP);
  store<usize>(scratch, logs, CTX_LOGS);
  store<usize>(scratch, weights, CTX_WEIGHTS);
  store<u32>(scratch, weightCount, CTX_WEIGHT_COUNT);
  store<i32>(scratch, x, CTX_X);
  store<i32>(scratch, argSet, CTX_ARG_SET);
  store<i32>(scratch, workLimit, CTX_WORK);
  store<i32>(scratch, load<i32>(map, 24), CTX_LOCAL_TRIES);
  store<i32>(scratch, load<i32>(map, 28), CTX_FALLBACK_TRIES);
  store<i32>(scratch, load<i32>(map, 36), CTX_VARY_R);
  store<i32>(scratch, load<i32>(map, 40), CTX_STABLE);

  // The tunable counts retries, a rule's own setting counts tries.
  let tries = load<i32>(map, 20) + 1;
  let leafTries = 0;
  let working = scratch + WORKING;
  let chosen = scratch + CHOSEN;
  let workingSize = 0;
  let resultSize = 0;

  let step = map + ruleOffset + 4;
  const end = step + load<u32>(map + ruleOffset) * 12;
  for (; step < end; step += 12) {
    const op = load<i32>(step);
    const arg1 = load<i32>(step, 4);
    const arg2 = load<i32>(step, 8);
    switch (op) {
      case OP_TAKE: {
        const known = arg1 >= 0 ? arg1 < load<i32>(map, 8) : bucketOf(map, arg1) != 0;
        if (known) {
          store<i32>(working, arg1);
          workingSize = 1;
        }
        break;
      }
      case OP_SET_CHOOSE_TRIES: {
        if (arg1 > 0) tries = arg1;
        break;
      }
      case OP_SET_CHOOSELEAF_TRIES: {
        if (arg1 > 0) leafTries = arg1;
        break;
      }
      case OP_SET_LOCAL_TRIES: {
        if (arg1 >= 0) store<i32>(scratch, arg1, CTX_LOCAL_TRIES);
        break;
      }
      case OP_SET_FALLBACK_TRIES: {
        if (arg1 >= 0) store<i32>(scratch, arg1, CTX_FALLBACK_TRIES);
        break;
      }
      case OP_SET_VARY_R: {
        if (arg1 >= 0) store<i32>(scratch, arg1, CTX_VARY_R);
        break;
      }
      case OP_SET_STABLE: {
        if (arg1 >= 0) store<i32>(scratch, arg1, CTX_STABLE);
        break;
      }
      case OP_CHOOSE_FIRSTN:
      case OP_CHOOSE_INDEP:
      case OP_CHOOSELEAF_FIRSTN:
      case OP_CHOOSELEAF_INDEP: {
        const firstn = op == OP_CHOOSE_FIRSTN || op == OP_CHOOSELEAF_FIRSTN;
        const toLeaf = op == OP_CHOOSELEAF_FIRSTN || op == OP_CHOOSELEAF_INDEP;
        const oneTry = !firstn || load<i32>(map, 32) != 0;
        const recurseTries = leafTries ? leafTries : oneTry ? 1 : tries;
        store<i32>(scratch, recurseTries, CTX_LEAF_TRIES);
        const numRep = arg1 > 0 ? arg1 : arg1 + resultMax;
        const leaves = toLeaf ? scratch + LEAVES : 0;
        let size = 0;
        for (let i = 0; i < workingSize; i++) {
          const id = load<i32>(working + ((<usize>i) << 2));
          const bucket = id < 0 ? bucketOf(map, id) : 0;
          if (numRep <= 0 || bucket == 0) continue;
          const room = resultMax - size;
          const to = chosen + ((<usize>size) << 2);
          const leavesTo = toLeaf ? leaves + ((<usize>size) << 2) : 0;
          if (firstn) {
            size += chooseFirstn(scratch, bucket, numRep, arg2, to, 0, room, tries, leavesTo, 0);
          } else {
            const places = min<i32>(numRep, room);
            chooseIndep(scratch, bucket, numRep, arg2, to, 0, places, tries, leavesTo, 0);
            size += places;
          }
          if (load<i32>(scratch, CTX_WORK) < 0) return WORK_EXCEEDED;
        }
        if (toLeaf) memory.copy(chosen, leaves, (<usize>size) << 2);
        const swap = working;
        working = chosen;
        chosen = swap;
        workingSize = size;
        break;
      }
      case OP_EMIT: {
        for (let i = 0; i < workingSize && resultSize < resultMax; i++) {
          store<i32>(out + ((<usize>resultSize) << 2), load<i32>(working + ((<usize>i) << 2)));
          resultSize++;
        }
        workingSize = 0;
        break;
      }
    }
  }
  return resultSize;
}

/** The address of a bucket, 0 when there is none. `id` is negative. */
function bucketOf(map: usize, id: i32): usize {
  const slot = <u32>(-1 - id);
  if (slot >= load<u32>(map)) return 0;
  const offset = load<u32>(map + load<u32>(map, 12) + (slot << 2));
  return offset == 0 ? 0 : map + offset;
}

/** Counts one look at a bucket; false when the limit is reached. */
function spend(ctx: usize, size: i32): bool {
  const left = load<i32>(ctx, CTX_WORK) - size - 1;
  store<i32>(ctx, left, CTX_WORK);
  return left >= 0;
}

/**
 * Chooses items of `type` below `bucket` into out[count...], at most `room` more and not those already in `out`.
 * With `leaves` (not 0), goes on below each to a device, into leaves[]. Returns the new count.
 */
function chooseFirstn(
  ctx: usize,
  bucket: usize,
  numRep: i32,
  type: i32,
  out: usize,
  count: i32,
  room: i32,
  tries: i32,
  leaves: usize,
  parentR: i32,
): i32 {
  const stable = load<i32>(ctx, CTX_STABLE) != 0;
  for (let rep = stable ? 0 : count; rep < numRep && room > 0; rep++) {
    const item = firstnItem(ctx, bucket, type, out, count, room, tries, leaves, rep + parentR);
    if (load<i32>(ctx, CTX_WORK) < 0) return count;
    if (item == NONE) continue;
    store<i32>(out + ((<usize>count) << 2), item);
    count++;
    room--;
  }
  return count;
}

/** One place of a firstn result: descends from `bucket` as often as tries allow. NONE: nothing found. */
function firstnItem(
  ctx: usize,
  bucket: usize,
  type: i32,
  out: usize,
  count: i32,
  room: i32,
  tries: i32,
  leaves: usize,
  firstR: i32,
): i32 {
  const map = load<usize>(ctx, CTX_MAP);
  const localTries = load<i32>(ctx, CTX_LOCAL_TRIES);
  const fallbackTries = load<i32>(ctx, CTX_FALLBACK_TRIES);
  let failures = 0;
  while (true) {
    let within = bucket;
    let localFailures = 0;
    while (true) {
      const size = load<i32>(within, 12);
      if (!spend(ctx, size)) return NONE;
      const r = firstR + failures;
      let collision = false;
      let usable = false;
      let item = 0;
      if (size > 0) {
        const permute =
          fallbackTries > 0 && localFailures >= size >> 1 && localFailures > fallbackTries;
        item = permute
          ? permutationItem(ctx, within, load<i32>(ctx, CTX_X), r)
          : chooseItem(ctx, within, r, count);
        const below = item < 0 ? bucketOf(map, item) : 0;
        if ((below ? load<i32>(below, 4) : 0) != type) {
          if (!below) return NONE;
          within = below;
          continue;
        }
        collision = contains(out, 0, count, item);
        if (!collision) usable = isUsable(ctx, item, below, type, count, room, leaves, r);
      }
      if (usable) return item;

      failures++;
      localFailures++;
      if (collision && localFailures <= localTries) continue;
      if (fallbackTries > 0 && localFailures <= size + fallbackTries) continue;
      if (failures < tries) break;
      return NONE;
    }
  }
}

/** Not out, and with `leaves` a device was found below and stored there. */
function isUsable(
  ctx: usize,
  item: i32,
  below: usize,
  type: i32,
  count: i32,
  room: i32,
  leaves: usize,
  r: i32,
): bool {
  if (leaves && below) {
    const varyR = load<i32>(ctx, CTX_VARY_R);
    const numRep = load<i32>(ctx, CTX_STABLE) ? 1 : count + 1;
    const leafR = varyR ? r >> (varyR - 1) : 0;
    const tries = load<i32>(ctx, CTX_LEAF_TRIES);
    return chooseFirstn(ctx, below, numRep, 0, leaves, count, room, tries, 0, leafR) > count;
  }
  if (type == 0 && isOut(ctx, item)) return false;
  if (leaves) store<i32>(leaves + ((<usize>count) << 2), item);
  return true;
}

/** Fills out[start..end), and leaves[start..end) unless that is 0; places that stay empty become NONE. */
function chooseIndep(
  ctx: usize,
  bucket: usize,
  numRep: i32,
  type: i32,
  out: usize,
  start: i32,
  end: i32,
  tries: i32,
  leaves: usize,
  parentR: i32,
): void {
  replace(out, start, end, UNDEFINED, false);
  if (leaves) replace(leaves, start, end, UNDEFINED, false);
  let left = end - start;
  for (let failures = 0; left > 0 && failures < tries; failures++) {
    for (let place = start; place < end; place++) {
      const to = out + ((<usize>place) << 2);
      if (load<i32>(to) != UNDEFINED) continue;
      const r = place + parentR;
      const item = indepItem(
        ctx,
        bucket,
        numRep,
        type,
        out,
        start,
        end,
        place,
        leaves,
        r,
        failures,
      );
      if (load<i32>(ctx, CTX_WORK) < 0) return;
      if (item == RETRY) continue;
      store<i32>(to, item);
      if (item == NONE && leaves) store<i32>(leaves + ((<usize>place) << 2), NONE);
      left--;
    }
  }
  replace(out, start, end, NONE, true);
  if (leaves) replace(leaves, start, end, NONE, true);
}

/** Sets list[start..end), or only what is UNDEFINED there. */
function replace(list: usize, start: i32, end: i32, value: i32, onlyUndefined: bool): void {
  for (let i = start; i < end; i++) {
    const at = list + ((<usize>i) << 2);
    if (!onlyUndefined || load<i32>(at) == UNDEFINED) store<i32>(at, value);
  }
}

/** One try for one place of an indep result: an item, RETRY, or NONE when trying again is of no use. */
function indepItem(
  ctx: usize,
  bucket: usize,
  numRep: i32,
  type: i32,
  out: usize,
  start: i32,
  end: i32,
  place: i32,
  leaves: usize,
  firstR: i32,
  failures: i32,
): i32 {
  const map = load<usize>(ctx, CTX_MAP);
  let within = bucket;
  while (true) {
    const size = load<i32>(within, 12);
    if (!spend(ctx, size) || size == 0) return RETRY;
    // With a stride of numRep a permutation of as many items would meet the same item again and again.
    const aligned = load<i32>(within, 8) == UNIFORM && size % numRep == 0;
    const r = firstR + (aligned ? numRep + 1 : numRep) * failures;
    const item = chooseItem(ctx, within, r, start);
    const below = item < 0 ? bucketOf(map, item) : 0;
    if ((below ? load<i32>(below, 4) : 0) != type) {
      if (!below) return NONE;
      within = below;
      continue;
    }
    if (contains(out, start, end, item)) return RETRY;
    if (leaves) {
      const leaf = leaves + ((<usize>place) << 2);
      if (below) {
        const tries = load<i32>(ctx, CTX_LEAF_TRIES);
        chooseIndep(ctx, below, numRep, 0, leaves, place, place + 1, tries, 0, r);
        if (load<i32>(leaf) == NONE) return RETRY;
      } else {
        store<i32>(leaf, item);
      }
    }
    return type == 0 && isOut(ctx, item) ? RETRY : item;
  }
}

function contains(list: usize, start: i32, end: i32, item: i32): bool {
  for (let i = start; i < end; i++) {
    if (load<i32>(list + ((<usize>i) << 2)) == item) return true;
  }
  return false;
}

/** Reweighted devices are out for a share of all x. */
function isOut(ctx: usize, device: i32): bool {
  if (<u32>device >= load<u32>(ctx, CTX_WEIGHT_COUNT)) return true;
  const weight = load<u32>(load<usize>(ctx, CTX_WEIGHTS) + ((<usize>device) << 2));
  if (weight >= 0x10000) return false;
  return weight == 0 || (hash2(load<i32>(ctx, CTX_X), device) & 0xffff) >= weight;
}

/** `position` says which weights of a weight set count. The bucket is not empty. */
function chooseItem(ctx: usize, bucket: usize, r: i32, position: i32): i32 {
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
function permutationItem(ctx: usize, bucket: usize, x: i32, r: i32): i32 {
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

// crush_hash32_2, _3 and _4: rounds of Robert Jenkins' 96-bit mix over the arguments, two fillers and the hash.
// The scalar ones mix three words in globals, because a function has one result; they are off the hot path.

let mixA: u32 = 0;
let mixB: u32 = 0;
let mixH: u32 = 0;

function mix(): void {
  let a = mixA;
  let b = mixB;
  let h = mixH;
  a = (a - b - h) ^ (h >>> 13);
  b = (b - h - a) ^ (a << 8);
  h = (h - a - b) ^ (b >>> 13);
  a = (a - b - h) ^ (h >>> 12);
  b = (b - h - a) ^ (a << 16);
  h = (h - a - b) ^ (b >>> 5);
  a = (a - b - h) ^ (h >>> 3);
  b = (b - h - a) ^ (a << 10);
  h = (h - a - b) ^ (b >>> 15);
  mixA = a;
  mixB = b;
  mixH = h;
}

/** Mixes the hash with `a` and `b`. Returns a's new value; b's is in mixB. */
function mixed(a: u32, b: u32): u32 {
  mixA = a;
  mixB = b;
  mix();
  return mixA;
}

function hash2(a: u32, b: u32): u32 {
  mixH = HASH_SEED ^ a ^ b;
  a = mixed(a, b);
  b = mixB;
  mixed(HASH_X, a);
  mixed(b, HASH_Y);
  return mixH;
}

function hash3(a: u32, b: u32, c: u32): u32 {
  mixH = HASH_SEED ^ a ^ b ^ c;
  a = mixed(a, b);
  b = mixB;
  c = mixed(c, HASH_X);
  const x = mixB;
  const y = mixed(HASH_Y, a);
  mixed(b, x);
  mixed(y, c);
  return mixH;
}

function hash4(a: u32, b: u32, c: u32, d: u32): u32 {
  mixH = HASH_SEED ^ a ^ b ^ c ^ d;
  a = mixed(a, b);
  b = mixB;
  c = mixed(c, d);
  d = mixB;
  mixed(a, HASH_X);
  const x = mixB;
  const y = mixed(HASH_Y, b);
  mixed(c, x);
  mixed(y, d);
  return mixH;
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
