/** Changes to pools that commands and pool operations have in common (`OSDMonitor`'s `prepare_pool_op` and others). */

import { utimeFromMs } from '../../encoding/types.js';
import { parsePgId } from '../../osdmap/collections.js';
import type { Incremental } from '../../osdmap/incremental.js';
import { intervalsContain } from '../../osdmap/interval-set.js';
import type { OsdMap } from '../../osdmap/osdmap.js';
import { createPool, type NewPool, type PgPool, POOL_FLAG, POOL_TYPE } from '../../osdmap/pool.js';
import { POOL_OP } from '../../messages/mon-messages.js';
import { ERRNO } from '../../base/errors.js';
import type { MonState } from './mon-state.js';

/** `mon_max_pool_pg_num`. */
export const MAX_PG_NUM = 65536;
/** `osd_max_pool_size` of the code: results of a rule beyond it are not asked for. */
export const MAX_POOL_SIZE = 10;

/** A copy to change: maps of other epochs keep theirs. */
export function editPool(pool: PgPool): PgPool {
  return {
    ...pool,
    snaps: new Map(pool.snaps),
    removedSnaps: [...pool.removedSnaps],
    opts: { options: new Map(pool.opts.options) },
    applicationMetadata: new Map(
      [...pool.applicationMetadata].map(([name, keys]) => [name, new Map(keys)]),
    ),
  };
}

/** Commits a change of one pool. */
export function changePool(
  state: MonState,
  id: number,
  change: (pool: PgPool, incremental: Incremental) => void,
): number {
  return state.osdMaps.commit((incremental, map) => {
    const pool = editPool(map.pool(id) as PgPool);
    change(pool, incremental);
    incremental.newPools.set(id, pool);
  });
}

export interface PoolRequest {
  name: string;
  pgNum?: number | undefined;
  pgpNum?: number | undefined;
  size?: number | undefined;
  minSize?: number | undefined;
  crushRule?: number | undefined;
  applications?: readonly string[];
}

/** Commits a new replicated pool. The caller has checked its name and numbers. */
export function addPool(state: MonState, request: PoolRequest): { id: number; epoch: number } {
  const size = request.size || state.poolDefaults.size;
  const pgNum = request.pgNum || state.poolDefaults.pgNum;
  const pool: NewPool = {
    type: POOL_TYPE.REPLICATED,
    size,
    minSize: request.minSize ?? defaultMinSize(state, size),
    crushRule: request.crushRule ?? 0,
    pgNum,
    pgpNum: request.pgpNum || pgNum,
    flags: POOL_FLAG.HASHPSPOOL,
    applications: request.applications ?? [],
  };
  const id = state.osdMaps.map.poolMax + 1;
  const epoch = state.osdMaps.commit((incremental) => {
    incremental.newPoolMax = id;
    incremental.newPools.set(id, { ...createPool(pool), createTime: incremental.modified });
    incremental.newPoolNames.set(id, request.name);
  });
  return { id, epoch };
}

/** `osd_pool_default_min_size`, or half of the copies and one, whatever is less. */
export function defaultMinSize(state: MonState, size: number): number {
  const half = size - Math.floor(size / 2);
  return Math.min(state.poolDefaults.minSize || half, half);
}

/** Commits a pool's end, and that of all exceptions for its PGs. */
export function removePool(state: MonState, id: number): number {
  return state.osdMaps.commit((incremental, map) => {
    incremental.oldPools.push(id);
    const ofPool = (entries: ReadonlyMap<string, unknown>) =>
      [...entries.keys()].map(parsePgId).filter(({ pool }) => pool === id);
    const key = (pg: { seed: number }) => `${id}.${pg.seed.toString(16)}`;
    for (const pg of ofPool(map.pgTemp)) incremental.newPgTemp.set(key(pg), []);
    for (const pg of ofPool(map.primaryTemp)) incremental.newPrimaryTemp.set(key(pg), -1);
    incremental.oldPgUpmap.push(...ofPool(map.pgUpmap));
    incremental.oldPgUpmapItems.push(...ofPool(map.pgUpmapItems));
    // Its snapshots need no trimming any more.
    const queued = map.removedSnapsQueue.get(id);
    if (queued) incremental.newPurgedSnaps.set(id, queued);
  });
}

export interface PoolOpRequest {
  op: number;
  pool: number;
  name: string;
  snapid: bigint;
}

export interface PoolOpResult {
  code: number;
  /** The id of the snapshot that was made. */
  snapid?: bigint;
}

