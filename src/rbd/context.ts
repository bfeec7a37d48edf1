/** What images need of the client that they live in. */

import type { Environment } from '../base/environment.js';
import type { IoContext, PoolInfo } from '../rados/io-context.js';

export interface RbdContext {
  /** Opens a pool by name or id. ENOENT when there is none. */
  ioctx(pool: string | number, nspace?: string): Promise<IoContext>;
  /** A pool of the current osdmap. */
  poolById(id: number): PoolInfo | undefined;
  /** The pools of the current osdmap. */
  pools(): PoolInfo[];
  /** The oldest release whose clients are let in (`ceph osd set-require-min-compat-client`), by its number; 0: any. */
  readonly requireMinCompatClient: number;
  /** Waits until the current osdmap is the monitors' newest. */
  waitForLatestMap(): Promise<void>;
  /** This client's id in the cluster (`client.<globalId>`): new image ids begin with it. */
  readonly globalId: bigint;
  /** As locks and blocklists have it: `10.0.0.5:0/3141592`. */
  readonly clientAddr: string;
  /** Fences a client by such an address, and waits for the osdmap that says so. Absent seconds: the monitors' default. */
  blocklistAdd(addr: string, expireSeconds?: number): Promise<void>;
  readonly environment: Environment;
}
