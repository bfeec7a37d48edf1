/**
 * The monitor role of cephx: knows the entities' keys and caps, checks proofs, hands out global ids and tickets
 * (`CephxServiceHandler` and `KeyServer`).
 *
 * A global id belongs to who holds its AUTH ticket: it is given back only against that ticket, and the new ticket comes
 * encrypted under the old one's session key, so that a stolen client key alone cannot take over a living client.
 */

import type { Environment } from '../base/environment.js';
import { type ErrnoCode, ProtocolError, RadosError } from '../base/errors.js';
import {
  blob,
  decodeAll,
  decodeFirst,
  encodeWith,
  type Infer,
  map,
  u32,
  wrapped,
} from '../encoding/codec.js';
import { Decoder } from '../encoding/decoder.js';
import { type AuthEntity, ENTITY_TYPE, entityTypeName } from '../encoding/entity.js';
import { utimeFromMs } from '../encoding/types.js';
import {
  type Authenticate,
  authenticate,
  authorizer,
  type authTicket,
  CEPHX_REQUEST,
  capsInfo,
  NO_AUID,
  requestHeader,
  responseHeader,
  rotatingSecrets,
  type ServiceTicketInfo,
  sealedConnectionSecret,
  sealedServiceTicket,
  sealedTicketBlob,
  sealedTicketInfo,
  serverChallenge,
  serviceTicketRequest,
  ticketBlob,
  ticketReply,
} from './cephx-messages.js';
import { CephxServiceServer, connectionSecret, verifyAuthorizer } from './cephx-service-server.js';
import { concat, randomU64 } from './cephx-tickets.js';
import { CryptoKey, KEY_TYPE, open, Secret, seal } from './crypto-key.js';
import type { Keyring } from './keyring.js';
import {
  AUTH_METHOD,
  AUTH_MODE,
  type AuthServer,
  type AuthServerStep,
  badMethod,
  CON_MODE,
  concealKeys,
  formatAuthEntity,
  type MonAuthServer,
  monRequest,
  tolerant,
} from './method.js';
import { RotatingSecrets } from './rotating-secrets.js';

const ALLOWED_METHODS = [AUTH_METHOD.CEPHX];

/** The services that tickets are issued for; AUTH is the monitor's own, for renewals. */
const SERVICES = [ENTITY_TYPE.MON, ENTITY_TYPE.MDS, ENTITY_TYPE.OSD, ENTITY_TYPE.MGR];

/** `auth_mon_ticket_ttl` and `auth_service_ticket_ttl`. */
const DEFAULT_MON_TICKET_TTL_MS = 72 * 3600 * 1000;
const DEFAULT_SERVICE_TICKET_TTL_MS = 3600 * 1000;
/** Where a new cluster's client ids begin; smaller ones are easily taken for daemons' numbers. */
const DEFAULT_FIRST_GLOBAL_ID = 4100n;

export interface CephxKeyServerOptions {
  monTicketTtlMs?: number;
  serviceTicketTtlMs?: number;
  /** No id below it is given out: a restarted monitor passes on `nextGlobalId`. */
  firstGlobalId?: bigint;
  /** What `saveSecrets` returned before a restart: tickets issued then stay good. */
  secrets?: Uint8Array;
  /** Called with what `saveSecrets` returns whenever that has changed. */
  onSecrets?: (saved: Uint8Array) => void;
  /** Called with the id that the next new client gets, before the one before it is given out. */
  onGlobalId?: (next: bigint) => void;
  /** The kind of keys made for sessions and secrets. */
  keyType?: number;
}

interface EntityRecord {
  key: CryptoKey;
  /** By service name: `mon`, `osd`, `mgr`, `mds`. */
  caps: ReadonlyMap<string, string>;
}

const savedSecrets = map(u32, wrapped('RotatingSecrets', rotatingSecrets));

