/** Who looks on while a run happens, and changes nothing. */

import type { BlockDevice } from '../../block/device.js';
import type { History } from '../checkers/history.js';
import type { Violation } from '../checkers/violation.js';
import type { SimFaultName } from '../faults/catalogue.js';
import type { Simulation } from '../simulation.js';
import type { WorkloadClient } from '../workloads/habitat.js';

export interface RunWitness {
  /** Before anything is there. Returns what ends it. */
  watch(): () => void;
  /** The cluster serves. */
  onStart(simulation: Simulation): void;
  /** What the run is at from here on. */
  onPhase(name: string): void;
  /** A fault acts, until what this returns is called. */
  onFault(kind: SimFaultName, forMs: number): () => void;
  onMapped(client: WorkloadClient, device: BlockDevice): void;
  onViolation(violation: Violation): void;
  onEnd(history: History): void;
}
