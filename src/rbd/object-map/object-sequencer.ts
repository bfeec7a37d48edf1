/**
 * The order of what is done to one object, as far as its map cares: any number of writers at a time, or one that removes or
 * examines it. Who comes while one of these waits for the writers to leave, waits for it: it is not kept out for ever.
 */

import { unlessAborted } from '../waiting.js';

/** One that has the object for itself, or waits for the writers to leave. */
interface Exclusion {
  readonly over: Promise<void>;
  end(): void;
  /** The last writer has left. */
  onAlone: (() => void) | undefined;
}

export class ObjectSequencer {
  readonly #target: string;
  readonly #writers = new Map<number, number>();
  readonly #exclusions = new Map<number, Exclusion>();

  constructor(target: string) {
    this.#target = target;
  }

  /** Whether a writer is in, and must `leave`. Else it may try again after `over`. */
  tryEnter(objectNo: number): boolean {
    if (this.#exclusions.size > 0 && this.#exclusions.has(objectNo)) return false;
    this.#writers.set(objectNo, (this.#writers.get(objectNo) ?? 0) + 1);
    return true;
  }

  leave(objectNo: number): void {
    const writers = this.#writers.get(objectNo);
    if (writers === undefined) throw new Error(`a writer leaves object ${objectNo} that is not in`);
    if (writers > 1) {
      this.#writers.set(objectNo, writers - 1);
      return;
    }
    this.#writers.delete(objectNo);
    this.#exclusions.get(objectNo)?.onAlone?.();
  }

  async enter(objectNo: number, signal: AbortSignal | undefined): Promise<void> {
    while (!this.tryEnter(objectNo)) await this.#over(objectNo, signal);
  }

  /** At which anybody is, or waits to be alone. */
  busyObjects(): number[] {
    return [...this.#writers.keys(), ...this.#exclusions.keys()];
  }

  /** Resolves when nobody else is at the object nor can come, with how to let them. */
  async exclude(objectNo: number, signal?: AbortSignal): Promise<() => void> {
    while (this.#exclusions.has(objectNo)) await this.#over(objectNo, signal);
    const exclusion = newExclusion();
    this.#exclusions.set(objectNo, exclusion);
    const release = () => {
      if (this.#exclusions.get(objectNo) !== exclusion) return;
      this.#exclusions.delete(objectNo);
      exclusion.end();
    };
    if (!this.#writers.has(objectNo)) return release;
    const alone = new Promise<void>((resolve) => {
      exclusion.onAlone = resolve;
    });
    try {
      await unlessAborted(alone, signal, this.#target);
    } catch (error) {
      release();
      throw error;
    }
    return release;
  }

  async #over(objectNo: number, signal: AbortSignal | undefined): Promise<void> {
    await unlessAborted(
      this.#exclusions.get(objectNo)?.over ?? Promise.resolve(),
      signal,
      this.#target,
    );
  }
}

function newExclusion(): Exclusion {
  let end = () => {};
  const over = new Promise<void>((resolve) => {
    end = resolve;
  });
  return { over, end, onAlone: undefined };
}
