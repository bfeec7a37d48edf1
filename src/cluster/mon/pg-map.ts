/** How PGs are, as `ceph -s`, `pg stat` and `health` tell it from what a manager has gathered (`mon/PGMap.cc`). */

import { formatPgId } from '../../encoding/types.js';
import type { PgStat } from '../osd/pg-state.js';
import type { Json } from './formatter.js';
import type { HealthCheck } from './health.js';

interface Totals {
  readonly objects: number;
  readonly bytes: number;
  readonly copies: number;
  readonly degraded: number;
  readonly unfound: number;
}

function totalsOf(pgs: readonly PgStat[]): Totals {
  const sum = (of: (pg: PgStat) => number) => pgs.reduce((total, pg) => total + of(pg), 0);
  return {
    objects: sum(({ objects }) => objects),
    bytes: sum(({ bytes }) => bytes),
    copies: sum(({ copies }) => copies),
    degraded: sum(({ degraded }) => degraded),
    unfound: sum(({ unfound }) => unfound),
  };
}

/** The most frequent first. */
export function countStates(pgs: readonly PgStat[]): [state: string, count: number][] {
  const counts = new Map<string, number>();
  for (const { state } of pgs) counts.set(state, (counts.get(state) ?? 0) + 1);
  return [...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
}

function poolCount(pgs: readonly PgStat[]): number {
  return new Set(pgs.map(({ pg }) => pg.pool)).size;
}

const isActive = ({ state }: PgStat) => state.split('+').includes('active');

/** Ceph gives peering a minute (`mon_pg_stuck_threshold`) before it is worth a word. */
const isPassing = ({ state }: PgStat) =>
  state.split('+').includes('peering') && !state.split('+').includes('down');

/** `12/36 objects degraded (33.333%)` */
function share(part: number, whole: number, what: string): string {
  return `${part}/${whole} objects ${what} (${percent(part, whole)}%)`;
}

function percent(part: number, whole: number): string {
  return ((100 * part) / Math.max(1, whole)).toFixed(3);
}

function recoveryLines({ copies, degraded, objects, unfound }: Totals): string[] {
  return [
    ...(degraded > 0 ? [share(degraded, copies, 'degraded')] : []),
    ...(unfound > 0 ? [share(unfound, objects, 'unfound')] : []),
  ];
}

/** The `data:` section of `ceph -s`. How full the disks are, nobody counts. */
export function pgSummaryLines(pgs: readonly PgStat[]): string[] {
  const totals = totalsOf(pgs);
  const inactive = pgs.filter((pg) => !isActive(pg)).length;
  const states = countStates(pgs);
  const width = Math.max(0, ...states.map(([, count]) => String(count).length));
  const lines = [
    ...(inactive > 0 ? [`${percent(inactive, pgs.length)}% pgs not active`] : []),
    ...recoveryLines(totals),
    ...states.map(([state, count]) => `${String(count).padEnd(width)} ${state}`),
  ];
  return [
    `    pools:   ${poolCount(pgs)} pools, ${pgs.length} pgs`,
    `    objects: ${formatCount(totals.objects)} objects, ${formatBytes(totals.bytes)}`,
    '    usage:   0 B used, 0 B / 0 B avail',
    `    pgs:     ${lines.join('\n             ')}`,
  ];
}

export function pgMapJson(pgs: readonly PgStat[]): Json {
  const { objects, bytes, copies, degraded, unfound } = totalsOf(pgs);
  const inactive = pgs.filter((pg) => !isActive(pg)).length;
  return {
    pgs_by_state: countStates(pgs).map(([state, count]) => ({ state_name: state, count })),
    num_pgs: pgs.length,
    num_pools: poolCount(pgs),
    num_objects: objects,
    data_bytes: bytes,
    bytes_used: 0,
    bytes_avail: 0,
    bytes_total: 0,
    ...(inactive > 0 ? { inactive_pgs_ratio: inactive / pgs.length } : {}),
    ...(degraded > 0
      ? {
          degraded_objects: degraded,
          degraded_total: copies,
          degraded_ratio: degraded / copies,
        }
      : {}),
    ...(unfound > 0
      ? {
          unfound_objects: unfound,
          unfound_total: objects,
          unfound_ratio: unfound / Math.max(1, objects),
        }
      : {}),
  };
}

/** `pg stat`: `32 pgs: 32 active+clean; 19 B data, 0 B used, 0 B / 0 B avail`. */
export function pgStatLine(pgs: readonly PgStat[]): string {
  const totals = totalsOf(pgs);
  const states = countStates(pgs).map(([state, count]) => `${count} ${state}`);
  const parts = [
    `${pgs.length} pgs: ${states.join(', ')}`,
    `${formatBytes(totals.bytes)} data, 0 B used, 0 B / 0 B avail`,
    ...recoveryLines(totals),
  ];
  return `${parts.join('; ')}\n`;
}

// ---- health ----

/** `1 pg inactive`, `3 pgs degraded` */
function counted(pgs: readonly PgStat[], part: string, name = part): string[] {
  const count = pgs.filter(({ state }) => state.split('+').includes(part)).length;
  return count === 0 ? [] : [`${count} ${count === 1 ? 'pg' : 'pgs'} ${name}`];
}

function describe({ pg, state, acting }: PgStat): string {
  return `pg ${formatPgId(pg)} is ${state}, acting [${acting.join(',')}]`;
}

export function pgChecks(pgs: readonly PgStat[]): HealthCheck[] {
  const { copies, degraded, objects, unfound } = totalsOf(pgs);
  const has = (...parts: string[]) =>
    pgs.filter(({ state }) => state.split('+').some((part) => parts.includes(part)));
  const checks: HealthCheck[] = [];
  const inactive = pgs.filter((pg) => !isActive(pg) && !isPassing(pg));
  if (inactive.length > 0) {
    const words = [
      `${inactive.length} ${inactive.length === 1 ? 'pg' : 'pgs'} inactive`,
      ...counted(pgs, 'down'),
      ...counted(pgs, 'peering'),
      ...counted(pgs, 'incomplete'),
    ];
    checks.push({
      code: 'PG_AVAILABILITY',
      severity: 'HEALTH_WARN',
      summary: `Reduced data availability: ${words.join(', ')}`,
      count: inactive.length,
      detail: inactive.map(describe),
    });
  }
  const reduced = has('degraded', 'undersized').filter((pg) => !isPassing(pg));
  if (reduced.length > 0) {
    const words = [
      ...(degraded > 0 ? [share(degraded, copies, 'degraded')] : []),
      ...counted(pgs, 'degraded'),
      ...counted(pgs, 'undersized'),
    ];
    checks.push({
      code: 'PG_DEGRADED',
      severity: 'HEALTH_WARN',
      summary: `Degraded data redundancy: ${words.join(', ')}`,
      count: reduced.length,
      detail: reduced.map(describe),
    });
  }
  checks.push(...damageChecks(pgs));
  if (unfound > 0) {
    checks.push({
      code: 'OBJECT_UNFOUND',
      severity: 'HEALTH_WARN',
      summary: share(unfound, objects, 'unfound'),
      count: unfound,
      detail: has('recovery_unfound').map(
        (pg) => `pg ${formatPgId(pg.pg)} has ${pg.unfound} unfound objects`,
      ),
    });
  }
  return checks;
}

function damageChecks(pgs: readonly PgStat[]): HealthCheck[] {
  const damaged = pgs.filter(({ scrubErrors }) => scrubErrors > 0);
  if (damaged.length === 0) return [];
  const errors = damaged.reduce((sum, { scrubErrors }) => sum + scrubErrors, 0);
  return [
    {
      code: 'OSD_SCRUB_ERRORS',
      severity: 'HEALTH_ERR',
      summary: `${errors} scrub errors`,
      count: errors,
      detail: [],
    },
    {
      code: 'PG_DAMAGED',
      severity: 'HEALTH_ERR',
      summary: `Possible data damage: ${counted(damaged, 'inconsistent').join()}`,
      count: damaged.length,
      detail: damaged.map(describe),
    },
  ];
}

// ---- numbers ----

const BINARY = [' B', ' KiB', ' MiB', ' GiB', ' TiB', ' PiB'];
const DECIMAL = ['', 'k', 'M', 'G', 'T', 'P'];

/** `byte_u_t`: `9.9 MiB`. */
function formatBytes(bytes: number): string {
  return scaled(bytes, 1024, BINARY);
}

/** `si_u_t`: `1.50k`. */
function formatCount(count: number): string {
  return scaled(count, 1000, DECIMAL);
}

/** With as many of two digits behind the point as seven characters have room for. */
function scaled(value: number, base: number, units: readonly string[]): string {
  let at = 0;
  while (value >= base ** (at + 1) && at < units.length - 1) at++;
  const unit = units[at] as string;
  const left = value / base ** at;
  if (Number.isInteger(left)) return `${left}${unit}`;
  for (let digits = 2; digits > 0; digits--) {
    const text = `${left.toFixed(digits)}${unit}`;
    if (text.length <= 7) return text;
  }
  return `${left.toFixed(0)}${unit}`;
}
