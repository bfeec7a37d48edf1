/** Telling the other clients of an image that its header changed, and reading what they answer to notifications. */

import type { Environment } from '../base/environment.js';
import { ERRNO } from '../base/errors.js';
import { decodeFirst } from '../encoding/codec.js';
import { notifyOp } from '../messages/osd-op.js';
import type { NotifyResult } from '../osd-client/watch-types.js';
import type { IoContext } from '../rados/io-context.js';
import { headerObject } from './names.js';
import { encodeNotifyPayload, responseMessage } from './notify-payloads.js';

/** For the watchers to answer in. Nobody here waits for it. */
const NOTIFY_TIMEOUT_S = 5;
/** For the OSD to take the notification over. */
const SEND_TIMEOUT_MS = 5000;

export const headerUpdatePayload = (): Uint8Array => encodeNotifyPayload({ op: 'headerUpdate' });

/**
 * Makes watchers (krbd, librbd, QEMU) read the header again. Fire and forget, as librbd does it after every change:
 * resolves when the OSD has it, and a failure is only logged, because the change itself has happened.
 */
export async function notifyHeaderUpdate(
  ioctx: IoContext,
  imageId: string,
  env: Environment,
): Promise<void> {
  const oid = headerObject(imageId);
  const cookie = BigInt(env.random.u32());
  try {
    await ioctx.operate(oid, [notifyOp(cookie, NOTIFY_TIMEOUT_S, headerUpdatePayload())], {
      timeoutMs: SEND_TIMEOUT_MS,
    });
  } catch (error) {
    env.log.rbd.warn({ error, object: ioctx.describe(oid) }, 'header update was not notified');
  }
}

/**
 * What the lock's owner answered to a notification: its result; ETIMEDOUT (negative, as all of them) when nobody
 * answered, EIO when two did, EINVAL when the answer cannot be read (`librbd/image_watcher/NotifyLockOwner.cc`). Everybody
 * else acknowledges with nothing, or did not in time, which says nothing about the owner.
 */
export function lockOwnerResult({ replies }: NotifyResult): number {
  const answers = replies.filter(({ payload }) => payload.length > 0);
  const [answer] = answers;
  if (!answer) return -ERRNO.ETIMEDOUT;
  if (answers.length > 1) return -ERRNO.EIO;
  try {
    return decodeFirst(responseMessage, answer.payload).result;
  } catch {
    return -ERRNO.EINVAL;
  }
}
