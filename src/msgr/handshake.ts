/**
 * From banner to ready, both roles, without a socket (`msg/async/ProtocolV2.cc`).
 *
 *   client                                      server
 *   hello       HELLO ->            <- HELLO    hello
 *   auth        AUTH_REQUEST ->                 auth
 *               <- AUTH_BAD_METHOD (client may try another method)
 *               <- AUTH_REPLY_MORE, AUTH_REQUEST_MORE -> (repeat)
 *   signature   <- AUTH_DONE                    signature
 *               --- from here on in the agreed mode, crc or secure ---
 *               AUTH_SIGNATURE -><- AUTH_SIGNATURE
 *   ident       CLIENT_IDENT ->                 ident
 *   ready       <- SERVER_IDENT                 ready
 *
 * Any frame out of place ends the connection. Sessions are lossy: there is no reconnect, the layers above resend.
 */

import { createHmac, timingSafeEqual } from 'node:crypto';
import { ProtocolError, RadosError } from '../base/errors.js';
import {
  AUTH_METHOD,
  type AuthClient,
  type AuthServer,
  type AuthServerStep,
  CON_MODE,
} from '../auth/method.js';
import { type Codec, decodeAll, encodeWith } from '../encoding/codec.js';
import {
  ADDR_TYPE,
  type AuthEntity,
  type EntityAddr,
  entityTypeName,
  formatAddr,
  sameAddr,
} from '../encoding/entity.js';
import { FEATURES_REQUIRED, FEATURES_SUPPORTED } from '../messages/features.js';
import {
  authBadMethod,
  authDone,
  authMore,
  authRequest,
  authSignature,
  clientIdent,
  compressionDone,
  hello,
  IDENT_LOSSY,
  identMissingFeatures,
  serverIdent,
  sessionReset,
  TAG,
  tagName,
} from './control-frames.js';

/** Who is at the other end of an established session. */
export interface PeerInfo {
  entityType: number;
  globalId: bigint;
  /** A client's is its global id, a daemon's its rank or OSD id. */
  gid: bigint;
  addrs: EntityAddr[];
  features: bigint;
  /** The address that the peer sees us at (from its HELLO). */
  seenAs: EntityAddr;
  secure: boolean;
  /** Server role: who authenticated, and its caps for this service. */
  entity?: AuthEntity | undefined;
  caps?: string | undefined;
  /** Server role: the machine that authenticated it; a monitor's goes on to renew tickets. */
  auth?: AuthServer | undefined;
}

/** What the handshake asks of its connection. */
export interface HandshakeIo {
  sendControl(tag: number, payload: Uint8Array): void;
  /** Raw bytes received and sent since the banner, up to and including the last frame. Asked once each. */
  takeReceived(): Uint8Array;
  takeSent(): Uint8Array;
  enableSecureMode(connectionSecret: Uint8Array): void;
  onReady(peer: PeerInfo): void;
}

export interface ClientHandshakeOptions {
  /** The daemon dialled: exactly one of its own addresses, nonce included, or it hangs up. */
  target: EntityAddr;
  /** What must answer there. */
  expectedType: number;
  /** Authentication methods in order of preference. */
  auth: readonly (() => AuthClient)[];
  /** Connection modes in order of preference. */
  modes: readonly number[];
  /** Our global id for the ident; `undefined` before the monitors assigned one. */
  gid: () => bigint;
  nonce: number;
  globalSeq: bigint;
}

export interface ServerHandshakeOptions {
  entityType: number;
  addrs: readonly EntityAddr[];
  gid: bigint;
  methods: readonly number[];
  modes: readonly number[];
  authServer: () => AuthServer;
  /** The client's socket address. */
  peerAddr: EntityAddr;
}

type Phase = 'banner' | 'hello' | 'auth' | 'signature' | 'ident' | 'ready';

const SIGNATURE_BYTES = 32;
const GID_UNKNOWN = -1n;
/** A peer that keeps asking for another method is not negotiating. */
const MAX_AUTH_ROUNDS = 8;

abstract class Handshake {
  protected phase: Phase = 'banner';
  protected readonly io: HandshakeIo;
  #expectedSignature: Uint8Array | undefined;

  constructor(io: HandshakeIo) {
    this.io = io;
  }

  get ready(): boolean {
    return this.phase === 'ready';
  }

  /** For messages: how far it came. */
  get phaseName(): string {
    return this.phase;
  }

  abstract onBanner(): void;
  abstract onControl(tag: number, payload: Uint8Array): void;

