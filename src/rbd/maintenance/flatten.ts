/**
 * Making a clone independent of its parent (`librbd/operation/FlattenRequest.cc`).
 *
 *     each object that the parent shows through gets its own -> the parent forgets the clone -> the clone forgets its parent
 *
 * Snapshots of the clone keep seeing the parent, unless the image has deep-flatten: their objects were copied up with the
 * head's. A flatten that ends half-way leaves a clone with fewer objects to copy up.
 */

import { RadosError } from '../../base/errors.js';
import { mutate } from '../../rados/class-call.js';
import { detachParent } from '../../rados/cls-rbd.js';
import { detachChild } from '../children.js';
import { unless } from '../errors.js';
import { FEATURE } from '../features.js';
import { headerObject } from '../names.js';
import type { WriteContext } from '../object-request.js';
import type { OpenImage } from '../open-image.js';
import {
  eachObject,
  objectNumbers,
  type Operation,
  type OperationContext,
  type RequestOf,
} from './operation.js';

type Flatten = RequestOf<'flatten'>;

export const flatten: Operation<Flatten> = {
  name: 'flatten',
  route: 'owner',
  exclusive: true,
  precheck: (image) => void assertClone(image),
  isDone: (image) => !image.header.parent?.ofHead,
  doneErrors: new Set(['EINVAL']),

  async run(image, _request, context) {
    const parent = assertClone(image);
    await copyUpAll(image, parent.overlap, context);
    const unused = keepsParent(image) ? undefined : await detachChild(image.context, image, parent);
    await unless('ENOENT', mutate(image.ioctx, headerObject(image.id), [detachParent()]));
    context.changed();
    if (unused) await image.removeUnusedSnapshot(unused);
    await image.headerUpdated();
  },
};

function assertClone(image: OpenImage) {
  const { parent } = image.header;
  if (parent?.ofHead) return parent;
  throw new RadosError('EINVAL', 'the image is not a clone', { outcome: 'not-applied' });
}

/** Snapshots go on seeing the parent. */
function keepsParent({ header }: OpenImage): boolean {
  const { features, snapshots } = header;
  if (features & FEATURE.DEEP_FLATTEN) return false;
  return snapshots.some(({ parentOverlap }) => parentOverlap > 0);
}

async function copyUpAll(
  image: OpenImage,
  overlap: number,
  context: OperationContext,
): Promise<void> {
  const { data, header } = image;
  const count = header.layout.objectCount(overlap);
  const writing: WriteContext = {
    get snapContext() {
      return image.header.snapContext;
    },
    admit: () => image.passObject(context.signal),
    gate: image.sendGate,
  };
  await eachObject(image, context, objectNumbers(0, count), count, (objectNo) =>
    data.objects.copyUp(objectNo, writing),
  );
}
