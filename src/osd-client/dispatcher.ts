/**
 * Where requests are: each is always in exactly one place, on the session of its target OSD, or parked (homeless, paused,
 * held back). Whenever the map changes, they are targeted anew and, where the OSD cannot have kept them, sent again in
 * the order of their tids, which keeps the order of operations on one object (`Objecter::_scan_requests`).
 */

import type { Environment } from '../base/environment.js';
import { RadosError } from '../base/errors.js';
import type { MonClient } from '../mon-client/mon-client.js';
import { type FailureContext, failureContext } from './failures.js';
import type { LingerHooks } from './linger-op.js';
import type { MapFollower, MapUpdate } from './map-follower.js';
import { inTidOrder, type OpRequest, type ParkReason, type Placement } from './op-request.js';
import { PoolChecks } from './pool-checks.js';
import type { ReplicaReads } from './replica-reads.js';
import { HeldBackError, PoolGoneError } from './request.js';
import { requestMessage } from './request-message.js';
import { RequestTable } from './request-table.js';
import type { OsdSession } from './session.js';
import type { Sessions } from './sessions.js';
import { type ClientMap, fullFor, mustResend, pausedBy, placeObject } from './target.js';

export interface DispatcherOptions {
  env: Environment;
  maps: MapFollower;
  monClient: MonClient;
  sessions: Sessions;
  replicaReads: ReplicaReads;
  abortOnFull: boolean;
  /** Resolves when our map is as new as the monitors'. */
  fetchNewestMap: () => Promise<void>;
  /** A request left, however it ended. */
  onEnd: () => void;
}

