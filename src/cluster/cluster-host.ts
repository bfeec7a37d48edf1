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
import { AdminSockets, CLUSTER_TARGET } from './admin/admin-sockets.js';
import { CLUSTER_COMMANDS } from './admin/cluster-commands.js';
import { ClusterStores } from './cluster-stores.js';
import { FaultHost } from './faults/fault-host.js';
import { FaultMachinery, MON_NAME, osdName } from './faults/fault-machinery.js';
import { formatKeyring } from './mon/auth-database.js';
import { checkHealth, healthStatus } from './mon/health.js';
import { MonDatabase } from './mon/mon-database.js';
import { ADMIN, Monitor } from './mon/monitor.js';
import { OSD_COMMANDS } from './osd/daemon-commands.js';
import { OsdDaemon } from './osd-daemon.js';
import type { ClusterSettings } from './settings.js';

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
  /** PGs by state: `{'active+clean': 32}`. */
  pgs: Record<string, number>;
  /** Clients that are connected to the monitor. */
  clients: number;
}

/** What stands before any daemon runs. */
interface Ground {
  readonly messenger: MessengerContext;
  readonly settings: ClusterSettings;
  readonly crushMappers: CrushMappers;
  readonly stores: ClusterStores;
  readonly failures: DiskFailures;
}

type OnDiskFailure = (daemon: 'mon' | number, error: Error) => void;

/** A disk may fail before there is anybody to do something about it. */
class DiskFailures {
  #early: Parameters<OnDiskFailure>[] = [];
  #listener: OnDiskFailure | undefined;

