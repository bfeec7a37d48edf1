/** Which requests a PG has answered: a request that comes again gets the same answer, and happens once. */

import { LOG_ENTRIES_MAX, type LogEntry, type RequestId } from '../store/pg-record.js';
import { requestIdKey } from './client-request.js';

export class DuplicateIndex {
  readonly #entries = new Map<string, LogEntry>();

  load(log: readonly LogEntry[]): void {
    this.#entries.clear();
    for (const entry of log.slice(-LOG_ENTRIES_MAX)) this.add(entry);
  }

  add(entry: LogEntry): void {
    if (!entry.reqid) return;
    this.#entries.set(requestIdKey(entry.reqid), entry);
    if (this.#entries.size <= LOG_ENTRIES_MAX) return;
    const oldest = this.#entries.keys().next();
    if (!oldest.done) this.#entries.delete(oldest.value);
  }

  find(reqid: RequestId): LogEntry | undefined {
    return this.#entries.get(requestIdKey(reqid));
  }
}
