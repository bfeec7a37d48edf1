/**
 * Makes one OSD's copy of a PG equal to another's.
 *
 * Two logs that share an entry agree on everything up to it, so only the objects touched after the newest shared entry
 * are copied, those of the own log included: what was written here and never acknowledged must go. Without a shared
 * entry, everything is copied.
 */

import { RadosError } from '../../base/errors.js';
import type { PgId } from '../../encoding/types.js';
import { type ObjectId, objectKey } from '../store/object-id.js';
import type { ObjectStore } from '../store/object-store.js';
import { type LogEntry, NEW_PG_INFO, type PgInfo } from '../store/pg-record.js';
import type { OsdPeer } from './osd-peer.js';

export interface RecoveryTarget {
  readonly pg: PgId;
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
  const { pg, collection, store, check } = target;
  const theirs = await source.history(pg);
  check();
  if (!theirs) throw new RadosError('ENOENT', 'the source of a recovery has no such PG');
  const own = store.pgInfo(collection) ?? NEW_PG_INFO;
  // Marked first: a copy that stops half-way is a mix of two states and must never be a source.
  await setInfo(target, { ...own, complete: false });
  const changed = own.complete ? changedObjects(store.log(collection), theirs.log) : undefined;
  if (changed) await copyObjects(target, source, changed);
  else await copyEverything(target, source);
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
      { op: 'pgInfo', info },
    ],
  });
}

function setInfo({ store, collection }: RecoveryTarget, info: PgInfo): Promise<void> {
  return store.apply({ collection, ops: [{ op: 'pgInfo', info }] });
}

/** Objects that the logs do not agree on; undefined when the logs share nothing. */
export function changedObjects(
  ours: readonly LogEntry[],
  theirs: readonly LogEntry[],
): ObjectId[] | undefined {
  const key = ({ version }: LogEntry) => `${version.epoch}'${version.version}`;
  const theirPlaces = new Map(theirs.map((entry, i) => [key(entry), i]));
  const ourShared = ours.findLastIndex((entry) => theirPlaces.has(key(entry)));
  const shared = ours[ourShared];
  if (!shared) return undefined;
  const theirShared = theirPlaces.get(key(shared)) as number;
  const changed = new Map<string, ObjectId>();
  for (const entry of [...ours.slice(ourShared + 1), ...theirs.slice(theirShared + 1)]) {
    for (const id of entry.objects) changed.set(objectKey(id), id);
  }
  return [...changed.values()];
}

async function copyObjects(
  target: RecoveryTarget,
  source: OsdPeer,
  ids: readonly ObjectId[],
): Promise<void> {
  const { pg, collection, store, check } = target;
  for (const [i, id] of ids.entries()) {
    if (i % PAGE_OBJECTS === 0) await target.yield();
    const object = await source.dumpObject(pg, id);
    check();
    await store.apply({
      collection,
      ops: [object ? { op: 'install', object } : { op: 'remove', id }],
    });
  }
}

async function copyEverything(target: RecoveryTarget, source: OsdPeer): Promise<void> {
  const { pg, collection, store, check } = target;
  await store.apply({ collection, ops: [{ op: 'removeAll' }] });
  let from: ObjectId | undefined;
  for (;;) {
    const page = await source.listObjects(pg, from, PAGE_OBJECTS + 1);
    check();
    await copyObjects(target, source, page.slice(0, PAGE_OBJECTS));
    from = page[PAGE_OBJECTS];
    if (!from) return;
  }
}
