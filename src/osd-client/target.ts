/**
 * Where operations go: the osdmap as the client uses it
 * (`Objecter::_calc_target`, `calc_target` in `net/ceph/osd_client.c`).
 */

import { type EntityAddr, msgr2Addr } from '../encoding/entity.js';
import { type Hobject, NO_SHARD } from '../encoding/types.js';
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
  const place = objectToPg(map.osdMap, { ...target, hash: target.hash });
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
  if (request.isRead && !request.isWrite && osdMap.hasFlag(OSDMAP_FLAG.PAUSERD)) return true;
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

/** Whether an operation that is under way must be sent again, to the same or another OSD. */
export function mustResend(
  before: Placement,
  after: Placement,
  map: ClientMap,
  request: OpRequest,
  skipped: boolean,
): boolean {
  if (skipped || before.osd !== after.osd || before.shard !== after.shard) return true;
  if (before.pg.seed !== after.pg.seed || before.pgNum !== after.pgNum) return true;
  const lastForced = map.osdMap.pool(request.target.pool)?.lastForceOpResend ?? 0;
  return lastForced > request.sentEpoch;
}

/** The object's place in the order that backoff ranges use. */
export function sortPosition(request: OpRequest, placement: Placement): Hobject {
  return {
    key: request.target.key ?? '',
    oid: request.target.oid,
    snap: request.snapid,
    hash: placement.hash,
    max: 0,
    nspace: request.target.nspace,
    pool: BigInt(request.target.pool),
  };
}
