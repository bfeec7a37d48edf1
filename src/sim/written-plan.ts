/** Plans of runs that were written down, as JSON: what was cut down to what it takes to fail is run again by one. */

import { SIM_FAULT_NAMES } from './faults/catalogue.js';
import type { ImagePlan, PlannedFault, PlannedStep, RunPlan } from './plan.js';
import { ACTIONS } from './workloads/actions/actions.js';
import { WORKLOAD_NAMES } from './workloads/catalogue.js';

/** Where it is wrong; undefined when it is not. */
type Check = (value: unknown, at: string) => string | undefined;
type Checks<T> = { readonly [K in keyof Required<T>]: Check };

const where =
  (isRight: (value: unknown) => boolean): Check =>
  (value, at) =>
    isRight(value) ? undefined : at;

const whole = (least: number) =>
  where((value) => Number.isSafeInteger(value) && (value as number) >= least);
const ms = where((value) => Number.isFinite(value) && (value as number) >= 0);
const truth = where((value) => typeof value === 'boolean');
const oneOf = (choices: readonly unknown[]) => where((value) => choices.includes(value));
const text = where((value) => typeof value === 'string');

const optional =
  (check: Check): Check =>
  (value, at) =>
    value === undefined ? undefined : check(value, at);

const list =
  (check: Check): Check =>
  (value, at) => {
    if (!Array.isArray(value)) return at;
    for (const [i, each] of value.entries()) {
      const wrong = check(each, `${at}[${i}]`);
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  };

function record<T>(checks: Checks<T>): Check {
  return (value, at) => {
    if (typeof value !== 'object' || value === null) return at;
    for (const [key, check] of Object.entries<Check>(checks)) {
      const field = (value as Readonly<Record<string, unknown>>)[key];
      const wrong = check(field, at === '' ? key : `${at}.${key}`);
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  };
}

const image = record<ImagePlan>({
  size: whole(0),
  order: whole(0),
  stripeUnit: optional(whole(1)),
  stripeCount: optional(whole(1)),
  features: list(text),
  isClone: truth,
});

const step = record<PlannedStep>({
  client: whole(1),
  lane: whole(0),
  pauseMs: ms,
  action: oneOf(Object.keys(ACTIONS)),
  seed: whole(0),
});

const fault = record<PlannedFault>({
  kind: oneOf(SIM_FAULT_NAMES),
  at: ms,
  forMs: ms,
  seed: whole(0),
});

const plan = record<RunPlan>({
  seed: whole(0),
  workload: oneOf(WORKLOAD_NAMES),
  durationMs: ms,
  osds: whole(1),
  size: whole(1),
  pgNum: whole(1),
  auth: oneOf(['cephx', 'none']),
  msMode: oneOf(['crc', 'secure']),
  latencyMs: ms,
  durable: truth,
  image,
  clients: whole(1),
  maxSectors: whole(1),
  steps: list(step),
  faults: list(fault),
});

/** Throws a TypeError when it is none. */
export function readPlan(written: string): RunPlan {
  let value: unknown;
  try {
    value = JSON.parse(written);
  } catch (error) {
    throw new TypeError('it is not JSON', { cause: error });
  }
  const wrong = plan(value, '');
  if (wrong !== undefined) throw new TypeError(`${wrong || 'all of it'} is wrong`);
  return value as RunPlan;
}

/** As `readPlan` takes it. */
export function writePlan(written: RunPlan): string {
  return `${JSON.stringify(written, undefined, 2)}\n`;
}
