/** Who waits to hear from an OSD that a watch is good, and from when on an answer says so. */

import type { RadosError } from '../base/errors.js';

interface Waiter {
  resolve: () => void;
  reject: (error: RadosError) => void;
}

export class Verifications {
  /** Only what was asked after this (`clock.monotonic()`) counts. */
  #from = Number.NEGATIVE_INFINITY;
  #waiting: Waiter[] = [];

  /** From here on, answers to what was asked before say nothing. */
  demand(now: number): void {
    this.#from = now;
  }

  /** Settles with `resolve` or `reject`. */
  wait(): Promise<void> {
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  satisfiedBy(askedAt: number): boolean {
    return askedAt >= this.#from;
  }

  resolve(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { resolve } of waiting) resolve();
  }

  reject(error: RadosError): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { reject } of waiting) reject(error);
  }
}
