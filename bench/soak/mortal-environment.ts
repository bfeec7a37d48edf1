/** A part of the real world that can be ended as a process is by `kill -9`, while others in the same process go on. */

import type { Environment, Stream, StreamHandler, Timer } from '../../src/base/environment.js';

const SCRATCH_BYTES = 64 * 1024;

export class MortalEnvironment {
  readonly env: Environment;
  readonly #real: Environment;
  readonly #streams = new Set<Stream>();
  readonly #timers = new Set<Timer>();
  readonly #mourners: (() => void)[] = [];
  readonly #scratch = new Uint8Array(SCRATCH_BYTES);
  #dead = false;

  constructor(real: Environment) {
    this.#real = real;
    const { timers, network } = real;
    this.env = {
      ...real,
      timers: {
        after: (delayMs, callback, options) =>
          this.#arm((fire) => timers.after(delayMs, fire, options), callback),
        nextTurn: (callback) => this.#arm((fire) => timers.nextTurn(fire), callback),
      },
      network: {
        ...network,
        connect: (target, handler, onConnect) => this.#connect(target, handler, onConnect),
      },
    };
  }

  get dead(): boolean {
    return this.#dead;
  }

  /** No timer fires any more, nothing is heard of a connection, and all of them break. */
  kill(): void {
    if (this.#dead) return;
    this.#dead = true;
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
    for (const stream of this.#streams) breakOff(stream);
    this.#streams.clear();
    for (const mourner of this.#mourners.splice(0)) mourner();
  }

  onKill(mourner: () => void): void {
    if (this.#dead) mourner();
    else this.#mourners.push(mourner);
  }

  #arm(start: (fire: () => void) => Timer, callback: () => void): Timer {
    if (this.#dead) return { cancel: () => {} };
    const timer = start(() => {
      this.#timers.delete(armed);
      callback();
    });
    const armed = {
      cancel: () => {
        this.#timers.delete(armed);
        timer.cancel();
      },
    };
    this.#timers.add(armed);
    return armed;
  }

  #connect(
    target: { host: string; port: number },
    handler: StreamHandler,
    onConnect: (stream: Stream) => void,
  ): Stream {
    const heard: StreamHandler = {
      readInto: () => (this.#dead ? this.#scratch : handler.readInto()),
      onRead: (length) => this.#dead || handler.onRead(length),
      onDrain: () => this.#dead || handler.onDrain(),
      onClose: (error) => {
        this.#streams.delete(stream);
        if (!this.#dead) handler.onClose(error);
      },
    };
    const stream = this.#real.network.connect(target, heard, (near) => {
      if (!this.#dead) onConnect(near);
    });
    if (this.#dead) breakOff(stream);
    else this.#streams.add(stream);
    return stream;
  }
}

function breakOff(stream: Stream): void {
  if (stream.reset) stream.reset();
  else stream.destroy();
}
