/**
 * What a store holds, as it is looked up: collections of objects in their PG's order, each with its xattrs, its omap and
 * its meta, and every PG's info and log. In memory, whatever the store; where bytes and log entries lie is the store's
 * own matter (`IndexParts`).
 */

import type { Extent } from './range-set.js';
import { compareObjects, type ObjectId, objectKey } from './object-id.js';
import { EMPTY_SNAPSET, NEW_OBJECT_INFO, type ObjectMeta } from './object-meta.js';
import type { ObjectBytes, StoredObject } from './object-store.js';
import type { LogEntry, PgInfo } from './pg-record.js';
import { SortedMap } from './sorted-map.js';
import type { DataOwnership, ObjectDump, StoreOp } from './transaction.js';

/** The newest entries of a PG's log. */
export interface LogKeeper {
  append(entry: LogEntry): void;
  replace(entries: readonly LogEntry[]): void;
  /** Oldest first. */
  entries(): readonly LogEntry[];
}

/** What a store makes in its own way. */
export interface IndexParts<D extends ObjectBytes> {
  newData(id: ObjectId): D;
  /** Of equal content; neither sees later changes of the other. */
  copyData(from: D, to: ObjectId): D;
  importData(from: ObjectDump): D;
  newLog(): LogKeeper;
}

const EMPTY = new Uint8Array(0);
const NEW_META: ObjectMeta = { info: NEW_OBJECT_INFO, snapSet: EMPTY_SNAPSET };

type Omap = SortedMap<string, Uint8Array>;

function newOmap(from?: Omap): Omap {
  const omap: Omap = new SortedMap(
    (a, b) => (a < b ? -1 : a > b ? 1 : 0),
    (key) => key,
  );
  if (from) for (const [key, value] of from.entries()) omap.set(key, value);
  return omap;
}

/** Data objects have neither xattrs nor omap: nothing is allocated for what is not there. */
export class IndexedObject<D extends ObjectBytes> implements StoredObject {
  meta: ObjectMeta = NEW_META;
  omapHeader: Uint8Array = EMPTY;
  attributes: Map<string, Uint8Array> | undefined;
  omap: Omap | undefined;

  constructor(
    readonly id: ObjectId,
    public data: D,
  ) {}

  get size(): number {
    return this.data.size;
  }

  get omapSize(): number {
    return this.omap?.size ?? 0;
  }

  read(offset: number, length: number): Uint8Array {
    return this.data.read(offset, length);
  }

  readShared(offset: number, length: number): readonly Uint8Array[] {
    return this.data.readShared(offset, length);
  }

  extents(offset: number, length: number): Extent[] {
    return this.data.extents(offset, length);
  }

  xattr(name: string): Uint8Array | undefined {
    return this.attributes?.get(name);
  }

  xattrs(): [string, Uint8Array][] {
    return [...(this.attributes ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));
  }

  omapGet(key: string): Uint8Array | undefined {
    return this.omap?.get(key);
  }

  *omapFrom(from: string): Iterable<[string, Uint8Array]> {
    const { omap } = this;
    if (!omap) return;
    for (const key of omap.keysFrom(from)) yield [key, omap.get(key) as Uint8Array];
  }

  ownAttributes(): Map<string, Uint8Array> {
    this.attributes ??= new Map();
    return this.attributes;
  }

  ownOmap(): Omap {
    this.omap ??= newOmap();
    return this.omap;
  }

  dump(): ObjectDump {
    const { data, damaged } = this.data.export();
    return {
      id: this.id,
      meta: this.meta,
      data,
      ...(damaged.length > 0 ? { damaged } : {}),
      xattrs: new Map(this.attributes),
      omap: [...(this.omap?.entries() ?? [])],
      omapHeader: this.omapHeader,
    };
  }

  /** Everything but meta and data. */
  copyMapsFrom(from: IndexedObject<D>): void {
    this.attributes = from.attributes && new Map(from.attributes);
    this.omap = from.omap && newOmap(from.omap);
    this.omapHeader = from.omapHeader;
  }
}

export class Collection<D extends ObjectBytes> {
  readonly objects = new SortedMap<ObjectId, IndexedObject<D>>(compareObjects, objectKey);
  info: PgInfo | undefined;
  readonly missing = new Map<string, ObjectId>();

  constructor(
    readonly name: string,
    readonly log: LogKeeper,
  ) {}
}

export class ObjectIndex<D extends ObjectBytes> {
  readonly #parts: IndexParts<D>;
  readonly #collections = new Map<string, Collection<D>>();

  constructor(parts: IndexParts<D>) {
    this.#parts = parts;
  }

