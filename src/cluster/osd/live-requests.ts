/** The requests of a PG that were not answered yet, in the order of arrival. They outlive intervals. */

import type { ClientOp, OpRoster } from './client-op.js';

export class LiveRequests implements OpRoster {
  readonly #all = new Set<ClientOp>();
  readonly #writes = new Map<string, ClientOp>();

  get size(): number {
    return this.#all.size;
  }

  /**
   * Takes a request. False for a resend of a write that is under way: the write happens once, and answers the newest
   * attempt. One that has not begun gives way to its resend, which has the place of a new request.
   */
  add(op: ClientOp): boolean {
    if (op.key !== undefined) {
      const earlier = this.#writes.get(op.key);
      if (earlier?.submitted || earlier?.pinned) {
        earlier.client.release();
        earlier.client = op.client;
        return false;
      }
      if (earlier) {
        earlier.drop('sent again');
      }
      this.#writes.set(op.key, op);
    }
    op.roster = this;
    this.#all.add(op);
    return true;
  }

  remove(op: ClientOp): void {
    this.#all.delete(op);
    if (op.key !== undefined && this.#writes.get(op.key) === op) this.#writes.delete(op.key);
  }

  /** All of them, which then are no more. */
  takeAll(): ClientOp[] {
    const taken = [...this.#all];
    this.#all.clear();
    this.#writes.clear();
    return taken;
  }
}
