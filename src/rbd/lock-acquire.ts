/**
 * One acquisition of the exclusive lock (`librbd/managed_lock/AcquireRequest.cc`, `librbd/ExclusiveLock.cc`).
 *
 *     whose is it? -> lock -> EBUSY -> is the owner alive? -> no:  still the same? fence, break, lock
 *          ^                                                  yes: request it, wait
 *          |______ released, acquired by another, no answer, 10 s later ______|
 *
 * A contended hand-over is won before it is acknowledged. An owner with writes waiting takes the lock again as soon as
 * its ReleasedLock notification has completed, that is when the last watcher has acknowledged it; one who acknowledges
 * first and then asks loses round after round. So the acknowledgement is held back until our `lock` is answered.
 */

import type { Timer } from '../base/environment.js';
import { ERRNO, isRadosError, type RadosError } from '../base/errors.js';
import { statOp } from '../messages/osd-op.js';
import { mutate } from '../rados/class-call.js';
import { lock } from '../rados/cls-lock.js';
import { lockError } from './lock-errors.js';
import type { LockHost, LockState } from './lock-host.js';
import {
  describeOwner,
  exclusiveLock,
  fenceAndBreak,
  isAlive,
  isOwnClient,
  type LockOwner,
  lockCookie,
  readOwner,
  sameOwner,
} from './lock-owner.js';
import type { LockTenure } from './lock-tenure.js';

/** An owner that said that it would release is asked again. */
const RESEND_MS = 10_000;
/** After an answer that makes no sense. */
const RETRY_MS = 1000;
/** The owner lives but none of the watchers says to be it: the lock is changing hands, or the owner its watch. */
const NO_OWNER_FIRST_MS = 20;
const NO_OWNER_MAX_MS = 1000;
/** The lock is taken and released under our hands so often before there is a pause. */
const ROUNDS_MAX = 10;
/** A notifier waits 5 s for acknowledgements: a lock request that takes longer than this does not hold it up. */
const ACK_HOLD_MAX_MS = 1000;

export interface AcquisitionOptions {
  readonly host: LockHost;
  /** Ends it at the next step, with the signal's reason. */
  readonly signal: AbortSignal;
  readonly blocklistExpireSeconds: number | undefined;
  readonly tenure: LockTenure;
  onState(state: LockState): void;
  onOwner(owner: LockOwner | undefined): void;
  onBroken(): void;
}

type Attempt = { cookie: string } | { owner: LockOwner | undefined };

export class LockAcquisition {
  readonly #options: AcquisitionOptions;
  readonly #host: LockHost;
  readonly #signal: AbortSignal;
  /** Notices of other clients so far. */
  #notices = 0;
  /** The newest notice was of a release: the lock may be free, no need to ask whose it is. */
  #released = false;
  #onNotice: (() => void) | undefined;
  /** Acknowledgements that wait for our `lock`. */
  readonly #held = new Set<() => void>();
  #ended = false;

  constructor(options: AcquisitionOptions) {
    this.#options = options;
    this.#host = options.host;
    this.#signal = options.signal;
  }

  /** Takes the lock if it is free or its owner is dead. The cookie that it is held by, or undefined: the owner lives. */
  async try(): Promise<string | undefined> {
    try {
      await this.#registered();
      const attempt = await this.#attempt(false);
      return 'cookie' in attempt ? attempt.cookie : undefined;
    } finally {
      this.#end();
    }
  }

  /**
   * Takes the lock, from its owner if need be. EROFS: the owner keeps it; EBUSY: it is no lock of ours to take; ENOENT:
   * the image is gone; EBLOCKLISTED: this client was fenced.
   */
  async acquire(): Promise<string> {
    try {
      let unanswered = 0;
      for (;;) {
        await this.#registered();
        const seen = this.#notices;
        const released = this.#released;
        this.#released = false;
        const attempt = await this.#attempt(released);
        if ('cookie' in attempt) return attempt.cookie;
        this.#options.onState('waiting-for-lock');
        if (this.#notices !== seen) continue;
        const answer = await this.#request(attempt.owner);
        if (answer === 'notice') {
          unanswered = 0;
        } else if (answer === 'nobody') {
          const delay = Math.min(NO_OWNER_FIRST_MS * 2 ** unanswered++, NO_OWNER_MAX_MS);
          await this.#pause(delay * (0.5 + this.#host.env.random.float() / 2), seen);
        } else {
          unanswered = 0;
          await this.#pause(answer, seen);
        }
      }
    } finally {
      this.#end();
    }
  }

  /** Another client released the lock. What is returned says when to acknowledge. */
  releasedBy(): Promise<void> | undefined {
    if (this.#ended) return undefined;
    this.#released = true;
    const acknowledge = new Promise<void>((resolve) => {
      const settle = () => {
        timer.cancel();
        this.#held.delete(settle);
        resolve();
      };
      const timer = this.#host.env.timers.after(ACK_HOLD_MAX_MS, settle, { background: true });
      this.#held.add(settle);
    });
    this.#noticed();
    return acknowledge;
  }

  /** Another client has the lock now. */
  acquiredBy(): void {
    this.#released = false;
    this.#noticed();
  }

  #noticed(): void {
    this.#notices++;
    this.#onNotice?.();
  }

  #acknowledge(): void {
    for (const settle of [...this.#held]) settle();
  }

  #end(): void {
    this.#ended = true;
    this.#acknowledge();
  }

  /** The watch comes first: its cookie is the lock's, and it is what shows that we live. */
  async #registered(): Promise<void> {
    for (;;) {
      this.#signal.throwIfAborted();
      const ready = this.#host.watchReady();
      if (!ready) return this.#options.onState('acquiring');
      this.#options.onState('waiting-for-register');
      await this.#unlessAborted(ready);
    }
  }

