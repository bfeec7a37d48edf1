/**
 * The objecter: sends operations to the OSDs that the map names, and keeps sending until they are done.
 *
 * A request is always in exactly one place: on the session of its target OSD, or parked (homeless, paused, held back).
 * Whenever the map changes, a connection is lost or an OSD lifts a backoff, requests are re-targeted and sent again,
 * in tid order, which keeps the order of operations on one object (`osdc/Objecter.cc`, `net/ceph/osd_client.c`).
 */

import type { Logger } from 'pino';
import type { Timer } from '../base/environment.js';
import { abortError, isRadosError, ProtocolError, RadosError } from '../base/errors.js';
import { decodeAll, encodeWith } from '../encoding/codec.js';
import { ENTITY_TYPE } from '../encoding/entity.js';
import {
  EMPTY_SNAP_CONTEXT,
  NO_SHARD,
  type SpgId,
  utimeFromMs,
  ZERO_TIME,
} from '../encoding/types.js';
import { FEATURES_SUPPORTED } from '../messages/features.js';
import { describeOps, type OsdOp } from '../messages/osd-op.js';
import {
  BACKOFF_OP,
  decodeOsdReply,
  MOSDOP_COMPAT,
  MOSDOP_VERSION,
  OSD_FLAG,
  OsdRequestFront,
  osdBackoff,
  osdRequestData,
  type OsdReply,
} from '../messages/osd-messages.js';
import { type IncomingMessage, MSG, outgoing, PRIORITY } from '../messages/types.js';
import type { MonClient } from '../mon-client/mon-client.js';
import type { MessengerContext } from '../msgr/connection.js';
import { inRange } from './backoff.js';
import {
  closedError,
  type FailureContext,
  failureContext,
  resultError,
  timeoutError,
} from './failures.js';
import type { MapFollower, MapUpdate } from './map-follower.js';
import { OpRequest, type ParkReason, type Placement } from './op-request.js';
import { PoolChecks } from './pool-checks.js';
import {
  type ObjectTarget,
  type OperateOptions,
  type OperateResult,
  PoolGoneError,
} from './request.js';
import { OsdSession } from './session.js';
import type { ReplicaReads } from './replica-reads.js';
import {
  type ClientMap,
  fullFor,
  mustResend,
  pausedBy,
  placeObject,
  sortPosition,
} from './target.js';
import { Throttle } from './throttle.js';

export interface OsdClientOptions extends MessengerContext {
  monClient: MonClient;
  modes: readonly number[];
  nonce: number;
  maps: MapFollower;
  /** Default deadline of an operation in milliseconds; 0 waits for ever (krbd's `osd_request_timeout`). */
  opTimeoutMs: number;
  /** A session without operations is closed after this long (krbd's `osd_idle_ttl`). */
  idleTtlMs: number;
  /** An OSD that owes an answer is pinged this often (krbd's `osdkeepalive`). */
  keepaliveMs: number;
  /** Who serves reads (krbd's `read_from_replica`). */
  replicaReads: ReplicaReads;
  /** Fail writes with ENOSPC while the cluster or pool is full, instead of waiting (krbd's `abort_on_full`). */
  abortOnFull: boolean;
}

/** As librados' `objecter_inflight_ops`; more wait their turn. */
const MAX_IN_FLIGHT = 1024;
const MAX_WAITING = 65_536;
/** After so many refused tickets in a row the operations fail. */
const MAX_AUTH_REFUSALS = 6;
/** A cache tier redirects once: OSDs that go on are sending us in circles. */
const MAX_REDIRECTS = 8;
export class OsdClient {
  readonly #options: OsdClientOptions;
  readonly #log: Logger;
  readonly #maps: MapFollower;
  readonly #sessions = new Map<number, OsdSession>();
  /** Every request that is under way or parked, by tid (ascending). */
  readonly #requests = new Map<number, OpRequest>();
  readonly #throttle: Throttle;
  #lastTid = 0;
  #globalSeq = 0n;
  #closed = false;
  #deadline: { at: number; timer: Timer } | undefined;
  #tick: Timer | undefined;
  readonly #poolChecks: PoolChecks;

