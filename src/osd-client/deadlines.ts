/** One timer for the deadlines of all operations: it stands at the earliest. */

import type { Environment, Timer } from '../base/environment.js';

export class Deadlines {
  readonly #env: Environment;
  readonly #expire: (now: number) => number;
  #armed: { at: number; timer: Timer } | undefined;

  /** `expire` ends what is late and returns when the next is (Infinity: never). */
  constructor(env: Environment, expire: (now: number) => number) {
    this.#env = env;
    this.#expire = expire;
  }

  /** Makes sure that `expire` is called at `at` (`clock.monotonic()`), or earlier. */
  arm(at: number): void {
    if (this.#armed && this.#armed.at <= at) return;
    this.cancel();
    const delayMs = Math.max(0, at - this.#env.clock.monotonic());
    const timer = this.#env.timers.after(Math.ceil(delayMs), () => this.#onTimer());
    this.#armed = { at, timer };
  }

  cancel(): void {
    this.#armed?.timer.cancel();
    this.#armed = undefined;
  }

  #onTimer(): void {
    this.#armed = undefined;
    const next = this.#expire(this.#env.clock.monotonic());
    if (next !== Number.POSITIVE_INFINITY) this.arm(next);
  }
}
