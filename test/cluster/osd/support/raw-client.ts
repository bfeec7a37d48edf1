// A client of one OSD that shows replies as they came: for comparing two OSDs byte by byte.
// Speaks auth none, and is told where objects lie instead of reading maps.

import {
  AUTH_METHOD,
  AUTH_MODE,
  type AuthClient,
  CON_MODE,
  type ConnectionKeys,
  monRequest,
} from '../../../../src/auth/method.js';
import { nodeEnvironment } from '../../../../src/base/node-environment.js';
import { decodeAll, encodeWith } from '../../../../src/encoding/codec.js';
import { type EntityAddr, ENTITY_TYPE } from '../../../../src/encoding/entity.js';
import { NOSNAP, type SnapContext, type Utime } from '../../../../src/encoding/types.js';
import { createCrc32c } from '../../../../src/kernels/crc32c.js';
import { loadKernels } from '../../../../src/kernels/load.js';
import { FEATURES_SUPPORTED } from '../../../../src/messages/features.js';
import { isWriteOp, type OsdOp } from '../../../../src/messages/osd-op.js';
import {
  BACKOFF_OP,
  decodeOsdReply,
  encodeOsdRequest,
  MOSDOP_COMPAT,
  MOSDOP_VERSION,
  OSD_FLAG,
  type OsdBackoff,
  osdBackoff,
  type OsdReply,
  osdRequestData,
} from '../../../../src/messages/osd-messages.js';
import {
  type IncomingMessage,
  MSG,
  type OutgoingMessage,
  outgoing,
} from '../../../../src/messages/types.js';
import { Connection, type MessengerContext } from '../../../../src/msgr/connection.js';
import { WindowPool } from '../../../../src/msgr/window-pool.js';
import { objectHash, stableMod } from '../../../../src/osdmap/object-hash.js';
import { OBJECT_HASH } from '../../../../src/osdmap/pool.js';

export interface RawTarget {
  addr: EntityAddr;
  pool: number;
  pgNum: number;
  /** An epoch that the OSD has. */
  epoch: number;
}

export interface RawRequest {
  oid: string;
  ops: readonly OsdOp[];
  nspace?: string;
  key?: string;
  snapid?: bigint;
  snapContext?: SnapContext;
  /** Beside READ or WRITE, which follow from the operations. */
  flags?: number;
  write?: boolean;
  mtime?: Utime;
  /** For requests to a PG itself. */
  hash?: number;
  locatorHash?: number;
  tid?: number;
  retryAttempt?: number;
}

export interface RawReply {
  front: Uint8Array;
  data: Uint8Array;
  reply: OsdReply;
}

export interface RawNotify {
  front: Uint8Array;
  data: Uint8Array;
}

class RawAuth implements AuthClient {
  readonly method = AUTH_METHOD.NONE;

  constructor(readonly globalId: bigint) {}

  initialRequest(): Uint8Array {
    return encodeWith(monRequest, {
      mode: AUTH_MODE.AUTHORIZER,
      entity: { type: ENTITY_TYPE.CLIENT, id: 'admin' },
      globalId: this.globalId,
    });
  }

  onReplyMore(): Uint8Array {
    throw new Error('auth none has no challenge');
  }

  onDone(): ConnectionKeys {
    return { sessionKey: new Uint8Array(0), connectionSecret: new Uint8Array(0) };
  }
}

let messenger: MessengerContext | undefined;

/** One set of kernels for all connections of a test file. */
export function testMessenger(): MessengerContext {
  if (!messenger) {
    const kernels = loadKernels();
    const crc32c = createCrc32c(kernels);
    messenger = { env: nodeEnvironment(), crc32c, windows: new WindowPool(kernels) };
  }
  return messenger;
}

const MTIME: Utime = { sec: 1_600_000_000, nsec: 123_456_789 };

/** Of all clients: one that connects again must not use a tid twice, or the OSD takes it for a resend. */
let lastTid = 0;

export class RawClient {
  readonly notifies: RawNotify[] = [];
  maps = 0;
  /** In the order of arrival; nothing is done about them but by the test. */
  readonly backoffs: OsdBackoff[] = [];
  closed = false;
  /** Takes messages in place of the connection. */
  tap: ((message: IncomingMessage) => void) | undefined;
  /** In the order of arrival: `'reply'` or `'notify'`. */
  readonly arrivals: string[] = [];
  readonly #target: RawTarget;
  readonly #pending = new Map<
    number,
    { resolve: (reply: RawReply) => void; reject: (error: Error) => void }
  >();
  #connection!: Connection;

  private constructor(target: RawTarget) {
    this.#target = target;
  }

