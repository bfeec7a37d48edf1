/** What an embedded cluster is made of, decided once: plain data that goes to its thread. */

import type { LogOptions } from '../base/log.js';
import type { StoredCluster } from './data-directory.js';
import { isAddress } from './mon/addresses.js';
import { PIPELINE_MODES, type PipelineMode } from './osd/pipeline/pg-pipeline.js';
import type { StoreLimits } from './store/durable/durable-store.js';

export { PIPELINE_MODES, type PipelineMode };

export interface PoolOptions {
  name: string;
  /** Placement groups. Default 32. */
  pgNum?: number;
  /** Copies. Default: the cluster's `size`. */
  size?: number;
  /** What the pool is for. Default `rbd`. */
  application?: string;
}

export interface PipelineOptions {
  /**
   * How much of an OSD's work goes side by side. `object`, the default: requests of one object follow one another. `object-rw`:
   * reads of one object go together. `seed`: those of a PG follow one another, one at a time.
   */
  mode: PipelineMode;
}

export interface ClusterSettings {
  osds: number;
  /** Copies of new pools. */
  size: number;
  pools: readonly PoolOptions[];
  auth: 'cephx' | 'none';
  host: string;
  /** Where clients are told that the daemons are; undefined: where they listen. */
  advertise: string | undefined;
  port: number;
  /** Where the monitor listened before: taken when it is free and `port` leaves the choice. */
  preferredPort: number;
  fsid: string;
  /** Where the daemons keep what they have; without it, in memory. */
  dataDir: string | undefined;
  storeLimits: Partial<StoreLimits>;
  watchTimeoutS: number;
  downOutIntervalS: number;
  pipeline: PipelineOptions;
  log: LogOptions;
}

/** Numbers that keep a cluster within one thread's means. */
export const LIMITS = { osds: 64, size: 10, pools: 1000 } as const;

