/**
 * The maps of an image's snapshots, which the owner of the head's map keeps too (`librbd/object_map/Snapshot*Request.cc`).
 *
 * A snapshot's map is what the head's was when it was taken. With fast-diff, EXISTS there says that the object was written
 * between the snapshot before and this one.
 *
 *     taken      head's map copied -> EXISTS becomes EXISTS_CLEAN in the head's    the header has it already
 *     removed    merged into the next one's -> removed                             the header has it still, in the trash
 *     rollback   head's: what exists in either EXISTS -> objects -> head's: what exists in the snapshot EXISTS
 *
 * Invariant: an object that was written since a snapshot is EXISTS or PENDING in the next one's map, or that is flagged as
 * invalid, or missing. A snapshot that is being removed, or was left in the trash half removed, does not count: its map may
 * have been merged.
 */

import { isRadosError } from '../../base/errors.js';
import { ObjectBitmap } from '../../kernels/bitmap.js';
import { threadBitmapMemory } from '../../kernels/bitmap-memory.js';
import { OBJECT_STATE } from '../../kernels/object-state.js';
import { FEATURE } from '../features.js';
import type { ImageSnapshot } from '../header.js';
import type { HeadMap } from './head-map.js';
import { loadMap } from './loaded-map.js';
import type { ExaminedMap } from './examined-map.js';
import { isMapInvalid, storeInvalid, storeValid, warn } from './map-flags.js';
import { MapUpdates } from './map-updates.js';
import type { MappedImage } from './mapped-image.js';
import { StoredMap } from './stored-map.js';

const { NONEXISTENT, EXISTS, EXISTS_CLEAN } = OBJECT_STATE;

export class SnapshotMaps {
  readonly #image: MappedImage;
  readonly #head: HeadMap;
  /** Of the snapshots that objects are copied up to. */
  readonly #updates = new Map<bigint, MapUpdates>();
  /** Snapshots whose removal has begun here. */
  readonly #going = new Set<bigint>();
  /** Maps that were found not to be believed, ever since. */
  #failures = 0;

  constructor(image: MappedImage, head: HeadMap) {
    this.#image = image;
    this.#head = head;
  }

