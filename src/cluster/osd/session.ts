/** A client's connection to an embedded OSD: takes its requests in order, and tells it of newer maps. */

import type { Environment } from '../../base/environment.js';
import { allocShortLived } from '../../base/short-lived.js';
import type { Logger } from '../../base/log.js';
import type { EntityAddr, EntityName } from '../../encoding/entity.js';
import { BLANK_ADDR } from '../../encoding/entity.js';
import { samePgId } from '../../encoding/types.js';
import { decodeAll } from '../../encoding/codec.js';
import { FEATURE_RADOS_BACKOFF } from '../../messages/features.js';
import {
  BACKOFF_OP,
  type DecodedOsdRequest,
  decodeOsdRequest,
  osdBackoff,
} from '../../messages/osd-messages.js';
import { type IncomingMessage, MSG, type OutgoingMessage, outgoing } from '../../messages/types.js';
import type { Connection, ConnectionHandler } from '../../msgr/connection.js';
import type { ClassRegistry } from '../classes/class-registry.js';
import { CHUNK_BYTES } from '../store/object-data.js';
import type { ObjectStore } from '../store/object-store.js';
import { SessionBackoffs } from './backoffs.js';
import { ClientOp } from './client-op.js';
import type { ClientRequest, ClientSession } from './client-request.js';
import { ClientThrottle, type Throttled } from './client-throttle.js';
import type { OsdLimits } from './limits.js';
import { classify } from './op-class.js';
import type { OpTracker } from './op-tracker.js';
import { Blocker } from './pipeline/blocker.js';
import type { Phase } from './pipeline/phase.js';
import type { PipelineWorld } from './pipeline/world.js';

export interface SessionOwner {
  readonly env: Environment;
  readonly log: Logger;
  readonly epoch: number;
  readonly store: ObjectStore;
  /** Of all connections. */
  readonly throttle: ClientThrottle;
  readonly limits: OsdLimits;
  /** An encoded MOSDMap for who has `fromEpoch`. */
  mapMessage(fromEpoch: number): Uint8Array | undefined;
  readonly classes: ClassRegistry;
  readonly pipeline: PipelineWorld;
  readonly tracker: OpTracker;
  /** A map has this OSD up. */
  readonly isUp: boolean;
  /** Keeps requests until a map has this OSD up. */
  readonly untilUp: Blocker;
  /** A request whose map this OSD has. */
  dispatch(op: ClientOp): void;
  /** The client has authenticated. */
  opened(session: OsdSession, connection: Connection): void;
  closed(session: OsdSession): void;
}

const MOSDMAP_VERSION = 4;
const MOSDMAP_COMPAT = 3;

/** A request as it came, whose memory counts until it has been dealt with. */
class ReceivedRequest implements ClientRequest {
  readonly tid: number;
  readonly priority: number;
  readonly dataBytes: number;
  readonly dataCrc: number | undefined;
  #released = false;

  constructor(
    readonly session: OsdSession,
    readonly request: DecodedOsdRequest,
    { tid, priority, data, dataCrc }: IncomingMessage,
    readonly receivedMs: number,
  ) {
    this.tid = tid;
    this.priority = priority;
    this.dataBytes = data.length;
    this.dataCrc = dataCrc;
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.session.give(this.dataBytes);
  }
}

export class OsdSession implements ClientSession, ConnectionHandler, Throttled {
  name: EntityName = { type: 0, num: 0n };
  addr: EntityAddr = BLANK_ADDR;
  caps = '';
  closed = false;
  backoffs: SessionBackoffs | undefined;
  readonly #owner: SessionOwner;
  readonly #connection: Connection;
  /** C1, C2, C3: a session's order is kept. */
  readonly #awaitActive: Phase;
  readonly #awaitMap: Phase;
  readonly #getPgMapping: Phase;
  readonly #mapGate = new Blocker('osdmap_gate');
  /** The newest epoch that the client is known to have. */
  #clientEpoch = 0;
  readonly #own: ClientThrottle;
  /** By how many throttles it is stopped. */
  #pauses = 0;

  constructor(owner: SessionOwner, connection: Connection) {
    this.#owner = owner;
    this.#connection = connection;
    this.#own = new ClientThrottle(owner.limits.connection);
    const { pipeline } = owner;
    const domain = `connection ${connection.id}`;
    this.#awaitActive = pipeline.exclusive('C1.await_active', domain);
    this.#awaitMap = pipeline.exclusive('C2.await_map', domain);
    this.#getPgMapping = pipeline.exclusive('C3.get_pg_mapping', domain);
  }

