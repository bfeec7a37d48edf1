/**
 * A process with one planted bug: runs seed after seed until a checker objects.
 *
 *     node seeds.js BUG FIRST LAST [clean]        clean: the same runs without the bug
 *
 * Says in JSON lines what it does: `{"seed":1}` before each run, and at the end `{"caught":{...}}` or `{"caught":null}`.
 */

import { register } from 'node:module';
import type { Violation } from '../../../src/sim/checkers/violation.js';
import { PLANTED_BUGS } from './bugs/index.js';
import { type LoaderData, PLANTED } from './loader.js';

export interface Caught {
  readonly seed: number;
  readonly violations: readonly Violation[];
}

export type Line = { readonly seed: number } | { readonly caught: Caught | null };

const say = (line: Line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const [name, first = '1', last = '1', clean] = process.argv.slice(2);
const bug = PLANTED_BUGS.find((each) => each.name === name);
if (!bug) throw new Error(`there is no planted bug '${name}'`);
if (clean === undefined) {
  const data: LoaderData = { bug, root: new URL('../../../src/', import.meta.url).href };
  register('./loader.js', import.meta.url, { data });
}
// Only now: what is loaded before the hooks are there has no bug.
const { planRun } = await import('../../../src/sim/plan.js');
const { run } = await import('../../../src/sim/run.js');
if (clean === undefined && !(Symbol.for(PLANTED) in globalThis)) {
  throw new Error(`the planted bug '${bug.name}' is in a file that a run does not load`);
}

let caught: Caught | null = null;
for (let seed = Number(first); seed <= Number(last) && !caught; seed++) {
  say({ seed });
  const { violations } = await run(planRun(seed, bug.runs));
  if (violations.length > 0) caught = { seed, violations: violations.slice(0, 3) };
}
say({ caught });
// A bug may have left anything behind that keeps the process.
process.exit(0);
