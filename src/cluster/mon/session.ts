/** One client's session with the monitor: its messages, its subscriptions, its rights. */

import { formatAuthEntity, type MonAuthServer } from '../../auth/method.js';
import { ERRNO, ProtocolError } from '../../base/errors.js';
import {
  bool,
  type Codec,
  decodeFirst,
  encodeWith,
  list,
  map,
  record,
  s16,
  string,
  u8,
  u64n,
} from '../../encoding/codec.js';
import { DecodeError } from '../../encoding/decoder.js';
import { Encoder } from '../../encoding/encoder.js';
import { uuid } from '../../encoding/types.js';
import {
  authMessage,
  authReply,
  configMessage,
  getPoolStats,
  monCommand,
  monCommandAck,
  monGetVersion,
  monGetVersionReply,
  monMapMessage,
  monSubscribe,
  monSubscribeAck,
  NO_PAXOS,
  POOL_OP,
  poolOp,
  poolOpReply,
  statfs,
  statfsReply,
} from '../../messages/mon-messages.js';
import {
  type IncomingMessage,
  MSG,
  messageName,
  outgoing,
  PRIORITY,
} from '../../messages/types.js';
import type { Connection } from '../../msgr/connection.js';
import { OsdCaps } from '../osd/osd-caps.js';
import { MonCaps } from './caps.js';
import { runCommand } from './commands/table.js';
import { configEntity } from './config/config-entity.js';
import { EMPTY_MGR_MAP } from './mgr-map.js';
import { encodeMonMap } from './mon-map.js';
import type { ClientSession, MonState } from './mon-state.js';
import { runPoolOp } from './pools.js';
import { type Publish, type Subscribable, Subscriptions } from './subscriptions.js';

const OSD_MAP_VERSION = 4;
const OSD_MAP_COMPAT = 3;

/** MMonSubscribe of any version. From `HOSTNAME_SINCE` on the name of the client's host follows. */
const subscribeItems = map(string, record('ceph_mon_subscribe_item', { start: u64n, flags: u8 }));

const HOSTNAME_SINCE = 3;

/** MGetPoolStatsReply without a pool: its `pool_stat_t` would come from a manager. */
const poolStatsReply = record('MGetPoolStatsReply', {
  paxos: record('PaxosServiceMessage', { version: u64n, session: s16, sessionTid: u64n }),
  fsid: uuid,
  poolStats: list(u8),
  perPool: bool,
});

/** Clients with this feature know that a subscription lasts as long as the session, and expect no acknowledgement. */
const FEATURE_MON_STATEFUL_SUB = 1n << 57n;
const SUBSCRIBE_INTERVAL_S = 86400;

/** A client that does not read is cut off: each map for it would cost memory. */
const MAX_PENDING_BYTES = 64 * 1024 * 1024;

export class MonSession {
  readonly #state: MonState;
  readonly #connection: Connection;
  readonly #auth: MonAuthServer | undefined;
  readonly #subscriptions = new Subscriptions(this.#publish());
  readonly #caps: MonCaps;
  readonly client: ClientSession;
  /** Where it says that it runs. */
  #host = '';
  /** The configuration that it has. */
  #config: Uint8Array | undefined;

  constructor(state: MonState, connection: Connection) {
    this.#state = state;
    this.#connection = connection;
    const { peer } = connection;
    // Whoever got in came through an AuthServer that the monitor made.
    this.#auth = peer.auth as MonAuthServer | undefined;
    this.#caps = MonCaps.of(peer.caps ?? '', peer.addrs[0]?.host ?? '');
    this.client = {
      name: peer.entity ? formatAuthEntity(peer.entity) : 'client.?',
      features: peer.features,
    };
  }

