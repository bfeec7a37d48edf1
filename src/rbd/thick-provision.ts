/** Allocating the space of an image by writing zeroes all over it (`rbd create --thick-provision`). */

import { abortError } from '../base/errors.js';
import { eachLimited, MANAGEMENT_OPS_MAX } from './concurrency.js';
import type { Image } from './image.js';
import type { Progress } from './concurrency.js';

/** The OSDs write them: a single zero and how often it is repeated is all that is sent. */
const ZERO = new Uint8Array(1);

export async function allocateSpace(
  image: Image,
  { onProgress, signal }: { onProgress?: Progress; signal?: AbortSignal } = {},
): Promise<void> {
  const { size } = image;
  const chunk = image.objectSize;
  let done = 0;
  await eachLimited(offsets(size, chunk), MANAGEMENT_OPS_MAX, async (offset) => {
    if (signal?.aborted) throw abortError(signal, { op: 'allocate', target: image.id });
    const length = Math.min(chunk, size - offset);
    await image.writeSame(offset, length, ZERO);
    done += length;
    onProgress?.(done, size);
  });
}

function* offsets(size: number, chunk: number): Generator<number> {
  for (let offset = 0; offset < size; offset += chunk) yield offset;
}
