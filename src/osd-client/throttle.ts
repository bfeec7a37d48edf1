/** A counting limit with a FIFO of waiters, itself limited. */

import { abortError, RadosError } from '../base/errors.js';

interface Waiter {
  admit: () => void;
  reject: (error: Error) => void;
}

export class Throttle {
  readonly #limit: number;
  readonly #maxWaiting: number;
  readonly #waiting: Waiter[] = [];
  #taken = 0;

  constructor(limit: number, maxWaiting: number) {
    this.#limit = limit;
    this.#maxWaiting = maxWaiting;
  }

  /** Takes a place: at once (undefined), or when the promise resolves, in FIFO order. `give` it back afterwards. */
  acquire(signal?: AbortSignal): Promise<void> | undefined {
    if (this.#taken < this.#limit) {
      this.#taken++;
      return undefined;
    }
    if (this.#waiting.length >= this.#maxWaiting) {
      const error = new RadosError('EAGAIN', `${this.#maxWaiting} operations are waiting already`, {
        outcome: 'not-applied',
        retryable: true,
      });
      return Promise.reject(error);
    }
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        const index = this.#waiting.indexOf(waiter);
        // Admitted in this very turn: the caller has the place and sees the signal itself.
        if (index < 0) return;
        this.#waiting.splice(index, 1);
        reject(abortError(signal as AbortSignal, { outcome: 'not-applied' }));
      };
      const done = () => signal?.removeEventListener('abort', onAbort);
      const waiter: Waiter = {
        admit: () => {
          done();
          resolve();
        },
        reject: (error) => {
          done();
          reject(error);
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiting.push(waiter);
    });
  }

  /** Gives a place back: the first waiter gets it. */
  give(): void {
    const next = this.#waiting.shift();
    if (next) next.admit();
    else this.#taken--;
  }

  close(error: Error): void {
    for (const waiter of this.#waiting.splice(0)) waiter.reject(error);
  }
}
