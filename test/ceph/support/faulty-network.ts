/** Node's network with faults that a test switches on and off, for everything that goes to given ports. */

import type { Environment, Network, Stream, StreamHandler } from '../../../src/base/environment.js';
import { nodeEnvironment } from '../../../src/base/node-environment.js';

/**
 * frozen: nothing goes either way, nothing is lost; deaf: what the peer says waits; cut: nothing can be connected.
 */
export type Fault = 'frozen' | 'deaf' | 'cut';

export class FaultyNetwork implements Network {
  readonly env: Environment;
  /** What is written leaves so much later. May be changed at any time: the order stays. */
  sendDelayMs = 0;
  readonly #network: Network;
  readonly #streams = new Set<FaultyStream>();
  #fault: Fault | undefined;
  #affects: (port: number) => boolean = () => false;
  #waiting: (() => void)[] = [];

  constructor() {
    const env = nodeEnvironment();
    this.#network = env.network;
    this.env = { ...env, network: this };
  }

  /** Until `heal`. A cut breaks the connections there are. */
  begin(fault: Fault, affects: (port: number) => boolean): void {
    this.#fault = fault;
    this.#affects = affects;
    for (const stream of this.#affected()) {
      if (fault === 'cut') stream.inner?.destroy(reset());
      else stream.suffer(fault);
    }
  }

  heal(): void {
    this.#fault = undefined;
    for (const stream of this.#streams) stream.recover();
    for (const dial of this.#waiting.splice(0)) dial();
  }

  /** The connections break; others can be made. */
  reset(affects: (port: number) => boolean): void {
    this.#affects = affects;
    for (const stream of this.#affected()) stream.inner?.destroy(reset());
  }

  lookup(host: string): Promise<string[]> {
    return this.#network.lookup(host);
  }

  listen(...args: Parameters<Network['listen']>): ReturnType<Network['listen']> {
    return this.#network.listen(...args);
  }

  connect(
    target: { host: string; port: number },
    handler: StreamHandler,
    onConnect: (stream: Stream) => void,
  ): Stream {
    const stream = new FaultyStream(target.port, () => this.sendDelayMs);
    const dial = () => {
      if (stream.destroyed) return;
      const port = this.#fault === 'cut' && this.#affects(target.port) ? 1 : target.port;
      const tracked: StreamHandler = {
        readInto: () => handler.readInto(),
        onRead: (length) => handler.onRead(length),
        onDrain: () => handler.onDrain(),
        onClose: (error) => {
          this.#streams.delete(stream);
          handler.onClose(error);
        },
      };
      stream.inner = this.#network.connect({ ...target, port }, tracked, () => onConnect(stream));
    };
    this.#streams.add(stream);
    if (this.#fault === 'frozen' && this.#affects(target.port)) this.#waiting.push(dial);
    else dial();
    return stream;
  }

  *#affected(): Iterable<FaultyStream> {
    for (const stream of this.#streams) if (this.#affects(stream.port)) yield stream;
  }
}

function reset(): Error {
  return Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });
}

const NOWHERE = { host: '127.0.0.1', port: 0, family: 4 as const };

class FaultyStream implements Stream {
  inner: Stream | undefined;
  destroyed = false;
  #fault: Fault | undefined;
  #kept: Uint8Array[] = [];
  /** To be written by a timer each. */
  readonly #late: Uint8Array[][] = [];

  constructor(
    readonly port: number,
    private readonly sendDelayMs: () => number,
  ) {}

  get localAddress() {
    return this.inner?.localAddress ?? NOWHERE;
  }

  get remoteAddress() {
    return this.inner?.remoteAddress ?? { ...NOWHERE, port: this.port };
  }

  get pendingBytes(): number {
    return this.inner?.pendingBytes ?? 0;
  }

  write(buffers: Uint8Array[]): void {
    const delayMs = this.sendDelayMs();
    if (delayMs === 0 && this.#late.length === 0) return this.#write(buffers);
    this.#late.push(buffers.map((each) => Buffer.from(each)));
    setTimeout(() => this.#write(this.#late.shift() ?? []), delayMs);
  }

  #write(buffers: Uint8Array[]): void {
    if (this.#fault === 'frozen') this.#kept.push(...buffers.map((each) => Buffer.from(each)));
    else this.inner?.write(buffers);
  }

  pause(): void {
    this.inner?.pause();
  }

  resume(): void {
    if (!this.#fault) this.inner?.resume();
  }

  destroy(error?: Error): void {
    this.destroyed = true;
    this.inner?.destroy(error);
  }

  suffer(fault: Fault): void {
    this.#fault = fault;
    this.inner?.pause();
  }

  recover(): void {
    if (!this.#fault) return;
    this.#fault = undefined;
    const kept = this.#kept;
    this.#kept = [];
    if (kept.length > 0) this.inner?.write(kept);
    this.inner?.resume();
  }
}
