/**
 * The osd-client worker's body: one runtime, and a server with its rings and arena for every open device.
 */

import type { MessagePort } from 'node:worker_threads';

import type { Environment } from '../base/environment.js';
import { abortError, RadosError } from '../base/errors.js';
import type { LogOptions } from '../base/log.js';
import { nodeEnvironment } from '../base/node-environment.js';
import { sharedAborter } from '../base/shared-aborter.js';
import { type Kernels, loadKernels } from '../kernels/load.js';
import type { DiffOptions } from '../rbd/diff/diff.js';
import { ARENA_PAGE_BYTES } from './arena.js';
import type { DeviceAttributes } from './attributes.js';
import type { BlockBackend, BlockRuntime, ImageSpec, RuntimeFactory } from './backend.js';
import { receiveBatches, sendBatches } from './batches.js';
import { exposeControl } from './control.js';
import type {
  IterationArguments,
  IterationName,
  OperationArguments,
  OperationName,
} from './management.js';
import type { MapOptions } from './map-options.js';
import { channelBytes, ringCapacity } from './ring.js';
import type { ChannelRegion } from './ring-channel.js';
import { BlockServer } from './server.js';

/** What main tells a new worker. Plain data. */
export interface WorkerSetup {
  /** URL of the module that exports `createRuntime`. */
  runtimeModule: string;
  memoryBytes: number;
  log: LogOptions;
  config: unknown;
}

export interface OpenRequest {
  /** Chosen by main, so that it can let go of an open that it stopped waiting for. */
  device: number;
  spec: ImageSpec;
  options: MapOptions;
  arenaBytes: number;
  doorbell: MessagePort;
  details: MessagePort;
}

/** An operation of management.ts. */
export interface ManageRequest {
  operation: OperationName;
  args: OperationArguments<OperationName>;
  port: MessagePort;
  /** Where the operation's input comes from, if it has any. */
  input: MessagePort | undefined;
}

/** An iteration of management.ts, or of an open device. */
export type IterateRequest = { port: MessagePort } & (
  | { iteration: IterationName; args: IterationArguments<IterationName> }
  | { device: number; diff: Omit<DiffOptions, 'signal'> }
);

export interface OpenedDevice {
  region: ChannelRegion;
  attributes: DeviceAttributes;
  canResize: boolean;
  canDiff: boolean;
}

/** The methods that main calls. */
export class WorkerControl {
  readonly #env: Environment;
  readonly #runtime: BlockRuntime;
  readonly #devices = new Map<number, Promise<ServedDevice>>();
  /** Devices that are being closed: an image lets go of its watch and lock over the clients that a shutdown ends. */
  readonly #releases = new Set<Promise<void>>();
  readonly #servers: Set<BlockServer>;
  readonly #regions: RegionPool;

  constructor(
    env: Environment,
    kernels: Kernels,
    runtime: BlockRuntime,
    servers: Set<BlockServer>,
  ) {
    this.#env = env;
    this.#runtime = runtime;
    this.#servers = servers;
    this.#regions = new RegionPool(kernels);
  }

  async open(request: OpenRequest): Promise<OpenedDevice> {
    const opening = this.#open(request);
    this.#devices.set(request.device, opening);
    try {
      const { region, backend } = await opening;
      const attributes = backend.attributes();
      const canResize = backend.resize !== undefined;
      return { region, attributes, canResize, canDiff: backend.diff !== undefined };
    } catch (error) {
      this.#devices.delete(request.device);
      throw error;
    }
  }

  /** Also for one that is still being opened: it is closed as soon as it is open. */
  async close(device: number): Promise<void> {
    const opening = this.#devices.get(device);
    if (!opening) return;
    this.#devices.delete(device);
    const release = opening.then(
      (served) => this.#release(served),
      () => undefined,
    );
    this.#releases.add(release);
    try {
      await release;
    } finally {
      this.#releases.delete(release);
    }
  }

  /** Returns the size as it is then. */
  async resize(device: number, size: number): Promise<number> {
    const served = await this.#device(device);
    if (!served.backend.resize) throw new RadosError('EOPNOTSUPP', 'resize: not supported');
    await served.backend.resize(size);
    return served.backend.size;
  }

