/** A function of the user's, run in a simulation: the same for the same seed, with faults that the seed draws. */

import { RadosError } from '../base/errors.js';
import { FAULT_CATALOGUE, type SimFaultName } from './faults/catalogue.js';
import { Nemesis } from './nemesis.js';
import { type PlannedFault, planFaults } from './plan.js';
import { Simulation, type SimulationOptions } from './simulation.js';
import { NoEndError } from './virtual-world.js';

export interface SimulateOptions extends SimulationOptions {
  /**
   * Kinds of faults: names of `SIM_FAULT_NAMES`, each of which is planned once or more, at times within `faultsForMs` that the
   * seed draws; or `'all'`, of which the seed draws some: of all kinds but those that docs/simulation.md has as *on
   * request*. Default: none. EINVAL: there is no such kind; or it is one of disks, and the cluster is not `durable`.
   */
  faults?: 'all' | readonly SimFaultName[];
  /** How long faults are begun, in virtual milliseconds: a body that ends before sees only those of before. Default 60 s. */
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
const MAX_SEED = 2 ** 32 - 1;

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
  const { timeoutMs = TIMEOUT_MS } = options;
  const faults = plannedBy(options);
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
    nemesis.start(faults);
    const value = await world.until(body(simulation), { patienceMs: timeoutMs });
    if (errors.length > 0) throw errors[0];
    await world.until(nemesis.stop());
    const digest = world.digest.toString(16).padStart(8, '0');
    result = { value, digest, virtualMs: Math.round(world.now), faults: nemesis.fired };
  } catch (error) {
    const [cause] = [...errors, ...(await end(simulation, nemesis))];
    throw withCause(withTheDead(error, simulation), cause);
  }
  const failures = await end(simulation, nemesis);
  if (failures.length > 0) throw failures[0];
  return result;
}

function plannedBy(options: SimulateOptions): PlannedFault[] {
  const { seed, faults = [], faultsForMs = FAULTS_FOR_MS, durable = false } = options;
  if (!Number.isInteger(seed) || seed < 0 || seed > MAX_SEED) {
    throw invalid(`seed: ${String(seed)} is no whole number from 0 to ${MAX_SEED}`);
  }
  if (!Number.isFinite(faultsForMs) || faultsForMs < 0) {
    throw invalid(`faultsForMs: ${String(faultsForMs)} is no number of milliseconds`);
  }
  if (faults === 'all') return planFaults(seed, faultsForMs);
  if (!Array.isArray(faults)) {
    throw invalid(`faults: ${JSON.stringify(faults)} is neither 'all' nor a list of names`);
  }
  const names = new Set(faults as readonly SimFaultName[]);
  for (const name of names) {
    if (!Object.hasOwn(FAULT_CATALOGUE, name)) {
      throw invalid(`faults: there is no fault ${JSON.stringify(name)}`);
    }
    if (FAULT_CATALOGUE[name].layer === 'store' && !durable) {
      throw invalid(`faults: ${name} is a fault of disks, and without 'durable' there are none`);
    }
  }
  return planFaults(seed, faultsForMs, [...names], 1);
}

function invalid(why: string): RadosError {
  return new RadosError('EINVAL', why, { op: 'simulate' });
}

/** Who waits for a client that died waits for ever, which nothing else would tell. */
function withTheDead(error: unknown, { clients }: Simulation): unknown {
  const dead = clients.filter(({ alive }) => !alive).map(({ name }) => name);
  if (!(error instanceof NoEndError) || dead.length === 0) return error;
  return new Error(
    `${error.message}: ${dead.join(', ')} died, and nothing that a dead client has begun ever settles (see whileAlive)`,
  );
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
