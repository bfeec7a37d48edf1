/**
 * A worker thread that serves images, seen from the thread that uses them.
 *
 * A worker that ends is replaced when somebody needs one: each device opens its image again in the new one. A worker that
 * ends again and again is not: the host fails for good, and its devices with it.
 */

import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';

import type { Environment } from '../base/environment.js';
import { isRadosError, RadosError } from '../base/errors.js';
import type { LogOptions } from '../base/log.js';
import type { DiffExtent, DiffOptions } from '../rbd/diff/diff.js';
import { FEATURE } from '../rbd/features.js';
import type { DeviceAttributes } from './attributes.js';
import { describeImage, type ImageSpec } from './backend.js';
import { receiveBatches, sendBatches } from './batches.js';
import { joined } from './byte-streams.js';
import { withPorts } from './control.js';
import { BlockDevice, type Reopened } from './device.js';
import {
  arenaBytesOf,
  DEFAULT_MEMORY_BYTES,
  type DeviceHost,
  defaultRuntimeModule,
  deviceLimits,
  type OpenOptions,
  watchersOf,
} from './device-host.js';
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
import { RingChannel } from './ring-channel.js';
import type { IterateRequest, OpenedDevice } from './worker-main.js';
import { OsdClientThread } from './worker-thread.js';

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
  /** Workers that are replaced within a minute, at most. Default 3. */
  maxReplacements?: number;
}

type DistributiveOmit<T, K extends keyof T> = T extends unknown ? Omit<T, K> : never;

/** Start-up connects to the cluster, within the runtime's own limits; this is for a worker that hangs. */
const START_DEADLINE_MS = 120_000;
const CONTROL_DEADLINE_MS = 30_000;
/** Over the time that the image's own waits take. */
const OPEN_GRACE_MS = 30_000;
const DEFAULT_MAX_REPLACEMENTS = 3;
const REPLACEMENTS_WITHIN_MS = 60_000;

/** An image that is open in a worker: what it takes to open it again in another. */
interface Mapped {
  readonly id: number;
  readonly spec: ImageSpec;
  readonly map: MapOptions;
  readonly options: OpenOptions;
  /** Where it is open now. */
  thread: OsdClientThread;
  channel: RingChannel;
  attributes: DeviceAttributes;
}

export class WorkerHost implements DeviceHost {
  readonly #env: Environment;
  readonly #options: WorkerHostOptions;
  #thread: OsdClientThread;
  readonly #mapped = new Map<number, Mapped>();
  readonly #devices = new Set<BlockDevice>();
  #nextDevice = 1;
  /** When workers were replaced. */
  #replacedAt: number[] = [];
  #replacing: Promise<OsdClientThread> | undefined;
  #failure: RadosError | undefined;
  #closing: Promise<void> | undefined;

  private constructor(options: WorkerHostOptions) {
    this.#env = options.env;
    this.#options = options;
    this.#thread = this.#startThread();
  }

  /** Resolves when the worker's runtime is ready; rejects with what it threw. */
  static async start(options: WorkerHostOptions): Promise<WorkerHost> {
    const host = new WorkerHost(options);
    try {
      await host.#thread.control.call('status', [], { deadlineMs: START_DEADLINE_MS });
    } catch (error) {
      await host.close();
      throw error;
    }
    return host;
  }

  /** ENOTCONN when workers ended so often that they are not replaced any more. */
  get failure(): RadosError | undefined {
    return this.#failure;
  }

  async open(spec: ImageSpec, map: MapOptions, options: OpenOptions = {}): Promise<BlockDevice> {
    const thread = await this.#ready('open');
    const id = this.#nextDevice++;
    const { channel, opened } = await this.#openIn(thread, { id, spec, map, options });
    const { attributes } = opened;
    const mapped: Mapped = { id, spec, map, options, thread, channel, attributes };
    const device = new BlockDevice({
      ...deviceLimits(map, options),
      channel,
      attributes,
      watchers: watchersOf(this, attributes),
      ...(opened.canResize && {
        resize: async (size: number) => {
          const { control } = await this.#ready('resize');
          return control.call('resize', [id, size], { deadlineMs: 0 });
        },
      }),
      ...(opened.canDiff && {
        diff: ({ signal, ...diff }: DiffOptions) =>
          this.#iterateIn<DiffExtent[]>(mapped.thread, { device: id, diff }, signal),
      }),
      reopen: (mayApply) => this.#reopen(mapped, mayApply),
      release: (force) => {
        this.#devices.delete(device);
        return this.#release(mapped, force);
      },
    });
    this.#mapped.set(id, mapped);
    this.#devices.add(device);
    if (thread.failure) channel.workerEnded(thread.failure);
    return device;
  }

  async manage<K extends OperationName>(
    operation: K,
    args: OperationArguments<K>,
    options: RunOptions = {},
  ): Promise<OperationResult<K>> {
    return this.#manageIn(await this.#ready(operation), operation, args, options);
  }

