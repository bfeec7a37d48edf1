/** A worker thread that serves images, seen from the thread that uses them. */

import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads';

import type { Environment } from '../base/environment.js';
import { RadosError } from '../base/errors.js';
import type { LogOptions } from '../base/log.js';
import { packageFile } from '../base/paths.js';
import { describeImage, type ImageSpec } from './backend.js';
import { ControlClient, withPorts } from './control.js';
import { BlockDevice } from './device.js';
import {
  arenaBytesOf,
  DEFAULT_MEMORY_BYTES,
  type DeviceHost,
  defaultRuntimeModule,
  deviceLimits,
  type OpenOptions,
} from './device-host.js';
import type {
  ManageOptions,
  OperationArguments,
  OperationName,
  OperationResult,
} from './management.js';
import type { MapOptions } from './map-options.js';
import { RingChannel } from './ring-channel.js';
import type { OpenedDevice, WorkerControl, WorkerSetup } from './worker-main.js';

export interface WorkerHostOptions {
  env: Environment;
  /** Plain data for the runtime: how to reach the cluster. */
  config?: unknown;
  log?: LogOptions;
  /** URL of a module that exports `createRuntime`. Default: the library's own. */
  runtimeModule?: string;
  /** File of the worker's entry. Default: the library's own. */
  workerFile?: string;
  /** The worker's kernel memory: all arenas of its devices lie in it. */
  memoryBytes?: number;
}

/** Start-up connects to the cluster, within the runtime's own limits; this is for a worker that hangs. */
const START_DEADLINE_MS = 120_000;
const CONTROL_DEADLINE_MS = 30_000;
/** Over the time that the image's own waits take. */
const OPEN_GRACE_MS = 30_000;

type Control = Pick<
  WorkerControl,
  'open' | 'close' | 'resize' | 'attributes' | 'manage' | 'status' | 'shutdown'
>;

export class WorkerHost implements DeviceHost {
  readonly #env: Environment;
  readonly #worker: Worker;
  readonly #control: ControlClient<Control>;
  readonly #channels = new Map<number, RingChannel>();
  readonly #devices = new Set<BlockDevice>();
  #nextDevice = 1;
  #lastError: unknown;
  #failure: RadosError | undefined;
  #exited: Promise<void>;
  #closing: Promise<void> | undefined;

