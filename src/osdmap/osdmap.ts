/**
 * The OSDMap: every pool, every OSD's state and address, the CRUSH map and all exceptions from it, as of one epoch
 * (`osd/OSDMap.cc`).
 *
 * Maps are immutable. The next epoch is a new map that shares with its predecessor whatever did not change
 * (`apply-incremental.ts`).
 */

import {
  type Codec,
  f32,
  fixed,
  type Infer,
  list,
  mapped,
  record,
  s32,
  s64n,
  since,
  string,
  struct,
  tuple,
  u8,
  u32,
  u64,
} from '../encoding/codec.js';
import { DecodeError, Decoder } from '../encoding/decoder.js';
import { Encoder } from '../encoding/encoder.js';
import { ADDR_TYPE, type EntityAddr, entityAddrvec } from '../encoding/entity.js';
import { formatUuid, intervalSet, parseUuid, utime, uuid, ZERO_TIME } from '../encoding/types.js';
import type { Crc32c } from '../kernels/crc32c.js';
import {
  blocklistKey,
  blocklistMap,
  byNumber,
  networkContains,
  pgMap,
  s32Map,
  sortedMap,
  stringMap,
  u32Vector,
} from './collections.js';
import { CrushMap, crushMap, emptyCrushFields } from './crush-map.js';
import { type PgPool, pgPool } from './pool.js';

export const OSDMAP_FLAG = {
  NEARFULL: 0x1,
  FULL: 0x2,
  PAUSERD: 0x4,
  PAUSEWR: 0x8,
  PAUSEREC: 0x10,
  NOUP: 0x20,
  NODOWN: 0x40,
  NOOUT: 0x80,
  NOIN: 0x100,
  NOBACKFILL: 0x200,
  NORECOVER: 0x400,
  NOSCRUB: 0x800,
  NODEEP_SCRUB: 0x1000,
  NOTIERAGENT: 0x2000,
  NOREBALANCE: 0x4000,
  SORTBITWISE: 0x8000,
  REQUIRE_JEWEL: 0x10000,
  REQUIRE_KRAKEN: 0x20000,
  REQUIRE_LUMINOUS: 0x40000,
  RECOVERY_DELETES: 0x80000,
  PURGED_SNAPDIRS: 0x100000,
  NOSNAPTRIM: 0x200000,
  PGLOG_HARDLIMIT: 0x400000,
} as const;

export const OSD_STATE = {
  EXISTS: 1,
  UP: 2,
  AUTOOUT: 4,
  NEW: 8,
  FULL: 16,
  NEARFULL: 32,
  BACKFILLFULL: 64,
  DESTROYED: 128,
  NOUP: 256,
  NODOWN: 512,
  NOIN: 1024,
  NOOUT: 2048,
  STOP: 4096,
} as const;

/** `CEPH_OSD_IN`: the weight of an OSD that takes its full share; 0 is out. */
export const OSD_IN = 0x10000;
export const MAX_PRIMARY_AFFINITY = 0x10000;

/** A structure that begins with a bare version byte. */
function versionByte<T>(version: number, body: Codec<T>): Codec<T> {
  return mapped(
    tuple(u8, body),
    ([, value]) => value,
    (value): [number, T] => [version, value],
  );
}

/** Epochs of an OSD's life; 0 where nothing happened yet. */
export const osdInfo = versionByte(
  1,
  record('osd_info_t', {
    lastCleanBegin: u32,
    lastCleanEnd: u32,
    upFrom: u32,
    upThru: u32,
    downAt: u32,
    lostAt: u32,
  }),
);
export type OsdInfo = Infer<typeof osdInfo>;

export const osdXinfo = struct(
  'osd_xinfo_t',
  { version: 4, compat: 1 },
  {
    downStamp: utime,
    laggyProbability: u32,
    laggyInterval: u32,
    features: u64,
    oldWeight: u32,
    lastPurgedSnapsScrub: since(3, utime, () => ZERO_TIME),
    deadEpoch: since(4, u32, () => 0),
  },
);
export type OsdXinfo = Infer<typeof osdXinfo>;

export const pgList = pgMap(list(s32));
export const pgPairs = pgMap(list(tuple(s32, s32)));
export const snapsByPool = sortedMap(s64n, intervalSet, byNumber);
export const profiles = stringMap(stringMap(string));
/** 16 raw bytes as text. */
const osdUuid = mapped(fixed(16), formatUuid, parseUuid);

