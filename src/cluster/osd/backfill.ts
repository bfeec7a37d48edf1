/**
 * Fills the copies of members whose logs share nothing with the PG's: object after object, in the PG's order.
 *
 *   lastBackfill    a member has everything up to here: the clients' writes go to it as to any other
 *   the object      that is on its way: its lane is held, writes before it in the order go to the member too
 *   beyond          the member gets log entries alone
 *
 * Each step is kept with the member's copy, so that the next interval goes on where this one got to.
 */

import { isRadosError, RadosError } from '../../base/errors.js';
import { sleep } from '../../base/environment.js';
import { NOSNAP, type PgId } from '../../encoding/types.js';
import { OSDMAP_FLAG } from '../../osdmap/osdmap.js';
import { atSnap, compareObjects, headKey, type ObjectId } from '../store/object-id.js';
import { Interrupted, type Interval } from './interval.js';
import type { OsdPeer, PgChange } from './osd-peer.js';
import type { PgHost } from './pg-host.js';
import type { PgStorage } from './pg-storage.js';
import { snapSetOf } from './snapshots.js';

export interface BackfillOptions {
  readonly pg: PgId;
  readonly host: PgHost;
  readonly storage: PgStorage;
  readonly interval: Interval;
  /** Who is filled, and up to where it is. */
  readonly targets: ReadonlyMap<number, ObjectId | undefined>;
  /** The primary itself has everything, or the interval ended. */
  readonly untilWhole: () => Promise<void> | undefined;
  readonly inLane: (key: string, act: () => Promise<void>) => Promise<void>;
  readonly onDone: () => void;
}

const RETRY_MS = 500;

export class Backfill {
  readonly #options: BackfillOptions;
  /** Up to where writes go to a member. */
  readonly #reached: Map<number, ObjectId | 'end' | undefined>;

  constructor(options: BackfillOptions) {
    this.#options = options;
    this.#reached = new Map(options.targets);
  }

  /** Members that are not complete. */
  get left(): number {
    return this.#reached.size;
  }

  /** What a member gets of a change: all of it, or its entry alone. */
  changeFor(osd: number, object: ObjectId, change: PgChange): PgChange {
    if (!this.#reached.has(osd)) return change;
    const last = this.#reached.get(osd);
    const isThere =
      last === 'end' || (last !== undefined && compareObjects(atSnap(object, NOSNAP), last) <= 0);
    return isThere ? change : { ops: [], entry: change.entry };
  }

  start(): void {
    for (const osd of this.#options.targets.keys()) {
      this.#fill(osd).catch((error: unknown) => {
        if (error instanceof Interrupted) return;
        this.#options.host.log.warn({ osd, err: error }, 'a backfill ended');
      });
    }
  }

  async #fill(osd: number): Promise<void> {
    const { pg, host, interval, targets, untilWhole, onDone } = this.#options;
    await untilWhole();
    let last = targets.get(osd);
    for (;;) {
      interval.check();
      if (host.view.map.hasFlag(OSDMAP_FLAG.NOBACKFILL)) {
        await sleep(host.env, RETRY_MS);
        continue;
      }
      const release = await host.recoverySlots.acquire();
      try {
        interval.check();
        // In one turn: what comes to be before `next` from now on goes to the member by itself.
        const next = this.#nextBehind(last);
        this.#reached.set(osd, next ?? 'end');
        if (!next) break;
        await this.#fillOne(osd, next);
        last = next;
      } finally {
        release();
      }
    }
    await this.#untilTaken(osd, (member) => member.endBackfill(pg, interval.since));
    this.#reached.delete(osd);
    if (this.#reached.size === 0) onDone();
  }

  /** The head of the first object behind `last`, even when only clones of it are left. */
  #nextBehind(last: ObjectId | undefined): ObjectId | undefined {
    const { host, storage } = this.#options;
    const found = host.store
      .list(storage.collection, last, 2)
      .find((id) => last === undefined || compareObjects(id, last) > 0);
    return found && atSnap(found, NOSNAP);
  }

  async #fillOne(osd: number, head: ObjectId): Promise<void> {
    const { pg, host, storage, interval, inLane } = this.#options;
    const { store } = host;
    const { collection } = storage;
    await inLane(headKey(head), () =>
      this.#untilTaken(osd, (member) => {
        const { clones } = snapSetOf(store, collection, head);
        const ids = [...clones.map(({ id }) => atSnap(head, id)), head];
        const objects = ids.map((id) => ({ id, object: store.dump(collection, id) }));
        return member.backfill(pg, interval.since, objects, head);
      }),
    );
    interval.check();
  }

  /** Rejects when the interval ended. */
  async #untilTaken(osd: number, act: (member: OsdPeer) => Promise<void>): Promise<void> {
    const { host, interval } = this.#options;
    for (;;) {
      try {
        const member = host.peers.osd(osd);
        if (!member) {
          host.reportFailure(osd);
          throw new RadosError('EAGAIN', `osd.${osd} is gone`);
        }
        await act(member);
        interval.check();
        return;
      } catch (error) {
        interval.check();
        if (!isRadosError(error)) throw error;
        host.log.debug({ osd, err: error }, 'a backfill waits');
      }
      await sleep(host.env, RETRY_MS);
      interval.check();
    }
  }
}
