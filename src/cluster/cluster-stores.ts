/** Where the daemons of a cluster keep what they have: in memory, or each in a directory of its own. */

import type { Environment } from '../base/environment.js';
import type { Crc32c } from '../kernels/crc32c.js';
import { randomUuid } from './mon/initial-map.js';
import { DiskSpace } from './store/durable/disk-space.js';
import { DurableStore, type StoreLimits } from './store/durable/durable-store.js';
import { Lane } from './store/durable/housekeeping.js';
import { MemoryStore } from './store/memory-store.js';
import type { ObjectStore } from './store/object-store.js';

export interface ClusterStoresOptions {
  readonly env: Environment;
  readonly crc32c: Crc32c;
  readonly osds: number;
  /** Undefined: in memory. */
  readonly dataDir: string | undefined;
  /** Of the OSDs' stores. */
  readonly limits: Partial<StoreLimits>;
  /** The disk of a daemon failed: `mon`, or the number of an OSD. */
  readonly onFailure: (daemon: 'mon' | number, error: Error) => void;
}

const MIB = 1024 * 1024;

/** A monitor's whole store is hardly larger than an OSD's first piece of log. */
const MON_LIMITS: Partial<StoreLimits> = {
  segments: { firstBytes: MIB / 4, maxBytes: 4 * MIB },
  checkpointBytes: 4 * MIB,
};

export class ClusterStores {
  readonly #options: ClusterStoresOptions;
  readonly #space: DiskSpace | undefined;
  readonly #lane = new Lane();
  readonly #osds: ObjectStore[] = [];
  readonly #failed = new Set<number>();
  #mon: ObjectStore | undefined;

  static async open(options: ClusterStoresOptions): Promise<ClusterStores> {
    const stores = new ClusterStores(options);
    try {
      await stores.#open();
      return stores;
    } catch (error) {
      await stores.close();
      throw error;
    }
  }

  private constructor(options: ClusterStoresOptions) {
    this.#options = options;
    const { env, dataDir } = options;
    this.#space = dataDir === undefined ? undefined : new DiskSpace(env.disk, dataDir, env.clock);
  }

  /** Undefined for a monitor that keeps nothing. */
  get mon(): ObjectStore | undefined {
    return this.#mon;
  }

  osd(id: number): ObjectStore {
    return this.#osds[id] as ObjectStore;
  }

  /** For an OSD that starts again: what it had, unless its disk had failed. */
  async reopen(id: number): Promise<void> {
    if (!this.#failed.has(id)) return;
    await this.osd(id).close();
    await this.#openOsd(id);
  }

  /** An empty one. */
  async replace(id: number): Promise<void> {
    await this.osd(id).close();
    const { dataDir, env } = this.#options;
    if (dataDir !== undefined) await env.disk.remove(`${dataDir}/osd.${id}`);
    await this.#openOsd(id);
  }

  async close(): Promise<void> {
    const stores = [...this.#osds, this.#mon].filter((store) => store !== undefined);
    await Promise.all(stores.map((store) => store.close()));
  }

  async #open(): Promise<void> {
    const { dataDir, osds } = this.#options;
    if (dataDir !== undefined) {
      this.#mon = await this.#durable(`${dataDir}/mon`, 'mon', MON_LIMITS);
    }
    const opening = Array.from({ length: osds }, (_, id) => this.#openOsd(id));
    const results = await Promise.allSettled(opening);
    const failure = results.find((result) => result.status === 'rejected');
    if (failure) throw failure.reason;
  }

  async #openOsd(id: number): Promise<void> {
    const { dataDir, limits } = this.#options;
    this.#osds[id] =
      dataDir === undefined
        ? new MemoryStore(limits.spareMinBytes)
        : await this.#durable(`${dataDir}/osd.${id}`, id, limits);
    this.#failed.delete(id);
  }

  #durable(
    dir: string,
    daemon: 'mon' | number,
    limits: Partial<StoreLimits>,
  ): Promise<DurableStore> {
    const { env, crc32c, onFailure } = this.#options;
    return DurableStore.open({
      disk: env.disk,
      dir,
      timers: env.timers,
      crc32c,
      log: daemon === 'mon' ? env.log.mon : env.log.osd,
      generateId: () => randomUuid(env),
      space: this.#space as DiskSpace,
      lane: this.#lane,
      limits,
      onFailure: (error) => {
        if (daemon !== 'mon') this.#failed.add(daemon);
        onFailure(daemon, error);
      },
    });
  }
}
