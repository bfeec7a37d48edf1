/** The types of a block device's interface, towards its users and towards its host. */

import type { RadosError } from '../base/errors.js';
import type { DiffExtent, DiffOptions } from '../rbd/diff/diff.js';
import type { LockLossReason } from '../rbd/lock-host.js';
import type { ImageWatcherInfo } from '../rbd/watchers.js';
import type { DeviceAttributes } from './attributes.js';
import type { Channel } from './channel.js';

export interface IoOptions {
  /**
   * Gives up waiting. A call that was not sent yet has no effect (`outcome: 'not-applied'`); a write that
   * was may take effect at any later time (`'unknown'`), and later overlapping calls still wait for it.
   */
  signal?: AbortSignal;
}

export interface WriteOptions extends IoOptions {
  /** The write is durable when it resolves. */
  fua?: boolean;
  /**
   * The caller leaves the data alone until the call settles (and, when the device is closed by force meanwhile, until that
   * `close()` resolves): saves the copies, in the caller's own thread (`threads: 0`) all of them.
   */
  borrowed?: boolean;
}

/** Bytes of the image in the device's own memory. Writing to them changes nothing but the view. */
export interface ReadView {
  /** Valid until `release()`; never look at it later, the memory serves other requests. */
  readonly data: Uint8Array;
  /** Safe to call twice. */
  release(): void;
}

export interface BlockDeviceEvents {
  /** The image has a new size. */
  resize: [size: number];
  /**
   * The watch on the image's header is lost: what other clients change is not heard. Requests wait; the watch is
   * registered again, and the header read, before they go on.
   */
  'watch-error': [error: RadosError];
  'watch-restored': [];
  /** The exclusive lock is held from here on: only this client writes. */
  'lock-acquired': [];
  /** It is not any more: handed over, given back, or taken (`broken`, `blocklisted`). Requests that need it take it again. */
  'lock-lost': [reason: LockLossReason, error: RadosError | undefined];
  /**
   * The worker thread of the device ended, and another one serves it from now on. Reads, flushes and what had not been
   * begun were done again; changes that had been begun have rejected with `outcome: 'unknown'`. What these had not
   * changed by now they never will, as far as the user may blocklist clients.
   */
  'worker-replaced': [replacement: WorkerReplacement];
  /** The device failed: every call rejects from now on. Emitted only when somebody listens. */
  error: [error: RadosError];
  /** Closed, by `close()` or after a failure. Emitted once. */
  close: [];
}

export interface WorkerReplacement {
  /** Why the worker ended. */
  reason: RadosError;
  /** Requests that were done again. */
  repeated: number;
  /** Changes that may or may not have taken effect. */
  unknown: number;
}

/** The way to the same image through another worker. */
export interface Reopened {
  channel: Channel;
  attributes: DeviceAttributes;
}

export interface BlockDeviceOptions {
  channel: Channel;
  attributes: DeviceAttributes;
  /** Requests at the backend at a time (krbd's `queue_depth`). */
  queueDepth: number;
  /** Calls that may wait for their turn; more are refused with EAGAIN. Default 16384. */
  maxQueued?: number;
  /** Payload copies kept for waiting writes. Default 256 MiB. */
  maxQueuedBytes?: number;
  /** Longest payload of a single request; longer calls are cut. Default 4 MiB. */
  pieceBytes?: number;
  /** krbd's `notrim`: refuse discards, and keep the space of zeroed ranges. */
  notrim?: boolean;
  /** Who has the image open for writing. */
  watchers: () => Promise<ImageWatcherInfo[]>;
  /** Sets the image's size. */
  resize?: (size: number) => Promise<number>;
  /** Tells what changed in the image. */
  diff?: (options: DiffOptions) => AsyncIterable<DiffExtent[]>;
  /**
   * The channel failed: opens the image again, or rejects with what the device fails with. `mayApply`: the other side
   * may still have changes under way; they must not take effect after this resolved.
   */
  reopen?: (mayApply: boolean) => Promise<Reopened>;
  /** Lets go of the backend. `force`: without asking whether it answers. */
  release: (force: boolean) => Promise<void>;
}
