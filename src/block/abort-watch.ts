/**
 * Many calls under one AbortSignal: one listener on the signal for all of them. Node warns of a leak from the
 * eleventh listener on, and a caller may well pass one signal to a hundred reads.
 */

export class AbortWatch {
  readonly #calls = new WeakMap<AbortSignal, Set<() => void>>();

  /** Calls `onAbort` once when the signal is aborted. Returns how to stop that. */
  watch(signal: AbortSignal, onAbort: () => void): () => void {
    let calls = this.#calls.get(signal);
    if (!calls) {
      calls = new Set();
      this.#calls.set(signal, calls);
      signal.addEventListener('abort', this.#onAbort);
    }
    calls.add(onAbort);
    return () => {
      if (!calls.delete(onAbort) || calls.size > 0) return;
      this.#forget(signal, calls);
    };
  }

  readonly #onAbort = (event: Event): void => {
    const signal = event.target as AbortSignal;
    const calls = this.#calls.get(signal);
    if (!calls) return;
    this.#forget(signal, calls);
    for (const call of [...calls]) call();
  };

  #forget(signal: AbortSignal, calls: Set<() => void>): void {
    if (this.#calls.get(signal) !== calls) return;
    this.#calls.delete(signal);
    signal.removeEventListener('abort', this.#onAbort);
  }
}
