/**
 * The embedded monitor: one `ceph-mon` as far as clients can see.
 *
 * It listens with messenger v2, authenticates with cephx (or not at all), keeps the maps and runs commands. Its OSDs
 * stand in the same process and use `link()`.
 */

import { CephxKeyServer } from '../../auth/cephx-server.js';
import { AUTH_METHOD, type AuthServer, CON_MODE } from '../../auth/method.js';
import { NoneServer } from '../../auth/none.js';
import type { Environment, SocketAddress } from '../../base/environment.js';
import { isRadosError, toRadosError } from '../../base/errors.js';
import {
  ADDR_TYPE,
  BLANK_ADDR,
  ENTITY_TYPE,
  type EntityAddr,
  formatAddr,
} from '../../encoding/entity.js';
import type { Crc32c } from '../../kernels/crc32c.js';
import type { MonMap } from '../../messages/mon-messages.js';
import type { Connection, ConnectionHandler } from '../../msgr/connection.js';
import { type Server, serve } from '../../msgr/listener.js';
import type { WindowPool } from '../../msgr/window-pool.js';
import type { CrushMappers } from '../../osdmap/crush-mapper.js';
import type { ClientIdentity } from '../faults/client-match.js';
import type { PgStat } from '../osd/pg-state.js';
import type { MonLink } from '../mon-link.js';
import { AuthDatabase } from './auth-database.js';
import { keepKeyServer } from './kept-keys.js';
import { MonDatabase } from './mon-database.js';
import { BlocklistExpiry } from './blocklist-expiry.js';
import { CentralConfig } from './config/central-config.js';
import { ConfigKeys } from './config/config-keys.js';
import { createInitialMap } from './initial-map.js';
import { currentMonMap } from './mon-map.js';
import type { MonState, PoolDefaults } from './mon-state.js';
import { OsdMapService } from './osdmap-service.js';
import { OsdStates } from './osd-states.js';
import { addPool } from './pools.js';
import { MonSession } from './session.js';
import type { Subscribable } from './subscriptions.js';

export interface MonitorOptions {
  env: Environment;
  crc32c: Crc32c;
  windows: WindowPool;
  crushMappers: CrushMappers;
  /** Port 0 picks a free one: `preferredPort`, if that is free. */
  host: string;
  /** What the maps have for its address, if another. */
  advertise?: string | undefined;
  port: number;
  preferredPort?: number;
  fsid: string;
  osds: number;
  auth: 'cephx' | 'none';
  poolDefaults: PoolDefaults;
  /** What was there before, and what is kept for the next start; by default nothing. */
  database?: MonDatabase;
  /** Seconds after which an OSD that is down is out too. */
  downOutIntervalS?: number;
  /** Asked when somebody wants to know how PGs are. */
  pgStats?: () => readonly PgStat[];
  /** As `MonState.scrub`. */
  scrub?: MonState['scrub'];
  /** Lifetimes of cephx tickets; for tests. */
  ticketTtlMs?: { mon?: number; service?: number };
  /** A client has authenticated, on the connection from this address. */
  onClient?: (remote: SocketAddress, client: ClientIdentity) => void;
}

export interface InitialPool {
  name: string;
  pgNum?: number | undefined;
  size?: number | undefined;
  applications?: readonly string[];
}

export const ADMIN = 'client.admin';

const ADMIN_CAPS = { mds: 'allow *', mgr: 'allow *', mon: 'allow *', osd: 'allow *' };
const OSD_CAPS = { mgr: 'allow profile osd', mon: 'allow profile osd', osd: 'allow *' };

export class Monitor {
  readonly #options: MonitorOptions;
  readonly #keys: CephxKeyServer;
  readonly #state: MonState;
  readonly #expiry: BlocklistExpiry;
  readonly #sessions = new Set<MonSession>();
  readonly #server: Server;
  readonly #addrs: readonly EntityAddr[];
  #closed = false;

