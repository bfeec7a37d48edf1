/** What the I/O of an image asks of its object maps. */

/** Of the head, for the owner of the exclusive lock, or of a snapshot, for whoever reads it. */
export interface KnownObjects {
  /** False only where the map may be trusted, and says that the object does not exist. */
  mayExist(objectNo: number): boolean;
}

/**
 * The head's map, which only the owner of the exclusive lock has.
 *
 * Invariant: for each object that exists at the OSDs, the map that is stored there says that it may exist, or is flagged
 * as invalid. So the map is told before an object is written, and after it was removed.
 *
 *     write    beginWrite -> operation -> endWrite
 *     remove   removeObject: PENDING -> operation -> NONEXISTENT, with no write of that object between begin and end
 */
export interface ObjectStates extends KnownObjects {
  /**
   * Before an operation that may create or change the object: undefined when the stored map says already that it exists,
   * else resolves when it does. Rejects (EBUSY: the lock is lost) when the operation must not be sent; only then `endWrite`
   * is not to be called.
   */
  beginWrite(objectNo: number, signal?: AbortSignal): Promise<void> | undefined;

  /** The operation was answered, or given up. */
  endWrite(objectNo: number): void;

  /** Runs `remove`, which deletes the whole object; not at all where the map says that there is none. */
  removeObject(objectNo: number, remove: () => Promise<void>, signal?: AbortSignal): Promise<void>;

  /**
   * Before a copy-up that gives data to the object as the snapshots of `snapIds` (descending, as in a snapshot context)
   * see it: their maps say so, then the head's. `isChange`: the head's own data come to differ from theirs with it.
   * `endWrite` follows as after `beginWrite`.
   */
  beginCopyUp(
    objectNo: number,
    snapIds: readonly bigint[],
    isChange: boolean,
    signal?: AbortSignal,
  ): Promise<void> | undefined;
}

/** What maintenance operations ask of the object map as well. Each is stored when it resolves. */
export interface MaintainedObjectMap extends ObjectStates {
  /** The first object from `from` on and before `end` that may exist, or -1. */
  nextExisting(from: number, end: number): number;
  /** How many objects from `from` on and before `end` may exist. */
  countExisting(from: number, end: number): number;
  /** The image comes to have, or has by now, another number of objects: those that are new do not exist. */
  resize(objectCount: number): Promise<void>;
  /** Runs `step`, which may delete the whole object, and resolves with whether it is there: as `removeObject`. */
  mayRemoveObject(
    objectNo: number,
    step: () => Promise<boolean>,
    signal?: AbortSignal,
  ): Promise<void>;
  /** Runs `remove`, which deletes the objects from `first` on and before `end` that may exist. */
  removeRange(first: number, end: number, remove: () => Promise<void>): Promise<void>;
  /** The header has the snapshot now. */
  snapshotAdded(snapId: bigint): Promise<void>;
  /** The header is about to have it no more. */
  snapshotRemoved(snapId: bigint): Promise<void>;
  /** The objects are about to be what they were in the snapshot; nothing is written until they are. */
  rollingBack(snapId: bigint): Promise<void>;
  /** They are. */
  rolledBack(snapId: bigint): Promise<void>;
}
