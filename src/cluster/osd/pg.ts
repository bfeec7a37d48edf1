/**
 * A placement group on one OSD: which interval it is in, and what it does with requests.
 *
 *   idle        not a member
 *   replica     a member; the primary tells it what to do
 *   undersized  primary, but too few members are up to serve (min_size)
 *   peering     primary, finding out what the PG's content is
 *   down        primary, but an OSD that may know of newer writes is missing
 *   active      primary, serving
 *
 * Every request stays in `#live` from arrival to answer. When an interval ends, what was not answered starts again, in
 * the order of arrival; what was already committed is then recognised by its request id.
 */

import { ERRNO, isRadosError, RadosError } from '../../base/errors.js';
import type { IntervalSet, PgId } from '../../encoding/types.js';
import { formatPgId, NOSNAP } from '../../encoding/types.js';
import { intervalsContain, subtractIntervals, unionIntervals } from '../../osdmap/interval-set.js';
import { headKey, type ObjectId } from '../store/object-id.js';
import type { WatchRecord } from '../store/object-meta.js';
import type { LogEntry } from '../store/pg-record.js';
import type { StoreOp } from '../store/transaction.js';
import {
  type ClientRequest,
  type ClientSession,
  requestId,
  requestIdKey,
  sendReply,
} from './client-request.js';
import { CopySources } from './copy-sources.js';
import { errorReply, headOf } from './executor.js';
import { maybeWrote, type PgPlace, pastIntervals, placeOf } from './intervals.js';
import { ObjectLanes } from './object-lanes.js';
import { classify, type OpClass } from './op-class.js';
import type { CopySource, PgView } from './op-context.js';
import { OsdCaps } from './osd-caps.js';
import type { CopyTarget, ReplicatedChange } from './osd-peer.js';
import { peer } from './peering.js';
import type { PgHost } from './pg-host.js';
import { executePgOps } from './pg-listing.js';
import { PgStorage } from './pg-storage.js';
import { PgWatches } from './pg-watches.js';
import { copyPg } from './recovery.js';
import { trimSnaps } from './snap-trimmer.js';
import { resolveSnap, trimSnap } from './snapshots.js';

export type PgState = 'idle' | 'replica' | 'undersized' | 'peering' | 'down' | 'active';

interface LiveRequest {
  /** The newest attempt: a resend takes the place of the attempt before. */
  client: ClientRequest;
  readonly opClass: OpClass;
  /** Of writes only: what duplicates are recognised by. */
  readonly key: string | undefined;
}

/** An interval's life: continuations check it and stop when it ended. */
interface Interval {
  readonly since: number;
  ended: boolean;
}

class Interrupted extends Error {}

const NO_INTERVAL: Interval = { since: 0, ended: true };
const PEERING_RETRY_MS = 200;
const DOWN_RETRY_MS = 1000;

export class Pg {
  readonly id: PgId;
  readonly #host: PgHost;
  readonly #storage: PgStorage;
  readonly #view: PgView;
  readonly #watches: PgWatches;
  readonly #lanes = new ObjectLanes();
  readonly #copySources: CopySources;
  readonly #live = new Set<LiveRequest>();
  readonly #writes = new Map<string, LiveRequest>();
  #place: PgPlace | undefined;
  #interval: Interval = NO_INTERVAL;
  #state: PgState = 'idle';
  #trimming = false;

  constructor(id: PgId, host: PgHost) {
    this.id = id;
    this.#host = host;
    this.#storage = new PgStorage(id, host.store);
    this.#watches = new PgWatches(host.env, (object, record) => this.#expireWatch(object, record));
    this.#copySources = new CopySources(host);
    this.#view = this.#createView();
  }

  get state(): PgState {
    return this.#state;
  }

  get pendingRequests(): number {
    return this.#live.size;
  }

  // ---- maps and intervals ----