/** MPoolOp: what librados' pool and snapshot calls send. Negative codes are errnos. */
export function runPoolOp(state: MonState, request: PoolOpRequest): PoolOpResult {
  const { op, pool: id } = request;
  if (op === POOL_OP.CREATE) return createByOp(state, request.name);
  const map = state.osdMaps.map;
  const pool = map.pool(id);
  // Deleting twice is fine; anything else needs the pool.
  if (!pool) return { code: op === POOL_OP.DELETE ? 0 : -ERRNO.ENOENT };
  switch (op) {
    case POOL_OP.DELETE:
      if (pool.flags & POOL_FLAG.NODELETE) return { code: -ERRNO.EPERM };
      removePool(state, id);
      return { code: 0 };
    case POOL_OP.CREATE_SNAP:
      return { code: createPoolSnap(state, id, request.name).code };
    case POOL_OP.DELETE_SNAP:
      return { code: removePoolSnap(state, id, request.name).code };
    case POOL_OP.CREATE_UNMANAGED_SNAP:
      return createUnmanagedSnap(state, id, pool);
    case POOL_OP.DELETE_UNMANAGED_SNAP:
      return removeUnmanagedSnap(state, map, { id, pool, snapid: request.snapid });
    default:
      return { code: -ERRNO.EINVAL };
  }
}

function createByOp(state: MonState, name: string): PoolOpResult {
  if (!isValidPoolName(name)) return { code: -ERRNO.EINVAL };
  if (state.osdMaps.map.poolIdByName(name) !== undefined) return { code: -ERRNO.EEXIST };
  addPool(state, { name });
  return { code: 0 };
}

export function isValidPoolName(name: string): boolean {
  return name !== '';
}

function createUnmanagedSnap(state: MonState, id: number, pool: PgPool): PoolOpResult {
  if (pool.flags & POOL_FLAG.POOL_SNAPS) return { code: -ERRNO.EINVAL };
  let snapid = 0n;
  changePool(state, id, (edited, incremental) => {
    edited.flags |= POOL_FLAG.SELFMANAGED_SNAPS;
    // Ids of this kind begin at 2: a pool without any snapshot has seq 0, and 1 stays unused.
    snapid = (edited.snapSeq === 0n ? 1n : edited.snapSeq) + 1n;
    edited.snapSeq = snapid;
    edited.snapEpoch = incremental.epoch;
  });
  return { code: 0, snapid };
}

function removeUnmanagedSnap(
  state: MonState,
  map: OsdMap,
  { id, pool, snapid }: { id: number; pool: PgPool; snapid: bigint },
): PoolOpResult {
  if (pool.flags & POOL_FLAG.POOL_SNAPS) return { code: -ERRNO.EINVAL };
  if (snapid > pool.snapSeq || snapid === 0n) return { code: -ERRNO.ENOENT };
  const removed = map.removedSnapsQueue.get(id) ?? [];
  if (intervalsContain(removed, snapid)) return { code: 0 };
  changePool(state, id, (edited, incremental) => {
    // Removing moves the sequence too: whoever writes with the old one is then told apart.
    edited.flags |= POOL_FLAG.SELFMANAGED_SNAPS;
    edited.snapSeq += 1n;
    edited.snapEpoch = incremental.epoch;
    incremental.newRemovedSnaps.set(id, [[snapid, 1n]]);
  });
  return { code: 0 };
}

/** `osd pool mksnap` and CREATE_SNAP. `changed` tells a new snapshot from one that was there. */
export function createPoolSnap(
  state: MonState,
  id: number,
  name: string,
): { code: number; changed: boolean } {
  const pool = state.osdMaps.map.pool(id) as PgPool;
  if (pool.flags & POOL_FLAG.SELFMANAGED_SNAPS) return { code: -ERRNO.EINVAL, changed: false };
  if (poolSnapId(pool, name) !== undefined) return { code: 0, changed: false };
  changePool(state, id, (edited, incremental) => {
    edited.flags |= POOL_FLAG.POOL_SNAPS;
    edited.snapSeq += 1n;
    edited.snapEpoch = incremental.epoch;
    const stamp = utimeFromMs(state.env.clock.now());
    edited.snaps.set(edited.snapSeq, { snapid: edited.snapSeq, stamp, name });
  });
  return { code: 0, changed: true };
}

export function removePoolSnap(
  state: MonState,
  id: number,
  name: string,
): { code: number; changed: boolean } {
  const pool = state.osdMaps.map.pool(id) as PgPool;
  if (pool.flags & POOL_FLAG.SELFMANAGED_SNAPS) return { code: -ERRNO.EINVAL, changed: false };
  const snapid = poolSnapId(pool, name);
  if (snapid === undefined) return { code: 0, changed: false };
  changePool(state, id, (edited, incremental) => {
    edited.snaps.delete(snapid);
    edited.snapSeq += 1n;
    edited.snapEpoch = incremental.epoch;
    incremental.newRemovedSnaps.set(id, [[snapid, 1n]]);
  });
  return { code: 0, changed: true };
}

function poolSnapId(pool: PgPool, name: string): bigint | undefined {
  for (const [snapid, snap] of pool.snaps) if (snap.name === name) return snapid;
  return undefined;
}
