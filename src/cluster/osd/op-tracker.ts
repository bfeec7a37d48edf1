/** All client operations that an OSD has not finished with, and what became of the last and of the slowest of them. */

import { LinkedList, type Place } from '../../base/linked-list.js';
import type { Logger } from '../../base/log.js';
import type { ClientOp } from './client-op.js';
import type { ClientSession } from './client-request.js';

export interface FinishedOp {
  readonly op: ClientOp;
  /** Monotonic milliseconds. */
  readonly ended: number;
  readonly how: string;
}

/** `osd_op_complaint_time`. */
export const COMPLAINT_MS = 30_000;
/** `osd_op_history_size`, `osd_op_history_slow_op_size`. */
export const HISTORY_MAX = 20;

export class OpTracker {
  /** In the order of arrival. */
  readonly #inFlight = new LinkedList<ClientOp>();
  readonly #newest: FinishedOp[] = [];
  /** The slowest first. */
  readonly #slowest: FinishedOp[] = [];
  #finished = 0;
  #lastId = 0;
  #complaints = 0;

  nextId(): number {
    return ++this.#lastId;
  }

  /** A new operation. */
  add(op: ClientOp): Place<ClientOp> {
    return this.#inFlight.push(op);
  }

  ended(op: ClientOp, how: string): void {
    op.place.leave();
    const ended = op.world.now();
    const finished = { op, ended, how };
    this.#newest[this.#finished++ % HISTORY_MAX] = finished;
    this.#keepIfSlow(finished);
  }

  #keepIfSlow(finished: FinishedOp): void {
    const age = ({ op, ended }: FinishedOp) => ended - op.since;
    const slowest = this.#slowest;
    const last = slowest[HISTORY_MAX - 1];
    if (last && age(last) >= age(finished)) return;
    const at = slowest.findIndex((other) => age(other) < age(finished));
    slowest.splice(at < 0 ? slowest.length : at, 0, finished);
    if (slowest.length > HISTORY_MAX) slowest.pop();
  }

  /** In the order of arrival. */
  inFlight(): ClientOp[] {
    return [...this.#inFlight];
  }

  blocked(now: number): ClientOp[] {
    return this.inFlight().filter(({ since }) => now - since >= COMPLAINT_MS);
  }

  get complaints(): number {
    return this.#complaints;
  }

  /** The newest first. */
  history(): FinishedOp[] {
    const at = this.#finished % HISTORY_MAX;
    return [...this.#newest.slice(at), ...this.#newest.slice(0, at)].reverse();
  }

  slowHistory(): FinishedOp[] {
    return [...this.#slowest];
  }

  /** Speaks of what takes long: when it has, and each time that its age has doubled. */
  complain(now: number, log: Logger): void {
    for (const op of this.#inFlight) {
      const age = now - op.since;
      // They stand in the order of arrival: those behind are younger.
      if (age < COMPLAINT_MS) return;
      if (age < op.complainMs) continue;
      while (op.complainMs <= age) op.complainMs = Math.max(COMPLAINT_MS, op.complainMs * 2);
      this.#complaints++;
      const at = op.phase?.name;
      log.warn(
        { op: op.description, ageMs: Math.round(age), at, on: op.block?.type },
        'slow request',
      );
    }
  }

  /** The connection is gone: what is not submitted has no effect any more. The client sends it again on its next one. */
  sessionClosed(session: ClientSession): void {
    for (const op of this.inFlight()) {
      if (op.session === session && !op.submitted && !op.pinned) op.drop('session closed');
    }
  }
}
