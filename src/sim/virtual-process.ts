/** A process of a virtual world: it can be killed, and stopped for a while; others see of it what they would of a real one. */

import type { Environment, Stream, StreamHandler, Timer } from '../base/environment.js';
import type { VirtualStream } from './virtual-network.js';
import type { VirtualWorld } from './virtual-world.js';

/** Who has died hears nothing. */
const DEAD: StreamHandler = {
  readInto: () => new Uint8Array(65_536),
  onRead: () => {},
  onDrain: () => {},
  onClose: () => {},
};

/** What one process sees of the world. */
export class VirtualProcess {
  readonly env: Environment;
  /** What its wall clock shows beyond the world's. */
  wallOffsetMs = 0;
  /** What timers that it arms take longer: it has much else to do. */
  timersLateMs = 0;
  readonly #world: VirtualWorld;
  readonly #streams = new Set<VirtualStream>();
  readonly #timers = new Set<Timer>();
  /** How often it was stopped and has not gone on since. */
  #stops = 0;
  /** What came while it was stopped. */
  #missed: (() => void)[] = [];
  #dead = false;
  readonly #mourners = new Set<() => void>();

  constructor(world: VirtualWorld) {
    this.#world = world;
    this.env = {
      ...world.env,
      clock: {
        now: () => world.env.clock.now() + this.wallOffsetMs,
        monotonic: () => world.env.clock.monotonic(),
      },
      timers: {
        after: (delayMs, callback) => this.#after(delayMs, callback),
        nextTurn: (callback) => this.#after(0, callback),
      },
      network: {
        lookup: (host) => world.network.lookup(host),
        listen: (at, accept) => world.network.listen(at, accept),
        connect: (target, handler, onConnect): Stream => {
          const stream = world.network.connect(target, handler, (near) =>
            this.#run(() => onConnect(near)),
          ) as VirtualStream;
          stream.stalled = this.#stops > 0;
          for (const known of this.#streams) if (known.closed) this.#streams.delete(known);
          this.#streams.add(stream);
          if (this.#dead) this.#cut(stream);
          return stream;
        },
      },
    };
  }

  get dead(): boolean {
    return this.#dead;
  }

  /** Nothing that it has begun goes on, and its connections break. Its watches stay until the OSDs give them up. */
  kill(): void {
    if (this.#dead) return;
    this.#dead = true;
    for (const stream of this.#streams) this.#cut(stream);
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
    this.#missed = [];
    const mourners = [...this.#mourners];
    this.#mourners.clear();
    for (const mourner of mourners) mourner();
  }

  /** Calls when it dies, unless what is returned was called before. */
  onKill(mourner: () => void): () => void {
    this.#mourners.add(mourner);
    return () => this.#mourners.delete(mourner);
  }

  /** As SIGSTOP does it: what it had sent goes out, what comes waits, until it goes on as often as it was stopped. */
  stop(): void {
    this.#stops++;
    for (const stream of this.#streams) stream.stalled = true;
  }

  continue(): void {
    if (this.#stops === 0 || --this.#stops > 0) return;
    for (const stream of this.#streams) {
      stream.stalled = false;
      if (!stream.closed) stream.resume();
    }
    // What one of them does may stop it again, or kill it: the others then go on waiting, or never come.
    while (this.#stops === 0 && this.#missed.length > 0) (this.#missed.shift() as () => void)();
  }

  /** However often it was stopped. */
  wake(): void {
    while (this.#stops > 0) this.continue();
  }

  /** A timer that is cancelled while the process is stopped does not fire when it goes on. */
  #after(delayMs: number, callback: () => void): Timer {
    let isCancelled = false;
    const late = delayMs > 0 ? this.timersLateMs : 0;
    const timer = this.#world.after(delayMs + late, () => {
      this.#timers.delete(armed);
      this.#run(() => {
        if (!isCancelled) callback();
      });
    });
    const armed = {
      cancel: () => {
        isCancelled = true;
        this.#timers.delete(armed);
        timer.cancel();
      },
    };
    if (this.#dead) armed.cancel();
    else this.#timers.add(armed);
    return armed;
  }

  #run(callback: () => void): void {
    if (this.#dead) return;
    if (this.#stops > 0) this.#missed.push(callback);
    else callback();
  }

  #cut(stream: VirtualStream): void {
    stream.handler = DEAD;
    stream.stalled = false;
    stream.reset();
  }
}
