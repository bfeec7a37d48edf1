/**
 * Makes the members of an active PG equal again, object by object, while clients work.
 *
 *   pull   what the primary lacks, from a member that has it, or from an OSD that was one
 *   push   what other members lack, from the primary
 *
 * Each happens in the object's lane: nothing else touches the object meanwhile. A request that cannot do without an object
 * has it recovered first (`blocker`); everything else goes on in the background, a few objects at a time.
 *
 * An object is unfound when nobody who is up has it as the log says. Requests for it wait until somebody comes back.
 */

import { isRadosError, RadosError } from '../../base/errors.js';
import type { Eversion, PgId } from '../../encoding/types.js';
import { OSDMAP_FLAG } from '../../osdmap/osdmap.js';
import { formatObject, type ObjectId } from '../store/object-id.js';
import type { ObjectDump } from '../store/transaction.js';
import { Interrupted, type Interval } from './interval.js';
import { mergeLog } from './log-merge.js';
import { MissingSet } from './missing-set.js';
import type { PgHost } from './pg-host.js';
import type { PgStorage } from './pg-storage.js';
import { Blocker } from './pipeline/blocker.js';

export interface ObjectRecoveryOptions {
  readonly pg: PgId;
  readonly host: PgHost;
  readonly storage: PgStorage;
  readonly interval: Interval;
  /** What each member lacks, this OSD among them. */
  readonly missing: ReadonlyMap<number, readonly ObjectId[]>;
  /** Members that have less than their missing sets tell: they are nobody's source. */
  readonly incomplete: ReadonlySet<number>;
  /** Runs `act` in a lane; resolves after it, or when the interval ended. */
  readonly inLane: (key: string, act: () => Promise<void>) => Promise<void>;
  /** This OSD has it now. */
  readonly onPulled: (id: ObjectId) => void;
  /** Every member has everything. */
  readonly onRecovered: () => void;
}

const RETRY_MS = 500;

/** Somebody who is no member, and what of the PG it cannot give. */
interface Stray {
  readonly osd: number;
  /** Where its log ended when `missing` was found out. */
  readonly lastUpdate: Eversion;
  readonly missing: MissingSet;
}

export class ObjectRecovery {
  readonly #options: ObjectRecoveryOptions;
  readonly #host: PgHost;
  readonly #interval: Interval;
  readonly #missing: ReadonlyMap<number, MissingSet>;
  readonly #own: MissingSet;
  /** Lanes with an object that nobody has: lifted when somebody turns up who does. */
  readonly #unfound = new Map<string, Blocker>();
  /** Slots of lanes that the background works on. */
  readonly #slots = new Map<string, () => void>();
  /** What is under way for lanes: whoever needs the same waits for it, inside of a lane or outside. */
  readonly #pulls = new Map<string, Promise<void>>();
  readonly #pushes = new Map<string, Promise<void>>();
  readonly #sleepers = new Set<() => void>();
  #untilPulled: (() => void)[] = [];
  #strays: { askedMs: number; found: Promise<Stray[]> } | undefined;
  #running = false;

