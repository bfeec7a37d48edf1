/**
 * The cooperative locks of `rbd lock add`, `ls` and `rm` (`librbd::lock`, `get_lock_info`, `break_lock`): for people and
 * their scripts. Nobody is kept from writing by one. They share the header's lock with the exclusive lock of live clients,
 * so that an image with the one cannot have the other; and `ls` and `rm` show and break that one too.
 */

import { RadosError } from '../base/errors.js';
import { ENTITY_TYPE, type EntityName, formatEntityName } from '../encoding/entity.js';
import { type ClassCall, executeOne, mutate } from '../rados/class-call.js';
import { breakLock, getLockInfo, LOCK_TYPE, lock, unlock } from '../rados/cls-lock.js';
import { imageError } from './errors.js';
import { addrText } from './lock-owner.js';
import { headerObject, RBD_LOCK_NAME } from './names.js';
import { notifyHeaderUpdate } from './notify.js';
import type { ImageHandle } from './open.js';

export interface ImageLock {
  /** `client.4118`, as `rbd lock rm` takes it. */
  readonly client: string;
  /** What it was locked with; `auto <number>` for the exclusive lock of a live client. */
  readonly id: string;
  /** `10.0.0.5:0/3141592`, as `ceph osd blocklist` takes it. */
  readonly address: string;
}

export interface ImageLocks {
  /** One holder, or any number that share it. */
  readonly exclusive: boolean;
  /** What those that share it have agreed on. */
  readonly tag: string;
  readonly locks: readonly ImageLock[];
}

/** A client of the cluster, as far as breaking a lock needs it. */
export interface LockBreaker {
  readonly globalId: bigint;
  /** Fences a client and waits for the osdmap that says so. */
  blocklistAdd(addr: string, expireS?: number): Promise<void>;
}

/** Who holds the image's lock, in the order of their names. */
export async function listImageLocks(image: ImageHandle): Promise<ImageLocks> {
  try {
    const { lockers, type, tag } = await readLock(image);
    return {
      exclusive: type === LOCK_TYPE.EXCLUSIVE,
      tag,
      locks: lockers.map(({ locker, cookie, addr }) => ({
        client: formatEntityName(locker),
        id: cookie,
        address: addrText(addr),
      })),
    };
  } catch (error) {
    throw imageError(error, 'list locks of', image.target);
  }
}

/**
 * Locks the image under an id of the caller's choice: alone, or together with all that give the same `shared` tag. It
 * stays when this client ends. EEXIST: this client did already; EBUSY: it is locked.
 */
export async function addImageLock(
  image: ImageHandle,
  id: string,
  options: { readonly shared?: string } = {},
): Promise<void> {
  const { shared } = options;
  const type = shared === undefined ? LOCK_TYPE.EXCLUSIVE : LOCK_TYPE.SHARED;
  const call = lock({ name: RBD_LOCK_NAME, type, cookie: id, tag: shared ?? '' });
  await change(image, `add lock '${id}' to`, () => call);
}

/**
 * Takes a lock from its holder, and first fences that one (`rbd_blocklist_on_break_lock`): whatever it still writes, to
 * this image or any other, fails with EBLOCKLISTED. Not so a lock of this very client, which just gives it back.
 * ENOENT: nobody holds it by that name and id; EINVAL: `client` is no `client.<number>`.
 */
export async function removeImageLock(
  image: ImageHandle,
  holder: { readonly client: string; readonly id: string },
  breaker: LockBreaker,
  options: { readonly blocklistExpireSeconds?: number } = {},
): Promise<void> {
  const { client, id } = holder;
  await change(image, `remove lock '${id}' from`, async () => {
    const name = parseClient(client);
    const { lockers } = await readLock(image);
    // librbd looks for the client only, and fences it for a lock id that was mistyped.
    const found = lockers.find(
      ({ locker, cookie }) => locker.type === name.type && locker.num === name.num && cookie === id,
    );
    if (!found) throw new RadosError('ENOENT', `${client} has no lock '${id}'`);
    if (name.num === breaker.globalId) return unlock(RBD_LOCK_NAME, id);
    await breaker.blocklistAdd(addrText(found.addr), options.blocklistExpireSeconds);
    return breakLock(RBD_LOCK_NAME, name, id);
  });
}

const readLock = (image: ImageHandle) =>
  executeOne(image.ioctx, headerObject(image.id), getLockInfo(RBD_LOCK_NAME));

function parseClient(text: string): EntityName {
  const digits = /^client\.(\d{1,18})$/.exec(text)?.[1];
  if (digits === undefined) {
    throw new RadosError('EINVAL', `'${text}' is not a client such as client.4118`);
  }
  return { type: ENTITY_TYPE.CLIENT, num: BigInt(digits) };
}

async function change(
  image: ImageHandle,
  op: string,
  prepare: () => ClassCall<void> | Promise<ClassCall<void>>,
): Promise<void> {
  try {
    if (image.readOnly) throw new RadosError('EROFS', 'the image is open for reading only');
    await mutate(image.ioctx, headerObject(image.id), [await prepare()]);
  } catch (error) {
    throw imageError(error, op, image.target);
  }
  await notifyHeaderUpdate(image.ioctx, image.id, image.context.environment);
}
