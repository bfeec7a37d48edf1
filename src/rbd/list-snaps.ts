import { decodeAll } from '../encoding/codec.js';
import { SNAPDIR } from '../encoding/types.js';
import { type ListSnapsReply, listSnapsReply } from '../messages/list-snaps.js';
import { listSnapsOp } from '../messages/osd-op.js';
import type { IoContext } from '../rados/io-context.js';
import { unless } from './errors.js';

/** What the OSD has of an object: its head and its clones. Undefined: there is no such object, in no snapshot either. */
export async function listSnaps(
  ioctx: IoContext,
  oid: string,
  signal: AbortSignal | undefined,
): Promise<ListSnapsReply | undefined> {
  const options = { snapid: SNAPDIR, ...(signal ? { signal } : {}) };
  const reply = await unless('ENOENT', ioctx.operate(oid, [listSnapsOp()], options));
  const outdata = reply?.ops[0]?.outdata;
  return outdata && decodeAll('LIST_SNAPS', listSnapsReply, outdata);
}
