/**
 * One watch: registered with the primary of its object, pinged, connected again, and registered again when it was lost.
 *
 *     registering ──> connected <──> pinging ──late──> suspect
 *         │               │   ^         │                 │      session or interval gone, -ETIMEDOUT, unpaused:
 *         │               └───┼─────────┴─────────────────┴───> reconnecting <──> homeless
 *         │                   └────────────────────────────────────┘ │
 *         │                                                          │ -ENOTCONN, and from anywhere: DISCONNECT
 *         │     connected <── reregistering <──> backoff <── error <─┘
 *         v
 *     failed (object or pool gone), blocklisted; and from anywhere: unregistering ──> closed
 *
 * Behaves as `Objecter::LingerOp` and krbd's `ceph_osd_linger_request` together with what both leave to their users
 * (registering again, `librbd/watcher/RewatchRequest.cc`, `rbd_reregister_watch`), but for one thing: a reconnect, even a
 * successful one, makes what was read under the watch stale. While we were away a notification may have started and timed
 * out, and nobody would ever tell.
 */

import type { Timer } from '../base/environment.js';
import { isRadosError, RadosError } from '../base/errors.js';
import { formatPgId } from '../encoding/types.js';
import { type OsdOp, WATCH_OP, watchOp } from '../messages/osd-op.js';
import type { WatchNotify } from '../messages/watch-notify.js';
import type { MapUpdate } from './map-follower.js';
import { type ObjectTarget, PoolGoneError } from './request.js';
import type { OsdSession } from './session.js';
import { SessionPin } from './session-pin.js';
import { intervalOf, placeObject, watchesPaused } from './target.js';
import { Verifications } from './verifications.js';
import { HandlerCalls, type WatchContext } from './watch-context.js';
import { WatchDeliveries } from './watch-deliveries.js';
import { WatchInquiry } from './watch-inquiry.js';
import { WatchPings } from './watch-pings.js';
import { CLOSE_FLUSH_MS, reregisterDelayMs } from './watch-times.js';
import type { StaleCause, Watch, WatchHandler, WatchState, WatchStatus } from './watch-types.js';

const ENDED: ReadonlySet<WatchState> = new Set(['blocklisted', 'failed', 'closed']);
/** Coming and going with every ping: not worth a line in the log of a production system. */
const ROUTINE: ReadonlySet<WatchState> = new Set(['connected', 'pinging']);

export class LingerWatch implements Watch {
  readonly target: ObjectTarget;
  readonly #context: WatchContext;
  readonly #handler: HandlerCalls;
  readonly #deliveries: WatchDeliveries;
  #state: WatchState = 'registering';
  #cookie = 0n;
  #generation = 0;
  /** The OSD is believed to have our cookie. */
  #registered = false;
  /** The handler has done what a new registration asks for (`onReregistered`). */
  #settled = false;
  /** The session whose connection the watch lives on. */
  readonly #pin: SessionPin;
  #interval: string | undefined;
  #paused = false;
  readonly #inquiry: WatchInquiry;
  readonly #pings: WatchPings;
  #backoffTimer: Timer | undefined;
  #closeTimer: Timer | undefined;
  #validThru = Number.NEGATIVE_INFINITY;
  readonly #verifications = new Verifications();
  /** Registrations since the last one that was answered a ping. */
  #attempts = 0;
  #lastError: RadosError | undefined;
  #start: { resolve: () => void; reject: (error: RadosError) => void } | undefined;
  #closing: { promise: Promise<void>; resolve: () => void } | undefined;
  #reconnects = 0;
  #reregistrations = 0;
  #losses = 0;

