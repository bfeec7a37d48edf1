/** What one device does with its limits: depth, memory, waiting calls, aborts, read-only, size. */

import { describe, expect, it } from 'vitest';

import type { FakeStatus } from './support/fake-runtime.js';
import { pattern, rejection, thrown, withFake } from './support/hosts.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const gate = { from: 0, to: 4096, openAt: 8192 };
const openGate = 8192;

describe.each([0, 1] as const)('limits (threads: %i)', (threads) => {
  it('keeps no more requests at the backend than queue_depth', async () => {
    await withFake(
      threads,
      { map: { queueDepth: 7 }, maxDelayTurns: 4 },
      async ({ device, host }) => {
        await Promise.all(Array.from({ length: 500 }, (_, i) => device.read(i, 1)));
        expect(((await host.status()) as FakeStatus).maxConcurrent).toBe(7);
      },
    );
  });

  it('refuses calls beyond maxQueued with EAGAIN, and takes new ones later', async () => {
    const options = { gate, map: { queueDepth: 2 }, open: { maxQueued: 10 } };
    await withFake(threads, options, async ({ device }) => {
      const held = [
        device.write(0, Buffer.alloc(1)),
        device.write(openGate + 512, Buffer.alloc(1)),
      ];
      const waiting = Array.from({ length: 10 }, () => device.write(0, Buffer.alloc(1)));
      const error = await rejection(device.write(0, Buffer.alloc(1)));
      expect(error).toMatchObject({ code: 'EAGAIN', retryable: true, outcome: 'not-applied' });
      // One of the two tags is free again: this is let in once there is room.
      await held[1];
      await waitUntil(() => device.load.inFlight === 1);
      expect(await rejection(device.write(openGate, Buffer.alloc(1)))).toMatchObject({
        code: 'EAGAIN',
      });
      const all = Promise.allSettled([...held, ...waiting]);
      await device.close({ force: true });
      expect((await all).filter(({ status }) => status === 'rejected')).toHaveLength(11);
    });
  });

  it('refuses copies beyond maxQueuedBytes, but not borrowed data', async () => {
    const options = { gate, map: { queueDepth: 1 }, open: { maxQueuedBytes: 10_000 } };
    await withFake(threads, options, async ({ device }) => {
      const held = device.write(0, Buffer.alloc(1));
      // The first is let in whatever its size.
      const first = device.write(64 * KIB, pattern(20_000, 1));
      const refused = await rejection(device.write(128 * KIB, Buffer.alloc(100)));
      expect(refused).toMatchObject({ code: 'EAGAIN', outcome: 'not-applied' });
      const borrowed = device.write(256 * KIB, pattern(20_000, 2), { borrowed: true });
      const all = Promise.allSettled([held, first, borrowed]);
      await device.close({ force: true });
      expect((await all).every(({ status }) => status === 'rejected')).toBe(true);
    });
  });
});

describe('memory', () => {
  it('makes requests wait until there is room, in order, however large', async () => {
    const options = { size: 4 * MIB, maxDelayTurns: 2, open: { arenaBytes: 64 * KIB } };
    await withFake(1, options, async ({ device }) => {
      const data = pattern(MIB, 1);
      const small = Array.from({ length: 50 }, (_, i) => device.read(3 * MIB + i, 1));
      const write = device.write(1000, data);
      const later = Array.from({ length: 50 }, (_, i) => device.read(3 * MIB + i, 1));
      await Promise.all([...small, write, ...later]);
      expect(Buffer.compare(await device.read(1000, MIB), data)).toBe(0);
    });
  });

  it('lets views hold half of it, and goes on beside them', async () => {
    const options = { size: 4 * MIB, open: { arenaBytes: 64 * KIB, pieceBytes: 32 * KIB } };
    await withFake(1, options, async ({ device }) => {
      // Eight views with gaps between them: no 32 KiB in one piece are left.
      const views = [];
      for (let i = 0; i < 7; i++) {
        const [view, spacer] = await Promise.all([
          device.readView(i * 4096, 10),
          device.readView(i * 4096, i < 6 ? 8000 : 10),
        ]);
        views.push(view);
        spacer.release();
      }
      views.push(await device.readView(0, 1));
      // Counted in whole pages, also those that are being read.
      expect(device.load.viewBytes).toBe(32 * KIB);
      expect(await rejection(device.readView(0, 1))).toMatchObject({ code: 'EAGAIN' });
      const data = pattern(200 * KIB, 2);
      await device.write(MIB, data);
      expect(Buffer.compare(device.readSync(MIB, data.length), data)).toBe(0);
      for (const view of views) view.release();
      const again = await device.readView(MIB, 32 * KIB);
      expect(Buffer.compare(again.data, data.subarray(0, 32 * KIB))).toBe(0);
      again.release();
      expect(await rejection(device.readView(0, 32 * KIB + 1))).toMatchObject({ code: 'EINVAL' });
    });
  });

  it('that views hold in part is enough for calls of any size', async () => {
    const options = { size: 4 * MIB, open: { arenaBytes: 16 * KIB, pieceBytes: 8 * KIB } };
    await withFake(1, options, async ({ device }) => {
      const first = await device.readView(0, 4096);
      const second = await device.readView(0, 4096);
      first.release();
      // Free: the first page, and the last two.
      const third = await device.readView(0, 4096);
      device.writeSync(0, pattern(100 * KIB, 3));
      expect(Buffer.compare(device.readSync(0, 100 * KIB), pattern(100 * KIB, 3))).toBe(0);
      second.release();
      third.release();
    });
  });

  it('in pieces too small for what cannot be cut is an error for a blocking call behind it', async () => {
    const open = { arenaBytes: 16 * KIB, pieceBytes: 8 * KIB };
    await withFake(1, { size: 4 * MIB, gate, open }, async ({ device }) => {
      // Of the four pages the second and the third are held: no two free ones lie together.
      const firstPage = device.write(0, Buffer.alloc(1));
      const views = [await device.readView(MIB, 4096), await device.readView(MIB, 4096)];
      await device.write(openGate, Buffer.alloc(1));
      await firstPage;
      const swap = device.compareAndWrite(MIB, Buffer.alloc(4096), Buffer.alloc(4096, 1));
      const error = thrown(() => device.readSync(2 * MIB, 1));
      expect(error).toMatchObject({ code: 'EAGAIN', op: 'read' });
      for (const view of views) view.release();
      await swap;
      expect(device.readSync(MIB, 1)).toEqual(Buffer.from([1]));
    });
  });
});