  /** A snapshot's map, to be freed. Undefined: missing, or not to be believed. */
  async load(snapId: bigint): Promise<ObjectBitmap | undefined> {
    const snapshot = this.#find(snapId);
    return snapshot && loadMap(this.#image, snapshot);
  }

  /** With no write under way. */
  async added(snapId: bigint): Promise<void> {
    const head = this.#head;
    try {
      await head.alone(async () => this.#stored(snapId).write(await head.stored.read()));
    } catch (error) {
      await this.#failed(snapId, error);
    }
    if (!this.hasFastDiff) return;
    // Whether it is stored or not: what is taken for clean here has its state stored again when it is written.
    head.states.snapshotAdded();
    await head.store(() => head.stored.snapshotAdded());
  }

  async removed(snapId: bigint): Promise<void> {
    // What is copied up from here on is in the next one's map as it is to be when this one is gone.
    this.#going.add(snapId);
    const snapshot = this.#find(snapId);
    if (this.hasFastDiff && snapshot) {
      await this.#updatesOf(snapId).alone(() => this.#merge(snapshot));
    }
    this.#updates.delete(snapId);
    await this.#stored(snapId).remove();
  }

  /** With no write under way until it is over. */
  async rollingBack(snapId: bigint): Promise<void> {
    await this.#addRolledBack(snapId, () => undefined);
  }

  /** A rollback writes every object that the snapshot has, also one that was not changed since: OSDs clone it all the same. */
  async rolledBack(snapId: bigint): Promise<void> {
    await this.#addRolledBack(snapId, (head) => head.fill(0, head.objectCount, NONEXISTENT));
  }

  /** Those of them that are there to stay. */
  staying(snapIds: readonly bigint[]): bigint[] {
    return snapIds.filter(
      (snapId) => !this.#going.has(snapId) && this.#find(snapId)?.namespace.type !== 'trash',
    );
  }

  /** The object comes to have data in the snapshots, which are given newest first. */
  async copyingUp(objectNo: number, snapIds: readonly bigint[]): Promise<void> {
    const clean = new Set(this.hasFastDiff ? this.staying(snapIds).slice(0, -1) : []);
    await Promise.all(
      snapIds.map(async (snapId) => {
        const snapshot = this.#find(snapId);
        if (!snapshot || this.#going.has(snapId)) return;
        if (objectNo >= this.#objectCount(snapshot)) return;
        const state = clean.has(snapId) ? EXISTS_CLEAN : EXISTS;
        await this.#updatesOf(snapId).change(objectNo, state);
      }),
    );
  }

  invalidate(snapId: bigint): Promise<void> {
    this.#failures++;
    return storeInvalid(this.#image, snapId);
  }

  /**
   * To look at the objects of a snapshot one by one. What a copy-up adds to its map meanwhile is right, and when that fails the
   * map stays invalid.
   */
  async examine(snapshot: ImageSnapshot): Promise<ExaminedMap> {
    const failures = this.#failures;
    const { id: snapId } = snapshot;
    const objectCount = this.#objectCount(snapshot);
    const stored = this.#stored(snapId);
    const states = await this.#asStored(stored, objectCount);
    const updates = new MapUpdates(async (requests) => {
      await Promise.all(requests.map((request) => stored.update(request)));
      for (const { start, end, state } of requests.flat()) states.update(start, end, state);
    });
    return {
      ...{ snapId, objectCount },
      states,
      empty: async () => {
        await storeInvalid(this.#image, snapId);
        states.fill(0, objectCount, NONEXISTENT);
        await stored.save(states);
      },
      correct: (objectNo, state) => updates.change(objectNo, state),
      validate: async () => {
        if (this.#failures === failures) await storeValid(this.#image, snapId);
      },
      free: () => states.free(),
    };
  }

  /** A snapshot's map as it is; or one of objects that all may exist, in place of one that makes no sense. */
  async #asStored(stored: StoredMap, objectCount: number): Promise<ObjectBitmap> {
    try {
      const states = await stored.load(objectCount);
      if (states.objectCount === objectCount) return states;
      states.free();
    } catch (error) {
      if (isRadosError(error, 'EBLOCKLISTED')) throw error;
    }
    const states = ObjectBitmap.allocate(threadBitmapMemory(), objectCount, EXISTS);
    try {
      await stored.save(states);
      return states;
    } catch (error) {
      states.free();
      throw error;
    }
  }

  /** In the head's map, after `prepare`, what the snapshot has exists. */
  async #addRolledBack(snapId: bigint, prepare: (head: ObjectBitmap) => void): Promise<void> {
    const states = await this.load(snapId);
    if (!states) return this.#head.invalidate();
    try {
      await this.#head.save((head) => {
        prepare(head);
        const end = Math.min(head.objectCount, states.objectCount);
        for (const { first, end: past } of states.occupied(0, end)) {
          head.fill(first, past, EXISTS);
        }
      });
    } finally {
      states.free();
    }
  }

  /** What was written since the snapshot before it was then written since that before the next one, too. */
  async #merge(snapshot: ImageSnapshot): Promise<void> {
    const { snapshots } = this.#image.header;
    const next = snapshots[snapshots.indexOf(snapshot) + 1];
    let states: ObjectBitmap;
    try {
      states = await this.#stored(snapshot.id).load(this.#objectCount(snapshot));
    } catch (error) {
      // It was merged and removed before, when this was interrupted; or it was never written, and what it would have is
      // in the next one's as well.
      if (isRadosError(error, 'ENOENT')) return;
      warn(this.#image, error, `failed to load the object map of snapshot ${snapshot.id}`);
      return next ? this.#failed(next.id, error) : this.#head.invalidate();
    }
    try {
      if (isMapInvalid(snapshot.flags)) {
        await (next ? this.invalidate(next.id) : this.#head.invalidate());
      } else if (next) await this.#mergeInto(next.id, states);
      else await this.#mergeIntoHead(states);
    } finally {
      states.free();
    }
  }

  async #mergeInto(snapId: bigint, removed: ObjectBitmap): Promise<void> {
    try {
      const stored = this.#stored(snapId);
      await this.#updatesOf(snapId).alone(() => stored.snapshotRemoved(removed));
    } catch (error) {
      // No map, nothing to be wrong in it.
      if (!isRadosError(error, 'ENOENT')) await this.#failed(snapId, error);
    }
  }

  #mergeIntoHead(removed: ObjectBitmap): Promise<void> {
    const head = this.#head;
    return head.store(
      () => head.stored.snapshotRemoved(removed),
      () => void head.states.snapshotRemoved(removed),
    );
  }

  /** Something could not be stored of a snapshot's map: it is not to be believed. */
  async #failed(snapId: bigint, error: unknown): Promise<void> {
    if (isRadosError(error, 'EBLOCKLISTED')) throw error;
    warn(this.#image, error, `failed to update the object map of snapshot ${snapId}`);
    await this.invalidate(snapId);
  }

  #updatesOf(snapId: bigint): MapUpdates {
    let updates = this.#updates.get(snapId);
    if (!updates) {
      const stored = this.#stored(snapId);
      updates = new MapUpdates(async (requests) => {
        try {
          await Promise.all(requests.map((request) => stored.update(request)));
        } catch (error) {
          await this.#failed(snapId, error);
        }
      });
      this.#updates.set(snapId, updates);
    }
    return updates;
  }

  #stored(snapId: bigint): StoredMap {
    return new StoredMap(this.#image.ioctx, this.#image.id, snapId);
  }

  #find(snapId: bigint): ImageSnapshot | undefined {
    return this.#image.header.snapshots.find(({ id }) => id === snapId);
  }

  #objectCount({ imageSize }: ImageSnapshot): number {
    return this.#image.header.layout.objectCount(imageSize);
  }

  get hasFastDiff(): boolean {
    return (this.#image.header.features & FEATURE.FAST_DIFF) !== 0n;
  }
}