  constructor(target: ObjectTarget, handler: WatchHandler, context: WatchContext) {
    this.target = target;
    this.#context = context;
    const log = context.transport.env.log.objecter;
    this.#handler = new HandlerCalls(handler, log);
    this.#deliveries = new WatchDeliveries(handler, {
      ack: ({ cookie, notifyId }, reply, onSent) => context.ack(cookie, notifyId, reply, onSent),
      log,
    });
    const { transport } = context;
    this.#pin = new SessionPin(transport.env.clock);
    this.#inquiry = new WatchInquiry(transport, target, context.times, {
      admit: context.admit,
      onRegistering: (session) => this.#pin.moveTo(session),
      onSent: () => this.#followHome(),
    });
    this.#pings = new WatchPings(transport, target, context.times, {
      op: () => watchOp(WATCH_OP.PING, this.#cookie, { gen: this.#generation }),
      session: () => this.#pingable,
      onAsked: (cause) => {
        if (this.#state === 'connected') this.#enter('pinging', cause);
      },
      onPong: (sentAt) => {
        this.#attempts = 0;
        this.#confirm(sentAt, 'pong');
      },
      onRefused: (error) => this.#onRefused(this.#radosError(error), 'ping'),
      onLate: () => {
        if (this.#state === 'pinging') this.#enter('suspect', 'late ping');
      },
    });
  }

  get cookie(): bigint {
    return this.#cookie;
  }

  get state(): WatchState {
    return this.#state;
  }

  get validThru(): number {
    this.#context.checkClock();
    return this.#validThru;
  }

  get #ended(): boolean {
    return ENDED.has(this.#state);
  }

  /** Ended, or asked to. */
  get #over(): boolean {
    return this.#ended || this.#closing !== undefined;
  }

  /** The OSD is believed to have it, and it is to stay. */
  get #live(): boolean {
    return this.#registered && !this.#closing;
  }

  /** Where a ping makes sense. */
  get #pingable(): OsdSession | undefined {
    return this.#live && !this.#inquiry.open && !this.#paused ? this.#pin.session : undefined;
  }

  get #now(): number {
    return this.#context.transport.env.clock.monotonic();
  }

  // ---- what its owner asks ----

  /** Resolves when the OSD has it. Rejects with the OSD's errno; then the watch is over. */
  register(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#start = { resolve, reject };
      this.#cookie = this.#context.nextCookie(this);
      const { map } = this.#context.transport;
      this.#interval = map && intervalOf(map, this.target);
      this.#paused = map !== undefined && watchesPaused(map);
      this.#askWatch(
        (sentAt) => this.#onRegistered(sentAt),
        (error) => this.#end(error, 'refused'),
      );
    });
  }

  check(): number {
    const validThru = this.validThru;
    if (!this.#registered) throw this.#lastError ?? this.#closedError();
    return this.#now - validThru;
  }

  verify(): Promise<void> {
    this.#context.checkClock();
    if (this.#over) return Promise.reject(this.#lastError ?? this.#closedError());
    this.#verifications.demand(this.#now);
    this.#pings.send('verification');
    return this.#verifications.wait();
  }

  flush(): Promise<void> {
    return this.#deliveries.flush();
  }

  close(): Promise<void> {
    if (this.#closing) return this.#closing.promise;
    if (this.#ended) return Promise.resolve();
    let resolve = () => {};
    const promise = new Promise<void>((settle) => {
      resolve = settle;
    });
    this.#closing = { promise, resolve };
    this.#deliveries.stop();
    this.#pings.quiet();
    this.#backoffTimer?.cancel();
    this.#verifications.reject(this.#closedError());
    const { env } = this.#context.transport;
    // An OSD that does not answer for so long has dropped the watch, or does so by itself.
    this.#closeTimer = env.timers.after(this.#context.times.timeoutMs, () =>
      this.#finish('time is over'),
    );
    this.#start?.reject(this.#closedError());
    const registers = this.#state === 'registering' || this.#state === 'reregistering';
    // A registration under way is waited for: sent after it, the unwatch is sure to come after it too.
    if (registers && this.#inquiry.open) return promise;
    this.#unwatch();
    return promise;
  }

  status(): WatchStatus {
    const { map } = this.#context.transport;
    const placement = map && placeObject(map, this.target);
    return {
      oid: this.target.oid,
      cookie: String(this.#cookie),
      generation: this.#generation,
      state: this.#state,
      osd: placement?.osd ?? -1,
      pg: placement ? formatPgId(placement.pg) : '',
      age: this.#now - this.#validThru,
      pings: this.#pings.count,
      reconnects: this.#reconnects,
      reregistrations: this.#reregistrations,
      losses: this.#losses,
      lastError: this.#lastError?.message,
      queued: this.#deliveries.unanswered,
    };
  }

  // ---- what the table hears ----

  onNotify(event: WatchNotify): void {
    this.#deliveries.receive(event);
  }

  /** The OSD says that the registration is gone. */
  onDisconnect(): void {
    if (!this.#live) return;
    this.#lose(this.#error('ENOTCONN', 'the OSD dropped the watch'), 'disconnected');
  }

  onSessionGone(session: OsdSession): void {
    if (this.#pin.session !== session) return;
    this.#pin.moveTo(undefined);
    // An inquiry under way is asked again by itself.
    if (this.#live && !this.#inquiry.open) this.#reconnect('session lost');
  }

  onMapUpdate({ map, passed, skipped }: MapUpdate): void {
    if (this.#ended) return;
    const { addr } = this.#context.transport;
    if (addr && map.osdMap.isBlocklisted(addr)) {
      this.#end(this.#error('EBLOCKLISTED', 'the osdmap has this client blocklisted'), 'osdmap');
      return;
    }
    const known = this.#interval;
    this.#interval = intervalOf(map, this.target);
    const moved = skipped || passed.some((each) => intervalOf(each, this.target) !== known);
    const wasPaused = this.#paused;
    this.#paused = watchesPaused(map);
    if (moved) this.#onInterval(map.epoch);
    else if (wasPaused && !this.#paused && this.#live && !this.#inquiry.open) {
      this.#reconnect('unpaused');
    }
    if (this.#paused) {
      // Without pings no OSD tells us of newer maps.
      this.#context.transport.wantNewerMap();
      this.#pings.quiet();
    }
    this.#followHome();
  }

  /** This thread did not run for a while, or slept with the machine; `sleptMs` is what no timer saw. */
  onClockJump(sleptMs: number): void {
    if (this.#over) return;
    this.#stale('clock');
    this.#verifications.demand(this.#now);
    this.#validThru -= sleptMs;
    this.#inquiry.shift(sleptMs);
    this.#pings.shift(sleptMs);
    if (this.#state === 'connected' || this.#state === 'pinging') {
      this.#enter('suspect', 'clock jump');
    }
    this.#pings.send('clock jump');
  }

  /** The client is closed: nothing is said to anybody any more. */
  abandon(): void {
    if (this.#ended) return;
    const error = this.#closedError();
    this.#lastError ??= error;
    this.#deliveries.close();
    this.#letGo();
    this.#state = 'closed';
    this.#start?.reject(error);
    this.#verifications.reject(error);
    this.#closing?.resolve();
  }

  // ---- registration ----

  #onRegistered(sentAt: number): void {
    this.#registered = true;
    this.#settled = true;
    this.#generation = 1;
    if (this.#closing) {
      this.#unwatch();
      return;
    }
    this.#confirm(sentAt, 'registered');
    this.#start?.resolve();
    this.#start = undefined;
  }

  #reconnect(cause: string): void {
    const { timeoutSeconds } = this.#context;
    this.#pings.stop();
    this.#enter('reconnecting', cause);
    if (!this.#live) return;
    this.#ask(
      () => watchOp(WATCH_OP.RECONNECT, this.#cookie, { gen: ++this.#generation, timeoutSeconds }),
      (sentAt) => {
        this.#reconnects++;
        this.#stale('reconnected');
        this.#confirm(sentAt, 'reconnected');
      },
      (error) => this.#onRefused(error, 'reconnect'),
    );
    this.#followHome();
  }

  /** An error of the OSD to a ping or reconnect. */
  #onRefused(error: RadosError, what: 'ping' | 'reconnect'): void {
    if (this.#over) return;
    if (error.code === 'EBLOCKLISTED' || error instanceof PoolGoneError) {
      this.#end(error, what);
    } else if (error.code === 'ETIMEDOUT' && what === 'ping') {
      this.#reconnect('the OSD has another connection');
    } else if (error.code === 'ENOENT') {
      // An OSD says so when the object is gone: to the watch it is the same (`normalize_watch_error`).
      this.#lose(this.#error('ENOTCONN', error.message, error), what);
    } else {
      this.#lose(error, what);
    }
  }

  /** The registration is gone for certain: clean up at the OSD, then make another. */
  #lose(error: RadosError, cause: string): void {
    this.#lastError = error;
    this.#losses++;
    this.#registered = false;
    this.#settled = false;
    this.#pings.stop();
    this.#pin.moveTo(undefined);
    this.#stale('lost');
    this.#enter('error', cause);
    if (!this.#over) this.#handler.lost(error);
    if (this.#over) return;
    this.#context.retire(this.#cookie);
    this.#askUnwatch(
      () => this.#backOff('unwatched'),
      (refusal) => {
        if (refusal.code === 'EBLOCKLISTED' || refusal instanceof PoolGoneError) {
          this.#end(refusal, 'unwatch');
        } else this.#backOff(refusal.code);
      },
    );
  }

  #backOff(cause: string): void {
    if (this.#closing) {
      this.#finish(cause);
      return;
    }
    this.#enter('backoff', cause);
    if (this.#over) return;
    const { timers, random } = this.#context.transport.env;
    const delayMs = reregisterDelayMs(this.#attempts, random);
    this.#attempts++;
    if (delayMs === 0) this.#reregister();
    else this.#backoffTimer = timers.after(delayMs, () => this.#reregister(), { background: true });
  }

  #reregister(): void {
    const oldCookie = this.#cookie;
    this.#cookie = this.#context.nextCookie(this);
    this.#generation = 0;
    this.#enter('reregistering', `cookie ${this.#cookie}`);
    if (this.#over) return;
    this.#askWatch(
      (sentAt) => this.#onReregistered(oldCookie, sentAt),
      (error) => {
        this.#context.retire(this.#cookie);
        this.#lastError = error;
        if (error.code === 'EBLOCKLISTED' || error.code === 'ENOENT')
          this.#end(error, 'reregister');
        else this.#backOff(error.code);
      },
    );
  }

  #onReregistered(oldCookie: bigint, sentAt: number): void {
    this.#registered = true;
    this.#generation = 1;
    if (this.#closing) {
      this.#unwatch();
      return;
    }
    this.#reregistrations++;
    // What was read since the loss was read without a watch.
    this.#stale('lost');
    this.#confirm(sentAt, 'registered again');
    const cookie = this.#cookie;
    const current = () => this.#registered && this.#cookie === cookie && !this.#closing;
    this.#handler.reregistered(oldCookie, cookie).then(
      () => {
        if (!current()) return;
        this.#settled = true;
        if (this.#state === 'reregistering') this.#confirm(this.#validThru, 'settled');
      },
      (error: unknown) => {
        if (!current()) return;
        const failure = this.#error(
          'ENOTCONN',
          `not taken over: ${(error as Error).message}`,
          error,
        );
        this.#lose(failure, 'not taken over');
      },
    );
  }

  /** The OSD confirmed what was sent then. */
  #confirm(sentAt: number, cause: string): void {
    // Its handler, hearing that it was stale, may have closed it.
    if (!this.#live) return;
    this.#validThru = sentAt;
    if (!this.#verifications.satisfiedBy(sentAt)) {
      this.#pings.send('verification');
      return;
    }
    this.#enter(this.#settled ? 'connected' : 'reregistering', cause);
    if (this.#settled) this.#verifications.resolve();
    this.#pings.scheduleAfter(sentAt);
  }

  // ---- the way to the OSD ----

  /** Asks until there is an answer. */
  #ask(
    op: () => OsdOp,
    onOk: (sentAt: number) => void,
    onError: (error: RadosError) => void,
  ): void {
    this.#inquiry.ask({
      op,
      registers: true,
      onOk,
      onError: (error) => onError(this.#radosError(error)),
    });
  }

  #askWatch(onOk: (sentAt: number) => void, onError: (error: RadosError) => void): void {
    const { timeoutSeconds } = this.#context;
    this.#ask(() => watchOp(WATCH_OP.WATCH, this.#cookie, { timeoutSeconds }), onOk, onError);
  }

  #askUnwatch(onOk: () => void, onError: (error: RadosError) => void): void {
    this.#inquiry.ask({
      op: () => watchOp(WATCH_OP.UNWATCH, this.#cookie),
      registers: false,
      onOk,
      onError: (error) => onError(this.#radosError(error)),
    });
  }

  /** The PG has another primary, or the same one forgot what it had in memory. */
  #onInterval(epoch: number): void {
    if (this.#live) this.#stale('interval');
    if (this.#inquiry.sentBefore(epoch)) {
      this.#pin.moveTo(undefined);
      this.#inquiry.repeat();
    } else if (this.#live && !this.#inquiry.open) this.#reconnect('interval change');
  }

  /** Homeless or reconnecting: whether the map has a place for what is being asked. */
  #followHome(): void {
    const { homeless } = this.#inquiry;
    if (homeless && this.#state === 'reconnecting') this.#enter('homeless', 'no primary');
    else if (!homeless && this.#state === 'homeless') this.#enter('reconnecting', 'a primary');
  }

  // ---- endings ----

  #unwatch(): void {
    this.#pings.stop();
    if (!this.#registered && !this.#inquiry.open) {
      this.#finish('not registered');
      return;
    }
    this.#enter('unregistering', 'close');
    const done = () => this.#flushAndFinish();
    // Whatever it answers: not registered is what was wanted.
    this.#askUnwatch(done, done);
  }

  #flushAndFinish(): void {
    this.#registered = false;
    const { timers } = this.#context.transport.env;
    const patience = timers.after(CLOSE_FLUSH_MS, () => this.#finish('handlers did not answer'));
    void this.#deliveries.flush().then(() => {
      patience.cancel();
      this.#finish('unwatched');
    });
  }

  #finish(cause: string): void {
    if (this.#ended) return;
    this.#context.retire(this.#cookie);
    this.#context.forget(this);
    this.#deliveries.close();
    this.#letGo();
    this.#enter('closed', cause);
    this.#closing?.resolve();
  }

  #end(error: RadosError, cause: string): void {
    this.#lastError = error;
    if (this.#closing) {
      this.#finish(cause);
      return;
    }
    this.#context.retire(this.#cookie);
    this.#context.forget(this);
    this.#deliveries.close();
    this.#letGo();
    this.#enter(error.code === 'EBLOCKLISTED' ? 'blocklisted' : 'failed', cause);
    this.#verifications.reject(error);
    if (this.#start) this.#start.reject(error);
    else this.#handler.failed(error);
  }

  /** Stops everything that would happen by itself. */
  #letGo(): void {
    this.#registered = false;
    this.#backoffTimer?.cancel();
    this.#closeTimer?.cancel();
    this.#pings.stop();
    this.#inquiry.cancel();
    this.#pin.moveTo(undefined);
  }

  // ---- telling ----

  #enter(state: WatchState, cause: string): void {
    const previous = this.#state;
    if (state === previous || this.#ended) return;
    if (this.#closing && state !== 'unregistering' && state !== 'closed') return;
    this.#state = state;
    const { env, describe } = this.#context.transport;
    const level = ROUTINE.has(state) && ROUTINE.has(previous) ? 'trace' : 'info';
    env.log.objecter[level](
      {
        object: describe(this.target),
        cookie: String(this.#cookie),
        generation: this.#generation,
        from: previous,
        to: state,
        cause,
      },
      'watch',
    );
    this.#handler.state(state, previous, cause);
  }

  #stale(cause: StaleCause): void {
    if (!this.#closing) this.#handler.stale(cause);
  }

  #radosError(error: Error): RadosError {
    return isRadosError(error) ? error : this.#error('EIO', error.message, error);
  }

  #closedError(): RadosError {
    return this.#error('ENOTCONN', 'the watch was closed');
  }

  #error(
    code: 'EBLOCKLISTED' | 'EIO' | 'ENOTCONN' | 'ETIMEDOUT',
    reason: string,
    cause?: unknown,
  ): RadosError {
    const target = this.#context.transport.describe(this.target);
    return new RadosError(code, `watch ${target}: ${reason}`, { op: 'watch', target, cause });
  }
}
