/** The difference between two epochs of an OSDMap (`OSDMap::Incremental` in `osd/OSDMap.cc`). */

import {
  blob,
  f32,
  type Infer,
  list,
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
import { Decoder } from '../encoding/decoder.js';
import { Encoder } from '../encoding/encoder.js';
import { type EntityAddr, entityAddr, entityAddrvec } from '../encoding/entity.js';
import { pgId, utime, uuid, ZERO_TIME } from '../encoding/types.js';
import type { Crc32c } from '../kernels/crc32c.js';
import {
  blocklistMap,
  byBytes,
  byNumber,
  byPg,
  pgMap,
  s32Map,
  sortedList,
  sortedMap,
} from './collections.js';
import {
  checkCrc,
  MAP_WRAPPER,
  mapCrc,
  type OsdMap,
  osdXinfo,
  pgList,
  pgPairs,
  profiles,
  refuseOlder,
  snapsByPool,
} from './osdmap.js';
import { pgPool } from './pool.js';

const pgSet = sortedList(list(pgId), byPg);

/** Versions 7 and 8 are Nautilus and Octopus; 9 is Reef's. */
const clientSection = struct(
  'OSDMap::Incremental client data',
  { version: 8, compat: 1, reads: 9 },
  {
    fsid: uuid,
    epoch: u32,
    modified: utime,
    /** -1: unchanged. */
    newPoolMax: s64n,
    /** -1: unchanged. */
    newFlags: s32,
    /** Not empty: a whole map, and nothing else here counts. */
    fullmap: blob,
    /** Not empty: a new CRUSH map. */
    crush: blob,
    /** -1: unchanged. */
    newMaxOsd: s32,
    newPools: sortedMap(s64n, pgPool, byNumber),
    newPoolNames: sortedMap(s64n, string, byNumber),
    oldPools: sortedList(list(s64n), byNumber),
    newUpClient: s32Map(entityAddrvec),
    /** Bits to flip; 0 stands for UP. */
    newState: s32Map(u32),
    newWeight: s32Map(u32),
    /** An empty list removes the entry. */
    newPgTemp: pgList,
    /** -1 removes the entry. */
    newPrimaryTemp: pgMap(s32),
    newPrimaryAffinity: s32Map(u32),
    newErasureCodeProfiles: profiles,
    oldErasureCodeProfiles: sortedList(list(string), byBytes),
    newPgUpmap: pgList,
    oldPgUpmap: pgSet,
    newPgUpmapItems: pgPairs,
    oldPgUpmapItems: pgSet,
    newRemovedSnaps: snapsByPool,
    newPurgedSnaps: snapsByPool,
    /** Zero: unchanged. */
    newLastUpChange: since(8, utime, () => ZERO_TIME),
    newLastInChange: since(8, utime, () => ZERO_TIME),
    newPgUpmapPrimary: since(9, pgMap(s32), () => new Map<string, number>()),
    oldPgUpmapPrimary: since(9, pgSet, () => []),
  },
);

const osdSection = struct(
  'OSDMap::Incremental osd data',
  { version: 9, compat: 1, reads: 12 },
  {
    newHbBackUp: s32Map(entityAddrvec),
    newUpThru: s32Map(u32),
    newLastCleanInterval: s32Map(tuple(u32, u32)),
    newLost: s32Map(u32),
    newBlocklist: blocklistMap,
    oldBlocklist: list(entityAddr),
    newUpCluster: s32Map(entityAddrvec),
    clusterSnapshot: string,
    newUuid: s32Map(uuid),
    newXinfo: s32Map(osdXinfo),
    newHbFrontUp: s32Map(entityAddrvec),
    encodeFeatures: u64,
    /** The ratios: -1 for unchanged. */
    newNearfullRatio: f32,
    newFullRatio: f32,
    newBackfillfullRatio: f32,
    /** The releases: 0xff for unchanged. */
    newRequireMinCompatClient: u8,
    newRequireOsdRelease: u8,
    newCrushNodeFlags: since(8, s32Map(u32), () => new Map<number, number>()),
    newDeviceClassFlags: since(9, s32Map(u32), () => new Map<number, number>()),
    changeStretchMode: since(10, u8, () => 0),
    newStretchBucketCount: since(10, u32, () => 0),
    newDegradedStretchMode: since(10, u32, () => 0),
    newRecoveringStretchMode: since(10, u32, () => 0),
    newStretchModeBucket: since(10, s32, () => 0),
    stretchModeEnabled: since(10, u8, () => 0),
    newRangeBlocklist: since(11, blocklistMap, () => new Map() as Infer<typeof blocklistMap>),
    oldRangeBlocklist: since(11, list(entityAddr), () => [] as EntityAddr[]),
    mutateAllowCrimson: since(12, u8, () => 0),
  },
);

/** `fullCrc`: the checksum field of the full map that results. */
export type Incremental = Infer<typeof clientSection> &
  Infer<typeof osdSection> & { fullCrc: number };

const OLDEST_CLIENT_SECTION = 7;
const OLDEST_OSD_SECTION = 7;

/** Decodes an incremental and checks its checksum. */
export function decodeIncremental(bytes: Uint8Array, crc32c: Crc32c): Incremental {
  const name = 'OSDMap::Incremental';
  const decoder = new Decoder(bytes);
  const incremental = decoder.struct(name, MAP_WRAPPER.version, () => {
    refuseOlder(decoder, OLDEST_CLIENT_SECTION, 'OSDMap::Incremental client data');
    const client = clientSection.decode(decoder);
    refuseOlder(decoder, OLDEST_OSD_SECTION, 'OSDMap::Incremental osd data');
    const osd = osdSection.decode(decoder);
    checkCrc(name, decoder, crc32c);
    return { ...client, ...osd, fullCrc: decoder.u32() };
  });
  decoder.finish(name);
  return incremental;
}

/** The 16.2 form, which every newer release reads. */
export function encodeIncremental(incremental: Incremental, crc32c: Crc32c): Uint8Array {
  const encoder = new Encoder(1024);
  let crcAt = 0;
  encoder.struct(MAP_WRAPPER.version, MAP_WRAPPER.compat, () => {
    clientSection.encode(encoder, incremental);
    osdSection.encode(encoder, incremental);
    crcAt = encoder.length;
    encoder.u32(0).u32(incremental.fullCrc);
  });
  encoder.patchU32(crcAt, mapCrc(encoder.bytes, crcAt, crc32c));
  return encoder.bytes;
}

/** The features by which a 16.2 cluster encodes: what it writes into `encodeFeatures`. */
const PACIFIC_ENCODE_FEATURES = 0x0f00088010212a04n;

/** An incremental for the epoch after `map`'s that changes nothing yet. */
export function emptyIncremental(map: Pick<OsdMap, 'fsid' | 'epoch' | 'modified'>): Incremental {
  return {
    fsid: map.fsid,
    epoch: map.epoch + 1,
    modified: map.modified,
    newPoolMax: -1,
    newFlags: -1,
    fullmap: new Uint8Array(),
    crush: new Uint8Array(),
    newMaxOsd: -1,
    newPools: new Map(),
    newPoolNames: new Map(),
    oldPools: [],
    newUpClient: new Map(),
    newState: new Map(),
    newWeight: new Map(),
    newPgTemp: new Map(),
    newPrimaryTemp: new Map(),
    newPrimaryAffinity: new Map(),
    newErasureCodeProfiles: new Map(),
    oldErasureCodeProfiles: [],
    newPgUpmap: new Map(),
    oldPgUpmap: [],
    newPgUpmapItems: new Map(),
    oldPgUpmapItems: [],
    newRemovedSnaps: new Map(),
    newPurgedSnaps: new Map(),
    newLastUpChange: ZERO_TIME,
    newLastInChange: ZERO_TIME,
    newPgUpmapPrimary: new Map(),
    oldPgUpmapPrimary: [],
    newHbBackUp: new Map(),
    newUpThru: new Map(),
    newLastCleanInterval: new Map(),
    newLost: new Map(),
    newBlocklist: new Map(),
    oldBlocklist: [],
    newUpCluster: new Map(),
    clusterSnapshot: '',
    newUuid: new Map(),
    newXinfo: new Map(),
    newHbFrontUp: new Map(),
    encodeFeatures: PACIFIC_ENCODE_FEATURES,
    newNearfullRatio: -1,
    newFullRatio: -1,
    newBackfillfullRatio: -1,
    newRequireMinCompatClient: UNCHANGED_RELEASE,
    newRequireOsdRelease: UNCHANGED_RELEASE,
    newCrushNodeFlags: new Map(),
    newDeviceClassFlags: new Map(),
    changeStretchMode: 0,
    newStretchBucketCount: 0,
    newDegradedStretchMode: 0,
    newRecoveringStretchMode: 0,
    newStretchModeBucket: 0,
    stretchModeEnabled: 0,
    newRangeBlocklist: new Map(),
    oldRangeBlocklist: [],
    mutateAllowCrimson: 0,
    fullCrc: 0,
  };
}

export const UNCHANGED_RELEASE = 0xff;
