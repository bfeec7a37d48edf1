/** `[pool/[namespace/]]image[@snap]`: how people and `rbd` write which image they mean. */

import { RadosError } from '../base/errors.js';

/** Where an image is. Its name or its id is given, and a snapshot by name or id or none (the head). */
export interface ImageSpec {
  readonly pool: string;
  /** `''`: the default namespace. */
  readonly namespace?: string;
  readonly name?: string;
  readonly id?: string;
  readonly snap?: string;
  readonly snapId?: bigint;
}

/** What a text without these parts means. */
export interface SpecDefaults {
  readonly pool?: string;
  readonly namespace?: string;
}

/** A spec that was written out: it has a name. */
export interface NamedImageSpec extends ImageSpec {
  readonly namespace: string;
  readonly name: string;
}

const DEFAULT_POOL = 'rbd';
const SPEC = /^(?:([^/@]+)\/(?:([^/@]*)\/)?)?([^/@]+)(?:@([^/@]+))?$/;
const POOL_SPEC = /^([^/@]+)(?:\/([^/@]+))?$/;

/** `'rbd/ns/vm1@s1'` → its parts. EINVAL for anything else. */
export function parseImageSpec(text: string, defaults: SpecDefaults = {}): NamedImageSpec {
  const match = SPEC.exec(text);
  if (!match) throw new RadosError('EINVAL', `invalid spec '${text}'`);
  const [, pool, namespace, name, snap] = match;
  return {
    pool: pool ?? defaults.pool ?? DEFAULT_POOL,
    // A pool without a namespace means its default namespace, whatever the defaults say of another pool.
    namespace: namespace ?? (pool === undefined ? (defaults.namespace ?? '') : ''),
    name: name as string,
    ...(snap === undefined ? {} : { snap }),
  };
}

/** `'rbd'` or `'rbd/ns'`: what `ls` and the namespace commands take. */
export function parsePoolSpec(
  text: string | undefined,
  defaults: SpecDefaults = {},
): { pool: string; namespace: string } {
  if (text === undefined) {
    return { pool: defaults.pool ?? DEFAULT_POOL, namespace: defaults.namespace ?? '' };
  }
  const match = POOL_SPEC.exec(text);
  if (!match) throw new RadosError('EINVAL', `invalid spec '${text}'`);
  return { pool: match[1] as string, namespace: match[2] ?? defaults.namespace ?? '' };
}

/** The way back: `rbd/vm1`, `rbd/ns/vm1@s1`, `rbd/id 10e3697ace75`. */
export function formatImageSpec(spec: ImageSpec): string {
  const place = spec.namespace ? `${spec.pool}/${spec.namespace}` : spec.pool;
  const image = spec.name ?? `id ${spec.id ?? '?'}`;
  if (spec.snap !== undefined) return `${place}/${image}@${spec.snap}`;
  if (spec.snapId !== undefined) return `${place}/${image}@id ${spec.snapId}`;
  return `${place}/${image}`;
}

/** EINVAL for names that a spec could not say. */
export function assertImageName(name: string): void {
  if (name === '') throw new RadosError('EINVAL', 'image name was not specified');
  if (/[/@]/.test(name)) {
    throw new RadosError('EINVAL', `image name '${name}' contains '/' or '@'`);
  }
}

export function assertSnapshotName(name: string): void {
  if (name === '') throw new RadosError('EINVAL', 'snapshot name was not specified');
  if (/[/@]/.test(name)) {
    throw new RadosError('EINVAL', `snapshot name '${name}' contains '/' or '@'`);
  }
}
