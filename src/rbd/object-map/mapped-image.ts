/** The image, as its object map sees it. */

import type { Environment } from '../../base/environment.js';
import type { IoContext } from '../../rados/io-context.js';
import type { ImageHeader } from '../header.js';

export interface MappedImage {
  readonly environment: Environment;
  /** The header's pool and namespace. */
  readonly ioctx: IoContext;
  readonly id: string;
  /** `rbd/vm1`, for messages. */
  readonly target: string;
  /** As last read. */
  readonly header: ImageHeader;
  /** The exclusive lock is ours, and nothing puts that in doubt. */
  readonly isLocked: boolean;
  /** The exclusive lock is ours, as far as is known. */
  readonly isOwner: boolean;
  /** The map's lock is another's: whatever was thought, the image is not ours. The lock is to be taken anew. */
  mapLockLost(): void;
}
