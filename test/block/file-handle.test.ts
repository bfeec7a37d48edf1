import { createHash } from 'node:crypto';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { describe, expect, it } from 'vitest';

import type { BlockFileHandle } from '../../src/block/file-handle.js';
import { pattern, rejection, withFake } from './support/hosts.js';

const KIB = 1024;

/** The same calls on both, so that what a real FileHandle does is what is expected. */
async function besideAFile(
  run: (both: { device: BlockFileHandle; file: FileHandle }) => Promise<void>,
): Promise<void> {
  const path = join(tmpdir(), `linger-file-handle-${process.pid}`);
  const file = await open(path, 'w+');
  try {
    await file.truncate(64 * KIB);
    await withFake(1, { size: 64 * KIB }, async ({ device }) => {
      await run({ device: device.asFileHandle(), file });
    });
  } finally {
    await file.close();
    await rm(path);
  }
}

/** What both have in common. */
function asBlock(file: FileHandle): BlockFileHandle {
  return file as unknown as BlockFileHandle;
}

describe('a device as a FileHandle', () => {
  it('reads and writes as a file of its size does', async () => {
    await besideAFile(async ({ device, file }) => {
      for (const handle of [device, asBlock(file)]) {
        const data = pattern(1000, 1);
        expect((await handle.write(data, 100, 500, 10)).bytesWritten).toBe(500);
        expect((await handle.write(data)).bytesWritten).toBe(1000);
        expect((await handle.write(data, 0, 10, null)).bytesWritten).toBe(10);
        const parts = [data.subarray(0, 3), data.subarray(3, 30)];
        expect((await handle.writev(parts, 5000)).bytesWritten).toBe(30);
      }
      for (const [call, name] of [
        [(h: BlockFileHandle) => h.read(Buffer.alloc(100), 0, 100, 0), 'at a position'],
        [(h: BlockFileHandle) => h.read(Buffer.alloc(100), 5, 50, 4990), 'into the middle'],
        [(h: BlockFileHandle) => h.read(Buffer.alloc(100), { position: 7, length: 9 }), 'options'],
        [
          (h: BlockFileHandle) => h.read({ buffer: Buffer.alloc(33), position: 5 }),
          'options alone',
        ],
        [(h: BlockFileHandle) => h.read(Buffer.alloc(20)), 'the own position'],
        [(h: BlockFileHandle) => h.read(Buffer.alloc(20), 0, 20, -1), 'the own position, moved'],
        [
          (h: BlockFileHandle) => h.read(Buffer.alloc(100), 0, 100, 64 * KIB - 30),
          'across the end',
        ],
        [(h: BlockFileHandle) => h.read(Buffer.alloc(100), 0, 100, 64 * KIB), 'at the end'],
      ] as const) {
        const expected = await call(asBlock(file));
        const got = await call(device);
        expect(got.bytesRead, name).toBe(expected.bytesRead);
        expect(got.buffer, name).toEqual(expected.buffer);
      }
      const own = [Buffer.alloc(7), Buffer.alloc(11)];
      const files = [Buffer.alloc(7), Buffer.alloc(11)];
      expect((await device.readv(own, 4995)).bytesRead).toBe(
        (await file.readv(files, 4995)).bytesRead,
      );
      expect(own).toEqual(files);
    });
  });

  it('ends where the device ends', async () => {
    await withFake(1, { size: 4096 }, async ({ device }) => {
      const handle = device.asFileHandle();
      expect((await handle.write(Buffer.alloc(100), 0, 100, 4090)).bytesWritten).toBe(6);
      expect(await rejection(handle.write(Buffer.alloc(1), 0, 1, 4096))).toMatchObject({
        code: 'ENOSPC',
      });
      expect(await rejection(handle.truncate(10))).toMatchObject({ code: 'EINVAL' });
      expect(await rejection(handle.read(Buffer.alloc(1), 0, 2, 0))).toBeInstanceOf(RangeError);
      expect(await rejection(handle.read(Buffer.alloc(1), 0, 1, -5))).toBeInstanceOf(RangeError);
    });
  });

  it('describes itself as a block device', async () => {
    await withFake(0, { size: 1_000_000, snap: 's' }, async ({ device }) => {
      const stat = await device.asFileHandle().stat();
      expect(stat).toMatchObject({ size: 1_000_000, blocks: 1954, mode: 0o060440 });
      expect([stat.isBlockDevice(), stat.isFile(), stat.isDirectory()]).toEqual([
        true,
        false,
        false,
      ]);
    });
  });

  it('streams, syncs and closes', async () => {
    await withFake(1, { size: 256 * KIB }, async ({ device }) => {
      const handle = device.asFileHandle();
      const data = pattern(200 * KIB, 5);
      const writer = handle.createWriteStream({ start: 11 });
      writer.end(data);
      await pipeline(handle.createReadStream({ end: 0 }), async (source) => {
        for await (const chunk of source) expect(chunk).toHaveLength(1);
      });
      await new Promise((resolve) => writer.once('finish', resolve));
      await handle.sync();
      await handle.datasync();
      const hash = createHash('sha256');
      await pipeline(handle.createReadStream({ start: 11, end: 10 + data.length }), hash);
      expect(hash.digest('hex')).toBe(createHash('sha256').update(data).digest('hex'));
      await handle.close();
      expect(device.closed).toBe(true);
      await handle[Symbol.asyncDispose]();
    });
  });
});
