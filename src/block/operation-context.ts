/** What named operations run with, and what they have in common. */

import type { RadosClient } from '../rados/rados-client.js';
import type { Progress } from '../rbd/concurrency.js';
import { ByteReader } from '../rbd/diff/byte-reader.js';
import { Image } from '../rbd/image.js';
import type { MaintenanceOptions } from '../rbd/maintenance/operation.js';
import { openHeader } from '../rbd/open.js';
import type { ImageSpec } from '../rbd/spec.js';

export interface OperationContext {
  client: RadosClient;
  onProgress?: Progress | undefined;
  signal?: AbortSignal | undefined;
  /** What the caller has for the operation, as it is taken. */
  input?: AsyncIterable<Uint8Array> | undefined;
}

/** The bytes of an operation that takes some. */
export function inputOf({ input }: OperationContext): ByteReader {
  return new ByteReader(input ?? []);
}

export function progress({ onProgress, signal }: OperationContext) {
  return { ...(onProgress ? { onProgress } : {}), ...(signal ? { signal } : {}) };
}

/** A header without its data: metadata can be read and changed whatever features the image has. */
export const header = (context: OperationContext, spec: ImageSpec, readOnly: boolean) =>
  openHeader(context.client, spec, { readOnly });

/** What the owner of the image's lock does, or is done here when there is none. */
export async function withImage<T>(
  context: OperationContext,
  spec: ImageSpec,
  change: (image: Image, options: MaintenanceOptions) => Promise<T>,
): Promise<T> {
  await using image = await Image.open(context.client, spec);
  return await change(image, progress(context));
}
