/** The snapshots of one image, as an application sees them. */

import type { SnapCreateOptions, SnapshotRef } from '../rbd/image-snapshots.js';
import type { ListSnapshotsOptions, SnapshotInfo } from '../rbd/snapshots.js';
import type { NamedImageSpec } from '../rbd/spec.js';
import type { DeviceHost } from './device-host.js';
import type { ManageOptions } from './management.js';

/**
 * A snapshot is meant by its name, or by its id: `'before-upgrade'`, `7n`. What changes the image is done by the client that
 * owns its exclusive lock, whichever that is. Every method rejects with ENOENT when there is no such image or snapshot.
 */
export class Snapshots {
  readonly #host: DeviceHost;
  readonly #spec: NamedImageSpec;

  constructor(host: DeviceHost, spec: NamedImageSpec) {
    this.#host = host;
    this.#spec = spec;
  }

  /** Oldest first. With `all` also those that are not users': of groups, of mirroring, and kept for clones. */
  list(options: ManageOptions & ListSnapshotsOptions = {}): Promise<SnapshotInfo[]> {
    const { all, ...manage } = options;
    return this.#host.manage('listSnapshots', [this.#spec, all ? { all } : {}], manage);
  }

  /**
   * What was written before the call is in the snapshot, what is written after it is not. EEXIST: the name is taken;
   * EDQUOT: the image has as many as it may; ETIMEDOUT: a client did not hold still for it.
   */
  create(
    name: string,
    options: ManageOptions & Pick<SnapCreateOptions, 'skipQuiesce' | 'ignoreQuiesceError'> = {},
  ): Promise<void> {
    const { signal, onProgress, ...create } = options;
    return this.#host.manage('createSnapshot', [this.#spec, name, create], { signal, onProgress });
  }

  /**
   * A snapshot that has clones (of format 2) is only hidden, and goes with the last of them. EBUSY: it is protected or, of
   * one that is hidden already, has clones. `force` flattens its clones first, and ends its protection.
   */
  remove(ref: SnapshotRef, options: ManageOptions & { force?: boolean } = {}): Promise<void> {
    const { force = false, ...manage } = options;
    return this.#host.manage('removeSnapshot', [this.#spec, ref, { force }], manage);
  }

  /** EEXIST: the new name is taken. */
  rename(ref: SnapshotRef, name: string, options?: ManageOptions): Promise<void> {
    return this.#host.manage('renameSnapshot', [this.#spec, ref, name], options);
  }

  /** Nobody removes it from here on; clones of format 1 need that. EBUSY: it is protected already. */
  protect(ref: SnapshotRef, options?: ManageOptions): Promise<void> {
    return this.#host.manage('protectSnapshot', [this.#spec, ref], options);
  }

  /** EINVAL: it is not protected; EBUSY: it has clones of format 1. */
  unprotect(ref: SnapshotRef, options?: ManageOptions): Promise<void> {
    return this.#host.manage('unprotectSnapshot', [this.#spec, ref], options);
  }

  /**
   * Makes the image what it was then: size and data. Progress counts objects. EROFS: another client owns the exclusive
   * lock, as one does that has the image mapped and writes to it.
   */
  rollback(ref: SnapshotRef, options?: ManageOptions): Promise<void> {
    return this.#host.manage('rollbackToSnapshot', [this.#spec, ref], options);
  }

  /** Removes all that are not protected, and resolves with the names of the others. Progress counts snapshots. */
  purge(options?: ManageOptions): Promise<string[]> {
    return this.#host.manage('purgeSnapshots', [this.#spec], options);
  }

  /** How many the image may have; undefined: any number. ERANGE: it has more already. */
  setLimit(limit: number | undefined, options?: ManageOptions): Promise<void> {
    return this.#host.manage('limitSnapshots', [this.#spec, limit], options);
  }
}
