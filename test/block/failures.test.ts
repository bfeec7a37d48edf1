/** What happens to calls when something goes wrong: nothing stays pending, and the errors tell what is known. */

import { describe, expect, it } from 'vitest';

import type { Environment } from '../../src/base/environment.js';
import { nodeEnvironment } from '../../src/base/node-environment.js';
import { mapOptions } from '../../src/block/map-options.js';
import { type DeathKind, type FakeStatus, IMAGE } from './support/fake-runtime.js';
import {
  openFake,
  pattern,
  rejection,
  spec,
  startHost,
  thrown,
  withFake,
} from './support/hosts.js';

const KIB = 1024;

describe('the death of a worker that is not replaced', () => {
  it.each<DeathKind>(['exit', 'silent-exit', 'throw', 'reject'])(
    'settles every call: %s',
    async (how) => {
      await withFake(
        1,
        { size: 1024 * KIB, maxDelayTurns: 3, die: { request: 40, how }, maxReplacements: 0 },
        async ({ device }) => {
          const errors: unknown[] = [];
          const events: string[] = [];
          device.on('error', (error) => errors.push(error));
          device.on('close', () => events.push('close'));
          const reads = Array.from({ length: 200 }, (_, i) => device.read(i * 512, 512));
          const writes = Array.from({ length: 200 }, (_, i) =>
            device.write(512 * KIB + i * 512, Buffer.alloc(512)),
          );
          const flush = device.flush();
          const results = await Promise.allSettled([...reads, ...writes, flush]);
          const failed = results.flatMap((result) =>
            result.status === 'rejected' ? [result.reason as Record<string, unknown>] : [],
          );
          expect(failed.length).toBeGreaterThan(300);
          for (const error of failed) {
            expect(error).toMatchObject({
              name: 'RadosError',
              code: 'ENOTCONN',
              target: 'rbd/disk',
            });
            if (error['op'] === 'read') expect(error['retryable']).toBe(true);
            else expect(error['outcome']).toMatch(/^(unknown|not-applied)$/);
          }
          // Some were sent, some were not, and the errors know which.
          const outcomes = failed
            .filter((error) => error['op'] === 'write')
            .map((error) => error['outcome']);
          expect(outcomes).toContain('not-applied');
          if (how === 'throw' || how === 'reject') {
            expect((failed[0] as { message: string }).message).toContain('a fault of the worker');
          }

          expect(await rejection(device.read(0, 1))).toMatchObject({ code: 'ENOTCONN' });
          expect(await rejection(device.write(0, Buffer.alloc(1)))).toMatchObject({
            code: 'ENOTCONN',
            outcome: 'not-applied',
          });
          expect(thrown(() => device.readSync(0, 1))).toMatchObject({ code: 'ENOTCONN' });
          expect(errors).toHaveLength(1);
          await device.close();
          expect(events).toEqual(['close']);
        },
      );
    },
  );

  it('ends a synchronous call that is blocked', async () => {
    const dying = { die: { request: 3, how: 'exit' as const }, maxReplacements: 0 };
    await withFake(1, dying, async ({ device }) => {
      device.writeSync(0, Buffer.alloc(10));
      device.writeSync(0, Buffer.alloc(10));
      const error = thrown(() => device.writeSync(0, Buffer.alloc(10)));
      expect(error).toMatchObject({ code: 'ENOTCONN', outcome: 'unknown', op: 'write' });
      expect(error.message).toContain('ended');
    });
  });

  it('ends a blocked synchronous call also when the worker had no time for a last word', async () => {
    // A clock that runs 200 times as fast: the limit for a silent worker passes in a third of a second.
    const real = nodeEnvironment();
    const env: Environment = {
      ...real,
      clock: { now: real.clock.now, monotonic: () => real.clock.monotonic() * 200 },
    };
    const dying = { die: { request: 2, how: 'silent-exit' as const }, env, maxReplacements: 0 };
    await withFake(1, dying, async ({ device }) => {
      device.readSync(0, 10);
      const error = thrown(() => device.readSync(0, 10));
      expect(error).toMatchObject({ code: 'ENOTCONN', retryable: true });
      expect(error.message).toContain('no sign of life');
    });
  });

  it('rejects an open in progress, and later ones', async () => {
    const host = await startHost(1, {}, nodeEnvironment(), 0);
    const first = await rejection(host.open(spec(IMAGE.DIES_AT_OPEN), mapOptions()));
    expect(first).toMatchObject({ name: 'RadosError', code: 'ENOTCONN' });
    expect(await rejection(host.open(spec(), mapOptions()))).toMatchObject({ code: 'ENOTCONN' });
    expect(await rejection(host.status())).toMatchObject({ code: 'ENOTCONN' });
    await host.close();
  });

  it('rejects a close in progress, and the device is closed', async () => {
    const { host, device } = await openFake(1, { image: IMAGE.DIES_AT_CLOSE });
    expect(await rejection(device.close())).toMatchObject({ code: 'ENOTCONN' });
    expect(device.closed).toBe(true);
    await host.close();
  });

  it('before it started is told with its reason', async () => {
    const error = await rejection(startHost(1, { dieAtStart: true }));
    expect(error.message).toContain('the fake runtime does not start');
  });
});

