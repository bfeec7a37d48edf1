/**
 * The receive windows of a thread's connections.
 *
 * They lie in kernel memory, so that checksums run in place. When that is used up (some hundred connections),
 * ordinary memory serves: slower by a copy, never refused.
 */

import type { Kernels } from '../kernels/load.js';
import { WINDOW_BYTES } from './frame-reader.js';

export class WindowPool {
  readonly #kernels: Kernels;
  readonly #free: Uint8Array[] = [];
  readonly #maximum: number;
  #allocated = 0;

  constructor(kernels: Kernels, maximum = 64) {
    this.#kernels = kernels;
    this.#maximum = maximum;
  }

  acquire(): Uint8Array {
    const free = this.#free.pop();
    if (free) return free;
    if (this.#allocated < this.#maximum) {
      this.#allocated++;
      try {
        return this.#kernels.u8.subarray(...range(this.#kernels.alloc(WINDOW_BYTES)));
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        this.#allocated = this.#maximum;
      }
    }
    return new Uint8Array(WINDOW_BYTES);
  }

  release(window: Uint8Array): void {
    if (window.buffer === this.#kernels.memory.buffer) this.#free.push(window);
  }
}

function range(at: number): [number, number] {
  return [at, at + WINDOW_BYTES];
}