  private constructor(options: WorkerHostOptions) {
    this.#env = options.env;
    const setup: WorkerSetup = {
      runtimeModule: options.runtimeModule ?? defaultRuntimeModule(),
      memoryBytes: options.memoryBytes ?? DEFAULT_MEMORY_BYTES,
      log: options.log ?? {},
      config: options.config,
    };
    this.#worker = new Worker(options.workerFile ?? packageFile('dist/workers/osd-client.js'), {
      workerData: setup,
      name: 'osd-client',
      // Not main's: `--input-type` is refused for a thread whose code is a file, and flags of V8 for any thread.
      execArgv: [],
    });
    this.#control = new ControlClient<Control>(this.#env, this.#worker);
    this.#worker.on('error', (error) => {
      this.#lastError = error;
    });
    this.#exited = new Promise((resolve) => {
      this.#worker.once('exit', (code) => {
        this.#onExit(code);
        resolve();
      });
    });
  }

  /** Resolves when the worker's runtime is ready; rejects with what it threw. */
  static async start(options: WorkerHostOptions): Promise<WorkerHost> {
    const host = new WorkerHost(options);
    try {
      await host.#control.call('status', [], { deadlineMs: START_DEADLINE_MS });
    } catch (error) {
      await host.close();
      throw error;
    }
    return host;
  }

  /** ENOTCONN when the worker has ended, from outside or by a fault of its own. */
  get failure(): RadosError | undefined {
    return this.#failure;
  }

  async open(spec: ImageSpec, map: MapOptions, options: OpenOptions = {}): Promise<BlockDevice> {
    if (this.#closing) throw new RadosError('EBADF', 'open: the host is closed', { op: 'open' });
    const id = this.#nextDevice++;
    const doorbell = new MessageChannel();
    const details = new MessageChannel();
    const request = {
      device: id,
      spec,
      options: map,
      arenaBytes: arenaBytesOf(options),
      doorbell: doorbell.port2,
      details: details.port2,
    };
    let opened: OpenedDevice;
    try {
      opened = await this.#control.call(
        'open',
        [withPorts(request, [doorbell.port2, details.port2])],
        { deadlineMs: openDeadlineMs(map), signal: options.signal },
      );
    } catch (error) {
      doorbell.port1.close();
      details.port1.close();
      // If it still succeeds over there, nobody wants it.
      this.#closeQuietly(id);
      throw error;
    }
    const ports = { doorbell: doorbell.port1, details: details.port1 };
    const channel = new RingChannel(this.#env, opened.region, ports, describeImage(spec));
    const device = new BlockDevice({
      ...deviceLimits(map, options),
      channel,
      attributes: opened.attributes,
      ...(opened.canResize && {
        resize: (size: number) => this.#control.call('resize', [id, size], { deadlineMs: 0 }),
      }),
      release: async (force) => {
        this.#channels.delete(id);
        this.#devices.delete(device);
        if (this.#failure) return;
        if (force) this.#closeQuietly(id);
        else await this.#control.call('close', [id], { deadlineMs: CONTROL_DEADLINE_MS });
      },
    });
    this.#channels.set(id, channel);
    this.#devices.add(device);
    if (this.#failure) channel.fail(this.#failure);
    return device;
  }

  async manage<K extends OperationName>(
    operation: K,
    args: OperationArguments<K>,
    { signal, onProgress }: ManageOptions = {},
  ): Promise<OperationResult<K>> {
    const { port1, port2 } = new MessageChannel();
    const report = ([done, total]: [number, number]) => onProgress?.(done, total);
    if (onProgress) port1.on('message', report);
    const onAbort = () => port1.postMessage('abort');
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      const request = withPorts({ operation, args, port: port2 }, [port2]);
      // As long as it takes: the operation has its own limits, and the worker's end settles it.
      const result = await this.#control.call('manage', [request], { deadlineMs: 0, signal });
      return result as OperationResult<K>;
    } finally {
      signal?.removeEventListener('abort', onAbort);
      // Its answer came by another port, and may have overtaken the last of these.
      for (let last; onProgress && (last = receiveMessageOnPort(port1)); ) report(last.message);
      port1.close();
    }
  }

  status(): Promise<unknown> {
    return this.#control.call('status', [], { deadlineMs: CONTROL_DEADLINE_MS });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    await Promise.allSettled([...this.#devices].map((device) => device.close({ force: true })));
    if (!this.#failure) {
      // A runtime that cannot close in order ends with its thread.
      await this.#control
        .call('shutdown', [], { deadlineMs: CONTROL_DEADLINE_MS })
        .catch(() => undefined);
    }
    await this.#worker.terminate();
    await this.#exited;
  }

  #closeQuietly(id: number): void {
    if (this.#failure) return;
    this.#control.call('close', [id], { deadlineMs: CONTROL_DEADLINE_MS }).catch((error: Error) => {
      this.#env.log.block.warn({ device: id, error: error.message }, 'closing a device failed');
    });
  }

  #onExit(code: number): void {
    const reason = this.#lastError instanceof Error ? this.#lastError.message : `exit code ${code}`;
    this.#failure = new RadosError('ENOTCONN', `the osd-client worker ended: ${reason}`, {
      cause: this.#lastError,
    });
    if (!this.#closing) this.#env.log.block.error({ reason }, 'the osd-client worker ended');
    this.#control.fail(this.#failure);
    for (const channel of [...this.#channels.values()]) channel.fail(this.#failure);
  }
}

/** krbd waits `mount_timeout` for the cluster and then `lock_timeout` for the lock; 0 is for ever. */
function openDeadlineMs({ mountTimeout, lockTimeout, exclusive, lockOnRead }: MapOptions): number {
  const waitsForLock = exclusive || lockOnRead;
  if (mountTimeout === 0 || (waitsForLock && lockTimeout === 0)) return 0;
  return (mountTimeout + (waitsForLock ? lockTimeout : 0)) * 1000 + OPEN_GRACE_MS;
}
