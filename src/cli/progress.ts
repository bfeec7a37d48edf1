/** Progress in `rbd`'s words, on stderr: `Removing image: 42% complete...`, then `...done.` or `...failed.` */

import type { Writable } from 'node:stream';

export class ProgressLine {
  readonly #verb: string;
  readonly #out: Writable | undefined;
  #shown = -1;

  /** Without `out` nothing is shown. */
  constructor(verb: string, out: Writable | undefined) {
    this.#verb = verb;
    this.#out = out;
  }

  update = (done: number, total: number): void => {
    const percent = total > 0 ? Math.floor((done * 100) / total) : 0;
    if (percent === this.#shown) return;
    this.#shown = percent;
    this.#out?.write(`\r${this.#verb}: ${percent}% complete...`);
  };

  finish(): void {
    this.#out?.write(`\r${this.#verb}: 100% complete...done.\n`);
  }

  fail(): void {
    this.#out?.write(`\r${this.#verb}: ${Math.max(0, this.#shown)}% complete...failed.\n`);
  }

  /** Runs a task under this line. */
  async over<T>(task: (update: (done: number, total: number) => void) => Promise<T>): Promise<T> {
    try {
      const result = await task(this.update);
      this.finish();
      return result;
    } catch (error) {
      this.fail();
      throw error;
    }
  }
}
