/** Where images run: the interface of both hosts, and the one in the caller's own thread (`threads: 0`). */

import { pathToFileURL } from 'node:url';

import type { Environment } from '../base/environment.js';
import { RadosError } from '../base/errors.js';
import { packageFile } from '../base/paths.js';
import { type Kernels, loadKernels } from '../kernels/load.js';
import type { DiffOptions } from '../rbd/diff/diff.js';
import type { ImageWatcherInfo } from '../rbd/watchers.js';
import { Arena, ARENA_PAGE_BYTES } from './arena.js';
import type { DeviceAttributes } from './attributes.js';
import type { BackendEvent, BlockRuntime, ImageSpec, RuntimeFactory } from './backend.js';
import { DirectChannel } from './channel.js';
import { BlockDevice, type BlockDeviceOptions } from './device.js';
import type {
  IterationArguments,
  IterationBatch,
  IterationName,
  OperationArguments,
  OperationName,
  OperationResult,
  RunOptions,
} from './management.js';
import type { MapOptions } from './map-options.js';

export interface OpenOptions
  extends Pick<BlockDeviceOptions, 'maxQueued' | 'maxQueuedBytes' | 'pieceBytes'> {
  /** Shared memory for payloads. Default 32 MiB. */
  arenaBytes?: number;
  signal?: AbortSignal;
}

export interface DeviceHost {
  open(spec: ImageSpec, map: MapOptions, options?: OpenOptions): Promise<BlockDevice>;
  /** Carries out an operation of management.ts where the runtime is. */
  manage<K extends OperationName>(
    operation: K,
    args: OperationArguments<K>,
    options?: RunOptions,
  ): Promise<OperationResult<K>>;
  /** The same for an iteration: its batches as they come. */
  iterate<K extends IterationName>(
    iteration: K,
    args: IterationArguments<K>,
    signal?: AbortSignal,
  ): AsyncGenerator<IterationBatch<K>, void, undefined>;
  /** The runtime's own plain data. */
  status(): Promise<unknown>;
  /** Closes every device that is still open, by force, and ends the runtime. Safe to call twice. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

const MIB = 1024 * 1024;
const DEFAULT_ARENA_BYTES = 32 * MIB;
/** Virtual until touched: room for several arenas, the connections' windows and the maps. */
export const DEFAULT_MEMORY_BYTES = 512 * MIB;

/** The built runtime, as a worker loads it. */
export function defaultRuntimeModule(): string {
  return pathToFileURL(packageFile('dist/bundle/runtime.js')).href;
}

export function arenaBytesOf(options: OpenOptions): number {
  const bytes = options.arenaBytes ?? DEFAULT_ARENA_BYTES;
  if (!Number.isSafeInteger(bytes) || bytes < 2 * ARENA_PAGE_BYTES) {
    throw new RangeError(`arenaBytes ${bytes} is too small`);
  }
  return Math.ceil(bytes / ARENA_PAGE_BYTES) * ARENA_PAGE_BYTES;
}

/** What both hosts pass on to a device. */
export function deviceLimits(map: MapOptions, options: OpenOptions) {
  const { maxQueued, maxQueuedBytes, pieceBytes } = options;
  return {
    queueDepth: map.queueDepth,
    notrim: map.notrim,
    ...(maxQueued === undefined ? {} : { maxQueued }),
    ...(maxQueuedBytes === undefined ? {} : { maxQueuedBytes }),
    ...(pieceBytes === undefined ? {} : { pieceBytes }),
  };
}

/** By the image's id: its name may change while it is mapped. */
export function watchersOf(
  host: Pick<DeviceHost, 'manage'>,
  { pool, poolNs, imageId }: DeviceAttributes,
): () => Promise<ImageWatcherInfo[]> {
  return () => host.manage('imageWatchers', [{ pool, namespace: poolNs, id: imageId }]);
}

export interface DirectHostOptions {
  env: Environment;
  createRuntime: RuntimeFactory;
  config?: unknown;
  /** This thread's kernels, if it has some already. */
  kernels?: Kernels;
  memoryBytes?: number;
}

export class DirectHost implements DeviceHost {
  readonly #runtime: BlockRuntime;
  readonly #kernels: Kernels;
  readonly #freeArenas: { base: number; bytes: number }[] = [];
  readonly #devices = new Set<BlockDevice>();
  #closing: Promise<void> | undefined;

