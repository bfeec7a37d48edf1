/** Writing what a diff has, piece by piece, with some of the writes still under way. */

import { sparseRuns } from '../../base/zeroes.js';

/** What is written to. */
export interface WriteTarget {
  write(offset: number, data: Uint8Array): Promise<unknown>;
  writeZeroes(offset: number, length: number): Promise<unknown>;
}

/** librbd's. */
export const SPARSE_SIZE = 4096;
const WRITES_MAX = 10;

/** Writes side by side, as long as they go up through the image: one that goes back waits for those before it. */
export class WriteBehind {
  readonly #target: WriteTarget;
  readonly #sparseSize: number;
  readonly #inFlight = new Set<Promise<unknown>>();
  #failure: { error: unknown } | undefined;
  #end = 0;

  /** Blocks of `sparseSize` bytes that are all zero are written as zeroes, not as data; 0: they are data as well. */
  constructor(target: WriteTarget, sparseSize: number) {
    this.#target = target;
    this.#sparseSize = sparseSize;
  }

  /**
   * Resolves when the writes have begun; `data` is borrowed until they have settled. `start`: bytes of the extent before
   * these, for its blocks are counted from its start. Rejects with the first failure there was.
   */
  async write(offset: number, data: Uint8Array, start = 0): Promise<void> {
    if (this.#sparseSize === 0) {
      await this.#begin(offset, data.length, () => this.#target.write(offset, data));
      return;
    }
    for (const run of sparseRuns(data, this.#sparseSize, start)) {
      const at = offset + run.start;
      if (run.zero) {
        await this.writeZeroes(at, run.end - run.start);
      } else {
        const bytes = data.subarray(run.start, run.end);
        await this.#begin(at, bytes.length, () => this.#target.write(at, bytes));
      }
    }
  }

  async writeZeroes(offset: number, length: number): Promise<void> {
    await this.#begin(offset, length, () => this.#target.writeZeroes(offset, length));
  }

  /** Resolves when none is under way, however they ended. */
  async settled(): Promise<void> {
    while (this.#inFlight.size > 0) await Promise.race(this.#inFlight);
  }

  /** Resolves when all have been written. Rejects with the first failure there was. */
  async drain(): Promise<void> {
    await this.settled();
    this.#rethrow();
  }

  async #begin(offset: number, length: number, write: () => Promise<unknown>): Promise<void> {
    if (offset < this.#end) await this.settled();
    while (this.#inFlight.size >= WRITES_MAX) await Promise.race(this.#inFlight);
    this.#rethrow();
    this.#end = offset + length;
    const writing = write()
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#inFlight.delete(writing));
    this.#inFlight.add(writing);
  }

  #rethrow(): void {
    if (this.#failure) throw this.#failure.error;
  }
}
