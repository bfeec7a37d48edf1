/** Messenger ends for tests: keys, servers and clients with either kind of authentication, on any environment. */

import { CephxClient } from '../../src/auth/cephx-client.js';
import { CephxKeyServer, type CephxKeyServerOptions } from '../../src/auth/cephx-server.js';
import type { CryptoKey } from '../../src/auth/crypto-key.js';
import { AUTH_METHOD, type AuthServer, type ClusterAuth, CON_MODE } from '../../src/auth/method.js';
import { NoneClient, NoneServer } from '../../src/auth/none.js';
import type { Environment } from '../../src/base/environment.js';
import {
  ADDR_TYPE,
  type EntityAddr,
  ENTITY_TYPE,
  parseAuthEntity,
} from '../../src/encoding/entity.js';
import type { IncomingMessage } from '../../src/messages/types.js';
import {
  Connection,
  type ConnectionHandler,
  type ConnectOptions,
  type MessengerContext,
} from '../../src/msgr/connection.js';
import { type Server, type ServeOptions, serve } from '../../src/msgr/listener.js';
import { WindowPool } from '../../src/msgr/window-pool.js';
import { crc32c, kernels } from './frames.js';

export const ADMIN = parseAuthEntity('client.admin');
export const CRC_ONLY: readonly number[] = [CON_MODE.CRC];
export const SECURE_ONLY: readonly number[] = [CON_MODE.SECURE];
export const BOTH_MODES: readonly number[] = [CON_MODE.CRC, CON_MODE.SECURE];

/** One for all: kernel memory is never given back. */
const windows = new WindowPool(kernels);

export function messengerContext(env: Environment): MessengerContext {
  return { env, crc32c, windows };
}

export function v2Addr(port: number, nonce = 0): EntityAddr {
  return { type: ADDR_TYPE.MSGR2, nonce, host: '127.0.0.1', port };
}

/** The authentication of one cluster, both sides. */
export interface TestAuth {
  methods: readonly number[];
  client(): ClusterAuth;
  /** Of a monitor's connection, or a daemon's. */
  server(serviceId: number): AuthServer;
}

export function noneAuth(): TestAuth {
  let nextGlobalId = 4100n;
  return {
    methods: [AUTH_METHOD.NONE],
    client: () => new NoneClient({ entity: ADMIN }),
    server: (serviceId) =>
      serviceId === ENTITY_TYPE.MON ? NoneServer.mon(() => nextGlobalId++) : NoneServer.service(),
  };
}

export interface CephxTestAuth extends TestAuth {
  keys: CephxKeyServer;
  key: CryptoKey;
  client(key?: CryptoKey): ClusterAuth;
}

export function cephxAuth(env: Environment, options: CephxKeyServerOptions = {}): CephxTestAuth {
  const keys = new CephxKeyServer(env, options);
  const key = keys.generateKey();
  keys.setEntity(ADMIN, { key, caps: { mon: 'allow *', osd: 'allow *', mgr: 'allow *' } });
  return {
    keys,
    key,
    methods: [AUTH_METHOD.CEPHX],
    client: (other = key) => new CephxClient(env, { entity: ADMIN, key: other }),
    server: (serviceId) =>
      serviceId === ENTITY_TYPE.MON ? keys.monAuthServer() : keys.serviceAuthServer(serviceId),
  };
}

/** What one end of a connection saw. */
export class Recorder implements ConnectionHandler {
  readonly messages: IncomingMessage[] = [];
  readonly closes: (Error | undefined)[] = [];
  ready = 0;
  keepaliveAcks = 0;
  connection: Connection | undefined;
  /** Called with each message. */
  onMessageHook: (connection: Connection, message: IncomingMessage) => void = () => {};

  onReady(connection: Connection): void {
    this.ready++;
    this.connection = connection;
  }

  onMessage(connection: Connection, message: IncomingMessage): void {
    this.messages.push({
      ...message,
      front: new Uint8Array(message.front),
      middle: new Uint8Array(message.middle),
    });
    this.onMessageHook(connection, message);
  }

  onClose(_connection: Connection, error: Error | undefined): void {
    this.closes.push(error);
  }

  onKeepaliveAck(): void {
    this.keepaliveAcks++;
  }

  get error(): Error | undefined {
    return this.closes[0];
  }
}

export interface TestServer {
  server: Server;
  port: number;
  addr: EntityAddr;
  /** One for each connection, in the order they came. */
  peers: Recorder[];
}

export async function startServer(
  env: Environment,
  auth: TestAuth,
  options: Partial<ServeOptions> & { port?: number; nonce?: number } = {},
): Promise<TestServer> {
  const { port = 0, nonce = 0, ...rest } = options;
  const peers: Recorder[] = [];
  const entityType = options.entityType ?? ENTITY_TYPE.MON;
  let bound: EntityAddr = v2Addr(port, nonce);
  const server = await serve({
    ...messengerContext(env),
    at: { host: '127.0.0.1', port },
    entityType,
    addrs: () => [bound],
    gid: 0n,
    methods: auth.methods,
    modes: BOTH_MODES,
    authServer: () => auth.server(entityType),
    accept: () => {
      const recorder = new Recorder();
      peers.push(recorder);
      return recorder;
    },
    ...rest,
  });
  bound = v2Addr(server.address.port, nonce);
  return { server, port: bound.port, addr: bound, peers };
}

export function dial(
  env: Environment,
  target: EntityAddr,
  auth: ClusterAuth,
  options: Partial<ConnectOptions> = {},
): { connection: Connection; seen: Recorder } {
  const seen = new Recorder();
  const connection = Connection.connect({
    ...messengerContext(env),
    name: 'the daemon',
    target,
    expectedType: ENTITY_TYPE.MON,
    auth: [() => auth.monAuth()],
    modes: CRC_ONLY,
    gid: () => -1n,
    nonce: 4711,
    globalSeq: 1n,
    timeoutMs: 5000,
    handler: seen,
    ...options,
  });
  return { connection, seen };
}