  onReady(connection: Connection): void {
    const { entityType, gid, addrs, caps, features } = connection.peer;
    this.name = { type: entityType, num: gid };
    this.addr = addrs[0] ?? BLANK_ADDR;
    this.caps = caps ?? '';
    if (features & FEATURE_RADOS_BACKOFF) {
      this.backoffs = new SessionBackoffs({
        session: this,
        epoch: () => this.#owner.epoch,
        log: () => this.#owner.pipeline.log,
      });
    }
    this.#owner.opened(this, connection);
  }

  onMessage(_connection: Connection, message: IncomingMessage): void {
    if (message.type === MSG.OSD_BACKOFF) this.#onBackoff(message);
    // Pings keep the connection, maps need no answer from this OSD.
    if (message.type !== MSG.OSD_OP) return;
    const request = decodeOsdRequest(message.front, message.data);
    const { pipeline: world, tracker, classes, env } = this.#owner;
    const client = new ReceivedRequest(this, request, message, env.clock.now());
    this.take(client.dataBytes);
    const opClass = classify(classes, request.ops);
    const op = new ClientOp({ world, tracker, client, opClass });
    op.enter(this.#awaitActive, this.#active);
  }

  /** Stores copy what is less than a chunk of theirs; what is more they keep, and give back when they have no use for it. */
  placeData(_message: unknown, _front: Uint8Array, length: number): Uint8Array | undefined {
    return length < CHUNK_BYTES ? allocShortLived(length) : this.#owner.store.spare.take(length);
  }

  /** A request with so much data came. */
  take(bytes: number): void {
    this.#own.take(this, bytes);
    this.#owner.throttle.take(this, bytes);
  }

  /** It has been dealt with. */
  give(bytes: number): void {
    this.#own.give(bytes);
    this.#owner.throttle.give(bytes);
  }

  /**
   * The client knows what to wait with. What it sent before it knew, and has not got further than here, will come again: it must
   * not be done before what has been sent away already.
   */
  #onBackoff(message: IncomingMessage): void {
    const ack = decodeAll('MOSDBackoff', osdBackoff, message.front);
    if (ack.op !== BACKOFF_OP.ACK_BLOCK) return;
    const backoff = this.backoffs?.acknowledge(ack);
    if (!backoff) return;
    for (const op of this.#owner.tracker.inFlight()) {
      const { pg } = op.client.request;
      const isOfIt = op.session === this && samePgId(pg, backoff.pg) && backoff.covers(op.position);
      if (isOfIt && !op.submitted && !op.pinned) op.drop('held back');
    }
  }

  onClose(): void {
    this.closed = true;
    this.backoffs?.clear();
    this.backoffs = undefined;
    this.#owner.throttle.forget(this);
    this.#owner.tracker.sessionClosed(this);
    this.#owner.closed(this);
  }

  close(): void {
    this.#connection.close();
  }

  send(message: OutgoingMessage): void {
    if (!this.closed) this.#connection.send(message);
  }

  /** The newest map, unless the client has it. */
  shareMap(): void {
    const { epoch } = this.#owner;
    if (this.closed || this.#clientEpoch >= epoch) return;
    const front = this.#owner.mapMessage(this.#clientEpoch);
    this.#clientEpoch = epoch;
    if (!front) return;
    const version = { version: MOSDMAP_VERSION, compat: MOSDMAP_COMPAT };
    this.send(outgoing(MSG.OSD_MAP, front, version));
  }

  /** A new map came: what waited for it goes on. */
  onMap(): void {
    this.#mapGate.lift();
  }

  /** Those in C1 to C3, in order. */
  phases(): Phase[] {
    return [this.#awaitActive, this.#awaitMap, this.#getPgMapping];
  }

  readonly #active = (op: ClientOp): void => {
    if (this.#owner.isUp) {
      op.enter(this.#awaitMap, this.#hasMap);
      return;
    }
    this.shareMap();
    op.waitFor(this.#owner.untilUp, this.#active);
  };

  readonly #hasMap = (op: ClientOp): void => {
    if (op.client.request.epoch > this.#owner.epoch) op.waitFor(this.#mapGate, this.#hasMap);
    else op.enter(this.#getPgMapping, this.#mapped);
  };

  readonly #mapped = (op: ClientOp): void => {
    this.#clientEpoch = Math.max(this.#clientEpoch, op.client.request.epoch);
    this.shareMap();
    this.#owner.dispatch(op);
  };

  // A throttle is at its limit: the client's socket is its queue.

  pause(): void {
    if (this.#pauses++ === 0) this.#connection.pause();
  }

  resume(): void {
    if (--this.#pauses === 0 && !this.closed) this.#connection.resume();
  }
}
