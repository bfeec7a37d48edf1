/** A fault while it is armed: its counter, its limit, and who waits for it to act. */

import type { Environment } from '../../base/environment.js';
import { RadosError } from '../../base/errors.js';
import type { FaultKind } from './fault-spec.js';

interface Waiter {
  count: number;
  resolve: (fired: number) => void;
  reject: (error: Error) => void;
}

export class ArmedFault {
  readonly id: number;
  readonly kind: FaultKind;
  readonly #times: number;
  readonly #count: (times: number) => void;
  readonly #waiters = new Set<Waiter>();
  #fired = 0;
  #acted = 0;
  readonly #places = new WeakSet<object>();
  #stopped = false;

  /** `count` hears of every time that it acts. */
  constructor(id: number, kind: FaultKind, times: number, count: (times: number) => void) {
    this.id = id;
    this.kind = kind;
    this.#times = times;
    this.#count = count;
  }

  get fired(): number {
    return this.#fired;
  }

  /** As `fired`, with all that it did to one place, which is one direction of a connection, or one daemon, as one. */
  get activations(): number {
    return this.#acted;
  }

  get over(): boolean {
    return this.#fired >= this.#times;
  }

  /**
   * It acts. False when it has done so as often as it may: then it must not. `place`: to what it does so again and again.
   */
  fire(times = 1, place?: object): boolean {
    if (this.over || this.#stopped) return false;
    this.#fired += times;
    if (!place) this.#acted += times;
    else if (!this.#places.has(place)) {
      this.#places.add(place);
      this.#acted++;
    }
    this.#count(times);
    for (const waiter of [...this.#waiters]) {
      if (this.#fired < waiter.count) continue;
      this.#waiters.delete(waiter);
      waiter.resolve(this.#fired);
    }
    return true;
  }

  untilFired(env: Environment, count: number, timeoutMs: number): Promise<number> {
    if (this.#fired >= count) return Promise.resolve(this.#fired);
    return new Promise((resolve, reject) => {
      const timer = env.timers.after(
        timeoutMs,
        () => {
          this.#waiters.delete(waiter);
          const text = `${this.kind} acted ${this.#fired} times in ${timeoutMs} ms, not ${count}`;
          reject(new RadosError('ETIMEDOUT', text, { op: this.kind }));
        },
        { background: true },
      );
      const settle = <T>(how: (value: T) => void) => {
        return (value: T) => {
          timer.cancel();
          how(value);
        };
      };
      const waiter = { count, resolve: settle(resolve), reject: settle(reject) };
      this.#waiters.add(waiter);
    });
  }

  stop(): void {
    this.#stopped = true;
    for (const { reject } of this.#waiters) {
      reject(
        new RadosError('ECANCELED', `${this.kind} was stopped after it acted ${this.#fired} times`),
      );
    }
    this.#waiters.clear();
  }
}
