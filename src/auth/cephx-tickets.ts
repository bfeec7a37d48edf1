/** Tickets in the hands of a client: taking them from a monitor's reply, and showing them to a service. */

import type { Random } from '../base/environment.js';
import { ProtocolError, RadosError } from '../base/errors.js';
import { decodeFirst, encodeWith, type Infer } from '../encoding/codec.js';
import { Encoder } from '../encoding/encoder.js';
import { entityTypeName } from '../encoding/entity.js';
import { utimeToMs } from '../encoding/types.js';
import {
  authorizer,
  sealedAuthorize,
  sealedServiceTicket,
  sealedTicketBlob,
  type TicketBlob,
  ticketBlob,
  type ticketReply,
} from './cephx-messages.js';
import { type CryptoKey, open, seal } from './crypto-key.js';

export interface Ticket {
  readonly serviceId: number;
  /** Shared with the service, which finds it inside the blob. */
  readonly sessionKey: CryptoKey;
  readonly blob: TicketBlob;
  /** `clock.now()` milliseconds, as are all times here. Infinity when it does not expire. */
  readonly expiresAt: number;
  readonly renewAt: number;
}

/** The answer was not made with the key that we share with the monitor. */
export function keyRejected(what: string): RadosError {
  return new RadosError('EKEYREJECTED', `${what} does not open with our key`, {
    op: 'authenticate',
  });
}

/**
 * Opens the tickets of a reply (`CephXTicketManager::verify_service_ticket_reply`).
 *
 * `principal` is the key that the reply as a whole is for; `previousKey` is the session key of the ticket that a
 * client gave back to reclaim its global id: the new blob comes encrypted under it, so that only who holds the old
 * ticket's key can go on.
 */
export function openTickets(
  reply: Infer<typeof ticketReply>,
  options: { principal: CryptoKey; previousKey: CryptoKey | undefined; now: number },
): Ticket[] {
  return reply.tickets.map((entry) => {
    const name = `the ${entityTypeName(entry.serviceId)} ticket`;
    const secrets = open(options.principal, sealedServiceTicket, entry.sealedTicket);
    if (!secrets) throw keyRejected(name);
    let blobBytes: Uint8Array | undefined = entry.ticket;
    if (entry.encrypted) {
      blobBytes = options.previousKey && open(options.previousKey, sealedTicketBlob, entry.ticket);
      if (!blobBytes) throw keyRejected(`the blob of ${name}`);
    }
    const blob = decodeFirst(ticketBlob, blobBytes);
    if (blob.blob.length === 0) throw new ProtocolError(`${name} is empty`);
    const validityMs = utimeToMs(secrets.validity);
    return {
      serviceId: entry.serviceId,
      sessionKey: secrets.sessionKey,
      blob,
      expiresAt: validityMs === 0 ? Infinity : options.now + validityMs,
      renewAt: validityMs === 0 ? Infinity : options.now + validityMs * (3 / 4),
    };
  });
}

/** The proof that we know a ticket's session key; the second one answers the service's challenge. */
export interface Proof {
  nonce: bigint;
  serverChallenge: bigint | undefined;
}

export function buildAuthorizer(
  ticket: Ticket,
  globalId: bigint,
  proof: Proof,
  random: Random,
): Uint8Array {
  const { nonce, serverChallenge } = proof;
  const content = {
    nonce,
    haveChallenge: serverChallenge !== undefined,
    serverChallengePlusOne: serverChallenge === undefined ? 0n : plusOne(serverChallenge),
  };
  return encodeWith(authorizer, {
    globalId,
    serviceId: ticket.serviceId,
    ticket: ticket.blob,
    sealedProof: seal(ticket.sessionKey, sealedAuthorize, content, random),
  });
}

export function plusOne(value: bigint): bigint {
  return BigInt.asUintN(64, value + 1n);
}

export function randomU64(random: Random): bigint {
  return (BigInt(random.u32()) << 32n) | BigInt(random.u32());
}

/** Joins encoded parts. */
export function concat(...parts: Uint8Array[]): Uint8Array {
  const encoder = new Encoder(parts.reduce((sum, part) => sum + part.length, 0));
  for (const part of parts) encoder.raw(part);
  return encoder.bytes;
}
