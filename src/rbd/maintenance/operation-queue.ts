/** Operations of an image that must not overlap: one at a time, in the order in which they came. */

import { RadosError } from '../../base/errors.js';
import { unlessAborted } from '../waiting.js';

/** More than other clients may ask for at a time (`MAX_RUNNING`) and some of our own. */
const WAITING_MAX = 1024;

export class OperationQueue {
  readonly #target: string;
  #last: Promise<void> = Promise.resolve();
  #waiting = 0;

  constructor(target: string) {
    this.#target = target;
  }

  /** Runs the operation when those before it are over. EBUSY: too many wait. ECANCELED: it was given up while it waited. */
  async run(signal: AbortSignal, operation: () => Promise<void>): Promise<void> {
    if (this.#waiting >= WAITING_MAX) {
      throw new RadosError('EBUSY', `${WAITING_MAX} maintenance operations wait already`, {
        target: this.#target,
        retryable: true,
        outcome: 'not-applied',
      });
    }
    const before = this.#last;
    let over = () => {};
    const turn = new Promise<void>((resolve) => {
      over = resolve;
    });
    this.#last = before.then(() => turn);
    this.#waiting++;
    try {
      await unlessAborted(before, signal, this.#target);
    } catch (error) {
      over();
      throw error;
    } finally {
      this.#waiting--;
    }
    try {
      await operation();
    } finally {
      over();
    }
  }
}
