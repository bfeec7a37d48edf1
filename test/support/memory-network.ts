/**
 * An Environment in one process and outside of time: a network of byte streams, timers and randomness that run as fast
 * as they can and the same way every time for the same seed.
 *
 *     const world = new MemoryWorld();
 *     ... start servers and clients with world.env ...
 *     await world.until(client.connect());      // runs events, in order of their virtual time, until it settles
 *     await world.advance(30_000);              // lets half a minute pass
 *
 * One event happens at a time, and what its callback set in motion through promises is over before the next one.
 * Faults are set on the network as a whole (`segmentBytes`, `latencyMs`), on a port (`port(n)`), or done to what is
 * connected now (`reset`, `halfClose`).
 */

import type {
  Clock,
  Disk,
  Environment,
  Files,
  Listener,
  Network,
  Random,
  SocketAddress,
  Stream,
  StreamHandler,
  Timer,
  Timers,
} from '../../src/base/environment.js';
import { createLog, type LogOptions } from '../../src/base/log.js';

/** xorshift32, started far from the small numbers that seeds are. */
export function seededRandom(seed: number): Random {
  let state = Math.imul(seed, 0x9e3779b1) | 0 || 1;
  const u32 = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  return {
    bytes: (length) => Uint8Array.from({ length }, () => u32() >>> 24),
    u32,
    float: () => u32() / 2 ** 32,
  };
}

interface Event {
  at: number;
  order: number;
  run: () => void;
}

/** How connections to a port go. */
export interface PortBehaviour {
  /** `accept`; `refuse`: ECONNREFUSED at once; `silent`: neither accepted nor refused. */
  onConnect: 'accept' | 'refuse' | 'silent';
}

const EPOCH_MS = 1_700_000_000_000;
/** Virtual time that `until` lets pass before it gives up. */
const PATIENCE_MS = 600_000;

export class MemoryWorld {
  readonly random: Random;
  readonly network: MemoryNetwork;
  readonly env: Environment;
  /** Virtual milliseconds since the world began. */
  now = 0;
  /** What the wall clock was set forward by, or saw while the machine slept; timers and the monotonic clock did not. */
  wallOffsetMs = 0;
  #events: Event[] = [];
  #order = 0;

  constructor(options: { seed?: number; log?: LogOptions } = {}) {
    this.random = seededRandom(options.seed ?? 1);
    this.network = new MemoryNetwork(this);
    this.env = {
      clock: this.#clock(),
      timers: this.#timers(),
      random: this.random,
      network: this.network,
      files: NO_FILES,
      disk: NO_DISK,
      hostname: 'memory',
      log: createLog(options.log),
    };
  }

