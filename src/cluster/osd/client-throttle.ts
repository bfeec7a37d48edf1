/**
 * How much of clients' requests an OSD has in hand, over all connections (`osd_client_message_cap`, `osd_client_message_size_cap`).
 *
 * A connection that brings it to the limit is read no further, so what comes behind waits in its socket, in order; those
 * that were stopped go on in the order in which they were, when half of it is done.
 */

export interface Throttled {
  pause(): void;
  resume(): void;
}

export interface ThrottleLimits {
  readonly messages: number;
  readonly bytes: number;
}

export class ClientThrottle {
  readonly #limits: ThrottleLimits;
  readonly #stopped = new Set<Throttled>();
  #messages = 0;
  #bytes = 0;

  constructor(limits: ThrottleLimits) {
    this.#limits = limits;
  }

  get messages(): number {
    return this.#messages;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** One more, which has been read. */
  take(from: Throttled, bytes: number): void {
    this.#messages++;
    this.#bytes += bytes;
    const { messages, bytes: most } = this.#limits;
    if (this.#messages < messages && this.#bytes < most) return;
    if (this.#stopped.has(from)) return;
    this.#stopped.add(from);
    from.pause();
  }

  /** One is done with. */
  give(bytes: number): void {
    this.#messages--;
    this.#bytes -= bytes;
    if (this.#stopped.size === 0) return;
    const { messages, bytes: most } = this.#limits;
    if (this.#messages > messages / 2 || this.#bytes > most / 2) return;
    const stopped = [...this.#stopped];
    this.#stopped.clear();
    for (const each of stopped) each.resume();
  }

  /** Its connection is gone. */
  forget(from: Throttled): void {
    this.#stopped.delete(from);
  }
}
