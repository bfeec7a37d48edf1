/**
 * The CRUSH map: the tree of buckets, the rules that walk it, its tunables, names, device classes and weight
 * overrides (`crush/CrushWrapper.cc` encode and decode).
 *
 * A map that decodes is safe to run: `validateCrushMap` has refused whatever could lead a rule astray.
 */

import { type Codec, list, s32, string, u32 } from '../encoding/codec.js';
import { DecodeError, Decoder } from '../encoding/decoder.js';
import { Encoder } from '../encoding/encoder.js';
import { s32Map } from './collections.js';
import { validateCrushMap } from './crush-validate.js';

const CRUSH_MAGIC = 0x0001_0000;

/** No OSD could be found for this place (erasure-coded pools keep the place). */
export const CRUSH_ITEM_NONE = 0x7fff_ffff;

export const BUCKET_ALG = { UNIFORM: 1, LIST: 2, TREE: 3, STRAW: 4, STRAW2: 5 } as const;

export const RULE_OP = {
  NOOP: 0,
  TAKE: 1,
  CHOOSE_FIRSTN: 2,
  CHOOSE_INDEP: 3,
  EMIT: 4,
  CHOOSELEAF_FIRSTN: 6,
  CHOOSELEAF_INDEP: 7,
  SET_CHOOSE_TRIES: 8,
  SET_CHOOSELEAF_TRIES: 9,
  SET_CHOOSE_LOCAL_TRIES: 10,
  SET_CHOOSE_LOCAL_FALLBACK_TRIES: 11,
  SET_CHOOSELEAF_VARY_R: 12,
  SET_CHOOSELEAF_STABLE: 13,
} as const;

interface BucketBase {
  /** Negative: bucket i of the map has id -1-i. Devices are the ids from 0. */
  id: number;
  /** A type number of `typeNames`; 0 is a device and no bucket has it. */
  type: number;
  /** 0: rjenkins1, the only one there is. */
  hash: number;
  /** 16.16 fixed point, as all weights here. */
  weight: number;
  items: number[];
}

export type CrushBucket = BucketBase &
  (
    | { alg: typeof BUCKET_ALG.UNIFORM; itemWeight: number }
    | { alg: typeof BUCKET_ALG.LIST; itemWeights: number[]; sumWeights: number[] }
    | { alg: typeof BUCKET_ALG.TREE; nodeWeights: number[] }
    | { alg: typeof BUCKET_ALG.STRAW; itemWeights: number[]; straws: number[] }
    | { alg: typeof BUCKET_ALG.STRAW2; itemWeights: number[] }
  );

export interface CrushStep {
  op: number;
  arg1: number;
  arg2: number;
}

export interface CrushRule {
  ruleset: number;
  /** Pool type that the rule is for. */
  type: number;
  minSize: number;
  maxSize: number;
  steps: CrushStep[];
}

export interface CrushTunables {
  chooseLocalTries: number;
  chooseLocalFallbackTries: number;
  chooseTotalTries: number;
  chooseleafDescendOnce: number;
  chooseleafVaryR: number;
  strawCalcVersion: number;
  allowedBucketAlgs: number;
  chooseleafStable: number;
}

/** `ceph osd crush tunables optimal`. */
export const MODERN_TUNABLES: CrushTunables = {
  chooseLocalTries: 0,
  chooseLocalFallbackTries: 0,
  chooseTotalTries: 50,
  chooseleafDescendOnce: 1,
  chooseleafVaryR: 1,
  strawCalcVersion: 1,
  allowedBucketAlgs: 54,
  chooseleafStable: 1,
};

/** What a map that ends before its tunables means (Argonaut). */
export const LEGACY_TUNABLES: CrushTunables = {
  chooseLocalTries: 2,
  chooseLocalFallbackTries: 5,
  chooseTotalTries: 19,
  chooseleafDescendOnce: 0,
  chooseleafVaryR: 0,
  strawCalcVersion: 0,
  allowedBucketAlgs: (1 << BUCKET_ALG.UNIFORM) | (1 << BUCKET_ALG.LIST) | (1 << BUCKET_ALG.STRAW),
  chooseleafStable: 0,
};

/** Another set of weights or ids for one straw2 bucket. */
export interface ChooseArg {
  bucketIndex: number;
  /** One list of weights per position of the result; the last serves all further ones. Empty: the bucket's own. */
  weightSet: number[][];
  /** What is hashed in place of the items. Empty: the items. */
  ids: number[];
}

/** The choose_args that serve all pools without their own. */
export const DEFAULT_CHOOSE_ARGS = -1;

