/** What keeps a session open without operations: the connection that a watch or a notification lives on. */

import type { Clock } from '../base/environment.js';
import type { OsdSession } from './session.js';

export class SessionPin {
  readonly #clock: Clock;
  #session: OsdSession | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get session(): OsdSession | undefined {
    return this.#session;
  }

  moveTo(session: OsdSession | undefined): void {
    if (this.#session === session) return;
    if (this.#session) {
      this.#session.lingers--;
      this.#session.idleSince = this.#clock.monotonic();
    }
    this.#session = session;
    if (session) session.lingers++;
  }
}
