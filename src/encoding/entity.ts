/** Who and where: entity names, addresses and address vectors (`msg_types.h`). */

import { type Codec, type Infer, list, record, s64, string, u8, u32 } from './codec.js';
import { DecodeError, type Decoder } from './decoder.js';
import type { Encoder } from './encoder.js';

/** Entity types; service ids of cephx tickets use the same numbers. */
export const ENTITY_TYPE = { MON: 1, MDS: 2, OSD: 4, CLIENT: 8, MGR: 0x10, AUTH: 0x20 } as const;

const TYPE_NAMES: Record<number, string> = {
  1: 'mon',
  2: 'mds',
  4: 'osd',
  8: 'client',
  16: 'mgr',
  32: 'auth',
};

export function entityTypeName(type: number): string {
  return TYPE_NAMES[type] ?? `type${type}`;
}

/** `entity_name_t`: `client.4118`, `osd.2`. */
export const entityName = record('entity_name_t', { type: u8, num: s64 });
export type EntityName = Infer<typeof entityName>;

export function formatEntityName(name: EntityName): string {
  return `${entityTypeName(name.type)}.${name.num < 0n ? '?' : name.num}`;
}

/** `EntityName` of cephx and keyrings: type and id without the type's prefix (`8`, `"admin"`). */
export const authEntity = record('EntityName', { type: u32, id: string });
export type AuthEntity = Infer<typeof authEntity>;

/** `'client.admin'` → `{type: CLIENT, id: 'admin'}`. */
export function parseAuthEntity(name: string): AuthEntity {
  const dot = name.indexOf('.');
  const typeName = dot < 0 ? name : name.slice(0, dot);
  const type = Object.entries(TYPE_NAMES).find(([, known]) => known === typeName)?.[0];
  if (type === undefined || dot < 0 || dot === name.length - 1) {
    throw new TypeError(`'${name}' is not an entity name such as client.admin`);
  }
  return { type: Number(type), id: name.slice(dot + 1) };
}

export const ADDR_TYPE = { NONE: 0, LEGACY: 1, MSGR2: 2, ANY: 3, CIDR: 4 } as const;

const AF_INET = 2;
const AF_INET6 = 10;
const SOCKADDR_MAX_BYTES = 28;

/** `entity_addr_t` in the form of peers with MSG_ADDR2. */
export interface EntityAddr {
  type: number;
  nonce: number;
  /** Dotted IPv4, full IPv6, or `''` for a blank address. */
  host: string;
  port: number;
}

export const BLANK_ADDR: EntityAddr = { type: ADDR_TYPE.NONE, nonce: 0, host: '', port: 0 };

function formatIpv6(bytes: Uint8Array): string {
  const groups: string[] = [];
  for (let i = 0; i < 16; i += 2) {
    groups.push((((bytes[i] as number) << 8) | (bytes[i + 1] as number)).toString(16));
  }
  // The longest run of zero groups, of two or more, becomes `::` (RFC 5952).
  const text = groups.join(':');
  const runs = [...text.matchAll(/(?:^|:)(?:0(?::|$)){2,}/g)].sort(
    (a, b) => b[0].length - a[0].length,
  );
  const run = runs[0];
  if (!run) return text;
  return `${text.slice(0, run.index)}::${text.slice(run.index + run[0].length)}`;
}

function parseIpv6(text: string): Uint8Array {
  const [head = '', tail] = text.split('%', 1)[0]?.split('::') ?? [];
  const groups = (part: string) =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16));
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const all = [
    ...before,
    ...new Array<number>(Math.max(0, 8 - before.length - after.length)).fill(0),
    ...after,
  ];
  const bytes = new Uint8Array(16);
  all.slice(0, 8).forEach((group, i) => {
    bytes[2 * i] = group >> 8;
    bytes[2 * i + 1] = group & 0xff;
  });
  return bytes;
}

function decodeSockaddr(decoder: Decoder, length: number): { host: string; port: number } {
  if (length === 0) return { host: '', port: 0 };
  const bytes = decoder.view(length);
  const family = length >= 2 ? (bytes[0] as number) | ((bytes[1] as number) << 8) : 0;
  const port = length >= 4 ? ((bytes[2] as number) << 8) | (bytes[3] as number) : 0;
  if (family === AF_INET && length >= 8) return { host: bytes.subarray(4, 8).join('.'), port };
  if (family === AF_INET6 && length >= 24) return { host: formatIpv6(bytes.subarray(8, 24)), port };
  return { host: '', port: 0 };
}

