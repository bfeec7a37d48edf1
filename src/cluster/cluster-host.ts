/**
 * One monitor and its OSDs in this thread.
 *
 * Everything that goes in and comes out is plain data: the same calls serve a caller in this thread and, over a port,
 * one in another (`cluster-rpc.ts`).
 */

import type { Environment } from '../base/environment.js';
import { RadosError } from '../base/errors.js';
import { formatAddrvec } from '../encoding/entity.js';
import { createCrc32c } from '../kernels/crc32c.js';
import { loadKernels } from '../kernels/load.js';
import { WindowPool } from '../msgr/window-pool.js';
import type { CrushMappers } from '../osdmap/crush-mapper.js';
import { wasmMappers } from '../osdmap/crush-wasm.js';
import type { MessengerContext } from '../msgr/connection.js';
import { FaultHost } from './faults/fault-host.js';
import { FaultMachinery, MON_NAME, osdName } from './faults/fault-machinery.js';
import { formatKeyring } from './mon/auth-database.js';
import { checkHealth, healthStatus } from './mon/health.js';
import { ADMIN, Monitor } from './mon/monitor.js';
import { OsdDaemon } from './osd-daemon.js';
import type { ClusterSettings } from './settings.js';
import { MemoryStore } from './store/memory-store.js';
import type { ObjectStore } from './store/object-store.js';

/** Receive windows, CRUSH images and checksums. */
const KERNEL_MEMORY_BYTES = 64 * 1024 * 1024;

/** What a client needs to know of a running cluster. */
export interface ClusterDescription {
  fsid: string;
  /** As ceph.conf's `mon host`: `[v2:127.0.0.1:40000/0]`. */
  monHost: string;
  /** The keyring of client.admin. Holds the key: for files only. */
  adminKeyring: string;
}

export interface OsdStatus {
  id: number;
  /** What the map says. */
  up: boolean;
  in: boolean;
  /** Whether the OSD itself runs. */
  running: boolean;
  addr: string;
}

export interface PoolStatus {
  id: number;
  name: string;
  size: number;
  pgNum: number;
}

export interface ClusterStatus {
  fsid: string;
  monHost: string;
  epoch: number;
  /** `HEALTH_OK`, `HEALTH_WARN` or `HEALTH_ERR`. */
  health: string;
  healthChecks: string[];
  osds: OsdStatus[];
  pools: PoolStatus[];
  /** PGs by the state of their primaries: `{active: 32}`. */
  pgs: Record<string, number>;
  /** Clients that are connected to the monitor. */
  clients: number;
}

export class ClusterHost {
  readonly #messenger: MessengerContext;
  readonly #settings: ClusterSettings;
  readonly #crushMappers: CrushMappers;
  readonly #monitor: Monitor;
  readonly #stores: ObjectStore[];
  readonly #running = new Map<number, OsdDaemon>();
  /** OSDs on their way up. */
  readonly #starting = new Set<number>();
  readonly #machinery: FaultMachinery;
  readonly faults: FaultHost;
  #stopped = false;

  /** Resolves when all OSDs are up and all pools are there. */
  static async start(env: Environment, settings: ClusterSettings): Promise<ClusterHost> {
    const kernels = loadKernels({ memoryBytes: KERNEL_MEMORY_BYTES });
    const messenger = { env, crc32c: createCrc32c(kernels), windows: new WindowPool(kernels) };
    const crushMappers = wasmMappers(kernels);
    const { host, port, fsid, osds, auth, size, downOutIntervalS } = settings;
    const machinery = new FaultMachinery(env, osds);
    const monitor = await Monitor.start({
      ...messenger,
      env: machinery.monEnvironment(),
      onClient: (remote, client) => machinery.network.identify(MON_NAME, remote, client),
      crushMappers,
      host,
      port,
      fsid,
      osds,
      auth,
      downOutIntervalS,
      // min_size 0: half of the copies, and one for an odd number.
      poolDefaults: { size, minSize: 0, pgNum: DEFAULT_PG_NUM },
    });
    const cluster = new ClusterHost({ messenger, settings, crushMappers, monitor, machinery });
    try {
      await cluster.#bringUp();
      return cluster;
    } catch (error) {
      await cluster.stop();
      throw error;
    }
  }

