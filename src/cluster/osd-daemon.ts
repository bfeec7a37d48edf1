/**
 * An embedded OSD: listens for clients, follows the monitor's maps, and holds its PGs.
 *
 *   session -> request -> PG -> object lane -> executor -> store transaction -> replicas -> reply
 */

import type { SocketAddress, Timer } from '../base/environment.js';
import { RadosError } from '../base/errors.js';
import { ADDR_TYPE, type EntityAddr, ENTITY_TYPE, sameAddr } from '../encoding/entity.js';
import { formatPgId, type PgId } from '../encoding/types.js';
import { CON_MODE } from '../auth/method.js';
import type { Connection, MessengerContext } from '../msgr/connection.js';
import { type Server, serve } from '../msgr/listener.js';
import { twinMappers } from '../osdmap/crush-twin.js';
import type { CrushMappers } from '../osdmap/crush-mapper.js';
import { stableMod } from '../osdmap/object-hash.js';
import type { OsdMap } from '../osdmap/osdmap.js';
import { objectToPg, Placement } from '../osdmap/placement.js';
import type { ClassRegistry } from './classes/class-registry.js';
import { createClasses } from './classes/index.js';
import type { ClientIdentity } from './faults/client-match.js';
import type { OsdFaults } from './faults/osd-faults.js';
import type { MonLink } from './mon-link.js';
import type { ClientRequest, ClientSession } from './osd/client-request.js';
import { Executor } from './osd/executor.js';
import { DEFAULT_LIMITS, type OsdLimits } from './osd/limits.js';
import type { CopySource } from './osd/op-context.js';
import type { CopyTarget, OsdPeer, PeerDirectory, ReplicatedChange } from './osd/osd-peer.js';
import { Pg } from './osd/pg.js';
import type { MapView, PgHost } from './osd/pg-host.js';
import type { PgPrimary } from './osd/pg-primary.js';
import { OsdSession, type SessionOwner } from './osd/session.js';
import type { ObjectId } from './store/object-id.js';
import type { ObjectStore } from './store/object-store.js';
import type { LogEntry, PgInfo } from './store/pg-record.js';
import type { ObjectDump } from './store/transaction.js';

export type { OsdPeer, PeerDirectory } from './osd/osd-peer.js';

export interface OsdDaemonOptions extends MessengerContext {
  readonly id: number;
  readonly host: string;
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
  /** Faults that are injected into its work. */
  readonly faults?: OsdFaults;
  /** What calls of other OSDs wait for, when they must. */
  readonly passage?: () => Promise<void> | undefined;
}

const HEARTBEAT_MS = 1000;
/** How long an OSD may be missing before it is reported: one that just started is not in the directory yet. */
const FAILURE_GRACE_MS = 100;
/** How often an OSD without room looks whether there is some. */
const SPACE_LOOK_MS = 500;
const MAX_IN_FLIGHT_OPS = 1024;
const MAX_IN_FLIGHT_BYTES = 64 * 1024 * 1024;
/** Views of past maps kept for PGs that catch up. */
const PAST_VIEWS_MAX = 64;

export class OsdDaemon implements OsdPeer, PgHost, SessionOwner {
  readonly whoami: number;
  readonly env;
  readonly log;
  readonly crc32c;
  readonly store: ObjectStore;
  readonly limits: OsdLimits;
  readonly classes: ClassRegistry = createClasses();
  readonly executor = new Executor(this.classes);
  readonly peers: PeerDirectory;
  readonly faults: OsdFaults | undefined;
  readonly maxInFlightOps = MAX_IN_FLIGHT_OPS;
  readonly maxInFlightBytes = MAX_IN_FLIGHT_BYTES;

  readonly #options: OsdDaemonOptions;
  readonly #mon: MonLink;
  readonly #mappers: CrushMappers;
  readonly #nonce: number;
  readonly #pgs = new Map<string, Pg>();
  readonly #sessions = new Set<OsdSession>();
  readonly #pastViews = new Map<number, MapView>();
  #waiters: { epoch: number; resolve: () => void; reject: (error: Error) => void }[] = [];
  #view: MapView | undefined;
  #server: Server | undefined;
  #unsubscribe: (() => void) | undefined;
  #heartbeat: Timer | undefined;
  #spaceWatch: Timer | undefined;
  readonly #suspects = new Set<number>();
  #notifies = 0;
  #up = false;
  #booted = false;
  #dead = false;