function encodeSockaddr(encoder: Encoder, addr: EntityAddr): void {
  if (addr.host === '') {
    // Of no family: Ceph then writes the largest sockaddr that it knows, in zeros.
    encoder.u32(SOCKADDR_MAX_BYTES).zeros(SOCKADDR_MAX_BYTES);
  } else if (addr.host.includes(':')) {
    encoder
      .u32(SOCKADDR_MAX_BYTES)
      .u16(AF_INET6)
      .u8(addr.port >> 8)
      .u8(addr.port & 0xff);
    encoder.u32(0).raw(parseIpv6(addr.host)).u32(0);
  } else {
    encoder
      .u32(16)
      .u16(AF_INET)
      .u8(addr.port >> 8)
      .u8(addr.port & 0xff);
    for (const part of addr.host.split('.')) encoder.u8(Number(part));
    encoder.zeros(8);
  }
}

/** The form before MSG_ADDR2: u32 type 0, nonce, 128-byte sockaddr_storage with a big-endian family. */
function decodeLegacyAddr(decoder: Decoder): EntityAddr {
  decoder.take(3);
  const nonce = decoder.u32();
  const bytes = decoder.view(128);
  const family = ((bytes[0] as number) << 8) | (bytes[1] as number);
  const port = ((bytes[2] as number) << 8) | (bytes[3] as number);
  const host =
    family === AF_INET
      ? bytes.subarray(4, 8).join('.')
      : family === AF_INET6
        ? formatIpv6(bytes.subarray(8, 24))
        : '';
  return { type: ADDR_TYPE.LEGACY, nonce, host, port };
}

export const entityAddr: Codec<EntityAddr> = {
  minBytes: 13,
  decode(decoder) {
    const marker = decoder.u8();
    if (marker === 0) return decodeLegacyAddr(decoder);
    if (marker !== 1)
      throw new DecodeError(`address marker ${marker}`, decoder.offset - 1, ['entity_addr_t']);
    return decoder.struct('entity_addr_t', 1, () => {
      const type = decoder.u32();
      const nonce = decoder.u32();
      return { type, nonce, ...decodeSockaddr(decoder, decoder.u32()) };
    });
  },
  encode(encoder, addr) {
    encoder.u8(1).struct(1, 1, () => {
      encoder.u32(addr.type).u32(addr.nonce);
      encodeSockaddr(encoder, addr);
    });
  },
  sample: (draw) => ({
    type: draw(4),
    nonce: draw(2 ** 32),
    host: `10.${draw(256)}.${draw(256)}.${draw(256)}`,
    port: draw(65536),
  }),
};

const addrList = list(entityAddr);

/** `entity_addrvec_t`: a lone address (marker 0 or 1) decodes as a vector of one. */
export const entityAddrvec: Codec<EntityAddr[]> = {
  minBytes: 5,
  decode(decoder) {
    const marker = decoder.bytes[decoder.offset];
    if (marker !== 2) return [entityAddr.decode(decoder)];
    decoder.take(1);
    return addrList.decode(decoder);
  },
  encode(encoder, addrs) {
    encoder.u8(2);
    addrList.encode(encoder, addrs);
  },
  sample: (draw) => addrList.sample(draw),
};

/** `entity_inst_t`. */
export const entityInst = record('entity_inst_t', { name: entityName, addr: entityAddr });

/** `v2:10.0.0.7:6800/123`; for type ANY without the prefix, as `rbd lock ls` shows it. */
export function formatAddr(addr: EntityAddr): string {
  const prefix =
    addr.type === ADDR_TYPE.LEGACY ? 'v1:' : addr.type === ADDR_TYPE.MSGR2 ? 'v2:' : '';
  if (addr.host === '') return `${prefix}-/${addr.nonce}`;
  const host = addr.host.includes(':') ? `[${addr.host}]` : addr.host;
  return `${prefix}${host}:${addr.port}/${addr.nonce}`;
}

/** `[v2:…,v1:…]`, or the address alone when there is one. */
export function formatAddrvec(addrs: readonly EntityAddr[]): string {
  return addrs.length === 1
    ? formatAddr(addrs[0] as EntityAddr)
    : `[${addrs.map(formatAddr).join(',')}]`;
}

/** The address to dial with messenger v2. */
export function msgr2Addr(addrs: readonly EntityAddr[]): EntityAddr | undefined {
  return addrs.find((addr) => addr.type === ADDR_TYPE.MSGR2 && addr.host !== '');
}

export function sameAddr(a: EntityAddr, b: EntityAddr): boolean {
  return a.type === b.type && a.nonce === b.nonce && a.host === b.host && a.port === b.port;
}
