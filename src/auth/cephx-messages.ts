/**
 * What cephx peers say to each other (`auth/cephx/CephxProtocol.h`, `auth/Auth.h`).
 *
 * These structures are older than Ceph's sized struct header: most start with a lone version byte, so they can only
 * grow where something else bounds them. What is encrypted is declared as `Sealed`, with the usage of its key.
 */

import {
  blob,
  bool,
  type Codec,
  decodeFirst,
  encodeWith,
  type FieldsOf,
  type Infer,
  list,
  map,
  mapped,
  record,
  s32,
  string,
  u8,
  u16,
  u32,
  u64,
} from '../encoding/codec.js';
import { DecodeError } from '../encoding/decoder.js';
import { authEntity } from '../encoding/entity.js';
import { utime } from '../encoding/types.js';
import { cryptoKey, KEY_USAGE, type Sealed, Secret } from './crypto-key.js';

export const CEPHX_REQUEST = {
  GET_AUTH_SESSION_KEY: 0x0100,
  GET_PRINCIPAL_SESSION_KEY: 0x0200,
  GET_ROTATING_KEY: 0x0400,
} as const;

type Fields = Parameters<typeof record>[1];

/** One version byte, then the fields. Writers before `version` are refused, later ones may append. */
function versioned<F extends Fields>(name: string, version: number, fields: F): Codec<FieldsOf<F>> {
  const body = record(name, fields);
  return {
    minBytes: 1 + body.minBytes,
    decode(decoder) {
      const at = decoder.offset;
      const found = decoder.u8();
      if (found < version) throw new DecodeError(`version ${found}`, at, [name]);
      return body.decode(decoder);
    },
    encode(encoder, value) {
      encoder.u8(version);
      body.encode(encoder, value);
    },
    sample: body.sample,
  };
}

export const requestHeader = record('CephXRequestHeader', { requestType: u16 });
export const responseHeader = record('CephXResponseHeader', { requestType: u16, status: s32 });

export const serverChallenge = versioned('CephXServerChallenge', 1, { serverChallenge: u64 });

/** The plaintext behind `CryptoKey.challengeProof` of AES keys. */
export const challengeBlob = record('CephXChallengeBlob', {
  serverChallenge: u64,
  clientChallenge: u64,
});

/** A ticket as its holder sees it: opaque, with the id of the secret that opens it. */
export const ticketBlob = versioned('CephXTicketBlob', 1, { secretId: u64, blob });
export type TicketBlob = Infer<typeof ticketBlob>;

export const NO_TICKET: TicketBlob = { secretId: 0n, blob: new Uint8Array(0) };

/** A secret id that stands for the service's own key, which daemons use among themselves. */
export const PRINCIPAL_SECRET_ID = 0xffff_ffff_ffff_ffffn;

export interface Authenticate {
  /** 2: a client that may leave the old ticket out; 3: one that does not. */
  structV: number;
  clientChallenge: bigint;
  key: bigint;
  oldTicket: TicketBlob;
  /** Services for which tickets are wanted along. */
  otherKeys: number;
}

export const authenticate: Codec<Authenticate> = {
  minBytes: 1 + 8 + 8 + ticketBlob.minBytes,
  decode(decoder) {
    const structV = decoder.u8();
    return {
      structV,
      clientChallenge: decoder.u64(),
      key: decoder.u64(),
      oldTicket: ticketBlob.decode(decoder),
      otherKeys: structV >= 2 ? decoder.u32() : 0,
    };
  },
  encode(encoder, value) {
    encoder.u8(value.structV).u64(value.clientChallenge).u64(value.key);
    ticketBlob.encode(encoder, value.oldTicket);
    if (value.structV >= 2) encoder.u32(value.otherKeys);
  },
  sample: (draw) => ({
    structV: 3,
    clientChallenge: u64.sample(draw),
    key: u64.sample(draw),
    oldTicket: ticketBlob.sample(draw),
    otherKeys: u32.sample(draw),
  }),
};

/** What the holder of a ticket learns about it. `validity` is a duration. */
export const serviceTicket = versioned('CephXServiceTicket', 1, {
  sessionKey: cryptoKey,
  validity: utime,
});

export const sealedServiceTicket: Sealed<Infer<typeof serviceTicket>> = {
  name: 'CephXServiceTicket',
  usage: KEY_USAGE.SERVICE_TICKET,
  codec: serviceTicket,
};

/** `cephx_build_service_ticket_reply`: per ticket the sealed `CephXServiceTicket` and the, perhaps sealed, blob. */
export const ticketReply = versioned('ticket reply', 1, {
  tickets: list(
    record('ticket', {
      serviceId: u32,
      structV: u8,
      sealedTicket: blob,
      encrypted: bool,
      ticket: blob,
    }),
  ),
});

