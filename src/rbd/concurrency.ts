/** Requests side by side, with a limit. */

import { abortError } from '../base/errors.js';

/** librbd's `rbd_concurrent_management_ops`: objects that a resize or removal works on at a time. */
export const MANAGEMENT_OPS_MAX = 10;

/**
 * Runs `step` for each item, at most `limit` at a time. After a failure nothing more is started; settles when all that
 * was started has settled (so that no buffer is in use any more), then with the first failure.
 */
export async function eachLimited<T>(
  items: Iterable<T>,
  limit: number,
  step: (item: T) => Promise<unknown>,
): Promise<void> {
  const iterator = items[Symbol.iterator]();
  let failure: { error: unknown } | undefined;
  const lane = async () => {
    while (failure === undefined) {
      const next = iterator.next();
      if (next.done) return;
      try {
        await step(next.value);
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  const lanes = Array.isArray(items) ? Math.min(limit, items.length) : limit;
  await Promise.all(Array.from({ length: lanes }, lane));
  if (failure) throw failure.error;
}

/** Told of steps done out of all. */
export type Progress = (done: number, total: number) => void;

export interface Pace {
  /** Stops between two items, with ECANCELED. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: Progress | undefined;
  /** Asked before each item: undefined when it may be begun at once, else to be asked again when that has resolved. */
  admit?(): Promise<void> | undefined;
}

/** As `eachLimited`, for the objects that a management operation works on. */
export async function eachManaged<T>(
  items: Iterable<T>,
  total: number,
  step: (item: T) => Promise<unknown>,
  pace: Pace,
): Promise<void> {
  const { signal, onProgress } = pace;
  let done = 0;
  await eachLimited(items, MANAGEMENT_OPS_MAX, async (item) => {
    for (let wait = pace.admit?.(); wait; wait = pace.admit?.()) await wait;
    if (signal?.aborted) throw abortError(signal, { op: 'management operation' });
    await step(item);
    onProgress?.(++done, total);
  });
}

/**
 * Which writes a flush has to wait for: those that had begun before it.
 *
 * Writes are counted in generations. A flush closes the current one, so that writes that come later do not delay it.
 */
export class WriteTracker {
  #current: Generation = { pending: 0 };
  /** Closed generations that have writes in flight, and when these will have settled. */
  readonly #closed = new Map<Generation, Promise<void>>();

  /** Counts a write as in flight until the promise settles, however it does. */
  async track<T>(write: Promise<T>): Promise<T> {
    const generation = this.#current;
    generation.pending++;
    try {
      return await write;
    } finally {
      if (--generation.pending === 0) generation.onSettled?.();
    }
  }

  /** Resolves when every write that has begun so far has settled. */
  async drain(): Promise<void> {
    const generation = this.#current;
    if (generation.pending > 0) {
      this.#current = { pending: 0 };
      const settled = new Promise<void>((resolve) => {
        generation.onSettled = () => {
          this.#closed.delete(generation);
          resolve();
        };
      });
      this.#closed.set(generation, settled);
    }
    await Promise.all(this.#closed.values());
  }
}

interface Generation {
  pending: number;
  /** Set when the generation is closed: called as the last write settles. */
  onSettled?: () => void;
}
