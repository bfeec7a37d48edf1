/**
 * The client role of cephx: from a key to a global id, from there to tickets, and with tickets to services.
 *
 *     key --monAuth--> global id + AUTH ticket (72 h) + service tickets (1 h) --serviceAuth--> daemon
 *                          ^-- renewal at 3/4 of each validity, over the monitor session (MAuth) --^
 *
 * Behaves as `CephxClientHandler` and `CephXTicketManager`.
 */

import type { Environment } from '../base/environment.js';
import { ProtocolError, RadosError } from '../base/errors.js';
import { blob, decodeFirst, encodeWith } from '../encoding/codec.js';
import { Decoder } from '../encoding/decoder.js';
import { type AuthEntity, ENTITY_TYPE, entityTypeName } from '../encoding/entity.js';
import {
  authenticate,
  CEPHX_REQUEST,
  NO_TICKET,
  requestHeader,
  responseHeader,
  sealedAuthorizeChallenge,
  sealedAuthorizeReply,
  sealedConnectionSecret,
  serverChallenge,
  serviceTicketRequest,
  ticketReply,
} from './cephx-messages.js';
import {
  buildAuthorizer,
  concat,
  keyRejected,
  openTickets,
  plusOne,
  randomU64,
  type Ticket,
} from './cephx-tickets.js';
import { type CryptoKey, open } from './crypto-key.js';
import {
  AUTH_METHOD,
  AUTH_MODE,
  type AuthClient,
  type ClusterAuth,
  CON_MODE,
  CONNECTION_SECRET_BYTES_USED,
  type ConnectionKeys,
  concealKeys,
  formatAuthEntity,
  monRequest,
} from './method.js';

/** The services that a block client talks to; the AUTH ticket comes with them. */
const WANTED_SERVICES = ENTITY_TYPE.MON | ENTITY_TYPE.OSD | ENTITY_TYPE.MGR;
const NO_BYTES = new Uint8Array(0);

export interface CephxClientOptions {
  entity: AuthEntity;
  /** The entity's key, from a keyring. */
  key: CryptoKey;
}

/** What a monitor gave a client: replaced as a whole by each authentication. */
interface MonGrant {
  globalId: bigint;
  authTicket: Ticket;
  serviceTickets: Ticket[];
  serverChallenge: bigint;
}

/** A renewal under way, with the keys that its reply will be for. */
type Renewal =
  | { kind: 'auth'; previous: Ticket; serverChallenge: bigint }
  | { kind: 'services'; previous: Ticket };

export class CephxClient implements ClusterAuth {
  readonly method = AUTH_METHOD.CEPHX;
  readonly entity: AuthEntity;
  readonly #env: Environment;
  readonly #key: CryptoKey;
  readonly #tickets = new Map<number, Ticket>();
  /** Services that refused their ticket since the last renewal. */
  readonly #dropped = new Set<number>();
  #globalId = 0n;
  /** The challenge of the current monitor session: a renewal of the AUTH ticket answers it again. */
  #serverChallenge: bigint | undefined;
  #renewal: Renewal | undefined;

  constructor(env: Environment, options: CephxClientOptions) {
    this.#env = env;
    this.entity = options.entity;
    this.#key = options.key;
  }

  get globalId(): bigint {
    return this.#globalId;
  }