  /** Runs `run` when `delayMs` have passed and everything before it is done. */
  after(delayMs: number, run: () => void): Timer {
    const event = { at: this.now + Math.max(0, delayMs), order: this.#order++, run };
    // Sorted insertion from the end: most events are the latest so far.
    let index = this.#events.length;
    while (index > 0 && (this.#events[index - 1] as Event).at > event.at) index--;
    this.#events.splice(index, 0, event);
    return {
      cancel: () => {
        const at = this.#events.indexOf(event);
        if (at >= 0) this.#events.splice(at, 1);
      },
    };
  }

  /** Timers and deliveries that are still to come: what a test for leaks looks at. */
  get pendingEvents(): number {
    return this.#events.length;
  }

  /** Lets `ms` pass. */
  async advance(ms: number): Promise<void> {
    const end = this.now + ms;
    await settled();
    while ((this.#events[0]?.at ?? Number.POSITIVE_INFINITY) <= end) await this.#step();
    this.now = end;
    await settled();
  }

  /** Runs everything that is due now and what follows from it without waiting. */
  flush(): Promise<void> {
    return this.advance(0);
  }

  /** Runs events until the promise settles, or `condition` holds. */
  async until<T>(goal: Promise<T> | (() => T | undefined | false)): Promise<T> {
    const end = this.now + PATIENCE_MS;
    let done: { value: T } | { error: unknown } | undefined;
    if (typeof goal !== 'function') {
      goal.then(
        (value) => (done = { value }),
        (error: unknown) => (done = { error }),
      );
    }
    for (;;) {
      await settled();
      if (typeof goal === 'function') {
        const value = goal();
        if (value) return value;
      }
      if (done) {
        if ('error' in done) throw done.error;
        return done.value;
      }
      const next = this.#events[0];
      if (!next) throw new Error(`nothing left to happen at ${this.now} ms, and no end yet`);
      if (next.at > end) throw new Error(`no end after ${PATIENCE_MS} ms of virtual time`);
      await this.#step();
    }
  }

  async #step(): Promise<void> {
    const event = this.#events.shift();
    if (!event) return;
    this.now = Math.max(this.now, event.at);
    event.run();
    await settled();
  }

  #clock(): Clock {
    return { now: () => EPOCH_MS + this.now + this.wallOffsetMs, monotonic: () => this.now };
  }

  #timers(): Timers {
    return {
      after: (delayMs, callback) => this.after(delayMs, callback),
      nextTurn: (callback) => this.after(0, callback),
    };
  }
}

/** Resolves when all promise callbacks that are ready, and those that they make ready, have run. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export class MemoryNetwork implements Network {
  /** How long bytes travel. */
  latencyMs = 0.1;
  /** How many bytes arrive at once: 1 for the worst, Infinity for whole writes. */
  segmentBytes = Number.POSITIVE_INFINITY;
  readonly streams = new Set<MemoryStream>();
  readonly #world: MemoryWorld;
  readonly #listeners = new Map<number, (stream: Stream) => StreamHandler>();
  readonly #ports = new Map<number, PortBehaviour>();
  #nextPort = 50_000;

  constructor(world: MemoryWorld) {
    this.#world = world;
  }

  /** How connections to this port go from now on. */
  port(port: number): PortBehaviour {
    const known = this.#ports.get(port) ?? { onConnect: 'accept' };
    this.#ports.set(port, known);
    return known;
  }

  /** Connections to this port, as the dialling side sees them. */
  to(port: number): MemoryStream[] {
    return [...this.streams].filter(
      (stream) => stream.dialled && stream.remoteAddress.port === port,
    );
  }

  async lookup(host: string): Promise<string[]> {
    return [host];
  }

  connect(
    target: { host: string; port: number },
    handler: StreamHandler,
    onConnect: (stream: Stream) => void,
  ): Stream {
    const local = { host: '127.0.0.1', port: this.#nextPort++, family: 4 as const };
    const remote = { host: target.host, port: target.port, family: 4 as const };
    const near = new MemoryStream(this.#world, this, { local, remote, dialled: true });
    near.handler = handler;
    this.streams.add(near);
    this.#world.after(this.latencyMs, () => {
      if (near.closed) return;
      const behaviour = this.port(target.port).onConnect;
      const accept = this.#listeners.get(target.port);
      if (behaviour === 'silent') return;
      if (behaviour === 'refuse' || !accept) {
        near.destroy(
          Object.assign(new Error(`connect ECONNREFUSED ${target.host}:${target.port}`), {
            code: 'ECONNREFUSED',
          }),
        );
        return;
      }
      const far = new MemoryStream(this.#world, this, {
        local: remote,
        remote: local,
        dialled: false,
      });
      this.streams.add(far);
      near.peer = far;
      far.peer = near;
      far.handler = accept(far);
      onConnect(near);
    });
    return near;
  }

  listen(
    at: { host: string; port: number },
    accept: (stream: Stream) => StreamHandler,
  ): Promise<Listener> {
    const port = at.port || this.#nextPort++;
    if (this.#listeners.has(port)) {
      return Promise.reject(
        Object.assign(new Error(`port ${port} is taken`), { code: 'EADDRINUSE' }),
      );
    }
    this.#listeners.set(port, accept);
    return Promise.resolve({
      address: { host: at.host, port, family: 4 },
      close: async () => {
        this.#listeners.delete(port);
        for (const stream of this.streams) {
          if (!stream.dialled && stream.localAddress.port === port) stream.destroy();
        }
      },
    });
  }
}

