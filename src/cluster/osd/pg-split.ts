/**
 * A pool gets more PGs: each PG gives some of its objects to new ones, its children (`PG::split_into`). Every OSD splits what
 * it has as it takes the map that says so, whether it serves the PG or not, and the members peer anew.
 *
 *     4 PGs   1.1                    1.1 has the hashes whose low two bits are 01
 *     8 PGs   1.1   1.5              ...001 stays, ...101 goes
 *
 * A child begins with its parent's history: the same intervals, the entries of the log about its objects, the answers to
 * failed writes. Its first version is the one after its parent's last.
 *
 * Parent and children are written one after the other, the parent last, and it notes how many PGs there are. A crash
 * before that has the whole done again: until then nobody wrote to a child, for the disk has changes in their order.
 */

import { formatPgId, type PgId } from '../../encoding/types.js';
import { stableMod } from '../../osdmap/object-hash.js';
import type { ObjectId } from '../store/object-id.js';
import type { ObjectStore } from '../store/object-store.js';
import type { PgInfo } from '../store/pg-record.js';
import type { StoreOp } from '../store/transaction.js';
import { logTail } from './log-merge.js';

export interface SplitOptions {
  readonly store: ObjectStore;
  /** Numbers of the pool's PGs. */
  readonly before: number;
  readonly after: number;
}

/** Those that a PG's objects go to when there are more. */
export function childrenOf({ pool, seed }: PgId, before: number, after: number): PgId[] {
  const children: PgId[] = [];
  for (let child = before; child < after; child++) {
    if (stableMod(child, before) === seed) children.push({ pool, seed: child });
  }
  return children;
}

/** All of it at once to whoever looks. Nobody may be at work on the PG. */
export function splitPg(parent: PgId, { store, before, after }: SplitOptions): PgId[] {
  const collection = formatPgId(parent);
  const info = store.pgInfo(collection);
  if (!info) return [];
  const children = childrenOf(parent, before, after);
  const log = store.log(collection);
  const missing = store.missing(collection);
  const objects = store.list(collection, undefined, Number.MAX_SAFE_INTEGER);
  const place = (id: ObjectId) => stableMod(id.hash, after);
  const tail = logTail({ info, log });
  const inherited: PgInfo = { ...info, pgNum: after, logTail: tail };
  const logOf = (seed: number) =>
    log.filter(({ objects: of }) => of.length === 0 || of.some((id) => place(id) === seed));
  for (const child of children) {
    const mine = (id: ObjectId) => place(id) === child.seed;
    const to = formatPgId(child);
    write(store, to, [
      // Of an attempt that a crash ended.
      { op: 'removeAll' },
      { op: 'missing', add: [], remove: store.missing(to) },
      { op: 'missing', add: missing.filter(mine), remove: [] },
      { op: 'replaceLog', entries: logOf(child.seed) },
      { op: 'pgInfo', info: inherited },
    ]);
    for (const id of objects.filter(mine)) {
      const object = store.dump(collection, id);
      if (object) write(store, to, [{ op: 'install', object }]);
    }
  }
  const gone = (id: ObjectId) => place(id) !== parent.seed;
  write(store, collection, [
    ...objects.filter(gone).map((id) => ({ op: 'remove', id }) as const),
    { op: 'missing', add: [], remove: missing.filter(gone) },
    { op: 'replaceLog', entries: logOf(parent.seed) },
    { op: 'pgInfo', info: inherited },
  ]);
  return children;
}

/** A store that does not take it has failed, and its OSD with it. */
function write(store: ObjectStore, collection: string, ops: readonly StoreOp[]): void {
  store.apply({ collection, ops }).catch(() => {});
}