  /** Straight on to `lock` when the lock was just released. */
  async #attempt(released: boolean): Promise<Attempt> {
    const host = this.#host;
    let owner = released ? undefined : await this.#whose();
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const cookie = lockCookie(host.cookie());
      if (owner && isOwnClient(host, owner)) {
        if (owner.cookie === cookie) return { cookie };
        if (this.#options.tenure.claims.has(owner.cookie)) {
          // Left over from an earlier watch of this very handle.
          await this.#options.tenure.unlockClaim(owner.cookie);
          owner = undefined;
        }
      }
      if (await this.#lock(cookie)) {
        this.#options.onOwner(undefined);
        return { cookie };
      }
      owner ??= await this.#whose();
      if (!owner) continue;
      if (await isAlive(host, owner, this.#signal)) return { owner };
      const again = await this.#whose();
      if (!sameOwner(owner, again)) {
        owner = again;
        continue;
      }
      // Another handle of this client whose watch is between two registrations.
      if (isOwnClient(host, owner)) return { owner };
      await this.#unlessAborted(fenceAndBreak(host, owner, this.#options.blocklistExpireSeconds));
      this.#options.onBroken();
      owner = undefined;
    }
    return { owner };
  }

  async #whose(): Promise<LockOwner | undefined> {
    this.#signal.throwIfAborted();
    const owner = await readOwner(this.#host, this.#signal);
    this.#options.onOwner(owner);
    return owner;
  }

  /** Whether it is ours now. */
  async #lock(cookie: string): Promise<boolean> {
    this.#signal.throwIfAborted();
    const { claims } = this.#options.tenure;
    const claimed = claims.has(cookie);
    claims.add(cookie);
    try {
      // `lock` creates what is missing: with the header there must not come a new one of nothing but a lock.
      const steps = [statOp(), lock(exclusiveLock(cookie))];
      await mutate(this.#host.ioctx, this.#host.headerOid, steps, { signal: this.#signal });
      return true;
    } catch (error) {
      // By this client and cookie: an earlier `lock` of ours whose answer was lost.
      if (isRadosError(error, 'EEXIST')) return true;
      const certain = !isRadosError(error) || error.outcome !== 'unknown';
      if (certain && !claimed) claims.delete(cookie);
      if (isRadosError(error, 'EBUSY')) return false;
      throw error;
    } finally {
      this.#acknowledge();
    }
  }

  /** Asks the owner. How long to wait then, unless a notice came before it answered. */
  async #request(owner: LockOwner | undefined): Promise<number | 'nobody' | 'notice'> {
    if (!owner) return 'nobody';
    const { log } = this.#host.env;
    const { target } = this.#host;
    let refusal: RadosError | undefined;
    log.rbd.debug({ image: target, owner: describeOwner(owner) }, 'requesting lock');
    const noticed = new Promise<'notice'>((resolve) => {
      this.#onNotice = () => resolve('notice');
    });
    try {
      const answer = await this.#unlessAborted(
        Promise.race([noticed, this.#host.requestLock().then((result) => ({ result }))]),
      );
      if (answer === 'notice') return 'notice';
      const { result } = answer;
      if (result === 0) return RESEND_MS;
      if (result === undefined) {
        log.rbd.debug({ image: target }, 'no lock owners detected');
        return 'nobody';
      }
      // That took its time already. If the owner is dead, its watch may have gone meanwhile.
      if (result === -ERRNO.ETIMEDOUT) return 0;
      if (result === -ERRNO.EROFS) {
        log.rbd.warn({ image: target, owner: describeOwner(owner) }, 'peer will not release lock');
        // It was mapped with `exclusive`, or took the lock by hand.
        refusal = lockError(target, 'EROFS', `${describeOwner(owner)} will not release the lock`);
        throw refusal;
      }
      log.rbd.warn({ image: target, result }, 'failed to request lock');
      return RETRY_MS;
    } catch (error) {
      if (this.#signal.aborted || error === refusal) throw error;
      if (isRadosError(error, 'EBLOCKLISTED') || isRadosError(error, 'ENOENT')) throw error;
      log.rbd.warn({ image: target, error }, 'failed to request lock');
      return RETRY_MS;
    } finally {
      this.#onNotice = undefined;
    }
  }

  /** Waits, but not longer than until the next notice; not at all if there was one since `seen`. */
  async #pause(delayMs: number, seen: number): Promise<void> {
    let timer: Timer | undefined;
    try {
      await this.#unlessAborted(
        new Promise<void>((resolve) => {
          if (this.#notices !== seen) return resolve();
          this.#onNotice = resolve;
          timer = this.#host.env.timers.after(delayMs, resolve);
        }),
      );
    } finally {
      timer?.cancel();
      this.#onNotice = undefined;
    }
  }

  #unlessAborted<T>(step: Promise<T>): Promise<T> {
    const signal = this.#signal;
    return new Promise((resolve, reject) => {
      const onAbort = () => reject(signal.reason as Error);
      step.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
      if (signal.aborted) onAbort();
      else signal.addEventListener('abort', onAbort, { once: true });
    });
  }
}