  protected send<T>(tag: number, codec: Codec<T>, value: T): void {
    this.io.sendControl(tag, encodeWith(codec, value));
  }

  protected unexpected(tag: number): never {
    throw new ProtocolError(`${tagName(tag)} frame in handshake phase ${this.phase}`);
  }

  /** AUTH_DONE was sent or received: sign what was received, switch modes, and expect the peer's signature. */
  protected beginSignature(
    sessionKey: Uint8Array,
    conMode: number,
    connectionSecret: Uint8Array,
  ): void {
    const signature = sign(sessionKey, this.io.takeReceived());
    this.#expectedSignature = sign(sessionKey, this.io.takeSent());
    if (conMode === CON_MODE.SECURE) this.io.enableSecureMode(connectionSecret);
    this.phase = 'signature';
    this.send(TAG.AUTH_SIGNATURE, authSignature, { signature });
  }

  protected checkSignature(payload: Uint8Array): void {
    const { signature } = decodeAll('AUTH_SIGNATURE', authSignature, payload);
    if (!this.#expectedSignature || !timingSafeEqual(signature, this.#expectedSignature)) {
      throw new RadosError('EKEYREJECTED', 'the peer signed other bytes than were sent');
    }
    this.phase = 'ident';
  }
}

/** HMAC-SHA256 with the session key; zeros when there is none (auth none). */
function sign(sessionKey: Uint8Array, transcript: Uint8Array): Uint8Array {
  if (sessionKey.length === 0) return new Uint8Array(SIGNATURE_BYTES);
  return new Uint8Array(createHmac('sha256', sessionKey).update(transcript).digest());
}

export class ClientHandshake extends Handshake {
  readonly #options: ClientHandshakeOptions;
  readonly #untried: (() => AuthClient)[];
  #auth: AuthClient | undefined;
  #globalId = 0n;
  #secure = false;
  #seenAs: EntityAddr | undefined;
  #rounds = 0;

  constructor(io: HandshakeIo, options: ClientHandshakeOptions) {
    super(io);
    this.#options = options;
    this.#untried = [...options.auth];
  }

  onBanner(): void {
    this.phase = 'hello';
    this.send(TAG.HELLO, hello, { entityType: 8, peerAddr: this.#options.target });
  }

  onControl(tag: number, payload: Uint8Array): void {
    switch (this.phase) {
      case 'hello':
        if (tag !== TAG.HELLO) this.unexpected(tag);
        this.#onHello(payload);
        return;
      case 'auth':
        this.#onAuth(tag, payload);
        return;
      case 'signature':
        if (tag !== TAG.AUTH_SIGNATURE) this.unexpected(tag);
        this.checkSignature(payload);
        this.#sendIdent();
        return;
      case 'ident':
        this.#onIdent(tag, payload);
        return;
      case 'banner':
      case 'ready':
        this.unexpected(tag);
    }
  }

  #onHello(payload: Uint8Array): void {
    const { entityType, peerAddr } = decodeAll('HELLO', hello, payload);
    if (entityType !== this.#options.expectedType) {
      throw new ProtocolError(
        `expected ${entityTypeName(this.#options.expectedType)}, found ${entityTypeName(entityType)}`,
      );
    }
    this.#seenAs = peerAddr;
    this.phase = 'auth';
    this.#request();
  }

  #request(): void {
    const make = this.#untried.shift();
    if (!make) throw new RadosError('EACCES', 'no authentication method left to try');
    this.#auth = make();
    this.send(TAG.AUTH_REQUEST, authRequest, {
      method: this.#auth.method,
      modes: [...this.#options.modes],
      payload: this.#auth.initialRequest(),
    });
  }

  #onAuth(tag: number, payload: Uint8Array): void {
    const auth = this.#auth as AuthClient;
    if (++this.#rounds > MAX_AUTH_ROUNDS)
      throw new ProtocolError('authentication goes round in circles');
    if (tag === TAG.AUTH_BAD_METHOD) {
      this.#onBadMethod(payload);
    } else if (tag === TAG.AUTH_REPLY_MORE) {
      const more = decodeAll('AUTH_REPLY_MORE', authMore, payload);
      this.send(TAG.AUTH_REQUEST_MORE, authMore, { payload: auth.onReplyMore(more.payload) });
    } else if (tag === TAG.AUTH_DONE) {
      const done = decodeAll('AUTH_DONE', authDone, payload);
      if (!this.#options.modes.includes(done.conMode)) {
        throw new ProtocolError(
          `the peer chose connection mode ${done.conMode}, which was not offered`,
        );
      }
      const { sessionKey, connectionSecret } = auth.onDone(done);
      this.#globalId = done.globalId;
      this.#secure = done.conMode === CON_MODE.SECURE;
      this.beginSignature(sessionKey, done.conMode, connectionSecret);
    } else {
      this.unexpected(tag);
    }
  }

  #onBadMethod(payload: Uint8Array): void {
    const { method, result, allowedMethods } = decodeAll('AUTH_BAD_METHOD', authBadMethod, payload);
    if (!allowedMethods.includes(method) && this.#untried.length > 0) {
      this.#request();
      return;
    }
    const errno = result === 0 ? -13 : result;
    throw RadosError.fromErrno(errno, {
      op: 'authenticate',
      detail: allowedMethods.includes(method)
        ? 'the key or the user was refused'
        : `the daemon allows authentication methods ${allowedMethods.join(', ')}`,
    });
  }