/** What every client reads. Versions 8 and 9 are Nautilus and Octopus; 10 is Reef's. */
const clientSection = struct(
  'OSDMap client data',
  { version: 9, compat: 1, reads: 10 },
  {
    fsid: uuid,
    epoch: u32,
    created: utime,
    modified: utime,
    pools: sortedMap(s64n, pgPool, byNumber),
    poolName: sortedMap(s64n, string, byNumber),
    /** The highest pool id ever used. */
    poolMax: s32,
    flags: u32,
    maxOsd: s32,
    osdState: u32Vector,
    osdWeight: u32Vector,
    clientAddrs: list(entityAddrvec),
    pgTemp: pgList,
    primaryTemp: pgMap(s32),
    /** Empty: all have MAX_PRIMARY_AFFINITY. */
    primaryAffinity: u32Vector,
    crush: crushMap,
    erasureCodeProfiles: profiles,
    pgUpmap: pgList,
    pgUpmapItems: pgPairs,
    crushVersion: s32,
    newRemovedSnaps: snapsByPool,
    newPurgedSnaps: snapsByPool,
    lastUpChange: since(9, utime, () => ZERO_TIME),
    lastInChange: since(9, utime, () => ZERO_TIME),
    pgUpmapPrimaries: since(10, pgMap(s32), () => new Map<string, number>()),
  },
);

/** What OSDs and monitors need besides. librados decodes it too, and clients look at the blocklist. */
const osdSection = struct(
  'OSDMap osd data',
  { version: 9, compat: 1, reads: 12 },
  {
    hbBackAddrs: list(entityAddrvec),
    osdInfo: list(osdInfo),
    blocklist: blocklistMap,
    clusterAddrs: list(entityAddrvec),
    clusterSnapshotEpoch: u32,
    clusterSnapshot: string,
    osdUuid: list(osdUuid),
    osdXinfo: list(osdXinfo),
    hbFrontAddrs: list(entityAddrvec),
    nearfullRatio: f32,
    fullRatio: f32,
    backfillfullRatio: f32,
    requireMinCompatClient: u8,
    requireOsdRelease: u8,
    removedSnapsQueue: snapsByPool,
    crushNodeFlags: since(8, s32Map(u32), () => new Map<number, number>()),
    deviceClassFlags: since(9, s32Map(u32), () => new Map<number, number>()),
    stretchModeEnabled: since(10, u8, () => 0),
    stretchBucketCount: since(10, u32, () => 0),
    degradedStretchMode: since(10, u32, () => 0),
    recoveringStretchMode: since(10, u32, () => 0),
    stretchModeBucket: since(10, s32, () => 0),
    rangeBlocklist: since(11, blocklistMap, emptyBlocklist),
    allowCrimson: since(12, u8, () => 0),
  },
);

function emptyBlocklist(): Infer<typeof blocklistMap> {
  return new Map();
}

export type OsdMapFields = Infer<typeof clientSection> & Infer<typeof osdSection>;

export interface OsdMap extends Readonly<OsdMapFields> {}

/** What nobody who speaks messenger v2.1 writes any more: the forms before Nautilus. */
const OLDEST_CLIENT_SECTION = 8;
const OLDEST_OSD_SECTION = 7;

/** The version of a wrapper that holds a client section, an OSD section and checksums: full maps and incrementals. */
export const MAP_WRAPPER = { version: 8, compat: 7 } as const;

export class OsdMap {
  #poolIds: Map<string, number> | undefined;

  constructor(fields: OsdMapFields) {
    Object.assign(this, fields);
  }

  hasFlag(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }

  pool(id: number): PgPool | undefined {
    return this.pools.get(id);
  }

  poolIdByName(name: string): number | undefined {
    this.#poolIds ??= new Map(Array.from(this.poolName, ([id, poolName]) => [poolName, id]));
    return this.#poolIds.get(name);
  }

  poolByName(name: string): { id: number; pool: PgPool } | undefined {
    const id = this.poolIdByName(name);
    const pool = id === undefined ? undefined : this.pools.get(id);
    return id === undefined || pool === undefined ? undefined : { id, pool };
  }

  exists(osd: number): boolean {
    return osd >= 0 && osd < this.maxOsd && this.#hasState(osd, OSD_STATE.EXISTS);
  }

  isUp(osd: number): boolean {
    return this.exists(osd) && this.#hasState(osd, OSD_STATE.UP);
  }

  isOut(osd: number): boolean {
    return (this.osdWeight[osd] ?? 0) === 0;
  }

  /** The public addresses of an OSD; those of a down OSD are where it was last. */
  osdAddrs(osd: number): readonly EntityAddr[] {
    return this.exists(osd) ? (this.clientAddrs[osd] ?? []) : [];
  }

  /** Is a client with this address fenced? A blocklisted host without port and nonce fences all that is on it. */
  isBlocklisted(addr: EntityAddr): boolean {
    if (this.blocklist.size === 0 && this.rangeBlocklist.size === 0) return false;
    const any = { ...addr, type: ADDR_TYPE.ANY };
    if (this.blocklist.has(blocklistKey(any))) return true;
    if (addr.host === '') return false;
    if (this.blocklist.has(blocklistKey({ ...any, port: 0, nonce: 0 }))) return true;
    for (const { addr: network } of this.rangeBlocklist.values()) {
      if (networkContains(network, addr)) return true;
    }
    return false;
  }

  #hasState(osd: number, bit: number): boolean {
    return ((this.osdState[osd] ?? 0) & bit) !== 0;
  }
}