  report(...failure: Parameters<OnDiskFailure>): void {
    if (this.#listener) this.#listener(...failure);
    else this.#early.push(failure);
  }

  listen(listener: OnDiskFailure): void {
    this.#listener = listener;
    for (const failure of this.#early.splice(0)) listener(...failure);
  }
}

export class ClusterHost {
  readonly #messenger: MessengerContext;
  readonly #settings: ClusterSettings;
  readonly #crushMappers: CrushMappers;
  readonly #monitor: Monitor;
  readonly #stores: ClusterStores;
  readonly #running: Map<number, OsdDaemon>;
  /** OSDs that begin to start, and cannot be reached yet. */
  readonly #starting = new Set<number>();
  readonly #machinery: FaultMachinery;
  readonly faults: FaultHost;
  /** Resolves when the monitor's disk failed, and the cluster with it. */
  readonly failed: Promise<Error>;
  readonly #adminSockets: AdminSockets;
  #stopped = false;

  /** Resolves when all OSDs are up and all pools are there. */
  static async start(env: Environment, settings: ClusterSettings): Promise<ClusterHost> {
    const kernels = loadKernels({ memoryBytes: KERNEL_MEMORY_BYTES });
    const messenger = { env, crc32c: createCrc32c(kernels), windows: new WindowPool(kernels) };
    const crushMappers = wasmMappers(kernels);
    const { osds, dataDir, storeLimits } = settings;
    const failures = new DiskFailures();
    const stores = await ClusterStores.open({
      env,
      crc32c: messenger.crc32c,
      osds,
      dataDir,
      limits: storeLimits,
      onFailure: (daemon, error) => failures.report(daemon, error),
    });
    try {
      const parts = { messenger, settings, crushMappers, stores, failures };
      return await ClusterHost.#startDaemons(env, parts);
    } catch (error) {
      await stores.close();
      throw error;
    }
  }

  static async #startDaemons(env: Environment, parts: Ground): Promise<ClusterHost> {
    const { messenger, settings, crushMappers, stores } = parts;
    const { host, advertise, port, preferredPort, fsid, osds, auth } = settings;
    const { size, downOutIntervalS } = settings;
    const machinery = new FaultMachinery(env, osds);
    const running = new Map<number, OsdDaemon>();
    const monitor = await Monitor.start({
      ...messenger,
      env: machinery.monEnvironment(),
      onClient: (remote, client) => machinery.network.identify(MON_NAME, remote, client),
      crushMappers,
      host,
      advertise,
      port,
      preferredPort,
      fsid,
      osds,
      auth,
      database: new MonDatabase(stores.mon),
      downOutIntervalS,
      pgStats: () => [...running.values()].flatMap((osd) => osd.pgStats()),
      scrub: (osd, pg, kind) => running.get(osd)?.scrub(pg, kind) ?? false,
      // min_size 0: half of the copies, and one for an odd number.
      poolDefaults: { size, minSize: 0, pgNum: DEFAULT_PG_NUM },
    });
    const cluster = new ClusterHost({ ...parts, monitor, machinery, running });
    try {
      await cluster.#bringUp();
      return cluster;
    } catch (error) {
      await cluster.stop();
      throw error;
    }
  }

  private constructor(
    parts: Ground & {
      monitor: Monitor;
      machinery: FaultMachinery;
      running: Map<number, OsdDaemon>;
    },
  ) {
    this.#running = parts.running;
    this.#messenger = parts.messenger;
    this.#settings = parts.settings;
    this.#crushMappers = parts.crushMappers;
    this.#monitor = parts.monitor;
    this.#stores = parts.stores;
    this.failed = new Promise((resolve) => {
      parts.failures.listen((daemon, error) => {
        if (daemon === 'mon') resolve(error);
        else this.#onDiskFailure(daemon);
      });
    });
    this.#machinery = parts.machinery;
    this.#adminSockets = new AdminSockets(parts.messenger.env);
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
      retireTickets: () => this.#monitor.retireTickets(),
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
    const checks = checkHealth(map, state.pgStats());
    return {
      fsid: map.fsid,
      monHost: this.#monitor.monHost,
      epoch: map.epoch,
      health: healthStatus(checks),
      healthChecks: checks.map(({ summary }) => summary),
      osds: this.#osdIds().map((id) => ({
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

  /** What an OSD's admin socket answers, as data: `daemon('osd.0', 'dump_ops_in_flight')`. */
  async daemon(name: string, command: string): Promise<unknown> {
    const { prefix, args } = OSD_COMMANDS.parse(command.split(/\s+/));
    return await OSD_COMMANDS.run(this.#daemonOf(name), prefix, args);
  }

  /** `osd.0.asok` and so on, and `cluster.asok`, from now until the cluster stops. */
  async openAdminSockets(dir: string): Promise<void> {
    const names = [CLUSTER_TARGET, ...this.#osdIds().map(osdName)];
    await this.#adminSockets.open(dir, names, async (name, prefix, args) =>
      name === CLUSTER_TARGET
        ? await CLUSTER_COMMANDS.print(this, prefix, args)
        : await OSD_COMMANDS.print(this.#daemonOf(name), prefix, args),
    );
  }

  #daemonOf(name: string): OsdDaemon {
    const id = /^osd\.(\d+)$/.exec(name)?.[1];
    if (id === undefined) throw new TypeError(`'${name}' is no OSD: osd.0, say`);
    this.#checkId(Number(id));
    const osd = this.#running.get(Number(id));
    if (!osd) throw new RadosError('ENOENT', `${name} is not running`, { op: 'daemon' });
    return osd;
  }

  /** Ends an OSD as a crash would: unanswered requests stay unanswered, its memory is kept for `startOsd`. */
  killOsd(id: number): void {
    this.#checkId(id);
    const osd = this.#running.get(id);
    if (!osd) throw new RadosError('ENOENT', `osd.${id} is not running`, { op: 'killOsd' });
    this.#running.delete(id);
    osd.kill();
    this.#monitor.state.osds.ended(id);
    // Its peers would find out with their next heartbeat; the host knows already.
    this.#monitor.link().reportFailure(id, id);
  }

  /** Ends an OSD in order: the map says that it is down before it goes, so that nobody waits for it. */
  async stopOsd(id: number): Promise<void> {
    this.#checkId(id);
    const osd = this.#running.get(id);
    if (!osd) throw new RadosError('ENOENT', `osd.${id} is not running`, { op: 'stopOsd' });
    this.#monitor.state.osds.ended(id);
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
    // From here on: opening its store takes a while, and nobody else may open it meanwhile.
    this.#starting.add(id);
    try {
      if (options.lost) await this.#stores.replace(id);
      else await this.#stores.reopen(id);
    } finally {
      this.#starting.delete(id);
    }
    await this.#startOsd(id);
  }

  /** Ends everything. Safe to call twice. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#adminSockets.close();
    this.faults.close();
    const running = [...this.#running.values()];
    this.#running.clear();
    await Promise.all(running.map((osd) => osd.stop()));
    await this.#monitor.close();
    await this.#stores.close();
  }

  async #bringUp(): Promise<void> {
    await this.#startAll();
    const { osdMaps } = this.#monitor.state;
    for (const { name, pgNum, size, application = 'rbd' } of this.#settings.pools) {
      if (osdMaps.map.poolIdByName(name) !== undefined) continue;
      this.#monitor.createPool({ name, pgNum, size, applications: [application] });
    }
    await this.#monitor.settled();
  }

  /** They boot when all of them listen: in one epoch, or PGs would begin with whoever was first. */
  async #startAll(): Promise<void> {
    const ids = this.#osdIds();
    let listening = 0;
    let release: () => void = () => {};
    const together = new Promise<void>((resolve) => {
      release = resolve;
    });
    const beforeBoot = () => {
      if (++listening === ids.length) release();
      return together;
    };
    const starting = ids.map((id) => this.#startOsd(id, beforeBoot));
    // Who does not get so far keeps nobody waiting: the start fails as a whole.
    for (const start of starting) start.catch(release);
    // Flags that an administrator has set hold over a restart too, and nobody waits for who may not come up.
    const { osds } = this.#monitor.state;
    await Promise.all(starting.filter((_, id) => osds.mayComeUp(id)));
  }

  /** An OSD without a disk is as good as dead, and what it holds is what was on the disk. */
  #onDiskFailure(id: number): void {
    if (this.#running.has(id)) this.killOsd(id);
  }

  #osdIds(): number[] {
    return Array.from({ length: this.#settings.osds }, (_, id) => id);
  }

  async #startOsd(id: number, beforeBoot?: () => Promise<void>): Promise<void> {
    this.#starting.add(id);
    let reachable: OsdDaemon | undefined;
    const gate = this.#machinery.gate(id);
    try {
      await OsdDaemon.start({
        ...this.#messenger,
        env: this.#machinery.osdEnvironment(id),
        id,
        host: this.#settings.host,
        advertise: this.#settings.advertise,
        mon: gate.monLink(this.#monitor.link()),
        faults: this.#machinery.osds,
        passage: () => gate.passage(),
        pingPassage: () => gate.pingPassage(),
        onClient: (remote, client) => this.#machinery.network.identify(osdName(id), remote, client),
        peers: {
          osd: (peer) => this.#machinery.peers.reach(id, peer, this.#running.get(peer)?.peer),
        },
        objectStore: this.#stores.osd(id),
        ...(beforeBoot ? { beforeBoot } : {}),
        watchTimeoutS: this.#settings.watchTimeoutS,
        pipelineMode: this.#settings.pipeline.mode,
        crushMappers: this.#crushMappers,
        // From here on it can be killed, and another may be started in its place.
        onReachable: (osd) => {
          reachable = osd;
          this.#running.set(id, osd);
          this.#starting.delete(id);
        },
      });
    } catch (error) {
      if (this.#running.get(id) === reachable) this.#running.delete(id);
      throw error;
    } finally {
      if (!reachable) this.#starting.delete(id);
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
    const { osds } = this.#settings;
    if (!Number.isInteger(id) || id < 0 || id >= osds) {
      throw new RangeError(`there is no osd.${id}: the cluster has ${osds} OSDs`);
    }
  }
}

/** `osd_pool_default_pg_num`. */
const DEFAULT_PG_NUM = 32;
