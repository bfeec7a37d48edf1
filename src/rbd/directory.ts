/** The images of a pool's namespace: listing, finding and renaming. Creating and removing have their own files. */

import { isRadosError, type Outcome, RadosError } from '../base/errors.js';
import { createOp, deleteOp, statOp, writeFullOp } from '../messages/osd-op.js';
import { executeOne, mutate } from '../rados/class-call.js';
import {
  DIRECTORY_STATE,
  dirGetId,
  dirList,
  dirRenameImage,
  dirStateAssert,
  getFeatures,
  TRASH_SOURCE,
  type TrashImageSpec,
  trashList,
} from '../rados/cls-rbd.js';
import type { IoContext } from '../rados/io-context.js';
import { imageError, unless } from './errors.js';
import { FEATURE } from './features.js';
import { format1Object, headerObject, idObject, RBD_DIRECTORY, RBD_TRASH } from './names.js';
import { assertImageName } from './spec.js';

export interface ImageEntry {
  readonly name: string;
  readonly id: string;
}

/** librbd's page size. */
const PAGE = 1024;

/**
 * Images in the order of their names' bytes, those included whose removal was interrupted (they are in the trash, and
 * another removal finishes it). ENOENT: no such namespace.
 */
export async function listImages(ioctx: IoContext): Promise<ImageEntry[]> {
  await assertNamespace(ioctx);
  const images = new Map<string, ImageEntry>();
  for await (const [name, id] of directoryEntries(ioctx)) images.set(id, { name, id });
  for await (const [id, { source, name }] of trashEntries(ioctx)) {
    // A removal that has only begun is in both. `rbd ls` lists it twice.
    if (source === TRASH_SOURCE.REMOVING) images.set(id, { name, id });
  }
  return [...images.values()].sort((a, b) =>
    Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)),
  );
}

/** The image that a name stands for, or of which an interrupted removal left the data. */
export async function findImage(
  ioctx: IoContext,
  name: string,
): Promise<(ImageEntry & { inTrash: boolean }) | undefined> {
  const id = await unless('ENOENT', executeOne(ioctx, RBD_DIRECTORY, dirGetId(name)));
  if (id !== undefined) return { name, id, inTrash: false };
  for await (const [trashId, spec] of trashEntries(ioctx)) {
    if (spec.source === TRASH_SOURCE.REMOVING && spec.name === name) {
      return { name, id: trashId, inTrash: true };
    }
  }
  return undefined;
}

/** Gives an image another name. ENOENT: no such image; EEXIST: the new name is taken. Clients that have it open stay. */
export async function renameImage(ioctx: IoContext, from: string, to: string): Promise<void> {
  const target = ioctx.describe(from);
  let outcome: Outcome | undefined;
  try {
    assertImageName(to);
    const image = await findImage(ioctx, from);
    if (!image || image.inTrash) throw new RadosError('ENOENT', 'No such file or directory');
    await assertNameFree(ioctx, to);
    await assertNotJournaled(ioctx, image.id);
    const idBytes = await ioctx.read(idObject(from), 0, 0);
    await ioctx.operate(idObject(to), [createOp(true), writeFullOp(idBytes)]);
    try {
      await mutate(ioctx, RBD_DIRECTORY, [dirRenameImage(from, to, image.id)]);
    } catch (error) {
      await unless('ENOENT', ioctx.operate(idObject(to), [deleteOp()]));
      throw error;
    }
    outcome = 'unknown';
    await unless('ENOENT', ioctx.operate(idObject(from), [deleteOp()]));
  } catch (error) {
    throw imageError(error, 'rename', target, outcome);
  }
}

/** A journal records renames, for the mirror that replays it. */
async function assertNotJournaled(ioctx: IoContext, id: string): Promise<void> {
  const { features } = await executeOne(ioctx, headerObject(id), getFeatures(true));
  if (features & FEATURE.JOURNALING) {
    throw new RadosError(
      'ENOSYS',
      "the image has feature 'journaling', which this version cannot write",
    );
  }
}

/** EEXIST when an image of either format has the name. */
export async function assertNameFree(ioctx: IoContext, name: string): Promise<void> {
  for (const oid of [format1Object(name), idObject(name)]) {
    if (await unless('ENOENT', ioctx.operate(oid, [statOp()]))) {
      throw new RadosError('EEXIST', `there is an image ${ioctx.describe(name)} already`);
    }
  }
}

/** ENOENT when the context is in a namespace that was not created. */
export async function assertNamespace(ioctx: IoContext): Promise<void> {
  if (ioctx.nspace === '') return;
  try {
    await executeOne(ioctx, RBD_DIRECTORY, dirStateAssert(DIRECTORY_STATE.READY));
  } catch (error) {
    throw isRadosError(error, 'ENOENT') ? noNamespace(ioctx, error) : error;
  }
}

export function noNamespace(ioctx: IoContext, cause?: unknown): RadosError {
  return new RadosError('ENOENT', `namespace '${ioctx.nspace}' does not exist`, {
    target: ioctx.describe(''),
    cause,
  });
}

/** Pages through a map that a class method lists from a key on. A missing object is an empty map. */
async function* pages<V>(
  load: (startAfter: string) => Promise<Map<string, V> | undefined>,
): AsyncGenerator<[string, V]> {
  for (let startAfter = ''; ; ) {
    const page = await load(startAfter);
    if (!page) return;
    yield* page;
    if (page.size < PAGE) return;
    startAfter = [...page.keys()].at(-1) as string;
  }
}

/** Name and id of every image. */
export const directoryEntries = (ioctx: IoContext): AsyncGenerator<[string, string]> =>
  pages((startAfter) =>
    unless('ENOENT', executeOne(ioctx, RBD_DIRECTORY, dirList(startAfter, PAGE))),
  );

/** Id and entry of everything in the trash. */
export const trashEntries = (ioctx: IoContext): AsyncGenerator<[string, TrashImageSpec]> =>
  pages((startAfter) =>
    unless('ENOENT', executeOne(ioctx, RBD_TRASH, trashList(startAfter, PAGE))),
  );