  private constructor(options: OsdDaemonOptions) {
    this.#options = options;
    this.#mon = options.mon;
    this.#mappers = options.crushMappers ?? twinMappers;
    this.whoami = options.id;
    this.env = options.env;
    this.log = options.env.log.osd;
    this.crc32c = options.crc32c;
    this.store = options.objectStore;
    this.limits = {
      ...DEFAULT_LIMITS,
      ...options.limits,
      watchTimeoutS: options.watchTimeoutS ?? DEFAULT_LIMITS.watchTimeoutS,
    };
    this.faults = options.faults;
    // This OSD is its own peer whether or not the directory has it yet.
    this.peers = { osd: (id) => (id === this.whoami ? this : options.peers.osd(id)) };
    // Never 0, and new with every start, so that a restart is a change of the map.
    this.#nonce = options.env.random.u32() || 1;
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
    const { address } = this.#server as Server;
    const { host } = this.#options;
    return [{ type: ADDR_TYPE.MSGR2, nonce: this.#nonce, host, port: address.port }];
  }

  get alive(): boolean {
    return !this.#dead;
  }

  /** The PG, while this OSD serves it. */
  servedPg(id: PgId): PgPrimary | undefined {
    return this.#pgs.get(formatPgId(id))?.active;
  }

  servedPgs(): PgPrimary[] {
    return [...this.#pgs.values()].flatMap(({ active }) => (active ? [active] : []));
  }

  /** PGs that this OSD is primary for, by state. */
  pgStates(): Map<string, string> {
    return new Map([...this.#pgs].map(([key, pg]) => [key, pg.state]));
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
    this.#scheduleHeartbeat();
    // What it said before it ended may not be so any more.
    this.#watchSpace();
  }

  #shutDown(): Server | undefined {
    if (this.#dead) return undefined;
    this.#dead = true;
    this.#unsubscribe?.();
    this.#heartbeat?.cancel();
    this.#spaceWatch?.cancel();
    for (const pg of this.#pgs.values()) pg.stop();
    this.#pgs.clear();
    const gone = this.#goneError();
    for (const { reject } of this.#waiters.splice(0)) reject(gone);
    return this.#server;
  }

  #goneError(): RadosError {
    return new RadosError('EAGAIN', `osd.${this.whoami} is gone`, { retryable: true });
  }

  #scheduleHeartbeat(): void {
    const interval = this.#options.heartbeatMs ?? HEARTBEAT_MS;
    this.#heartbeat = this.env.timers.after(
      interval,
      () => {
        const { map } = this.view;
        for (let osd = 0; osd < map.maxOsd; osd++) {
          if (osd !== this.whoami && map.isUp(osd) && !this.peers.osd(osd)) {
            this.reportFailure(osd);
          }
        }
        this.#scheduleHeartbeat();
      },
      { background: true },
    );
  }

  // ---- maps ----

  get view(): MapView {
    if (!this.#view) throw new RadosError('EAGAIN', `osd.${this.whoami} has no map yet`);
    return this.#view;
  }

  get epoch(): number {
    return this.#view?.epoch ?? 0;
  }

  #onMap(map: OsdMap): void {
    if (this.#dead || map.epoch <= this.epoch) return;
    // Every epoch counts: an interval may have come and gone in one that was not announced.
    for (let missed = this.epoch + 1; this.#view && missed < map.epoch; missed++) {
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
    this.#view = this.#createView(map);
    // Between a restart and its boot the map may still show the OSD up: at the old address, as somebody else.
    this.#up =
      map.isUp(this.whoami) &&
      map.osdAddrs(this.whoami).some((addr) => this.addrs.some((own) => sameAddr(addr, own)));
    if (this.#up) this.#createPgs();
    for (const [key, pg] of [...this.#pgs]) {
      if (pg.onMap()) continue;
      this.#pgs.delete(key);
      pg.destroy().catch((error: unknown) => {
        this.log.warn({ pg: key, err: error }, 'a PG could not be removed');
      });
    }
    const reached = this.#waiters.filter(({ epoch }) => epoch <= map.epoch);
    this.#waiters = this.#waiters.filter(({ epoch }) => epoch > map.epoch);
    for (const { resolve } of reached) resolve();
    for (const session of this.#sessions) session.onMap();
  }

  #createView(map: OsdMap): MapView {
    return { map, epoch: map.epoch, placement: new Placement(map, this.#mappers(map.crush)) };
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
    const key = formatPgId(id);
    let pg = this.#pgs.get(key);
    if (!pg) {
      pg = new Pg(id, this);
      this.#pgs.set(key, pg);
    }
    return pg;
  }

  mapReached(epoch: number): Promise<void> {
    if (this.#dead) return Promise.reject(this.#goneError());
    if (epoch <= this.epoch) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiters.push({ epoch, resolve, reject }));
  }

  viewAt(epoch: number): MapView | undefined {
    if (epoch === this.#view?.epoch) return this.#view;
    let view = this.#pastViews.get(epoch);
    const map = view ? undefined : this.#mon.mapAt?.(epoch);
    if (map) {
      if (this.#pastViews.size >= PAST_VIEWS_MAX) this.#pastViews.clear();
      view = this.#createView(map);
      this.#pastViews.set(epoch, view);
    }
    return view;
  }

  mapMessage(fromEpoch: number): Uint8Array | undefined {
    return this.#mon.mapMessage(fromEpoch);
  }

  shareMap(session: ClientSession): void {
    if (session instanceof OsdSession) session.shareMap();
  }

  async reportFull(): Promise<void> {
    this.#watchSpace();
    await this.#mon.reportFull(this.whoami, true);
  }

  /** Until there is room again. */
  #watchSpace(): void {
    if (this.#dead) return;
    this.#spaceWatch ??= this.env.timers.after(
      SPACE_LOOK_MS,
      () => {
        this.#spaceWatch = undefined;
        if (this.store.isFull) this.#watchSpace();
        else void this.#mon.reportFull(this.whoami, false);
      },
      { background: true },
    );
  }

  /** Not at once, and not from within the monitor's call with a map: what looks dead may just be starting. */
  reportFailure(osd: number): void {
    if (this.#dead || osd === this.whoami || this.#suspects.has(osd)) return;
    this.#suspects.add(osd);
    this.env.timers.after(
      FAILURE_GRACE_MS,
      () => {
        this.#suspects.delete(osd);
        const missing = !this.#dead && this.view.map.isUp(osd) && !this.peers.osd(osd);
        if (missing) this.#mon.reportFailure(osd, this.whoami);
      },
      { background: true },
    );
  }

  /** Unique in the cluster's life: the epoch, then a counter. */
  nextNotifyId(): bigint {
    this.#notifies = (this.#notifies + 1) >>> 0;
    return (BigInt(this.epoch) << 32n) | BigInt(this.#notifies);
  }

  // ---- clients ----

  /** Requests for PGs of others, and for PGs that do not exist, get no answer: the next map tells the client. */
  dispatch(client: ClientRequest): void {
    const { request } = client;
    const pool = this.view.map.pool(request.pg.pool);
    const { actingPrimary } = this.view.placement.pgToUpActing(request.pg);
    const misdirected =
      !this.#up ||
      actingPrimary !== this.whoami ||
      !pool ||
      stableMod(request.hash, pool.pgNum) !== request.pg.seed ||
      request.locator.pool !== request.pg.pool;
    const pg = misdirected ? undefined : this.#pgs.get(formatPgId(request.pg));
    if (pg) pg.handle(client);
    else client.release();
  }

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
    for (const pg of this.#pgs.values()) pg.sessionClosed(session);
  }

  // ---- other OSDs (OsdPeer) ----

  async #pgFor(id: PgId, since: number): Promise<Pg | undefined> {
    const passage = this.#options.passage?.();
    if (passage) await passage;
    await this.mapReached(since);
    if (this.#dead) throw this.#goneError();
    return this.#pgs.get(formatPgId(id));
  }

  async #requirePg(id: PgId, since: number): Promise<Pg> {
    const pg = await this.#pgFor(id, since);
    if (!pg) throw new RadosError('ENOENT', `osd.${this.whoami} has no PG ${formatPgId(id)}`);
    return pg;
  }

  async query(id: PgId, since: number): Promise<PgInfo | undefined> {
    return (await this.#pgFor(id, since))?.query(since);
  }

  async history(id: PgId): Promise<{ info: PgInfo; log: readonly LogEntry[] } | undefined> {
    return (await this.#pgFor(id, 0))?.history();
  }

  async listObjects(id: PgId, from: ObjectId | undefined, max: number): Promise<ObjectId[]> {
    await this.#requirePg(id, 0);
    return this.store.list(formatPgId(id), from, max);
  }

  async dumpObject(id: PgId, object: ObjectId): Promise<ObjectDump | undefined> {
    await this.#requirePg(id, 0);
    return this.store.dump(formatPgId(id), object);
  }

  async recover(id: PgId, since: number, source: number): Promise<void> {
    const pg = await this.#requirePg(id, since);
    await pg.recover(since, source);
  }

  async activate(id: PgId, since: number): Promise<void> {
    const pg = await this.#requirePg(id, since);
    await pg.activate(since);
  }

  async replicate(id: PgId, since: number, change: ReplicatedChange): Promise<void> {
    const pg = await this.#requirePg(id, since);
    await pg.replicate(since, change);
  }

  async removePg(id: PgId, since: number): Promise<void> {
    const pg = await this.#pgFor(id, since);
    if (!pg?.mayRemove(since)) return;
    this.#pgs.delete(formatPgId(id));
    await pg.destroy();
  }

  async copySource(target: CopyTarget): Promise<CopySource> {
    await this.#options.passage?.();
    const place = objectToPg(this.view.map, target);
    const pg = place && this.#pgs.get(formatPgId(place.pg));
    if (!pg || this.#dead) throw this.#goneError();
    return pg.copySource(target, place.hash);
  }
}

/** `1.2f` → pool 1, seed 0x2f. */
function parsePgId(text: string): PgId {
  const [pool = '', seed = ''] = text.split('.');
  return { pool: Number(pool), seed: Number.parseInt(seed, 16) };
}
