/** Frame tags and the payloads of control frames (`msg/async/frames_v2.h`), declared. */

import {
  blob,
  fixed,
  type Infer,
  list,
  record,
  s32,
  s64,
  u8,
  u32,
  u64,
} from '../encoding/codec.js';
import { entityAddr, entityAddrvec } from '../encoding/entity.js';
import { utime } from '../encoding/types.js';

export const TAG = {
  HELLO: 1,
  AUTH_REQUEST: 2,
  AUTH_BAD_METHOD: 3,
  AUTH_REPLY_MORE: 4,
  AUTH_REQUEST_MORE: 5,
  AUTH_DONE: 6,
  AUTH_SIGNATURE: 7,
  CLIENT_IDENT: 8,
  SERVER_IDENT: 9,
  IDENT_MISSING_FEATURES: 10,
  SESSION_RECONNECT: 11,
  SESSION_RESET: 12,
  SESSION_RETRY: 13,
  SESSION_RETRY_GLOBAL: 14,
  SESSION_RECONNECT_OK: 15,
  WAIT: 16,
  MESSAGE: 17,
  KEEPALIVE2: 18,
  KEEPALIVE2_ACK: 19,
  ACK: 20,
  COMPRESSION_REQUEST: 21,
  COMPRESSION_DONE: 22,
} as const;

const TAG_NAMES = new Map<number, string>(Object.entries(TAG).map(([name, tag]) => [tag, name]));

export function tagName(tag: number): string {
  return TAG_NAMES.get(tag) ?? `tag ${tag}`;
}

export function isKnownTag(tag: number): boolean {
  return TAG_NAMES.has(tag);
}

/** `peerAddr`: the address that the sender thinks the receiver has. */
export const hello = record('HELLO', { entityType: u8, peerAddr: entityAddr });

export const authRequest = record('AUTH_REQUEST', { method: u32, modes: list(u32), payload: blob });
export const authBadMethod = record('AUTH_BAD_METHOD', {
  method: u32,
  result: s32,
  allowedMethods: list(u32),
  allowedModes: list(u32),
});
export const authMore = record('AUTH_*_MORE', { payload: blob });
export const authDone = record('AUTH_DONE', { globalId: u64, conMode: u32, payload: blob });
export const authSignature = record('AUTH_SIGNATURE', { signature: fixed(32) });

/** Bit 0 of the ident flags: the session dies with its connection, nothing is replayed. */
export const IDENT_LOSSY = 1n;

export const clientIdent = record('CLIENT_IDENT', {
  addrs: entityAddrvec,
  targetAddr: entityAddr,
  gid: s64,
  globalSeq: u64,
  featuresSupported: u64,
  featuresRequired: u64,
  flags: u64,
  cookie: u64,
});
export type ClientIdent = Infer<typeof clientIdent>;

export const serverIdent = record('SERVER_IDENT', {
  addrs: entityAddrvec,
  gid: s64,
  globalSeq: u64,
  featuresSupported: u64,
  featuresRequired: u64,
  flags: u64,
  cookie: u64,
});
export type ServerIdent = Infer<typeof serverIdent>;

export const identMissingFeatures = record('IDENT_MISSING_FEATURES', { missing: u64 });
export const sessionReset = record('SESSION_RESET', { full: u8 });
export const keepalive = record('KEEPALIVE2', { stamp: utime });
export const compressionDone = record('COMPRESSION_DONE', { isCompress: u8, method: u32 });