export class Dispatcher {
  /** Every request that is under way or parked, by tid (ascending). */
  readonly requests = new RequestTable<OpRequest>();
  readonly #options: DispatcherOptions;
  readonly #maps: MapFollower;
  readonly #sessions: Sessions;
  readonly #poolChecks: PoolChecks;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.#maps = options.maps;
    this.#sessions = options.sessions;
    this.#poolChecks = new PoolChecks({
      timers: options.env.timers,
      fetchNewest: options.fetchNewestMap,
      isWanted: (pool) => this.#homelessOf(pool).length > 0,
      onAnswered: (pool) => {
        if (options.maps.map?.hasPool(pool)) return;
        for (const request of this.#homelessOf(pool)) {
          this.fail(request, new PoolGoneError(pool, this.context(request)));
        }
      },
    });
  }

  add(request: OpRequest): void {
    this.requests.add(request);
    this.dispatch(request);
  }

  /** Finds the target by the current map and sends, or parks. */
  dispatch(request: OpRequest): void {
    const map = this.#maps.map;
    if (!map) {
      this.#park(request, 'homeless');
      this.wantNewerMap();
      return;
    }
    const placement = this.#place(map, request);
    if (!placement) {
      this.#park(request, 'homeless');
      this.#checkPool(request.target.pool);
      return;
    }
    request.placement = placement;
    if (this.#failWhenFull(map, request)) return;
    if (pausedBy(map, request)) {
      this.#park(request, 'paused');
      this.wantNewerMap();
      return;
    }
    const session = this.#sessions.to(placement.osd, map);
    if (!session) {
      this.#park(request, 'homeless');
      this.wantNewerMap();
      return;
    }
    this.#attach(request, session);
  }

  /** The session is open: everything that is on it goes out, in order. */
  sendAll(session: OsdSession): void {
    for (const request of inTidOrder(session.requests)) this.send(request, session);
  }

  /** Sends on an open session, unless the map or the OSD holds the request back. */
  send(request: OpRequest, session: OsdSession): void {
    const map = this.#maps.map;
    const { placement } = request;
    if (!map || !placement || request.parked === 'paused') return;
    if (session.holds(request, placement)) {
      request.parked = 'backoff';
      return;
    }
    if (request.linger !== undefined && !this.#mayGo(request, request.linger)) return;
    if (request.attempts === 0 && request.gate?.admits(request.madeAt) === false) {
      this.fail(request, new HeldBackError(this.context(request)));
      return;
    }
    try {
      session.send(requestMessage(request, placement, map.epoch, this.#options.env.clock));
    } catch (error) {
      // An operation that cannot be expressed (an offset that is no integer, say) fails alone.
      this.fail(request, error as Error);
      return;
    }
    if (request.attempts++ === 0) request.gate?.onSent(request.madeAt);
    request.parked = undefined;
    request.sentEpoch = map.epoch;
    request.linger?.onSent(session);
  }

  /** Sends what its linger held back, if it is still to go. */
  sendHeld(request: OpRequest): void {
    const session = this.sessionOf(request);
    if (session?.open && session.requests.has(request.tid)) this.send(request, session);
  }

  #mayGo(request: OpRequest, linger: LingerHooks): boolean {
    if (request.attempts === 0) return linger.admit(request);
    this.drop(request);
    linger.onUnanswered();
    return false;
  }

  /** Forgets a request that nobody waits for any more. */
  drop(request: OpRequest): void {
    if (!this.requests.has(request.tid)) return;
    this.detach(request);
    this.finish(request);
  }

  onMapUpdate(update: MapUpdate): void {
    // What comes while sessions are dropped (watches that reconnect) goes by the new map already.
    const underWay = inTidOrder(this.requests);
    this.#sessions.follow(update.map);
    let needsNewer = false;
    for (const request of underWay) {
      if (!this.requests.has(request.tid)) continue;
      needsNewer = this.#reconsider(request, update) || needsNewer;
    }
    if (needsNewer) this.wantNewerMap();
  }

  /** Asks the monitors for what comes after our map. */
  wantNewerMap(): void {
    // Epoch 0 asks for the newest map in full.
    const next = this.#maps.map ? this.#maps.map.epoch + 1 : 0;
    this.#options.monClient.subscribe('osdmap', next, { onetime: true });
  }

  /** Takes the request off its session. */
  detach(request: OpRequest): void {
    const session = this.sessionOf(request);
    if (!session?.requests.delete(request.tid)) return;
    if (session.requests.size === 0) session.idleSince = this.#options.env.clock.monotonic();
    if (!request.placing) return;
    // The socket is writing into a buffer that is the caller's again from here on, or another OSD's to fill: only
    // dropping the connection stops that for certain. The other operations on it are sent again.
    request.placing = false;
    session.drop(new RadosError('ECANCELED', `${session.name}: a read was abandoned half-way`));
    if (session.requests.size > 0) session.connect();
  }

  fail(request: OpRequest, error: Error): void {
    if (!this.requests.has(request.tid)) return;
    this.drop(request);
    request.reject(error);
  }

  /** Forgets a request that was answered. */
  finish(request: OpRequest): void {
    this.requests.delete(request.tid);
    this.#options.onEnd();
  }

  context(request: OpRequest): FailureContext {
    return failureContext(request, this.#maps.map);
  }

  sessionOf(request: OpRequest): OsdSession | undefined {
    return request.placement ? this.#sessions.get(request.placement.osd) : undefined;
  }

  /** Re-targets one request after a map change; true while it waits for a newer one. */
  #reconsider(request: OpRequest, update: MapUpdate): boolean {
    const { map, passed, skipped } = update;
    const before = request.placement;
    const after = this.#place(map, request);
    if (!after) {
      this.#park(request, 'homeless');
      this.#checkPool(request.target.pool);
      return false;
    }
    if (this.#failWhenFull(map, request)) return false;
    const paused = pausedBy(map, request);
    const inPlace =
      before !== undefined &&
      this.sessionOf(request)?.requests.has(request.tid) === true &&
      !skipped &&
      !mustResend(request, before, passed, (each) => this.#place(each, request));
    if (inPlace && paused) {
      // What is under way may still be answered. What is not is sent again when the pause is over.
      request.parked = 'paused';
      return true;
    }
    if (inPlace && request.parked !== 'paused') return false;
    this.detach(request);
    request.placement = after;
    const next = paused ? undefined : this.#sessions.to(after.osd, map);
    if (!next) {
      request.parked = paused ? 'paused' : 'homeless';
      return true;
    }
    this.#attach(request, next);
    return false;
  }

  #place(map: ClientMap, request: OpRequest): Placement | undefined {
    const placement = placeObject(map, request.target);
    return placement && request.mayReadReplica
      ? this.#options.replicaReads(map, placement, request.placement)
      : placement;
  }

  #attach(request: OpRequest, session: OsdSession): void {
    request.parked = undefined;
    session.requests.add(request);
    if (session.open) this.send(request, session);
    else session.connect();
  }

  #park(request: OpRequest, reason: ParkReason): void {
    this.detach(request);
    request.parked = reason;
  }

  #failWhenFull(map: ClientMap, request: OpRequest): boolean {
    if (!this.#options.abortOnFull || !fullFor(map, request)) return false;
    const error = RadosError.fromErrno(-28, {
      ...this.context(request),
      detail: 'the cluster or the pool is full',
    });
    this.fail(request, error);
    return true;
  }

  /** A pool that our map lacks may be younger than the map, or gone: the monitors' newest epoch decides. */
  #checkPool(pool: number): void {
    this.#poolChecks.start(pool);
  }

  #homelessOf(pool: number): OpRequest[] {
    return [...this.requests].filter((r) => r.target.pool === pool && r.parked === 'homeless');
  }
}
