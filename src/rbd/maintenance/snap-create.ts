/**
 * Creating a snapshot (`librbd/operation/SnapshotCreateRequest.cc`).
 *
 *     clients hold still -> no writes -> id from the monitors -> header -> object map -> writes, by the new header
 *                        -> clients are told of it -> clients go on
 *
 * Invariant: no write goes by the header of before once the snapshot may be in it, or it would change the snapshot.
 *
 * What fails before the header has the snapshot leaves nothing behind; what fails after leaves the snapshot.
 */

import { isRadosError, RadosError, toRadosError } from '../../base/errors.js';
import { mutate } from '../../rados/class-call.js';
import { addSnapshot } from '../../rados/cls-rbd.js';
import { FULL_TRY } from '../full-try.js';
import { headerObject } from '../names.js';
import { SNAP_CREATE_FLAG } from '../notify-payloads.js';
import type { OpenImage } from '../open-image.js';
import { snapshotNamed } from '../snapshots.js';
import type { Operation, OperationContext, RequestOf } from './operation.js';
import { forgetOldRecords, recordedFor, recordOf } from './request-records.js';

type SnapCreate = RequestOf<'snapCreate'>;

/** Other clients of an image without a lock may be creating snapshots at the same time: each gets a higher id. */
const ID_ATTEMPTS_MAX = 32;

export const snapCreate: Operation<SnapCreate> = {
  name: 'snap create',
  route: 'owner',
  exclusive: true,
  doneErrors: new Set(['EEXIST']),

  precheck(image, request) {
    if (snapshotNamed(image.header, request)) throw existsAlready(request);
  },

  // Before it was asked for there was none of that name.
  async isDone(image, request, requestId) {
    const snapshot = snapshotNamed(image.header, request);
    return snapshot !== undefined && (await recordedFor(image, snapshot.id, requestId)) !== 'other';
  },

  async run(image, request, context) {
    const existing = snapshotNamed(image.header, request);
    if (existing) {
      const made = await recordedFor(image, existing.id, context.requestId);
      if (made === 'own' || (made === 'none' && context.retried)) return;
      throw existsAlready(request);
    }
    if (request.namespace.type === 'unknown') {
      throw new RadosError('EOPNOTSUPP', 'a snapshot of a kind that this version does not know');
    }
    const letGo = await holdStill(image, request.flags);
    try {
      context.signal.throwIfAborted();
      await take(image, request, context);
      await image.announceHeader();
    } finally {
      await letGo();
    }
    context.onProgress(1, 1);
    await forgetOldRecords(image);
  },
};

function existsAlready({ name }: SnapCreate): RadosError {
  return new RadosError('EEXIST', `there is a snapshot '${name}' already`, {
    outcome: 'not-applied',
  });
}

/** Applications that registered for it bring what they have on the disk in order. */
async function holdStill(image: OpenImage, flags: bigint): Promise<() => Promise<void>> {
  if (flags & SNAP_CREATE_FLAG.SKIP_NOTIFY_QUIESCE) return () => Promise.resolve();
  try {
    return await image.quiesceClients();
  } catch (error) {
    if (flags & SNAP_CREATE_FLAG.IGNORE_NOTIFY_QUIESCE_ERROR) return () => Promise.resolve();
    throw error;
  }
}

async function take(
  image: OpenImage,
  request: SnapCreate,
  context: OperationContext,
): Promise<void> {
  const resume = await image.quiesceWrites();
  try {
    const snapId = await addToHeader(image, request, context);
    if ((request.flags & SNAP_CREATE_FLAG.SKIP_OBJECT_MAP) === 0n) {
      await image.objectMap?.snapshotAdded(snapId);
    }
    // By the header as it is now: what is kept back goes on with it.
    await image.refreshIfStale();
  } finally {
    resume();
  }
}

async function addToHeader(
  image: OpenImage,
  { name, namespace }: SnapCreate,
  context: OperationContext,
): Promise<bigint> {
  for (let attempt = 1; ; attempt++) {
    const snapId = await image.dataIoctx.createSelfManagedSnap();
    const record = recordOf(image, snapId, context.requestId);
    // Whatever comes of it: no write by the header that is in use.
    image.headerStale();
    try {
      const calls = [addSnapshot(name, snapId, namespace), ...record];
      await mutate(image.ioctx, headerObject(image.id), calls, FULL_TRY);
      context.changed();
      return snapId;
    } catch (error) {
      const { outcome } = toRadosError(error);
      // One that the header may have must not be given back: its data would go.
      if (outcome !== 'unknown') await giveBack(image, snapId);
      if (!isRadosError(error, 'ESTALE') || attempt === ID_ATTEMPTS_MAX) throw error;
    }
  }
}

/** An id that nobody uses costs nothing. */
async function giveBack({ context, dataIoctx, target }: OpenImage, snapId: bigint): Promise<void> {
  try {
    await dataIoctx.removeSelfManagedSnap(snapId);
  } catch (error) {
    context.environment.log.rbd.warn(
      { image: target, snapId, err: error },
      'failed to give a snapshot id back',
    );
  }
}
