/**
 * An embedded OSD: listens for clients, follows the monitor's maps, and holds its PGs.
 *
 *   session -> request -> PG -> object lane -> executor -> store transaction -> replicas -> reply
 */

import { channel } from 'node:diagnostics_channel';
import type { SocketAddress } from '../base/environment.js';
import { ERRNO } from '../base/errors.js';
import { ADDR_TYPE, type EntityAddr, ENTITY_TYPE, sameAddr } from '../encoding/entity.js';
import { formatPgId, type PgId } from '../encoding/types.js';
import { CON_MODE } from '../auth/method.js';
import type { Connection, MessengerContext } from '../msgr/connection.js';
import { type Server, serve } from '../msgr/listener.js';
import { twinMappers } from '../osdmap/crush-twin.js';
import type { CrushMappers } from '../osdmap/crush-mapper.js';
import { stableMod } from '../osdmap/object-hash.js';
import type { OsdMap } from '../osdmap/osdmap.js';
import type { ClassRegistry } from './classes/class-registry.js';
import { createClasses } from './classes/index.js';
import type { ClientIdentity } from './faults/client-match.js';
import type { OsdFaults } from './faults/osd-faults.js';
import type { MonLink } from './mon-link.js';
import type { Backoff } from './osd/backoffs.js';
import type { ClientOp } from './osd/client-op.js';
import { ClientThrottle } from './osd/client-throttle.js';
import type { ClientSession } from './osd/client-request.js';
import type { CommandSource } from './osd/daemon-commands.js';
import { errorReply, Executor } from './osd/executor.js';
import { DEFAULT_LIMITS, type OsdLimits } from './osd/limits.js';
import { MonReports } from './osd/mon-reports.js';
import { OsdMaps } from './osd/osd-maps.js';
import type { OsdPeer, PeerDirectory } from './osd/osd-peer.js';
import { PeerCalls } from './osd/peer-calls.js';
import { Pg } from './osd/pg.js';
import { splitPg } from './osd/pg-split.js';
import type { MapView, PgHost } from './osd/pg-host.js';
import type { PgPrimary } from './osd/pg-primary.js';
import { OpTracker } from './osd/op-tracker.js';
import { Blocker } from './osd/pipeline/blocker.js';
import type { PipelineMode } from './osd/pipeline/pg-pipeline.js';
import type { Phase } from './osd/pipeline/phase.js';
import { PipelineWorld } from './osd/pipeline/world.js';
import type { PgStat } from './osd/pg-state.js';
import { PgTable } from './osd/pg-table.js';
import type { ScrubKind } from './osd/scrub/scrubber.js';
import { RecoverySlots } from './osd/recovery-slots.js';
import { OsdSession, type SessionOwner } from './osd/session.js';
import type { ObjectStore } from './store/object-store.js';

export type { OsdPeer, PeerDirectory } from './osd/osd-peer.js';

export interface OsdDaemonOptions extends MessengerContext {
  readonly id: number;
  readonly host: string;
  /** What the maps have for its address, if another. */
  readonly advertise?: string | undefined;
  /** 0 or absent: any free port. */
  readonly port?: number;
  readonly mon: MonLink;
  readonly peers: PeerDirectory;
  /** Kept over a restart by whoever passes it. */
  readonly objectStore: ObjectStore;
  /** `osd_client_watch_timeout` */
  readonly watchTimeoutS?: number;
  readonly limits?: Partial<OsdLimits>;
  /** Computes placement; by default the TypeScript twin. */
  readonly crushMappers?: CrushMappers;
  /** How often other OSDs are looked after. */
  readonly heartbeatMs?: number;
  /** Called before the monitor hears of it: as soon as a map has it up, others look for it in their directory. */
  readonly onReachable?: (osd: OsdDaemon) => void;
  /** Awaited before the monitor hears of it. */
  readonly beforeBoot?: () => Promise<void>;
  /** A client has authenticated, on the connection from this address. */
  readonly onClient?: (remote: SocketAddress, client: ClientIdentity) => void;
  /** How much of its work goes side by side. Default `object`. */
  readonly pipelineMode?: PipelineMode;
  /** Faults that are injected into its work. */
  readonly faults?: OsdFaults;
  /** What calls of other OSDs wait for, when they must. */
  readonly passage?: () => Promise<void> | undefined;
  /** The same for their heartbeats. */
  readonly pingPassage?: () => Promise<void> | undefined;
  /** Without an answer for so long, a peer is reported (`osd_heartbeat_grace`). */
  readonly heartbeatGraceMs?: number;
}