  monAuth(): AuthClient {
    return new MonHandshake(this.#env, {
      entity: this.entity,
      key: this.#key,
      globalId: this.#globalId,
      oldTicket: this.#globalId === 0n ? undefined : this.#tickets.get(ENTITY_TYPE.AUTH),
      onGrant: (grant) => this.#adopt(grant),
    });
  }

  serviceAuth(serviceId: number): AuthClient {
    const ticket = this.#valid(serviceId);
    if (!ticket) {
      throw new RadosError(
        'EACCES',
        `${formatAuthEntity(this.entity)} has no ticket for ${entityTypeName(serviceId)}`,
        { op: 'authenticate', target: entityTypeName(serviceId), retryable: true },
      );
    }
    return new ServiceHandshake(this.#env, ticket, this.#globalId);
  }

  hasTicket(serviceId: number): boolean {
    return this.#valid(serviceId) !== undefined;
  }

  dropTicket(serviceId: number): void {
    if (this.#tickets.delete(serviceId)) this.#dropped.add(serviceId);
  }

  renewalDue(now: number): boolean {
    if (this.#renewal || !this.#tickets.has(ENTITY_TYPE.AUTH)) return false;
    return now >= (this.nextRenewal() ?? Infinity);
  }

  nextRenewal(): number | undefined {
    if (!this.#tickets.has(ENTITY_TYPE.AUTH)) return undefined;
    if (this.#dropped.size > 0) return 0;
    const next = Math.min(...[...this.#tickets.values()].map((ticket) => ticket.renewAt));
    return next === Infinity ? undefined : next;
  }

  buildRenewal(): Uint8Array {
    const authTicket = this.#tickets.get(ENTITY_TYPE.AUTH);
    if (!authTicket || this.#serverChallenge === undefined) {
      throw new RadosError('EACCES', 'no monitor has authenticated us yet', {
        op: 'renew tickets',
      });
    }
    if (this.#env.clock.now() >= authTicket.renewAt) {
      this.#renewal = {
        kind: 'auth',
        previous: authTicket,
        serverChallenge: this.#serverChallenge,
      };
      return sessionKeyRequest(this.#env, this.#key, this.#serverChallenge, authTicket);
    }
    this.#renewal = { kind: 'services', previous: authTicket };
    const proof = { nonce: randomU64(this.#env.random), serverChallenge: undefined };
    return concat(
      encodeWith(requestHeader, { requestType: CEPHX_REQUEST.GET_PRINCIPAL_SESSION_KEY }),
      buildAuthorizer(authTicket, this.#globalId, proof, this.#env.random),
      encodeWith(serviceTicketRequest, { keys: WANTED_SERVICES }),
    );
  }

  onRenewalReply(result: number, payload: Uint8Array): void {
    const renewal = this.#renewal;
    this.#renewal = undefined;
    if (!renewal) throw new ProtocolError('a ticket renewal was answered that nobody asked for');
    if (result < 0) {
      throw RadosError.fromErrno(result, { op: 'renew tickets', target: 'mon', retryable: true });
    }
    const now = this.#env.clock.now();
    if (renewal.kind === 'auth') {
      const { authTicket, serviceTickets } = openSessionKeyReply(payload, {
        key: this.#key,
        previousKey: renewal.previous.sessionKey,
        now,
      });
      this.#adopt({
        globalId: this.#globalId,
        authTicket,
        serviceTickets,
        serverChallenge: renewal.serverChallenge,
      });
      return;
    }
    const decoder = new Decoder(payload);
    readResponseHeader(decoder, CEPHX_REQUEST.GET_PRINCIPAL_SESSION_KEY);
    const principal = renewal.previous.sessionKey;
    this.#keep(
      openTickets(ticketReply.decode(decoder), { principal, previousKey: undefined, now }),
    );
  }

  reset(): void {
    this.#globalId = 0n;
    this.#serverChallenge = undefined;
    this.#renewal = undefined;
    this.#tickets.clear();
    this.#dropped.clear();
  }

  #adopt(grant: MonGrant): void {
    if (this.#globalId !== 0n && this.#globalId !== grant.globalId) {
      // Two monitors were asked at once by a client that was new to both: the first answer made its identity.
      throw new RadosError('ECANCELED', 'another monitor gave this client its global id first', {
        op: 'authenticate',
        target: 'mon',
        retryable: true,
      });
    }
    this.#globalId = grant.globalId;
    this.#serverChallenge = grant.serverChallenge;
    this.#renewal = undefined;
    this.#keep([grant.authTicket, ...grant.serviceTickets]);
  }

  #keep(tickets: Ticket[]): void {
    for (const ticket of tickets) {
      const wanted = ticket.serviceId & (WANTED_SERVICES | ENTITY_TYPE.AUTH);
      if (wanted !== ticket.serviceId) continue;
      this.#tickets.set(ticket.serviceId, ticket);
    }
    this.#dropped.clear();
  }

  #valid(serviceId: number): Ticket | undefined {
    const ticket = this.#tickets.get(serviceId);
    return ticket && this.#env.clock.now() < ticket.expiresAt ? ticket : undefined;
  }
}

interface MonHandshakeOptions {
  entity: AuthEntity;
  key: CryptoKey;
  /** The id to reclaim and the AUTH ticket that proves the claim, or 0 and none. */
  globalId: bigint;
  oldTicket: Ticket | undefined;
  onGrant: (grant: MonGrant) => void;
}

/** One connection to a monitor: request -> challenge -> proof -> tickets. */
class MonHandshake implements AuthClient {
  readonly method = AUTH_METHOD.CEPHX;
  readonly #env: Environment;
  readonly #options: MonHandshakeOptions;
  #state: 'idle' | 'requested' | 'proved' | 'done' = 'idle';
  #serverChallenge = 0n;

  constructor(env: Environment, options: MonHandshakeOptions) {
    this.#env = env;
    this.#options = options;
  }

  initialRequest(): Uint8Array {
    this.#state = 'requested';
    const { entity, globalId } = this.#options;
    return encodeWith(monRequest, { mode: AUTH_MODE.MON, entity, globalId });
  }

  onReplyMore(payload: Uint8Array): Uint8Array {
    if (this.#state !== 'requested') throw new ProtocolError(`challenge while ${this.#state}`);
    this.#serverChallenge = decodeFirst(serverChallenge, payload).serverChallenge;
    this.#state = 'proved';
    const { key, oldTicket } = this.#options;
    return sessionKeyRequest(this.#env, key, this.#serverChallenge, oldTicket);
  }

  onDone(done: { globalId: bigint; conMode: number; payload: Uint8Array }): ConnectionKeys {
    if (this.#state !== 'proved') throw new ProtocolError(`AUTH_DONE while ${this.#state}`);
    this.#state = 'done';
    const { key, globalId, oldTicket, onGrant } = this.#options;
    if (done.globalId === 0n || (globalId !== 0n && done.globalId !== globalId)) {
      throw new ProtocolError(`the monitor calls client.${globalId} client.${done.globalId}`);
    }
    const reply = openSessionKeyReply(done.payload, {
      key,
      previousKey: oldTicket?.sessionKey,
      now: this.#env.clock.now(),
    });
    const keys = connectionKeys(done.conMode, reply.authTicket, reply.connectionSecret);
    onGrant({ globalId: done.globalId, serverChallenge: this.#serverChallenge, ...reply });
    return keys;
  }
}

/** One connection to a daemon: authorizer -> challenge -> authorizer with the answer -> the daemon's proof. */
class ServiceHandshake implements AuthClient {
  readonly method = AUTH_METHOD.CEPHX;
  readonly #env: Environment;
  readonly #ticket: Ticket;
  readonly #globalId: bigint;
  readonly #nonce: bigint;
  #state: 'idle' | 'requested' | 'challenged' | 'done' = 'idle';

  constructor(env: Environment, ticket: Ticket, globalId: bigint) {
    this.#env = env;
    this.#ticket = ticket;
    this.#globalId = globalId;
    this.#nonce = randomU64(env.random);
  }

  initialRequest(): Uint8Array {
    this.#state = 'requested';
    return this.#authorizer(undefined);
  }

  onReplyMore(payload: Uint8Array): Uint8Array {
    if (this.#state !== 'requested') throw new ProtocolError(`challenge while ${this.#state}`);
    const challenge = open(this.#ticket.sessionKey, sealedAuthorizeChallenge, payload);
    if (!challenge) throw keyRejected('the challenge');
    this.#state = 'challenged';
    return this.#authorizer(challenge.serverChallenge);
  }

  onDone(done: { globalId: bigint; conMode: number; payload: Uint8Array }): ConnectionKeys {
    // Daemons before the challenge was introduced answer at once: their proof is complete all the same.
    if (this.#state !== 'requested' && this.#state !== 'challenged') {
      throw new ProtocolError(`AUTH_DONE while ${this.#state}`);
    }
    this.#state = 'done';
    const sealed = decodeFirst(blob, done.payload);
    const reply = open(this.#ticket.sessionKey, sealedAuthorizeReply, sealed);
    if (!reply) throw keyRejected('the authorizer reply');
    if (reply.noncePlusOne !== plusOne(this.#nonce)) {
      throw new RadosError('EKEYREJECTED', 'the authorizer reply answers another authorizer', {
        op: 'authenticate',
      });
    }
    return connectionKeys(done.conMode, this.#ticket, reply.connectionSecret?.reveal() ?? NO_BYTES);
  }

  #authorizer(challenge: bigint | undefined): Uint8Array {
    const proof = { nonce: this.#nonce, serverChallenge: challenge };
    return buildAuthorizer(this.#ticket, this.#globalId, proof, this.#env.random);
  }
}

/** GET_AUTH_SESSION_KEY: our proof, the ticket that we give back (if any), and the tickets that we want along. */
function sessionKeyRequest(
  env: Environment,
  key: CryptoKey,
  challenge: bigint,
  oldTicket: Ticket | undefined,
): Uint8Array {
  const clientChallenge = randomU64(env.random);
  return concat(
    encodeWith(requestHeader, { requestType: CEPHX_REQUEST.GET_AUTH_SESSION_KEY }),
    encodeWith(authenticate, {
      structV: 3,
      clientChallenge,
      key: key.challengeProof(challenge, clientChallenge),
      oldTicket: oldTicket?.blob ?? NO_TICKET,
      otherKeys: WANTED_SERVICES | ENTITY_TYPE.AUTH,
    }),
  );
}

/** The reply to GET_AUTH_SESSION_KEY, in AUTH_DONE or MAuthReply. */
function openSessionKeyReply(
  payload: Uint8Array,
  options: { key: CryptoKey; previousKey: CryptoKey | undefined; now: number },
): { authTicket: Ticket; serviceTickets: Ticket[]; connectionSecret: Uint8Array } {
  const { key, previousKey, now } = options;
  const decoder = new Decoder(payload);
  readResponseHeader(decoder, CEPHX_REQUEST.GET_AUTH_SESSION_KEY);
  const tickets = openTickets(ticketReply.decode(decoder), { principal: key, previousKey, now });
  const authTicket = tickets.find((ticket) => ticket.serviceId === ENTITY_TYPE.AUTH);
  if (!authTicket) throw new ProtocolError('the monitor sent no AUTH ticket');
  const principal = authTicket.sessionKey;

  // Both are always there, perhaps empty, for who asks for services along.
  const sealedSecret = decoder.blob();
  let connectionSecret = NO_BYTES as Uint8Array;
  if (sealedSecret.length > 0) {
    const sealed = decodeFirst(blob, sealedSecret);
    const secret = open(principal, sealedConnectionSecret, sealed);
    if (!secret) throw keyRejected('the connection secret');
    connectionSecret = secret.reveal();
  }

  const extra = decoder.blob();
  const serviceTickets =
    extra.length === 0
      ? []
      : openTickets(decodeFirst(ticketReply, extra), {
          principal,
          previousKey: undefined,
          now,
        });
  return { authTicket, serviceTickets, connectionSecret };
}

function readResponseHeader(decoder: Decoder, expected: number): void {
  const { requestType, status } = responseHeader.decode(decoder);
  if (requestType !== expected) {
    throw new ProtocolError(`cephx answered request 0x${requestType.toString(16)}`);
  }
  if (status < 0) throw RadosError.fromErrno(status, { op: 'authenticate', target: 'mon' });
}

function connectionKeys(
  conMode: number,
  ticket: Ticket,
  connectionSecret: Uint8Array,
): ConnectionKeys {
  if (conMode === CON_MODE.SECURE && connectionSecret.length < CONNECTION_SECRET_BYTES_USED) {
    throw new ProtocolError(`secure mode with ${connectionSecret.length} bytes of secret`);
  }
  return concealKeys({ sessionKey: ticket.sessionKey.reveal(), connectionSecret });
}
