/**
 * What a run consists of, drawn from its seed: plain data, so that a run can be written down, cut down and run again.
 *
 * Every choice is drawn from a generator of its own purpose. Swarm testing: of all kinds of faults each run has only some,
 * and each of these at a rate of its own, for what always happens hides what happens only without it.
 */

import {
  FAULT_CATALOGUE,
  type Layer,
  DEFAULT_FAULT_NAMES,
  type SimFaultName,
} from './faults/catalogue.js';
import { Draw, randomFor } from './random.js';
import type { ActionName } from './workloads/actions/actions.js';
import { DEFAULT_WORKLOAD_NAMES, type WorkloadName, WORKLOADS } from './workloads/catalogue.js';

export interface PlannedFault {
  readonly kind: SimFaultName;
  /** Virtual milliseconds since the workload began. */
  readonly at: number;
  readonly forMs: number;
  /** Of what the fault draws itself. */
  readonly seed: number;
}

/** Something that a client does. Each of its lanes does one thing after the other. */
export interface PlannedStep {
  /** From 1. */
  readonly client: number;
  readonly lane: number;
  /** After the one before, in virtual milliseconds. */
  readonly pauseMs: number;
  readonly action: ActionName;
  /** Of what the action draws itself. */
  readonly seed: number;
}

export interface ImagePlan {
  readonly size: number;
  readonly order: number;
  readonly stripeUnit?: number;
  readonly stripeCount?: number;
  readonly features: readonly string[];
  /** It is a clone of an image that holds something. */
  readonly isClone: boolean;
}

export interface RunPlan {
  readonly seed: number;
  readonly workload: WorkloadName;
  /** How long operations and faults are begun, in virtual milliseconds. */
  readonly durationMs: number;
  readonly osds: number;
  readonly size: number;
  readonly pgNum: number;
  readonly auth: 'cephx' | 'none';
  readonly msMode: 'crc' | 'secure';
  readonly latencyMs: number;
  /** The daemons keep what they have on disks, rather than in memory. */
  readonly durable: boolean;
  readonly image: ImagePlan;
  readonly clients: number;
  readonly maxSectors: number;
  readonly steps: readonly PlannedStep[];
  readonly faults: readonly PlannedFault[];
}

export interface PlanOptions {
  /** Default 60 s. */
  durationMs?: number;
  /** One of them is drawn. Default: of all but those on request. */
  workloads?: readonly WorkloadName[];
  /** Kinds of faults that may happen. Default: all but those on request. */
  faults?: readonly SimFaultName[];
  /** That a run has each of them. Default: drawn, for each run. */
  faultChance?: number;
  /** Kinds that happen every few seconds, besides those that the workload is about. */
  frequentFaults?: readonly SimFaultName[];
}

const MIB = 1024 * 1024;
/** Of an image's objects: small ones, so that images of many are quickly looked at. */
const ORDERS = { min: 14, max: 18 };
/** Of each kind in a run that has it. */
const FAULTS_PER_KIND = { min: 0.5, max: 6 };
const FAULT_CHANCES = [0.05, 0.15, 0.3, 0.6];
/** Milliseconds from one fault to the next, of those that a workload is about. */
const FREQUENT_FAULT_MS = { min: 2000, max: 12_000 };

export function planRun(seed: number, options: PlanOptions = {}): RunPlan {
  const {
    durationMs = 60_000,
    workloads = DEFAULT_WORKLOAD_NAMES,
    faults = DEFAULT_FAULT_NAMES,
    faultChance,
    frequentFaults = [],
  } = options;
  const workload = new Draw(randomFor(seed, 'workload')).pick(workloads);
  const draw = new Draw(randomFor(seed, 'plan'));
  const osds = draw.int(1, 5);
  const auth = draw.chance(0.5) ? 'cephx' : 'none';
  const { min, max } = WORKLOADS[workload].clients;
  const clients = draw.int(min, max);
  return {
    seed,
    workload,
    durationMs,
    osds,
    size: draw.int(1, Math.min(osds, 3)),
    pgNum: draw.pick([1, 4, 8, 16]),
    auth,
    // Without a key there is nothing to encrypt with.
    msMode: auth === 'cephx' && draw.chance(0.3) ? 'secure' : 'crc',
    latencyMs: draw.logarithmic(0.05, 5),
    durable: hasDisks(faults) && new Draw(randomFor(seed, 'disks')).chance(0.5),
    image: planImage(seed, workload),
    clients,
    maxSectors: draw.pick([1, 8, 16, 64]),
    steps: planSteps(seed, { workload, clients, durationMs }),
    faults: [
      ...planFaults(seed, durationMs, faults, faultChance),
      ...planFrequentFaults(seed, durationMs, [...aboutOf(workload, faults), ...frequentFaults]),
    ].sort((a, b) => a.at - b.at),
  };
}

