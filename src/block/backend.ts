/**
 * What a block device stands on: an image as the floor below serves it, and the runtime that opens
 * images. Both live in the osd-client worker, or in the caller's thread with `threads: 0`.
 *
 * Everything that crosses a thread boundary here (specs, options, attributes, events) is plain data.
 */

import type { Environment } from '../base/environment.js';
import type { RadosError } from '../base/errors.js';
import type { Kernels } from '../kernels/load.js';
import type { DiffExtent, DiffOptions } from '../rbd/diff/diff.js';
import type { LockLossReason } from '../rbd/lock-host.js';
import type { DeviceAttributes } from './attributes.js';
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

export interface BlockBackend {
  /** Bytes, now: a resize by anyone changes it. */
  readonly size: number;
  readonly readOnly: boolean;
  readonly objectSize: number;
  /** What krbd shows in sysfs, as of now. */
  attributes(): DeviceAttributes;
  /** Fills `into` exactly. It is borrowed until the promise settles, and lies in kernel memory for most reads. */
  read(offset: number, into: Uint8Array): Promise<void>;
  /** `data` is borrowed until the promise settles, and lies in kernel memory. `fua`: durable when it resolves. */
  write(offset: number, data: Uint8Array, fua?: boolean): Promise<void>;
  /** Lets go of the space. What is read there later is the image's business (zeroes, mostly). */
  discard(offset: number, length: number): Promise<void>;
  /** Afterwards the range reads as zeroes. `noUnmap`: keep the space allocated. */
  writeZeroes(offset: number, length: number, options?: { noUnmap?: boolean }): Promise<void>;
  /** Fills the range with copies of `pattern`; `length` is a multiple of its length. Optional: replaced by writes. */
  writeSame?(offset: number, length: number, pattern: Uint8Array): Promise<void>;
  /** Writes `data` if the range equals `compare`; else rejects with EILSEQ and a `mismatchOffset`. */
  compareAndWrite(offset: number, compare: Uint8Array, data: Uint8Array): Promise<void>;
  /** Resolves when every write that resolved before is durable. */
  flush(): Promise<void>;
  /** Optional: an image that cannot be resized from here leaves it out. */
  resize?(size: number): Promise<void>;
  /** What changed in it, in the order of offsets. Optional: an image without snapshots leaves it out. */
  diff?(options: DiffOptions): AsyncIterable<DiffExtent[]>;
  close(): Promise<void>;
}

/** What an image tells its device unasked. */
export type BackendEvent =
  | { type: 'resize'; size: number }
  /** The watch on the header is lost: requests wait until it is registered again. */
  | { type: 'watch-error'; error: RadosError }
  | { type: 'watch-restored' }
  | { type: 'lock-acquired' }
  | { type: 'lock-lost'; reason: LockLossReason; error?: RadosError }
  /** The image cannot serve any more (fenced, deleted): the device fails with this error. */
  | { type: 'error'; error: RadosError };

export interface ImageSpec {
  pool: string;
  /** `''` is the default one. */
  namespace: string;
  image: string;
  snap?: string;
}

/** `pool/namespace/image@snap`, as the `rbd` command spells it. */
export function describeImage(spec: ImageSpec): string {
  const path = [spec.pool, spec.namespace, spec.image].filter((part) => part !== '').join('/');
  return spec.snap === undefined ? path : `${path}@${spec.snap}`;
}

/** Opens images over one cluster connection. */
export interface BlockRuntime {
  open(
    spec: ImageSpec,
    options: MapOptions,
    emit: (event: BackendEvent) => void,
  ): Promise<BlockBackend>;
  /** Carries out an operation of management.ts over the runtime's own client. Optional: a runtime without a cluster. */
  manage?<K extends OperationName>(
    operation: K,
    args: OperationArguments<K>,
    options: RunOptions,
  ): Promise<OperationResult<K>>;
  /** As `manage`, for what comes in batches. */
  iterate?<K extends IterationName>(
    iteration: K,
    args: IterationArguments<K>,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<IterationBatch<K>, void, undefined>;
  /** Plain data for `status()`: sessions, epochs, counters. */
  status?(): unknown;
  /** Every backend is closed by then. */
  close(): Promise<void>;
}

export interface RuntimeContext {
  env: Environment;
  /** This thread's kernels; request payloads lie in their memory. */
  kernels: Kernels;
  /** How to reach the cluster: the caller's plain data, untouched. */
  config: unknown;
  /**
   * Looks into the request rings now. Call it after every network event: requests that arrived meanwhile
   * join the batch without a doorbell of their own.
   */
  poll(): void;
}

/** A runtime module exports one as `createRuntime`. */
export type RuntimeFactory = (context: RuntimeContext) => BlockRuntime | Promise<BlockRuntime>;
