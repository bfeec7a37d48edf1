/**
 * Whether a session that owes an answer is still alive. An OSD may take its time (a PG that peers answers nobody), but its
 * messenger answers keepalives at once: a connection where even that does not happen is given up, and another may find
 * a way (a firewall that forgot the old one drops its packets for ever).
 */

import type { Timer } from '../base/environment.js';
import { RadosError } from '../base/errors.js';
import type { LingerTransport } from './linger-op.js';
import type { OsdSession } from './session.js';

export class LaggySessionCheck {
  readonly #transport: LingerTransport;
  /** How long an answer may take, and a keepalive's then. */
  readonly #laggyMs: number;
  #timer: Timer | undefined;

  constructor(transport: LingerTransport, laggyMs: number) {
    this.#transport = transport;
    this.#laggyMs = laggyMs;
  }

  /** Something was sent that is to be answered. */
  start(session: OsdSession): void {
    this.#after(() => this.#ask(session));
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #ask(session: OsdSession): void {
    const askedAt = this.#transport.env.clock.monotonic();
    session.keepalive();
    this.#transport.wantNewerMap();
    this.#after(() => {
      if (session.heardAt < askedAt) this.#giveUp(session);
      else this.#ask(session);
    });
  }

  #giveUp(session: OsdSession): void {
    this.#transport.env.log.objecter.warn({ osd: session.name }, 'session is laggy');
    session.drop(new RadosError('ETIMEDOUT', `${session.name} does not answer`));
    if (session.requests.size > 0) session.connect();
  }

  #after(next: () => void): void {
    this.#timer?.cancel();
    this.#timer = this.#transport.env.timers.after(this.#laggyMs, next, { background: true });
  }
}
