/** What the exclusive lock needs of the image that it guards, and what it tells. */

import type { Environment } from '../base/environment.js';
import type { RadosError } from '../base/errors.js';
import type { IoContext } from '../rados/io-context.js';

/** librbd's names (`librbd/ManagedLock.h`). */
export type LockState =
  | 'uninitialized'
  | 'unlocked'
  | 'acquiring'
  | 'waiting-for-register'
  | 'waiting-for-lock'
  | 'post-acquiring'
  | 'locked'
  | 'reacquiring'
  | 'pre-releasing'
  | 'releasing'
  | 'shutting-down'
  | 'shutdown';

/**
 * Why the lock went. `requested`: another client asked for it; `released`: we were told to; `refused`: the OSD would not
 * carry it over to a new watch, so that it is taken anew; `broken`: somebody took it from us; `blocklisted`: and fenced
 * this client, which is the end of it; `closed`: the image was closed.
 */
export type LockLossReason =
  | 'requested'
  | 'released'
  | 'refused'
  | 'broken'
  | 'blocklisted'
  | 'closed';

export interface LockListener {
  onState?(state: LockState, previous: LockState): void;
  onAcquired?(): void;
  onLost?(reason: LockLossReason, error?: RadosError): void;
}

/** The image, as its lock sees it. */
export interface LockHost {
  readonly env: Environment;
  readonly ioctx: IoContext;
  readonly headerOid: string;
  /** `rbd/vm1`, for messages. */
  readonly target: string;
  /** This client: `client.<globalId>`, at `10.0.0.5:0/3141592`. */
  readonly globalId: bigint;
  readonly clientAddr: string;

  /** Of the header's watch as it is registered now. It is the new one already when `reregistered` is called. */
  cookie(): bigint;
  /** Undefined while the watch is good; else resolves when it is again, and rejects with what ended it for good. */
  watchReady(): Promise<void> | undefined;

  /**
   * Notifies RequestLock. Resolves with the owner's answer: 0, it will release; -EROFS, it will not; -ETIMEDOUT, it may be
   * one of those that did not answer in time. Undefined: all watchers answered, and none of them is the owner.
   */
  requestLock(): Promise<number | undefined>;
  /** Notifies AcquiredLock. Resolves when all watchers acknowledged or their time is over. */
  announceAcquired(): Promise<void>;
  /** Notifies ReleasedLock. Resolves when all watchers acknowledged or their time is over. */
  announceReleased(): Promise<void>;

  /**
   * Fences a client by its address and waits for the osdmap that says so: whatever this client writes from then on
   * carries that epoch, so that no OSD takes a write of the other after one of ours. Without `expireSeconds` for as long
   * as the monitors think right.
   */
  blocklist(addr: string, expireSeconds: number | undefined): Promise<void>;

  /** Reads the header, whatever the watch's state: the owner before us may have died before it told of a change. */
  refresh(): Promise<void>;
  /** The lock is held, no I/O goes yet: loads the object map. A rejection, which leaves nothing loaded, gives the lock back. */
  postAcquire(): Promise<void>;
  /** The lock is about to be given back, and waits for what is inside: which should not take long any more. */
  beforeRelease(): void;
  /** The lock is still held, no I/O is under way any more: closes the object map. A rejection is only logged. */
  preRelease(): Promise<void>;
}

export interface LockOptions {
  /**
   * `auto`: the first write takes the lock, and it is given to whoever asks. `manual` (krbd's `exclusive`, and librbd after
   * an explicit `lock_acquire`): only `acquire` takes it, requests for it are refused with -EROFS, and so are writes
   * without it.
   */
  readonly transitions?: 'auto' | 'manual';
  /** Reads need the lock too (krbd's `lock_on_read`). For the caller to ask: the lock does not know what goes through it. */
  readonly lockOnRead?: boolean;
  /**
   * How long `acquire` waits (krbd's `lock_timeout`), then ETIMEDOUT; 0, as by default: for ever. Like krbd's since 5.3 it
   * is for whoever opens the image: a write that needs the lock waits for it as long as it takes.
   */
  readonly lockTimeoutMs?: number;
  /** How long a dead owner stays fenced (`rbd_blocklist_expire_seconds`). The monitors' default (an hour) when absent. */
  readonly blocklistExpireSeconds?: number;
  readonly listener?: LockListener;
}

export interface LockStatus {
  readonly state: LockState;
  /** What the lock is held by: `auto 7`. */
  readonly cookie: string | undefined;
  /** Another client that was last seen to have it. */
  readonly owner: string | undefined;
  readonly transitions: 'auto' | 'manual';
  /** Requests that passed and are not done, and requests that wait for the lock. */
  readonly inside: number;
  readonly waiting: number;
  readonly counters: LockCounters;
}

export interface LockCounters {
  acquired: number;
  /** Given to another at its request. */
  handedOver: number;
  /** Given back for any other reason. */
  released: number;
  /** Taken from us. */
  lost: number;
  /** Carried over to a new cookie of the watch. */
  reacquired: number;
  /** Taken from dead owners. */
  broken: number;
  /** Requests of others that were refused. */
  refused: number;
}
