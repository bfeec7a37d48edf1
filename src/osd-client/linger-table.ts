/** All watches and notifications of one client: who is meant by a cookie, and what happens to all of them at once. */

import type { Timer } from '../base/environment.js';
import { abortError, RadosError } from '../base/errors.js';
import { decodeFirst } from '../encoding/codec.js';
import { notifyAckOp } from '../messages/osd-op.js';
import type { IncomingMessage } from '../messages/types.js';
import { WATCH_EVENT, watchNotify } from '../messages/watch-notify.js';
import type { LingerTransport } from './linger-op.js';
import type { MapUpdate } from './map-follower.js';
import { LingerNotify } from './notify.js';
import type { OpRequest } from './op-request.js';
import type { ObjectTarget } from './request.js';
import type { OsdSession } from './session.js';
import { LingerWatch } from './watch.js';
import {
  CLOCK_CHECK_MS,
  CLOCK_JUMP_MS,
  RECONNECTS_PER_S,
  WATCH_TIMEOUT_S,
  watchTimes,
} from './watch-times.js';
import type {
  NotifyOptions,
  NotifyResult,
  Watch,
  WatchHandler,
  WatchOptions,
  WatchStatus,
} from './watch-types.js';

const MAX_WATCHES = 65_536;
const MAX_NOTIFIES = 65_536;
/** Cookies that are remembered after their end; then the oldest are forgotten. */
const MAX_TOMBSTONES = 4096;
/** How often held registrations are looked at. */
const PACE_MS = 50;
const NOTHING: Uint8Array = new Uint8Array(0);

/** Where a cookie leads that is no longer ours. */
interface Tombstone {
  target: ObjectTarget;
  until: number;
}

export class LingerTable {
  readonly #transport: LingerTransport;
  readonly #watches = new Set<LingerWatch>();
  readonly #watchOf = new Map<bigint, LingerWatch>();
  readonly #notifyOf = new Map<bigint, LingerNotify>();
  readonly #notifies = new Set<LingerNotify>();
  readonly #tombstones = new Map<bigint, Tombstone>();
  readonly #pace: Pace;
  #lastCookie = 0n;
  #clockTimer: Timer | undefined;
  #seen = { monotonic: 0, wall: 0 };
  #closed = false;

  constructor(transport: LingerTransport) {
    this.#transport = transport;
    this.#pace = new Pace(transport);
  }

