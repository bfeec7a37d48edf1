/** Fences end: entries of the blocklist whose time has come are taken out (`OSDMonitor::tick`). */

import type { Environment, Timer } from '../../base/environment.js';
import { utimeToMs } from '../../encoding/types.js';
import type { OsdMap } from '../../osdmap/osdmap.js';
import type { OsdMapService } from './osdmap-service.js';

/** Not sooner than this after a map: entries that end together leave together. */
const MIN_DELAY_MS = 1000;
/** Longer delays than this do not fit a timer; it is then armed again. */
const MAX_DELAY_MS = 3600_000;

export class BlocklistExpiry {
  readonly #env: Environment;
  readonly #osdMaps: OsdMapService;
  #timer: Timer | undefined;
  #closed = false;

  constructor(env: Environment, osdMaps: OsdMapService) {
    this.#env = env;
    this.#osdMaps = osdMaps;
    osdMaps.subscribe((map) => this.#arm(map));
    this.#arm(osdMaps.map);
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #arm(map: OsdMap): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#closed || map.blocklist.size === 0) return;
    let first = Number.POSITIVE_INFINITY;
    for (const { until } of map.blocklist.values()) first = Math.min(first, utimeToMs(until));
    const delay = first - this.#env.clock.now();
    this.#timer = this.#env.timers.after(
      Math.min(Math.max(delay, MIN_DELAY_MS), MAX_DELAY_MS),
      () => this.#expire(),
      { background: true },
    );
  }

  #expire(): void {
    this.#timer = undefined;
    const { map } = this.#osdMaps;
    const now = this.#env.clock.now();
    const ended = [...map.blocklist.values()].filter(({ until }) => utimeToMs(until) <= now);
    if (ended.length === 0) {
      this.#arm(map);
      return;
    }
    this.#osdMaps.commit((incremental) => {
      incremental.oldBlocklist.push(...ended.map(({ addr }) => addr));
    });
  }
}
