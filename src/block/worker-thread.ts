/** One life of an osd-client worker: its thread, the control path to it, and how it ended. */

import { Worker } from 'node:worker_threads';

import type { Environment } from '../base/environment.js';
import { RadosError } from '../base/errors.js';
import { packageFile } from '../base/paths.js';
import { ControlClient } from './control.js';
import type { WorkerControl, WorkerSetup } from './worker-main.js';

export type Control = Pick<
  WorkerControl,
  'open' | 'close' | 'resize' | 'attributes' | 'manage' | 'iterate' | 'status' | 'shutdown'
>;

export interface OsdClientThreadOptions {
  env: Environment;
  setup: WorkerSetup;
  /** File of the worker's entry. Default: the library's own. */
  workerFile?: string | undefined;
  /** Told once, before the calls under way reject. */
  onEnd: (failure: RadosError) => void;
}

export class OsdClientThread {
  readonly control: ControlClient<Control>;
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  #lastError: unknown;
  #failure: RadosError | undefined;

  constructor({ env, setup, workerFile, onEnd }: OsdClientThreadOptions) {
    this.#worker = new Worker(workerFile ?? packageFile('dist/bundle/workers/osd-client.js'), {
      workerData: setup,
      name: 'osd-client',
      // Not main's: `--input-type` is refused for a thread whose code is a file, and flags of V8 for any thread.
      execArgv: [],
    });
    this.control = new ControlClient<Control>(env, this.#worker);
    this.#worker.on('error', (error) => {
      this.#lastError = error;
    });
    this.#exited = new Promise((resolve) => {
      this.#worker.once('exit', (code) => {
        this.#failure = this.#reasonOf(code);
        onEnd(this.#failure);
        this.control.fail(this.#failure);
        resolve();
      });
    });
  }

  /** ENOTCONN when the thread has ended, from outside or by a fault of its own. */
  get failure(): RadosError | undefined {
    return this.#failure;
  }

  /** Ends the thread, in the middle of whatever it does. Resolves when it is no more. */
  async end(): Promise<void> {
    await this.#worker.terminate();
    await this.#exited;
  }

  #reasonOf(exitCode: number): RadosError {
    const error = this.#lastError;
    const reason = error instanceof Error ? error.message : `exit code ${exitCode}`;
    return new RadosError('ENOTCONN', `the osd-client worker ended: ${reason}`, { cause: error });
  }
}
