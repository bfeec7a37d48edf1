/** What images have of groups, and `rbd_mirroring` of images. */

import { s64n, string, struct } from '../../encoding/codec.js';
import { reads, writes } from './calls.js';

/** Pool -1: in no group. */
const groupSpec = struct('GroupSpec', { version: 1, compat: 1 }, { poolId: s64n, groupId: string });

/** Only who reads it needs more of it than this. */
const groupSnapshot = struct(
  'GroupSnapshot',
  { version: 1, compat: 1 },
  { id: string, name: string },
);

/** Only who mirrors needs more of it than this. */
const mirrorImage = struct('MirrorImage', { version: 2, compat: 1 }, { globalImageId: string });

export const getImageGroup = () => reads('image_group_get', groupSpec);

/** On `rbd_group_header.ID`. */
export const getGroupSnapshot = (id: string) =>
  reads('group_snap_get_by_id', groupSnapshot, (e) => e.string(id));

/** How an image is mirrored. ENOENT when it is not. */
export const getMirrorImage = (imageId: string) =>
  reads('mirror_image_get', mirrorImage, (e) => e.string(imageId));

/** Forgets an image that was mirrored. ENOENT when it was not. */
export const mirrorImageRemove = (imageId: string) =>
  writes('mirror_image_remove', (e) => e.string(imageId));
