/** What images need of the client that they live in. */

import type { Environment } from '../base/environment.js';
import type { IoContext, PoolInfo } from '../rados/io-context.js';

export interface RbdContext {
  /** Opens a pool by name or id. ENOENT when there is none. */
  ioctx(pool: string | number, nspace?: string): Promise<IoContext>;
  /** A pool of the current osdmap. */
  poolById(id: number): PoolInfo | undefined;
  /** This client's id in the cluster (`client.<globalId>`): new image ids begin with it. */
  readonly globalId: bigint;
  readonly environment: Environment;
}
