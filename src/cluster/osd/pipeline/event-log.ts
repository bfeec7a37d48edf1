/**
 * What happened to operations, event by event: for tests, which check the rules of the pipeline over it, and for people
 * who look for the cause of something.
 *
 * Off unless somebody asks for it. Keeps the newest events, a bounded number; listeners hear of every one.
 */

import { formatEntityName } from '../../../encoding/entity.js';
import { formatPgId } from '../../../encoding/types.js';
import type { Backoff } from '../backoffs.js';
import type { ClientSession } from '../client-request.js';
import type { Handle } from './handle.js';
import type { Phase } from './phase.js';
import type { PipelineEvent } from './world.js';

export type LogEventKind =
  | PipelineEvent
  | 'execute'
  | 'interval'
  | 'backoff'
  | 'notify'
  | 'session closed';

/** What becomes of a backoff: `close`: its session ends. */
export type BackoffEvent = 'block' | 'ack' | 'unblock' | 'close';

export interface LogEvent {
  /** Monotonic milliseconds. */
  readonly t: number;
  readonly op: number;
  readonly inst: number;
  readonly ev: LogEventKind;
  readonly phase: string;
  readonly domain: string;
  /** How the phase takes its occupants; empty where there is none. */
  readonly kind: string;
  /** The type of a blocker, why something was dropped. */
  readonly detail: string;
  readonly handle: Handle | undefined;
  /** Of `backoff`. */
  readonly backoff?: Backoff;
  /** Of `notify`, whom it goes to, and of `session closed`. */
  readonly session?: ClientSession;
}

const EVENTS_MAX = 65_536;

export class EventLog {
  readonly #max: number;
  readonly #now: () => number;
  readonly #ring: LogEvent[] = [];
  readonly #listeners = new Set<(event: LogEvent) => void>();
  #count = 0;

  constructor(now: () => number, max = EVENTS_MAX) {
    this.#now = now;
    this.#max = max;
  }

  /** Returns what ends it. */
  listen(listener: (event: LogEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  add(ev: LogEventKind, handle: Handle, detail = ''): void {
    this.addAt(ev, handle, handle.phase, detail);
  }

  addAt(ev: LogEventKind, handle: Handle, phase: Phase | undefined, detail = ''): void {
    this.#push({
      t: this.#now(),
      op: handle.id,
      inst: handle.instance,
      ev,
      phase: phase?.name ?? '',
      domain: phase?.domain ?? '',
      kind: phase?.kind ?? '',
      detail,
      handle,
    });
  }

  /** A PG begins a new interval. */
  interval(pg: string, since: number): void {
    this.#push(this.#outside('interval', pg, String(since)));
  }

  /** Of what a client is asked to wait for, before its state changes. */
  backoff(what: BackoffEvent, backoff: Backoff): void {
    this.#push({ ...this.#outside('backoff', formatPgId(backoff.pg), what), backoff });
  }

  /** Of a session: a notification goes out on it; it has ended, and all that was to come of it has. */
  session(ev: 'notify' | 'session closed', session: ClientSession): void {
    this.#push({ ...this.#outside(ev, formatEntityName(session.name), ''), session });
  }

  #outside(ev: LogEventKind, domain: string, detail: string): LogEvent {
    const nowhere = { op: 0, inst: 0, phase: '', kind: '', handle: undefined };
    return { t: this.#now(), ev, domain, detail, ...nowhere };
  }

  /** The newest events, oldest first. */
  events(): LogEvent[] {
    const oldest = this.#count > this.#max ? this.#count % this.#max : 0;
    return [...this.#ring.slice(oldest), ...this.#ring.slice(0, oldest)];
  }

  #push(event: LogEvent): void {
    this.#ring[this.#count++ % this.#max] = event;
    for (const listener of this.#listeners) listener(event);
  }
}
