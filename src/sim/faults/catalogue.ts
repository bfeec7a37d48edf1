/**
 * The faults that a simulation draws from, as data: what each is called, on which floor it happens, what must hold all the
 * same, and how it is brought about. `docs/simulation.md` has the table of them.
 *
 * Every one ends: by itself, or when the run undoes it.
 */

import { authFaults } from './auth.js';
import { clusterFaults } from './cluster.js';
import type { Disturbance, FaultKindOfSim, Scene } from './fault-kind.js';
import { networkFaults } from './network.js';
import { processFaults } from './processes.js';
import { storeFaults } from './store.js';
import { watchFaults } from './watches.js';

export type { Disturbance, FaultKindOfSim, Layer, Scene } from './fault-kind.js';

/** Errors that say that there is nothing to disturb just now: it is disturbed already, or there is only one of it. */
const NOTHING_THERE = new Set(['ENOENT', 'EEXIST', 'EBUSY', 'EAGAIN', 'EINVAL', 'ETIMEDOUT']);

const kinds = {
  ...networkFaults,
  ...authFaults,
  ...clusterFaults,
  ...storeFaults,
  ...watchFaults,
  ...processFaults,
} satisfies Record<string, FaultKindOfSim>;

export type SimFaultName = keyof typeof kinds;
export const FAULT_CATALOGUE: Readonly<Record<SimFaultName, FaultKindOfSim>> = kinds;
export const SIM_FAULT_NAMES = Object.keys(kinds) as SimFaultName[];
/** Those that a run draws from when nobody says which. */
export const DEFAULT_FAULT_NAMES = SIM_FAULT_NAMES.filter(
  (name) => !FAULT_CATALOGUE[name].onRequest,
);

/** Undefined when there is nothing to disturb. */
export async function begin(kind: SimFaultName, scene: Scene): Promise<Disturbance | undefined> {
  try {
    return await FAULT_CATALOGUE[kind].begin(scene);
  } catch (error) {
    if (NOTHING_THERE.has((error as { code?: string }).code ?? '')) return undefined;
    throw error;
  }
}
