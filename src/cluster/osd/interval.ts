/** One interval's life on one OSD. What was started in it checks, whenever it goes on, that it has not ended. */

import type { IntervalStart } from './intervals.js';

export class Interval {
  /** The epoch that it began at: the same on every OSD. */
  readonly since: number;
  readonly start: IntervalStart;
  #ended = false;

  constructor(start: IntervalStart) {
    this.start = start;
    this.since = start.epoch;
  }

  get ended(): boolean {
    return this.#ended;
  }

  end(): void {
    this.#ended = true;
  }

  /** Throws `Interrupted` when it has ended. */
  check(): void {
    if (this.#ended) throw new Interrupted('the interval ended');
  }
}

export class Interrupted extends Error {}