  /** Takes a new map into account. False when the PG does not exist any more. */
  onMap(): boolean {
    const { view } = this.#host;
    const place = placeOf(view, this.id);
    if (!place) return false;
    if (!this.#place) this.#catchUp(view.epoch);
    if (place.identity !== this.#place?.identity) this.#startInterval(place, view.epoch);
    else if (this.#state === 'active') this.#onSameInterval();
    void this.#storage.update({ mapEpoch: view.epoch });
    return true;
  }

  /** The intervals that passed while this OSD was not there to see them. */
  #catchUp(epoch: number): void {
    const { info } = this.#storage;
    if (!this.#storage.known || info.mapEpoch >= epoch) return;
    const missed = pastIntervals(
      this.id,
      info.mapEpoch,
      epoch - 1,
      (at) => this.#host.viewAt(at),
      () => this.#existingOsds(),
    );
    void this.#storage.update({ pastIntervals: [...info.pastIntervals, ...missed] });
  }

  #existingOsds(): number[] {
    const { map } = this.#host.view;
    return Array.from({ length: map.maxOsd }, (_, osd) => osd).filter((osd) => map.exists(osd));
  }

  #startInterval(place: PgPlace, epoch: number): void {
    this.#closeInterval(epoch);
    const interval = { since: epoch, ended: false };
    this.#interval = interval;
    this.#place = place;
    const { whoami } = this.#host;
    if (place.primary !== whoami) {
      this.#state = place.acting.includes(whoami) ? 'replica' : 'idle';
      this.#dropAll();
      return;
    }
    this.#state = place.acting.length < place.minSize ? 'undersized' : 'peering';
    this.#host.log.debug(
      { pg: formatPgId(this.id), epoch, acting: place.acting, state: this.#state },
      'interval begins',
    );
    if (this.#state === 'peering') this.#peer(interval);
  }

  /** Ends what the interval started, and remembers it if writes may have been acknowledged in it. */
  #closeInterval(epoch: number): void {
    const { since } = this.#interval;
    this.#endContinuations();
    const place = this.#place;
    const { lastEpochStarted, pastIntervals: past } = this.#storage.info;
    if (place && maybeWrote(place) && since > lastEpochStarted) {
      const interval = { first: since, last: epoch - 1, acting: place.acting };
      void this.#storage.update({ pastIntervals: [...past, interval] });
    }
  }

  #endContinuations(): void {
    this.#interval.ended = true;
    this.#lanes.clear();
    this.#watches.discard();
    this.#trimming = false;
  }

