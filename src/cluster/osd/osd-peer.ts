/**
 * What the OSDs of an embedded cluster ask of each other. Asynchronous, with plain data both ways, and rejected when the
 * other OSD is gone: so that it can become messages between threads.
 *
 * Calls carry the epoch at which the caller's interval began. The one asked first catches up to that map, and refuses
 * when it knows a newer interval: an old primary can change nothing any more.
 */

import type { Eversion, PgId } from '../../encoding/types.js';
import type { ObjectId } from '../store/object-id.js';
import type { LogEntry, PgInfo } from '../store/pg-record.js';
import type { ReceivedData } from '../store/spare-buffers.js';
import type { ObjectDump, StoreOp } from '../store/transaction.js';
import type { PgHistory } from './log-merge.js';
import type { CopySource } from './op-context.js';
import type { ScrubbedObject, ScrubRange } from './scrub/scrub-map.js';

/** What an OSD has of a PG. */
export interface PgCopy {
  readonly info: PgInfo;
  readonly missing: readonly ObjectId[];
}

export interface BackfillStart {
  /** Objects up to this one are there; undefined: none are. */
  readonly last: ObjectId | undefined;
  /** But for these. */
  readonly missing: readonly ObjectId[];
}

/** An object as it is to be; without `object`: not at all. */
export interface RecoveredObject {
  readonly id: ObjectId;
  readonly object: ObjectDump | undefined;
}

/** What a PG's log has an entry of. */
export interface PgChange {
  readonly ops: readonly StoreOp[];
  readonly entry: LogEntry;
  readonly received?: ReceivedData | undefined;
}

/** A change that the primary made, for a replica to make too. */
export interface ReplicatedChange extends PgChange {
  /** The newest one before it: whoever lacks that must not make this one. */
  readonly after: Eversion;
}

/** An object that may live in any PG. */
export interface CopyTarget {
  readonly pool: number;
  readonly nspace: string;
  readonly oid: string;
  readonly key: string;
  readonly snapid: bigint;
}

export interface OsdPeer {
  /** Resolves when it has had its turn: it is alive. */
  ping(): Promise<void>;
  /** What it has of a PG; undefined when nothing. From here on it takes no changes of older intervals. */
  query(pg: PgId, since: number): Promise<PgCopy | undefined>;
  /** With its log, for another to catch up with. */
  history(pg: PgId, since: number): Promise<PgHistory | undefined>;
  /**
   * Takes the authoritative log for its own. Returns all that its copy then lacks; undefined when the logs share nothing, and
   * nothing has changed.
   */
  merge(pg: PgId, since: number, authority: PgHistory): Promise<readonly ObjectId[] | undefined>;
  listObjects(
    pg: PgId,
    since: number,
    from: ObjectId | undefined,
    max: number,
  ): Promise<ObjectId[]>;
  /**
   * An object as the log has it that ends with `asOf` or later; undefined when its own copy lacks it. ESTALE when its log ends
   * before that: what it has may be older.
   */
  pull(pg: PgId, since: number, id: ObjectId, asOf: Eversion): Promise<RecoveredObject | undefined>;
  /** Objects that its copy lacks. */
  push(pg: PgId, since: number, objects: readonly RecoveredObject[]): Promise<void>;
  /** Its log shares nothing with the authoritative one, which it takes: its copy is filled from where it got to before. */
  beginBackfill(pg: PgId, since: number, authority: PgHistory): Promise<BackfillStart>;
  /** The next objects of a backfill, up to and including `last`. */
  backfill(
    pg: PgId,
    since: number,
    objects: readonly RecoveredObject[],
    last: ObjectId,
  ): Promise<void>;
  /** Its copy is complete. */
  endBackfill(pg: PgId, since: number): Promise<void>;
  /** Makes its copy equal to that of `source`. */
  recover(pg: PgId, since: number, source: number): Promise<void>;
  /** All members have the same log now and may serve. */
  activate(pg: PgId, since: number): Promise<void>;
  /** What it has in a range of objects. */
  scrubMap(pg: PgId, since: number, range: ScrubRange, deep: boolean): Promise<ScrubbedObject[]>;
  replicate(pg: PgId, since: number, change: ReplicatedChange): Promise<void>;
  /** It is no member any more, and the members have everything. */
  removePg(pg: PgId, since: number): Promise<void>;
  /** The object that a COPY_FROM names, from its primary. */
  copySource(target: CopyTarget): Promise<CopySource>;
}

/** Who is alive. */
export interface PeerDirectory {
  osd(id: number): OsdPeer | undefined;
}
