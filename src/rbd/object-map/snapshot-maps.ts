/**
 * The maps of an image's snapshots, which the owner of the head's map keeps too (`librbd/object_map/Snapshot*Request.cc`).
 *
 * A snapshot's map is what the head's was when it was taken. With fast-diff, EXISTS there says that the object was written
 * between the snapshot before and this one.
 *
 *     taken      head's map copied -> EXISTS becomes EXISTS_CLEAN in the head's    the header has it already
 *     removed    merged into the next one's -> removed                             the header has it still
 *     rollback   head's: what exists in either EXISTS -> objects -> head's: what exists in the snapshot EXISTS
 *
 * Invariant: an object that was written since a snapshot is EXISTS or PENDING in the next one's map, or that is flagged as
 * invalid, or missing.
 */

import { isRadosError } from '../../base/errors.js';
import { FEATURE } from '../features.js';
import type { ImageSnapshot } from '../header.js';
import type { HeadMap } from './head-map.js';
import { loadMap } from './loaded-map.js';
import { isMapInvalid, storeInvalid, warn } from './map-flags.js';
import { MapUpdates } from './map-updates.js';
import type { MappedImage } from './mapped-image.js';
import { OBJECT_STATE, StateBitmap } from './state-bitmap.js';
import { StoredMap } from './stored-map.js';

const { NONEXISTENT, EXISTS, EXISTS_CLEAN } = OBJECT_STATE;

export class SnapshotMaps {
  readonly #image: MappedImage;
  readonly #head: HeadMap;
  /** Of the snapshots that objects are copied up to. */
  readonly #updates = new Map<bigint, MapUpdates>();

  constructor(image: MappedImage, head: HeadMap) {
    this.#image = image;
    this.#head = head;
  }

  /** A snapshot's map. Undefined: missing, or not to be believed. */
  async load(snapId: bigint): Promise<StateBitmap | undefined> {
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
    if (!this.#hasFastDiff) return;
    // Whether it is stored or not: what is taken for clean here has its state stored again when it is written.
    head.states.snapshotAdded();
    await head.store(() => head.stored.snapshotAdded());
  }

  async removed(snapId: bigint): Promise<void> {
    const snapshot = this.#find(snapId);
    if (this.#hasFastDiff && snapshot) await this.#merge(snapshot);
    this.#updates.delete(snapId);
    await this.#stored(snapId).remove();
  }

  /** With no write under way until it is over. */
  async rollingBack(snapId: bigint): Promise<void> {
    const head = this.#head;
    const states = await this.load(snapId);
    if (!states) return head.invalidate();
    await head.save(combined(head.states, states, (now, then) => (then ? EXISTS : now)));
  }

  /** A rollback writes every object that the snapshot has, also one that was not changed since: OSDs clone it all the same. */
  async rolledBack(snapId: bigint): Promise<void> {
    const head = this.#head;
    const states = await this.load(snapId);
    if (!states) return head.invalidate();
    await head.save(combined(head.states, states, (_, then) => (then ? EXISTS : NONEXISTENT)));
  }

  /** The object comes to have data in the snapshots, which are given newest first. */
  async copyingUp(objectNo: number, snapIds: readonly bigint[]): Promise<void> {
    const oldest = snapIds.at(-1);
    await Promise.all(
      snapIds.map(async (snapId) => {
        const snapshot = this.#find(snapId);
        if (!snapshot || objectNo >= this.#objectCount(snapshot)) return;
        const isClean = this.#hasFastDiff && snapId !== oldest;
        await this.#updatesOf(snapId).change(objectNo, isClean ? EXISTS_CLEAN : EXISTS);
      }),
    );
  }

  invalidate(snapId: bigint): Promise<void> {
    return storeInvalid(this.#image, snapId);
  }

  /** What was written since the snapshot before it was then written since that before the next one, too. */
  async #merge(snapshot: ImageSnapshot): Promise<void> {
    const { snapshots } = this.#image.header;
    const next = snapshots[snapshots.indexOf(snapshot) + 1];
    let states: StateBitmap;
    try {
      states = await this.#stored(snapshot.id).load();
    } catch (error) {
      // It was merged and removed before, when this was interrupted; or it was never written, and what it would have is
      // in the next one's as well.
      if (isRadosError(error, 'ENOENT')) return;
      warn(this.#image, error, `failed to load the object map of snapshot ${snapshot.id}`);
      return next ? this.#failed(next.id, error) : this.#head.invalidate();
    }
    const isValid = !isMapInvalid(snapshot.flags);
    if (!next) {
      if (!isValid) return this.#head.invalidate();
      const head = this.#head;
      return head.store(
        () => head.stored.snapshotRemoved(states),
        () => head.states.snapshotRemoved(states),
      );
    }
    if (!isValid) return this.invalidate(next.id);
    try {
      await this.#stored(next.id).snapshotRemoved(states);
    } catch (error) {
      // No map, nothing to be wrong in it.
      if (!isRadosError(error, 'ENOENT')) await this.#failed(next.id, error);
    }
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

  get #hasFastDiff(): boolean {
    return (this.#image.header.features & FEATURE.FAST_DIFF) !== 0n;
  }
}

/** A map of as many objects as `now`, each from its state there and whether `then` has it. */
function combined(
  now: StateBitmap,
  then: StateBitmap,
  combine: (state: number, existed: boolean) => number,
): StateBitmap {
  const result = new StateBitmap(now.size, NONEXISTENT);
  for (let i = 0; i < now.size; i++) {
    const existed = i < then.size && then.get(i) !== NONEXISTENT;
    result.set(i, combine(now.get(i), existed));
  }
  return result;
}
