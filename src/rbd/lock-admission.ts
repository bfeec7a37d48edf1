/**
 * Who may pass while the exclusive lock is held, who waits for it, and who is inside.
 *
 * Requests are counted as they pass, also those that waited: when a release begins right after the lock was taken, those
 * that waited for it are inside already. So each time the lock comes round, whoever waited gets something done.
 */

import type { Timers } from '../base/environment.js';
import { abortError, type RadosError } from '../base/errors.js';
import { lockError } from './lock-errors.js';

/**
 * `request`: a write that begins, counted. `object`: an object of a write that has begun; goes on while the lock is held,
 * also during a release. `acquire`: wants the lock, nothing else.
 */
export type WaiterKind = 'request' | 'object' | 'acquire';

interface Waiter {
  readonly kind: WaiterKind;
  resolve(): void;
  reject(error: RadosError): void;
}

export class LockAdmission {
  readonly #timers: Timers;
  readonly #target: string;
  readonly #onDesertion: () => void;
  readonly #waiters = new Set<Waiter>();
  #inside = 0;
  #drained: { promise: Promise<void>; resolve: () => void } | undefined;

  /** `onDesertion` is called when the last of those who waited gave up. */
  constructor(options: { timers: Timers; target: string; onDesertion: () => void }) {
    this.#timers = options.timers;
    this.#target = options.target;
    this.#onDesertion = options.onDesertion;
  }

  get waiting(): number {
    return this.#waiters.size;
  }

  /** Requests that passed and have not left. */
  get inside(): number {
    return this.#inside;
  }

  enter(): void {
    this.#inside++;
  }

  leave(): void {
    if (this.#inside === 0) throw new Error('a request leaves that did not enter');
    if (--this.#inside > 0) return;
    this.#drained?.resolve();
    this.#drained = undefined;
  }

  /** Resolves when nobody is inside. */
  drained(): Promise<void> {
    if (this.#inside === 0) return Promise.resolve();
    if (!this.#drained) {
      let resolve = () => {};
      const promise = new Promise<void>((settle) => {
        resolve = settle;
      });
      this.#drained = { promise, resolve };
    }
    return this.#drained.promise;
  }

  /** Resolves when the lock is there; a `request` is then inside. */
  wait(
    kind: WaiterKind,
    { signal, timeoutMs = 0 }: { signal?: AbortSignal | undefined; timeoutMs?: number } = {},
  ): Promise<void> {
    const options = { op: 'lock', target: this.#target, outcome: 'not-applied' } as const;
    if (signal?.aborted) return Promise.reject(abortError(signal, options));
    return new Promise((resolve, reject) => {
      const settle = () => {
        this.#waiters.delete(waiter);
        timer?.cancel();
        signal?.removeEventListener('abort', onAbort);
      };
      const giveUp = (error: RadosError) => {
        settle();
        reject(error);
        if (this.#waiters.size === 0) this.#onDesertion();
      };
      const onAbort = () => giveUp(abortError(signal as AbortSignal, options));
      const onTimeout = () =>
        giveUp(lockError(this.#target, 'ETIMEDOUT', `not acquired within ${timeoutMs} ms`));
      const waiter: Waiter = {
        kind,
        resolve: () => {
          settle();
          if (kind === 'request') this.enter();
          resolve();
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      };
      this.#waiters.add(waiter);
      const timer = timeoutMs > 0 ? this.#timers.after(timeoutMs, onTimeout) : undefined;
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Lets pass all that wait, or those of some kinds. */
  admit(kinds: readonly WaiterKind[] = ['object', 'request', 'acquire']): void {
    for (const waiter of [...this.#waiters]) if (kinds.includes(waiter.kind)) waiter.resolve();
  }

  /** Turns away all that wait, or those of some kinds. */
  refuse(error: RadosError, kinds: readonly WaiterKind[] = ['object', 'request', 'acquire']): void {
    for (const waiter of [...this.#waiters]) if (kinds.includes(waiter.kind)) waiter.reject(error);
  }
}
