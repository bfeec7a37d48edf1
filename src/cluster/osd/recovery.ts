/** Makes one OSD's copy of a PG equal to another's, when their logs share nothing: by copying all of it. */

import { RadosError } from '../../base/errors.js';
import type { PgId } from '../../encoding/types.js';
import type { ObjectId } from '../store/object-id.js';
import type { ObjectStore } from '../store/object-store.js';
import { NEW_PG_INFO, type PgInfo } from '../store/pg-record.js';
import { MissingSet } from './missing-set.js';
import type { OsdPeer } from './osd-peer.js';

export interface RecoveryTarget {
  readonly pg: PgId;
  readonly since: number;
  readonly collection: string;
  readonly store: ObjectStore;
  /** Throws when the interval ended meanwhile. */
  readonly check: () => void;
  /** Lets others run. */
  readonly yield: () => Promise<void>;
}

/** Objects asked for at once. */
const PAGE_OBJECTS = 128;

export async function copyPg(target: RecoveryTarget, source: OsdPeer): Promise<void> {
  const { pg, since, collection, store, check } = target;
  const theirs = await source.history(pg, since);
  check();
  if (!theirs) throw new RadosError('ENOENT', 'the source of a recovery has no such PG');
  const { lastBackfill: _, ...own }: PgInfo = store.pgInfo(collection) ?? NEW_PG_INFO;
  // Marked first: a copy that stops half-way is a mix of two states and must never be a source.
  await setInfo(target, { ...own, complete: false });
  await copyEverything(target, source, new MissingSet(theirs.missing));
  check();
  const info: PgInfo = {
    ...own,
    complete: true,
    lastUpdate: theirs.info.lastUpdate,
    lastUserVersion: theirs.info.lastUserVersion,
    purgedSnaps: theirs.info.purgedSnaps,
  };
  await store.apply({
    collection,
    ops: [
      { op: 'replaceLog', entries: theirs.log },
      { op: 'missing', add: theirs.missing, remove: [] },
      { op: 'pgInfo', info },
    ],
  });
}

function setInfo({ store, collection }: RecoveryTarget, info: PgInfo): Promise<void> {
  return store.apply({ collection, ops: [{ op: 'pgInfo', info }] });
}

/** What the source itself lacks is left out: both lack it then. */
async function copyEverything(
  target: RecoveryTarget,
  source: OsdPeer,
  missing: MissingSet,
): Promise<void> {
  const { pg, since, collection, store, check } = target;
  const lacked = store.missing(collection);
  await store.apply({
    collection,
    ops: [{ op: 'removeAll' }, { op: 'missing', add: [], remove: lacked }],
  });
  let from: ObjectId | undefined;
  for (;;) {
    const page = await source.listObjects(pg, since, from, PAGE_OBJECTS + 1);
    check();
    for (const id of page.slice(0, PAGE_OBJECTS)) {
      if (missing.has(id)) continue;
      const found = await source.pull(pg, since, id);
      check();
      if (!found?.object) throw new RadosError('EAGAIN', 'the source of a recovery changes');
      await store.apply({ collection, ops: [{ op: 'install', object: found.object }] });
    }
    from = page[PAGE_OBJECTS];
    if (!from) return;
    await target.yield();
  }
}