/** A `CephXTicketBlob` under the session key of the ticket that it replaces. It is a buffer within: hence the length. */
export const sealedTicketBlob: Sealed<Uint8Array> = {
  name: 'CephXTicketBlob',
  usage: KEY_USAGE.TICKET_BLOB,
  codec: blob,
};

const secret: Codec<Secret> = mapped(
  blob,
  (bytes) => new Secret(bytes),
  (value) => value.reveal(),
);

export const sealedConnectionSecret: Sealed<Secret> = {
  name: 'connection secret',
  usage: KEY_USAGE.MON_CONNECTION_SECRET,
  codec: secret,
};

/** What an entity may do at one service. `caps` is itself an encoded string, or empty. */
export const authCapsInfo = versioned('AuthCapsInfo', 1, { allowAll: bool, caps: blob });
export type AuthCapsInfo = Infer<typeof authCapsInfo>;

export function capsInfo(caps: string): AuthCapsInfo {
  return { allowAll: false, caps: caps === '' ? new Uint8Array(0) : encodeWith(string, caps) };
}

export function capsText(info: AuthCapsInfo): string {
  if (info.allowAll) return 'allow *';
  return info.caps.length === 0 ? '' : decodeFirst(string, info.caps);
}

export const authTicket = versioned('AuthTicket', 2, {
  name: authEntity,
  globalId: u64,
  auid: u64,
  created: utime,
  expires: utime,
  caps: authCapsInfo,
  flags: u32,
});

export const NO_AUID = 0xffff_ffff_ffff_ffffn;

/** The inside of a ticket blob: for the service alone. */
export const serviceTicketInfo = versioned('CephXServiceTicketInfo', 1, {
  ticket: authTicket,
  sessionKey: cryptoKey,
});
export type ServiceTicketInfo = Infer<typeof serviceTicketInfo>;

export const sealedTicketInfo: Sealed<ServiceTicketInfo> = {
  name: 'CephXServiceTicketInfo',
  usage: KEY_USAGE.TICKET_INFO,
  codec: serviceTicketInfo,
};

export const serviceTicketRequest = versioned('CephXServiceTicketRequest', 1, { keys: u32 });

/** The ticket that a client shows and, sealed, its proof that it knows the ticket's session key. */
export const authorizer = versioned('CephXAuthorizer', 1, {
  globalId: u64,
  serviceId: u32,
  ticket: ticketBlob,
  sealedProof: blob,
});
export type Authorizer = Infer<typeof authorizer>;

export const authorize = versioned('CephXAuthorize', 2, {
  nonce: u64,
  haveChallenge: bool,
  serverChallengePlusOne: u64,
});

export const sealedAuthorize: Sealed<Infer<typeof authorize>> = {
  name: 'CephXAuthorize',
  usage: KEY_USAGE.AUTHORIZE,
  codec: authorize,
};

export const authorizeChallenge = versioned('CephXAuthorizeChallenge', 1, {
  serverChallenge: u64,
});

export const sealedAuthorizeChallenge: Sealed<Infer<typeof authorizeChallenge>> = {
  name: 'CephXAuthorizeChallenge',
  usage: KEY_USAGE.AUTHORIZE_CHALLENGE,
  codec: authorizeChallenge,
};

export interface AuthorizeReply {
  noncePlusOne: bigint;
  /** Present (as version 2) in secure mode only. */
  connectionSecret: Secret | undefined;
}

export const authorizeReply: Codec<AuthorizeReply> = {
  minBytes: 9,
  decode(decoder) {
    const version = decoder.u8();
    return {
      noncePlusOne: decoder.u64(),
      connectionSecret: version >= 2 ? secret.decode(decoder) : undefined,
    };
  },
  encode(encoder, value) {
    encoder.u8(value.connectionSecret ? 2 : 1).u64(value.noncePlusOne);
    if (value.connectionSecret) secret.encode(encoder, value.connectionSecret);
  },
  sample: (draw) => ({
    noncePlusOne: u64.sample(draw),
    connectionSecret: draw(2) ? secret.sample(draw) : undefined,
  }),
};

export const sealedAuthorizeReply: Sealed<AuthorizeReply> = {
  name: 'CephXAuthorizeReply',
  usage: KEY_USAGE.AUTHORIZE_REPLY,
  codec: authorizeReply,
};

export const expiringCryptoKey = versioned('ExpiringCryptoKey', 1, {
  key: cryptoKey,
  expiration: utime,
});

/** The secrets of one service by id, oldest first. */
export const rotatingSecrets = versioned('RotatingSecrets', 1, {
  secrets: map(u64, expiringCryptoKey),
  maxVersion: u64,
});
