/** What is promised of watches (B1 to B10), beside what was measured: a table when the tests of a file are over. */

import { expect } from 'vitest';

interface Row {
  readonly bound: string;
  readonly what: string;
  readonly limit: number;
  readonly measured: number;
  readonly unit: string;
}

export class Bounds {
  readonly #title: string;
  readonly #rows: Row[] = [];

  constructor(title: string) {
    this.#title = title;
  }

  /** Fails when more was measured than is allowed. */
  hold(
    bound: string,
    what: string,
    { limit, measured, unit = 'ms' }: { limit: number; measured: number; unit?: string },
  ): void {
    this.#rows.push({ bound, what, limit, measured: Math.round(measured), unit });
    expect(measured, `${bound}, ${what}`).toBeLessThanOrEqual(limit);
  }

  print(): void {
    const width = Math.max(...this.#rows.map(({ what }) => what.length));
    const lines = this.#rows
      .toSorted((a, b) => Number(a.bound.slice(1)) - Number(b.bound.slice(1)))
      .map(
        ({ bound, what, limit, measured, unit }) =>
          `  ${bound.padEnd(4)}${what.padEnd(width)}${String(measured).padStart(8)} of at most ${String(limit).padStart(6)} ${unit}`,
      );
    console.log([this.#title, ...lines].join('\n'));
  }
}
