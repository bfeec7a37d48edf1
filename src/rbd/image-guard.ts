/**
 * What stands between an image that is open for writing and the other clients of it: the watch on its header, the gate
 * that holds I/O back while the header in use may be out of date, and the exclusive lock of images that have the feature.
 *
 *   notification -> gate.stale() -> acknowledged -> read again in the background, or by the first I/O that comes
 *   watch lost   -> gate closed -> registered again -> lock follows the new cookie -> gate.stale() -> gate open
 *   fenced, or the header deleted -> gate closed for good, the owner of the image is told
 */

import { ERRNO, type RadosError, toRadosError } from '../base/errors.js';
import type { StaleCause, WatchState, WatchStatus } from '../osd-client/watch-types.js';
import { WATCH_TIMEOUT_S } from '../osd-client/watch-times.js';
import type { IoContext } from '../rados/io-context.js';
import type { RbdContext } from './context.js';
import { ExclusiveLock } from './exclusive-lock.js';
import { FEATURE } from './features.js';
import { FreshnessGate } from './freshness-gate.js';
import {
  type ImageWatchHandler,
  ImageWatcher,
  type ImageWatcherCounters,
} from './image-watcher.js';
import type { LockHost, LockLossReason, LockOptions, LockStatus } from './lock-host.js';
import { headerObject } from './names.js';
import type { ClientId, MaintenancePayload } from './notify-payloads.js';
import type { MaintenanceJob } from './notify-requests.js';

/** What happens to an image without its owner having done anything. None of it may throw. */
export interface ImageListener {
  /** The watch is lost: I/O waits until it is registered again. */
  onWatchLost?(error: RadosError): void;
  onWatchRestored?(): void;
  onLockAcquired?(): void;
  onLockLost?(reason: LockLossReason, error?: RadosError): void;
  /** The header was read again. */
  onRefreshed?(): void;
  /** The image serves no more: this client was fenced (EBLOCKLISTED), or the header is gone (ENOENT). */
  onFailed?(error: RadosError): void;
}

export interface ImageGuardOptions {
  context: RbdContext;
  /** The header's pool and namespace. */
  ioctx: IoContext;
  id: string;
  /** `rbd/vm1`, for messages. */
  target: string;
  /** Shared memory for the gate's numbers. */
  words?: Int32Array | undefined;
  lock?: Omit<LockOptions, 'listener'> | undefined;
  listener?: ImageListener | undefined;
  /** Reads the header again and applies it. */
  refresh: () => Promise<void>;
}

export interface ImageGuardStatus {
  watch: WatchStatus;
  /** Absent without the feature. */
  lock: LockStatus | undefined;
  notifications: ImageWatcherCounters;
  refreshSeq: number;
  appliedSeq: number;
  refreshes: number;
  parked: number;
  /** Operations that went by a header that may have been out of date: 0. */
  staleSends: number;
}

/** What the guard wakes up in the image. */
export interface GuardedImage {
  /** What another client wants to have done by the lock's owner: refuses with a negative errno, or returns what does it. */
  accept(request: MaintenancePayload): number | MaintenanceJob;
  /** The lock is to be given back, or is lost: what takes long is to end. The lock waits for what has entered it. */
  interrupt(cause?: RadosError): void;
  /** The lock is ours and the header fresh; no I/O goes yet. A rejection gives the lock back. */
  lockAcquired(): Promise<void>;
  /** The lock is about to be given back, with nothing under way that needs it. */
  lockReleasing(): Promise<void>;
}

/** A client too old to say who it is: none of ours. */
const NOBODY: ClientId = { gid: 0n, handle: 0n };

export class ImageGuard implements ImageWatchHandler {
  readonly gate: FreshnessGate;
  readonly #options: ImageGuardOptions;
  #watcher: ImageWatcher | undefined;
  #lock: ExclusiveLock | undefined;
  #image: GuardedImage | undefined;
  /** A refresh in the background is on its way. */
  #refreshing = false;
  #closed = false;

