/**
 * Keeps the osdmap current from what monitors and OSDs send.
 *
 * The same epochs arrive several times (every OSD session pushes them): known ones are ignored. A gap is closed by the
 * oldest full map beyond it, and then counts as skipped: every operation under way is sent again.
 */

import type { Logger } from 'pino';
import { abortError, ProtocolError } from '../base/errors.js';
import { decodeAll } from '../encoding/codec.js';
import type { Crc32c } from '../kernels/crc32c.js';
import { osdMapMessage, osdMapMessageV3 } from '../messages/mon-messages.js';
import type { CrushMappers } from '../osdmap/crush-mapper.js';
import { decodeIncremental } from '../osdmap/incremental.js';
import { decodeOsdMap } from '../osdmap/osdmap.js';
import { ClientMap } from './target.js';

export interface MapUpdate {
  map: ClientMap;
  /** Epochs are missing between the last map and this one. */
  skipped: boolean;
}

export interface MapFollowerOptions {
  crc32c: Crc32c;
  crushMappers: CrushMappers;
  log: Logger;
  /** Told of every epoch that arrived, for the subscription. */
  onEpoch: (epoch: number) => void;
  /** Asks for maps from this epoch on. */
  request: (epoch: number) => void;
}

interface Waiter {
  epoch: number;
  resolve: () => void;
}

export class MapFollower {
  readonly #options: MapFollowerOptions;
  readonly #listeners = new Set<(update: MapUpdate) => void>();
  readonly #waiters = new Set<Waiter>();
  #map: ClientMap | undefined;
  #fsid: string | undefined;

  constructor(options: MapFollowerOptions) {
    this.#options = options;
  }

  get map(): ClientMap | undefined {
    return this.#map;
  }

  onUpdate(listener: (update: MapUpdate) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The cluster that maps must belong to. */
  expectFsid(fsid: string): void {
    this.#fsid = fsid;
  }

  /** Takes a MOSDMap. */
  handle(front: Uint8Array, version: number): void {
    const message =
      version >= 4
        ? decodeAll('MOSDMap', osdMapMessage, front)
        : { ...decodeAll('MOSDMap', osdMapMessageV3, front) };
    if (this.#fsid !== undefined && message.fsid !== this.#fsid) {
      throw new ProtocolError(`osdmap of another cluster (${message.fsid})`);
    }
    const { incrementalMaps, maps } = message;
    const epochs = [...new Set([...incrementalMaps.keys(), ...maps.keys()])].sort((a, b) => a - b);
    const before = this.#map?.epoch ?? 0;
    let skipped = false;
    for (const epoch of epochs) {
      const have = this.#map?.epoch ?? 0;
      if (epoch <= have) continue;
      const incremental = incrementalMaps.get(epoch);
      const full = maps.get(epoch);
      if (incremental && this.#map && epoch === have + 1) {
        this.#advance(this.#map.next(decodeIncremental(incremental, this.#options.crc32c)), epoch);
      } else if (full) {
        skipped ||= have > 0 && epoch !== have + 1;
        const map = decodeOsdMap(full, this.#options.crc32c);
        this.#advance(new ClientMap(map, this.#options), epoch);
      }
    }
    const map = this.#map;
    if (!map || map.epoch === before) {
      // Only a gap: ask again from where we are, or for a full map when the monitors trimmed that far.
      const newest = epochs.at(-1) ?? 0;
      if (newest > before) this.#options.request(message.oldestMap > before + 1 ? 0 : before + 1);
      return;
    }
    this.#options.log.debug({ epoch: map.epoch, from: before, skipped }, 'osdmap');
    this.#options.onEpoch(map.epoch);
    // More exists than one message carries (40 incrementals): go on before anything is sent elsewhere.
    if (message.newestMap > map.epoch) this.#options.request(map.epoch + 1);
    for (const listener of this.#listeners) listener({ map, skipped });
    for (const waiter of [...this.#waiters]) if (waiter.epoch <= map.epoch) waiter.resolve();
  }

  #advance(map: ClientMap, epoch: number): void {
    if (map.epoch !== epoch) {
      throw new ProtocolError(
        `the osdmap sent as epoch ${epoch} says that it is epoch ${map.epoch}`,
      );
    }
    this.#map = map;
  }

  /** Resolves when the map is at least `epoch`; `ask` is called when it is not yet. */
  waitFor(epoch: number, ask: () => void, signal?: AbortSignal): Promise<void> {
    if ((this.#map?.epoch ?? 0) >= epoch) return Promise.resolve();
    if (signal?.aborted)
      return Promise.reject(abortError(signal, { op: `wait for osdmap ${epoch}` }));
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiters.delete(waiter);
        reject(abortError(signal as AbortSignal, { op: `wait for osdmap ${epoch}` }));
      };
      const waiter: Waiter = {
        epoch,
        resolve: () => {
          this.#waiters.delete(waiter);
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiters.add(waiter);
      ask();
    });
  }
}
