/** The state of the whole: `status`, `health`, `df`, `versions`. */

import { utimeFromMs } from '../../../encoding/types.js';
import type { OsdMap } from '../../../osdmap/osdmap.js';
import { formatTable, type Json, leftColumn, rightColumn } from '../formatter.js';
import { notableMapFlags } from '../flags.js';
import { checkHealth, healthJson, healthStatus, healthText } from '../health.js';
import { pgMapJson, pgSummaryLines } from '../pg-map.js';
import type { MonState } from '../mon-state.js';
import { MON_NAME } from '../mon-map.js';
import { releaseName, VERSION } from '../releases.js';
import { formatAge, formatTime } from '../times.js';
import type { Command, CommandCall } from './command.js';

export const ELECTION_EPOCH = 3;

export const MGR_MODULES = ['iostat', 'nfs', 'restful'];

export interface OsdCounts {
  total: number;
  up: number;
  in: number;
}

export function countOsds(map: OsdMap): OsdCounts {
  const counts = { total: 0, up: 0, in: 0 };
  for (let osd = 0; osd < map.maxOsd; osd++) {
    if (!map.exists(osd)) continue;
    counts.total++;
    if (map.isUp(osd)) counts.up++;
    if (!map.isOut(osd)) counts.in++;
  }
  return counts;
}

/** One line on the OSDs, and a second one when flags are set (`OSDMap::print_summary`). */
export function osdSummary(state: MonState, options: { margin: string; epoch: boolean }): string {
  const map = state.osdMaps.map;
  const now = state.env.clock.now();
  const counts = countOsds(map);
  const since = (time: { sec: number; nsec: number }) =>
    time.sec === 0 ? '' : ` (since ${formatAge(time, now)})`;
  let text =
    `${counts.total} osds: ${counts.up} up${since(map.lastUpChange)}, ` +
    `${counts.in} in${since(map.lastInChange)}`;
  if (options.epoch) text += `; epoch: e${map.epoch}`;
  if (map.pgTemp.size > 0) text += `; ${map.pgTemp.size} remapped pgs`;
  const flags = notableMapFlags(map.flags);
  return flags === '' ? `${text}\n` : `${text}\n${options.margin}flags ${flags}\n`;
}

export function osdSummaryJson(map: OsdMap): Json {
  const counts = countOsds(map);
  return {
    epoch: map.epoch,
    num_osds: counts.total,
    num_up_osds: counts.up,
    osd_up_since: map.lastUpChange.sec,
    num_in_osds: counts.in,
    osd_in_since: map.lastInChange.sec,
    num_remapped_pgs: map.pgTemp.size,
  };
}

export function quorumAge(state: MonState): number {
  return Math.floor((state.env.clock.now() - state.startedMs) / 1000);
}

function statusText(state: MonState): string {
  const map = state.osdMaps.map;
  const pgs = state.pgStats();
  const checks = checkHealth(map, pgs);
  const now = state.env.clock.now();
  return [
    '  cluster:',
    `    id:     ${map.fsid}`,
    `    health: ${healthStatus(checks)}`,
    ...checks.map(({ summary }) => `            ${summary}`),
    ' ',
    '  services:',
    `    mon: 1 daemons, quorum ${MON_NAME} (age ${formatAge(utimeFromMs(state.startedMs), now)})`,
    '    mgr: no daemons active',
    `    osd: ${osdSummary(state, { margin: '         ', epoch: false }).trimEnd()}`,
    ' ',
    '  data:',
    ...pgSummaryLines(pgs),
    ' ',
    '',
  ].join('\n');
}

function statusJson(state: MonState): Json {
  const map = state.osdMaps.map;
  const pgs = state.pgStats();
  return {
    fsid: map.fsid,
    health: healthJson(checkHealth(map, pgs), { detail: false }),
    election_epoch: ELECTION_EPOCH,
    quorum: [0],
    quorum_names: [MON_NAME],
    quorum_age: quorumAge(state),
    monmap: {
      epoch: state.monMap.epoch,
      min_mon_release_name: releaseName(state.monMap.minMonRelease),
      num_mons: 1,
    },
    osdmap: osdSummaryJson(map),
    pgmap: pgMapJson(pgs),
    fsmap: { epoch: 1, by_rank: [], 'up:standby': 0 },
    mgrmap: { available: false, num_standbys: 0, modules: MGR_MODULES, services: {} },
    servicemap: { epoch: 1, modified: formatTime(utimeFromMs(state.startedMs)), services: {} },
    progress_events: {},
  };
}

