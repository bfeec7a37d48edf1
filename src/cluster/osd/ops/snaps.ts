/** ROLLBACK and LIST_SNAPS. */

import { ERRNO } from '../../../base/errors.js';
import { encode } from '../../../encoding/encoder.js';
import { NOSNAP } from '../../../encoding/types.js';
import type { OpContext } from '../op-context.js';
import { intersectRanges, type Ranges, subtractRanges, unionRange } from '../../../base/ranges.js';
import { resolveSnap } from '../snapshots.js';
import { deleteObject } from './data-writes.js';
import { argOf, type OpHandler } from './live-op.js';

export const rollback: OpHandler = (ctx, op) => rollbackTo(ctx, argOf(op, 'snap').snapid);

/** Makes the head what it was at a snapshot; deletes it when it did not exist then (`_rollback_to`). */
export function rollbackTo(ctx: OpContext, snapid: bigint): number {
  const target = resolveSnap(ctx.pg, ctx.id, snapid);
  if (typeof target === 'number') {
    if ((ctx.before?.meta.info.watchers.length ?? 0) > 0) return -ERRNO.EBUSY;
    deleteObject(ctx);
    return 0;
  }
  if (target.snap === NOSNAP) {
    // Not written since: the content is right already, but a snapshot may need its clone now.
    ctx.dirty = true;
    return 0;
  }
  const source = ctx.pg.store.get(ctx.pg.collection, target);
  if (!source) return -ERRNO.ENOENT;
  ctx.change({ op: 'remove', id: ctx.id });
  ctx.change({ op: 'clone', from: target, to: ctx.id });
  ctx.dataDigest = source.meta.info.dataDigest;

  // What the head shares with the clone rolled back to, it shares with every clone in between.
  const chain = ctx.snapSet.clones.filter(({ id }) => id >= target.snap);
  const shared = chain
    .map((clone): Ranges => clone.overlap)
    .reduce(intersectRanges, [[0, Number.MAX_SAFE_INTEGER]]);
  for (const [start, end] of subtractRanges([[0, ctx.size]], shared)) {
    ctx.modified = unionRange(ctx.modified, start, end);
  }
  ctx.exists = true;
  ctx.size = source.size;
  ctx.hasOmap = source.omapSize > 0 || source.omapHeader.length > 0;
  ctx.info = { ...ctx.info, whiteout: false };
  return 0;
}

export const listSnaps: OpHandler = (ctx, op) => {
  const { seq, clones } = ctx.snapSet;
  const head = ctx.info.whiteout ? [] : [{ id: NOSNAP, snaps: [], overlap: [], size: ctx.size }];
  const versions = [...clones, ...head];
  op.outdata = encode((e) =>
    e.struct(2, 1, () => {
      e.u32(versions.length);
      for (const { id, snaps, overlap, size } of versions) {
        e.struct(1, 1, () => {
          e.u64(id).u32(snaps.length);
          for (const snap of [...snaps].reverse()) e.u64(snap);
          e.u32(overlap.length);
          for (const [start, end] of overlap) e.u64n(start).u64n(end - start);
          e.u64n(size);
        });
      }
      e.u64(seq);
    }),
  );
  return 0;
};
