/**
 * A network of byte streams in memory.
 *
 * Faults are set on the network as a whole (`segmentBytes`, `latencyMs`), on a port (`port(n)`), or done to what is
 * connected now (`reset`, `halfClose`).
 */

import type {
  Listener,
  Network,
  SocketAddress,
  Stream,
  StreamHandler,
} from '../base/environment.js';
import type { VirtualWorld } from './virtual-world.js';

/** Pieces of one write at most: one of a megabyte byte by byte would tell nothing more, and take for ever. */
const SEGMENTS_MAX = 512;

/** Those that are given to who asks for none, from the first on and round again. */
const FIRST_PORT = 50_000;
const LAST_PORT = 65_535;

/** How connections to a port go. */
export interface PortBehaviour {
  /** `accept`; `refuse`: ECONNREFUSED at once; `silent`: neither accepted nor refused. */
  onConnect: 'accept' | 'refuse' | 'silent';
}

export class VirtualNetwork implements Network {
  /** How long bytes travel. */
  latencyMs = 0.1;
  /** How many bytes arrive at once: 1 for the worst, Infinity for whole writes. Of large writes more, see `SEGMENTS_MAX`. */
  segmentBytes = Number.POSITIVE_INFINITY;
  /** How much longer single pieces may travel, by chance. A stream's pieces stay in order. */
  jitterMs = 0;
  readonly streams = new Set<VirtualStream>();
  readonly #world: VirtualWorld;
  readonly #listeners = new Map<number, (stream: Stream) => StreamHandler>();
  readonly #ports = new Map<number, PortBehaviour>();
  readonly #meters = new Set<Set<VirtualStream>>();
  #nextPort = FIRST_PORT;
  #streamIds = 0;

  constructor(world: VirtualWorld) {
    this.#world = world;
  }

  /** How connections to this port go from now on. */
  port(port: number): PortBehaviour {
    const known = this.#ports.get(port) ?? { onConnect: 'accept' };
    this.#ports.set(port, known);
    return known;
  }