  /** Something new may be there for the client's subscriptions. */
  deliver(what: Subscribable): void {
    if (this.#connection.pendingBytes > MAX_PENDING_BYTES) {
      this.#connection.close(
        new ProtocolError(`${this.client.name} does not read what it subscribed to`),
      );
      return;
    }
    this.#subscriptions.deliver(what);
  }

  onMessage(message: IncomingMessage): void {
    switch (message.type) {
      case MSG.MON_GET_MAP:
        this.#sendMonMap();
        return;
      case MSG.MON_SUBSCRIBE:
        this.#onSubscribe(message);
        return;
      case MSG.MON_GET_VERSION:
        this.#onGetVersion(message);
        return;
      case MSG.MON_COMMAND:
        this.#onCommand(message);
        return;
      case MSG.POOLOP:
        this.#onPoolOp(message);
        return;
      case MSG.STATFS:
        this.#onStatfs(message);
        return;
      case MSG.GETPOOLSTATS:
        this.#onGetPoolStats(message);
        return;
      case MSG.AUTH:
        this.#onAuth(message);
        return;
      case MSG.PING:
        return;
      default:
        // Some of what clients may send has no answer (LOG), and a monitor ignores what it does not know.
        this.#state.env.log.mon.debug(
          { client: this.client.name, message: messageName(message.type) },
          'message ignored',
        );
    }
  }

  #reply(type: number, message: IncomingMessage, front: Uint8Array, options: ReplyOptions = {}) {
    const reply = outgoing(type, front, {
      tid: message.tid,
      priority: PRIORITY.MON_REPLY,
      ...options,
    });
    this.#state.commits.after(() => this.#connection.send(reply));
  }

  #push(type: number, front: Uint8Array, options: ReplyOptions = {}): void {
    this.#connection.send(outgoing(type, front, { priority: PRIORITY.MON_REPLY, ...options }));
  }

  #sendMonMap(): void {
    const monmap = encodeMonMap(this.#state.monMap);
    this.#push(MSG.MON_MAP, encodeWith(monMapMessage, { monmap }));
  }

  /** What is set for this client, when that is news to it. */
  #sendConfig(): void {
    const settings = this.#state.config.settingsOf(
      configEntity(this.#state, this.client.name, this.#host),
    );
    const config = new Map([...settings].map(([name, { value }]) => [name, value]));
    const front = encodeWith(configMessage, { config });
    if (this.#config && Buffer.compare(this.#config, front) === 0) return;
    this.#config = front;
    this.#push(MSG.CONFIG, front);
  }

  #publish(): Publish {
    const publishers: Record<Subscribable, (start: number) => number | undefined> = {
      osdmap: (start) => {
        if (!this.#caps.allows('osd', 'r')) return undefined;
        const { osdMaps } = this.#state;
        // Zero asks for a full map, whatever is kept.
        const update = osdMaps.updateFrom(start - 1);
        if (!update) return undefined;
        this.#push(MSG.OSD_MAP, update.front, { version: OSD_MAP_VERSION, compat: OSD_MAP_COMPAT });
        return update.epoch + 1;
      },
      monmap: (start) => {
        const { epoch } = this.#state.monMap;
        if (start > epoch) return undefined;
        this.#sendMonMap();
        return epoch + 1;
      },
      config: (start) => {
        const { version } = this.#state.config;
        if (start > version) return undefined;
        this.#sendConfig();
        return version + 1;
      },
      mgrmap: (start) => {
        if (start > EMPTY_MGR_MAP.epoch) return undefined;
        this.#push(MSG.MGR_MAP, EMPTY_MGR_MAP.bytes);
        return EMPTY_MGR_MAP.epoch + 1;
      },
    };
    return (what, start) => publishers[what](start);
  }

  #onSubscribe(message: IncomingMessage): void {
    const items = decode('MMonSubscribe', subscribeItems, message);
    if (message.version >= HOSTNAME_SINCE) {
      this.#host = decode('MMonSubscribe', monSubscribe, message).hostname;
    }
    this.#subscriptions.request(items);
    if ((this.client.features & FEATURE_MON_STATEFUL_SUB) !== 0n) return;
    const ack = { intervalS: SUBSCRIBE_INTERVAL_S, fsid: this.#state.monMap.fsid };
    this.#push(MSG.MON_SUBSCRIBE_ACK, encodeWith(monSubscribeAck, ack));
  }

  #onGetVersion(message: IncomingMessage): void {
    const { handle, what } = decode('MMonGetVersion', monGetVersion, message);
    const { osdMaps, monMap } = this.#state;
    const versions: Record<string, [newest: number, oldest: number]> = {
      osdmap: [osdMaps.epoch, osdMaps.oldestEpoch],
      monmap: [monMap.epoch, monMap.epoch],
      mgrmap: [EMPTY_MGR_MAP.epoch, EMPTY_MGR_MAP.epoch],
      fsmap: [1, 1],
      mdsmap: [1, 1],
    };
    // Of maps that do not exist nothing is said, in Ceph as here.
    const found = Object.hasOwn(versions, what) ? versions[what] : undefined;
    if (!found) return;
    const reply = { handle, version: found[0], oldestVersion: found[1] };
    this.#reply(MSG.MON_GET_VERSION_REPLY, message, encodeWith(monGetVersionReply, reply), {
      version: 2,
      compat: 2,
    });
  }

  #onCommand(message: IncomingMessage): void {
    const { cmd } = decode('MMonCommand', monCommand, message);
    const before = this.#state.osdMaps.epoch;
    const answer = runCommand(this.#state, {
      cmd,
      input: message.data,
      caller: this.client,
      caps: this.#caps,
    });
    this.#state.env.log.mon.debug(
      { client: this.client.name, r: answer.r, changed: this.#state.osdMaps.epoch > before },
      'command',
    );
    const ack = { paxos: this.#paxos(), r: answer.r, rs: answer.rs, cmd };
    const out = typeof answer.out === 'string' ? Buffer.from(answer.out) : answer.out;
    this.#reply(MSG.MON_COMMAND_ACK, message, encodeWith(monCommandAck, ack), {
      ...(out.length > 0 ? { data: [out] } : {}),
    });
  }

  #onPoolOp(message: IncomingMessage): void {
    const request = decode('MPoolOp', poolOp, message);
    const result = this.#mayPoolOp(request)
      ? runPoolOp(this.#state, request)
      : { code: -ERRNO.EPERM };
    const reply = {
      paxos: this.#paxos(),
      fsid: this.#state.monMap.fsid,
      code: result.code,
      epoch: this.#state.osdMaps.epoch,
      data: result.snapid === undefined ? undefined : new Encoder(8).u64(result.snapid).bytes,
    };
    this.#reply(MSG.POOLOP_REPLY, message, encodeWith(poolOpReply, reply));
  }

  /** Snapshot ids are for whoever may write to the pool; all else needs rights at the monitor. */
  #mayPoolOp(request: { op: number; pool: number }): boolean {
    if (this.#caps.allows('osd', 'w')) return true;
    const unmanaged: number[] = [POOL_OP.CREATE_UNMANAGED_SNAP, POOL_OP.DELETE_UNMANAGED_SNAP];
    if (!unmanaged.includes(request.op)) return false;
    const pool = this.#state.osdMaps.map.poolName.get(request.pool) ?? '';
    const osdCaps = this.#state.auth.get(this.client.name)?.caps.get('osd') ?? '';
    return OsdCaps.parse(osdCaps).allowsSnapshots(pool);
  }

  /** Without a manager nobody counts: zeros, as from a real cluster without one. */
  #onStatfs(message: IncomingMessage): void {
    decode('MStatfs', statfs, message);
    const { epoch } = this.#state.osdMaps;
    const reply = { fsid: this.#state.monMap.fsid, version: epoch, ...NO_STATISTICS };
    this.#reply(MSG.STATFS_REPLY, message, encodeWith(statfsReply, reply));
  }

  #onGetPoolStats(message: IncomingMessage): void {
    decode('MGetPoolStats', getPoolStats, message);
    const reply = {
      paxos: this.#paxos(),
      fsid: this.#state.monMap.fsid,
      poolStats: [],
      perPool: true,
    };
    this.#reply(MSG.GETPOOLSTATS_REPLY, message, encodeWith(poolStatsReply, reply), { version: 2 });
  }

  #onAuth(message: IncomingMessage): void {
    const { protocol, payload } = decode('MAuth', authMessage, message);
    const renewed = this.#auth?.renew(payload) ?? {
      result: -ERRNO.EOPNOTSUPP,
      payload: new Uint8Array(0),
    };
    const reply = {
      protocol,
      result: renewed.result,
      globalId: this.#connection.peer.globalId,
      payload: renewed.payload,
      message: '',
    };
    this.#reply(MSG.AUTH_REPLY, message, encodeWith(authReply, reply));
  }

  #paxos() {
    return { ...NO_PAXOS, version: this.#state.osdMaps.epoch };
  }
}

interface ReplyOptions {
  version?: number;
  compat?: number;
  data?: readonly Uint8Array[];
}

const NO_STATISTICS = { kb: 0, kbUsed: 0, kbAvail: 0, numObjects: 0 };

/** A front may end in fields that newer clients added: they are not looked at. */
function decode<T>(name: string, codec: Codec<T>, message: IncomingMessage): T {
  try {
    return decodeFirst(codec, message.front);
  } catch (error) {
    throw error instanceof DecodeError ? error.within(name) : error;
  }
}
