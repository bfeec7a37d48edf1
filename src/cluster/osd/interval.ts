/**
 * One life of an interval on one OSD. What was started in it checks, whenever it goes on, that it has not ended.
 *
 * The interval of the map is its `start`, by which OSDs call it among each other. A primary that peers anew within it lives
 * in it `again`: what it had under way ends, and to everybody else the interval is the same.
 */

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

  /** The next life of the same interval of the map, when this one has ended. */
  again(): Interval {
    return new Interval(this.start);
  }

  /** Throws `Interrupted` when it has ended. */
  check(): void {
    if (this.#ended) throw new Interrupted('the interval ended');
  }
}

export class Interrupted extends Error {}
