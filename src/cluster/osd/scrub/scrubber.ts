/**
 * Compares what the members of a PG have, a chunk of objects after the other (`osd/scrubber/pg_scrubber.cc`).
 *
 * While a chunk is looked at, clients' writes to its objects wait. Those that were under way are waited for; a change of the
 * PG's own that comes in between has the chunk looked at again. A deep scrub reads the data; a repair is a deep scrub
 * that copies the right copy over the wrong ones: in the object's lane, where it looks once more, since the object may have
 * changed before its turn came.
 */

import { sleep } from '../../../base/environment.js';
import { isRadosError, RadosError } from '../../../base/errors.js';
import { LinkedList, type Place } from '../../../base/linked-list.js';
import { formatPgId, type PgId, SNAPDIR } from '../../../encoding/types.js';
import { atSnap, formatObject, headKey, type ObjectId } from '../../store/object-id.js';
import type { Interval } from '../interval.js';
import type { OpClass } from '../op-class.js';
import type { OsdPeer } from '../osd-peer.js';
import type { PgHost } from '../pg-host.js';
import type { PgStorage } from '../pg-storage.js';
import { Blocker } from '../pipeline/blocker.js';
import { compareMaps, type Inconsistency } from './compare.js';
import { inRange, scrubMap, type ScrubbedObject, type ScrubRange } from './scrub-map.js';

export interface ScrubKind {
  readonly deep: boolean;
  readonly repair: boolean;
}

/** What the last scrub of a PG left. */
export interface ScrubResult {
  /** Those that are still there. */
  readonly inconsistencies: readonly Inconsistency[];
}

export interface ScrubberOptions {
  readonly pg: PgId;
  readonly host: PgHost;
  readonly storage: PgStorage;
  readonly interval: Interval;
  readonly acting: readonly number[];
  /** Every member has everything that the logs tell of: else there is nothing to compare. */
  readonly isClean: () => boolean;
  /** Runs `act` in a lane; resolves after it, or when the interval ended. */
  readonly inLane: (key: string, act: () => Promise<void>) => Promise<void>;
  /** This OSD has another copy of an object now. */
  readonly onReplaced: (id: ObjectId) => void;
}

/** `osd_scrub_chunk_max` */
const CHUNK_OBJECTS = 25;
const RETRY_MS = 500;
/** Kept, and listed: what is damaged beyond this is counted only. */
const MAX_LISTED = 10_000;

interface Chunk extends ScrubRange {
  readonly blocker: Blocker;
  /** Something in it has changed meanwhile. */
  changed: boolean;
}

export class Scrubber {
  readonly #options: ScrubberOptions;
  /** Objects that are being changed. */
  readonly #underWay = new LinkedList<ObjectId>();
  #chunk: Chunk | undefined;
  #quiet: { readonly range: ScrubRange; readonly resolve: () => void } | undefined;
  #kind: ScrubKind | undefined;

  constructor(options: ScrubberOptions) {
    this.#options = options;
  }

  /** What it is at. */
  get kind(): ScrubKind | undefined {
    return this.#kind;
  }

  /** What keeps a client's write. */
  blocker(head: ObjectId, { mayWrite }: OpClass): Blocker | undefined {
    const chunk = this.#chunk;
    return chunk && mayWrite && inRange(head, chunk) ? chunk.blocker : undefined;
  }

  /** A change is sent to the members. */
  writing(object: ObjectId): Place<ObjectId> {
    if (this.#chunk && inRange(object, this.#chunk)) this.#chunk.changed = true;
    return this.#underWay.push(object);
  }

  /** All members have it. */
  written(writing: Place<ObjectId>): void {
    this.#underWay.remove(writing);
    if (this.#quiet && this.#isQuiet(this.#quiet.range)) this.#quiet.resolve();
  }

  /** The interval ended. */
  end(): void {
    this.#quiet?.resolve();
  }

  /** Goes through the whole PG. Rejects with `Interrupted` when the interval ended. One at a time. */
  async run(kind: ScrubKind): Promise<ScrubResult> {
    const { pg, host, interval } = this.#options;
    this.#kind = kind;
    const inconsistencies: Inconsistency[] = [];
    try {
      let from: ObjectId | undefined;
      do {
        const to = this.#endOfChunk(from);
        for (const found of await this.#scrubChunk({ from, to }, kind)) {
          host.log.error(
            { pg: formatPgId(pg), object: formatObject(found.id), wrong: found.wrong },
            'copies of an object differ',
          );
          if (inconsistencies.length < MAX_LISTED) inconsistencies.push(found);
        }
        from = to;
        await new Promise<void>((resolve) => host.env.timers.nextTurn(resolve));
        interval.check();
      } while (from);
    } finally {
      this.#kind = undefined;
    }
    return { inconsistencies };
  }

  /** An object's clones and its head are in one chunk. Undefined: to the end. */
  #endOfChunk(from: ObjectId | undefined): ObjectId | undefined {
    const { host, storage } = this.#options;
    for (let count = CHUNK_OBJECTS; ; count *= 2) {
      const ids = host.store.list(storage.collection, from, count + 1);
      const last = ids.at(-1);
      if (ids.length <= count || !last) return undefined;
      const key = headKey(last);
      const start = ids.findIndex((id) => headKey(id) === key);
      if (start > 0) return ids[start];
    }
  }

  /** What differs in the end. */
  async #scrubChunk(range: ScrubRange, kind: ScrubKind): Promise<Inconsistency[]> {
    const { interval, host } = this.#options;
    for (;;) {
      try {
        const found = await this.#look(range, kind.deep);
        interval.check();
        if (found) return kind.repair ? await this.#repairAll(found) : found;
      } catch (error) {
        interval.check();
        if (!isRadosError(error)) throw error;
        host.log.debug({ err: error }, 'a scrub waits');
      }
      await sleep(host.env, RETRY_MS);
      interval.check();
    }
  }

