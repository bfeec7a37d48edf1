/** Which requests a PG has answered: a request that comes again gets the same answer, and happens once. */

import { LOG_ENTRIES_MAX, type LogEntry } from '../store/pg-record.js';
import { requestIdKey } from './client-request.js';

/** What a request was answered with. */
export type Answered = Pick<LogEntry, 'version' | 'result' | 'userVersion' | 'returns'>;

export class DuplicateIndex {
  /** By `requestIdKey`: thousands for each PG, without what an answer does not need. */
  readonly #entries = new Map<string, Answered>();
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
    const { reqid, version, result, userVersion, returns } = entry;
    if (!reqid) return;
    const key = requestIdKey(reqid);
    const isNew = !this.#entries.has(key);
    const answered = { version, result, userVersion };
    this.#entries.set(key, returns ? { ...answered, returns } : answered);
    if (!isNew) return;
    if (this.#keys.length < LOG_ENTRIES_MAX) {
      this.#keys.push(key);
      return;
    }
    this.#entries.delete(this.#keys[this.#oldest] as string);
    this.#keys[this.#oldest] = key;
    this.#oldest = (this.#oldest + 1) % LOG_ENTRIES_MAX;
  }

  find(key: string): Answered | undefined {
    return this.#entries.get(key);
  }
}
