/**
 * One epoch to the next: `OSDMap::apply_incremental` in `osd/OSDMap.cc`, in its order.
 *
 * The old map stays as it is; the new one shares with it every collection that the incremental does not touch.
 */

import { ProtocolError } from '../base/errors.js';
import { formatPgId, type IntervalSet, type PgId, ZERO_TIME } from '../encoding/types.js';
import type { Crc32c } from '../kernels/crc32c.js';
import { type BlocklistEntry, blocklistKey } from './collections.js';
import { CrushMap } from './crush-map.js';
import { type Incremental, UNCHANGED_RELEASE } from './incremental.js';
import { subtractIntervals, unionIntervals } from './interval-set.js';
import {
  decodeOsdMap,
  MAX_PRIMARY_AFFINITY,
  OSD_STATE,
  OSDMAP_FLAG,
  type OsdInfo,
  OsdMap,
  type OsdMapFields,
  type OsdXinfo,
} from './osdmap.js';

/**
 * Three times what monitors allow (`mon_max_osd`): bounds what a lying `newMaxOsd` of a few bytes can make us allocate, about
 * 80 bytes for each.
 */
const MAX_OSDS = 1 << 15;
const LUMINOUS = 12;
const NIL_UUID = '00000000-0000-0000-0000-000000000000';

export const NEW_OSD_INFO: OsdInfo = {
  lastCleanBegin: 0,
  lastCleanEnd: 0,
  upFrom: 0,
  upThru: 0,
  downAt: 0,
  lostAt: 0,
};

export const NEW_OSD_XINFO: OsdXinfo = {
  downStamp: ZERO_TIME,
  laggyProbability: 0,
  laggyInterval: 0,
  features: 0n,
  oldWeight: 0,
  lastPurgedSnapsScrub: ZERO_TIME,
  deadEpoch: 0,
};

/** The map of the next epoch. Refuses an incremental of another cluster or epoch, and OSDs beyond max_osd. */
export function applyIncremental(map: OsdMap, incremental: Incremental, crc32c: Crc32c): OsdMap {
  if (incremental.epoch !== map.epoch + 1) {
    throw new ProtocolError(
      `incremental for epoch ${incremental.epoch} does not follow epoch ${map.epoch}`,
    );
  }
  if (incremental.epoch !== 1 && incremental.fsid !== map.fsid) {
    throw new ProtocolError(`incremental of cluster ${incremental.fsid}, ours is ${map.fsid}`);
  }
  if (incremental.fullmap.length > 0) return decodeOsdMap(incremental.fullmap, crc32c);

  const next: OsdMapFields = { ...map };
  next.fsid = incremental.fsid;
  next.epoch = incremental.epoch;
  next.modified = incremental.modified;
  if (incremental.newFlags >= 0) next.flags = incremental.newFlags;
  if (incremental.newMaxOsd >= 0) resizeOsds(next, incremental.newMaxOsd);
  applyPools(next, incremental);
  applyOsds(next, incremental);
  applyExceptions(next, incremental);
  applyBlocklists(next, incremental);
  applySettings(next, incremental);
  applyCrush(next, incremental);
  return new OsdMap(next);
}

function applyPools(next: OsdMapFields, incremental: Incremental): void {
  if (incremental.newPoolMax !== -1) next.poolMax = incremental.newPoolMax;
  const pools = Array.from(
    incremental.newPools,
    ([id, pool]) => [id, { ...pool, lastChange: incremental.epoch }] as const,
  );
  next.pools = withEntries(next.pools, pools, incremental.oldPools);
  next.poolName = withEntries(next.poolName, incremental.newPoolNames, incremental.oldPools);

  next.newRemovedSnaps = incremental.newRemovedSnaps;
  next.newPurgedSnaps = incremental.newPurgedSnaps;
  next.removedSnapsQueue = queueSnaps(next.removedSnapsQueue, incremental);
}

/** Snapshots wait in the queue from their removal until they are purged. */
function queueSnaps(
  queue: Map<number, IntervalSet>,
  incremental: Incremental,
): Map<number, IntervalSet> {
  if (incremental.newRemovedSnaps.size === 0 && incremental.newPurgedSnaps.size === 0) return queue;
  const next = new Map(queue);
  for (const [pool, snaps] of incremental.newRemovedSnaps) {
    next.set(pool, unionIntervals(next.get(pool) ?? [], snaps));
  }
  for (const [pool, snaps] of incremental.newPurgedSnaps) {
    const left = subtractIntervals(next.get(pool) ?? [], snaps);
    if (left.length > 0) next.set(pool, left);
    else next.delete(pool);
  }
  return next;
}

