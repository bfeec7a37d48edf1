/**
 * Maintenance that others ask this client for while it owns the lock of an image: run once for every request, however
 * often it is asked for, and announced when it is done (`librbd/ImageWatcher.cc`, `prepare_async_request`).
 */

import type { Environment } from '../base/environment.js';
import { ERRNO, toRadosError } from '../base/errors.js';
import type { NotifyResult } from '../osd-client/watch-types.js';
import { increasing, type ProgressReport } from './async-requests.js';
import { type AsyncRequestId, describeRequest, type KnownPayload } from './notify-payloads.js';

/**
 * Carries out what was asked for, with a fresh header; a rejection is its result. Should report progress every few seconds:
 * the requester gives up on an owner that is silent for half a minute. `cancelled` aborts when the requester says so.
 */
export type MaintenanceJob = (report: ProgressReport, cancelled: AbortSignal) => Promise<void>;

/** Tells all clients of the image. */
export type Announce = (payload: KnownPayload) => Promise<NotifyResult>;

/** Results that make the requester look who owns the lock now, and ask again: nothing was decided. */
const UNDECIDED: ReadonlySet<number> = new Set([-ERRNO.ETIMEDOUT, -ERRNO.ERESTART]);
/** How long a result is remembered after it was last asked for, as in librbd. */
const REMEMBER_MS = 600_000;
const MAX_REMEMBERED = 1024;
/** More are refused with EAGAIN. */
const MAX_RUNNING = 256;
/** Between two progress reports of one request: every client of the image gets them. */
const PROGRESS_INTERVAL_MS = 250;
/** After an attempt to announce a completion that failed otherwise than by a timeout. */
const COMPLETION_RETRY_MS = 1000;

interface Finished {
  result: number;
  /** Monotonic. */
  until: number;
}

export class RemoteRequests {
  readonly #env: Environment;
  readonly #announce: Announce;
  readonly #running = new Map<string, AbortController>();
  /** In the order in which they expire. */
  readonly #finished = new Map<string, Finished>();
  /** Completions on their way: what is still to be heard. */
  readonly #completing = new Map<string, { readonly result: number }>();
  #stopped = false;

  constructor(env: Environment, announce: Announce) {
    this.#env = env;
    this.#announce = announce;
  }

