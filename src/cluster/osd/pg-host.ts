/** What a PG sees of the OSD that it lives on. */

import type { Environment } from '../../base/environment.js';
import type { Logger } from '../../base/log.js';
import type { PgId } from '../../encoding/types.js';
import type { Crc32c } from '../../kernels/crc32c.js';
import type { OsdMap } from '../../osdmap/osdmap.js';
import type { Placement } from '../../osdmap/placement.js';
import type { ClassRegistry } from '../classes/class-registry.js';
import type { OsdFaults } from '../faults/osd-faults.js';
import type { ObjectStore } from '../store/object-store.js';
import type { ClientSession } from './client-request.js';
import type { Executor } from './executor.js';
import type { OsdLimits } from './limits.js';
import type { PeerDirectory } from './osd-peer.js';
import type { PipelineMode } from './pipeline/pg-pipeline.js';
import type { PipelineWorld } from './pipeline/world.js';
import type { RecoverySlots } from './recovery-slots.js';

export interface MapView {
  readonly map: OsdMap;
  readonly epoch: number;
  readonly placement: Placement;
}

export interface PgHost {
  readonly whoami: number;
  readonly env: Environment;
  readonly log: Logger;
  readonly crc32c: Crc32c;
  readonly store: ObjectStore;
  readonly classes: ClassRegistry;
  readonly executor: Executor;
  readonly limits: OsdLimits;
  readonly peers: PeerDirectory;
  readonly recoverySlots: RecoverySlots;
  readonly pipeline: PipelineWorld;
  readonly pipelineMode: PipelineMode;
  /** Faults that are injected here; undefined where none can be. */
  readonly faults: OsdFaults | undefined;
  readonly view: MapView;
  /** Resolves when this OSD's map is at least `epoch`; rejects when the OSD stops. */
  mapReached(epoch: number): Promise<void>;
  /** A map of the past, while the monitor keeps it. */
  viewAt(epoch: number): MapView | undefined;
  nextNotifyId(): bigint;
  /** Sends the session the maps that it lacks: it must look elsewhere. */
  shareMap(session: ClientSession): void;
  reportFailure(osd: number): void;
  /** A map to come says that this OSD is alive in the epoch of its map (`up_thru`). */
  reportAlive(): void;
  /** Has others serve a PG for a while; with an empty list, the OSDs that it belongs to again. False: it is not done. */
  requestPgTemp(pg: PgId, osds: readonly number[]): boolean;
  /** The store had no room for something. Resolves when this OSD has a map that says so. */
  reportFull(): Promise<void>;
}
