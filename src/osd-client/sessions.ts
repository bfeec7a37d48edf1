/** The client's sessions, one to each OSD that it has something to say to: made, moved, pinged and closed here. */

import { MSG, outgoing } from '../messages/types.js';
import type { MonClient } from '../mon-client/mon-client.js';
import type { MessengerContext } from '../msgr/connection.js';
import { OsdSession, type SessionEvents } from './session.js';
import type { ClientMap } from './target.js';

export interface SessionsOptions extends MessengerContext {
  monClient: MonClient;
  modes: readonly number[];
  nonce: number;
}

export class Sessions implements Iterable<OsdSession> {
  readonly #options: SessionsOptions;
  readonly #events: SessionEvents;
  readonly #sessions = new Map<number, OsdSession>();
  #globalSeq = 0n;

  constructor(options: SessionsOptions, events: SessionEvents) {
    this.#options = options;
    this.#events = events;
  }

  [Symbol.iterator](): Iterator<OsdSession> {
    return this.#sessions.values();
  }

  get(osd: number): OsdSession | undefined {
    return this.#sessions.get(osd);
  }

  /** Undefined for an OSD that is down, and for -1: a PG without a primary. */
  to(osd: number, map: ClientMap): OsdSession | undefined {
    const addr = osd < 0 ? undefined : map.msgr2Addr(osd);
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
      this.#events,
    );
    this.#sessions.set(osd, session);
    return session;
  }

  /** Sessions of OSDs that are down or came back elsewhere are dropped. To be called before requests are looked at. */
  follow(map: ClientMap): void {
    for (const [osd, session] of this.#sessions) {
      const addr = map.msgr2Addr(osd);
      if (!addr) {
        session.drop();
        this.#sessions.delete(osd);
        for (const request of session.requests) request.parked = 'homeless';
      } else if (!session.hasAddr(addr)) {
        session.moveTo(addr);
        if (session.requests.size > 0) session.connect();
      }
    }
  }

  /**
   * Pings OSDs that owe answers or notifications, so that a dead connection is noticed; closes idle sessions. True when an
   * OSD is late: the newest map may tell why.
   */
  upkeep({ keepaliveMs, idleTtlMs }: { keepaliveMs: number; idleTtlMs: number }): boolean {
    const now = this.#options.env.clock.monotonic();
    let anyLate = false;
    for (const [osd, session] of this.#sessions) {
      if (session.requests.size > 0) {
        const [oldest] = session.requests;
        const late = oldest !== undefined && now - oldest.startedAt > keepaliveMs;
        if ((late || session.lingers > 0) && session.open) session.send(outgoing(MSG.PING));
        anyLate ||= late;
      } else if (session.lingers > 0) {
        if (session.open) session.send(outgoing(MSG.PING));
      } else if (now - session.idleSince > idleTtlMs) {
        session.drop();
        this.#sessions.delete(osd);
      }
    }
    return anyLate;
  }
}
