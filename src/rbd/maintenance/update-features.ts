/**
 * Giving an image features and taking them away (`librbd/operation/EnableFeaturesRequest.cc`,
 * `DisableFeaturesRequest.cc`). No write is under way meanwhile, and those that come go by the new features.
 */

import { RadosError } from '../../base/errors.js';
import { type ClassCall, mutate } from '../../rados/class-call.js';
import { setFeatures } from '../../rados/cls-rbd.js';
import { FEATURE, FEATURES_DISABLE_ONLY, FEATURES_MUTABLE, featureNames } from '../features.js';
import { headerObject } from '../names.js';
import { createMaps, flagMaps, removeMaps } from '../object-map/created-maps.js';
import { assertMappable } from '../object-map/limits.js';
import type { OpenImage } from '../open-image.js';
import type { Operation, OperationContext, RequestOf } from './operation.js';

type UpdateFeatures = RequestOf<'updateFeatures'>;

/** EINVAL: they cannot be changed, not in this way, or are so already. */
export const updateFeatures: Operation<UpdateFeatures> = {
  name: 'update features of',
  route: 'owner',
  exclusive: true,
  precheck(image, request) {
    assertChangeable(request);
    const { features, enabled } = request;
    const already = enabled ? features & image.features : features & ~image.features;
    if (already !== 0n) {
      throw refused(already, `is ${enabled ? 'enabled' : 'disabled'} already`);
    }
  },
  isDone: (image, { features, enabled }) =>
    (image.features & features) === (enabled ? features : 0n),

  async run(image, request, context) {
    assertChangeable(request);
    const { enabled } = request;
    const features = changed(image, request);
    if (features === 0n) return;
    if (enabled) assertBase(image, features);
    else assertNoDependents(image, features);
    const resume = await image.quiesceWrites();
    try {
      await (enabled ? enable : disable)(image, features, context);
      await image.headerUpdated();
      await image.objectMapCreated();
    } finally {
      resume();
    }
  },
};

/** What changes: since 16.2 object-map and fast-diff come and go together. */
function changed({ features: has }: OpenImage, { features, enabled }: UpdateFeatures): bigint {
  const together = FEATURE.OBJECT_MAP | FEATURE.FAST_DIFF;
  const wanted = features & together ? features | together : features;
  return enabled ? wanted & ~has : wanted & has;
}

/** With no write under way. An object map is made of which nothing is known: invalid until it is rebuilt. */
export async function enable(
  image: OpenImage,
  features: bigint,
  context: OperationContext,
  ...also: ClassCall<void>[]
) {
  context.changed();
  const hasMaps = (features & FEATURE.OBJECT_MAP) !== 0n;
  if (hasMaps) await flagMaps(image, true);
  const change = setFeatures(features, features);
  await mutate(image.ioctx, headerObject(image.id), [change, ...also]);
  if (hasMaps) await createMaps(image);
}

/** With no write under way. */
export async function disable(
  image: OpenImage,
  features: bigint,
  context: OperationContext,
  ...also: ClassCall<void>[]
) {
  context.changed();
  const hasMaps = (features & FEATURE.OBJECT_MAP) !== 0n;
  if (hasMaps) await removeMaps(image);
  const change = features === 0n ? [] : [setFeatures(0n, features)];
  await mutate(image.ioctx, headerObject(image.id), [...change, ...also]);
  if (hasMaps) await flagMaps(image, false);
}

function assertChangeable({ features, enabled }: UpdateFeatures): void {
  const fixed = features & ~(enabled ? FEATURES_MUTABLE : FEATURES_MUTABLE | FEATURES_DISABLE_ONLY);
  if (features === 0n) throw new RadosError('EINVAL', 'no feature is named');
  if (fixed !== 0n) throw refused(fixed, `cannot be ${enabled ? 'enabled' : 'disabled'}`);
  const lacking = features & FEATURE.JOURNALING;
  if (lacking !== 0n) throw refused(lacking, 'is not supported by this version', 'EOPNOTSUPP');
}

/** An object map is kept by the owner of the lock, and has a limit. */
function assertBase(image: OpenImage, enabled: bigint): void {
  if ((enabled & FEATURE.OBJECT_MAP) === 0n) return;
  if (((image.features | enabled) & FEATURE.EXCLUSIVE_LOCK) === 0n) {
    throw refused(FEATURE.OBJECT_MAP, 'needs exclusive-lock, which must be enabled before');
  }
  const { layout, size } = image.header;
  assertMappable(layout, size);
}

/** The lock is what they build on. */
function assertNoDependents({ features }: OpenImage, disabled: bigint): void {
  const dependents = features & (FEATURE.OBJECT_MAP | FEATURE.JOURNALING) & ~disabled;
  if ((disabled & FEATURE.EXCLUSIVE_LOCK) === 0n || dependents === 0n) return;
  throw refused(FEATURE.EXCLUSIVE_LOCK, `is what ${featureNames(dependents).join(' and ')} needs`);
}

function refused(features: bigint, why: string, code: 'EINVAL' | 'EOPNOTSUPP' = 'EINVAL') {
  return new RadosError(code, `feature ${featureNames(features).join(', ')} ${why}`, {
    outcome: 'not-applied',
  });
}
