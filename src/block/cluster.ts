/** A Ceph cluster as an application sees it: pools, their images, and images mapped as block devices. */

import type { Environment } from '../base/environment.js';
import type { LogOptions } from '../base/log.js';
import { nodeEnvironment } from '../base/node-environment.js';
import type { CommandResult } from '../mon-client/mon-client.js';
import type { BlocklistEntry } from '../rados/blocklist.js';
import type { ConnectOptions } from '../rados/connect.js';
import { parseImageSpec } from '../rbd/spec.js';
import type { BlockDevice } from './device.js';
import { type DeviceHost, DirectHost, type OpenOptions } from './device-host.js';
import { Images } from './images.js';
import type { ManageOptions, PoolCreateOptions } from './management.js';
import { type MapOptionsInput, mapOptions, parseMapOptions } from './map-options.js';
import { createRuntime, type RadosClientStatus } from './runtime.js';
import { Trash } from './trash.js';
import { WorkerHost } from './worker-host.js';

export interface ClusterOptions extends ConnectOptions {
  /**
   * osd-client threads; mapped images are spread over them. 0 runs everything in the caller's thread: the lowest latency,
   * but a busy caller then delays I/O, and there are no synchronous calls. Default 1.
   */
  threads?: number;
  /** Levels of the log, to stderr. Silent by default. */
  log?: LogOptions;
  /** Memory of each thread for payloads, windows and maps (virtual until used). Default 512 MiB. */
  memoryBytes?: number;
  /** With `threads: 0`: another clock, network and randomness, as a simulation's. */
  environment?: Environment;
}

export interface MapImageOptions extends MapOptionsInput, OpenOptions {
  /** krbd's options as `rbd map -o` takes them: `'queue_depth=64,read_only'`. They win over the others. */
  options?: string;
}

const MAX_THREADS = 64;

/**
 * Connects to a cluster: by ceph.conf, by `monHost` and a key, or to an `EmbeddedCluster`'s `connectOptions`.
 *
 * ENOENT: no configuration, monitor address or keyring; EACCES: the user or the key is refused; ETIMEDOUT: no monitor
 * answered in `mountTimeoutMs`.
 */
export async function connect(
  target: ClusterOptions | { connectOptions: ConnectOptions } = {},
  more: ClusterOptions = {},
): Promise<Cluster> {
  const options =
    'connectOptions' in target ? { ...target.connectOptions, ...more } : { ...target, ...more };
  return Cluster.connect(options);
}

export class Cluster implements AsyncDisposable {
  readonly #hosts: readonly DeviceHost[];
  /** Devices by host: the next one goes to the host with the fewest. */
  readonly #load = new Map<DeviceHost, number>();
  /** The cluster's id. */
  readonly fsid: string;
  readonly blocklist: Blocklist;
  #closing: Promise<void> | undefined;

