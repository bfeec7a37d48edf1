/**
 * Which OSDs are up and in, and how that changes (`OSDMonitor`'s part for OSDs):
 *
 *     down -- boot --> up -- failure, `osd down` --> down -- after `downOutIntervalS` --> out
 *                                                     ^--------- boot takes it in again ----'
 *
 * Each step is an incremental, so that clients follow by the maps that they get anyhow.
 */

import type { Environment, Timer } from '../../base/environment.js';
import { ERRNO, RadosError } from '../../base/errors.js';
import { type EntityAddr, formatAddrvec, sameAddr } from '../../encoding/entity.js';
import { formatPgId, type PgId } from '../../encoding/types.js';
import { FEATURES_SUPPORTED } from '../../messages/features.js';
import { NEW_OSD_XINFO } from '../../osdmap/apply-incremental.js';
import type { Incremental } from '../../osdmap/incremental.js';
import { OSD_IN, OSD_STATE, OSDMAP_FLAG, type OsdMap } from '../../osdmap/osdmap.js';
import { markFull } from './full-osds.js';
import type { OsdMapService } from './osdmap-service.js';

/** `mon_osd_down_out_interval`. */
const DOWN_OUT_INTERVAL_S = 600;

export interface OsdStatesOptions {
  env: Environment;
  osdMaps: OsdMapService;
  downOutIntervalS?: number;
}

class PendingBoot {
  readonly done: Promise<void>;
  resolve: () => void = () => {};
  reject: (error: Error) => void = () => {};

  constructor(
    readonly osd: number,
    readonly addrs: readonly EntityAddr[],
  ) {
    this.done = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }
}

export class OsdStates {
  readonly #env: Environment;
  readonly #osdMaps: OsdMapService;
  readonly #downOutMs: number;
  readonly #outTimers = new Map<number, Timer>();
  /** Boots that the `noup` flag holds back. */
  readonly #waiting: PendingBoot[] = [];
  /** Boots of this turn: what starts together comes up in one epoch, and PGs see one change instead of many. */
  #booting: PendingBoot[] = [];
  /** Who said in this turn that it is alive, and in which epoch: of many PGs, and mostly of several OSDs. */
  readonly #alive = new Map<number, number>();
  readonly #pinnedPgs = new Set<string>();
  #closed = false;

  constructor(options: OsdStatesOptions) {
    this.#env = options.env;
    this.#osdMaps = options.osdMaps;
    this.#downOutMs = (options.downOutIntervalS ?? DOWN_OUT_INTERVAL_S) * 1000;
    this.#osdMaps.subscribe((map) => this.#onMap(map));
  }

  /** Resolves when a map says that the OSD is up at these addresses; rejects with EAGAIN when it has ended before. */
  boot(osd: number, addrs: readonly EntityAddr[]): Promise<void> {
    const { map } = this.#osdMaps;
    const op = `boot osd.${osd}`;
    if (this.#closed) {
      return Promise.reject(new RadosError('ESTALE', 'the monitor has stopped', { op }));
    }
    if (!map.exists(osd)) {
      return Promise.reject(new RadosError('ENOENT', `osd.${osd} is not in the map`, { op }));
    }
    // It asks with every map that has it down.
    const held = this.#waiting.find((each) => each.osd === osd && sameAddrs(each.addrs, addrs));
    if (held) return held.done;
    const boot = new PendingBoot(osd, addrs);
    if (mayNotComeUp(map, osd)) this.#waiting.push(boot);
    else this.#boot(boot);
    return boot.done;
  }

