/** What faults need of the cluster. */

import type { MonState } from '../mon/mon-state.js';
import type { OsdDaemon } from '../osd-daemon.js';
import type { FaultMachinery } from './fault-machinery.js';

export interface FaultTargets {
  readonly machinery: FaultMachinery;
  readonly state: MonState;
  /** RangeError when there is no such OSD. */
  checkOsd(id: number): void;
  osd(id: number): OsdDaemon | undefined;
  /** Those that run. */
  osds(): OsdDaemon[];
  killOsd(id: number): void;
  stopOsd(id: number): Promise<void>;
  startOsd(id: number): Promise<void>;
  reportFailure(osd: number): void;
  /** Whether there were any. */
  retireTickets(): boolean;
}
