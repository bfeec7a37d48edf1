/**
 * A cluster and its clients in one thread, on a virtual clock and a virtual network: what happens depends on the seed and
 * on nothing else.
 *
 * Monitor, OSDs, clients and all between them are the product's own; replaced is only what `Environment` stands for. Each
 * client is a process of its own as far as others can tell.
 */

import type { Environment } from '../base/environment.js';
import { isRadosError, RadosError } from '../base/errors.js';
import type { LogOptions } from '../base/log.js';
import type { Cluster } from '../block/cluster.js';
import { type ClusterOptions, connect } from '../block/cluster.js';
import { EmbeddedCluster, type EmbeddedClusterOptions } from '../cluster/embedded-cluster.js';
import { randomFor } from './random.js';
import { VirtualDisk } from './virtual-disk.js';
import { VirtualProcess } from './virtual-process.js';
import { VirtualWorld } from './virtual-world.js';
import { type Habitat, sleepUntilAborted, type WorkloadClient } from './workloads/habitat.js';

export interface SimulationOptions {
  /** Everything follows from it. */
  seed: number;
  cluster?: Omit<EmbeddedClusterOptions, 'dataDir' | 'inThread' | 'environment' | 'log'>;
  /** The daemons keep what they have on a disk, which can fail. Default: in memory. */
  durable?: boolean;
  /** One-way delay of the network, in virtual milliseconds. Default 0.1. */
  latencyMs?: number;
  /** Levels of the log, of cluster and clients, to stderr. Silent by default. */
  log?: LogOptions;
}

export const DATA_DIR = '/data';
const KIB = 1024;
/** Small, so that a run has all that a store does in its life. */
const STORE_LIMITS: NonNullable<EmbeddedClusterOptions['storeLimits']> = {
  segments: { firstBytes: 64 * KIB, maxBytes: 256 * KIB },
  checkpointBytes: 256 * KIB,
  flushBytes: 128 * KIB,
  changedMaxBytes: 1024 * KIB,
  slackBytes: 64 * KIB,
  idleMs: 2000,
  spareMinBytes: 16 * KIB,
};
const FSID = '5b1e1b7c-7b5d-4c0e-9b8a-0123456789ab';

export class Simulation implements Habitat {
  readonly seed: number;
  readonly world: VirtualWorld;
  readonly cluster: EmbeddedCluster;
  readonly clients: SimulatedClient[] = [];
  /** Of all daemons, of which each has a directory: `/data/osd.0`. */
  readonly disk: VirtualDisk | undefined;
  /** Of the network without faults. */
  readonly #latencyMs: number;

  /** A cluster that serves, and time that stands still until somebody waits for something. */
  static async start(options: SimulationOptions): Promise<Simulation> {
    const { seed, log, latencyMs } = options;
    const world = new VirtualWorld({
      seed: randomFor(seed, 'world').u32(),
      ...(log ? { log } : {}),
    });
    if (latencyMs !== undefined) world.network.latencyMs = latencyMs;
    const disk = options.durable ? new VirtualDisk(world) : undefined;
    const starting = EmbeddedCluster.start({
      pools: ['rbd'],
      fsid: FSID,
      ...options.cluster,
      ...(disk ? { dataDir: DATA_DIR } : {}),
      storeLimits: STORE_LIMITS,
      inThread: true,
      environment: disk ? { ...world.env, disk } : world.env,
    });
    return new Simulation(seed, { world, disk, cluster: await world.until(starting) });
  }

  private constructor(
    seed: number,
    parts: { world: VirtualWorld; disk: VirtualDisk | undefined; cluster: EmbeddedCluster },
  ) {
    this.seed = seed;
    this.world = parts.world;
    this.disk = parts.disk;
    this.cluster = parts.cluster;
    this.#latencyMs = parts.world.network.latencyMs;
  }

  /** Virtual milliseconds since the beginning. */
  get now(): number {
    return this.world.now;
  }

