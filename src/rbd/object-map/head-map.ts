/**
 * The map of an image's head, by the owner of its exclusive lock: in memory, and the same at the OSD.
 *
 *     loaded   as large as the image, or larger (a shrink was interrupted)    in step
 *              smaller                    flagged invalid, brought to size    all in memory EXISTS
 *              corrupt                    flagged invalid, made anew          all in memory EXISTS
 *              missing, or unreadable     flagged invalid                     all in memory EXISTS, nothing is stored
 *
 * as librbd has it (`librbd/object_map/RefreshRequest.cc`). An image opens whatever its map is like.
 *
 * Invariant: an object that is EXISTS in memory is EXISTS or PENDING in the stored map, or that is flagged invalid. So memory
 * follows the stored map, and while an answer is missing it stays at what makes the next write store its state again.
 */

import { isRadosError, RadosError, toRadosError } from '../../base/errors.js';
import { ObjectBitmap } from '../../kernels/bitmap.js';
import { threadBitmapMemory } from '../../kernels/bitmap-memory.js';
import { OBJECT_STATE, type ObjectState } from '../../kernels/object-state.js';
import type { OperateOptions } from '../../rados/io-context.js';
import { isMapInvalid, storeInvalid, storeValid, warn } from './map-flags.js';
import { MapUpdates, pieces, type RangeUpdate } from './map-updates.js';
import type { MappedImage } from './mapped-image.js';
import { StoredMap } from './stored-map.js';

const { NONEXISTENT, EXISTS, PENDING } = OBJECT_STATE;

export interface MapCounters {
  /** Requests that changed the stored map. */
  updates: number;
  /** Times that the map was found to be invalid. */
  invalidations: number;
}

export class HeadMap {
  readonly stored: StoredMap;
  readonly counters: MapCounters = { updates: 0, invalidations: 0 };
  readonly #image: MappedImage;
  readonly #updates = new MapUpdates((requests) => this.#send(requests));
  #states = ObjectBitmap.allocate(threadBitmapMemory(), 0);
  #valid = false;
  /** What is invalid is flagged so. */
  #flagged = false;
  #flagging: Promise<void> | undefined;
  /** There is a map at the OSD that can be changed. */
  #isStored = false;
  /** The stored map is the one in memory, to the last object. */
  #inStep = false;
  #closed = false;

  /** Takes the map's lock and loads it. Rejects only when the image cannot be owned: nothing is left locked then. */
  static async open(image: MappedImage): Promise<HeadMap> {
    const map = new HeadMap(image);
    try {
      await map.#open();
      return map;
    } catch (error) {
      await map.close();
      throw error;
    }
  }

  private constructor(image: MappedImage) {
    this.#image = image;
    this.stored = new StoredMap(image.ioctx, image.id);
  }

  get states(): ObjectBitmap {
    return this.#states;
  }

  /** Whether an object that the map does not have can be believed not to exist. */
  get isTrusted(): boolean {
    return this.#valid && !this.#closed && this.#image.isLocked;
  }

  get isValid(): boolean {
    return this.#valid;
  }

  /** Objects that the image has, by its header. */
  get objectCount(): number {
    const { layout, size } = this.#image.header;
    return layout.objectCount(size);
  }

  /** Beyond the map's end, which is never the image's, anything may be. */
  stateOf(objectNo: number): ObjectState {
    return objectNo < this.#states.objectCount ? this.#states.get(objectNo) : PENDING;
  }

