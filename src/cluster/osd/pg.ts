/**
 * A placement group on one OSD: which interval it is in, and what it is in it.
 *
 *   idle        not a member
 *   replica     a member; the primary tells it what to do
 *   undersized  primary, but too few members are up to serve (min_size)
 *   peering     primary, finding out what the PG's content is
 *   down        primary, but an OSD that may know of newer writes is missing
 *   incomplete  primary, but nobody who is up has a whole copy
 *   active      primary, serving (`pg-primary.ts`)
 *
 * When an interval ends, requests that were not answered wait for the next activation and start again, in the order
 * of arrival; what was already committed is then recognised by its request id.
 */

import { RadosError } from '../../base/errors.js';
import { formatPgId, type PgId } from '../../encoding/types.js';
import { stableMod } from '../../osdmap/object-hash.js';
import type { PastInterval } from '../store/pg-record.js';
import type { ClientOp } from './client-op.js';
import type { ClientSession } from './client-request.js';
import { Interrupted, Interval } from './interval.js';
import {
  type IntervalStart,
  intervalStart,
  isAliveThrough,
  maybeWrote,
  type PgPlace,
  pastIntervals,
  placeOf,
} from './intervals.js';
import { LiveRequests } from './live-requests.js';
import type { CopySource } from './op-context.js';
import type { CopyTarget } from './osd-peer.js';
import { type ActivePeering, type BlockedPeering, peer } from './peering.js';
import type { PgHost } from './pg-host.js';
import { pgEnd, pgStart } from './pg-listing.js';
import { PgMember } from './pg-member.js';
import { PgPrimary } from './pg-primary.js';
import { PgStorage } from './pg-storage.js';
import { PgWatches } from './pg-watches.js';
import { Blocker } from './pipeline/blocker.js';
import type { Phase } from './pipeline/phase.js';
import { PgPipeline } from './pipeline/pg-pipeline.js';
import { formatPgState, type PgStat, type PgStatePart } from './pg-state.js';
import { PgScrubs } from './scrub/pg-scrubs.js';
import type { ScrubKind } from './scrub/scrubber.js';

export type PgState =
  | 'idle'
  | 'replica'
  | 'undersized'
  | 'peering'
  | 'down'
  | 'incomplete'
  | 'active';

/** Peering takes less, or something is wrong: clients are sent away then. Ceph lets them wait (`osd_backoff_on_peering`). */
const PEERING_PATIENCE_MS = 2000;
const PEERING_RETRY_MS = 200;
const DOWN_RETRY_MS = 1000;

export class Pg {
  readonly id: PgId;
  /** Its copy, as other OSDs ask of it. */
  readonly member: PgMember;
  readonly #host: PgHost;
  readonly #storage: PgStorage;
  readonly #requests = new LiveRequests();
  #place: PgPlace | undefined;
  #interval = new Interval({ epoch: 0, isKnown: true });
  #state: PgState = 'idle';
  #primary: PgPrimary | undefined;
  readonly #pipeline: PgPipeline;
  readonly #mapGate = new Blocker('osdmap_gate');
  readonly #notActive = new Blocker('pg_active');
  /** Nobody knows for how long it cannot serve. */
  #cannotServe: Blocker | undefined;
  /** When the PG began to peer (monotonic). */
  #peeringSinceMs = 0;
  #mapEpoch = 0;
  readonly #watches: PgWatches;
  readonly #scrubs = new PgScrubs(() => this.#primary?.scrubber);

