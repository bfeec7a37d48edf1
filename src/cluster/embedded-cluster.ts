/**
 * A Ceph cluster in this process: one monitor and several OSDs that speak Ceph's own protocol on TCP ports, hold their
 * data in memory or in a directory, and serve any Ceph client, ours and others.
 */

import { resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Environment } from '../base/environment.js';
import { nodeEnvironment } from '../base/node-environment.js';
import { packageFile } from '../base/paths.js';
import {
  type ClusterDescription,
  ClusterHost,
  type ClusterStatus,
  type OsdStatus,
  type PoolStatus,
} from './cluster-host.js';
import { type ClusterControl, ClusterThread, controlOf } from './cluster-rpc.js';
import { DataDirectory, type StoredCluster } from './data-directory.js';
import { Faults } from './faults/faults.js';
import { randomUuid } from './mon/initial-map.js';
import {
  type ClusterSettings,
  type ClusterSettingsInput,
  isLoopback,
  type PoolOptions,
  resolveSettings,
} from './settings.js';

export type { ClusterStatus, OsdStatus, PoolOptions, PoolStatus };

export interface EmbeddedClusterOptions extends ClusterSettingsInput {
  /**
   * Where `ceph.conf` and `keyring` are written; made when missing, and kept. Default: `dataDir`, or without that a
   * temporary directory that `stop` removes.
   */
  dir?: string;
  /** Hosts the cluster in the caller's thread, whose work then delays it. Default false: a thread of its own. */
  inThread?: boolean;
  /** With `inThread`: another clock, network and randomness. */
  environment?: Environment;
}

/** How to connect: what `connect()` and `connectRados()` take. */
export interface EmbeddedConnectOptions {
  conf: string;
  monHost: string;
  name: string;
  keyring: string;
  fsid: string;
}

const ADMIN = 'client.admin';

/**
 * A running cluster.
 *
 *     await using ceph = await EmbeddedCluster.start({ pools: ['rbd'] });
 *     await using cluster = await connect(ceph);
 *
 * `ceph`, `rados`, `rbd` and every librados program work with it: `rbd -c ${ceph.confPath} ls`.
 */
export class EmbeddedCluster implements AsyncDisposable {
  readonly #control: ClusterControl;
  readonly #cleanUp: () => Promise<void>;
  #stopping: Promise<void> | undefined;

  /** The cluster's id. */
  readonly fsid: string;
  /** The monitor's address, as ceph.conf has it: `[v2:127.0.0.1:40000/0]`. */
  readonly monHost: string;
  /** The directory of `confPath` and `keyringPath`. */
  readonly dir: string;
  /** How many OSDs there are. */
  readonly osds: number;
  /** Copies of new pools' objects. */
  readonly size: number;
  readonly auth: 'cephx' | 'none';
  /** A ceph.conf for any Ceph client. */
  readonly confPath: string;
  /** The key of client.admin, which may do everything. */
  readonly keyringPath: string;
  /** Faults to inject, for tests of what an application does when its storage fails. */
  readonly faults: Faults;

  private constructor(parts: {
    control: ClusterControl;
    description: ClusterDescription;
    settings: ClusterSettings;
    dir: string;
    cleanUp: () => Promise<void>;
  }) {
    this.#control = parts.control;
    this.#cleanUp = parts.cleanUp;
    this.faults = new Faults(parts.control.faults);
    this.fsid = parts.description.fsid;
    this.monHost = parts.description.monHost;
    this.dir = parts.dir;
    this.osds = parts.settings.osds;
    this.size = parts.settings.size;
    this.auth = parts.settings.auth;
    this.confPath = `${parts.dir}/ceph.conf`;
    this.keyringPath = `${parts.dir}/keyring`;
  }

  /**
   * Starts a cluster; resolves when it serves clients. EADDRINUSE: something listens on `port`; EBUSY: another process
   * uses `dataDir`; EIO: what is in it is damaged; EINVAL: it is not a cluster's, or a newer linger's. RangeError and
   * TypeError for options that make no sense.
   */
  static async start(options: EmbeddedClusterOptions = {}): Promise<EmbeddedCluster> {
    const env = options.environment ?? nodeEnvironment(options.log ? { log: options.log } : {});
    const dataDir = options.dataDir === undefined ? undefined : resolve(options.dataDir);
    const given = options.dir === undefined ? dataDir : resolve(options.dir);
    checkDir(options.dir ?? options.dataDir);
    const data = dataDir === undefined ? undefined : await DataDirectory.open(env, dataDir);
    try {
      const input = dataDir === undefined ? options : { ...options, dataDir };
      const settings = resolveSettings(input, () => randomUuid(env), data?.stored);
      // Before anything is in it that would be somebody's.
      await data?.store(describe(settings));
      return await EmbeddedCluster.#start(env, { settings, data, dir: given, options });
    } catch (error) {
      await data?.release();
      throw error;
    }
  }