/** Per-OSD vectors: copied once each, when something in them changes. */
class OsdEditor {
  readonly #next: OsdMapFields;
  readonly #own = new Set<keyof OsdMapFields>();

  constructor(next: OsdMapFields) {
    this.#next = next;
  }

  get states(): Uint32Array {
    return this.#owned('osdState');
  }

  get weights(): Uint32Array {
    return this.#owned('osdWeight');
  }

  /** Empty means that all have the default: filled in at the first change. */
  get affinities(): Uint32Array {
    if (this.#next.primaryAffinity.length === 0) {
      this.#next.primaryAffinity = new Uint32Array(this.#next.maxOsd).fill(MAX_PRIMARY_AFFINITY);
      this.#own.add('primaryAffinity');
    }
    return this.#owned('primaryAffinity');
  }

  set<K extends 'clientAddrs' | 'clusterAddrs' | 'hbBackAddrs' | 'hbFrontAddrs' | 'osdUuid'>(
    key: K,
    osd: number,
    value: OsdMapFields[K][number],
  ): void {
    (this.#owned(key) as (typeof value)[])[this.checked(osd)] = value;
  }

  changeInfo(osd: number, change: Partial<OsdInfo>): void {
    const infos = this.#owned('osdInfo');
    infos[this.checked(osd)] = { ...(infos[osd] ?? NEW_OSD_INFO), ...change };
  }

  changeXinfo(osd: number, change: Partial<OsdXinfo>): void {
    const infos = this.#owned('osdXinfo');
    infos[this.checked(osd)] = { ...(infos[osd] ?? NEW_OSD_XINFO), ...change };
  }

  checked(osd: number): number {
    if (osd < 0 || osd >= this.#next.maxOsd) {
      throw new ProtocolError(`incremental changes osd.${osd}, max_osd is ${this.#next.maxOsd}`);
    }
    return osd;
  }

  #owned<K extends keyof OsdMapFields>(key: K): OsdMapFields[K] {
    if (!this.#own.has(key)) {
      this.#own.add(key);
      this.#next[key] = (this.#next[key] as unknown[]).slice() as unknown as OsdMapFields[K];
    }
    return this.#next[key];
  }
}

function resizeOsds(next: OsdMapFields, maxOsd: number): void {
  if (maxOsd > MAX_OSDS) throw new ProtocolError(`max_osd ${maxOsd} is over ${MAX_OSDS}`);
  const words = (old: Uint32Array, fill: number) => {
    const grown = new Uint32Array(maxOsd).fill(fill);
    grown.set(old.subarray(0, maxOsd));
    return grown;
  };
  const items = <T>(old: readonly T[], fill: T) =>
    Array.from({ length: maxOsd }, (_, osd) => old[osd] ?? fill);
  next.maxOsd = maxOsd;
  next.osdState = words(next.osdState, 0);
  next.osdWeight = words(next.osdWeight, 0);
  if (next.primaryAffinity.length > 0) {
    next.primaryAffinity = words(next.primaryAffinity, MAX_PRIMARY_AFFINITY);
  }
  next.clientAddrs = items(next.clientAddrs, []);
  next.clusterAddrs = items(next.clusterAddrs, []);
  next.hbBackAddrs = items(next.hbBackAddrs, []);
  next.hbFrontAddrs = items(next.hbFrontAddrs, []);
  next.osdInfo = items(next.osdInfo, NEW_OSD_INFO);
  next.osdXinfo = items(next.osdXinfo, NEW_OSD_XINFO);
  next.osdUuid = items(next.osdUuid, NIL_UUID);
}

