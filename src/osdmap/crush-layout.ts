/**
 * A CRUSH map as the flat image that the kernel walks: the layout is drawn in `assembly/crush.ts`.
 *
 * The map was validated when it was decoded, so the image needs no checks at run time: every offset in it points into
 * it, every bucket is acyclic, and all lists have their bucket's length.
 */

import {
  BUCKET_ALG,
  type ChooseArg,
  type CrushBucket,
  type CrushMap,
  RULE_OP,
} from './crush-map.js';

export interface CrushLayout {
  bytes: Uint8Array;
  /** choose_args index (pool id or -1) → number of the set in the image. */
  chooseArgsSets: Map<number, number>;
}

const HEADER_BYTES = 48;
const BUCKET_BYTES = 48;
const ARG_BYTES = 16;
const STEP_BYTES = 12;
/** Straw2 lists are read four items at a time. */
const LANES = 4;
const ALIGN = 16;

export function layoutCrushMap(crush: CrushMap): CrushLayout {
  const sets = [...crush.chooseArgs.keys()];
  const argsByBucket = collectArgs(crush, sets);
  const image = new Image();
  const { tunables } = crush;

  image.reserve(HEADER_BYTES);
  const bucketTable = image.reserve(crush.buckets.length * 4);
  const ruleTable = image.reserve(crush.rules.length * 4);
  image.words(0, [
    crush.buckets.length,
    crush.rules.length,
    crush.maxDevices,
    bucketTable,
    ruleTable,
    tunables.chooseTotalTries,
    tunables.chooseLocalTries,
    tunables.chooseLocalFallbackTries,
    tunables.chooseleafDescendOnce,
    tunables.chooseleafVaryR,
    tunables.chooseleafStable,
  ]);

  crush.rules.forEach((rule, i) => {
    if (!rule) return;
    const at = image.reserve(4 + rule.steps.length * STEP_BYTES);
    image.words(ruleTable + 4 * i, [at]);
    image.words(at, [rule.steps.length, ...rule.steps.flatMap((s) => [s.op, s.arg1, s.arg2])]);
  });

  const permuteAll = mayPermute(crush);
  crush.buckets.forEach((bucket, i) => {
    if (!bucket) return;
    const at = layoutBucket(image, bucket, argsByBucket.get(i) ?? [], permuteAll);
    image.words(bucketTable + 4 * i, [at]);
  });
  return {
    bytes: image.bytes,
    chooseArgsSets: new Map(sets.map((index, set) => [index, set])),
  };
}

interface NumberedArg extends ChooseArg {
  set: number;
}

/** By bucket slot, ascending by set; of two arguments for one bucket the last counts, as in Ceph. */
function collectArgs(crush: CrushMap, sets: number[]): Map<number, NumberedArg[]> {
  const byBucket = new Map<number, NumberedArg[]>();
  sets.forEach((index, set) => {
    const args = new Map(crush.chooseArgs.get(index)?.map((arg) => [arg.bucketIndex, arg]));
    for (const arg of args.values()) {
      const list = byBucket.get(arg.bucketIndex) ?? [];
      list.push({ ...arg, set });
      byBucket.set(arg.bucketIndex, list);
    }
  });
  return byBucket;
}

/** Whether legacy "local fallback" may choose by permutation in buckets that are not uniform. */
function mayPermute(crush: CrushMap): boolean {
  return (
    crush.tunables.chooseLocalFallbackTries > 0 ||
    crush.rules.some((rule) =>
      rule?.steps.some(
        (step) => step.op === RULE_OP.SET_CHOOSE_LOCAL_FALLBACK_TRIES && step.arg1 > 0,
      ),
    )
  );
}

function layoutBucket(
  image: Image,
  bucket: CrushBucket,
  args: NumberedArg[],
  permuteAll: boolean,
): number {
  const at = image.reserve(BUCKET_BYTES);
  const size = bucket.items.length;
  const items = image.list(bucket.items);
  let first = 0;
  let second = 0;
  let argsAt = 0;
  switch (bucket.alg) {
    case BUCKET_ALG.UNIFORM:
      break;
    case BUCKET_ALG.LIST:
      first = image.list(bucket.itemWeights);
      second = image.list(bucket.sumWeights);
      break;
    case BUCKET_ALG.TREE:
      first = image.list(bucket.nodeWeights);
      second = bucket.nodeWeights.length;
      break;
    case BUCKET_ALG.STRAW:
      first = image.list(bucket.straws);
      break;
    case BUCKET_ALG.STRAW2:
      first = image.doubles([bucket.itemWeights]);
      argsAt = layoutArgs(image, args);
      break;
  }
  const permutes = bucket.alg === BUCKET_ALG.UNIFORM || permuteAll;
  const permutation = permutes ? image.reserve(8 + 4 * size) : 0;
  const argCount = argsAt === 0 ? 0 : args.length;
  image.words(at, [bucket.id, bucket.type, bucket.alg, size, items, first, second, permutation]);
  image.words(at + 32, [argsAt, argCount]);
  return at;
}

function layoutArgs(image: Image, args: NumberedArg[]): number {
  if (args.length === 0) return 0;
  const at = image.reserve(args.length * ARG_BYTES);
  args.forEach(({ set, weightSet, ids }, i) => {
    const weights = weightSet.length > 0 ? image.doubles(weightSet) : 0;
    const idList = ids.length > 0 ? image.list(ids) : 0;
    image.words(at + i * ARG_BYTES, [set, weightSet.length, weights, idList]);
  });
  return at;
}

/** A growing image, all of whose parts are aligned and zeroed. */
class Image {
  #buffer = new ArrayBuffer(16 * 1024);
  #view = new DataView(this.#buffer);
  #length = 0;

  get bytes(): Uint8Array {
    return new Uint8Array(this.#buffer, 0, this.#length);
  }

  reserve(bytes: number): number {
    const at = this.#length;
    this.#length += Math.ceil(bytes / ALIGN) * ALIGN;
    if (this.#length > this.#buffer.byteLength) {
      const grown = new ArrayBuffer(Math.max(this.#length, 2 * this.#buffer.byteLength));
      new Uint8Array(grown).set(new Uint8Array(this.#buffer));
      this.#buffer = grown;
      this.#view = new DataView(grown);
    }
    return at;
  }

  words(at: number, values: readonly number[]): void {
    // setUint32 keeps the low 32 bits, which is two's complement for the negative ones.
    values.forEach((value, i) => this.#view.setUint32(at + 4 * i, value, true));
  }

  /** 32-bit numbers, padded to whole vectors. */
  list(values: readonly number[]): number {
    const at = this.reserve(4 * padded(values.length));
    this.words(at, values);
    return at;
  }

  /** Rows of doubles, each padded with zeros: an item without weight never wins. */
  doubles(rows: readonly (readonly number[])[]): number {
    const stride = 8 * padded(rows[0]?.length ?? 0);
    const at = this.reserve(stride * rows.length);
    rows.forEach((row, i) => {
      row.forEach((value, j) => this.#view.setFloat64(at + i * stride + 8 * j, value, true));
    });
    return at;
  }
}

function padded(count: number): number {
  return Math.ceil(count / LANES) * LANES;
}
