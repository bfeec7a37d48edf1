/** Namespaces of a pool (`librbd/api/Namespace.cc`). They are listed in the default one; each has its own directory. */

import { isRadosError, RadosError } from '../base/errors.js';
import { deleteOp } from '../messages/osd-op.js';
import { executeOne, mutate } from '../rados/class-call.js';
import {
  DIRECTORY_STATE,
  dirStateSet,
  namespaceAdd,
  namespaceList,
  namespaceRemove,
} from '../rados/cls-rbd.js';
import type { IoContext } from '../rados/io-context.js';
import { noNamespace, trashEntries } from './directory.js';
import { unless } from './errors.js';
import {
  RBD_CHILDREN,
  RBD_DIRECTORY,
  RBD_GROUP_DIRECTORY,
  RBD_INFO,
  RBD_MIRRORING,
  RBD_NAMESPACE,
  RBD_TASK,
  RBD_TRASH,
} from './names.js';

const PAGE = 1024;

/** What RBD may have left in a namespace without images. */
const LEFTOVERS = [
  RBD_CHILDREN,
  RBD_GROUP_DIRECTORY,
  RBD_INFO,
  RBD_MIRRORING,
  RBD_TASK,
  RBD_TRASH,
  RBD_DIRECTORY,
] as const;

/** In the order of their bytes, without the default one. */
export async function listNamespaces(pool: IoContext): Promise<string[]> {
  const ioctx = pool.withNamespace('');
  const names: string[] = [];
  for (;;) {
    const startAfter = names.at(-1) ?? '';
    const page = await unless(
      'ENOENT',
      executeOne(ioctx, RBD_NAMESPACE, namespaceList(startAfter, PAGE)),
    );
    if (!page) return names;
    names.push(...page);
    if (page.length < PAGE) return names;
  }
}

/** EEXIST: there is one of this name. */
export async function createNamespace(pool: IoContext, name: string): Promise<void> {
  assertNamespaceName(name);
  const ioctx = pool.withNamespace('');
  try {
    await mutate(ioctx, RBD_NAMESPACE, [namespaceAdd(name)]);
  } catch (error) {
    if (!isRadosError(error, 'EEXIST')) throw error;
    throw new RadosError('EEXIST', `namespace ${ioctx.describe(name)} exists already`, {
      target: ioctx.describe(name),
      cause: error,
    });
  }
  try {
    await mutate(pool.withNamespace(name), RBD_DIRECTORY, [dirStateSet(DIRECTORY_STATE.READY)]);
  } catch (error) {
    await mutate(ioctx, RBD_NAMESPACE, [namespaceRemove(name)]).catch(() => undefined);
    throw error;
  }
}

/** ENOENT: there is none; EBUSY: images are in it, or in its trash. */
export async function removeNamespace(pool: IoContext, name: string): Promise<void> {
  assertNamespaceName(name);
  const inside = pool.withNamespace(name);
  try {
    // One transaction: empty, closed and gone, so that no image can slip in.
    await mutate(inside, RBD_DIRECTORY, [dirStateSet(DIRECTORY_STATE.ADD_DISABLED), deleteOp()]);
  } catch (error) {
    if (isRadosError(error, 'EBUSY')) throw notEmpty(inside, 'contains images', error);
    // Without its directory it is not usable, but may be listed still.
    if (!isRadosError(error, 'ENOENT')) throw error;
  }
  for await (const _ of trashEntries(inside)) {
    await mutate(inside, RBD_DIRECTORY, [dirStateSet(DIRECTORY_STATE.READY)]);
    throw notEmpty(inside, 'has images in its trash');
  }
  for (const oid of LEFTOVERS) await unless('ENOENT', inside.operate(oid, [deleteOp()]));
  try {
    await mutate(pool.withNamespace(''), RBD_NAMESPACE, [namespaceRemove(name)]);
  } catch (error) {
    throw isRadosError(error, 'ENOENT') ? noNamespace(inside, error) : error;
  }
}

function assertNamespaceName(name: string): void {
  if (name === '' || /[/@]/.test(name)) {
    throw new RadosError('EINVAL', `'${name}' is not a namespace's name`);
  }
}

function notEmpty(inside: IoContext, why: string, cause?: unknown): RadosError {
  return new RadosError('EBUSY', `namespace ${inside.describe('')} ${why}`, {
    target: inside.describe(''),
    cause,
  });
}
