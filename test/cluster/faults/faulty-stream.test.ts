// Connections under faults in virtual time: what passes, when, and that no byte is lost or doubled.

import { beforeEach, describe, expect, it } from 'vitest';
import type { Stream, StreamHandler } from '../../../src/base/environment.js';
import type { Shaper } from '../../../src/cluster/faults/lane.js';
import { type ConnectionRule, NetworkFaults } from '../../../src/cluster/faults/network-faults.js';
import { VirtualWorld } from '../../../src/sim/virtual-world.js';

const PORT = 7600;

/** One end of a connection: what it got, and when. */
class End implements StreamHandler {
  readonly got: { at: number; bytes: string }[] = [];
  readonly #world: VirtualWorld;
  readonly #place: Uint8Array;
  stream!: Stream;
  closed: { error: Error | undefined; at: number } | undefined;

  constructor(world: VirtualWorld, placeBytes = 7) {
    this.#world = world;
    this.#place = new Uint8Array(placeBytes);
  }

  readInto(): Uint8Array {
    return this.#place;
  }

  onRead(length: number): void {
    const bytes = Buffer.from(this.#place.subarray(0, length)).toString('latin1');
    this.got.push({ at: Math.round(this.#world.now), bytes });
  }

  onDrain(): void {}

  onClose(error?: Error): void {
    if (this.closed) throw new Error('closed twice');
    this.closed = { error, at: Math.round(this.#world.now) };
  }

  get text(): string {
    return this.got.map(({ bytes }) => bytes).join('');
  }

  send(text: string): void {
    this.stream.write([Buffer.from(text, 'latin1')]);
  }
}

describe('a connection under faults', () => {
  let world: VirtualWorld;
  let faults: NetworkFaults;
  let client: End;
  let server: End;
  let fired: number;

  beforeEach(async () => {
    world = new VirtualWorld();
    faults = new NetworkFaults(world.env);
    client = new End(world);
    server = new End(world);
    fired = 0;
    await faults.of('osd.0').listen({ host: '127.0.0.1', port: PORT }, (stream) => {
      server.stream = stream;
      return server;
    });
    const target = { host: '127.0.0.1', port: PORT };
    client.stream = world.env.network.connect(target, client, () => {});
    await world.advance(10);
  });

  const fire = () => {
    fired++;
    return true;
  };

  function shape(
    shaper: Omit<Shaper, 'fire'>,
    direction: 'toCluster' | 'toClient' | 'both' = 'both',
    filter: Partial<ConnectionRule['filter']> = {},
  ): () => void {
    const whole = { ...shaper, fire };
    return faults.arm({
      filter: { daemon: undefined, client: undefined, ...filter },
      open: true,
      later: true,
      act: {
        what: 'shape',
        toCluster: direction === 'toClient' ? undefined : whole,
        toClient: direction === 'toCluster' ? undefined : whole,
      },
    });
  }

  it('passes everything while there are none, and those of others do not matter', async () => {
    shape({ hold: true }, 'both', { daemon: 'osd.1' });
    shape({ hold: true }, 'both', { client: () => true });
    client.send('question of some length');
    server.send('answer');
    await world.advance(1);
    expect([server.text, client.text]).toEqual(['question of some length', 'answer']);
    expect(fired).toBe(0);
  });

  it('holds back in one direction, and gives all of it at the end in order', async () => {
    const end = shape({ hold: true }, 'toCluster');
    client.send('one ');
    await world.advance(50);
    client.send('two ');
    server.send('answer');
    await world.advance(50);
    expect([server.text, client.text]).toEqual(['', 'answer']);
    end();
    client.send('three');
    await world.advance(1);
    expect(server.text).toBe('one two three');
    expect(fired).toBe(2);
  });

  it('keeps to itself what it cannot send: the writer sees it as pending', async () => {
    const end = shape({ hold: true }, 'toClient');
    server.send('answer');
    expect(server.stream.pendingBytes).toBe(6);
    end();
    await world.flush();
    expect(server.stream.pendingBytes).toBe(0);
  });

  it('reads no more than a client may send ahead', async () => {
    const end = shape({ hold: true }, 'toCluster');
    const block = 'x'.repeat(300_000);
    for (let i = 0; i < 10; i++) client.send(block);
    await world.advance(10);
    expect(fired * 65_536).toBeLessThan(2_000_000);
    end();
    await world.advance(10);
    expect(server.text.length).toBe(3_000_000);
  });

  it('takes its time, each direction for itself, delays added up', async () => {
    shape({ delayMs: 100 });
    const end = shape({ delayMs: 50 }, 'toClient');
    const start = Math.round(world.now);
    client.send('question');
    server.send('answer');
    await world.advance(1000);
    expect(server.got[0]?.at).toBe(start + 100);
    expect(client.got[0]?.at).toBe(start + 150);
    server.send('late');
    end();
    await world.advance(99);
    expect(client.text).toBe('answer');
    await world.advance(1000);
    expect(client.text).toBe('answerlate');
  });

  it('carries so many bytes a second, the slowest link counting', async () => {
    shape({ bytesPerSecond: 1000 });
    shape({ bytesPerSecond: 500 }, 'toClient');
    client.send('x'.repeat(1000));
    server.send('y'.repeat(1000));
    await world.advance(500);
    expect(server.text.length).toBeGreaterThanOrEqual(480);
    expect(server.text.length).toBeLessThanOrEqual(520);
    expect(client.text.length).toBeGreaterThanOrEqual(240);
    expect(client.text.length).toBeLessThanOrEqual(260);
    await world.advance(2000);
    expect([server.text.length, client.text.length]).toEqual([1000, 1000]);
  });

  it('breaks after the bytes that were allowed, to the byte', async () => {
    shape({ breakAfter: 10 }, 'toCluster');
    client.send('12345');
    await world.advance(1);
    expect(server.closed).toBeUndefined();
    client.send('67890 and more');
    await world.advance(1);
    expect(server.text).toBe('1234567890');
    expect(server.closed?.error).toMatchObject({ code: 'ECONNRESET' });
    expect(client.closed?.error).toMatchObject({ code: 'ECONNRESET' });
    expect(fired).toBe(1);
  });

  it('hears of its end after everything before it', async () => {
    const end = shape({ hold: true });
    client.send('last words');
    await world.advance(1);
    client.stream.destroy();
    await world.advance(1000);
    expect([server.text, server.closed]).toEqual(['', undefined]);
    end();
    await world.advance(1);
    expect(server.text).toBe('last words');
    expect(server.closed).toMatchObject({ error: undefined });
  });

  it('ends for the daemon at once, and for a client in a black hole when that is over', async () => {
    const end = shape({ hold: true });
    server.send('unheard');
    server.stream.destroy();
    await world.advance(1);
    expect(server.closed).toBeDefined();
    await world.advance(1000);
    expect(client.closed).toBeUndefined();
    end();
    await world.advance(1);
    expect(client.text).toBe('');
    expect(client.closed).toBeDefined();
    expect(world.network.streams.size).toBe(0);
  });

  it('leaves no timer behind when it is gone', async () => {
    shape({ delayMs: 100_000, bytesPerSecond: 1 });
    client.send('never');
    server.send('never');
    await world.advance(1);
    client.stream.destroy();
    server.stream.destroy();
    await world.advance(1);
    expect(server.closed).toBeDefined();
    expect(world.pendingEvents).toBe(0);
  });

  it('that its reader pauses is paused, whatever faults let through', async () => {
    const end = shape({ hold: true }, 'toCluster');
    client.send('question');
    await world.advance(1);
    server.stream.pause();
    end();
    await world.advance(10);
    expect(server.text).toBe('');
    server.stream.resume();
    await world.advance(1);
    expect(server.text).toBe('question');
  });
});
