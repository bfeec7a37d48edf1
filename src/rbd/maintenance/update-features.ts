/**
 * Giving an image features and taking them away (`librbd/operation/EnableFeaturesRequest.cc`,
 * `DisableFeaturesRequest.cc`). No write is under way meanwhile, and those that come go by the new features.
 */

import { RadosError } from '../../base/errors.js';
import { mutate } from '../../rados/class-call.js';
import { setFeatures } from '../../rados/cls-rbd.js';
import { FEATURE, FEATURES_DISABLE_ONLY, FEATURES_MUTABLE, featureNames } from '../features.js';
import { headerObject } from '../names.js';
import type { OpenImage } from '../open-image.js';
import type { Operation, RequestOf } from './operation.js';

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

  async run(image, request) {
    assertChangeable(request);
    const { features, enabled } = request;
    const change = enabled ? features & ~image.features : features & image.features;
    if (change === 0n) return;
    const resume = await image.quiesceWrites();
    try {
      if (!enabled) assertNoDependents(image, change);
      await mutate(image.ioctx, headerObject(image.id), [
        setFeatures(enabled ? change : 0n, change),
      ]);
      await image.headerUpdated();
    } finally {
      resume();
    }
  },
};

function assertChangeable({ features, enabled }: UpdateFeatures): void {
  const fixed = features & ~(enabled ? FEATURES_MUTABLE : FEATURES_MUTABLE | FEATURES_DISABLE_ONLY);
  if (features === 0n) throw new RadosError('EINVAL', 'no feature is named');
  if (fixed !== 0n) throw refused(fixed, `cannot be ${enabled ? 'enabled' : 'disabled'}`);
  const lacking = features & (FEATURE.OBJECT_MAP | FEATURE.FAST_DIFF | FEATURE.JOURNALING);
  if (lacking !== 0n) throw refused(lacking, 'is not supported by this version', 'EOPNOTSUPP');
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
