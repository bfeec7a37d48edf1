/**
 * Images for several clients that write at a time, as a cluster file system does: they have neither the exclusive lock nor
 * what builds on it, and say so in their metadata.
 */

import { RadosError } from '../../base/errors.js';
import { removeMetadata, setMetadata } from '../../rados/cls-rbd.js';
import { listWatchers } from '../../rados/watchers.js';
import { FEATURE, FEATURES_SINGLE_CLIENT } from '../features.js';
import { headerObject } from '../names.js';
import { isMappable } from '../object-map/limits.js';
import type { OpenImage } from '../open-image.js';
import type { Operation, OperationContext } from './operation.js';
import { disable, enable } from './update-features.js';

const SHARED_KEY = 'linger.shared';

/** For an image that is created so. */
export const markShared = () => setMetadata(new Map([[SHARED_KEY, Buffer.from('1')]]));

/** `shared`: which it should be. EBUSY: other clients are at work, and nothing has changed. */
export const setShared: Operation<{ shared: boolean }> = {
  name: 'share',
  route: 'free-lock',
  heldError: 'EBUSY',
  exclusive: true,

  async run(image, { shared }, context) {
    const resume = await image.quiesceWrites();
    try {
      await (shared ? share(image, context) : unshare(image, context));
      await image.headerUpdated();
      await image.objectMapCreated();
    } finally {
      resume();
    }
  },
};

/** In one step: who reads the header sees an image of one kind or of the other. */
async function share(image: OpenImage, context: OperationContext): Promise<void> {
  await disable(image, image.features & FEATURES_SINGLE_CLIENT, context, markShared());
}

async function unshare(image: OpenImage, context: OperationContext): Promise<void> {
  const oid = headerObject(image.id);
  const watchers = await listWatchers(image.ioctx, oid);
  if (watchers.length > 1) {
    throw new RadosError('EBUSY', 'other clients have the image open', {
      retryable: true,
      outcome: 'not-applied',
    });
  }
  const { layout, size } = image.header;
  const maps = isMappable(layout, size) ? FEATURE.OBJECT_MAP | FEATURE.FAST_DIFF : 0n;
  const features = (FEATURE.EXCLUSIVE_LOCK | maps) & ~image.features;
  // The object map is rebuilt afterwards (`Image.setShared`); until then it is invalid.
  await enable(image, features, context, removeMetadata(SHARED_KEY));
}
