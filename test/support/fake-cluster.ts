/**
 * A cluster whose monitors and OSDs say what a test tells them to: real sessions of our messenger in a VirtualWorld, with
 * maps that change when the test says so. It judges nothing and stores nothing; see src/cluster for a cluster that does.
 */

import { CON_MODE, type MonAuthServer } from '../../src/auth/method.js';
import { decodeAll, encodeWith } from '../../src/encoding/codec.js';
import { ENTITY_TYPE, type EntityAddr } from '../../src/encoding/entity.js';
import { loadKernels } from '../../src/kernels/load.js';
import {
  authMessage,
  authReply,
  type MonMap,
  monCommand,
  monCommandAck,
  monGetVersion,
  monGetVersionReply,
  monMap,
  monMapMessage,
  monSubscribe,
  NO_PAXOS,
  osdMapMessage,
} from '../../src/messages/mon-messages.js';
import {
  BACKOFF_OP,
  decodeOsdRequest,
  type DecodedOsdRequest,
  encodeOsdReply,
  OSD_FLAG,
  type OsdBackoff,
  type OsdReply,
  osdBackoff,
} from '../../src/messages/osd-messages.js';
import {
  type IncomingMessage,
  MSG,
  type OutgoingMessage,
  outgoing,
} from '../../src/messages/types.js';
import type { Connection } from '../../src/msgr/connection.js';
import type { ReplicaReads } from '../../src/osd-client/replica-reads.js';
import { primaryOnly } from '../../src/osd-client/replica-reads.js';
import { ClientMap, placeObject } from '../../src/osd-client/target.js';
import { applyIncremental } from '../../src/osdmap/apply-incremental.js';
import { buildSimpleCrushMap, createOsdMap } from '../../src/osdmap/build.js';
import { twinMappers } from '../../src/osdmap/crush-twin.js';
import {
  emptyIncremental,
  encodeIncremental,
  type Incremental,
} from '../../src/osdmap/incremental.js';
import { encodeOsdMap, OSD_STATE, type OsdMap } from '../../src/osdmap/osdmap.js';
import { createPool } from '../../src/osdmap/pool.js';
import { RadosClient } from '../../src/rados/rados-client.js';
import { crc32c } from './frames.js';
import { VirtualWorld } from '../../src/sim/virtual-world.js';
import {
  cephxAuth,
  type CephxTestAuth,
  CRC_ONLY,
  noneAuth,
  startServer,
  type TestAuth,
  type TestServer,
  v2Addr,
} from './messengers.js';

export const FSID = '5b1e1b7c-7b5d-4c0e-9b8a-0123456789ab';
export const POOL = 1;
const FIRST_MON_PORT = 47_100;
const FIRST_OSD_PORT = 47_200;

export interface FakeClusterOptions {
  mons?: number;
  osds?: number;
  size?: number;
  pgNum?: number;
  cephx?: { serviceTicketTtlMs?: number; monTicketTtlMs?: number };
  seed?: number;
}

export class FakeCluster {
  readonly world: VirtualWorld;
  readonly auth: TestAuth;
  /** With option `cephx`. */
  readonly cephx: CephxTestAuth | undefined;
  readonly mons: FakeMon[] = [];
  readonly osds: FakeOsd[] = [];
  readonly monMap: MonMap;
  /** Every epoch so far: full maps, and the incrementals that led to them. */
  readonly maps: OsdMap[] = [];
  readonly incrementals = new Map<number, Uint8Array>();

  static async start(options: FakeClusterOptions = {}): Promise<FakeCluster> {
    const cluster = new FakeCluster(options);
    for (const mon of cluster.mons) await mon.start();
    for (const osd of cluster.osds) await osd.start();
    return cluster;
  }

