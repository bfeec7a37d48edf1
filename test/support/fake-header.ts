/**
 * A header object with its watchers, in virtual time: notifications go to every watch, in order, and end when all have
 * acknowledged or the time is up, as at an OSD.
 */

import { RadosError } from '../../src/base/errors.js';
import type {
  Notification,
  NotifyOptions,
  NotifyReply,
  NotifyResult,
  Watch,
  WatchHandler,
} from '../../src/osd-client/watch-types.js';
import type { WatchContext } from '../../src/rbd/image-watcher.js';
import { decodeNotifyPayload, type NotifyPayload } from '../../src/rbd/notify-payloads.js';
import type { VirtualWorld } from '../../src/sim/virtual-world.js';

const DEFAULT_TIMEOUT_S = 30;

interface Watcher {
  gid: bigint;
  cookie: bigint;
  handler: WatchHandler;
  /** Neither hears nor acknowledges anything. */
  deaf: boolean;
}

export class FakeHeader {
  readonly world: VirtualWorld;
  readonly watchers: Watcher[] = [];
  /** Every notification, in order. */
  readonly sent: { gid: bigint; at: number; payload: NotifyPayload }[] = [];
  /** What the next notifications fail with. */
  failures: RadosError[] = [];
  #lastCookie = 100n;
  #lastNotifyId = 0n;

  constructor(world: VirtualWorld) {
    this.world = world;
  }

  context(gid: bigint): WatchContext {
    return {
      describe: (oid) => `rbd/${oid}`,
      watch: async (oid, handler) => this.#watch(gid, oid, handler),
      notify: (_oid, payload, options) => this.notify(gid, payload, options),
    };
  }

  /** Payloads of one operation that were sent. */
  sentOf<Op extends NotifyPayload['op']>(op: Op): Extract<NotifyPayload, { op: Op }>[] {
    return this.sent.flatMap(({ payload }) =>
      payload.op === op ? [payload as Extract<NotifyPayload, { op: Op }>] : [],
    );
  }

  /** The watch of a client comes under another cookie, as after it was lost. */
  async reregister(gid: bigint): Promise<void> {
    const watcher = this.#watcherOf(gid);
    const old = watcher.cookie;
    watcher.handler.onLost(new RadosError('ENOTCONN', 'the watch is gone'));
    watcher.cookie = ++this.#lastCookie;
    await watcher.handler.onReregistered(old, watcher.cookie);
  }

  setDeaf(gid: bigint, deaf: boolean): void {
    this.#watcherOf(gid).deaf = deaf;
  }

  cookieOf(gid: bigint): bigint {
    return this.#watcherOf(gid).cookie;
  }

  /** What one client answers to a notification, at once or when its promise settles. */
  deliver(
    gid: bigint,
    payload: Uint8Array,
    notifierGid = 4999n,
  ): NotifyReply | Promise<NotifyReply> {
    const watcher = this.#watcherOf(gid);
    return watcher.handler.onNotify(this.#notification(watcher, payload, notifierGid));
  }

  async notify(
    gid: bigint,
    payload: Uint8Array,
    { timeoutSeconds = DEFAULT_TIMEOUT_S }: NotifyOptions = {},
  ): Promise<NotifyResult> {
    this.sent.push({ gid, at: this.world.now, payload: decodeNotifyPayload(payload) });
    const failure = this.failures.shift();
    if (failure) throw failure;
    const result: NotifyResult = { notifyId: ++this.#lastNotifyId, replies: [], missed: [] };
    await Promise.all(
      this.watchers.map(async (watcher) => {
        const { gid: watcherGid, cookie } = watcher;
        const reply = await this.#reply(watcher, payload, gid, timeoutSeconds);
        if (reply === 'missed') result.missed.push({ gid: watcherGid, cookie });
        else result.replies.push({ gid: watcherGid, cookie, payload: reply });
      }),
    );
    return result;
  }

  #reply(
    watcher: Watcher,
    payload: Uint8Array,
    notifierGid: bigint,
    timeoutSeconds: number,
  ): Promise<Uint8Array | 'missed'> {
    return new Promise((resolve, reject) => {
      const timer = this.world.after(timeoutSeconds * 1000, () => resolve('missed'));
      this.world.after(0.1, () => {
        if (watcher.deaf) return;
        Promise.resolve(
          watcher.handler.onNotify(this.#notification(watcher, payload, notifierGid)),
        ).then((reply) => {
          timer.cancel();
          resolve(reply ?? new Uint8Array(0));
        }, reject);
      });
    });
  }

  #notification(watcher: Watcher, payload: Uint8Array, notifierGid: bigint): Notification {
    return {
      notifyId: this.#lastNotifyId,
      cookie: watcher.cookie,
      notifierGid,
      payload: payload.slice(),
    };
  }

  #watch(gid: bigint, oid: string, handler: WatchHandler): Watch {
    const watcher: Watcher = { gid, cookie: ++this.#lastCookie, handler, deaf: false };
    this.watchers.push(watcher);
    return {
      get cookie() {
        return watcher.cookie;
      },
      state: 'connected',
      validThru: 0,
      check: () => 0,
      verify: async () => undefined,
      flush: async () => undefined,
      close: async () => {
        const at = this.watchers.indexOf(watcher);
        if (at >= 0) this.watchers.splice(at, 1);
      },
      status: () => {
        throw new Error(`${oid} is not a real object`);
      },
    };
  }

  #watcherOf(gid: bigint): Watcher {
    const watcher = this.watchers.find((other) => other.gid === gid);
    if (!watcher) throw new Error(`client.${gid} does not watch`);
    return watcher;
  }
}
