/**
 * What an embedded OSD sees of the embedded monitor.
 *
 * Plain data and callbacks, no shared state: so that the line can run over a MessagePort when OSDs move to threads of
 * their own.
 */

import type { AuthServer } from '../auth/method.js';
import type { EntityAddr } from '../encoding/entity.js';
import type { PgId } from '../encoding/types.js';
import type { OsdMap } from '../osdmap/osdmap.js';

export interface MapUpdate {
  map: OsdMap;
  epoch: number;
}

export interface MonLink {
  /** Calls at once with the current map, then on every new epoch. Returns what ends the subscription. */
  subscribe(listener: (update: MapUpdate) => void): () => void;
  /**
   * An encoded MOSDMap (type OSD_MAP, version 4) that takes a client from `fromEpoch` towards the newest epoch: at most
   * 40 incrementals, or a full map when the incrementals are gone. Undefined when the client is up to date.
   */
  mapMessage(fromEpoch: number): Uint8Array | undefined;
  /** A map of the past, as long as it is kept: an OSD that was away finds out who served its PGs meanwhile. */
  mapAt?(epoch: number): OsdMap | undefined;
  /** Resolves when a map says that this OSD is up at these addresses. */
  boot(osd: number, addrs: readonly EntityAddr[]): Promise<void>;
  /** `osd` no longer answers, says `reporter`. */
  reportFailure(osd: number, reporter: number): void;
  /** `osd` was alive when `epoch` was the newest that it knew of: a map to come says so (`up_thru`). */
  reportAlive(osd: number, epoch: number): void;
  /** As `PgHost.requestPgTemp`. */
  requestPgTemp?(pg: PgId, osds: readonly number[]): boolean;
  /** Whether an OSD has no room for more. Resolves when the map says so, and clients with it know what to do. */
  reportFull(osd: number, full: boolean): Promise<void>;
  /** cephx or none, for one incoming connection at an OSD: shares the monitor's rotating secrets. */
  authServer(): AuthServer;
  readonly authMethods: readonly number[];
}