  async *iterate<K extends IterationName>(
    iteration: K,
    args: IterationArguments<K>,
    signal?: AbortSignal,
  ): AsyncGenerator<IterationBatch<K>, void, undefined> {
    const thread = await this.#ready(iteration);
    yield* this.#iterateIn<IterationBatch<K>>(thread, { iteration, args }, signal);
  }

  async status(): Promise<unknown> {
    const { control } = await this.#ready('status');
    return control.call('status', [], { deadlineMs: CONTROL_DEADLINE_MS });
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
    if (!this.#thread.failure && !this.#replacing) {
      // A runtime that cannot close in order ends with its thread.
      await this.#thread.control
        .call('shutdown', [], { deadlineMs: CONTROL_DEADLINE_MS })
        .catch(() => undefined);
    }
    // A replacement that is being started ends by this as well, and no other follows.
    await this.#thread.end();
    await this.#replacing?.catch(() => undefined);
  }

  // ---- the worker and its successors ----

  #startThread(): OsdClientThread {
    const { env, runtimeModule, memoryBytes, log, config, workerFile } = this.#options;
    const thread: OsdClientThread = new OsdClientThread({
      env,
      setup: {
        runtimeModule: runtimeModule ?? defaultRuntimeModule(),
        memoryBytes: memoryBytes ?? DEFAULT_MEMORY_BYTES,
        log: log ?? {},
        config,
      },
      workerFile,
      onEnd: (failure) => this.#onEnd(thread, failure),
    });
    return thread;
  }

  #onEnd(thread: OsdClientThread, failure: RadosError): void {
    if (!this.#closing) {
      this.#env.log.block.error({ reason: failure.message }, 'the osd-client worker ended');
    }
    for (const mapped of [...this.#mapped.values()]) {
      if (mapped.thread === thread) mapped.channel.workerEnded(failure);
    }
  }

  /** The worker, or its successor as soon as that is ready. */
  async #ready(op: string): Promise<OsdClientThread> {
    if (this.#closing) throw new RadosError('EBADF', `${op}: the host is closed`, { op });
    if (this.#failure) throw this.#failure;
    if (!this.#thread.failure) return this.#replacing ?? this.#thread;
    this.#replacing ??= this.#replace().finally(() => {
      this.#replacing = undefined;
    });
    return this.#replacing;
  }

  async #replace(): Promise<OsdClientThread> {
    for (;;) {
      this.#countReplacement();
      const thread = this.#startThread();
      this.#thread = thread;
      try {
        await thread.control.call('status', [], { deadlineMs: START_DEADLINE_MS });
        this.#env.log.block.warn('another osd-client worker took over');
        return thread;
      } catch (error) {
        await thread.end();
        if (this.#closing) throw error;
      }
    }
  }

  /** Throws when there were too many: what ends every worker would end the next one too. */
  #countReplacement(): void {
    const { maxReplacements = DEFAULT_MAX_REPLACEMENTS } = this.#options;
    const now = this.#env.clock.monotonic();
    this.#replacedAt = this.#replacedAt.filter((at) => now - at < REPLACEMENTS_WITHIN_MS);
    if (this.#replacedAt.length >= maxReplacements) {
      const last = this.#thread.failure;
      const times =
        maxReplacements === 0
          ? ''
          : `; ${maxReplacements} others were started within ${REPLACEMENTS_WITHIN_MS / 1000} s`;
      const message = `${last?.message ?? 'the osd-client worker ended'}${times}`;
      this.#failure = new RadosError('ENOTCONN', message, { cause: last?.cause });
      throw this.#failure;
    }
    this.#replacedAt.push(now);
  }

  // ---- images ----

  /** Opens an image and the rings to it. The id lets go of an open that nobody waits for any more. */
  async #openIn(
    thread: OsdClientThread,
    { id, spec, map, options }: Pick<Mapped, 'id' | 'spec' | 'map' | 'options'>,
  ): Promise<{ channel: RingChannel; opened: OpenedDevice }> {
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
      opened = await thread.control.call(
        'open',
        [withPorts(request, [doorbell.port2, details.port2])],
        { deadlineMs: openDeadlineMs(map), signal: options.signal },
      );
    } catch (error) {
      doorbell.port1.close();
      details.port1.close();
      // If it still succeeds over there, nobody wants it.
      this.#closeQuietly(thread, id);
      throw error;
    }
    const ports = { doorbell: doorbell.port1, details: details.port1 };
    const channel = new RingChannel(this.#env, opened.region, ports, describeImage(spec));
    return { channel, opened };
  }

  /** Opens an image again whose worker ended, in that worker's successor. */
  async #reopen(mapped: Mapped, mayApply: boolean): Promise<Reopened> {
    // One that only seemed dead ends here.
    await mapped.thread.end();
    const { id, spec, map } = mapped;
    // The caller's signal was for the first time.
    const { signal: _, ...options } = mapped.options;
    for (;;) {
      const thread = await this.#ready('open');
      try {
        if (mayApply || mayHoldLock(mapped.attributes)) {
          await this.#fence(thread, mapped.attributes.clientAddr);
        }
        const { channel, opened } = await this.#openIn(thread, { id, spec, map, options });
        if (!this.#mapped.has(id)) {
          channel.close();
          this.#closeQuietly(thread, id);
          throw new RadosError('EBADF', 'open: the device was closed', { op: 'open' });
        }
        if (!thread.failure) {
          const { attributes } = opened;
          mapped.thread = thread;
          mapped.channel = channel;
          mapped.attributes = attributes;
          return { channel, attributes };
        }
        channel.close();
      } catch (error) {
        if (!thread.failure || this.#closing) throw error;
      }
    }
  }

  /**
   * What the ended worker sent last may still be on its way to an OSD, and could overwrite what is written from here on.
   * From the map on that blocklists its client, no OSD takes it any more; the image is opened with that map. The
   * client's watches and with them its claim to a lock go as well, at once instead of after their time-out.
   */
  async #fence(thread: OsdClientThread, clientAddr: string): Promise<void> {
    try {
      await this.#manageIn(thread, 'blocklistAdd', [clientAddr], {});
    } catch (error) {
      const unable = isRadosError(error) && ['EACCES', 'EPERM', 'EOPNOTSUPP'].includes(error.code);
      if (!unable) throw error;
      this.#env.log.block.warn(
        { client: clientAddr, error: error.message },
        'the client of a worker that ended cannot be fenced: its last writes may still take effect',
      );
    }
  }

  async #release({ id, thread }: Mapped, force: boolean): Promise<void> {
    this.#mapped.delete(id);
    if (thread.failure) return;
    if (force) this.#closeQuietly(thread, id);
    else await thread.control.call('close', [id], { deadlineMs: CONTROL_DEADLINE_MS });
  }

  #closeQuietly(thread: OsdClientThread, id: number): void {
    if (thread.failure) return;
    thread.control
      .call('close', [id], { deadlineMs: CONTROL_DEADLINE_MS })
      .catch((error: Error) => {
        this.#env.log.block.warn({ device: id, error: error.message }, 'closing a device failed');
      });
  }

  // ---- management ----

  async #manageIn<K extends OperationName>(
    thread: OsdClientThread,
    operation: K,
    args: OperationArguments<K>,
    { signal, onProgress, input }: RunOptions,
  ): Promise<OperationResult<K>> {
    const { port1, port2 } = new MessageChannel();
    const source = input && new MessageChannel();
    const report = ([done, total]: [number, number]) => onProgress?.(done, total);
    if (onProgress) port1.on('message', report);
    const onAbort = () => port1.postMessage('abort');
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      const ports = source ? [port2, source.port2] : [port2];
      const request = withPorts({ operation, args, port: port2, input: source?.port2 }, ports);
      if (source) {
        sendBatches(source.port1, () => joined(input)).then(
          () => port1.postMessage('end'),
          onAbort,
        );
      }
      // As long as it takes: the operation has its own limits, and the worker's end settles it. One that takes input is over
      // when it has ended there, so that nothing is written any more.
      const interest = input ? undefined : signal;
      const call = { deadlineMs: 0, signal: interest };
      const result = await thread.control.call('manage', [request], call);
      return result as OperationResult<K>;
    } finally {
      signal?.removeEventListener('abort', onAbort);
      // Its answer came by another port, and may have overtaken the last of these.
      for (let last; onProgress && (last = receiveMessageOnPort(port1)); ) report(last.message);
      port1.close();
      source?.port1.close();
    }
  }

  #iterateIn<Batch>(
    { control }: OsdClientThread,
    what: DistributiveOmit<IterateRequest, 'port'>,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Batch, void, undefined> {
    const { port1, port2 } = new MessageChannel();
    const request = withPorts({ ...what, port: port2 }, [port2]);
    return receiveBatches(port1, control.call('iterate', [request], { deadlineMs: 0, signal }));
  }
}

function mayHoldLock({ features, readOnly }: DeviceAttributes): boolean {
  return !readOnly && (features & FEATURE.EXCLUSIVE_LOCK) !== 0n;
}

/** krbd waits `mount_timeout` for the cluster and then `lock_timeout` for the lock; 0 is for ever. */
function openDeadlineMs({ mountTimeout, lockTimeout, exclusive, lockOnRead }: MapOptions): number {
  const waitsForLock = exclusive || lockOnRead;
  if (mountTimeout === 0 || (waitsForLock && lockTimeout === 0)) return 0;
  return (mountTimeout + (waitsForLock ? lockTimeout : 0)) * 1000 + OPEN_GRACE_MS;
}
