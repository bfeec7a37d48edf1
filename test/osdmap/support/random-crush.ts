// Random CRUSH maps from a seed: every bucket kind, mixed depths, empty buckets, zero weights, rules of all ops, modern
// and legacy tunables, choose_args.

import {
  BUCKET_ALG,
  type ChooseArg,
  type CrushBucket,
  type CrushFields,
  type CrushRule,
  emptyCrushFields,
  LEGACY_TUNABLES,
  MODERN_TUNABLES,
  RULE_OP,
} from '../../../src/osdmap/crush-map.js';
import { treeNodes } from '../../../src/osdmap/crush-validate.js';

export type Draw = (bound: number) => number;

/** A small generator (mulberry32): the same maps on every machine. */
export function seeded(seed: number): Draw {
  let state = seed | 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * bound);
  };
}

export interface RandomCrushOptions {
  /** All buckets of this kind; default: any. */
  alg?: number;
  legacy?: boolean;
  chooseArgs?: boolean;
}

const TYPE = { HOST: 1, RACK: 2, ROOT: 3 } as const;
const ALGS = Object.values(BUCKET_ALG);

export function randomCrush(draw: Draw, options: RandomCrushOptions = {}): CrushFields {
  const fields = emptyCrushFields();
  const legacy = options.legacy ?? draw(3) === 0;
  fields.tunables = { ...(legacy ? LEGACY_TUNABLES : MODERN_TUNABLES) };
  if (draw(3) === 0) fields.tunables.chooseleafVaryR = draw(4);
  if (draw(3) === 0) fields.tunables.chooseleafStable = draw(2);
  if (draw(3) === 0) fields.tunables.chooseleafDescendOnce = draw(2);
  fields.typeNames = new Map([
    [0, 'osd'],
    [TYPE.HOST, 'host'],
    [TYPE.RACK, 'rack'],
    [TYPE.ROOT, 'root'],
  ]);

  const add = (type: number, items: number[]): number => {
    const id = -1 - fields.buckets.length;
    fields.buckets.push(randomBucket(draw, id, type, items, options.alg ?? pick(draw, ALGS)));
    fields.itemNames.set(id, `bucket${fields.buckets.length}`);
    return id;
  };
  const racks: number[] = [];
  for (let rack = 1 + draw(4); rack > 0; rack--) {
    const hosts: number[] = [];
    for (let host = 1 + draw(4); host > 0; host--) {
      const devices = Array.from(
        { length: draw(8) === 0 ? 0 : 1 + draw(7) },
        () => fields.maxDevices++,
      );
      hosts.push(add(TYPE.HOST, devices));
    }
    racks.push(add(TYPE.RACK, hosts));
  }
  // Now and then a device hangs directly below the root; a map without any device is no test.
  if (draw(4) === 0 || fields.maxDevices === 0) racks.push(fields.maxDevices++);
  const root = add(TYPE.ROOT, racks);
  for (let osd = 0; osd < fields.maxDevices; osd++) fields.itemNames.set(osd, `osd.${osd}`);
  fields.rules = randomRules(draw, root);
  fields.rules.forEach((_, id) => fields.ruleNames.set(id, `rule${id}`));
  if (options.chooseArgs ?? draw(3) === 0) {
    // crushtool tests with set 0, or without it with the default one.
    for (const index of [-1, 0, 7]) {
      if (draw(3) > 0) fields.chooseArgs.set(index, randomChooseArgs(draw, fields.buckets));
    }
  }
  return fields;
}

/** Reweights in sixteenths, from out to in. Device 0 keeps its own: crushtool tests nothing if all are out. */
export function randomWeights(draw: Draw, devices: number): Map<number, number> {
  const weights = new Map<number, number>();
  for (let i = draw(1 + devices / 2); i > 0; i--) weights.set(draw(devices), draw(17) / 16);
  weights.delete(0);
  return weights;
}

/** What a tool that was given `weights` works with: devices that no bucket holds are out. */
export function weightVector(
  fields: CrushFields,
  weights: ReadonlyMap<number, number>,
): Uint32Array {
  const present = new Set(fields.buckets.flatMap((bucket) => bucket?.items ?? []));
  return Uint32Array.from({ length: fields.maxDevices }, (_, osd) =>
    Math.floor((weights.get(osd) ?? (present.has(osd) ? 1 : 0)) * 0x10000),
  );
}

function pick<T>(draw: Draw, values: readonly T[]): T {
  return values[draw(values.length)] as T;
}

function randomWeight(draw: Draw, zeroOneIn: number): number {
  return draw(zeroOneIn) === 0 ? 0 : 1 + draw(draw(2) ? 0x10000 : 0x1000000);
}