  names(): string[] {
    return [...this.#collections.keys()];
  }

  find(collection: string): Collection<D> | undefined {
    return this.#collections.get(collection);
  }

  ensure(name: string): Collection<D> {
    let collection = this.#collections.get(name);
    if (!collection) {
      collection = new Collection(name, this.#parts.newLog());
      this.#collections.set(name, collection);
    }
    return collection;
  }

  get(collection: string, id: ObjectId): IndexedObject<D> | undefined {
    return this.#collections.get(collection)?.objects.get(id);
  }

  isMissing(collection: string, id: ObjectId): boolean {
    return this.#collections.get(collection)?.missing.has(objectKey(id)) === true;
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

  removeCollection(name: string): void {
    const collection = this.#collections.get(name);
    if (!collection) return;
    releaseAll(collection);
    this.#collections.delete(name);
  }

  /** An object to fill in, in place of any of that name. */
  replaceObject(collection: Collection<D>, id: ObjectId, data: D): IndexedObject<D> {
    collection.objects.get(id)?.data.release();
    const object = new IndexedObject(id, data);
    collection.objects.set(id, object);
    return object;
  }

  ensureObject({ objects }: Collection<D>, id: ObjectId): IndexedObject<D> {
    let object = objects.get(id);
    if (!object) {
      object = new IndexedObject(id, this.#parts.newData(id));
      objects.set(id, object);
    }
    return object;
  }

  apply(collection: Collection<D>, op: StoreOp, ownership?: DataOwnership): void {
    switch (op.op) {
      case 'write':
        this.ensureObject(collection, op.id).data.write(op.offset, op.data, ownership);
        break;
      case 'install': {
        const { id, meta, xattrs, omap, omapHeader } = op.object;
        const object = this.replaceObject(collection, id, this.#parts.importData(op.object));
        object.meta = meta;
        if (xattrs.size > 0) object.attributes = new Map(xattrs);
        for (const [key, value] of omap) object.ownOmap().set(key, value);
        object.omapHeader = omapHeader;
        break;
      }
      case 'log':
        collection.log.append(op.entry);
        break;
      default:
        this.applyPlain(collection, op);
    }
  }

  /** What brings no bytes of objects and no log entry. */
  applyPlain(collection: Collection<D>, op: PlainOp): void {
    switch (op.op) {
      case 'touch':
        this.ensureObject(collection, op.id);
        break;
      case 'zero':
        this.ensureObject(collection, op.id).data.zero(op.offset, op.length);
        break;
      case 'truncate':
        this.ensureObject(collection, op.id).data.truncate(op.size);
        break;
      case 'remove':
        collection.objects.get(op.id)?.data.release();
        collection.objects.delete(op.id);
        break;
      case 'clone':
        this.#clone(collection, op.from, op.to);
        break;
      case 'setMeta':
        this.ensureObject(collection, op.id).meta = op.meta;
        break;
      case 'pgInfo':
        collection.info = op.info;
        break;
      case 'replaceLog':
        collection.log.replace(op.entries);
        break;
      case 'missing':
        for (const id of op.add) collection.missing.set(objectKey(id), id);
        for (const id of op.remove) collection.missing.delete(objectKey(id));
        break;
      case 'removeAll':
        releaseAll(collection);
        collection.objects.clear();
        break;
      default:
        applyToMaps(this.ensureObject(collection, op.id), op);
    }
  }

  #clone(collection: Collection<D>, fromId: ObjectId, toId: ObjectId): void {
    const from = collection.objects.get(fromId);
    if (!from) return;
    const to = this.ensureObject(collection, toId);
    if (to === from) return;
    to.data.release();
    to.data = this.#parts.copyData(from.data, toId);
    to.copyMapsFrom(from);
  }
}

export type PlainOp = Exclude<StoreOp, { op: 'write' | 'install' | 'log' }>;

type MapOp = Extract<
  StoreOp,
  {
    op:
      | 'setXattr'
      | 'removeXattr'
      | 'omapSet'
      | 'omapRemove'
      | 'omapRemoveRange'
      | 'omapClear'
      | 'omapHeader';
  }
>;

function releaseAll<D extends ObjectBytes>({ objects }: Collection<D>): void {
  for (const [, object] of objects.entries()) object.data.release();
}

function applyToMaps<D extends ObjectBytes>(object: IndexedObject<D>, op: MapOp): void {
  switch (op.op) {
    case 'setXattr':
      object.ownAttributes().set(op.name, op.value);
      break;
    case 'removeXattr':
      object.attributes?.delete(op.name);
      break;
    case 'omapSet': {
      const omap = object.ownOmap();
      for (const [key, value] of op.values) omap.set(key, value);
      break;
    }
    case 'omapRemove':
      for (const key of op.keys) object.omap?.delete(key);
      break;
    case 'omapRemoveRange': {
      const doomed: string[] = [];
      for (const key of object.omap?.keysFrom(op.begin) ?? []) {
        if (key >= op.end) break;
        doomed.push(key);
      }
      for (const key of doomed) object.omap?.delete(key);
      break;
    }
    case 'omapClear':
      object.omap = undefined;
      object.omapHeader = EMPTY;
      break;
    case 'omapHeader':
      object.omapHeader = op.header;
      break;
  }
}
