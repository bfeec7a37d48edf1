/** Clones of an object: which one a snapshot reads, when a write makes one, and how one goes away. */

import { ERRNO } from '../../base/errors.js';
import { MAXSNAP, NOSNAP, type SnapContext } from '../../encoding/types.js';
import { atSnap, type ObjectId } from '../store/object-id.js';
import { type CloneInfo, EMPTY_SNAPSET, type SnapSet } from '../store/object-meta.js';
import type { ObjectStore } from '../store/object-store.js';
import type { StoreOp } from '../store/transaction.js';
import type { OpContext, PgView } from './op-context.js';
import { intersectRanges, subtractRanges } from '../../base/ranges.js';

/** An object's history; empty when the object does not exist. */
export function snapSetOf(store: ObjectStore, collection: string, head: ObjectId): SnapSet {
  return store.get(collection, head)?.meta.snapSet ?? EMPTY_SNAPSET;
}

/**
 * What a read at `snap` sees: the head when it was not written since, else the clone that was made for the snapshot
 * (`find_object_context`). An errno when there is neither.
 */
export function resolveSnap(pg: PgView, head: ObjectId, snap: bigint): ObjectId | number {
  if (snap === NOSNAP) return head;
  if (pg.isRemovedSnap(snap)) return -ERRNO.ENOENT;
  const object = pg.store.get(pg.collection, head);
  if (!object) return -ERRNO.ENOENT;
  const { snapSet, info } = object.meta;
  if (snap > snapSet.seq) return info.whiteout ? -ERRNO.ENOENT : head;
  const clone = snapSet.clones.find(({ id }) => id >= snap);
  return clone?.snaps.includes(snap) ? atSnap(head, clone.id) : -ERRNO.ENOENT;
}

/** Strictly descending, none above `seq`; 0 may only stand alone (`SnapContext::is_valid`). */
export function isValidSnapContext({ seq, snaps }: SnapContext): boolean {
  if (seq > MAXSNAP) return false;
  return snaps.every((snap, i) => {
    const above = snaps[i - 1];
    return above === undefined ? snap <= seq : snap < above && above !== 0n;
  });
}

/**
 * Before a write takes effect (`make_writeable`): clones the head for snapshots taken since its last write, and
 * takes the written ranges out of the newest clone's overlap. Returns the clone's id when it made one.
 */
export function makeWriteable(ctx: OpContext): ObjectId | undefined {
  const { visibleBefore, snapContext } = ctx;
  const { seq } = ctx.snapSet;
  let clones = ctx.snapSet.clones;
  let cloneId: ObjectId | undefined;
  const newest = snapContext.snaps[0];
  if (visibleBefore && newest !== undefined && newest > seq) {
    cloneId = atSnap(ctx.id, snapContext.seq);
    const size = visibleBefore.size;
    const clone: CloneInfo = {
      id: snapContext.seq,
      snaps: snapContext.snaps.filter((snap) => snap > seq),
      size,
      overlap: size > 0 ? [[0, size]] : [],
    };
    clones = [...clones, clone];
    const { info } = visibleBefore.meta;
    // First: the clone is the head as it was before the vector.
    ctx.changes.unshift(
      { op: 'clone', from: ctx.id, to: cloneId },
      {
        op: 'setMeta',
        id: cloneId,
        meta: { info: { ...info, watchers: [] }, snapSet: EMPTY_SNAPSET },
      },
    );
  }
  const last = clones.at(-1);
  if (last && ctx.modified.length > 0) {
    const overlap = subtractRanges(last.overlap, ctx.modified);
    clones = [...clones.slice(0, -1), { ...last, overlap }];
  }
  ctx.snapSet = { seq: snapContext.seq > seq ? snapContext.seq : seq, clones };
  return cloneId;
}

/** A snapshot left one clone's list (`trim_object`): the store operations, and the ids that they touch. */
export function trimSnap(
  store: ObjectStore,
  collection: string,
  head: ObjectId,
  snap: bigint,
): { ops: StoreOp[]; objects: ObjectId[] } | undefined {
  const object = store.get(collection, head);
  const at = object?.meta.snapSet.clones.findIndex(({ snaps }) => snaps.includes(snap)) ?? -1;
  if (!object || at < 0) return undefined;
  const { info, snapSet } = object.meta;
  const clones = [...snapSet.clones];
  const clone = clones[at] as CloneInfo;
  const snaps = clone.snaps.filter((other) => other !== snap);
  const cloneId = atSnap(head, clone.id);
  const ops: StoreOp[] = [];
  if (snaps.length > 0) {
    clones[at] = { ...clone, snaps };
  } else {
    const older = clones[at - 1];
    if (older) {
      clones[at - 1] = { ...older, overlap: intersectRanges(older.overlap, clone.overlap) };
    }
    clones.splice(at, 1);
    ops.push({ op: 'remove', id: cloneId });
  }
  if (clones.length === 0 && info.whiteout) ops.push({ op: 'remove', id: head });
  else ops.push({ op: 'setMeta', id: head, meta: { info, snapSet: { ...snapSet, clones } } });
  return { ops, objects: [cloneId, head] };
}
