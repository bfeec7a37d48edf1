/** An ObjectStore in memory: gone with the process, unless its owner keeps the instance over an OSD's restart. */

import { ObjectData } from './object-data.js';
import { compareObjects, type ObjectId, objectKey } from './object-id.js';
import { EMPTY_SNAPSET, NEW_OBJECT_INFO, type ObjectMeta } from './object-meta.js';
import type { ObjectStore, StoredObject } from './object-store.js';
import type { LogEntry, PgInfo } from './pg-record.js';
import { SortedMap } from './sorted-map.js';
import type { ObjectDump, StoreOp, Transaction } from './transaction.js';

/** Log entries kept per PG: what duplicates are recognised by (`osd_pg_log_dups_tracked`). */
export const LOG_ENTRIES_MAX = 3000;

const EMPTY = new Uint8Array(0);
const NEW_META: ObjectMeta = { info: NEW_OBJECT_INFO, snapSet: EMPTY_SNAPSET };

type Omap = SortedMap<string, Uint8Array>;

function newOmap(): Omap {
  return new SortedMap<string, Uint8Array>(
    (a, b) => (a < b ? -1 : a > b ? 1 : 0),
    (key) => key,
  );
}

class MemoryObject implements StoredObject {
  meta: ObjectMeta = NEW_META;
  data = new ObjectData();
  attributes = new Map<string, Uint8Array>();
  omap = newOmap();
  omapHeader: Uint8Array = EMPTY;

  constructor(readonly id: ObjectId) {}

  get size(): number {
    return this.data.size;
  }

  get omapSize(): number {
    return this.omap.size;
  }

  read(offset: number, length: number): Uint8Array {
    return this.data.read(offset, length);
  }

  extents(offset: number, length: number) {
    return this.data.extents(offset, length);
  }

  xattr(name: string): Uint8Array | undefined {
    return this.attributes.get(name);
  }

  xattrs(): [string, Uint8Array][] {
    return [...this.attributes].sort(([a], [b]) => (a < b ? -1 : 1));
  }

  omapGet(key: string): Uint8Array | undefined {
    return this.omap.get(key);
  }

  *omapFrom(from: string): Iterable<[string, Uint8Array]> {
    for (const key of this.omap.keysFrom(from)) yield [key, this.omap.get(key) as Uint8Array];
  }

  /** Everything but the meta, shared with `from` until either is written. */
  becomeCopyOf(from: MemoryObject): void {
    this.data = from.data.clone();
    this.attributes = new Map(from.attributes);
    this.omap = newOmap();
    for (const [key, value] of from.omap.entries()) this.omap.set(key, value);
    this.omapHeader = from.omapHeader;
  }
}

class Collection {
  readonly objects = new SortedMap<ObjectId, MemoryObject>(compareObjects, objectKey);
  info: PgInfo | undefined;
  log: LogEntry[] = [];

  ensure(id: ObjectId): MemoryObject {
    let object = this.objects.get(id);
    if (!object) {
      object = new MemoryObject(id);
      this.objects.set(id, object);
    }
    return object;
  }

  appendLog(entry: LogEntry): void {
    this.log.push(entry);
    // Trimmed by halves: dropping one entry per write would move the whole array each time.
    if (this.log.length >= 2 * LOG_ENTRIES_MAX) this.log = this.log.slice(-LOG_ENTRIES_MAX);
  }
}

export class MemoryStore implements ObjectStore {
  readonly #collections = new Map<string, Collection>();

  collections(): string[] {
    return [...this.#collections.keys()];
  }

  pgInfo(collection: string): PgInfo | undefined {
    return this.#collections.get(collection)?.info;
  }

  log(collection: string): readonly LogEntry[] {
    return this.#collections.get(collection)?.log ?? [];
  }

  get(collection: string, id: ObjectId): StoredObject | undefined {
    return this.#collections.get(collection)?.objects.get(id);
  }

  list(collection: string, from: ObjectId | undefined, max: number): ObjectId[] {
    const objects = this.#collections.get(collection)?.objects;
    const ids: ObjectId[] = [];
    if (!objects) return ids;
    for (let i = from ? objects.seek(from) : 0; i < objects.size && ids.length < max; i++) {
      ids.push(objects.keyAt(i) as ObjectId);
    }
    return ids;
  }

  dump(collection: string, id: ObjectId): ObjectDump | undefined {
    const object = this.#collections.get(collection)?.objects.get(id);
    if (!object) return undefined;
    return {
      id: object.id,
      meta: object.meta,
      data: object.data.clone(),
      xattrs: new Map(object.attributes),
      omap: [...object.omap.entries()],
      omapHeader: object.omapHeader,
    };
  }

  apply(transaction: Transaction): Promise<void> {
    let collection = this.#collections.get(transaction.collection);
    if (!collection) {
      collection = new Collection();
      this.#collections.set(transaction.collection, collection);
    }
    for (const op of transaction.ops) applyOp(collection, op);
    return Promise.resolve();
  }

  removeCollection(collection: string): Promise<void> {
    this.#collections.delete(collection);
    return Promise.resolve();
  }
}

function applyOp(collection: Collection, op: StoreOp): void {
  switch (op.op) {
    case 'touch':
      collection.ensure(op.id);
      break;
    case 'write':
      collection.ensure(op.id).data.write(op.offset, op.data);
      break;
    case 'zero':
      collection.ensure(op.id).data.zero(op.offset, op.length);
      break;
    case 'truncate':
      collection.ensure(op.id).data.truncate(op.size);
      break;
    case 'remove':
      collection.objects.delete(op.id);
      break;
    case 'clone': {
      const from = collection.objects.get(op.from);
      if (from) collection.ensure(op.to).becomeCopyOf(from);
      break;
    }
    case 'setXattr':
      collection.ensure(op.id).attributes.set(op.name, op.value);
      break;
    case 'removeXattr':
      collection.ensure(op.id).attributes.delete(op.name);
      break;
    case 'omapSet': {
      const { omap } = collection.ensure(op.id);
      for (const [key, value] of op.values) omap.set(key, value);
      break;
    }
    case 'omapRemove': {
      const { omap } = collection.ensure(op.id);
      for (const key of op.keys) omap.delete(key);
      break;
    }
    case 'omapRemoveRange': {
      const { omap } = collection.ensure(op.id);
      const doomed: string[] = [];
      for (const key of omap.keysFrom(op.begin)) {
        if (key >= op.end) break;
        doomed.push(key);
      }
      for (const key of doomed) omap.delete(key);
      break;
    }
    case 'omapClear': {
      const object = collection.ensure(op.id);
      object.omap.clear();
      object.omapHeader = EMPTY;
      break;
    }
    case 'omapHeader':
      collection.ensure(op.id).omapHeader = op.header;
      break;
    case 'setMeta':
      collection.ensure(op.id).meta = op.meta;
      break;
    case 'install': {
      const object = new MemoryObject(op.object.id);
      object.meta = op.object.meta;
      object.data = op.object.data.clone();
      object.attributes = new Map(op.object.xattrs);
      for (const [key, value] of op.object.omap) object.omap.set(key, value);
      object.omapHeader = op.object.omapHeader;
      collection.objects.set(op.object.id, object);
      break;
    }
    case 'pgInfo':
      collection.info = op.info;
      break;
    case 'log':
      collection.appendLog(op.entry);
      break;
    case 'replaceLog':
      collection.log = op.entries.slice();
      break;
    case 'removeAll':
      collection.objects.clear();
      break;
  }
}