export class CephxKeyServer {
  readonly #env: Environment;
  readonly #entities = new Map<string, EntityRecord>();
  readonly #rotating = new Map<number, RotatingSecrets>();
  readonly #monTicketTtlMs: number;
  readonly #serviceTicketTtlMs: number;
  readonly #keyType: number;
  readonly #onSecrets: ((saved: Uint8Array) => void) | undefined;
  readonly #onGlobalId: ((next: bigint) => void) | undefined;
  /** Stands in for the key of an unknown entity: being unknown must take as long as being wrong. */
  readonly #decoy: CryptoKey;
  #nextGlobalId: bigint;

  constructor(env: Environment, options: CephxKeyServerOptions = {}) {
    this.#env = env;
    this.#monTicketTtlMs = options.monTicketTtlMs ?? DEFAULT_MON_TICKET_TTL_MS;
    this.#serviceTicketTtlMs = options.serviceTicketTtlMs ?? DEFAULT_SERVICE_TICKET_TTL_MS;
    this.#keyType = options.keyType ?? KEY_TYPE.AES;
    this.#onSecrets = options.onSecrets;
    this.#onGlobalId = options.onGlobalId;
    this.#nextGlobalId = options.firstGlobalId ?? DEFAULT_FIRST_GLOBAL_ID;
    this.#decoy = this.generateKey();
    const saved = options.secrets && decodeAll('rotating secrets', savedSecrets, options.secrets);
    for (const id of [ENTITY_TYPE.AUTH, ...SERVICES]) {
      const state = saved?.get(id);
      const bytes = state && encodeWith(rotatingSecrets, state);
      this.#rotating.set(id, bytes ? RotatingSecrets.decode(bytes) : new RotatingSecrets());
    }
    this.rotate();
  }

  /** Adds an entity or replaces its key and caps. */
  setEntity(
    entity: AuthEntity,
    { key, caps }: { key: CryptoKey; caps: Readonly<Record<string, string>> },
  ): void {
    this.#entities.set(formatAuthEntity(entity), { key, caps: new Map(Object.entries(caps)) });
  }

  removeEntity(entity: AuthEntity): void {
    this.#entities.delete(formatAuthEntity(entity));
  }

  /** Adds every entity of a keyring. */
  addKeyring(keyring: Keyring): void {
    for (const { entity, key, caps } of keyring.entries()) this.setEntity(entity, { key, caps });
  }

  /** The id that the next new client gets. */
  get nextGlobalId(): bigint {
    return this.#nextGlobalId;
  }

  allocateGlobalId(): bigint {
    this.#onGlobalId?.(this.#nextGlobalId + 1n);
    return this.#nextGlobalId++;
  }

