/** Giving a snapshot another name (`librbd/operation/SnapshotRenameRequest.cc`). */

import { RadosError } from '../../base/errors.js';
import { mutate } from '../../rados/class-call.js';
import { renameSnapshot, USER_NAMESPACE } from '../../rados/cls-rbd.js';
import { findSnapshot } from '../header.js';
import { headerObject } from '../names.js';
import type { OpenImage } from '../open-image.js';
import { snapshotNamed } from '../snapshots.js';
import type { Operation, RequestOf } from './operation.js';

type SnapRename = RequestOf<'snapRename'>;

export const snapRename: Operation<SnapRename> = {
  name: 'snap rename',
  route: 'anyone',
  exclusive: true,
  doneErrors: new Set(['EEXIST']),

  precheck: assertPossible,

  isDone: ({ header }, { snapId, name }) => findSnapshot(header, { snapId })?.name === name,

  async run(image, request, context) {
    assertPossible(image, request);
    const { snapId, name } = request;
    await mutate(image.ioctx, headerObject(image.id), [renameSnapshot(snapId, name)]);
    context.changed();
    await image.headerUpdated();
  },
};

function assertPossible({ header }: OpenImage, { snapId, name }: SnapRename): void {
  if (!findSnapshot(header, { snapId })) {
    throw new RadosError('ENOENT', `there is no snapshot ${snapId}`, { outcome: 'not-applied' });
  }
  if (snapshotNamed(header, { name, namespace: USER_NAMESPACE })) {
    throw new RadosError('EEXIST', `there is a snapshot '${name}' already`, {
      outcome: 'not-applied',
    });
  }
}