  /** Whether an OSD that boots would be held back. */
  mayComeUp(osd: number): boolean {
    return !mayNotComeUp(this.#osdMaps.map, osd);
  }

  /** An OSD's process has ended: a boot that is held back is nobody's any more. */
  ended(osd: number): void {
    for (const boot of this.#waiting.filter((each) => each.osd === osd)) {
      this.#waiting.splice(this.#waiting.indexOf(boot), 1);
      boot.reject(new RadosError('EAGAIN', `osd.${osd} has ended`, { op: `boot osd.${osd}` }));
    }
  }

  /** An OSD's own peers or its host saw it die. One witness is enough: all are on this machine. */
  reportFailure(osd: number, reporter: number): void {
    if (this.#closed) return;
    const map = this.#osdMaps.map;
    if (!map.isUp(osd) || mayNotGoDown(map, osd)) return;
    this.#env.log.mon.info({ osd, reporter }, 'osd failed');
    this.markDown([osd]);
  }

  /** Only of those that are up: who was marked down is told by that map that the interval is over. */
  reportAlive(osd: number, epoch: number): void {
    if (this.#closed) return;
    const known = Math.max(this.#upThru(osd), this.#alive.get(osd) ?? 0);
    if (epoch <= known) return;
    if (this.#alive.size === 0) this.#env.timers.nextTurn(() => this.#noteAlive());
    this.#alive.set(osd, epoch);
  }

  #noteAlive(): void {
    const { map } = this.#osdMaps;
    const news = [...this.#alive].filter(
      ([osd, epoch]) => map.isUp(osd) && epoch > this.#upThru(osd),
    );
    this.#alive.clear();
    if (news.length === 0 || this.#closed) return;
    this.#osdMaps.commit((incremental) => {
      for (const [osd, epoch] of news) incremental.newUpThru.set(osd, epoch);
    });
  }

  #upThru(osd: number): number {
    return this.#osdMaps.map.osdInfo[osd]?.upThru ?? 0;
  }

  /** An OSD has no room for more, or has room again. Resolves when the map says so. */
  reportFull(osd: number, full: boolean): Promise<void> {
    if (!this.#closed) markFull(this.#osdMaps, osd, full);
    return new Promise((resolve) => this.#osdMaps.whenPublished(resolve));
  }

  /**
   * Who serves a PG while its data is on the way; an empty list: those that it belongs to. False when it is not done, because
   * an administrator or a fault has said who does.
   */
  requestPgTemp(pg: PgId, osds: readonly number[]): boolean {
    const key = formatPgId(pg);
    if (this.#closed || this.#pinnedPgs.has(key)) return false;
    const { map } = this.#osdMaps;
    const current = map.pgTemp.get(key) ?? [];
    if (current.join() === osds.join()) return true;
    if (!map.pool(pg.pool) || !osds.every((osd) => map.isUp(osd))) return false;
    this.#osdMaps.commit((incremental) => incremental.newPgTemp.set(key, [...osds]));
    return true;
  }

  /** The pg_temp that somebody else sets stays until it is unpinned. */
  pinPgTemp(key: string, pinned: boolean): void {
    if (pinned) this.#pinnedPgs.add(key);
    else this.#pinnedPgs.delete(key);
  }

  /** Those of the list that are up go down, in one epoch. */
  markDown(osds: readonly number[]): void {
    const map = this.#osdMaps.map;
    const down = osds.filter((osd) => map.isUp(osd));
    if (down.length === 0) return;
    // Who is down keeps nobody waiting for its disk; when it is back, it says how that is.
    for (const osd of down) markFull(this.#osdMaps, osd, false);
    this.#osdMaps.commit((incremental) => {
      for (const osd of down) incremental.newState.set(osd, OSD_STATE.UP);
      incremental.newLastUpChange = incremental.modified;
    });
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#outTimers.values()) timer.cancel();
    this.#outTimers.clear();
    for (const { osd, reject } of [...this.#waiting.splice(0), ...this.#booting.splice(0)]) {
      reject(new RadosError(ERRNO.ESTALE, 'the monitor has stopped', { op: `boot osd.${osd}` }));
    }
  }

  #boot(boot: PendingBoot): void {
    this.#booting.push(boot);
    if (this.#booting.length === 1) this.#env.timers.nextTurn(() => this.#bootAll());
  }

  #bootAll(): void {
    const boots = this.#booting.splice(0);
    const { map } = this.#osdMaps;
    const news = boots.filter(({ osd, addrs }) => !isUpAt(map, osd, addrs));
    if (news.length > 0) {
      this.#osdMaps.commit((incremental) => {
        for (const { osd, addrs } of news) bringUp(incremental, map, osd, addrs);
      });
    }
    for (const { osd, addrs } of news) {
      this.#env.log.mon.info({ osd, addrs: formatAddrvec(addrs) }, 'osd booted');
    }
    for (const { resolve } of boots) this.#osdMaps.whenPublished(resolve);
  }

  #onMap(map: OsdMap): void {
    this.#watchDown(map);
    const ready = this.#waiting.filter(({ osd }) => !mayNotComeUp(map, osd));
    for (const boot of ready) {
      this.#waiting.splice(this.#waiting.indexOf(boot), 1);
      this.#boot(boot);
    }
  }

  #watchDown(map: OsdMap): void {
    for (let osd = 0; osd < map.maxOsd; osd++) {
      const waits = map.exists(osd) && !map.isUp(osd) && !map.isOut(osd);
      const timer = this.#outTimers.get(osd);
      // One that was never up has nothing to move elsewhere.
      const isNew = ((map.osdState[osd] ?? 0) & OSD_STATE.NEW) !== 0;
      if (waits && !isNew && !timer && !this.#closed) {
        const outTimer = this.#env.timers.after(this.#downOutMs, () => this.#markOut(osd), {
          background: true,
        });
        this.#outTimers.set(osd, outTimer);
      } else if (!waits && timer) {
        timer.cancel();
        this.#outTimers.delete(osd);
      }
    }
  }

  #markOut(osd: number): void {
    this.#outTimers.delete(osd);
    const map = this.#osdMaps.map;
    if (map.isUp(osd) || map.isOut(osd) || map.hasFlag(OSDMAP_FLAG.NOOUT)) return;
    this.#env.log.mon.info({ osd }, 'osd out after being down');
    this.#osdMaps.commit((incremental) => {
      incremental.newWeight.set(osd, 0);
      incremental.newState.set(osd, OSD_STATE.AUTOOUT);
      const xinfo = map.osdXinfo[osd] ?? NEW_OSD_XINFO;
      incremental.newXinfo.set(osd, { ...xinfo, oldWeight: map.osdWeight[osd] ?? 0 });
      incremental.newLastInChange = incremental.modified;
    });
  }
}

