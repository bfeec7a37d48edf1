/** What the other clients are told of the lock, and what the log is. Nothing of it is worth failing for. */

import type { Timer } from '../base/environment.js';
import type { LockHost } from './lock-host.js';
import type { ClientId } from './notify-payloads.js';

/** Watchers that live acknowledge in milliseconds. */
const CLOSING_ANNOUNCEMENT_MS = 1000;

export class LockAnnouncements {
  readonly #host: LockHost;

  constructor(host: LockHost) {
    this.#host = host;
  }

  /** Nobody waits for this one. */
  acquired(): void {
    void this.attempt(this.#host.announceAcquired(), 'failed to notify acquired lock');
  }

  /**
   * Resolves when all have acknowledged, or their time is over. Who closes does not ask for the lock again, and does not
   * wait for a watcher that died.
   */
  async released({ closing }: { closing: boolean }): Promise<void> {
    const announced = this.attempt(this.#host.announceReleased(), 'failed to notify released lock');
    if (!closing) return announced;
    let timer: Timer | undefined;
    const enough = new Promise<void>((resolve) => {
      timer = this.#host.env.timers.after(CLOSING_ANNOUNCEMENT_MS, resolve);
    });
    await Promise.race([announced, enough]);
    timer?.cancel();
  }

  /** A failure is logged, and that is all. */
  async attempt(step: Promise<void>, failed: string): Promise<void> {
    try {
      await step;
    } catch (error) {
      this.#host.env.log.rbd.warn({ image: this.#host.target, error }, failed);
    }
  }

  /** `lock requested by client.4118`. Very old clients do not say who they are. */
  heard(what: string, client: ClientId | undefined): void {
    const fields = { image: this.#host.target, handle: `${client?.handle ?? '?'}` };
    this.#host.env.log.rbd.info(fields, `${what} client.${client?.gid ?? '?'}`);
  }
}
