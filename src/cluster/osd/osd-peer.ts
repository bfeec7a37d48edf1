/**
 * What the OSDs of an embedded cluster ask of each other. Asynchronous, with plain data both ways, and rejected when the
 * other OSD is gone: so that it can become messages between threads.
 *
 * Calls carry the epoch at which the caller's interval began. The one asked first catches up to that map, and refuses
 * when it knows a newer interval: an old primary can change nothing any more.
 */

import type { PgId } from '../../encoding/types.js';
import type { ObjectId } from '../store/object-id.js';
import type { LogEntry, PgInfo } from '../store/pg-record.js';
import type { ObjectDump, StoreOp } from '../store/transaction.js';
import type { CopySource } from './op-context.js';

/** A change that the primary made, for a replica to make too. */
export interface ReplicatedChange {
  readonly ops: readonly StoreOp[];
  readonly entry: LogEntry;
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
  /** What it has of a PG; undefined when nothing. From here on it takes no changes of older intervals. */
  query(pg: PgId, since: number): Promise<PgInfo | undefined>;
  /** Its info and log, for another to catch up with. */
  history(pg: PgId): Promise<{ info: PgInfo; log: readonly LogEntry[] } | undefined>;
  listObjects(pg: PgId, from: ObjectId | undefined, max: number): Promise<ObjectId[]>;
  dumpObject(pg: PgId, id: ObjectId): Promise<ObjectDump | undefined>;
  /** Makes its copy equal to that of `source`. */
  recover(pg: PgId, since: number, source: number): Promise<void>;
  /** All members are equal now and may serve. */
  activate(pg: PgId, since: number): Promise<void>;
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
