/**
 * The OSD map's history: the newest map, the epochs before it, and who wants to hear of the next one.
 *
 * Every change is an incremental, and the next one builds on it at once: one monitor has nobody to agree with. It is
 * published, to clients and OSDs, when the monitor's disk has it; without a disk that is at once too.
 */

import type { Environment } from '../../base/environment.js';
import { encodeWith } from '../../encoding/codec.js';
import { utimeFromMs } from '../../encoding/types.js';
import type { Crc32c } from '../../kernels/crc32c.js';
import { osdMapMessage } from '../../messages/mon-messages.js';
import { applyIncremental } from '../../osdmap/apply-incremental.js';
import { emptyIncremental, encodeIncremental, type Incremental } from '../../osdmap/incremental.js';
import { encodeOsdMap, fullMapCrc, type OsdMap } from '../../osdmap/osdmap.js';
import { MonDatabase } from './mon-database.js';
import { OsdMapJournal } from './osdmap-journal.js';

/** `osd_map_message_max`: more incrementals than this are sent when the client asks again. */
export const MAX_MAPS_PER_MESSAGE = 40;

/** Older epochs are forgotten (`mon_min_osdmap_epochs`); who is further behind starts from a full map. */
const KEPT_EPOCHS = 500;

interface Epoch {
  /** Of before a restart it is made when it is asked for. */
  map: OsdMap | undefined;
  /** What led here from the epoch before; the first one has none. */
  incremental: Uint8Array | undefined;
}

export interface OsdMapServiceOptions {
  env: Environment;
  crc32c: Crc32c;
  /** Makes the first map, where the database has none. */
  initial: () => OsdMap;
  /** By default one that keeps nothing. */
  database?: MonDatabase;
  /** For tests: how many epochs are kept. */
  keptEpochs?: number;
}

export class OsdMapService {
  readonly #env: Environment;
  readonly #crc32c: Crc32c;
  readonly #kept: number;
  readonly #database: MonDatabase;
  readonly #journal: OsdMapJournal;
  readonly #epochs = new Map<number, Epoch>();
  readonly #listeners = new Set<(map: OsdMap) => void>();
  #map: OsdMap;
  #published: OsdMap;
  #oldest: number;
  #full: { epoch: number; bytes: Uint8Array } | undefined;
  /** Epochs that listeners have not heard of yet; undefined when nobody is telling them. */
  #untold: OsdMap[] | undefined;

  constructor(options: OsdMapServiceOptions) {
    this.#env = options.env;
    this.#crc32c = options.crc32c;
    this.#kept = options.keptEpochs ?? KEPT_EPOCHS;
    this.#database = options.database ?? new MonDatabase();
    this.#journal = new OsdMapJournal(this.#database, options.crc32c);
    const known = this.#journal.mapAt(this.#journal.newest);
    this.#map = known ?? options.initial();
    this.#published = this.#map;
    this.#oldest = known ? this.#journal.oldest : this.#map.epoch;
    for (let epoch = this.#oldest; epoch < this.#map.epoch; epoch++) {
      this.#epochs.set(epoch, { map: undefined, incremental: this.#journal.incremental(epoch) });
    }
    const incremental = known && this.#journal.incremental(known.epoch);
    this.#epochs.set(this.#map.epoch, { map: this.#map, incremental });
    if (!known) this.#journal.append(this.#map, undefined, this.#kept);
  }

  /** The newest, which changes build on. */
  get map(): OsdMap {
    return this.#map;
  }

  get epoch(): number {
    return this.#map.epoch;
  }

  /** The newest that anybody may hear of. */
  get published(): OsdMap {
    return this.#published;
  }

  get oldestEpoch(): number {
    return this.#oldest;
  }

  /** The map as it was at an epoch that is still kept. */
  mapAt(epoch: number): OsdMap | undefined {
    const kept = this.#epochs.get(epoch);
    if (kept) kept.map ??= this.#journal.mapAt(epoch);
    return kept?.map;
  }

  fullMap(epoch: number): Uint8Array | undefined {
    if (this.#full?.epoch === epoch) return this.#full.bytes;
    const map = this.mapAt(epoch);
    return map && encodeOsdMap(map, this.#crc32c);
  }

  incremental(epoch: number): Uint8Array | undefined {
    return this.#epochs.get(epoch)?.incremental;
  }

  /**
   * Makes the next epoch: `change` fills in an incremental that changes nothing yet. Listeners hear of it before whatever
   * is answered afterwards goes out (without a disk: before this returns), so that the answer reaches a client after the
   * map did. What a listener itself commits is told when all have heard of the epoch before.
   */
  commit(change: (incremental: Incremental, map: OsdMap) => void): number {
    const incremental = emptyIncremental(this.#map);
    incremental.modified = utimeFromMs(this.#env.clock.now());
    change(incremental, this.#map);
    const next = applyIncremental(this.#map, incremental, this.#crc32c);
    const bytes = encodeOsdMap(next, this.#crc32c);
    incremental.fullCrc = fullMapCrc(bytes);
    this.#full = { epoch: next.epoch, bytes };
    const encoded = encodeIncremental(incremental, this.#crc32c);
    this.#epochs.set(next.epoch, { map: next, incremental: encoded });
    this.#map = next;
    this.#journal.append(next, encoded, this.#kept);
    while (this.#epochs.size > this.#kept) this.#epochs.delete(this.#oldest++);
    this.#env.log.mon.debug({ epoch: next.epoch }, 'osdmap committed');
    this.#database.commits.after(() => {
      this.#published = next;
      this.#tell(next);
    });
    return next.epoch;
  }

  /** Runs `act` when everything that was committed so far is published. */
  whenPublished(act: () => void): void {
    this.#database.commits.after(act);
  }

  /** Every listener hears of every epoch, in order. */
  #tell(map: OsdMap): void {
    if (this.#untold) {
      this.#untold.push(map);
      return;
    }
    this.#untold = [map];
    try {
      for (let next = this.#untold.shift(); next; next = this.#untold.shift()) {
        for (const listener of [...this.#listeners]) listener(next);
      }
    } finally {
      this.#untold = undefined;
    }
  }

  /** Calls on every new epoch. */
  subscribe(listener: (map: OsdMap) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * What a client whose newest map is `have` needs next, and the epoch that it then has: incrementals when all of them
   * are kept, else the newest full map. Undefined when there is nothing newer.
   */
  updateFrom(have: number): { front: Uint8Array; epoch: number } | undefined {
    const newest = this.#published.epoch;
    if (have >= newest) return undefined;
    const maps = new Map<number, Uint8Array>();
    const incrementalMaps = new Map<number, Uint8Array>();
    let last = newest;
    if (have < this.#oldest) {
      maps.set(last, this.fullMap(last) as Uint8Array);
    } else {
      last = Math.min(last, have + MAX_MAPS_PER_MESSAGE);
      for (let epoch = have + 1; epoch <= last; epoch++) {
        incrementalMaps.set(epoch, this.incremental(epoch) as Uint8Array);
      }
    }
    const front = encodeWith(osdMapMessage, {
      fsid: this.#map.fsid,
      incrementalMaps,
      maps,
      oldestMap: this.#oldest,
      newestMap: newest,
      gapRemovedSnaps: new Map(),
    });
    return { front, epoch: last };
  }
}
