/** A client with watches on a FakeCluster whose OSDs keep them, and a record of everything that its handlers are told. */

import type { RadosError } from '../../src/base/errors.js';
import type {
  NotifyReply,
  Notification,
  StaleCause,
  Watch,
  WatchHandler,
  WatchOptions,
  WatchState,
} from '../../src/osd-client/watch-types.js';
import type { RadosClient } from '../../src/rados/rados-client.js';
import {
  type ConnectFakeOptions,
  FakeCluster,
  type FakeClusterOptions,
  POOL,
} from './fake-cluster.js';
import { WatchOsds } from './watch-osd.js';

export const bytes = (value: string): Uint8Array => new TextEncoder().encode(value);
export const text = (value: Uint8Array): string => Buffer.from(value).toString();

const clients: RadosClient[] = [];

export function closeWatchers(): void {
  for (const client of clients.splice(0)) client.close();
}

export class Watcher implements WatchHandler {
  watch!: Watch;
  /** Everything in order: `stale lost`, `notify x`, `connected`... */
  readonly events: string[] = [];
  readonly states: WatchState[] = [];
  readonly stale: StaleCause[] = [];
  readonly notified: string[] = [];
  readonly lost: RadosError[] = [];
  readonly failed: RadosError[] = [];
  readonly reregistered: [bigint, bigint][] = [];
  answer: (notification: Notification) => NotifyReply | Promise<NotifyReply> = () => undefined;
  onReregisteredDo: () => Promise<void> = () => Promise.resolve();
  onLostDo: () => void = () => {};
  onStaleDo: () => void = () => {};
  onStateDo: () => void = () => {};

  onStale(cause: StaleCause): void {
    this.stale.push(cause);
    this.events.push(`stale ${cause}`);
    this.onStaleDo();
  }

  onNotify(notification: Notification): NotifyReply | Promise<NotifyReply> {
    this.notified.push(text(notification.payload));
    this.events.push(`notify ${text(notification.payload)}`);
    return this.answer(notification);
  }

  onLost(error: RadosError): void {
    this.lost.push(error);
    this.events.push(`lost ${error.code}`);
    this.onLostDo();
  }

  onReregistered(oldCookie: bigint, newCookie: bigint): Promise<void> {
    this.reregistered.push([oldCookie, newCookie]);
    this.events.push(`reregistered ${newCookie}`);
    return this.onReregisteredDo();
  }

  onFailed(error: RadosError): void {
    this.failed.push(error);
    this.events.push(`failed ${error.code}`);
  }

  onState(state: WatchState): void {
    this.states.push(state);
    if (state === 'connected') this.events.push(state);
    this.onStateDo();
  }
}

export class WatchScene {
  readonly oid: string;
  readonly port: number;
  readonly target: { pool: number; nspace: string; oid: string };

  static async start(
    options: { cluster?: FakeClusterOptions; client?: ConnectFakeOptions } = {},
  ): Promise<WatchScene> {
    const cluster = await FakeCluster.start(options.cluster);
    const osds = new WatchOsds(cluster);
    const client = await cluster.connect(options.client);
    clients.push(client);
    return new WatchScene(cluster, osds, client);
  }

  private constructor(
    readonly cluster: FakeCluster,
    readonly osds: WatchOsds,
    /** The client that watches. */
    readonly watching: RadosClient,
  ) {
    this.oid = cluster.oidOn(0);
    this.port = cluster.osd(0).addr.port;
    this.target = { pool: POOL, nspace: '', oid: this.oid };
  }

  get world() {
    return this.cluster.world;
  }

  /** Another client. */
  async client(): Promise<RadosClient> {
    const client = await this.cluster.connect();
    clients.push(client);
    return client;
  }

  async watch({
    oid = this.oid,
    ...options
  }: WatchOptions & { oid?: string } = {}): Promise<Watcher> {
    const watcher = new Watcher();
    const target = { ...this.target, oid };
    watcher.watch = await this.world.until(this.watching.watch(target, watcher, options));
    return watcher;
  }

  /** Connections to osd.0 carry nothing, and do not end. New ones work. */
  stall(): void {
    this.#eachEnd((end) => {
      end.stalled = true;
    });
  }

  unstall(): void {
    this.#eachEnd((end) => {
      end.stalled = false;
      end.resume();
    });
  }

  /** The network on the way to osd.0 swallows everything. */
  swallow(): void {
    this.world.network.port(this.port).onConnect = 'silent';
    this.stall();
  }

  /** Connections to osd.0 break, and no others are made. */
  cut(): void {
    this.world.network.port(this.port).onConnect = 'refuse';
    for (const stream of this.world.network.to(this.port)) stream.reset();
  }

  /** After `cut` and `swallow`. */
  heal(): void {
    this.unstall();
    this.world.network.port(this.port).onConnect = 'accept';
  }

  #eachEnd(change: (end: { stalled: boolean; resume(): void }) => void): void {
    for (const stream of this.world.network.to(this.port)) {
      change(stream);
      if (stream.peer) change(stream.peer);
    }
  }
}

/** Notifies from outside; what the watchers answered. */
export async function notifiedBy(scene: WatchScene, payload: string): Promise<string[]> {
  const client = await scene.client();
  const result = await scene.world.until(client.notify(scene.target, bytes(payload)));
  return result.replies.map((reply) => text(reply.payload));
}
