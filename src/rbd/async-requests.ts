/**
 * Maintenance that this client asked the lock's owner for, from the question to the completion
 * (`librbd/ImageWatcher.cc`, `notify_async_request`).
 *
 *     asked -> accepted -> progress* -> completed
 *
 * Completion may overtake the answer. Whoever does not hear from the owner for half a minute, or hears that the lock has
 * changed hands, asks again with the same id: the new owner, or the old one, which then runs nothing twice.
 */

import type { Environment, Timer } from '../base/environment.js';
import { abortError, ERRNO, RadosError } from '../base/errors.js';
import { type AsyncRequestId, type ClientId, describeRequest } from './notify-payloads.js';

/** `rbd_request_timed_out_seconds`. */
const IDLE_TIMEOUT_MS = 30_000;
/** No program runs that many at once; a loop that forgot to wait does. */
const MAX_REQUESTS = 1024;

export type ProgressReport = (offset: number, total: number) => void;

export interface AsyncRequestOptions {
  /** What was done already, never less than before. */
  onProgress?: ProgressReport | undefined;
  /** Ends the wait; the owner goes on. */
  signal?: AbortSignal | undefined;
}

interface Running {
  progress: ProgressReport;
  settle: (result: number) => void;
}

export class AsyncRequests {
  readonly #env: Environment;
  readonly #idleTimeoutMs: number;
  readonly #running = new Map<string, Running>();
  #lastRequestId = 0n;

  constructor(env: Environment, options: { idleTimeoutMs?: number } = {}) {
    this.#env = env;
    this.#idleTimeoutMs = options.idleTimeoutMs ?? IDLE_TIMEOUT_MS;
  }

  get size(): number {
    return this.#running.size;
  }

  /** For a new request; one that is asked for again keeps its own. */
  newId(client: ClientId): AsyncRequestId {
    this.#lastRequestId++;
    return { client, requestId: this.#lastRequestId };
  }

  /**
   * Asks with `ask`, which resolves with the owner's answer, and waits for the completion. Resolves with the result:
   * that of the owner, ETIMEDOUT (negative, as all of them) when it stopped to be heard of, or that of `cancel()`.
   *
   * Then the signal of `ask` aborts: a question that is still under way would be sent again by whatever moves the header's
   * object, and an owner that came to be meanwhile would do once more what is done and gone.
   */
  async run(
    id: AsyncRequestId,
    ask: (over: AbortSignal) => Promise<number>,
    { onProgress, signal }: AsyncRequestOptions = {},
  ): Promise<number> {
    const key = describeRequest(id);
    if (this.#running.has(key)) throw new TypeError(`request ${key} is running already`);
    if (this.#running.size >= MAX_REQUESTS) {
      throw new RadosError('EBUSY', `${MAX_REQUESTS} maintenance requests are running`, {
        op: 'maintenance request',
        retryable: true,
        outcome: 'not-applied',
      });
    }
    if (signal?.aborted) {
      throw abortError(signal, { op: 'maintenance request', outcome: 'not-applied' });
    }

    const over = new AbortController();
    let timer: Timer | undefined;
    let onAbort: (() => void) | undefined;
    try {
      return await new Promise<number>((resolve, reject) => {
        const heard = () => {
          timer?.cancel();
          timer = this.#env.timers.after(this.#idleTimeoutMs, () => resolve(-ERRNO.ETIMEDOUT));
        };
        const reportIncrease = onProgress && increasing(onProgress);
        const progress: ProgressReport = (offset, total) => {
          heard();
          reportIncrease?.(offset, total);
        };
        onAbort = () => reject(abortError(signal as AbortSignal, { op: 'maintenance request' }));
        signal?.addEventListener('abort', onAbort, { once: true });
        this.#running.set(key, { progress, settle: resolve });
        heard();
        ask(over.signal).then((answer) => {
          if (answer < 0) resolve(answer);
        }, reject);
      });
    } finally {
      timer?.cancel();
      if (onAbort) signal?.removeEventListener('abort', onAbort);
      this.#running.delete(key);
      over.abort();
    }
  }

  /** The owner works on it. */
  progress(id: AsyncRequestId, offset: number, total: number): void {
    this.#running.get(describeRequest(id))?.progress(offset, total);
  }

  /** The owner is done with it. */
  complete(id: AsyncRequestId, result: number): void {
    this.#running.get(describeRequest(id))?.settle(result);
  }

  /** Ends all waits: with ERESTART when somebody else is to be asked now. */
  cancel(result = -ERRNO.ERESTART): void {
    for (const { settle } of this.#running.values()) settle(result);
  }
}

/** Passes on what is further than everything before: a new owner begins anew. */
export function increasing(report: ProgressReport): ProgressReport {
  let furthest = -1;
  return (offset, total) => {
    const share = total > 0 ? offset / total : 0;
    if (share <= furthest) return;
    furthest = share;
    report(offset, total);
  };
}
