/**
 * A placement group on one OSD: which interval it is in, and what it is in it.
 *
 *   idle        not a member
 *   replica     a member; the primary tells it what to do
 *   undersized  primary, but too few members are up to serve (min_size)
 *   peering     primary, finding out what the PG's content is
 *   down        primary, but an OSD that may know of newer writes is missing
 *   active      primary, serving (`pg-primary.ts`)
 *
 * When an interval ends, requests that were not answered wait for the next activation and start again, in the order
 * of arrival; what was already committed is then recognised by its request id.
 */

import { RadosError } from '../../base/errors.js';
import { formatPgId, type PgId } from '../../encoding/types.js';
import type { PastInterval } from '../store/pg-record.js';
import type { ClientRequest, ClientSession } from './client-request.js';
import { Interrupted, Interval } from './interval.js';
import { maybeWrote, type PgPlace, pastIntervals, placeOf } from './intervals.js';
import { LiveRequests } from './live-requests.js';
import type { CopySource } from './op-context.js';
import type { CopyTarget, ReplicatedChange } from './osd-peer.js';
import { peer } from './peering.js';
import type { PgHost } from './pg-host.js';
import { PgPrimary } from './pg-primary.js';
import { PgStorage } from './pg-storage.js';
import { copyPg } from './recovery.js';

export type PgState = 'idle' | 'replica' | 'undersized' | 'peering' | 'down' | 'active';

const PEERING_RETRY_MS = 200;
const DOWN_RETRY_MS = 1000;

export class Pg {
  readonly id: PgId;
  readonly #host: PgHost;
  readonly #storage: PgStorage;
  readonly #requests: LiveRequests;
  #place: PgPlace | undefined;
  #interval = new Interval(0);
  #state: PgState = 'idle';
  #primary: PgPrimary | undefined;

  constructor(id: PgId, host: PgHost) {
    this.id = id;
    this.#host = host;
    this.#storage = new PgStorage(id, host.store);
    this.#requests = new LiveRequests(host.classes);
  }

  get state(): PgState {
    return this.#state;
  }

  /** While this OSD serves the PG. */
  get active(): PgPrimary | undefined {
    return this.#primary;
  }

  // ---- requests ----

  /** Takes a request of which this OSD is the primary. It waits while the PG is not active. */
  handle(client: ClientRequest): void {
    const live = this.#requests.add(client);
    if (live) this.#primary?.dispatch(live);
  }

  sessionClosed(session: ClientSession): void {
    this.#primary?.sessionClosed(session);
  }

  // ---- maps and intervals ----

  /** Takes a new map into account. False when the PG does not exist any more. */
  onMap(): boolean {
    const { view } = this.#host;
    const place = placeOf(view, this.id);
    if (!place) return false;
    if (!this.#place) this.#catchUp(view.epoch);
    if (place.identity !== this.#place?.identity) this.#startInterval(place, view.epoch);
    else this.#primary?.onMap();
    this.#storage.note({ mapEpoch: view.epoch });
    return true;
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

  #startInterval(place: PgPlace, epoch: number): void {
    this.#rememberInterval(epoch - 1);
    this.#endInterval();
    this.#interval = new Interval(epoch);
    this.#place = place;
    const { whoami } = this.#host;
    if (place.primary !== whoami) {
      this.#state = place.acting.includes(whoami) ? 'replica' : 'idle';
      this.#dropRequests();
      return;
    }
    this.#state = place.acting.length < place.minSize ? 'undersized' : 'peering';
    this.#host.log.debug(
      { pg: formatPgId(this.id), epoch, acting: place.acting, state: this.#state },
      'interval begins',
    );
    if (this.#state === 'peering') this.#peer();
  }

  /** What a later peering must ask about: an interval in which writes may have been acknowledged. */
  #rememberInterval(last: number): void {
    const { since } = this.#interval;
    const { lastEpochStarted, pastIntervals: past } = this.#storage.info;
    if (!this.#place || !maybeWrote(this.#place) || since <= lastEpochStarted) return;
    const interval = { first: since, last, acting: this.#place.acting };
    this.#storage.note({ pastIntervals: [...past, interval] });
  }

  #endInterval(): void {
    this.#interval.end();
    this.#primary?.end();
    this.#primary = undefined;
  }

  /** Not primary any more: clients learn from the map where to go. */
  #dropRequests(): void {
    for (const { client } of this.#requests.takeAll()) {
      this.#host.shareMap(client.session);
      client.release();
    }
  }

  // ---- peering ----

  #peer(): void {
    const host = this.#host;
    const interval = this.#interval;
    const { acting } = this.#place as PgPlace;
    const { map } = host.view;
    peer({
      pg: this.id,
      since: interval.since,
      acting,
      up: this.#existingOsds().filter((osd) => map.isUp(osd)),
      peers: host.peers,
      check: () => interval.check(),
      fullHistory: () => this.#fullHistory(interval.since - 1),
      onDead: (osd) => host.reportFailure(osd),
    }).then(
      (result) => {
        if (interval.ended) return;
        if (result.kind === 'active') this.#activated(acting, result.strays);
        else this.#waitForOsds(result.blockedBy);
      },
      (error: unknown) => {
        if (interval.ended || error instanceof Interrupted) return;
        host.log.debug({ pg: formatPgId(this.id), err: error }, 'peering failed, trying again');
        this.#retryPeering(PEERING_RETRY_MS);
      },
    );
  }

  #waitForOsds(blockedBy: number[]): void {
    this.#state = 'down';
    this.#host.log.warn({ pg: formatPgId(this.id), blockedBy }, 'waiting for OSDs to come back');
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

  #activated(acting: readonly number[], strays: readonly number[]): void {
    const { since } = this.#interval;
    this.#state = 'active';
    this.#host.log.debug({ pg: formatPgId(this.id), since }, 'active');
    const primary = new PgPrimary({
      pg: this.id,
      host: this.#host,
      storage: this.#storage,
      requests: this.#requests,
      interval: this.#interval,
      acting,
      onCommitFailed: (error) => this.#peerAgain(error),
    });
    this.#primary = primary;
    for (const osd of strays) {
      const stray = this.#host.peers.osd(osd);
      // One that does not hear it keeps a copy that no peering will choose.
      stray?.removePg(this.id, since).catch(() => {});
    }
    for (const live of this.#requests.all()) primary.dispatch(live);
    primary.onMap();
  }

  /**
   * A member did not take a change. Mostly the next map says why and begins a new interval; if none comes, the members
   * are made equal again within this one.
   */
  #peerAgain(error: unknown): void {
    const interval = this.#interval;
    this.#host.log.debug({ pg: formatPgId(this.id), err: error }, 'a member missed a change');
    this.#host.env.timers.after(
      PEERING_RETRY_MS,
      () => {
        if (interval.ended) return;
        this.#endInterval();
        this.#interval = new Interval(interval.since);
        this.#state = 'peering';
        this.#peer();
      },
      { background: true },
    );
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
    const target = {
      pg: this.id,
      collection,
      store,
      check: () => interval.check(),
      yield: () => new Promise<void>((resolve) => this.#host.env.timers.nextTurn(resolve)),
    };
    try {
      await copyPg(target, from);
    } finally {
      this.#storage.reload();
    }
  }

  activate(since: number): Promise<void> {
    this.#fence(since);
    return this.#storage.update({
      lastEpochStarted: since,
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

  copySource(target: CopyTarget, hash: number): CopySource {
    if (!this.#primary) throw new RadosError('EAGAIN', 'the PG is not active');
    return this.#primary.copySource(target, hash);
  }
}
