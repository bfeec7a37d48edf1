/** One digest of the runs of many seeds: whoever runs the same seeds comes to the same, in whatever order they end. */

import { createHash } from 'node:crypto';
import type { RunReport } from './run.js';

type SeedDigest = Pick<RunReport, 'seed' | 'digest'>;

/** Hexadecimal digits that are shown. */
const SHOWN_DIGITS = 16;

export class SeedsDigest {
  /** Of the seeds up to `#next`, each on top of those before. */
  #chain = '';
  #next: number;
  /** They have ended before one with a lower seed. */
  readonly #early = new Map<number, string>();

  constructor(firstSeed: number) {
    this.#next = firstSeed;
  }

  add({ seed, digest }: SeedDigest): void {
    this.#early.set(seed, digest);
    for (;;) {
      const next = this.#early.get(this.#next);
      if (next === undefined) return;
      this.#early.delete(this.#next);
      this.#chain = linked(this.#chain, { seed: this.#next++, digest: next });
    }
  }

  /** 16 hexadecimal digits; of no seed at all they are those of nothing. */
  get value(): string {
    const rest = [...this.#early].sort(([a], [b]) => a - b);
    const chain = rest.reduce((sum, [seed, digest]) => linked(sum, { seed, digest }), this.#chain);
    return linked(chain, undefined).slice(0, SHOWN_DIGITS);
  }
}

function linked(chain: string, run: SeedDigest | undefined): string {
  const more = run ? `${run.seed} ${run.digest}` : '';
  return createHash('sha256').update(`${chain}\n${more}`).digest('hex');
}