  static async start(options: MonitorOptions): Promise<Monitor> {
    // The address is known only after listening, and connections may come before the monitor is complete.
    const self: { monitor?: Monitor; addrs: EntityAddr[] } = { addrs: [] };
    const database = options.database ?? new MonDatabase();
    const keys = new CephxKeyServer(options.env, {
      ...keepKeyServer(database),
      ...(options.ticketTtlMs?.mon === undefined
        ? {}
        : { monTicketTtlMs: options.ticketTtlMs.mon }),
      ...(options.ticketTtlMs?.service === undefined
        ? {}
        : { serviceTicketTtlMs: options.ticketTtlMs.service }),
    });
    const listen = (port: number) =>
      serve({
        env: options.env,
        crc32c: options.crc32c,
        windows: options.windows,
        at: { host: options.host, port },
        entityType: ENTITY_TYPE.MON,
        addrs: () => self.addrs,
        gid: 0n,
        methods: [options.auth === 'cephx' ? AUTH_METHOD.CEPHX : AUTH_METHOD.NONE],
        modes: options.auth === 'cephx' ? [CON_MODE.SECURE, CON_MODE.CRC] : [CON_MODE.CRC],
        authServer: () =>
          options.auth === 'cephx'
            ? keys.monAuthServer()
            : NoneServer.mon(() => keys.allocateGlobalId()),
        accept: (connection) =>
          self.monitor ? self.monitor.#accept(connection) : refuse(connection),
      });
    const { host: address, port: wanted, preferredPort = 0 } = options;
    const server = await listen(wanted || preferredPort)
      .catch((error: unknown) => {
        if (wanted !== 0 || preferredPort === 0) throw error;
        return listen(0);
      })
      .catch((error: unknown) => {
        throw toRadosError(error, { op: 'listen', target: `${address}:${wanted}` });
      });
    const { host, port } = server.address;
    self.addrs = [{ type: ADDR_TYPE.MSGR2, nonce: 0, host: options.advertise ?? host, port }];
    self.monitor = new Monitor(options, { keys, server, addrs: self.addrs, database });
    await self.monitor.settled();
    return self.monitor;
  }

