/**
 * The embedded cluster and clients of it, outside of time (see `src/sim/virtual-world.ts`): monitor, OSD and clients are the real
 * ones, the network is in memory, and minutes pass in milliseconds. Each client is a process of its own as far as others
 * can tell: it can be killed, and stopped for a while.
 */

import { NoneClient } from '../../src/auth/none.js';
import { CON_MODE } from '../../src/auth/method.js';
import type { Disk } from '../../src/base/environment.js';
import type { LogOptions } from '../../src/base/log.js';
import { ClusterHost } from '../../src/cluster/cluster-host.js';
import { controlOf } from '../../src/cluster/cluster-rpc.js';
import { Faults } from '../../src/cluster/faults/faults.js';
import { type ClusterSettingsInput, resolveSettings } from '../../src/cluster/settings.js';
import { ENTITY_TYPE } from '../../src/encoding/entity.js';
import { loadKernels } from '../../src/kernels/load.js';
import type { Notification, NotifyReply, WatchHandler } from '../../src/osd-client/watch-types.js';
import { executeOne } from '../../src/rados/class-call.js';
import { getId } from '../../src/rados/cls-rbd.js';
import type { IoContext } from '../../src/rados/io-context.js';
import { decodeFirst, encodeWith } from '../../src/encoding/codec.js';
import { headerObject, idObject } from '../../src/rbd/names.js';
import {
  decodeNotifyPayload,
  encodeNotifyPayload,
  type KnownPayload,
  type NotifyPayload,
  responseMessage,
} from '../../src/rbd/notify-payloads.js';
import { primaryOnly } from '../../src/osd-client/replica-reads.js';
import { RadosClient } from '../../src/rados/rados-client.js';
import { type CreateOptions, createImage } from '../../src/rbd/create.js';
import { Image, type OpenOptions } from '../../src/rbd/image.js';
import { VirtualProcess } from '../../src/sim/virtual-process.js';
import { VirtualWorld } from '../../src/sim/virtual-world.js';
import { v2Addr } from './messengers.js';

const FSID = '5b1e1b7c-7b5d-4c0e-9b8a-0123456789ab';
const SETTINGS: ClusterSettingsInput = {
  osds: 1,
  size: 1,
  auth: 'none',
  fsid: FSID,
  pools: [{ name: 'rbd', pgNum: 8 }],
};
export class ClusterWorld {
  readonly world: VirtualWorld;
  readonly host: ClusterHost;
  readonly faults: Faults;
  readonly clients: WorldClient[] = [];

  static start(options: { seed?: number; log?: LogOptions } = {}): Promise<ClusterWorld> {
    return ClusterWorld.startIn(new VirtualWorld(options));
  }

  /** In a world that is there, with a disk if `settings` names a place on it. */
  static async startIn(
    world: VirtualWorld,
    { disk, ...input }: ClusterSettingsInput & { disk?: Disk } = {},
  ): Promise<ClusterWorld> {
    const settings = resolveSettings({ ...SETTINGS, ...input }, () => FSID);
    const env = disk ? { ...world.env, disk } : world.env;
    return new ClusterWorld(world, await world.until(ClusterHost.start(env, settings)));
  }

  private constructor(world: VirtualWorld, host: ClusterHost) {
    this.world = world;
    this.host = host;
    this.faults = new Faults(controlOf(host).faults);
  }

  get #monPort(): number {
    return Number(/:(\d+)\//.exec(this.host.describe().monHost)?.[1]);
  }

  /** Lets time pass until the promise settles, or the condition holds. */
  until<T>(goal: Promise<T> | (() => T | undefined | false)): Promise<T> {
    return this.world.until(goal);
  }

