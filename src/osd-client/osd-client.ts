/**
 * The objecter: sends operations to the OSDs that the map names, and keeps sending until they are done
 * (`osdc/Objecter.cc`, `net/ceph/osd_client.c`). Where requests are meanwhile is the dispatcher's; here are their
 * beginning and their end, and what OSDs say.
 */

import type { Timer } from '../base/environment.js';
import { abortError, ProtocolError, RadosError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { decodeAll, encodeWith } from '../encoding/codec.js';
import { ADDR_TYPE, ENTITY_TYPE } from '../encoding/entity.js';
import { BACKOFF_OP, OSD_FLAG, osdBackoff, type OsdReply } from '../messages/osd-messages.js';
import { describeOps, isWriteOp, OP, type OsdOp } from '../messages/osd-op.js';
import { type IncomingMessage, MSG, outgoing } from '../messages/types.js';
import type { MonClient } from '../mon-client/mon-client.js';
import type { MessengerContext } from '../msgr/connection.js';
import { Deadlines } from './deadlines.js';
import { Dispatcher } from './dispatcher.js';
import {
  closedError,
  describeTarget,
  isRefusal,
  refusedError,
  resultError,
  timeoutError,
} from './failures.js';
import type { LingerHooks, LingerTransport } from './linger-op.js';
import { LingerTable } from './linger-table.js';
import type { MapFollower } from './map-follower.js';
import { OpRequest } from './op-request.js';
import type { ReplicaReads } from './replica-reads.js';
import type { ObjectTarget, OperateOptions, OperateResult } from './request.js';
import { replyTo } from './request-message.js';
import type { OsdSession } from './session.js';
import { Sessions } from './sessions.js';
import { Throttle } from './throttle.js';
import type {
  NotifyOptions,
  NotifyResult,
  Watch,
  WatchHandler,
  WatchOptions,
  WatchStatus,
} from './watch-types.js';

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
/** A cache tier redirects once: OSDs that go on are sending us in circles. */
const MAX_REDIRECTS = 8;

export class OsdClient {
  readonly #options: OsdClientOptions;
  readonly #log: Logger;
  readonly #maps: MapFollower;
  readonly #sessions: Sessions;
  readonly #dispatcher: Dispatcher;
  readonly #throttle: Throttle;
  #lastTid = 0;
  #closed = false;
  readonly #deadlines: Deadlines;
  readonly #lingers: LingerTable;
  #tick: Timer | undefined;

  constructor(options: OsdClientOptions) {
    this.#options = options;
    this.#log = options.env.log.objecter;
    this.#maps = options.maps;
    this.#sessions = new Sessions(options, {
      onOpen: (session) => this.#onOpen(session),
      onMessage: (session, message) => this.#onMessage(session, message),
      onGone: (session) => this.#lingers.onSessionGone(session),
      onLost: (session, error) => this.#onLost(session, error),
    });
    this.#throttle = new Throttle(options.env.timers, MAX_IN_FLIGHT, MAX_WAITING);
    this.#dispatcher = new Dispatcher({
      ...options,
      sessions: this.#sessions,
      fetchNewestMap: () => this.waitForLatestMap(),
      onEnd: () => this.#throttle.give(),
    });
    this.#deadlines = new Deadlines(options.env, (now) => this.#expire(now));
    this.#lingers = new LingerTable(this.#lingerTransport());
    this.#maps.onUpdate((update) => {
      this.#dispatcher.onMapUpdate(update);
      this.#lingers.onMapUpdate(update);
    });
    this.#scheduleTick();
  }

  /** Operations under way or parked: 0 when nothing is pending. */
  get pending(): number {
    return this.#dispatcher.requests.size;
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

  /**
   * Watches an object: `handler` hears of its notifications until the watch is closed; the first may come before this
   * resolves, which is when the OSD has said that it is registered. Rejects with the OSD's errno (ENOENT: no such object).
   */
  watch(target: ObjectTarget, handler: WatchHandler, options?: WatchOptions): Promise<Watch> {
    return this.#lingers.watch(target, handler, options);
  }

  /**
   * Tells the watchers of an object, and resolves with their answers when all have come or the time is over. Rejects with
   * the OSD's errno; ETIMEDOUT when the OSD itself does not answer.
   */
  notify(
    target: ObjectTarget,
    payload: Uint8Array,
    options?: NotifyOptions,
  ): Promise<NotifyResult> {
    return this.#lingers.notify(target, payload, options);
  }

  watches(): WatchStatus[] {
    return this.#lingers.statuses();
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
    return this.#maps.waitFor(epoch, () => this.#dispatcher.wantNewerMap(), signal);
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
    for (const session of this.#sessions) session.drop();
    for (const request of [...this.#dispatcher.requests]) {
      if (!request.isWrite || request.attempts === 0) continue;
      if (request.linger) {
        // Asked anew under the new name, where the OSD does not know the watch.
        this.#dispatcher.drop(request);
        request.linger.onUnanswered();
        continue;
      }
      const { op, target } = this.#dispatcher.context(request);
      this.#dispatcher.fail(
        request,
        new RadosError('ESTALE', `${op} ${target}: ${error.message}`, {
          ...this.#dispatcher.context(request),
          cause: error,
        }),
      );
    }
    for (const session of this.#sessions) {
      if (session.requests.size > 0) session.connect();
    }
  }

  /** Drops all sessions; every operation is rejected. Safe to call twice. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#tick?.cancel();
    this.#deadlines.cancel();
    this.#lingers.close(new RadosError('ENOTCONN', 'the client was closed'));
    for (const session of this.#sessions) session.drop();
    for (const request of [...this.#dispatcher.requests]) {
      this.#dispatcher.fail(request, closedError(request.ops, request.target, request.outcome));
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
      const onAbort = () =>
        this.#dispatcher.fail(request, abortError(signal, this.#dispatcher.context(request)));
      signal.addEventListener('abort', onAbort, { once: true });
      request.onSettled(() => signal.removeEventListener('abort', onAbort));
    }
    const { flag } = this.#options.replicaReads;
    if (flag !== 0 && request.isRead && !request.isWrite && !ops.some(isForPrimary)) {
      request.flags |= flag;
      request.mayReadReplica = true;
    }
    if (deadlineAt !== Number.POSITIVE_INFINITY) this.#deadlines.arm(deadlineAt);
    this.#dispatcher.add(request);
  }

  // ---- watches ----

  #lingerTransport(): LingerTransport {
    const { env, keepaliveMs, monClient } = this.#options;
    const maps = this.#maps;
    return {
      env,
      keepaliveMs,
      get map() {
        return maps.map;
      },
      get addr() {
        const { seenAs, nonce } = monClient;
        return seenAs && { type: ADDR_TYPE.ANY, nonce, host: seenAs.host, port: 0 };
      },
      submit: (target, op, hooks) => this.#submitLinger(target, op, hooks),
      cancel: (request) => this.#dispatcher.drop(request),
      sendHeld: (request) => this.#dispatcher.sendHeld(request),
      wantNewerMap: () => this.#dispatcher.wantNewerMap(),
      describe: (target) => describeTarget(target, maps.map),
    };
  }

  #submitLinger(target: ObjectTarget, op: OsdOp, hooks: LingerHooks): OpRequest {
    const startedAt = this.#options.env.clock.monotonic();
    const request = new OpRequest(
      ++this.#lastTid,
      target,
      [op],
      // Registrations take no room: a full pool keeps its watches.
      { flags: isWriteOp(op.code) ? OSD_FLAG.FULL_TRY : 0 },
      { startedAt, deadlineAt: Number.POSITIVE_INFINITY },
      { resolve: (result) => hooks.onResult(result), reject: (error) => hooks.onFailed(error) },
    );
    request.linger = hooks;
    this.#throttle.force();
    this.#dispatcher.add(request);
    return request;
  }

  // ---- sessions ----

  #onOpen(session: OsdSession): void {
    this.#log.debug({ osd: session.name, requests: session.requests.size }, 'session open');
    this.#dispatcher.sendAll(session);
  }

  #onLost(session: OsdSession, error: Error | undefined): void {
    this.#log.info(
      { osd: session.name, err: error, requests: session.requests.size },
      'session lost',
    );
    if (this.#closed) return;
    if (isRefusal(error)) this.#onRefused(session, error);
    if (session.requests.size === 0) return;
    // The OSD may be down, moved or restarted: a newer map will tell. Until then, keep trying where it was.
    this.#dispatcher.wantNewerMap();
    session.connect();
  }

  /** The OSD did not take our ticket: get another, and give up when that does not help. */
  #onRefused(session: OsdSession, error: RadosError): void {
    const { monClient } = this.#options;
    monClient.auth.dropTicket(ENTITY_TYPE.OSD);
    monClient.renewTickets();
    if (!session.noteRefusal(monClient.ticketGeneration)) return;
    for (const request of [...session.requests]) {
      this.#dispatcher.fail(
        request,
        refusedError(this.#dispatcher.context(request), request, error),
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
      case MSG.WATCH_NOTIFY:
        this.#lingers.handle(message);
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
      this.#dispatcher.detach(request);
      this.#dispatcher.dispatch(request);
      return;
    }
    this.#dispatcher.detach(request);
    this.#dispatcher.finish(request);
    if (reply.result < 0) {
      request.reject(resultError(this.#dispatcher.context(request), request, reply, session.osd));
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
      return replyTo(request, message);
    } catch (error) {
      const { op, target } = this.#dispatcher.context(request);
      const detail = `${op} ${target}: ${session.name}: ${(error as Error).message}`;
      this.#dispatcher.fail(
        request,
        new ProtocolError(detail, { ...this.#dispatcher.context(request), cause: error }),
      );
      throw error;
    }
  }

  #redirect(request: OpRequest, redirect: NonNullable<OsdReply['redirect']>): void {
    if (++request.redirects > MAX_REDIRECTS) {
      const { op, target } = this.#dispatcher.context(request);
      this.#dispatcher.fail(
        request,
        new ProtocolError(
          `${op} ${target}: redirected ${MAX_REDIRECTS} times`,
          this.#dispatcher.context(request),
        ),
      );
      return;
    }
    this.#dispatcher.detach(request);
    request.redirect(redirect);
    this.#dispatcher.dispatch(request);
  }

  #onBackoff(session: OsdSession, message: IncomingMessage): void {
    const backoff = decodeAll('MOSDBackoff', osdBackoff, message.front);
    if (backoff.op === BACKOFF_OP.BLOCK) {
      session.holdBack(backoff);
      session.send(
        outgoing(MSG.OSD_BACKOFF, encodeWith(osdBackoff, { ...backoff, op: BACKOFF_OP.ACK_BLOCK })),
      );
    } else if (backoff.op === BACKOFF_OP.UNBLOCK) {
      for (const request of session.release(backoff)) this.#dispatcher.send(request, session);
    }
  }

  // ---- endings ----

  /** Ends what is late; returns when the next is. */
  #expire(now: number): number {
    let next = Number.POSITIVE_INFINITY;
    for (const request of [...this.#dispatcher.requests]) {
      if (request.deadlineAt > now) next = Math.min(next, request.deadlineAt);
      else {
        const session = this.#dispatcher.sessionOf(request);
        this.#dispatcher.fail(
          request,
          timeoutError(this.#dispatcher.context(request), request, session, now),
        );
      }
    }
    return next;
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

  #onTick(): void {
    const { keepaliveMs, idleTtlMs } = this.#options;
    if (this.#sessions.upkeep({ keepaliveMs, idleTtlMs })) this.#dispatcher.wantNewerMap();
  }
}

/** Reads by their opcode, but only the primary knows the watchers' connections, and all objects of its PG. */
function isForPrimary({ code }: OsdOp): boolean {
  return code === OP.NOTIFY || code === OP.NOTIFY_ACK || code === OP.PGNLS;
}
