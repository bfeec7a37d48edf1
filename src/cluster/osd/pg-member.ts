/**
 * What other OSDs ask of one copy of a PG (`OsdPeer`), as its primary or on the way to be.
 *
 * The caller has waited for the map of `since`, in which the interval of whoever asks began. Who knows less than this OSD
 * is refused: an old primary can change nothing any more. Who only asks is answered where this OSD cannot tell: it came to a
 * PG that it is no member of, whose interval is older than the maps that are kept, and who serves that knows when it began.
 */

import { RadosError } from '../../base/errors.js';
import { type Eversion, formatPgId, type PgId } from '../../encoding/types.js';
import type { ObjectId } from '../store/object-id.js';
import type { Interval } from './interval.js';
import type { PgHistory } from './log-merge.js';
import type { BackfillStart, PgCopy, RecoveredObject, ReplicatedChange } from './osd-peer.js';
import type { PgHost } from './pg-host.js';
import type { PgStorage } from './pg-storage.js';
import { copyPg } from './recovery.js';
import type { ScrubbedObject, ScrubRange } from './scrub/scrub-map.js';
import { answerScrubMap } from './scrub/scrubber.js';

export interface PgMemberOptions {
  readonly pg: PgId;
  readonly host: PgHost;
  readonly storage: PgStorage;
  /** The one that this OSD is in. */
  readonly interval: () => Interval;
}

export class PgMember {
  readonly #options: PgMemberOptions;
  readonly #storage: PgStorage;

  constructor(options: PgMemberOptions) {
    this.#options = options;
    this.#storage = options.storage;
  }

  #fence(since: number): void {
    const { pg, interval } = this.#options;
    if (since < interval().since) {
      throw new RadosError('ESTALE', `${formatPgId(pg)}: interval ${since} is over`);
    }
  }

  /** Of who changes nothing here. */
  #fenceReader(since: number): void {
    if (this.#options.interval().start.isKnown) this.#fence(since);
  }

  query(since: number): PgCopy | undefined {
    this.#fenceReader(since);
    return this.#storage.known ? this.#storage.copy() : undefined;
  }

  history(since: number): PgHistory {
    this.#fenceReader(since);
    return this.#storage.history();
  }

  merge(since: number, authority: PgHistory): Promise<readonly ObjectId[] | undefined> {
    this.#fence(since);
    return this.#storage.merge(authority);
  }

  listObjects(since: number, from: ObjectId | undefined, max: number): ObjectId[] {
    this.#fenceReader(since);
    return this.#options.host.store.list(this.#storage.collection, from, max);
  }

  pull(since: number, id: ObjectId, asOf: Eversion): RecoveredObject | undefined {
    this.#fenceReader(since);
    return this.#storage.give(id, asOf);
  }

  push(since: number, objects: readonly RecoveredObject[]): Promise<void> {
    this.#fence(since);
    return this.#storage.recovered(objects);
  }

  beginBackfill(since: number, authority: PgHistory): Promise<BackfillStart> {
    this.#fence(since);
    return this.#storage.beginBackfill(authority);
  }

  backfill(since: number, objects: readonly RecoveredObject[], last: ObjectId): Promise<void> {
    this.#fence(since);
    return this.#storage.backfill(objects, last);
  }

  endBackfill(since: number): Promise<void> {
    this.#fence(since);
    return this.#storage.endBackfill();
  }

  async recover(since: number, source: number): Promise<void> {
    this.#fence(since);
    const { pg, host } = this.#options;
    const interval = this.#options.interval();
    const from = host.peers.osd(source);
    if (!from) throw new RadosError('EAGAIN', `osd.${source} is gone`);
    const target = {
      ...{ pg, since, storage: this.#storage },
      check: () => interval.check(),
      yield: () => new Promise<void>((resolve) => host.env.timers.nextTurn(resolve)),
    };
    await copyPg(target, from);
  }

  activate(since: number): Promise<void> {
    this.#fence(since);
    return this.#storage.update({ lastEpochStarted: since, pastIntervals: [] });
  }

  scrubMap(since: number, range: ScrubRange, deep: boolean): Promise<ScrubbedObject[]> {
    this.#fence(since);
    return answerScrubMap(this.#options.host, this.#storage.collection, range, deep);
  }

  replicate(since: number, change: ReplicatedChange): Promise<void> {
    this.#fence(since);
    return this.#storage.replicate(change);
  }
}
