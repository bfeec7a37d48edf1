/** When faults begin again, and when they end by themselves: by the clock that no fault touches. */

import type { Environment } from '../../base/environment.js';

export class FaultTimers {
  readonly #env: Environment;
  readonly #timers = new Set<{ cancel(): void }>();

  constructor(env: Environment) {
    this.#env = env;
  }

  /** Each returns what calls it off. */

  after(ms: number, act: () => void): () => void {
    const timer = this.#env.timers.after(
      ms,
      () => {
        this.#timers.delete(timer);
        act();
      },
      { background: true },
    );
    this.#timers.add(timer);
    return () => {
      timer.cancel();
      this.#timers.delete(timer);
    };
  }

  every(ms: number, act: () => void): () => void {
    let cancel = () => {};
    const next = () => {
      cancel = this.after(Math.max(1, ms), () => {
        act();
        next();
      });
    };
    next();
    return () => cancel();
  }

  /** What ends by itself, or when it is stopped before: what it returns does that. */
  endAfter(ms: number | undefined, end: () => void): () => void {
    if (ms === undefined) return end;
    let ended = false;
    const once = () => {
      if (ended) return;
      ended = true;
      end();
    };
    const cancel = this.after(ms, once);
    return () => {
      cancel();
      once();
    };
  }

  close(): void {
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
  }
}
