/** One interval's life on one OSD. What was started in it checks, whenever it goes on, that it has not ended. */

export class Interval {
  /** The epoch that it began at: the same on every OSD. */
  readonly since: number;
  #ended = false;

  constructor(since: number) {
    this.since = since;
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
