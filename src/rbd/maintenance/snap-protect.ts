/**
 * Protecting a snapshot from its removal, for clones of format 1 that will need it, and ending that
 * (`librbd/operation/SnapshotProtectRequest.cc`, `SnapshotUnprotectRequest.cc`).
 *
 *     unprotect    unprotecting: no new clones -> are there any, in any pool? -> unprotected
 *                                                  \-> protected, as before
 */

import { RadosError } from '../../base/errors.js';
import { mutate } from '../../rados/class-call.js';
import { PROTECTION, setProtectionStatus } from '../../rados/cls-rbd.js';
import { format1Children } from '../children.js';
import { FEATURE } from '../features.js';
import type { ImageSnapshot } from '../header.js';
import { headerObject } from '../names.js';
import type { OpenImage } from '../open-image.js';
import { snapshotNamed } from '../snapshots.js';
import type { Operation, RequestOf } from './operation.js';

type Request = RequestOf<'snapProtect'> | RequestOf<'snapUnprotect'>;

export const snapProtect: Operation<RequestOf<'snapProtect'>> = {
  name: 'snap protect',
  route: 'anyone',
  exclusive: true,
  doneErrors: new Set(['EBUSY']),

  precheck(image, request) {
    assertNotYet(find(image, request));
  },

  isDone: ({ header }, request) => snapshotNamed(header, request)?.isProtected === true,

  async run(image, request, context) {
    const snapshot = find(image, request);
    assertNotYet(snapshot);
    await setStatus(image, snapshot, PROTECTION.PROTECTED);
    context.changed();
    await image.headerUpdated();
  },
};

export const snapUnprotect: Operation<RequestOf<'snapUnprotect'>> = {
  name: 'snap unprotect',
  route: 'anyone',
  exclusive: true,
  doneErrors: new Set(['EINVAL']),

  precheck(image, request) {
    assertStill(find(image, request));
  },

  isDone: ({ header }, request) =>
    snapshotNamed(header, request)?.protectionStatus === PROTECTION.UNPROTECTED,

  async run(image, request, context) {
    const snapshot = find(image, request);
    assertStill(snapshot);
    await setStatus(image, snapshot, PROTECTION.UNPROTECTING);
    try {
      await assertNoClones(image, snapshot);
    } catch (error) {
      await setStatus(image, snapshot, PROTECTION.PROTECTED).catch((failure: unknown) => {
        context.changed();
        throw failure;
      });
      throw error;
    }
    context.changed();
    await setStatus(image, snapshot, PROTECTION.UNPROTECTED);
    await image.headerUpdated();
  },
};

function find({ header }: OpenImage, request: Request): ImageSnapshot {
  if ((header.features & FEATURE.LAYERING) === 0n)
    throw refusal('ENOSYS', 'the image lacks feature layering');
  const snapshot = snapshotNamed(header, request);
  if (!snapshot) throw refusal('ENOENT', `there is no snapshot '${request.name}'`);
  return snapshot;
}

/** One that somebody began to unprotect, and did not get on with, is protected again. */
function assertNotYet({ name, isProtected }: ImageSnapshot): void {
  if (isProtected) throw refusal('EBUSY', `snapshot '${name}' is protected already`);
}

function assertStill({ name, protectionStatus }: ImageSnapshot): void {
  if (protectionStatus !== PROTECTION.UNPROTECTED) return;
  throw refusal('EINVAL', `snapshot '${name}' is not protected`);
}

const setStatus = ({ ioctx, id }: OpenImage, snapshot: ImageSnapshot, status: number) =>
  mutate(ioctx, headerObject(id), [setProtectionStatus(snapshot.id, status)]);

async function assertNoClones(image: OpenImage, snapshot: ImageSnapshot): Promise<void> {
  const { context, ioctx, id } = image;
  // One may be in a pool that was created a moment ago.
  await context.waitForLatestMap();
  for await (const { ioctx: pool, imageIds } of format1Children(context, ioctx, id, snapshot.id)) {
    const which = `${imageIds.length} clones in pool ${pool.pool.name}: id ${imageIds[0]}`;
    throw refusal('EBUSY', `snapshot '${snapshot.name}' has ${which}`);
  }
}

function refusal(code: 'EBUSY' | 'EINVAL' | 'ENOENT' | 'ENOSYS', why: string): RadosError {
  return new RadosError(code, why, { outcome: 'not-applied' });
}
