/** Which requests a PG has answered: a request that comes again gets the same answer, and happens once. */

import { LOG_ENTRIES_MAX, type LogEntry } from '../store/pg-record.js';
import { requestIdKey } from './client-request.js';

export class DuplicateIndex {
  /** By `requestIdKey`. */
  readonly #entries = new Map<string, LogEntry>();
  /** The same keys in a ring, the oldest at `#oldest` when it is full. A Map finds its oldest only past all that were deleted. */
  #keys: string[] = [];
  #oldest = 0;

  load(log: readonly LogEntry[]): void {
    this.#entries.clear();
    this.#keys = [];
    this.#oldest = 0;
    for (const entry of log.slice(-LOG_ENTRIES_MAX)) this.add(entry);
  }

  add(entry: LogEntry): void {
    if (!entry.reqid) return;
    const key = requestIdKey(entry.reqid);
    const isNew = !this.#entries.has(key);
    this.#entries.set(key, entry);
    if (!isNew) return;
    if (this.#keys.length < LOG_ENTRIES_MAX) {
      this.#keys.push(key);
      return;
    }
    this.#entries.delete(this.#keys[this.#oldest] as string);
    this.#keys[this.#oldest] = key;
    this.#oldest = (this.#oldest + 1) % LOG_ENTRIES_MAX;
  }

  find(key: string): LogEntry | undefined {
    return this.#entries.get(key);
  }
}
