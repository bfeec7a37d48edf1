/** A request in a line, as an OSD's dumps and logs have it (`MOSDOp::print`, `operator<<` of OSDOp). */

import { formatEntityName } from '../../encoding/entity.js';
import { formatPgId, NOSNAP } from '../../encoding/types.js';
import { type DecodedOsdRequest, OSD_FLAG } from '../../messages/osd-messages.js';
import { OP, type OsdOp, WATCH_OP } from '../../messages/osd-op.js';
import { reverseBits } from '../store/object-id.js';
import { type ClientRequest, requestId } from './client-request.js';

const NAMES = new Map<number, string>([
  [OP.READ, 'read'],
  [OP.STAT, 'stat'],
  [OP.MAPEXT, 'mapext'],
  [OP.SPARSE_READ, 'sparse-read'],
  [OP.NOTIFY, 'notify'],
  [OP.NOTIFY_ACK, 'notify-ack'],
  [OP.ASSERT_VER, 'assert-version'],
  [OP.LIST_WATCHERS, 'list-watchers'],
  [OP.LIST_SNAPS, 'list-snaps'],
  [OP.SYNC_READ, 'sync_read'],
  [OP.OMAPGETKEYS, 'omap-get-keys'],
  [OP.OMAPGETVALS, 'omap-get-vals'],
  [OP.OMAPGETHEADER, 'omap-get-header'],
  [OP.OMAPGETVALSBYKEYS, 'omap-get-vals-by-keys'],
  [OP.OMAP_CMP, 'omap-cmp'],
  [OP.CMPEXT, 'cmpext'],
  [OP.CHECKSUM, 'checksum'],
  [OP.WRITE, 'write'],
  [OP.WRITEFULL, 'writefull'],
  [OP.TRUNCATE, 'truncate'],
  [OP.ZERO, 'zero'],
  [OP.DELETE, 'delete'],
  [OP.APPEND, 'append'],
  [OP.CREATE, 'create'],
  [OP.ROLLBACK, 'rollback'],
  [OP.WATCH, 'watch'],
  [OP.OMAPSETVALS, 'omap-set-vals'],
  [OP.OMAPSETHEADER, 'omap-set-header'],
  [OP.OMAPCLEAR, 'omap-clear'],
  [OP.OMAPRMKEYS, 'omap-rm-keys'],
  [OP.COPY_FROM, 'copy-from'],
  [OP.SETALLOCHINT, 'set-alloc-hint'],
  [OP.WRITESAME, 'writesame'],
  [OP.OMAPRMKEYRANGE, 'omap-rm-key-range'],
  [OP.COPY_FROM2, 'copy-from2'],
  [OP.GETXATTR, 'getxattr'],
  [OP.GETXATTRS, 'getxattrs'],
  [OP.CMPXATTR, 'cmpxattr'],
  [OP.SETXATTR, 'setxattr'],
  [OP.RMXATTR, 'rmxattr'],
  [OP.CALL, 'call'],
  [OP.PGLS, 'pgls'],
  [OP.PGNLS, 'pgnls'],
]);

const WATCH_NAMES = new Map<number, string>([
  [WATCH_OP.UNWATCH, 'unwatch'],
  [WATCH_OP.LEGACY_WATCH, 'watch'],
  [WATCH_OP.WATCH, 'watch'],
  [WATCH_OP.RECONNECT, 'reconnect'],
  [WATCH_OP.PING, 'ping'],
]);

/** In the order of their bits (`ceph_osd_flag_name`). */
const FLAG_NAMES: readonly [number, string][] = [
  [OSD_FLAG.ACK, 'ack'],
  [OSD_FLAG.ONDISK, 'ondisk'],
  [OSD_FLAG.RETRY, 'retry'],
  [OSD_FLAG.READ, 'read'],
  [OSD_FLAG.WRITE, 'write'],
  [OSD_FLAG.ORDERSNAP, 'ordersnap'],
  // An old flag without a meaning, which `rados rm` still sends.
  [0x80, 'peerstat_old'],
  [OSD_FLAG.RWORDERED, 'rwordered'],
  [OSD_FLAG.KNOWN_REDIR, 'known_if_redirected'],
  [OSD_FLAG.FULL_TRY, 'full_try'],
  [OSD_FLAG.FULL_FORCE, 'full_force'],
  [OSD_FLAG.RETURNVEC, 'returnvec'],
];

export function describeRequest(client: ClientRequest): string {
  const { request } = client;
  const { name, inc, tid } = requestId(client);
  const { seq, snaps } = request.snapContext;
  const parts = [
    `osd_op(${formatEntityName(name)}.${inc}:${tid}`,
    formatPgId(request.pg),
    describeObject(request),
    `[${request.ops.map(describeOp).join(',')}]`,
    request.snapid === NOSNAP ? `snapc ${seq.toString(16)}=[${hexList(snaps)}]` : '',
    request.retryAttempt > 0 ? `RETRY=${request.retryAttempt}` : '',
    flagNames(request.flags),
    `e${request.epoch})`,
  ];
  return parts.filter((part) => part !== '').join(' ');
}

const hexList = (snaps: readonly bigint[]) => snaps.map((snap) => snap.toString(16)).join(',');

function flagNames(flags: number): string {
  const named = FLAG_NAMES.filter(([bit]) => (flags & bit) !== 0);
  return named.map(([, name]) => name).join('+');
}

/** As Ceph writes a `hobject_t`: the hash with its bits reversed is what objects are sorted by. */
function describeObject({ pg, hash, locator, oid, snapid }: DecodedOsdRequest): string {
  const sortedBy = reverseBits(hash).toString(16).padStart(8, '0');
  const snap = snapid === NOSNAP ? 'head' : snapid.toString(16);
  return [pg.pool, sortedBy, locator.nspace, locator.key, oid, snap].join(':');
}

function describeOp({ code, arg, indata }: OsdOp): string {
  const name = NAMES.get(code) ?? `0x${code.toString(16)}`;
  const text = (start: number, end: number) => Buffer.from(indata.subarray(start, end)).toString();
  switch (arg.kind) {
    case 'extent':
      return code === OP.TRUNCATE ? `${name} ${arg.offset}` : `${name} ${arg.offset}~${arg.length}`;
    case 'xattr': {
      const value =
        code === OP.CMPXATTR
          ? ` op ${arg.cmpOp} mode ${arg.cmpMode}`
          : arg.valueLength > 0
            ? ` (${arg.valueLength})`
            : '';
      return `${name} ${text(0, arg.nameLength)}${value} in=${arg.nameLength}b`;
    }
    // Of input data only what names the method or the attribute is counted, as the OSD has taken the rest by then.
    case 'cls': {
      const method = arg.classLength + arg.methodLength;
      return `${name} ${text(0, arg.classLength)}.${text(arg.classLength, method)} in=${method}b`;
    }
    case 'watch':
      return `${name} ${WATCH_NAMES.get(arg.op) ?? '???'} cookie ${arg.cookie}`;
    case 'notify':
      return `${name} cookie ${arg.cookie}`;
    case 'snap':
      return `${name} ${arg.snapid}`;
    case 'assertVer':
      return `${name} v${arg.version}`;
    case 'allocHint':
      return `${name} object_size ${arg.expectedObjectSize} write_size ${arg.expectedWriteSize}`;
    case 'writesame':
      return `${name} ${arg.offset}~${arg.length}`;
    case 'pgls':
      return `${name} start_epoch ${arg.startEpoch}`;
    default:
      return name;
  }
}
