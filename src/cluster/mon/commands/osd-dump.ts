/** The OSD map as text and as JSON: `osd dump`, `osd pool ls detail`, `osd info`. */

import type { EntityAddr } from '../../../encoding/entity.js';
import { formatAddrvec } from '../../../encoding/entity.js';
import type { IntervalSet } from '../../../encoding/types.js';
import { type BlocklistEntry, parsePgId } from '../../../osdmap/collections.js';
import { MAX_PRIMARY_AFFINITY, OSD_IN, type OsdMap } from '../../../osdmap/osdmap.js';
import { type PgPool, POOL_FLAG, POOL_TYPE } from '../../../osdmap/pool.js';
import { mapFlagNames, osdStateNames, poolFlagNames } from '../flags.js';
import { formatShort, type Json } from '../formatter.js';
import { RELEASE, releaseName } from '../releases.js';
import { formatTime } from '../times.js';
import { addrvecJson, legacyAddr } from './mon.js';
import { POOL_OPTIONS } from './pool-options.js';

const AUTOSCALE_MODES = ['off', 'warn', 'on'];
const OBJECT_HASHES: Record<number, string> = { 1: 'linux', 2: 'rjenkins' };
const NO_MANDATORY_MEMBER = 0x7fffffff;

export function autoscaleModeName(mode: number): string {
  return AUTOSCALE_MODES[mode] ?? '???';
}

function poolTypeName(type: number): string {
  return type === POOL_TYPE.ERASURE ? 'erasure' : 'replicated';
}

/** `[2~1,4~3]`, in hexadecimal as Ceph prints snapshot ids. */
function formatIntervals(set: IntervalSet): string {
  return `[${set.map(([start, length]) => `${start.toString(16)}~${length.toString(16)}`).join(',')}]`;
}

function intervalsJson(sets: ReadonlyMap<number, IntervalSet>): Json {
  return [...sets].map(([pool, set]) => ({
    pool,
    snaps: set.map(([begin, length]) => ({ begin, length })),
  }));
}

/** `127.0.0.1:0/77`: blocklist entries show without their type. */
export function formatBlocklistAddr(addr: EntityAddr): string {
  return legacyAddr([addr]);
}

export function poolsText(map: OsdMap): string {
  return [...map.pools].map(([id, pool]) => poolText(map, id, pool)).join('');
}

function poolText(map: OsdMap, id: number, pool: PgPool): string {
  const name = map.poolName.get(id) ?? '';
  const profile = pool.type === POOL_TYPE.ERASURE ? ` profile ${pool.erasureCodeProfile}` : '';
  const parts = [
    `pool ${id} '${name}' ${poolTypeName(pool.type)}${profile} size ${pool.size} min_size ${pool.minSize}`,
    `crush_rule ${pool.crushRule} object_hash ${OBJECT_HASHES[pool.objectHash] ?? '???'}`,
    `pg_num ${pool.pgNum} pgp_num ${pool.pgpNum}`,
  ];
  if (pool.pgNumTarget !== pool.pgNum) parts.push(`pg_num_target ${pool.pgNumTarget}`);
  if (pool.pgpNumTarget !== pool.pgpNum) parts.push(`pgp_num_target ${pool.pgpNumTarget}`);
  if (pool.pgNumPending !== pool.pgNum) parts.push(`pg_num_pending ${pool.pgNumPending}`);
  parts.push(`autoscale_mode ${autoscaleModeName(pool.pgAutoscaleMode)}`);
  parts.push(`last_change ${pool.lastChange}`);
  const resends = [
    pool.lastForceOpResend,
    pool.lastForceOpResendPrenautilus,
    pool.lastForceOpResendPreluminous,
  ];
  if (resends.some((epoch) => epoch > 0)) parts.push(`lfor ${resends.join('/')}`);
  const flags = poolFlagNames(pool.flags);
  if (flags !== '') parts.push(`flags ${flags}`);
  if (pool.quotaMaxBytes > 0n) parts.push(`max_bytes ${pool.quotaMaxBytes}`);
  if (pool.quotaMaxObjects > 0n) parts.push(`max_objects ${pool.quotaMaxObjects}`);
  parts.push(`stripe_width ${pool.stripeWidth}`);
  for (const [option, value] of poolOptionEntries(pool)) parts.push(`${option} ${value}`);
  const applications = [...pool.applicationMetadata.keys()];
  if (applications.length > 0) parts.push(`application ${applications.join(',')}`);
  const lines = [parts.join(' ')];
  for (const { snapid, name, stamp } of pool.snaps.values()) {
    lines.push(`\tsnap ${snapid} '${name}' ${formatTime(stamp)}`);
  }
  const removed = map.removedSnapsQueue.get(id);
  if (removed) lines.push(`\tremoved_snaps_queue ${formatIntervals(removed)}`);
  return `${lines.join('\n')}\n`;
}

