/**
 * The rules of what an OSD does with a session beside answering it:
 *
 *   P23  what a client knows that it has to wait with is not executed, and a backoff goes from new to acknowledged and on as it may
 *   P27  with a session's end its watches are disconnected, and nothing is sent to it any more
 */

import type { Backoff, BackoffState } from '../../cluster/osd/backoffs.js';
import { ClientOp } from '../../cluster/osd/client-op.js';
import type { ClientSession } from '../../cluster/osd/client-request.js';
import type { BackoffEvent, LogEvent } from '../../cluster/osd/pipeline/event-log.js';

/** What can be seen of the OSD that speaks. */
export interface SessionSight {
  /** Watches whose client is believed to be there, on this session. */
  watchesOn(session: ClientSession): number;
}

const VIOLATIONS_MAX = 20;

/** What an event makes of a backoff; what is not here must not happen. */
const NEXT: Readonly<Record<BackoffEvent, Partial<Record<BackoffState, BackoffState>>>> = {
  block: {},
  ack: { new: 'acked', acked: 'acked', deleting: 'gone' },
  unblock: { new: 'deleting', acked: 'gone' },
  close: { new: 'gone', acked: 'gone', deleting: 'gone' },
};

/** Of one OSD. */
export class SessionRules {
  readonly violations: string[] = [];
  readonly #backoffs = new Map<Backoff, BackoffState>();
  readonly #ids = new WeakMap<ClientSession, bigint>();

  feed(event: LogEvent, sight: SessionSight): void {
    const { ev, handle, backoff, session } = event;
    if (ev === 'backoff' && backoff) this.#backoff(event, backoff);
    else if (ev === 'execute' && handle instanceof ClientOp) this.#execute(event, handle);
    else if (ev === 'notify' && session) this.#check('P27', !session.closed, event);
    else if (ev === 'session closed' && session) this.#closed(event, session, sight);
  }

  #backoff(event: LogEvent, backoff: Backoff): void {
    const what = event.detail as BackoffEvent;
    const before = this.#backoffs.get(backoff);
    if (what === 'block') {
      const last = this.#ids.get(backoff.session) ?? 0n;
      this.#check('P23', before === undefined && backoff.id > last, event);
      this.#ids.set(backoff.session, backoff.id);
      this.#backoffs.set(backoff, 'new');
      return;
    }
    const after = before === undefined ? undefined : NEXT[what][before];
    this.#check('P23', after !== undefined && backoff.state === before, event);
    if (after === undefined || after === 'gone') this.#backoffs.delete(backoff);
    else this.#backoffs.set(backoff, after);
  }

  #execute(event: LogEvent, op: ClientOp): void {
    if (this.#backoffs.size === 0) return;
    const { pg } = op.client.request;
    for (const [backoff, state] of this.#backoffs) {
      const isOfIt =
        backoff.session === op.session &&
        backoff.pg.pool === pg.pool &&
        backoff.pg.seed === pg.seed &&
        backoff.covers(op.position);
      this.#check('P23', !isOfIt || state === 'gone', event);
    }
  }

  #closed(event: LogEvent, session: ClientSession, sight: SessionSight): void {
    this.#check('P27', session.closed && sight.watchesOn(session) === 0, event);
    const left = [...this.#backoffs.keys()].some((backoff) => backoff.session === session);
    this.#check('P23', !left, event);
  }

  #check(rule: string, holds: boolean, { ev, op, domain, detail }: LogEvent): void {
    if (holds || this.violations.length >= VIOLATIONS_MAX) return;
    this.violations.push(`${rule}: ${ev} ${detail} of ${op || domain}`);
  }
}
