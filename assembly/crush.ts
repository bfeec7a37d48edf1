// CRUSH: which items a rule chooses for an input, bit for bit as crush_do_rule() in Ceph's crush/mapper.c.
// The idea of the algorithm is told in src/osdmap/crush-twin.ts, which says the same in TypeScript.
// The layout of the map and of the scratch memory is drawn in crush-layout.ts.

import { chooseItem, permutationItem } from './crush-bucket';
import { hash2 } from './crush-hash';
import {
  bucketOf,
  CHOSEN,
  CTX_ARG_SET,
  CTX_FALLBACK_TRIES,
  CTX_LEAF_TRIES,
  CTX_LOCAL_TRIES,
  CTX_LOGS,
  CTX_MAP,
  CTX_STABLE,
  CTX_VARY_R,
  CTX_WEIGHT_COUNT,
  CTX_WEIGHTS,
  CTX_WORK,
  CTX_X,
  LEAVES,
  MAX_RESULT,
  SCRATCH_BYTES,
  UNIFORM,
  WORKING,
} from './crush-layout';

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
