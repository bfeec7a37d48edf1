/**
 * Keeps the osdmap current from what monitors and OSDs send.
 *
 * The same epochs arrive several times (every OSD session pushes them): known ones are ignored. A gap is closed by the
 * oldest full map beyond it, and then counts as skipped: every operation under way is sent again.
 */

import { abortError, ProtocolError, RadosError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { decodeAll } from '../encoding/codec.js';
import type { Crc32c } from '../kernels/crc32c.js';
import { type OsdMapMessage, osdMapMessage, osdMapMessageV3 } from '../messages/mon-messages.js';
import type { CrushMappers } from '../osdmap/crush-mapper.js';
import { decodeIncremental } from '../osdmap/incremental.js';
import { decodeOsdMap } from '../osdmap/osdmap.js';
import { ClientMap } from './target.js';

export interface MapUpdate {
  map: ClientMap;
  /** Every epoch on the way, `map` last: an operation may have been dropped in one that is over already. */
  passed: readonly ClientMap[];
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
  reject: (error: Error) => void;
}

export class MapFollower {
  readonly #options: MapFollowerOptions;
  readonly #listeners = new Set<(update: MapUpdate) => void>();
  readonly #waiters = new Set<Waiter>();
  #map: ClientMap | undefined;
  #fsid: string | undefined;
  #closed: RadosError | undefined;

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
    const before = this.#map?.epoch ?? 0;
    const { passed, skipped } = this.#follow(message);
    const map = passed.at(-1);
    if (!map) {
      // Only a gap: ask again from where we are, or for a full map when the monitors trimmed that far.
      const full = before === 0 || message.oldestMap > before + 1;
      if (message.newestMap > before) this.#options.request(full ? 0 : before + 1);
      return;
    }
    this.#map = map;
    this.#options.log.debug({ epoch: map.epoch, from: before, skipped }, 'osdmap');
    this.#options.onEpoch(map.epoch);
    // More exists than one message carries (40 incrementals): go on before anything is sent elsewhere.
    if (message.newestMap > map.epoch) this.#options.request(map.epoch + 1);
    for (const listener of this.#listeners) listener({ map, passed, skipped });
    for (const waiter of [...this.#waiters]) if (waiter.epoch <= map.epoch) waiter.resolve();
    // A monitor may lag behind the one that named the epoch: the request has been answered, the wish not yet.
    if (this.#waiters.size > 0) this.#options.request(map.epoch + 1);
  }

  /** The maps that the message leads to from ours. All or, when one of them is bad, none. */
  #follow({ incrementalMaps, maps }: Pick<OsdMapMessage, 'incrementalMaps' | 'maps'>) {
    const epochs = [...new Set([...incrementalMaps.keys(), ...maps.keys()])].sort((a, b) => a - b);
    const passed: ClientMap[] = [];
    let current = this.#map;
    let skipped = false;
    for (const epoch of epochs) {
      const have = current?.epoch ?? 0;
      if (epoch <= have) continue;
      const incremental = incrementalMaps.get(epoch);
      const full = maps.get(epoch);
      if (incremental && current && epoch === have + 1) {
        current = current.next(decodeIncremental(incremental, this.#options.crc32c));
      } else if (full) {
        skipped ||= have > 0 && epoch !== have + 1;
        current = new ClientMap(decodeOsdMap(full, this.#options.crc32c), this.#options);
      } else {
        continue;
      }
      if (current.epoch !== epoch) {
        throw new ProtocolError(
          `the osdmap sent as epoch ${epoch} says that it is epoch ${current.epoch}`,
        );
      }
      passed.push(current);
    }
    return { passed, skipped };
  }

  /** Resolves when the map is at least `epoch`; `ask` is called when it is not yet. */
  waitFor(epoch: number, ask: () => void, signal?: AbortSignal): Promise<void> {
    if ((this.#map?.epoch ?? 0) >= epoch) return Promise.resolve();
    if (this.#closed) return Promise.reject(this.#closed);
    if (signal?.aborted)
      return Promise.reject(abortError(signal, { op: `wait for osdmap ${epoch}` }));
    return new Promise((resolve, reject) => {
      const settle = (outcome: () => void) => {
        this.#waiters.delete(waiter);
        signal?.removeEventListener('abort', onAbort);
        outcome();
      };
      const waiter: Waiter = {
        epoch,
        resolve: () => settle(resolve),
        reject: (error) => settle(() => reject(error)),
      };
      const onAbort = () =>
        waiter.reject(abortError(signal as AbortSignal, { op: `wait for osdmap ${epoch}` }));
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiters.add(waiter);
      ask();
    });
  }

  /** Rejects whoever waits. Maps that still arrive change nothing for them. */
  close(): void {
    this.#closed ??= new RadosError('ENOTCONN', 'the client was closed');
    for (const waiter of [...this.#waiters]) waiter.reject(this.#closed);
  }
}
