/**
 * An active PG at its primary: everything that begins with an interval's activation and ends with the interval.
 *
 * Beside the clients' requests (`request-path.ts`) it makes changes of its own, in the same lanes: expired watches, removed
 * snapshots.
 */

import { ERRNO, isRadosError, RadosError } from '../../base/errors.js';
import { formatPgId, NOSNAP, type PgId } from '../../encoding/types.js';
import { subtractIntervals, unionIntervals } from '../../osdmap/interval-set.js';
import { headId, headKey, type ObjectId } from '../store/object-id.js';
import type { WatchRecord } from '../store/object-meta.js';
import type { LogEntry } from '../store/pg-record.js';
import { ReceivedData, type SpareBuffers } from '../store/spare-buffers.js';
import type { StoreOp } from '../store/transaction.js';
import { Backfill } from './backfill.js';
import type { ClientSession } from './client-request.js';
import { CopySources } from './copy-sources.js';
import { Interrupted, type Interval } from './interval.js';
import { ObjectLanes } from './object-lanes.js';
import { ObjectRecovery } from './object-recovery.js';
import type { CopySource, PgView } from './op-context.js';
import type { CopyTarget, PgChange, ReplicatedChange } from './osd-peer.js';
import type { PgHost } from './pg-host.js';
import type { PgStorage } from './pg-storage.js';
import { createPgView, removedSnaps } from './pg-view.js';
import type { PgWatches } from './pg-watches.js';
import type { PgPipeline } from './pipeline/pg-pipeline.js';
import { RequestPath } from './request-path.js';
import type { ScrubListing } from './scrub/scrub-listing.js';
import { Scrubber } from './scrub/scrubber.js';
import { trimSnaps } from './snap-trimmer.js';
import { resolveSnap, trimSnap } from './snapshots.js';
import type { Watch } from './watches.js';

export interface PrimaryOptions {
  readonly pg: PgId;
  readonly host: PgHost;
  readonly storage: PgStorage;
  readonly pipeline: PgPipeline;
  readonly interval: Interval;
  /** Those of a primary before it within the map's interval go on. */
  readonly watches: PgWatches;
  /** All members, this OSD among them. */
  readonly acting: readonly number[];
  /** What each of them lacks. */
  readonly missing: ReadonlyMap<number, readonly ObjectId[]>;
  /** A member did not take a change. */
  readonly onCommitFailed: (error: unknown) => void;
  /** Of them: whose copies are to be filled, and up to where they are. */
  readonly backfill: ReadonlyMap<number, ObjectId | undefined>;
  /** Every member has everything. */
  readonly onClean: () => void;
  /** What scrubs found, for whoever lists it. */
  readonly scrubs: () => ScrubListing;
}

export class PgPrimary {
  readonly recovery: ObjectRecovery;
  readonly backfill: Backfill;
  readonly scrubber: Scrubber;
  /** Clients' requests. */
  readonly path: RequestPath;
  readonly #options: PrimaryOptions;
  readonly #host: PgHost;
  readonly #storage: PgStorage;
  readonly #interval: Interval;
  readonly #view: PgView;
  readonly #watches: PgWatches;
  readonly #lanes: ObjectLanes;
  /** Changes of its own that are not committed yet; the end of the interval settles them too. */
  readonly #ownChanges = new Set<() => void>();
  #trimming = false;

  constructor(options: PrimaryOptions) {
    const { pg, host, storage, interval } = options;
    this.#options = options;
    this.#host = host;
    this.#storage = storage;
    this.#interval = interval;
    this.#watches = options.watches;
    this.#view = createPgView(pg, host, storage, (id) => this.#watches.of(id));
    this.#lanes = new ObjectLanes(host.pipeline, options.pipeline);
    this.recovery = new ObjectRecovery({
      ...{ pg, host, storage, interval },
      missing: options.missing,
      incomplete: new Set(options.backfill.keys()),
      inLane: (key, act) => this.#inLane(key, act),
      onPulled: (id) => this.#loadWatchesOf(id),
      onRecovered: () => this.#checkClean(),
    });
    this.backfill = new Backfill({
      ...{ pg, host, storage, interval },
      targets: options.backfill,
      untilWhole: () => this.recovery.wholeBlocker(),
      inLane: (key, act) => this.#inLane(key, act),
      onDone: () => this.#checkClean(),
    });
    this.scrubber = new Scrubber({
      ...{ pg, host, storage, interval, acting: options.acting },
      isClean: () => this.#isClean,
      inLane: (key, act) => this.#inLane(key, act),
      onReplaced: (id) => this.#loadWatchesOf(id),
    });
    this.path = new RequestPath({
      ...{ pg, host, storage, pipeline: options.pipeline },
      view: this.#view,
      watches: this.#watches,
      recovery: this.recovery,
      copySources: new CopySources(host),
      scrubs: options.scrubs,
      commit: (object, change, done) => this.#commit(object, change, done),
    });
    this.path.blockers.scrub = (head, opClass) => this.scrubber.blocker(head, opClass);
    storage.loadDuplicates();
    this.#loadWatches();
  }

