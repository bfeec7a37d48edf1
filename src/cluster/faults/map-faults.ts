/** Faults that are changes of the OSD map: what an administrator, the balancer or a full disk does to it. */

import { RadosError } from '../../base/errors.js';
import { ADDR_TYPE, type EntityAddr } from '../../encoding/entity.js';
import { formatPgId, type PgId, utimeFromMs } from '../../encoding/types.js';
import { blocklistKey } from '../../osdmap/collections.js';
import { OSDMAP_FLAG } from '../../osdmap/osdmap.js';
import { objectToPg } from '../../osdmap/placement.js';
import { POOL_FLAG } from '../../osdmap/pool.js';
import { type MonState, placementOf } from '../mon/mon-state.js';
import { changePool } from '../mon/pools.js';
import type { MapFlag, MovePgOptions } from './fault-spec.js';

const FLAGS: Record<MapFlag, number> = {
  pause: OSDMAP_FLAG.PAUSERD | OSDMAP_FLAG.PAUSEWR,
  pauserd: OSDMAP_FLAG.PAUSERD,
  pausewr: OSDMAP_FLAG.PAUSEWR,
  full: OSDMAP_FLAG.FULL,
  noup: OSDMAP_FLAG.NOUP,
  nodown: OSDMAP_FLAG.NODOWN,
  noin: OSDMAP_FLAG.NOIN,
  noout: OSDMAP_FLAG.NOOUT,
  norecover: OSDMAP_FLAG.NORECOVER,
  nobackfill: OSDMAP_FLAG.NOBACKFILL,
  norebalance: OSDMAP_FLAG.NOREBALANCE,
};

/** Until the fault is stopped, where nobody said how long: longer than any test. */
const BLOCKLIST_EXPIRE_S = 3600;

/** ENOENT when there is no such pool. */
export function poolId(state: MonState, pool: string | number): number {
  const { map } = state.osdMaps;
  const id = typeof pool === 'number' ? pool : map.poolByName(pool)?.id;
  if (id === undefined || !map.pool(id)) {
    throw new RadosError('ENOENT', `there is no pool '${pool}'`);
  }
  return id;
}

/** The PG that an object belongs to. */
export function pgOf(
  state: MonState,
  { pool, namespace = '', object }: { pool: number; namespace?: string; object: string },
): PgId {
  const target = { pool, oid: object, key: '', nspace: namespace };
  const place = objectToPg(state.osdMaps.map, target);
  if (!place) throw new RadosError('ENOENT', `there is no pool ${pool}`);
  return place.pg;
}

/** Each makes its change and returns what takes it back. */

export function setFlags(state: MonState, flags: readonly MapFlag[]): () => void {
  const wanted = flags.reduce((bits, name) => bits | flagOf(name), 0);
  const set = wanted & ~state.osdMaps.map.flags;
  if (set !== 0) {
    state.osdMaps.commit((incremental, map) => {
      incremental.newFlags = map.flags | set;
    });
  }
  return () => {
    if ((state.osdMaps.map.flags & set) === 0) return;
    state.osdMaps.commit((incremental, map) => {
      incremental.newFlags = map.flags & ~set;
    });
  };
}

function flagOf(name: MapFlag): number {
  if (!Object.hasOwn(FLAGS, name)) throw new TypeError(`there is no flag '${String(name)}'`);
  return FLAGS[name];
}

export function fillPools(state: MonState, pool: string | number | undefined): () => void {
  const { map } = state.osdMaps;
  const pools = pool === undefined ? [...map.pools.keys()] : [poolId(state, pool)];
  const filled = pools.filter((id) => ((map.pool(id)?.flags ?? 0) & POOL_FLAG.FULL) === 0);
  const change = (id: number, full: boolean) =>
    changePool(state, id, (fields) => {
      fields.flags = full ? fields.flags | POOL_FLAG.FULL : fields.flags & ~POOL_FLAG.FULL;
    });
  for (const id of filled) change(id, true);
  return () => {
    for (const id of filled) if (state.osdMaps.map.pool(id)) change(id, false);
  };
}

export function blocklist(
  state: MonState,
  addr: EntityAddr,
  expireS: number | undefined,
): () => void {
  const entry = { ...addr, type: ADDR_TYPE.ANY };
  const key = blocklistKey(entry);
  const until = utimeFromMs(state.env.clock.now() + (expireS ?? BLOCKLIST_EXPIRE_S) * 1000);
  state.osdMaps.commit((incremental) => incremental.newBlocklist.set(key, { addr: entry, until }));
  return () => {
    if (!state.osdMaps.map.blocklist.has(key)) return;
    state.osdMaps.commit((incremental) => incremental.oldBlocklist.push(entry));
  };
}

export function movePg(state: MonState, options: MovePgOptions): () => void {
  const pool = poolId(state, options.pool);
  const pg = pgToMove(state, pool, options);
  const { map } = state.osdMaps;
  const { acting, actingPrimary } = placementOf(state, map).pgToUpActing(pg);
  const isChoice = (osd: number) => osd !== actingPrimary && map.isUp(osd);
  const all = Array.from({ length: map.maxOsd }, (_, osd) => osd);
  const to = options.to ?? acting.find(isChoice) ?? all.find(isChoice);
  if (to === undefined || !map.isUp(to)) {
    throw new RadosError('EINVAL', `no OSD that is up can take PG ${formatPgId(pg)}`);
  }
  const others = acting.filter((osd) => osd >= 0 && osd !== to);
  const osds = [to, ...others].slice(0, Math.max(1, acting.length));
  const key = formatPgId(pg);
  if (options.by === 'upmap') {
    state.osdMaps.commit((incremental) => incremental.newPgUpmap.set(key, osds));
    return () => {
      if (!state.osdMaps.map.pgUpmap.has(key)) return;
      state.osdMaps.commit((incremental) => incremental.oldPgUpmap.push(pg));
    };
  }
  state.osds.pinPgTemp(key, true);
  state.osdMaps.commit((incremental) => incremental.newPgTemp.set(key, osds));
  return () => {
    state.osds.pinPgTemp(key, false);
    if (!state.osdMaps.map.pgTemp.has(key)) return;
    state.osdMaps.commit((incremental) => incremental.newPgTemp.set(key, []));
  };
}

function pgToMove(state: MonState, pool: number, { object, namespace, pg }: MovePgOptions): PgId {
  if (object !== undefined) {
    return pgOf(state, { pool, object, ...(namespace === undefined ? {} : { namespace }) });
  }
  const pgNum = state.osdMaps.map.pool(pool)?.pgNum ?? 0;
  if (pg === undefined || !Number.isInteger(pg) || pg < 0 || pg >= pgNum) {
    throw new RangeError(`movePg needs an object, or a PG from 0 to ${pgNum - 1}`);
  }
  return { pool, seed: pg };
}

/** Epochs in which nothing changes. */
export function churnMap(state: MonState, epochs: number): void {
  for (let i = 0; i < epochs; i++) state.osdMaps.commit(() => {});
}
