/** The monitor's databases: names and values by service, as a real monitor keeps them, in a store of its own. */

import { NOSNAP } from '../../encoding/types.js';
import type { ObjectId } from '../store/object-id.js';
import type { ObjectStore } from '../store/object-store.js';
import type { StoreOp } from '../store/transaction.js';
import { Commits } from './commits.js';

const COLLECTION = 'mon';

/** Each is an object; its names and values are the object's omap. */
export type MonService = 'monmap' | 'osdmap' | 'auth' | 'cephx' | 'config-key';

function objectOf(service: MonService): ObjectId {
  return { pool: 0, nspace: '', oid: service, key: '', hash: 0, snap: NOSNAP };
}

export interface MonChange {
  readonly set?: readonly (readonly [name: string, value: Uint8Array])[];
  readonly remove?: readonly string[];
}

export class MonDatabase {
  readonly #store: ObjectStore | undefined;
  readonly commits = new Commits();

  /** Without a store nothing is kept. */
  constructor(store?: ObjectStore) {
    this.#store = store;
  }

  get(service: MonService, name: string): Uint8Array | undefined {
    return this.#store?.get(COLLECTION, objectOf(service))?.omapGet(name);
  }

  /** In the order of their names. */
  entries(service: MonService): Iterable<[name: string, value: Uint8Array]> {
    return this.#store?.get(COLLECTION, objectOf(service))?.omapFrom('') ?? [];
  }

  /** All of it or nothing. `commits` says when it is on disk. */
  write(service: MonService, { set = [], remove = [] }: MonChange): void {
    if (!this.#store) return;
    const id = objectOf(service);
    const ops: StoreOp[] = [];
    if (set.length > 0) ops.push({ op: 'omapSet', id, values: set });
    if (remove.length > 0) ops.push({ op: 'omapRemove', id, keys: remove });
    this.commits.track(this.#store.apply({ collection: COLLECTION, ops }));
  }
}
