/** What is wrong with the cluster (`OSDMap::check_health`, as far as it can happen here). */

import { OSDMAP_FLAG, type OsdMap } from '../../osdmap/osdmap.js';
import { POOL_FLAG } from '../../osdmap/pool.js';
import type { PgStat } from '../osd/pg-state.js';
import type { Json } from './formatter.js';
import { crushLocation, subtreeOsds } from './crush-tree.js';
import { notableMapFlags } from './flags.js';
import { fullOsds } from './full-osds.js';
import { pgChecks } from './pg-map.js';

export interface HealthCheck {
  code: string;
  severity: 'HEALTH_WARN' | 'HEALTH_ERR';
  summary: string;
  count: number;
  detail: string[];
}

/** In the order of their codes, errors before warnings. */
export function checkHealth(map: OsdMap, pgs: readonly PgStat[]): HealthCheck[] {
  const checks = [
    ...downChecks(map),
    ...fullChecks(map),
    ...flagChecks(map),
    ...poolChecks(map),
    ...pgChecks(pgs),
  ];
  const rank = (check: HealthCheck) => (check.severity === 'HEALTH_ERR' ? 0 : 1);
  return checks.sort((a, b) => rank(a) - rank(b) || (a.code < b.code ? -1 : 1));
}

export function healthStatus(checks: readonly HealthCheck[]): string {
  if (checks.some(({ severity }) => severity === 'HEALTH_ERR')) return 'HEALTH_ERR';
  return checks.length > 0 ? 'HEALTH_WARN' : 'HEALTH_OK';
}

export function healthJson(checks: readonly HealthCheck[], options: { detail: boolean }): Json {
  return {
    status: healthStatus(checks),
    checks: new Map(
      checks.map((check) => [
        check.code,
        {
          severity: check.severity,
          summary: { message: check.summary, count: check.count },
          ...(options.detail ? { detail: check.detail.map((message) => ({ message })) } : {}),
          muted: false,
        },
      ]),
    ),
    mutes: [],
  };
}

export function healthText(checks: readonly HealthCheck[], options: { detail: boolean }): string {
  const summary = checks.map((check) => check.summary).join('; ');
  const lines = [checks.length > 0 ? `${healthStatus(checks)} ${summary}` : 'HEALTH_OK'];
  if (options.detail) {
    for (const check of checks) {
      const tag = check.severity === 'HEALTH_ERR' ? 'ERR' : 'WRN';
      lines.push(`[${tag}] ${check.code}: ${check.summary}`);
      lines.push(...check.detail.map((line) => `    ${line}`));
    }
  }
  return `${lines.join('\n')}\n`;
}

function warning(code: string, summary: string, count: number, detail: string[]): HealthCheck {
  return { code, severity: 'HEALTH_WARN', summary, count, detail };
}

/** OSDs that are in and down, and the subtrees of CRUSH in which nothing is left. */
function downChecks(map: OsdMap): HealthCheck[] {
  const isMissing = (osd: number) => map.exists(osd) && !map.isUp(osd) && !map.isOut(osd);
  const down = Array.from({ length: map.maxOsd }, (_, osd) => osd).filter(isMissing);
  if (down.length === 0) return [];
  const checks: HealthCheck[] = [];
  for (const [type, typeName] of map.crush.typeNames) {
    if (type === 0) continue;
    const subtrees = map.crush.buckets
      .filter((bucket) => bucket !== undefined && bucket.type === type)
      .map((bucket) => ({ id: bucket?.id ?? 0, osds: subtreeOsds(map.crush, bucket?.id ?? 0) }))
      .filter(({ id }) => !map.crush.itemNames.get(id)?.includes('~'))
      .filter(({ osds }) => osds.length > 0 && osds.every(isMissing));
    if (subtrees.length === 0) continue;
    const osds = subtrees.reduce((sum, subtree) => sum + subtree.osds.length, 0);
    const plural = subtrees.length === 1 ? '' : 's';
    checks.push(
      warning(
        `OSD_${typeName.toUpperCase()}_DOWN`,
        `${subtrees.length} ${typeName}${plural} (${osds} osds) down`,
        subtrees.length,
        subtrees.map(({ id, osds }) => {
          const where = formatLocation(crushLocation(map.crush, id));
          const parts = [typeName, map.crush.itemNames.get(id) ?? '', where && `(${where})`];
          return `${parts.filter(Boolean).join(' ')} (${osds.length} osds) is down`;
        }),
      ),
    );
  }
  const detail = down.map(
    (osd) => `osd.${osd} (${formatLocation(crushLocation(map.crush, osd))}) is down`,
  );
  checks.push(warning('OSD_DOWN', `${down.length} osds down`, down.length, detail));
  return checks;
}

/** `root=default,host=vm`: the outermost first. */
function formatLocation(location: readonly (readonly [string, string])[]): string {
  return [...location]
    .reverse()
    .map(([type, name]) => `${type}=${name}`)
    .join(',');
}

function flagChecks(map: OsdMap): HealthCheck[] {
  const text = notableMapFlags(map.flags & ~(OSDMAP_FLAG.NEARFULL | OSDMAP_FLAG.FULL));
  // The number of characters as the count: so it is in Ceph, and so monitoring has seen it.
  return text === '' ? [] : [warning('OSDMAP_FLAGS', `${text} flag(s) set`, text.length, [])];
}

function fullChecks(map: OsdMap): HealthCheck[] {
  const osds = fullOsds(map);
  const pools = [...map.pools].filter(([, { flags }]) => flags & POOL_FLAG.FULL);
  const checks: HealthCheck[] = [];
  if (osds.length > 0) {
    const detail = osds.map((osd) => `osd.${osd} is full`);
    const summary = `${osds.length} full osd(s)`;
    checks.push({
      code: 'OSD_FULL',
      severity: 'HEALTH_ERR',
      summary,
      count: osds.length,
      detail,
    });
  }
  if (pools.length > 0) {
    const detail = pools.map(([id, { flags }]) => {
      const reason = flags & POOL_FLAG.FULL_QUOTA ? 'running out of quota' : 'no space';
      return `pool '${map.poolName.get(id)}' is full (${reason})`;
    });
    checks.push(warning('POOL_FULL', `${pools.length} pool(s) full`, pools.length, detail));
  }
  return checks;
}

function poolChecks(map: OsdMap): HealthCheck[] {
  const single = [...map.pools].filter(([, pool]) => pool.size === 1).map(([id]) => id);
  if (single.length === 0) return [];
  return [
    warning(
      'POOL_NO_REDUNDANCY',
      `${single.length} pool(s) have no replicas configured`,
      single.length,
      single.map((id) => `pool '${map.poolName.get(id)}' has no replicas configured`),
    ),
  ];
}
