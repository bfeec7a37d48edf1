/** Which handler executes which opcode. */

import { ERRNO } from '../../../base/errors.js';
import { OP } from '../../../messages/osd-op.js';
import type { ClassRegistry } from '../../classes/class-registry.js';
import { call } from './call.js';
import { copyFrom } from './copy-from.js';
import * as reads from './data-reads.js';
import * as writes from './data-writes.js';
import { argOf, type OpHandler } from './live-op.js';
import * as omap from './omap.js';
import * as snaps from './snaps.js';
import * as watch from './watch.js';
import * as xattrs from './xattrs.js';

/** The object must still be at the version that the client saw. */
const assertVersion: OpHandler = (ctx, op, carried) => {
  const { version } = argOf(op, 'assertVer');
  if (version === 0n) return -ERRNO.EINVAL;
  if (version < ctx.info.userVersion) return -ERRNO.ERANGE;
  if (version > ctx.info.userVersion) return -ERRNO.EOVERFLOW;
  return carried;
};

export function createOpTable(classes: ClassRegistry): ReadonlyMap<number, OpHandler> {
  return new Map<number, OpHandler>([
    [OP.READ, reads.read],
    [OP.SYNC_READ, reads.read],
    [OP.SPARSE_READ, reads.sparseRead],
    [OP.MAPEXT, reads.mapExtents],
    [OP.STAT, reads.stat],
    [OP.CMPEXT, reads.compareExtent],
    [OP.CHECKSUM, reads.checksum],
    [OP.ASSERT_VER, assertVersion],
    [OP.WRITE, writes.write],
    [OP.WRITEFULL, writes.writeFull],
    [OP.WRITESAME, writes.writeSame],
    [OP.APPEND, writes.append],
    [OP.TRUNCATE, writes.truncate],
    [OP.ZERO, writes.zero],
    [OP.CREATE, writes.create],
    [OP.DELETE, writes.remove],
    [OP.SETALLOCHINT, writes.setAllocHint],
    [OP.COPY_FROM, copyFrom],
    [OP.COPY_FROM2, copyFrom],
    [OP.GETXATTR, xattrs.get],
    [OP.GETXATTRS, xattrs.getAll],
    [OP.CMPXATTR, xattrs.compare],
    [OP.SETXATTR, xattrs.set],
    [OP.RMXATTR, xattrs.remove],
    [OP.OMAPGETKEYS, omap.getKeys],
    [OP.OMAPGETVALS, omap.getValues],
    [OP.OMAPGETHEADER, omap.getHeader],
    [OP.OMAPGETVALSBYKEYS, omap.getValuesByKeys],
    [OP.OMAP_CMP, omap.compare],
    [OP.OMAPSETVALS, omap.setValues],
    [OP.OMAPSETHEADER, omap.setHeader],
    [OP.OMAPCLEAR, omap.clear],
    [OP.OMAPRMKEYS, omap.removeKeys],
    [OP.OMAPRMKEYRANGE, omap.removeKeyRange],
    [OP.ROLLBACK, snaps.rollback],
    [OP.LIST_SNAPS, snaps.listSnaps],
    [OP.WATCH, watch.watch],
    [OP.NOTIFY, watch.notify],
    [OP.NOTIFY_ACK, watch.notifyAck],
    [OP.LIST_WATCHERS, watch.listWatchers],
    [OP.CALL, (ctx, op) => call(classes, ctx, op)],
  ]);
}
