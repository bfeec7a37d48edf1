/**
 * What the clients of an image tell each other over its header object (`librbd/WatchNotifyTypes.h`).
 *
 * A NotifyMessage is one structure: a u32 that names the operation, and that operation's fields. Its versions:
 *
 *     2  lock announcements and requests say whose they are       6  all snapshot requests carry a namespace
 *     3  lock requests may be forced                               7  every maintenance request carries an id, so that
 *     4  resize may forbid to shrink                                  it is answered at once and completed later
 *     5  snapshot creation carries a namespace
 *
 * Ceph 16.2 writes version 7 and krbd version 2, of the lock messages only. Later versions may append fields.
 */

import {
  bool,
  type Codec,
  encodeWith,
  type FieldsOf,
  mapped,
  optional,
  record,
  s32,
  since,
  string,
  struct,
  u32,
  u64,
  u64n,
} from '../encoding/codec.js';
import { Decoder } from '../encoding/decoder.js';
import { type SnapNamespace, snapNamespace, USER_NAMESPACE } from '../rados/cls-rbd.js';

/** A client of an image: a RADOS client and the cookie of its watch on the header. */
export interface ClientId {
  gid: bigint;
  handle: bigint;
}

/** A maintenance request: who asks, and its number there. The client keeps it when its watch gets another cookie. */
export interface AsyncRequestId {
  client: ClientId;
  requestId: bigint;
}

export const sameClient = (a: ClientId | undefined, b: ClientId | undefined): boolean =>
  a?.gid === b?.gid && a?.handle === b?.handle;

/** `[4127,94,1]`, as librbd's logs have it. Also a key. */
export const describeRequest = ({ client, requestId }: AsyncRequestId): string =>
  `[${client.gid},${client.handle},${requestId}]`;

export const clientId: Codec<ClientId> = record('ClientId', { gid: u64, handle: u64 });

export const asyncRequestId: Codec<AsyncRequestId> = record('AsyncRequestId', {
  client: clientId,
  requestId: u64,
});

// On the wire all zeros stand for none.
const maybeClient = mapped<ClientId, ClientId | undefined>(
  clientId,
  (id) => (id.gid === 0n && id.handle === 0n ? undefined : id),
  (id) => id ?? { gid: 0n, handle: 0n },
);
const maybeRequest = mapped<AsyncRequestId, AsyncRequestId | undefined>(
  asyncRequestId,
  (id) => (id.client.gid === 0n && id.client.handle === 0n && id.requestId === 0n ? undefined : id),
  (id) => id ?? { client: { gid: 0n, handle: 0n }, requestId: 0n },
);

const none = () => undefined;
/** Absent in version 1. */
const client = since<ClientId | undefined>(2, maybeClient, none);
/** None: the answer comes when the work is done, and is its result. */
const id = maybeRequest;
const idSince7 = since<AsyncRequestId | undefined>(7, maybeRequest, none);
const userNamespace = (): SnapNamespace => USER_NAMESPACE;
const namespaceSince6 = since<SnapNamespace>(6, snapNamespace, userNamespace);

/** Of a snapshot creation. The first is for librbd's own use (`librbd/Types.h`); the API's flags are one bit lower. */
export const SNAP_CREATE_FLAG = {
  SKIP_OBJECT_MAP: 1n,
  SKIP_NOTIFY_QUIESCE: 2n,
  IGNORE_NOTIFY_QUIESCE_ERROR: 4n,
} as const;

/** The fields of every operation, by name, in wire order. */
const OPERATIONS = {
  acquiredLock: { code: 0, fields: { client } },
  releasedLock: { code: 1, fields: { client } },
  requestLock: { code: 2, fields: { client, force: since(3, bool, () => false) } },
  headerUpdate: { code: 3, fields: {} },
  asyncProgress: { code: 4, fields: { id: asyncRequestId, offset: u64n, total: u64n } },
  asyncComplete: { code: 5, fields: { id: asyncRequestId, result: s32 } },
  flatten: { code: 6, fields: { id } },
  resize: { code: 7, fields: { size: u64n, id, allowShrink: since(4, bool, () => true) } },
  snapCreate: {
    code: 8,
    fields: {
      name: string,
      namespace: since<SnapNamespace>(5, snapNamespace, userNamespace),
      id: idSince7,
      flags: since(7, u64, () => 0n),
    },
  },
  snapRemove: { code: 9, fields: { name: string, namespace: namespaceSince6, id: idSince7 } },
  rebuildObjectMap: { code: 10, fields: { id } },
  /** `name` is the new one. */
  snapRename: {
    code: 11,
    fields: { snapId: u64, name: string, namespace: namespaceSince6, id: idSince7 },
  },
  snapProtect: { code: 12, fields: { name: string, namespace: namespaceSince6, id: idSince7 } },
  snapUnprotect: { code: 13, fields: { name: string, namespace: namespaceSince6, id: idSince7 } },
  /** Of the image. */
  rename: { code: 14, fields: { name: string, id: idSince7 } },
  updateFeatures: { code: 15, fields: { features: u64, enabled: bool, id: idSince7 } },
  migrate: { code: 16, fields: { id } },
  sparsify: { code: 17, fields: { id, sparseSize: u64n } },
  quiesce: { code: 18, fields: { id: asyncRequestId } },
  unquiesce: { code: 19, fields: { id: asyncRequestId } },
  /** Without a value the key is removed. */
  metadataUpdate: { code: 20, fields: { key: string, value: optional(string), id } },
  /** Of ours: who asked for it does not want it any more. librbd's owners do not know it, and go on. */
  cancel: { code: 0x8001, fields: { id: asyncRequestId } },
} as const;

