/** Who watches an object. */

import type { Infer } from '../encoding/codec.js';
import { decodeFirst, list, struct, u32, u64 } from '../encoding/codec.js';
import { entityAddr, entityName } from '../encoding/entity.js';
import { listWatchersOp } from '../messages/osd-op.js';
import type { IoContext, OperateOptions } from './io-context.js';

export const watchItem = struct(
  'watch_item_t',
  { version: 2, compat: 1 },
  { name: entityName, cookie: u64, timeoutSeconds: u32, addr: entityAddr },
);
export type Watcher = Infer<typeof watchItem>;

export const listWatchersReply = struct(
  'obj_list_watch_response_t',
  { version: 1, compat: 1 },
  { watchers: list(watchItem) },
);

/** ENOENT when the object is missing. */
export async function listWatchers(
  ioctx: IoContext,
  oid: string,
  options?: OperateOptions,
): Promise<Watcher[]> {
  const { ops } = await ioctx.operate(oid, [listWatchersOp()], options);
  return decodeFirst(listWatchersReply, ops[0]?.outdata ?? new Uint8Array(0)).watchers;
}
