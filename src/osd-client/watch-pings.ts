/**
 * The pings of one watch: one per period, never two at a time, and what is done about those that are not answered
 * (`Objecter::_send_linger_ping`, `Objecter::tick`).
 */

import type { Timer } from '../base/environment.js';
import type { OsdOp } from '../messages/osd-op.js';
import { LaggySessionCheck } from './laggy-session.js';
import type { LingerTransport } from './linger-op.js';
import type { OpRequest } from './op-request.js';
import type { ObjectTarget } from './request.js';
import type { OsdSession } from './session.js';
import type { WatchTimes } from './watch-times.js';

export interface PingHooks {
  /** Of the present connection of the present registration. */
  op: () => OsdOp;
  /** Where the watch lives, while it may be pinged there. */
  session: () => OsdSession | undefined;
  onAsked: (cause: string) => void;
  onPong: (sentAt: number) => void;
  onRefused: (error: Error) => void;
  onLate: () => void;
}

interface Ping {
  request: OpRequest | undefined;
  sentAt: number;
}

export class WatchPings {
  readonly #transport: LingerTransport;
  readonly #target: ObjectTarget;
  readonly #times: WatchTimes;
  readonly #hooks: PingHooks;
  #ping: Ping | undefined;
  #due: Timer | undefined;
  #late: Timer | undefined;
  readonly #laggy: LaggySessionCheck;
  #count = 0;

  constructor(
    transport: LingerTransport,
    target: ObjectTarget,
    times: WatchTimes,
    hooks: PingHooks,
  ) {
    this.#transport = transport;
    this.#target = target;
    this.#times = times;
    this.#hooks = hooks;
    this.#laggy = new LaggySessionCheck(transport, times.laggyMs);
  }

  /** How many were asked for. */
  get count(): number {
    return this.#count;
  }

  /** The next one is due a period after what was confirmed last. */
  scheduleAfter(confirmedAt: number): void {
    const { clock, timers } = this.#transport.env;
    const delayMs = Math.max(0, confirmedAt + this.#times.pingMs - clock.monotonic());
    this.#due?.cancel();
    this.#due = timers.after(delayMs, () => this.send('due'), { background: true });
  }

  /** At once, unless one is under way or there is nowhere to send it. */
  send(cause: string): void {
    const session = this.#hooks.session();
    if (this.#ping || !session?.open) return;
    const { clock, timers } = this.#transport.env;
    const ping: Ping = { request: undefined, sentAt: clock.monotonic() };
    this.#ping = ping;
    this.#count++;
    this.#due?.cancel();
    this.#hooks.onAsked(cause);
    // Its handler may have closed the watch.
    if (this.#ping !== ping) return;
    this.#late = timers.after(this.#times.lateMs, () => this.#hooks.onLate(), { background: true });
    const over = () => {
      this.#late?.cancel();
      this.#laggy.stop();
      this.#ping = undefined;
    };
    const request = this.#transport.submit(this.#target, this.#hooks.op(), {
      admit: () => true,
      onSent: (sentOn) => {
        ping.sentAt = clock.monotonic();
        this.#laggy.start(sentOn);
      },
      onResult: () => {
        over();
        this.#hooks.onPong(ping.sentAt);
      },
      onFailed: (error) => {
        over();
        this.#hooks.onRefused(error);
      },
      // The OSD swallowed it, and lets it come now.
      onUnanswered: () => {
        over();
        this.send('again');
      },
    });
    if (this.#ping === ping) ping.request = request;
  }

  /** No answer is waited for, and no other is sent until it is asked for. */
  stop(): void {
    this.quiet();
    const request = this.#ping?.request;
    this.#ping = undefined;
    if (request) this.#transport.cancel(request);
  }

  /** None becomes due, and none late; the one under way may still be answered. */
  quiet(): void {
    this.#due?.cancel();
    this.#late?.cancel();
    this.#laggy.stop();
  }

  /** Dates back what was sent before the machine slept. */
  shift(sleptMs: number): void {
    if (this.#ping) this.#ping.sentAt -= sleptMs;
  }
}
