/** Requests to the monitors that wait for an answer. They outlive a session: the next one gets them again, with the same tid. */

import type { Environment, Timer } from '../base/environment.js';
import { abortError, RadosError } from '../base/errors.js';
import type { IncomingMessage, OutgoingMessage } from '../messages/types.js';

export interface RequestOptions {
  signal?: AbortSignal;
  timeoutMs?: number;
}

export interface MonRequestsOptions {
  env: Environment;
  /** The cluster's id; throws until it is known. */
  fsid: () => string;
  /** Deadline of a request that names none; 0 waits for ever. */
  timeoutMs: number;
  /** Sends what `build` gives over the open session, or nothing while there is none. */
  transmit: (build: () => OutgoingMessage) => void;
  /** What to say of a request that nobody answered. */
  silent: (timeoutMs: number) => { why: string; cause: Error | undefined };
}

interface PendingRequest {
  tid: number;
  /** Of the answer. */
  type: number;
  send: () => void;
  resolve: (message: IncomingMessage) => void;
  reject: (error: Error) => void;
  timer: Timer | undefined;
}

/** Requests that wait for an answer, at most. */
const MAX_PENDING = 4096;

export class MonRequests {
  readonly #options: MonRequestsOptions;
  readonly #pending = new Map<number, PendingRequest>();
  #lastTid = 0;
  #closed = false;

  constructor(options: MonRequestsOptions) {
    this.#options = options;
  }

  get fsid(): string {
    return this.#options.fsid();
  }

  send(
    what: string,
    replyType: number,
    build: (tid: number) => OutgoingMessage,
    options: RequestOptions = {},
  ): Promise<IncomingMessage> {
    const { signal, timeoutMs = this.#options.timeoutMs } = options;
    if (this.#closed) {
      return Promise.reject(new RadosError('ENOTCONN', `${what}: the client was closed`));
    }
    if (signal?.aborted) return Promise.reject(abortError(signal, { op: what }));
    if (this.#pending.size >= MAX_PENDING) {
      return Promise.reject(
        new RadosError('EAGAIN', `${what}: ${MAX_PENDING} monitor requests are waiting already`, {
          outcome: 'not-applied',
        }),
      );
    }
    return new Promise((resolve, reject) => {
      const tid = ++this.#lastTid;
      const onAbort = () =>
        this.#settle(request, abortError(signal as AbortSignal, { op: what, outcome: 'unknown' }));
      const request: PendingRequest = {
        tid,
        type: replyType,
        send: () => this.#options.transmit(() => build(tid)),
        resolve: (message) => {
          signal?.removeEventListener('abort', onAbort);
          resolve(message);
        },
        reject: (error) => {
          signal?.removeEventListener('abort', onAbort);
          reject(error);
        },
        timer:
          timeoutMs > 0
            ? this.#options.env.timers.after(timeoutMs, () =>
                this.#settle(request, this.#silent(what, timeoutMs)),
              )
            : undefined,
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#pending.set(tid, request);
      request.send();
    });
  }

  /** There is a new session. */
  resend(): void {
    for (const request of this.#pending.values()) request.send();
  }

  /** Takes an answer; false when nobody waits for it. */
  onMessage(message: IncomingMessage): boolean {
    const request = this.#pending.get(message.tid);
    if (request?.type !== message.type) return false;
    this.#settle(request, message);
    return true;
  }

  /** Rejects everything, now and later. */
  close(error: RadosError): void {
    this.#closed = true;
    for (const request of [...this.#pending.values()]) this.#settle(request, error);
  }

  #settle(request: PendingRequest, outcome: IncomingMessage | Error): void {
    if (!this.#pending.delete(request.tid)) return;
    request.timer?.cancel();
    if (outcome instanceof Error) request.reject(outcome);
    // The front is a view of the receive window: whoever awaits the answer sees it a turn later.
    else request.resolve({ ...outcome, front: outcome.front.slice() });
  }

  #silent(what: string, timeoutMs: number): RadosError {
    const { why, cause } = this.#options.silent(timeoutMs);
    return new RadosError('ETIMEDOUT', `${what}: ${why}`, {
      op: what,
      outcome: 'unknown',
      retryable: true,
      cause,
    });
  }
}
