/** Feature bits of an image: names, what this version can do with them, and the refusals by name. */

import { RadosError } from '../base/errors.js';

export const FEATURE = {
  LAYERING: 1n << 0n,
  STRIPINGV2: 1n << 1n,
  EXCLUSIVE_LOCK: 1n << 2n,
  OBJECT_MAP: 1n << 3n,
  FAST_DIFF: 1n << 4n,
  DEEP_FLATTEN: 1n << 5n,
  JOURNALING: 1n << 6n,
  DATA_POOL: 1n << 7n,
  OPERATIONS: 1n << 8n,
  MIGRATING: 1n << 9n,
  NON_PRIMARY: 1n << 10n,
  DIRTY_CACHE: 1n << 11n,
} as const;

export const OP_FEATURE = {
  CLONE_PARENT: 1n << 0n,
  CLONE_CHILD: 1n << 1n,
  GROUP: 1n << 2n,
  SNAP_TRASH: 1n << 3n,
} as const;

/** In bit order, under the names that `rbd info` shows. */
const FEATURE_NAMES = [
  'layering',
  'striping',
  'exclusive-lock',
  'object-map',
  'fast-diff',
  'deep-flatten',
  'journaling',
  'data-pool',
  'operations',
  'migrating',
  'non-primary',
  'dirty-cache',
] as const;

const OP_FEATURE_NAMES = ['clone-parent', 'clone-child', 'group', 'snap-trash'] as const;

const FLAG_NAMES = ['object map invalid', 'fast diff invalid'] as const;

/** What this version writes, and so what it creates images with. */
export const FEATURES_WRITABLE =
  FEATURE.LAYERING |
  FEATURE.STRIPINGV2 |
  FEATURE.EXCLUSIVE_LOCK |
  FEATURE.OBJECT_MAP |
  FEATURE.FAST_DIFF |
  FEATURE.DEEP_FLATTEN |
  FEATURE.DATA_POOL;

/** What can be changed of an image that exists (`RBD_FEATURES_MUTABLE`). */
export const FEATURES_MUTABLE =
  FEATURE.EXCLUSIVE_LOCK | FEATURE.OBJECT_MAP | FEATURE.FAST_DIFF | FEATURE.JOURNALING;
/** What can only be taken away (`RBD_FEATURES_DISABLE_ONLY`). */
export const FEATURES_DISABLE_ONLY = FEATURE.DEEP_FLATTEN;

/** What makes no sense in an image that several clients write at a time (`RBD_FEATURES_SINGLE_CLIENT`). */
export const FEATURES_SINGLE_CLIENT =
  FEATURE.EXCLUSIVE_LOCK | FEATURE.OBJECT_MAP | FEATURE.FAST_DIFF | FEATURE.JOURNALING;

/**
 * Set and cleared by others for as long as snapshots or groups need it (`rbd snap rm` does, for a moment), and of no concern
 * to who writes the head, as to krbd (`RBD_FEATURES_ALL`, drivers/block/rbd.c). Nobody creates an image with it.
 */
const FEATURES_TOLERATED = FEATURE.OPERATIONS;

/**
 * What a read-only open cannot ignore. The class's own mask (`features & 0x883`, `RBD_FEATURES_INCOMPATIBLE`) covers
 * a dirty cache, whose data is elsewhere. So is that of an image being migrated, of which the class does not warn.
 */
const FEATURES_UNREADABLE = FEATURE.MIGRATING | FEATURE.DIRTY_CACHE;

/** New images get this unless told (`RBD_FEATURES_DEFAULT`, 61). */
export const FEATURES_DEFAULT =
  FEATURE.LAYERING |
  FEATURE.EXCLUSIVE_LOCK |
  FEATURE.OBJECT_MAP |
  FEATURE.FAST_DIFF |
  FEATURE.DEEP_FLATTEN;

/** Unknown bits come out as `unknown-0x1000`. */
function bitNames(bits: bigint, names: readonly string[]): string[] {
  const found: string[] = [];
  for (let bit = 0; bit < 64; bit++) {
    if ((bits >> BigInt(bit)) & 1n) {
      found.push(names[bit] ?? `unknown-0x${(1n << BigInt(bit)).toString(16)}`);
    }
  }
  return found;
}

export const featureNames = (features: bigint) => bitNames(features, FEATURE_NAMES);
export const opFeatureNames = (opFeatures: bigint) => bitNames(opFeatures, OP_FEATURE_NAMES);
export const flagNames = (flags: bigint) => bitNames(flags, FLAG_NAMES);

/** `['layering', 'striping']` → bits. EINVAL for a name that is none. */
export function parseFeatures(names: readonly string[]): bigint {
  let features = 0n;
  for (const name of names) {
    const bit = (FEATURE_NAMES as readonly string[]).indexOf(name);
    if (bit < 0) throw new RadosError('EINVAL', `'${name}' is not an image feature`);
    features |= 1n << BigInt(bit);
  }
  return features;
}

/** Bits, however they are given. */
export function featureBits(features: readonly string[] | bigint): bigint {
  return typeof features === 'bigint' ? features : parseFeatures(features);
}

/** `feature 'a'`, `features 'a' and 'b'`. */
function quoted(names: readonly string[]): string {
  const texts = names.map((name) => `'${name}'`);
  if (texts.length === 1) return `feature ${texts[0]}`;
  return `features ${texts.slice(0, -1).join(', ')} and ${texts.at(-1)}`;
}

/** ENOSYS, as librbd answers for features that it does not know, with the features' names. */
export function assertWritable(features: bigint, target: string): void {
  let lacking = features & ~(FEATURES_WRITABLE | FEATURES_TOLERATED);
  // A map that nobody can own cannot be kept right: no client makes such an image.
  if (!(features & FEATURE.EXCLUSIVE_LOCK)) lacking |= features & FEATURE.OBJECT_MAP;
  if (lacking === 0n) return;
  throw new RadosError(
    'ENOSYS',
    `image ${target} has ${quoted(featureNames(lacking))}, which this version cannot write: ` +
      'open it read-only or disable the feature',
    { target, outcome: 'not-applied' },
  );
}

/** `incompatible` is the class's answer for a read-only client. */
export function assertReadable(features: bigint, incompatible: bigint, target: string): void {
  const lacking = (features & FEATURES_UNREADABLE) | (incompatible & ~FEATURES_WRITABLE);
  if (lacking === 0n) return;
  throw new RadosError(
    'ENOSYS',
    `image ${target} has ${quoted(featureNames(lacking))}, which this version cannot read`,
    { target },
  );
}

/**
 * What a new image gets of these: since 16.2 object-map and fast-diff come and go together (`librbd/image/CreateRequest.cc`).
 * EINVAL: an object map, which only the owner of an exclusive lock can keep, without that.
 */
export function completeFeatures(features: bigint): bigint {
  if (!(features & FEATURE.OBJECT_MAP)) return features & ~FEATURE.FAST_DIFF;
  if (!(features & FEATURE.EXCLUSIVE_LOCK)) {
    throw new RadosError('EINVAL', 'cannot use object map without exclusive lock');
  }
  return features | FEATURE.FAST_DIFF;
}

export function assertCreatable(features: bigint, target: string): void {
  const lacking = features & ~FEATURES_WRITABLE;
  if (lacking === 0n) return;
  throw new RadosError(
    'ENOSYS',
    `image ${target} cannot be created with ${quoted(featureNames(lacking))}: this version does not write it`,
    { target, outcome: 'not-applied' },
  );
}
