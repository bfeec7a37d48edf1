/**
 * What new images are like where their creator does not say: `rbd_default_*` as the caller or ceph.conf has them, else as
 * the cluster keeps them for its clients (`ceph config set`), else Ceph's own defaults (`librbd/image/CreateRequest.cc`).
 */

import type { ClientConfig } from '../auth/ceph-conf.js';
import { parseRbdFeatures, parseSize, parseUint } from '../auth/option-values.js';
import type { CreateOptions } from './create.js';
import { FEATURES_WRITABLE } from './features.js';

export interface CreateDefaults extends Omit<CreateOptions, 'size'> {
  readonly features: bigint;
  /** Features that the configuration asks for and this version does not write. */
  readonly leftOut: bigint;
}

/** `central`: the cluster's options for this client. A value that does not parse counts for nothing, as in Ceph. */
export function createDefaults(
  config: ClientConfig,
  central: ReadonlyMap<string, string>,
): CreateDefaults {
  const choose = <T>(option: string, parse: (text: string) => T | undefined, otherwise: T): T => {
    const text = config.isSet(option) ? undefined : central.get(option);
    return (text === undefined ? undefined : parse(text)) ?? otherwise;
  };
  const wanted = choose('rbd_default_features', parseRbdFeatures, config.rbdDefaultFeatures);
  const stripeUnit = choose('rbd_default_stripe_unit', parseSize, config.rbdDefaultStripeUnit);
  const stripeCount = choose('rbd_default_stripe_count', parseUint, config.rbdDefaultStripeCount);
  const dataPool = choose(
    'rbd_default_data_pool',
    (text) => (text === '' ? undefined : text),
    config.rbdDefaultDataPool,
  );
  return {
    order: choose('rbd_default_order', parseUint, config.rbdDefaultOrder),
    features: wanted & FEATURES_WRITABLE,
    leftOut: wanted & ~FEATURES_WRITABLE,
    // One without the other is refused, as librbd does.
    ...(stripeUnit > 0 || stripeCount > 0 ? { stripeUnit, stripeCount } : {}),
    ...(dataPool === undefined ? {} : { dataPool }),
  };
}
