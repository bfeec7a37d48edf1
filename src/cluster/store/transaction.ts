/** A change of one PG's collection, applied as a whole or not at all. Plain data: it is logged and replicated as it is. */

import type { ObjectData } from './object-data.js';
import type { ObjectId } from './object-id.js';
import type { ObjectMeta } from './object-meta.js';
import type { LogEntry, PgInfo } from './pg-record.js';
import type { Extent } from './range-set.js';
import type { ReceivedData } from './spare-buffers.js';

/**
 * Omap keys are byte strings that need not be UTF-8 (cls_rbd keys children by packed integers): one character per byte
 * (latin1), whose JavaScript order is the bytes' order. Values are immutable once they are in a transaction.
 */
export type StoreOp =
  | { op: 'touch'; id: ObjectId }
  | { op: 'write'; id: ObjectId; offset: number; data: Uint8Array }
  | { op: 'zero'; id: ObjectId; offset: number; length: number }
  | { op: 'truncate'; id: ObjectId; size: number }
  | { op: 'remove'; id: ObjectId }
  /** Makes `to` equal to `from`: data, xattrs and omap; the meta stays as it is. */
  | { op: 'clone'; from: ObjectId; to: ObjectId }
  | { op: 'setXattr'; id: ObjectId; name: string; value: Uint8Array }
  | { op: 'removeXattr'; id: ObjectId; name: string }
  | { op: 'omapSet'; id: ObjectId; values: readonly (readonly [string, Uint8Array])[] }
  | { op: 'omapRemove'; id: ObjectId; keys: readonly string[] }
  /** Keys in `[begin, end)`. */
  | { op: 'omapRemoveRange'; id: ObjectId; begin: string; end: string }
  /** Keys and header. */
  | { op: 'omapClear'; id: ObjectId }
  | { op: 'omapHeader'; id: ObjectId; header: Uint8Array }
  | { op: 'setMeta'; id: ObjectId; meta: ObjectMeta }
  /** Replaces the whole object by another OSD's. */
  | { op: 'install'; object: ObjectDump }
  | { op: 'pgInfo'; info: PgInfo }
  | { op: 'log'; entry: LogEntry }
  | { op: 'replaceLog'; entries: readonly LogEntry[] }
  /** Objects of which the log knows more than this copy has; `remove` is what was recovered. */
  | { op: 'missing'; add: readonly ObjectId[]; remove: readonly ObjectId[] }
  /** Every object of the collection goes; info, log and the missing set stay. */
  | { op: 'removeAll' };

/** Who else keeps the bytes that a change writes. */
export interface DataOwnership {
  /** Nobody: a store may change them where they are. */
  readonly ownsData?: boolean;
  /** Those of a large write, of which it is known who does. */
  readonly received?: ReceivedData | undefined;
}

export interface Transaction extends DataOwnership {
  /** The PG, as `1.2f`. */
  readonly collection: string;
  readonly ops: readonly StoreOp[];
}

/** A whole object, as one OSD gives it to another. */
export interface ObjectDump {
  readonly id: ObjectId;
  readonly meta: ObjectMeta;
  readonly data: ObjectData;
  /** Written ranges of which this copy's disk has lost the content: they stay lost wherever it goes. */
  readonly damaged?: readonly Extent[];
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
  readonly omap: readonly (readonly [string, Uint8Array])[];
  readonly omapHeader: Uint8Array;
}
