/** Clients of a real cluster, in this process, each of which can die alone. */

import { nodeEnvironment } from '../../src/base/node-environment.js';
import { type Cluster, type ClusterOptions, connect } from '../../src/block/cluster.js';
import {
  type Habitat,
  sleepUntilAborted,
  type WorkloadClient,
} from '../../src/sim/workloads/habitat.js';
import { MortalEnvironment } from './mortal-environment.js';

export class RealHabitat implements Habitat {
  readonly clients: RealClient[] = [];
  readonly #conf: string;
  readonly #env = nodeEnvironment();
  readonly #began = this.#env.clock.monotonic();

  constructor(conf: string) {
    this.#conf = conf;
  }

  get now(): number {
    return this.#env.clock.monotonic() - this.#began;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return sleepUntilAborted(this.#env.timers, ms, signal);
  }

  process(): RealClient {
    const client = new RealClient(`client.${this.clients.length + 1}`, this.#conf);
    this.clients.push(client);
    return client;
  }
}

export class RealClient implements WorkloadClient {
  readonly name: string;
  readonly #conf: string;
  readonly #life = new MortalEnvironment(nodeEnvironment());
  #cluster: Cluster | undefined;
  #closed = false;

  constructor(name: string, conf: string) {
    this.name = name;
    this.#conf = conf;
  }

  get isWorking(): boolean {
    return !this.#life.dead && this.#cluster !== undefined && !this.#closed;
  }

  get cluster(): Cluster {
    if (!this.#cluster) throw new Error(`${this.name} is not connected`);
    return this.#cluster;
  }

  /** As `ceph osd blocklist` takes it; undefined before it has used the cluster. */
  async addr(): Promise<string | undefined> {
    const [first] = (await this.cluster.status()).flat();
    return first?.clientAddr;
  }

  async connect(options: ClusterOptions): Promise<Cluster> {
    const environment = this.#life.env;
    this.#cluster = await connect({ ...options, conf: this.#conf, threads: 0, environment });
    return this.#cluster;
  }

  kill(): void {
    this.#life.kill();
  }

  onKill(mourner: () => void): void {
    this.#life.onKill(mourner);
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (!this.#life.dead) await this.#cluster?.close();
  }
}
