/** A client of one cluster: monitors, maps and OSDs behind pools and objects. The counterpart of librados' `Rados`. */

import type { ClusterAuth } from '../auth/method.js';
import type { Environment } from '../base/environment.js';
import { RadosError } from '../base/errors.js';
import { ADDR_TYPE, type EntityAddr, formatAddr } from '../encoding/entity.js';
import { type Crc32c, createCrc32c } from '../kernels/crc32c.js';
import type { Kernels } from '../kernels/load.js';
import type { OsdOp } from '../messages/osd-op.js';
import { type CommandResult, MonClient, type RequestOptions } from '../mon-client/mon-client.js';
import { WindowPool } from '../msgr/window-pool.js';
import { MapFollower } from '../osd-client/map-follower.js';
import { OsdClient } from '../osd-client/osd-client.js';
import type { ReplicaReads } from '../osd-client/replica-reads.js';
import type { ObjectTarget, OperateOptions, OperateResult } from '../osd-client/request.js';
import type {
  NotifyOptions,
  NotifyResult,
  Watch,
  WatchHandler,
  WatchOptions,
  WatchStatus,
} from '../osd-client/watch-types.js';
import { wasmMappers } from '../osdmap/crush-wasm.js';
import { addToBlocklist, removeFromBlocklist } from './blocklist.js';
import { IoContext, type ObjectOperator, type PoolInfo } from './io-context.js';

export interface RadosClientOptions {
  env: Environment;
  kernels: Kernels;
  /** Ways to authenticate, in order of preference. */
  auths: readonly ClusterAuth[];
  monAddrs: readonly EntityAddr[];
  /** `CON_MODE`s in order of preference, towards monitors and OSDs. */
  monModes: readonly number[];
  osdModes: readonly number[];
  /** How long `connect` may take (`client_mount_timeout`); 0 waits for ever. */
  mountTimeoutMs: number;
  /** Default deadline of object operations (`rados_osd_op_timeout`); 0 waits for ever. */
  osdOpTimeoutMs: number;
  /** Default deadline of monitor requests (`rados_mon_op_timeout`); 0 waits for ever. */
  monOpTimeoutMs: number;
  osdKeepaliveMs: number;
  osdIdleTtlMs: number;
  replicaReads: ReplicaReads;
  abortOnFull: boolean;
}

export class RadosClient implements ObjectOperator {
  readonly #options: RadosClientOptions;
  readonly #maps: MapFollower;
  readonly #monClient: MonClient;
  readonly #osdClient: OsdClient;

