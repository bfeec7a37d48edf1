/**
 * What the clients of an image tell each other, at this client's end: answers notifications on the header object as
 * librbd does, and sends this client's own (`librbd/ImageWatcher.cc`, `image_watcher/NotifyLockOwner.cc`).
 *
 * | notification | answer |
 * |---|---|
 * | header update, empty | result 0, once what was read of the header counts as stale |
 * | lock acquired, lock released | empty, when the handler is done with it |
 * | lock requested | the handler's: a result of the owner, empty of others; empty when it is our own |
 * | maintenance | of the lock's owner: 0 when it runs, else why not; empty of others |
 * | progress, completion, cancellation, end of quiescing | empty |
 * | quiesce | the result, when this client holds still |
 * | an operation that is not known here | EOPNOTSUPP of the lock's owner, empty of others |
 * | no notification at all | empty. What it says is unknown, so the header counts as stale |
 * | any, while blocked | empty |
 *
 * An answer that is not empty is the lock owner's: two of them are an error at the client that asked.
 */

import type { Environment } from '../base/environment.js';
import { ERRNO, type RadosError } from '../base/errors.js';
import { encodeWith } from '../encoding/codec.js';
import type {
  Notification,
  NotifyOptions,
  NotifyReply,
  NotifyResult,
  StaleCause,
  Watch,
  WatchHandler,
  WatchOptions,
  WatchState,
} from '../osd-client/watch-types.js';
import { type AsyncRequestOptions, AsyncRequests } from './async-requests.js';
import { lockOwnerResult } from './notify.js';
import {
  type AsyncRequestId,
  type ClientId,
  decodeNotifyPayload,
  encodeNotifyPayload,
  type KnownPayload,
  type MaintenancePayload,
  type NotifyPayload,
  responseMessage,
  sameClient,
  type UnknownPayload,
} from './notify-payloads.js';
import { quiesceClients, QuiesceRequests } from './notify-quiesce.js';
import { type MaintenanceJob, RemoteRequests, resultOf } from './notify-requests.js';

/** As both other clients have it (`watcher/Notifier.h`, `RBD_NOTIFY_TIMEOUT`). */
export const NOTIFY_TIMEOUT_S = 5;
/** A handler that takes longer has its notification acknowledged with nothing: before the notifier gives up. */
const ACK_DEADLINE_MS = (NOTIFY_TIMEOUT_S - 1) * 1000;
/** Cookies of earlier registrations that are still recognised as this client's. */
const MAX_COOKIES = 64;

/** An `IoContext`, as far as it is needed here. */
export interface WatchContext {
  watch(oid: string, handler: WatchHandler, options?: WatchOptions): Promise<Watch>;
  notify(oid: string, payload: Uint8Array, options?: NotifyOptions): Promise<NotifyResult>;
  describe(oid: string): string;
}

/** What an image does about what its other clients say, and about its watch. None of it may throw. */
export interface ImageWatchHandler extends Omit<WatchHandler, 'onNotify'> {
  /** What was read of the header is stale from here on. Before the notification is acknowledged. */
  onHeaderUpdate(): void;
  /** Another client owns the lock now. Which one, very old clients do not say. */
  onAcquiredLock(client: ClientId | undefined): void | Promise<void>;
  /**
   * Another client gave the lock up. Its former owner waits for the acknowledgement before it tries to get the lock
   * back: a promise defers it, so that whoever asked for the lock can be first.
   */
  onReleasedLock(client: ClientId | undefined): void | Promise<void>;
  /** Undefined when not the owner; 0 when the lock will be released, EROFS (negative) when it will not. */
  onRequestLock(
    client: ClientId | undefined,
    force: boolean,
  ): number | undefined | Promise<number | undefined>;
  /**
   * May this client be asked to do something? Undefined when it does not own the lock, or not quite yet or any more:
   * an error would end the request for good, silence makes the requester look for the owner again. 0: yes. A negative
   * errno when it owns the lock and will do nothing (EROFS).
   */
  acceptRequest(request: MaintenancePayload | UnknownPayload): number | undefined;
  /** Refuses with a negative errno or returns what does it. Absent: EOPNOTSUPP, which makes the requester do it. */
  onMaintenance?(request: MaintenancePayload): number | MaintenanceJob;
  /** Absent: nothing needs to hold still. */
  onQuiesce?(id: AsyncRequestId): Promise<void>;
  /** Once for every `onQuiesce` when it is over, also when it failed or the watch was closed meanwhile. */
  onUnquiesce?(id: AsyncRequestId): void;
}