  private constructor(
    options: MonitorOptions,
    parts: { keys: CephxKeyServer; server: Server; addrs: EntityAddr[]; database: MonDatabase },
  ) {
    const { env, fsid } = options;
    const { database } = parts;
    this.#options = options;
    this.#keys = parts.keys;
    this.#server = parts.server;
    this.#addrs = parts.addrs;
    const osdMaps = new OsdMapService({
      env,
      crc32c: options.crc32c,
      database,
      initial: () => createInitialMap(env, { fsid, osds: options.osds }),
    });
    const auth = new AuthDatabase(parts.keys, database);
    if (!auth.get(ADMIN)) auth.set(ADMIN, ADMIN_CAPS);
    for (let osd = 0; osd < options.osds; osd++) {
      if (!auth.get(`osd.${osd}`)) auth.set(`osd.${osd}`, OSD_CAPS);
    }
    const configKeys = new ConfigKeys(database);
    this.#state = {
      env,
      commits: database.commits,
      monMap: currentMonMap(database, { fsid, addrs: parts.addrs, nowMs: env.clock.now() }),
      osdMaps,
      osds: new OsdStates({
        env,
        osdMaps,
        ...(options.downOutIntervalS === undefined
          ? {}
          : { downOutIntervalS: options.downOutIntervalS }),
      }),
      auth,
      configKeys,
      config: new CentralConfig(configKeys, env.clock),
      crushMappers: options.crushMappers,
      poolDefaults: options.poolDefaults,
      startedMs: env.clock.now(),
      pgStats: options.pgStats ?? (() => []),
      scrub: options.scrub ?? (() => false),
      clients: () => [...this.#sessions].map(({ client }) => client),
    };
    // Of OSDs that were up before: they ended with the monitor.
    this.#state.osds.markDown(Array.from({ length: osdMaps.map.maxOsd }, (_, osd) => osd));
    this.#expiry = new BlocklistExpiry(env, osdMaps);
    // Whoever hears of it may act on it: not before the disk has it.
    configKeys.subscribe(() => database.commits.after(() => this.#deliver('config')));
    osdMaps.subscribe(() => this.#deliver('osdmap'));
  }

  #deliver(what: Subscribable): void {
    for (const session of [...this.#sessions]) session.deliver(what);
  }

  get state(): MonState {
    return this.#state;
  }

  get monMap(): MonMap {
    return this.#state.monMap;
  }

  /** `[v2:127.0.0.1:40000/0]`, as `mon host` has it. */
  get monHost(): string {
    return `[${this.#addrs.map(formatAddr).join(',')}]`;
  }

  /** Adds a pool without a client asking. */
  createPool(pool: InitialPool): void {
    addPool(this.#state, pool);
  }

  /** Resolves when everything that was decided so far will be so after a crash too. */
  settled(): Promise<void> {
    return this.#state.commits.settled();
  }

  /** What an OSD of this process sees of the monitor. */
  link(): MonLink {
    const { osdMaps, osds } = this.#state;
    return {
      subscribe: (listener) => {
        listener({ map: osdMaps.published, epoch: osdMaps.published.epoch });
        return osdMaps.subscribe((map) => listener({ map, epoch: map.epoch }));
      },
      mapAt: (epoch) => osdMaps.mapAt(epoch),
      mapMessage: (fromEpoch) => osdMaps.updateFrom(fromEpoch)?.front,
      boot: (osd, addrs) => osds.boot(osd, addrs),
      reportFailure: (osd, reporter) => osds.reportFailure(osd, reporter),
      reportAlive: (osd, epoch) => osds.reportAlive(osd, epoch),
      requestPgTemp: (pg, acting) => osds.requestPgTemp(pg, acting),
      reportFull: (osd, full) => osds.reportFull(osd, full),
      authServer: () => this.#osdAuthServer(),
      authMethods: [this.#options.auth === 'cephx' ? AUTH_METHOD.CEPHX : AUTH_METHOD.NONE],
    };
  }

  /** Drops all sessions and stops listening. Safe to call twice. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#expiry.close();
    this.#state.osds.close();
    await this.#server.close();
  }

  /** Tickets of clients are good no more: they need new ones for their next connections. False: there are none. */
  retireTickets(): boolean {
    if (this.#options.auth !== 'cephx') return false;
    this.#keys.retireServiceSecrets();
    return true;
  }

  #osdAuthServer(): AuthServer {
    return this.#options.auth === 'cephx'
      ? this.#keys.serviceAuthServer(ENTITY_TYPE.OSD)
      : NoneServer.service();
  }

  #accept(connection: Connection): ConnectionHandler {
    let session: MonSession | undefined;
    const log = this.#state.env.log.mon;
    return {
      onReady: () => {
        session = new MonSession(this.#state, connection);
        this.#sessions.add(session);
        const { peer, remoteAddress } = connection;
        const name = { type: peer.entityType, num: peer.globalId };
        const addr = peer.addrs[0] ?? BLANK_ADDR;
        if (remoteAddress) this.#options.onClient?.(remoteAddress, { name, addr });
        log.debug({ client: session.client.name }, 'session open');
      },
      onMessage: (_, message) => {
        try {
          session?.onMessage(message);
        } catch (error) {
          // What a client sent may close its session and nothing else.
          if (!isRadosError(error)) log.error({ err: error }, 'message failed');
          connection.close(error as Error);
        }
      },
      onClose: (_, error) => {
        if (session) this.#sessions.delete(session);
        log.debug({ client: session?.client.name, reason: error?.message }, 'session closed');
      },
    };
  }
}

/** Somebody connected before the monitor was complete: in the same turn, so hardly ever. */
function refuse(connection: Connection): ConnectionHandler {
  connection.close();
  return { onReady: () => {}, onMessage: () => {}, onClose: () => {} };
}