  constructor(options: OsdClientOptions) {
    this.#options = options;
    this.#log = options.env.log.objecter;
    this.#maps = options.maps;
    this.#throttle = new Throttle(options.env.timers, MAX_IN_FLIGHT, MAX_WAITING);
    this.#poolChecks = new PoolChecks({
      timers: options.env.timers,
      fetchNewest: () => this.waitForLatestMap(),
      isWanted: (pool) => !this.#closed && this.#homelessOf(pool).length > 0,
      onAnswered: (pool) => {
        if (this.#maps.map?.hasPool(pool)) return;
        for (const request of this.#homelessOf(pool)) {
          this.#fail(request, new PoolGoneError(pool, this.#context(request)));
        }
      },
    });
    this.#maps.onUpdate((update) => this.#onMapUpdate(update));
    this.#scheduleTick();
  }

  /** Operations under way or parked: 0 when nothing is pending. */
  get pending(): number {
    return this.#requests.size;
  }

  /**
   * Sends an op vector to an object and resolves with its outputs.
   *
   * Rejects with the OSD's errno for a negative result; ENOENT when the pool is gone; ETIMEDOUT or ECANCELED by deadline
   * or signal; EAGAIN when more than 65,536 operations wait already. `outcome` tells whether a write may have happened.
   */
  operate(
    target: ObjectTarget,
    ops: readonly OsdOp[],
    options: OperateOptions = {},
  ): Promise<OperateResult> {
    const { signal, timeoutMs = this.#options.opTimeoutMs } = options;
    const startedAt = this.#options.env.clock.monotonic();
    const start = () =>
      new Promise<OperateResult>((resolve, reject) =>
        this.#submit(target, ops, options, { startedAt, timeoutMs }, { resolve, reject }),
      );
    const refusal = this.#refusal(target, ops, signal);
    if (refusal) return Promise.reject(refusal);
    const admission = this.#throttle.acquire({ signal, timeoutMs });
    if (!admission) return start();
    return admission.then(() => {
      // Much may have happened while it waited for its turn.
      const late = this.#refusal(target, ops, signal);
      if (!late) return start();
      this.#throttle.give();
      throw late;
    });
  }

  /** Why an operation cannot even begin. */
  #refusal(
    target: ObjectTarget,
    ops: readonly OsdOp[],
    signal?: AbortSignal,
  ): RadosError | undefined {
    if (this.#closed) return closedError(ops, target);
    if (!signal?.aborted) return undefined;
    return abortError(signal, { op: describeOps(ops), target: target.oid, outcome: 'not-applied' });
  }

  /** Resolves when the map is at least `epoch`. */
  waitForEpoch(epoch: number, signal?: AbortSignal): Promise<void> {
    return this.#maps.waitFor(epoch, () => this.#wantNewerMap(), signal);
  }

  /** Asks the monitors for the newest map and waits for it. */
  async waitForLatestMap(signal?: AbortSignal): Promise<void> {
    const { newest } = await this.#options.monClient.getVersion('osdmap', signal ? { signal } : {});
    await this.waitForEpoch(newest, signal);
  }

  /**
   * The cluster will not know us again under our old name. Writes that were sent fail: OSDs recognise a repetition by the
   * client's name, and could apply them twice. Everything else goes on under the new one.
   */
  onIdentityLost(error: RadosError): void {
    for (const session of this.#sessions.values()) session.drop();
    for (const request of [...this.#requests.values()]) {
      if (!request.isWrite || request.attempts === 0) continue;
      const { op, target } = this.#context(request);
      this.#fail(
        request,
        new RadosError('ESTALE', `${op} ${target}: ${error.message}`, {
          ...this.#context(request),
          cause: error,
        }),
      );
    }
    for (const session of this.#sessions.values()) {
      if (session.requests.size > 0) session.connect();
    }
  }

  /** Drops all sessions; every operation is rejected. Safe to call twice. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#tick?.cancel();
    this.#deadline?.timer.cancel();
    for (const session of this.#sessions.values()) session.drop();
    for (const request of [...this.#requests.values()]) {
      this.#fail(request, closedError(request.ops, request.target, request.outcome));
    }
    this.#throttle.close(
      new RadosError('ENOTCONN', 'the client was closed', { outcome: 'not-applied' }),
    );
  }

  // ---- submission ----

  #submit(
    target: ObjectTarget,
    ops: readonly OsdOp[],
    options: OperateOptions,
    { startedAt, timeoutMs }: { startedAt: number; timeoutMs: number },
    promise: { resolve: (result: OperateResult) => void; reject: (error: Error) => void },
  ): void {
    const deadlineAt = timeoutMs > 0 ? startedAt + timeoutMs : Number.POSITIVE_INFINITY;
    const request = new OpRequest(
      ++this.#lastTid,
      target,
      ops,
      options,
      { startedAt, deadlineAt },
      promise,
    );
    const { signal } = options;
    if (signal) {
      const onAbort = () => this.#fail(request, abortError(signal, this.#context(request)));
      signal.addEventListener('abort', onAbort, { once: true });
      request.onSettled(() => signal.removeEventListener('abort', onAbort));
    }
    if (request.isRead && !request.isWrite) {
      request.flags |= this.#options.replicaReads.flag;
      request.mayReadReplica = this.#options.replicaReads.flag !== 0;
    }
    this.#requests.set(request.tid, request);
    if (deadlineAt !== Number.POSITIVE_INFINITY) this.#armDeadline(deadlineAt);
    this.#dispatch(request);
  }

  /** Finds the target by the current map and sends, or parks. */
  #dispatch(request: OpRequest): void {
    const map = this.#maps.map;
    if (!map) {
      this.#park(request, 'homeless');
      this.#wantNewerMap();
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
      this.#wantNewerMap();
      return;
    }
    const session = this.#session(placement.osd);
    if (!session) {
      this.#park(request, 'homeless');
      this.#wantNewerMap();
      return;
    }
    this.#attach(request, session);
  }

  #place(map: ClientMap, request: OpRequest): Placement | undefined {
    const placement = placeObject(map, request.target);
    return placement && request.mayReadReplica
      ? this.#options.replicaReads(map, placement, request.placement)
      : placement;
  }

  #failWhenFull(map: ClientMap, request: OpRequest): boolean {
    if (!this.#options.abortOnFull || !fullFor(map, request)) return false;
    const error = RadosError.fromErrno(-28, {
      ...this.#context(request),
      detail: 'the cluster or the pool is full',
    });
    this.#fail(request, error);
    return true;
  }

  #attach(request: OpRequest, session: OsdSession): void {
    request.parked = undefined;
    session.requests.set(request.tid, request);
    if (session.open) this.#send(request, session);
    else session.connect();
  }

  #park(request: OpRequest, reason: ParkReason): void {
    this.#detach(request);
    request.parked = reason;
  }

  #detach(request: OpRequest): void {
    const session = this.#sessionOf(request);
    if (!session?.requests.delete(request.tid)) return;
    if (session.requests.size === 0) session.idleSince = this.#options.env.clock.monotonic();
    if (!request.placing) return;
    // The socket is writing into a buffer that is the caller's again from here on, or another OSD's to fill: only
    // dropping the connection stops that for certain. The other operations on it are sent again.
    request.placing = false;
    session.drop(new RadosError('ECANCELED', `${session.name}: a read was abandoned half-way`));
    if (session.requests.size > 0) session.connect();
  }

  #sessionOf(request: OpRequest): OsdSession | undefined {
    return request.placement ? this.#sessions.get(request.placement.osd) : undefined;
  }

  /** Undefined for an OSD that is down, and for -1: a PG without a primary. */
  #session(osd: number): OsdSession | undefined {
    const addr = osd < 0 ? undefined : this.#maps.map?.msgr2Addr(osd);
    if (!addr) return undefined;
    const known = this.#sessions.get(osd);
    if (known) return known;
    const session = new OsdSession(
      addr,
      {
        ...this.#options,
        osd,
        auth: () => this.#options.monClient.auth,
        nextGlobalSeq: () => ++this.#globalSeq,
      },
      {
        onOpen: (opened) => this.#onOpen(opened),
        onMessage: (from, message) => this.#onMessage(from, message),
        onLost: (lost, error) => this.#onLost(lost, error),
      },
    );
    this.#sessions.set(osd, session);
    return session;
  }

  #send(request: OpRequest, session: OsdSession): void {
    const map = this.#maps.map;
    const { placement } = request;
    if (!map || !placement || request.parked === 'paused') return;
    if (
      session.backoffs.size > 0 &&
      session.backoffs.covers(spg(request), sortPosition(request, placement))
    ) {
      request.parked = 'backoff';
      return;
    }
    try {
      session.send(
        outgoing(MSG.OSD_OP, this.#front(request, placement, map.epoch), {
          version: MOSDOP_VERSION,
          compat: MOSDOP_COMPAT,
          tid: request.tid,
          priority: PRIORITY.CLIENT_OP,
          data: osdRequestData(request.ops),
        }),
      );
    } catch (error) {
      // An operation that cannot be expressed (an offset that is no integer, say) fails alone.
      this.#fail(request, error as Error);
      return;
    }
    request.attempts++;
    request.parked = undefined;
    request.sentEpoch = map.epoch;
  }

  #front(request: OpRequest, placement: Placement, epoch: number): OsdRequestFront {
    const { target } = request;
    return new OsdRequestFront({
      pg: placement.pg,
      shard: placement.shard,
      hash: placement.hash,
      epoch,
      flags: request.attempts > 0 ? request.flags | OSD_FLAG.RETRY : request.flags,
      mtime: request.isWrite ? utimeFromMs(this.#options.env.clock.now()) : ZERO_TIME,
      locator: {
        pool: target.pool,
        key: target.key ?? '',
        nspace: target.nspace,
        hash: target.hash ?? -1,
      },
      oid: target.oid,
      ops: request.ops,
      snapid: request.snapid,
      snapContext: request.snapContext ?? EMPTY_SNAP_CONTEXT,
      retryAttempt: request.attempts,
      features: FEATURES_SUPPORTED,
    });
  }

  // ---- sessions ----

  #onOpen(session: OsdSession): void {
    this.#log.debug({ osd: session.name, requests: session.requests.size }, 'session open');
    for (const request of inTidOrder(session.requests)) this.#send(request, session);
  }

  #onLost(session: OsdSession, error: Error | undefined): void {
    this.#log.info(
      { osd: session.name, err: error, requests: session.requests.size },
      'session lost',
    );
    if (this.#closed) return;
    if (isRadosError(error) && ['EACCES', 'EPERM', 'EKEYREJECTED'].includes(error.code)) {
      this.#onRefused(session, error);
    }
    if (session.requests.size === 0) return;
    // The OSD may be down, moved or restarted: a newer map will tell. Until then, keep trying where it was.
    this.#wantNewerMap();
    session.connect();
  }

  /** The OSD did not take our ticket: get another, and give up when that does not help. */
  #onRefused(session: OsdSession, error: RadosError): void {
    const { monClient } = this.#options;
    monClient.auth.dropTicket(ENTITY_TYPE.OSD);
    monClient.renewTickets();
    // The same tickets are not counted twice: as long as no monitor gives others, waiting is all that can be done.
    if (session.refusedTickets === monClient.ticketGeneration) return;
    session.refusedTickets = monClient.ticketGeneration;
    session.refusals++;
    if (session.refusals < MAX_AUTH_REFUSALS) return;
    for (const request of [...session.requests.values()]) {
      this.#fail(
        request,
        new RadosError(
          error.errno,
          `${describeOps(request.ops)} ${request.target.oid}: ${error.message}`,
          {
            ...this.#context(request),
            cause: error,
          },
        ),
      );
    }
  }

  #onMessage(session: OsdSession, message: IncomingMessage): void {
    switch (message.type) {
      case MSG.OSD_OPREPLY:
        this.#onReply(session, message);
        return;
      case MSG.OSD_MAP:
        this.#maps.handle(message.front, message.version);
        return;
      case MSG.OSD_BACKOFF:
        this.#onBackoff(session, message);
        return;
      default:
        this.#log.trace({ osd: session.name, type: message.type }, 'message ignored');
    }
  }

  #onReply(session: OsdSession, message: IncomingMessage): void {
    const request = session.requests.get(message.tid);
    if (!request) return;
    request.placing = false;
    const reply = this.#decodeReply(request, message, session);
    if (reply.retryAttempt >= 0 && reply.retryAttempt !== request.attempts - 1) {
      this.#log.debug(
        { tid: message.tid, retry: reply.retryAttempt },
        'reply to an earlier attempt ignored',
      );
      return;
    }
    if (reply.redirect) {
      this.#redirect(request, reply.redirect);
      return;
    }
    if (
      reply.result === -11 &&
      (request.flags & (OSD_FLAG.BALANCE_READS | OSD_FLAG.LOCALIZE_READS)) !== 0
    ) {
      // A replica that cannot serve the read sends us to the primary.
      request.flags &= ~(OSD_FLAG.BALANCE_READS | OSD_FLAG.LOCALIZE_READS);
      request.mayReadReplica = false;
      this.#detach(request);
      this.#dispatch(request);
      return;
    }
    this.#detach(request);
    this.#finish(request);
    if (reply.result < 0) {
      request.reject(resultError(this.#context(request), request, reply, session.osd));
      return;
    }
    try {
      request.resolve(request.outputs(reply));
    } catch (error) {
      request.reject(error as Error);
    }
  }

  /** A reply that cannot be read ends its operation and, thrown on, the connection: asking again would not help. */
  #decodeReply(request: OpRequest, message: IncomingMessage, session: OsdSession): OsdReply {
    try {
      const reply = decodeOsdReply(message.front, message.data, message.version);
      if (reply.result >= 0 && !reply.redirect && reply.ops.length !== request.ops.length) {
        throw new ProtocolError(
          `a reply of ${reply.ops.length} operations to a request of ${request.ops.length}`,
        );
      }
      return reply;
    } catch (error) {
      const { op, target } = this.#context(request);
      const detail = `${op} ${target}: ${session.name}: ${(error as Error).message}`;
      this.#fail(request, new ProtocolError(detail, { ...this.#context(request), cause: error }));
      throw error;
    }
  }

  #redirect(request: OpRequest, redirect: NonNullable<OsdReply['redirect']>): void {
    if (++request.redirects > MAX_REDIRECTS) {
      const { op, target } = this.#context(request);
      this.#fail(
        request,
        new ProtocolError(
          `${op} ${target}: redirected ${MAX_REDIRECTS} times`,
          this.#context(request),
        ),
      );
      return;
    }
    this.#detach(request);
    const { locator, objectName } = redirect;
    request.target = {
      pool: locator.pool >= 0 ? locator.pool : request.target.pool,
      nspace: locator.nspace || request.target.nspace,
      key: locator.key,
      oid: objectName || request.target.oid,
    };
    request.flags |= OSD_FLAG.REDIRECTED | OSD_FLAG.IGNORE_CACHE | OSD_FLAG.IGNORE_OVERLAY;
    this.#dispatch(request);
  }

  #onBackoff(session: OsdSession, message: IncomingMessage): void {
    const backoff = decodeAll('MOSDBackoff', osdBackoff, message.front);
    if (backoff.op === BACKOFF_OP.BLOCK) {
      if (!session.backoffs.add(backoff)) {
        throw new ProtocolError(`${session.name} holds back more ranges than can be kept`);
      }
      session.send(
        outgoing(MSG.OSD_BACKOFF, encodeWith(osdBackoff, { ...backoff, op: BACKOFF_OP.ACK_BLOCK })),
      );
      // What was sent in that range was dropped by the OSD.
      for (const request of session.requests.values()) {
        if (
          request.parked !== 'paused' &&
          request.placement &&
          samePg(spg(request), backoff.pg) &&
          inRange(sortPosition(request, request.placement), backoff)
        ) {
          request.parked = 'backoff';
        }
      }
    } else if (backoff.op === BACKOFF_OP.UNBLOCK) {
      const removed = session.backoffs.remove(backoff.pg, backoff.id);
      if (!removed) return;
      for (const request of inTidOrder(session.requests)) {
        if (request.parked === 'backoff' && samePg(spg(request), removed.pg))
          this.#send(request, session);
      }
    }
  }

  // ---- maps ----

  #wantNewerMap(): void {
    // Epoch 0 asks for the newest map in full.
    const next = this.#maps.map ? this.#maps.map.epoch + 1 : 0;
    this.#options.monClient.subscribe('osdmap', next, { onetime: true });
  }

  #onMapUpdate(update: MapUpdate): void {
    this.#moveSessions();
    let needsNewer = false;
    for (const request of inTidOrder(this.#requests)) {
      needsNewer = this.#reconsider(request, update) || needsNewer;
    }
    if (needsNewer) this.#wantNewerMap();
  }

  /** Sessions of OSDs that are down or came back elsewhere are dropped before requests are looked at. */
  #moveSessions(): void {
    const map = this.#maps.map;
    for (const [osd, session] of this.#sessions) {
      const addr = map?.msgr2Addr(osd);
      if (!addr) {
        session.drop();
        this.#sessions.delete(osd);
        for (const request of session.requests.values()) request.parked = 'homeless';
      } else if (!session.hasAddr(addr)) {
        session.moveTo(addr);
        if (session.requests.size > 0) session.connect();
      }
    }
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
      this.#sessionOf(request)?.requests.has(request.tid) === true &&
      !skipped &&
      !mustResend(request, before, passed, (each) => this.#place(each, request));
    if (inPlace && paused) {
      // What is under way may still be answered. What is not is sent again when the pause is over.
      request.parked = 'paused';
      return true;
    }
    if (inPlace && request.parked !== 'paused') return false;
    this.#detach(request);
    request.placement = after;
    const next = paused ? undefined : this.#session(after.osd);
    if (!next) {
      request.parked = paused ? 'paused' : 'homeless';
      return true;
    }
    this.#attach(request, next);
    return false;
  }

  /** A pool that our map lacks may be younger than the map, or gone: the monitors' newest epoch decides. */
  #checkPool(pool: number): void {
    this.#poolChecks.start(pool);
  }

  #homelessOf(pool: number): OpRequest[] {
    return [...this.#requests.values()].filter(
      (r) => r.target.pool === pool && r.parked === 'homeless',
    );
  }

  // ---- endings ----

  #finish(request: OpRequest): void {
    this.#requests.delete(request.tid);
    this.#throttle.give();
  }

  #fail(request: OpRequest, error: Error): void {
    if (!this.#requests.has(request.tid)) return;
    this.#detach(request);
    this.#finish(request);
    request.reject(error);
  }

  #armDeadline(at: number): void {
    if (this.#deadline && this.#deadline.at <= at) return;
    this.#deadline?.timer.cancel();
    const delayMs = Math.max(0, at - this.#options.env.clock.monotonic());
    const timer = this.#options.env.timers.after(Math.ceil(delayMs), () => this.#onDeadline());
    this.#deadline = { at, timer };
  }

  #onDeadline(): void {
    this.#deadline = undefined;
    const now = this.#options.env.clock.monotonic();
    let next = Number.POSITIVE_INFINITY;
    for (const request of [...this.#requests.values()]) {
      if (request.deadlineAt <= now)
        this.#fail(
          request,
          timeoutError(this.#context(request), request, this.#sessionOf(request), now),
        );
      else next = Math.min(next, request.deadlineAt);
    }
    if (next !== Number.POSITIVE_INFINITY) this.#armDeadline(next);
  }

  #context(request: OpRequest): FailureContext {
    return failureContext(request, this.#maps.map);
  }

  // ---- upkeep ----

  #scheduleTick(): void {
    this.#tick = this.#options.env.timers.after(
      this.#options.keepaliveMs,
      () => {
        this.#onTick();
        if (!this.#closed) this.#scheduleTick();
      },
      { background: true },
    );
  }

  /** Pings OSDs that owe answers, so that a dead connection is noticed; closes idle sessions. */
  #onTick(): void {
    const now = this.#options.env.clock.monotonic();
    for (const [osd, session] of this.#sessions) {
      if (session.requests.size > 0) {
        const [oldest] = session.requests.values();
        const late = oldest !== undefined && now - oldest.startedAt > this.#options.keepaliveMs;
        if (late && session.open) session.send(outgoing(MSG.PING));
        if (late) this.#wantNewerMap();
      } else if (now - session.idleSince > this.#options.idleTtlMs) {
        session.drop();
        this.#sessions.delete(osd);
      }
    }
  }
}

function inTidOrder(requests: Map<number, OpRequest>): OpRequest[] {
  return [...requests.values()].sort((a, b) => a.tid - b.tid);
}

function spg(request: OpRequest): SpgId {
  const { placement } = request;
  return { pg: placement?.pg ?? { pool: -1, seed: 0 }, shard: placement?.shard ?? NO_SHARD };
}

function samePg(a: SpgId, b: SpgId): boolean {
  return a.pg.pool === b.pg.pool && a.pg.seed === b.pg.seed && a.shard === b.shard;
}