  static async #start(
    env: Environment,
    parts: {
      settings: ClusterSettings;
      data: DataDirectory | undefined;
      dir: string | undefined;
      options: EmbeddedClusterOptions;
    },
  ): Promise<EmbeddedCluster> {
    const { settings, data, dir: given, options } = parts;
    const control = options.inThread
      ? controlOf(await ClusterHost.start(env, settings))
      : new ClusterThread(
          new Worker(packageFile('dist/bundle/workers/cluster.js'), {
            workerData: settings,
            name: 'ceph-cluster',
            // As in src/block/worker-host.ts: flags of the main program are none of its business.
            execArgv: [],
          }),
        );
    let removeFiles = async () => {};
    try {
      const description = await control.describe();
      await data?.store({ ...describe(settings), monPort: portOf(description.monHost) });
      const dir = given ?? (await env.files.makeTempDir('linger-cluster-'));
      if (given === undefined) removeFiles = () => env.files.remove(dir);
      // However it ends: the directory is free then.
      const released = control.ended.then(() => data?.release());
      const cleanUp = async () => {
        await removeFiles();
        await released;
      };
      const cluster = new EmbeddedCluster({ control, description, settings, dir, cleanUp });
      await cluster.#writeFiles(env, description.adminKeyring);
      await control.openAdminSockets(dir);
      warnOfExposure(settings);
      return cluster;
    } catch (error) {
      await control.stop();
      await removeFiles();
      throw error;
    }
  }

  /** For our own clients. The key stays in its file. */
  get connectOptions(): EmbeddedConnectOptions {
    return {
      conf: this.confPath,
      monHost: this.monHost,
      name: ADMIN,
      keyring: this.keyringPath,
      fsid: this.fsid,
    };
  }

  status(): Promise<ClusterStatus> {
    return this.#control.status();
  }

  /**
   * What a daemon is at, as its admin socket tells it: `daemon('osd.0', 'dump_ops_in_flight')`; `help` tells what there is. The
   * sockets themselves are in `dir` (`osd.0.asok`), for `ceph daemon`. EINVAL: there is no such command; ENOENT: the OSD
   * is not running.
   */
  daemon(name: string, command: string): Promise<unknown> {
    return this.#control.daemon(name, command);
  }

  /**
   * Ends an OSD as a crash would. Its data are kept for `startOsd`; until then the others serve what they have copies
   * of. ENOENT when it is not running.
   */
  killOsd(id: number): Promise<void> {
    return this.#control.killOsd(id);
  }

  /**
   * Starts a killed OSD again; resolves when the monitor has it up. `lost: true` starts it with an empty disk. EEXIST
   * when it is running.
   */
  startOsd(id: number, options: { lost?: boolean } = {}): Promise<void> {
    return this.#control.startOsd(id, options);
  }

  /**
   * Resolves when the cluster is gone: after `stop` with nothing, else with the error that ended its thread. Never
   * rejects.
   */
  get ended(): Promise<Error | undefined> {
    return this.#control.ended;
  }

  /**
   * Ends the cluster, and removes what it wrote to a temporary directory. What it held in memory is gone; what it has in
   * `dataDir` is there for the next start. Safe to call twice.
   */
  stop(): Promise<void> {
    this.#stopping ??= this.#control.stop().finally(this.#cleanUp);
    return this.#stopping;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #writeFiles(env: Environment, keyring: string): Promise<void> {
    await env.files.mkdir(this.dir);
    // For its owner only, and there before anything points to it.
    await env.files.writeFile(this.keyringPath, keyring, { mode: 0o600 });
    await env.files.writeFile(this.confPath, formatConf(this));
  }
}

function describe({ fsid, osds, size, auth, preferredPort }: ClusterSettings): StoredCluster {
  return { fsid, osds, size, auth, monPort: preferredPort };
}

function warnOfExposure({ host, auth }: ClusterSettings): void {
  if (isLoopback(host)) return;
  const who =
    auth === 'none' ? 'whoever reaches it may do everything' : 'whoever has a key may use it';
  process.emitWarning(`the embedded cluster listens on ${host}, beyond this machine: ${who}`, {
    code: 'LINGER_CLUSTER_EXPOSED',
  });
}

/** Of `[v2:127.0.0.1:40000/0]`. */
function portOf(monHost: string): number {
  return Number(/:(\d+)\/\d+\]$/.exec(monHost)?.[1] ?? 0);
}

/** Ceph takes `keyring` for a list of paths, and some characters for comments and variables: none can be escaped. */
function checkDir(dir: string | undefined): void {
  if (dir !== undefined && (dir === '' || /[\s,;=#$"'\\]/.test(dir))) {
    throw new TypeError(`a ceph.conf cannot name a keyring in '${dir}'`);
  }
}

/** Ceph's parser wants a newline at the end. */
function formatConf(cluster: EmbeddedCluster): string {
  const { auth } = cluster;
  return `[global]
fsid = ${cluster.fsid}
mon host = ${cluster.monHost}
keyring = ${cluster.keyringPath}
auth cluster required = ${auth}
auth service required = ${auth}
auth client required = ${auth}
[osd]
admin socket = ${cluster.dir}/$name.asok
`;
}
