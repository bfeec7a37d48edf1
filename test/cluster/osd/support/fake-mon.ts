// A monitor for tests of OSDs: maps are made by the test, changes take effect at once.

import { NoneServer } from '../../../../src/auth/none.js';
import { AUTH_METHOD, type AuthServer } from '../../../../src/auth/method.js';
import type { MapUpdate, MonLink } from '../../../../src/cluster/mon-link.js';
import { encodeWith } from '../../../../src/encoding/codec.js';
import { type EntityAddr, sameAddr } from '../../../../src/encoding/entity.js';
import { ZERO_TIME } from '../../../../src/encoding/types.js';
import type { Crc32c } from '../../../../src/kernels/crc32c.js';
import { osdMapMessage } from '../../../../src/messages/mon-messages.js';
import { buildSimpleCrushMap, createOsdMap } from '../../../../src/osdmap/build.js';
import {
  encodeOsdMap,
  OSD_IN,
  OSD_STATE,
  OsdMap,
  type OsdMapFields,
} from '../../../../src/osdmap/osdmap.js';
import { createPool, POOL_FLAG } from '../../../../src/osdmap/pool.js';

export interface FakePool {
  id: number;
  name: string;
  pgNum?: number;
  size?: number;
  minSize?: number;
}

const FSID = '5f1ee9ab-0d5e-4b0a-9d3e-6f1c1d5b7a10';

export class FakeMon implements MonLink {
  readonly authMethods = [AUTH_METHOD.NONE];
  readonly failures: { osd: number; reporter: number }[] = [];
  /** Reports of failures mark OSDs down, as a monitor with one reporter needed does. */
  autoDown = true;
  readonly #crc32c: Crc32c;
  readonly #listeners = new Set<(update: MapUpdate) => void>();
  readonly #history = new Map<number, OsdMap>();
  #map: OsdMap;

  constructor(options: { crc32c: Crc32c; osds: number; pools: readonly FakePool[] }) {
    this.#crc32c = options.crc32c;
    const ids = Array.from({ length: options.osds }, (_, id) => id);
    this.#map = createOsdMap({
      fsid: FSID,
      epoch: 1,
      created: ZERO_TIME,
      crush: buildSimpleCrushMap({
        osds: ids.map((id) => ({ id, host: 'here', weight: 1 })),
        failureDomain: 'osd',
      }),
      osds: ids.map((id) => ({ id, uuid: FSID, up: false })),
      pools: options.pools.map(({ id, name, pgNum = 8, size = 1, minSize = 1 }) => ({
        id,
        name,
        pool: createPool({
          size,
          minSize,
          pgNum,
          flags: POOL_FLAG.HASHPSPOOL | POOL_FLAG.SELFMANAGED_SNAPS,
          applications: ['rbd'],
        }),
      })),
    });
    this.#history.set(1, this.#map);
  }

  get map(): OsdMap {
    return this.#map;
  }

  /** Commits the next epoch. */
  change(edit: (fields: OsdMapFields) => void): void {
    const fields: OsdMapFields = { ...this.#map, epoch: this.#map.epoch + 1 };
    edit(fields);
    this.#map = new OsdMap(fields);
    this.#history.set(fields.epoch, this.#map);
    for (const listener of [...this.#listeners]) {
      listener({ map: this.#map, epoch: this.#map.epoch });
    }
  }

  markDown(osd: number): void {
    if (!this.#map.isUp(osd)) return;
    this.change((fields) => {
      fields.osdState = fields.osdState.slice();
      fields.osdState[osd] = (fields.osdState[osd] ?? 0) & ~OSD_STATE.UP;
    });
  }

  setWeight(osd: number, weight: number): void {
    this.change((fields) => {
      fields.osdWeight = fields.osdWeight.slice();
      fields.osdWeight[osd] = Math.round(weight * OSD_IN);
    });
  }

  removeSnap(pool: number, snap: bigint): void {
    this.change((fields) => {
      const queue = new Map(fields.removedSnapsQueue);
      queue.set(pool, [...(queue.get(pool) ?? []), [snap, 1n] as [bigint, bigint]]);
      fields.removedSnapsQueue = queue;
    });
  }

  // ---- MonLink ----

  subscribe(listener: (update: MapUpdate) => void): () => void {
    this.#listeners.add(listener);
    listener({ map: this.#map, epoch: this.#map.epoch });
    return () => this.#listeners.delete(listener);
  }

  mapMessage(fromEpoch: number): Uint8Array | undefined {
    const { epoch } = this.#map;
    if (fromEpoch >= epoch) return undefined;
    return encodeWith(osdMapMessage, {
      fsid: FSID,
      incrementalMaps: new Map(),
      maps: new Map([[epoch, encodeOsdMap(this.#map, this.#crc32c)]]),
      oldestMap: epoch,
      newestMap: epoch,
      gapRemovedSnaps: new Map(),
    });
  }

  mapAt(epoch: number): OsdMap | undefined {
    return this.#history.get(epoch);
  }

  boot(osd: number, addrs: readonly EntityAddr[]): Promise<void> {
    const known = this.#map.osdAddrs(osd);
    const same = addrs.every((addr) => known.some((other) => sameAddr(addr, other)));
    if (this.#map.isUp(osd) && same) return Promise.resolve();
    this.change((fields) => {
      fields.osdState = fields.osdState.slice();
      fields.osdState[osd] = OSD_STATE.EXISTS | OSD_STATE.UP;
      fields.osdWeight = fields.osdWeight.slice();
      if (fields.osdWeight[osd] === 0) fields.osdWeight[osd] = OSD_IN;
      fields.clientAddrs = fields.clientAddrs.with(osd, [...addrs]);
      const info = fields.osdInfo[osd];
      if (info) fields.osdInfo = fields.osdInfo.with(osd, { ...info, upFrom: fields.epoch });
    });
    return Promise.resolve();
  }

  readonly full: [osd: number, full: boolean][] = [];

  async reportFull(osd: number, full: boolean): Promise<void> {
    this.full.push([osd, full]);
  }

  reportFailure(osd: number, reporter: number): void {
    this.failures.push({ osd, reporter });
    // Not from within the reporter's call: a real monitor answers later.
    if (this.autoDown) setImmediate(() => this.markDown(osd));
  }

  reportAlive(osd: number, epoch: number): void {
    setImmediate(() => {
      const info = this.#map.osdInfo[osd];
      if (!info || !this.#map.isUp(osd) || info.upThru >= epoch) return;
      this.change((fields) => {
        fields.osdInfo = fields.osdInfo.with(osd, { ...info, upThru: epoch });
      });
    });
  }

  authServer(): AuthServer {
    return NoneServer.service();
  }
}
