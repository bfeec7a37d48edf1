/**
 * CRUSH in TypeScript: the readable statement of what `assembly/crush.ts` does, its oracle in tests and its stand-in
 * where the kernel cannot be used. Same results as Ceph's `crush/mapper.c`, bit for bit.
 *
 * A rule starts with a bucket (TAKE) and replaces its working set step by step: each CHOOSE picks, below every
 * bucket of the set, `numRep` different items of a type. Picking is hashing: straw2 and friends map (x, item, r) to
 * one item of a bucket. When the item cannot be used (chosen already, out, nothing usable below) another `r` is
 * tried, up to a number of tries. Two disciplines differ in what a failure does to the rest:
 *
 *   firstn   the result closes up; later places take new values of r (replicas)
 *   indep    every place has its own r, and a failed one becomes CRUSH_ITEM_NONE (shards)
 */

import { straw2LogTable } from './crush-ln.js';
import {
  BUCKET_ALG,
  type ChooseArg,
  CRUSH_ITEM_NONE,
  type CrushBucket,
  type CrushMap,
  RULE_OP,
} from './crush-map.js';
import {
  CRUSH_RESULT_MAX,
  CRUSH_WORK_LIMIT,
  type CrushMapper,
  type CrushMappers,
  crushWorkError,
  type DoRuleInput,
} from './crush-mapper.js';
import { crushHash2, crushHash3, crushHash4 } from './object-hash.js';

/** A place of an indep result that is still to be filled. */
const UNDEFINED_ITEM = 0x7fff_fffe;

/** 16.16 fixed point. */
const WEIGHT_ONE = 0x10000;

export const twinMappers: CrushMappers = limitedTwinMappers(CRUSH_WORK_LIMIT);

/** With another work limit than `CRUSH_WORK_LIMIT`. */
export function limitedTwinMappers(workLimit: number): CrushMappers {
  return (crush) => createTwin(crush, workLimit);
}

function createTwin(crush: CrushMap, workLimit: number): CrushMapper {
  const argsByBucket = new Map(
    Array.from(crush.chooseArgs, ([index, args]) => [
      index,
      new Map(args.map((arg) => [arg.bucketIndex, arg])),
    ]),
  );
  return {
    doRule: (input) => {
      const args = input.chooseArgs === undefined ? undefined : argsByBucket.get(input.chooseArgs);
      return new RuleRun(crush, input, args, workLimit).run();
    },
  };
}

/** What a CHOOSE step hands down. */
interface Choice {
  numRep: number;
  type: number;
  tries: number;
  /** Go on below the chosen buckets to one device each. */
  toLeaf: boolean;
  recurseTries: number;
  localTries: number;
  localFallbackTries: number;
  varyR: number;
  stable: boolean;
  parentR: number;
}

class RuleRun {
  readonly #crush: CrushMap;
  readonly #x: number;
  readonly #weights: Uint32Array;
  readonly #args: Map<number, ChooseArg> | undefined;
  readonly #input: DoRuleInput;
  readonly #logs = straw2LogTable();
  #workLeft: number;

  constructor(
    crush: CrushMap,
    input: DoRuleInput,
    args: Map<number, ChooseArg> | undefined,
    workLimit: number,
  ) {
    this.#workLeft = workLimit;
    this.#crush = crush;
    this.#input = input;
    this.#x = input.x;
    this.#weights = input.weights;
    this.#args = args;
  }

