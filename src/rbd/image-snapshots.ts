/** The snapshots of an open image, by name or by id. */

import { RadosError } from '../base/errors.js';
import {
  NO_SNAPSHOT_LIMIT,
  PROTECTION,
  type SnapNamespace,
  USER_NAMESPACE,
} from '../rados/cls-rbd.js';
import { imageError } from './errors.js';
import { findSnapshot, type ImageSnapshot } from './header.js';
import type { MaintenanceOptions, Operation } from './maintenance/operation.js';
import { snapCreate } from './maintenance/snap-create.js';
import { snapLimit } from './maintenance/snap-limit.js';
import { snapProtect, snapUnprotect } from './maintenance/snap-protect.js';
import { snapRemove } from './maintenance/snap-remove.js';
import { snapRename } from './maintenance/snap-rename.js';
import { snapRollback } from './maintenance/snap-rollback.js';
import { SNAP_CREATE_FLAG } from './notify-payloads.js';
import type { OpenImage } from './open-image.js';
import { listSnapshots, type ListSnapshotsOptions, type SnapshotInfo } from './snapshots.js';
import { assertSnapshotName } from './spec.js';

/** A user's snapshot by its name, or any by its id. */
export type SnapshotRef = string | bigint;

export interface SnapCreateOptions extends MaintenanceOptions {
  /** The applications that registered for it need not hold still. */
  readonly skipQuiesce?: boolean;
  /** That one could not hold still is no reason to fail. */
  readonly ignoreQuiesceError?: boolean;
}

/** Has an operation done, by whoever may. */
type Maintain = <R extends object>(
  operation: Operation<R>,
  request: R,
  options: MaintenanceOptions,
) => Promise<void>;

/** Every method but `list` rejects with EROFS of an image that is open for reading only. */
export class ImageSnapshots {
  readonly #image: OpenImage;
  readonly #maintain: Maintain;

  constructor(image: OpenImage, maintain: Maintain) {
    this.#image = image;
    this.#maintain = maintain;
  }

  /** By the header as it was read last. */
  list(options?: ListSnapshotsOptions): Promise<SnapshotInfo[]> {
    return listSnapshots(this.#image, options);
  }

  /**
   * What has been written is in the snapshot, what is written from here on is not. EEXIST: the name is taken; EDQUOT: the
   * image has as many as it may.
   */
  async create(name: string, options: SnapCreateOptions = {}): Promise<void> {
    const { skipQuiesce, ignoreQuiesceError, ...maintenance } = options;
    assertSnapshotName(name);
    let flags = 0n;
    if (skipQuiesce) flags |= SNAP_CREATE_FLAG.SKIP_NOTIFY_QUIESCE;
    if (ignoreQuiesceError) flags |= SNAP_CREATE_FLAG.IGNORE_NOTIFY_QUIESCE_ERROR;
    const request = { op: 'snapCreate', name, namespace: USER_NAMESPACE, flags } as const;
    await this.#maintain(snapCreate, request, maintenance);
  }

  /**
   * A snapshot that has clones of format 2 is only hidden, and goes with the last of them. ENOENT: there is none; EBUSY: it
   * is protected or, of one that is hidden already, has clones.
   */
  async remove(ref: SnapshotRef, options: MaintenanceOptions = {}): Promise<void> {
    const { name, namespace } = await this.#find(ref, snapRemove.name);
    await this.#maintain(snapRemove, { op: 'snapRemove', name, namespace }, options);
  }

  /** ENOENT: there is none; EEXIST: the new name is taken; EINVAL: it is none of a user's. */
  async rename(ref: SnapshotRef, name: string, options: MaintenanceOptions = {}): Promise<void> {
    assertSnapshotName(name);
    const { id: snapId, namespace } = await this.#find(ref, snapRename.name);
    await this.#maintain(snapRename, { op: 'snapRename', snapId, name, namespace }, options);
  }

  /** Clones of format 1 need it to be protected; it is not removed meanwhile. ENOENT: there is none; EBUSY: it is so already. */
  async protect(ref: SnapshotRef, options: MaintenanceOptions = {}): Promise<void> {
    const request = await this.#findUsers(ref, snapProtect.name);
    await this.#maintain(snapProtect, { op: 'snapProtect', ...request }, options);
  }

  /** ENOENT: there is none; EINVAL: it is not protected; EBUSY: it has clones of format 1. */
  async unprotect(ref: SnapshotRef, options: MaintenanceOptions = {}): Promise<void> {
    const request = await this.#findUsers(ref, snapUnprotect.name);
    await this.#maintain(snapUnprotect, { op: 'snapUnprotect', ...request }, options);
  }

  /**
   * Makes the image what it was: size and data. Progress counts objects. ENOENT: there is no such snapshot; EROFS: another
   * client owns the exclusive lock.
   */
  async rollback(ref: SnapshotRef, options: MaintenanceOptions = {}): Promise<void> {
    const { id: snapId } = await this.#find(ref, snapRollback.name);
    await this.#maintain(snapRollback, { snapId }, options);
  }

  /** Removes those of users' that are not protected, the oldest first, and returns the names of the others. */
  async purge({ onProgress, ...options }: MaintenanceOptions = {}): Promise<string[]> {
    await this.#image.refreshIfStale();
    const users = this.#image.header.snapshots.filter(({ namespace }) => namespace.type === 'user');
    const removed = users.filter(
      ({ protectionStatus }) => protectionStatus === PROTECTION.UNPROTECTED,
    );
    for (const [i, { id }] of removed.entries()) {
      await this.remove(id, options);
      onProgress?.(i + 1, users.length);
    }
    return users.filter((each) => !removed.includes(each)).map(({ name }) => name);
  }

  /** How many snapshots the image may have, of all kinds; undefined: any number. ERANGE: it has more already. */
  async setLimit(limit: number | undefined, options: MaintenanceOptions = {}): Promise<void> {
    if (limit !== undefined && (!Number.isSafeInteger(limit) || limit < 0)) {
      throw new RangeError(`${limit} is not a number of snapshots`);
    }
    const request = { limit: limit === undefined ? NO_SNAPSHOT_LIMIT : BigInt(limit) };
    await this.#maintain(snapLimit, request, options);
  }

  async #find(ref: SnapshotRef, op: string): Promise<ImageSnapshot> {
    const image = this.#image;
    try {
      await image.refreshIfStale();
      const wanted = typeof ref === 'bigint' ? { snapId: ref } : { snap: ref };
      const snapshot = findSnapshot(image.header, wanted);
      if (snapshot) return snapshot;
      throw new RadosError('ENOENT', `there is no snapshot '${ref}'`, { outcome: 'not-applied' });
    } catch (error) {
      throw imageError(error, op, image.target);
    }
  }

  async #findUsers(
    ref: SnapshotRef,
    op: string,
  ): Promise<{ name: string; namespace: SnapNamespace }> {
    const { name, namespace } = await this.#find(ref, op);
    if (namespace.type === 'user') return { name, namespace };
    const error = new RadosError('EINVAL', `snapshot '${ref}' is not one of a user's`, {
      outcome: 'not-applied',
    });
    throw imageError(error, op, this.#image.target);
  }
}