  private constructor(options: FakeClusterOptions) {
    const { mons = 1, osds = 3, size = 1, pgNum = 8, seed = 1 } = options;
    this.world = new VirtualWorld({ seed });
    this.cephx = options.cephx ? cephxAuth(this.world.env, options.cephx) : undefined;
    this.auth = this.cephx ?? noneAuth();
    for (let i = 0; i < mons; i++) this.mons.push(new FakeMon(this, i, FIRST_MON_PORT + i));
    for (let i = 0; i < osds; i++) this.osds.push(new FakeOsd(this, i, FIRST_OSD_PORT + i));
    this.monMap = this.#monMap();
    const ids = Array.from({ length: osds }, (_, id) => id);
    this.maps.push(
      createOsdMap({
        fsid: FSID,
        epoch: 10,
        created: { sec: 1_700_000_000, nsec: 0 },
        crush: buildSimpleCrushMap({
          osds: ids.map((id) => ({ id, host: `host${id}`, weight: 1 })),
        }),
        osds: this.osds.map((osd) => ({
          id: osd.id,
          uuid: `00000000-0000-0000-0000-${String(osd.id).padStart(12, '0')}`,
          addrs: {
            client: [osd.addr],
            cluster: [osd.addr],
            hbBack: [osd.addr],
            hbFront: [osd.addr],
          },
        })),
        pools: [{ id: POOL, name: 'pool', pool: createPool({ size, pgNum }) }],
      }),
    );
  }

  #monMap(): MonMap {
    const names = this.mons.map((mon) => mon.name);
    const none = { features: 0n };
    const time = { sec: 1_700_000_000, nsec: 0 };
    return {
      fsid: FSID,
      epoch: 1,
      lastChanged: time,
      created: time,
      persistentFeatures: none,
      optionalFeatures: none,
      monInfo: new Map(
        this.mons.map((mon) => [
          mon.name,
          { name: mon.name, publicAddrs: [mon.addr], priority: 0, weight: 0, crushLoc: new Map() },
        ]),
      ),
      ranks: names,
      minMonRelease: 16,
      removedRanks: [],
      strategy: 1,
      disallowedLeaders: [],
      stretchModeEnabled: 0,
      tiebreakerMon: '',
      stretchMarkedDownMons: [],
    };
  }

  get map(): OsdMap {
    return this.maps.at(-1) as OsdMap;
  }

  get epoch(): number {
    return this.map.epoch;
  }

  /** Makes the next epoch. Nobody hears of it before `publish`. */
  change(change: (incremental: Incremental) => void = () => {}): number {
    const incremental = emptyIncremental(this.map);
    change(incremental);
    this.maps.push(applyIncremental(this.map, incremental, crc32c));
    this.incrementals.set(incremental.epoch, encodeIncremental(incremental, crc32c).slice());
    return incremental.epoch;
  }

  /** Lets the monitors answer subscriptions with what is new. */
  publish(): void {
    for (const mon of this.mons) mon.publish();
  }

  /** `change` and `publish`. */
  commit(change?: (incremental: Incremental) => void): number {
    const epoch = this.change(change);
    this.publish();
    return epoch;
  }

  markDown(osd: number): number {
    return this.commit((incremental) => incremental.newState.set(osd, OSD_STATE.UP));
  }

  /** Up again, at the address that the OSD has now. */
  markUp(osd: number): number {
    const { addr } = this.osds[osd] as FakeOsd;
    return this.commit((incremental) => incremental.newUpClient.set(osd, [addr]));
  }

  setFlags(flags: number): number {
    return this.commit((incremental) => {
      incremental.newFlags = flags;
    });
  }

  /** A MOSDMap with the incrementals from `from` on, as monitors send it; without them a full map. */
  mapMessage(from: number, options: { limit?: number } = {}): OutgoingMessage {
    const incrementalMaps = new Map<number, Uint8Array>();
    const maps = new Map<number, Uint8Array>();
    const oldest = this.maps[0]?.epoch ?? 1;
    if (from <= oldest) maps.set(this.epoch, encodeOsdMap(this.map, crc32c).slice());
    for (const [epoch, bytes] of this.incrementals) {
      if (from > oldest && epoch >= from && incrementalMaps.size < (options.limit ?? 40)) {
        incrementalMaps.set(epoch, bytes);
      }
    }
    return this.rawMapMessage({ incrementalMaps, maps });
  }

  rawMapMessage({
    incrementalMaps = new Map<number, Uint8Array>(),
    maps = new Map<number, Uint8Array>(),
    fsid = FSID,
    newestMap = this.epoch,
  }): OutgoingMessage {
    const front = encodeWith(osdMapMessage, {
      fsid,
      incrementalMaps,
      maps,
      oldestMap: this.maps[0]?.epoch ?? 1,
      newestMap,
      gapRemovedSnaps: new Map(),
    });
    return outgoing(MSG.OSD_MAP, front, { version: 4, compat: 3 });
  }

  /** The acting primary of an object by the newest map. */
  primaryOf(oid: string): number {
    const map = new ClientMap(this.map, { crc32c, crushMappers: twinMappers });
    return placeObject(map, { pool: POOL, nspace: '', oid })?.osd ?? -1;
  }

  /** A name, different for each `n`, whose primary is this OSD. */
  oidOn(osd: number, n = 0): string {
    for (let i = 0, found = 0; i < 10_000; i++) {
      const oid = `object${i}`;
      if (this.primaryOf(oid) === osd && found++ === n) return oid;
    }
    throw new Error(`no object on osd.${osd}`);
  }

  osd(id: number): FakeOsd {
    const osd = this.osds[id];
    if (!osd) throw new Error(`no osd.${id}`);
    return osd;
  }

  get monAddrs(): EntityAddr[] {
    return this.mons.map((mon) => mon.addr);
  }

  /** A client of this cluster, connected. */
  async connect(options: ConnectFakeOptions = {}): Promise<RadosClient> {
    return this.world.until(this.connecting(options));
  }

  connecting({ signal, replicaReads, ...options }: ConnectFakeOptions = {}): Promise<RadosClient> {
    return RadosClient.connect(
      {
        env: this.world.env,
        kernels: loadKernels({ memoryBytes: 8 << 20 }),
        auths: [this.auth.client()],
        monAddrs: this.monAddrs,
        monModes: [CON_MODE.CRC],
        osdModes: [CON_MODE.CRC],
        mountTimeoutMs: 300_000,
        osdOpTimeoutMs: 0,
        monOpTimeoutMs: 0,
        osdKeepaliveMs: 5000,
        osdIdleTtlMs: 60_000,
        replicaReads: replicaReads ?? primaryOnly(),
        abortOnFull: false,
        ...options,
      },
      signal,
    );
  }
}

