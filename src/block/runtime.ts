/**
 * What runs in the osd-client thread: cluster clients, and the images opened over them.
 *
 * Devices that connect the same way share one client (krbd's `share`); `noshare` gives a device its own.
 */

import type { Environment, StreamHandler } from '../base/environment.js';
import { RadosError } from '../base/errors.js';
import { type ConnectOptions, connectRados } from '../rados/connect.js';
import type { RadosClient } from '../rados/rados-client.js';
import { Image } from '../rbd/image.js';
import type { ImageGuardStatus } from '../rbd/image-guard.js';
import type {
  BackendEvent,
  BlockBackend,
  BlockRuntime,
  ImageSpec,
  RuntimeContext,
} from './backend.js';
import { ImageBackend } from './image-backend.js';
import { ImageEvents } from './image-events.js';
import {
  type IterationArguments,
  type IterationBatch,
  type IterationName,
  type OperationArguments,
  type OperationName,
  type OperationResult,
  type RunOptions,
  runIteration,
  runOperation,
} from './management.js';
import type { MapOptions } from './map-options.js';

interface HeldClient {
  client: RadosClient;
  release: () => Promise<void>;
}

interface SharedClient {
  client: Promise<RadosClient>;
  users: number;
}

/** What is known of one client of the cluster. */
export interface RadosClientStatus {
  fsid: string;
  /** As `ceph osd blocklist` takes it. */
  clientAddr: string;
  osdMapEpoch: number;
  pendingOperations: number;
  /** Those that it has open. */
  images: ImageStatus[];
}

/** Of an image that is open for reading only, nothing is known of a watch. */
export interface ImageStatus extends Partial<ImageGuardStatus> {
  /** `pool/image`, for people. */
  image: string;
  /** Bytes. */
  size: number;
}

class CephRuntime implements BlockRuntime {
  readonly #context: RuntimeContext;
  readonly #config: ConnectOptions;
  readonly #clients = new Map<string, SharedClient>();
  readonly #images = new Set<Image>();
  #managing: Promise<{ client: RadosClient }> | undefined;
  #nextOwn = 0;
  #closed = false;

  constructor(context: RuntimeContext) {
    this.#context = { ...context, env: pollingEnvironment(context.env, context.poll) };
    this.#config = (context.config ?? {}) as ConnectOptions;
  }

  async open(
    spec: ImageSpec,
    options: MapOptions,
    emit: (event: BackendEvent) => void,
  ): Promise<BlockBackend> {
    const { client, release } = await this.#client(options);
    const events = new ImageEvents(emit);
    try {
      const image = await Image.open(
        client,
        {
          pool: spec.pool,
          namespace: options.poolNs ?? spec.namespace,
          name: spec.image,
          ...(spec.snap === undefined ? {} : { snap: spec.snap }),
        },
        {
          readOnly: options.readOnly,
          allocSize: options.allocSize,
          compressionHint: options.compressionHint,
          listener: events,
          lock: {
            transitions: options.exclusive ? 'manual' : 'auto',
            lockOnRead: options.lockOnRead,
            lockTimeoutMs: options.lockTimeout * 1000,
          },
        },
      );
      events.attach(image);
      try {
        await takeLock(image, options);
      } catch (error) {
        await image.close();
        throw error;
      }
      this.#images.add(image);
      const forget = () => {
        this.#images.delete(image);
        return release();
      };
      return new ImageBackend({ client, image, spec, options, events, release: forget });
    } catch (error) {
      await release();
      throw error;
    }
  }

  async manage<K extends OperationName>(
    operation: K,
    args: OperationArguments<K>,
    options: RunOptions,
  ): Promise<OperationResult<K>> {
    const { client } = await this.#manager();
    return runOperation({ client, ...options }, operation, args);
  }