describe('a main thread that is blocked', () => {
  it('does not stop the requests that it submitted before', async () => {
    const progress = new Int32Array(new SharedArrayBuffer(4));
    const options = {
      size: 2048 * KIB,
      maxDelayTurns: 3,
      map: { queueDepth: 512 },
      progress: progress.buffer as SharedArrayBuffer,
    };
    await withFake(1, options, async ({ device }) => {
      // No await in between, and pauses in which the worker falls asleep.
      const writes = Array.from({ length: 400 }, (_, i) => {
        block(0.1, () => false);
        return device.write(i * 4096, pattern(4096, i));
      });
      block(10_000, () => Atomics.load(progress, 0) === writes.length);
      const doneMeanwhile = Atomics.load(progress, 0);
      await Promise.all(writes);
      expect(doneMeanwhile).toBe(400);
    });
  });

  it('does not stop those that it submitted just after the worker fell asleep', async () => {
    const progress = new Int32Array(new SharedArrayBuffer(4));
    await withFake(1, { progress: progress.buffer as SharedArrayBuffer }, async ({ device }) => {
      const writes: Promise<void>[] = [];
      let late = 0;
      const done = () => Atomics.load(progress, 0) >= writes.length;
      for (let round = 0; round < 20; round++) {
        // One that rings; when the worker is done and asleep again, one that comes too soon after the bell to ring.
        for (const pause of [0.2, 0]) {
          writes.push(device.write(writes.length * 512, Buffer.alloc(512)));
          block(2000, done);
          if (!done()) late++;
          block(pause, () => false);
        }
      }
      await Promise.all(writes);
      expect(late).toBe(0);
    });
  });
});

describe('errors of the backend', () => {
  const errors = [
    { offset: 0, code: 'EIO' as const, outcome: 'unknown' as const },
    { offset: 8192, code: 'EBLOCKLISTED' as const },
  ];

  it.each([0, 1] as const)('come through with all they say (threads: %i)', async (threads) => {
    await withFake(threads, { errors }, async ({ device }) => {
      const error = await rejection(device.write(0, Buffer.alloc(512)));
      expect(error).toMatchObject({
        name: 'RadosError',
        code: 'EIO',
        errno: -5,
        op: 'operate',
        target: 'osd.3',
        retryable: true,
        outcome: 'unknown',
        message: 'osd.3: EIO',
      });
      expect((error.cause as Error).message).toBe('the disk is on fire');
      expect(await rejection(device.read(8192, 1))).toMatchObject({
        code: 'EBLOCKLISTED',
        errno: -108,
      });
      await device.write(512, Buffer.alloc(512));
      await device.compareAndWrite(1024, Buffer.alloc(4), Buffer.from('abcd'));
      const mismatch = await rejection(
        device.compareAndWrite(1022, Buffer.alloc(4), Buffer.alloc(4)),
      );
      expect(mismatch).toMatchObject({ code: 'EILSEQ', mismatchOffset: 2 });
    });
  });

  it('of a synchronous call are thrown with all they say', async () => {
    await withFake(1, { errors }, async ({ device }) => {
      const error = thrown(() => device.readSync(0, 1));
      expect(error).toMatchObject({ code: 'EIO', target: 'osd.3', retryable: true });
    });
  });

  it('make a write of several requests one of unknown outcome', async () => {
    const failing = [{ offset: 8192, code: 'EIO' as const, outcome: 'not-applied' as const }];
    await withFake(1, { errors: failing, open: { pieceBytes: 4096 } }, async ({ device }) => {
      const error = await rejection(device.write(0, Buffer.alloc(64 * KIB)));
      expect(error).toMatchObject({ code: 'EIO', outcome: 'unknown' });
      expect(device.load).toEqual({ inFlight: 0, waiting: 0, viewBytes: 0 });
    });
  });

  it.each([0, 1] as const)('that end the image fail the device (threads: %i)', async (threads) => {
    await withFake(threads, { failAt: { request: 2 }, maxDelayTurns: 2 }, async ({ device }) => {
      const failed = new Promise((resolve) => device.once('error', resolve));
      await device.read(0, 1);
      await device.read(0, 1).catch(() => {});
      expect(await failed).toMatchObject({ code: 'EBLOCKLISTED' });
      const error = await rejection(device.write(0, Buffer.alloc(1)));
      expect(error).toMatchObject({ code: 'EBLOCKLISTED', outcome: 'not-applied' });
    });
  });
});