  run(): Int32Array {
    const { tunables, rules } = this.#crush;
    const resultMax = Math.min(this.#input.resultMax, CRUSH_RESULT_MAX);
    const result: number[] = [];
    let working: number[] = [];
    // The tunable counts retries, and a rule's own setting counts tries. Ceph keeps all of these in an int.
    let tries = (tunables.chooseTotalTries + 1) | 0;
    let leafTries = 0;
    let localTries = tunables.chooseLocalTries | 0;
    let localFallbackTries = tunables.chooseLocalFallbackTries | 0;
    let varyR = tunables.chooseleafVaryR;
    let stable = tunables.chooseleafStable;

    for (const { op, arg1, arg2 } of rules[this.#input.rule]?.steps ?? []) {
      switch (op) {
        case RULE_OP.TAKE:
          if (this.#exists(arg1)) working = [arg1];
          break;
        case RULE_OP.SET_CHOOSE_TRIES:
          if (arg1 > 0) tries = arg1;
          break;
        case RULE_OP.SET_CHOOSELEAF_TRIES:
          if (arg1 > 0) leafTries = arg1;
          break;
        case RULE_OP.SET_CHOOSE_LOCAL_TRIES:
          if (arg1 >= 0) localTries = arg1;
          break;
        case RULE_OP.SET_CHOOSE_LOCAL_FALLBACK_TRIES:
          if (arg1 >= 0) localFallbackTries = arg1;
          break;
        case RULE_OP.SET_CHOOSELEAF_VARY_R:
          if (arg1 >= 0) varyR = arg1;
          break;
        case RULE_OP.SET_CHOOSELEAF_STABLE:
          if (arg1 >= 0) stable = arg1;
          break;
        case RULE_OP.CHOOSE_FIRSTN:
        case RULE_OP.CHOOSELEAF_FIRSTN:
        case RULE_OP.CHOOSE_INDEP:
        case RULE_OP.CHOOSELEAF_INDEP: {
          const firstn = op === RULE_OP.CHOOSE_FIRSTN || op === RULE_OP.CHOOSELEAF_FIRSTN;
          const oneTry = !firstn || tunables.chooseleafDescendOnce !== 0;
          working = this.#choose(working, resultMax, firstn, {
            numRep: arg1 > 0 ? arg1 : arg1 + resultMax,
            type: arg2,
            tries,
            toLeaf: op === RULE_OP.CHOOSELEAF_FIRSTN || op === RULE_OP.CHOOSELEAF_INDEP,
            recurseTries: leafTries || (oneTry ? 1 : tries),
            localTries,
            localFallbackTries,
            varyR,
            stable: stable !== 0,
            parentR: 0,
          });
          break;
        }
        case RULE_OP.EMIT:
          result.push(...working.slice(0, resultMax - result.length));
          working = [];
          break;
        default:
        // NOOP, and what newer releases may add: passed over, as Ceph does.
      }
    }
    return Int32Array.from(result);
  }

  /** One CHOOSE step over all of the working set. */
  #choose(working: number[], resultMax: number, firstn: boolean, choice: Choice): number[] {
    const chosen: number[] = [];
    for (const id of working) {
      const bucket = id < 0 ? this.#crush.bucket(id) : undefined;
      if (choice.numRep <= 0 || !bucket) continue;
      const room = resultMax - chosen.length;
      const items: number[] = [];
      const leaves: number[] = [];
      if (firstn) this.#firstn(bucket, choice, items, leaves, room);
      else {
        const places = Math.min(choice.numRep, room);
        items.length = leaves.length = places;
        this.#indep(bucket, choice, items, leaves, 0, places);
      }
      chosen.push(...(choice.toLeaf ? leaves : items));
    }
    return chosen;
  }