  /** Not primary any more: clients learn from the map where to go. */
  #dropAll(): void {
    for (const { client } of this.#live) {
      this.#host.shareMap(client.session);
      client.release();
    }
    this.#live.clear();
    this.#writes.clear();
  }

  /** The PG or its OSD goes away. */
  stop(): void {
    this.#endContinuations();
    this.#state = 'idle';
    this.#dropAll();
  }

  async destroy(): Promise<void> {
    this.stop();
    await this.#storage.remove();
  }

  #onSameInterval(): void {
    const { map } = this.#host.view;
    if (map.blocklist.size > 0 || map.rangeBlocklist.size > 0) {
      this.#watches.expireWhere(({ addr }) => map.isBlocklisted(addr));
    }
    this.#trimRemovedSnaps();
  }

  // ---- peering ----

  #peer(interval: Interval): void {
    const { host, place } = { host: this.#host, place: this.#place as PgPlace };
    const { map } = host.view;
    peer({
      pg: this.id,
      whoami: host.whoami,
      since: interval.since,
      acting: place.acting,
      up: this.#existingOsds().filter((osd) => map.isUp(osd)),
      peers: host.peers,
      check: () => checkAlive(interval),
      fullHistory: () => this.#fullHistory(interval.since - 1),
      onDead: (osd) => host.reportFailure(osd),
    }).then(
      (result) => {
        if (interval.ended) return;
        if (result.kind === 'active') this.#activated(interval, result.strays);
        else this.#waitForOsds(interval, result.blockedBy);
      },
      (error: unknown) => {
        if (interval.ended || error instanceof Interrupted) return;
        host.log.debug({ pg: formatPgId(this.id), err: error }, 'peering failed, trying again');
        this.#retryPeering(interval, PEERING_RETRY_MS);
      },
    );
  }

  #waitForOsds(interval: Interval, blockedBy: number[]): void {
    this.#state = 'down';
    this.#host.log.warn({ pg: formatPgId(this.id), blockedBy }, 'waiting for OSDs to come back');
    this.#retryPeering(interval, DOWN_RETRY_MS);
  }

  #retryPeering(interval: Interval, delayMs: number): void {
    this.#host.env.timers.after(
      delayMs,
      () => {
        if (!interval.ended) this.#peer(interval);
      },
      { background: true },
    );
  }

  /** Since the pool exists, or as far back as maps are kept. */
  #fullHistory(last: number) {
    let first = last;
    while (first > 1 && this.#host.viewAt(first)?.map.pool(this.id.pool)) first--;
    return pastIntervals(
      this.id,
      first,
      last,
      (epoch) => this.#host.viewAt(epoch),
      // Maps from before the oldest kept one: an old pool whose PG nobody has is new to everybody.
      () => [],
    );
  }

  #activated(interval: Interval, strays: readonly number[]): void {
    const { host } = this;
    this.#state = 'active';
    this.#storage.loadDuplicates();
    this.#loadWatches();
    host.log.debug({ pg: formatPgId(this.id), since: interval.since }, 'active');
    for (const osd of strays) {
      host.peers
        .osd(osd)
        ?.removePg(this.id, interval.since)
        .catch(() => {});
    }
    for (const live of [...this.#live]) this.#dispatch(live);
    this.#onSameInterval();
  }

  get host(): PgHost {
    return this.#host;
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

  // ---- what other OSDs ask (OsdPeer) ----

  /** Refuses those that know less than this OSD. The caller has waited for the map of `since`. */
  #fence(since: number): void {
    if (since < this.#interval.since) {
      throw new RadosError('ESTALE', `${formatPgId(this.id)}: interval ${since} is over`);
    }
  }

  query(since: number) {
    this.#fence(since);
    return this.#storage.known ? this.#storage.info : undefined;
  }

  history() {
    return this.#storage.history();
  }

  async recover(since: number, source: number): Promise<void> {
    this.#fence(since);
    const interval = this.#interval;
    const from = this.#host.peers.osd(source);
    if (!from) throw new RadosError('EAGAIN', `osd.${source} is gone`);
    const { collection } = this.#storage;
    const { store } = this.#host;
    try {
      const check = () => checkAlive(interval);
      await copyPg({ pg: this.id, collection, store, check }, from);
    } finally {
      this.#storage.reload();
    }
  }

  activate(since: number, acting: readonly number[]): Promise<void> {
    this.#fence(since);
    return this.#storage.update({
      lastEpochStarted: since,
      lastActing: acting,
      pastIntervals: [],
      complete: true,
    });
  }

  replicate(since: number, change: ReplicatedChange): Promise<void> {
    this.#fence(since);
    return this.#storage.commit(change);
  }

  /** Not if it became a member meanwhile. */
  mayRemove(since: number): boolean {
    return since >= this.#interval.since && this.#state === 'idle';
  }

  /** For a COPY_FROM elsewhere. */
  copySource({ oid, nspace, key, snapid }: CopyTarget, hash: number): CopySource {
    if (this.#state !== 'active') throw new RadosError('EAGAIN', 'the PG is not active');
    const head = { pool: this.id.pool, nspace, oid, key, hash, snap: NOSNAP };
    const id = resolveSnap(this.#view, head, snapid);
    if (typeof id === 'number') return { errno: id };
    const object = this.#host.store.dump(this.#storage.collection, id);
    if (!object || object.meta.info.whiteout) return { errno: -ERRNO.ENOENT };
    return { object, userVersion: object.meta.info.userVersion };
  }

  // ---- requests ----

  /** Takes a request of which this OSD is the primary. */
  handle(client: ClientRequest): void {
    const opClass = classify(this.#host.classes, client.request.ops);
    const key = opClass.mayWrite ? requestIdKey(requestId(client)) : undefined;
    const earlier = key === undefined ? undefined : this.#writes.get(key);
    if (earlier) {
      // A resend of what is still under way: it happens once, and answers the newest attempt.
      earlier.client.release();
      earlier.client = client;
      return;
    }
    const live: LiveRequest = { client, opClass, key };
    this.#live.add(live);
    if (key !== undefined) this.#writes.set(key, live);
    if (this.#state === 'active') this.#dispatch(live);
  }

  sessionClosed(session: ClientSession): void {
    this.#watches.sessionClosed(session);
  }

  #dispatch(live: LiveRequest): void {
    const { client, opClass } = live;
    const { request } = client;
    if (opClass.errno === 0 && !this.#allowed(client, opClass)) {
      this.#answerError(live, -ERRNO.EPERM);
      return;
    }
    if (opClass.pgOp && opClass.errno === 0) {
      this.#finish(live, () => sendReply(live.client, executePgOps(this.#view, live.client)));
      return;
    }
    const invalid = this.#host.executor.validate(this.#view, client, opClass);
    if (invalid !== 0) {
      this.#answerError(live, invalid);
      return;
    }
    const interval = this.#interval;
    const needsSources = request.ops.some((op) => op.arg.kind === 'copyFrom');
    this.#lanes.submit(headKey(headOf(this.#view, client)), {
      pipelined: opClass.mayWrite || opClass.ordered,
      start: () => {
        if (!needsSources) {
          this.#execute(live);
          return undefined;
        }
        return this.#copySources.fetch(this.#view, live.client).then((sources) => {
          if (!interval.ended) this.#execute(live, sources);
        });
      },
    });
  }

  #allowed({ session, request }: ClientRequest, { needs }: OpClass): boolean {
    const poolName = this.#host.view.map.poolName.get(this.id.pool) ?? '';
    const target = { poolName, nspace: request.locator.nspace, oid: request.oid };
    return OsdCaps.parse(session.caps).allows(target, needs);
  }

  #execute(live: LiveRequest, sources?: ReadonlyMap<number, CopySource>): void {
    const { client, opClass } = live;
    if (this.#host.view.map.isBlocklisted(client.session.addr)) {
      this.#answerError(live, -ERRNO.EBLOCKLISTED);
      return;
    }
    const logged = opClass.mayWrite ? this.#storage.duplicates.find(requestId(client)) : undefined;
    if (logged) {
      this.#finish(live, () =>
        sendReply(client, errorReply(this.#view, client, logged.result, logged)),
      );
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
          sendReply(client, outcome.reply);
        });
        return;
      case 'commit': {
        const { ops, entry, reply, context } = outcome;
        this.#commit(headOf(this.#view, client), { ops, entry }, () =>
          this.#finish(live, () => {
            // A newer attempt may have come meanwhile: it is the one to answer.
            const answering = live.client;
            if (context) this.#watches.apply(context, answering.session);
            sendReply(answering, {
              ...reply,
              retryAttempt: answering.request.retryAttempt,
            });
          }),
        );
      }
    }
  }

  #answerError(live: LiveRequest, errno: number): void {
    const { client } = live;
    this.#finish(live, () => sendReply(client, errorReply(this.#view, client, errno)));
  }

  #finish(live: LiveRequest, answer: () => void): void {
    this.#live.delete(live);
    if (live.key !== undefined) this.#writes.delete(live.key);
    answer();
  }

  // ---- changes ----

  /** Applies here and at every replica; `done` runs when all of them have it, unless the interval ended first. */
  #commit(object: ObjectId, change: ReplicatedChange, done: () => void): void {
    const interval = this.#interval;
    const { whoami, peers } = this.#host;
    const key = headKey(object);
    this.#lanes.writing(key);
    const commits = [this.#storage.commit(change)];
    for (const osd of (this.#place as PgPlace).acting) {
      if (osd !== whoami) commits.push(this.#replicateTo(osd, interval, change));
    }
    Promise.all(commits).then(
      () => {
        if (interval.ended) return;
        done();
        this.#lanes.written(key);
      },
      (error: unknown) => this.#onCommitFailed(interval, error),
    );
    void peers;
  }

  #replicateTo(osd: number, interval: Interval, change: ReplicatedChange): Promise<void> {
    const replica = this.#host.peers.osd(osd);
    if (replica) return replica.replicate(this.id, interval.since, change);
    this.#host.reportFailure(osd);
    return Promise.reject(new RadosError('EAGAIN', `osd.${osd} is gone`));
  }

  /**
   * A member did not take a change. Mostly the next map says why and begins a new interval; if none comes, the members
   * are made equal again within this one.
   */
  #onCommitFailed(interval: Interval, error: unknown): void {
    if (interval.ended) return;
    this.#host.log.debug({ pg: formatPgId(this.id), err: error }, 'a member missed a change');
    this.#host.env.timers.after(
      PEERING_RETRY_MS,
      () => {
        if (interval.ended) return;
        this.#endContinuations();
        const again = { since: interval.since, ended: false };
        this.#interval = again;
        this.#state = 'peering';
        this.#peer(again);
      },
      { background: true },
    );
  }

  /** A change of the PG's own accord, in the object's lane. `prepare` returns nothing when there is nothing to do. */
  #changeObject(
    object: ObjectId,
    prepare: () => { ops: StoreOp[]; objects: ObjectId[] } | undefined,
  ): Promise<void> {
    return new Promise((resolve) => {
      if (this.#state !== 'active') {
        resolve();
        return;
      }
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
          this.#commit(object, { ops: change.ops, entry }, resolve);
          return undefined;
        },
      });
    });
  }

  #expireWatch(object: ObjectId, record: WatchRecord): void {
    const { store } = this.#host;
    const { collection } = this.#storage;
    const isIt = (other: WatchRecord) =>
      other.cookie === record.cookie &&
      other.entity.type === record.entity.type &&
      other.entity.num === record.entity.num;
    void this.#changeObject(object, () => {
      const meta = store.get(collection, object)?.meta;
      if (!meta?.info.watchers.some(isIt)) return undefined;
      const watchers = meta.info.watchers.filter((other) => !isIt(other));
      const info = { ...meta.info, watchers };
      return {
        ops: [{ op: 'setMeta', id: object, meta: { ...meta, info } }],
        objects: [object],
      };
    }).then(() => this.#watches.remove(object, record, true));
  }

  #trimRemovedSnaps(): void {
    if (this.#trimming) return;
    const removed = this.#removedSnaps();
    const { purgedSnaps } = this.#storage.info;
    const left = subtractIntervals(removed, purgedSnaps);
    if (left.length === 0) return;
    this.#trimming = true;
    const interval = this.#interval;
    const { store, env } = this.#host;
    const { collection } = this.#storage;
    trimSnaps(
      {
        store,
        collection,
        trim: async (head, snap) => {
          await this.#changeObject(head, () => trimSnap(store, collection, head, snap));
          checkAlive(interval);
        },
        yield: async () => {
          await new Promise<void>((resolve) => env.timers.nextTurn(resolve));
          checkAlive(interval);
        },
      },
      left,
    ).then(
      async () => {
        if (interval.ended) return;
        this.#trimming = false;
        const { purgedSnaps: before } = this.#storage.info;
        await this.#storage.update({ purgedSnaps: unionIntervals(before, left) });
        if (!interval.ended) this.#trimRemovedSnaps();
      },
      (error: unknown) => {
        if (!(error instanceof Interrupted) && !isRadosError(error)) throw error;
      },
    );
  }

  #removedSnaps(): IntervalSet {
    return this.#host.view.map.removedSnapsQueue.get(this.id.pool) ?? [];
  }

  #createView(): PgView {
    const host = this.#host;
    const storage = this.#storage;
    const pg = this.id;
    const view = {
      store: host.store,
      collection: storage.collection,
      poolId: pg.pool,
      seed: pg.seed,
      limits: host.limits,
      crc32c: host.crc32c,
      isRemovedSnap: (snap: bigint) => intervalsContain(this.#removedSnaps(), snap),
      watchesOf: (id: ObjectId) => this.#watches.of(id),
      nextNotifyId: () => host.nextNotifyId(),
      nowMs: () => host.env.clock.now(),
      randomBytes: (length: number) => host.env.random.bytes(length),
      get pool() {
        const pool = host.view.map.pool(pg.pool);
        if (!pool) throw new RadosError('ENOENT', `pool ${pg.pool} is gone`);
        return pool;
      },
      get epoch() {
        return host.view.epoch;
      },
      get lastUpdate() {
        return storage.info.lastUpdate;
      },
      get lastUserVersion() {
        return storage.info.lastUserVersion;
      },
    };
    return view;
  }
}

function checkAlive(interval: Interval): void {
  if (interval.ended) throw new Interrupted('the interval ended');
}