  generateKey(): CryptoKey {
    const created = utimeFromMs(this.#env.clock.now());
    return CryptoKey.generate(this.#env.random, created, this.#keyType);
  }

  /** Renews secrets whose time has come. Done on every use too; daemons elsewhere need telling when it returns true. */
  rotate(): boolean {
    const now = this.#env.clock.now();
    let changed = false;
    for (const [id, secrets] of this.#rotating) {
      const ttl = id === ENTITY_TYPE.AUTH ? this.#monTicketTtlMs : this.#serviceTicketTtlMs;
      const options = { random: this.#env.random, keyType: this.#keyType };
      changed = secrets.rotate(now, ttl, options) || changed;
    }
    if (changed) this.#onSecrets?.(this.saveSecrets());
    return changed;
  }

  /** No ticket for a service that was issued so far is good any more. Those for renewing tickets are. */
  retireServiceSecrets(): void {
    for (const id of SERVICES) this.#rotating.get(id)?.retire();
    this.rotate();
  }

  /** The live secrets of a service; a daemon in another thread gets `encode()` of them. */
  rotatingSecrets(serviceId: number): RotatingSecrets {
    const secrets = this.#rotating.get(serviceId);
    if (!secrets) throw new RangeError(`no secrets for ${entityTypeName(serviceId)}`);
    this.rotate();
    return secrets;
  }

  /** All secrets, to survive a restart of the monitor. */
  saveSecrets(): Uint8Array {
    const states = [...this.#rotating].map(
      ([id, secrets]) =>
        [id, decodeAll('RotatingSecrets', rotatingSecrets, secrets.encode())] as const,
    );
    return encodeWith(savedSecrets, new Map(states));
  }

  /** The monitor's half of one connection. */
  monAuthServer(): MonAuthServer {
    return new CephxMonServer(this.#env, this);
  }

  /** A daemon's half of one connection, for daemons in the monitor's thread. */
  serviceAuthServer(serviceId: number): AuthServer {
    const secrets = this.rotatingSecrets(serviceId);
    return new CephxServiceServer(this.#env, { serviceId, secrets });
  }

  /** @internal Whether `req` proves that its sender knows the entity's key. */
  checkProof(entity: AuthEntity, challenge: bigint, req: Authenticate): EntityRecord | undefined {
    const known = this.#entities.get(formatAuthEntity(entity));
    const expected = (known?.key ?? this.#decoy).challengeProof(challenge, req.clientChallenge);
    return expected === req.key ? known : undefined;
  }

  /** @internal The ticket that entitles to `globalId`, if `req` shows it. */
  checkOldTicket(
    entity: AuthEntity,
    globalId: bigint,
    req: Authenticate,
  ): ServiceTicketInfo | undefined {
    const secret = this.rotatingSecrets(ENTITY_TYPE.AUTH).find(req.oldTicket.secretId);
    const info = secret && tolerant(() => open(secret, sealedTicketInfo, req.oldTicket.blob));
    if (!info || info.ticket.globalId !== globalId) return undefined;
    return formatAuthEntity(info.ticket.name) === formatAuthEntity(entity) ? info : undefined;
  }

  /**
   * @internal Makes one ticket: its session key, and its entry in a ticket reply for `principal`. `previousKey` hides
   * the blob from everybody but the holder of the ticket that this one replaces.
   */
  issueTicket(
    serviceId: number,
    holder: { entity: AuthEntity; globalId: bigint },
    { principal, previousKey }: { principal: CryptoKey; previousKey: CryptoKey | undefined },
  ): { sessionKey: CryptoKey; entry: Infer<typeof ticketReply>['tickets'][number] } {
    const random = this.#env.random;
    const now = this.#env.clock.now();
    const ttlMs = serviceId === ENTITY_TYPE.AUTH ? this.#monTicketTtlMs : this.#serviceTicketTtlMs;
    const sessionKey = this.generateKey();
    const ticket: Infer<typeof authTicket> = {
      name: holder.entity,
      globalId: holder.globalId,
      auid: NO_AUID,
      created: utimeFromMs(now),
      expires: utimeFromMs(now + ttlMs),
      caps: capsInfo(this.#ticketCaps(serviceId, holder.entity)),
      flags: 0,
    };
    const secret = this.rotatingSecrets(serviceId).current;
    const sealedInfo = seal(secret.key, sealedTicketInfo, { ticket, sessionKey }, random);
    const blobBytes = encodeWith(ticketBlob, { secretId: secret.id, blob: sealedInfo });
    const about = { sessionKey, validity: utimeFromMs(ttlMs) };
    return {
      sessionKey,
      entry: {
        serviceId,
        structV: 1,
        sealedTicket: seal(principal, sealedServiceTicket, about, random),
        encrypted: previousKey !== undefined,
        ticket: previousKey ? seal(previousKey, sealedTicketBlob, blobBytes, random) : blobBytes,
      },
    };
  }

  /** @internal Tickets for every service whose bit is set in `services`, as an encoded ticket reply. */
  issueServiceTickets(
    services: number,
    holder: { entity: AuthEntity; globalId: bigint },
    principal: CryptoKey,
  ): Uint8Array {
    const wanted = SERVICES.filter((id) => (services & id) !== 0);
    const tickets = wanted.map(
      (id) => this.issueTicket(id, holder, { principal, previousKey: undefined }).entry,
    );
    return encodeWith(ticketReply, { tickets });
  }

  /** @internal */
  caps(entity: AuthEntity, service: string): string {
    return this.#entities.get(formatAuthEntity(entity))?.caps.get(service) ?? '';
  }

  /** @internal */
  knows(entity: AuthEntity): boolean {
    return this.#entities.has(formatAuthEntity(entity));
  }

  /** Monitors look caps up themselves: their tickets carry none. */
  #ticketCaps(serviceId: number, entity: AuthEntity): string {
    if (serviceId === ENTITY_TYPE.AUTH || serviceId === ENTITY_TYPE.MON) return '';
    return this.caps(entity, entityTypeName(serviceId));
  }
}

/** A refusal on its way to the client, which learns the errno; the reason is for our log. */
class Refusal extends Error {
  readonly errno: ErrnoCode;

  constructor(errno: ErrnoCode, reason: string) {
    super(reason);
    this.errno = errno;
  }
}

/** One connection at the monitor: request -> our challenge -> proof -> tickets; then renewals. */
class CephxMonServer implements MonAuthServer {
  readonly #env: Environment;
  readonly #keys: CephxKeyServer;
  #state: 'idle' | 'challenged' | 'done' = 'idle';
  #conMode = 0;
  #entity: AuthEntity = { type: 0, id: '' };
  #globalId = 0n;
  #challenge = 0n;

  constructor(env: Environment, keys: CephxKeyServer) {
    this.#env = env;
    this.#keys = keys;
  }

  onRequest(request: { method: number; conMode: number; payload: Uint8Array }): AuthServerStep {
    if (this.#state !== 'idle') throw new ProtocolError(`AUTH_REQUEST while ${this.#state}`);
    if (request.method !== AUTH_METHOD.CEPHX) return badMethod('EOPNOTSUPP', ALLOWED_METHODS);
    const asked = tolerant(() => decodeFirst(monRequest, request.payload));
    if (asked?.mode !== AUTH_MODE.MON) return badMethod('EACCES', ALLOWED_METHODS);
    this.#state = 'challenged';
    this.#conMode = request.conMode;
    this.#entity = asked.entity;
    this.#globalId = asked.globalId;
    this.#challenge = randomU64(this.#env.random) || 1n;
    // An unknown entity is challenged too: names are not given away.
    const payload = encodeWith(serverChallenge, { serverChallenge: this.#challenge });
    return { kind: 'more', payload };
  }

  onRequestMore(payload: Uint8Array): AuthServerStep {
    if (this.#state !== 'challenged') {
      throw new ProtocolError(`AUTH_REQUEST_MORE while ${this.#state}`);
    }
    this.#state = 'idle';
    try {
      const session = this.#openSession(payload, this.#globalId !== 0n);
      this.#state = 'done';
      return concealKeys({
        kind: 'done' as const,
        globalId: this.#globalId,
        payload: session.payload,
        sessionKey: session.sessionKey.reveal(),
        connectionSecret: session.connectionSecret,
        entity: this.#entity,
        caps: this.#keys.caps(this.#entity, 'mon'),
      });
    } catch (error) {
      return badMethod(this.#refusal(error), ALLOWED_METHODS);
    }
  }

  renew(payload: Uint8Array): { result: number; payload: Uint8Array } {
    try {
      if (this.#state !== 'done') throw new Refusal('EACCES', 'not authenticated');
      const decoder = new Decoder(payload);
      const { requestType } = requestHeader.decode(decoder);
      switch (requestType) {
        case CEPHX_REQUEST.GET_AUTH_SESSION_KEY:
          // librados renews its AUTH ticket so: the challenge of this connection once more, and the old ticket.
          return {
            result: 0,
            payload: this.#openSession(payload, true, { renewal: true }).payload,
          };
        case CEPHX_REQUEST.GET_PRINCIPAL_SESSION_KEY:
          return { result: 0, payload: this.#renewServiceTickets(decoder) };
        default:
          throw new Refusal('EINVAL', `unknown request ${requestType}`);
      }
    } catch (error) {
      return { result: new RadosError(this.#refusal(error), '').errno, payload: new Uint8Array(0) };
    }
  }

  /** GET_AUTH_SESSION_KEY: checks everything, then issues. */
  #openSession(payload: Uint8Array, reclaim: boolean, { renewal = false } = {}) {
    const decoder = new Decoder(payload);
    const { requestType } = requestHeader.decode(decoder);
    if (requestType !== CEPHX_REQUEST.GET_AUTH_SESSION_KEY) {
      throw new Refusal('EACCES', `request ${requestType} instead of a proof`);
    }
    const req = authenticate.decode(decoder);
    const known = this.#keys.checkProof(this.#entity, this.#challenge, req);
    if (!known) throw new Refusal('EACCES', 'unknown entity or wrong key');
    const previousKey = this.#checkClaim(req, reclaim);
    // Who may do nothing at the monitor may not even connect.
    if (this.#keys.caps(this.#entity, 'mon') === '') throw new Refusal('EACCES', 'no mon caps');
    const conMode = renewal ? CON_MODE.CRC : this.#conMode;
    if (conMode === CON_MODE.SECURE && req.otherKeys === 0) {
      throw new Refusal('EINVAL', 'secure mode without a connection secret');
    }

    if (this.#globalId === 0n) this.#globalId = this.#keys.allocateGlobalId();
    const holder = { entity: this.#entity, globalId: this.#globalId };
    const principal = known.key;
    const { sessionKey, entry } = this.#keys.issueTicket(ENTITY_TYPE.AUTH, holder, {
      principal,
      previousKey,
    });
    const parts = [
      encodeWith(responseHeader, { requestType, status: 0 }),
      encodeWith(ticketReply, { tickets: [entry] }),
    ];
    const secret = connectionSecret(conMode, this.#env.random);
    // Clients before Nautilus ask for nothing along, and would not expect what follows.
    if (req.otherKeys !== 0) {
      const sealed = seal(sessionKey, sealedConnectionSecret, new Secret(secret), this.#env.random);
      const services = req.otherKeys & ~ENTITY_TYPE.AUTH;
      parts.push(
        encodeWith(blob, renewal ? new Uint8Array(0) : encodeWith(blob, sealed)),
        encodeWith(
          blob,
          services === 0
            ? new Uint8Array(0)
            : this.#keys.issueServiceTickets(services, holder, sessionKey),
        ),
      );
    }
    return { payload: concat(...parts), sessionKey, connectionSecret: secret };
  }

  /** The rules of global ids. Returns the key that the new ticket's blob must be hidden under, for a reclaimed id. */
  #checkClaim(req: Authenticate, reclaim: boolean): CryptoKey | undefined {
    if (!reclaim) {
      if (req.oldTicket.blob.length > 0) throw new Refusal('EINVAL', 'superfluous ticket');
      return undefined;
    }
    const old = this.#keys.checkOldTicket(this.#entity, this.#globalId, req);
    if (!old) throw new Refusal('EACCES', `no valid ticket for global id ${this.#globalId}`);
    return old.sessionKey;
  }

  /** GET_PRINCIPAL_SESSION_KEY: an authorizer for the AUTH service, without a challenge, and the services wanted. */
  #renewServiceTickets(decoder: Decoder): Uint8Array {
    const shown = authorizer.decode(decoder);
    const { keys: services } = serviceTicketRequest.decode(decoder);
    const verified = verifyAuthorizer(shown, {
      id: ENTITY_TYPE.AUTH,
      secrets: this.#keys.rotatingSecrets(ENTITY_TYPE.AUTH),
      now: this.#env.clock.now(),
    });
    if (!verified) throw new Refusal('EACCES', 'bad authorizer');
    const { name: entity, globalId } = verified.ticket.ticket;
    // Deleted since: its tickets run out.
    if (!this.#keys.knows(entity)) throw new Refusal('EACCES', 'the entity was removed');
    const requestType = CEPHX_REQUEST.GET_PRINCIPAL_SESSION_KEY;
    return concat(
      encodeWith(responseHeader, { requestType, status: 0 }),
      this.#keys.issueServiceTickets(services, { entity, globalId }, verified.ticket.sessionKey),
    );
  }
  /** What does not decode is refused like what does not prove; our own mistakes are not hidden. */
  #refusal(error: unknown): ErrnoCode {
    if (!(error instanceof Refusal || error instanceof ProtocolError)) throw error;
    const code = error instanceof Refusal ? error.errno : 'EACCES';
    this.#env.log.mon.debug(
      { entity: formatAuthEntity(this.#entity), code, reason: error.message },
      'cephx: refused',
    );
    return code;
  }
}