  #sendIdent(): void {
    const { target, gid, nonce, globalSeq } = this.#options;
    const seenAs = this.#seenAs as EntityAddr;
    this.send(TAG.CLIENT_IDENT, clientIdent, {
      // As librados does: one address of type ANY, with port 0 and a nonce that names this instance.
      addrs: [{ type: ADDR_TYPE.ANY, nonce, host: seenAs.host, port: 0 }],
      targetAddr: target,
      gid: gid(),
      globalSeq,
      featuresSupported: FEATURES_SUPPORTED,
      featuresRequired: FEATURES_REQUIRED,
      flags: IDENT_LOSSY,
      cookie: 0n,
    });
  }

  #onIdent(tag: number, payload: Uint8Array): void {
    if (tag === TAG.IDENT_MISSING_FEATURES) {
      const { missing } = decodeAll('IDENT_MISSING_FEATURES', identMissingFeatures, payload);
      throw new RadosError(
        'EOPNOTSUPP',
        `the daemon requires features 0x${missing.toString(16)} that this client lacks`,
      );
    }
    if (tag !== TAG.SERVER_IDENT) this.unexpected(tag);
    const ident = decodeAll('SERVER_IDENT', serverIdent, payload);
    const lacking = ident.featuresRequired & ~FEATURES_SUPPORTED;
    if (lacking !== 0n) {
      throw new RadosError(
        'EOPNOTSUPP',
        `the daemon requires features 0x${lacking.toString(16)} that this client lacks`,
      );
    }
    if (!ident.addrs.some((addr) => sameAddr(addr, this.#options.target))) {
      throw new ProtocolError(
        `the daemon at ${formatAddr(this.#options.target)} says that it is ${ident.addrs.map(formatAddr).join(', ')}`,
      );
    }
    this.phase = 'ready';
    this.io.onReady({
      entityType: this.#options.expectedType,
      globalId: this.#globalId,
      gid: ident.gid,
      addrs: ident.addrs,
      features: ident.featuresSupported & FEATURES_SUPPORTED,
      seenAs: this.#seenAs as EntityAddr,
      secure: this.#secure,
    });
  }
}

export class ServerHandshake extends Handshake {
  readonly #options: ServerHandshakeOptions;
  #auth: AuthServer | undefined;
  #conMode = 0;
  #done: Extract<AuthServerStep, { kind: 'done' }> | undefined;
  #seenAs: EntityAddr | undefined;
  #peerType = 0;
  #rounds = 0;

  constructor(io: HandshakeIo, options: ServerHandshakeOptions) {
    super(io);
    this.#options = options;
  }

  onBanner(): void {
    this.phase = 'hello';
    this.send(TAG.HELLO, hello, {
      entityType: this.#options.entityType,
      peerAddr: this.#options.peerAddr,
    });
  }

  onControl(tag: number, payload: Uint8Array): void {
    switch (this.phase) {
      case 'hello': {
        if (tag !== TAG.HELLO) this.unexpected(tag);
        const { entityType, peerAddr } = decodeAll('HELLO', hello, payload);
        this.#peerType = entityType;
        this.#seenAs = peerAddr;
        this.phase = 'auth';
        return;
      }
      case 'auth':
        this.#onAuth(tag, payload);
        return;
      case 'signature':
        if (tag !== TAG.AUTH_SIGNATURE) this.unexpected(tag);
        this.checkSignature(payload);
        return;
      case 'ident':
        this.#onIdent(tag, payload);
        return;
      case 'banner':
      case 'ready':
        this.unexpected(tag);
    }
  }

