/** Cuts a failing run down to what it takes to fail: fewer faults, fewer clients, fewer steps, less time. */

import type { RunPlan } from './plan.js';

export type Fails = (plan: RunPlan) => Promise<boolean>;

/** Runs that are tried at most. */
const TRIALS_MAX = 200;

/** `fails(plan)` holds, and holds for what is returned. */
export async function shrink(plan: RunPlan, fails: Fails): Promise<RunPlan> {
  let trials = 0;
  let smallest = plan;
  const attempt = async (smaller: RunPlan): Promise<boolean> => {
    if (trials++ >= TRIALS_MAX || !(await fails(smaller))) return false;
    smallest = smaller;
    return true;
  };
  await without('faults');
  while (smallest.clients > 1 && (await attempt({ ...smallest, clients: smallest.clients - 1 })));
  await without('steps');
  while (
    smallest.durationMs > 1000 &&
    (await attempt({ ...smallest, durationMs: Math.round(smallest.durationMs * 0.7) }))
  );
  return smallest;

  /** Leaves out ever smaller parts of a list. */
  async function without(list: 'faults' | 'steps'): Promise<void> {
    for (let part = Math.ceil(smallest[list].length / 2); part >= 1; part = Math.floor(part / 2)) {
      for (let at = 0; at < smallest[list].length; ) {
        const less = (smallest[list] as readonly unknown[]).toSpliced(at, part);
        if (!(await attempt({ ...smallest, [list]: less }))) at += part;
      }
    }
  }
}
