/**
 * The exclusive lock of an image (`librbd/ManagedLock.cc`, `librbd/ExclusiveLock.cc`, krbd's `rbd_lock_state`): one client
 * at a time writes, and hands the lock to the next that asks.
 *
 *     uninitialized -> unlocked
 *     unlocked -> acquiring <-> waiting-for-register, waiting-for-lock     a write waits, or `acquire` was called
 *                 acquiring -> post-acquiring -> locked                    header fresh, object map loaded, announced
 *     locked -> pre-releasing -> releasing -> unlocked                     no new writes, drained; unlocked, announced
 *     locked -> reacquiring -> locked                                      the watch has a new cookie: so has the lock
 *                           -> pre-releasing -> releasing -> acquiring     the OSD refuses that: taken anew
 *     any -> shutting-down -> shutdown
 *
 * What is asked for becomes an action in a queue; the same action twice is one. One action runs at a time, and begins
 * at once when none does: a request to release closes the image to new writes before it is acknowledged.
 *
 * Invariant: no write enters and no object of one is sent unless the OSD has confirmed this client as the owner, under
 * the cookie of its registered watch, and nothing has come since that puts it in doubt.
 */

import { ERRNO, type ErrnoCode, type RadosError, toRadosError } from '../base/errors.js';
import { LockAcquisition } from './lock-acquire.js';
import { ActionQueue } from './lock-actions.js';
import { LockAdmission } from './lock-admission.js';
import { LockAnnouncements } from './lock-announcements.js';
import { lockError } from './lock-errors.js';
import type {
  LockCounters,
  LockHost,
  LockLossReason,
  LockOptions,
  LockState,
  LockStatus,
} from './lock-host.js';
import { describeOwner, type LockOwner } from './lock-owner.js';
import { LockTenure } from './lock-tenure.js';
import type { ClientId } from './notify-payloads.js';

type Action = 'try' | 'acquire' | 'reacquire' | 'release' | 'shutdown';

/** An OSD that does not answer by then has given up the watch too: without one the lock is free to be broken. */
const SHUTDOWN_OPS_TIMEOUT_MS = 30_000;
/** So often the watch is registered anew in the middle of an acquisition before that counts as failed. */
const RESTARTS_MAX = 10;