function randomBucket(
  draw: Draw,
  id: number,
  type: number,
  items: number[],
  alg: number,
): CrushBucket {
  const base = { id, type, hash: 0, items };
  const itemWeights = items.map(() => randomWeight(draw, 10));
  const weight = itemWeights.reduce((sum, w) => sum + w, 0);
  switch (alg) {
    case BUCKET_ALG.UNIFORM:
      return { ...base, alg, weight: items.length * 0x10000, itemWeight: 0x10000 };
    case BUCKET_ALG.LIST: {
      let sum = 0;
      const sumWeights = itemWeights.map((w) => (sum += w));
      return { ...base, alg, weight, itemWeights, sumWeights };
    }
    case BUCKET_ALG.TREE:
      // Never without weight: there Ceph reads beyond the items.
      return randomTree(
        base,
        items.map(() => 1 + draw(0x40000)),
      );
    case BUCKET_ALG.STRAW:
      return { ...base, alg, weight, itemWeights, straws: items.map(() => draw(0x30000)) };
    default:
      return { ...base, alg: BUCKET_ALG.STRAW2, weight, itemWeights };
  }
}

function randomTree(
  base: { id: number; type: number; hash: number; items: number[] },
  itemWeights: number[],
): CrushBucket {
  const nodeWeights = new Array<number>(treeNodes(itemWeights.length)).fill(0);
  itemWeights.forEach((w, i) => {
    nodeWeights[2 * i + 1] = w;
  });
  // An even node stands in the middle of its leaves.
  for (let node = 2; node < nodeWeights.length; node += 2) {
    const reach = (node & -node) - 1;
    let sum = 0;
    for (let leaf = node - reach; leaf <= node + reach; leaf += 2) sum += nodeWeights[leaf] ?? 0;
    nodeWeights[node] = sum;
  }
  const weight = itemWeights.reduce((sum, w) => sum + w, 0);
  return { ...base, alg: BUCKET_ALG.TREE, weight, nodeWeights };
}

function randomRules(draw: Draw, root: number): CrushRule[] {
  const step = (op: number, arg1 = 0, arg2 = 0) => ({ op, arg1, arg2 });
  const rule = (type: number, steps: CrushRule['steps'], id: number): CrushRule => ({
    ruleset: id,
    type,
    minSize: 1,
    maxSize: 20,
    steps,
  });
  const settings = () => {
    const steps: CrushRule['steps'] = [];
    if (draw(3) === 0) steps.push(step(RULE_OP.SET_CHOOSE_TRIES, 1 + draw(100)));
    if (draw(3) === 0) steps.push(step(RULE_OP.SET_CHOOSELEAF_TRIES, 1 + draw(6)));
    if (draw(5) === 0) steps.push(step(RULE_OP.SET_CHOOSE_LOCAL_TRIES, draw(4)));
    if (draw(5) === 0) steps.push(step(RULE_OP.SET_CHOOSE_LOCAL_FALLBACK_TRIES, draw(6)));
    if (draw(5) === 0) steps.push(step(RULE_OP.SET_CHOOSELEAF_VARY_R, draw(4)));
    if (draw(5) === 0) steps.push(step(RULE_OP.SET_CHOOSELEAF_STABLE, draw(2)));
    return steps;
  };
  const type = pick(draw, [0, TYPE.HOST, TYPE.RACK]);
  const take = step(RULE_OP.TAKE, root);
  const emit = step(RULE_OP.EMIT);
  const some = 1 + draw(3);
  const bodies: [number, CrushRule['steps']][] = [
    [1, [take, step(RULE_OP.CHOOSELEAF_FIRSTN, draw(3) - 1, type), emit]],
    [3, [take, step(RULE_OP.CHOOSELEAF_INDEP, 0, type), emit]],
    [
      1,
      [
        take,
        step(RULE_OP.CHOOSE_FIRSTN, some, TYPE.RACK),
        step(RULE_OP.CHOOSELEAF_FIRSTN, 2, TYPE.HOST),
        emit,
      ],
    ],
    [
      3,
      [
        take,
        step(RULE_OP.CHOOSE_INDEP, some, TYPE.RACK),
        step(RULE_OP.CHOOSE_INDEP, 2, TYPE.HOST),
        step(RULE_OP.CHOOSE_INDEP, 1 + draw(2), 0),
        emit,
      ],
    ],
    [
      1,
      [
        take,
        step(RULE_OP.CHOOSE_FIRSTN, 1, 0),
        emit,
        take,
        step(RULE_OP.CHOOSE_FIRSTN, -1, 0),
        emit,
      ],
    ],
  ];
  return bodies.map(([poolType, steps], id) => rule(poolType, [...settings(), ...steps], id));
}

function randomChooseArgs(draw: Draw, buckets: (CrushBucket | undefined)[]): ChooseArg[] {
  const args: ChooseArg[] = [];
  buckets.forEach((bucket, bucketIndex) => {
    // Only straw2 buckets have use for them, and the tools insist on that.
    if (bucket?.alg !== BUCKET_ALG.STRAW2 || bucket.items.length === 0 || draw(3) === 0) return;
    const weightSet = Array.from({ length: draw(4) }, () =>
      bucket.items.map(() => randomWeight(draw, 10)),
    );
    const ids = draw(2) ? bucket.items.map(() => draw(1000) - 500) : [];
    if (weightSet.length > 0 || ids.length > 0) args.push({ bucketIndex, weightSet, ids });
  });
  return args;
}