export interface ImageWatcherOptions {
  context: WatchContext;
  environment: Environment;
  /** The header object. */
  oid: string;
  /** Global id of this client. */
  gid: bigint;
  handler: ImageWatchHandler;
  /** `rbd_request_timed_out_seconds`, in milliseconds. */
  requestTimeoutMs?: number;
  watch?: WatchOptions;
}

export interface ImageWatcherCounters {
  notifications: number;
  headerUpdates: number;
  /** Payloads that are no NotifyMessage. */
  undecodable: number;
  /** Operations of newer clients. */
  unknown: number;
  /** Acknowledged while blocked. */
  blocked: number;
  /** Acknowledged with nothing because the handler took too long or failed. */
  late: number;
}

const EMPTY: NotifyReply = undefined;
const response = (result: number): NotifyReply => encodeWith(responseMessage, { result });

export class ImageWatcher implements WatchHandler, AsyncDisposable {
  readonly oid: string;
  readonly counters: ImageWatcherCounters = {
    notifications: 0,
    headerUpdates: 0,
    undecodable: 0,
    unknown: 0,
    blocked: 0,
    late: 0,
  };
  readonly #context: WatchContext;
  readonly #env: Environment;
  readonly #gid: bigint;
  readonly #handler: ImageWatchHandler;
  readonly #asked: AsyncRequests;
  readonly #remote: RemoteRequests;
  readonly #quiesced: QuiesceRequests;
  /** Of all registrations, the present one last: requests keep the cookie that they were made under. */
  readonly #cookies = new Set<bigint>();
  #cookie = 0n;
  #watch: Watch | undefined;
  #owner: ClientId | undefined;
  #blocked = false;

  /** Registers the watch. ENOENT when there is no header. */
  static async open(options: ImageWatcherOptions): Promise<ImageWatcher> {
    const watcher = new ImageWatcher(options);
    const watch = await options.context.watch(options.oid, watcher, options.watch);
    watcher.#watch = watch;
    watcher.#setCookie(watch.cookie);
    return watcher;
  }

