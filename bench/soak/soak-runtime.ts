/**
 * The osd-client's runtime with two operations more, which no product needs.
 *
 * `unwatch` makes an OSD forget a watch on any cluster, a real one included, as often as one likes: the request goes out in
 * the client's own name, past the watch, which therefore finds out as it would in life, by ENOTCONN to its next ping.
 * Devices and operations that connect the same way share one client, so this is the client that watches.
 */

import { WATCH_OP, watchOp } from '../../src/messages/osd-op.js';
import { headerObject } from '../../src/rbd/names.js';
import { notifyHeaderUpdate } from '../../src/rbd/notify.js';
import type { DeviceHost } from '../../src/block/device-host.js';
import { operations } from '../../src/block/management.js';
import type { OperationContext } from '../../src/block/operation-context.js';

export { createRuntime } from '../../src/block/runtime.js';

const soakOperations = {
  unwatch: async ({ client }: OperationContext, pool: string, imageId: string, cookie: bigint) => {
    const ioctx = await client.ioctx(pool);
    await ioctx.operate(headerObject(imageId), [watchOp(WATCH_OP.UNWATCH, cookie)]);
  },

  /** Tells the watchers to read the header again, of which nothing changed. */
  headerUpdate: async ({ client }: OperationContext, pool: string, imageId: string) =>
    notifyHeaderUpdate(await client.ioctx(pool), imageId, client.environment),
};

Object.assign(operations, soakOperations);

/** Operations go to their thread by name. */
type Manage = (name: keyof typeof soakOperations, args: readonly unknown[]) => Promise<void>;

export function unwatch(host: DeviceHost, pool: string, imageId: string, cookie: bigint) {
  return (host.manage.bind(host) as unknown as Manage)('unwatch', [pool, imageId, cookie]);
}

export function updateHeader(host: DeviceHost, pool: string, imageId: string) {
  return (host.manage.bind(host) as unknown as Manage)('headerUpdate', [pool, imageId]);
}
