/** Flags of the map and of pools under the names that commands use, in the order in which they are printed. */

import { OSD_STATE, OSDMAP_FLAG } from '../../osdmap/osdmap.js';
import { POOL_FLAG } from '../../osdmap/pool.js';

type Names = readonly (readonly [name: string, flag: number])[];

const MAP_FLAG_NAMES: Names = [
  ['nearfull', OSDMAP_FLAG.NEARFULL],
  ['full', OSDMAP_FLAG.FULL],
  ['pauserd', OSDMAP_FLAG.PAUSERD],
  ['pausewr', OSDMAP_FLAG.PAUSEWR],
  ['pauserec', OSDMAP_FLAG.PAUSEREC],
  ['noup', OSDMAP_FLAG.NOUP],
  ['nodown', OSDMAP_FLAG.NODOWN],
  ['noout', OSDMAP_FLAG.NOOUT],
  ['noin', OSDMAP_FLAG.NOIN],
  ['nobackfill', OSDMAP_FLAG.NOBACKFILL],
  ['norebalance', OSDMAP_FLAG.NOREBALANCE],
  ['norecover', OSDMAP_FLAG.NORECOVER],
  ['noscrub', OSDMAP_FLAG.NOSCRUB],
  ['nodeep-scrub', OSDMAP_FLAG.NODEEP_SCRUB],
  ['notieragent', OSDMAP_FLAG.NOTIERAGENT],
  ['nosnaptrim', OSDMAP_FLAG.NOSNAPTRIM],
  ['sortbitwise', OSDMAP_FLAG.SORTBITWISE],
  ['require_jewel_osds', OSDMAP_FLAG.REQUIRE_JEWEL],
  ['require_kraken_osds', OSDMAP_FLAG.REQUIRE_KRAKEN],
  ['require_luminous_osds', OSDMAP_FLAG.REQUIRE_LUMINOUS],
  ['recovery_deletes', OSDMAP_FLAG.RECOVERY_DELETES],
  ['purged_snapdirs', OSDMAP_FLAG.PURGED_SNAPDIRS],
  ['pglog_hardlimit', OSDMAP_FLAG.PGLOG_HARDLIMIT],
];

/** What every cluster of today has: not worth a word in a summary. */
const EXPECTED_FLAGS =
  OSDMAP_FLAG.SORTBITWISE |
  OSDMAP_FLAG.RECOVERY_DELETES |
  OSDMAP_FLAG.PURGED_SNAPDIRS |
  OSDMAP_FLAG.PGLOG_HARDLIMIT;

const POOL_FLAG_NAMES: Names = [
  ['hashpspool', POOL_FLAG.HASHPSPOOL],
  ['full', POOL_FLAG.FULL],
  ['ec_overwrites', POOL_FLAG.EC_OVERWRITES],
  ['nodelete', POOL_FLAG.NODELETE],
  ['nopgchange', POOL_FLAG.NOPGCHANGE],
  ['nosizechange', POOL_FLAG.NOSIZECHANGE],
  ['write_fadvise_dontneed', POOL_FLAG.WRITE_FADVISE_DONTNEED],
  ['noscrub', POOL_FLAG.NOSCRUB],
  ['nodeep-scrub', POOL_FLAG.NODEEP_SCRUB],
  ['full_quota', POOL_FLAG.FULL_QUOTA],
  ['nearfull', POOL_FLAG.NEARFULL],
  ['backfillfull', POOL_FLAG.BACKFILLFULL],
  ['selfmanaged_snaps', POOL_FLAG.SELFMANAGED_SNAPS],
  ['pool_snaps', POOL_FLAG.POOL_SNAPS],
  ['creating', POOL_FLAG.CREATING],
  ['eio', POOL_FLAG.EIO],
  ['bulk', POOL_FLAG.BULK],
];

const OSD_STATE_NAMES: Names = [
  ['exists', OSD_STATE.EXISTS],
  ['up', OSD_STATE.UP],
  ['autoout', OSD_STATE.AUTOOUT],
  ['new', OSD_STATE.NEW],
  ['full', OSD_STATE.FULL],
  ['nearfull', OSD_STATE.NEARFULL],
  ['backfillfull', OSD_STATE.BACKFILLFULL],
  ['destroyed', OSD_STATE.DESTROYED],
  ['noup', OSD_STATE.NOUP],
  ['nodown', OSD_STATE.NODOWN],
  ['noin', OSD_STATE.NOIN],
  ['noout', OSD_STATE.NOOUT],
  ['stop', OSD_STATE.STOP],
];

/** Flags that `osd set` and `osd unset` take. */
const SETTABLE: Record<string, number> = {
  pause: OSDMAP_FLAG.PAUSERD | OSDMAP_FLAG.PAUSEWR,
  ...Object.fromEntries(
    [
      'noup',
      'nodown',
      'noout',
      'noin',
      'nobackfill',
      'norebalance',
      'norecover',
      'noscrub',
      'nodeep-scrub',
      'notieragent',
      'nosnaptrim',
    ].map((name) => [name, mapFlag(name)]),
  ),
};

export const SETTABLE_FLAGS = Object.keys(SETTABLE);

function names(table: Names, flags: number): string[] {
  return table.filter(([, flag]) => flags & flag).map(([name]) => name);
}

function mapFlag(name: string): number {
  return MAP_FLAG_NAMES.find(([known]) => known === name)?.[1] ?? 0;
}

export function mapFlagNames(flags: number): string[] {
  return names(MAP_FLAG_NAMES, flags);
}

/** The flags that somebody set, as a summary shows them: `noup,noout`, or nothing. */
export function notableMapFlags(flags: number): string {
  return names(MAP_FLAG_NAMES, flags & ~EXPECTED_FLAGS).join(',');
}

export function settableFlag(name: string): number | undefined {
  return Object.hasOwn(SETTABLE, name) ? SETTABLE[name] : undefined;
}

export function poolFlagNames(flags: number): string {
  return names(POOL_FLAG_NAMES, flags).join(',');
}

export function osdStateNames(state: number): string[] {
  return names(OSD_STATE_NAMES, state);
}