  private constructor(parts: {
    messenger: MessengerContext;
    settings: ClusterSettings;
    crushMappers: CrushMappers;
    monitor: Monitor;
    machinery: FaultMachinery;
  }) {
    this.#messenger = parts.messenger;
    this.#settings = parts.settings;
    this.#crushMappers = parts.crushMappers;
    this.#monitor = parts.monitor;
    this.#stores = Array.from({ length: parts.settings.osds }, () => new MemoryStore());
    this.#machinery = parts.machinery;
    this.faults = new FaultHost({
      machinery: parts.machinery,
      state: parts.monitor.state,
      checkOsd: (id) => this.#checkId(id),
      osd: (id) => this.#running.get(id),
      osds: () => [...this.#running.values()],
      killOsd: (id) => this.killOsd(id),
      stopOsd: (id) => this.stopOsd(id),
      startOsd: (id) => this.startOsd(id),
      reportFailure: (id) => this.#monitor.link().reportFailure(id, id),
    });
  }

  describe(): ClusterDescription {
    const admin = this.#monitor.state.auth.get(ADMIN);
    return {
      fsid: this.#settings.fsid,
      monHost: this.#monitor.monHost,
      adminKeyring: admin ? formatKeyring(admin, { caps: true }) : '',
    };
  }

  status(): ClusterStatus {
    const { state } = this.#monitor;
    const { map } = state.osdMaps;
    const checks = checkHealth(map);
    return {
      fsid: map.fsid,
      monHost: this.#monitor.monHost,
      epoch: map.epoch,
      health: healthStatus(checks),
      healthChecks: checks.map(({ summary }) => summary),
      osds: this.#stores.map((_, id) => ({
        id,
        up: map.isUp(id),
        in: !map.isOut(id),
        running: this.#running.has(id),
        addr: formatAddrvec(map.osdAddrs(id)),
      })),
      pools: [...map.pools].map(([id, pool]) => ({
        id,
        name: map.poolName.get(id) ?? '',
        size: pool.size,
        pgNum: pool.pgNum,
      })),
      pgs: this.#countPgs(),
      clients: state.clients().length,
    };
  }

  /** Ends an OSD as a crash would: unanswered requests stay unanswered, its memory is kept for `startOsd`. */
  killOsd(id: number): void {
    this.#checkId(id);
    const osd = this.#running.get(id);
    if (!osd) throw new RadosError('ENOENT', `osd.${id} is not running`, { op: 'killOsd' });
    this.#running.delete(id);
    osd.kill();
    // Its peers would find out with their next heartbeat; the host knows already.
    this.#monitor.link().reportFailure(id, id);
  }

  /** Ends an OSD in order: the map says that it is down before it goes, so that nobody waits for it. */
  async stopOsd(id: number): Promise<void> {
    this.#checkId(id);
    const osd = this.#running.get(id);
    if (!osd) throw new RadosError('ENOENT', `osd.${id} is not running`, { op: 'stopOsd' });
    this.#monitor.state.osds.markDown([id]);
    this.#running.delete(id);
    await osd.stop();
  }

  /**
   * Starts an OSD that was killed; resolves when the map has it up. `lost`: with an empty disk, as after a replacement.
   */
  async startOsd(id: number, options: { lost?: boolean } = {}): Promise<void> {
    this.#checkId(id);
    if (this.#stopped) throw new RadosError('ESTALE', 'the cluster has stopped');
    if (this.#running.has(id) || this.#starting.has(id)) {
      throw new RadosError('EEXIST', `osd.${id} is running`, { op: 'startOsd' });
    }
    if (options.lost) this.#stores[id] = new MemoryStore();
    await this.#startOsd(id);
  }

  /** Ends everything. Safe to call twice. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.faults.close();
    const running = [...this.#running.values()];
    this.#running.clear();
    await Promise.all(running.map((osd) => osd.stop()));
    await this.#monitor.close();
  }

  async #bringUp(): Promise<void> {
    await Promise.all(this.#stores.map((_, id) => this.#startOsd(id)));
    for (const { name, pgNum, size, application = 'rbd' } of this.#settings.pools) {
      this.#monitor.createPool({ name, pgNum, size, applications: [application] });
    }
  }

  async #startOsd(id: number): Promise<void> {
    this.#starting.add(id);
    const gate = this.#machinery.gate(id);
    try {
      await OsdDaemon.start({
        ...this.#messenger,
        env: this.#machinery.osdEnvironment(id),
        id,
        host: this.#settings.host,
        mon: gate.monLink(this.#monitor.link()),
        faults: this.#machinery.osds,
        passage: () => gate.passage(),
        onClient: (remote, client) => this.#machinery.network.identify(osdName(id), remote, client),
        peers: { osd: (peer) => this.#running.get(peer) },
        objectStore: this.#stores[id] as ObjectStore,
        watchTimeoutS: this.#settings.watchTimeoutS,
        crushMappers: this.#crushMappers,
        onReachable: (osd) => this.#running.set(id, osd),
      });
    } catch (error) {
      this.#running.delete(id);
      throw error;
    } finally {
      this.#starting.delete(id);
    }
  }

  #countPgs(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const osd of this.#running.values()) {
      for (const state of osd.pgStates().values()) counts[state] = (counts[state] ?? 0) + 1;
    }
    return counts;
  }

  #checkId(id: number): void {
    if (!Number.isInteger(id) || id < 0 || id >= this.#stores.length) {
      throw new RangeError(`there is no osd.${id}: the cluster has ${this.#stores.length} OSDs`);
    }
  }
}

/** `osd_pool_default_pg_num`. */
const DEFAULT_PG_NUM = 32;
