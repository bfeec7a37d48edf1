/**
 * An active PG at its primary: everything that begins with an interval's activation and ends with the interval.
 *
 *   request -> caps, validation -> object lane -> fence, duplicates -> executor -> commit at all members -> answer
 *
 * Beside the clients' requests it makes changes of its own, in the same lanes: expired watches, removed snapshots.
 */

import { ERRNO, isRadosError, RadosError } from '../../base/errors.js';
import { formatPgId, NOSNAP, type PgId } from '../../encoding/types.js';
import { OSD_FLAG, type OsdReply } from '../../messages/osd-messages.js';
import { subtractIntervals, unionIntervals } from '../../osdmap/interval-set.js';
import { headKey, type ObjectId } from '../store/object-id.js';
import type { WatchRecord } from '../store/object-meta.js';
import type { LogEntry } from '../store/pg-record.js';
import type { StoreOp } from '../store/transaction.js';
import { type ClientRequest, type ClientSession, requestId, sendReply } from './client-request.js';
import { CopySources } from './copy-sources.js';
import { errorReply, headOf } from './executor.js';
import { Interrupted, type Interval } from './interval.js';
import type { LiveRequest, LiveRequests } from './live-requests.js';
import { ObjectLanes } from './object-lanes.js';
import type { OpClass } from './op-class.js';
import type { CopySource, PgView } from './op-context.js';
import { OsdCaps } from './osd-caps.js';
import type { CopyTarget, ReplicatedChange } from './osd-peer.js';
import type { PgHost } from './pg-host.js';
import { executePgOps } from './pg-listing.js';
import type { PgStorage } from './pg-storage.js';
import { createPgView, removedSnaps } from './pg-view.js';
import { PgWatches } from './pg-watches.js';
import { trimSnaps } from './snap-trimmer.js';
import { resolveSnap, trimSnap } from './snapshots.js';
import type { Watch } from './watches.js';

export interface PrimaryOptions {
  readonly pg: PgId;
  readonly host: PgHost;
  readonly storage: PgStorage;
  readonly requests: LiveRequests;
  readonly interval: Interval;
  /** All members, this OSD among them. */
  readonly acting: readonly number[];
  /** A member did not take a change. */
  readonly onCommitFailed: (error: unknown) => void;
}

export class PgPrimary {
  readonly #options: PrimaryOptions;
  readonly #host: PgHost;
  readonly #storage: PgStorage;
  readonly #interval: Interval;
  readonly #view: PgView;
  readonly #watches: PgWatches;
  readonly #lanes = new ObjectLanes();
  readonly #copySources: CopySources;
  /** Changes of its own that are not committed yet; the end of the interval settles them too. */
  readonly #ownChanges = new Set<() => void>();
  #trimming = false;

