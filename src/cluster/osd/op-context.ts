/**
 * The state of one op vector while it executes (`PrimaryLogPG::OpContext`).
 *
 * Two views of the object live side by side, and which one an operation sees is part of the protocol:
 *
 *   before   what the store holds: data, xattrs and omap as they were before the vector
 *   pending  existence, size, versions, watchers and snapshots as the vector has changed them so far
 *
 * So `{setxattr a=1, cmpxattr a==1}` fails and `{create, stat}` succeeds. Changes pile up in `changes`, and become one
 * transaction when the whole vector succeeded.
 */

import type { SnapContext } from '../../encoding/types.js';
import type { Crc32c } from '../../kernels/crc32c.js';
import type { PgPool } from '../../osdmap/pool.js';
import type { ObjectId } from '../store/object-id.js';
import {
  DIGEST_SEED,
  NEW_OBJECT_INFO,
  type ObjectInfo,
  type SnapSet,
  type WatchRecord,
} from '../store/object-meta.js';
import type { ObjectStore, StoredObject } from '../store/object-store.js';
import type { ObjectDump, StoreOp } from '../store/transaction.js';
import type { ClientRequest } from './client-request.js';
import type { OsdLimits } from './limits.js';
import { type Ranges, unionRange } from '../../base/ranges.js';
import type { ObjectWatches } from './watches.js';

/** What executing needs to know of the PG. */
export interface PgView {
  readonly store: ObjectStore;
  readonly collection: string;
  readonly poolId: number;
  readonly seed: number;
  readonly pool: PgPool;
  readonly epoch: number;
  readonly lastUpdate: { version: bigint; epoch: number };
  readonly lastUserVersion: bigint;
  readonly limits: OsdLimits;
  readonly crc32c: Crc32c;
  readonly isRemovedSnap: (snap: bigint) => boolean;
  readonly watchesOf: (id: ObjectId) => ObjectWatches | undefined;
  readonly nextNotifyId: () => bigint;
  readonly nowMs: () => number;
  readonly randomBytes: (length: number) => Uint8Array;
}

/** What happens beside the object once the vector succeeded (`do_osd_op_effects`). */
export interface Effects {
  readonly connects: { record: WatchRecord; willPing: boolean }[];
  readonly disconnects: { record: WatchRecord; notify: boolean }[];
  readonly notifies: { id: bigint; cookie: bigint; timeoutS: number; payload: Uint8Array }[];
  readonly acks: { notifyId: bigint; cookie: bigint | undefined; reply: Uint8Array }[];
}

/** Where a COPY_FROM's bytes come from: fetched before the vector runs, because execution does not wait. */
export type CopySource = { object: ObjectDump; userVersion: bigint } | { errno: number };

export interface OpContextParts {
  readonly pg: PgView;
  readonly id: ObjectId;
  readonly client: ClientRequest;
  readonly copySources: ReadonlyMap<number, CopySource>;
  readonly before: StoredObject | undefined;
  /** The head's. */
  readonly snapSet: SnapSet;
  readonly snapContext: SnapContext;
}

export class OpContext {
  /** The object before the vector; undefined when the store has none. A whiteout counts as an object here. */
  readonly before: StoredObject | undefined;
  /** The object exists, perhaps as a whiteout. */
  exists: boolean;
  size: number;
  /** But for the digest. */
  info: ObjectInfo;
  /** Of the bytes as they are now; undefined: nobody knows. */
  dataDigest: number | undefined;
  snapSet: SnapSet;
  /** Whether omap reads look into the store at all (`FLAG_OMAP`). */
  hasOmap: boolean;

  readonly changes: StoreOp[] = [];
  /** The vector changes something, even when no store operation says so (a nop still writes a log entry). */
  dirty = false;
  /** The change counts as the user's: the object gets a new user version. */
  userModify = false;
  /** An operation wanted something that the disk has lost. */
  damaged = false;
  /** Set by COPY_FROM, which brings the source's user version along. */
  forcedUserVersion: bigint | undefined;
  /** Ranges that no longer equal the newest clone. */
  modified: Ranges = [];

  readonly pg: PgView;
  /** The head, or for a read at a snapshot the clone. */
  readonly id: ObjectId;
  readonly client: ClientRequest;
  readonly copySources: ReadonlyMap<number, CopySource>;
  /** The client's, without snapshots that were removed meanwhile. */
  readonly snapContext: SnapContext;

  constructor({ pg, id, client, copySources, before, snapSet, snapContext }: OpContextParts) {
    this.pg = pg;
    this.id = id;
    this.client = client;
    this.copySources = copySources;
    this.snapContext = snapContext;
    this.before = before;
    this.exists = this.before !== undefined;
    this.size = this.before?.size ?? 0;
    this.info = this.before?.meta.info ?? NEW_OBJECT_INFO;
    this.dataDigest = this.info.dataDigest;
    this.snapSet = snapSet;
    this.hasOmap =
      this.before !== undefined && (this.before.omapSize > 0 || this.before.omapHeader.length > 0);
  }

  /** Undefined while there are none: most vectors read or write data. */
  someEffects: Effects | undefined;

  get effects(): Effects {
    this.someEffects ??= { connects: [], disconnects: [], notifies: [], acks: [] };
    return this.someEffects;
  }

  /** To users the object exists. */
  get visible(): boolean {
    return this.exists && !this.info.whiteout;
  }

  /** The pre-image as users see it. */
  get visibleBefore(): StoredObject | undefined {
    return this.before?.meta.info.whiteout ? undefined : this.before;
  }

  change(op: StoreOp): void {
    this.changes.push(op);
    this.dirty = true;
  }

  /** `change`, of what the object's bytes are. */
  changeData(op: StoreOp): void {
    this.change(op);
    this.dataDigest = undefined;
  }

  /** Makes the object exist (`maybe_create_new_object`). */
  create(): void {
    if (!this.exists) {
      this.exists = true;
      this.info = { ...this.info, truncateSeq: 0, truncateSize: 0 };
      this.change({ op: 'touch', id: this.id });
      this.dataDigest = DIGEST_SEED;
    } else if (this.info.whiteout) {
      this.info = { ...this.info, whiteout: false };
      this.dirty = true;
    }
  }

  markModified(start: number, end: number): void {
    this.modified = unionRange(this.modified, start, end);
  }
}
