/** What clients and monitors say to each other, declared (`messages/M*.h`). */

import {
  blob,
  type Infer,
  list,
  map,
  optional,
  record,
  s16,
  s32,
  s64n,
  since,
  string,
  struct,
  u8,
  u16,
  u32,
  u64,
  u64n,
} from '../encoding/codec.js';
import { entityAddrvec } from '../encoding/entity.js';
import { intervalSet, utime, uuid } from '../encoding/types.js';

/** The header that monitors' requests and replies carry: `version` is what the sender has, or committed. */
const paxos = record('PaxosServiceMessage', { version: u64n, session: s16, sessionTid: u64n });
export const NO_PAXOS: Infer<typeof paxos> = { version: 0, session: -1, sessionTid: 0 };

/** MMonSubscribe v3. `flags` bit 0: once. */
export const monSubscribe = record('MMonSubscribe', {
  what: map(string, record('ceph_mon_subscribe_item', { start: u64n, flags: u8 })),
  hostname: string,
});
export const SUBSCRIBE_ONETIME = 1;

export const monSubscribeAck = record('MMonSubscribeAck', { intervalS: u32, fsid: uuid });

/** MMonMap: the monmap's bytes. */
export const monMapMessage = record('MMonMap', { monmap: blob });

/** MConfig: the central configuration for this client. */
export const configMessage = record('MConfig', { config: map(string, string) });

export const monGetVersion = record('MMonGetVersion', { handle: u64n, what: string });
export const monGetVersionReply = record('MMonGetVersionReply', {
  handle: u64n,
  version: u64n,
  oldestVersion: u64n,
});

export const monCommand = record('MMonCommand', { paxos, fsid: uuid, cmd: list(string) });
export const monCommandAck = record('MMonCommandAck', {
  paxos,
  r: s32,
  rs: string,
  cmd: list(string),
});

export const POOL_OP = {
  CREATE: 0x01,
  DELETE: 0x02,
  CREATE_SNAP: 0x11,
  DELETE_SNAP: 0x12,
  CREATE_UNMANAGED_SNAP: 0x21,
  DELETE_UNMANAGED_SNAP: 0x22,
} as const;

export const poolOp = record('MPoolOp', {
  paxos,
  fsid: uuid,
  pool: u32,
  op: u32,
  auid: u64,
  snapid: u64,
  name: string,
  pad: u8,
  crushRule: s16,
});
export const poolOpReply = record('MPoolOpReply', {
  paxos,
  fsid: uuid,
  code: s32,
  epoch: u32,
  data: optional(blob),
});

export const statfs = record('MStatfs', { paxos, fsid: uuid, dataPool: optional(s64n) });
export const statfsReply = record('MStatfsReply', {
  fsid: uuid,
  version: u64n,
  kb: u64n,
  kbUsed: u64n,
  kbAvail: u64n,
  numObjects: u64n,
});

export const getPoolStats = record('MGetPoolStats', { paxos, fsid: uuid, pools: list(string) });

/** MAuth and MAuthReply: ticket renewal on an established session. */
export const authMessage = record('MAuth', {
  paxos,
  protocol: u32,
  payload: blob,
  monmapEpoch: u32,
});
export const authReply = record('MAuthReply', {
  protocol: u32,
  result: s32,
  globalId: u64,
  payload: blob,
  message: string,
});

/** MOSDMap v4: incrementals and full maps by epoch, as encoded bytes. */
export const osdMapMessage = record('MOSDMap', {
  fsid: uuid,
  incrementalMaps: map(u32, blob),
  maps: map(u32, blob),
  oldestMap: u32,
  newestMap: u32,
  gapRemovedSnaps: map(s64n, intervalSet),
});
export type OsdMapMessage = Infer<typeof osdMapMessage>;
/** MOSDMap v3, which stops before the gap's removed snapshots. */
export const osdMapMessageV3 = record('MOSDMap', {
  fsid: uuid,
  incrementalMaps: map(u32, blob),
  maps: map(u32, blob),
  oldestMap: u32,
  newestMap: u32,
});

const monFeature = struct('mon_feature_t', { version: 1, compat: 1 }, { features: u64 });

/** `mon_info_t`. */
const monInfo = struct(
  'mon_info_t',
  { version: 5, compat: 1 },
  {
    name: string,
    publicAddrs: entityAddrvec,
    priority: since(2, u16, () => 0),
    weight: since(4, u16, () => 0),
    crushLoc: since(5, map(string, string), () => new Map<string, string>()),
  },
);

/** `MonMap` v9. Ceph writes compat 6; older forms predate Nautilus and are refused. */
export const monMap = struct(
  'MonMap',
  { version: 9, compat: 6 },
  {
    fsid: uuid,
    epoch: u32,
    lastChanged: utime,
    created: utime,
    persistentFeatures: monFeature,
    optionalFeatures: monFeature,
    monInfo: map(string, monInfo),
    ranks: list(string),
    minMonRelease: since(7, u8, () => 0),
    removedRanks: since(8, list(u32), () => []),
    strategy: since(9, u8, () => 1),
    disallowedLeaders: since(9, list(string), () => []),
    stretchModeEnabled: since(9, u8, () => 0),
    tiebreakerMon: since(9, string, () => ''),
    stretchMarkedDownMons: since(9, list(string), () => []),
  },
);
export type MonMap = Infer<typeof monMap>;

/** The head of `MgrMap` v12: what a client that talks to no manager reads of it. */
export const mgrMapHead = struct(
  'MgrMap',
  { version: 12, compat: 6 },
  {
    epoch: u32,
    activeAddrs: entityAddrvec,
    activeGid: u64,
    available: u8,
    activeName: string,
  },
);
