/**
 * The cluster's own clock, which can stand still and jump.
 *
 * All of the cluster's timers are known here, by the time at which they are due: a clock that stands still holds them,
 * one that jumps forward makes those fire that were due meanwhile.
 */

import type { Clock, Environment, Timer, Timers } from '../../base/environment.js';

interface Armed {
  readonly due: number;
  readonly run: () => void;
  readonly background: boolean;
  timer: Timer | undefined;
}

export class ClockFaults {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly #env: Pick<Environment, 'clock' | 'timers'>;
  readonly #armed = new Set<Armed>();
  #wallOffset = 0;
  #monotonicOffset = 0;
  /** What the clocks showed when they were stopped. */
  #stopped: { wall: number; monotonic: number } | undefined;
  #freezes = 0;

  constructor(env: Pick<Environment, 'clock' | 'timers'>) {
    this.#env = env;
    this.clock = { now: () => this.#wall(), monotonic: () => this.#monotonic() };
    this.timers = {
      after: (delayMs, run, options) => this.#after(delayMs, run, options?.background ?? false),
      nextTurn: (run) => env.timers.nextTurn(run),
    };
  }

  /** Stops both clocks until the returned function is called, and all others that were returned. */
  freeze(): () => void {
    if (this.#freezes++ === 0) {
      this.#stopped = { wall: this.#wall(), monotonic: this.#monotonic() };
      for (const armed of this.#armed) armed.timer?.cancel();
    }
    let released = false;
    return () => {
      if (released) return;
      released = true;
      if (--this.#freezes > 0) return;
      const { wall, monotonic } = this.#stopped as { wall: number; monotonic: number };
      this.#stopped = undefined;
      this.#wallOffset += wall - this.#wall();
      this.#monotonicOffset += monotonic - this.#monotonic();
      this.#rearm();
    };
  }

  jumpWall(ms: number): void {
    if (this.#stopped) this.#stopped.wall += ms;
    else this.#wallOffset += ms;
  }

  /** Forward only: the monotonic clock never goes back. */
  jumpMonotonic(ms: number): void {
    if (this.#stopped) {
      this.#stopped.monotonic += ms;
      return;
    }
    this.#monotonicOffset += ms;
    this.#rearm();
  }

  #wall(): number {
    return this.#stopped?.wall ?? this.#env.clock.now() + this.#wallOffset;
  }

  #monotonic(): number {
    return this.#stopped?.monotonic ?? this.#env.clock.monotonic() + this.#monotonicOffset;
  }

  #after(delayMs: number, run: () => void, background: boolean): Timer {
    const armed: Armed = { due: this.#monotonic() + delayMs, run, background, timer: undefined };
    this.#armed.add(armed);
    if (!this.#stopped) this.#start(armed, delayMs);
    return {
      cancel: () => {
        armed.timer?.cancel();
        this.#armed.delete(armed);
      },
    };
  }

  #start(armed: Armed, delayMs: number): void {
    const { background } = armed;
    const fire = () => {
      this.#armed.delete(armed);
      armed.run();
    };
    armed.timer = this.#env.timers.after(delayMs, fire, { background });
  }

  /** In the order in which they are due: so those fire that are over already. */
  #rearm(): void {
    const now = this.#monotonic();
    for (const armed of [...this.#armed].sort((a, b) => a.due - b.due)) {
      armed.timer?.cancel();
      this.#start(armed, Math.max(0, armed.due - now));
    }
  }
}
