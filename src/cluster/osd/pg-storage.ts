/**
 * A PG's own copy: its info, its log, its objects, and the changes made to them.
 *
 * A change is applied to the primary's store at once, so that the next operation sees it, and sent to the replicas in
 * the same turn, so that all apply the same changes in the same order.
 */

import { RadosError } from '../../base/errors.js';
import { type Eversion, formatPgId, type PgId } from '../../encoding/types.js';
import { compareObjects, type ObjectId } from '../store/object-id.js';
import type { ObjectStore } from '../store/object-store.js';
import { NEW_PG_INFO, type PgInfo } from '../store/pg-record.js';
import type { ObjectDump, StoreOp } from '../store/transaction.js';
import type {
  BackfillStart,
  PgChange,
  PgCopy,
  RecoveredObject,
  ReplicatedChange,
} from './osd-peer.js';
import { compareVersions, mergeLog, type PgHistory } from './log-merge.js';
import type { PgHost } from './pg-host.js';
import { DuplicateIndex } from './pg-log.js';

/** A copy of a PG on its way to be made anew from another's. ESTALE when it has been begun anew meanwhile, in whatever way. */
export interface CopyUnderWay {
  /** The copy is empty, durably, and says so. */
  readonly begun: Promise<void>;
  install(object: ObjectDump): Promise<void>;
  /** Everything is there that `source` told of. */
  end(source: PgHistory): Promise<void>;
}

export class PgStorage {
  readonly collection: string;
  readonly duplicates = new DuplicateIndex();
  readonly #host: Pick<PgHost, 'store' | 'whoami' | 'faults'>;
  readonly #store: ObjectStore;
  #info: PgInfo;
  /** The newest attempt to fill this copy: an earlier one must not go on beside it. */
  #filling = {};

