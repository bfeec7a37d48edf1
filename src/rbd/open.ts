/** From a spec to an image's header: what every operation on an existing image begins with. */

import { RadosError } from '../base/errors.js';
import { statOp } from '../messages/osd-op.js';
import { executeOne } from '../rados/class-call.js';
import { dirGetName, getId, trashGet } from '../rados/cls-rbd.js';
import type { IoContext } from '../rados/io-context.js';
import type { RbdContext } from './context.js';
import { unless } from './errors.js';
import { findSnapshot, type ImageHeader, type ImageSnapshot, readHeader } from './header.js';
import { format1Object, idObject, RBD_DIRECTORY, RBD_TRASH } from './names.js';
import { formatImageSpec, type ImageSpec } from './spec.js';

/** An image whose header is known. An open `Image` is one; `openHeader` gives one without access to the data. */
export interface ImageHandle {
  readonly context: RbdContext;
  /** The pool and namespace of the header. */
  readonly ioctx: IoContext;
  readonly id: string;
  /** Absent for an image found by an id that no name leads to any more. */
  readonly name: string | undefined;
  /** `rbd/ns/vm1@s1`, for messages. */
  readonly target: string;
  readonly readOnly: boolean;
  readonly header: ImageHeader;
  /** The snapshot that was asked for. */
  readonly snapshot: ImageSnapshot | undefined;
}

/**
 * Finds an image and reads its header, whatever its features. A snapshot makes it read-only.
 * ENOENT: no such pool, image or snapshot. EOPNOTSUPP: it has format 1.
 */
export async function openHeader(
  context: RbdContext,
  spec: ImageSpec,
  options: {
    readonly readOnly?: boolean;
    readonly signal?: AbortSignal;
    /** Called before the header of an image that is opened for writing is read: what it says is watched from then on. */
    readonly watch?: (ioctx: IoContext, id: string) => Promise<void>;
  } = {},
): Promise<ImageHandle> {
  const ioctx = await context.ioctx(spec.pool, spec.namespace ?? '');
  const { id, name } = await identify(ioctx, spec, options.signal);
  const wantsSnapshot = spec.snap !== undefined || spec.snapId !== undefined;
  const readOnly = options.readOnly === true || wantsSnapshot;
  if (!readOnly) await options.watch?.(ioctx, id);
  const header = await readHeader(ioctx, id, { readOnly, signal: options.signal });
  const snapshot = wantsSnapshot ? findSnapshot(header, spec) : undefined;
  if (wantsSnapshot && !snapshot) {
    throw new RadosError('ENOENT', 'the image has no such snapshot');
  }
  const target = formatImageSpec({ ...spec, ...(name === undefined ? {} : { name }) });
  return { context, ioctx, id, name, target, readOnly, header, snapshot };
}

/** Finds the id that a name has, or the name that an id has. */
async function identify(
  ioctx: IoContext,
  spec: ImageSpec,
  signal: AbortSignal | undefined,
): Promise<{ id: string; name: string | undefined }> {
  if (spec.id !== undefined) {
    return { id: spec.id, name: (await imageNameOf(ioctx, spec.id))?.name };
  }
  if (!spec.name) throw new RadosError('EINVAL', 'image name was not specified');
  const { name } = spec;
  const options = signal ? { signal } : {};
  const id = await unless('ENOENT', executeOne(ioctx, idObject(name), getId(), options));
  if (id !== undefined) return { id, name };
  await assertNotFormat1(ioctx, name, options);
  throw new RadosError('ENOENT', 'No such file or directory');
}

/** EOPNOTSUPP for an image of the old format, of which nothing is known here but the name. */
export async function assertNotFormat1(
  ioctx: IoContext,
  name: string,
  options: { signal?: AbortSignal } = {},
): Promise<void> {
  if (await unless('ENOENT', ioctx.operate(format1Object(name), [statOp()], options))) {
    throw new RadosError('EOPNOTSUPP', 'the image has the old format 1, which is not supported');
  }
}

/** The name of an image by its id: in the directory or, when it was moved there, in the trash. */
export async function imageNameOf(
  ioctx: IoContext,
  id: string,
): Promise<{ name: string; inTrash: boolean } | undefined> {
  const name = await unless('ENOENT', executeOne(ioctx, RBD_DIRECTORY, dirGetName(id)));
  if (name !== undefined) return { name, inTrash: false };
  const entry = await unless('ENOENT', executeOne(ioctx, RBD_TRASH, trashGet(id)));
  return entry && { name: entry.name, inTrash: true };
}