  constructor(id: PgId, host: PgHost) {
    this.id = id;
    this.#host = host;
    this.#storage = new PgStorage(id, host);
    this.#pipeline = new PgPipeline(host.pipeline, host.pipelineMode, formatPgId(id));
    // One that times out while nobody serves is seen to by whoever serves next.
    this.#watches = new PgWatches(host, (watch) => this.#primary?.expire(watch));
    const interval = () => this.#interval;
    this.member = new PgMember({ pg: id, host, storage: this.#storage, interval });
  }

  get state(): PgState {
    return this.#state;
  }

  /** As Ceph writes it; undefined when this OSD is not its primary. */
  get stateName(): string | undefined {
    if (this.#state === 'idle' || this.#state === 'replica' || !this.#place) return undefined;
    const parts = new Set<PgStatePart>();
    const { acting, size } = this.#place;
    const { recovery, backfill } = this.#primary ?? {};
    const hasObjects = this.#host.store.list(this.#storage.collection, undefined, 1).length > 0;
    if (acting.length < size) {
      parts.add('undersized');
      if (hasObjects) parts.add('degraded');
    }
    if (recovery?.unfound) parts.add('recovery_unfound').add('degraded');
    else if (recovery?.left) parts.add('recovering').add('degraded');
    else if (recovery && acting.length >= size && !backfill?.left) parts.add('clean');
    if (backfill?.left) parts.add('backfilling').add('degraded');
    const scrub = this.#primary?.scrubber.kind;
    if (scrub) parts.add('scrubbing');
    if (scrub?.deep) parts.add('deep');
    if (scrub?.repair) parts.add('repair');
    if (this.#scrubs.errors > 0) parts.add('inconsistent');
    if (this.#place.up.join() !== acting.join()) parts.add('remapped');
    if (this.#state === 'undersized') parts.add('peered');
    else if (this.#state === 'down') parts.add('down').add('peering');
    else parts.add(this.#state);
    return formatPgState(parts);
  }

  /** For the monitor; undefined when this OSD is not its primary. Looks at every object. */
  stat(): PgStat | undefined {
    const state = this.stateName;
    const place = this.#place;
    if (state === undefined || !place) return undefined;
    const { store } = this.#host;
    const { collection } = this.#storage;
    const { acting, up, size } = place;
    const ids = store.list(collection, undefined, Number.MAX_SAFE_INTEGER);
    const objects = ids.length;
    const bytes = ids.reduce((sum, id) => sum + (store.get(collection, id)?.size ?? 0), 0);
    const { recovery, backfill } = this.#primary ?? {};
    const absent = Math.max(0, size - acting.length) + (backfill?.left ?? 0);
    const degraded = objects * absent + (recovery?.left ?? 0);
    const copies = objects * size;
    return {
      ...{ pg: this.id, state, up, acting, objects, bytes, copies },
      degraded: Math.min(copies, degraded),
      unfound: recovery?.unfound ?? 0,
      scrubErrors: this.#scrubs.errors,
    };
  }

  /** While this OSD serves the PG. */
  get active(): PgPrimary | undefined {
    return this.#primary;
  }

  // ---- requests ----

  /** Takes a request of which this OSD is the primary. It waits while the PG is not active. */
  handle(op: ClientOp): void {
    if (this.#requests.add(op)) this.#enter(op);
    else op.attached();
  }

  #enter(op: ClientOp): void {
    const { waitMap, waitReady } = this.#pipeline;
    op.interval = this.#interval;
    if (waitMap) op.enter(waitMap, this.#waitMap);
    else op.enter(waitReady, this.#waitReady);
  }

  readonly #waitMap = (op: ClientOp): void => {
    if (op.client.request.epoch > this.#mapEpoch) op.waitFor(this.#mapGate, this.#waitMap);
    else op.enter(this.#pipeline.waitReady, this.#waitReady);
  };

  readonly #waitReady = (op: ClientOp): void => {
    if (op.client.request.epoch > this.#mapEpoch) op.waitFor(this.#mapGate, this.#waitReady);
    else if (op.heldBack) op.drop('held back');
    else if (this.#cannotServe) this.#sendAway(op, this.#cannotServe);
    else if (!this.#primary) op.waitFor(this.#notActive, this.#waitReady);
    else this.#primary.path.start(op);
  };

  /** Whoever can wait elsewhere does. */
  #sendAway(op: ClientOp, blocker: Blocker): void {
    const { pool, seed } = this.id;
    const { pgNum } = this.#place as PgPlace;
    const range = { begin: pgStart(pool, seed), end: pgEnd(pool, seed, pgNum) };
    if (op.session.backoffs?.block(this.id, range, blocker)) op.drop('sent away');
    else op.waitFor(blocker, this.#waitReady);
  }

  #stopServing(): void {
    this.#cannotServe ??= new Blocker('pg_active', this.#state);
    // Those that wait look again.
    this.#notActive.lift();
  }

  #mayServeAgain(): void {
    const blocker = this.#cannotServe;
    this.#cannotServe = undefined;
    blocker?.lift();
  }

  /** Now and then. */
  onTick(): void {
    if (this.#state !== 'peering') return;
    const { clock } = this.#host.env;
    if (clock.monotonic() - this.#peeringSinceMs >= PEERING_PATIENCE_MS) this.#stopServing();
  }

  busyPhases(): Phase[] {
    return this.#pipeline.busy();
  }

  sessionClosed(session: ClientSession): void {
    this.#watches.sessionClosed(session);
  }

  // ---- maps and intervals ----

  /** Takes a new map into account. False when the PG does not exist any more. */
  onMap(): boolean {
    const { view } = this.#host;
    const place = placeOf(view, this.id);
    if (!place) return false;
    const isNew = !this.#place;
    if (isNew) this.#catchUp(view.epoch);
    if (place.identity !== this.#place?.identity) {
      // Its members know it by its first epoch, whoever comes later.
      const viewAt = (epoch: number) => this.#host.viewAt(epoch);
      const { epoch } = view;
      const start = isNew ? intervalStart(this.id, view, viewAt) : { epoch, isKnown: true };
      this.#startInterval(place, start);
    } else this.#primary?.onMap();
    this.#mapEpoch = view.epoch;
    this.#mapGate.lift();
    this.#storage.note({ mapEpoch: view.epoch, pgNum: place.pgNum });
    return true;
  }

  /** Some of its objects are going to belong to others. Nothing goes on until the next map. */
  beginSplit(): void {
    this.#endInterval();
    this.#scrubs.forget();
  }

  endSplit(): void {
    this.#storage.reload();
  }

  /** The PG or its OSD goes away. */
  stop(): void {
    this.#endInterval();
    this.#state = 'idle';
    this.#dropRequests();
  }

  async destroy(): Promise<void> {
    this.stop();
    await this.#storage.remove();
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
    this.#storage.note({ pastIntervals: [...info.pastIntervals, ...missed] });
  }

  #existingOsds(): number[] {
    const { map } = this.#host.view;
    return Array.from({ length: map.maxOsd }, (_, osd) => osd).filter((osd) => map.exists(osd));
  }

  #startInterval(place: PgPlace, start: IntervalStart): void {
    const { epoch } = start;
    this.#rememberInterval(epoch - 1);
    this.#endInterval();
    this.#interval = new Interval(start);
    this.#place = place;
    const { whoami } = this.#host;
    if (place.primary !== whoami) {
      this.#state = place.acting.includes(whoami) ? 'replica' : 'idle';
      this.#dropRequests();
      return;
    }
    this.#state = place.acting.length < place.minSize ? 'undersized' : 'peering';
    if (this.#state === 'undersized') this.#stopServing();
    this.#peeringSinceMs = this.#host.env.clock.monotonic();
    this.#requeue();
    this.#host.log.debug(
      { pg: formatPgId(this.id), epoch, acting: place.acting, state: this.#state },
      'interval begins',
    );
    if (this.#state === 'peering') this.#peer();
  }

  /** What a later peering must ask about: an interval in which writes may have been acknowledged. */
  #rememberInterval(last: number): void {
    const { since, start } = this.#interval;
    const { lastEpochStarted, pastIntervals: past } = this.#storage.info;
    if (!this.#place || since <= lastEpochStarted) return;
    if (!maybeWrote(this.#place, start, this.#host.viewAt(last))) return;
    const interval = { first: since, last, acting: this.#place.acting };
    this.#storage.note({ pastIntervals: [...past, interval] });
  }

  /** The map's: nothing goes on as before. */
  #endInterval(): void {
    this.#endServing();
    this.#watches.discard();
  }

  #endServing(): void {
    this.#interval.end();
    this.#primary?.end();
    this.#primary = undefined;
    this.#mayServeAgain();
  }

  /** What was not answered starts again in the new interval, in the order of arrival. */
  #requeue(): void {
    this.#host.pipeline.log?.interval(formatPgId(this.id), this.#interval.since);
    const { pgNum } = this.#place as PgPlace;
    for (const op of this.#requests.takeAll()) {
      // Nobody waits for it, and the client sends it again on its next connection.
      if (op.session.closed && !op.submitted) {
        op.drop('session closed');
        continue;
      }
      // The client has sent it to the PG that has the object now, or will.
      if (stableMod(op.client.request.hash, pgNum) !== this.id.seed) {
        this.#host.shareMap(op.session);
        op.drop('the PG was split');
        continue;
      }
      const next = op.interrupt();
      this.#requests.add(next);
      this.#enter(next);
    }
  }

  /** Not primary any more: clients learn from the map where to go. */
  #dropRequests(): void {
    for (const op of this.#requests.takeAll()) {
      this.#host.shareMap(op.session);
      op.drop('not primary');
    }
  }

  // ---- peering ----

  #peer(): void {
    const host = this.#host;
    const interval = this.#interval;
    const { acting, minSize } = this.#place as PgPlace;
    const { map } = host.view;
    peer({
      pg: this.id,
      whoami: host.whoami,
      since: interval.since,
      acting,
      minSize,
      up: this.#existingOsds().filter((osd) => map.isUp(osd)),
      peers: host.peers,
      check: () => interval.check(),
      becomeAlive: () => this.#becomeAlive(interval),
      fullHistory: () => this.#fullHistory(interval.since - 1),
      onDead: (osd) => host.reportFailure(osd),
      handOver: (osds) => host.requestPgTemp(this.id, osds),
    }).then(
      (result) => {
        if (interval.ended) return;
        if (result.kind === 'active') this.#activated(acting, result);
        else if (result.kind === 'handedOver') this.#retryPeering(DOWN_RETRY_MS);
        else this.#waitForOsds(result);
      },
      (error: unknown) => {
        if (interval.ended || error instanceof Interrupted) return;
        host.log.debug({ pg: formatPgId(this.id), err: error }, 'peering failed, trying again');
        this.#retryPeering(PEERING_RETRY_MS);
      },
    );
  }

  /** Later peerings know by it that this interval may have been served. */
  async #becomeAlive(interval: Interval): Promise<void> {
    const host = this.#host;
    while (!isAliveThrough(host.view, host.whoami, interval.since)) {
      host.reportAlive();
      await host.mapReached(host.view.epoch + 1);
      interval.check();
    }
  }

  #waitForOsds({ kind, blockedBy }: BlockedPeering): void {
    this.#state = kind;
    this.#stopServing();
    this.#host.log.warn(
      { pg: formatPgId(this.id), state: kind, blockedBy },
      'waiting for OSDs to come back',
    );
    this.#retryPeering(DOWN_RETRY_MS);
  }

  #retryPeering(delayMs: number): void {
    const interval = this.#interval;
    this.#host.env.timers.after(
      delayMs,
      () => {
        if (!interval.ended) this.#peer();
      },
      { background: true },
    );
  }

  /** Since the pool exists, or as far back as maps are kept. */
  #fullHistory(last: number): PastInterval[] {
    let first = last;
    while (first > 1 && this.#host.viewAt(first)?.map.pool(this.id.pool)) first--;
    return pastIntervals(
      this.id,
      first,
      last,
      (epoch) => this.#host.viewAt(epoch),
      // A map that is gone is from before the pool, or nobody would have forgotten the PG.
      () => [],
    );
  }

  #activated(acting: readonly number[], { strays, missing, backfill }: ActivePeering): void {
    const { since } = this.#interval;
    this.#state = 'active';
    this.#host.log.debug({ pg: formatPgId(this.id), since }, 'active');
    const primary = new PgPrimary({
      pg: this.id,
      host: this.#host,
      storage: this.#storage,
      pipeline: this.#pipeline,
      interval: this.#interval,
      watches: this.#watches,
      acting,
      missing,
      backfill,
      onCommitFailed: (error) => this.#peerAgain(error),
      onClean: () => this.#onClean(strays),
      scrubs: () => ({ result: this.#scrubs.result, since }),
    });
    this.#primary = primary;
    this.#mayServeAgain();
    this.#notActive.lift();
    primary.onMap();
    primary.start();
    this.#scrubs.run();
  }

  /** Somebody wants one: now, or when the PG is clean. False: this OSD is not its primary. */
  requestScrub(kind: ScrubKind): boolean {
    if (this.stateName === undefined) return false;
    this.#scrubs.request(kind);
    return true;
  }

  /** Not before: until then a stray may be the only one that has something. */
  #onClean(strays: readonly number[]): void {
    const { up, acting, size } = this.#place as PgPlace;
    for (const osd of acting.length < size ? [] : strays) {
      const stray = this.#host.peers.osd(osd);
      // One that does not hear it keeps a copy that no peering will choose.
      stray?.removePg(this.id, this.#interval.since).catch(() => {});
    }
    // Those that it belongs to can serve it: all of them are members, and have everything.
    const isRemapped = up.join() !== acting.join() && up.every((osd) => acting.includes(osd));
    if (isRemapped) this.#host.requestPgTemp(this.id, []);
  }

  /**
   * A member did not take a change. Mostly the next map says why and begins a new interval; if none comes, the members
   * are made equal again within this one. Until then nothing is served: that member has the PG as it was before.
   */
  #peerAgain(error: unknown): void {
    this.#host.log.debug({ pg: formatPgId(this.id), err: error }, 'a member missed a change');
    this.#endServing();
    this.#interval = this.#interval.again();
    this.#state = 'peering';
    this.#peeringSinceMs = this.#host.env.clock.monotonic();
    this.#requeue();
    this.#retryPeering(PEERING_RETRY_MS);
  }

  // ---- what other OSDs ask, beside its copy ----

  /** Not if it became a member meanwhile. */
  mayRemove(since: number): boolean {
    return since >= this.#interval.since && this.#state === 'idle';
  }

  copySource(target: CopyTarget, hash: number): CopySource {
    if (!this.#primary) throw new RadosError('EAGAIN', 'the PG is not active');
    return this.#primary.copySource(target, hash);
  }
}