  /** Recovery begins, beside the requests. */
  start(): void {
    for (const watch of this.watches()) if (watch.timedOut) this.expire(watch);
    this.recovery.start();
    this.backfill.start();
  }

  get #isClean(): boolean {
    return this.recovery.left === 0 && this.backfill.left === 0;
  }

  #checkClean(): void {
    if (this.#interval.ended || !this.#isClean) return;
    this.#options.onClean();
    this.#trimRemovedSnaps();
  }

  /** The interval ended. What is under way goes on nowhere. */
  end(): void {
    this.#lanes.end();
    this.recovery.end();
    this.scrubber.end();
    for (const settle of [...this.#ownChanges]) settle();
  }

  /** A new map within the interval. */
  onMap(): void {
    const { map } = this.#host.view;
    if (map.blocklist.size > 0 || map.rangeBlocklist.size > 0) {
      for (const watch of this.#watches.where(({ addr }) => map.isBlocklisted(addr))) {
        void this.#removeWatch(watch, { tell: true });
      }
    }
    this.recovery.onMap();
    this.#trimRemovedSnaps();
  }

  get poolId(): number {
    return this.#options.pg.pool;
  }

  /** Of all objects. */
  watches(): Watch[] {
    return this.#watches.all();
  }

  /** Of those, whose client is believed to be there on this session. */
  watchesOn(session: ClientSession): Watch[] {
    return this.watches().filter((watch) => watch.session === session);
  }

  /** Removes the registration of a watch that timed out, unless its client is heard of before that is written. */
  expire(watch: Watch): void {
    void this.#removeWatch(watch, { tell: true, unless: () => !watch.timedOut });
  }

  /** Removes a registration without a word to its client. EAGAIN when the interval ended meanwhile. */
  async dropWatch(watch: Watch): Promise<void> {
    await this.#removeWatch(watch, { tell: false });
    if (this.#interval.ended) throw new RadosError('EAGAIN', 'the interval is over');
  }

  /** For a COPY_FROM elsewhere. */
  copySource({ oid, nspace, key, snapid }: CopyTarget, hash: number): CopySource {
    const head = headId({ pool: this.#options.pg.pool, nspace, oid, key, hash });
    if (this.recovery.isMissing(headKey(head))) {
      this.recovery.want(headKey(head));
      throw new RadosError('EAGAIN', 'the object is being recovered', { target: oid });
    }
    const id = resolveSnap(this.#view, head, snapid);
    if (typeof id === 'number') return { errno: id };
    const object = this.#host.store.dump(this.#storage.collection, id);
    if (!object || object.meta.info.whiteout) return { errno: -ERRNO.ENOENT };
    if (object.damaged) return { errno: -ERRNO.EIO };
    return { object, userVersion: object.meta.info.userVersion };
  }

  #loadWatches(): void {
    const { store } = this.#host;
    const { collection } = this.#storage;
    const ids = store.list(collection, undefined, Number.MAX_SAFE_INTEGER);
    // Of the watched ones some may be gone.
    for (const id of [...ids, ...this.#watches.heads()]) {
      if (!this.recovery.lacks(id)) this.#loadWatchesOf(id);
    }
  }

  #loadWatchesOf(id: ObjectId): void {
    if (id.snap !== NOSNAP) return;
    const watchers = this.#host.store.get(this.#storage.collection, id)?.meta.info.watchers ?? [];
    this.#watches.load(id, watchers);
  }

  // ---- changes ----

  /** Applies here and at every replica; `done` runs when all of them have it, unless the interval ended first. */
  #commit(object: ObjectId, made: PgChange, done: () => void): void {
    const received = receivedIn(made.ops, this.#host.store.spare);
    received?.use();
    const change = received ? { ...made, received } : made;
    const key = headKey(object);
    const after = this.#storage.info.lastUpdate;
    // Its data is then the store's alone: who sent it has to ask for it.
    const isAlone = this.#options.acting.length === 1;
    const own = this.#storage.commit(change, isAlone);
    this.#lanes.writing(key);
    const writing = this.scrubber.writing(object);
    const replicated: Promise<void>[] = [];
    for (const osd of this.#options.acting) {
      if (osd !== this.#host.whoami) {
        const its = this.backfill.changeFor(osd, object, change);
        replicated.push(this.#replicateTo(osd, { ...its, after }));
      }
    }
    // One copy needs no gathering.
    const all: Promise<unknown> = replicated.length > 0 ? Promise.all([own, ...replicated]) : own;
    all.then(
      () => {
        // A request that is begun anew then needs its data.
        if (this.#interval.ended) return;
        done();
        this.#lanes.written(key);
        this.scrubber.written(writing);
        received?.drop();
      },
      (error: unknown) => {
        if (!this.#interval.ended) this.#options.onCommitFailed(error);
      },
    );
  }

  #replicateTo(osd: number, change: ReplicatedChange): Promise<void> {
    const { pg } = this.#options;
    const replica = this.#host.peers.osd(osd);
    if (replica) return replica.replicate(pg, this.#interval.since, change);
    this.#host.reportFailure(osd);
    return Promise.reject(
      new RadosError('EAGAIN', `osd.${osd} is gone`, { target: formatPgId(pg) }),
    );
  }

  /** Work of the PG's own on an object, while nothing else happens to it. Resolves after it, or when the interval ended. */
  #inLane(key: string, act: () => Promise<void>): Promise<void> {
    return new Promise((settled) => {
      const resolve = () => {
        this.#ownChanges.delete(resolve);
        settled();
      };
      this.#ownChanges.add(resolve);
      this.#lanes.submit(key, { start: () => act().finally(resolve) });
    });
  }

  /**
   * A change of the PG's own accord, in the object's lane. `prepare` returns nothing when there is nothing to do. Calls
   * `committed` before anything else happens to the object; resolves after it, or when the interval ended.
   */
  #changeObject(
    object: ObjectId,
    prepare: () => { ops: StoreOp[]; objects: ObjectId[] } | undefined,
    committed: () => void = () => {},
  ): Promise<void> {
    return new Promise((settled) => {
      const resolve = () => {
        this.#ownChanges.delete(resolve);
        settled();
      };
      this.#ownChanges.add(resolve);
      const key = headKey(object);
      const start = () => {
        const change = this.#interval.ended ? undefined : prepare();
        if (!change) {
          resolve();
          return undefined;
        }
        const { lastUpdate, lastUserVersion } = this.#storage.info;
        const entry: LogEntry = {
          version: { version: lastUpdate.version + 1n, epoch: this.#host.view.epoch },
          objects: change.objects,
          result: 0,
          userVersion: lastUserVersion,
        };
        try {
          this.#commit(object, { ops: change.ops, entry }, () => {
            committed();
            resolve();
          });
        } catch (error) {
          // Changes of its own touch no data, so the store has failed: its OSD goes, and with it the interval.
          if (!isRadosError(error)) throw error;
        }
        return undefined;
      };
      this.#lanes.submit(key, { start: () => after(this.recovery.blocker(key, true), start) });
    });
  }

  /** Takes a registration out of its object, then ends the watch. `unless` is asked when its turn has come. */
  #removeWatch(
    { object, record }: Watch,
    { tell, unless }: { tell: boolean; unless?: () => boolean },
  ): Promise<void> {
    const { store } = this.#host;
    const { collection } = this.#storage;
    const isIt = (other: WatchRecord) =>
      other.cookie === record.cookie &&
      other.entity.type === record.entity.type &&
      other.entity.num === record.entity.num;
    return this.#changeObject(
      object,
      () => {
        const meta = store.get(collection, object)?.meta;
        if (unless?.() || !meta?.info.watchers.some(isIt)) return undefined;
        const watchers = meta.info.watchers.filter((other) => !isIt(other));
        const info = { ...meta.info, watchers };
        return {
          ops: [{ op: 'setMeta', id: object, meta: { ...meta, info } }],
          objects: [object],
        };
      },
      () => this.#watches.remove(object, record, tell),
    );
  }

  #trimRemovedSnaps(): void {
    // What is not here yet would be left out.
    if (this.#trimming || !this.#isClean) return;
    const removed = removedSnaps(this.#host, this.#options.pg.pool);
    const left = subtractIntervals(removed, this.#storage.info.purgedSnaps);
    if (left.length === 0) return;
    this.#trimming = true;
    const { store, env } = this.#host;
    const { collection } = this.#storage;
    const interval = this.#interval;
    const trimming = trimSnaps(
      {
        store,
        collection,
        trim: async (head, snap) => {
          await this.#changeObject(head, () => trimSnap(store, collection, head, snap));
          interval.check();
        },
        yield: async () => {
          await new Promise<void>((resolve) => env.timers.nextTurn(resolve));
          interval.check();
        },
      },
      left,
    );
    trimming
      .then(async () => {
        interval.check();
        this.#trimming = false;
        const purgedSnaps = unionIntervals(this.#storage.info.purgedSnaps, left);
        await this.#storage.update({ purgedSnaps });
        // More may have been removed meanwhile.
        if (!interval.ended) this.#trimRemovedSnaps();
      })
      .catch((error: unknown) => {
        if (!(error instanceof Interrupted) && !isRadosError(error)) throw error;
      });
  }
}

/** At once when there is nothing to wait for. */
function after(
  blocker: Promise<void> | undefined,
  act: () => Promise<void> | undefined,
): Promise<void> | undefined {
  return blocker ? blocker.then(act) : act();
}

/** The data of a large write. */
function receivedIn(ops: readonly StoreOp[], spare: SpareBuffers): ReceivedData | undefined {
  for (const op of ops) {
    const received = op.op === 'write' ? ReceivedData.of(op.data, spare) : undefined;
    if (received) return received;
  }
  return undefined;
}
