/** The production Environment: Node's own clock, timers, randomness, sockets and files. */

import { randomBytes } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { access, chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import type {
  Clock,
  Environment,
  Files,
  Network,
  Random,
  SocketAddress,
  Stream,
  StreamHandler,
  Timers,
} from './environment.js';
import { createLog, type LogOptions } from './log.js';
import { nodeDisk } from './node-disk.js';

const clock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
};

const timers: Timers = {
  after(delayMs, callback, options) {
    const timer = setTimeout(callback, delayMs);
    if (options?.background) timer.unref();
    return { cancel: () => clearTimeout(timer) };
  },
  nextTurn(callback) {
    const immediate = setImmediate(callback);
    return { cancel: () => clearImmediate(immediate) };
  },
};

const random: Random = {
  bytes: (length) => randomBytes(length),
  u32: () => randomBytes(4).readUInt32LE(0),
  float: () => Math.random(),
};

const files: Files = {
  readFile: (path) => readFile(path),
  exists: (path) =>
    access(path).then(
      () => true,
      () => false,
    ),
  async writeFile(path, data, options) {
    await writeFile(path, data, { mode: options?.mode ?? 0o644 });
  },
  async mkdir(path) {
    await mkdir(path, { recursive: true });
  },
  async remove(path) {
    await rm(path, { recursive: true, force: true });
  },
  makeTempDir: (prefix) => mkdtemp(join(tmpdir(), prefix)),
};

/** A `net.Socket` as a `Stream`. */
class SocketStream implements Stream {
  readonly #socket: net.Socket;

  constructor(socket: net.Socket) {
    this.#socket = socket;
  }

  write(buffers: Uint8Array[]): void {
    const socket = this.#socket;
    if (socket.destroyed) return;
    if (buffers.length === 1) {
      socket.write(buffers[0] as Uint8Array);
      return;
    }
    // One writev for the whole batch: each socket write costs 5 to 6 us of CPU, bytes are nearly free.
    socket.cork();
    for (const buffer of buffers) socket.write(buffer);
    socket.uncork();
  }

  get pendingBytes(): number {
    return this.#socket.writableLength;
  }