  constructor(pg: PgId, host: Pick<PgHost, 'store' | 'whoami' | 'faults'>) {
    this.collection = formatPgId(pg);
    this.#host = host;
    const { store } = host;
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

  /** After a split, which writes to the store directly, in one turn. */
  reload(): void {
    this.#info = this.#store.pgInfo(this.collection) ?? NEW_PG_INFO;
  }

  /** Before serving: what was answered already. */
  loadDuplicates(): void {
    this.duplicates.load(this.#store.log(this.collection));
  }

  /** Whether the store has room for a change. */
  hasRoomFor({ ops }: PgChange): boolean {
    return this.#store.hasRoomFor({ collection: this.collection, ops });
  }

  /**
   * Applies a change and its log entry. Visible at once; resolves when durable. `isAlone`: nobody else is given the change. Throws
   * as the store's `apply`.
   */
  commit({ ops, entry, received }: PgChange, isAlone = false): Promise<void> {
    if (compareVersions(entry.version, this.#info.lastUpdate) <= 0) {
      throw new RadosError('EINVAL', `${this.collection}: a change out of order`);
    }
    const { lastUserVersion } = this.#info;
    const info: PgInfo = {
      ...this.#info,
      lastUpdate: entry.version,
      lastUserVersion: entry.userVersion > lastUserVersion ? entry.userVersion : lastUserVersion,
    };
    const done = this.#store.apply({
      collection: this.collection,
      ops: [...ops, { op: 'log', entry }, { op: 'pgInfo', info }],
      ownsData: isAlone,
      received,
    });
    this.#info = info;
    this.duplicates.add(entry);
    const { faults, whoami } = this.#host;
    const pass = faults?.stores.pass;
    return pass ? pass(whoami, entry.objects, done) : done;
  }

  /** `commit`, of a change that the primary made: EINVAL when this copy lacks the one before it. Its log has no holes. */
  replicate({ after, ...change }: ReplicatedChange): Promise<void> {
    if (compareVersions(after, this.#info.lastUpdate) !== 0) {
      throw new RadosError('EINVAL', `${this.collection}: a change without the one before it`);
    }
    return this.commit(change);
  }

  copy(): PgCopy {
    return { info: this.#info, missing: this.#missing() };
  }

  history(): PgHistory {
    return { ...this.copy(), log: this.#store.log(this.collection) };
  }

  // ---- recovery ----

  /** Takes a log for its own; undefined when it shares nothing with the own one. Resolves when durable. */
  async merge(authority: PgHistory): Promise<readonly ObjectId[] | undefined> {
    const merge = this.#info.complete ? mergeLog(this.history(), authority) : undefined;
    if (!merge) return undefined;
    const missing: StoreOp = { op: 'missing', add: merge.missing, remove: [] };
    if (merge.diverged) {
      const taken = takeLog(this.#info, authority);
      await this.#apply([missing, taken.op], taken.info);
    } else {
      const { lastUpdate, lastUserVersion, purgedSnaps } = authority.info;
      await this.#apply([missing, ...merge.newer.map((entry) => ({ op: 'log', entry }) as const)], {
        ...this.#info,
        lastUpdate,
        lastUserVersion,
        purgedSnaps,
      });
    }
    return this.#missing();
  }

  /**
   * For another's copy; undefined when this one lacks it itself. ESTALE when this copy has not heard of all changes up to
   * `asOf`: one of them may have been the object's.
   */
  give(id: ObjectId, asOf: Eversion): RecoveredObject | undefined {
    if (compareVersions(this.#info.lastUpdate, asOf) < 0) {
      throw new RadosError('ESTALE', `${this.collection}: this copy missed changes`);
    }
    if (!this.#info.complete || this.#store.isMissing(this.collection, id)) return undefined;
    return { id, object: this.#store.dump(this.collection, id) };
  }

  /**
   * Empties the copy, to be filled from the start. Until it has ended, this copy is nobody's source, and no backfill goes on
   * where one before it got to: with the objects, what tells of them goes.
   */
  beginCopy(): CopyUnderWay {
    const filling = this.#beginFilling();
    const { lastBackfill: _, ...info } = this.#info;
    const begun = this.#apply(
      [{ op: 'removeAll' }, { op: 'missing', add: [], remove: this.#missing() }],
      { ...info, complete: false },
    );
    const check = () => {
      if (filling === this.#filling) return;
      throw new RadosError('ESTALE', `${this.collection}: a copy was begun anew`);
    };
    return {
      begun,
      install: async (object) => {
        check();
        await this.#store.apply({ collection: this.collection, ops: [{ op: 'install', object }] });
      },
      end: async (source) => {
        check();
        const taken = takeLog(this.#info, source);
        await this.#apply([taken.op, { op: 'missing', add: source.missing, remove: [] }], {
          ...taken.info,
          complete: true,
        });
      },
    };
  }

  #beginFilling(): object {
    this.#filling = {};
    return this.#filling;
  }

  #missing(): readonly ObjectId[] {
    return this.#store.missing(this.collection);
  }

  /** Nobody's source from here on, until `endBackfill`. Goes on where a backfill before it got to, if the logs allow it. */
  async beginBackfill(authority: PgHistory): Promise<BackfillStart> {
    this.#beginFilling();
    const own = this.history();
    const { lastBackfill } = own.info;
    const merge = lastBackfill && !own.info.complete ? mergeLog(own, authority) : undefined;
    const last = merge ? lastBackfill : undefined;
    const isThere = (id: ObjectId) => last !== undefined && compareObjects(id, last) <= 0;
    const taken = takeLog(this.#info, authority);
    const { lastBackfill: _, ...info } = taken.info;
    const beyond = this.#store
      .list(this.collection, last, Number.MAX_SAFE_INTEGER)
      .filter((id) => !isThere(id));
    await this.#apply(
      [
        ...beyond.map((id) => ({ op: 'remove', id }) as const),
        {
          op: 'missing',
          add: (merge?.missing ?? []).filter(isThere),
          remove: own.missing.filter((id) => !isThere(id)),
        },
        taken.op,
      ],
      { ...info, complete: false, ...(last ? { lastBackfill: last } : {}) },
    );
    return { last, missing: this.#missing() };
  }

  backfill(objects: readonly RecoveredObject[], last: ObjectId): Promise<void> {
    return this.#apply(objects.map(installation), { ...this.#info, lastBackfill: last });
  }

  async endBackfill(): Promise<void> {
    const { lastBackfill: _, ...info } = this.#info;
    await this.#apply([], { ...info, complete: true });
  }

  /** Puts in objects as the log has them. Resolves when durable. */
  recovered(objects: readonly RecoveredObject[]): Promise<void> {
    return this.#store.apply({
      collection: this.collection,
      ops: [
        ...objects.map(installation),
        { op: 'missing', add: [], remove: objects.map(({ id }) => id) },
      ],
    });
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

/**
 * Another's log in place of the own one, and what an info says of it: with how far back it tells, or it would count for all
 * that ever happened.
 */
function takeLog(own: PgInfo, { info, log }: PgHistory): { op: StoreOp; info: PgInfo } {
  const { logTail: _, ...kept } = own;
  const { lastUpdate, lastUserVersion, purgedSnaps, logTail } = info;
  return {
    op: { op: 'replaceLog', entries: log },
    info: {
      ...{ ...kept, lastUpdate, lastUserVersion, purgedSnaps },
      ...(logTail ? { logTail } : {}),
    },
  };
}

function installation({ id, object }: RecoveredObject): StoreOp {
  return object ? { op: 'install', object } : { op: 'remove', id };
}
