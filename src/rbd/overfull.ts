/** Which trashed images make room where a pool is too full (`librbd/api/Trash.cc`, `purge` with a threshold). */

import { RadosError } from '../base/errors.js';
import type { UsageLimit } from '../rados/pool-usage.js';
import type { RbdContext } from './context.js';
import { diffedBytes } from './diff/diff.js';
import { unless } from './errors.js';
import { openHeader } from './open.js';
import type { ImageSpec } from './spec.js';

/**
 * Of images that are given in the order in which they may go: those whose data lie in a pool that is too full, as many as it
 * takes. Empty: none is, or what lies there holds nothing. EINVAL: the threshold is none.
 */
export async function imagesToFree(
  context: RbdContext,
  images: readonly (ImageSpec & { readonly id: string })[],
  { threshold, usage }: UsageLimit,
  signal: AbortSignal | undefined,
): Promise<ReadonlySet<string>> {
  if (!(threshold >= 0 && threshold <= 1)) {
    throw new RadosError('EINVAL', `the threshold ${threshold} is not within 0 and 1`);
  }
  /** Bytes that are still to be freed, by pool. */
  const missing = new Map(
    (await usage())
      .filter(({ usedShare }) => usedShare > threshold)
      .map(({ name, usedShare, usedBytes, availableBytes }) => [
        name,
        (usedBytes + availableBytes) * (usedShare - threshold),
      ]),
  );
  const chosen = new Set<string>();
  let freed = 0;
  for (const spec of missing.size > 0 ? images : []) {
    const options = { readOnly: true, ...(signal ? { signal } : {}) };
    const image = await unless('ENOENT', openHeader(context, spec, options));
    if (!image) continue;
    const pool = context.poolById(image.header.dataPoolId ?? image.ioctx.pool.id)?.name;
    const left = pool === undefined ? 0 : (missing.get(pool) ?? 0);
    if (pool === undefined || left <= 0) continue;
    const bytes = await diffedBytes(image, { wholeObject: true, signal });
    freed += bytes;
    missing.set(pool, left - bytes);
    chosen.add(spec.id);
  }
  return freed > 0 ? chosen : new Set();
}