  private constructor(hosts: readonly DeviceHost[], fsid: string) {
    this.#hosts = hosts;
    this.fsid = fsid;
    this.blocklist = new Blocklist(this.#manager);
    for (const host of hosts) this.#load.set(host, 0);
  }

  static async connect(options: ClusterOptions): Promise<Cluster> {
    const { threads = 1, log, memoryBytes, environment, ...config } = options;
    if (!Number.isInteger(threads) || threads < 0 || threads > MAX_THREADS) {
      throw new RangeError(`threads must be 0 to ${MAX_THREADS}, not ${threads}`);
    }
    if (environment && threads !== 0) throw new TypeError('an environment needs threads: 0');
    const env = environment ?? nodeEnvironment(log ? { log } : {});
    const start = () => startHost(env, { config, log, memoryBytes, inThread: threads === 0 });
    const hosts = await Promise.all(Array.from({ length: Math.max(1, threads) }, start));
    try {
      return new Cluster(hosts, await (hosts[0] as DeviceHost).manage('fsid', []));
    } catch (error) {
      await Promise.allSettled(hosts.map((host) => host.close()));
      throw error;
    }
  }

  /** A pool by name; that it exists is found out by its first use. */
  pool(name: string, namespace = ''): Pool {
    return new Pool(this.#manager, name, namespace);
  }

  listPools(options?: ManageOptions): Promise<string[]> {
    return this.#manager.manage('listPools', [], options);
  }

  /** Creates a pool that is ready for images. */
  createPool(name: string, options: PoolCreateOptions & ManageOptions = {}): Promise<void> {
    const { signal, onProgress, ...create } = options;
    return this.#manager.manage('createPool', [name, create], { signal, onProgress });
  }

  /** Removes a pool and everything in it. EPERM unless the cluster allows it (`mon_allow_pool_delete`). */
  removePool(name: string, options?: ManageOptions): Promise<void> {
    return this.#manager.manage('removePool', [name], options);
  }

  /**
   * A monitor command, as `ceph` sends it: `{prefix: 'osd tree'}`. Rejects with the command's errno. Where a monitor
   * wants a float, it is a `CephFloat`: `{prefix: 'osd reweight', id: 0, weight: new CephFloat(1)}`.
   */
  command(command: Record<string, unknown>, options?: ManageOptions): Promise<CommandResult> {
    return this.#manager.manage('command', [command], options);
  }

  /**
   * Maps an image (`'[pool/[namespace/]]image[@snap]'`) as a block device, with krbd's options.
   *
   * ENOENT: no such pool, image or snapshot. ENOSYS: the image has a feature, named in the message, with which it
   * cannot be mapped so. EINVAL: an unknown option.
   */
  async map(spec: string, options: MapImageOptions = {}): Promise<BlockDevice> {
    const {
      options: text,
      arenaBytes,
      maxQueued,
      maxQueuedBytes,
      pieceBytes,
      signal,
      ...given
    } = options;
    const map = text === undefined ? mapOptions(given) : parseMapOptions(text, given);
    const { name: image, pool, namespace, snap } = parseImageSpec(spec);
    const host = this.#leastLoaded();
    this.#load.set(host, (this.#load.get(host) ?? 0) + 1);
    const leave = () => this.#load.set(host, (this.#load.get(host) ?? 1) - 1);
    const open = { arenaBytes, maxQueued, maxQueuedBytes, pieceBytes, signal };
    try {
      const device = await host.open(
        { pool, namespace, image, ...(snap === undefined ? {} : { snap }) },
        map,
        withoutUndefined(open),
      );
      device.once('close', leave);
      return device;
    } catch (error) {
      leave();
      throw error;
    }
  }

  /**
   * Plain data on the clients, by thread: addresses, map epochs, operations under way, and the images that they have
   * open, with the state of watch, header and exclusive lock, and what has happened to them so far.
   */
  status(): Promise<RadosClientStatus[][]> {
    // A host can run anything. Those of a cluster run what `startHost` has them run.
    return Promise.all(this.#hosts.map((host) => host.status() as Promise<RadosClientStatus[]>));
  }

  /** Closes every device that is still mapped, and every session. Safe to call twice. */
  close(): Promise<void> {
    this.#closing ??= Promise.all(this.#hosts.map((host) => host.close())).then(() => undefined);
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  get #manager(): DeviceHost {
    return this.#hosts[0] as DeviceHost;
  }

  #leastLoaded(): DeviceHost {
    return this.#hosts.reduce((least, host) =>
      (this.#load.get(host) ?? 0) < (this.#load.get(least) ?? 0) ? host : least,
    );
  }
}

function startHost(
  env: Environment,
  options: {
    config: ConnectOptions;
    log: LogOptions | undefined;
    memoryBytes: number | undefined;
    inThread: boolean;
  },
): Promise<DeviceHost> {
  const { inThread, config, log, memoryBytes } = options;
  const common = { env, config, ...(memoryBytes === undefined ? {} : { memoryBytes }) };
  return inThread
    ? DirectHost.start({ ...common, createRuntime })
    : WorkerHost.start({ ...common, ...(log ? { log } : {}) });
}

/** What `exactOptionalPropertyTypes` wants: absent, not undefined. */
function withoutUndefined(
  options: { [K in keyof OpenOptions]: OpenOptions[K] | undefined },
): OpenOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

/** A pool and a namespace in it. */
export class Pool {
  readonly name: string;
  readonly namespace: string;
  readonly images: Images;
  readonly namespaces: Namespaces;
  readonly trash: Trash;

  constructor(host: DeviceHost, name: string, namespace: string) {
    this.name = name;
    this.namespace = namespace;
    this.images = new Images(host, name, namespace);
    this.namespaces = new Namespaces(host, name);
    this.trash = new Trash(host, name, namespace);
  }
}

/** Clients that no OSD takes anything from (`ceph osd blocklist`), by addresses such as `10.0.0.5:0/3141592`. */
export class Blocklist {
  readonly #host: DeviceHost;

  constructor(host: DeviceHost) {
    this.#host = host;
  }

  list(): Promise<BlocklistEntry[]> {
    return this.#host.manage('blocklist', []);
  }

  /** Resolves when this client's OSDs know of it. Without `expireS` it ends after an hour. */
  add(addr: string, { expireS }: { expireS?: number } = {}): Promise<void> {
    return this.#host.manage('blocklistAdd', expireS === undefined ? [addr] : [addr, expireS]);
  }

  /** No error when it is not there. */
  remove(addr: string): Promise<void> {
    return this.#host.manage('blocklistRemove', [addr]);
  }
}

/** The namespaces of a pool. */
export class Namespaces {
  readonly #host: DeviceHost;
  readonly #pool: string;

  constructor(host: DeviceHost, pool: string) {
    this.#host = host;
    this.#pool = pool;
  }

  list(): Promise<string[]> {
    return this.#host.manage('listNamespaces', [this.#pool]);
  }

  /** EEXIST: the name is taken. */
  create(name: string): Promise<void> {
    return this.#host.manage('createNamespace', [this.#pool, name]);
  }

  /** EBUSY: it holds images. */
  remove(name: string): Promise<void> {
    return this.#host.manage('removeNamespace', [this.#pool, name]);
  }
}
