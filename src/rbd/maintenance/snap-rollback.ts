/**
 * Making the head what a snapshot is (`librbd/operation/SnapshotRollbackRequest.cc`).
 *
 *     no writes -> size -> object map: what is in either -> objects -> object map: what is in the snapshot
 *
 * The parent stays as it is: what the head sees no more of it, since it was cut or flattened, was copied up for the snapshot.
 *
 * One that ends half-way leaves a head that is neither; the next one begins anew. Who begins one goes on until it is done: if
 * another client gets the lock in between, it is taken back.
 */

import { madeNow } from '../../osd-client/request.js';
import { RadosError } from '../../base/errors.js';
import { rollbackOp } from '../../messages/osd-op.js';
import { findSnapshot, type ImageSnapshot } from '../header.js';
import { dataObject } from '../layout.js';
import type { OpenImage } from '../open-image.js';
import { eachObject, type Operation, type OperationContext } from './operation.js';
import { resize } from './resize.js';

export interface SnapRollback {
  readonly snapId: bigint;
}

export const snapRollback: Operation<SnapRollback> = {
  name: 'snap rollback',
  route: 'free-lock',
  exclusive: true,

  precheck(image, request) {
    find(image, request);
  },

  async run(image, request, context) {
    const snapshot = find(image, request);
    const resume = await image.quiesceWrites();
    try {
      await matchSize(image, snapshot, context);
      await rollBackObjects(image, snapshot, context);
    } finally {
      resume();
    }
    await image.headerUpdated();
  },
};

function find({ header }: OpenImage, { snapId }: SnapRollback): ImageSnapshot {
  const snapshot = findSnapshot(header, { snapId });
  if (snapshot) return snapshot;
  throw new RadosError('ENOENT', `there is no snapshot ${snapId}`, { outcome: 'not-applied' });
}

async function matchSize(
  image: OpenImage,
  { imageSize: size }: ImageSnapshot,
  context: OperationContext,
): Promise<void> {
  if (image.size === size) return;
  const request = { op: 'resize', size, allowShrink: true } as const;
  await resize.run(image, request, { ...context, onProgress: () => undefined });
}

async function rollBackObjects(
  image: OpenImage,
  snapshot: ImageSnapshot,
  context: OperationContext,
): Promise<void> {
  const { objectMap, dataIoctx, objectPrefix, objectCount } = image;
  await objectMap?.rollingBack(snapshot.id);
  const total = objectMap?.countExisting(0, objectCount) ?? objectCount;
  await eachObject(image, context, objectNumbers(image), total, (objectNo) => {
    // Read for each object: of an image without an exclusive lock anybody may take snapshots meanwhile.
    const options = madeNow({ snapContext: image.header.snapContext }, image.sendGate);
    const oid = dataObject(objectPrefix, objectNo);
    return dataIoctx.operate(oid, [rollbackOp(snapshot.id)], options);
  });
  await objectMap?.rolledBack(snapshot.id);
}

/** Of those that may exist in either. */
function* objectNumbers({ objectMap, objectCount }: OpenImage): Generator<number> {
  for (let objectNo = 0; objectNo < objectCount; objectNo++) {
    if (objectMap) objectNo = objectMap.nextExisting(objectNo, objectCount);
    if (objectNo < 0) return;
    yield objectNo;
  }
}