function poolOptionEntries(pool: PgPool): [name: string, value: string | number][] {
  const byKey = [...pool.opts.options].sort(([a], [b]) => a - b);
  return byKey.map(([key, value]) => [
    POOL_OPTIONS.find((option) => option.key === key)?.name ?? `option_${key}`,
    typeof value === 'bigint' ? Number(value) : value,
  ]);
}

/** `osd dump` and `osd pool ls detail` call the id differently. */
export function poolJson(map: OsdMap, id: number, idName: 'pool' | 'pool_id'): Json {
  const pool = map.pool(id) as PgPool;
  return {
    [idName]: id,
    pool_name: map.poolName.get(id) ?? '',
    create_time: formatTime(pool.createTime),
    flags: pool.flags,
    flags_names: poolFlagNames(pool.flags),
    type: pool.type,
    size: pool.size,
    min_size: pool.minSize,
    crush_rule: pool.crushRule,
    peering_crush_bucket_count: 0,
    peering_crush_bucket_target: 0,
    peering_crush_bucket_barrier: 0,
    peering_crush_bucket_mandatory_member: NO_MANDATORY_MEMBER,
    object_hash: pool.objectHash,
    pg_autoscale_mode: autoscaleModeName(pool.pgAutoscaleMode),
    pg_num: pool.pgNum,
    pg_placement_num: pool.pgpNum,
    pg_placement_num_target: pool.pgpNumTarget,
    pg_num_target: pool.pgNumTarget,
    pg_num_pending: pool.pgNumPending,
    last_pg_merge_meta: {
      source_pgid: '0.0',
      ready_epoch: 0,
      last_epoch_started: 0,
      last_epoch_clean: 0,
      source_version: "0'0",
      target_version: "0'0",
    },
    last_change: String(pool.lastChange),
    last_force_op_resend: String(pool.lastForceOpResend),
    last_force_op_resend_prenautilus: String(pool.lastForceOpResendPrenautilus),
    last_force_op_resend_preluminous: String(pool.lastForceOpResendPreluminous),
    auid: pool.auid,
    snap_mode: pool.flags & POOL_FLAG.POOL_SNAPS ? 'pool' : 'selfmanaged',
    snap_seq: pool.snapSeq,
    snap_epoch: pool.snapEpoch,
    pool_snaps: [...pool.snaps.values()].map(({ snapid, stamp, name }) => ({
      snapid,
      stamp: formatTime(stamp),
      name,
    })),
    removed_snaps: formatIntervals(pool.removedSnaps),
    quota_max_bytes: pool.quotaMaxBytes,
    quota_max_objects: pool.quotaMaxObjects,
    tiers: pool.tiers,
    tier_of: pool.tierOf,
    read_tier: pool.readTier,
    write_tier: pool.writeTier,
    cache_mode: 'none',
    target_max_bytes: pool.targetMaxBytes,
    target_max_objects: pool.targetMaxObjects,
    cache_target_dirty_ratio_micro: pool.cacheTargetDirtyRatioMicro,
    cache_target_dirty_high_ratio_micro: pool.cacheTargetDirtyHighRatioMicro,
    cache_target_full_ratio_micro: pool.cacheTargetFullRatioMicro,
    cache_min_flush_age: pool.cacheMinFlushAge,
    cache_min_evict_age: pool.cacheMinEvictAge,
    erasure_code_profile: pool.erasureCodeProfile,
    hit_set_params: { type: 'none' },
    hit_set_period: pool.hitSetPeriod,
    hit_set_count: pool.hitSetCount,
    use_gmt_hitset: pool.useGmtHitset !== 0,
    min_read_recency_for_promote: pool.minReadRecencyForPromote,
    min_write_recency_for_promote: pool.minWriteRecencyForPromote,
    hit_set_grade_decay_rate: pool.hitSetGradeDecayRate,
    hit_set_search_last_n: pool.hitSetSearchLastN,
    grade_table: [],
    stripe_width: pool.stripeWidth,
    expected_num_objects: pool.expectedNumObjects,
    fast_read: pool.fastRead !== 0,
    options: new Map(poolOptionEntries(pool)),
    application_metadata: pool.applicationMetadata,
  };
}

function addrsText(addrs: readonly EntityAddr[]): string {
  return addrs.length === 0 ? '' : formatAddrvec(addrs);
}

