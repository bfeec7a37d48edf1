// Goal: two connections talk as they should on any network: in memory with whole writes or single bytes, and over real
// TCP; and every way in which the other end may fail ends the connection once, in time, with an error that says so.

import { afterEach, describe, expect, it } from 'vitest';

import type { Environment, Stream } from '../../src/base/environment.js';
import { isRadosError } from '../../src/base/errors.js';
import { nodeEnvironment } from '../../src/base/node-environment.js';
import { encodeWith } from '../../src/encoding/codec.js';
import { outgoing } from '../../src/messages/types.js';
import type { Connection } from '../../src/msgr/connection.js';
import { hello, TAG } from '../../src/msgr/control-frames.js';
import { encodeBanner } from '../../src/msgr/frame.js';
import { FrameWriter } from '../../src/msgr/frame-writer.js';
import { WindowPool } from '../../src/msgr/window-pool.js';
import { loadKernels } from '../../src/kernels/load.js';
import { crc32c } from '../support/frames.js';
import { seededRandom } from '../../src/sim/random.js';
import { VirtualWorld } from '../../src/sim/virtual-world.js';
import {
  BOTH_MODES,
  CRC_ONLY,
  cephxAuth,
  dial,
  noneAuth,
  Recorder,
  SECURE_ONLY,
  startServer,
  type TestServer,
  v2Addr,
} from '../support/messengers.js';

/** Where a connection may run, and how the test lets it. */
interface Setting {
  env: Environment;
  until: <T>(condition: () => T | undefined | false) => Promise<T>;
}

function inMemory(segmentBytes: number): Setting & { world: VirtualWorld } {
  const world = new VirtualWorld();
  world.network.segmentBytes = segmentBytes;
  return { env: world.env, until: (condition) => world.until(condition), world };
}

