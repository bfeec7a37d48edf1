/**
 * The client's session with one OSD: a lossy connection that is opened again whenever operations need it,
 * the operations under way on it, and the backoffs that the OSD asked for.
 *
 *     closed -> connecting -> open -> closed -> (wait) -> connecting ...
 *
 * A connection's loss loses nothing: the operations stay, and are sent again in tid order with RETRY.
 */

import type { Timer } from '../base/environment.js';
import { type EntityAddr, ENTITY_TYPE, formatAddr, sameAddr } from '../encoding/entity.js';
import { type IncomingMessage, MSG, type OutgoingMessage } from '../messages/types.js';
import { Connection, type MessengerContext } from '../msgr/connection.js';
import type { ClusterAuth } from '../auth/method.js';
import { ProtocolError } from '../base/errors.js';
import { type Backoff, BackoffSet, inRange } from './backoff.js';
import { isRefusal } from './failures.js';
import { inTidOrder, type OpRequest, type Placement, samePg, spgOf } from './op-request.js';
import { RequestTable } from './request-table.js';
import { sortPosition } from './target.js';

export interface SessionOptions extends MessengerContext {
  osd: number;
  /** Known once a monitor accepted us. */
  auth: () => ClusterAuth;
  modes: readonly number[];
  nonce: number;
  nextGlobalSeq: () => bigint;
}

export interface SessionEvents {
  /** The session is up: the owner (re)sends what it has. */
  onOpen(session: OsdSession): void;
  onMessage(session: OsdSession, message: IncomingMessage): void;
  /** What lived on the connection is gone, whoever ended it. */
  onGone(session: OsdSession): void;
  /** The connection was lost or could not be made; the owner decides when to call `connect` again. */
  onLost(session: OsdSession, error: Error | undefined): void;
}

const CONNECT_TIMEOUT_MS = 10_000;
const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 5_000;
/** Longer than the 30 s (`rotating_keys_bootstrap_timeout`) for which an OSD that starts may lack the keys to check tickets. */
const REFUSED_FOR_GOOD_MS = 60_000;
const MIN_REFUSED_TICKETS = 6;

export class OsdSession {
  readonly osd: number;
  readonly backoffs = new BackoffSet();
  /** Operations whose target is this OSD, in the order of their tids. */
  readonly requests = new RequestTable<OpRequest>();
  /** When the last operation finished: idle sessions are closed. */
  idleSince: number;
  /** Watches and notifications that live on the connection: it is not idle without operations. */
  lingers = 0;
  /** When the OSD last answered a `keepalive` (`clock.monotonic()`). */
  heardAt = Number.NEGATIVE_INFINITY;
  readonly #options: SessionOptions;
  readonly #events: SessionEvents;
  #addr: EntityAddr;
  #connection: Connection | undefined;
  #retry: Timer | undefined;
  #retryDelayMs = 0;
  /** Different tickets in a row that the OSD refused, which the last was, and since when. */
  readonly #refusals = { tickets: 0, generation: 0, since: 0 };

  constructor(addr: EntityAddr, options: SessionOptions, events: SessionEvents) {
    this.osd = options.osd;
    this.#addr = addr;
    this.#options = options;
    this.#events = events;
    this.idleSince = options.env.clock.monotonic();
  }

  /** `osd.3 at v2:10.0.0.7:6803/1`. */
  get name(): string {
    return `osd.${this.osd} at ${formatAddr(this.#addr)}`;
  }

  get open(): boolean {
    return this.#connection?.ready ?? false;
  }

  hasAddr(addr: EntityAddr): boolean {
    return sameAddr(this.#addr, addr);
  }

  /** The OSD came back elsewhere: the old connection is dropped, a new one made when needed. */
  moveTo(addr: EntityAddr): void {
    this.#addr = addr;
    this.#retryDelayMs = 0;
    this.#refusals.tickets = 0;
    this.drop();
  }

  /** Makes sure that a connection exists or is on its way. */
  connect(): void {
    if (this.#connection || this.#retry) return;
    if (this.#retryDelayMs > 0) {
      this.#retry = this.#options.env.timers.after(this.#retryDelayMs, () => {
        this.#retry = undefined;
        if (this.requests.size > 0) this.#dial();
      });
      return;
    }
    this.#dial();
  }

