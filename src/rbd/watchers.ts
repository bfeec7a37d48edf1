/** Who has an image open for writing: the watchers of its header, as `rbd status` has them. */

import { formatEntityName } from '../encoding/entity.js';
import { listWatchers } from '../rados/watchers.js';
import { imageError } from './errors.js';
import { addrText } from './lock-owner.js';
import { headerObject } from './names.js';
import type { ImageHandle } from './open.js';

export interface ImageWatcherInfo {
  /** `client.5187` */
  readonly client: string;
  /** `10.0.0.5:0/3141592`, as `ceph osd blocklist` takes it. */
  readonly address: string;
  /** Tells the watches of one client apart. */
  readonly cookie: bigint;
}

export async function listImageWatchers(image: ImageHandle): Promise<ImageWatcherInfo[]> {
  try {
    const watchers = await listWatchers(image.ioctx, headerObject(image.id));
    return watchers.map(({ name, addr, cookie }) => ({
      client: formatEntityName(name),
      address: addrText(addr),
      cookie,
    }));
  } catch (error) {
    throw imageError(error, 'list watchers of', image.target);
  }
}
