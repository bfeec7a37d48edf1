/**
 * Where operations go: the osdmap as the client uses it
 * (`Objecter::_calc_target`, `calc_target` in `net/ceph/osd_client.c`).
 */

import { type EntityAddr, msgr2Addr } from '../encoding/entity.js';
import { type Hobject, NO_SHARD, NOSNAP } from '../encoding/types.js';
import type { Crc32c } from '../kernels/crc32c.js';
import { OSD_FLAG } from '../messages/osd-messages.js';
import { applyIncremental } from '../osdmap/apply-incremental.js';
import type { CrushMappers } from '../osdmap/crush-mapper.js';
import type { Incremental } from '../osdmap/incremental.js';
import { OSDMAP_FLAG, type OsdMap } from '../osdmap/osdmap.js';
import { objectToPg, Placement as PgPlacement, type PgMapping } from '../osdmap/placement.js';
import { canShiftOsds, POOL_FLAG } from '../osdmap/pool.js';
import type { OpRequest, Placement } from './op-request.js';
import type { ObjectTarget } from './request.js';

/** What a map is used with. */
export interface MapTools {
  crc32c: Crc32c;
  crushMappers: CrushMappers;
}

/** One epoch: the map, and the placements computed from it so far. */
export class ClientMap {
  readonly osdMap: OsdMap;
  readonly #tools: MapTools;
  readonly #placement: PgPlacement;

  constructor(osdMap: OsdMap, tools: MapTools) {
    this.osdMap = osdMap;
    this.#tools = tools;
    this.#placement = new PgPlacement(osdMap, tools.crushMappers(osdMap.crush));
  }

  get epoch(): number {
    return this.osdMap.epoch;
  }

  next(incremental: Incremental): ClientMap {
    return new ClientMap(
      applyIncremental(this.osdMap, incremental, this.#tools.crc32c),
      this.#tools,
    );
  }

  hasPool(pool: number): boolean {
    return this.osdMap.pools.has(pool);
  }

  poolName(pool: number): string | undefined {
    return this.osdMap.poolName.get(pool);
  }

  /** Where to dial an OSD; undefined while it is down. */
  msgr2Addr(osd: number): EntityAddr | undefined {
    return this.osdMap.isUp(osd) ? msgr2Addr(this.osdMap.osdAddrs(osd)) : undefined;
  }

  mapping(pg: Placement['pg']): PgMapping {
    return this.#placement.pgToUpActing(pg);
  }
}

/** Undefined when the map has no such pool. */
export function placeObject(map: ClientMap, target: ObjectTarget): Placement | undefined {
  const pool = map.osdMap.pool(target.pool);
  const place = objectToPg(map.osdMap, target);
  if (!pool || !place) return undefined;
  const { acting, actingPrimary } = map.mapping(place.pg);
  return {
    pg: place.pg,
    hash: place.hash,
    osd: actingPrimary,
    shard: canShiftOsds(pool) ? NO_SHARD : acting.indexOf(actingPrimary),
    pgNum: pool.pgNum,
    acting,
  };
}

/**
 * Whether the map's flags hold an operation back. It is the client that keeps these promises: an OSD executes what it
 * is sent, paused or not.
 */
export function pausedBy(map: ClientMap, request: OpRequest): boolean {
  const { osdMap } = map;
  const reads = request.isRead || request.linger !== undefined;
  if (reads && osdMap.hasFlag(OSDMAP_FLAG.PAUSERD)) return true;
  if (!request.isWrite) return false;
  return osdMap.hasFlag(OSDMAP_FLAG.PAUSEWR) || fullFor(map, request);
}

/** Whether a write must wait because there is no room. Removals (FULL_TRY) are what makes room. */
export function fullFor({ osdMap }: ClientMap, request: OpRequest): boolean {
  if (!request.isWrite || (request.flags & (OSD_FLAG.FULL_TRY | OSD_FLAG.FULL_FORCE)) !== 0)
    return false;
  const poolFlags = osdMap.pool(request.target.pool)?.flags ?? 0;
  return (
    osdMap.hasFlag(OSDMAP_FLAG.FULL) || (poolFlags & (POOL_FLAG.FULL | POOL_FLAG.FULL_QUOTA)) !== 0
  );
}

/**
 * Whether watches may be pinged and registered: a map that holds back either reads or writes holds them, because a
 * registration that cannot be kept alive is not worth making (`Objecter::_send_linger_ping`).
 */
export function watchesPaused({ osdMap }: ClientMap): boolean {
  return osdMap.hasFlag(OSDMAP_FLAG.PAUSERD) || osdMap.hasFlag(OSDMAP_FLAG.PAUSEWR);
}

/**
 * What makes a PG's interval: while none of it changes, its primary keeps watches and notifications in memory
 * (`PastIntervals::is_new_interval`). Undefined when the map has no such pool.
 */
export function intervalOf(map: ClientMap, target: ObjectTarget): string | undefined {
  const { osdMap } = map;
  const pool = osdMap.pool(target.pool);
  const placement = placeObject(map, target);
  if (!pool || !placement) return undefined;
  const { up, upPrimary, acting, actingPrimary } = map.mapping(placement.pg);
  const flags = osdMap.flags & (OSDMAP_FLAG.SORTBITWISE | OSDMAP_FLAG.RECOVERY_DELETES);
  return [
    ...[placement.pg.seed, pool.pgNum, pool.size, pool.minSize, flags],
    ...[upPrimary, up.join(), actingPrimary, acting.join()],
  ].join(' ');
}

/**
 * Whether an operation that is under way must be sent again, to the same or another OSD. Each epoch counts: an OSD that
 * was not the primary in one of them has dropped the operation, even if it is the primary again.
 */
export function mustResend(
  request: OpRequest,
  placement: Placement,
  passed: readonly ClientMap[],
  place: (map: ClientMap) => Placement | undefined,
): boolean {
  return passed.some((map) => {
    const after = place(map);
    if (!after || !samePlacement(placement, after)) return true;
    // A replica drops what it was asked whenever the acting set changes, a primary only when it loses its place.
    if (request.mayReadReplica && after.acting.join() !== placement.acting.join()) return true;
    return (map.osdMap.pool(request.target.pool)?.lastForceOpResend ?? 0) > request.sentEpoch;
  });
}

function samePlacement(a: Placement, b: Placement): boolean {
  return a.osd === b.osd && a.shard === b.shard && a.pg.seed === b.pg.seed && a.pgNum === b.pgNum;
}

/** The object's place in the order that backoff ranges use. */
export function sortPosition(request: OpRequest, placement: Placement): Hobject {
  return {
    key: request.target.key ?? '',
    oid: request.target.oid,
    // Its head, whatever snapshot it is about (`Objecter::op_target_t::get_hobj`).
    snap: NOSNAP,
    hash: placement.hash,
    max: 0,
    nspace: request.target.nspace,
    pool: BigInt(request.target.pool),
  };
}