  /** Watches the header. ENOENT when there is none. */
  static async open(options: ImageGuardOptions): Promise<ImageGuard> {
    const guard = new ImageGuard(options);
    const { context, ioctx, id } = options;
    guard.#watcher = await ImageWatcher.open({
      context: ioctx,
      environment: context.environment,
      oid: headerObject(id),
      gid: context.globalId,
      handler: guard,
      watch: { timeoutSeconds: WATCH_TIMEOUT_S },
    });
    guard.gate.watchedBy(guard.#watcher.watch);
    return guard;
  }

  private constructor(options: ImageGuardOptions) {
    const { context, target, refresh, words } = options;
    this.#options = options;
    this.gate = new FreshnessGate({
      clock: context.environment.clock,
      refresh: async () => {
        await refresh();
        options.listener?.onRefreshed?.();
      },
      target,
      ...(words && { words }),
    });
  }

  get watcher(): ImageWatcher {
    if (!this.#watcher) throw new TypeError('the header is not watched yet');
    return this.#watcher;
  }

  /** What whoever changes the image enters and leaves; undefined without the feature. */
  get lock(): ExclusiveLock | undefined {
    return this.#lock;
  }

  /** The header has been read, and what was watched for so far is an image. */
  serve(image: GuardedImage, features: bigint): void {
    this.#image = image;
    this.applyFeatures(features);
  }

  /** The lock comes and goes with the feature, which any client may change. */
  applyFeatures(features: bigint): void {
    const locks = (features & FEATURE.EXCLUSIVE_LOCK) !== 0n;
    if (locks === (this.#lock !== undefined)) return;
    const { lock, listener } = this.#options;
    if (locks) {
      this.#lock = new ExclusiveLock(this.#lockHost(), {
        ...lock,
        listener: {
          onAcquired: () => listener?.onLockAcquired?.(),
          onLost: (reason, error) => listener?.onLockLost?.(reason, error),
        },
      });
      this.#lock.initialize();
    } else {
      const gone = this.#lock;
      this.#lock = undefined;
      void gone?.shutdown();
    }
  }

  status(): ImageGuardStatus {
    const { refreshSeq, appliedSeq, refreshes, parked, staleSends } = this.gate;
    const { watch, counters } = this.watcher;
    return {
      watch: watch.status(),
      lock: this.#lock?.status(),
      notifications: { ...counters },
      ...{ refreshSeq, appliedSeq, refreshes, parked, staleSends },
    };
  }

  /** Notifications are acknowledged with nothing from here on; the watch stays until `close`. */
  block(): void {
    this.#closed = true;
    this.#watcher?.block();
  }

  /** The lock goes before the watch: without one its owner would count as dead. */
  async close(): Promise<void> {
    this.block();
    await this.#lock?.shutdown();
    await this.#watcher?.close();
  }

  // ---- notifications ----

  onHeaderUpdate(): void {
    this.gate.stale();
    this.#refreshSoon();
  }

  onAcquiredLock(client: ClientId | undefined): void {
    this.#lock?.onAcquiredLock(client ?? NOBODY);
  }

  onReleasedLock(client: ClientId | undefined): void | Promise<void> {
    return this.#lock?.onReleasedLock(client ?? NOBODY);
  }

  onRequestLock(client: ClientId | undefined): number | undefined {
    return this.#lock?.onRequestLock(client ?? NOBODY);
  }

  /** Only the owner answers. */
  acceptRequest(): number | undefined {
    return this.#lock?.state === 'locked' ? 0 : undefined;
  }

  onMaintenance(request: MaintenancePayload): number | MaintenanceJob {
    return this.#image?.accept(request) ?? -ERRNO.EOPNOTSUPP;
  }

  // ---- the watch ----

  onStale(cause: StaleCause): void {
    this.gate.stale();
    if (cause !== 'lost') this.#refreshSoon();
  }

  onLost(error: RadosError): void {
    const { context, target, listener } = this.#options;
    context.environment.log.rbd.warn(
      { image: target, err: error },
      `encountered watch error: ${error.errno}`,
    );
    listener?.onWatchLost?.(error);
  }

  async onReregistered(oldCookie: bigint, newCookie: bigint): Promise<void> {
    const { context, target, listener } = this.#options;
    context.environment.log.rbd.info(
      { image: target, oldCookie: String(oldCookie), cookie: String(newCookie) },
      'watch registered again',
    );
    await this.#lock?.reregistered();
    this.gate.stale();
    this.#refreshSoon();
    listener?.onWatchRestored?.();
  }

  onFailed(error: RadosError): void {
    const { context, target, listener } = this.#options;
    context.environment.log.rbd.error({ image: target, err: error }, 'the image serves no more');
    this.gate.fail(error);
    this.#lock?.fail(error);
    this.#image?.interrupt(error);
    listener?.onFailed?.(error);
  }

  onState(state: WatchState, previous: WatchState, cause: string): void {
    const { context, target } = this.#options;
    context.environment.log.rbd.debug({ image: target, state, previous, cause }, 'watch');
  }

  #lockHost(): LockHost {
    const { context, ioctx, id, target } = this.#options;
    const { watcher, gate } = this;
    return {
      env: context.environment,
      ioctx,
      headerOid: headerObject(id),
      target,
      globalId: context.globalId,
      clientAddr: context.clientAddr,
      cookie: () => watcher.clientId.handle,
      watchReady: () => (gate.isWatchGood ? undefined : watcher.watch.verify()),
      requestLock: () => watcher.requestLock(),
      announceAcquired: () => watcher.announceAcquired(),
      announceReleased: () => watcher.announceReleased(),
      blocklist: (addr, expireSeconds) => context.blocklistAdd(addr, expireSeconds),
      refresh: () => {
        gate.stale();
        return gate.refreshIfStale();
      },
      beforeRelease: () => this.#image?.interrupt(),
      postAcquire: async () => this.#image?.lockAcquired(),
      preRelease: async () => this.#image?.lockReleasing(),
    };
  }

  /** Nobody may be doing I/O, but a new size wants to be known. */
  #refreshSoon(): void {
    if (this.#refreshing || this.#closed) return;
    this.#refreshing = true;
    void this.gate
      .refreshIfStale()
      .catch((error: unknown) => {
        const { context, target } = this.#options;
        // The first I/O tries again, and is told.
        context.environment.log.rbd.warn(
          { image: target, err: toRadosError(error) },
          'failed to refresh the header',
        );
      })
      .finally(() => {
        this.#refreshing = false;
      });
  }
}