  /**
   * Resolves when the object's state is stored, or flagged invalid is the whole map: what was to come after it may. Rejects
   * when it must not: EBUSY, EBLOCKLISTED: the image is another's; anything else: not even the flag could be stored.
   */
  change(objectNo: number, state: ObjectState, current?: ObjectState): Promise<void> {
    if (this.#closed) return Promise.reject(this.#gone());
    if (!this.#isStored) return Promise.resolve();
    return this.#updates.change(objectNo, state, current);
  }

  /** As `change`, for all objects of a range. `options` go with the requests. */
  async changeRange(range: RangeUpdate, options?: OperateOptions): Promise<void> {
    for (const [start, end] of pieces(range.start, range.end)) {
      if (this.#closed) throw this.#gone();
      if (!this.#isStored) return;
      await this.#updates.alone(() => this.#send([[{ ...range, start, end }]], options));
    }
  }

  /** Runs `step` while no update is on its way. */
  alone(step: () => Promise<void>): Promise<void> {
    return this.#updates.alone(step);
  }

  /** Stores something else of the map, between two updates: as `change`. `apply` is what it means in memory. */
  store(step: () => Promise<void>, apply: () => void = () => undefined): Promise<void> {
    return this.#updates.alone(async () => {
      if (this.#closed) throw this.#gone();
      this.counters.updates++;
      try {
        await step();
        apply();
      } catch (error) {
        await this.#notStored(error);
      }
    });
  }

  /** The image comes to have, or has by now, another number of objects: those that are new do not exist. */
  resize(objectCount: number): Promise<void> {
    return this.store(
      async () => {
        try {
          await this.stored.resize(objectCount);
        } catch (error) {
          if (!isRadosError(error, 'ESTALE')) throw error;
          // Removed, as the image is smaller by now, but their removal was not stored.
          await this.#clear(objectCount, this.#states.objectCount);
          await this.stored.resize(objectCount);
        }
      },
      () => {
        this.#states.resize(objectCount, NONEXISTENT);
        this.#isStored = true;
      },
    );
  }

  /** Stores a map as a whole: `change` makes it, of a copy of the one in memory. */
  async save(change: (states: ObjectBitmap) => void): Promise<void> {
    let states: ObjectBitmap | undefined;
    try {
      await this.store(
        () => {
          states = this.#states.clone();
          change(states);
          return this.stored.save(states);
        },
        () => {
          const before = this.#states;
          this.#states = states as ObjectBitmap;
          states = before;
          this.#isStored = true;
          this.#inStep = true;
        },
      );
    } finally {
      states?.free();
    }
  }

  /** Before the map is examined: what is stored is what is in memory, whatever it is. */
  async bringInStep(): Promise<void> {
    const count = this.objectCount;
    if (this.#inStep && this.#states.objectCount === count) return;
    await this.save((states) => states.resize(count, EXISTS));
    if (!this.#inStep) throw this.#error('EIO', 'it cannot be stored');
  }

  /** None of the objects exists by it, whatever there is: it is not to be believed. Rejects when that is not what is stored. */
  async empty(): Promise<void> {
    await this.invalidate();
    await this.save((states) => states.fill(0, states.objectCount, NONEXISTENT));
    if (!this.#inStep) throw this.#error('EIO', 'it cannot be stored');
  }

  /** The map is not to be believed any more. Resolves when that is stored. */
  invalidate(): Promise<void> {
    this.#valid = false;
    this.counters.invalidations++;
    if (this.#flagged) return Promise.resolve();
    this.#flagging ??= storeInvalid(this.#image)
      .then(() => {
        this.#flagged = true;
      })
      .finally(() => {
        this.#flagging = undefined;
      });
    return this.#flagging;
  }

  /** The map has been examined and is right, unless something failed since `invalidations` was counted. */
  async validate(invalidations: number): Promise<void> {
    const isStill = () => this.#inStep && this.counters.invalidations === invalidations;
    if (!isStill()) throw this.#error('EAGAIN', 'it could not be stored meanwhile');
    // From here on: whatever fails while this is on its way has the flag stored again, after it.
    this.#flagged = false;
    await storeValid(this.#image);
    if (isStill()) this.#valid = true;
  }

  /** The header was read again. What it says in favour of the map may be from before; and so may what it says against it. */
  applyFlags(flags: bigint): void {
    if (isMapInvalid(flags)) this.#valid = false;
  }

  /** Waits for what is on its way and gives the map's lock back. Never rejects. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#updates.idle();
    await this.stored
      .unlock()
      .catch((error: unknown) => warn(this.#image, error, 'failed to unlock the object map'));
    this.#states.free();
  }

  async #open(): Promise<void> {
    const loaded = await this.#load();
    this.#valid = !isMapInvalid(this.#image.header.flags);
    this.#flagged = !this.#valid;
    const count = this.objectCount;
    if (loaded instanceof ObjectBitmap) {
      this.#states.free();
      this.#states = loaded;
      if (loaded.objectCount >= count) {
        this.#isStored = true;
        this.#inStep = loaded.objectCount === count;
        loaded.resize(count);
        return;
      }
    }
    this.#states.resize(count);
    this.#states.fill(0, count, EXISTS);
    await this.invalidate();
    if (loaded instanceof ObjectBitmap) await this.#repair(() => this.stored.resize(count));
    else if (loaded.code === 'EINVAL' || loaded.code === 'EPROTO') {
      await this.#repair(() => this.stored.recreate(count));
    }
  }

  async #load(): Promise<ObjectBitmap | RadosError> {
    try {
      await this.stored.lock();
      return await this.stored.load(this.objectCount);
    } catch (cause) {
      const error = toRadosError(cause);
      if (error.code === 'EBLOCKLISTED') throw error;
      warn(this.#image, error, 'failed to load the object map');
      return error;
    }
  }

  /** Of a map that is invalid: that it is not possible does no harm. */
  async #repair(step: () => Promise<void>): Promise<void> {
    try {
      await step();
      this.#isStored = true;
    } catch (error) {
      if (isLost(error)) throw error;
      warn(this.#image, error, 'failed to make the object map anew');
    }
  }

  async #clear(start: number, end: number): Promise<void> {
    for (const [from, to] of pieces(start, end)) {
      await this.stored.update([{ start: from, end: to, state: NONEXISTENT, current: undefined }]);
    }
  }

  async #send(
    requests: readonly (readonly RangeUpdate[])[],
    options?: OperateOptions,
  ): Promise<void> {
    let failure: { error: unknown } | undefined;
    await Promise.all(
      requests.map(async (updates) => {
        this.counters.updates++;
        try {
          await this.stored.update(updates, options);
          for (const { start, end, state, current } of updates) {
            this.#states.update(start, end, state, current);
          }
        } catch (error) {
          failure ??= { error };
        }
      }),
    );
    if (failure) await this.#notStored(failure.error);
  }

  async #notStored(error: unknown): Promise<void> {
    this.#inStep = false;
    if (isRadosError(error, 'EBUSY')) {
      this.#image.mapLockLost();
      throw this.#error('EBUSY', 'another client has locked it: the exclusive lock is lost', error);
    }
    if (isLost(error)) throw error;
    warn(this.#image, error, 'failed to update the object map');
    await this.invalidate();
  }

  #gone(): RadosError {
    return this.#error('EBUSY', 'the exclusive lock has been given back');
  }

  #error(code: 'EBUSY' | 'EIO' | 'EAGAIN', why: string, cause?: unknown): RadosError {
    const { target } = this.#image;
    return new RadosError(code, `object map of ${target}: ${why}`, {
      ...{ op: 'object-map', target, cause },
      outcome: 'not-applied',
    });
  }
}

/** The image is another's now: nothing may be sent any more that counts on it. */
const isLost = (error: unknown) =>
  isRadosError(error, 'EBUSY') || isRadosError(error, 'EBLOCKLISTED');
