/**
 * What a copy of a PG lacks when its log becomes the authoritative one (`PGLog::merge_log`).
 *
 * Two logs that share an entry agree on everything up to it. What the authoritative log tells of after it is missing here; so
 * is what the own log tells of after it: nobody acknowledged that, and what the object was before is fetched from others.
 */

import { type Eversion, ZERO_EVERSION } from '../../encoding/types.js';
import { type ObjectId, objectKey } from '../store/object-id.js';
import { LOG_ENTRIES_MAX, type LogEntry, type PgInfo } from '../store/pg-record.js';

/** What an OSD knows of a PG, without its objects. */
export interface PgHistory {
  readonly info: PgInfo;
  /** Oldest first. */
  readonly log: readonly LogEntry[];
  readonly missing: readonly ObjectId[];
}

export interface LogMerge {
  /** What the copy lacks beside what it lacked already. */
  readonly missing: readonly ObjectId[];
  /** The authoritative log's entries behind the last shared one. */
  readonly newer: readonly LogEntry[];
  /** The own log has entries that the authoritative one has not. */
  readonly diverged: boolean;
}

export function compareVersions(a: Eversion, b: Eversion): number {
  if (a.epoch !== b.epoch) return a.epoch - b.epoch;
  return a.version < b.version ? -1 : a.version > b.version ? 1 : 0;
}

/** The log tells of everything after this version. */
export function logTail({ info, log }: Pick<PgHistory, 'info' | 'log'>): Eversion {
  const oldest = log[0];
  // A log that was never trimmed is shorter than what trimming leaves.
  if (oldest && log.length >= LOG_ENTRIES_MAX) return oldest.version;
  return info.logTail ?? ZERO_EVERSION;
}

/** Undefined when the logs share nothing: only a backfill makes such a copy whole. */
export function mergeLog(own: PgHistory, authority: PgHistory): LogMerge | undefined {
  const places = new Map(authority.log.map(({ version }, i) => [versionKey(version), i]));
  const ownShared = own.log.findLastIndex(({ version }) => places.has(versionKey(version)));
  const shared = own.log[ownShared];
  if (!shared && !(beginsAtZero(own) && beginsAtZero(authority))) return undefined;
  const sharedAt = shared ? (places.get(versionKey(shared.version)) as number) : -1;
  const newer = authority.log.slice(sharedAt + 1);
  const divergent = own.log.slice(ownShared + 1);
  const missing = new Map<string, ObjectId>();
  for (const { objects } of [...divergent, ...newer]) {
    for (const id of objects) missing.set(objectKey(id), id);
  }
  return { missing: [...missing.values()], newer, diverged: divergent.length > 0 };
}

function versionKey({ epoch, version }: Eversion): string {
  return `${epoch}'${version}`;
}

/** The log is all that ever happened. */
function beginsAtZero(history: PgHistory): boolean {
  return compareVersions(logTail(history), ZERO_EVERSION) === 0;
}
