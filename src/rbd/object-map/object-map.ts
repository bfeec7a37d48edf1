/**
 * Which objects of an image exist, as the owner of its exclusive lock keeps it while it has the lock
 * (`librbd/ObjectMap.cc`, `rbd_object_map_*` in drivers/block/rbd.c).
 *
 *     lock acquired -> open: locked, loaded -> I/O and maintenance -> close: unlocked -> lock released
 *
 * What is done to one object is in order: writes side by side, a removal by itself.
 */

import type { ObjectBitmap } from '../../kernels/bitmap.js';
import { MAY_EXIST, OBJECT_STATE, type ObjectState } from '../../kernels/object-state.js';
import { FULL_TRY } from '../full-try.js';
import type { MaintainedObjectMap } from '../object-states.js';
import { unlessAborted } from '../waiting.js';
import type { ImageSnapshot } from '../header.js';
import { type ExaminedMap, examineHead } from './examined-map.js';
import { HeadMap, type MapCounters } from './head-map.js';
import { OBJECTS_PER_UPDATE_MAX } from './map-updates.js';
import type { MappedImage } from './mapped-image.js';
import { ObjectSequencer } from './object-sequencer.js';
import { SnapshotMaps } from './snapshot-maps.js';

const { NONEXISTENT, EXISTS, PENDING, EXISTS_CLEAN } = OBJECT_STATE;

export class ObjectMap implements MaintainedObjectMap {
  readonly head: HeadMap;
  readonly #sequencer: ObjectSequencer;
  readonly #image: MappedImage;
  readonly #snapshots: SnapshotMaps;

  /** Rejects when the image is another's, or its map can neither be loaded nor flagged as invalid. */
  static async open(image: MappedImage): Promise<ObjectMap> {
    return new ObjectMap(image, await HeadMap.open(image));
  }

  private constructor(image: MappedImage, head: HeadMap) {
    this.head = head;
    this.#sequencer = new ObjectSequencer(image.target);
    this.#image = image;
    this.#snapshots = new SnapshotMaps(image, head);
  }

  get counters(): MapCounters {
    return this.head.counters;
  }

  /** With no I/O under way. */
  close(): Promise<void> {
    return this.head.close();
  }

  // ---- I/O ----

  mayExist(objectNo: number): boolean {
    return this.head.stateOf(objectNo) !== NONEXISTENT || !this.head.isTrusted;
  }