export interface CrushFields {
  /** One more than the highest device that is in a bucket or has a name. */
  maxDevices: number;
  /** Slot i holds bucket -1-i. */
  buckets: (CrushBucket | undefined)[];
  rules: (CrushRule | undefined)[];
  typeNames: Map<number, string>;
  itemNames: Map<number, string>;
  ruleNames: Map<number, string>;
  tunables: CrushTunables;
  /** Device → class. */
  classMap: Map<number, number>;
  classNames: Map<number, string>;
  /** Bucket → class → the shadow bucket that holds only devices of that class. */
  classBuckets: Map<number, Map<number, number>>;
  /** By pool id, or `DEFAULT_CHOOSE_ARGS`. */
  chooseArgs: Map<number, ChooseArg[]>;
}

export interface CrushMap extends Readonly<CrushFields> {}

/** An immutable CRUSH map. */
export class CrushMap {
  #bytes: Uint8Array | undefined;

  /** Throws DecodeError when a rule could not run over the map safely. */
  constructor(fields: CrushFields) {
    // Ceph computes max_devices anew whenever it reads a map, and writes that: so must we, or checksums differ.
    Object.assign(this, fields, { maxDevices: countDevices(fields) });
    validateCrushMap(fields);
  }

  static decode(bytes: Uint8Array): CrushMap {
    try {
      return new CrushMap(decodeFields(new Decoder(bytes)));
    } catch (error) {
      throw error instanceof DecodeError ? error.within('CrushWrapper') : error;
    }
  }

  /** In the 16.2 form. */
  get bytes(): Uint8Array {
    this.#bytes ??= encodeCrushFields(this);
    return this.#bytes;
  }

  bucket(id: number): CrushBucket | undefined {
    return this.buckets[-1 - id];
  }

  /** The id of the item with that name; `undefined` when there is none. */
  itemId(name: string): number | undefined {
    for (const [id, itemName] of this.itemNames) if (itemName === name) return id;
    return undefined;
  }

  /** The rule of a pool, chosen as 16.2 does: by ruleset, pool type and size. */
  findRule(pool: { crushRule: number; type: number; size: number }): number | undefined {
    const found = this.rules.findIndex(
      (rule) =>
        rule !== undefined &&
        rule.ruleset === pool.crushRule &&
        rule.type === pool.type &&
        rule.minSize <= pool.size &&
        rule.maxSize >= pool.size,
    );
    return found < 0 ? undefined : found;
  }

  /** Which choose_args apply to a pool: its own, else the default ones, else none. */
  chooseArgsFor(pool: number): number | undefined {
    if (this.chooseArgs.has(pool)) return pool;
    return this.chooseArgs.has(DEFAULT_CHOOSE_ARGS) ? DEFAULT_CHOOSE_ARGS : undefined;
  }
}

/** A CRUSH map inside another structure: u32 length + bytes. */
export const crushMap: Codec<CrushMap> = {
  minBytes: 4,
  decode: (decoder) => CrushMap.decode(decoder.blob()),
  encode: (encoder, value) => void encoder.blob(value.bytes),
  sample: () => new CrushMap(emptyCrushFields()),
};

function countDevices(fields: CrushFields): number {
  let count = 0;
  for (const id of fields.itemNames.keys()) count = Math.max(count, id + 1);
  for (const bucket of fields.buckets) {
    for (const item of bucket?.items ?? []) count = Math.max(count, item + 1);
  }
  return count;
}

export function emptyCrushFields(): CrushFields {
  return {
    maxDevices: 0,
    buckets: [],
    rules: [],
    typeNames: new Map(),
    itemNames: new Map(),
    ruleNames: new Map(),
    tunables: { ...MODERN_TUNABLES },
    classMap: new Map(),
    classNames: new Map(),
    classBuckets: new Map(),
    chooseArgs: new Map(),
  };
}

const u32List = list(u32);
const s32List = list(s32);
const stringByS32 = s32Map(string);
const s32ByS32 = s32Map(s32);
const classBucketMap = s32Map(s32ByS32);

