/** The accepting side: what the embedded monitor and OSDs listen with. */

import type { AuthServer } from '../auth/method.js';
import type { SocketAddress } from '../base/environment.js';
import { type EntityAddr, entityTypeName } from '../encoding/entity.js';
import { Connection, type ConnectionHandler, type MessengerContext } from './connection.js';

export interface ServeOptions extends MessengerContext {
  at: { host: string; port: number };
  entityType: number;
  /** Own addresses as in the maps; asked for each connection (a port 0 is known only after listening). */
  addrs: () => readonly EntityAddr[];
  /** Monitor rank or OSD id. */
  gid: bigint;
  methods: readonly number[];
  modes: readonly number[];
  /** Fresh for each connection. */
  authServer: () => AuthServer;
  accept: (connection: Connection) => ConnectionHandler;
  handshakeTimeoutMs?: number;
  maxConnections?: number;
}

export interface Server {
  readonly address: SocketAddress;
  readonly connections: ReadonlySet<Connection>;
  /** Drops all connections and stops listening. */
  close(): Promise<void>;
}

const HANDSHAKE_TIMEOUT_MS = 30_000;
const MAX_CONNECTIONS = 4096;

export async function serve(options: ServeOptions): Promise<Server> {
  const connections = new Set<Connection>();
  const name = `${entityTypeName(options.entityType)}.${options.gid}`;
  const maximum = options.maxConnections ?? MAX_CONNECTIONS;
  const listener = await options.env.network.listen(options.at, (stream) => {
    const { connection, streamHandler } = Connection.accept(
      stream,
      {
        env: options.env,
        crc32c: options.crc32c,
        windows: options.windows,
        name: `client of ${name} at ${stream.remoteAddress.host}:${stream.remoteAddress.port}`,
        timeoutMs: options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS,
        handshake: {
          entityType: options.entityType,
          addrs: options.addrs(),
          gid: options.gid,
          methods: options.methods,
          modes: options.modes,
          authServer: options.authServer,
        },
      },
      (accepted) => {
        connections.add(accepted);
        const handler = options.accept(accepted);
        return {
          onReady: (c) => handler.onReady(c),
          onMessage: (c, message) => handler.onMessage(c, message),
          onKeepaliveAck: (c) => handler.onKeepaliveAck?.(c),
          placeData: (message, front, length) => handler.placeData?.(message, front, length),
          onClose: (c, error) => {
            connections.delete(c);
            handler.onClose(c, error);
          },
        };
      },
    );
    if (connections.size > maximum) connection.close();
    return streamHandler;
  });
  return {
    address: listener.address,
    connections,
    async close() {
      for (const connection of connections) connection.close();
      await listener.close();
    },
  };
}
