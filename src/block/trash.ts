/** The trash of a pool's namespace, as an application sees it. */

import type { TrashedImage, TrashMoveOptions } from '../rbd/trash.js';
import type { DeviceHost } from './device-host.js';
import type { ManageOptions } from './management.js';

/** Images there have no name: they are meant by their ids, as `list` has them. */
export class Trash {
  readonly #host: DeviceHost;
  readonly #pool: string;
  readonly #namespace: string;

  constructor(host: DeviceHost, pool: string, namespace: string) {
    this.#host = host;
    this.#pool = pool;
    this.#namespace = namespace;
  }

  /** By id. With `all` also those that mirroring, migration or clones left there. */
  list(options: ManageOptions & { all?: boolean } = {}): Promise<TrashedImage[]> {
    const { all = false, ...manage } = options;
    return this.#host.manage('listTrash', [this.#pool, this.#namespace, { all }], manage);
  }

  /** Takes an image's name from it. ENOENT: no such image; EBUSY: a client keeps its lock; EMLINK: it is in a group. */
  move(name: string, options: ManageOptions & TrashMoveOptions = {}): Promise<void> {
    const { signal, onProgress, ...move } = options;
    const spec = { pool: this.#pool, namespace: this.#namespace, name };
    return this.#host.manage('moveToTrash', [spec, move], { signal, onProgress });
  }

  /** Gives an image its name back, or another. ENOENT: it is not there; EEXIST: the name is taken. */
  restore(id: string, options: ManageOptions & { name?: string } = {}): Promise<void> {
    const { name, ...manage } = options;
    const how = name === undefined ? {} : { name };
    return this.#host.manage('restoreFromTrash', [this.#spec(id), how], manage);
  }

  /**
   * Removes an image for good. Progress counts objects. EPERM: it has not expired, and `force` is not set; EBUSY: somebody has
   * it open; ENOTEMPTY: it has snapshots, or clones.
   */
  remove(id: string, options: ManageOptions & { force?: boolean } = {}): Promise<void> {
    const { force = false, ...manage } = options;
    return this.#host.manage('removeFromTrash', [this.#spec(id), { force }], manage);
  }

  /**
   * Removes all images that have expired, now or by the date that is given. With a `threshold` (0 to 1): only if a pool where
   * some have their data is fuller than that, and then also those that have not expired, until it is not; a cluster without a
   * manager counts no pool's bytes. Progress counts images. What cannot be removed stays, and the call rejects as `remove` would.
   */
  purge(options: ManageOptions & { expiredBefore?: Date; threshold?: number } = {}): Promise<void> {
    const { expiredBefore, threshold, ...manage } = options;
    const which = {
      ...(expiredBefore === undefined ? {} : { expiredBefore }),
      ...(threshold === undefined ? {} : { threshold }),
    };
    return this.#host.manage('purgeTrash', [this.#pool, this.#namespace, which], manage);
  }

  #spec(id: string) {
    return { pool: this.#pool, namespace: this.#namespace, id };
  }
}
