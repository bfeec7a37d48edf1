/** Points in time and spans as the monitor prints them. */

import { type Utime, utimeToMs } from '../../encoding/types.js';
import { formatShort } from './formatter.js';

/** `2026-11-20T17:55:35.645103+0000`; times too small to be dates print as seconds (`0.000000`). */
export function formatTime(time: Utime): string {
  const micros = String(Math.floor(time.nsec / 1000)).padStart(6, '0');
  // `utime_t::gmtime`: below ten years after 1970 it is a span, not a date.
  if (time.sec < 60 * 60 * 24 * 365 * 10) return `${time.sec}.${micros}`;
  return `${new Date(time.sec * 1000).toISOString().slice(0, 19)}.${micros}+0000`;
}

/** The monmap's spelling of the same: `2026-11-20T17:55:35.568574Z`. */
export function formatTimeZulu(time: Utime): string {
  return formatTime(time).replace('+0000', 'Z');
}

/** How long ago: one unit, chosen so that the number stays between 2 and about 120 (`timespan_str`). */
export function formatAge(since: Utime, nowMs: number): string {
  const ms = Math.max(0, nowMs - utimeToMs(since));
  if (ms < 2000) return `${formatShort(ms / 1000)}s`;
  const seconds = Math.floor(ms / 1000);
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours}h`;
  const days = Math.floor(hours / 24);
  if (days < 14) return `${days}d`;
  const weeks = Math.floor(days / 7);
  if (weeks < 12) return `${weeks}w`;
  const months = Math.floor(days / 30);
  if (months < 24) return `${months}M`;
  return `${Math.floor(days / 365)}y`;
}