  async attributes(device: number): Promise<DeviceAttributes> {
    return (await this.#device(device)).backend.attributes();
  }

  /** `port` carries the progress to main, and back, once, that there is no more input, or main's loss of interest. */
  async manage({ operation, args, port, input }: ManageRequest): Promise<unknown> {
    const aborter = sharedAborter();
    const inputEnded = new Promise<void>((resolve, reject) => {
      port.on('message', (message: 'abort' | 'end') => {
        if (message === 'end') return resolve();
        aborter.abort();
        reject(abortError(aborter.signal, { op: operation }));
      });
    });
    inputEnded.catch(() => undefined);
    try {
      if (!this.#runtime.manage) throw new RadosError('EOPNOTSUPP', `${operation}: not supported`);
      return await this.#runtime.manage(operation, args, {
        signal: aborter.signal,
        onProgress: (done, total) => port.postMessage([done, total]),
        input: input && receiveBatches<Uint8Array>(input, inputEnded),
      });
    } finally {
      // Whoever has taken no input, or not all of it, wants no more.
      input?.close();
      port.close();
    }
  }

  /** Sends over `port` what an iteration, or the diff of an open device, has to tell. Resolves at its end. */
  async iterate({ port, ...request }: IterateRequest): Promise<void> {
    const { backend } = 'device' in request ? await this.#device(request.device) : {};
    await sendBatches(port, (signal) => {
      const batches =
        'device' in request
          ? backend?.diff?.({ ...request.diff, signal })
          : this.#runtime.iterate?.(request.iteration, request.args, signal);
      if (batches) return batches;
      throw new RadosError('EOPNOTSUPP', 'diff: not supported', { op: 'diff' });
    });
  }

  status(): Promise<unknown> {
    return Promise.resolve(this.#runtime.status?.());
  }

  async shutdown(): Promise<void> {
    for (const device of [...this.#devices.keys()]) void this.close(device).catch(() => {});
    await Promise.allSettled(this.#releases);
    await this.#runtime.close();
  }

  async #open({
    spec,
    options,
    arenaBytes,
    doorbell,
    details,
  }: OpenRequest): Promise<ServedDevice> {
    const region = this.#regions.take(ringCapacity(options.queueDepth), arenaBytes);
    const server = new BlockServer({ env: this.#env, region, ports: { doorbell, details } });
    try {
      const backend = await this.#runtime.open(spec, options, (event) => server.emit(event));
      this.#servers.add(server);
      server.start(backend);
      return { region, server, backend };
    } catch (error) {
      await server.close();
      this.#regions.give(region);
      throw error;
    }
  }

  async #release({ region, server, backend }: ServedDevice): Promise<void> {
    const idle = server.close();
    this.#servers.delete(server);
    // The memory is free when the backend is done with it, which may be never after a forced close.
    void idle.then(() => this.#regions.give(region));
    await backend.close();
  }

  async #device(device: number): Promise<ServedDevice> {
    const opening = this.#devices.get(device);
    if (!opening) throw new RadosError('EBADF', 'the device is closed');
    return opening;
  }
}

interface ServedDevice {
  region: ChannelRegion;
  server: BlockServer;
  backend: BlockBackend;
}

/** Kernel memory is never freed, so regions of closed devices serve later ones of the same shape. */
class RegionPool {
  readonly #kernels: Kernels;
  readonly #free: ChannelRegion[] = [];

  constructor(kernels: Kernels) {
    this.#kernels = kernels;
  }

  take(capacity: number, arenaBytes: number): ChannelRegion {
    const index = this.#free.findIndex(
      (region) => region.capacity === capacity && region.arenaBytes === arenaBytes,
    );
    if (index >= 0) return this.#free.splice(index, 1)[0]!;
    try {
      return {
        buffer: this.#kernels.memory.buffer,
        ringAddress: this.#kernels.alloc(channelBytes(capacity)),
        capacity,
        arenaAddress: this.#kernels.alloc(arenaBytes, ARENA_PAGE_BYTES),
        arenaBytes,
      };
    } catch (error) {
      const message = 'open: no memory is left in this worker for another device';
      throw new RadosError('ENOMEM', message, { op: 'open', cause: error });
    }
  }

  give(region: ChannelRegion): void {
    this.#free.push(region);
  }
}

/** Runs in a worker thread, for its life. */
export async function serveDevices(
  port: MessagePort,
  setup: WorkerSetup,
  createRuntime: RuntimeFactory,
): Promise<void> {
  const env = nodeEnvironment({ log: setup.log });
  const kernels = loadKernels({ memoryBytes: setup.memoryBytes });
  const servers = new Set<BlockServer>();
  const poll = () => {
    for (const server of servers) server.poll();
  };
  // A main thread that is blocked in a call hears of this thread's end by memory alone.
  process.on('exit', () => {
    for (const server of servers) server.markGone();
  });
  const runtime = await createRuntime({ env, kernels, config: setup.config, poll });
  exposeControl(new WorkerControl(env, kernels, runtime, servers), port);
}
