/** Making an image and filling it, or leaving nothing behind. */

import { toRadosError } from '../base/errors.js';
import type { RbdContext } from './context.js';
import type { CreateOptions } from './create.js';
import { FEATURE, FEATURES_WRITABLE } from './features.js';
import type { ImageHeader } from './header.js';
import { Image } from './image.js';
import { removeImage } from './remove.js';
import { formatImageSpec, type NamedImageSpec } from './spec.js';

/** `create` makes the image that `spec` names. When filling it fails, it is removed again. */
export async function fillNewImage(
  context: RbdContext,
  spec: NamedImageSpec,
  create: () => Promise<unknown>,
  fill: (image: Image) => Promise<void>,
): Promise<void> {
  await create();
  try {
    await using image = await Image.open(context, spec);
    await fill(image);
  } catch (error) {
    await removeUnfinished(context, spec).catch((failure: unknown) => {
      const image = formatImageSpec(spec);
      const err = toRadosError(failure);
      context.environment.log.rbd.warn({ image, err }, 'an unfinished image could not be removed');
    });
    throw error;
  }
}

async function removeUnfinished(context: RbdContext, spec: NamedImageSpec): Promise<void> {
  {
    await using image = await Image.open(context, spec);
    for (const { id, isProtected } of [...image.header.snapshots]) {
      if (isProtected) await image.snapshots.unprotect(id);
      await image.snapshots.remove(id);
    }
  }
  await removeImage(context, spec);
}

/** What an image has by how it is laid out, rather than because somebody wanted it so. */
const IMPLIED = FEATURE.STRIPINGV2 | FEATURE.DATA_POOL;

/** The features of an image that another may be created with. */
export const wantedFeatures = (features: bigint) => features & FEATURES_WRITABLE & ~IMPLIED;

/** What it takes to create an image that is laid out as this one. */
export function layoutOptions({ layout, features }: ImageHeader): Omit<CreateOptions, 'size'> {
  const { order, stripeUnit, stripeCount } = layout;
  const striping = features & FEATURE.STRIPINGV2 ? { stripeUnit, stripeCount } : {};
  return { order, ...striping, features: wantedFeatures(features) };
}
