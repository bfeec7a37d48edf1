/** How large an image with an object map may be. */

import { RadosError } from '../../base/errors.js';
import type { Layout } from '../layout.js';

/** What an OSD keeps in memory for an update, which is not meant to be more (`cls_rbd.cc`): 64 MB of map. */
export const OBJECTS_MAX = 256_000_000;

export function isMappable(layout: Layout, size: number): boolean {
  return layout.objectCount(size) <= OBJECTS_MAX;
}

/** EINVAL: the image would have more objects than a map may have. */
export function assertMappable(layout: Layout, size: number): void {
  if (isMappable(layout, size)) return;
  const objects = layout.objectCount(size);
  throw new RadosError(
    'EINVAL',
    `the size is not compatible with object map: ${objects} objects are more than ${OBJECTS_MAX}`,
    { outcome: 'not-applied' },
  );
}
