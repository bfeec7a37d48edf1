/** A PG's state as Ceph writes it: `active+recovering+degraded` (`pg_state_string`). */

import type { PgId } from '../../encoding/types.js';

/** What a primary tells of its PG. Plain data: the monitor's. */
export interface PgStat {
  readonly pg: PgId;
  /** As Ceph writes it. */
  readonly state: string;
  readonly up: readonly number[];
  readonly acting: readonly number[];
  /** Heads and clones. */
  readonly objects: number;
  readonly bytes: number;
  /** Copies that there should be, and those of them that are not there. */
  readonly copies: number;
  readonly degraded: number;
  /** Objects that nobody who is up has. */
  readonly unfound: number;
  /** What the last scrub found and nobody repaired. */
  readonly scrubErrors: number;
}

/** In the order in which they are written. */
const PARTS = [
  'active',
  'clean',
  'recovering',
  'down',
  'recovery_unfound',
  'undersized',
  'degraded',
  'remapped',
  'scrubbing',
  'deep',
  'inconsistent',
  'peering',
  'repair',
  'backfilling',
  'incomplete',
  'peered',
  'snaptrim',
] as const;

export type PgStatePart = (typeof PARTS)[number];

export function formatPgState(parts: ReadonlySet<PgStatePart>): string {
  return PARTS.filter((part) => parts.has(part)).join('+') || 'unknown';
}
