/**
 * Where an OSD keeps its objects.
 *
 * Reads are synchronous and see every applied transaction at once; `apply` resolves when the change is durable. An OSD
 * answers a write only after that, and keeps readers of the object waiting meanwhile.
 */

import type { ObjectData } from './object-data.js';
import type { ObjectId } from './object-id.js';
import type { ObjectMeta } from './object-meta.js';
import type { LogEntry, PgInfo } from './pg-record.js';
import type { Extent } from './range-set.js';
import type { SpareBuffers } from './spare-buffers.js';
import type { DataOwnership, ObjectDump, Transaction } from './transaction.js';

export interface StoredObject {
  readonly id: ObjectId;
  readonly meta: ObjectMeta;
  readonly size: number;
  /** Holes read as zeros; short at the end of the object. The bytes are the caller's. EIO: they are damaged. */
  read(offset: number, length: number): Uint8Array;
  /** As `read`, in pieces that others may see too: nobody may write to them, and they stay as they are. */
  readShared(offset: number, length: number): readonly Uint8Array[];
  /** Written ranges within the given one. */
  extents(offset: number, length: number): Extent[];
  xattr(name: string): Uint8Array | undefined;
  /** In bytewise order of the names. */
  xattrs(): [string, Uint8Array][];
  readonly omapHeader: Uint8Array;
  readonly omapSize: number;
  omapGet(key: string): Uint8Array | undefined;
  /** Keys from `from` on (inclusive), in bytewise order; stop iterating when enough. */
  omapFrom(from: string): Iterable<[string, Uint8Array]>;
}

/** An object's bytes, wherever they lie. */
export interface ObjectBytes {
  readonly size: number;
  /** Holes read as zeros; short at the end of the object. Always a copy. */
  read(offset: number, length: number): Uint8Array;
  /** As `read`, without a copy where the bytes lie in memory. */
  readShared(offset: number, length: number): readonly Uint8Array[];
  /** The written ranges within the given one, ascending, merged where they touch. */
  extents(offset: number, length: number): Extent[];
  /** Takes `data` over. */
  write(offset: number, data: Uint8Array, ownership?: DataOwnership): void;
  /** Punches a hole; the size stays. */
  zero(offset: number, length: number): void;
  /** Cuts, or grows with a hole. */
  truncate(size: number): void;
  /** In memory, for another store, with the ranges that are damaged. */
  export(): { data: ObjectData; damaged: readonly Extent[] };
  /** Nobody uses it any more. */
  release(): void;
}

export interface ObjectStore {
  /** Where large data that will be written may be received. */
  readonly spare: SpareBuffers;
  /** PGs that have a collection. */
  collections(): string[];
  pgInfo(collection: string): PgInfo | undefined;
  /** Oldest first. */
  log(collection: string): readonly LogEntry[];
  /** Objects that this copy of the PG does not have as its log says. */
  missing(collection: string): readonly ObjectId[];
  isMissing(collection: string, id: ObjectId): boolean;
  get(collection: string, id: ObjectId): StoredObject | undefined;
  /** Ids from `from` on (inclusive) in the PG's order, heads and clones; undefined starts at the beginning. */
  list(collection: string, from: ObjectId | undefined, max: number): ObjectId[];
  /** For another store. What cannot be read is left out, and said to be damaged. */
  dump(collection: string, id: ObjectId): ObjectDump | undefined;
  /** Whether there is room for the new data in it: ask before making a change of one's own. */
  hasRoomFor(transaction: Transaction): boolean;
  /** It had no room for something, and has none for it yet. */
  readonly isFull: boolean;
  /**
   * Visible at once, durable when it resolves. Creates the collection when it is new. Throws when it can do nothing of
   * it, and nothing has changed then: EIO for a damaged block that would have to be kept in part. When it rejects,
   * the store is broken.
   */
  apply(transaction: Transaction): Promise<void>;
  removeCollection(collection: string): Promise<void>;
  /** After the last `apply`. */
  close(): Promise<void>;
}
