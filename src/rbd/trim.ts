/** Removing the data objects beyond a size, for shrinking and removing images (`librbd/operation/TrimRequest.cc`). */

import type { SnapContext } from '../encoding/types.js';
import { OSD_FLAG } from '../messages/osd-messages.js';
import { deleteOp } from '../messages/osd-op.js';
import type { IoContext } from '../rados/io-context.js';
import { unless } from './errors.js';
import { dataObject, type Layout } from './layout.js';

export interface TrimOptions {
  readonly ioctx: IoContext;
  readonly layout: Layout;
  readonly objectPrefix: string;
  readonly fromSize: number;
  readonly toSize: number;
  readonly snapContext: SnapContext;
  /** Cuts the object that the boundary falls into, so that what is beyond reads as zeros. */
  readonly cut?: (objectNo: number, size: number) => Promise<void>;
  /** Takes the steps: so many at a time, and telling of each. */
  readonly each: <T>(
    items: Iterable<T>,
    total: number,
    step: (item: T) => Promise<unknown>,
  ) => Promise<void>;
}

/**
 * Deletes or cuts every object that has bytes beyond `toSize`. Whole object sets are deleted; in the set that `toSize`
 * falls into, an object is cut where its first byte beyond lies.
 *
 * Without an object map every object number is visited, whether the object exists or not.
 */
export async function trimObjects(options: TrimOptions): Promise<void> {
  const { ioctx, layout, objectPrefix, snapContext } = options;
  const objects = layout.objectCount(options.fromSize);
  const boundary = boundarySteps(options);
  const firstWhole = Math.ceil(options.toSize / layout.period) * layout.stripeCount;
  const total = boundary.length + Math.max(0, objects - firstWhole);
  await options.each(steps(boundary, firstWhole, objects), total, ({ objectNo, size }) => {
    if (size > 0) return options.cut?.(objectNo, size) ?? Promise.resolve();
    const removal = ioctx.operate(dataObject(objectPrefix, objectNo), [deleteOp()], {
      snapContext,
      // Space must be freed even when the cluster is full.
      flags: OSD_FLAG.FULL_TRY,
    });
    return unless('ENOENT', removal);
  });
}

/** What is to be left of an object: nothing, or its first `size` bytes. */
interface Step {
  objectNo: number;
  size: number;
}

/** Objects of the set that the new size falls into. */
function boundarySteps({ layout, fromSize, toSize }: TrimOptions): Step[] {
  const setEnd = Math.ceil(toSize / layout.period) * layout.period;
  const end = Math.min(setEnd, fromSize);
  if (end <= toSize) return [];
  return layout.objectExtents(toSize, end - toSize).map(({ objectNo, offset }) => ({
    objectNo,
    size: offset,
  }));
}

function* steps(boundary: readonly Step[], first: number, end: number): Generator<Step> {
  yield* boundary;
  for (let objectNo = first; objectNo < end; objectNo++) yield { objectNo, size: 0 };
}
