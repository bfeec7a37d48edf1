// The two servers that images live on: real Ceph daemons and the embedded cluster. A suite that is
// written once for both is judged by the same tools, the real rbd and rados, on either.

import { EmbeddedCluster } from '../../../src/cluster/embedded-cluster.js';
import { CephCluster, type CephClusterOptions } from './ceph-cluster.js';
import { type RunOptions, type RunResult, runOrThrow, runProcess } from './processes.js';

/** What a suite needs of a cluster. */
export interface Server {
  readonly confPath: string;
  /** For files of the test's own; removed with the cluster. */
  readonly dir: string;
  run(command: string, args: readonly string[], options?: RunOptions): Promise<RunResult>;
  runOrThrow(command: string, args: readonly string[], options?: RunOptions): Promise<RunResult>;
  ceph(...args: string[]): Promise<string>;
  rbd(...args: string[]): Promise<string>;
  rados(...args: string[]): Promise<string>;
  stop(): Promise<void>;
}

export interface ServerOptions {
  readonly osds: number;
  readonly pools: NonNullable<CephClusterOptions['pools']>;
  /** How long OSDs keep the watch of a client that went silent, unless it says so itself; librbd does not. Default 30. */
  readonly watchTimeoutS?: number;
}

export interface ServerKind {
  readonly name: string;
  readonly embedded: boolean;
  start(options: ServerOptions): Promise<Server>;
}

export const SERVERS: readonly ServerKind[] = [
  {
    name: 'a real cluster',
    embedded: false,
    start: ({ osds, pools, watchTimeoutS = 30 }) =>
      CephCluster.start({ osds, pools, osdConf: `osd client watch timeout = ${watchTimeoutS}` }),
  },
  {
    name: 'the embedded cluster',
    embedded: true,
    start: async ({ osds, pools, watchTimeoutS = 30 }) => {
      const cluster = await EmbeddedCluster.start({
        osds,
        inThread: true,
        watchTimeoutS,
        // No erasure-coded pools there: an image's data pool is then one that is replicated.
        pools: pools.map(({ name, pgNum = 8 }) => ({ name, pgNum })),
      });
      return new ToolsOn(cluster);
    },
  },
];

/** Ceph's own tools, pointed at an embedded cluster. */
class ToolsOn implements Server {
  constructor(private readonly cluster: EmbeddedCluster) {}

  get confPath(): string {
    return this.cluster.confPath;
  }

  get dir(): string {
    return this.cluster.dir;
  }

  run(command: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return runProcess(command, args, { ...options, env: this.#env(options) });
  }

  runOrThrow(command: string, args: readonly string[], options: RunOptions = {}) {
    return runOrThrow(command, args, { ...options, env: this.#env(options) });
  }

  async ceph(...args: string[]): Promise<string> {
    return (await this.runOrThrow('ceph', args)).stdout;
  }

  async rbd(...args: string[]): Promise<string> {
    return (await this.runOrThrow('rbd', args)).stdout;
  }

  async rados(...args: string[]): Promise<string> {
    return (await this.runOrThrow('rados', args)).stdout;
  }

  stop(): Promise<void> {
    return this.cluster.stop();
  }

  #env(options: RunOptions) {
    return { ...process.env, CEPH_CONF: this.confPath, CEPH_ARGS: undefined, ...options.env };
  }
}