  /** A new client, connected. */
  async client(): Promise<WorldClient> {
    const process = new VirtualProcess(this.world);
    const rados = await this.until(
      RadosClient.connect({
        env: process.env,
        kernels: loadKernels({ memoryBytes: 8 << 20 }),
        auths: [new NoneClient({ entity: { type: ENTITY_TYPE.CLIENT, id: 'admin' } })],
        monAddrs: [v2Addr(this.#monPort)],
        monModes: [CON_MODE.CRC],
        osdModes: [CON_MODE.CRC],
        mountTimeoutMs: 300_000,
        osdOpTimeoutMs: 0,
        monOpTimeoutMs: 0,
        osdKeepaliveMs: 5000,
        osdIdleTtlMs: 60_000,
        replicaReads: primaryOnly(),
        abortOnFull: false,
      }),
    );
    const client = new WorldClient(this, process, rados);
    this.clients.push(client);
    return client;
  }

  async stop(): Promise<void> {
    for (const client of this.clients) client.kill();
    await this.until(this.host.stop());
  }
}

export class WorldClient {
  readonly #at: ClusterWorld;
  readonly process: VirtualProcess;
  readonly rados: RadosClient;

  constructor(at: ClusterWorld, process: VirtualProcess, rados: RadosClient) {
    this.#at = at;
    this.process = process;
    this.rados = rados;
  }

  get name(): string {
    return `client.${this.rados.globalId}`;
  }

  async create(name: string, options: CreateOptions): Promise<string> {
    return this.#at.until(createImage(this.rados, spec(name), options));
  }

  async open(name: string, options: OpenOptions = {}): Promise<Image> {
    return this.#at.until(Image.open(this.rados, spec(name), options));
  }

  /** Hears all that the clients of an image say to each other, and says nothing. */
  async observe(name: string): Promise<HeaderObserver> {
    const ioctx = await this.#at.until(this.rados.ioctx('rbd'));
    const id = await this.#at.until(executeOne(ioctx, idObject(name), getId()));
    const observer = new HeaderObserver(ioctx, headerObject(id));
    await this.#at.until(ioctx.watch(observer.oid, observer));
    return observer;
  }

  kill(): void {
    this.process.kill();
  }
}

export class HeaderObserver implements WatchHandler {
  readonly ioctx: IoContext;
  readonly oid: string;
  readonly heard: { from: bigint; payload: NotifyPayload; bytes: Uint8Array }[] = [];
  /** What it answers all the same: undefined, as a rule. */
  answer: (payload: NotifyPayload) => number | undefined = () => undefined;

  constructor(ioctx: IoContext, oid: string) {
    this.ioctx = ioctx;
    this.oid = oid;
  }

  onNotify({ payload, notifierGid }: Notification): NotifyReply {
    const decoded = decodeNotifyPayload(payload);
    this.heard.push({ from: notifierGid, payload: decoded, bytes: Uint8Array.from(payload) });
    const result = this.answer(decoded);
    return result === undefined ? undefined : encodeWith(responseMessage, { result });
  }

  /** Of one operation, in order. */
  of<Op extends NotifyPayload['op']>(op: Op): Extract<NotifyPayload, { op: Op }>[] {
    return this.heard.flatMap(({ payload }) =>
      payload.op === op ? [payload as Extract<NotifyPayload, { op: Op }>] : [],
    );
  }

  /** Says something in the words of a client's, and resolves with the results that were answered. */
  async say(payload: KnownPayload | Uint8Array): Promise<number[]> {
    const bytes = payload instanceof Uint8Array ? payload : encodeNotifyPayload(payload);
    const { replies } = await this.ioctx.notify(this.oid, bytes, { timeoutSeconds: 5 });
    return replies
      .filter(({ payload: answer }) => answer.length > 0)
      .map(({ payload: answer }) => decodeFirst(responseMessage, answer).result);
  }

  onStale(): void {}
  onLost(): void {}
  async onReregistered(): Promise<void> {}
  onFailed(): void {}
}

/** Of `vm1` or `vm1@snapshot`. */
function spec(text: string) {
  const [name = '', snap] = text.split('@');
  return { pool: 'rbd', namespace: '', name, ...(snap === undefined ? {} : { snap }) };
}