  /** Undefined: something has changed meanwhile. */
  async #look(range: ScrubRange, deep: boolean): Promise<Inconsistency[] | undefined> {
    const chunk: Chunk = { ...range, blocker: new Blocker('scrub'), changed: false };
    this.#chunk = chunk;
    try {
      const found = await this.#compare(chunk, deep);
      return chunk.changed ? undefined : found;
    } finally {
      this.#chunk = undefined;
      chunk.blocker.lift();
    }
  }

  /** Of a range in which no client begins to change anything. */
  async #compare(range: ScrubRange, deep: boolean): Promise<Inconsistency[]> {
    const { interval, host } = this.#options;
    await this.#untilQuiet(range);
    interval.check();
    return compareMaps(await this.#maps(range, deep), host.whoami);
  }

  #isQuiet(range: ScrubRange): boolean {
    for (const object of this.#underWay) if (inRange(object, range)) return false;
    return true;
  }

  async #untilQuiet(range: ScrubRange): Promise<void> {
    if (!this.#options.isClean()) throw new RadosError('EAGAIN', 'the PG is being recovered');
    if (this.#isQuiet(range)) return;
    await new Promise<void>((resolve) => {
      this.#quiet = { range, resolve };
    });
    this.#quiet = undefined;
  }

  async #maps(range: ScrubRange, deep: boolean): Promise<Map<number, ScrubbedObject[]>> {
    const { pg, host, acting, interval } = this.#options;
    const maps = await Promise.all(
      acting.map(async (osd) => {
        const map = await this.#member(osd).scrubMap(pg, interval.since, range, deep);
        return [osd, map] as const;
      }),
    );
    // The primary first, as it is asked first.
    maps.sort(([a], [b]) => Number(b === host.whoami) - Number(a === host.whoami));
    return new Map(maps);
  }

  #member(osd: number): OsdPeer {
    const { host } = this.#options;
    const member = host.peers.osd(osd);
    if (member) return member;
    host.reportFailure(osd);
    throw new RadosError('EAGAIN', `osd.${osd} is gone`);
  }

  /** Returns what could not be repaired. */
  async #repairAll(found: readonly Inconsistency[]): Promise<Inconsistency[]> {
    const { inLane, interval } = this.#options;
    const lanes = new Map(found.map(({ id }) => [headKey(id), id]));
    const left: Inconsistency[] = [];
    for (const [key, id] of lanes) {
      let repair: Promise<Inconsistency[]> | undefined;
      await inLane(key, async () => {
        repair = this.#repairLane(id);
        await repair;
      });
      interval.check();
      left.push(...((await repair) ?? []));
    }
    return left;
  }

  /** An object and its clones, which nobody else touches meanwhile. Returns what could not be repaired. */
  async #repairLane(id: ObjectId): Promise<Inconsistency[]> {
    const range = { from: atSnap(id, 0n), to: atSnap(id, SNAPDIR) };
    const left: Inconsistency[] = [];
    const found = await this.#compare(range, true);
    this.#options.interval.check();
    for (const inconsistency of found) {
      if (!(await this.#repair(inconsistency))) left.push(inconsistency);
      this.#options.interval.check();
    }
    return left;
  }

  async #repair({ id, authority, wrong }: Inconsistency): Promise<boolean> {
    const { pg, host, storage, interval } = this.#options;
    if (authority === undefined) return false;
    const { lastUpdate } = storage.info;
    const right = await this.#member(authority).pull(pg, interval.since, id, lastUpdate);
    interval.check();
    if (!right?.object || right.object.damaged) return false;
    for (const osd of wrong) {
      await this.#member(osd).push(pg, interval.since, [right]);
      interval.check();
      if (osd === host.whoami) this.#options.onReplaced(id);
    }
    host.log.info(
      { object: formatObject(id), osds: wrong, collection: storage.collection },
      'repaired',
    );
    return true;
  }
}

/** What a member answers. */
export function answerScrubMap(
  host: PgHost,
  collection: string,
  range: ScrubRange,
  deep: boolean,
): Promise<ScrubbedObject[]> {
  return scrubMap({
    ...{ store: host.store, crc32c: host.crc32c, collection, range, deep },
    yield: () => new Promise<void>((resolve) => host.env.timers.nextTurn(resolve)),
  });
}