function applyOsds(next: OsdMapFields, incremental: Incremental): void {
  const osds = new OsdEditor(next);
  for (const [osd, weight] of incremental.newWeight) {
    osds.weights[osds.checked(osd)] = weight;
    if (weight === 0) continue;
    const state = (osds.states[osd] ?? 0) | OSD_STATE.EXISTS;
    osds.states[osd] = state & ~(OSD_STATE.AUTOOUT | OSD_STATE.NEW);
    osds.changeXinfo(osd, { oldWeight: 0 });
  }
  for (const [osd, affinity] of incremental.newPrimaryAffinity) {
    osds.affinities[osds.checked(osd)] = affinity;
  }
  // Before the new ups: an OSD may go down and come back at another address in one epoch.
  for (const [osd, bits] of incremental.newState) applyState(next, osds, osd, bits);
  for (const [osd, addrs] of incremental.newUpClient) {
    const state = (osds.states[osds.checked(osd)] ?? 0) | OSD_STATE.EXISTS | OSD_STATE.UP;
    osds.states[osd] = state & ~OSD_STATE.STOP;
    osds.set('clientAddrs', osd, addrs);
    osds.set('hbBackAddrs', osd, incremental.newHbBackUp.get(osd) ?? []);
    osds.set('hbFrontAddrs', osd, incremental.newHbFrontUp.get(osd) ?? []);
    osds.changeInfo(osd, { upFrom: incremental.epoch });
  }
  for (const [osd, addrs] of incremental.newUpCluster) osds.set('clusterAddrs', osd, addrs);
  for (const [osd, upThru] of incremental.newUpThru) osds.changeInfo(osd, { upThru });
  for (const [osd, [lastCleanBegin, lastCleanEnd]] of incremental.newLastCleanInterval) {
    osds.changeInfo(osd, { lastCleanBegin, lastCleanEnd });
  }
  for (const [osd, lostAt] of incremental.newLost) osds.changeInfo(osd, { lostAt });
  for (const [osd, xinfo] of incremental.newXinfo) osds.changeXinfo(osd, xinfo);
  for (const [osd, id] of incremental.newUuid) osds.set('osdUuid', osd, id);
}

/** Flips state bits; taking EXISTS away wipes the OSD. */
function applyState(next: OsdMapFields, osds: OsdEditor, osd: number, bits: number): void {
  const flipped = bits === 0 ? OSD_STATE.UP : bits;
  const state = osds.states[osds.checked(osd)] ?? 0;
  if (state & flipped & OSD_STATE.UP) {
    osds.changeInfo(osd, { downAt: next.epoch });
    osds.changeXinfo(osd, { downStamp: next.modified });
  }
  if (!(state & flipped & OSD_STATE.EXISTS)) {
    osds.states[osd] = state ^ flipped;
    return;
  }
  osds.states[osd] = 0;
  osds.affinities[osd] = MAX_PRIMARY_AFFINITY;
  osds.changeInfo(osd, NEW_OSD_INFO);
  osds.changeXinfo(osd, NEW_OSD_XINFO);
  osds.set('osdUuid', osd, NIL_UUID);
  for (const key of ['clientAddrs', 'clusterAddrs', 'hbBackAddrs', 'hbFrontAddrs'] as const) {
    osds.set(key, osd, []);
  }
}

/** The exceptions from CRUSH's placement. */
function applyExceptions(next: OsdMapFields, incremental: Incremental): void {
  const { newPgTemp, newPrimaryTemp } = incremental;
  next.pgTemp = withEntries(
    next.pgTemp,
    newPgTemp,
    keysWhere(newPgTemp, (osds) => osds.length === 0),
  );
  next.primaryTemp = withEntries(
    next.primaryTemp,
    newPrimaryTemp,
    keysWhere(newPrimaryTemp, (osd) => osd === -1),
  );
  next.pgUpmap = withEntries(next.pgUpmap, incremental.newPgUpmap, keysOf(incremental.oldPgUpmap));
  next.pgUpmapItems = withEntries(
    next.pgUpmapItems,
    incremental.newPgUpmapItems,
    keysOf(incremental.oldPgUpmapItems),
  );
  next.pgUpmapPrimaries = withEntries(
    next.pgUpmapPrimaries,
    incremental.newPgUpmapPrimary,
    keysOf(incremental.oldPgUpmapPrimary),
  );
}

function applyBlocklists(next: OsdMapFields, incremental: Incremental): void {
  const keys = (addrs: readonly BlocklistEntry['addr'][]) => addrs.map(blocklistKey);
  // Entries that are there already keep their end: what is new does not replace them.
  const fresh = (old: Map<string, BlocklistEntry>, entries: Map<string, BlocklistEntry>) =>
    [...entries].filter(([key]) => !old.has(key));
  next.blocklist = withEntries(
    next.blocklist,
    fresh(next.blocklist, incremental.newBlocklist),
    keys(incremental.oldBlocklist),
  );
  next.rangeBlocklist = withEntries(
    next.rangeBlocklist,
    fresh(next.rangeBlocklist, incremental.newRangeBlocklist),
    keys(incremental.oldRangeBlocklist),
  );
}

