/**
 * Changing an image's size (`librbd/operation/ResizeRequest.cc`).
 *
 *     grow    object map -> header
 *     shrink  no writes beyond -> snapshots given what they see of the parent there -> parent hidden there
 *             -> data beyond removed -> header -> object map
 *
 * A shrink that ends half-way leaves the old size, and zeros where the data was removed already.
 */

import { RadosError } from '../../base/errors.js';
import { mutate } from '../../rados/class-call.js';
import { setSize } from '../../rados/cls-rbd.js';
import { FEATURE } from '../features.js';
import { headerObject } from '../names.js';
import { assertMappable } from '../object-map/limits.js';
import type { WriteContext } from '../object-request.js';
import type { OpenImage } from '../open-image.js';
import { trimObjects } from '../trim.js';
import {
  eachObject,
  objectNumbers,
  type Operation,
  type OperationContext,
  type RequestOf,
} from './operation.js';

type Resize = RequestOf<'resize'>;

export const resize: Operation<Resize> = {
  name: 'resize',
  route: 'owner',
  exclusive: true,
  precheck: assertAllowed,
  isDone: (image, { size }) => image.size === size,

  async run(image, request, context) {
    assertAllowed(image, request);
    const { size } = request;
    if (size < image.size) return shrink(image, size, context);
    await image.objectMap?.resize(image.header.layout.objectCount(size));
    await storeSize(image, size, context);
  },
};

function assertAllowed(image: OpenImage, { size, allowShrink }: Resize): void {
  if (image.features & FEATURE.OBJECT_MAP) assertMappable(image.header.layout, size);
  if (size >= image.size || allowShrink) return;
  throw new RadosError('EINVAL', 'shrinking an image is only allowed with allowShrink', {
    outcome: 'not-applied',
  });
}

async function shrink(image: OpenImage, size: number, context: OperationContext): Promise<void> {
  const liftLimit = await image.limitWrites(size);
  const trimming = {
    get snapContext() {
      return image.header.snapContext;
    },
    admit: () => image.passObject(context.signal),
    gate: image.sendGate,
    fullTry: true,
  };
  try {
    const kept = await keepForSnapshots(image, size, trimming, context);
    await hideParent(image, size, context);
    await trimObjects({
      ioctx: image.dataIoctx,
      layout: image.header.layout,
      objectPrefix: image.objectPrefix,
      fromSize: image.size,
      toSize: size,
      get snapContext() {
        return image.header.snapContext;
      },
      gate: image.sendGate,
      objectMap: image.objectMap,
      // Below the boundary a clone keeps what its parent has.
      cut: (objectNo, left) => image.data.objects.cut(objectNo, left, trimming),
      each: (steps, total, step) => eachObject(image, behind(context, kept), steps, total, step),
    });
    await storeSize(image, size, context);
    await image.objectMap?.resize(image.objectCount);
  } finally {
    liftLimit();
  }
}

/**
 * Beyond the new size the head sees nothing of a parent any more, and a flatten will not come by: what the snapshots see there
 * is copied up now, so that they do not need the parent for it, of the objects that the boundary falls into as well. Resolves
 * with how many objects that are.
 */
async function keepForSnapshots(
  image: OpenImage,
  size: number,
  writing: WriteContext,
  context: OperationContext,
): Promise<number> {
  const { parent, header, data } = image;
  if (!parent || header.snapshots.length === 0) return 0;
  const { layout } = header;
  const first = layout.objectCount(size - (size % layout.period));
  const count = Math.max(0, layout.objectCount(parent.overlap) - first);
  // As many again are removed, at least: progress never seems to go back.
  const counted = ahead(context, image.objectCount - first);
  const copyUp = (objectNo: number) => data.objects.copyUp(objectNo, writing);
  await eachObject(image, counted, objectNumbers(first, count), count, copyUp);
  return count;
}

/**
 * Where objects are removed, their clone would show what its parent has there until the header has the new size: bytes that
 * may have been written over long ago, and that would stay if the shrink ended half-way. What shows through ends there first,
 * which all clients know when this resolves. (librbd shows it.)
 */
async function hideParent(
  image: OpenImage,
  size: number,
  context: OperationContext,
): Promise<void> {
  if ((image.parent?.overlap ?? 0) <= size) return;
  // In one vector, so that nobody sees another size: the first cuts what shows through, the second leaves the size as it is.
  const cut = [setSize(size), setSize(image.size)];
  await mutate(image.ioctx, headerObject(image.id), cut);
  context.changed();
  await image.headerUpdated();
}

/** Of an operation with so many steps more. */
function ahead(context: OperationContext, more: number): OperationContext {
  return { ...context, onProgress: (done, total) => context.onProgress(done, total + more) };
}

/** Of an operation with so many steps done. */
function behind(context: OperationContext, before: number): OperationContext {
  return {
    ...context,
    onProgress: (done, total) => context.onProgress(done + before, total + before),
  };
}

async function storeSize(image: OpenImage, size: number, context: OperationContext): Promise<void> {
  await mutate(image.ioctx, headerObject(image.id), [setSize(size)]);
  context.changed();
  await image.headerUpdated();
}