  private constructor(runtime: BlockRuntime, kernels: Kernels) {
    this.#runtime = runtime;
    this.#kernels = kernels;
  }

  static async start(options: DirectHostOptions): Promise<DirectHost> {
    const { env, createRuntime, config, memoryBytes = DEFAULT_MEMORY_BYTES } = options;
    const kernels = options.kernels ?? loadKernels({ memoryBytes });
    const runtime = await createRuntime({ env, kernels, config, poll() {} });
    return new DirectHost(runtime, kernels);
  }

  async open(spec: ImageSpec, map: MapOptions, options: OpenOptions = {}): Promise<BlockDevice> {
    if (this.#closing) throw new RadosError('EBADF', 'open: the host is closed', { op: 'open' });
    const arenaBytes = arenaBytesOf(options);
    const early: BackendEvent[] = [];
    let deliver = (event: BackendEvent): void => void early.push(event);
    const backend = await this.#runtime.open(spec, map, (event) => deliver(event));
    if (options.signal?.aborted || this.#closing) {
      await backend.close();
      const why = this.#closing ? 'the host was closed' : 'aborted';
      throw new RadosError('ECANCELED', `open: ${why}`, { op: 'open' });
    }
    const arena = this.#takeArena(arenaBytes);
    const channel = new DirectChannel(
      backend,
      new Arena(this.#kernels.memory.buffer, arena.base, arenaBytes),
    );
    deliver = (event) => channel.emit(event);
    early.forEach(deliver);
    const { resize } = backend;
    const attributes = backend.attributes();
    const device = new BlockDevice({
      ...deviceLimits(map, options),
      channel,
      attributes,
      watchers: watchersOf(this, attributes),
      ...(resize && {
        resize: async (size: number) => {
          await resize.call(backend, size);
          return backend.size;
        },
      }),
      ...(backend.diff && { diff: (options: DiffOptions) => backend.diff!(options) }),
      release: async (force) => {
        this.#devices.delete(device);
        // After a forced close the backend may still hold payloads: that memory is given up.
        if (!force) this.#freeArenas.push(arena);
        await backend.close();
      },
    });
    this.#devices.add(device);
    return device;
  }

  async manage<K extends OperationName>(
    operation: K,
    args: OperationArguments<K>,
    options: RunOptions = {},
  ): Promise<OperationResult<K>> {
    if (!this.#runtime.manage) throw new RadosError('EOPNOTSUPP', `${operation}: not supported`);
    return this.#runtime.manage(operation, args, options);
  }

  iterate<K extends IterationName>(
    iteration: K,
    args: IterationArguments<K>,
    signal?: AbortSignal,
  ): AsyncGenerator<IterationBatch<K>, void, undefined> {
    if (!this.#runtime.iterate) throw new RadosError('EOPNOTSUPP', `${iteration}: not supported`);
    return this.#runtime.iterate(iteration, args, signal);
  }

  status(): Promise<unknown> {
    return Promise.resolve(this.#runtime.status?.());
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
    await this.#runtime.close();
  }

  #takeArena(bytes: number): { base: number; bytes: number } {
    const index = this.#freeArenas.findIndex((arena) => arena.bytes === bytes);
    if (index >= 0) return this.#freeArenas.splice(index, 1)[0]!;
    try {
      return { base: this.#kernels.alloc(bytes, ARENA_PAGE_BYTES), bytes };
    } catch (error) {
      const message = 'open: no memory is left for another device';
      throw new RadosError('ENOMEM', message, { op: 'open', cause: error });
    }
  }
}
