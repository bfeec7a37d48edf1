/**
 * What the OSD has of our lock: what it confirmed, what an answer that never came may have left there, and how it follows
 * the watch from cookie to cookie.
 */

import { isRadosError, type RadosError, toRadosError } from '../base/errors.js';
import { mutate } from '../rados/class-call.js';
import { setLockCookie, unlock } from '../rados/cls-lock.js';
import { unless } from './errors.js';
import type { LockHost } from './lock-host.js';
import { exclusiveLock, isOwnClient, lockCookie, readOwner } from './lock-owner.js';
import { RBD_LOCK_NAME } from './names.js';

/** `lost`: it is not ours any more. `refused`: it is, but under an old cookie, with which others take us for dead. */
export type Tenure = 'held' | 'lost' | 'refused';

export class LockTenure {
  /** All that the OSD may have a lock of ours under: added to before a request, taken from after its answer. */
  readonly claims = new Set<string>();
  readonly #host: LockHost;
  readonly #onBlocklisted: (error: RadosError) => void;
  #held: string | undefined;
  #lost = false;
  #onLost: (() => void) | undefined;
  #move: Promise<Tenure> | undefined;

  constructor(host: LockHost, onBlocklisted: (error: RadosError) => void) {
    this.#host = host;
    this.#onBlocklisted = onBlocklisted;
  }

  /** What the lock is held by, as far as the OSD has told: `auto 7`. */
  get held(): string | undefined {
    return this.#held;
  }

  /** `held` turned out not to be. */
  get isLost(): boolean {
    return this.#lost;
  }

  get isOwner(): boolean {
    return this.#held !== undefined && !this.#lost;
  }

  /** The owner, and under the cookie of the registered watch. */
  get isSettled(): boolean {
    return this.isOwner && this.#move === undefined;
  }

  begin(cookie: string): void {
    this.#held = cookie;
    this.#lost = false;
  }

  lose(): void {
    if (this.#held === undefined || this.#lost) return;
    this.#lost = true;
    this.#onLost?.();
  }

  /** `step`, or at once when the lock is or gets lost. */
  async unlessLost(step: Promise<void>): Promise<void> {
    if (!this.isOwner) return;
    const lost = new Promise<void>((resolve) => {
      this.#onLost = resolve;
    });
    await Promise.race([step, lost]);
    this.#onLost = undefined;
  }

  /** Renames the lock to the watch's cookie. One at a time. */
  followWatch(): Promise<Tenure> {
    const before = this.#move ?? Promise.resolve();
    const move = before
      .then(() => this.#followNow())
      .finally(() => {
        if (this.#move === move) this.#move = undefined;
      });
    this.#move = move;
    return move;
  }

  /** Asks the OSD whose the lock is, because somebody else says to have it. */
  async verify(): Promise<Tenure> {
    try {
      const owner = await readOwner(this.#host);
      if (owner && isOwnClient(this.#host, owner) && owner.cookie === this.#held) {
        return await this.followWatch();
      }
    } catch (error) {
      // EBUSY: it is somebody's by `rbd lock add`. Anything else leaves it open whose it is, which is no better.
      if (isRadosError(error, 'EBLOCKLISTED')) this.#onBlocklisted(error);
    }
    this.lose();
    return 'lost';
  }

  /** Gives back all that the OSD may have of ours. What cannot be told to it stays a claim. */
  async unlock(options: { timeoutMs?: number } = {}): Promise<void> {
    // First of all, so that no new move begins; a cookie that changed under the unlock would leave a lock nobody knows of.
    this.#held = undefined;
    await this.#move;
    this.#lost = false;
    for (const cookie of [...this.claims]) {
      try {
        await this.unlockClaim(cookie, options);
      } catch (error) {
        if (isRadosError(error, 'EBLOCKLISTED')) {
          this.#onBlocklisted(error);
          return;
        }
        this.#warn(error, 'failed to unlock header');
      }
    }
  }

  async unlockClaim(cookie: string, options: { timeoutMs?: number } = {}): Promise<void> {
    const { ioctx, headerOid } = this.#host;
    await unless('ENOENT', mutate(ioctx, headerOid, [unlock(RBD_LOCK_NAME, cookie)], options));
    this.claims.delete(cookie);
  }

  /** Nothing of it counts any more: this client is fenced, or the image is gone. */
  end(): void {
    this.#held = undefined;
    this.claims.clear();
    this.#onLost?.();
  }

  async #followNow(): Promise<Tenure> {
    for (;;) {
      const held = this.#held;
      const wanted = lockCookie(this.#host.cookie());
      if (held === undefined || this.#lost) return 'lost';
      if (held === wanted) return 'held';
      this.claims.add(wanted);
      try {
        const { ioctx, headerOid, env, target } = this.#host;
        await mutate(ioctx, headerOid, [setLockCookie(exclusiveLock(held), wanted)]);
        this.claims.delete(held);
        if (this.#held === held) this.#held = wanted;
        env.log.rbd.info({ image: target, from: held, to: wanted }, 'updated lock cookie');
      } catch (cause) {
        return this.#refused(wanted, toRadosError(cause));
      }
    }
  }

  #refused(wanted: string, error: RadosError): Tenure {
    this.#warn(error, 'failed to update lock cookie');
    if (error.code === 'EBLOCKLISTED') {
      this.#onBlocklisted(error);
      return 'lost';
    }
    if (error.outcome !== 'unknown') this.claims.delete(wanted);
    if (error.code !== 'EBUSY' && error.code !== 'ENOENT') return 'refused';
    this.lose();
    return 'lost';
  }

  #warn(error: unknown, message: string): void {
    this.#host.env.log.rbd.warn({ image: this.#host.target, error }, message);
  }
}