  constructor(options: PrimaryOptions) {
    const { pg, host, storage, interval } = options;
    this.#options = options;
    this.#host = host;
    this.#storage = storage;
    this.#interval = interval;
    this.#watches = new PgWatches(host, (watch) => {
      void this.#removeWatch(watch, { tell: true, unless: () => !watch.timedOut });
    });
    this.#view = createPgView(pg, host, storage, (id) => this.#watches.of(id));
    this.#copySources = new CopySources(host);
    storage.loadDuplicates();
    this.#loadWatches();
  }

  /** The interval ended. What is under way goes on nowhere. */
  end(): void {
    this.#lanes.clear();
    this.#watches.discard();
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
    this.#trimRemovedSnaps();
  }

  sessionClosed(session: ClientSession): void {
    this.#watches.sessionClosed(session);
  }

  /** Of all objects. */
  watches(): Watch[] {
    return this.#watches.all();
  }

  /** Removes a registration without a word to its client. EAGAIN when the interval ended meanwhile. */
  async dropWatch(watch: Watch): Promise<void> {
    await this.#removeWatch(watch, { tell: false });
    if (this.#interval.ended) throw new RadosError('EAGAIN', 'the interval is over');
  }

  /** For a COPY_FROM elsewhere. */
  copySource({ oid, nspace, key, snapid }: CopyTarget, hash: number): CopySource {
    const head = { pool: this.#options.pg.pool, nspace, oid, key, hash, snap: NOSNAP };
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
    for (const id of store.list(collection, undefined, Number.MAX_SAFE_INTEGER)) {
      if (id.snap !== NOSNAP) continue;
      const watchers = store.get(collection, id)?.meta.info.watchers ?? [];
      if (watchers.length > 0) this.#watches.load(id, watchers);
    }
  }

  // ---- requests ----

  dispatch(live: LiveRequest): void {
    const { client, opClass } = live;
    const { request } = client;
    if (opClass.errno === 0 && !this.#allowed(client, opClass)) {
      this.#answerError(live, -ERRNO.EPERM);
      return;
    }
    if (opClass.pgOp && opClass.errno === 0) {
      this.#finish(live, () => this.#reply(live, executePgOps(this.#view, client)));
      return;
    }
    const invalid = this.#host.executor.validate(this.#view, client, opClass);
    if (invalid !== 0) {
      this.#answerError(live, invalid);
      return;
    }
    const needsSources = request.ops.some((op) => op.arg.kind === 'copyFrom');
    this.#lanes.submit(headKey(headOf(this.#view, client)), {
      pipelined: opClass.mayWrite || opClass.ordered,
      start: () => {
        if (!needsSources) {
          this.#execute(live);
          return undefined;
        }
        return this.#copySources.fetch(this.#view, live.client).then((fetched) => {
          if (this.#interval.ended) return;
          if ('sources' in fetched) this.#execute(live, fetched.sources);
          else this.#answerError(live, fetched.failed.errno, fetched.failed.index);
        });
      },
    });
  }

  #allowed({ session, request }: ClientRequest, { needs }: OpClass): boolean {
    const poolName = this.#host.view.map.poolName.get(this.#options.pg.pool) ?? '';
    const target = { poolName, nspace: request.locator.nspace, oid: request.oid };
    return OsdCaps.parse(session.caps).allows(target, needs);
  }

  #execute(live: LiveRequest, sources?: ReadonlyMap<number, CopySource>): void {
    const { client, opClass } = live;
    if (this.#host.view.map.isBlocklisted(client.session.addr)) {
      this.#answerError(live, -ERRNO.EBLOCKLISTED);
      return;
    }
    const failOp = this.#host.faults?.failOp;
    const injected = failOp ? failOp(client, opClass) : 0;
    if (injected !== 0) {
      this.#answerError(live, -injected);
      return;
    }
    const logged = opClass.mayWrite ? this.#storage.duplicates.find(requestId(client)) : undefined;
    if (logged) {
      const answer = errorReply(this.#view, client, logged.result, logged);
      this.#finish(live, () => this.#reply(live, answer));
      return;
    }
    const outcome = this.#host.executor.execute(this.#view, client, opClass, sources);
    switch (outcome.kind) {
      case 'drop':
        this.#finish(live, () => client.release());
        return;
      case 'reply':
        this.#finish(live, () => {
          if (outcome.context) this.#watches.apply(outcome.context, client.session);
          this.#reply(live, outcome.reply);
        });
        return;
      case 'commit': {
        const { ops, entry, reply, context } = outcome;
        if (!this.#storage.hasRoomFor({ ops, entry })) {
          this.#refuseForRoom(live);
          return;
        }
        const answer = () => {
          // A newer attempt may have come meanwhile: it is the one to answer.
          const { session, request } = live.client;
          if (context) this.#watches.apply(context, session);
          this.#reply(live, { ...reply, retryAttempt: request.retryAttempt });
        };
        const change = { ops, entry };
        try {
          this.#commit(headOf(this.#view, client), change, () => this.#finish(live, answer));
        } catch (error) {
          // Nothing has changed: a damaged block of which a part would have to be kept.
          if (!isRadosError(error)) throw error;
          this.#answerError(live, error.errno);
        }
      }
    }
  }

  /**
   * As `PrimaryLogPG` has it when a pool is full: who asked for the answer gets it; from others the request comes again when
   * a map comes without the flag, which is why they must hear of the one that has it.
   */
  #refuseForRoom(live: LiveRequest): void {
    const { client } = live;
    const { session, request } = client;
    const known = this.#host.reportFull();
    if (request.flags & (OSD_FLAG.FULL_TRY | OSD_FLAG.FULL_FORCE)) {
      this.#answerError(live, -ERRNO.ENOSPC);
      return;
    }
    this.#finish(live, () => client.release());
    known.then(
      () => this.#host.shareMap(session),
      (error: unknown) => this.#host.log.warn({ err: error }, 'the monitor does not take a report'),
    );
  }

  /** `unfinished`: the operation that was waiting for something when the vector was given up. */
  #answerError(live: LiveRequest, errno: number, unfinished?: number): void {
    const { client } = live;
    const reply = errorReply(this.#view, client, errno);
    const waiting = unfinished === undefined ? undefined : reply.ops[unfinished];
    if (waiting) waiting.rval = -ERRNO.EINPROGRESS;
    this.#finish(live, () => this.#reply(live, reply));
  }

  #reply({ client, opClass }: LiveRequest, reply: OsdReply): void {
    const passReply = this.#host.faults?.passReply;
    if (passReply) passReply(client, opClass, () => sendReply(client, reply));
    else sendReply(client, reply);
  }

  #finish(live: LiveRequest, answer: () => void): void {
    this.#options.requests.remove(live);
    answer();
  }

  // ---- changes ----

  /** Applies here and at every replica; `done` runs when all of them have it, unless the interval ended first. */
  #commit(object: ObjectId, change: ReplicatedChange, done: () => void): void {
    const key = headKey(object);
    const commits = [this.#storage.commit(change)];
    this.#lanes.writing(key);
    for (const osd of this.#options.acting) {
      if (osd !== this.#host.whoami) commits.push(this.#replicateTo(osd, change));
    }
    Promise.all(commits).then(
      () => {
        if (this.#interval.ended) return;
        done();
        this.#lanes.written(key);
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
      this.#lanes.submit(headKey(object), {
        pipelined: true,
        start: () => {
          const change = prepare();
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
        },
      });
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
    if (this.#trimming) return;
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
