/**
 * The secrets that a service's tickets are sealed with: three generations, changed by time (`KeyServer::_rotate_secret`).
 *
 *     previous   opens the tickets that are still out
 *     current    seals new tickets
 *     next       known to the services before the first ticket needs it
 *
 * The monitor owns and rotates them. Daemons hold a copy, which crosses threads and restarts in encoded form.
 */

import type { Random } from '../base/environment.js';
import { decodeAll, encodeWith } from '../encoding/codec.js';
import { utimeFromMs, utimeToMs } from '../encoding/types.js';
import { rotatingSecrets } from './cephx-messages.js';
import { CryptoKey } from './crypto-key.js';

const GENERATIONS = 3;

export class RotatingSecrets {
  /** By id, oldest first. */
  #secrets = new Map<bigint, { key: CryptoKey; expiresAt: number }>();
  #maxVersion = 0n;

  /** Reads what `encode` wrote. */
  static decode(bytes: Uint8Array): RotatingSecrets {
    const secrets = new RotatingSecrets();
    secrets.replace(bytes);
    return secrets;
  }

  /** Takes over a newer state, e.g. in a daemon after the monitor has rotated. */
  replace(bytes: Uint8Array): void {
    const state = decodeAll('RotatingSecrets', rotatingSecrets, bytes);
    this.#secrets = new Map(
      [...state.secrets].map(([id, { key, expiration }]) => [
        id,
        { key, expiresAt: utimeToMs(expiration) },
      ]),
    );
    this.#maxVersion = state.maxVersion;
  }

  /** The state, secrets included. */
  encode(): Uint8Array {
    return encodeWith(rotatingSecrets, {
      secrets: new Map(
        [...this.#secrets].map(([id, { key, expiresAt }]) => [
          id,
          { key, expiration: utimeFromMs(expiresAt) },
        ]),
      ),
      maxVersion: this.#maxVersion,
    });
  }

  /** Grows with every rotation. */
  get version(): bigint {
    return this.#maxVersion;
  }

  /** Adds and retires generations as the time asks for. Returns whether anything changed. */
  rotate(now: number, ttlMs: number, options: { random: Random; keyType: number }): boolean {
    let changed = false;
    while (this.#secrets.size < GENERATIONS || this.#generation(1).expiresAt <= now) {
      const last = [...this.#secrets.values()].at(-1);
      // Each generation outlives the one before by a ticket's life, however late the rotation comes.
      const from = last ? Math.max(now + ttlMs, last.expiresAt) : now;
      const key = CryptoKey.generate(options.random, utimeFromMs(now), options.keyType);
      this.#maxVersion += 1n;
      this.#secrets.set(this.#maxVersion, { key, expiresAt: from + ttlMs });
      for (const id of this.#secrets.keys()) {
        if (this.#secrets.size > GENERATIONS) this.#secrets.delete(id);
      }
      changed = true;
    }
    return changed;
  }

  /** Nothing that was sealed so far is opened any more, as if everybody had been away for hours. */
  retire(): void {
    this.#secrets.clear();
  }

  /** The secret for new tickets. */
  get current(): { id: bigint; key: CryptoKey } {
    const { id, key } = this.#generation(1);
    return { id, key };
  }

  find(id: bigint): CryptoKey | undefined {
    return this.#secrets.get(id)?.key;
  }

  #generation(index: number): { id: bigint; key: CryptoKey; expiresAt: number } {
    const entry = [...this.#secrets][index];
    if (!entry) throw new RangeError(`secrets were never rotated: no generation ${index}`);
    return { id: entry[0], ...entry[1] };
  }
}