  /** Appends to `out`, and to `leaves` with `toLeaf`, at most `room` items. */
  #firstn(bucket: CrushBucket, choice: Choice, out: number[], leaves: number[], room: number) {
    let left = room;
    for (let rep = choice.stable ? 0 : out.length; rep < choice.numRep && left > 0; rep++) {
      const item = this.#firstnItem(bucket, choice, out, leaves, rep, left);
      if (item === undefined) continue;
      out.push(item);
      left--;
    }
  }

  /** One place: descends from `bucket` as often as tries allow. `undefined`: this place stays empty. */
  #firstnItem(
    bucket: CrushBucket,
    choice: Choice,
    out: number[],
    leaves: number[],
    rep: number,
    room: number,
  ): number | undefined {
    const crush = this.#crush;
    let failures = 0;
    for (;;) {
      let within = bucket;
      let localFailures = 0;
      for (;;) {
        const size = within.items.length;
        this.#spend(size);
        const r = rep + choice.parentR + failures;
        let collision = false;
        let rejected = true;
        let item = 0;
        if (size > 0) {
          const permute =
            choice.localFallbackTries > 0 &&
            localFailures >= size >> 1 &&
            localFailures > choice.localFallbackTries;
          item = permute
            ? this.#permutationItem(within, r)
            : this.#chooseItem(within, r, out.length);
          const below = item < 0 ? crush.bucket(item) : undefined;
          const type = below?.type ?? 0;
          if (type !== choice.type) {
            if (!below) return undefined;
            within = below;
            continue;
          }
          collision = out.includes(item);
          if (!collision) rejected = !this.#isUsable(item, below, choice, leaves, r, room);
        }
        if (!collision && !rejected) return item;

        failures++;
        localFailures++;
        if (collision && localFailures <= choice.localTries) continue;
        if (choice.localFallbackTries > 0 && localFailures <= size + choice.localFallbackTries) {
          continue;
        }
        if (failures < choice.tries) break;
        return undefined;
      }
    }
  }

  /** Not out, and with `toLeaf` a device could be found below: it is then appended to `leaves`. */
  #isUsable(
    item: number,
    below: CrushBucket | undefined,
    choice: Choice,
    leaves: number[],
    r: number,
    room: number,
  ): boolean {
    const position = leaves.length;
    if (choice.toLeaf && below) {
      this.#firstn(
        below,
        {
          ...choice,
          numRep: choice.stable ? 1 : position + 1,
          type: 0,
          tries: choice.recurseTries,
          toLeaf: false,
          recurseTries: 0,
          parentR: choice.varyR ? r >> (choice.varyR - 1) : 0,
        },
        leaves,
        [],
        room,
      );
      return leaves.length > position;
    }
    if (choice.type === 0 && this.#isOut(item)) return false;
    if (choice.toLeaf) leaves.push(item);
    return true;
  }

  /** Fills the places [start, end) of `out`, and of `leaves` with `toLeaf`. */
  #indep(
    bucket: CrushBucket,
    choice: Choice,
    out: number[],
    leaves: number[],
    start: number,
    end: number,
  ): void {
    for (let place = start; place < end; place++) out[place] = leaves[place] = UNDEFINED_ITEM;
    let left = end - start;
    for (let failures = 0; left > 0 && failures < choice.tries; failures++) {
      for (let place = start; place < end; place++) {
        if (out[place] !== UNDEFINED_ITEM) continue;
        const item = this.#indepItem(bucket, choice, out, leaves, { place, start, end, failures });
        if (item === undefined) continue;
        out[place] = item;
        if (item === CRUSH_ITEM_NONE) leaves[place] = item;
        left--;
      }
    }
    for (let place = start; place < end; place++) {
      if (out[place] === UNDEFINED_ITEM) out[place] = CRUSH_ITEM_NONE;
      if (leaves[place] === UNDEFINED_ITEM) leaves[place] = CRUSH_ITEM_NONE;
    }
  }

  /** One try for one place. `undefined`: try again; NONE: no use. */
  #indepItem(
    bucket: CrushBucket,
    choice: Choice,
    out: number[],
    leaves: number[],
    at: { place: number; start: number; end: number; failures: number },
  ): number | undefined {
    let within = bucket;
    for (;;) {
      const size = within.items.length;
      this.#spend(size);
      if (size === 0) return undefined;
      // With a stride of numRep a permutation of as many items would meet the same item again and again.
      const aligned = within.alg === BUCKET_ALG.UNIFORM && size % choice.numRep === 0;
      const stride = aligned ? choice.numRep + 1 : choice.numRep;
      const r = (at.place + choice.parentR + Math.imul(stride, at.failures)) | 0;
      const item = this.#chooseItem(within, r, at.start);
      const below = item < 0 ? this.#crush.bucket(item) : undefined;
      if ((below?.type ?? 0) !== choice.type) {
        if (!below) return CRUSH_ITEM_NONE;
        within = below;
        continue;
      }
      for (let other = at.start; other < at.end; other++) {
        if (out[other] === item) return undefined;
      }
      if (choice.toLeaf && below) {
        const leafChoice = {
          ...choice,
          type: 0,
          tries: choice.recurseTries,
          toLeaf: false,
          parentR: r,
        };
        this.#indep(below, leafChoice, leaves, [], at.place, at.place + 1);
        if (leaves[at.place] === CRUSH_ITEM_NONE) return undefined;
      } else if (choice.toLeaf) {
        leaves[at.place] = item;
      }
      return choice.type === 0 && this.#isOut(item) ? undefined : item;
    }
  }

  /** `position`: which weights of a weight set count. */
  #chooseItem(bucket: CrushBucket, r: number, position: number): number {
    switch (bucket.alg) {
      case BUCKET_ALG.UNIFORM:
        return this.#permutationItem(bucket, r);
      case BUCKET_ALG.LIST:
        return this.#listItem(bucket, r);
      case BUCKET_ALG.TREE:
        return this.#treeItem(bucket, r);
      case BUCKET_ALG.STRAW:
        return this.#strawItem(bucket, r);
      case BUCKET_ALG.STRAW2:
        return this.#straw2Item(bucket, r, position);
    }
  }

  /** Each item draws ln(uniform) / weight; the highest (they are negative) wins. */
  #straw2Item(bucket: CrushBucket & { alg: 5 }, r: number, position: number): number {
    const { items } = bucket;
    const arg = this.#args?.get(-1 - bucket.id);
    const weights = arg?.weightSet[Math.min(position, arg.weightSet.length - 1)];
    const ids = arg?.ids.length ? arg.ids : items;
    return highest(items, (i) => {
      const weight = (weights ?? bucket.itemWeights)[i] as number;
      if (weight === 0) return -Infinity;
      const u = crushHash3(this.#x, ids[i] as number, r) & 0xffff;
      // Exact, like Ceph's 64-bit division: the dividend is below 2^49, so a quotient that is not whole is further
      // from the next whole number than a double's rounding can carry it.
      return Math.trunc((this.#logs[u] as number) / weight);
    });
  }

  #strawItem(bucket: CrushBucket & { alg: 4 }, r: number): number {
    return highest(
      bucket.items,
      (i) =>
        (crushHash3(this.#x, bucket.items[i] as number, r) & 0xffff) * (bucket.straws[i] as number),
    );
  }

  /** From the last item to the first, each is taken with the share that it has of the items up to it. */
  #listItem(bucket: CrushBucket & { alg: 2 }, r: number): number {
    for (let i = bucket.items.length - 1; i >= 0; i--) {
      const item = bucket.items[i] as number;
      const u = crushHash4(this.#x, item, r, bucket.id) & 0xffff;
      // 48 bits: exact in a double.
      const drawn = Math.floor((u * (bucket.sumWeights[i] as number)) / 0x10000);
      if (drawn < (bucket.itemWeights[i] as number)) return item;
    }
    return bucket.items[0] as number;
  }

  /** Down a binary tree laid out in order: leaves at odd nodes, the root in the middle. */
  #treeItem(bucket: CrushBucket & { alg: 3 }, r: number): number {
    const { nodeWeights, items } = bucket;
    let node = nodeWeights.length >> 1;
    while ((node & 1) === 0) {
      const weight = nodeWeights[node] as number;
      const hash = crushHash4(this.#x, node, r, bucket.id);
      const drawn = Number((BigInt(hash) * BigInt(weight)) >> 32n);
      const half = (node & -node) >> 1;
      const left = node - half;
      node = drawn < (nodeWeights[left] as number) ? left : node + half;
    }
    // Leaves beyond the items have no weight, and are met only if no item has any.
    return items[node >> 1] ?? (items[0] as number);
  }

  /** Place r of a permutation of the items that depends on x and the bucket. */
  #permutationItem(bucket: CrushBucket, r: number): number {
    const size = bucket.items.length;
    const permutation = Array.from(bucket.items.keys());
    const place = (r >>> 0) % size;
    for (let p = 0; p <= place; p++) {
      const q = p + (crushHash3(this.#x, bucket.id, p) % (size - p));
      const swapped = permutation[q] as number;
      permutation[q] = permutation[p] as number;
      permutation[p] = swapped;
    }
    return bucket.items[permutation[place] as number] as number;
  }

  /** Reweighted devices are out for a share of all x. */
  #isOut(device: number): boolean {
    const weight = this.#weights[device] ?? 0;
    if (weight >= WEIGHT_ONE) return false;
    return weight === 0 || (crushHash2(this.#x, device) & 0xffff) >= weight;
  }

  #exists(item: number): boolean {
    return item >= 0 ? item < this.#crush.maxDevices : this.#crush.bucket(item) !== undefined;
  }

  /** Counts one look at a bucket of `size` items. */
  #spend(size: number): void {
    this.#workLeft -= size + 1;
    if (this.#workLeft < 0) throw crushWorkError(this.#input.rule);
  }
}

/** The first of the items with the highest draw. */
function highest(items: readonly number[], draw: (index: number) => number): number {
  let best = 0;
  let bestDraw = draw(0);
  for (let i = 1; i < items.length; i++) {
    const drawn = draw(i);
    if (drawn > bestDraw) {
      best = i;
      bestDraw = drawn;
    }
  }
  return items[best] as number;
}