export class MemoryStream implements Stream {
  readonly localAddress: SocketAddress;
  readonly remoteAddress: SocketAddress;
  readonly dialled: boolean;
  handler!: StreamHandler;
  peer: MemoryStream | undefined;
  closed = false;
  /** Everything that was ever written. */
  bytesWritten = 0;
  /** Stops deliveries to this end, as a network that swallows packets does. */
  stalled = false;
  /** Looks at, and may change, what this end receives. */
  tap: ((bytes: Uint8Array) => Uint8Array) | undefined;
  readonly #world: MemoryWorld;
  readonly #network: MemoryNetwork;
  #paused = false;
  #arrived: Uint8Array[] = [];
  #ended: { error: Error | undefined } | undefined;
  #scheduled = false;

  constructor(
    world: MemoryWorld,
    network: MemoryNetwork,
    options: { local: SocketAddress; remote: SocketAddress; dialled: boolean },
  ) {
    this.#world = world;
    this.#network = network;
    this.localAddress = options.local;
    this.remoteAddress = options.remote;
    this.dialled = options.dialled;
  }

  /** A network that accepts everything at once: what is written now is what arrives. */
  write(buffers: Uint8Array[]): void {
    if (this.closed || !this.peer) return;
    const { peer } = this;
    const bytes = Buffer.concat(buffers);
    this.bytesWritten += bytes.length;
    const step = Math.min(this.#network.segmentBytes, bytes.length);
    this.#world.after(this.#network.latencyMs, () => {
      for (let at = 0; at < bytes.length; at += step) peer.#arrive(bytes.subarray(at, at + step));
    });
  }

  get pendingBytes(): number {
    return 0;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#schedule();
  }

  destroy(error?: Error): void {
    if (this.closed) return;
    this.closed = true;
    const { peer } = this;
    if (peer) this.#world.after(this.#network.latencyMs, () => peer.#end(undefined));
    this.#world.after(0, () => this.#close(error));
  }

  /** The connection breaks: both ends hear of it, what was under way is lost. */
  reset(): void {
    const error = () => Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });
    for (const end of [this, this.peer]) {
      if (!end) continue;
      end.#arrived = [];
      end.#end(error());
    }
  }

  /** The other end stops sending, and goes on reading. */
  halfClose(): void {
    this.#end(undefined);
  }

  #arrive(bytes: Uint8Array): void {
    if (this.closed || this.#ended) return;
    this.#arrived.push(this.tap ? this.tap(bytes) : bytes);
    this.#schedule();
  }

  #end(error: Error | undefined): void {
    if (this.closed || this.#ended) return;
    this.#ended = { error };
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#world.after(0, () => {
      this.#scheduled = false;
      this.#deliver();
    });
  }

  /** One segment per event, so that whoever reads may be interrupted between any two. */
  #deliver(): void {
    if (this.closed || this.#paused || this.stalled) return;
    const segment = this.#arrived.shift();
    if (segment) {
      for (let at = 0; at < segment.length && !this.closed; ) {
        const place = this.handler.readInto();
        if (place.length === 0) throw new Error('readInto gave no room');
        const part = segment.subarray(at, at + place.length);
        place.set(part);
        this.handler.onRead(part.length);
        at += part.length;
      }
      if (!this.closed) this.#schedule();
    } else if (this.#ended) {
      const { error } = this.#ended;
      const { peer } = this;
      this.closed = true;
      if (peer && !peer.closed) this.#world.after(this.#network.latencyMs, () => peer.#end(error));
      this.#close(error);
    }
  }

  #close(error: Error | undefined): void {
    this.#network.streams.delete(this);
    this.handler.onClose(error);
  }
}

const noFile = (path: string) =>
  Promise.reject(Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT' }));

const NO_FILES: Files = {
  readFile: noFile,
  exists: async () => false,
  writeFile: noFile,
  mkdir: async () => {},
  remove: async () => {},
  makeTempDir: noFile,
};

/** For tests of what has no business with a disk. */
export const NO_DISK: Disk = {
  open: noFile,
  list: noFile,
  mkdir: noFile,
  rename: noFile,
  remove: noFile,
  syncDir: noFile,
  freeBytes: noFile,
  lock: noFile,
};
