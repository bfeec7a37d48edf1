/** What the parts of the monitor share, and what commands work on. */

import type { Environment } from '../../base/environment.js';
import type { MonMap } from '../../messages/mon-messages.js';
import type { CrushMappers } from '../../osdmap/crush-mapper.js';
import { Placement } from '../../osdmap/placement.js';
import type { OsdMap } from '../../osdmap/osdmap.js';
import type { AuthDatabase } from './auth-database.js';
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
  readonly crushMappers: CrushMappers;
  readonly poolDefaults: PoolDefaults;
  readonly startedMs: number;
  clients(): ClientSession[];
}

/** Where PGs are in a map of this cluster. */
export function placementOf(state: MonState, map: OsdMap): Placement {
  return new Placement(map, state.crushMappers(map.crush));
}