export interface ClusterSettingsInput {
  /** How many OSDs. Default 3. */
  osds?: number;
  /**
   * Copies of every object. Default 2 (1 with a single OSD), so that an OSD may fail; for benchmarks take 1, which
   * writes everything once.
   */
  size?: number;
  /** Pools that are there from the start, by name or with options. Default none. */
  pools?: readonly (string | PoolOptions)[];
  /** Default `cephx`: as on real clusters. */
  auth?: 'cephx' | 'none';
  /**
   * Address to listen on. Default 127.0.0.1; with any other, others than programs of this machine may reach the cluster, of
   * which a warning tells (`LINGER_CLUSTER_EXPOSED`).
   */
  host?: string;
  /**
   * The IP address that the maps and ceph.conf have for the daemons, where it is another than `host` (Ceph's `public addr`):
   * with `host: '0.0.0.0'`, or where addresses are translated. Ports are the same on both.
   */
  advertise?: string;
  /** The monitor's port. Default 0: any free one. OSDs always take free ones. */
  port?: number;
  /** Default: a new one. */
  fsid?: string;
  /**
   * Keeps everything in this directory, which is made when missing: the next cluster that starts with it is the same one,
   * with its keys and its data, however this one ended. One cluster at a time. Default: everything in memory.
   */
  dataDir?: string;
  /** When the OSDs' stores in `dataDir` flush and make checkpoints: for tests, which want more of it than is good. */
  storeLimits?: Partial<StoreLimits>;
  /** `osd_client_watch_timeout`: how long a silent watcher is kept. Default 30. */
  watchTimeoutS?: number;
  /** `mon_osd_down_out_interval`: when an OSD that is down loses its data's places to others. Default 600. */
  downOutIntervalS?: number;
  /** How the OSDs order requests. Default `{ mode: 'object' }`. */
  pipeline?: Partial<PipelineOptions>;
  /** Logs of the cluster, to stderr. Default: silent. */
  log?: LogOptions;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/**
 * Checks the options and fills in defaults, from the cluster that is there already if there is one. RangeError and
 * TypeError name what is wrong.
 */
export function resolveSettings(
  input: ClusterSettingsInput,
  generateFsid: () => string,
  stored?: StoredCluster,
): ClusterSettings {
  const osds = integer('osds', input.osds ?? stored?.osds ?? 3, 1, LIMITS.osds);
  if (stored && osds !== stored.osds) {
    throw new RangeError(`the cluster that is there has ${stored.osds} OSDs, not ${osds}`);
  }
  const wantedSize = input.size ?? stored?.size ?? Math.min(osds, 2);
  const size = integer('size', wantedSize, 1, Math.min(osds, LIMITS.size));
  const pools = (input.pools ?? []).map((pool) => resolvePool(pool, osds));
  if (pools.length > LIMITS.pools) throw new RangeError(`more than ${LIMITS.pools} pools`);
  if (new Set(pools.map(({ name }) => name)).size !== pools.length) {
    throw new RangeError('two pools have the same name');
  }
  const auth = input.auth ?? stored?.auth ?? 'cephx';
  if (auth !== 'cephx' && auth !== 'none') throw new TypeError(`auth '${String(auth)}' is unknown`);
  const fsid = input.fsid ?? stored?.fsid ?? generateFsid();
  if (!UUID.test(fsid)) throw new TypeError(`fsid '${fsid}' is not a uuid`);
  if (stored && fsid !== stored.fsid) {
    throw new TypeError(`the cluster that is there is ${stored.fsid}, not ${fsid}`);
  }
  const host = input.host ?? '127.0.0.1';
  return Object.freeze({
    osds,
    size,
    pools,
    auth,
    host,
    advertise: resolveAdvertise(host, input.advertise),
    port: integer('port', input.port ?? 0, 0, 65535),
    preferredPort: stored?.monPort ?? 0,
    fsid,
    dataDir: input.dataDir,
    storeLimits: input.storeLimits ?? {},
    watchTimeoutS: seconds('watchTimeoutS', input.watchTimeoutS ?? 30),
    downOutIntervalS: seconds('downOutIntervalS', input.downOutIntervalS ?? 600),
    pipeline: resolvePipeline(input.pipeline),
    log: input.log ?? {},
  });
}

function resolveAdvertise(host: string, advertise: string | undefined): string | undefined {
  if (advertise !== undefined && (!isAddress(advertise) || isWildcard(advertise))) {
    throw new TypeError(`advertise must be an IP address of one host, not '${advertise}'`);
  }
  if (advertise === undefined && isWildcard(host)) {
    throw new TypeError(`no client can reach '${host}': advertise tells an address that they can`);
  }
  return advertise;
}

/** Whether it stands for all addresses of this machine. */
export function isWildcard(host: string): boolean {
  return ['', '0.0.0.0'].includes(host) || /^[0:]*:[0:]*$/.test(host);
}

/** Whether programs of this machine alone can reach an address. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

function resolvePipeline({ mode = 'object' }: Partial<PipelineOptions> = {}): PipelineOptions {
  if (!PIPELINE_MODES.includes(mode)) {
    throw new TypeError(`pipeline mode '${String(mode)}' is none of ${PIPELINE_MODES.join(', ')}`);
  }
  return { mode };
}

function resolvePool(pool: string | PoolOptions, osds: number): PoolOptions {
  const options = typeof pool === 'string' ? { name: pool } : { ...pool };
  if (options.name === '') throw new TypeError('a pool needs a name');
  if (options.pgNum !== undefined) integer('pgNum', options.pgNum, 1, 65536);
  if (options.size !== undefined) integer('size', options.size, 1, Math.min(osds, LIMITS.size));
  return options;
}

function integer(name: string, value: number, min: number, max: number): number {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`${name} must be a whole number from ${min} to ${max}, not ${value}`);
  }
  return value;
}

function seconds(name: string, value: number): number {
  if (!(value > 0 && value <= 86400 * 365)) {
    throw new RangeError(`${name} must be a number of seconds, not ${value}`);
  }
  return value;
}
