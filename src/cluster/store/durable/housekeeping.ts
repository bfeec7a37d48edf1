/**
 * When a store flushes and makes checkpoints: one thing at a time, and one store at a time of those that share a disk,
 * so that their background work does not take all of the process's file threads from the logs.
 */

import type { Timer, Timers } from '../../../base/environment.js';

/** Work of several stores, one after the other. */
export class Lane {
  #last: Promise<unknown> = Promise.resolve();

  run<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    return done;
  }
}

export interface HousekeepingOptions {
  readonly timers: Timers;
  readonly lane: Lane;
  /** What is to be done now, if anything; asked again after it was done. */
  readonly next: () => (() => Promise<void>) | undefined;
  /** What is to be done when nothing happened for a while, if anything. */
  readonly whenIdle: () => (() => Promise<void>) | undefined;
  /** Changes with everything that happens. */
  readonly activity: () => number;
  /** It is tried again in any case: the error may pass. */
  readonly onError: (error: Error) => void;
  readonly idleMs: number;
}

/** After an error that may pass: a full disk. */
const RETRY_MS = 1000;

export class Housekeeping {
  readonly #options: HousekeepingOptions;
  #running: Promise<void> | undefined;
  #idleTimer: Timer | undefined;
  #retryTimer: Timer | undefined;
  #stopped = false;

  constructor(options: HousekeepingOptions) {
    this.#options = options;
  }

  /** Something happened: there may be something to do. */
  wake(): void {
    if (this.#stopped) return;
    this.#armIdle();
    if (this.#running || this.#retryTimer || !this.#options.next()) return;
    this.#start(this.#options.next);
  }

  /** Resolves when nothing is under way. */
  get settled(): Promise<void> {
    return this.#running ?? Promise.resolve();
  }

  /** What is under way is finished; nothing begins any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#idleTimer?.cancel();
    this.#retryTimer?.cancel();
    await this.#running;
  }

  #start(what: HousekeepingOptions['next']): void {
    this.#running = this.#work(what)
      .catch((error: unknown) => {
        this.#options.onError(error as Error);
        this.#retryLater();
      })
      .finally(() => {
        this.#running = undefined;
      });
  }

  async #work(what: HousekeepingOptions['next']): Promise<void> {
    // Each piece queues anew, so that the others get their turns.
    for (let work = what(); work && !this.#stopped; work = what()) {
      await this.#options.lane.run(work);
    }
  }

  #retryLater(): void {
    if (this.#stopped) return;
    this.#retryTimer = this.#options.timers.after(
      RETRY_MS,
      () => {
        this.#retryTimer = undefined;
        this.wake();
      },
      { background: true },
    );
  }

  #armIdle(): void {
    if (this.#idleTimer || !this.#options.whenIdle()) return;
    const seen = this.#options.activity();
    this.#idleTimer = this.#options.timers.after(
      this.#options.idleMs,
      () => {
        this.#idleTimer = undefined;
        const isIdle = this.#options.activity() === seen && !this.#running;
        if (isIdle && !this.#retryTimer) this.#start(this.#options.whenIdle);
        else this.#armIdle();
      },
      { background: true },
    );
  }
}