  private constructor(options: RadosClientOptions) {
    this.#options = options;
    const { env, kernels } = options;
    const crc32c: Crc32c = createCrc32c(kernels);
    const context = { env, crc32c, windows: new WindowPool(kernels) };
    // Never 0: a blocklist entry with nonce 0 means the whole host.
    const nonce = env.random.u32() || 1;
    this.#maps = new MapFollower({
      crc32c,
      crushMappers: wasmMappers(kernels),
      log: env.log.objecter,
      onEpoch: (epoch) => this.#monClient.subscriptionGot('osdmap', epoch),
      request: (epoch) => this.#monClient.subscribe('osdmap', epoch, { onetime: true }),
    });
    this.#monClient = new MonClient({
      ...context,
      monAddrs: options.monAddrs,
      auths: options.auths,
      modes: options.monModes,
      nonce,
      opTimeoutMs: options.monOpTimeoutMs,
      onOsdMap: (front, version) => this.#maps.handle(front, version),
      onIdentityLost: (error) => this.#osdClient.onIdentityLost(error),
    });
    this.#osdClient = new OsdClient({
      ...context,
      monClient: this.#monClient,
      modes: options.osdModes,
      nonce,
      maps: this.#maps,
      opTimeoutMs: options.osdOpTimeoutMs,
      idleTtlMs: options.osdIdleTtlMs,
      keepaliveMs: options.osdKeepaliveMs,
      replicaReads: options.replicaReads,
      abortOnFull: options.abortOnFull,
    });
  }

  /**
   * Connects: a monitor session and the first osdmap.
   * EACCES when the user or the key is refused, ETIMEDOUT when no monitor answers in `mountTimeoutMs`.
   */
  static async connect(options: RadosClientOptions, signal?: AbortSignal): Promise<RadosClient> {
    const { env, mountTimeoutMs } = options;
    const client = new RadosClient(options);
    const late = new AbortController();
    const timer =
      mountTimeoutMs > 0
        ? env.timers.after(mountTimeoutMs, () =>
            late.abort(new DOMException(`${mountTimeoutMs} ms are over`, 'TimeoutError')),
          )
        : undefined;
    try {
      await client.#monClient.start({
        timeoutMs: mountTimeoutMs,
        ...(signal ? { signal } : {}),
      });
      client.#maps.expectFsid(client.#monClient.fsid);
      // A monitor out of quorum may accept us and have no map to give.
      await client.#osdClient.waitForEpoch(
        1,
        signal ? AbortSignal.any([signal, late.signal]) : late.signal,
      );
    } catch (error) {
      client.close();
      throw error;
    } finally {
      timer?.cancel();
    }
    return client;
  }

  get fsid(): string {
    return this.#monClient.fsid;
  }

  /** `client.<globalId>` is who the OSDs see. */
  get globalId(): bigint {
    return this.#monClient.globalId;
  }

  /** This instance's address as `osd blocklist` takes it: `10.0.0.5:0/3141592`. */
  get clientAddr(): string {
    const host = this.#monClient.seenAs?.host ?? '';
    return formatAddr({ type: ADDR_TYPE.ANY, nonce: this.#monClient.nonce, host, port: 0 });
  }

  get osdMapEpoch(): number {
    return this.#maps.map?.epoch ?? 0;
  }

  /** The oldest release whose clients are let in, by its number (mimic: 13); 0: any. */
  get requireMinCompatClient(): number {
    return this.#maps.map?.osdMap.requireMinCompatClient ?? 0;
  }

  /** Operations under way. */
  get pending(): number {
    return this.#osdClient.pending;
  }

  /** Pools by the newest map that we have. */
  pools(): PoolInfo[] {
    return [...(this.#maps.map?.osdMap.poolName ?? [])].map(([id, name]) => ({ id, name }));
  }

  poolById(id: number): PoolInfo | undefined {
    const name = this.#maps.map?.poolName(id);
    return name === undefined ? undefined : { id, name };
  }

  /** ENOENT when the cluster has no such pool (by the monitors' newest map). */
  async ioctx(pool: string | number, nspace = ''): Promise<IoContext> {
    const find = () =>
      typeof pool === 'number'
        ? this.poolById(pool)
        : this.pools().find(({ name }) => name === pool);
    let info = find();
    if (!info) {
      await this.#osdClient.waitForLatestMap();
      info = find();
    }
    if (!info) {
      throw RadosError.fromErrno(-2, { op: 'open pool', target: `'${pool}'` });
    }
    return new IoContext(this, info, nspace);
  }

  operate(
    target: ObjectTarget,
    ops: readonly OsdOp[],
    options?: OperateOptions,
  ): Promise<OperateResult> {
    return this.#osdClient.operate(target, ops, options);
  }

  watch(target: ObjectTarget, handler: WatchHandler, options?: WatchOptions): Promise<Watch> {
    return this.#osdClient.watch(target, handler, options);
  }

  notify(
    target: ObjectTarget,
    payload: Uint8Array,
    options?: NotifyOptions,
  ): Promise<NotifyResult> {
    return this.#osdClient.notify(target, payload, options);
  }

  /** The watches of this client. */
  watches(): WatchStatus[] {
    return this.#osdClient.watches();
  }

  async createSelfManagedSnap(pool: number): Promise<bigint> {
    const { snapid, epoch } = await this.#monClient.createSelfManagedSnap(pool);
    await this.#osdClient.waitForEpoch(epoch);
    return snapid;
  }

  async removeSelfManagedSnap(pool: number, snapid: bigint): Promise<void> {
    const { epoch } = await this.#monClient.removeSelfManagedSnap(pool, snapid);
    await this.#osdClient.waitForEpoch(epoch);
  }

  /** A monitor command, e.g. `{prefix: 'osd pool create', pool: 'rbd'}`. */
  command(
    command: Record<string, unknown>,
    options?: RequestOptions & { input?: Uint8Array },
  ): Promise<CommandResult> {
    return this.#monClient.command(command, options);
  }

  /**
   * Fences a client (`10.0.0.5:0/3141592`): its operations fail with EBLOCKLISTED from the map on that this waits for.
   * Without `expireS` the monitors' default holds (an hour).
   */
  async blocklistAdd(addr: string, expireS?: number): Promise<void> {
    await addToBlocklist(this, addr, expireS);
    await this.#osdClient.waitForLatestMap();
  }

  async blocklistRemove(addr: string): Promise<void> {
    await removeFromBlocklist(this, addr);
    await this.#osdClient.waitForLatestMap();
  }

  /** Waits for the monitors' newest osdmap. */
  waitForLatestMap(signal?: AbortSignal): Promise<void> {
    return this.#osdClient.waitForLatestMap(signal);
  }

  /** The options that the cluster keeps for this client (`ceph config set`), as text. */
  centralConfig(): Promise<ReadonlyMap<string, string>> {
    return this.#monClient.centralConfig();
  }

  statfs() {
    return this.#monClient.statfs();
  }

  /** Rejects everything pending, ends all watches without a word to their handlers, and drops all sessions. Safe to call twice. */
  close(): void {
    this.#osdClient.close();
    this.#monClient.close();
    this.#maps.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  get environment(): Environment {
    return this.#options.env;
  }
}