function decodeFields(decoder: Decoder): CrushFields {
  const magic = decoder.u32();
  if (magic !== CRUSH_MAGIC) throw new DecodeError(`magic ${magic.toString(16)}`, 0);
  const bucketCount = decoder.u32();
  const ruleCount = decoder.u32();
  const maxDevices = decoder.s32();
  const fields: CrushFields = {
    ...emptyCrushFields(),
    maxDevices,
    buckets: decodeSlots(decoder, bucketCount, decodeBucket),
    rules: decodeSlots(decoder, ruleCount, (d, exists) => (exists ? decodeRule(d) : undefined)),
    typeNames: decodeNames(decoder),
    itemNames: decodeNames(decoder),
    ruleNames: decodeNames(decoder),
    tunables: decodeTunables(decoder),
  };
  if (decoder.remaining > 0) {
    fields.classMap = s32ByS32.decode(decoder);
    fields.classNames = stringByS32.decode(decoder);
    fields.classBuckets = classBucketMap.decode(decoder);
  }
  if (decoder.remaining > 0) fields.chooseArgs = decodeChooseArgs(decoder);
  // Squid and later append the tries of its MSR rules, which we do not run.
  return fields;
}

/** Slots that may be empty: each begins with a u32 that is 0 for an empty one. */
function decodeSlots<T>(
  decoder: Decoder,
  count: number,
  decodeSlot: (decoder: Decoder, head: number) => T | undefined,
): (T | undefined)[] {
  if (count * 4 > decoder.remaining) {
    throw new DecodeError(
      `${count} slots do not fit in ${decoder.remaining} bytes`,
      decoder.offset,
    );
  }
  const slots: (T | undefined)[] = [];
  for (let i = 0; i < count; i++) slots.push(decodeSlot(decoder, decoder.u32()));
  return slots;
}

/** `head` is the algorithm, a second time: 0 for an empty slot. */
function decodeBucket(decoder: Decoder, head: number): CrushBucket | undefined {
  if (head === 0) return undefined;
  const at = decoder.offset;
  const id = decoder.s32();
  const type = decoder.u16();
  const alg = decoder.u8();
  const hash = decoder.u8();
  const weight = decoder.u32();
  const size = decoder.count(4);
  const repeat = (read: () => number) => Array.from({ length: size }, read);
  const readU32 = () => decoder.u32();
  const base = { id, type, hash, weight, items: repeat(() => decoder.s32()) };
  switch (alg) {
    case BUCKET_ALG.UNIFORM:
      return { ...base, alg, itemWeight: decoder.u32() };
    case BUCKET_ALG.LIST: {
      const [itemWeights, sumWeights] = decodePairs(decoder, size);
      return { ...base, alg, itemWeights, sumWeights };
    }
    case BUCKET_ALG.TREE: {
      const numNodes = decoder.u8();
      return { ...base, alg, nodeWeights: Array.from({ length: numNodes }, readU32) };
    }
    case BUCKET_ALG.STRAW: {
      const [itemWeights, straws] = decodePairs(decoder, size);
      return { ...base, alg, itemWeights, straws };
    }
    case BUCKET_ALG.STRAW2:
      return { ...base, alg, itemWeights: repeat(readU32) };
    default:
      throw new DecodeError(`bucket ${id} has unknown algorithm ${alg}`, at);
  }
}

function decodePairs(decoder: Decoder, size: number): [number[], number[]] {
  const first: number[] = [];
  const second: number[] = [];
  for (let i = 0; i < size; i++) {
    first.push(decoder.u32());
    second.push(decoder.u32());
  }
  return [first, second];
}

const STEP_BYTES = 12;

function decodeRule(decoder: Decoder): CrushRule {
  const at = decoder.offset;
  const length = decoder.u32();
  const rule = {
    ruleset: decoder.u8(),
    type: decoder.u8(),
    minSize: decoder.u8(),
    maxSize: decoder.u8(),
  };
  if (length * STEP_BYTES > decoder.remaining) throw new DecodeError(`rule of ${length} steps`, at);
  const steps: CrushStep[] = [];
  for (let i = 0; i < length; i++) {
    steps.push({ op: decoder.u32(), arg1: decoder.s32(), arg2: decoder.s32() });
  }
  return { ...rule, steps };
}

/** Some old writers gave names a 64-bit key: then the string seems to be empty and its true length follows. */
function decodeNames(decoder: Decoder): Map<number, string> {
  const names = new Map<number, string>();
  const count = decoder.count(8);
  for (let i = 0; i < count; i++) {
    const key = decoder.s32();
    names.set(key, decoder.text(decoder.u32() || decoder.u32()));
  }
  return names;
}

