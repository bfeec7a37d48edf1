/** Processes that perform runs of a simulation: a run has a thread to itself, and its processor time can be told. */

import { type ChildProcess, fork } from 'node:child_process';
import { packageFile } from '../base/paths.js';
import type { CampaignLane, MeasuredRun } from '../sim/campaign.js';
import type { PlanOptions } from '../sim/plan.js';

export class SimulationJob implements CampaignLane {
  readonly #child: ChildProcess;
  #onResult: ((result: MeasuredRun) => void) | undefined;
  #onEnd: ((error: Error) => void) | undefined;
  #ended: Error | undefined;

  constructor() {
    this.#child = fork(packageFile('dist/workers/sim.js'), {
      // As in src/block/worker-host.ts: flags of the main program are none of its business.
      execArgv: [],
    });
    this.#child.on('message', (message) => this.#onResult?.(message as MeasuredRun));
    this.#child.on('error', (error) => this.#end(error));
    this.#child.on('exit', (code, signal) =>
      this.#end(new Error(`a process of the simulation ended: ${signal ?? code}`)),
    );
  }

  /** Rejects when the process ends. */
  run(seed: number, options: PlanOptions): Promise<MeasuredRun> {
    return new Promise((resolve, reject) => {
      if (this.#ended) {
        reject(this.#ended);
        return;
      }
      this.#onResult = resolve;
      this.#onEnd = reject;
      this.#child.send({ seed, options });
    });
  }

  close(): void {
    this.#child.kill();
  }

  #end(error: Error): void {
    this.#ended ??= error;
    this.#onEnd?.(error);
  }
}
