/** What a watch gets from the table of all, and how it calls its handler. */

import type { RadosError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { LingerTransport } from './linger-op.js';
import type { OpRequest } from './op-request.js';
import type { LingerWatch } from './watch.js';
import type { WatchTimes } from './watch-times.js';
import type { StaleCause, WatchHandler, WatchState } from './watch-types.js';

export interface WatchContext {
  transport: LingerTransport;
  times: WatchTimes;
  /** Sent with registrations; 0: the OSD's own. */
  timeoutSeconds: number;
  /** A cookie that this client never used, which from here on leads to the watch. */
  nextCookie: (watch: LingerWatch) => bigint;
  /** The cookie's end: for a while, notifications that still come by it are acknowledged with nothing. */
  retire: (cookie: bigint) => void;
  /** The watch's end. */
  forget: (watch: LingerWatch) => void;
  ack: (cookie: bigint, notifyId: bigint, reply: Uint8Array, onSent: () => void) => void;
  /** Whether another registration may go out now; if not, it is sent when it may. */
  admit: (request: OpRequest) => boolean;
  checkClock: () => void;
}

/** The handler, whose errors are its own: they are logged, and change nothing. */
export class HandlerCalls {
  readonly #handler: WatchHandler;
  readonly #log: Logger;

  constructor(handler: WatchHandler, log: Logger) {
    this.#handler = handler;
    this.#log = log;
  }

  stale(cause: StaleCause): void {
    this.#guard(() => this.#handler.onStale(cause));
  }

  lost(error: RadosError): void {
    this.#guard(() => this.#handler.onLost(error));
  }

  failed(error: RadosError): void {
    this.#guard(() => this.#handler.onFailed(error));
  }

  state(state: WatchState, previous: WatchState, cause: string): void {
    this.#guard(() => this.#handler.onState?.(state, previous, cause));
  }

  /** The exception: here an error says that the new registration is of no use. */
  async reregistered(oldCookie: bigint, newCookie: bigint): Promise<void> {
    await this.#handler.onReregistered(oldCookie, newCookie);
  }

  #guard(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#log.warn({ err: error }, "a watch's handler failed");
    }
  }
}
