/** A client's connection to an embedded OSD: takes its requests in order, and tells it of newer maps. */

import type { Environment } from '../../base/environment.js';
import type { Logger } from '../../base/log.js';
import type { EntityAddr, EntityName } from '../../encoding/entity.js';
import { BLANK_ADDR } from '../../encoding/entity.js';
import { decodeOsdRequest } from '../../messages/osd-messages.js';
import { type IncomingMessage, MSG, type OutgoingMessage, outgoing } from '../../messages/types.js';
import type { Connection, ConnectionHandler } from '../../msgr/connection.js';
import type { ClientRequest, ClientSession } from './client-request.js';

export interface SessionOwner {
  readonly env: Environment;
  readonly log: Logger;
  readonly epoch: number;
  readonly maxInFlightOps: number;
  readonly maxInFlightBytes: number;
  /** An encoded MOSDMap for who has `fromEpoch`. */
  mapMessage(fromEpoch: number): Uint8Array | undefined;
  /** A request whose map this OSD has. */
  dispatch(client: ClientRequest): void;
  /** The client has authenticated. */
  opened(session: OsdSession, connection: Connection): void;
  closed(session: OsdSession): void;
}

const MOSDMAP_VERSION = 4;
const MOSDMAP_COMPAT = 3;

export class OsdSession implements ClientSession, ConnectionHandler {
  name: EntityName = { type: 0, num: 0n };
  addr: EntityAddr = BLANK_ADDR;
  caps = '';
  closed = false;
  readonly #owner: SessionOwner;
  readonly #connection: Connection;
  /** Requests that wait for a newer map, and all behind them: a session's order is kept. */
  readonly #held: ClientRequest[] = [];
  /** The newest epoch that the client is known to have. */
  #clientEpoch = 0;
  #ops = 0;
  #bytes = 0;
  #paused = false;

  constructor(owner: SessionOwner, connection: Connection) {
    this.#owner = owner;
    this.#connection = connection;
  }

  onReady(connection: Connection): void {
    const { entityType, gid, addrs, caps } = connection.peer;
    this.name = { type: entityType, num: gid };
    this.addr = addrs[0] ?? BLANK_ADDR;
    this.caps = caps ?? '';
    this.#owner.opened(this, connection);
  }

  onMessage(_connection: Connection, message: IncomingMessage): void {
    // Pings keep the connection, maps and backoff acks need no answer from this OSD.
    if (message.type !== MSG.OSD_OP) return;
    const request = decodeOsdRequest(message.front, message.data);
    const bytes = message.data.length;
    let released = false;
    this.#admit(bytes);
    this.#take({
      session: this,
      request,
      tid: message.tid,
      priority: message.priority,
      dataBytes: bytes,
      receivedMs: this.#owner.env.clock.now(),
      release: () => {
        if (released) return;
        released = true;
        this.#release(bytes);
      },
    });
  }

  onClose(): void {
    this.closed = true;
    for (const client of this.#held.splice(0)) client.release();
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
    while (this.#held[0] && this.#held[0].request.epoch <= this.#owner.epoch) {
      this.#dispatch(this.#held.shift() as ClientRequest);
    }
  }

  #take(client: ClientRequest): void {
    if (this.#held.length > 0 || client.request.epoch > this.#owner.epoch) {
      this.#held.push(client);
    } else {
      this.#dispatch(client);
    }
  }

  #dispatch(client: ClientRequest): void {
    this.#clientEpoch = Math.max(this.#clientEpoch, client.request.epoch);
    this.shareMap();
    this.#owner.dispatch(client);
  }

  // Reading stops while too much is under way: the client's socket is its queue.

  #admit(bytes: number): void {
    this.#ops++;
    this.#bytes += bytes;
    const { maxInFlightOps, maxInFlightBytes } = this.#owner;
    if (!this.#paused && (this.#ops >= maxInFlightOps || this.#bytes >= maxInFlightBytes)) {
      this.#paused = true;
      this.#connection.pause();
    }
  }

  #release(bytes: number): void {
    this.#ops--;
    this.#bytes -= bytes;
    const { maxInFlightOps, maxInFlightBytes } = this.#owner;
    if (this.#paused && this.#ops < maxInFlightOps / 2 && this.#bytes < maxInFlightBytes / 2) {
      this.#paused = false;
      if (!this.closed) this.#connection.resume();
    }
  }
}