describe('opening', () => {
  it.each([0, 1] as const)('rejects with the error of the image (threads: %i)', async (threads) => {
    const host = await startHost(threads);
    const error = await rejection(host.open(spec(IMAGE.MISSING), mapOptions()));
    expect(error).toMatchObject({
      name: 'RadosError',
      code: 'ENOENT',
      errno: -2,
      target: 'missing',
      op: 'open',
      retryable: true,
    });
    expect((error.cause as Error).message).toBe('rbd_id is missing');
    await host.close();
  });

  it.each([0, 1] as const)(
    'that is aborted leaves no image open (threads: %i)',
    async (threads) => {
      const host = await startHost(threads);
      const signal = AbortSignal.timeout(50);
      const open = host.open(spec(IMAGE.HANGS_AT_OPEN), mapOptions(), { signal });
      expect((await rejection(open))['code']).toMatch(/ETIMEDOUT|ECANCELED/);
      await expect
        .poll(async () => ((await host.status()) as FakeStatus).backendsOpen, { timeout: 5000 })
        .toBe(0);
      await host.close();
    },
  );

  it('uses the memory of closed devices again', async () => {
    const host = await startHost(1);
    for (let i = 0; i < 10; i++) {
      // 64 MiB of kernel memory would not hold three of these.
      const device = await host.open(spec(), mapOptions(), { arenaBytes: 24 * 1024 * KIB });
      await device.write(0, pattern(4096, i));
      expect(await device.read(0, 4096)).toEqual(pattern(4096, i));
      await device.close();
    }
    const held = await host.open(spec(), mapOptions(), { arenaBytes: 24 * 1024 * KIB });
    const other = await host.open(spec(), mapOptions(), { arenaBytes: 24 * 1024 * KIB });
    const third = await rejection(host.open(spec(), mapOptions(), { arenaBytes: 24 * 1024 * KIB }));
    expect(third).toMatchObject({ code: 'ENOMEM' });
    await Promise.all([held.write(0, Buffer.alloc(10, 1)), other.write(0, Buffer.alloc(10, 2))]);
    expect([(await held.read(0, 1))[0], (await other.read(0, 1))[0]]).toEqual([1, 2]);
    await host.close();
    expect(held.closed && other.closed).toBe(true);
  });
});

describe('closing by force', () => {
  it.each([0, 1] as const)(
    'rejects what is pending, also while another close waits (threads: %i)',
    async (threads) => {
      const gate = { from: 0, to: 4096, openAt: 8192 };
      const { host, device } = await openFake(threads, { gate });
      const write = rejection(device.write(0, Buffer.alloc(512)));
      const read = rejection(device.read(1024, 512));
      const graceful = device.close();
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(device.closed).toBe(false);
      await device.close({ force: true });
      expect(await write).toMatchObject({ code: 'ECANCELED', outcome: 'unknown' });
      expect(await read).toMatchObject({ code: 'ECANCELED', retryable: true });
      await graceful;
      expect(await rejection(device.read(0, 1))).toMatchObject({ code: 'EBADF' });
      await host.close();
    },
  );
});

/** Keeps the thread busy: no event, no microtask. */
function block(ms: number, until: () => boolean): void {
  const end = performance.now() + ms;
  while (performance.now() < end && !until()) {
    // Nothing else runs here.
  }
}
