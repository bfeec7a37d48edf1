/**
 * A cluster in a thread of its own: requests and answers over its port, as plain data.
 *
 * Errors keep `code` and `errno`. When the thread ends, for whatever reason, every call rejects.
 */

import type { MessagePort, Worker } from 'node:worker_threads';
import { isRadosError, RadosError } from '../base/errors.js';
import type { ClusterDescription, ClusterHost, ClusterStatus } from './cluster-host.js';
import type { FaultControl } from './faults/fault-spec.js';

interface Request {
  id: number;
  method: Method;
  args: unknown[];
}

type Answer =
  | { id: number; ok: true; value: unknown }
  | { id: number; ok: false; error: PlainError };

interface PlainError {
  name: string;
  message: string;
  errno?: number;
  retryable?: boolean;
}

const METHODS = [
  'describe',
  'status',
  'daemon',
  'openAdminSockets',
  'killOsd',
  'startOsd',
  'stop',
] as const;
const FAULT_METHODS = [
  'arm',
  'fired',
  'activations',
  'untilFired',
  'stop',
  'clear',
  'counters',
  'active',
  'watches',
  'clients',
] as const satisfies readonly (keyof FaultControl)[];

type FaultMethod = (typeof FAULT_METHODS)[number];
type Method = (typeof METHODS)[number] | `faults.${FaultMethod}`;

/** What both a `ClusterHost` and its proxy offer. */
export interface ClusterControl {
  describe(): Promise<ClusterDescription>;
  status(): Promise<ClusterStatus>;
  daemon(name: string, command: string): Promise<unknown>;
  openAdminSockets(dir: string): Promise<void>;
  killOsd(id: number): Promise<void>;
  startOsd(id: number, options?: { lost?: boolean }): Promise<void>;
  stop(): Promise<void>;
  readonly faults: FaultControl;
  /** Resolves when the cluster is gone: after `stop` with nothing, else with what ended it. Never rejects. */
  readonly ended: Promise<Error | undefined>;
}

/** The thread's side. `starting` may still fail: then every call does. */
export function serveCluster(port: MessagePort, starting: Promise<ClusterHost>): void {
  // Answered by the calls; without any, the failure is the first call's to report.
  starting.then(
    (host) =>
      host.failed.then((error) => {
        // Ends the thread, and tells whoever started it.
        throw error;
      }),
    () => {},
  );
  port.on('message', (request: Request) => {
    void perform(starting, request).then((answer) => {
      port.postMessage(answer);
      // The last answer: nothing keeps the thread alive after it.
      if (request.method === 'stop') port.close();
    });
  });
}

async function perform(starting: Promise<ClusterHost>, request: Request): Promise<Answer> {
  const { id, method, args } = request;
  try {
    const host = await starting;
    return { id, ok: true, value: await call(host, method, args) };
  } catch (error) {
    return { id, ok: false, error: toPlain(error) };
  }
}

function call(host: ClusterHost, method: Method, args: unknown[]): unknown {
  const name = METHODS.find((known) => known === method);
  if (name) return apply(host, host[name], args);
  const fault = FAULT_METHODS.find((known) => `faults.${known}` === method);
  if (fault) return apply(host.faults, host.faults[fault], args);
  throw new TypeError(`no method '${method}'`);
}

function apply(target: object, method: unknown, args: unknown[]): unknown {
  return (method as (...values: unknown[]) => unknown).apply(target, args);
}

function toPlain(error: unknown): PlainError {
  if (isRadosError(error)) {
    const { name, message, errno, retryable } = error;
    return { name, message, errno, retryable };
  }
  if (error instanceof Error) {
    const { name, message } = error;
    return { name, message };
  }
  return { name: 'Error', message: String(error) };
}

