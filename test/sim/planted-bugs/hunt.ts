/** Looks for one planted bug: in a process of its own, seed after seed, until a checker objects to it and to it alone. */

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { packageFile } from '../../../src/base/paths.js';
import type { PlantedBug } from './planted-bug.js';
import type { Caught, Line } from './seeds.js';

export interface Result {
  readonly bug: PlantedBug;
  /** Seeds until it was caught, that one included; undefined: it was not. */
  readonly seeds: number | undefined;
  /** Seeds that it was looked for with. */
  readonly tried: number;
  /** Checkers that objected, the first one first. */
  readonly checkers: readonly string[];
  readonly message: string;
}

const SEEDS_PROCESS = packageFile('dist/test/sim/planted-bugs/seeds.js');
/** A bug may make a run go on for ever in one turn of the event loop. */
const STUCK_MS = 180_000;
/** Errors of the program itself, as a violation tells of them. */
const SLIP = /\b(TypeError|ReferenceError)\b/;

export async function hunt(bug: PlantedBug, maxSeeds: number): Promise<Result> {
  for (let first = 1; first <= maxSeeds; ) {
    const caught = await runSeeds([bug.name, `${first}`, `${maxSeeds}`]);
    if (!caught) break;
    const slip = bug.throws ? undefined : slipIn(caught);
    if (slip) throw new Error(`the planted bug '${bug.name}' fails of itself: ${slip}`);
    // A seed that fails without the bug says nothing about the bug.
    const seed = `${caught.seed}`;
    if (!(await runSeeds([bug.name, seed, seed, 'clean']))) {
      const checkers = [...new Set(caught.violations.map(({ checker }) => checker))];
      const [{ message = '' } = {}] = caught.violations;
      return { bug, seeds: caught.seed, tried: caught.seed, checkers, message };
    }
    first = caught.seed + 1;
  }
  return { bug, seeds: undefined, tried: maxSeeds, checkers: [], message: '' };
}

/** The text of a bug may call what is not there any more: then it is not the bug that was caught. */
function slipIn({ violations }: Caught): string | undefined {
  return violations.map(({ message }) => message).find((message) => SLIP.test(message));
}

/** Rejects when the process ends without a result: the bug does not apply, say. */
function runSeeds(
  args: readonly [bug: string, first: string, ...string[]],
): Promise<Caught | null> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [SEEDS_PROCESS, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let seed = Number(args[1]);
    let result: Caught | null | undefined;
    let stderr = '';
    const onStuck = () => {
      const message = `the run did not end in ${STUCK_MS / 1000} s`;
      result = { seed, violations: [{ checker: 'stuck', message }] };
      child.kill('SIGKILL');
    };
    let watchdog = setTimeout(onStuck, STUCK_MS);
    createInterface(child.stdout).on('line', (text) => {
      const line = JSON.parse(text) as Line;
      if ('caught' in line) result = line.caught;
      else {
        seed = line.seed;
        clearTimeout(watchdog);
        watchdog = setTimeout(onStuck, STUCK_MS);
      }
    });
    child.stderr.on('data', (bytes: Buffer) => {
      stderr += bytes.toString();
    });
    child.on('error', reject);
    child.on('close', () => {
      clearTimeout(watchdog);
      if (result !== undefined) resolve(result);
      else reject(new Error(`${args[0]}: ${stderr.trim().slice(-2000)}`));
    });
  });
}