type Operations = typeof OPERATIONS;
/** The operations that we know. */
export type NotifyOp = keyof Operations;
export type PayloadOf<Op extends NotifyOp> = { op: Op } & FieldsOf<Operations[Op]['fields']>;
export type KnownPayload = { [Op in NotifyOp]: PayloadOf<Op> }[NotifyOp];
/** Of a client that is newer than this one. */
export interface UnknownPayload {
  op: 'unknown';
  code: number;
}
export type NotifyPayload = KnownPayload | UnknownPayload;

/** What only the owner of the exclusive lock may do, and does for who asks it. */
export const MAINTENANCE_OPS = [
  'flatten',
  'resize',
  'snapCreate',
  'snapRemove',
  'rebuildObjectMap',
  'snapRename',
  'snapProtect',
  'snapUnprotect',
  'rename',
  'updateFeatures',
  'migrate',
  'sparsify',
  'metadataUpdate',
] as const satisfies readonly NotifyOp[];
export type MaintenancePayload = Extract<KnownPayload, { op: (typeof MAINTENANCE_OPS)[number] }>;

export function isMaintenance(payload: NotifyPayload): payload is MaintenancePayload {
  return (MAINTENANCE_OPS as readonly string[]).includes(payload.op);
}

export const NOTIFY_OPS = Object.keys(OPERATIONS) as readonly NotifyOp[];

/** What 16.2 writes, and the newest that is read here. Any version may be read as version 1: fields were only added. */
const VERSION = 7;
const COMPAT = 1;
const NAME = 'NotifyMessage';

type AnyMessage = Codec<Record<string, unknown>>;

function messageCodec(op: NotifyOp, version: number): AnyMessage {
  const header = { version, compat: COMPAT, reads: VERSION };
  return struct(NAME, header, { code: u32, ...OPERATIONS[op].fields }) as AnyMessage;
}

const MESSAGES = new Map(NOTIFY_OPS.map((op) => [op, messageCodec(op, VERSION)]));
const OP_BY_CODE = new Map(NOTIFY_OPS.map((op) => [OPERATIONS[op].code as number, op]));

/**
 * An empty payload is a header update: that is all the first clients sent. Throws a `ProtocolError` for what is no
 * NotifyMessage; an operation that is not known yet is `unknown`.
 */
export function decodeNotifyPayload(bytes: Uint8Array): NotifyPayload {
  if (bytes.length === 0) return { op: 'headerUpdate' };
  const decoder = new Decoder(bytes);
  const code = decoder.struct(NAME, VERSION, () => decoder.u32());
  const op = OP_BY_CODE.get(code);
  const message = op && MESSAGES.get(op);
  if (!op || !message) return { op: 'unknown', code };
  // What follows the structure is ignored, as librbd does.
  const { code: _, ...fields } = message.decode(new Decoder(bytes));
  return { op, ...fields } as NotifyPayload;
}

/** As 16.2 writes it, or as an older client did. */
export function encodeNotifyPayload(payload: KnownPayload, version = VERSION): Uint8Array {
  const { op, ...fields } = payload;
  const message = version === VERSION ? MESSAGES.get(op) : messageCodec(op, version);
  if (!message) throw new TypeError(`no notification is called ${op}`);
  return encodeWith(message, { code: OPERATIONS[op].code, ...fields });
}

/** What a client that a notification concerns answers to it: 0 or a negative errno. */
export const responseMessage = struct(
  'ResponseMessage',
  { version: 1, compat: 1 },
  { result: s32 },
);
