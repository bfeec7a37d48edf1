/** The scrubs of a PG whose primary is this OSD: which one is wanted, and what the last one left. */

import { Interrupted } from '../interval.js';
import type { Scrubber, ScrubKind, ScrubResult } from './scrubber.js';

export class PgScrubs {
  /** Of the primary, while it serves the PG. */
  readonly #scrubber: () => Scrubber | undefined;
  #wanted: ScrubKind | undefined;
  /** What the last one that came to its end found. */
  #result: ScrubResult | undefined;

  constructor(scrubber: () => Scrubber | undefined) {
    this.#scrubber = scrubber;
  }

  get result(): ScrubResult | undefined {
    return this.#result;
  }

  get errors(): number {
    return this.#result?.inconsistencies.reduce((sum, { errors }) => sum + errors, 0) ?? 0;
  }

  /** Now, or when the PG serves. */
  request(kind: ScrubKind): void {
    this.#wanted = kind;
    this.run();
  }

  /** What is wanted; it begins anew with the next activation when the interval ends. */
  run(): void {
    const kind = this.#wanted;
    const scrubber = this.#scrubber();
    if (!kind || !scrubber || scrubber.kind) return;
    scrubber.run(kind).then(
      (result) => {
        this.#result = result;
        if (this.#wanted === kind) this.#wanted = undefined;
        else this.run();
      },
      (error: unknown) => {
        if (!(error instanceof Interrupted)) throw error;
      },
    );
  }

  /** What was found may be elsewhere. */
  forget(): void {
    this.#result = undefined;
  }
}
