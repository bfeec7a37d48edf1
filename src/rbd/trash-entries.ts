/**
 * An image's entry in its pool's trash: how one gets there, what state it is in, and who hears of it
 * (`librbd/trash/MoveRequest.cc`, `librbd/TrashWatcher.cc`).
 *
 *     entry (moving) -> name gone -> entry (normal)
 *
 * Each step can be repeated: whoever finds one that was interrupted goes on with it.
 */

import type { Environment } from '../base/environment.js';
import { RadosError } from '../base/errors.js';
import { encode, type Encoder } from '../encoding/encoder.js';
import { encodeWith } from '../encoding/codec.js';
import { createOp, deleteOp } from '../messages/osd-op.js';
import { executeOne, mutate } from '../rados/class-call.js';
import {
  DIRECTORY_STATE,
  dirAddImage,
  dirGetId,
  dirRemoveImage,
  dirStateAssert,
  getId,
  setId,
  TRASH_STATE,
  trashAdd,
  trashImageSpec,
  type TrashImageSpec,
  trashRemove,
  trashStateSet,
} from '../rados/cls-rbd.js';
import type { IoContext } from '../rados/io-context.js';
import { assertNameFree } from './directory.js';
import { unless } from './errors.js';
import { FULL_FORCE, FULL_TRY } from './full-try.js';
import { idObject, RBD_DIRECTORY, RBD_TRASH } from './names.js';

/** Takes the image's name from it, and leaves the entry. */
export async function enterTrash(
  ioctx: IoContext,
  env: Environment,
  id: string,
  spec: Omit<TrashImageSpec, 'state'>,
): Promise<void> {
  const { name } = spec;
  // EEXIST, ENOENT: it was begun before, and came this far.
  const entry = trashAdd(id, { ...spec, state: TRASH_STATE.MOVING });
  // The pool's first entry makes an object.
  await unless('EEXIST', mutate(ioctx, RBD_TRASH, [entry], FULL_FORCE));
  await unless('ENOENT', ioctx.operate(idObject(name), [deleteOp()], FULL_TRY));
  await unless('ENOENT', mutate(ioctx, RBD_DIRECTORY, [dirRemoveImage(name, id)], FULL_TRY));
  await setTrashState(ioctx, id, TRASH_STATE.NORMAL, TRASH_STATE.MOVING);
  await notifyTrash(ioctx, env, ADDED, (e) =>
    e.string(id).raw(encodeWith(trashImageSpec, { ...spec, state: TRASH_STATE.NORMAL })),
  );
}

/** Gives the image a name. EEXIST: the name is taken; ESTALE: it is on its way elsewhere. */
export async function leaveTrashAs(
  ioctx: IoContext,
  env: Environment,
  id: string,
  name: string,
): Promise<void> {
  await setTrashState(ioctx, id, TRASH_STATE.RESTORING, TRASH_STATE.NORMAL);
  try {
    await claimName(ioctx, name, id);
  } catch (error) {
    await setTrashState(ioctx, id, TRASH_STATE.NORMAL, TRASH_STATE.RESTORING);
    throw error;
  }
  if (!(await enterDirectory(ioctx, name, id))) {
    await unless('ENOENT', ioctx.operate(idObject(name), [deleteOp()], FULL_TRY));
    await setTrashState(ioctx, id, TRASH_STATE.NORMAL, TRASH_STATE.RESTORING);
    throw new RadosError('EEXIST', `an image ${ioctx.describe(name)} is being created`);
  }
  await leaveTrash(ioctx, env, id);
}

async function claimName(ioctx: IoContext, name: string, id: string): Promise<void> {
  const holder = await unless('ENOENT', executeOne(ioctx, idObject(name), getId()));
  if (holder === id) return;
  await assertNameFree(ioctx, name);
  await mutate(ioctx, idObject(name), [createOp(true), setId(id)]);
}

/** False when another has the name there: one that is being created, or was left half-way, gets its id object last. */
async function enterDirectory(ioctx: IoContext, name: string, id: string): Promise<boolean> {
  const isReady = ioctx.nspace === '' ? [] : [dirStateAssert(DIRECTORY_STATE.READY)];
  const entry = mutate(ioctx, RBD_DIRECTORY, [...isReady, dirAddImage(name, id)]);
  const entered = entry.then(() => true);
  if (await unless('EEXIST', entered)) return true;
  // It is this one's when an earlier attempt came this far.
  return (await unless('ENOENT', executeOne(ioctx, RBD_DIRECTORY, dirGetId(name)))) === id;
}

/** The image has its name back, or is no more. */
export async function leaveTrash(ioctx: IoContext, env: Environment, id: string): Promise<void> {
  await unless('ENOENT', mutate(ioctx, RBD_TRASH, [trashRemove(id)], FULL_TRY));
  await notifyTrash(ioctx, env, REMOVED, (e) => e.string(id));
}

/** ESTALE unless the entry is in the state `expected`, or in `state` already. */
export const setTrashState = (ioctx: IoContext, id: string, state: number, expected: number) =>
  mutate(ioctx, RBD_TRASH, [trashStateSet(id, state, expected)], FULL_TRY);

const ADDED = 0;
const REMOVED = 1;
/** As librbd waits for its watchers. */
const NOTIFY_TIMEOUT_S = 5;

/** Those that mirror the pool watch its trash. That they were not told changes nothing. */
async function notifyTrash(
  ioctx: IoContext,
  env: Environment,
  op: number,
  body: (e: Encoder) => unknown,
): Promise<void> {
  const message = encode((e) =>
    e.struct(1, 1, () => {
      e.u32(op);
      body(e);
    }),
  );
  try {
    await unless('ENOENT', ioctx.notify(RBD_TRASH, message, { timeoutSeconds: NOTIFY_TIMEOUT_S }));
  } catch (error) {
    env.log.rbd.warn({ err: error, pool: ioctx.describe('') }, 'nobody was told of the trash');
  }
}
