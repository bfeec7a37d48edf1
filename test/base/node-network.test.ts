// Goal: Node's sockets behave as `Stream` says, whichever end is ours: ends, half-closes and errors are told once, bytes
// go where the handler wants them, and a paused stream does not read. Method: our network against plain `net` sockets,
// which do what a peer might.

import { once } from 'node:events';
import net from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';

import type { Stream, StreamHandler } from '../../src/base/environment.js';
import { nodeEnvironment } from '../../src/base/node-environment.js';

const { network } = nodeEnvironment();
const HOST = '127.0.0.1';

/** Collects what a stream tells, into places of a given size. */
class Recorder implements StreamHandler {
  readonly chunks: Buffer[] = [];
  readonly closes: (Error | undefined)[] = [];
  drains = 0;
  stream: Stream | undefined;
  onBytes: () => void = () => {};
  readonly #place: Uint8Array;

  constructor(placeBytes = 64 * 1024) {
    this.#place = new Uint8Array(placeBytes);
  }

  readInto = () => this.#place;
  onRead = (length: number) => {
    this.chunks.push(Buffer.from(this.#place.subarray(0, length)));
    this.onBytes();
  };
  onDrain = () => {
    this.drains++;
  };
  onClose = (error?: Error) => {
    this.closes.push(error);
  };

  get text(): string {
    return Buffer.concat(this.chunks).toString();
  }

  get bytes(): number {
    return this.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  }
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 5000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('nothing happened in 5 s');
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const cleanups: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

/** Two ends of one TCP connection: `ours` through the Environment, `theirs` a plain socket. */
interface Ends {
  ours: Recorder;
  theirs: net.Socket;
}

async function dialledByUs(placeBytes?: number): Promise<Ends> {
  const accepted: net.Socket[] = [];
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    accepted.push(socket);
  });
  server.listen(0, HOST);
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const ours = new Recorder(placeBytes);
  network.connect({ host: HOST, port }, ours, (stream) => {
    ours.stream = stream;
  });
  await until(() => accepted.length === 1 && ours.stream !== undefined);
  const theirs = accepted[0] as net.Socket;
  cleanups.push(() => {
    theirs.destroy();
    ours.stream?.destroy();
    server.close();
  });
  return { ours, theirs };
}

async function dialledByThem(placeBytes?: number): Promise<Ends> {
  const ours = new Recorder(placeBytes);
  const listener = await network.listen({ host: HOST, port: 0 }, (stream) => {
    ours.stream = stream;
    return ours;
  });
  const theirs = net.connect({ host: HOST, port: listener.address.port, allowHalfOpen: true });
  theirs.on('error', () => {});
  await once(theirs, 'connect');
  await until(() => ours.stream !== undefined);
  cleanups.push(async () => {
    theirs.destroy();
    await listener.close();
  });
  return { ours, theirs };
}

describe.each([
  ['we dialled', dialledByUs],
  ['we accepted', dialledByThem],
] as const)('a stream that %s', (_name, connect) => {
  it('brings bytes to the place that the handler names, however small', async () => {
    const { ours, theirs } = await connect(7);
    theirs.write('the quick brown fox jumps over the lazy dog');
    await until(() => ours.text === 'the quick brown fox jumps over the lazy dog');
    expect(Math.max(...ours.chunks.map((chunk) => chunk.length))).toBeLessThanOrEqual(7);
  });

  it('writes buffers in order', async () => {
    const { ours, theirs } = await connect();
    const received: Buffer[] = [];
    theirs.on('data', (chunk: Buffer) => received.push(chunk));
    ours.stream?.write([Buffer.from('one '), Buffer.from('two '), Buffer.from('three')]);
    ours.stream?.write([Buffer.from('!')]);
    await until(() => Buffer.concat(received).toString() === 'one two three!');
  });

  it('tells an orderly end once, without an error, after the last byte', async () => {
    const { ours, theirs } = await connect();
    theirs.end('last words');
    await until(() => ours.closes.length > 0);
    expect(ours.text).toBe('last words');
    await pause(20);
    expect(ours.closes).toEqual([undefined]);
  });

  it('is over when the peer stops sending, even if the peer reads nothing of what is left to write', async () => {
    const { ours, theirs } = await connect();
    theirs.pause();
    ours.stream?.write([Buffer.alloc(64 << 20)]);
    theirs.end();
    await until(() => ours.closes.length > 0);
    expect(ours.closes).toEqual([undefined]);
  });

  it('tells a reset with its errno', async () => {
    const { ours, theirs } = await connect();
    theirs.resetAndDestroy();
    await until(() => ours.closes.length > 0);
    expect((ours.closes[0] as NodeJS.ErrnoException).code).toBe('ECONNRESET');
    await pause(20);
    expect(ours.closes).toHaveLength(1);
  });

  it('tells its own destruction, with the error that was given', async () => {
    const { ours, theirs } = await connect();
    const reason = new Error('enough');
    ours.stream?.destroy(reason);
    ours.stream?.destroy();
    expect(ours.closes).toEqual([]);
    await until(() => ours.closes.length > 0);
    expect(ours.closes).toEqual([reason]);
    ours.stream?.write([Buffer.from('into the void')]);
    theirs.write('too late');
    await pause(20);
    expect(ours.chunks).toEqual([]);
    expect(ours.closes).toHaveLength(1);
  });

  it('reads nothing more after it was destroyed within a read', async () => {
    const { ours, theirs } = await connect(4);
    ours.onBytes = () => ours.stream?.destroy();
    theirs.write('0123456789');
    await until(() => ours.closes.length > 0);
    expect(ours.text).toBe('0123');
  });

  it('does not read while it is paused, and then reads on', async () => {
    const { ours, theirs } = await connect();
    const total = 32 << 20;
    ours.stream?.pause();
    theirs.write(Buffer.alloc(total, 'x'));
    await pause(100);
    const before = ours.bytes;
    await pause(100);
    // What the kernel and one read of Node hold may have come through, not more.
    expect(ours.bytes).toBe(before);
    expect(before).toBeLessThan(total / 2);
    ours.stream?.resume();
    await until(() => ours.bytes === total);
  });

  it('knows both addresses', async () => {
    const { ours, theirs } = await connect();
    expect(ours.stream?.localAddress).toEqual({ host: HOST, port: theirs.remotePort, family: 4 });
    expect(ours.stream?.remoteAddress).toEqual({ host: HOST, port: theirs.localPort, family: 4 });
  });

  it('says how much waits to be written, and when it was', async () => {
    const { ours, theirs } = await connect();
    theirs.pause();
    ours.stream?.write([Buffer.alloc(32 << 20)]);
    expect(ours.stream?.pendingBytes).toBeGreaterThan(0);
    expect(ours.drains).toBe(0);
    theirs.resume();
    await until(() => ours.drains > 0);
    expect(ours.stream?.pendingBytes).toBe(0);
  });
});

describe('dialling', () => {
  it('a port where nobody listens fails with ECONNREFUSED, once, and never connects', async () => {
    const ours = new Recorder();
    network.connect({ host: HOST, port: 1 }, ours, (stream) => {
      ours.stream = stream;
    });
    expect(ours.closes).toEqual([]);
    await until(() => ours.closes.length > 0);
    expect((ours.closes[0] as NodeJS.ErrnoException).code).toBe('ECONNREFUSED');
    expect(ours.stream).toBeUndefined();
  });

  it('can be given up', async () => {
    const ours = new Recorder();
    // An address of the documentation range: nobody answers.
    const stream = network.connect({ host: '192.0.2.1', port: 6789 }, ours, () => {});
    stream.destroy();
    await until(() => ours.closes.length > 0);
    expect(ours.closes).toEqual([undefined]);
  });

  it('a name that does not exist fails', async () => {
    const ours = new Recorder();
    // Longer than a label may be: no nameserver is asked, which may be far or silent.
    network.connect({ host: 'x'.repeat(64), port: 6789 }, ours, () => {});
    await until(() => ours.closes.length > 0);
    expect(ours.closes[0]).toBeInstanceOf(Error);
  });
});

describe('listening', () => {
  it('on a taken port fails with EADDRINUSE', async () => {
    const first = await network.listen({ host: HOST, port: 0 }, () => new Recorder());
    await expect(
      network.listen({ host: HOST, port: first.address.port }, () => new Recorder()),
    ).rejects.toMatchObject({ code: 'EADDRINUSE' });
    await first.close();
  });

  it('ends with the connections that it brought', async () => {
    const ours = new Recorder();
    const listener = await network.listen({ host: HOST, port: 0 }, () => ours);
    const theirs = net.connect({ host: HOST, port: listener.address.port });
    await once(theirs, 'connect');
    await pause(20);
    await listener.close();
    await until(() => ours.closes.length === 1);
    theirs.destroy();
  });
});
