/**
 * A map as the OSDs have it: of the head (`rbd_object_map.<id>`), or of a snapshot (`rbd_object_map.<id>.<snap id>`).
 *
 * The head's map has a lock of its own, which its owner asserts with every change: an owner that was taken for dead cannot
 * change any more what its successor has loaded. The maps of snapshots have none; only the head's owner changes them.
 */

import { isRadosError } from '../../base/errors.js';
import { ObjectBitmap, StagedBitmap } from '../../kernels/bitmap.js';
import { encodedBytes } from '../../kernels/bitmap-codec.js';
import { threadBitmapMemory } from '../../kernels/bitmap-memory.js';
import { OBJECT_STATE, OBJECTS_MAX } from '../../kernels/object-state.js';
import { deleteOp, type OsdOp, readOp, truncateOp, writeFullOp } from '../../messages/osd-op.js';
import { type ClassCall, executeOne, mutate } from '../../rados/class-call.js';
import {
  assertLocked,
  breakLock,
  getLockInfo,
  LOCK_TYPE,
  lock,
  unlock,
} from '../../rados/cls-lock.js';
import {
  objectMapLoad,
  objectMapResize,
  objectMapSave,
  objectMapSnapAdd,
  objectMapSnapRemove,
  objectMapUpdate,
} from '../../rados/cls-rbd/object-map.js';
import type { IoContext, OperateOptions } from '../../rados/io-context.js';
import { unless } from '../errors.js';
import { FULL_TRY } from '../full-try.js';
import { objectMapObject, RBD_LOCK_NAME } from '../names.js';
import type { RangeUpdate } from './map-updates.js';

const LOCK = { name: RBD_LOCK_NAME, type: LOCK_TYPE.EXCLUSIVE };

export class StoredMap {
  readonly oid: string;
  readonly #ioctx: IoContext;
  readonly #isHead: boolean;

  constructor(ioctx: IoContext, imageId: string, snapId?: bigint) {
    this.#ioctx = ioctx;
    this.#isHead = snapId === undefined;
    this.oid = objectMapObject(imageId, snapId);
  }

  /** Takes the lock, from whoever had it: the owner of the header's lock, whose it was, is fenced or has let go. */
  async lock(): Promise<void> {
    if (await this.#tryLock()) return;
    const { lockers } = await executeOne(this.#ioctx, this.oid, getLockInfo(RBD_LOCK_NAME));
    for (const { locker, cookie } of lockers) {
      await unless('ENOENT', this.#mutate([breakLock(RBD_LOCK_NAME, locker, cookie)]));
    }
    await unless('EEXIST', this.#mutate([lock(LOCK)]));
  }

  async unlock(options?: OperateOptions): Promise<void> {
    await unless('ENOENT', this.#mutate([unlock(RBD_LOCK_NAME)], options));
  }

  /**
   * To be freed. ENOENT: there is none, or nothing in it. EINVAL, EPROTO: it makes no sense.
   *
   * A map of `objectCount` objects, which is what the image's header says, comes from the socket straight to where it stays;
   * one of another size is copied.
   */
  async load(objectCount: number, options?: OperateOptions): Promise<ObjectBitmap> {
    const memory = threadBitmapMemory();
    const room = objectCount <= OBJECTS_MAX ? encodedBytes(objectCount) : 0;
    const staged = new StagedBitmap(memory, room);
    let encoded: Uint8Array;
    try {
      encoded = await executeOne(this.#ioctx, this.oid, objectMapLoad(), {
        ...options,
        into: staged.bytes,
      });
      if (!staged.isFilledBy(encoded)) {
        const states = ObjectBitmap.decode(memory, encoded);
        staged.discard();
        return states;
      }
    } catch (error) {
      staged.discard();
      throw error;
    }
    return staged.decode();
  }

  /** The bytes as they lie there. */
  async read(): Promise<Uint8Array> {
    const { ops } = await this.#ioctx.operate(this.oid, [readOp(0, 0)]);
    return ops[0]?.outdata ?? new Uint8Array(0);
  }

  update(updates: readonly RangeUpdate[], options?: OperateOptions): Promise<void> {
    return this.#change(
      updates.map(({ start, end, state, current }) => objectMapUpdate(start, end, state, current)),
      options,
    );
  }

  resize(objectCount: number): Promise<void> {
    return this.#change([objectMapResize(objectCount, OBJECT_STATE.NONEXISTENT)]);
  }

  /** In place of one that makes no sense: none of the objects exists. */
  recreate(objectCount: number): Promise<void> {
    return this.#change([truncateOp(0), objectMapResize(objectCount, OBJECT_STATE.NONEXISTENT)]);
  }

  save(states: ObjectBitmap): Promise<void> {
    return this.#change([objectMapSave(states.encode({ checksums: false }))]);
  }

  /** A snapshot was taken. */
  snapshotAdded(): Promise<void> {
    return this.#change([objectMapSnapAdd()]);
  }

  /** The snapshot before this one goes, which has the map `removed`. */
  snapshotRemoved(removed: ObjectBitmap): Promise<void> {
    return this.#change([objectMapSnapRemove(removed.encode({ checksums: false }))], FULL_TRY);
  }

  /** Replaces the map by bytes that were read. */
  write(bytes: Uint8Array): Promise<void> {
    return this.#change([writeFullOp(bytes)]);
  }

  async remove(): Promise<void> {
    await unless('ENOENT', this.#mutate([deleteOp()], FULL_TRY));
  }

  async #tryLock(): Promise<boolean> {
    try {
      await this.#mutate([lock(LOCK)]);
      return true;
    } catch (error) {
      // EEXIST: by this very client, whose unlock was not answered.
      if (isRadosError(error, 'EEXIST')) return true;
      if (isRadosError(error, 'EBUSY')) return false;
      throw error;
    }
  }

  #change(steps: readonly (OsdOp | ClassCall<void>)[], options?: OperateOptions): Promise<void> {
    return this.#mutate(this.#isHead ? [assertLocked(LOCK), ...steps] : steps, options);
  }

  #mutate(steps: readonly (OsdOp | ClassCall<void>)[], options?: OperateOptions): Promise<void> {
    return mutate(this.#ioctx, this.oid, steps, options);
  }
}
