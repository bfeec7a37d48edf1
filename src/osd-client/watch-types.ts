/** What a watch on an object is to those above: its states, its handler, and what it can tell. */

import type { RadosError } from '../base/errors.js';

/**
 *     registering -> connected <-> pinging -> suspect -> reconnecting -> connected
 *                        \________________________\__________ \-> error -> backoff <-> reregistering -> connected
 *     homeless: no primary to be connected to; blocklisted, failed, closed: the end
 */
export type WatchState =
  | 'registering'
  | 'connected'
  | 'pinging'
  | 'suspect'
  | 'reconnecting'
  | 'homeless'
  | 'error'
  | 'backoff'
  | 'reregistering'
  | 'blocklisted'
  | 'failed'
  | 'unregistering'
  | 'closed';

/**
 * Why something that was read under a watch may be out of date although no notification came: notifications may have
 * come and gone while it was disconnected (reconnected), or were certainly lost (lost), or nobody knows (interval: the PG
 * changed hands; clock: this thread did not run for a while).
 */
export type StaleCause = 'reconnected' | 'lost' | 'interval' | 'clock';

export interface Notification {
  notifyId: bigint;
  /** Of the watch that it came by. */
  cookie: bigint;
  /** Global id of the client that sent it: `client.<id>`. */
  notifierGid: bigint;
  /** A copy: the handler's. */
  payload: Uint8Array;
}

export type NotifyReply = Uint8Array | undefined;

/** All calls come in the watch's own thread, in the order of events. None may throw; what does is logged. */
export interface WatchHandler {
  /** What was read under the watch may be stale from here on. Before anything else happens. */
  onStale(cause: StaleCause): void;
  /**
   * One notification at a time, in order: the next comes when this returned, also while its promise is pending. What it
   * answers, at once or later, is the acknowledgement; a rejection acknowledges with nothing.
   */
  onNotify(notification: Notification): NotifyReply | Promise<NotifyReply>;
  /** The registration is gone; the watch will register again, under another cookie. Once per registration. */
  onLost(error: RadosError): void;
  /** Registered again. The watch counts as connected when this resolves; a rejection loses it again. */
  onReregistered(oldCookie: bigint, newCookie: bigint): Promise<void>;
  /** The end: ESHUTDOWN (EBLOCKLISTED) when this client is blocklisted, ENOENT when the object or its pool is gone. */
  onFailed(error: RadosError): void;
  onState?(state: WatchState, previous: WatchState, cause: string): void;
}

export interface WatchOptions {
  /** Seconds without a sign of life after which the OSD drops the watch; 0: its own (`osd_client_watch_timeout`, 30). */
  timeoutSeconds?: number;
  signal?: AbortSignal;
}

export interface Watch {
  /** Of the present registration. Never used twice by one client. */
  readonly cookie: bigint;
  readonly state: WatchState;
  /**
   * `clock.monotonic()` when the last answered ping, reconnect or registration was sent; earlier by as long as the machine
   * slept since. Looking at it looks at the clocks: a thread that did not run for a while finds the watch suspect first.
   */
  readonly validThru: number;
  /** Milliseconds since `validThru`. Throws what ended or broke the watch. */
  check(): number;
  /** Asks the OSD now, also while a ping is due anyway. Resolves when the watch is known to be good, rejects when it ended. */
  verify(): Promise<void>;
  /** Resolves when every notification received before was handled and its acknowledgement sent. */
  flush(): Promise<void>;
  /** Unwatches. No call of the handler comes after it resolved. At most the watch's timeout long. Safe to call twice. */
  close(): Promise<void>;
  /** For status displays. */
  status(): WatchStatus;
}

export interface WatchStatus {
  oid: string;
  cookie: string;
  generation: number;
  state: WatchState;
  osd: number;
  pg: string;
  /** Milliseconds. */
  age: number;
  pings: number;
  reconnects: number;
  reregistrations: number;
  losses: number;
  lastError: string | undefined;
  /** Notifications that the handler has not answered. */
  queued: number;
}

export interface NotifyOptions {
  /** Seconds for the watchers to answer; 0: the OSD's own (`osd_default_notify_timeout`, 30). */
  timeoutSeconds?: number;
  signal?: AbortSignal;
}

export interface NotifyResult {
  notifyId: bigint;
  /** What the watchers answered. */
  replies: { gid: bigint; cookie: bigint; payload: Uint8Array }[];
  /** Watchers that did not answer in time; not empty means that the notification timed out. */
  missed: { gid: bigint; cookie: bigint }[];
}
