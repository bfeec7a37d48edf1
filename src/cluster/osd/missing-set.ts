/** The objects that one copy of a PG lacks. An object and its clones share a lane, and are recovered together. */

import { headKey, type ObjectId, objectKey } from '../store/object-id.js';

export class MissingSet {
  /** By lane, then by name. */
  readonly #lanes = new Map<string, Map<string, ObjectId>>();
  #size = 0;

  constructor(ids: Iterable<ObjectId> = []) {
    for (const id of ids) this.add(id);
  }

  get size(): number {
    return this.#size;
  }

  has(id: ObjectId): boolean {
    return this.#lanes.get(headKey(id))?.has(objectKey(id)) === true;
  }

  /** Whether anything of a lane is missing. */
  hasLane(key: string): boolean {
    return this.#lanes.has(key);
  }

  ofLane(key: string): ObjectId[] {
    return [...(this.#lanes.get(key)?.values() ?? [])];
  }

  lanes(): IterableIterator<string> {
    return this.#lanes.keys();
  }

  add(id: ObjectId): void {
    const key = headKey(id);
    let lane = this.#lanes.get(key);
    if (!lane) {
      lane = new Map();
      this.#lanes.set(key, lane);
    }
    const before = lane.size;
    lane.set(objectKey(id), id);
    this.#size += lane.size - before;
  }

  delete(id: ObjectId): void {
    const key = headKey(id);
    const lane = this.#lanes.get(key);
    if (!lane?.delete(objectKey(id))) return;
    this.#size--;
    if (lane.size === 0) this.#lanes.delete(key);
  }
}
