/**
 * A Ceph cluster in this process: one monitor and several OSDs that speak Ceph's own protocol on TCP ports, hold their
 * data in memory, and serve any Ceph client, ours and others.
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
import { Faults } from './faults/faults.js';
import { randomUuid } from './mon/initial-map.js';
import { type ClusterSettingsInput, type PoolOptions, resolveSettings } from './settings.js';

export type { ClusterStatus, OsdStatus, PoolOptions, PoolStatus };

export interface EmbeddedClusterOptions extends ClusterSettingsInput {
  /**
   * Where `ceph.conf` and `keyring` are written; made when missing, and kept. Default: a temporary directory that
   * `stop` removes.
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
  /** A ceph.conf for any Ceph client. */
  readonly confPath: string;
  /** The key of client.admin, which may do everything. */
  readonly keyringPath: string;
  /** Faults to inject, for tests of what an application does when its storage fails. */
  readonly faults: Faults;

  private constructor(parts: {
    control: ClusterControl;
    description: ClusterDescription;
    dir: string;
    cleanUp: () => Promise<void>;
  }) {
    this.#control = parts.control;
    this.#cleanUp = parts.cleanUp;
    this.faults = new Faults(parts.control.faults);
    this.fsid = parts.description.fsid;
    this.monHost = parts.description.monHost;
    this.dir = parts.dir;
    this.confPath = `${parts.dir}/ceph.conf`;
    this.keyringPath = `${parts.dir}/keyring`;
  }

  /**
   * Starts a cluster; resolves when it serves clients. EADDRINUSE: something listens on `port`. RangeError and
   * TypeError for options that make no sense.
   */
  static async start(options: EmbeddedClusterOptions = {}): Promise<EmbeddedCluster> {
    const env = options.environment ?? nodeEnvironment(options.log ? { log: options.log } : {});
    const settings = resolveSettings(options, () => randomUuid(env));
    checkDir(options.dir);
    const control = options.inThread
      ? controlOf(await ClusterHost.start(env, settings))
      : new ClusterThread(
          new Worker(packageFile('dist/workers/cluster.js'), {
            workerData: settings,
            name: 'ceph-cluster',
            // As in src/block/worker-host.ts: flags of the main program are none of its business.
            execArgv: [],
          }),
        );
    let cleanUp = async () => {};
    try {
      const description = await control.describe();
      const given = options.dir === undefined ? undefined : resolve(options.dir);
      const dir = given ?? (await env.files.makeTempDir('linger-cluster-'));
      if (given === undefined) cleanUp = () => env.files.remove(dir);
      const cluster = new EmbeddedCluster({ control, description, dir, cleanUp });
      await cluster.#writeFiles(env, { auth: settings.auth, keyring: description.adminKeyring });
      return cluster;
    } catch (error) {
      await control.stop();
      await cleanUp();
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

  /** Ends the cluster with all of its data, and removes what it wrote to a temporary directory. Safe to call twice. */
  stop(): Promise<void> {
    this.#stopping ??= this.#control.stop().finally(this.#cleanUp);
    return this.#stopping;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #writeFiles(
    env: Environment,
    { auth, keyring }: { auth: 'cephx' | 'none'; keyring: string },
  ): Promise<void> {
    await env.files.mkdir(this.dir);
    // For its owner only, and there before anything points to it.
    await env.files.writeFile(this.keyringPath, keyring, { mode: 0o600 });
    await env.files.writeFile(this.confPath, formatConf(this, auth));
  }
}

/** Ceph takes `keyring` for a list of paths, and some characters for comments and variables: none can be escaped. */
function checkDir(dir: string | undefined): void {
  if (dir !== undefined && (dir === '' || /[\s,;=#$"'\\]/.test(dir))) {
    throw new TypeError(`a ceph.conf cannot name a keyring in '${dir}'`);
  }
}

/** Ceph's parser wants a newline at the end. */
function formatConf(
  cluster: { fsid: string; monHost: string; keyringPath: string },
  auth: string,
): string {
  return `[global]
fsid = ${cluster.fsid}
mon host = ${cluster.monHost}
keyring = ${cluster.keyringPath}
auth cluster required = ${auth}
auth service required = ${auth}
auth client required = ${auth}
`;
}
