/** The flags of the header that say which maps are not to be believed. */

import { sleep } from '../../base/environment.js';
import { isRadosError, RadosError, toRadosError } from '../../base/errors.js';
import { NOSNAP } from '../../encoding/types.js';
import { statOp } from '../../messages/osd-op.js';
import { mutate } from '../../rados/class-call.js';
import { setFlags } from '../../rados/cls-rbd/header.js';
import { MAP_FLAG } from '../../rados/cls-rbd/object-map.js';
import { FEATURE } from '../features.js';
import { headerObject } from '../names.js';
import type { MappedImage } from './mapped-image.js';

const ATTEMPTS_MAX = 10;
const RETRY_MS = 1000;

export const isMapInvalid = (flags: bigint) => (flags & MAP_FLAG.OBJECT_MAP_INVALID) !== 0n;

/** What is invalid of an image with these features when its map is. */
const maskFor = (features: bigint) =>
  MAP_FLAG.OBJECT_MAP_INVALID | (features & FEATURE.FAST_DIFF ? MAP_FLAG.FAST_DIFF_INVALID : 0n);

/**
 * Says of a map, of the head or of a snapshot, that it is not to be believed: tries until it is stored, for as long as the
 * lock is ours. A snapshot that is gone has no map either.
 */
export async function storeInvalid(image: MappedImage, snapId = NOSNAP): Promise<void> {
  const mask = maskFor(image.header.features);
  for (let attempt = 1; ; attempt++) {
    try {
      await setMapFlags(image, mask, mask, snapId);
      return;
    } catch (error) {
      if (snapId !== NOSNAP && isRadosError(error, 'ENOENT')) return;
      const isFinal = isRadosError(error, 'EBLOCKLISTED') || isRadosError(error, 'ENOENT');
      if (isFinal || attempt === ATTEMPTS_MAX || !image.isOwner) throw flagError(image, error);
      warn(image, error, 'failed to store that the object map is invalid');
    }
    await sleep(image.environment, RETRY_MS);
  }
}

/** The map, of the head or of a snapshot, is what it should be. */
export function storeValid(image: MappedImage, snapId = NOSNAP): Promise<void> {
  const mask = MAP_FLAG.OBJECT_MAP_INVALID | MAP_FLAG.FAST_DIFF_INVALID;
  return setMapFlags(image, 0n, mask, snapId);
}

/** `set_flags` creates what is missing: a header that was removed must not come back with nothing but flags. */
export function setMapFlags(
  { ioctx, id }: Pick<MappedImage, 'ioctx' | 'id'>,
  flags: bigint,
  mask: bigint,
  snapId = NOSNAP,
): Promise<void> {
  return mutate(ioctx, headerObject(id), [statOp(), setFlags(flags, mask, snapId)]);
}

export function warn({ environment, target }: MappedImage, error: unknown, message: string): void {
  environment.log.rbd.warn({ image: target, err: toRadosError(error) }, message);
}

function flagError({ target }: MappedImage, cause: unknown): RadosError {
  const error = toRadosError(cause);
  return new RadosError(
    error.errno,
    `object map of ${target}: that it is invalid could not be stored: ${error.message}`,
    { op: 'object-map', target, outcome: 'not-applied', cause },
  );
}
