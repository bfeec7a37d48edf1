/** Processes that perform runs of a simulation: a run has a thread to itself, and its processor time can be told. */

import { type ChildProcess, fork } from 'node:child_process';
import { packageFile } from '../base/paths.js';
import type { CampaignLane, MeasuredRun } from '../sim/campaign.js';
import { type PlanOptions, planRun } from '../sim/plan.js';

/** Runs of a minute take seconds, ten on a slow machine: one that is still at it then goes round in circles. */
const RUN_LIMIT_MS = 20 * 60_000;

interface Running {
  readonly seed: number;
  readonly options: PlanOptions;
  readonly limit: NodeJS.Timeout;
  readonly resolve: (run: MeasuredRun) => void;
  readonly reject: (error: Error) => void;
}

/**
 * A run that does not end, or that ends its process (out of memory, say), has failed; the next one has a new process.
 */
export class SimulationJob implements CampaignLane {
  readonly #limitMs: number;
  #child: ChildProcess | undefined;
  #running: Running | undefined;
  #closed = false;

  constructor({ limitMs = RUN_LIMIT_MS } = {}) {
    this.#limitMs = limitMs;
  }

  /** Rejects when the job is closed, or no process can be started. */
  run(seed: number, options: PlanOptions): Promise<MeasuredRun> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(new Error('the job has ended'));
        return;
      }
      const limit = setTimeout(() => this.#fail('it takes too long'), this.#limitMs);
      this.#running = { seed, options, limit, resolve, reject };
      this.#child ??= this.#start();
      this.#child.send({ seed, options });
    });
  }

  close(): void {
    this.#closed = true;
    this.#child?.kill('SIGKILL');
    this.#take()?.reject(new Error('the job has ended'));
  }

  #start(): ChildProcess {
    const child = fork(packageFile('dist/bundle/workers/sim.js'), {
      // As in src/block/worker-host.ts: flags of the main program are none of its business.
      execArgv: [],
    });
    // It would not hear that we have gone while it goes round in circles.
    const end = () => child.kill('SIGKILL');
    process.once('exit', end);
    child.once('exit', () => process.off('exit', end));
    // One that was given up has nothing to say any more.
    const isCurrent = () => child === this.#child;
    child.on('message', (message) => {
      if (isCurrent()) this.#take()?.resolve(message as MeasuredRun);
    });
    child.on('error', (error) => {
      if (isCurrent()) this.#take()?.reject(error);
    });
    child.on('exit', (code, signal) => {
      if (isCurrent()) this.#fail(`its process ended: ${signal ?? code}`);
    });
    return child;
  }

  #fail(message: string): void {
    const child = this.#child;
    this.#child = undefined;
    child?.kill('SIGKILL');
    const running = this.#take();
    running?.resolve(failedRun(running.seed, running.options, message));
  }

  #take(): Running | undefined {
    const running = this.#running;
    this.#running = undefined;
    clearTimeout(running?.limit);
    return running;
  }
}

/** Of which nothing is known but that it did not come to its end. */
function failedRun(seed: number, options: PlanOptions, message: string): MeasuredRun {
  const { workload } = planRun(seed, options);
  const violations = [{ checker: 'end', message: `the run came to no end: ${message}` }];
  const nothing = {
    virtualMs: 0,
    steps: 0,
    operations: 0,
    sectorsChecked: 0,
    failed: 0,
    unknown: 0,
  };
  return {
    report: { seed, workload, digest: 'endless', violations, ...nothing, faults: {} },
    cpuMs: 0,
    rssBytes: 0,
  };
}
