/** Things put off: each for a time of its own, or until all are let go. */

import type { Environment, Timer } from '../../base/environment.js';

/** More than this are not held: they happen at once. */
const MAX_HELD = 10_000;

export class HeldActs {
  readonly #env: Environment;
  readonly #held = new Map<() => void, Timer | undefined>();

  constructor(env: Environment) {
    this.#env = env;
  }

  /** Without `delayMs` until `release`. */
  hold(act: () => void, delayMs?: number): void {
    if (this.#held.size >= MAX_HELD) {
      act();
      return;
    }
    // An own function: the same act may be held twice.
    const run = () => act();
    const timer =
      delayMs === undefined
        ? undefined
        : this.#env.timers.after(
            delayMs,
            () => {
              this.#held.delete(run);
              run();
            },
            { background: true },
          );
    this.#held.set(run, timer);
  }

  /** In the order in which they came. */
  release(): void {
    const held = [...this.#held];
    this.#held.clear();
    for (const [, timer] of held) timer?.cancel();
    for (const [run] of held) run();
  }

  /** They never happen. */
  discard(): void {
    for (const timer of this.#held.values()) timer?.cancel();
    this.#held.clear();
  }
}