  /** Nothing is in the way any more. */
  heal(latencyMs: number): void {
    this.latencyMs = latencyMs;
    this.jitterMs = 0;
    this.segmentBytes = Number.POSITIVE_INFINITY;
    for (const behaviour of this.#ports.values()) behaviour.onConnect = 'accept';
    for (const stream of [...this.streams]) stream.heal(latencyMs);
  }

  /** Ports that somebody listens on. */
  get listening(): number[] {
    return [...this.#listeners.keys()];
  }

  /** Connections to this port, as the dialling side sees them. */
  to(port: number): VirtualStream[] {
    return [...this.streams].filter(
      (stream) => stream.dialled && stream.remoteAddress.port === port,
    );
  }

  /** Counts the ends of connections at which something arrives from here on. */
  meter(): { readonly links: number; end(): void } {
    const reached = new Set<VirtualStream>();
    this.#meters.add(reached);
    return {
      get links() {
        return reached.size;
      },
      end: () => void this.#meters.delete(reached),
    };
  }

  /** @internal */
  onDelivery(stream: VirtualStream): void {
    for (const reached of this.#meters) reached.add(stream);
  }

  /** @internal */
  nextStreamId(): number {
    return ++this.#streamIds;
  }

  async lookup(host: string): Promise<string[]> {
    return [host];
  }

  connect(
    target: { host: string; port: number },
    handler: StreamHandler,
    onConnect: (stream: Stream) => void,
  ): Stream {
    const port = this.#freePort();
    const local = { host: '127.0.0.1', port: port ?? 0, family: 4 as const };
    const remote = { host: target.host, port: target.port, family: 4 as const };
    const near = new VirtualStream(this.#world, this, { local, remote, dialled: true });
    near.handler = handler;
    this.streams.add(near);
    if (port === undefined) {
      near.destroy(noPortLeft());
      return near;
    }
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
      const far = new VirtualStream(this.#world, this, {
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
    const port = at.port || this.#freePort();
    if (port === undefined) return Promise.reject(noPortLeft());
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

  /** The next one that nobody has; undefined when all are taken. */
  #freePort(): number | undefined {
    const taken = new Set(this.#listeners.keys());
    for (const { dialled, localAddress, remoteAddress } of this.streams) {
      // Also what only the other end still has: it would take a new connection for the old one.
      taken.add(dialled ? localAddress.port : remoteAddress.port);
    }
    for (let tried = FIRST_PORT; tried <= LAST_PORT; tried++) {
      const port = this.#nextPort;
      this.#nextPort = port === LAST_PORT ? FIRST_PORT : port + 1;
      if (!taken.has(port)) return port;
    }
    return undefined;
  }
}

function noPortLeft(): Error {
  const message = `ports ${FIRST_PORT} to ${LAST_PORT} are in use`;
  return Object.assign(new Error(message), { code: 'EADDRNOTAVAIL' });
}

export class VirtualStream implements Stream {
  readonly localAddress: SocketAddress;
  readonly remoteAddress: SocketAddress;
  readonly dialled: boolean;
  readonly #id: number;
  handler!: StreamHandler;
  peer: VirtualStream | undefined;
  closed = false;
  /** Everything that was ever written. */
  bytesWritten = 0;
  /** Stops deliveries to this end, as a network that swallows packets does. */
  stalled = false;
  /** Looks at, and may change, what this end receives. */
  tap: ((bytes: Uint8Array) => Uint8Array) | undefined;
  readonly #world: VirtualWorld;
  readonly #network: VirtualNetwork;
  #paused = false;
  #arrived: Uint8Array[] = [];
  /** How many of them have been delivered: taking them off the front costs as much as there are. */
  #taken = 0;
  #ended: { error: Error | undefined } | undefined;
  #scheduled = false;
  /** When what was sent last arrives. */
  #lastArrival = 0;

  constructor(
    world: VirtualWorld,
    network: VirtualNetwork,
    options: { local: SocketAddress; remote: SocketAddress; dialled: boolean },
  ) {
    this.#world = world;
    this.#network = network;
    this.localAddress = options.local;
    this.remoteAddress = options.remote;
    this.dialled = options.dialled;
    this.#id = network.nextStreamId();
  }

  /** A network that accepts everything at once: what is written now is what arrives. */
  write(buffers: Uint8Array[]): void {
    if (this.closed || !this.peer) return;
    const { peer } = this;
    const bytes = Buffer.concat(buffers);
    this.bytesWritten += bytes.length;
    const least = Math.ceil(bytes.length / SEGMENTS_MAX);
    const step = Math.min(Math.max(this.#network.segmentBytes, least), bytes.length);
    this.#travel(() => {
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

  /** Ends what was done to this end. What was sent while it was far away would be as long on its way as it was: it is lost. */
  heal(latencyMs: number): void {
    this.stalled = false;
    this.tap = undefined;
    if (this.#lastArrival > this.#world.now + latencyMs) this.reset();
    else this.#schedule();
  }

  destroy(error?: Error): void {
    if (this.closed) return;
    this.closed = true;
    const { peer } = this;
    if (peer) this.#travel(() => peer.#end(undefined));
    this.#world.after(0, () => this.#close(error));
  }

  /** Not before what set out earlier. */
  #travel(arrive: () => void): void {
    const world = this.#world;
    const { latencyMs, jitterMs } = this.#network;
    const delayMs = jitterMs > 0 ? latencyMs + jitterMs * world.random.float() : latencyMs;
    this.#lastArrival = Math.max(this.#lastArrival, world.now + delayMs);
    world.after(this.#lastArrival - world.now, arrive);
  }

  /** The connection breaks: both ends hear of it, what was under way is lost. */
  reset(): void {
    const error = () => Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });
    for (const end of [this, this.peer]) {
      if (!end) continue;
      end.#forget();
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

  /** Unless it is on its way already, or there is nothing to deliver. */
  #schedule(): void {
    if (this.#scheduled || (this.#arrived.length === 0 && !this.#ended)) return;
    this.#scheduled = true;
    this.#world.after(0, () => {
      this.#scheduled = false;
      this.#deliver();
    });
  }

  /** One segment per event, so that whoever reads may be interrupted between any two. */
  #deliver(): void {
    if (this.closed || this.#paused || this.stalled) return;
    const segment = this.#arrived[this.#taken++];
    if (this.#taken >= this.#arrived.length) this.#forget();
    if (segment) {
      this.#network.onDelivery(this);
      this.#world.note(this.#id, segment.length, segment.at(-1) ?? 0);
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

  #forget(): void {
    this.#arrived = [];
    this.#taken = 0;
  }

  #close(error: Error | undefined): void {
    this.#network.streams.delete(this);
    this.handler.onClose(error);
  }
}
