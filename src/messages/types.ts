/** Message type numbers and the envelope that the messenger carries (`msg/Message.h`). */

import type { Encoder } from '../encoding/encoder.js';

export const MSG = {
  SHUTDOWN: 1,
  PING: 2,
  MON_MAP: 4,
  MON_GET_MAP: 5,
  STATFS: 13,
  STATFS_REPLY: 14,
  MON_SUBSCRIBE: 15,
  MON_SUBSCRIBE_ACK: 16,
  AUTH: 17,
  AUTH_REPLY: 18,
  MON_GET_VERSION: 19,
  MON_GET_VERSION_REPLY: 20,
  OSD_MAP: 41,
  OSD_OP: 42,
  OSD_OPREPLY: 43,
  WATCH_NOTIFY: 44,
  POOLOP_REPLY: 48,
  POOLOP: 49,
  MON_COMMAND: 50,
  MON_COMMAND_ACK: 51,
  LOG: 52,
  LOG_ACK: 53,
  GETPOOLSTATS: 58,
  GETPOOLSTATS_REPLY: 59,
  OSD_BACKOFF: 61,
  CONFIG: 62,
  GET_CONFIG: 63,
  MGR_MAP: 0x704,
} as const;

const NAMES = new Map<number, string>(Object.entries(MSG).map(([name, type]) => [type, name]));

export function messageName(type: number): string {
  return NAMES.get(type) ?? `message ${type}`;
}

export const PRIORITY = { DEFAULT: 127, CLIENT_OP: 63, MON_REPLY: 196, HIGHEST: 255 } as const;

const EMPTY: Uint8Array = new Uint8Array(0);

/** A front that is encoded when it is sent, straight into the connection's memory: for the data path. */
export interface LazyFront {
  /** `encode` writes no more than this. */
  readonly maxBytes: number;
  encode(encoder: Encoder): void;
}

/** A message to send. Buffers are borrowed until the connection wrote them. */
export interface OutgoingMessage {
  type: number;
  /** Struct version of `front`, and the oldest decoder that can read it. */
  version: number;
  compatVersion: number;
  priority: number;
  /** Chosen by the requester, echoed in replies; 0 where nobody matches on it. */
  tid: number;
  front: Uint8Array | LazyFront;
  middle?: Uint8Array;
  /** The data segment, as pieces in order. */
  data?: readonly Uint8Array[];
}

/** A message received. `front` and `middle` are valid during the callback only; `data` until the receiver lets go of it. */
export interface IncomingMessage {
  type: number;
  version: number;
  tid: number;
  priority: number;
  front: Uint8Array;
  middle: Uint8Array;
  data: Uint8Array;
  /** crc32c of `data`, seeded with all bits set, where the frame had it. */
  dataCrc?: number | undefined;
}

export function outgoing(
  type: number,
  front: Uint8Array | LazyFront = EMPTY,
  options: {
    version?: number;
    compat?: number;
    tid?: number;
    priority?: number;
    data?: readonly Uint8Array[];
  } = {},
): OutgoingMessage {
  return {
    type,
    version: options.version ?? 1,
    compatVersion: options.compat ?? 1,
    priority: options.priority ?? PRIORITY.DEFAULT,
    tid: options.tid ?? 0,
    front,
    ...(options.data ? { data: options.data } : {}),
  };
}