export interface ConnectFakeOptions {
  mountTimeoutMs?: number;
  osdOpTimeoutMs?: number;
  monOpTimeoutMs?: number;
  osdIdleTtlMs?: number;
  abortOnFull?: boolean;
  replicaReads?: ReplicaReads;
  monAddrs?: readonly EntityAddr[];
  signal?: AbortSignal;
}

interface Subscription {
  start: number;
  onetime: boolean;
}

interface MonSession {
  connection: Connection;
  auth: MonAuthServer;
  subscriptions: Map<string, Subscription>;
}

/** What a monitor was asked, for a test to look at. */
export interface MonRequest {
  type: number;
  tid: number;
  /** Of subscriptions, what was wanted from which version on. */
  wants: Record<string, number>;
  message: IncomingMessage;
}

export class FakeMon {
  readonly id: number;
  readonly addr: EntityAddr;
  readonly requests: MonRequest[] = [];
  readonly sessions = new Set<MonSession>();
  /** Takes a message itself when it returns true. */
  intercept: (message: IncomingMessage, connection: Connection) => boolean = () => false;
  /** Answers commands: result, status, output. */
  onCommand: (command: Record<string, unknown>) => { r?: number; rs?: string; output?: string } =
    () => ({});
  /** Answers MON_GET_VERSION of the osdmap. */
  newestOsdMap: () => number;
  /** How many incrementals a message carries. */
  mapsPerMessage = 40;
  readonly #cluster: FakeCluster;
  #server: TestServer | undefined;
  /** Of the handshake that came last: clients come one after the other. */
  #lastAuth: MonAuthServer | undefined;

  constructor(cluster: FakeCluster, id: number, port: number) {
    this.#cluster = cluster;
    this.id = id;
    this.addr = v2Addr(port);
    this.newestOsdMap = () => cluster.epoch;
  }

  get name(): string {
    return String.fromCharCode(97 + this.id);
  }