  constructor(options: ObjectRecoveryOptions) {
    this.#options = options;
    this.#host = options.host;
    this.#interval = options.interval;
    this.#missing = new Map(
      [...options.missing].map(([osd, ids]) => [osd, new MissingSet(ids)] as const),
    );
    this.#own = this.#missing.get(options.host.whoami) ?? new MissingSet();
  }

  /** Copies of objects that are not there yet. */
  get left(): number {
    let left = 0;
    for (const { size } of this.#missing.values()) left += size;
    return left;
  }

  /** Objects that nobody has. */
  get unfound(): number {
    return this.#unfound.size;
  }

  /** This OSD's copy is not what the log says. */
  lacks(id: ObjectId): boolean {
    return this.#own.has(id);
  }

  /** As `lacks`, of an object or one of its clones. */
  isMissing(key: string): boolean {
    return this.#own.hasLane(key);
  }

  /**
   * What a request waits for before it may execute; undefined: for nothing. It holds the lane meanwhile. `orUnfound`: it also ends
   * when it turns out that nobody has the object.
   */
  blocker(key: string, mayWrite: boolean, orUnfound = false): Promise<void> | undefined {
    if (mayWrite ? !this.#isDegraded(key) : !this.#own.hasLane(key)) return undefined;
    return this.#recover(key, { everywhere: mayWrite, orUnfound });
  }

  /** Until somebody has the object; undefined: nobody knows of one who should and does not. */
  unfoundBlocker(key: string): Blocker | undefined {
    return this.#unfound.get(key);
  }

  /**
   * This OSD's copies of an object, or of clones of it, turn out to be damaged: they are recovered as if they were missing. False:
   * no member could have another.
   */
  replace(ids: readonly ObjectId[]): boolean {
    const others = [...this.#missing].filter(([osd]) => osd !== this.#host.whoami);
    const fresh = ids.filter(
      (id) => !this.#own.has(id) && others.some(([, missing]) => !missing.has(id)),
    );
    for (const id of fresh) this.#own.add(id);
    if (fresh.length > 0) void this.#recoverAll();
    return fresh.length > 0;
  }

  /** Of requests that look at the PG as a whole. */
  wholeBlocker(): Promise<void> | undefined {
    if (this.#own.size === 0) return undefined;
    return new Promise((resolve) => this.#untilPulled.push(resolve));
  }

  /** Somebody outside of this PG's lanes is going to want an object. */
  want(key: string): void {
    void this.#options.inLane(key, () => this.#recover(key, { everywhere: false }));
  }

  start(): void {
    if (this.left === 0) this.#options.onRecovered();
    else void this.#recoverAll();
  }

  /** Somebody may have come back; recovery may have been allowed again. */
  onMap(): void {
    this.#wakeAll();
  }

  /** The interval ended. */
  end(): void {
    this.#wakeAll();
    for (const resolve of this.#untilPulled.splice(0)) resolve();
    for (const key of [...this.#unfound.keys()]) this.#found(key);
  }

  #wakeAll(): void {
    for (const wake of [...this.#sleepers]) wake();
  }

  #isDegraded(key: string): boolean {
    for (const missing of this.#missing.values()) if (missing.hasLane(key)) return true;
    return false;
  }

  get #isPaused(): boolean {
    return this.#host.view.map.hasFlag(OSDMAP_FLAG.NORECOVER);
  }

  // ---- in the background ----

  async #recoverAll(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    while (!this.#interval.ended && this.left > 0) {
      // What the primary lacks comes first: more of the clients' requests wait for it.
      const others = [...this.#missing.values()].flatMap((missing) => [...missing.lanes()]);
      for (const key of new Set([...this.#own.lanes(), ...others])) {
        if (this.#isPaused) break;
        if (!this.#slots.has(key)) await this.#recoverInBackground(key);
        if (this.#interval.ended) break;
      }
      await this.#sleep();
    }
    this.#running = false;
  }

  /** Resolves when it has begun. */
  async #recoverInBackground(key: string): Promise<void> {
    const release = await this.#host.recoverySlots.acquire();
    if (this.#interval.ended || this.#isPaused || !this.#isDegraded(key)) {
      release();
      return;
    }
    this.#slots.set(key, release);
    void this.#options
      .inLane(key, () => this.#recover(key, { everywhere: true, once: true }))
      .then(() => {
        release();
        this.#slots.delete(key);
      });
  }

  async #sleep(): Promise<void> {
    if (this.#interval.ended) return;
    await new Promise<void>((resolve) => {
      const wake = () => {
        timer.cancel();
        this.#sleepers.delete(wake);
        resolve();
      };
      const timer = this.#host.env.timers.after(RETRY_MS, wake, { background: true });
      this.#sleepers.add(wake);
    });
  }

  // ---- one object, its clones with it ----

  /** Unless it is to be tried once, it does not give up before the interval ends, and then rejects. */
  async #recover(
    key: string,
    {
      everywhere,
      once = false,
      orUnfound = false,
    }: { everywhere: boolean; once?: boolean; orUnfound?: boolean },
  ): Promise<void> {
    for (;;) {
      try {
        // Of what turns out to be damaged meanwhile, too.
        while (this.#own.hasLane(key)) await shared(this.#pulls, key, () => this.#pull(key));
        if (everywhere) await shared(this.#pushes, key, () => this.#push(key));
        return;
      } catch (error) {
        if (this.#interval.ended || error instanceof Interrupted) throw error;
        if (!isRadosError(error)) throw error;
        this.#host.log.debug({ err: error }, 'an object could not be recovered yet');
      }
      // Others can be recovered meanwhile.
      this.#slots.get(key)?.();
      if (once || (orUnfound && this.#unfound.has(key))) return;
      await this.#sleep();
      this.#interval.check();
    }
  }

  async #pull(key: string): Promise<void> {
    for (const id of this.#own.ofLane(key)) {
      const object = await this.#fetch(id, key);
      this.#interval.check();
      await this.#options.storage.recovered([{ id, object }]);
      this.#interval.check();
      this.#options.onPulled(id);
      this.#done(this.#own, id);
    }
    this.#found(key);
    if (this.#own.size === 0) for (const resolve of this.#untilPulled.splice(0)) resolve();
  }

  #found(key: string): void {
    const blocker = this.#unfound.get(key);
    this.#unfound.delete(key);
    blocker?.lift();
  }

  async #push(key: string): Promise<void> {
    const { pg, storage } = this.#options;
    const { whoami, store, peers } = this.#host;
    const pushes = [...this.#missing].map(async ([osd, missing]) => {
      const ids = missing.ofLane(key);
      if (osd === whoami || ids.length === 0) return;
      const objects = ids.map((id) => ({ id, object: store.dump(storage.collection, id) }));
      const member = peers.osd(osd);
      if (!member) {
        this.#host.reportFailure(osd);
        throw new RadosError('EAGAIN', `osd.${osd} is gone`);
      }
      await member.push(pg, this.#interval.since, objects);
      this.#interval.check();
      for (const id of ids) this.#done(missing, id);
    });
    // All of them: one that is still under way must not come back to a lane that is let go.
    const failed = (await Promise.allSettled(pushes)).find(({ status }) => status === 'rejected');
    if (failed) throw (failed as PromiseRejectedResult).reason;
  }

  #done(missing: MissingSet, id: ObjectId): void {
    missing.delete(id);
    if (this.left === 0) this.#options.onRecovered();
  }

  /** The object as the log has it; undefined: it is not any more. EAGAIN: nobody has it. */
  async #fetch(id: ObjectId, key: string): Promise<ObjectDump | undefined> {
    const { pg, incomplete, storage } = this.#options;
    const { whoami, peers } = this.#host;
    // A member that refused a change has the object as it was before.
    const { lastUpdate } = storage.info;
    const members = [...this.#missing]
      .map(([osd, missing]) => ({ osd, missing, lastUpdate }))
      .filter(({ osd }) => !incomplete.has(osd));
    let damaged: ObjectDump | undefined;
    for (const sources of [() => members, () => this.#findStrays()]) {
      for (const { osd, missing, lastUpdate: asOf } of await sources()) {
        if (osd === whoami || missing.has(id)) continue;
        try {
          const found = await peers.osd(osd)?.pull(pg, this.#interval.since, id, asOf);
          this.#interval.check();
          if (!found) continue;
          if (!found.object?.damaged) return found.object;
          damaged = found.object;
        } catch (error) {
          this.#interval.check();
          this.#host.log.debug({ osd, err: error }, 'a source of a recovery does not answer');
        }
      }
    }
    if (damaged) return damaged;
    if (!this.#unfound.has(key)) this.#unfound.set(key, new Blocker('missing', 'unfound'));
    throw new RadosError('EAGAIN', 'nobody has the object', { target: formatObject(id) });
  }

  /** Who is up, no member, and has something of the PG. */
  #findStrays(): Promise<Stray[]> {
    const now = this.#host.env.clock.monotonic();
    if (!this.#strays || now - this.#strays.askedMs >= RETRY_MS) {
      this.#strays = { askedMs: now, found: this.#askStrays() };
    }
    return this.#strays.found;
  }

  async #askStrays(): Promise<Stray[]> {
    const { pg, storage } = this.#options;
    const { map } = this.#host.view;
    const strays: Stray[] = [];
    for (let osd = 0; osd < map.maxOsd; osd++) {
      if (!map.isUp(osd) || this.#missing.has(osd)) continue;
      try {
        const theirs = await this.#host.peers.osd(osd)?.history(pg, this.#interval.since);
        const merge = theirs?.info.complete ? mergeLog(theirs, storage.history()) : undefined;
        if (!theirs || !merge) continue;
        const { lastUpdate } = theirs.info;
        strays.push({
          osd,
          lastUpdate,
          missing: new MissingSet([...theirs.missing, ...merge.missing]),
        });
      } catch (error) {
        this.#host.log.debug({ osd, err: error }, 'does not answer');
      }
    }
    return strays;
  }
}

/** What `act` comes to, for all who ask before it has. */
function shared(
  underWay: Map<string, Promise<void>>,
  key: string,
  act: () => Promise<void>,
): Promise<void> {
  let acting = underWay.get(key);
  if (!acting) {
    acting = act().finally(() => underWay.delete(key));
    underWay.set(key, acting);
  }
  return acting;
}
