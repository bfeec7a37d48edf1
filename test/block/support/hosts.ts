/** Opens devices of the fake runtime, in a worker thread or in the test's own. */

import type { Environment } from '../../../src/base/environment.js';
import { nodeEnvironment } from '../../../src/base/node-environment.js';
import type { ImageSpec } from '../../../src/block/backend.js';
import type { BlockDevice } from '../../../src/block/device.js';
import { type DeviceHost, DirectHost, type OpenOptions } from '../../../src/block/device-host.js';
import { type MapOptionsInput, mapOptions } from '../../../src/block/map-options.js';
import { WorkerHost } from '../../../src/block/worker-host.js';
import { buildSupport } from './build.js';
import { createRuntime, type FakeConfig, IMAGE } from './fake-runtime.js';

export type Threads = 0 | 1;

const MIB = 1024 * 1024;
let runtimeModule: string | undefined;

export function spec(image: string = IMAGE.NORMAL, snap?: string): ImageSpec {
  return { pool: 'rbd', namespace: '', image, ...(snap === undefined ? {} : { snap }) };
}

export function startHost(
  threads: Threads,
  config: FakeConfig = {},
  env: Environment = nodeEnvironment(),
  maxReplacements?: number,
): Promise<DeviceHost> {
  if (threads === 0) {
    return DirectHost.start({ env, createRuntime, config, memoryBytes: 64 * MIB });
  }
  runtimeModule ??= buildSupport('fake-runtime');
  return WorkerHost.start({
    env,
    config,
    runtimeModule,
    memoryBytes: 64 * MIB,
    ...(maxReplacements === undefined ? {} : { maxReplacements }),
  });
}

export interface OpenedFake {
  host: DeviceHost;
  device: BlockDevice;
}

export interface FakeOptions extends FakeConfig {
  map?: MapOptionsInput;
  open?: OpenOptions;
  image?: string;
  snap?: string;
  env?: Environment;
  maxReplacements?: number;
}

export async function openFake(threads: Threads, options: FakeOptions = {}): Promise<OpenedFake> {
  const { map, open, image, snap, env, maxReplacements, ...config } = options;
  const host = await startHost(threads, config, env, maxReplacements);
  try {
    const device = await host.open(spec(image, snap), mapOptions(map), open);
    return { host, device };
  } catch (error) {
    await host.close();
    throw error;
  }
}

/** Runs a test with a device and closes it, whatever happens. */
export async function withFake(
  threads: Threads,
  options: FakeOptions,
  run: (opened: OpenedFake) => Promise<void>,
): Promise<void> {
  const opened = await openFake(threads, options);
  try {
    await run(opened);
  } finally {
    await opened.host.close();
  }
}

/** The error that a promise rejects with; fails when it resolves. */
export async function rejection(
  promise: Promise<unknown>,
): Promise<Error & Record<string, unknown>> {
  let value: unknown;
  try {
    value = await promise;
  } catch (error) {
    return error as Error & Record<string, unknown>;
  }
  throw new Error(`resolved with ${String(value)}`);
}

/** The error that a call throws. */
export function thrown(call: () => unknown): Error & Record<string, unknown> {
  try {
    call();
  } catch (error) {
    return error as Error & Record<string, unknown>;
  }
  throw new Error('did not throw');
}

export function pattern(length: number, seed = 1): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  let state = seed | 1;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}