function affinityOf(map: OsdMap, osd: number): number {
  return (map.primaryAffinity[osd] ?? MAX_PRIMARY_AFFINITY) / MAX_PRIMARY_AFFINITY;
}

export function weightOf(map: OsdMap, osd: number): number {
  return (map.osdWeight[osd] ?? 0) / OSD_IN;
}

export function osdText(map: OsdMap, osd: number): string {
  const info = map.osdInfo[osd];
  const affinity = affinityOf(map, osd);
  return [
    `osd.${osd} ${map.isUp(osd) ? 'up  ' : 'down'} ${map.isOut(osd) ? 'out' : 'in '}`,
    `weight ${formatShort(weightOf(map, osd))}`,
    ...(affinity === 1 ? [] : [`primary_affinity ${formatShort(affinity)}`]),
    `up_from ${info?.upFrom ?? 0} up_thru ${info?.upThru ?? 0} down_at ${info?.downAt ?? 0}`,
    `last_clean_interval [${info?.lastCleanBegin ?? 0},${info?.lastCleanEnd ?? 0})`,
    addrsText(map.clientAddrs[osd] ?? []),
    addrsText(map.clusterAddrs[osd] ?? []),
    osdStateNames(map.osdState[osd] ?? 0).join(','),
    map.osdUuid[osd] ?? '',
  ].join(' ');
}

export function osdJson(map: OsdMap, osd: number): Json {
  const info = map.osdInfo[osd];
  const clientAddrs = map.clientAddrs[osd] ?? [];
  const clusterAddrs = map.clusterAddrs[osd] ?? [];
  const hbBackAddrs = map.hbBackAddrs[osd] ?? [];
  const hbFrontAddrs = map.hbFrontAddrs[osd] ?? [];
  return {
    osd,
    uuid: map.osdUuid[osd] ?? '',
    up: map.isUp(osd) ? 1 : 0,
    in: map.isOut(osd) ? 0 : 1,
    weight: weightOf(map, osd),
    primary_affinity: affinityOf(map, osd),
    last_clean_begin: info?.lastCleanBegin ?? 0,
    last_clean_end: info?.lastCleanEnd ?? 0,
    up_from: info?.upFrom ?? 0,
    up_thru: info?.upThru ?? 0,
    down_at: info?.downAt ?? 0,
    lost_at: info?.lostAt ?? 0,
    public_addrs: addrvecJson(clientAddrs),
    cluster_addrs: addrvecJson(clusterAddrs),
    heartbeat_back_addrs: addrvecJson(hbBackAddrs),
    heartbeat_front_addrs: addrvecJson(hbFrontAddrs),
    public_addr: legacyAddr(clientAddrs),
    cluster_addr: legacyAddr(clusterAddrs),
    heartbeat_back_addr: legacyAddr(hbBackAddrs),
    heartbeat_front_addr: legacyAddr(hbFrontAddrs),
    state: osdStateNames(map.osdState[osd] ?? 0),
  };
}

function xinfoJson(map: OsdMap, osd: number): Json {
  const xinfo = map.osdXinfo[osd];
  return {
    osd,
    down_stamp: formatTime(xinfo?.downStamp ?? { sec: 0, nsec: 0 }),
    laggy_probability: (xinfo?.laggyProbability ?? 0) / 0xffffffff,
    laggy_interval: xinfo?.laggyInterval ?? 0,
    features: xinfo?.features ?? 0n,
    old_weight: xinfo?.oldWeight ?? 0,
    last_purged_snaps_scrub: formatTime(xinfo?.lastPurgedSnapsScrub ?? { sec: 0, nsec: 0 }),
    dead_epoch: xinfo?.deadEpoch ?? 0,
  };
}

/** The oldest client that understands everything the map uses (`OSDMap::get_min_compat_client`). */
export function minCompatClient(map: OsdMap): string {
  return map.pgUpmap.size > 0 || map.pgUpmapItems.size > 0 ? 'luminous' : 'jewel';
}

export function existingOsds(map: OsdMap): number[] {
  return Array.from({ length: map.maxOsd }, (_, osd) => osd).filter((osd) => map.exists(osd));
}