  #onAuth(tag: number, payload: Uint8Array): void {
    if (++this.#rounds > MAX_AUTH_ROUNDS)
      throw new ProtocolError('authentication goes round in circles');
    if (tag === TAG.AUTH_REQUEST) {
      this.#onRequest(payload);
    } else if (tag === TAG.AUTH_REQUEST_MORE && this.#auth) {
      const more = decodeAll('AUTH_REQUEST_MORE', authMore, payload);
      this.#onStep(this.#auth.onRequestMore(more.payload));
    } else {
      this.unexpected(tag);
    }
  }

  #onRequest(payload: Uint8Array): void {
    const request = decodeAll('AUTH_REQUEST', authRequest, payload);
    const { methods, modes, authServer } = this.#options;
    // Without cephx there is no secret to encrypt with.
    const possible = request.method === AUTH_METHOD.NONE ? [CON_MODE.CRC] : modes;
    const conMode = request.modes.find((mode) => possible.includes(mode) && modes.includes(mode));
    if (!methods.includes(request.method) || conMode === undefined) {
      this.#refuse(request.method, -95);
      return;
    }
    this.#conMode = conMode;
    this.#auth = authServer();
    this.#onStep(
      this.#auth.onRequest({ method: request.method, conMode, payload: request.payload }),
      request.method,
    );
  }

  #onStep(step: AuthServerStep, method: number = AUTH_METHOD.CEPHX): void {
    switch (step.kind) {
      case 'more':
        this.send(TAG.AUTH_REPLY_MORE, authMore, { payload: step.payload });
        return;
      case 'bad-method':
        this.#auth = undefined;
        this.#refuse(method, step.result);
        return;
      case 'done':
        this.#done = step;
        this.send(TAG.AUTH_DONE, authDone, {
          globalId: step.globalId,
          conMode: this.#conMode,
          payload: step.payload,
        });
        this.beginSignature(step.sessionKey, this.#conMode, step.connectionSecret);
        return;
    }
  }

  #refuse(method: number, result: number): void {
    this.send(TAG.AUTH_BAD_METHOD, authBadMethod, {
      method,
      result,
      allowedMethods: [...this.#options.methods],
      allowedModes: [...this.#options.modes],
    });
  }

  #onIdent(tag: number, payload: Uint8Array): void {
    if (tag === TAG.COMPRESSION_REQUEST) {
      this.send(TAG.COMPRESSION_DONE, compressionDone, { isCompress: 0, method: 0 });
      return;
    }
    if (tag === TAG.SESSION_RECONNECT) {
      // Sessions are not kept: the peer starts over with CLIENT_IDENT.
      this.send(TAG.SESSION_RESET, sessionReset, { full: 1 });
      return;
    }
    if (tag !== TAG.CLIENT_IDENT) this.unexpected(tag);
    const ident = decodeAll('CLIENT_IDENT', clientIdent, payload);
    const { addrs, gid, entityType } = this.#options;
    const first = ident.addrs[0];
    if (!first || first.host === '') throw new ProtocolError('CLIENT_IDENT without an address');
    if (!addrs.some((addr) => sameAddr(addr, ident.targetAddr))) {
      throw new ProtocolError(
        `the peer looks for ${formatAddr(ident.targetAddr)}, not for ${entityTypeName(entityType)}.${gid}`,
      );
    }
    const missing = FEATURES_REQUIRED & ~ident.featuresSupported;
    if (missing !== 0n) {
      this.send(TAG.IDENT_MISSING_FEATURES, identMissingFeatures, { missing });
      return;
    }
    this.send(TAG.SERVER_IDENT, serverIdent, {
      addrs: [...addrs],
      gid,
      globalSeq: ident.globalSeq,
      featuresSupported: FEATURES_SUPPORTED,
      featuresRequired: FEATURES_REQUIRED,
      // Whatever the client asked for: sessions here are lossy.
      flags: IDENT_LOSSY,
      cookie: 0n,
    });
    this.phase = 'ready';
    const done = this.#done as Extract<AuthServerStep, { kind: 'done' }>;
    this.io.onReady({
      entityType: this.#peerType,
      globalId: done.globalId,
      gid: ident.gid === GID_UNKNOWN ? done.globalId : ident.gid,
      addrs: ident.addrs,
      features: ident.featuresSupported & FEATURES_SUPPORTED,
      seenAs: this.#seenAs as EntityAddr,
      secure: this.#conMode === CON_MODE.SECURE,
      entity: done.entity,
      caps: done.caps,
      auth: this.#auth,
    });
  }
}
