/**
 * Intervals: stretches of epochs in which a PG is served by the same OSDs.
 *
 * A new one begins with any change of who serves, of how many are needed, or with a restart of one of them. Nothing of
 * an older interval may change the PG any more; and before a new one serves, somebody of every interval in which writes
 * may have been acknowledged must have been asked (`PastIntervals` in `osd/osd_types.cc`).
 */

import type { PgId } from '../../encoding/types.js';
import { stableMod } from '../../osdmap/object-hash.js';
import type { PastInterval } from '../store/pg-record.js';
import type { MapView } from './pg-host.js';

export interface PgPlace {
  /** Where CRUSH and upmaps put it: `acting`, unless a pg_temp says otherwise. */
  readonly up: readonly number[];
  readonly acting: readonly number[];
  readonly primary: number;
  readonly size: number;
  readonly minSize: number;
  /** Of the pool: with more PGs, each begins anew. */
  readonly pgNum: number;
  /** Equal texts: the same interval. */
  readonly identity: string;
}

/** Where a map puts a PG, or the one that it was part of then; undefined when its pool does not exist. */
export function placeOf({ map, placement }: MapView, pg: PgId): PgPlace | undefined {
  const pool = map.pool(pg.pool);
  if (!pool) return undefined;
  const then = { pool: pg.pool, seed: stableMod(pg.seed, pool.pgNum) };
  const { up, upPrimary, acting, actingPrimary } = placement.pgToUpActing(then);
  const starts = acting.map((osd) => map.osdInfo[osd]?.upFrom ?? 0);
  const { size, minSize, pgNum } = pool;
  return {
    up,
    acting,
    primary: actingPrimary,
    size,
    minSize,
    pgNum,
    identity: [up, upPrimary, acting, actingPrimary, starts, size, minSize, pgNum].join('|'),
  };
}

/** A map in which the monitor has noted that the OSD was alive in `epoch` or later (`up_thru`). */
export function isAliveThrough({ map }: MapView, osd: number, epoch: number): boolean {
  return (map.osdInfo[osd]?.upThru ?? 0) >= epoch;
}

/**
 * Whether a write may have been acknowledged in an interval: enough members were up, and its primary lived to have the
 * monitor note that, which it does before it serves. An interval that ended earlier does not matter; without the note, the
 * PG would wait for an OSD that was mapped for a moment and died. `last` is the interval's last map; where that or its
 * beginning is not known, the worst is.
 */
export function maybeWrote(
  { acting, primary, minSize }: PgPlace,
  start: IntervalStart,
  last: MapView | undefined,
): boolean {
  if (primary < 0 || acting.length < Math.max(1, minSize)) return false;
  return !start.isKnown || !last || isAliveThrough(last, primary, start.epoch);
}

export interface IntervalStart {
  readonly epoch: number;
  /** False: maps before it are not kept, and it may have begun earlier. */
  readonly isKnown: boolean;
}

/** The first epoch of the interval that a map belongs to, as far as maps are kept. */
export function intervalStart(
  pg: PgId,
  view: MapView,
  viewAt: (epoch: number) => MapView | undefined,
): IntervalStart {
  const identity = placeOf(view, pg)?.identity;
  let { epoch } = view;
  for (let earlier = viewAt(epoch - 1); earlier; earlier = viewAt(epoch - 1)) {
    if (placeOf(earlier, pg)?.identity !== identity) return { epoch, isKnown: true };
    epoch--;
  }
  // Nothing is before the first epoch.
  return { epoch, isKnown: epoch === 1 };
}

/**
 * The intervals of epochs `[first, last]` in which writes may have been acknowledged. A map that is no longer kept
 * could have put the PG anywhere: every OSD that exists then counts as an interval of its own.
 */
export function pastIntervals(
  pg: PgId,
  first: number,
  last: number,
  viewAt: (epoch: number) => MapView | undefined,
  allOsds: () => number[],
): PastInterval[] {
  const found: PastInterval[] = [];
  let open: { place: PgPlace; first: number; start: IntervalStart } | undefined;
  const close = (end: number) => {
    if (open && maybeWrote(open.place, open.start, viewAt(end))) {
      found.push({ first: open.first, last: end, acting: open.place.acting });
    }
    open = undefined;
  };
  let unknown = false;
  for (let epoch = first; epoch <= last; epoch++) {
    const view = viewAt(epoch);
    if (!view) {
      unknown = true;
      continue;
    }
    const place = placeOf(view, pg);
    if (open && place?.identity === open.place.identity) continue;
    close(epoch - 1);
    if (place) open = { place, first: epoch, start: intervalStart(pg, view, viewAt) };
  }
  close(last);
  const anybody = unknown ? allOsds().map((osd) => ({ first, last, acting: [osd] })) : [];
  return [...anybody, ...found];
}
