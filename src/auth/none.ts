/**
 * Auth none: the client says who it is and is believed (`auth/none/`). No key, no secure mode, no tickets.
 */

import { ProtocolError } from '../base/errors.js';
import { decodeFirst, encodeWith } from '../encoding/codec.js';
import type { AuthEntity } from '../encoding/entity.js';
import {
  AUTH_METHOD,
  AUTH_MODE,
  type AuthClient,
  type AuthServer,
  type AuthServerStep,
  badMethod,
  type ClusterAuth,
  CON_MODE,
  type ConnectionKeys,
  type MonAuthServer,
  monRequest,
  tolerant,
} from './method.js';

const ALLOWED_METHODS = [AUTH_METHOD.NONE];
const NO_BYTES = new Uint8Array(0);

export class NoneClient implements ClusterAuth {
  readonly method = AUTH_METHOD.NONE;
  readonly entity: AuthEntity;
  #globalId = 0n;

  constructor(options: { entity: AuthEntity }) {
    this.entity = options.entity;
  }

  get globalId(): bigint {
    return this.#globalId;
  }

  monAuth(): AuthClient {
    return new NoneHandshake(this.#request(AUTH_MODE.MON), (globalId) => {
      if (globalId === 0n || (this.#globalId !== 0n && this.#globalId !== globalId)) {
        throw new ProtocolError(`the monitor calls client.${this.#globalId} client.${globalId}`);
      }
      this.#globalId = globalId;
    });
  }

  serviceAuth(_serviceId: number): AuthClient {
    return new NoneHandshake(this.#request(AUTH_MODE.AUTHORIZER), () => {});
  }

  hasTicket(_serviceId: number): boolean {
    return true;
  }

  dropTicket(_serviceId: number): void {}

  renewalDue(_now: number): boolean {
    return false;
  }

  nextRenewal(): undefined {
    return undefined;
  }

  buildRenewal(): Uint8Array {
    throw new TypeError('auth none has no tickets to renew');
  }

  onRenewalReply(_result: number, _payload: Uint8Array): void {
    throw new ProtocolError('a ticket renewal was answered that nobody asked for');
  }

  reset(): void {
    this.#globalId = 0n;
  }

  #request(mode: number): Uint8Array {
    return encodeWith(monRequest, { mode, entity: this.entity, globalId: this.#globalId });
  }
}

class NoneHandshake implements AuthClient {
  readonly method = AUTH_METHOD.NONE;
  readonly #request: Uint8Array;
  readonly #onGlobalId: (globalId: bigint) => void;

  constructor(request: Uint8Array, onGlobalId: (globalId: bigint) => void) {
    this.#request = request;
    this.#onGlobalId = onGlobalId;
  }

  initialRequest(): Uint8Array {
    return this.#request;
  }

  onReplyMore(_payload: Uint8Array): Uint8Array {
    throw new ProtocolError('auth none has no challenge');
  }

  onDone(done: { globalId: bigint; conMode: number; payload: Uint8Array }): ConnectionKeys {
    if (done.conMode !== CON_MODE.CRC) {
      throw new ProtocolError(`connection mode ${done.conMode} without a key`);
    }
    this.#onGlobalId(done.globalId);
    return { sessionKey: NO_BYTES, connectionSecret: NO_BYTES };
  }
}

/** One connection at a monitor or daemon that believes its clients. The messenger must choose crc mode for it. */
export class NoneServer implements MonAuthServer, AuthServer {
  readonly #mode: number;
  readonly #allocateGlobalId: () => bigint;
  #done = false;

  private constructor(mode: number, allocateGlobalId: () => bigint) {
    this.#mode = mode;
    this.#allocateGlobalId = allocateGlobalId;
  }

  static mon(allocateGlobalId: () => bigint): MonAuthServer {
    return new NoneServer(AUTH_MODE.MON, allocateGlobalId);
  }

  static service(): AuthServer {
    return new NoneServer(AUTH_MODE.AUTHORIZER, () => 0n);
  }

  onRequest(request: { method: number; conMode: number; payload: Uint8Array }): AuthServerStep {
    if (this.#done) throw new ProtocolError('AUTH_REQUEST while done');
    if (request.method !== AUTH_METHOD.NONE || request.conMode !== CON_MODE.CRC) {
      return badMethod('EOPNOTSUPP', ALLOWED_METHODS);
    }
    const asked = tolerant(() => decodeFirst(monRequest, request.payload));
    if (asked?.mode !== this.#mode) return badMethod('EACCES', ALLOWED_METHODS);
    this.#done = true;
    return {
      kind: 'done',
      globalId: asked.globalId === 0n ? this.#allocateGlobalId() : asked.globalId,
      payload: NO_BYTES,
      sessionKey: NO_BYTES,
      connectionSecret: NO_BYTES,
      entity: asked.entity,
      caps: 'allow *',
    };
  }

  onRequestMore(_payload: Uint8Array): AuthServerStep {
    throw new ProtocolError('auth none asked for nothing more');
  }

  renew(_payload: Uint8Array): { result: number; payload: Uint8Array } {
    return { result: 0, payload: NO_BYTES };
  }
}
