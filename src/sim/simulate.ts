/** A function of the user's, run in a simulation: the same for the same seed, with faults that the seed draws. */

import type { SimFaultName } from './faults/catalogue.js';
import { Nemesis } from './nemesis.js';
import { planFaults } from './plan.js';
import { Simulation, type SimulationOptions } from './simulation.js';

export interface SimulateOptions extends SimulationOptions {
  /** Kinds of faults that may happen: `'all'`, or names of `SIM_FAULT_NAMES`. Default: none. */
  faults?: 'all' | readonly SimFaultName[];
  /** How long faults are begun, in virtual milliseconds. Default 60 s. */
  faultsForMs?: number;
  /** Virtual time after which it is given up. Default an hour. */
  timeoutMs?: number;
  /** Tells of faults, as they happen. */
  onTrace?: (line: string) => void;
}

export interface SimulateResult<T> {
  readonly value: T;
  /** The same for the same seed and the same function. */
  readonly digest: string;
  readonly virtualMs: number;
  /** How often faults of each kind have acted. */
  readonly faults: Readonly<Partial<Record<SimFaultName, number>>>;
}

const FAULTS_FOR_MS = 60_000;
const TIMEOUT_MS = 3_600_000;

/**
 * Runs `body` in virtual time, and rejects with what it rejects with, in whatever state it left cluster and clients; what went
 * wrong besides is that error's `cause`. It must wait for nothing but the simulation: for
 * clients that it made there, and `simulation.sleep`; what happens on the real network or by real timers is not part of it.
 *
 *     await simulate({ seed: 7, faults: ['watch.dropped', 'osd.kill'] }, async (simulation) => {
 *       const { cluster } = await simulation.connect();
 *       await cluster.pool('rbd').images.create('vm', { size: 2 ** 30 });
 *       const disk = await cluster.map('rbd/vm');
 *       ...
 *     });
 */
export async function simulate<T>(
  options: SimulateOptions,
  body: (simulation: Simulation) => Promise<T>,
): Promise<SimulateResult<T>> {
  const { seed, faults = [], faultsForMs = FAULTS_FOR_MS, timeoutMs = TIMEOUT_MS } = options;
  const simulation = await Simulation.start(options);
  const { world } = simulation;
  const { onTrace } = options;
  const errors: unknown[] = [];
  const nemesis = new Nemesis(simulation, {
    trace: (line) => onTrace?.(`${simulation.now.toFixed(1)} ms  ${line}`),
    onError: (_, error) => errors.push(error),
  });
  let result: SimulateResult<T>;
  try {
    nemesis.start(planFaults(seed, faultsForMs, faults === 'all' ? undefined : faults));
    const value = await world.until(body(simulation), { patienceMs: timeoutMs });
    if (errors.length > 0) throw errors[0];
    await world.until(nemesis.stop());
    const digest = world.digest.toString(16).padStart(8, '0');
    result = { value, digest, virtualMs: Math.round(world.now), faults: nemesis.fired };
  } catch (error) {
    const [cause] = [...errors, ...(await end(simulation, nemesis))];
    throw withCause(error, cause);
  }
  const failures = await end(simulation, nemesis);
  if (failures.length > 0) throw failures[0];
  return result;
}

/**
 * Whatever the body left broken must not keep clients and cluster from ending. Resolves with what went wrong all the same:
 * each step is taken, however the one before came out.
 */
async function end(simulation: Simulation, nemesis: Nemesis): Promise<unknown[]> {
  const errors: unknown[] = [];
  for (const step of [() => nemesis.stop(), () => simulation.heal(), () => simulation.stop()]) {
    await simulation.world.until(step()).catch((error: unknown) => errors.push(error));
  }
  return errors;
}

/** What the body failed with comes first; what went wrong besides may be a consequence. */
function withCause(error: unknown, cause: unknown): unknown {
  const isFree = error instanceof Error && error.cause === undefined && Object.isExtensible(error);
  if (isFree && cause !== error) error.cause ??= cause;
  return error;
}
