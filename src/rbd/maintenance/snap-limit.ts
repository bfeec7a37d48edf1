/** How many snapshots an image may have (`librbd/operation/SnapshotLimitRequest.cc`). Those who create them are held to it by the OSD. */

import { mutate } from '../../rados/class-call.js';
import { setSnapshotLimit } from '../../rados/cls-rbd.js';
import { headerObject } from '../names.js';
import type { Operation } from './operation.js';

export interface SnapLimit {
  readonly limit: bigint;
}

export const snapLimit: Operation<SnapLimit> = {
  name: 'snap limit',
  route: 'anyone',
  exclusive: true,

  // Nobody reads it with the header, so nobody is told.
  run: ({ ioctx, id }, { limit }) => mutate(ioctx, headerObject(id), [setSnapshotLimit(limit)]),
};
