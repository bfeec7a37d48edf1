/** An image and the parents that still back some of it, as far as a diff has to look at them. */

import { RadosError } from '../../base/errors.js';
import type { IoContext } from '../../rados/io-context.js';
import { type ImageHandle, openHeader } from '../open.js';

/** An image, or a parent of one, at the snapshot that it is looked at. */
export interface DiffLevel {
  readonly image: ImageHandle;
  /** The pool and namespace of its data objects. */
  readonly dataIoctx: IoContext;
  /** Absent unless the parent backs some bytes, and the diff is to include these. */
  readonly parent: ParentLevel | undefined;
}

export interface ParentLevel extends DiffLevel {
  /** Bytes from the start that the child still gets from it. */
  readonly overlap: number;
}

/** krbd's limit of a chain of parents: one that is longer goes round in a circle. */
const PARENTS_MAX = 16;

export async function openLevel(
  image: ImageHandle,
  { includeParent, signal }: { includeParent: boolean; signal?: AbortSignal | undefined },
  depth = 0,
): Promise<DiffLevel> {
  const { context, header, ioctx } = image;
  const { dataPoolId } = header;
  const dataIoctx =
    dataPoolId === undefined ? ioctx : await context.ioctx(dataPoolId, ioctx.nspace);
  const parent = includeParent ? await openParent(image, signal, depth) : undefined;
  return { image, dataIoctx, parent };
}

async function openParent(
  { context, header, snapshot, target }: ImageHandle,
  signal: AbortSignal | undefined,
  depth: number,
): Promise<ParentLevel | undefined> {
  const { parent } = header;
  const overlap = snapshot ? snapshot.parentOverlap : (parent?.overlap ?? 0);
  if (!parent || overlap === 0) return undefined;
  if (depth === PARENTS_MAX) {
    throw new RadosError('EINVAL', `${target} has more than ${PARENTS_MAX} parents`, { target });
  }
  const { pool } = await context.ioctx(parent.poolId, parent.namespace);
  const { namespace, imageId: id, snapId } = parent;
  const image = await openHeader(
    context,
    { pool: pool.name, namespace, id, snapId },
    { readOnly: true, ...(signal ? { signal } : {}) },
  );
  return { ...(await openLevel(image, { includeParent: true, signal }, depth + 1)), overlap };
}
