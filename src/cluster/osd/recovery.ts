/** Makes one OSD's copy of a PG equal to another's, when their logs share nothing: by copying all of it. */

import { RadosError } from '../../base/errors.js';
import type { PgId } from '../../encoding/types.js';
import type { ObjectId } from '../store/object-id.js';
import { MissingSet } from './missing-set.js';
import type { OsdPeer } from './osd-peer.js';
import type { PgStorage } from './pg-storage.js';

export interface RecoveryTarget {
  readonly pg: PgId;
  readonly since: number;
  readonly storage: PgStorage;
  /** Throws when the interval ended meanwhile. */
  readonly check: () => void;
  /** Lets others run. */
  readonly yield: () => Promise<void>;
}

/** Objects asked for at once. */
const PAGE_OBJECTS = 128;

/** Rejects with ESTALE when the copy was begun anew meanwhile. */
export async function copyPg(target: RecoveryTarget, source: OsdPeer): Promise<void> {
  const { pg, since, storage, check } = target;
  const theirs = await source.history(pg, since);
  check();
  if (!theirs) throw new RadosError('ENOENT', 'the source of a recovery has no such PG');
  const copy = storage.beginCopy();
  await copy.begun;
  // What the source itself lacks is left out: both lack it then.
  const missing = new MissingSet(theirs.missing);
  let from: ObjectId | undefined;
  do {
    const page = await source.listObjects(pg, since, from, PAGE_OBJECTS + 1);
    check();
    for (const id of page.slice(0, PAGE_OBJECTS)) {
      if (missing.has(id)) continue;
      const found = await source.pull(pg, since, id, theirs.info.lastUpdate);
      check();
      if (!found?.object) throw new RadosError('EAGAIN', 'the source of a recovery changes');
      await copy.install(found.object);
    }
    from = page[PAGE_OBJECTS];
    await target.yield();
    check();
  } while (from);
  await copy.end(theirs);
}