/** Each release appended some: a map may end before any group. */
function decodeTunables(decoder: Decoder): CrushTunables {
  const tunables = { ...LEGACY_TUNABLES };
  if (decoder.remaining > 0) {
    tunables.chooseLocalTries = decoder.u32();
    tunables.chooseLocalFallbackTries = decoder.u32();
    tunables.chooseTotalTries = decoder.u32();
  }
  if (decoder.remaining > 0) tunables.chooseleafDescendOnce = decoder.u32();
  if (decoder.remaining > 0) tunables.chooseleafVaryR = decoder.u8();
  if (decoder.remaining > 0) {
    tunables.strawCalcVersion = decoder.u8();
    tunables.allowedBucketAlgs = decoder.u32();
  }
  if (decoder.remaining > 0) tunables.chooseleafStable = decoder.u8();
  return tunables;
}

function decodeChooseArgs(decoder: Decoder): Map<number, ChooseArg[]> {
  const sets = new Map<number, ChooseArg[]>();
  const count = decoder.count(12);
  for (let i = 0; i < count; i++) {
    const index = decoder.s64n();
    const args: ChooseArg[] = [];
    const argCount = decoder.count(12);
    for (let j = 0; j < argCount; j++) {
      args.push({
        bucketIndex: decoder.u32(),
        weightSet: list(u32List).decode(decoder),
        ids: s32List.decode(decoder),
      });
    }
    sets.set(index, args);
  }
  return sets;
}

/** The 16.2 form, from the fields alone. */
export function encodeCrushFields(fields: CrushFields): Uint8Array {
  const encoder = new Encoder(4096);
  encoder.u32(CRUSH_MAGIC).u32(fields.buckets.length).u32(fields.rules.length);
  encoder.s32(fields.maxDevices);
  for (const bucket of fields.buckets) encodeBucket(encoder, bucket);
  for (const rule of fields.rules) encodeRule(encoder, rule);
  stringByS32.encode(encoder, fields.typeNames);
  stringByS32.encode(encoder, fields.itemNames);
  stringByS32.encode(encoder, fields.ruleNames);
  const { tunables } = fields;
  encoder.u32(tunables.chooseLocalTries).u32(tunables.chooseLocalFallbackTries);
  encoder.u32(tunables.chooseTotalTries).u32(tunables.chooseleafDescendOnce);
  encoder.u8(tunables.chooseleafVaryR).u8(tunables.strawCalcVersion);
  encoder.u32(tunables.allowedBucketAlgs).u8(tunables.chooseleafStable);
  s32ByS32.encode(encoder, fields.classMap);
  stringByS32.encode(encoder, fields.classNames);
  classBucketMap.encode(encoder, fields.classBuckets);
  encodeChooseArgs(encoder, fields.chooseArgs);
  return encoder.bytes;
}

function encodeBucket(encoder: Encoder, bucket: CrushBucket | undefined): void {
  encoder.u32(bucket?.alg ?? 0);
  if (!bucket) return;
  encoder.s32(bucket.id).u16(bucket.type).u8(bucket.alg).u8(bucket.hash).u32(bucket.weight);
  s32List.encode(encoder, bucket.items);
  switch (bucket.alg) {
    case BUCKET_ALG.UNIFORM:
      encoder.u32(bucket.itemWeight);
      break;
    case BUCKET_ALG.LIST:
      encodePairs(encoder, bucket.itemWeights, bucket.sumWeights);
      break;
    case BUCKET_ALG.TREE:
      encoder.u8(bucket.nodeWeights.length);
      for (const weight of bucket.nodeWeights) encoder.u32(weight);
      break;
    case BUCKET_ALG.STRAW:
      encodePairs(encoder, bucket.itemWeights, bucket.straws);
      break;
    case BUCKET_ALG.STRAW2:
      for (const weight of bucket.itemWeights) encoder.u32(weight);
      break;
  }
}

function encodePairs(encoder: Encoder, first: number[], second: number[]): void {
  first.forEach((value, i) => encoder.u32(value).u32(second[i] as number));
}

function encodeRule(encoder: Encoder, rule: CrushRule | undefined): void {
  encoder.u32(rule ? 1 : 0);
  if (!rule) return;
  encoder.u32(rule.steps.length).u8(rule.ruleset).u8(rule.type).u8(rule.minSize).u8(rule.maxSize);
  for (const { op, arg1, arg2 } of rule.steps) encoder.u32(op).s32(arg1).s32(arg2);
}

function encodeChooseArgs(encoder: Encoder, sets: Map<number, ChooseArg[]>): void {
  encoder.u32(sets.size);
  for (const [index, args] of [...sets].sort(([a], [b]) => a - b)) {
    encoder.s64n(index).u32(args.length);
    for (const arg of args) {
      encoder.u32(arg.bucketIndex);
      list(u32List).encode(encoder, arg.weightSet);
      s32List.encode(encoder, arg.ids);
    }
  }
}