  get localAddress(): SocketAddress {
    return socketAddress(this.#socket.localAddress, this.#socket.localPort);
  }

  get remoteAddress(): SocketAddress {
    return socketAddress(this.#socket.remoteAddress, this.#socket.remotePort);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  destroy(error?: Error): void {
    this.#socket.destroy(error);
  }

  end(): void {
    this.#socket.end();
  }

  reset(): void {
    if (this.#socket.destroyed) return;
    // The first alone would wait until everything is written, the second alone would close in order.
    this.#socket.resetAndDestroy();
    this.#socket.destroy();
  }
}

function socketAddress(host: string | undefined, port: number | undefined): SocketAddress {
  const address = host?.startsWith('::ffff:') ? host.slice(7) : (host ?? '0.0.0.0');
  return { host: address, port: port ?? 0, family: address.includes(':') ? 6 : 4 };
}

function watchSocket(socket: net.Socket, handler: () => StreamHandler | undefined): void {
  let failure: Error | undefined;
  socket.on('error', (error) => {
    failure = error;
  });
  // A peer that stopped sending is gone: waiting until it has read what is left to write could take for ever.
  socket.on('end', () => socket.destroy());
  socket.on('drain', () => handler()?.onDrain());
  socket.on('close', () => handler()?.onClose(failure));
}

const network: Network = {
  async lookup(host) {
    const found = await lookup(host, { all: true, verbatim: true });
    return found.map(({ address }) => address);
  },

  connect: ({ host, port }, handler, onConnect) =>
    dial({ host, port, noDelay: true }, handler, onConnect),

  async listen({ host, port }, accept) {
    const listener = await serve({ host, port }, accept);
    const bound = listener.server.address() as net.AddressInfo;
    const family = bound.family === 'IPv6' ? 6 : 4;
    return {
      address: { host: bound.address, port: bound.port, family },
      close: listener.close,
    };
  },

  connectLocal: (path, handler, onConnect) => dial({ path }, handler, onConnect),

  async listenLocal(path, accept) {
    const listener = await serve({ path }, accept);
    await chmod(path, 0o600);
    return { close: listener.close };
  },
};

function dial(
  target: net.NetConnectOpts,
  handler: StreamHandler,
  onConnect: (stream: Stream) => void,
): Stream {
  const socket = net.connect({
    ...target,
    // The function form is asked after every read: payload goes from the kernel to its final place.
    onread: {
      buffer: () => handler.readInto() as Buffer,
      callback: (length) => {
        handler.onRead(length);
        return true;
      },
    },
  });
  const stream = new SocketStream(socket);
  watchSocket(socket, () => handler);
  socket.on('connect', () => onConnect(stream));
  return stream;
}

function serve(
  at: net.ListenOptions,
  accept: (stream: Stream) => StreamHandler,
): Promise<{ server: net.Server; close: () => Promise<void> }> {
  return new Promise((resolve, reject) => {
    const sockets = new Set<net.Socket>();
    const server = net.createServer({ noDelay: true, pauseOnConnect: true }, (accepted) => {
      // Node asks where to read to before there is a handler.
      const later: { handler?: StreamHandler } = {};
      const socket = readingInto(accepted, () => later.handler);
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      later.handler = accept(new SocketStream(socket));
      watchSocket(socket, () => later.handler);
      socket.resume();
    });
    server.once('error', reject);
    server.listen(at, () => {
      server.off('error', reject);
      // Failing to accept one connection (out of descriptors, say) is that connection's loss alone.
      server.on('error', () => {});
      const close = () =>
        new Promise<void>((closed) => {
          for (const socket of sockets) socket.destroy();
          server.close(() => closed());
        });
      resolve({ server, close });
    });
  });
}

/** Of the first read of an accepted connection, which has no handler yet: a peer begins with a few bytes. */
const FIRST_READ_BYTES = 4096;

/**
 * The accepted connection, paused, as a socket whose bytes go to where the handler wants them. `net.Server` has no `onread`
 * for its sockets, so that each read would take 64 KiB of new memory and be copied: half of what a large write costs a
 * server. The socket is made anew around the connection's handle, as Node does it for connections that are handed to a
 * child process; should a Node not have that, chunks are copied.
 */
function readingInto(accepted: net.Socket, handler: () => StreamHandler | undefined): net.Socket {
  const holder = accepted as unknown as { _handle?: object | null };
  const { _handle: handle } = holder;
  if (!handle) {
    accepted.on('data', (chunk: Buffer) => deliver(chunk, handler() as StreamHandler, accepted));
    return accepted;
  }
  holder._handle = null;
  accepted.destroy();
  const first = Buffer.allocUnsafe(FIRST_READ_BYTES);
  const options = {
    handle,
    // Node begins to read by itself otherwise.
    manualStart: true,
    onread: {
      buffer: () => (handler()?.readInto() as Buffer | undefined) ?? first,
      callback: (length: number, buffer: Uint8Array) => {
        if (buffer === first)
          deliver(first.subarray(0, length), handler() as StreamHandler, socket);
        else handler()?.onRead(length);
        return true;
      },
    },
  };
  const socket: net.Socket = new net.Socket(options as net.SocketConstructorOpts);
  return socket;
}

function deliver(chunk: Buffer, handler: StreamHandler, socket: net.Socket): void {
  for (let at = 0; at < chunk.length && !socket.destroyed; ) {
    const place = handler.readInto();
    const part = chunk.subarray(at, at + place.length);
    place.set(part);
    handler.onRead(part.length);
    at += part.length;
  }
}

/** Node's own clock, sockets and files, with a log of the given levels. */
export function nodeEnvironment(options: { log?: LogOptions } = {}): Environment {
  return {
    clock,
    timers,
    random,
    network,
    files,
    disk: nodeDisk,
    hostname: hostname(),
    log: createLog(options.log),
  };
}