const RAW_COLUMNS = ['SIZE', 'AVAIL', 'USED', 'RAW USED', '%RAW USED'];
const POOL_COLUMNS = ['ID', 'PGS', 'STORED', 'OBJECTS', 'USED', '%USED', 'MAX AVAIL'];
const POOL_DETAIL_COLUMNS = [
  ...['ID', 'PGS', 'STORED', '(DATA)', '(OMAP)', 'OBJECTS', 'USED', '(DATA)', '(OMAP)', '%USED'],
  ...['MAX AVAIL', 'QUOTA OBJECTS', 'QUOTA BYTES', 'DIRTY', 'USED COMPR', 'UNDER COMPR'],
];

/** Without a manager nobody counts: all is zero, as on a real cluster without one. */
function df(call: CommandCall) {
  const detail = call.args.string('detail') === 'detail';
  return call.output({
    plain: () =>
      '--- RAW STORAGE ---\n' +
      formatTable(
        [leftColumn('CLASS'), ...RAW_COLUMNS.map(rightColumn)],
        [['TOTAL', '0 B', '0 B', '0 B', '0 B', '0']],
      ) +
      ' \n--- POOLS ---\n' +
      formatTable(
        [leftColumn('POOL'), ...(detail ? POOL_DETAIL_COLUMNS : POOL_COLUMNS).map(rightColumn)],
        [],
      ),
    json: () => ({
      stats: {
        total_bytes: 0,
        total_avail_bytes: 0,
        total_used_bytes: 0,
        total_used_raw_bytes: 0,
        total_used_raw_ratio: 0,
        num_osds: 0,
        num_per_pool_osds: 0,
        num_per_pool_omap_osds: 0,
      },
      stats_by_class: {},
      pools: [],
    }),
    newline: 'ensured',
  });
}

function versionCounts(count: number): Json {
  return count > 0 ? { [VERSION]: count } : {};
}

const DETAIL_ARG = {
  name: 'detail',
  type: 'CephChoices',
  optional: true,
  strings: 'detail',
} as const;

export const statusCommands: readonly Command[] = [
  {
    prefix: 'status',
    help: 'show cluster status',
    module: 'mon',
    perm: 'r',
    run: ({ state, output }) =>
      output({
        plain: () => statusText(state),
        json: () => statusJson(state),
        newline: 'ensured',
      }),
  },
  {
    prefix: 'health',
    args: [DETAIL_ARG],
    help: 'show cluster health',
    module: 'mon',
    perm: 'r',
    run: ({ state, args, output }) => {
      const detail = args.string('detail') === 'detail';
      const checks = checkHealth(state.osdMaps.map, state.pgStats());
      return output({
        plain: () => healthText(checks, { detail }),
        json: () => healthJson(checks, { detail }),
      });
    },
  },
  {
    prefix: 'df',
    args: [DETAIL_ARG],
    help: 'show cluster free space stats',
    module: 'mon',
    perm: 'r',
    run: df,
  },
  {
    prefix: 'fsid',
    help: 'show cluster FSID/UUID',
    module: 'mon',
    perm: 'r',
    run: ({ state, output }) =>
      output({
        plain: () => `${state.osdMaps.map.fsid}\n`,
        json: () => ({ fsid: state.osdMaps.map.fsid }),
      }),
  },
  {
    prefix: 'version',
    help: 'show mon daemon version',
    module: 'mon',
    perm: 'r',
    run: ({ output }) =>
      output({
        plain: () => `${VERSION}\n`,
        json: () => ({ version: VERSION }),
        newline: 'ensured',
      }),
  },
  {
    prefix: 'versions',
    help: 'check running versions of ceph daemons',
    module: 'mon',
    perm: 'r',
    run: ({ state, output }) => {
      const { up } = countOsds(state.osdMaps.map);
      return output({
        json: () => ({
          mon: versionCounts(1),
          mgr: {},
          osd: versionCounts(up),
          mds: {},
          overall: versionCounts(1 + up),
        }),
      });
    },
  },
  {
    prefix: 'mon versions',
    help: 'check running versions of monitors',
    module: 'mon',
    perm: 'r',
    run: ({ output }) => output({ json: () => versionCounts(1), newline: 'ensured' }),
  },
  {
    prefix: 'osd versions',
    help: 'check running versions of OSDs',
    module: 'osd',
    perm: 'r',
    run: ({ state, output }) =>
      output({ json: () => versionCounts(countOsds(state.osdMaps.map).up) }),
  },
];
