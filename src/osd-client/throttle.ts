/** A counting limit with a FIFO of waiters, itself limited. */

import type { Timer, Timers } from '../base/environment.js';
import { abortError, RadosError } from '../base/errors.js';

interface Waiter {
  admit: () => void;
  reject: (error: Error) => void;
}

export interface AcquireOptions {
  signal?: AbortSignal | undefined;
  /** How long to wait for a place; 0: for ever. */
  timeoutMs?: number;
}

export class Throttle {
  readonly #timers: Timers;
  readonly #limit: number;
  readonly #maxWaiting: number;
  readonly #waiting: Waiter[] = [];
  #taken = 0;

  constructor(timers: Timers, limit: number, maxWaiting: number) {
    this.#timers = timers;
    this.#limit = limit;
    this.#maxWaiting = maxWaiting;
  }

  /** Takes a place: at once (undefined), or when the promise resolves, in FIFO order. `give` it back afterwards. */
  acquire({ signal, timeoutMs = 0 }: AcquireOptions = {}): Promise<void> | undefined {
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
      let timer: Timer | undefined;
      const done = () => {
        timer?.cancel();
        signal?.removeEventListener('abort', onAbort);
      };
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
      const leave = (error: RadosError) => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        waiter.reject(error);
      };
      const onAbort = () => leave(abortError(signal as AbortSignal, { outcome: 'not-applied' }));
      signal?.addEventListener('abort', onAbort, { once: true });
      if (timeoutMs > 0) {
        timer = this.#timers.after(timeoutMs, () =>
          leave(
            new RadosError(
              'ETIMEDOUT',
              `${this.#limit} operations are under way, and none ended in ${timeoutMs} ms`,
              { outcome: 'not-applied', retryable: true },
            ),
          ),
        );
      }
      this.#waiting.push(waiter);
    });
  }

  /** Takes a place even if there is none left. */
  force(): void {
    this.#taken++;
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