export class ExclusiveLock {
  readonly #host: LockHost;
  readonly #options: LockOptions;
  readonly #admission: LockAdmission;
  readonly #tenure: LockTenure;
  readonly #announcements: LockAnnouncements;
  readonly #actions: ActionQueue<Action>;
  #transitions: 'auto' | 'manual';
  #state: LockState = 'uninitialized';
  #acquisition:
    | { action: 'try' | 'acquire'; control: AbortController; steps: LockAcquisition }
    | undefined;
  /** To be taken anew whether somebody waits or not: it was lost, or refused to a new cookie. */
  #wanted = false;
  /** Another client asked for it. */
  #requested = false;
  /** Another client says to have it. */
  #doubted = false;
  /** What is guarded by it was taken from us: to be given back and taken anew, even if it is still ours. */
  #spoiled = false;
  #closing = false;
  #failure: RadosError | undefined;
  #owner: LockOwner | undefined;
  readonly #deserted: RadosError;
  readonly #counters: LockCounters = {
    acquired: 0,
    handedOver: 0,
    released: 0,
    lost: 0,
    reacquired: 0,
    broken: 0,
    refused: 0,
  };

  constructor(host: LockHost, options: LockOptions = {}) {
    this.#host = host;
    this.#options = options;
    this.#transitions = options.transitions ?? 'auto';
    this.#deserted = this.#error('ECANCELED', 'nobody waits for it any more');
    this.#tenure = new LockTenure(host, (error) => this.fail(error));
    this.#announcements = new LockAnnouncements(host);
    this.#actions = new ActionQueue<Action>(
      (action) => this.#perform(action),
      () => this.#next(),
    );
    this.#admission = new LockAdmission({
      timers: host.env.timers,
      target: host.target,
      onDesertion: () => {
        if (this.#wanted || this.#acquisition?.action !== 'acquire') return;
        this.#acquisition.control.abort(this.#deserted);
      },
    });
  }

  get state(): LockState {
    return this.#state;
  }

  get isOwner(): boolean {
    return this.#tenure.isOwner;
  }

  get lockOnRead(): boolean {
    return this.#options.lockOnRead ?? false;
  }

  get transitions(): 'auto' | 'manual' {
    return this.#transitions;
  }

  /** From here on: whether requests of others are honoured, and whether writes take the lock by themselves. */
  set transitions(transitions: 'auto' | 'manual') {
    this.#transitions = transitions;
    this.#next();
  }

  status(): LockStatus {
    return {
      state: this.#state,
      cookie: this.#tenure.held,
      owner: this.#owner && describeOwner(this.#owner),
      transitions: this.#transitions,
      inside: this.#admission.inside,
      waiting: this.#admission.waiting,
      counters: { ...this.#counters },
    };
  }

  /** To be called once the header is watched. */
  initialize(): void {
    if (this.#state === 'uninitialized') this.#transition('unlocked');
    this.#next();
  }

  // What the image's I/O calls.

  /**
   * Before anything that changes the image. Undefined: it is in, and must `leave`; else it is in once the promise has
   * resolved, which takes the lock if need be. Rejected, it is not in. EROFS: another client keeps the lock, or this one
   * takes it by hand only; EBUSY: it is held by `rbd lock add`; EBLOCKLISTED: this client was fenced; ECANCELED: closed.
   */
  enter(signal?: AbortSignal): Promise<void> | undefined {
    if (this.#state === 'locked') {
      this.#admission.enter();
      return undefined;
    }
    const refusal = this.#refusal() ?? this.#manualRefusal();
    if (refusal) return Promise.reject(refusal);
    const entry = this.#admission.wait('request', { signal });
    this.#next();
    return entry;
  }

  /** As `enter`, but only when the lock is held: whether it is in, and must `leave`. */
  tryEnter(): boolean {
    if (this.#state !== 'locked') return false;
    this.#admission.enter();
    return true;
  }

  /** After `enter`, however it went from there. */
  leave(): void {
    this.#admission.leave();
  }

  /**
   * Before each object operation of what has entered: undefined when it may go at once, else to be asked again when the
   * promise has resolved. It waits while the lock is in doubt and, when it turns out to be lost, until it is ours again.
   */
  passObject(signal?: AbortSignal): Promise<void> | undefined {
    if (this.#mayGoOn) return undefined;
    const refusal = this.#refusal();
    if (refusal) return Promise.reject(refusal);
    const pass = this.#admission.wait('object', { signal });
    this.#next();
    return pass;
  }

  // What people and maintenance operations call.

  /**
   * Takes the lock, from its owner if need be, and waits for it. Errors as of `enter`, and ETIMEDOUT after `timeoutMs`
   * (0: never; `lockTimeoutMs` by default). It may be asked for again right away: what must not be without it `enter`s.
   */
  acquire(options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<void> {
    if (this.#state === 'locked') return Promise.resolve();
    const refusal = this.#refusal();
    if (refusal) return Promise.reject(refusal);
    const timeoutMs = options.timeoutMs ?? this.#options.lockTimeoutMs ?? 0;
    const acquired = this.#admission.wait('acquire', { signal: options.signal, timeoutMs });
    this.#next();
    return acquired;
  }

  /** Takes the lock if it is free or its owner is dead, without asking one that lives. Whether it is ours now. */
  tryAcquire(): Promise<boolean> {
    if (this.#state === 'locked') return Promise.resolve(true);
    const refusal = this.#refusal();
    if (refusal) return Promise.reject(refusal);
    // Somebody here waits for it already, who may have to wait for long.
    if (this.#state === 'waiting-for-lock') return Promise.resolve(false);
    return this.#actions.enqueue('try');
  }

  /**
   * Something that only the owner may do was refused. Whether the lock is still ours or not, it is taken anew, with all that
   * lives and dies with it; meanwhile nothing goes that needs it.
   */
  retake(): void {
    if (this.#state !== 'locked' && this.#state !== 'reacquiring') return;
    this.#doubted = true;
    this.#spoiled = true;
    void this.#actions.enqueue('reacquire');
  }

  /** Gives the lock back when what is inside is done. Requests that come meanwhile take it again. */
  async release(): Promise<void> {
    if (this.#state === 'uninitialized' || this.#state === 'unlocked' || this.#isOver) return;
    await this.#actions.enqueue('release');
  }

  /** The end: turns away who waits, waits for what is inside, gives the lock back. Never rejects. Safe to call twice. */
  async shutdown(): Promise<void> {
    if (this.#isOver) return;
    this.#closing = true;
    const closed = this.#closed();
    this.#acquisition?.control.abort(closed);
    this.#admission.refuse(closed, ['request', 'acquire']);
    if (!this.isOwner) this.#admission.refuse(closed, ['object']);
    await this.#actions.enqueue('shutdown').catch(() => undefined);
  }

  // What the image's watch calls.

  /**
   * The watch has a new cookie, and `host.cookie()` is it. Resolves when I/O may count on the watch again: the lock has the
   * cookie too, or all that needs the lock waits until it has been taken anew.
   */
  async reregistered(): Promise<void> {
    switch (this.#state) {
      case 'locked':
      case 'reacquiring':
        await this.#actions.enqueue('reacquire').catch(() => undefined);
        break;
      case 'post-acquiring':
      case 'pre-releasing':
      case 'shutting-down':
        await this.#tenure.followWatch();
        if (this.#mayGoOn) this.#admission.admit(['object']);
        break;
      default:
        // Not the owner; or about to be, and then the cookie is looked at next.
        break;
    }
  }

  /** The watch ended for good: EBLOCKLISTED, when this client was fenced; ENOENT, when the image is gone. */
  fail(cause: RadosError): void {
    if (this.#isOver) return;
    const blocklisted = cause.code === 'EBLOCKLISTED';
    const error = this.#error(cause.errno, cause.message, cause);
    this.#host.env.log.rbd.error(
      { image: this.#host.target, error },
      blocklisted ? 'this client was blocklisted' : 'the image is not watched any more',
    );
    const wasOwner = this.#tenure.held !== undefined;
    this.#transition('shutdown');
    this.#failure = error;
    this.#tenure.end();
    this.#acquisition?.control.abort(error);
    this.#admission.refuse(error);
    if (wasOwner) this.#tellLost(blocklisted ? 'blocklisted' : 'broken', error);
  }

  /** RequestLock arrived: the result to acknowledge it with, or undefined (nothing) when it is not for us to answer. */
  onRequestLock(from?: ClientId): number | undefined {
    if (this.#isSelf(from) || this.#isOver) return undefined;
    // What an unlock or a lock without an answer may have left behind is in the other's way.
    const leftover = this.#state === 'unlocked' && this.#tenure.claims.size > 0;
    if (!leftover && !this.isOwner) return undefined;
    if (this.#transitions === 'manual' && !leftover && !this.#closing) {
      this.#counters.refused++;
      this.#announcements.heard('refusing to release lock to', from);
      return -ERRNO.EROFS;
    }
    this.#announcements.heard('lock requested by', from);
    this.#requested = true;
    void this.#actions.enqueue('release');
    return 0;
  }

  /** ReleasedLock arrived. To be acknowledged when this has resolved: see `LockAcquisition`. */
  onReleasedLock(from?: ClientId): Promise<void> | undefined {
    if (this.#isSelf(from)) return undefined;
    this.#owner = undefined;
    return this.#acquisition?.steps.releasedBy();
  }

  /** AcquiredLock arrived. */
  onAcquiredLock(from?: ClientId): void {
    if (this.#isSelf(from)) return;
    this.#acquisition?.steps.acquiredBy();
    if (this.#state !== 'locked') return;
    this.#announcements.heard('lock is held here, but was acquired by', from);
    this.#doubted = true;
    void this.#actions.enqueue('reacquire');
  }

  // The actions.

  /** Whoever waits is a reason to take the lock, once nothing else is to be done. */
  #next(): void {
    if (!this.#actions.idle || this.#state !== 'unlocked' || this.#closing) return;
    const refusal = this.#manualRefusal();
    if (refusal) this.#admission.refuse(refusal, ['request']);
    if (this.#wanted || this.#admission.waiting > 0) void this.#actions.enqueue('acquire');
  }

  #perform(action: Action): Promise<boolean> {
    if (this.#isOver) return Promise.resolve(false);
    switch (action) {
      case 'try':
      case 'acquire':
        return this.#acquire(action);
      case 'reacquire':
        return this.#reacquire();
      case 'release':
        return this.#release();
      case 'shutdown':
        return this.#shutdown();
    }
  }

  async #acquire(action: 'try' | 'acquire'): Promise<boolean> {
    if (this.#state === 'locked') return true;
    if (this.#closing || this.#state !== 'unlocked') return false;
    this.#transition('acquiring');
    let taken = false;
    try {
      taken = await this.#take(action);
    } catch (cause) {
      this.#wanted = false;
      const error = await this.#giveUp(cause);
      // Who came after the last one had gone has not been tried for yet.
      if (error !== this.#deserted) this.#admission.refuse(error);
      throw error;
    }
    this.#wanted = false;
    if (!taken) {
      this.#transition('unlocked');
      return false;
    }
    this.#counters.acquired++;
    this.#transition('locked');
    this.#announcements.acquired();
    this.#options.listener?.onAcquired?.();
    this.#admission.admit();
    return true;
  }

  /** From acquiring to the end of post-acquiring. */
  async #take(action: 'try' | 'acquire'): Promise<boolean> {
    for (let restart = 0; restart < RESTARTS_MAX; restart++) {
      this.#transition('acquiring');
      const cookie = await this.#steps(action);
      if (cookie === undefined) return false;
      this.#tenure.begin(cookie);
      this.#transition('post-acquiring');
      if ((await this.#tenure.followWatch()) === 'held') {
        await this.#host.refresh();
        await this.#host.postAcquire();
        // The watch may have been registered anew meanwhile.
        if ((await this.#tenure.followWatch()) === 'held') return true;
        await this.#preRelease();
      }
      await this.#tenure.unlock();
      if (this.#failure) throw this.#failure;
    }
    throw this.#error('EAGAIN', 'the watch does not last as long as it takes');
  }

  async #steps(action: 'try' | 'acquire'): Promise<string | undefined> {
    const control = new AbortController();
    const steps = new LockAcquisition({
      host: this.#host,
      signal: control.signal,
      tenure: this.#tenure,
      blocklistExpireSeconds: this.#options.blocklistExpireSeconds,
      onState: (state) => this.#transition(state),
      onOwner: (owner) => {
        this.#owner = owner;
      },
      onBroken: () => this.#counters.broken++,
    });
    this.#acquisition = { action, control, steps };
    try {
      return await steps[action]();
    } catch (error) {
      throw control.signal.aborted ? (control.signal.reason as RadosError) : error;
    } finally {
      this.#acquisition = undefined;
    }
  }

  /** After a failed acquisition: nothing of it stays at the OSD, and nobody waits for what was not. */
  async #giveUp(cause: unknown): Promise<RadosError> {
    const error = toRadosError(cause, { op: 'lock', target: this.#host.target });
    if (error.code === 'EBLOCKLISTED') this.fail(error);
    if (this.#failure) return this.#failure;
    if (error !== this.#deserted && !this.#closing) {
      this.#host.env.log.rbd.warn(
        { image: this.#host.target, error },
        'failed to acquire exclusive lock',
      );
    }
    const wasHeld = this.isOwner;
    if (this.#tenure.claims.size > 0) {
      this.#transition('releasing');
      await this.#tenure.unlock();
    }
    // Somebody may have seen that we had it, and asked.
    if (wasHeld) await this.#announceReleased();
    this.#transition('unlocked');
    return this.#failure ?? error;
  }

  /** The lock follows the watch to its new cookie, or is taken anew. */
  async #reacquire(): Promise<boolean> {
    if (this.#state !== 'locked') return false;
    this.#transition('reacquiring');
    const doubted = this.#doubted;
    const spoiled = this.#spoiled;
    this.#doubted = false;
    this.#spoiled = false;
    const before = this.#tenure.held;
    const tenure = await (doubted ? this.#tenure.verify() : this.#tenure.followWatch());
    if (this.#isOver) return false;
    if (tenure === 'held' && !spoiled) {
      const moved = this.#tenure.held !== before;
      if (moved) this.#counters.reacquired++;
      this.#transition('locked');
      if (moved || !doubted) this.#announcements.acquired();
      this.#admission.admit();
      return true;
    }
    this.#wanted = true;
    void this.#actions.enqueue('release');
    if (!this.#closing) void this.#actions.enqueue('acquire');
    return false;
  }

  async #release(): Promise<boolean> {
    const requested = this.#requested;
    this.#requested = false;
    if (this.#tenure.held !== undefined) {
      await this.#giveBack('pre-releasing', requested ? 'requested' : 'released');
    } else if (this.#state === 'unlocked' && this.#tenure.claims.size > 0) {
      this.#transition('releasing');
      await this.#tenure.unlock();
      await this.#announceReleased();
    } else {
      return false;
    }
    this.#transition('unlocked');
    return true;
  }

  async #shutdown(): Promise<boolean> {
    if (this.#tenure.held !== undefined) {
      await this.#giveBack('shutting-down', 'closed');
    } else {
      this.#transition('shutting-down');
      await this.#tenure.unlock({ timeoutMs: SHUTDOWN_OPS_TIMEOUT_MS });
    }
    this.#admission.refuse(this.#closed());
    this.#transition('shutdown');
    return true;
  }

  // Their steps.

  async #giveBack(
    state: 'pre-releasing' | 'shutting-down',
    reason: 'requested' | 'released' | 'closed',
  ): Promise<void> {
    this.#transition(state);
    this.#host.beforeRelease();
    // What is inside goes on, also what waited while the lock was in doubt.
    if (this.#mayGoOn) this.#admission.admit(['object']);
    await this.#tenure.unlessLost(this.#admission.drained());
    await this.#preRelease();
    const { isLost } = this.#tenure;
    if (state === 'pre-releasing') this.#transition('releasing');
    await this.#tenure.unlock(this.#closing ? { timeoutMs: SHUTDOWN_OPS_TIMEOUT_MS } : {});
    if (this.#failure) return;
    if (isLost) this.#counters.lost++;
    else if (reason === 'requested') this.#counters.handedOver++;
    else this.#counters.released++;
    this.#tellLost(isLost ? 'broken' : this.#wanted ? 'refused' : reason);
    // Whoever waits for the lock takes it before this is over, and only then do we ask for it again. When it was lost, the
    // new owner has announced itself; but who asked us waits for our word.
    if (!isLost || reason === 'requested') await this.#announceReleased();
  }

  async #preRelease(): Promise<void> {
    if (this.#failure) return;
    const failed = 'failed to prepare the release of the lock';
    await this.#announcements.attempt(this.#host.preRelease(), failed);
  }

  async #announceReleased(): Promise<void> {
    if (!this.#failure) await this.#announcements.released({ closing: this.#closing });
  }

  // What may be and what not.

  get #isOver(): boolean {
    return this.#failure !== undefined || this.#state === 'shutdown';
  }

  /** Whether what is inside may send. Not while the lock's cookie is another than the watch's. */
  get #mayGoOn(): boolean {
    if (this.#state === 'locked') return true;
    if (this.#state !== 'pre-releasing' && this.#state !== 'shutting-down') return false;
    return this.#tenure.isSettled;
  }

  #refusal(): RadosError | undefined {
    if (this.#failure) return this.#failure;
    return this.#closing || this.#state === 'shutdown' ? this.#closed() : undefined;
  }

  /** Writes do not take the lock by themselves; but they wait for it when it is being taken. */
  #manualRefusal(): RadosError | undefined {
    if (this.#transitions === 'auto') return undefined;
    switch (this.#state) {
      case 'unlocked':
      case 'pre-releasing':
      case 'releasing':
        return this.#wanted ? undefined : this.#error('EROFS', 'exclusive lock required');
      default:
        return undefined;
    }
  }

  #isSelf(client: ClientId | undefined): boolean {
    return client?.gid === this.#host.globalId && client.handle === this.#host.cookie();
  }

  // What it says.

  #closed(): RadosError {
    return this.#error('ECANCELED', 'the image is closed');
  }

  #error(code: ErrnoCode | number, why: string, cause?: Error): RadosError {
    return lockError(this.#host.target, code, why, cause);
  }

  #tellLost(reason: LockLossReason, error?: RadosError): void {
    this.#options.listener?.onLost?.(reason, error);
  }

  #transition(state: LockState): void {
    const previous = this.#state;
    if (state === previous || this.#isOver) return;
    this.#state = state;
    const { rbd } = this.#host.env.log;
    const fields = { image: this.#host.target, state, previous, cookie: this.#tenure.held };
    if (state === 'locked') rbd.info(fields, 'exclusive lock acquired');
    else if (previous === 'releasing') rbd.info(fields, 'exclusive lock released');
    else rbd.debug(fields, `exclusive lock ${state}`);
    this.#options.listener?.onState?.(state, previous);
  }
}