  /** Resolves when the OSD has the watch. */
  async watch(
    target: ObjectTarget,
    handler: WatchHandler,
    { timeoutSeconds = WATCH_TIMEOUT_S, signal }: WatchOptions = {},
  ): Promise<Watch> {
    this.#admit('watch', target, this.#watches.size < MAX_WATCHES, signal);
    const times = watchTimes(timeoutSeconds, this.#transport.keepaliveMs);
    const watch = new LingerWatch(target, handler, {
      transport: this.#transport,
      times,
      timeoutSeconds,
      nextCookie: (owner) => this.#nextCookie(this.#watchOf, owner),
      retire: (cookie) => this.#retire(cookie, target, times.timeoutMs),
      forget: (ended) => this.#forget(ended),
      ack: (cookie, notifyId, reply, onSent) =>
        this.#ack(target, { cookie, notifyId, reply, onSent }),
      admit: (request) => this.#pace.admit(request),
      checkClock: () => this.checkClock(),
    });
    this.#watches.add(watch);
    this.#watchClock();
    const onAbort = () => void watch.close();
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      await watch.register();
    } catch (error) {
      throw signal?.aborted ? abortError(signal, { op: 'watch', target: target.oid }) : error;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
    return watch;
  }

  /** Resolves when all watchers have answered, or the time is over. */
  async notify(
    target: ObjectTarget,
    payload: Uint8Array,
    options: NotifyOptions = {},
  ): Promise<NotifyResult> {
    this.#admit('notify', target, this.#notifies.size < MAX_NOTIFIES, options.signal);
    const notification = new LingerNotify(target, payload, options, {
      transport: this.#transport,
      nextCookie: (owner) => this.#nextCookie(this.#notifyOf, owner),
      retire: (cookie) => this.#notifyOf.delete(cookie),
    });
    this.#notifies.add(notification);
    try {
      notification.send();
      return await notification.promise;
    } finally {
      this.#notifies.delete(notification);
    }
  }

  statuses(): WatchStatus[] {
    return [...this.#watches].map((watch) => watch.status());
  }

  /** Takes a MWatchNotify. */
  handle(message: IncomingMessage): void {
    const event = decodeFirst(watchNotify, message.front);
    switch (event.event) {
      case WATCH_EVENT.NOTIFY: {
        const watch = this.#watchOf.get(event.cookie);
        if (watch) watch.onNotify(event);
        else this.#onOrphan(event);
        return;
      }
      case WATCH_EVENT.COMPLETE:
        this.#notifyOf.get(event.cookie)?.onComplete(event, message.data);
        return;
      case WATCH_EVENT.DISCONNECT:
        this.#watchOf.get(event.cookie)?.onDisconnect();
        return;
      default:
        this.#transport.env.log.objecter.debug({ event: event.event }, 'unknown watch event');
    }
  }

  onSessionGone(session: OsdSession): void {
    if (session.lingers === 0) return;
    for (const watch of [...this.#watches]) watch.onSessionGone(session);
    for (const notification of [...this.#notifies]) notification.onSessionGone(session);
  }

  onMapUpdate(update: MapUpdate): void {
    for (const watch of [...this.#watches]) watch.onMapUpdate(update);
    for (const notification of [...this.#notifies]) notification.onMapUpdate(update);
  }

  /**
   * Compares the clocks with what they were. When this thread did not run for a while (a long computation, SIGSTOP), or the
   * machine slept (then only the wall clock saw it), no watch counts as good before the OSD said so. A wall clock that
   * is set forward does no more harm than one question.
   */
  checkClock(): void {
    if (this.#watches.size === 0) return;
    const { clock } = this.#transport.env;
    const now = { monotonic: clock.monotonic(), wall: clock.now() };
    const ranMs = now.monotonic - this.#seen.monotonic;
    const sleptMs = now.wall - this.#seen.wall - ranMs;
    this.#seen = now;
    if (ranMs <= CLOCK_CHECK_MS + CLOCK_JUMP_MS && sleptMs <= CLOCK_JUMP_MS) return;
    this.#transport.env.log.objecter.warn({ ranMs, sleptMs }, 'the clock jumped');
    for (const watch of [...this.#watches]) watch.onClockJump(Math.max(0, sleptMs));
  }

  /** Everybody's end, without a word to OSDs or handlers. */
  close(error: RadosError): void {
    this.#closed = true;
    this.#clockTimer?.cancel();
    this.#pace.close();
    for (const watch of [...this.#watches]) watch.abandon();
    for (const notification of [...this.#notifies]) notification.end(error);
    this.#watches.clear();
    this.#watchOf.clear();
    this.#tombstones.clear();
  }

  #admit(op: string, { oid }: ObjectTarget, hasRoom: boolean, signal?: AbortSignal): void {
    const options = { op, target: oid, outcome: 'not-applied' } as const;
    if (this.#closed) {
      throw new RadosError('ENOTCONN', `${op} ${oid}: the client was closed`, options);
    }
    if (signal?.aborted) throw abortError(signal, options);
    if (!hasRoom) throw new RadosError('EAGAIN', `${op} ${oid}: too many at once`, options);
  }

  /** Unique for the life of the client, whatever it is used for: an OSD knows watches by client and cookie. */
  #nextCookie<T>(owners: Map<bigint, T>, owner: T): bigint {
    const cookie = ++this.#lastCookie;
    owners.set(cookie, owner);
    return cookie;
  }

  #retire(cookie: bigint, target: ObjectTarget, ttlMs: number): void {
    this.#watchOf.delete(cookie);
    this.#tombstones.delete(cookie);
    this.#tombstones.set(cookie, { target, until: this.#transport.env.clock.monotonic() + ttlMs });
    if (this.#tombstones.size <= MAX_TOMBSTONES) return;
    const [oldest] = this.#tombstones.keys();
    if (oldest !== undefined) this.#tombstones.delete(oldest);
  }

  #forget(watch: LingerWatch): void {
    this.#watches.delete(watch);
    if (this.#watches.size > 0) return;
    this.#clockTimer?.cancel();
    this.#clockTimer = undefined;
  }

  /** A notifier must not wait for a registration that is over, while the OSD still lists it. */
  #onOrphan({ cookie, notifyId }: { cookie: bigint; notifyId: bigint }): void {
    const tombstone = this.#tombstones.get(cookie);
    if (!tombstone) {
      this.#transport.env.log.objecter.debug({ cookie: String(cookie) }, 'notify to nobody');
    } else if (tombstone.until < this.#transport.env.clock.monotonic()) {
      this.#tombstones.delete(cookie);
    } else {
      this.#ack(tombstone.target, { cookie, notifyId, reply: NOTHING, onSent: () => {} });
    }
  }

  /** Once only: to a watch that is connected again, the OSD repeats the notification. */
  #ack(
    target: ObjectTarget,
    ack: { cookie: bigint; notifyId: bigint; reply: Uint8Array; onSent: () => void },
  ): void {
    const { onSent } = ack;
    this.#transport.submit(target, notifyAckOp(ack.notifyId, ack.cookie, ack.reply), {
      admit: () => true,
      onSent,
      onResult: () => {},
      onFailed: onSent,
      onUnanswered: onSent,
    });
  }

  #watchClock(): void {
    if (this.#clockTimer) return;
    const { clock, timers } = this.#transport.env;
    this.#seen = { monotonic: clock.monotonic(), wall: clock.now() };
    const check = () => {
      this.checkClock();
      this.#clockTimer = timers.after(CLOCK_CHECK_MS, check, { background: true });
    };
    this.#clockTimer = timers.after(CLOCK_CHECK_MS, check, { background: true });
  }
}

/** Lets so many registrations per second go: a second's worth at once, the others in order as time passes. */
class Pace {
  readonly #transport: LingerTransport;
  readonly #held = new Set<OpRequest>();
  #tokens = RECONNECTS_PER_S;
  #filledAt = 0;
  #timer: Timer | undefined;

  constructor(transport: LingerTransport) {
    this.#transport = transport;
  }

  admit(request: OpRequest): boolean {
    const now = this.#transport.env.clock.monotonic();
    const gained = ((now - this.#filledAt) * RECONNECTS_PER_S) / 1000;
    this.#tokens = Math.min(RECONNECTS_PER_S, this.#tokens + gained);
    this.#filledAt = now;
    if (this.#tokens < 1) {
      this.#held.add(request);
      this.#timer ??= this.#transport.env.timers.after(PACE_MS, () => this.#release());
      return false;
    }
    this.#held.delete(request);
    this.#tokens--;
    return true;
  }

  close(): void {
    this.#timer?.cancel();
    this.#held.clear();
  }

  #release(): void {
    this.#timer = undefined;
    const held = [...this.#held];
    this.#held.clear();
    for (const request of held) this.#transport.sendHeld(request);
  }
}
