/**
 * What is in the pools of a cluster that has settled: every object of an image belongs to one that is there, or that waits in
 * the trash, and no object keeps what only a removed snapshot needed.
 */

import type { OsdDaemon } from '../../cluster/osd-daemon.js';
import type { ObjectId } from '../../cluster/store/object-id.js';
import { formatObject } from '../../cluster/store/object-id.js';
import type { StoredObject } from '../../cluster/store/object-store.js';
import { formatPgId, NOSNAP } from '../../encoding/types.js';
import { intervalsContain } from '../../osdmap/interval-set.js';
import { RBD_DIRECTORY, RBD_TRASH } from '../../rbd/names.js';
import type { Violation } from './violation.js';

const OBJECT_OF_IMAGE = /^rbd_(?:data|header|object_map)\.([0-9A-Za-z]+)(?:\.|$)/;
const OBJECT_OF_NAME = /^rbd_id\.(.*)$/;
const ID_PREFIX = 'id_';
const NAME_PREFIX = 'name_';

interface Kept {
  readonly id: ObjectId;
  readonly object: StoredObject;
  readonly primary: OsdDaemon;
}

/** The first clone that a removed snapshot has left. `osds`: all that run; nothing is being trimmed. */
export function checkTrimmed(osds: ReadonlyMap<number, OsdDaemon>): Violation[] {
  for (const { id, object, primary } of heads(osds)) {
    const removed = primary.view.map.removedSnapsQueue.get(id.pool) ?? [];
    for (const { snaps } of object.meta.snapSet.clones) {
      const snap = snaps.find((each) => intervalsContain(removed, each));
      if (snap === undefined) continue;
      const message = `${formatObject(id)} has a clone of snapshot ${snap}, which was removed`;
      return [{ checker: 'maintenance', message }];
    }
  }
  return [];
}

/**
 * Objects of images that are not there. What is half made or half removed is in the directory or in the trash, and whoever
 * removes it finishes that. Only of a rename that was interrupted an id object may stay: `halfNames` are those of before and
 * after.
 */
export function checkOrphans(
  osds: ReadonlyMap<number, OsdDaemon>,
  halfNames: readonly string[] = [],
): Violation[] {
  const kept = [...heads(osds)].filter(({ object }) => !object.meta.info.whiteout);
  const keysOf = (oid: string, prefix: string) => {
    const { object } = kept.find(({ id }) => id.oid === oid) ?? {};
    const keys = [...(object?.omapFrom(prefix) ?? [])].map(([key]) => key);
    return keys.filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length));
  };
  const names = new Set([...keysOf(RBD_DIRECTORY, NAME_PREFIX), ...halfNames]);
  const ids = new Set([...keysOf(RBD_DIRECTORY, ID_PREFIX), ...keysOf(RBD_TRASH, ID_PREFIX)]);
  const orphans = kept.filter(({ id: { oid } }) => {
    const [, name] = OBJECT_OF_NAME.exec(oid) ?? [];
    if (name !== undefined) return !names.has(name);
    const [, image] = OBJECT_OF_IMAGE.exec(oid) ?? [];
    return image !== undefined && !ids.has(image);
  });
  const [first] = orphans;
  if (!first) return [];
  const message = `${orphans.length} objects belong to no image: ${formatObject(first.id)}`;
  return [{ checker: 'maintenance', message }];
}

/** Of each object the newest version, as the primary of its PG has it. */
function* heads(osds: ReadonlyMap<number, OsdDaemon>): Generator<Kept> {
  const [any] = osds.values();
  if (!any) return;
  const { map, placement } = any.view;
  for (const [pool, { pgNum }] of map.pools) {
    for (let seed = 0; seed < pgNum; seed++) {
      const primary = osds.get(placement.pgToUpActing({ pool, seed }).actingPrimary);
      if (!primary) continue;
      const collection = formatPgId({ pool, seed });
      for (const id of primary.store.list(collection, undefined, Number.MAX_SAFE_INTEGER)) {
        const object = id.snap === NOSNAP ? primary.store.get(collection, id) : undefined;
        if (object) yield { id, object, primary };
      }
    }
  }
}