  /**
   * The OSD refused the ticket of that `MonClient.ticketGeneration`; returns whether that is its last word. An OSD that starts
   * refuses everybody until a monitor has told it the rotating keys, which it waits for half a minute: fresh tickets
   * must have been refused for longer than that. As long as no monitor gives us others, waiting is all that can be done.
   */
  noteRefusal(ticketGeneration: number): boolean {
    const refusals = this.#refusals;
    const now = this.#options.env.clock.monotonic();
    if (refusals.tickets === 0) refusals.since = now;
    if (refusals.tickets === 0 || refusals.generation !== ticketGeneration) refusals.tickets++;
    refusals.generation = ticketGeneration;
    return refusals.tickets >= MIN_REFUSED_TICKETS && now - refusals.since >= REFUSED_FOR_GOOD_MS;
  }

  /** Takes a BLOCK: what was sent in that range was dropped by the OSD. */
  holdBack(backoff: Backoff): void {
    if (!this.backoffs.add(backoff)) {
      throw new ProtocolError(`${this.name} holds back more ranges than can be kept`);
    }
    for (const request of this.requests) {
      if (
        request.parked !== 'paused' &&
        request.placement &&
        samePg(spgOf(request.placement), backoff.pg) &&
        inRange(sortPosition(request, request.placement), backoff)
      ) {
        request.parked = 'backoff';
      }
    }
  }

  /** Takes an UNBLOCK: what may be sent again, though some of it may still be in another range. */
  release({ pg, id }: Backoff): OpRequest[] {
    const removed = this.backoffs.remove(pg, id);
    if (!removed) return [];
    return inTidOrder(this.requests).filter(
      ({ parked, placement }) =>
        parked === 'backoff' && placement && samePg(spgOf(placement), removed.pg),
    );
  }

  /** Whether the OSD asked to wait with this operation. */
  holds(request: OpRequest, placement: Placement): boolean {
    return (
      this.backoffs.size > 0 &&
      this.backoffs.covers(spgOf(placement), sortPosition(request, placement))
    );
  }

  send(message: OutgoingMessage): void {
    this.#connection?.send(message);
  }

  /** Writes what was collected at once. */
  flush(): void {
    this.#connection?.flush();
  }

  /** Drops the connection; operations stay. A new connection replaces it on the next `connect`. */
  drop(error?: Error): void {
    this.#retry?.cancel();
    this.#retry = undefined;
    const connection = this.#connection;
    this.#connection = undefined;
    this.#forget();
    connection?.close(error);
    if (connection) this.#events.onGone(this);
  }

  /** Asks the OSD's messenger for a sign of life. */
  keepalive(): void {
    this.#connection?.sendKeepalive();
  }

  #dial(): void {
    const { nextGlobalSeq } = this.#options;
    const auth = this.#options.auth();
    this.#connection = Connection.connect({
      ...this.#options,
      name: this.name,
      target: this.#addr,
      expectedType: ENTITY_TYPE.OSD,
      auth: [() => auth.serviceAuth(ENTITY_TYPE.OSD)],
      gid: () => auth.globalId,
      globalSeq: nextGlobalSeq(),
      timeoutMs: CONNECT_TIMEOUT_MS,
      handler: {
        onReady: () => {
          this.#retryDelayMs = 0;
          this.#refusals.tickets = 0;
          this.#events.onOpen(this);
        },
        onMessage: (connection, message) => {
          if (connection === this.#connection) this.#events.onMessage(this, message);
        },
        onKeepaliveAck: (connection) => {
          if (connection === this.#connection) this.heardAt = this.#options.env.clock.monotonic();
        },
        onClose: (connection, error) => this.#onClose(connection, error),
        placeData: (message, _front, length) =>
          message.type === MSG.OSD_OPREPLY ? this.#placeData(message.tid, length) : undefined,
      },
    });
  }

  #onClose(connection: Connection, error: Error | undefined): void {
    if (connection !== this.#connection) return;
    this.#connection = undefined;
    this.#forget();
    // Whoever answers next may just have started.
    if (!isRefusal(error)) this.#refusals.tickets = 0;
    this.#retryDelayMs = Math.min(Math.max(this.#retryDelayMs * 2, RETRY_MIN_MS), RETRY_MAX_MS);
    this.#events.onGone(this);
    this.#events.onLost(this, error);
  }

  /** What lived on the connection. */
  #forget(): void {
    this.backoffs.clear();
    for (const request of this.requests) request.placing = false;
  }

  /** The payload of a lone read or call goes straight to where the caller wants it. */
  #placeData(tid: number, length: number): Uint8Array | undefined {
    const request = this.requests.get(tid);
    if (!request?.into || length > request.into.length) return undefined;
    request.placing = true;
    return request.into.subarray(0, length);
  }
}
