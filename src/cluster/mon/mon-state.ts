/** What the parts of the monitor share, and what commands work on. */

import type { Environment } from '../../base/environment.js';
import type { MonMap } from '../../messages/mon-messages.js';
import type { CrushMappers } from '../../osdmap/crush-mapper.js';
import { Placement } from '../../osdmap/placement.js';
import type { OsdMap } from '../../osdmap/osdmap.js';
import type { PgId } from '../../encoding/types.js';
import type { PgStat } from '../osd/pg-state.js';
import type { ScrubKind } from '../osd/scrub/scrubber.js';
import type { AuthDatabase } from './auth-database.js';
import type { CentralConfig } from './config/central-config.js';
import type { ConfigKeys } from './config/config-keys.js';
import type { Commits } from './commits.js';
import type { OsdMapService } from './osdmap-service.js';
import type { OsdStates } from './osd-states.js';

/** `osd_pool_default_*`. */
export interface PoolDefaults {
  size: number;
  minSize: number;
  pgNum: number;
}

export interface ClientSession {
  /** `client.admin`. */
  name: string;
  features: bigint;
}

export interface MonState {
  readonly env: Environment;
  /** Nothing is answered before what led to it is on disk. */
  readonly commits: Commits;
  readonly monMap: MonMap;
  readonly osdMaps: OsdMapService;
  readonly osds: OsdStates;
  readonly auth: AuthDatabase;
  readonly configKeys: ConfigKeys;
  readonly config: CentralConfig;
  readonly crushMappers: CrushMappers;
  readonly poolDefaults: PoolDefaults;
  readonly startedMs: number;
  /** What the OSDs report of the PGs that they are primaries of; nothing where none report. */
  pgStats(): readonly PgStat[];
  /** Has an OSD scrub a PG. False: it is not running, or not the PG's primary. */
  scrub(osd: number, pg: PgId, kind: ScrubKind): boolean;
  clients(): ClientSession[];
}

/** Where PGs are in a map of this cluster. */
export function placementOf(state: MonState, map: OsdMap): Placement {
  return new Placement(map, state.crushMappers(map.crush));
}
