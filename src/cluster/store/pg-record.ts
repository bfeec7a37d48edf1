/** What an OSD remembers of a PG: how far it got, its log, and which intervals others may have written in. */

import type { EntityName } from '../../encoding/entity.js';
import { type Eversion, type IntervalSet, ZERO_EVERSION } from '../../encoding/types.js';
import type { ObjectId } from './object-id.js';

/** Log entries kept per PG: what duplicates are recognised by (`osd_pg_log_dups_tracked`). */
export const LOG_ENTRIES_MAX = 3000;

/** Identity of a request across resends: name, incarnation and tid (`osd_reqid_t`). */
export interface RequestId {
  readonly name: EntityName;
  readonly inc: number;
  readonly tid: number;
}

/** One change of the PG, or one failed write that must fail the same way again. */
export interface LogEntry {
  readonly version: Eversion;
  /** Heads and clones that the change touched; none for a failed write. */
  readonly objects: readonly ObjectId[];
  /** Absent for the PG's own changes (snap trimming, watch expiry). */
  readonly reqid?: RequestId;
  readonly result: number;
  readonly userVersion: bigint;
  /** What a resent request gets with RETURNVEC. */
  readonly returns?: readonly { rval: number; outdata: Uint8Array }[];
}

/** A stretch of epochs with the same up and acting sets in which writes may have been acknowledged. */
export interface PastInterval {
  readonly first: number;
  readonly last: number;
  readonly acting: readonly number[];
}

export interface PgInfo {
  /** Position of the newest log entry. */
  readonly lastUpdate: Eversion;
  readonly lastUserVersion: bigint;
  /** Epoch of the last activation that this OSD took part in: all members then had the same content. */
  readonly lastEpochStarted: number;
  /** Intervals after that activation, oldest first. */
  readonly pastIntervals: readonly PastInterval[];
  /** Newest map that was taken into account; a later start must account for the maps after it. */
  readonly mapEpoch: number;
  /**
   * Everything that the log does not tell of is here: only objects of the missing set may lack. False while a backfill
   * fills this copy: it then is nobody's source and counts for nothing.
   */
  readonly complete: boolean;
  /** Of a copy that is not complete: the objects up to this one are here. Absent: none. */
  readonly lastBackfill?: ObjectId;
  /** Removed snapshots whose clones are already gone. */
  readonly purgedSnaps: IntervalSet;
  /** How many PGs the pool had in that map: with more, this one has children. Absent in stores of before PGs could be split. */
  readonly pgNum?: number;
  /** The log tells of everything after this, unless it has been trimmed since. Absent: of everything there was. */
  readonly logTail?: Eversion;
}

export const NEW_PG_INFO: PgInfo = {
  lastUpdate: ZERO_EVERSION,
  lastUserVersion: 0n,
  lastEpochStarted: 0,
  pastIntervals: [],
  mapEpoch: 0,
  complete: true,
  purgedSnaps: [],
};
