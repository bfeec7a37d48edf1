import { describe, expect, it } from 'vitest';
import type { StreamHandler } from '../../src/base/environment.js';
import { EventQueue, type QueuedEvent } from '../../src/sim/event-queue.js';
import { Draw, seededRandom } from '../../src/sim/random.js';
import type { VirtualStream } from '../../src/sim/virtual-network.js';
import { VirtualProcess } from '../../src/sim/virtual-process.js';
import { VirtualWorld } from '../../src/sim/virtual-world.js';

describe('a queue of events', () => {
  it('gives them by time, and those of one time in the order of asking, whatever is cancelled', () => {
    for (let seed = 1; seed <= 50; seed++) {
      const draw = new Draw(seededRandom(seed));
      const queue = new EventQueue();
      const alive: QueuedEvent[] = [];
      const taken: QueuedEvent[] = [];
      for (let i = 0; i < 500; i++) {
        const action = draw.weighted({ add: 5, cancel: 3, take: 2 });
        if (action === 'add') alive.push(queue.add(draw.int(0, 20) + i / 100, () => {}));
        else if (alive.length === 0) continue;
        else if (action === 'cancel') {
          queue.cancel(alive.splice(draw.int(0, alive.length - 1), 1)[0] as QueuedEvent);
        } else {
          alive.sort((a, b) => a.at - b.at || a.order - b.order);
          expect(queue.next).toBe(alive[0]?.at);
          const event = queue.take() as QueuedEvent;
          expect(event).toBe(alive.shift());
          event.run = undefined;
          taken.push(event);
        }
        expect(queue.length).toBe(alive.length);
      }
      expect(taken.length).toBeGreaterThan(20);
    }
  });
});

describe('a world', () => {
  it('in which something goes round without time passing says what that is', async () => {
    const world = new VirtualWorld({ instantEventsMax: 5000 });
    const goRound = () => void world.env.timers.nextTurn(goRound);
    world.after(10, goRound);
    await expect(world.advance(20)).rejects.toThrow(
      /5000 events and more at 10 ms, and time does not pass\n1000 of 1001: at goRound/,
    );
  });

  it('in which very many things happen at a time goes on', async () => {
    const world = new VirtualWorld({ instantEventsMax: 5000 });
    let happened = 0;
    for (let at = 1; at <= 3; at++) {
      for (let i = 0; i < 5000; i++) world.after(at, () => void happened++);
    }
    await world.advance(10);
    expect(happened).toBe(15_000);
  });

  it('delivers a large write piece by piece, in no more than some hundred pieces', async () => {
    const world = new VirtualWorld();
    world.network.segmentBytes = 1;
    const got: Uint8Array[] = [];
    const handler = (onBytes: (bytes: Uint8Array) => void): StreamHandler => {
      const place = new Uint8Array(65_536);
      return {
        readInto: () => place,
        onRead: (length) => onBytes(place.slice(0, length)),
        onDrain: () => {},
        onClose: () => {},
      };
    };
    const listener = await world.env.network.listen({ host: 'here', port: 0 }, () =>
      handler((bytes) => got.push(bytes)),
    );
    const sent = Buffer.alloc(1_000_000, 'abcdefg');
    world.env.network.connect(
      listener.address,
      handler(() => {}),
      (stream) => {
        stream.write([sent.subarray(0, 100)]);
        stream.write([sent.subarray(100)]);
      },
    );
    await world.advance(10);
    expect(Buffer.concat(got).equals(sent)).toBe(true);
    expect(got.slice(0, 100).every(({ length }) => length === 1)).toBe(true);
    expect(got.length).toBeGreaterThan(500);
    expect(got.length).toBeLessThan(1000);
  });
});

describe('ports', () => {
  const silent: StreamHandler = {
    readInto: () => new Uint8Array(1),
    onRead: () => {},
    onDrain: () => {},
    onClose: () => {},
  };

  it('are given out again when they are free, and never one that is in use', async () => {
    const world = new VirtualWorld();
    const { network } = world.env;
    const { address } = await network.listen({ host: 'here', port: 0 }, () => silent);
    const dial = () => network.connect(address, silent, () => {}) as VirtualStream;
    const kept = dial();
    const seen = new Set<number>();
    for (let round = 0; round < 200; round++) {
      const streams = Array.from({ length: 100 }, dial);
      for (const { localAddress } of streams) seen.add(localAddress.port);
      for (const stream of streams) stream.destroy();
      await world.flush();
    }
    expect(Math.max(...seen)).toBe(65_535);
    expect(seen.has(kept.localAddress.port)).toBe(false);
    expect(seen.has(address.port)).toBe(false);
    // All others of those from 50,000 on.
    expect(seen.size).toBe(65_536 - 50_000 - 2);
  });

  it('that are all in use are told of', async () => {
    const world = new VirtualWorld();
    const { network } = world.env;
    for (let i = 50_000; i < 65_536; i++)
      await network.listen({ host: 'here', port: i }, () => silent);
    const failed = { code: 'EADDRNOTAVAIL' };
    await expect(network.listen({ host: 'here', port: 0 }, () => silent)).rejects.toMatchObject(
      failed,
    );
    let error: unknown;
    const onClose = (why?: Error) => {
      error = why;
    };
    network.connect({ host: 'here', port: 50_000 }, { ...silent, onClose }, () => {});
    await world.flush();
    expect(error).toMatchObject(failed);
  });
});

describe('a process', () => {
  it('that goes on does not run a timer that was cancelled while it stood still', async () => {
    const world = new VirtualWorld();
    const process = new VirtualProcess(world);
    const fired: string[] = [];
    const second = process.env.timers.after(20, () => fired.push('second'));
    process.env.timers.after(10, () => {
      fired.push('first');
      second.cancel();
    });
    process.stop();
    await world.advance(100);
    expect(fired).toEqual([]);
    process.continue();
    expect(fired).toEqual(['first']);
  });

  it('that was stopped twice goes on when both are over', async () => {
    const world = new VirtualWorld();
    const process = new VirtualProcess(world);
    const fired: string[] = [];
    process.env.timers.after(10, () => fired.push('timer'));
    process.stop();
    process.stop();
    process.continue();
    await world.advance(100);
    expect(fired).toEqual([]);
    process.continue();
    expect(fired).toEqual(['timer']);
    // More often than it was stopped: nothing.
    process.continue();
    process.stop();
    process.env.timers.after(10, () => fired.push('another'));
    await world.advance(100);
    expect(fired).toEqual(['timer']);
    process.stop();
    process.wake();
    expect(fired).toEqual(['timer', 'another']);
  });

  it('that dies while it stands still does nothing of what it missed', async () => {
    const world = new VirtualWorld();
    const process = new VirtualProcess(world);
    const fired: string[] = [];
    process.env.timers.after(10, () => fired.push('timer'));
    process.stop();
    await world.advance(100);
    process.kill();
    process.continue();
    expect(fired).toEqual([]);
  });

  it('that dies leaves no timer behind', async () => {
    const world = new VirtualWorld();
    const process = new VirtualProcess(world);
    process.env.timers.after(1000, () => {
      throw new Error('it is dead');
    });
    process.kill();
    expect(world.pendingEvents).toBe(0);
    process.env.timers.after(1000, () => {
      throw new Error('it is dead');
    });
    await world.advance(2000);
  });
});