/** Decodes a full map and checks its checksum, as librados does. */
export function decodeOsdMap(bytes: Uint8Array, crc32c: Crc32c): OsdMap {
  const decoder = new Decoder(bytes);
  const map = decoder.struct('OSDMap', MAP_WRAPPER.version, () => {
    refuseOlder(decoder, OLDEST_CLIENT_SECTION, 'OSDMap client data');
    const client = clientSection.decode(decoder);
    refuseOlder(decoder, OLDEST_OSD_SECTION, 'OSDMap osd data');
    const osd = osdSection.decode(decoder);
    checkCrc('OSDMap', decoder, crc32c);
    const { maxOsd, osdState, osdWeight } = client;
    // What is sized by max_osd later is thereby bounded by bytes that were there.
    if (osdState.length !== maxOsd || osdWeight.length !== maxOsd) {
      throw new DecodeError(
        `max_osd ${maxOsd} with ${osdState.length} states and ${osdWeight.length} weights`,
        0,
      );
    }
    return new OsdMap({ ...client, ...osd });
  });
  decoder.finish('OSDMap');
  return map;
}

/** The 16.2 form, which every newer release reads. */
export function encodeOsdMap(map: OsdMapFields, crc32c: Crc32c): Uint8Array {
  const encoder = new Encoder(16 * 1024);
  let crcAt = 0;
  encoder.struct(MAP_WRAPPER.version, MAP_WRAPPER.compat, () => {
    clientSection.encode(encoder, map);
    osdSection.encode(encoder, map);
    crcAt = encoder.length;
    encoder.u32(0);
  });
  encoder.patchU32(crcAt, mapCrc(encoder.bytes, crcAt, crc32c));
  return encoder.bytes;
}

/** The checksum field of an encoded full map: what the incremental that leads to it carries as `fullCrc`. */
export function fullMapCrc(encoded: Uint8Array): number {
  return new DataView(encoded.buffer, encoded.byteOffset).getUint32(encoded.length - 4, true);
}

/** A map without pools and OSDs at epoch 0, before its first incremental. */
export function emptyOsdMapFields(): OsdMapFields {
  return {
    fsid: '00000000-0000-0000-0000-000000000000',
    epoch: 0,
    created: ZERO_TIME,
    modified: ZERO_TIME,
    pools: new Map(),
    poolName: new Map(),
    poolMax: 0,
    flags: 0,
    maxOsd: 0,
    osdState: new Uint32Array(),
    osdWeight: new Uint32Array(),
    clientAddrs: [],
    pgTemp: new Map(),
    primaryTemp: new Map(),
    primaryAffinity: new Uint32Array(),
    crush: new CrushMap(emptyCrushFields()),
    erasureCodeProfiles: new Map(),
    pgUpmap: new Map(),
    pgUpmapItems: new Map(),
    crushVersion: 1,
    newRemovedSnaps: new Map(),
    newPurgedSnaps: new Map(),
    lastUpChange: ZERO_TIME,
    lastInChange: ZERO_TIME,
    pgUpmapPrimaries: new Map(),
    hbBackAddrs: [],
    osdInfo: [],
    blocklist: new Map(),
    clusterAddrs: [],
    clusterSnapshotEpoch: 0,
    clusterSnapshot: '',
    osdUuid: [],
    osdXinfo: [],
    hbFrontAddrs: [],
    nearfullRatio: 0,
    fullRatio: 0,
    backfillfullRatio: 0,
    requireMinCompatClient: 0,
    requireOsdRelease: 0,
    removedSnapsQueue: new Map(),
    crushNodeFlags: new Map(),
    deviceClassFlags: new Map(),
    stretchModeEnabled: 0,
    stretchBucketCount: 0,
    degradedStretchMode: 0,
    recoveringStretchMode: 0,
    stretchModeBucket: 0,
    rangeBlocklist: new Map(),
    allowCrimson: 0,
  };
}

/** Refuses a section below `oldest`: its layout is another one. The decoder stands at the section's header. */
export function refuseOlder(decoder: Decoder, oldest: number, name: string): void {
  const version = decoder.bytes[decoder.offset] ?? 0;
  if (decoder.remaining > 0 && version < oldest) {
    throw new DecodeError(`version ${version} is older than Nautilus`, decoder.offset, [name]);
  }
}

/** The checksum of a map: over all of its bytes but the checksum itself. */
export function mapCrc(bytes: Uint8Array, crcAt: number, crc32c: Crc32c): number {
  return crc32c(crc32c(0xffff_ffff, bytes.subarray(0, crcAt)), bytes.subarray(crcAt + 4));
}

/** Reads the checksum at the decoder's place and compares it. */
export function checkCrc(name: string, decoder: Decoder, crc32c: Crc32c): void {
  const crcAt = decoder.offset;
  const expected = decoder.u32();
  const actual = mapCrc(decoder.bytes.subarray(0, decoder.end), crcAt, crc32c);
  if (actual !== expected) {
    throw new DecodeError(
      `checksum ${actual.toString(16)}, ${expected.toString(16)} expected`,
      crcAt,
      [name],
    );
  }
}
