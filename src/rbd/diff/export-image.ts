/** An image with its snapshots and its metadata, as a stream: what `rbd export --export-format 2` writes. */

import type { RbdContext } from '../context.js';
import { Image } from '../image.js';
import { listImageMetadata } from '../metadata.js';
import type { ImageSpec } from '../spec.js';
import { exportImageDiff } from './export-diff.js';
import { encodeDiffsHeader, encodeImageHeader } from './image-format.js';

export interface ExportImageOptions {
  /** Counts diffs: one for each snapshot, and one for the head. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Chunks of the file, in order. Of the snapshots, those that users made. ENOENT: no such image. */
export async function* exportImage(
  context: RbdContext,
  spec: ImageSpec,
  { onProgress, signal }: ExportImageOptions = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  const open = { readOnly: true, ...(signal ? { signal } : {}) };
  await using head = await Image.open(context, spec, open);
  const { layout, features, snapshots } = head.header;
  const { order, stripeUnit, stripeCount } = layout;
  const metadata = await listImageMetadata(head);
  yield encodeImageHeader({ order, features, stripeUnit, stripeCount, metadata });
  const users = snapshots.filter(({ namespace }) => namespace.type === 'user');
  const total = users.length + 1;
  yield encodeDiffsHeader(total);
  let from: bigint | undefined;
  for (const [i, { id }] of users.entries()) {
    await using image = await Image.open(context, { ...spec, snapId: id }, open);
    yield* exportImageDiff(image, { from, format: 2, signal });
    onProgress?.(i + 1, total);
    from = id;
  }
  yield* exportImageDiff(head, { from, format: 2, signal });
  onProgress?.(total, total);
}