  /** Requests that run, and results that are remembered: this client's, and those that it heard of. */
  get sizes(): { running: number; remembered: number } {
    return { running: this.#running.size, remembered: this.#finished.size };
  }

  /**
   * The answer to a request: 0 when it runs now or did so before, else why it does not. `start` is called for a new
   * one, and returns the job or refuses.
   */
  accept(id: AsyncRequestId, start: () => MaintenanceJob | number): number {
    const key = describeRequest(id);
    if (this.#running.has(key)) return 0;
    const finished = this.#recall(key);
    if (finished) {
      // Who asks again has not heard of the completion.
      if (finished.result >= 0 && !this.#completing.has(key)) this.#complete(id, finished.result);
      return finished.result;
    }
    if (this.#running.size >= MAX_RUNNING) return -ERRNO.EAGAIN;
    const job = start();
    if (typeof job === 'number') return job;
    const control = new AbortController();
    this.#running.set(key, control);
    void this.#run(id, key, (report) => job(report, control.signal));
    return 0;
  }

  /**
   * Another owner's result, which all clients are told: a question that comes late, when this client owns the lock and others
   * have changed the image since, is one that has been answered.
   */
  heardResult(id: AsyncRequestId, result: number): void {
    if (!UNDECIDED.has(result)) this.#remember(describeRequest(id), result);
  }

  /** Stops a request that runs; its result is announced as any other. */
  cancel(id: AsyncRequestId): void {
    this.#running.get(describeRequest(id))?.abort();
  }

  /** Announces nothing more. What runs goes on: it belongs to who started it. */
  stop(): void {
    this.#stopped = true;
  }

  async #run(
    id: AsyncRequestId,
    key: string,
    job: (report: ProgressReport) => Promise<void>,
  ): Promise<void> {
    const progress = new ProgressAnnouncer(this.#env, (offset, total) =>
      this.#stopped ? Promise.resolve() : this.#tryAnnounce(id, offset, total),
    );
    const result = await resultOf(this.#env, () => job(progress.report));
    progress.stop();
    this.#env.log.rbd.debug({ request: key, result }, 'maintenance request is done');
    this.#running.delete(key);
    // Remembered, it would be the answer to all that the requester asks from now on.
    if (!UNDECIDED.has(result)) this.#remember(key, result);
    this.#complete(id, result);
  }

  async #tryAnnounce(id: AsyncRequestId, offset: number, total: number): Promise<void> {
    try {
      await this.#announce({ op: 'asyncProgress', id, offset, total });
    } catch (error) {
      this.#env.log.rbd.debug({ error }, 'progress was not announced');
    }
  }

  #complete(id: AsyncRequestId, result: number): void {
    const key = describeRequest(id);
    const isAnnounced = this.#completing.has(key);
    this.#completing.set(key, { result });
    if (!isAnnounced) {
      void this.#announceCompletion(id, key).finally(() => this.#completing.delete(key));
    }
  }

  /** Until the requester has acknowledged it, is gone, or would get its result by asking again only. */
  async #announceCompletion(id: AsyncRequestId, key: string): Promise<void> {
    const giveUp = this.#env.clock.monotonic() + REMEMBER_MS;
    while (!this.#stopped && this.#env.clock.monotonic() < giveUp) {
      const completion = this.#completing.get(key);
      if (!completion) return;
      try {
        const { missed } = await this.#announce({ op: 'asyncComplete', id, ...completion });
        // By client: the watch that it asked by may have another cookie now.
        const isHeard = !missed.some(({ gid }) => gid === id.client.gid);
        // It may have run again meanwhile.
        if (isHeard && this.#completing.get(key) === completion) return;
      } catch (error) {
        this.#env.log.rbd.warn({ error, request: key }, 'completion not announced');
        await new Promise<void>((resolve) => {
          this.#env.timers.after(COMPLETION_RETRY_MS, resolve, { background: true });
        });
      }
    }
  }

  #recall(key: string): Finished | undefined {
    this.#forgetExpired();
    const finished = this.#finished.get(key);
    if (finished) this.#remember(key, finished.result);
    return finished;
  }

  #remember(key: string, result: number): void {
    this.#forgetExpired();
    this.#finished.delete(key);
    this.#finished.set(key, { result, until: this.#env.clock.monotonic() + REMEMBER_MS });
    if (this.#finished.size > MAX_REMEMBERED) this.#forgetOldest();
  }

  #forgetExpired(): void {
    const now = this.#env.clock.monotonic();
    for (const [key, { until }] of this.#finished) {
      if (until > now) return;
      this.#finished.delete(key);
    }
  }

  #forgetOldest(): void {
    for (const key of this.#finished.keys()) {
      this.#finished.delete(key);
      return;
    }
  }
}

/** One report on its way at a time, and never more often than others want to hear. */
class ProgressAnnouncer {
  readonly #env: Environment;
  readonly #announce: (offset: number, total: number) => Promise<void>;
  #next: { offset: number; total: number } | undefined;
  #busy = false;
  #stopped = false;

  constructor(env: Environment, announce: (offset: number, total: number) => Promise<void>) {
    this.#env = env;
    this.#announce = announce;
  }

  readonly report: ProgressReport = increasing((offset, total) => {
    if (this.#stopped) return;
    this.#next = { offset, total };
    if (!this.#busy) void this.#pump();
  });

  stop(): void {
    this.#stopped = true;
  }

  async #pump(): Promise<void> {
    this.#busy = true;
    while (this.#next && !this.#stopped) {
      const { offset, total } = this.#next;
      this.#next = undefined;
      await Promise.all([
        this.#announce(offset, total),
        new Promise<void>((resolve) => {
          this.#env.timers.after(PROGRESS_INTERVAL_MS, resolve, { background: true });
        }),
      ]);
    }
    this.#busy = false;
  }
}

/** 0, or the negative errno that the job failed with. */
export async function resultOf(env: Environment, job: () => Promise<void>): Promise<number> {
  try {
    await job();
    return 0;
  } catch (error) {
    env.log.rbd.info({ error }, 'what another client asked for failed');
    return toRadosError(error).errno;
  }
}