  /** Lets virtual time pass. */
  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return sleepUntilAborted(this.world.env.timers, ms, signal);
  }

  /** A new process, not connected yet. */
  process(): SimulatedClient {
    const client = new SimulatedClient(this, `client.${this.clients.length + 1}`);
    this.clients.push(client);
    return client;
  }

  /** A new process with a client in it. */
  async connect(options: ClusterOptions = {}): Promise<SimulatedClient> {
    const client = this.process();
    await client.connect(options);
    return client;
  }

  /**
   * Undoes whatever disturbs: processes that were stopped go on, the network carries everything, faults of the cluster are
   * cleared, OSDs that are dead come back. A client that is dead stays dead.
   */
  async heal(): Promise<void> {
    const { cluster, disk, world } = this;
    for (const { process } of this.clients) {
      process.timersLateMs = 0;
      process.wake();
    }
    world.network.heal(this.#latencyMs);
    if (disk) {
      disk.failing = undefined;
      disk.capacityBytes = Number.POSITIVE_INFINITY;
    }
    await cluster.faults.clear();
    for (const { id, running } of (await cluster.status()).osds) {
      if (running) continue;
      await cluster.startOsd(id).catch((error: unknown) => {
        // It has come back meanwhile.
        if (!isRadosError(error, 'EEXIST')) throw error;
      });
    }
  }

  /** Ends every client and the cluster. */
  async stop(): Promise<void> {
    await Promise.allSettled(this.clients.map((client) => client.close()));
    await this.cluster.stop();
  }
}

/** A process that has a client of the cluster. */
export class SimulatedClient implements WorkloadClient {
  readonly name: string;
  readonly process: VirtualProcess;
  readonly #simulation: Simulation;
  #cluster: Cluster | undefined;
  #closed = false;

  /** @internal */
  constructor(simulation: Simulation, name: string) {
    this.#simulation = simulation;
    this.name = name;
    this.process = new VirtualProcess(simulation.world);
  }

  get env(): Environment {
    return this.process.env;
  }

  get alive(): boolean {
    return !this.process.dead;
  }

  /** What `connect` of the package returns, in this process. */
  get cluster(): Cluster {
    if (!this.#cluster) throw new Error(`${this.name} is not connected`);
    return this.#cluster;
  }

  /** Connected, and neither dead nor closed. */
  get isWorking(): boolean {
    return this.alive && this.#cluster !== undefined && !this.#closed;
  }

  /** As `ceph osd blocklist` takes it; undefined before it has used the cluster. */
  async addr(): Promise<string | undefined> {
    const [first] = (await this.cluster.status()).flat();
    return first?.clientAddr;
  }

  /** Of its address. */
  async nonce(): Promise<number | undefined> {
    const [, nonce] = /\/(\d+)$/.exec((await this.addr()) ?? '') ?? [];
    return nonce === undefined ? undefined : Number(nonce);
  }

  /** Whether it has the exclusive lock of any image. */
  async ownsLock(): Promise<boolean> {
    const clients = (await this.cluster.status()).flat();
    return clients.some(({ images }) => images.some(({ lock }) => lock?.state === 'locked'));
  }

  async connect(options: ClusterOptions = {}): Promise<Cluster> {
    this.#cluster = await connect(this.#simulation.cluster.connectOptions, {
      ...options,
      threads: 0,
      environment: this.env,
    });
    return this.#cluster;
  }

  /** Nothing that it has begun goes on, and its connections break. */
  kill(): void {
    this.process.kill();
  }

  onKill(mourner: () => void): () => void {
    return this.process.onKill(mourner);
  }

  /**
   * What `work` comes to. ECANCELED: the client is dead, or dies first; nothing that it has begun settles then, as with a
   * real process.
   */
  whileAlive<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const onDeath = () => reject(new RadosError('ECANCELED', `${this.name} is dead`));
      const forget = this.onKill(onDeath);
      if (!this.alive) onDeath();
      work.then(resolve, reject).finally(forget);
    });
  }

  /** In order, if it is alive. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.alive) await this.#cluster?.close();
  }
}