  async *iterate<K extends IterationName>(
    iteration: K,
    args: IterationArguments<K>,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<IterationBatch<K>, void, undefined> {
    const { client } = await this.#manager();
    yield* runIteration({ client, signal }, iteration, args);
  }

  /** The client of operations that no device asked for: made by the first, kept until the end. */
  #manager(): Promise<{ client: RadosClient }> {
    this.#managing ??= this.#acquire(this.#config).catch((error: unknown) => {
      // The next operation tries again.
      this.#managing = undefined;
      throw error;
    });
    return this.#managing;
  }

  async status(): Promise<RadosClientStatus[]> {
    const clients = await Promise.allSettled(
      [...this.#clients.values()].map(({ client }) => client),
    );
    return clients.flatMap((settled) =>
      settled.status === 'fulfilled'
        ? [
            {
              fsid: settled.value.fsid,
              clientAddr: settled.value.clientAddr,
              osdMapEpoch: settled.value.osdMapEpoch,
              pendingOperations: settled.value.pending,
              images: [...this.#images]
                .filter(({ context }) => context === settled.value)
                .map((image) => ({
                  image: image.target,
                  size: image.size,
                  ...image.watchStatus(),
                })),
            },
          ]
        : [],
    );
  }

  async close(): Promise<void> {
    this.#closed = true;
    const clients = [...this.#clients.values()];
    this.#clients.clear();
    await Promise.allSettled(clients.map(async ({ client }) => (await client).close()));
  }

  /** A client that connects as the options say, and how to let go of it. */
  #client(options: MapOptions): Promise<HeldClient> {
    return this.#acquire(
      connectOptions(this.#config, options),
      options.share ? undefined : `own ${this.#nextOwn++}`,
    );
  }

  async #acquire(connect: ConnectOptions, key = JSON.stringify(connect)): Promise<HeldClient> {
    if (this.#closed) throw new RadosError('EBADF', 'the runtime is closed');
    let shared = this.#clients.get(key);
    if (!shared) {
      const connecting = connectRados(this.#context.env, this.#context.kernels, connect);
      shared = { client: connecting.then(({ client }) => client), users: 0 };
      this.#clients.set(key, shared);
    }
    shared.users++;
    const held = shared;
    const release = async () => {
      if (--held.users > 0) return;
      if (this.#clients.get(key) === held) this.#clients.delete(key);
      await held.client.then(
        (client) => client.close(),
        () => undefined,
      );
    };
    try {
      return { client: await shared.client, release };
    } catch (error) {
      await release();
      throw error;
    }
  }
}

/**
 * As krbd: the lock is taken before the device appears, waiting `lock_timeout` for it. Options that say how to take a lock
 * that the image does not have are refused with EINVAL.
 */
async function takeLock(image: Image, { exclusive, lockOnRead }: MapOptions): Promise<void> {
  if (image.readOnly) return;
  if (image.hasExclusiveLock) {
    await image.acquireLock();
    return;
  }
  if (!exclusive && !lockOnRead) return;
  const option = exclusive ? 'exclusive' : 'lock_on_read';
  throw new RadosError('EINVAL', `map ${image.target}: exclusive-lock feature is not enabled`, {
    op: `map -o ${option}`,
    target: image.target,
  });
}

/** The same world, where every network event ends with a look at the request rings: what came meanwhile joins the batch. */
function pollingEnvironment(env: Environment, poll: () => void): Environment {
  const { network } = env;
  const polling = (handler: StreamHandler): StreamHandler => ({
    readInto: () => handler.readInto(),
    onRead: (length) => {
      handler.onRead(length);
      poll();
    },
    onDrain: () => handler.onDrain(),
    onClose: (error) => handler.onClose(error),
  });
  return {
    ...env,
    network: {
      lookup: (host) => network.lookup(host),
      connect: (target, handler, onConnect) => network.connect(target, polling(handler), onConnect),
      listen: (at, accept) => network.listen(at, accept),
    },
  };
}

/** The caller's way to the cluster, with the map options over it that were given. Seconds become milliseconds. */
function connectOptions(config: ConnectOptions, options: MapOptions): ConnectOptions {
  const over: { [K in keyof MapOptions]?: ConnectOptions } = {
    name: { name: `client.${options.name}` },
    secret: { key: options.secret },
    fsid: { fsid: options.fsid },
    msMode: { msMode: options.msMode },
    mountTimeout: { mountTimeoutMs: options.mountTimeout * 1000 },
    osdRequestTimeout: { osdOpTimeoutMs: options.osdRequestTimeout * 1000 },
    osdkeepalive: { osdKeepaliveMs: options.osdkeepalive * 1000 },
    osdIdleTtl: { osdIdleTtlMs: options.osdIdleTtl * 1000 },
    readFromReplica: { readFromReplica: options.readFromReplica },
    crushLocation: { crushLocation: options.crushLocation },
    abortOnFull: { abortOnFull: options.abortOnFull },
  };
  return Object.assign({}, config, ...options.given.map((name) => over[name]));
}

export function createRuntime(context: RuntimeContext): BlockRuntime {
  return new CephRuntime(context);
}
