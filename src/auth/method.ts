/**
 * The seam between the messenger and authentication: two small state machines per connection, one for each role.
 *
 * They take and return the payloads of the auth frames and know nothing of frames or sockets
 * (Ceph's `AuthClient` and `AuthServer` in `src/auth/`).
 */

import { inspect } from 'node:util';
import { type ErrnoCode, ProtocolError, RadosError } from '../base/errors.js';
import { record, u8, u64 } from '../encoding/codec.js';
import { type AuthEntity, authEntity, entityTypeName } from '../encoding/entity.js';

/** What a peer proves itself with: the `method` of AUTH_REQUEST. */
export const AUTH_METHOD = { NONE: 1, CEPHX: 2, GSS: 4 } as const;

/** How frames are protected after authentication. */
export const CON_MODE = { CRC: 1, SECURE: 2 } as const;

/** The first payload byte of every AUTH_REQUEST: to a monitor with a key, or to a daemon with a ticket. */
export const AUTH_MODE = { AUTHORIZER: 1, MON: 10 } as const;

/** The connection secret that secure mode needs, and the number of its bytes that the messenger uses. */
export const CONNECTION_SECRET_BYTES = 64;
export const CONNECTION_SECRET_BYTES_USED = 40;

/** What both ends of an authenticated connection hold. Empty arrays for auth none. */
export interface ConnectionKeys {
  /** Keys the AUTH_SIGNATURE. */
  sessionKey: Uint8Array;
  /** Keys secure mode; empty in crc mode. */
  connectionSecret: Uint8Array;
}

/** The client half of one connection's authentication. */
export interface AuthClient {
  readonly method: number;
  /** The payload of AUTH_REQUEST. */
  initialRequest(): Uint8Array;
  /** The payload of AUTH_REPLY_MORE → the payload of AUTH_REQUEST_MORE. */
  onReplyMore(payload: Uint8Array): Uint8Array;
  /** Throws `RadosError` `EKEYREJECTED` when the server did not prove that it knows the shared key. */
  onDone(done: { globalId: bigint; conMode: number; payload: Uint8Array }): ConnectionKeys;
}

/** The server half of one connection's authentication. After `bad-method` the client may ask again. */
export interface AuthServer {
  /** An AUTH_REQUEST; `conMode` was chosen by the messenger. */
  onRequest(request: { method: number; conMode: number; payload: Uint8Array }): AuthServerStep;
  onRequestMore(payload: Uint8Array): AuthServerStep;
}

/** The monitor's half: it lives as long as the connection and answers renewals. */
export interface MonAuthServer extends AuthServer {
  /** An MAuth payload → what MAuthReply carries: a result (0 or -errno) and a payload. Never throws. */
  renew(payload: Uint8Array): { result: number; payload: Uint8Array };
}

export type AuthServerStep =
  | { kind: 'more'; payload: Uint8Array }
  | ({
      kind: 'done';
      globalId: bigint;
      payload: Uint8Array;
      entity: AuthEntity;
      /** What this entity may do at this service, e.g. `allow *`. */
      caps: string;
    } & ConnectionKeys)
  | { kind: 'bad-method'; result: number; allowedMethods: number[] };

/**
 * One client's authentication towards one cluster, whichever the method: made once, kept as long as the client lives,
 * asked for an `AuthClient` per connection.
 */
export interface ClusterAuth {
  readonly method: number;
  readonly entity: AuthEntity;
  /** The client's identity at the OSDs (watches, request ids). 0 until the first monitor has answered. */
  readonly globalId: bigint;
  monAuth(): AuthClient;
  /** Throws `RadosError` `EACCES` (retryable) when there is no ticket for the service. */
  serviceAuth(serviceId: number): AuthClient;
  hasTicket(serviceId: number): boolean;
  /** Forgets a ticket that the service refused: the next `renewalDue` is true. */
  dropTicket(serviceId: number): void;
  /** Whether tickets should be renewed over the monitor session (MAuth). Times are `clock.now()` milliseconds. */
  renewalDue(now: number): boolean;
  /** When `renewalDue` turns true by itself; undefined when never. */
  nextRenewal(): number | undefined;
  /** The payload for MAuth, on the connection to a monitor that was authenticated last. */
  buildRenewal(): Uint8Array;
  /** What MAuthReply brought. Throws when the monitor refuses: a new connection to a monitor is the way on. */
  onRenewalReply(result: number, payload: Uint8Array): void;
  /** Forgets global id and tickets, when no monitor takes the old ones back: a new client from here on. */
  reset(): void;
}

/** Refuses an AUTH_REQUEST: the connection stays open for another one. */
export function badMethod(errno: ErrnoCode, allowedMethods: readonly number[]): AuthServerStep {
  return {
    kind: 'bad-method',
    result: new RadosError(errno, '').errno,
    allowedMethods: [...allowedMethods],
  };
}

/**
 * Makes the key bytes of a result readable by name only: they do not show up when the object is printed, logged,
 * serialized or spread.
 */
export function concealKeys<T extends ConnectionKeys>(value: T): T {
  const hidden = { enumerable: false, writable: false, configurable: false };
  Object.defineProperty(value, 'sessionKey', hidden);
  Object.defineProperty(value, 'connectionSecret', hidden);
  // `util.inspect` with `showHidden` lists such properties too.
  Object.defineProperty(value, inspect.custom, {
    enumerable: false,
    value: () => ({ ...value, sessionKey: '<hidden>', connectionSecret: '<hidden>' }),
  });
  return value;
}

/** `client.admin`. */
export function formatAuthEntity(entity: AuthEntity): string {
  return `${entityTypeName(entity.type)}.${entity.id}`;
}

/** The payload with which both methods open a connection to a monitor. */
export const monRequest = record('monitor AUTH_REQUEST', {
  mode: u8,
  entity: authEntity,
  /** 0 for a new client, or the id that a known one wants back. */
  globalId: u64,
});

/** Runs a decoder over bytes that anybody may have sent: undefined when they do not fit. */
export function tolerant<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}
