/**
 * Object → PG → OSDs, as `OSDMap::_pg_to_up_acting_osds` in `osd/OSDMap.cc`.
 *
 * CRUSH says where a PG belongs (raw); upmaps move it; OSDs that are down leave it (up); primary affinity may pick
 * another primary; and while data moves, pg_temp and primary_temp say who serves it (acting).
 */

import { formatPgId, type PgId } from '../encoding/types.js';
import { CRUSH_ITEM_NONE } from './crush-map.js';
import type { CrushMapper } from './crush-mapper.js';
import { crushHash2, objectHash, stableMod } from './object-hash.js';
import { MAX_PRIMARY_AFFINITY, type OsdMap } from './osdmap.js';
import { canShiftOsds, type PgPool, POOL_FLAG } from './pool.js';

export interface ObjectName {
  pool: number;
  oid: string;
  /** Objects with one key are placed together. */
  key?: string | undefined;
  nspace?: string | undefined;
  /** Overrides the hash of the name; -1 or absent: none. */
  hash?: number | undefined;
}

export interface ObjectPlace {
  /** The placement seed, all 32 bits. */
  hash: number;
  /** The PG that holds the object. */
  pg: PgId;
}

/** Lists hold OSD ids; where an erasure-coded pool misses one, CRUSH_ITEM_NONE keeps the shard's place. */
export interface PgMapping {
  up: readonly number[];
  /** -1: none. */
  upPrimary: number;
  acting: readonly number[];
  /** Whom clients talk to. -1: none. */
  actingPrimary: number;
}

const UNMAPPED: PgMapping = { up: [], upPrimary: -1, acting: [], actingPrimary: -1 };

/** PGs remembered per map; then all are forgotten. More than a client touches between two epochs. */
const CACHE_LIMIT = 1 << 18;

/** The PG of an object; `undefined` when the pool does not exist. */
export function objectToPg(map: OsdMap, object: ObjectName): ObjectPlace | undefined {
  const pool = map.pool(object.pool);
  if (!pool) return undefined;
  const hash =
    object.hash !== undefined && object.hash >= 0
      ? object.hash
      : objectHash(pool.objectHash, object);
  return { hash, pg: { pool: object.pool, seed: stableMod(hash, pool.pgNum) } };
}

/** The mapping of one map's PGs, each computed when it is first asked for. */
export class Placement {
  readonly #map: OsdMap;
  readonly #crush: CrushMapper;
  /** Pool → seed → mapping: this is asked for every operation, and numbers are cheaper keys than texts. */
  readonly #cache = new Map<number, Map<number, PgMapping>>();
  #cached = 0;
  readonly #hasExceptions: boolean;

  constructor(map: OsdMap, crush: CrushMapper) {
    this.#map = map;
    this.#crush = crush;
    const exceptions = [
      map.pgTemp,
      map.primaryTemp,
      map.pgUpmap,
      map.pgUpmapItems,
      map.pgUpmapPrimaries,
    ];
    this.#hasExceptions = exceptions.some((entries) => entries.size > 0);
  }

  /** Of a PG that does not exist, all is empty. */
  pgToUpActing(pg: PgId): PgMapping {
    const known = this.#cache.get(pg.pool)?.get(pg.seed);
    if (known) return known;
    const mapping = this.#compute(pg);
    this.#remember(pg, mapping);
    return mapping;
  }

