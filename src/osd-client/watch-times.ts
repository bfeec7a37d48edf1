/**
 * How long things take in a watch's life.
 *
 *     ping sent ──late: suspect──laggy: keepalive, newer map──2x laggy: connection dropped── … ──stop──────timeout
 *     (validThru)                                                                       no I/O relies on it   the OSD drops it
 *
 * The OSD counts from when it received a ping, which is after it was sent: the client gives up first.
 */

import type { Random } from '../base/environment.js';

/** `osd_client_watch_timeout`: without a ping for so long, the OSD drops the watch. */
export const WATCH_TIMEOUT_S = 30;
/** `objecter_tick_interval`, krbd's `osdkeepalive`. */
const PING_MS = 5_000;
const LATE_MS = 3_000;
const LAGGY_MS = 10_000;

export interface WatchTimes {
  timeoutMs: number;
  /** From one ping to the next. */
  pingMs: number;
  /** A ping without an answer for so long makes the watch suspect. */
  lateMs: number;
  /** Then the connection itself is asked; after twice as long it is given up. */
  laggyMs: number;
  /** The oldest last sign of life that I/O may rely on: a ping may be due, and its answer late, and the OSD still has it. */
  stopMs: number;
}

/** Short timeouts shorten everything in proportion, as far as the defaults do not suffice. */
export function watchTimes(timeoutSeconds = WATCH_TIMEOUT_S, keepaliveMs = PING_MS): WatchTimes {
  const timeoutMs = 1000 * (timeoutSeconds || WATCH_TIMEOUT_S);
  const pingMs = Math.min(keepaliveMs, timeoutMs / 6);
  const lateMs = Math.min(LATE_MS, timeoutMs / 10);
  const laggyMs = Math.min(LAGGY_MS, timeoutMs / 3);
  return { timeoutMs, pingMs, lateMs, laggyMs, stopMs: timeoutMs - pingMs - lateMs };
}

/** For a timeout of 30 s: 22 s. */
export const WATCH_STOP_MS = watchTimes().stopMs;

/** Registrations and reconnects per second: when an OSD comes back, the watches of a whole host do. */
export const RECONNECTS_PER_S = 200;
/** `close` waits no longer for answers of handlers: notifiers (5 s in RBD) have given up by then. */
export const CLOSE_FLUSH_MS = 5_000;
/** How often it is looked whether this thread ran at all, and what counts as not. */
export const CLOCK_CHECK_MS = 1_000;
export const CLOCK_JUMP_MS = 5_000;
/** `osd_default_notify_timeout`. */
export const NOTIFY_TIMEOUT_S = 30;
/** An OSD that lets its own timeout pass is given so much longer. */
export const NOTIFY_GRACE_MS = 250;

const REREGISTER_MS = { first: 1_000, max: 30_000, factor: 1.5, jitter: 0.2 } as const;

/** Before registering again: the first try at once, then growing delays, each up to 20 % shorter by chance. */
export function reregisterDelayMs(attempts: number, random: Random): number {
  if (attempts === 0) return 0;
  const { first, max, factor, jitter } = REREGISTER_MS;
  return Math.min(first * factor ** (attempts - 1), max) * (1 - jitter * random.float());
}
