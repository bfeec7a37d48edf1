/** Telling the other clients of an image that its header changed (`librbd/WatchNotifyTypes.h`). */

import type { Environment } from '../base/environment.js';
import { notifyOp } from '../messages/osd-op.js';
import type { IoContext } from '../rados/io-context.js';
import { headerObject } from './names.js';
import { encodeNotifyPayload } from './notify-payloads.js';

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