/** Where every OSD is published when it begins, for who wants to look on (`node:diagnostics_channel`). */
export const OSD_CHANNEL = 'linger.osd';

const published = channel(OSD_CHANNEL);

export class OsdDaemon implements PgHost, SessionOwner, CommandSource {
  readonly whoami: number;
  readonly env;
  readonly log;
  readonly crc32c;
  readonly store: ObjectStore;
  readonly limits: OsdLimits;
  readonly classes: ClassRegistry = createClasses();
  readonly executor = new Executor(this.classes);
  readonly peers: PeerDirectory;
  /** What it is to other OSDs. */
  readonly peer: OsdPeer;
  readonly faults: OsdFaults | undefined;
  readonly recoverySlots: RecoverySlots;
  readonly pipeline: PipelineWorld;
  readonly pipelineMode: PipelineMode;
  readonly tracker = new OpTracker();
  readonly untilUp = new Blocker('osd_boot');
  readonly #createOrWaitPg: Phase;
  readonly throttle: ClientThrottle;

  readonly #options: OsdDaemonOptions;
  readonly #mon: MonLink;
  readonly #maps: OsdMaps;
  readonly #reports: MonReports;
  readonly #nonce: number;
  readonly #pgs = new PgTable<Pg>();
  readonly #sessions = new Set<OsdSession>();
  #server: Server | undefined;
  #unsubscribe: (() => void) | undefined;
  #notifies = 0;
  #up = false;
  #booted = false;
  #dead = false;

