/** Removing the data objects beyond a size, for shrinking and removing images (`librbd/operation/TrimRequest.cc`). */

import type { SnapContext } from '../encoding/types.js';
import { OSD_FLAG } from '../messages/osd-messages.js';
import { deleteOp } from '../messages/osd-op.js';
import { madeNow, type SendGate } from '../osd-client/request.js';
import type { IoContext } from '../rados/io-context.js';
import { unless } from './errors.js';
import { dataObject, type Layout } from './layout.js';
import type { MaintainedObjectMap } from './object-states.js';

/** What is asked of an object map here. */
export type TrimmedMap = Pick<
  MaintainedObjectMap,
  'nextExisting' | 'countExisting' | 'removeRange'
>;

export interface TrimOptions {
  readonly ioctx: IoContext;
  readonly layout: Layout;
  readonly objectPrefix: string;
  readonly fromSize: number;
  readonly toSize: number;
  /** Read for each object: of an image without an exclusive lock anybody may take snapshots meanwhile. */
  readonly snapContext: SnapContext;
  /** Asked again as each removal is sent: where it says no, the step rejects with a `HeldBackError`. */
  readonly gate?: SendGate | undefined;
  /** Says which objects there are, and is told of their removal. */
  readonly objectMap: TrimmedMap | undefined;
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
 * Deletes every object that lies beyond `toSize`, and cuts those that have bytes on both sides of it. Without an object map
 * every object number is visited, whether the object exists or not.
 */
export async function trimObjects(options: TrimOptions): Promise<void> {
  const { layout, objectMap, each } = options;
  const first = layout.objectCount(options.toSize);
  const end = layout.objectCount(options.fromSize);
  const cuts = cutSteps(options);
  const removals = objectMap ? objectMap.countExisting(first, end) : Math.max(0, end - first);
  const trim = () =>
    each(steps(cuts, first, end, objectMap), cuts.length + removals, (step) =>
      takeStep(options, step),
    );
  await (objectMap ? objectMap.removeRange(first, end, trim) : trim());
}

/** What is to be left of an object: nothing, or its first `size` bytes. */
interface Step {
  objectNo: number;
  size: number;
}

/** Of the set of objects that the new size falls into. */
function cutSteps({ layout, fromSize, toSize }: TrimOptions): Step[] {
  const setEnd = Math.ceil(toSize / layout.period) * layout.period;
  const end = Math.min(setEnd, fromSize);
  if (end <= toSize) return [];
  return layout
    .objectExtents(toSize, end - toSize)
    .filter(({ offset }) => offset > 0)
    .map(({ objectNo, offset }) => ({ objectNo, size: offset }));
}

function* steps(
  cuts: readonly Step[],
  first: number,
  end: number,
  objectMap: TrimmedMap | undefined,
): Generator<Step> {
  yield* cuts;
  for (let at = first; at < end; at++) {
    const objectNo = objectMap ? objectMap.nextExisting(at, end) : at;
    if (objectNo < 0) return;
    yield { objectNo, size: 0 };
    at = objectNo;
  }
}

async function takeStep(
  { ioctx, objectPrefix, snapContext, gate, cut }: TrimOptions,
  { objectNo, size }: Step,
): Promise<void> {
  if (size > 0) return cut?.(objectNo, size);
  // Space must be freed even when the cluster is full.
  const options = madeNow({ snapContext, flags: OSD_FLAG.FULL_TRY }, gate);
  await unless('ENOENT', ioctx.operate(dataObject(objectPrefix, objectNo), [deleteOp()], options));
}