function applySettings(next: OsdMapFields, incremental: Incremental): void {
  next.erasureCodeProfiles = withEntries(
    withEntries(next.erasureCodeProfiles, [], incremental.oldErasureCodeProfiles),
    incremental.newErasureCodeProfiles,
    [],
  );
  const isZero = (flags: number) => flags === 0;
  next.crushNodeFlags = withEntries(
    next.crushNodeFlags,
    incremental.newCrushNodeFlags,
    keysWhere(incremental.newCrushNodeFlags, isZero),
  );
  next.deviceClassFlags = withEntries(
    next.deviceClassFlags,
    incremental.newDeviceClassFlags,
    keysWhere(incremental.newDeviceClassFlags, isZero),
  );

  const isSet = (time: { sec: number; nsec: number }) => time.sec !== 0 || time.nsec !== 0;
  if (isSet(incremental.newLastUpChange)) next.lastUpChange = incremental.newLastUpChange;
  if (isSet(incremental.newLastInChange)) next.lastInChange = incremental.newLastInChange;

  next.clusterSnapshot = incremental.clusterSnapshot;
  next.clusterSnapshotEpoch = incremental.clusterSnapshot === '' ? 0 : incremental.epoch;

  if (incremental.newNearfullRatio >= 0) next.nearfullRatio = incremental.newNearfullRatio;
  if (incremental.newFullRatio >= 0) next.fullRatio = incremental.newFullRatio;
  if (incremental.newBackfillfullRatio >= 0) {
    next.backfillfullRatio = incremental.newBackfillfullRatio;
  }
  const { newRequireMinCompatClient, newRequireOsdRelease } = incremental;
  if (newRequireMinCompatClient !== UNCHANGED_RELEASE && newRequireMinCompatClient > 0) {
    next.requireMinCompatClient = newRequireMinCompatClient;
  }
  if (newRequireOsdRelease !== UNCHANGED_RELEASE) {
    next.requireOsdRelease = newRequireOsdRelease;
    if (newRequireOsdRelease >= LUMINOUS) {
      // The release says it all; the flags that said so before go, and one that it implies comes.
      const legacy =
        OSDMAP_FLAG.REQUIRE_JEWEL | OSDMAP_FLAG.REQUIRE_KRAKEN | OSDMAP_FLAG.REQUIRE_LUMINOUS;
      next.flags = ((next.flags & ~legacy) | OSDMAP_FLAG.RECOVERY_DELETES) >>> 0;
    }
  }
  if (incremental.changeStretchMode) {
    next.stretchModeEnabled = incremental.stretchModeEnabled;
    next.stretchBucketCount = incremental.newStretchBucketCount;
    next.degradedStretchMode = incremental.newDegradedStretchMode;
    next.recoveringStretchMode = incremental.newRecoveringStretchMode;
    next.stretchModeBucket = incremental.newStretchModeBucket;
  }
  if (incremental.mutateAllowCrimson) next.allowCrimson = 1;
}

function applyCrush(next: OsdMapFields, incremental: Incremental): void {
  if (incremental.crush.length === 0) return;
  const crush = CrushMap.decode(incremental.crush);
  next.crush = crush;
  if (next.requireOsdRelease >= LUMINOUS) next.crushVersion++;
  const gone = keysWhere(next.deviceClassFlags, (_, id) => !crush.classNames.has(id));
  next.deviceClassFlags = withEntries(next.deviceClassFlags, [], gone);
}

/** The map with entries added, then others removed; the same map when there is nothing to do. */
function withEntries<K, V>(
  old: Map<K, V>,
  added: Iterable<readonly [K, V]>,
  removed: readonly K[],
): Map<K, V> {
  const list = [...added];
  if (list.length === 0 && removed.length === 0) return old;
  const next = new Map(old);
  for (const [key, value] of list) next.set(key, value);
  for (const key of removed) next.delete(key);
  return next;
}

function keysWhere<K, V>(entries: Map<K, V>, test: (value: V, key: K) => boolean): K[] {
  return [...entries].filter(([key, value]) => test(value, key)).map(([key]) => key);
}

/** The keys of a `PgMap`. */
function keysOf(pgs: readonly PgId[]): string[] {
  return pgs.map(formatPgId);
}
