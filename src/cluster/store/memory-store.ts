/** An ObjectStore in memory: gone with the process, unless its owner keeps the instance over an OSD's restart. */

import { RadosError } from '../../base/errors.js';
import { ObjectData } from './object-data.js';
import { formatObject, type ObjectId } from './object-id.js';
import { EncodedLog } from './encoded-log.js';
import { ObjectIndex } from './object-index.js';
import type { ObjectStore, StoredObject } from './object-store.js';
import type { LogEntry, PgInfo } from './pg-record.js';
import { SpareBuffers } from './spare-buffers.js';
import type { ObjectDump, Transaction } from './transaction.js';

export class MemoryStore implements ObjectStore {
  readonly isFull = false;
  readonly spare: SpareBuffers;
  readonly #index = new ObjectIndex<ObjectData>({
    newData: () => new ObjectData(),
    copyData: (from) => from.clone(),
    importData: ({ id, data, damaged }) => {
      if (damaged) throw new RadosError('EIO', `object ${formatObject(id)} is damaged`);
      return data.clone();
    },
    newLog: () => new EncodedLog(),
  });

  /** `spareMinBytes`: memory of writes of at least this size is used again. */
  constructor(spareMinBytes?: number) {
    this.spare = new SpareBuffers(spareMinBytes);
  }

  collections(): string[] {
    return this.#index.names();
  }

  pgInfo(collection: string): PgInfo | undefined {
    return this.#index.find(collection)?.info;
  }

  log(collection: string): readonly LogEntry[] {
    return this.#index.find(collection)?.log.entries() ?? [];
  }

  missing(collection: string): readonly ObjectId[] {
    return [...(this.#index.find(collection)?.missing.values() ?? [])];
  }

  isMissing(collection: string, id: ObjectId): boolean {
    return this.#index.isMissing(collection, id);
  }

  get(collection: string, id: ObjectId): StoredObject | undefined {
    return this.#index.get(collection, id);
  }

  list(collection: string, from: ObjectId | undefined, max: number): ObjectId[] {
    return this.#index.list(collection, from, max);
  }

  dump(collection: string, id: ObjectId): ObjectDump | undefined {
    return this.#index.get(collection, id)?.dump();
  }

  hasRoomFor(): boolean {
    return true;
  }

  apply(transaction: Transaction): Promise<void> {
    const collection = this.#index.ensure(transaction.collection);
    for (const op of transaction.ops) this.#index.apply(collection, op, transaction);
    return Promise.resolve();
  }

  removeCollection(collection: string): Promise<void> {
    this.#index.removeCollection(collection);
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
