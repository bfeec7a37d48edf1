/** Finds out whether a pool that the map lacks is gone (`Objecter::_check_op_pool_dne`). */

import type { Timers } from '../base/environment.js';

export interface PoolCheckHooks {
  timers: Timers;
  /** Resolves when our map is as new as the monitors'. */
  fetchNewest: () => Promise<void>;
  /** Whether operations still wait for the pool. */
  isWanted: (pool: number) => boolean;
  /** The map is the newest: the pool is in it, or gone. */
  onAnswered: (pool: number) => void;
}

/** Monitors that could not be asked are asked again. */
const RETRY_MS = 1000;

export class PoolChecks {
  readonly #hooks: PoolCheckHooks;
  readonly #running = new Set<number>();

  constructor(hooks: PoolCheckHooks) {
    this.#hooks = hooks;
  }

  /** Does nothing while the pool is being checked. */
  start(pool: number): void {
    if (this.#running.has(pool)) return;
    this.#running.add(pool);
    this.#hooks.fetchNewest().then(
      () => {
        this.#running.delete(pool);
        this.#hooks.onAnswered(pool);
      },
      () => {
        this.#running.delete(pool);
        if (!this.#hooks.isWanted(pool)) return;
        this.#hooks.timers.after(RETRY_MS, () => {
          if (this.#hooks.isWanted(pool)) this.start(pool);
        });
      },
    );
  }
}
