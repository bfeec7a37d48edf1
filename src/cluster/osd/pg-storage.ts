/**
 * A PG's own copy: its info, its log, its objects, and the changes made to them.
 *
 * A change is applied to the primary's store at once, so that the next operation sees it, and sent to the replicas in
 * the same turn, so that all apply the same changes in the same order.
 */

import { RadosError } from '../../base/errors.js';
import type { PgId } from '../../encoding/types.js';
import { formatPgId } from '../../encoding/types.js';
import type { ObjectStore } from '../store/object-store.js';
import { type LogEntry, NEW_PG_INFO, type PgInfo } from '../store/pg-record.js';
import type { StoreOp } from '../store/transaction.js';
import type { ReplicatedChange } from './osd-peer.js';
import { compareVersions } from './peering.js';
import { DuplicateIndex } from './pg-log.js';

export class PgStorage {
  readonly collection: string;
  readonly duplicates = new DuplicateIndex();
  readonly #store: ObjectStore;
  #info: PgInfo;

  constructor(pg: PgId, store: ObjectStore) {
    this.collection = formatPgId(pg);
    this.#store = store;
    this.#info = store.pgInfo(this.collection) ?? NEW_PG_INFO;
  }

  get info(): PgInfo {
    return this.#info;
  }

  /** Something of the PG was ever here. */
  get known(): boolean {
    return this.#info.mapEpoch > 0;
  }

  async update(changes: Partial<PgInfo>): Promise<void> {
    await this.#apply([], { ...this.#info, ...changes });
  }

  /** As `update`, for what nobody waits for. A store that does not take it has failed, and its OSD with it. */
  note(changes: Partial<PgInfo>): void {
    this.update(changes).catch(() => {});
  }

  /** After a recovery wrote to the store directly. */
  reload(): void {
    this.#info = this.#store.pgInfo(this.collection) ?? NEW_PG_INFO;
  }

  /** Before serving: what was answered already. */
  loadDuplicates(): void {
    this.duplicates.load(this.#store.log(this.collection));
  }

  /** Whether the store has room for a change. */
  hasRoomFor({ ops }: ReplicatedChange): boolean {
    return this.#store.hasRoomFor({ collection: this.collection, ops });
  }

  /** Applies a change and its log entry. Visible at once; resolves when durable. Throws as the store's `apply`. */
  commit({ ops, entry }: ReplicatedChange): Promise<void> {
    if (compareVersions(entry.version, this.#info.lastUpdate) <= 0) {
      throw new RadosError('EINVAL', `${this.collection}: a change out of order`);
    }
    const { lastUserVersion } = this.#info;
    const done = this.#apply([...ops, { op: 'log', entry }], {
      ...this.#info,
      lastUpdate: entry.version,
      lastUserVersion: entry.userVersion > lastUserVersion ? entry.userVersion : lastUserVersion,
    });
    this.duplicates.add(entry);
    return done;
  }

  history(): { info: PgInfo; log: readonly LogEntry[] } {
    return { info: this.#info, log: this.#store.log(this.collection) };
  }

  remove(): Promise<void> {
    return this.#store.removeCollection(this.collection);
  }

  #apply(ops: readonly StoreOp[], info: PgInfo): Promise<void> {
    const done = this.#store.apply({
      collection: this.collection,
      ops: [...ops, { op: 'pgInfo', info }],
    });
    this.#info = info;
    return done;
  }
}