function hasDisks(faults: readonly SimFaultName[]): boolean {
  return faults.some((name) => FAULT_CATALOGUE[name].layer === 'store');
}

function planImage(seed: number, workload: WorkloadName): ImagePlan {
  const draw = new Draw(randomFor(seed, 'image'));
  const { order: orders = ORDERS } = WORKLOADS[workload];
  const order = draw.int(orders.min, orders.max);
  const objects = draw.int(1, 16);
  const striped = draw.chance(0.25);
  const { features, mayBeClone = false } = WORKLOADS[workload];
  return {
    // Not always whole objects.
    size: Math.min(objects * 2 ** order - (draw.chance(0.3) ? 512 * draw.int(1, 20) : 0), 2 * MIB),
    order,
    ...(striped ? { stripeUnit: 2 ** (order - draw.int(1, 3)), stripeCount: draw.int(2, 4) } : {}),
    features: draw.pick(features),
    isClone: mayBeClone && draw.chance(0.4),
  };
}

/** What each lane of each client does one after the other, for as long as the run takes. */
function planSteps(
  seed: number,
  { workload, clients, durationMs }: Pick<RunPlan, 'workload' | 'clients' | 'durationMs'>,
): PlannedStep[] {
  const draw = new Draw(randomFor(seed, 'steps'));
  const kind = WORKLOADS[workload];
  const mix = kind.mix(draw);
  const thinkMs = draw.logarithmic(kind.thinkMs.min, kind.thinkMs.max);
  const depth = draw.int(1, 4);
  const steps: PlannedStep[] = [];
  for (let client = 1; client <= clients; client++) {
    for (let lane = 0; lane < depth; lane++) {
      const own = new Draw(randomFor(seed, `lane ${client}.${lane}`));
      for (let at = 0; ; ) {
        const pauseMs = Math.round(own.logarithmic(1, thinkMs * 4));
        at += pauseMs;
        if (at > durationMs) break;
        const action = own.weighted(mix);
        steps.push({ client, lane, pauseMs, action, seed: own.int(1, 2 ** 31 - 1) });
      }
    }
  }
  return steps;
}

/** Which faults happen when. */
export function planFaults(
  seed: number,
  durationMs: number,
  names: readonly SimFaultName[] = DEFAULT_FAULT_NAMES,
  chance = new Draw(randomFor(seed, 'swarm')).pick(FAULT_CHANCES),
): PlannedFault[] {
  const faults: PlannedFault[] = [];
  for (const kind of names) {
    const draw = new Draw(randomFor(seed, `fault ${kind}`));
    if (!draw.chance(chance)) continue;
    const count = Math.ceil(draw.logarithmic(FAULTS_PER_KIND.min, FAULTS_PER_KIND.max));
    for (let i = 0; i < count; i++) faults.push(planFault(draw, kind, durationMs));
  }
  return faults.sort((a, b) => a.at - b.at);
}

/** Those of the faults that the workload is about. */
function aboutOf(workload: WorkloadName, faults: readonly SimFaultName[]): SimFaultName[] {
  const layers: ReadonlySet<Layer> = new Set(WORKLOADS[workload].faults ?? []);
  return faults.filter((name) => layers.has(FAULT_CATALOGUE[name].layer));
}

/** One of them every few seconds. */
function planFrequentFaults(
  seed: number,
  durationMs: number,
  kinds: readonly SimFaultName[],
): PlannedFault[] {
  if (kinds.length === 0) return [];
  const draw = new Draw(randomFor(seed, 'frequent faults'));
  const everyMs = draw.logarithmic(FREQUENT_FAULT_MS.min, FREQUENT_FAULT_MS.max);
  return Array.from({ length: Math.floor(durationMs / everyMs) }, () =>
    planFault(draw, draw.pick(kinds), durationMs),
  );
}

function planFault(draw: Draw, kind: SimFaultName, durationMs: number): PlannedFault {
  const { maxMs, minMs = Math.min(100, maxMs) } = FAULT_CATALOGUE[kind];
  return {
    kind,
    at: draw.int(0, durationMs),
    forMs: maxMs === 0 ? 0 : Math.round(draw.logarithmic(minMs, maxMs)),
    seed: draw.int(1, 2 ** 31),
  };
}
