/**
 * The OSD map's history on disk: what changed with every epoch, and now and then a whole map.
 *
 *     full.0000000050   inc.0000000051   inc.0000000052   ...   full.0000000100 ...
 */

import type { Crc32c } from '../../kernels/crc32c.js';
import { applyIncremental } from '../../osdmap/apply-incremental.js';
import { decodeIncremental } from '../../osdmap/incremental.js';
import { decodeOsdMap, encodeOsdMap, type OsdMap } from '../../osdmap/osdmap.js';
import type { MonDatabase } from './mon-database.js';

/** A map of the past costs as many steps at most. */
const FULL_MAP_EVERY = 50;

const SERVICE = 'osdmap';
const name = (kind: 'full' | 'inc', epoch: number) => `${kind}.${String(epoch).padStart(10, '0')}`;

export class OsdMapJournal {
  readonly #database: MonDatabase;
  readonly #crc32c: Crc32c;
  /** Of whole maps, ascending. */
  #fullEpochs: number[] = [];
  #newest = 0;

  constructor(database: MonDatabase, crc32c: Crc32c) {
    this.#database = database;
    this.#crc32c = crc32c;
    for (const [key] of database.entries(SERVICE)) {
      const [kind, digits] = key.split('.');
      const epoch = Number(digits);
      if (kind === 'full') this.#fullEpochs.push(epoch);
      this.#newest = Math.max(this.#newest, epoch);
    }
  }

  /** 0: there is no map. */
  get newest(): number {
    return this.#newest;
  }

  get oldest(): number {
    return this.#fullEpochs[0] ?? 0;
  }

  /** A map that is kept. */
  mapAt(epoch: number): OsdMap | undefined {
    const start = this.#fullEpochs.findLast((full) => full <= epoch);
    const bytes =
      start === undefined ? undefined : this.#database.get(SERVICE, name('full', start));
    if (start === undefined || !bytes) return undefined;
    let map = decodeOsdMap(bytes, this.#crc32c);
    for (let next = start + 1; next <= epoch; next++) {
      const incremental = this.incremental(next);
      if (!incremental) return undefined;
      map = applyIncremental(map, decodeIncremental(incremental, this.#crc32c), this.#crc32c);
    }
    return map;
  }

  incremental(epoch: number): Uint8Array | undefined {
    return this.#database.get(SERVICE, name('inc', epoch));
  }

  /** The next epoch; the first one has no incremental. At least `kept` epochs stay. */
  append(map: OsdMap, incremental: Uint8Array | undefined, kept: number): void {
    const { epoch } = map;
    const set: [string, Uint8Array][] = [];
    if (incremental) set.push([name('inc', epoch), incremental]);
    if (!incremental || epoch % FULL_MAP_EVERY === 0) {
      set.push([name('full', epoch), encodeOsdMap(map, this.#crc32c)]);
      this.#fullEpochs.push(epoch);
    }
    this.#newest = epoch;
    this.#database.write(SERVICE, { set, remove: this.#forget(epoch - kept) });
  }

  /** Names of what is older than any map from `epoch` on needs. */
  #forget(epoch: number): string[] {
    const start = this.#fullEpochs.findLast((full) => full <= epoch);
    const oldest = this.oldest;
    if (start === undefined || start === oldest) return [];
    const names: string[] = [];
    for (let old = oldest; old <= start; old++) {
      names.push(name('inc', old));
      if (old < start) names.push(name('full', old));
    }
    this.#fullEpochs = this.#fullEpochs.filter((full) => full >= start);
    return names;
  }
}
