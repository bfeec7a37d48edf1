/** What an OSD keeps about an object and about a PG beside user data: plain data, as it is logged and replicated. */

import type { EntityAddr, EntityName } from '../../encoding/entity.js';
import { type Eversion, type Utime, ZERO_EVERSION, ZERO_TIME } from '../../encoding/types.js';

/** A registered watch, as the object remembers it across OSD restarts (`watch_info_t`). */
export interface WatchRecord {
  readonly entity: EntityName;
  readonly cookie: bigint;
  readonly timeoutS: number;
  readonly addr: EntityAddr;
}

/** Watchers are kept, listed and notified in the order of cookie, then entity. */
export function compareWatchers(a: WatchRecord, b: WatchRecord): number {
  if (a.cookie !== b.cookie) return a.cookie < b.cookie ? -1 : 1;
  if (a.entity.type !== b.entity.type) return a.entity.type - b.entity.type;
  return a.entity.num < b.entity.num ? -1 : a.entity.num > b.entity.num ? 1 : 0;
}

/** The part of `object_info_t` that behaviour depends on. The size is the data's own. */
export interface ObjectInfo {
  readonly version: Eversion;
  readonly userVersion: bigint;
  readonly mtime: Utime;
  readonly watchers: readonly WatchRecord[];
  /** The head was deleted, but clones need its SnapSet: to users it does not exist. */
  readonly whiteout: boolean;
  readonly truncateSeq: number;
  readonly truncateSize: number;
  /** crc32c of all of its bytes, seeded with all bits set, where the writes told it: a scrub compares. */
  readonly dataDigest: number | undefined;
}

export const NEW_OBJECT_INFO: ObjectInfo = {
  version: ZERO_EVERSION,
  userVersion: 0n,
  mtime: ZERO_TIME,
  watchers: [],
  whiteout: false,
  truncateSeq: 0,
  truncateSize: 0,
  dataDigest: undefined,
};

/** Ceph's digests begin with all bits set, which is the one of nothing. */
export const DIGEST_SEED = 0xffff_ffff;

/** One clone of an object (`clone_info`). */
export interface CloneInfo {
  readonly id: bigint;
  /** Snapshots whose content this clone is, descending. */
  readonly snaps: readonly bigint[];
  readonly size: number;
  /** Ranges equal to the next newer version: `[start, end)`, ascending. */
  readonly overlap: readonly (readonly [start: number, end: number])[];
}

/** The history of an object, kept with its head (`SnapSet`). */
export interface SnapSet {
  readonly seq: bigint;
  /** Ascending. */
  readonly clones: readonly CloneInfo[];
}

export const EMPTY_SNAPSET: SnapSet = { seq: 0n, clones: [] };

export interface ObjectMeta {
  readonly info: ObjectInfo;
  /** On heads only. */
  readonly snapSet: SnapSet;
}