  async start(): Promise<void> {
    this.#server = await startServer(this.#cluster.world.env, this.#cluster.auth, {
      port: this.addr.port,
      entityType: ENTITY_TYPE.MON,
      gid: BigInt(this.id),
      authServer: () => {
        const auth = this.#cluster.auth.server(ENTITY_TYPE.MON) as MonAuthServer;
        this.#lastAuth = auth;
        return auth;
      },
      accept: () => {
        let session: MonSession | undefined;
        return {
          onReady: (connection) => {
            session = {
              connection,
              auth: this.#lastAuth as MonAuthServer,
              subscriptions: new Map(),
            };
            this.sessions.add(session);
          },
          onMessage: (connection, message) => {
            if (session) this.#onMessage(session, connection, message);
          },
          onClose: () => {
            if (session) this.sessions.delete(session);
          },
        };
      },
    });
  }

  /** Ends all sessions and listens no more. */
  async stop(): Promise<void> {
    await this.#server?.server.close();
    this.#server = undefined;
  }

  #onMessage(session: MonSession, connection: Connection, message: IncomingMessage): void {
    const wants: Record<string, number> = {};
    if (message.type === MSG.MON_SUBSCRIBE) {
      const { what } = decodeAll('MMonSubscribe', monSubscribe, message.front);
      for (const [name, { start }] of what) wants[name] = start;
    }
    const kept = { ...message, front: new Uint8Array(message.front) };
    this.requests.push({ type: message.type, tid: message.tid, wants, message: kept });
    if (this.intercept(message, connection)) return;
    const reply = (type: number, front: Uint8Array, options: { data?: Uint8Array[] } = {}) =>
      connection.send(outgoing(type, front, { tid: message.tid, ...options }));
    switch (message.type) {
      case MSG.MON_GET_MAP:
        connection.send(this.monMapMessage());
        break;
      case MSG.MON_SUBSCRIBE: {
        const { what } = decodeAll('MMonSubscribe', monSubscribe, message.front);
        for (const [name, { start, flags }] of what) {
          session.subscriptions.set(name, { start, onetime: (flags & 1) !== 0 });
        }
        this.#serve(session);
        break;
      }
      case MSG.MON_GET_VERSION: {
        const { handle } = decodeAll('MMonGetVersion', monGetVersion, message.front);
        const version = this.newestOsdMap();
        const front = encodeWith(monGetVersionReply, { handle, version, oldestVersion: 1 });
        reply(MSG.MON_GET_VERSION_REPLY, front);
        break;
      }
      case MSG.MON_COMMAND: {
        const { cmd } = decodeAll('MMonCommand', monCommand, message.front);
        const {
          r = 0,
          rs = '',
          output = '',
        } = this.onCommand(JSON.parse(cmd[0] ?? '{}') as Record<string, unknown>);
        const front = encodeWith(monCommandAck, { paxos: NO_PAXOS, r, rs, cmd });
        reply(MSG.MON_COMMAND_ACK, front, { data: [Buffer.from(output)] });
        break;
      }
      case MSG.AUTH: {
        const { payload } = decodeAll('MAuth', authMessage, message.front);
        const { result, payload: answer } = session.auth.renew(payload);
        const front = encodeWith(authReply, {
          protocol: 2,
          result,
          globalId: connection.peer.globalId,
          payload: answer,
          message: '',
        });
        reply(MSG.AUTH_REPLY, front);
        break;
      }
    }
  }

  monMapMessage(map: MonMap = this.#cluster.monMap): OutgoingMessage {
    return outgoing(MSG.MON_MAP, encodeWith(monMapMessage, { monmap: encodeWith(monMap, map) }));
  }

  publish(): void {
    for (const session of this.sessions) this.#serve(session);
  }

  /** As `OSDMonitor::check_osdmap_sub`: what is newer than wanted is sent, and a one-time wish is then over. */
  #serve({ connection, subscriptions }: MonSession): void {
    const monmap = subscriptions.get('monmap');
    if (monmap && monmap.start <= this.#cluster.monMap.epoch) {
      connection.send(this.monMapMessage());
      monmap.start = this.#cluster.monMap.epoch + 1;
    }
    const osdmap = subscriptions.get('osdmap');
    if (!osdmap || osdmap.start > this.#cluster.epoch) return;
    connection.send(this.#cluster.mapMessage(osdmap.start, { limit: this.mapsPerMessage }));
    if (osdmap.onetime) subscriptions.delete('osdmap');
    else osdmap.start = this.#cluster.epoch + 1;
  }
}

/** One arrival of an operation at an OSD. */
export interface Arrival {
  osd: number;
  tid: number;
  request: DecodedOsdRequest;
  /** `request.retryAttempt`. */
  attempt: number;
  connection: Connection;
  /** Answers: success with these outputs of the operations, or the given changes. */
  reply: (change?: Partial<OsdReply> & { outputs?: readonly Uint8Array[] }) => void;
}