function overTcp(): Setting {
  return {
    env: nodeEnvironment(),
    until: async (condition) => {
      const deadline = Date.now() + 10_000;
      for (;;) {
        const value = condition();
        if (value) return value;
        if (Date.now() > deadline) throw new Error('nothing happened in 10 s');
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    },
  };
}

const servers: TestServer[] = [];
const connections: Connection[] = [];
afterEach(async () => {
  for (const connection of connections.splice(0)) connection.close();
  await Promise.all(servers.splice(0).map(({ server }) => server.close()));
});

async function listening(...args: Parameters<typeof startServer>): Promise<TestServer> {
  const started = await startServer(...args);
  servers.push(started);
  return started;
}

function dialled(...args: Parameters<typeof dial>): ReturnType<typeof dial> {
  const result = dial(...args);
  connections.push(result.connection);
  return result;
}

function pattern(length: number, seed: number): Uint8Array {
  const random = seededRandom(seed);
  const words = new Uint32Array(Math.ceil(length / 4));
  for (let i = 0; i < words.length; i++) words[i] = random.u32();
  return new Uint8Array(words.buffer, 0, length);
}

const SETTINGS: readonly [string, () => Setting][] = [
  ['in memory', () => inMemory(Number.POSITIVE_INFINITY)],
  ['in memory, byte by byte', () => inMemory(1)],
  ['in memory, in odd pieces', () => inMemory(1237)],
  ['over TCP', overTcp],
];

describe.each(SETTINGS)('a session %s', (_name, setting) => {
  it.each([
    ['none', CRC_ONLY, false],
    ['cephx', CRC_ONLY, false],
    ['cephx', SECURE_ONLY, true],
  ] as const)(
    'with auth %s and modes %o carries messages both ways',
    async (kind, modes, secure) => {
      const { env, until } = setting();
      const auth = kind === 'none' ? noneAuth() : cephxAuth(env);
      const server = await listening(env, auth);
      const { connection, seen } = dialled(env, server.addr, auth.client(), { modes });
      // Sent before the session is established: they go out when it is.
      for (let tid = 1; tid <= 5; tid++) {
        connection.send(outgoing(42, pattern(50 * tid, tid), { tid, data: [pattern(3000, tid)] }));
      }
      const peer = await until(() => server.peers[0]?.messages.length === 5 && server.peers[0]);
      expect(seen.ready).toBe(1);
      expect(connection.peer.secure).toBe(secure);
      expect(peer.connection?.peer.secure).toBe(secure);
      peer.messages.forEach((message, i) => {
        expect(message).toMatchObject({ type: 42, tid: i + 1 });
        expect(Buffer.compare(message.front, pattern(50 * (i + 1), i + 1))).toBe(0);
        expect(Buffer.compare(message.data, pattern(3000, i + 1))).toBe(0);
      });
      peer.connection?.send(outgoing(43, pattern(9, 9), { tid: 77 }));
      const [reply] = await until(() => seen.messages.length === 1 && seen.messages);
      expect(reply).toMatchObject({ type: 43, tid: 77, front: pattern(9, 9) });
    },
  );
});

describe.each(SETTINGS.filter(([name]) => !name.includes('byte')))(
  'large data %s',
  (_name, setting) => {
    it.each([
      ['crc', CRC_ONLY],
      ['secure', SECURE_ONLY],
    ] as const)(
      'in %s mode arrive whole, in the place that the receiver chose',
      async (_mode, modes) => {
        const { env, until } = setting();
        const auth = cephxAuth(env);
        const server = await listening(env, auth);
        const sizes = [4096, 70_000, 1 << 20, (4 << 20) + 5];
        const places = new Map(sizes.map((size, i) => [i + 1, new Uint8Array(size)]));
        const seen = Object.assign(new Recorder(), {
          placeData: ({ tid }: { tid: number }) => places.get(tid),
        });
        dialled(env, server.addr, auth.client(), { modes, handler: seen });
        const peer = await until(() => server.peers[0]?.ready === 1 && server.peers[0]);
        sizes.forEach((size, i) => {
          const data = pattern(size, i);
          const cut = Math.floor(size / 3);
          peer.connection?.send(
            outgoing(43, pattern(20, 0), {
              tid: i + 1,
              data: [data.subarray(0, cut), data.subarray(cut)],
            }),
          );
        });
        await until(() => seen.messages.length === sizes.length);
        seen.messages.forEach(({ data }, i) => {
          expect(data.buffer).toBe(places.get(i + 1)?.buffer);
          expect(Buffer.compare(data, pattern(sizes[i] as number, i))).toBe(0);
        });
      },
    );
  },
);

describe('an established session', () => {
  async function session(options: Parameters<typeof dial>[3] = {}) {
    const world = new VirtualWorld();
    const auth = noneAuth();
    const server = await listening(world.env, auth);
    const { connection, seen } = dialled(world.env, server.addr, auth.client(), options);
    await world.until(() => seen.ready === 1);
    const peer = await world.until(() => server.peers[0]);
    const stream = world.network.to(server.port)[0];
    if (!stream) throw new Error('no stream');
    return { world, server, connection, seen, peer, stream };
  }

  it('answers a keepalive with the stamp that came', async () => {
    const { world, connection, seen, peer } = await session();
    connection.sendKeepalive();
    peer.connection?.sendKeepalive();
    await world.until(() => seen.keepaliveAcks === 1 && peer.keepaliveAcks === 1);
  });

  it('writes once for everything that is sent in one turn', async () => {
    const { world, connection, peer, stream } = await session();
    let writes = 0;
    const write = stream.write.bind(stream);
    stream.write = (buffers) => {
      writes++;
      write(buffers);
    };
    for (let tid = 1; tid <= 100; tid++) connection.send(outgoing(42, pattern(100, tid), { tid }));
    await world.until(() => peer.messages.length === 100);
    expect(writes).toBe(1);
    expect(peer.messages.map(({ tid }) => tid)).toEqual(
      Array.from({ length: 100 }, (_, i) => i + 1),
    );
  });

  it('drops a message that comes a second time', async () => {
    const { world, connection, peer, stream } = await session();
    const written: Uint8Array[] = [];
    const write = stream.write.bind(stream);
    stream.write = (buffers) => {
      written.push(Buffer.concat(buffers));
      write(buffers);
    };
    connection.send(outgoing(42, pattern(10, 1), { tid: 1 }));
    connection.flush();
    write([written[0] as Uint8Array]);
    connection.send(outgoing(42, pattern(10, 2), { tid: 2 }));
    await world.until(() => peer.messages.length === 2);
    expect(peer.messages.map(({ tid }) => tid)).toEqual([1, 2]);
  });

  it('is over for both when one closes it, and each hears of it once', async () => {
    const { world, connection, seen, peer } = await session();
    connection.close();
    connection.close();
    await world.until(() => seen.closes.length === 1 && peer.closes.length === 1);
    await world.advance(60_000);
    expect(seen.closes).toEqual([undefined]);
    expect(peer.closes).toHaveLength(1);
    expect(isRadosError(peer.error, 'ECONNRESET')).toBe(true);
    expect(peer.error?.message).toContain('closed the connection in session');
    expect(world.pendingEvents).toBe(0);
  });

  it('delivers nothing more after a callback closed it', async () => {
    const { world, connection, seen, peer } = await session();
    peer.onMessageHook = (accepted) => accepted.close();
    for (let tid = 1; tid <= 3; tid++) connection.send(outgoing(42, pattern(10, tid), { tid }));
    await world.until(() => seen.closes.length === 1);
    expect(peer.messages).toHaveLength(1);
    expect(peer.closes).toEqual([undefined]);
  });

  it('drops what is sent when it is over', async () => {
    const { world, connection, peer } = await session();
    connection.send(outgoing(42, pattern(10, 1)));
    connection.close();
    connection.send(outgoing(42, pattern(10, 1)));
    connection.flush();
    await world.advance(1000);
    expect(peer.messages).toEqual([]);
  });

  it('ends with an error, not with the thread, when a handler throws', async () => {
    const { world, connection, seen, peer } = await session();
    peer.onMessageHook = () => {
      throw new TypeError('a bug above');
    };
    connection.send(outgoing(42, pattern(10, 1)));
    await world.until(() => seen.closes.length === 1);
    expect(peer.error?.message).toContain('a bug above');
    expect(isRadosError(peer.error, 'EIO')).toBe(true);
  });

  it.each([
    ['CLIENT_IDENT', TAG.CLIENT_IDENT],
    ['AUTH_DONE', TAG.AUTH_DONE],
    ['HELLO', TAG.HELLO],
    ['SESSION_RESET', TAG.SESSION_RESET],
    ['WAIT', TAG.WAIT],
  ])('ends when a %s frame comes', async (name, tag) => {
    const { world, seen, peer, stream } = await session();
    stream.peer?.write(
      new FrameWriter(crc32c).assemble([{ kind: 'control', tag, payload: new Uint8Array(1) }]),
    );
    await world.until(() => seen.closes.length === 1 && peer.closes.length === 1);
    expect(isRadosError(seen.error, 'EPROTO')).toBe(true);
    expect(seen.error?.message).toBe(`the daemon: ${name} frame in an established session`);
  });

  it('takes an ACK, and a keepalive of the wrong size for an error', async () => {
    const { world, seen, stream } = await session();
    const frame = (tag: number, length: number) =>
      new FrameWriter(crc32c).assemble([{ kind: 'control', tag, payload: new Uint8Array(length) }]);
    stream.peer?.write(frame(TAG.ACK, 8));
    await world.advance(10);
    expect(seen.closes).toEqual([]);
    stream.peer?.write(frame(TAG.KEEPALIVE2, 7));
    await world.until(() => seen.closes.length === 1);
    expect(isRadosError(seen.error, 'EPROTO')).toBe(true);
  });

  it('ends when the network breaks, with the errno of that', async () => {
    const { world, seen, stream } = await session();
    stream.reset();
    await world.until(() => seen.closes.length === 1);
    expect(isRadosError(seen.error, 'ECONNRESET')).toBe(true);
    expect((seen.error as { retryable?: boolean }).retryable).toBe(true);
  });

  it('waits with reading while it is paused', async () => {
    const { world, connection, seen, peer } = await session();
    connection.pause();
    for (let tid = 1; tid <= 3; tid++) peer.connection?.send(outgoing(43, pattern(10, 1), { tid }));
    await world.advance(1000);
    expect(seen.messages).toEqual([]);
    connection.resume();
    await world.until(() => seen.messages.length === 3);
  });
});

describe('a peer that is no Ceph daemon, over TCP', () => {
  it.each([
    ['a web server', 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n', 'not a Ceph daemon'],
    ['a daemon of messenger v1', `ceph v027${'\0'.repeat(272)}`, 'messenger v1 only'],
    ['a peer that says nothing and hangs up', '', 'during handshake (banner)'],
  ])('%s is recognised', async (_what, greeting, reason) => {
    const { env, until } = overTcp();
    const listener = await env.network.listen({ host: '127.0.0.1', port: 0 }, (stream: Stream) => {
      const buffer = new Uint8Array(1000);
      if (greeting !== '') stream.write([Buffer.from(greeting, 'latin1')]);
      return {
        readInto: () => buffer,
        onRead: () => {
          if (greeting === '') stream.destroy();
        },
        onDrain: () => {},
        onClose: () => {},
      };
    });
    const { seen } = dialled(env, v2Addr(listener.address.port), noneAuth().client());
    await until(() => seen.closes.length === 1);
    expect(isRadosError(seen.error)).toBe(true);
    expect(seen.error?.message).toContain(reason);
    await listener.close();
  });

  it('is none at all: ECONNREFUSED', async () => {
    const { env, until } = overTcp();
    const { seen } = dialled(env, v2Addr(1), noneAuth().client());
    await until(() => seen.closes.length === 1);
    expect(isRadosError(seen.error, 'ECONNREFUSED')).toBe(true);
  });
});

describe('a handshake that does not end', () => {
  it('at a port that never answers fails in time', async () => {
    const world = new VirtualWorld();
    world.network.port(3300).onConnect = 'silent';
    const { seen } = dialled(world.env, v2Addr(3300), noneAuth().client(), { timeoutMs: 3000 });
    await world.advance(2999);
    expect(seen.closes).toEqual([]);
    await world.advance(1);
    expect(isRadosError(seen.error, 'ETIMEDOUT')).toBe(true);
    expect(seen.error?.message).toBe('the daemon did not complete the handshake in 3000 ms');
    await world.advance(60_000);
    expect(seen.closes).toHaveLength(1);
    expect(world.pendingEvents).toBe(0);
  });

  it('because the peer stops at any byte fails in time, at both ends', async () => {
    // How much crosses in a whole handshake tells where it may stop.
    const measure = new VirtualWorld();
    const auth = noneAuth();
    const server = await startServer(measure.env, auth);
    const whole = dial(measure.env, server.addr, auth.client());
    await measure.until(() => whole.seen.ready === 1);
    const total = measure.network.to(server.port)[0]?.peer?.bytesWritten ?? 0;
    expect(total).toBeGreaterThan(200);

    for (let allowed = 0; allowed < total; allowed += 13) {
      const world = new VirtualWorld();
      world.network.segmentBytes = 1;
      const again = await startServer(world.env, auth, { handshakeTimeoutMs: 4000 });
      const { seen, connection } = dial(world.env, again.addr, auth.client(), { timeoutMs: 3000 });
      const near = world.network.to(again.port)[0];
      let received = 0;
      if (near) {
        near.tap = (bytes) => {
          if (++received > allowed) near.stalled = true;
          return bytes;
        };
      }
      await world.advance(10_000);
      expect(seen.ready, `${allowed} bytes`).toBe(0);
      expect(isRadosError(seen.error, 'ETIMEDOUT'), `${allowed} bytes`).toBe(true);
      expect(again.peers[0]?.closes.length).toBe(1);
      expect(again.server.connections.size).toBe(0);
      expect(connection.closed).toBe(true);
      expect(world.pendingEvents).toBe(0);
    }
  });

  it('because a client says nothing is ended by the server', async () => {
    const world = new VirtualWorld();
    const server = await listening(world.env, noneAuth(), { handshakeTimeoutMs: 30_000 });
    const buffer = new Uint8Array(1000);
    let closed = false;
    world.network.connect(
      { host: '127.0.0.1', port: server.port },
      {
        readInto: () => buffer,
        onRead: () => {},
        onDrain: () => {},
        onClose: () => {
          closed = true;
        },
      },
      () => {},
    );
    await world.advance(31_000);
    expect(closed).toBe(true);
    expect(isRadosError(server.peers[0]?.error, 'ETIMEDOUT')).toBe(true);
  });

  it('because the peer breaks off says in which phase', async () => {
    const world = new VirtualWorld();
    const auth = cephxAuth(world.env);
    const server = await listening(world.env, auth);
    const { seen } = dialled(world.env, server.addr, auth.client());
    await world.until(() => world.network.to(server.port)[0]?.peer);
    const stream = world.network.to(server.port)[0];
    let hung = false;
    await world.until(() => {
      if (stream?.peer && stream.peer.bytesWritten > 120 && !hung) {
        hung = true;
        stream.halfClose();
      }
      return seen.closes.length === 1;
    });
    expect(isRadosError(seen.error, 'ECONNRESET')).toBe(true);
    expect(seen.error?.message).toMatch(/closed the connection during handshake \((hello|auth)\)/);
  });
});

describe('a server', () => {
  it('keeps no more connections than it may', async () => {
    const world = new VirtualWorld();
    const auth = noneAuth();
    const server = await listening(world.env, auth, { maxConnections: 2 });
    const dials = [1, 2, 3].map(() => dialled(world.env, server.addr, auth.client()));
    await world.advance(1000);
    expect(dials.map(({ seen }) => seen.ready)).toEqual([1, 1, 0]);
    expect(dials[2]?.seen.closes).toHaveLength(1);
    expect(server.server.connections.size).toBe(2);
  });

  it('drops its connections when it closes', async () => {
    const world = new VirtualWorld();
    const auth = noneAuth();
    const server = await startServer(world.env, auth);
    const { seen } = dialled(world.env, server.addr, auth.client());
    await world.until(() => seen.ready === 1);
    await world.until(server.server.close());
    await world.until(() => seen.closes.length === 1);
    const late = dialled(world.env, server.addr, auth.client());
    await world.until(() => late.seen.closes.length === 1);
    expect(isRadosError(late.seen.error, 'ECONNREFUSED')).toBe(true);
  });

  it('asks its handler where data should go', async () => {
    const world = new VirtualWorld();
    const auth = noneAuth();
    const place = new Uint8Array(100);
    const handler = Object.assign(new Recorder(), { placeData: () => place });
    const server = await listening(world.env, auth, { accept: () => handler });
    const { connection } = dialled(world.env, server.addr, auth.client());
    connection.send(outgoing(42, new Uint8Array(0), { data: [pattern(100, 5)] }));
    await world.until(() => handler.messages.length === 1);
    expect(handler.messages[0]?.data.buffer).toBe(place.buffer);
    expect(place).toEqual(pattern(100, 5));
  });

  it('gives a message that comes before the session no buffer', async () => {
    const world = new VirtualWorld();
    const server = await listening(world.env, noneAuth());
    const buffer = new Uint8Array(1000);
    const writer = new FrameWriter(crc32c);
    const stream = world.network.connect(
      { host: '127.0.0.1', port: server.port },
      { readInto: () => buffer, onRead: () => {}, onDrain: () => {}, onClose: () => {} },
      () => {
        stream.write([
          encodeBanner(),
          ...writer.assemble([
            {
              kind: 'control',
              tag: TAG.HELLO,
              payload: encodeWith(hello, { entityType: 8, peerAddr: server.addr }),
            },
            { kind: 'message', message: outgoing(42, new Uint8Array(50)) },
          ]),
        ]);
      },
    );
    await world.until(() => server.peers[0]?.closes.length === 1);
    expect(server.peers[0]?.error?.message).toContain('before the session is established');
    expect(server.peers[0]?.messages).toEqual([]);
  });
});

describe('receive windows', () => {
  it('go back to the pool when a connection is over, however it ended', async () => {
    const world = new VirtualWorld();
    const auth = noneAuth();
    const server = await listening(world.env, auth);
    const kernels = loadKernels();
    const windows = new WindowPool(kernels, 2);
    for (let i = 0; i < 20; i++) {
      const target = i % 3 === 0 ? v2Addr(1) : server.addr;
      const { connection, seen } = dial(world.env, target, auth.client(), { windows });
      await world.until(() => seen.ready === 1 || seen.closes.length === 1);
      if (i % 2 === 0) connection.close();
      else world.network.to(server.port)[0]?.reset();
      await world.until(() => seen.closes.length === 1);
    }
    expect(windows.acquire().buffer === kernels.memory.buffer).toBe(true);
  });

  it('beyond the pool lie in ordinary memory, and work', async () => {
    const kernels = loadKernels();
    const windows = new WindowPool(kernels, 1);
    const [pooled, ordinary] = [windows.acquire(), windows.acquire()];
    expect(pooled.buffer === kernels.memory.buffer).toBe(true);
    expect(ordinary.buffer === kernels.memory.buffer).toBe(false);
    const world = new VirtualWorld();
    const auth = noneAuth();
    const server = await listening(world.env, auth);
    const { connection, seen } = dialled(world.env, server.addr, auth.client(), { windows });
    await world.until(() => seen.ready === 1);
    connection.send(outgoing(42, pattern(300, 1)));
    await world.until(() => server.peers[0]?.messages.length === 1);
    expect(server.peers[0]?.messages[0]?.front).toEqual(pattern(300, 1));
  });
});

it('the identity in CLIENT_IDENT is the address that the server saw, with our nonce and port 0', async () => {
  const { env, until } = overTcp();
  const auth = cephxAuth(env);
  const server = await listening(env, auth, { modes: BOTH_MODES });
  const { seen } = dialled(env, server.addr, auth.client(), { nonce: 99 });
  await until(() => seen.ready === 1);
  expect(server.peers[0]?.connection?.peer.addrs).toEqual([
    { type: 3, nonce: 99, host: '127.0.0.1', port: 0 },
  ]);
});
