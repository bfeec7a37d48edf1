/** Comparing an object map with the objects (`librbd/operation/ObjectMapIterate.cc`): what is wrong is flagged as invalid. */

import { NOSNAP } from '../../encoding/types.js';
import type { ObjectBitmap } from '../../kernels/bitmap.js';
import { OBJECT_STATE, type ObjectState } from '../../kernels/object-state.js';
import { loadUnbelieved } from '../object-map/loaded-map.js';
import { dataObject } from '../layout.js';
import { listSnaps } from '../list-snaps.js';
import { trueState } from '../object-map/object-truth.js';
import { assertHasMap, assertOwned, snapshotOf } from './rebuild-object-map.js';
import { eachListed, listObjects } from './listed-objects.js';
import type { Operation, OperationContext } from './operation.js';

const { NONEXISTENT, EXISTS, PENDING, EXISTS_CLEAN } = OBJECT_STATE;

/** States as Ceph numbers them. */
export interface ObjectMapError {
  readonly objectNo: number;
  readonly marked: ObjectState;
  readonly actual: ObjectState;
}

export interface CheckRequest {
  /** NOSNAP: of the head. */
  readonly snapId: bigint;
  /** Told of each object, in any order. */
  readonly onError: (error: ObjectMapError) => void;
}

export const checkObjectMap: Operation<CheckRequest> = {
  name: 'check object map of',
  route: 'lock',
  exclusive: true,
  precheck: (image) => assertHasMap(image),

  async run(image, { snapId, onError }, context) {
    const objectMap = assertOwned(image);
    const isHead = snapId === NOSNAP;
    const snapshot = isHead ? undefined : snapshotOf(image, snapId);
    const size = snapshot ? snapshot.imageSize : image.size;
    const objectCount = image.header.layout.objectCount(size);
    const states = snapshot && (await loadUnbelieved(image, snapshot));
    // A map that cannot be loaded says of each object that it exists.
    const marked = (objectNo: number) =>
      isHead ? objectMap.head.stateOf(objectNo) : (states?.get(objectNo) ?? EXISTS);
    let isWrong = false;
    const checkOne = (objectNo: number) =>
      objectMap.alone(objectNo, context.signal, async () => {
        const versions = await listSnaps(
          image.dataIoctx,
          dataObject(image.objectPrefix, objectNo),
          context.signal,
        );
        const found = {
          objectNo,
          marked: marked(objectNo),
          actual: trueState(versions, image.header, snapId),
        };
        if (isRight(found)) return;
        isWrong = true;
        onError(found);
      });
    const list = async (part: OperationContext) => {
      const found = (await listObjects(image, objectCount, part))?.found;
      if (found) addPending(found, isHead ? objectMap.head.states : states);
      return found;
    };
    try {
      await eachListed(image, objectCount, context, list, checkOne);
    } finally {
      states?.free();
    }
    if (!isWrong) return;
    await objectMap.invalidate(isHead ? undefined : snapId);
    await image.headerUpdated();
  },
};

/** Of what does not exist, which no listing tells of, only those can be wrong. */
function addPending(found: ObjectBitmap, states: ObjectBitmap | undefined): void {
  if (!states) return;
  const end = Math.min(found.objectCount, states.objectCount);
  for (const { first, end: past } of states.runs(1 << (2 * PENDING), 0, end)) {
    found.fill(first, past, EXISTS);
  }
}

/** That an object may exist does no harm; all else is wrong, as Ceph's own check has it. */
function isRight({ marked, actual }: ObjectMapError): boolean {
  if (marked === actual) return true;
  return actual === NONEXISTENT && (marked === EXISTS || marked === EXISTS_CLEAN);
}