describe.each([0, 1] as const)('aborts (threads: %i)', (threads) => {
  it('leave calls that wait without effect', async () => {
    await withFake(threads, { gate }, async ({ device }) => {
      const held = device.write(0, Buffer.alloc(512, 1));
      const abort = new AbortController();
      const waiting = rejection(device.write(0, Buffer.alloc(512, 2), { signal: abort.signal }));
      const behind = device.write(256, Buffer.alloc(16, 3));
      abort.abort();
      expect(await waiting).toMatchObject({ code: 'ECANCELED', outcome: 'not-applied' });
      await device.write(openGate, Buffer.alloc(1));
      await Promise.all([held, behind]);
      const expected = Buffer.alloc(512, 1).fill(3, 256, 272);
      expect(await device.read(0, 512)).toEqual(expected);
      expect(device.load.waiting).toBe(0);
    });
  });

  it('keep the place of a write in flight until it is answered', async () => {
    await withFake(threads, { gate, open: { arenaBytes: 8 * KIB } }, async ({ device }) => {
      const data = Buffer.alloc(4096, 5);
      const abort = new AbortController();
      const aborted = rejection(device.write(0, data, { signal: abort.signal }));
      abort.abort(new DOMException('too slow', 'TimeoutError'));
      expect(await aborted).toMatchObject({ code: 'ETIMEDOUT', outcome: 'unknown' });
      expect(device.load.inFlight).toBe(1);
      // Would overwrite the payload if its place were free; one page is all that is left.
      for (let i = 0; i < 10; i++) await device.write(16 * KIB, Buffer.alloc(4096, 6));
      const after = device.read(0, 4096);
      await device.write(openGate, Buffer.alloc(1));
      expect(await after).toEqual(data);
      expect(device.load.inFlight).toBe(0);
    });
  });

  it('leave the buffer of an aborted read alone', async () => {
    await withFake(threads, { gate }, async ({ device }) => {
      const into = Buffer.alloc(64, 9);
      const abort = new AbortController();
      const read = rejection(device.read(0, into, { signal: abort.signal }));
      abort.abort();
      expect(await read).toMatchObject({ code: 'ECANCELED', retryable: true });
      await device.write(openGate, Buffer.alloc(1));
      await device.flush();
      await device.read(0, 64);
      expect(into).toEqual(Buffer.alloc(64, 9));
    });
  });

  it('stop the rest of a large write', async () => {
    const open = { arenaBytes: 16 * KIB, pieceBytes: 4 * KIB };
    await withFake(threads, { delayMs: 20, size: 4 * MIB, open }, async ({ device, host }) => {
      const abort = new AbortController();
      const write = rejection(device.write(0, Buffer.alloc(MIB, 1), { signal: abort.signal }));
      await new Promise((resolve) => setTimeout(resolve, 50));
      abort.abort();
      expect(await write).toMatchObject({ code: 'ECANCELED', outcome: 'unknown' });
      await device.flush();
      await new Promise((resolve) => setTimeout(resolve, 100));
      // Of the 256 pieces only those that were in the arena went out.
      const { writes } = (await host.status()) as FakeStatus;
      expect(writes.length).toBeLessThan(40);
      expect(device.load).toEqual({ inFlight: 0, waiting: 0, viewBytes: 0 });
    });
  });
});

