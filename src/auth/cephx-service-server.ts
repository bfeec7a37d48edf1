/**
 * The service role of cephx: a daemon that lets in who shows a ticket and proves to know the key within
 * (`cephx_verify_authorizer`). The daemon needs no more than its service's rotating secrets.
 *
 * Whatever is wrong with an authorizer, the answer is the same: EACCES. The client then renews its tickets.
 */

import type { Environment, Random } from '../base/environment.js';
import { ProtocolError } from '../base/errors.js';
import { blob, decodeFirst, encodeWith, type Infer } from '../encoding/codec.js';
import { utimeToMs } from '../encoding/types.js';
import {
  type Authorizer,
  type authorize,
  authorizer,
  capsText,
  type ServiceTicketInfo,
  sealedAuthorize,
  sealedAuthorizeChallenge,
  sealedAuthorizeReply,
  sealedTicketInfo,
} from './cephx-messages.js';
import { plusOne, randomU64 } from './cephx-tickets.js';
import { open, Secret, seal } from './crypto-key.js';
import {
  AUTH_METHOD,
  type AuthServer,
  type AuthServerStep,
  badMethod,
  CON_MODE,
  CONNECTION_SECRET_BYTES,
  concealKeys,
  tolerant,
} from './method.js';
import type { RotatingSecrets } from './rotating-secrets.js';

const ALLOWED_METHODS = [AUTH_METHOD.CEPHX];

export interface VerifiedAuthorizer {
  ticket: ServiceTicketInfo;
  proof: Infer<typeof authorize>;
}

/** Opens an authorizer and its ticket. Undefined when any part of it does not hold. */
export function verifyAuthorizer(
  shown: Authorizer,
  service: { id: number; secrets: RotatingSecrets; now: number },
): VerifiedAuthorizer | undefined {
  if (shown.serviceId !== service.id) return undefined;
  const secret = service.secrets.find(shown.ticket.secretId);
  const ticket = secret && open(secret, sealedTicketInfo, shown.ticket.blob);
  if (!ticket || ticket.ticket.globalId !== shown.globalId) return undefined;
  if (utimeToMs(ticket.ticket.expires) <= service.now) return undefined;
  const proof = open(ticket.sessionKey, sealedAuthorize, shown.sealedProof);
  return proof && { ticket, proof };
}

/** One incoming connection at a daemon. */
export class CephxServiceServer implements AuthServer {
  readonly #env: Environment;
  readonly #serviceId: number;
  readonly #secrets: RotatingSecrets;
  #state: 'idle' | 'challenged' | 'done' = 'idle';
  #conMode = 0;
  #challenge = 0n;

  constructor(env: Environment, options: { serviceId: number; secrets: RotatingSecrets }) {
    this.#env = env;
    this.#serviceId = options.serviceId;
    this.#secrets = options.secrets;
  }

  onRequest(request: { method: number; conMode: number; payload: Uint8Array }): AuthServerStep {
    if (this.#state !== 'idle') throw new ProtocolError(`AUTH_REQUEST while ${this.#state}`);
    if (request.method !== AUTH_METHOD.CEPHX) return badMethod('EOPNOTSUPP', ALLOWED_METHODS);
    const verified = this.#verify(request.payload);
    if (!verified) return badMethod('EACCES', ALLOWED_METHODS);
    this.#state = 'challenged';
    this.#conMode = request.conMode;
    // Fresh for each connection: a recorded authorizer is of no use on another one.
    this.#challenge = randomU64(this.#env.random);
    const challenge = { serverChallenge: this.#challenge };
    const { sessionKey } = verified.ticket;
    const payload = seal(sessionKey, sealedAuthorizeChallenge, challenge, this.#env.random);
    return { kind: 'more', payload };
  }

  onRequestMore(payload: Uint8Array): AuthServerStep {
    if (this.#state !== 'challenged') {
      throw new ProtocolError(`AUTH_REQUEST_MORE while ${this.#state}`);
    }
    this.#state = 'idle';
    const verified = this.#verify(payload);
    const answered =
      verified?.proof.haveChallenge === true &&
      verified.proof.serverChallengePlusOne === plusOne(this.#challenge);
    const caps = verified && tolerant(() => capsText(verified.ticket.ticket.caps));
    if (!answered || caps === undefined) return badMethod('EACCES', ALLOWED_METHODS);
    this.#state = 'done';
    return this.#accept(verified, caps);
  }

  #verify(payload: Uint8Array): VerifiedAuthorizer | undefined {
    return tolerant(() =>
      verifyAuthorizer(decodeFirst(authorizer, payload), {
        id: this.#serviceId,
        secrets: this.#secrets,
        now: this.#env.clock.now(),
      }),
    );
  }

  #accept({ ticket, proof }: VerifiedAuthorizer, caps: string): AuthServerStep {
    const secret = connectionSecret(this.#conMode, this.#env.random);
    const reply = {
      noncePlusOne: plusOne(proof.nonce),
      connectionSecret: secret.length > 0 ? new Secret(secret) : undefined,
    };
    const sealed = seal(ticket.sessionKey, sealedAuthorizeReply, reply, this.#env.random);
    return concealKeys({
      kind: 'done' as const,
      globalId: ticket.ticket.globalId,
      payload: encodeWith(blob, sealed),
      sessionKey: ticket.sessionKey.reveal(),
      connectionSecret: secret,
      entity: ticket.ticket.name,
      caps,
    });
  }
}

/** Random in secure mode, empty in crc mode. */
export function connectionSecret(conMode: number, random: Random): Uint8Array {
  return random.bytes(conMode === CON_MODE.SECURE ? CONNECTION_SECRET_BYTES : 0);
}