function isUpAt(map: OsdMap, osd: number, addrs: readonly EntityAddr[]): boolean {
  return map.isUp(osd) && sameAddrs(map.osdAddrs(osd), addrs);
}

function sameAddrs(some: readonly EntityAddr[], others: readonly EntityAddr[]): boolean {
  return (
    some.length === others.length &&
    some.every((addr, i) => sameAddr(addr, others[i] as EntityAddr))
  );
}

function bringUp(
  incremental: Incremental,
  map: OsdMap,
  osd: number,
  addrs: readonly EntityAddr[],
): void {
  // A new incarnation while the old one is still up in the map: down and up in one epoch.
  if (map.isUp(osd)) incremental.newState.set(osd, OSD_STATE.UP);
  for (const field of ['newUpClient', 'newUpCluster', 'newHbBackUp', 'newHbFrontUp'] as const) {
    incremental[field].set(osd, [...addrs]);
  }
  const state = map.osdState[osd] ?? 0;
  const xinfo = map.osdXinfo[osd] ?? NEW_OSD_XINFO;
  incremental.newXinfo.set(osd, { ...xinfo, features: FEATURES_SUPPORTED });
  incremental.newLastUpChange = incremental.modified;
  const wasPutOut = (state & OSD_STATE.AUTOOUT) !== 0 && map.isOut(osd);
  if (state & OSD_STATE.NEW || (wasPutOut && !map.hasFlag(OSDMAP_FLAG.NOIN))) {
    const weight = wasPutOut ? xinfo.oldWeight || OSD_IN : map.osdWeight[osd] || OSD_IN;
    incremental.newWeight.set(osd, weight);
    if (map.isOut(osd)) incremental.newLastInChange = incremental.modified;
  }
}

function mayNotComeUp(map: OsdMap, osd: number): boolean {
  return map.hasFlag(OSDMAP_FLAG.NOUP) || ((map.osdState[osd] ?? 0) & OSD_STATE.NOUP) !== 0;
}

function mayNotGoDown(map: OsdMap, osd: number): boolean {
  return map.hasFlag(OSDMAP_FLAG.NODOWN) || ((map.osdState[osd] ?? 0) & OSD_STATE.NODOWN) !== 0;
}