  #remember(pg: PgId, mapping: PgMapping): void {
    if (this.#cached >= CACHE_LIMIT) {
      this.#cache.clear();
      this.#cached = 0;
    }
    let pool = this.#cache.get(pg.pool);
    if (!pool) {
      pool = new Map();
      this.#cache.set(pg.pool, pool);
    }
    pool.set(pg.seed, mapping);
    this.#cached++;
  }

  /** Where CRUSH puts a PG, without any exception and whether or not the OSDs are up. */
  pgToRaw(pg: PgId): number[] {
    const pool = this.#pool(pg);
    return pool ? this.#raw(pg, pool, placementSeed(pg, pool)) : [];
  }

  #pool(pg: PgId): PgPool | undefined {
    const pool = this.#map.pool(pg.pool);
    return pool && pg.seed < pool.pgNum ? pool : undefined;
  }

  #compute(pg: PgId): PgMapping {
    const pool = this.#pool(pg);
    if (!pool) return UNMAPPED;
    const pps = placementSeed(pg, pool);
    const isUp = (osd: number) => this.#map.isUp(osd);
    const raw = this.#raw(pg, pool, pps);
    if (!this.#hasExceptions) {
      const { up, upPrimary } = this.#applyPrimaryAffinity(pool, pps, this.#keep(pool, raw, isUp));
      return { up, upPrimary, acting: up, actingPrimary: upPrimary };
    }
    const key = formatPgId(pg);
    const alive = this.#keep(pool, this.#applyUpmap(key, raw), isUp);
    const { up, upPrimary } = this.#applyPrimaryAffinity(pool, pps, alive);
    const temp = this.#keep(pool, this.#map.pgTemp.get(key) ?? [], isUp);
    const acting = temp.length > 0 ? temp : up;
    const tempPrimary = this.#map.primaryTemp.get(key) ?? firstOsd(temp);
    const actingPrimary = tempPrimary === -1 && temp.length === 0 ? upPrimary : tempPrimary;
    return { up, upPrimary, acting, actingPrimary };
  }

  #raw(pg: PgId, pool: PgPool, pps: number): number[] {
    const { crush, osdWeight } = this.#map;
    const rule = crush.findRule(pool);
    if (rule === undefined) return [];
    const chosen = this.#crush.doRule({
      rule,
      x: pps,
      resultMax: pool.size,
      weights: osdWeight,
      chooseArgs: crush.chooseArgsFor(pg.pool),
    });
    return this.#keep(pool, chosen, (osd) => this.#map.exists(osd));
  }

  /** The OSDs that pass: in replicated pools the others leave, in erasure-coded ones they leave a hole. */
  #keep(pool: PgPool, osds: ArrayLike<number>, passes: (osd: number) => boolean): number[] {
    const kept: number[] = [];
    const shift = canShiftOsds(pool);
    for (let i = 0; i < osds.length; i++) {
      const osd = osds[i] as number;
      if (passes(osd)) kept.push(osd);
      else if (!shift) kept.push(CRUSH_ITEM_NONE);
    }
    return kept;
  }

  #applyUpmap(key: string, computed: number[]): number[] {
    const { pgUpmap, pgUpmapItems, pgUpmapPrimaries } = this.#map;
    let raw = computed;
    const replacement = pgUpmap.get(key);
    if (replacement) {
      // One target that is out makes the whole exception void, the items too.
      if (replacement.some((osd) => this.#isKnownOut(osd))) return raw;
      raw = [...replacement];
    }
    for (const [from, to] of pgUpmapItems.get(key) ?? []) {
      const place = raw.indexOf(from);
      if (place >= 0 && !raw.includes(to) && !this.#isKnownOut(to)) raw[place] = to;
    }
    const primary = pgUpmapPrimaries.get(key);
    if (primary !== undefined && primary < this.#map.maxOsd && !this.#map.isOut(primary)) {
      const place = raw.indexOf(primary);
      if (place > 0) {
        raw[place] = raw[0] as number;
        raw[0] = primary;
      }
    }
    return raw;
  }

  /** Ids that are no OSD's pass: they drop out later as not up. */
  #isKnownOut(osd: number): boolean {
    return osd >= 0 && osd < this.#map.maxOsd && this.#map.isOut(osd);
  }

  /** An OSD with less than full affinity declines to be primary of a share of its PGs. */
  #applyPrimaryAffinity(
    pool: PgPool,
    pps: number,
    alive: number[],
  ): { up: number[]; upPrimary: number } {
    if (this.#map.primaryAffinity.length === 0) return { up: alive, upPrimary: firstOsd(alive) };
    const affinityOf = (osd: number) => this.#map.primaryAffinity[osd] ?? MAX_PRIMARY_AFFINITY;
    const isHole = (osd: number) => osd === CRUSH_ITEM_NONE;
    if (alive.every((osd) => isHole(osd) || affinityOf(osd) === MAX_PRIMARY_AFFINITY)) {
      return { up: alive, upPrimary: firstOsd(alive) };
    }
    const accepts = (osd: number) =>
      affinityOf(osd) >= MAX_PRIMARY_AFFINITY || crushHash2(pps, osd) >>> 16 < affinityOf(osd);
    const accepted = alive.findIndex((osd) => !isHole(osd) && accepts(osd));
    const place = accepted >= 0 ? accepted : alive.findIndex((osd) => !isHole(osd));
    const upPrimary = alive[place] ?? -1;
    if (place <= 0 || !canShiftOsds(pool)) return { up: alive, upPrimary };
    return { up: [upPrimary, ...alive.toSpliced(place, 1)], upPrimary };
  }
}

/** What CRUSH hashes for a PG. With HASHPSPOOL the PGs of different pools do not fall on the same OSDs. */
function placementSeed(pg: PgId, pool: PgPool): number {
  const seed = stableMod(pg.seed, pool.pgpNum);
  return pool.flags & POOL_FLAG.HASHPSPOOL ? crushHash2(seed, pg.pool) : (seed + pg.pool) >>> 0;
}

function firstOsd(osds: readonly number[]): number {
  return osds.find((osd) => osd !== CRUSH_ITEM_NONE) ?? -1;
}