  private constructor(options: OsdDaemonOptions) {
    this.#options = options;
    this.#mon = options.mon;
    this.whoami = options.id;
    this.#maps = new OsdMaps({
      name: `osd.${options.id}`,
      mappers: options.crushMappers ?? twinMappers,
      mapAt: (epoch) => options.mon.mapAt?.(epoch),
    });
    this.env = options.env;
    this.log = options.env.log.osd;
    this.crc32c = options.crc32c;
    this.store = options.objectStore;
    this.limits = {
      ...DEFAULT_LIMITS,
      ...options.limits,
      watchTimeoutS: options.watchTimeoutS ?? DEFAULT_LIMITS.watchTimeoutS,
    };
    this.throttle = new ClientThrottle(this.limits.clients);
    this.faults = options.faults;
    this.pipeline = new PipelineWorld(options.env.clock, {
      osd: options.id,
      faults: options.faults?.points,
    });
    this.pipelineMode = options.pipelineMode ?? 'object';
    this.#createOrWaitPg = this.pipeline.exclusive('S1.create_or_wait_pg', `osd.${options.id}`);
    this.recoverySlots = new RecoverySlots(this.limits.recoveryMaxActive);
    this.peer = new PeerCalls({
      whoami: options.id,
      maps: this.#maps,
      passage: options.passage,
      pingPassage: options.pingPassage,
      pg: (id) => this.#pgs.get(id),
      removePg: (pg) => this.#removePg(pg),
    });
    // This OSD is its own peer whether or not the directory has it yet.
    this.peers = { osd: (id) => (id === this.whoami ? this.peer : options.peers.osd(id)) };
    this.#reports = new MonReports({
      env: options.env,
      whoami: options.id,
      mon: options.mon,
      peers: this.peers,
      heartbeatMs: options.heartbeatMs,
      heartbeatGraceMs: options.heartbeatGraceMs,
      view: () => this.view,
      isFull: () => this.store.isFull,
      onHeartbeat: () => this.#onHeartbeat(),
    });
    // Never 0, and new with every start, so that a restart is a change of the map.
    this.#nonce = options.env.random.u32() || 1;
    if (published.hasSubscribers) published.publish(this);
  }

  /** Resolves when the monitor's map says that this OSD is up. */
  static async start(options: OsdDaemonOptions): Promise<OsdDaemon> {
    const osd = new OsdDaemon(options);
    try {
      await osd.#start();
    } catch (error) {
      osd.kill();
      throw error;
    }
    return osd;
  }

  /** Drops all sessions and stops listening. */
  async stop(): Promise<void> {
    const server = this.#shutDown();
    await server?.close();
  }

  /** At once, as a crash: what was under way is neither finished nor answered. The store stays as it is. */
  kill(): void {
    const server = this.#shutDown();
    server?.close().catch((error: unknown) => this.log.debug({ err: error }, 'closing failed'));
  }

  get addrs(): EntityAddr[] {
    const { host, port } = (this.#server as Server).address;
    const { advertise = host } = this.#options;
    return [{ type: ADDR_TYPE.MSGR2, nonce: this.#nonce, host: advertise, port }];
  }

  /** The same for all OSDs of a cluster in this process, and for no other. */
  get cluster(): unknown {
    return this.#options.faults ?? this.#options.mon;
  }

  get alive(): boolean {
    return !this.#dead;
  }

  /** The PG, while this OSD serves it. */
  servedPg(id: PgId): PgPrimary | undefined {
    return this.#pgs.get(id)?.active;
  }

  get pgCount(): number {
    return this.#pgs.size;
  }

  /** Whether it is the PG's primary, and knows by now what is in it. */
  serves(pg: PgId): boolean {
    return this.#pgs.get(pg)?.active !== undefined;
  }

  servedPgs(): PgPrimary[] {
    return [...this.#pgs].flatMap(({ active }) => (active ? [active] : []));
  }

  /** The states of the PGs that this OSD is primary for, by PG. */
  pgStates(): Map<string, string> {
    const states = new Map<string, string>();
    for (const { id, stateName } of this.#pgs) if (stateName) states.set(formatPgId(id), stateName);
    return states;
  }

  /** What it reports to the monitor. */
  pgStats(): PgStat[] {
    return [...this.#pgs].flatMap((pg) => pg.stat() ?? []);
  }

  /** False: it is not the PG's primary. */
  scrub(id: PgId, kind: ScrubKind): boolean {
    return this.#pgs.get(id)?.requestScrub(kind) ?? false;
  }

  // ---- life ----

  async #start(): Promise<void> {
    const { env, crc32c, windows, host, port, id } = this.#options;
    this.#server = await serve({
      env,
      crc32c,
      windows,
      at: { host, port: port ?? 0 },
      entityType: ENTITY_TYPE.OSD,
      addrs: () => this.addrs,
      gid: BigInt(id),
      methods: this.#mon.authMethods,
      modes: [CON_MODE.CRC, CON_MODE.SECURE],
      authServer: () => this.#mon.authServer(),
      accept: (connection) => {
        const session = new OsdSession(this, connection);
        this.#sessions.add(session);
        return session;
      },
    });
    for (const collection of this.store.collections()) this.#ensurePg(parsePgId(collection));
    this.#unsubscribe = this.#mon.subscribe(({ map }) => this.#onMap(map));
    this.#options.onReachable?.(this);
    await this.#options.beforeBoot?.();
    await this.#mon.boot(id, this.addrs);
    this.#booted = true;
    this.#reports.start();
  }

  #onHeartbeat(): void {
    this.tracker.complain(this.pipeline.now(), this.log);
    for (const pg of this.#pgs) pg.onTick();
  }

  #shutDown(): Server | undefined {
    if (this.#dead) return undefined;
    this.#dead = true;
    this.#unsubscribe?.();
    this.#reports.end();
    // Nobody is told to come again.
    for (const { backoffs } of this.#sessions) backoffs?.clear();
    for (const pg of this.#pgs) pg.stop();
    this.#pgs.clear();
    this.#maps.end();
    return this.#server;
  }

  // ---- maps ----

  get view(): MapView {
    return this.#maps.view;
  }

  get isUp(): boolean {
    return this.#up;
  }

  get epoch(): number {
    return this.#maps.epoch;
  }

  #onMap(map: OsdMap): void {
    if (this.#dead || map.epoch <= this.epoch) return;
    // Every epoch counts: an interval may have come and gone in one that was not announced.
    const first = this.epoch === 0 ? map.epoch : this.epoch + 1;
    for (let missed = first; missed < map.epoch; missed++) {
      const between = this.#mon.mapAt?.(missed);
      if (between) this.#takeMap(between);
    }
    this.#takeMap(map);
    if (this.#booted && !this.#up) this.#bootAgain();
  }

  /** The map has this OSD down, wrongly or by an administrator's word. */
  #bootAgain(): void {
    this.env.timers.nextTurn(() => {
      if (this.#dead || this.#up) return;
      this.#mon.boot(this.whoami, this.addrs).catch((error: unknown) => {
        this.log.warn({ err: error }, 'could not boot again');
      });
    });
  }

  #takeMap(map: OsdMap): void {
    this.#maps.take(map);
    // Between a restart and its boot the map may still show the OSD up: at the old address, as somebody else.
    this.#up =
      map.isUp(this.whoami) &&
      map.osdAddrs(this.whoami).some((addr) => this.addrs.some((own) => sameAddr(addr, own)));
    this.#splitPgs();
    if (this.#up) this.#createPgs();
    for (const pg of [...this.#pgs]) {
      if (pg.onMap()) continue;
      this.#pgs.delete(pg.id);
      pg.destroy().catch((error: unknown) => {
        this.log.warn({ pg: formatPgId(pg.id), err: error }, 'a PG could not be removed');
      });
    }
    this.#maps.announce();
    if (this.#up) this.untilUp.lift();
    for (const session of this.#sessions) session.onMap();
  }

  /** Before anybody looks at them in this map. */
  #splitPgs(): void {
    const { store } = this;
    for (const collection of store.collections()) {
      const id = parsePgId(collection);
      const info = store.pgInfo(collection);
      const after = this.view.map.pool(id.pool)?.pgNum;
      if (!info || after === undefined) continue;
      const before = info.pgNum ?? this.viewAt(info.mapEpoch)?.map.pool(id.pool)?.pgNum ?? after;
      if (before >= after) continue;
      const pg = this.#ensurePg(id);
      pg.beginSplit();
      const children = splitPg(id, { store, before, after });
      pg.endSplit();
      for (const child of children) this.#ensurePg(child);
      this.log.info({ pg: collection, into: children.length + 1 }, 'a PG was split');
    }
  }

  #createPgs(): void {
    const { map, placement } = this.view;
    for (const [pool, { pgNum }] of map.pools) {
      for (let seed = 0; seed < pgNum; seed++) {
        const pg = { pool, seed };
        if (placement.pgToUpActing(pg).acting.includes(this.whoami)) this.#ensurePg(pg);
      }
    }
  }

  #ensurePg(id: PgId): Pg {
    let pg = this.#pgs.get(id);
    if (!pg) {
      pg = new Pg(id, this);
      this.#pgs.add(pg);
    }
    return pg;
  }

  async #removePg(pg: Pg): Promise<void> {
    this.#pgs.delete(pg.id);
    await pg.destroy();
  }

  mapReached(epoch: number): Promise<void> {
    return this.#maps.reached(epoch);
  }

  viewAt(epoch: number): MapView | undefined {
    return this.#maps.at(epoch);
  }

  mapMessage(fromEpoch: number): Uint8Array | undefined {
    return this.#mon.mapMessage(fromEpoch);
  }

  shareMap(session: ClientSession): void {
    if (session instanceof OsdSession) session.shareMap();
  }

  reportFull(): Promise<void> {
    return this.#reports.full();
  }

  reportFailure(osd: number): void {
    this.#reports.failure(osd);
  }

  reportAlive(): void {
    this.#mon.reportAlive(this.whoami, this.epoch);
  }

  requestPgTemp(id: PgId, osds: readonly number[]): boolean {
    return this.#mon.requestPgTemp?.(id, osds) ?? false;
  }

  /** Unique in the cluster's life: the epoch, then a counter. */
  nextNotifyId(): bigint {
    this.#notifies = (this.#notifies + 1) >>> 0;
    return (BigInt(this.epoch) << 32n) | BigInt(this.#notifies);
  }

  // ---- clients ----

  /** Requests for PGs of others, and for PGs that do not exist, get no answer: the next map tells the client. */
  dispatch(op: ClientOp): void {
    const { request } = op.client;
    const pool = this.view.map.pool(request.pg.pool);
    const { acting, actingPrimary } = this.view.placement.pgToUpActing(request.pg);
    const isPrimary = actingPrimary === this.whoami;
    const isAskedAsReplica = op.isForAnyMember && acting.includes(this.whoami);
    const misdirected =
      (!isPrimary && !isAskedAsReplica) ||
      !pool ||
      stableMod(request.hash, pool.pgNum) !== request.pg.seed ||
      request.locator.pool !== request.pg.pool;
    if (misdirected) op.drop('misdirected');
    // An operation that was sent by an older map than that would reorder those that were sent again (`can_discard_op`).
    else if (pool.lastForceOpResend > request.epoch) op.drop('to be sent again');
    else if (isPrimary) op.enter(this.#createOrWaitPg, this.#pgFound);
    else op.pass('reply', this.#sendToPrimary);
  }

  /** A replica that cannot tell whether the object is as it will stay lets its client ask the primary; this one never can. */
  readonly #sendToPrimary = (op: ClientOp): void => {
    op.reply = errorReply(this, op.client, -ERRNO.EAGAIN);
    op.answer(this.faults);
  };

  readonly #pgFound = (op: ClientOp): void => {
    const pg = this.#pgs.get(op.client.request.pg);
    if (pg) pg.handle(op);
    else op.drop('no such PG');
  };

  /** A client has one connection: another from the same address ends the first (`stateless_registered_server`). */
  opened(session: OsdSession, { remoteAddress }: Connection): void {
    const isBlank = session.addr.type === ADDR_TYPE.NONE;
    for (const other of isBlank ? [] : [...this.#sessions]) {
      if (other !== session && sameAddr(other.addr, session.addr)) other.close();
    }
    if (remoteAddress) this.#options.onClient?.(remoteAddress, session);
  }

  closed(session: OsdSession): void {
    this.#sessions.delete(session);
    for (const pg of this.#pgs) pg.sessionClosed(session);
    this.pipeline.log?.session('session closed', session);
  }

  backoffs(): Backoff[] {
    return [...this.#sessions].flatMap(({ backoffs }) => backoffs?.all() ?? []);
  }

  busyPhases(): Phase[] {
    return [
      ...[...this.#sessions].flatMap((session) => session.phases()),
      this.#createOrWaitPg,
      ...[...this.#pgs].flatMap((pg) => pg.busyPhases()),
    ].filter(({ size }) => size > 0);
  }
}

/** `1.2f` → pool 1, seed 0x2f. */
function parsePgId(text: string): PgId {
  const [pool = '', seed = ''] = text.split('.');
  return { pool: Number(pool), seed: Number.parseInt(seed, 16) };
}
