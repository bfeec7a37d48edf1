/** Removes the clones of removed snapshots, object by object, between the clients' requests. */

import type { IntervalSet } from '../../encoding/types.js';
import { intervalsContain } from '../../osdmap/interval-set.js';
import type { ObjectId } from '../store/object-id.js';
import type { ObjectStore } from '../store/object-store.js';

export interface TrimTarget {
  readonly store: ObjectStore;
  readonly collection: string;
  /** Takes one snapshot out of one object: a logged change. Resolves when it is committed. */
  readonly trim: (head: ObjectId, snap: bigint) => Promise<void>;
  /** Lets others run; throws when the interval ended. */
  readonly yield: () => Promise<void>;
}

/** Objects looked at in one turn. */
const PAGE_OBJECTS = 256;

export async function trimSnaps(target: TrimTarget, removed: IntervalSet): Promise<void> {
  const { store, collection } = target;
  let from: ObjectId | undefined;
  for (;;) {
    const page = store.list(collection, from, PAGE_OBJECTS + 1);
    for (const id of page.slice(0, PAGE_OBJECTS)) {
      const clones = store.get(collection, id)?.meta.snapSet.clones ?? [];
      for (const { snaps } of clones) {
        for (const snap of snaps) {
          if (intervalsContain(removed, snap)) await target.trim(id, snap);
        }
      }
    }
    from = page[PAGE_OBJECTS];
    if (!from) return;
    await target.yield();
  }
}
