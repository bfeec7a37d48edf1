/**
 * Making object maps right that are not to be believed (`librbd/operation/RebuildObjectMapRequest.cc`), under I/O.
 *
 * Each object is looked at while nobody writes it, and its state stored before somebody may: so from then on the map is
 * right about it. The flags are cleared last, the head's after those of the snapshots. Interrupted, it begins anew.
 *
 * Where the objects of the pool can be listed for less, only those are looked at that are listed, or that a map has: of all
 * others it says what is true, that they do not exist, or what their writers have told it since. A map that has far more than
 * there is, as one that was lost, is emptied first, and the pool listed again: what is written from then on tells the map
 * anew, and what is being written at that moment is looked at.
 */

import { isRadosError, RadosError } from '../../base/errors.js';
import type { ObjectBitmap } from '../../kernels/bitmap.js';
import { OBJECT_STATE } from '../../kernels/object-state.js';
import { statOp } from '../../messages/osd-op.js';
import { FEATURE } from '../features.js';
import type { ImageSnapshot } from '../header.js';
import { objectMapObject } from '../names.js';
import type { ExaminedMap } from '../object-map/examined-map.js';
import { isMapInvalid } from '../object-map/map-flags.js';
import type { ObjectMap } from '../object-map/object-map.js';
import { dataObject } from '../layout.js';
import { listSnaps } from '../list-snaps.js';
import { trueState } from '../object-map/object-truth.js';
import type { OpenImage } from '../open-image.js';
import { eachListed, listObjects } from './listed-objects.js';
import { type Operation, type OperationContext, portion, type RequestOf } from './operation.js';

const { EXISTS } = OBJECT_STATE;
/** In memory at a time. Each look at an object tells of all of them. */
const MAPS_MAX = 4;

/** Of the head, and of all snapshots whose maps are invalid or missing. */
export const rebuildObjectMap: Operation<RequestOf<'rebuildObjectMap'>> = {
  name: 'rebuild object map of',
  route: 'owner',
  exclusive: true,
  precheck: (image) => assertHasMap(image),

  async run(image, _request, context) {
    const objectMap = assertOwned(image);
    const snapshots = await invalidSnapshots(image);
    const passes: ImageSnapshot[][] = [];
    while (snapshots.length >= MAPS_MAX) passes.push(snapshots.splice(0, MAPS_MAX));
    for (const [pass, some] of [...passes, snapshots].entries()) {
      const maps = await Promise.all(some.map((each) => objectMap.examineSnapshot(each)));
      if (pass === passes.length) maps.push(await objectMap.examineHead());
      await correct(image, objectMap, maps, {
        ...context,
        onProgress: (done, total) =>
          context.onProgress(pass * total + done, (passes.length + 1) * total),
      });
    }
    await image.headerUpdated();
  },
};

/** Of one snapshot, whatever its map is like. Not done for others: the request that clients send has no room for it. */
export const rebuildSnapshotMap: Operation<{ readonly snapId: bigint }> = {
  name: 'rebuild object map of',
  route: 'lock',
  exclusive: true,
  precheck: (image) => assertHasMap(image),

  async run(image, { snapId }, context) {
    const objectMap = assertOwned(image);
    const map = await objectMap.examineSnapshot(snapshotOf(image, snapId));
    await correct(image, objectMap, [map], context);
    await image.headerUpdated();
  },
};

export function assertHasMap({ features }: OpenImage): void {
  if (features & FEATURE.OBJECT_MAP) return;
  throw new RadosError('EINVAL', 'image must support object-map feature', {
    outcome: 'not-applied',
  });
}

export function assertOwned(image: OpenImage): ObjectMap {
  assertHasMap(image);
  const { objectMap } = image;
  if (objectMap) return objectMap;
  throw new RadosError('EAGAIN', 'the object map is not loaded', { retryable: true });
}

export function snapshotOf({ header }: OpenImage, snapId: bigint): ImageSnapshot {
  const snapshot = header.snapshots.find(({ id }) => id === snapId);
  if (!snapshot) throw new RadosError('ENOENT', 'the image has no such snapshot');
  return snapshot;
}

async function invalidSnapshots({ header, ioctx, id }: OpenImage): Promise<ImageSnapshot[]> {
  const found: ImageSnapshot[] = [];
  for (const snapshot of header.snapshots) {
    if (isMapInvalid(snapshot.flags)) found.push(snapshot);
    else {
      try {
        await ioctx.operate(objectMapObject(id, snapshot.id), [statOp()]);
      } catch (error) {
        if (!isRadosError(error, 'ENOENT')) throw error;
        found.push(snapshot);
      }
    }
  }
  return found;
}

async function correct(
  image: OpenImage,
  objectMap: ObjectMap,
  maps: readonly ExaminedMap[],
  context: OperationContext,
): Promise<void> {
  try {
    await correctAll(image, objectMap, maps, context);
    for (const map of maps) await map.validate();
  } finally {
    for (const map of maps) map.free();
  }
}

async function correctAll(
  image: OpenImage,
  objectMap: ObjectMap,
  maps: readonly ExaminedMap[],
  context: OperationContext,
): Promise<void> {
  const total = Math.max(...maps.map(({ objectCount }) => objectCount));
  const correctOne = (objectNo: number) =>
    objectMap.alone(objectNo, context.signal, async () => {
      const versions = await listSnaps(
        image.dataIoctx,
        dataObject(image.objectPrefix, objectNo),
        context.signal,
      );
      await Promise.all(
        maps.map(async (map) => {
          if (objectNo >= map.objectCount) return;
          const state = trueState(versions, image.header, map.snapId);
          if (map.states.get(objectNo) !== state) await map.correct(objectNo, state);
        }),
      );
    });
  const listThose = (part: OperationContext) => list(image, objectMap, maps, total, part);
  await eachListed(image, total, context, listThose, correctOne);
}

/** Undefined: to look at each of the objects takes no longer. */
async function list(
  image: OpenImage,
  objectMap: ObjectMap,
  maps: readonly ExaminedMap[],
  total: number,
  context: OperationContext,
): Promise<ObjectBitmap | undefined> {
  const listed = await listObjects(image, total, portion(context, 0, 0.5));
  if (!listed) return undefined;
  const listedCount = total - listed.found.count().nonexistent;
  const marked = maps.map(({ states, objectCount }) => objectCount - states.count().nonexistent);
  if (Math.max(...marked) <= listedCount + listed.probes) {
    for (const { states } of maps) addExisting(listed.found, states);
    return listed.found;
  }
  listed.found.free();
  for (const map of maps) await map.empty();
  const busy = objectMap.busyObjects();
  const again = await listObjects(image, total, portion(context, 0.5, 1));
  for (const objectNo of busy) if (objectNo < total) again?.found.set(objectNo, EXISTS);
  return again?.found;
}

function addExisting(found: ObjectBitmap, states: ObjectBitmap): void {
  const end = Math.min(found.objectCount, states.objectCount);
  for (const { first, end: past } of states.occupied(0, end)) found.fill(first, past, EXISTS);
}
