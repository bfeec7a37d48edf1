/** Making an image from a stream that has all of it: what `rbd import --export-format 2` does. */

import type { RbdContext } from '../context.js';
import { type CreateOptions, createImage } from '../create.js';
import { imageError } from '../errors.js';
import type { Image } from '../image.js';
import { fillNewImage, wantedFeatures } from '../new-image.js';
import { formatImageSpec, type NamedImageSpec } from '../spec.js';
import type { ByteReader } from './byte-reader.js';
import { type ImageProperties, readDiffsHeader, readImageHeader } from './image-format.js';
import { diffTarget } from './image-target.js';
import { importDiff } from './import-diff.js';

export interface ImportImageOptions {
  /** Wins over what the stream says. */
  readonly layout?: Partial<Omit<CreateOptions, 'size'>> | undefined;
  /** As for `importDiff`. */
  readonly sparseSize?: number | undefined;
  /** Counts diffs: one for each snapshot, and one for the head. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The image with its metadata, snapshots and data. It is removed again when it cannot be completed.
 *
 * EEXIST: the name is taken. EINVAL: the stream is something else. EBADMSG: it is cut off.
 */
export async function importImage(
  context: RbdContext,
  spec: NamedImageSpec,
  stream: ByteReader,
  options: ImportImageOptions = {},
): Promise<void> {
  try {
    const properties = await readImageHeader(stream);
    // Each of the diffs sets the size.
    const create = () =>
      createImage(context, spec, { ...createOptions(properties, options), size: 0 });
    await fillNewImage(context, spec, create, (image) => fill(image, stream, properties, options));
  } catch (error) {
    throw imageError(error, 'import', formatImageSpec(spec));
  }
}

function createOptions(
  { order, features, stripeUnit, stripeCount }: Partial<ImageProperties>,
  { layout = {} }: ImportImageOptions,
): Omit<CreateOptions, 'size'> {
  const isStriped = stripeUnit !== undefined && stripeCount !== undefined && stripeCount > 1;
  return {
    ...(order === undefined ? {} : { order }),
    ...(features === undefined ? {} : { features: wantedFeatures(features) }),
    ...(isStriped ? { stripeUnit, stripeCount } : {}),
    ...layout,
  };
}

async function fill(
  image: Image,
  stream: ByteReader,
  { metadata }: Partial<ImageProperties>,
  { sparseSize, onProgress, signal }: ImportImageOptions,
): Promise<void> {
  for (const [key, value] of metadata ?? []) await image.setMetadata(key, value);
  const total = await readDiffsHeader(stream);
  const target = diffTarget(image, { signal });
  for (let done = 1; done <= total; done++) {
    await importDiff(target, stream, { format: 2, sparseSize, signal });
    onProgress?.(done, total);
  }
}