function fromPlain({ name, message, errno, retryable }: PlainError): Error {
  if (errno !== undefined) return new RadosError(errno, message, { retryable });
  if (name === 'RangeError') return new RangeError(message);
  if (name === 'TypeError') return new TypeError(message);
  return new RadosError('EIO', message, { op: 'embedded cluster' });
}

/** The caller's side. */
export class ClusterThread implements ClusterControl {
  readonly #worker: Worker;
  readonly #pending = new Map<
    number,
    { resolve: (value: unknown) => void; reject: (error: Error) => void }
  >();
  readonly ended: Promise<Error | undefined>;
  #nextId = 1;
  #stopping = false;
  #failure: Error | undefined;
  #end: Error | undefined;

  constructor(worker: Worker) {
    this.#worker = worker;
    worker.on('message', (answer: Answer) => this.#onAnswer(answer));
    worker.on('error', (error) => {
      this.#failure = error;
    });
    this.ended = new Promise((resolve) => {
      worker.once('exit', (code) => {
        this.#onExit(code);
        resolve(this.#stopping ? undefined : this.#end);
      });
    });
  }

  describe(): Promise<ClusterDescription> {
    return this.#call('describe') as Promise<ClusterDescription>;
  }

  status(): Promise<ClusterStatus> {
    return this.#call('status') as Promise<ClusterStatus>;
  }

  daemon(name: string, command: string): Promise<unknown> {
    return this.#call('daemon', name, command);
  }

  async openAdminSockets(dir: string): Promise<void> {
    await this.#call('openAdminSockets', dir);
  }

  readonly faults = Object.fromEntries(
    FAULT_METHODS.map((name) => [
      name,
      (...args: unknown[]) => this.#call(`faults.${name}`, ...args),
    ]),
  ) as unknown as FaultControl;

  async killOsd(id: number): Promise<void> {
    await this.#call('killOsd', id);
  }

  async startOsd(id: number, options: { lost?: boolean } = {}): Promise<void> {
    await this.#call('startOsd', id, options);
  }

  /** Resolves when the thread is gone, also when it had died before. */
  async stop(): Promise<void> {
    this.#stopping = true;
    try {
      if (!this.#end) await this.#call('stop');
    } catch (error) {
      // A cluster that never started has nothing to stop but its thread.
      this.#failure ??= error as Error;
    }
    if (!this.#end) await this.#worker.terminate();
    await this.ended;
  }

  #call(method: Method, ...args: unknown[]): Promise<unknown> {
    if (this.#end) return Promise.reject(this.#end);
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      this.#pending.set(id, { resolve, reject });
      this.#worker.postMessage({ id, method, args } satisfies Request);
    });
  }

  #onAnswer(answer: Answer): void {
    const call = this.#pending.get(answer.id);
    this.#pending.delete(answer.id);
    if (answer.ok) call?.resolve(answer.value);
    else call?.reject(fromPlain(answer.error));
  }

  #onExit(code: number): void {
    const why = this.#failure ? `: ${this.#failure.message}` : ` with code ${code}`;
    this.#end = new RadosError('ENOTCONN', `the embedded cluster's thread ended${why}`, {
      cause: this.#failure,
    });
    for (const { reject } of this.#pending.values()) reject(this.#end);
    this.#pending.clear();
  }
}

/** The same calls on a cluster in this thread. */
export function controlOf(host: ClusterHost): ClusterControl {
  let onEnd: (error?: Error) => void = () => {};
  const ended = new Promise<Error | undefined>((resolve) => {
    onEnd = resolve;
  });
  void host.failed.then((error) => host.stop().finally(() => onEnd(error)));
  return {
    ended,
    faults: host.faults,
    describe: async () => host.describe(),
    status: async () => host.status(),
    daemon: (name, command) => host.daemon(name, command),
    openAdminSockets: (dir) => host.openAdminSockets(dir),
    killOsd: async (id) => host.killOsd(id),
    startOsd: (id, options) => host.startOsd(id, options),
    stop: () => host.stop().finally(() => onEnd()),
  };
}