export function osdDumpText(map: OsdMap): string {
  const lines = [
    `epoch ${map.epoch}`,
    `fsid ${map.fsid}`,
    `created ${formatTime(map.created)}`,
    `modified ${formatTime(map.modified)}`,
    `flags ${mapFlagNames(map.flags).join(',')}`,
    `crush_version ${map.crushVersion}`,
    `full_ratio ${formatShort(map.fullRatio)}`,
    `backfillfull_ratio ${formatShort(map.backfillfullRatio)}`,
    `nearfull_ratio ${formatShort(map.nearfullRatio)}`,
  ];
  if (map.requireMinCompatClient > 0) {
    lines.push(`require_min_compat_client ${releaseName(map.requireMinCompatClient)}`);
  }
  lines.push(`min_compat_client ${minCompatClient(map)}`);
  if (map.requireOsdRelease >= RELEASE.luminous) {
    lines.push(`require_osd_release ${releaseName(map.requireOsdRelease)}`);
  }
  lines.push('stretch_mode_enabled false');
  const exceptions = [
    ...[...map.pgUpmap].map(([pg, osds]) => `pg_upmap ${pg} [${osds.join(',')}]`),
    ...[...map.pgUpmapItems].map(
      ([pg, items]) => `pg_upmap_items ${pg} [${items.flat().join(',')}]`,
    ),
    ...[...map.pgTemp].map(([pg, osds]) => `pg_temp ${pg} [${osds.join(',')}]`),
    ...[...map.primaryTemp].map(([pg, osd]) => `primary_temp ${pg} ${osd}`),
  ];
  const fences = (title: string, entries: ReadonlyMap<string, BlocklistEntry>) =>
    [...entries.values()].map(
      ({ addr, until }) => `${title} ${formatBlocklistAddr(addr)} expires ${formatTime(until)}`,
    );
  lines.push(
    ...poolsText(map).split('\n').slice(0, -1),
    `max_osd ${map.maxOsd}`,
    ...existingOsds(map).map((osd) => osdText(map, osd)),
    ...exceptions,
    ...fences('blocklist', map.blocklist),
    ...fences('range blocklist', map.rangeBlocklist),
  );
  return `${lines.join('\n')}\n`;
}

export function osdDumpJson(map: OsdMap): Json {
  const fences = (entries: ReadonlyMap<string, BlocklistEntry>) =>
    new Map(
      Array.from(
        entries.values(),
        ({ addr, until }) => [formatBlocklistAddr(addr), formatTime(until)] as const,
      ),
    );
  const sortedPg = <V>(entries: ReadonlyMap<string, V>) =>
    [...entries].sort(([a], [b]) => {
      const [x, y] = [parsePgId(a), parsePgId(b)];
      return x.pool - y.pool || x.seed - y.seed;
    });
  const osds = existingOsds(map);
  return {
    epoch: map.epoch,
    fsid: map.fsid,
    created: formatTime(map.created),
    modified: formatTime(map.modified),
    last_up_change: formatTime(map.lastUpChange),
    last_in_change: formatTime(map.lastInChange),
    flags: mapFlagNames(map.flags).join(','),
    flags_num: map.flags,
    flags_set: mapFlagNames(map.flags).sort(),
    crush_version: map.crushVersion,
    full_ratio: map.fullRatio,
    backfillfull_ratio: map.backfillfullRatio,
    nearfull_ratio: map.nearfullRatio,
    cluster_snapshot: map.clusterSnapshot,
    pool_max: map.poolMax,
    max_osd: map.maxOsd,
    require_min_compat_client: releaseName(map.requireMinCompatClient),
    min_compat_client: minCompatClient(map),
    require_osd_release: releaseName(map.requireOsdRelease),
    pools: [...map.pools.keys()].map((id) => poolJson(map, id, 'pool')),
    osds: osds.map((osd) => osdJson(map, osd)),
    osd_xinfo: osds.map((osd) => xinfoJson(map, osd)),
    pg_upmap: sortedPg(map.pgUpmap).map(([pgid, list]) => ({ pgid, osds: list })),
    pg_upmap_items: sortedPg(map.pgUpmapItems).map(([pgid, items]) => ({
      pgid,
      mappings: items.map(([from, to]) => ({ from, to })),
    })),
    pg_temp: sortedPg(map.pgTemp).map(([pgid, list]) => ({ pgid, osds: list })),
    primary_temp: sortedPg(map.primaryTemp).map(([pgid, osd]) => ({ pgid, osd })),
    blocklist: fences(map.blocklist),
    range_blocklist: fences(map.rangeBlocklist),
    erasure_code_profiles: map.erasureCodeProfiles,
    removed_snaps_queue: intervalsJson(map.removedSnapsQueue),
    new_removed_snaps: intervalsJson(map.newRemovedSnaps),
    new_purged_snaps: intervalsJson(map.newPurgedSnaps),
    crush_node_flags: {},
    device_class_flags: {},
    stretch_mode: {
      stretch_mode_enabled: false,
      stretch_bucket_count: 0,
      degraded_stretch_mode: 0,
      recovering_stretch_mode: 0,
      stretch_mode_bucket: 0,
    },
  };
}