describe.each([0, 1] as const)('the image (threads: %i)', (threads) => {
  it('open read-only refuses every change', async () => {
    await withFake(threads, { snap: 'before' }, async ({ device }) => {
      expect(device.readOnly).toBe(true);
      expect(device.attributes.currentSnap).toBe('before');
      const refused = {
        code: 'EROFS',
        errno: -30,
        outcome: 'not-applied',
        target: 'rbd/disk@before',
      };
      expect(await rejection(device.write(0, Buffer.alloc(1)))).toMatchObject(refused);
      expect(await rejection(device.discard(0, 1))).toMatchObject(refused);
      expect(await rejection(device.writeZeroes(0, 1))).toMatchObject(refused);
      expect(
        await rejection(device.compareAndWrite(0, Buffer.alloc(1), Buffer.alloc(1))),
      ).toMatchObject(refused);
      expect(await rejection(device.resize(1))).toMatchObject({ code: 'EROFS' });
      expect(await device.read(0, 1)).toHaveLength(1);
      await device.flush();
    });
  });

  it('mapped with notrim refuses discards and keeps zeroed space', async () => {
    await withFake(threads, { map: { notrim: true } }, async ({ device }) => {
      expect(await rejection(device.discard(0, 1))).toMatchObject({ code: 'EOPNOTSUPP' });
      await device.writeZeroes(0, 100);
    });
  });

  it('is resized, and the device follows', async () => {
    await withFake(threads, { size: MIB }, async ({ device }) => {
      const sizes: number[] = [];
      device.on('resize', (size) => sizes.push(size));
      await device.resize(2 * MIB);
      expect(device.size).toBe(2 * MIB);
      await device.write(2 * MIB - 1, Buffer.from([1]));
      await device.resize(4096);
      expect(await rejection(device.read(4096, 1))).toMatchObject({ code: 'EINVAL' });
      expect(sizes).toEqual([2 * MIB, 4096]);
      expect(Object.isFrozen(device.attributes)).toBe(true);
    });
  });

  it('shrunk by somebody else gives errors, not stale bytes', async () => {
    const options = { size: MIB, resizeAt: { request: 2, size: 4096 } };
    await withFake(threads, options, async ({ device }) => {
      const resized = new Promise((resolve) => device.once('resize', resolve));
      await device.write(8192, Buffer.alloc(10));
      expect(await rejection(device.read(8192, 10))).toMatchObject({ code: 'EIO' });
      expect(await resized).toBe(4096);
      expect(await rejection(device.read(8192, 10))).toMatchObject({ code: 'EINVAL' });
    });
  });

  it('is told which writes must be durable', async () => {
    await withFake(threads, {}, async ({ device, host }) => {
      await device.write(0, Buffer.alloc(1), { fua: true });
      await device.write(0, Buffer.alloc(1));
      const { writes } = (await host.status()) as FakeStatus;
      expect(writes.map(({ fua }) => fua)).toEqual([true, false]);
    });
  });
});

describe('a flush', () => {
  it('waits for all earlier writes and for no later one', async () => {
    await withFake(1, { gate }, async ({ device }) => {
      const order: string[] = [];
      const held = device.write(0, Buffer.alloc(1)).then(() => order.push('write'));
      const flush = device.flush().then(() => order.push('flush'));
      await device.write(16 * KIB, Buffer.alloc(1));
      order.push('later write');
      await device.write(openGate, Buffer.alloc(1));
      await Promise.all([held, flush]);
      expect(order).toEqual(['later write', 'write', 'flush']);
    });
  });
});

describe('a synchronous call', () => {
  it('settles asynchronous ones that end meanwhile', async () => {
    await withFake(1, { maxDelayTurns: 3 }, async ({ device }) => {
      const reads = Array.from({ length: 20 }, (_, i) => device.read(i * 512, 512));
      device.flushSync();
      device.writeSync(0, Buffer.alloc(20 * 512, 1));
      expect((await Promise.all(reads)).every((data) => data.every((byte) => byte === 0))).toBe(
        true,
      );
    });
  });

  it('alternates with asynchronous ones for long without losing a wake-up', async () => {
    await withFake(1, { maxDelayTurns: 1 }, async ({ device }) => {
      for (let i = 0; i < 2000; i++) {
        const value = i & 0xff;
        if (i % 3 === 0) device.writeSync(0, Buffer.alloc(64, value));
        else await device.write(0, Buffer.alloc(64, value));
        const read = i % 2 === 0 ? await device.read(0, 64) : device.readSync(0, 64);
        if (read[63] !== value) expect(read[63]).toBe(value);
      }
      expect(thrown(() => device.readSync(device.size, 1))).toMatchObject({ code: 'EINVAL' });
    });
  });
});

async function waitUntil(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 1000 && !condition(); i++) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  expect(condition()).toBe(true);
}
