/** What the acceptance script runs on: a cluster, ours or a real one, with OSDs that can be ended and started. */

import { EmbeddedCluster } from '../../src/cluster/embedded-cluster.js';

export interface PoolRequest {
  name: string;
  pgNum: number;
  /** Copies. */
  size: number;
}

/** Ceph's own commands, pointed at the cluster: they throw when they fail, and return their stdout. */
export interface Tools {
  ceph(...args: string[]): Promise<string>;
  rados(...args: string[]): Promise<string>;
  rbd(...args: string[]): Promise<string>;
}

export interface Target {
  /** A ceph.conf for any client. */
  readonly confPath: string;
  /** For files of the test's own; removed with the cluster. */
  readonly dir: string;
  /** Where Ceph's own programs are installed. */
  readonly tools: Tools | undefined;
  /** Ends an OSD as a crash does. */
  killOsd(osd: number): Promise<void>;
  /** Starts it again, with its data or without: an OSD must be able to come back either way. */
  startOsd(osd: number): Promise<void>;
  /** Resolves when every PG serves and has all of its copies. To be waited for before another OSD ends. */
  settled(): Promise<void>;
  stop(): Promise<void>;
}

export interface TargetKind {
  readonly name: string;
  /** Whether `tools` will be there. */
  readonly hasTools: boolean;
  /** Kinds of pools that images may have their data in. */
  readonly dataPools: readonly string[];
  /** How many OSDs end and come back under load. */
  readonly failures: number;
  readonly failoverTimeoutMs: number;
  start(pools: readonly PoolRequest[]): Promise<Target>;
}

export const OSDS = 3;

export const embedded: TargetKind = {
  name: 'the embedded cluster',
  hasTools: false,
  dataPools: ['data'],
  failures: 4,
  failoverTimeoutMs: 90_000,
  start: async (pools) =>
    embeddedTarget(await EmbeddedCluster.start({ osds: OSDS, pools }), undefined),
};

export function embeddedTarget(cluster: EmbeddedCluster, tools: Tools | undefined): Target {
  let starts = 0;
  return {
    confPath: cluster.confPath,
    dir: cluster.dir,
    tools,
    killOsd: (osd) => cluster.killOsd(osd),
    startOsd: (osd) => cluster.startOsd(osd, { lost: starts++ % 2 === 1 }),
    settled: () => allPgsActive(cluster),
    stop: () => cluster.stop(),
  };
}

/** A primary serves only when its PG's copies are equal, so that active says it all. */
async function allPgsActive(cluster: EmbeddedCluster, timeoutMs = 30_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const { osds, pgs, pools } = await cluster.status();
    const wanted = pools.reduce((sum, { pgNum }) => sum + pgNum, 0);
    if (osds.every(({ up }) => up) && pgs['active+clean'] === wanted) return;
    if (Date.now() > deadline) {
      throw new Error(`PGs not settled after ${timeoutMs} ms: ${JSON.stringify({ osds, pgs })}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
