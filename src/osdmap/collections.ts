/**
 * The collections of an OSDMap as codecs: maps that are written in Ceph's key order whatever order they were built
 * in, maps keyed by PG and by address, and plain u32 vectors.
 *
 * JavaScript maps compare object keys by identity, so PGs and addresses are keyed by their text.
 */

import { type Codec, encodeWith, map, s32, string, u32 } from '../encoding/codec.js';
import { ADDR_TYPE, type EntityAddr, entityAddr, formatAddr } from '../encoding/entity.js';
import { formatPgId, type PgId, pgId, type Utime, utime } from '../encoding/types.js';

export type Compare<T> = (a: T, b: T) => number;

export const byNumber: Compare<number> = (a, b) => a - b;
/** `std::string` order: unsigned bytes. */
export const byBytes: Compare<string> = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b));

function isAscending<T>(items: readonly T[], compare: Compare<T>): boolean {
  for (let i = 1; i < items.length; i++) {
    if (compare(items[i - 1] as T, items[i] as T) > 0) return false;
  }
  return true;
}

/** `std::map`: written in ascending key order. */
export function sortedMap<K, V>(
  key: Codec<K>,
  value: Codec<V>,
  compare: Compare<K>,
): Codec<Map<K, V>> {
  const unsorted = map(key, value);
  return {
    ...unsorted,
    encode(encoder, values) {
      if (isAscending([...values.keys()], compare)) {
        unsorted.encode(encoder, values);
      } else {
        unsorted.encode(encoder, new Map([...values].sort(([a], [b]) => compare(a, b))));
      }
    },
  };
}

/** `std::map<int32_t, V>`: by OSD, CRUSH item or device class. */
export function s32Map<V>(value: Codec<V>): Codec<Map<number, V>> {
  return sortedMap(s32, value, byNumber);
}

export function stringMap<V>(value: Codec<V>): Codec<Map<string, V>> {
  return sortedMap(string, value, byBytes);
}

/** `std::set`: a list, written in ascending order. */
export function sortedList<T>(items: Codec<T[]>, compare: Compare<T>): Codec<T[]> {
  return {
    ...items,
    encode: (encoder, values) =>
      items.encode(encoder, isAscending(values, compare) ? values : [...values].sort(compare)),
  };
}

/** `vector<u32>` without an object per element: OSD states and weights. */
export const u32Vector: Codec<Uint32Array> = {
  minBytes: 4,
  decode(decoder) {
    const values = new Uint32Array(decoder.count(4));
    for (let i = 0; i < values.length; i++) values[i] = decoder.u32();
    return values;
  },
  encode(encoder, values) {
    encoder.u32(values.length);
    for (const value of values) encoder.u32(value);
  },
  sample: (draw) => Uint32Array.from({ length: draw(4) }, () => u32.sample(draw)),
};

/** A map by PG; the keys are `formatPgId`. */
export type PgMap<V> = Map<string, V>;

/** The PG of a `PgMap` key: `'1.2f'`. */
export function parsePgId(text: string): PgId {
  const match = /^(-?\d+)\.([0-9a-f]{1,8})$/.exec(text);
  if (!match) throw new TypeError(`'${text}' is not a PG id such as 1.2f`);
  return { pool: Number(match[1]), seed: Number.parseInt(match[2] as string, 16) };
}

export const byPg: Compare<PgId> = (a, b) => a.pool - b.pool || a.seed - b.seed;

export function pgMap<V>(value: Codec<V>): Codec<PgMap<V>> {
  const wire = sortedMap(pgId, value, byPg);
  return {
    minBytes: wire.minBytes,
    decode: (decoder) =>
      new Map(Array.from(wire.decode(decoder), ([pg, v]) => [formatPgId(pg), v] as const)),
    encode: (encoder, values) =>
      wire.encode(encoder, new Map(Array.from(values, ([key, v]) => [parsePgId(key), v] as const))),
    sample: (draw) =>
      new Map(Array.from(wire.sample(draw), ([pg, v]) => [formatPgId(pg), v] as const)),
  };
}

/** A fenced client (or network, with type CIDR) and when the fence ends. */
export interface BlocklistEntry {
  addr: EntityAddr;
  until: Utime;
}

/** The key of a blocklist entry. Unlike `formatAddr` it tells all address types apart. */
export function blocklistKey(addr: EntityAddr): string {
  return `${addr.type} ${formatAddr(addr)}`;
}

/** `entity_addr_t`'s order is that of its bytes in memory, and the encoded form keeps it. */
const byAddr: Compare<EntityAddr> = (a, b) =>
  Buffer.compare(encodeWith(entityAddr, a), encodeWith(entityAddr, b));

const blocklistWire = sortedMap(entityAddr, utime, byAddr);

export const blocklistMap: Codec<Map<string, BlocklistEntry>> = {
  minBytes: blocklistWire.minBytes,
  decode: (decoder) => keyedBlocklist(blocklistWire.decode(decoder)),
  encode: (encoder, values) =>
    blocklistWire.encode(
      encoder,
      new Map(Array.from(values.values(), ({ addr, until }) => [addr, until] as const)),
    ),
  sample: (draw) => keyedBlocklist(blocklistWire.sample(draw)),
};

function keyedBlocklist(entries: Map<EntityAddr, Utime>): Map<string, BlocklistEntry> {
  return new Map(
    Array.from(entries, ([addr, until]) => [blocklistKey(addr), { addr, until }] as const),
  );
}

/** Is `addr` within the network of a CIDR entry (whose nonce is the prefix length)? */
export function networkContains(network: EntityAddr, addr: EntityAddr): boolean {
  if (network.type !== ADDR_TYPE.CIDR || network.host.includes(':') !== addr.host.includes(':')) {
    return false;
  }
  // The encoded form is the one place that knows how a host is spelled as bytes.
  const skip = network.host.includes(':') ? 8 : 4;
  const bytesOf = (host: string) =>
    encodeWith(entityAddr, { type: 0, nonce: 0, host, port: 0 }).subarray(SOCKADDR_AT + skip);
  const a = bytesOf(network.host);
  const b = bytesOf(addr.host);
  for (let bit = 0; bit < network.nonce; bit++) {
    const byte = bit >> 3;
    if (byte >= (network.host.includes(':') ? 16 : 4)) return true;
    if ((((a[byte] as number) ^ (b[byte] as number)) << (bit & 7)) & 0x80) return false;
  }
  return true;
}

/** Where the sockaddr starts in an encoded `entity_addr_t`: marker, struct header, type, nonce, length. */
const SOCKADDR_AT = 1 + 6 + 4 + 4 + 4;