  static async connect(
    target: RawTarget,
    options: { globalId: bigint; nonce: number },
  ): Promise<RawClient> {
    const client = new RawClient(target);
    await new Promise<void>((resolve, reject) => {
      client.#connection = Connection.connect({
        ...testMessenger(),
        name: 'osd under test',
        target: target.addr,
        expectedType: ENTITY_TYPE.OSD,
        auth: [() => new RawAuth(options.globalId)],
        modes: [CON_MODE.CRC],
        gid: () => options.globalId,
        nonce: options.nonce,
        globalSeq: 1n,
        timeoutMs: 10_000,
        handler: {
          onReady: () => resolve(),
          onMessage: (_connection, message) => client.#onMessage(message),
          onClose: (_connection, error) => {
            client.closed = true;
            const reason = error ?? new Error('closed');
            reject(reason);
            for (const { reject: fail } of client.#pending.values()) fail(reason);
            client.#pending.clear();
          },
        },
      });
    });
    return client;
  }

  close(): void {
    this.#connection.close();
  }

  send(request: RawRequest): { tid: number; reply: Promise<RawReply> } {
    const { pool, pgNum, epoch } = this.#target;
    const { oid, ops, nspace = '', key = '' } = request;
    const hash = request.hash ?? objectHash(OBJECT_HASH.RJENKINS, { oid, key, nspace });
    const writes = request.write ?? ops.some((op) => isWriteOp(op.code));
    const mode = writes ? OSD_FLAG.WRITE : OSD_FLAG.READ;
    const front = encodeOsdRequest({
      pg: { pool, seed: stableMod(hash, pgNum) },
      shard: -1,
      hash,
      epoch,
      flags: OSD_FLAG.ONDISK | OSD_FLAG.KNOWN_REDIR | mode | (request.flags ?? 0),
      mtime: request.mtime ?? (writes ? MTIME : { sec: 0, nsec: 0 }),
      locator: { pool, key, nspace, hash: request.locatorHash ?? -1 },
      oid,
      ops,
      snapid: request.snapid ?? NOSNAP,
      snapContext: request.snapContext ?? { seq: 0n, snaps: [] },
      retryAttempt: request.retryAttempt ?? 0,
      features: FEATURES_SUPPORTED,
    });
    const tid = request.tid ?? ++lastTid;
    lastTid = Math.max(lastTid, tid);
    const reply = new Promise<RawReply>((resolve, reject) => {
      this.#pending.set(tid, { resolve, reject });
    });
    const message = outgoing(MSG.OSD_OP, front, {
      version: MOSDOP_VERSION,
      compat: MOSDOP_COMPAT,
      tid,
      priority: 63,
      data: osdRequestData(ops),
    });
    const { data = [] } = message;
    if (this.tap) this.tap({ ...message, front, data: Buffer.concat(data) } as IncomingMessage);
    else this.#connection.send(message);
    return { tid, reply };
  }

  /** The reply, or an error when there is none within `timeoutMs`. */
  operate(request: RawRequest, timeoutMs = 10_000): Promise<RawReply> {
    const { tid, reply } = this.send(request);
    const timer = setTimeout(() => {
      this.#pending.get(tid)?.reject(new Error(`no reply within ${timeoutMs} ms`));
      this.#pending.delete(tid);
    }, timeoutMs);
    return reply.finally(() => clearTimeout(timer));
  }

  /** Tells the OSD that it knows what to wait with. */
  acknowledge(backoff: OsdBackoff): void {
    const ack = { ...backoff, op: BACKOFF_OP.ACK_BLOCK };
    this.#connection.send(outgoing(MSG.OSD_BACKOFF, encodeWith(osdBackoff, ack)));
  }

  /** Any message, as it is. */
  sendMessage(message: OutgoingMessage): void {
    this.#connection.send(message);
  }

  #onMessage(message: IncomingMessage): void {
    const front = new Uint8Array(message.front);
    const data = new Uint8Array(message.data);
    if (message.type === MSG.OSD_MAP) this.maps++;
    if (message.type === MSG.OSD_BACKOFF) {
      this.backoffs.push(decodeAll('MOSDBackoff', osdBackoff, front));
    }
    if (message.type === MSG.WATCH_NOTIFY) {
      this.arrivals.push('notify');
      this.notifies.push({ front, data });
    }
    if (message.type !== MSG.OSD_OPREPLY) return;
    this.arrivals.push('reply');
    const pending = this.#pending.get(message.tid);
    this.#pending.delete(message.tid);
    pending?.resolve({ front, data, reply: decodeOsdReply(front, data, message.version) });
  }
}
