/** The requests of a PG that were not answered yet, in the order of arrival. They outlive intervals. */

import { LinkedList } from '../../base/linked-list.js';
import type { ClientOp } from './client-op.js';

export class LiveRequests {
  readonly #all = new LinkedList<ClientOp>();

  get size(): number {
    return this.#all.size;
  }

  /**
   * Takes a request. False for a resend of a write that is under way: the write happens once, and answers the newest
   * attempt. One that has not begun gives way to its resend, which has the place of a new request.
   */
  add(op: ClientOp): boolean {
    const { key } = op;
    if (key !== undefined) {
      // There are as many as clients may have in hand.
      const earlier = this.#all.findLast((other) => other.key === key);
      if (earlier?.submitted || earlier?.pinned) {
        earlier.client.release();
        earlier.client = op.client;
        return false;
      }
      if (earlier) earlier.drop('sent again');
    }
    op.live = this.#all.push(op);
    return true;
  }

  /** All of them, which then are no more. */
  takeAll(): ClientOp[] {
    return this.#all.takeAll();
  }
}