  private constructor(options: ImageWatcherOptions) {
    const { context, environment, oid, gid, handler, requestTimeoutMs } = options;
    this.#context = context;
    this.#env = environment;
    this.oid = oid;
    this.#gid = gid;
    this.#handler = handler;
    this.#asked = new AsyncRequests(
      environment,
      requestTimeoutMs === undefined ? {} : { idleTimeoutMs: requestTimeoutMs },
    );
    this.#remote = new RemoteRequests(environment, (payload) => this.#notify(payload));
    this.#quiesced = new QuiesceRequests(environment, {
      quiesce: async (id) => handler.onQuiesce?.(id),
      unquiesce: (id) => handler.onUnquiesce?.(id),
    });
  }

  get watch(): Watch {
    if (!this.#watch) throw new TypeError('the watch is not registered yet');
    return this.#watch;
  }

  /** Who this client is to the others. The cookie changes when the watch has to be registered again. */
  get clientId(): ClientId {
    return { gid: this.#gid, handle: this.#cookie };
  }

  /** Who owns the lock, as far as announcements tell. */
  get announcedOwner(): ClientId | undefined {
    return this.#owner;
  }

  // ---- this client's own notifications ----

  /**
   * Sends something that concerns the lock's owner only, and resolves with its answer: ETIMEDOUT (negative, as all of
   * them) when there is no owner, or it did not answer; EIO when two did. Rejects when the notification failed.
   */
  async notifyLockOwner(
    payload: KnownPayload,
    { timeoutSeconds = NOTIFY_TIMEOUT_S, ...options }: NotifyOptions = {},
  ): Promise<number> {
    return lockOwnerResult(await this.#notify(payload, { timeoutSeconds, ...options }));
  }

  /**
   * 0: the owner will release the lock. EROFS: it will not. ETIMEDOUT: it may be one of those that did not answer.
   * Undefined: everybody answered, and nobody is the owner.
   */
  async requestLock({
    force = false,
    timeoutSeconds = NOTIFY_TIMEOUT_S,
    ...options
  }: NotifyOptions & { force?: boolean } = {}): Promise<number | undefined> {
    const request = { op: 'requestLock', client: this.clientId, force } as const;
    const notified = await this.#notify(request, { timeoutSeconds, ...options });
    const result = lockOwnerResult(notified);
    return result === -ERRNO.ETIMEDOUT && notified.missed.length === 0 ? undefined : result;
  }

  /** Resolves when all clients have heard of it, or did not in time. Never rejects: the lock is taken either way. */
  announceAcquired(client: ClientId = this.clientId): Promise<void> {
    this.#owner = client;
    return this.#announce({ op: 'acquiredLock', client });
  }

  announceReleased(client: ClientId = this.clientId): Promise<void> {
    this.#owner = undefined;
    return this.#announce({ op: 'releasedLock', client });
  }

  /** After every change of the header. */
  headerUpdate(): Promise<void> {
    return this.#announce({ op: 'headerUpdate' });
  }

  /** For `requestMaintenance`. */
  newRequestId(): AsyncRequestId {
    return this.#asked.newId(this.clientId);
  }

  /**
   * Has the lock's owner do something, and resolves with its result. ETIMEDOUT and ERESTART (negative, as all of them):
   * look who owns the lock now, and ask again with the same id. EOPNOTSUPP: take the lock and do it here.
   *
   * Before asking again, look whether it is done: an owner of librbd's answers 0 to what it had finished, as to what it
   * begins, and does not complete it a second time.
   */
  requestMaintenance(
    request: MaintenancePayload & { id: AsyncRequestId },
    options: AsyncRequestOptions = {},
  ): Promise<number> {
    const ask = (signal: AbortSignal) => this.notifyLockOwner(request, { signal });
    return this.#asked.run(request.id, ask, options);
  }

  /** The owner need not go on. One of librbd's does all the same. */
  cancelMaintenance(id: AsyncRequestId): Promise<void> {
    return this.#announce({ op: 'cancel', id });
  }

  /** Has all clients hold still, until `unquiesce`: see `quiesceClients`. */
  quiesce(id: AsyncRequestId): Promise<void> {
    return quiesceClients((payload) => this.#notify(payload), id);
  }

  unquiesce(id: AsyncRequestId): Promise<void> {
    return this.#announce({ op: 'unquiesce', id });
  }

  // ---- the others' ----

  onNotify(notification: Notification): NotifyReply | Promise<NotifyReply> {
    // The first ones may come before the registration is known here.
    if (this.#cookie === 0n) this.#setCookie(notification.cookie);
    this.counters.notifications++;
    const payload = this.#decode(notification);
    if (payload === undefined || payload.op === 'headerUpdate') {
      this.counters.headerUpdates++;
      this.#handler.onHeaderUpdate();
    }
    if (this.#blocked) {
      this.counters.blocked++;
      return EMPTY;
    }
    return payload === undefined ? EMPTY : this.#dispatch(payload);
  }

  #decode({ payload, notifierGid }: Notification): NotifyPayload | undefined {
    try {
      const decoded = decodeNotifyPayload(payload);
      this.#env.log.rbd.trace({ object: this.oid, from: notifierGid, op: decoded.op }, 'notified');
      return decoded;
    } catch (error) {
      this.counters.undecodable++;
      this.#env.log.rbd.warn(
        { error, object: this.#context.describe(this.oid), from: `client.${notifierGid}` },
        'a notification cannot be read: taken for a header update',
      );
      return undefined;
    }
  }

  #dispatch(payload: NotifyPayload): NotifyReply | Promise<NotifyReply> {
    switch (payload.op) {
      case 'headerUpdate':
        return response(0);
      case 'acquiredLock':
        return this.#acquiredLock(payload.client);
      case 'releasedLock':
        return this.#releasedLock(payload.client);
      case 'requestLock': {
        const { client, force } = payload;
        if (this.#isOwn(client)) return EMPTY;
        return this.#inTime(
          () => this.#handler.onRequestLock(client, force),
          (result) => (result === undefined ? EMPTY : response(result)),
        );
      }
      case 'asyncProgress':
        this.#asked.progress(payload.id, payload.offset, payload.total);
        return EMPTY;
      case 'asyncComplete':
        this.#asked.complete(payload.id, payload.result);
        this.#remote.heardResult(payload.id, payload.result);
        return EMPTY;
      case 'quiesce':
        if (!this.#handler.onQuiesce) return response(0);
        return this.#quiesced.quiesce(payload.id).then(response);
      case 'unquiesce':
        this.#quiesced.unquiesce(payload.id);
        return EMPTY;
      case 'cancel':
        this.#remote.cancel(payload.id);
        return EMPTY;
      case 'unknown':
        this.counters.unknown++;
        return this.#handler.acceptRequest(payload) === undefined
          ? EMPTY
          : response(-ERRNO.EOPNOTSUPP);
      default:
        return this.#maintenance(payload);
    }
  }

  #acquiredLock(client: ClientId | undefined): NotifyReply | Promise<NotifyReply> {
    if (this.#isOwn(client)) return EMPTY;
    const changed = client === undefined || !sameClient(client, this.#owner);
    this.#owner = client;
    // The owner that announces itself again, as after its watch was lost, is still at work.
    if (changed) this.#asked.cancel();
    return this.#inTime(
      () => this.#handler.onAcquiredLock(client),
      () => EMPTY,
    );
  }

  #releasedLock(client: ClientId | undefined): NotifyReply | Promise<NotifyReply> {
    if (this.#isOwn(client)) return EMPTY;
    // From others than the owner: a late one, the lock has been acquired since.
    const isOwners = !client || !this.#owner || sameClient(client, this.#owner);
    if (isOwners) {
      this.#owner = undefined;
      this.#asked.cancel();
    }
    return this.#inTime(
      () => this.#handler.onReleasedLock(client),
      () => EMPTY,
    );
  }

  #maintenance(request: MaintenancePayload): NotifyReply | Promise<NotifyReply> {
    const accepted = this.#handler.acceptRequest(request);
    if (accepted === undefined) return EMPTY;
    if (accepted < 0) return response(accepted);
    const start = () => this.#handler.onMaintenance?.(request) ?? -ERRNO.EOPNOTSUPP;
    const { id } = request;
    if (!id) return this.#runToEnd(start());
    // This client took the lock after it had asked: what waits for the answer starts again, and finds it here.
    if (this.#isOwn(id.client)) return response(-ERRNO.ERESTART);
    return response(this.#remote.accept(id, start));
  }

  /** For clients before version 7: the acknowledgement is the result. */
  async #runToEnd(job: MaintenanceJob | number): Promise<NotifyReply> {
    if (typeof job === 'number') return response(job);
    const { signal } = new AbortController();
    return response(await resultOf(this.#env, () => job(() => undefined, signal)));
  }

  /** What the handler makes of it, or nothing when that takes too long. */
  #inTime<T>(
    handle: () => T | Promise<T>,
    answer: (value: T) => NotifyReply,
  ): NotifyReply | Promise<NotifyReply> {
    const value = handle();
    if (!(value instanceof Promise)) return answer(value);
    return new Promise((resolve) => {
      const timer = this.#env.timers.after(ACK_DEADLINE_MS, () => {
        this.counters.late++;
        resolve(EMPTY);
      });
      void value
        .then(answer, (error: unknown) => {
          this.counters.late++;
          this.#env.log.rbd.warn({ error, object: this.oid }, 'handling a notification failed');
          return EMPTY;
        })
        .then((reply) => {
          timer.cancel();
          resolve(reply);
        });
    });
  }

  // ---- the watch ----

  onStale(cause: StaleCause): void {
    this.#handler.onStale(cause);
  }

  onLost(error: RadosError): void {
    // Announcements may have been missed, and a completion too.
    this.#owner = undefined;
    this.#asked.cancel();
    this.#handler.onLost(error);
  }

  onReregistered(oldCookie: bigint, newCookie: bigint): Promise<void> {
    this.#setCookie(newCookie);
    return this.#handler.onReregistered(oldCookie, newCookie);
  }

  onFailed(error: RadosError): void {
    this.#end(error.errno);
    this.#handler.onFailed(error);
  }

  onState(state: WatchState, previous: WatchState, cause: string): void {
    this.#handler.onState?.(state, previous, cause);
  }

  /** From here on notifications are acknowledged with nothing, and nobody is waited for: the image closes or reopens. */
  block(): void {
    this.#blocked = true;
    this.#asked.cancel();
  }

  unblock(): void {
    this.#blocked = false;
  }

  /** Unwatches. No notification comes after it resolved. Safe to call twice. */
  async close(): Promise<void> {
    this.#end(-ERRNO.ERESTART);
    await this.#watch?.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #end(result: number): void {
    this.#blocked = true;
    this.#asked.cancel(result);
    this.#remote.stop();
    this.#quiesced.stop();
  }

  #setCookie(cookie: bigint): void {
    this.#cookie = cookie;
    this.#cookies.delete(cookie);
    this.#cookies.add(cookie);
    for (const oldest of this.#cookies) {
      if (this.#cookies.size <= MAX_COOKIES) break;
      this.#cookies.delete(oldest);
    }
  }

  #isOwn(client: ClientId | undefined): boolean {
    return client?.gid === this.#gid && this.#cookies.has(client.handle);
  }

  #notify(
    payload: KnownPayload,
    options: NotifyOptions = { timeoutSeconds: NOTIFY_TIMEOUT_S },
  ): Promise<NotifyResult> {
    return this.#context.notify(this.oid, encodeNotifyPayload(payload), options);
  }

  async #announce(payload: KnownPayload): Promise<void> {
    try {
      await this.#notify(payload);
    } catch (error) {
      this.#env.log.rbd.warn(
        { error, object: this.#context.describe(this.oid), op: payload.op },
        'the clients of the image were not told',
      );
    }
  }
}
