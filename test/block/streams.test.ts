import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { describe, expect, it } from 'vitest';

import { isZero } from '../../src/base/zeroes.js';
import {
  createReadStream,
  createWriteStream,
  nonZeroExtents,
  readExtents,
} from '../../src/block/streams.js';
import type { FakeStatus } from './support/fake-runtime.js';
import { pattern, rejection, withFake } from './support/hosts.js';

const KIB = 1024;
const MIB = 1024 * KIB;

async function collect(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

describe.each([0, 1] as const)('streams (threads: %i)', (threads) => {
  it('import and export a device, bytes in order, several requests in flight', async () => {
    await withFake(threads, { size: 8 * MIB, maxDelayTurns: 5 }, async ({ device, host }) => {
      const data = pattern(5 * MIB + 777, 1);
      // Chunks of odd sizes, as a pipe gives them.
      const source = Readable.from(
        (function* () {
          for (let at = 0, n = 1; at < data.length; at += n, n = (n * 7) % 100_003) {
            yield data.subarray(at, at + n);
          }
        })(),
      );
      await pipeline(source, createWriteStream(device, { start: 100, chunkBytes: 64 * KIB }));
      const { flushes, maxConcurrent } = (await host.status()) as FakeStatus;
      expect(flushes).toBe(1);
      expect(maxConcurrent).toBeGreaterThan(4);
      const back = await collect(
        createReadStream(device, { start: 100, end: 99 + data.length, chunkBytes: 64 * KIB }),
      );
      expect(Buffer.compare(back, data)).toBe(0);
      const whole = await collect(createReadStream(device));
      expect(whole).toHaveLength(8 * MIB);
      expect(
        createHash('sha256')
          .update(whole.subarray(100, 100 + data.length))
          .digest('hex'),
      ).toBe(createHash('sha256').update(data).digest('hex'));
    });
  });

  it('read no further ahead than a slow reader allows', async () => {
    await withFake(threads, { size: 8 * MIB }, async ({ device, host }) => {
      const stream = createReadStream(device, { chunkBytes: 64 * KIB, concurrency: 3 });
      stream.once('readable', () => {});
      await new Promise((resolve) => setTimeout(resolve, 50));
      // One delivered, at most two buffered, three ahead.
      expect(((await host.status()) as FakeStatus).requests).toBeLessThanOrEqual(6);
      stream.destroy();
    });
  });

  it('leave out zero blocks on export and import', async () => {
    await withFake(threads, { size: MIB }, async ({ device, host }) => {
      const data = Buffer.alloc(512 * KIB);
      data.set(pattern(10, 1), 5000);
      data.set(pattern(8192, 2), 200 * KIB);
      data[data.length - 1] = 1;
      await pipeline(
        Readable.from([data]),
        createWriteStream(device, { skipZeroBlocks: 4096, chunkBytes: 128 * KIB }),
      );
      const { writes } = (await host.status()) as FakeStatus;
      expect(
        writes.map(({ offset, length }) => [offset, length]).sort((a, b) => a[0]! - b[0]!),
      ).toEqual([
        [4096, 4096],
        [200 * KIB, 8192],
        [508 * KIB, 4096],
      ]);
      const extents = [];
      const image = Buffer.alloc(MIB);
      for await (const { offset, data: bytes } of readExtents(device, { skipZeroBlocks: 4096 })) {
        extents.push([offset, bytes.length]);
        image.set(bytes, offset);
      }
      expect(extents).toEqual([
        [4096, 4096],
        [200 * KIB, 8192],
        [508 * KIB, 4096],
      ]);
      expect(Buffer.compare(image.subarray(0, data.length), data)).toBe(0);
    });
  });

  it('fail with the error of the device', async () => {
    const errors = [{ offset: 256 * KIB, code: 'EIO' as const }];
    await withFake(threads, { size: MIB, errors }, async ({ device }) => {
      const read = await rejection(collect(createReadStream(device, { chunkBytes: 64 * KIB })));
      expect(read).toMatchObject({ code: 'EIO', target: 'osd.3' });
      const sink = createWriteStream(device, { chunkBytes: 64 * KIB });
      const write = await rejection(pipeline(Readable.from([pattern(MIB)]), sink));
      expect(write).toMatchObject({ code: 'EIO' });
      const beyond = createWriteStream(device, { start: MIB - 10 });
      expect(await rejection(pipeline(Readable.from([pattern(11)]), beyond))).toMatchObject({
        code: 'EINVAL',
      });
      expect(device.load.waiting).toBe(0);
    });
  });

  it('stop when they are aborted, without warnings about listeners', async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => warnings.push(warning);
    process.on('warning', onWarning);
    await withFake(threads, { size: 8 * MIB, delayMs: 5 }, async ({ device }) => {
      const abort = new AbortController();
      const options = { chunkBytes: 4 * KIB, concurrency: 64, signal: abort.signal };
      const reading = rejection(collect(createReadStream(device, options)));
      const writing = rejection(
        pipeline(Readable.from([pattern(4 * MIB)]), createWriteStream(device, options)),
      );
      await new Promise((resolve) => setTimeout(resolve, 30));
      abort.abort();
      expect(await reading).toMatchObject({ code: 'ECANCELED' });
      expect(await writing).toMatchObject({ code: 'ECANCELED', outcome: 'unknown' });
      await device.flush();
      expect(device.load.inFlight).toBeLessThanOrEqual(64);
    });
    process.off('warning', onWarning);
    expect(warnings.map(({ name }) => name)).toEqual([]);
  });
});

describe('zero blocks', () => {
  it('are found at multiples of their size on the device', () => {
    const data = Buffer.alloc(40);
    data[3] = 1;
    data[39] = 1;
    // From offset 6: blocks of 16 end at 16, 32 and 48.
    const runs = [...nonZeroExtents(6, data, 16)].map(({ offset, data: bytes }) => [
      offset,
      bytes.length,
    ]);
    expect(runs).toEqual([
      [6, 10],
      [32, 14],
    ]);
    expect([...nonZeroExtents(0, Buffer.alloc(100), 16)]).toEqual([]);
  });

  it('hold nothing but zeroes, whatever their length', () => {
    for (const length of [0, 1, 65_536, 65_537, 200_000]) {
      const data = Buffer.alloc(length);
      expect(isZero(data)).toBe(true);
      if (length === 0) continue;
      data[length - 1] = 1;
      expect(isZero(data)).toBe(false);
    }
  });
});