export class FakeOsd {
  readonly id: number;
  readonly arrivals: Arrival[] = [];
  readonly pings: number[] = [];
  readonly backoffAcks: OsdBackoff[] = [];
  readonly connections = new Set<Connection>();
  /** What to do with an operation; by default it succeeds without output. */
  onRequest: (arrival: Arrival) => void = (arrival) => arrival.reply();
  addr: EntityAddr;
  readonly #cluster: FakeCluster;
  #server: TestServer | undefined;

  constructor(cluster: FakeCluster, id: number, port: number) {
    this.#cluster = cluster;
    this.id = id;
    this.addr = v2Addr(port, 1000 + id);
  }

  async start(): Promise<void> {
    this.#server = await startServer(this.#cluster.world.env, this.#cluster.auth, {
      port: this.addr.port,
      nonce: this.addr.nonce,
      entityType: ENTITY_TYPE.OSD,
      gid: BigInt(this.id),
      modes: CRC_ONLY,
      accept: () => ({
        onReady: (connection) => this.connections.add(connection),
        onMessage: (connection, message) => this.#onMessage(connection, message),
        onClose: (connection) => this.connections.delete(connection),
      }),
    });
  }

  async stop(): Promise<void> {
    await this.#server?.server.close();
    this.#server = undefined;
  }

  /** Comes back as another process: the same port, another nonce. */
  async restart(): Promise<void> {
    await this.stop();
    this.addr = { ...this.addr, nonce: this.addr.nonce + 1 };
    await this.start();
  }

  /** Drops its connections; what was under way is lost. */
  dropConnections(): void {
    for (const connection of this.connections) connection.close();
  }

  #onMessage(connection: Connection, message: IncomingMessage): void {
    if (message.type === MSG.PING) this.pings.push(this.#cluster.world.now);
    if (message.type === MSG.OSD_BACKOFF) {
      this.backoffAcks.push(decodeAll('MOSDBackoff', osdBackoff, message.front));
    }
    if (message.type !== MSG.OSD_OP) return;
    const request = decodeOsdRequest(new Uint8Array(message.front), message.data);
    const arrival: Arrival = {
      osd: this.id,
      tid: message.tid,
      request,
      attempt: request.retryAttempt,
      connection,
      reply: ({ outputs = [], ...change } = {}) =>
        connection.send(osdReply(message.tid, request, { outputs, ...change })),
    };
    this.arrivals.push(arrival);
    this.onRequest(arrival);
  }

  /** Names of the objects asked for, in the order of arrival. */
  get oids(): string[] {
    return this.arrivals.map(({ request }) => request.oid);
  }

  backoff(
    connection: Connection,
    backoff: Omit<OsdBackoff, 'op' | 'epoch'>,
    op: 'BLOCK' | 'UNBLOCK',
  ) {
    connection.send(
      outgoing(
        MSG.OSD_BACKOFF,
        encodeWith(osdBackoff, { ...backoff, epoch: this.#cluster.epoch, op: BACKOFF_OP[op] }),
      ),
    );
  }
}

export function osdReply(
  tid: number,
  request: DecodedOsdRequest,
  change: Partial<OsdReply> & { outputs?: readonly Uint8Array[] } = {},
): OutgoingMessage {
  const reply = osdReplyOf(request, change);
  return outgoing(MSG.OSD_OPREPLY, encodeOsdReply(reply), {
    version: 8,
    compat: 2,
    tid,
    data: reply.ops.map((op) => op.outdata),
  });
}

/** The answer to a request: success, unless `change` says otherwise. */
export function osdReplyOf(
  request: DecodedOsdRequest,
  { outputs = [], ...change }: Partial<OsdReply> & { outputs?: readonly Uint8Array[] } = {},
): OsdReply {
  return {
    oid: request.oid,
    pg: request.pg,
    flags: request.flags | OSD_FLAG.ACK | OSD_FLAG.ONDISK,
    result: 0,
    epoch: request.epoch,
    ops: request.ops.map((op, i) => ({ op, rval: 0, outdata: outputs[i] ?? new Uint8Array(0) })),
    retryAttempt: request.retryAttempt,
    badReplayVersion: { version: 0n, epoch: 0 },
    replayVersion: { version: 1n, epoch: request.epoch },
    userVersion: 1n,
    ...change,
  };
}
