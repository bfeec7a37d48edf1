/**
 * What a client is asked to keep to itself for a while (MOSDBackoff): operations of a PG that cannot serve, or of an object
 * that nobody has. They are dropped, so that they take no room here, and the client sends them again when it is told.
 *
 *   new ──ack──> acked ──unblock──> gone
 *    └─unblock─> deleting ──ack──> gone
 *
 * BLOCK makes one, UNBLOCK goes out when what it is for has come to an end. Until the client has acknowledged it, whatever
 * it sends was sent without knowing, and will come again: executing it would put it before others that wait.
 * As `osd/Session.h` and `PG::add_backoff` have it.
 */

import { encodeWith } from '../../encoding/codec.js';
import { type Hobject, NO_SHARD, type PgId, samePgId } from '../../encoding/types.js';
import { BACKOFF_OP, type OsdBackoff, osdBackoff } from '../../messages/osd-messages.js';
import { MSG, outgoing } from '../../messages/types.js';
import { compareHobject } from '../../osdmap/hobject-order.js';
import type { ClientSession } from './client-request.js';
import type { Blocker } from './pipeline/blocker.js';
import type { EventLog } from './pipeline/event-log.js';

export type BackoffState = 'new' | 'acked' | 'deleting' | 'gone';

/** From `begin` up to `end`, which is not in it; the same twice: this object alone. */
export interface BackoffRange {
  readonly begin: Hobject;
  readonly end: Hobject;
}

export class Backoff {
  state: BackoffState = 'new';

  constructor(
    readonly session: ClientSession,
    readonly id: bigint,
    readonly pg: PgId,
    readonly range: BackoffRange,
    /** What it is for. */
    readonly blocker: Blocker,
    readonly lifted: () => void,
  ) {}

  covers(position: Hobject): boolean {
    const { begin, end } = this.range;
    const fromBegin = compareHobject(position, begin);
    if (compareHobject(begin, end) === 0) return fromBegin === 0;
    return fromBegin >= 0 && compareHobject(position, end) < 0;
  }
}

/** What else there is to keep waits here: a client that is told of so many ranges is not helped by more. */
export const SESSION_BACKOFFS_MAX = 4096;

export interface BackoffsOptions {
  readonly session: ClientSession;
  /** Of the newest map. */
  readonly epoch: () => number;
  readonly log: () => EventLog | undefined;
}

/** Of one session, whose client has the feature. They live as long as its connection. */
export class SessionBackoffs {
  readonly #options: BackoffsOptions;
  readonly #all = new Set<Backoff>();
  #lastId = 0n;

  constructor(options: BackoffsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#all.size;
  }

  all(): Backoff[] {
    return [...this.#all];
  }

  /** Asks the client to wait until the blocker is lifted. False: there are too many already. */
  block(pg: PgId, range: BackoffRange, blocker: Blocker): boolean {
    if (this.#all.size >= SESSION_BACKOFFS_MAX) return false;
    const { session } = this.#options;
    const id = ++this.#lastId;
    const backoff = new Backoff(session, id, pg, range, blocker, () => this.#unblock(backoff));
    this.#all.add(backoff);
    blocker.add(backoff);
    this.#options.log()?.backoff('block', backoff);
    this.#send(backoff, BACKOFF_OP.BLOCK);
    return true;
  }

  /** The client will send it again: it has been asked to wait with it, or has not heard yet that it need not. */
  holds(pg: PgId, position: Hobject): boolean {
    for (const backoff of this.#all) {
      if (samePgId(backoff.pg, pg) && backoff.covers(position)) return true;
    }
    return false;
  }

  /** The client knows of it. Undefined: of one that there is not. */
  acknowledge({ pg: { pg }, id, begin }: OsdBackoff): Backoff | undefined {
    for (const backoff of this.#all) {
      if (backoff.id !== id || !samePgId(backoff.pg, pg)) continue;
      if (compareHobject(backoff.range.begin, begin) !== 0) continue;
      this.#options.log()?.backoff('ack', backoff);
      if (backoff.state === 'new') backoff.state = 'acked';
      else if (backoff.state === 'deleting') this.#remove(backoff);
      return backoff;
    }
    return undefined;
  }

  /** The connection is gone, and what its client knew with it. */
  clear(): void {
    for (const backoff of this.#all) {
      backoff.blocker.remove(backoff);
      this.#options.log()?.backoff('close', backoff);
      this.#remove(backoff);
    }
  }

  #unblock(backoff: Backoff): void {
    this.#options.log()?.backoff('unblock', backoff);
    if (backoff.state === 'new') backoff.state = 'deleting';
    else this.#remove(backoff);
    this.#send(backoff, BACKOFF_OP.UNBLOCK);
  }

  #remove(backoff: Backoff): void {
    backoff.state = 'gone';
    this.#all.delete(backoff);
  }

  #send({ pg, id, range }: Backoff, op: number): void {
    const { session, epoch } = this.#options;
    const message = { pg: { pg, shard: NO_SHARD }, epoch: epoch(), op, id, ...range };
    session.send(outgoing(MSG.OSD_BACKOFF, encodeWith(osdBackoff, message)));
  }
}