  /** On the data path: an object that exists already costs no promise. */
  beginWrite(objectNo: number, signal?: AbortSignal): Promise<void> | undefined {
    if (!this.#sequencer.tryEnter(objectNo)) return this.#beginLater(objectNo, signal);
    if (this.head.stateOf(objectNo) === EXISTS) return undefined;
    return this.#orLeave(objectNo, this.#store(objectNo, EXISTS, signal));
  }

  endWrite(objectNo: number): void {
    this.#sequencer.leave(objectNo);
  }

  removeObject(objectNo: number, remove: () => Promise<void>, signal?: AbortSignal): Promise<void> {
    return this.mayRemoveObject(objectNo, () => remove().then(() => false), signal);
  }

  async mayRemoveObject(
    objectNo: number,
    step: () => Promise<boolean>,
    signal?: AbortSignal,
  ): Promise<void> {
    const release = await this.#sequencer.exclude(objectNo, signal);
    try {
      if (!this.mayExist(objectNo)) return;
      if (this.head.stateOf(objectNo) !== PENDING) await this.head.change(objectNo, PENDING);
      const state = (await step()) ? EXISTS : NONEXISTENT;
      // So it is, whether that is known or not.
      await this.head.change(objectNo, state, PENDING).catch(() => undefined);
    } finally {
      release();
    }
  }

  beginCopyUp(
    objectNo: number,
    snapIds: readonly bigint[],
    isChange: boolean,
    signal?: AbortSignal,
  ): Promise<void> | undefined {
    if (snapIds.length === 0) return this.beginWrite(objectNo, signal);
    return this.#beginCopyUp(objectNo, snapIds, isChange, signal);
  }

  // ---- maintenance ----

  /** The first object from `from` on and before `end` that may exist, or -1. */
  nextExisting(from: number, end: number): number {
    if (from >= end) return -1;
    return this.head.isTrusted ? this.head.states.next(MAY_EXIST, from, end) : from;
  }

  countExisting(from: number, end: number): number {
    if (from >= end) return 0;
    return end - from - (this.head.isTrusted ? this.head.states.count(from, end).nonexistent : 0);
  }

  resize(objectCount: number): Promise<void> {
    return this.head.resize(objectCount);
  }

  async removeRange(first: number, end: number, remove: () => Promise<void>): Promise<void> {
    const ranges = [...this.#existingRanges(first, end)];
    for (const range of ranges) {
      await this.head.changeRange({ ...range, state: PENDING, current: EXISTS }, FULL_TRY);
    }
    await remove();
    for (const range of ranges) {
      await this.head.changeRange({ ...range, state: NONEXISTENT, current: PENDING }, FULL_TRY);
    }
  }

  snapshotAdded(snapId: bigint): Promise<void> {
    return this.#snapshots.added(snapId);
  }

  snapshotRemoved(snapId: bigint): Promise<void> {
    return this.#snapshots.removed(snapId);
  }

  rollingBack(snapId: bigint): Promise<void> {
    return this.#snapshots.rollingBack(snapId);
  }

  rolledBack(snapId: bigint): Promise<void> {
    return this.#snapshots.rolledBack(snapId);
  }

  /** To be freed. Undefined: missing, or not to be believed. */
  loadSnapshotMap(snapId: bigint): Promise<ObjectBitmap | undefined> {
    return this.#snapshots.load(snapId);
  }

  /** To look at all objects of the head. */
  examineHead(): Promise<ExaminedMap> {
    return examineHead(this.head);
  }

  examineSnapshot(snapshot: ImageSnapshot): Promise<ExaminedMap> {
    return this.#snapshots.examine(snapshot);
  }

  /** Objects that are being written or removed just now. */
  busyObjects(): number[] {
    return this.#sequencer.busyObjects();
  }

  /** Runs `step` while nobody writes or removes the object. */
  async alone(objectNo: number, signal: AbortSignal, step: () => Promise<void>): Promise<void> {
    const release = await this.#sequencer.exclude(objectNo, signal);
    try {
      await step();
    } finally {
      release();
    }
  }

  /** The head's map, or a snapshot's, is not to be believed. Resolves when that is stored. */
  invalidate(snapId?: bigint): Promise<void> {
    return snapId === undefined ? this.head.invalidate() : this.#snapshots.invalidate(snapId);
  }

  /** The header was read again. */
  headerRead(): void {
    this.head.applyFlags(this.#image.header.flags);
  }

  async #beginLater(objectNo: number, signal: AbortSignal | undefined): Promise<void> {
    await this.#sequencer.enter(objectNo, signal);
    if (this.head.stateOf(objectNo) === EXISTS) return;
    await this.#orLeave(objectNo, this.#store(objectNo, EXISTS, signal));
  }

  async #beginCopyUp(
    objectNo: number,
    snapIds: readonly bigint[],
    isChange: boolean,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    await this.#sequencer.enter(objectNo, signal);
    await this.#orLeave(
      objectNo,
      unlessAborted(this.#snapshots.copyingUp(objectNo, snapIds), signal, this.#image.target),
    );
    const before = this.head.stateOf(objectNo);
    if (before === EXISTS) return;
    // What the newest snapshot has as well has not changed since, unless it may have been there, and gone.
    const { hasFastDiff } = this.#snapshots;
    const isSeen = hasFastDiff && this.#snapshots.staying(snapIds).length > 0;
    const isClean = !isChange && before !== PENDING && isSeen;
    if (before === EXISTS_CLEAN && isClean) return;
    await this.#orLeave(objectNo, this.#store(objectNo, isClean ? EXISTS_CLEAN : EXISTS, signal));
  }

  #store(objectNo: number, state: ObjectState, signal: AbortSignal | undefined): Promise<void> {
    return unlessAborted(this.head.change(objectNo, state), signal, this.#image.target);
  }

  /** Who may not go on is not in any more. */
  async #orLeave(objectNo: number, step: Promise<void>): Promise<void> {
    try {
      await step;
    } catch (error) {
      this.#sequencer.leave(objectNo);
      throw error;
    }
  }

  *#existingRanges(first: number, end: number): Generator<{ start: number; end: number }> {
    for (let at = first; at < end; ) {
      const start = this.nextExisting(at, end);
      if (start < 0) return;
      at = Math.min(start + OBJECTS_PER_UPDATE_MAX, end);
      yield { start, end: at };
    }
  }
}
