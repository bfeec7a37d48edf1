// Goal: diffs as files. What is exported comes in again as it was; a stream that is cut off, or is no diff, is refused, and
// takes no memory for what it only claims to have.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteReader } from '../../../src/rbd/diff/byte-reader.js';
import type { DiffFormat } from '../../../src/rbd/diff/diff-format.js';
import { type ExportedDiff, exportDiff } from '../../../src/rbd/diff/export-diff.js';
import type { DiffExtent } from '../../../src/rbd/diff/extents.js';
import { type DiffTarget, importDiff } from '../../../src/rbd/diff/import-diff.js';
import { mergeDiffs } from '../../../src/rbd/diff/merge-diff.js';
import { rejection } from '../../support/rejection.js';

const SIZE = 100_000;

/** An image in memory that diffs come from and go to. */
class MemoryImage implements DiffTarget {
  bytes: Buffer;
  readonly log: string[] = [];
  readonly snapshots = new Set<string>();
  inFlightMax = 0;
  #inFlight = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = Buffer.from(bytes);
  }

  get size(): number {
    return this.bytes.length;
  }

  resize(size: number): Promise<void> {
    this.log.push(`resize ${size}`);
    this.bytes = Buffer.concat([this.bytes, Buffer.alloc(size)]).subarray(0, size);
    return Promise.resolve();
  }

  write(offset: number, data: Uint8Array): Promise<void> {
    this.log.push(`write ${offset}~${data.length}`);
    return this.#apply(() => this.bytes.set(data, offset));
  }

  writeZeroes(offset: number, length: number): Promise<void> {
    this.log.push(`zero ${offset}~${length}`);
    return this.#apply(() => this.bytes.fill(0, offset, offset + length));
  }

  hasSnapshot(name: string): boolean {
    return this.snapshots.has(name);
  }

  createSnapshot(name: string): Promise<void> {
    if (this.#inFlight > 0) throw new Error('a snapshot in the midst of writes');
    this.log.push(`snapshot ${name}`);
    this.snapshots.add(name);
    return Promise.resolve();
  }

  protectSnapshot(name: string): Promise<void> {
    this.log.push(`protect ${name}`);
    return Promise.resolve();
  }

  async #apply(change: () => void): Promise<void> {
    this.inFlightMax = Math.max(this.inFlightMax, ++this.#inFlight);
    await new Promise((resolve) => setImmediate(resolve));
    change();
    this.#inFlight--;
  }
}

function exported(
  image: Buffer,
  extents: readonly DiffExtent[],
  header: Partial<ExportedDiff['header']> = {},
): ExportedDiff {
  return {
    header: { size: image.length, ...header },
    extents: (async function* () {
      yield await Promise.resolve(extents);
    })(),
    read: (offset, length) => Promise.resolve(image.subarray(offset, offset + length)),
  };
}

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(Uint8Array.from(chunk));
  return Buffer.concat(all);
}

/** In pieces that end anywhere. */
function* cut(bytes: Uint8Array, pieceBytes: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}

const random = (length: number) => Buffer.from(Array.from({ length }, (_, i) => 1 + (i % 255)));

describe('an exported diff', () => {
  it('is what rbd export-diff writes', async () => {
    const image = Buffer.alloc(16_777_216);
    const data = random(4096);
    image.set(data, 8_388_608);
    const extents = [
      { offset: 4_194_304, length: 8192, exists: false },
      { offset: 8_388_608, length: 4096, exists: true },
    ];
    const bytes = await collect(exportDiff(exported(image, extents, { from: 's1' })));
    expect(bytes.toString('hex')).toBe(
      '7262642064696666207631' +
        '0a66020000007331730000000100000000' +
        '7a00004000000000000020000000000000' +
        `7700008000000000000010000000000000${data.toString('hex')}65`,
    );
  });

  it('of version 2 has lengths, and whether the snapshot is protected in a byte of its own', async () => {
    const image = random(4096);
    const header = { from: 'a', to: 'b', isProtected: true };
    const extents = [{ offset: 0, length: 3, exists: true }];
    const options = { format: 2 as DiffFormat };
    const bytes = await collect(exportDiff(exported(image, extents, header), options));
    expect(bytes.toString('hex')).toBe(
      `${Buffer.from('rbd diff v2\n').toString('hex')}660500000000000000010000006174050000000000000001000000` +
        '62700800000000000000017308000000000000000010000000000000' +
        '771300000000000000000000000000000003000000000000000102' +
        '0365',
    );
  });

  it('tells of an extent that has nothing but zeros as one that was discarded', async () => {
    const image = Buffer.alloc(9_000_000);
    image[8_500_000] = 1;
    const extents = [
      { offset: 0, length: 100, exists: true },
      { offset: 100, length: 8_999_900, exists: true },
    ];
    const bytes = await collect(exportDiff(exported(image, extents)));
    const head = 12 + 9;
    expect(bytes.subarray(head, head + 17).toString('hex')).toBe(
      '7a00000000000000006400000000000000',
    );
    expect(bytes[head + 17]).toBe(0x77);
    expect(bytes.subarray(head + 34, -1).equals(image.subarray(100))).toBe(true);
  });

  it('fails when the image is shorter than it was', async () => {
    const short = exported(random(10), [{ offset: 5, length: 10, exists: true }]);
    expect(await rejection(collect(exportDiff(short)))).toMatchObject({ code: 'EIO' });
  });
});

/** Ascending extents of an image. */
const someExtents = fc
  .array(
    fc.record({
      gap: fc.integer({ min: 0, max: 9000 }),
      length: fc.integer({ min: 1, max: 9000 }),
      exists: fc.boolean(),
    }),
    { maxLength: 10 },
  )
  .map((parts) => {
    let offset = 0;
    return parts
      .map(({ gap, length, exists }) => {
        const extent = { offset: offset + gap, length, exists };
        offset += gap + length;
        return extent;
      })
      .filter((extent) => extent.offset + extent.length <= SIZE);
  });

function applied(before: Buffer, after: Buffer, extents: readonly DiffExtent[]): Buffer {
  const result = Buffer.concat([before, Buffer.alloc(after.length)]).subarray(0, after.length);
  for (const { offset, length, exists } of extents) {
    if (exists) after.copy(result, offset, offset, offset + length);
    else result.fill(0, offset, offset + length);
  }
  return result;
}

describe('an imported diff', () => {
  it('makes of the image at its start the image at its end, however the stream is cut', async () => {
    const after = random(SIZE);
    after.fill(0, 20_000, 40_000);
    const before = Buffer.alloc(70_000, 0xee);
    await fc.assert(
      fc.asyncProperty(
        someExtents,
        fc.constantFrom<DiffFormat>(1, 2),
        fc.constantFrom(0, 512, 4096),
        fc.integer({ min: 1, max: 5000 }),
        async (extents, format, sparseSize, pieceBytes) => {
          const bytes = await collect(
            exportDiff(exported(after, extents, { to: 's' }), { format }),
          );
          const target = new MemoryImage(before);
          const reader = new ByteReader(cut(bytes, pieceBytes));
          await importDiff(target, reader, { format, sparseSize });
          expect(target.bytes.equals(applied(before, after, extents))).toBe(true);
          expect(target.log.at(-1)).toBe('snapshot s');
          expect(reader.position).toBe(bytes.length);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('discards blocks of zeros, counted from the start of the extent', async () => {
    const image = random(30_000);
    image.fill(0, 100 + 4096, 100 + 3 * 4096);
    const extents = [{ offset: 100, length: 20_000, exists: true }];
    const bytes = await collect(exportDiff(exported(image, extents)));
    const target = new MemoryImage(Buffer.alloc(30_000, 1));
    await importDiff(target, new ByteReader([bytes]));
    expect(target.log).toEqual(['write 100~4096', 'zero 4196~8192', 'write 12388~7712']);
  });

  it('protects the snapshot that was protected', async () => {
    const header = { to: 's', isProtected: true };
    const bytes = await collect(exportDiff(exported(random(9), [], header), { format: 2 }));
    const target = new MemoryImage(Buffer.alloc(9));
    await importDiff(target, new ByteReader([bytes]), { format: 2 });
    expect(target.log).toEqual(['snapshot s', 'protect s']);
  });

  it('keeps the order of extents that go back over one another', async () => {
    const image = random(SIZE);
    const extents = [
      { offset: 0, length: 5000, exists: true },
      { offset: 1000, length: 1000, exists: false },
      { offset: 1500, length: 100, exists: true },
    ];
    const bytes = await collect(exportDiff(exported(image, extents)));
    const target = new MemoryImage(Buffer.alloc(SIZE));
    await importDiff(target, new ByteReader([bytes]));
    expect(target.bytes.equals(applied(Buffer.alloc(SIZE), image, extents))).toBe(true);
  });

  it('has only so many writes under way', async () => {
    const extents = Array.from({ length: 90 }, (_, i) => ({
      offset: i * 1000,
      length: 500,
      exists: true,
    }));
    const bytes = await collect(exportDiff(exported(random(SIZE), extents)));
    const target = new MemoryImage(Buffer.alloc(SIZE));
    await importDiff(target, new ByteReader([bytes]));
    expect(target.inFlightMax).toBe(10);
  });

  it.each([
    ['is missing the snapshot that it starts from', { from: 'x' }, 'EINVAL'],
    ['has the snapshot that it leads to', { to: 'old' }, 'EEXIST'],
  ])('is refused when the image %s', async (_, header, code) => {
    const bytes = await collect(exportDiff(exported(random(SIZE), [], header)));
    const target = new MemoryImage(Buffer.alloc(SIZE));
    target.snapshots.add('old');
    expect(await rejection(importDiff(target, new ByteReader([bytes])))).toMatchObject({ code });
    expect(target.log).toEqual([]);
  });

  it('is refused when it is cut off, and makes no snapshot then', async () => {
    const extents = [{ offset: 10, length: 100, exists: true }];
    const bytes = await collect(exportDiff(exported(random(SIZE), extents, { to: 's' })));
    for (let length = 0; length < bytes.length; length++) {
      const target = new MemoryImage(Buffer.alloc(SIZE));
      const failed = rejection(importDiff(target, new ByteReader([bytes.subarray(0, length)])));
      expect(await failed, String(length)).toMatchObject({ code: 'EBADMSG' });
      expect(target.snapshots.size).toBe(0);
    }
  });

  it('is refused when it is something else', async () => {
    const target = new MemoryImage(Buffer.alloc(9));
    const other = new ByteReader([Buffer.from('#!/bin/sh\necho no diff')]);
    expect(await rejection(importDiff(target, other))).toMatchObject({ code: 'EINVAL' });
    const unknown = new ByteReader([Buffer.from('rbd diff v1\nq')]);
    expect(await rejection(importDiff(target, unknown))).toMatchObject({ code: 'EBADMSG' });
    const longName = new ByteReader([Buffer.from('rbd diff v1\nf\xff\xff\xff\xffx', 'latin1')]);
    expect(await rejection(importDiff(target, longName))).toMatchObject({ code: 'EINVAL' });
  });

  it('leaves out records of version 2 that it does not know', async () => {
    const bytes = await collect(exportDiff(exported(random(9), [], {}), { format: 2 }));
    const record = Buffer.from('510300000000000000616263', 'hex');
    const longer = Buffer.concat([bytes.subarray(0, 12), record, bytes.subarray(12)]);
    const target = new MemoryImage(Buffer.alloc(4));
    await importDiff(target, new ByteReader([longer]), { format: 2 });
    expect(target.log).toEqual(['resize 9']);
  });

  it('fails with the first write that failed, when all that had begun have settled', async () => {
    const extents = [0, 1, 2, 3].map((i) => ({ offset: i * 100, length: 50, exists: true }));
    const bytes = await collect(exportDiff(exported(random(SIZE), extents)));
    const target = new MemoryImage(Buffer.alloc(SIZE));
    let settled = 0;
    target.write = async (offset) => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      settled++;
      if (offset === 100) throw new Error('no');
    };
    await expect(importDiff(target, new ByteReader([bytes]))).rejects.toThrow('no');
    expect(settled).toBe(4);
  });
});

describe('a merged diff', () => {
  it('does what its parts do one after the other', async () => {
    const start = Buffer.alloc(60_000, 0xee);
    const middle = random(SIZE);
    await fc.assert(
      fc.asyncProperty(
        someExtents,
        someExtents,
        fc.integer({ min: 50_000, max: 150_000 }),
        fc.integer({ min: 1, max: 5000 }),
        async (first, second, size, pieceBytes) => {
          const end = Buffer.alloc(size, 0x77);
          const within = second.filter(({ offset, length }) => offset + length <= size);
          const parts = [
            await collect(exportDiff(exported(middle, first, { from: 'a', to: 'b' }))),
            await collect(exportDiff(exported(end, within, { from: 'b', to: 'c' }))),
          ];
          const [one, two] = parts.map((part) => new ByteReader(cut(part, pieceBytes)));
          const merged = await collect(mergeDiffs(one as ByteReader, two as ByteReader));

          const stepwise = new MemoryImage(start);
          stepwise.snapshots.add('a');
          for (const part of parts) await importDiff(stepwise, new ByteReader([part]));
          const atOnce = new MemoryImage(start);
          atOnce.snapshots.add('a');
          await importDiff(atOnce, new ByteReader([merged]));
          expect(atOnce.bytes.equals(stepwise.bytes)).toBe(true);
          expect([...atOnce.snapshots]).toEqual(['a', 'c']);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('is refused when the parts do not meet, are cut off, or go back', async () => {
    const image = random(SIZE);
    const part = async (extents: readonly DiffExtent[], header: object) =>
      collect(exportDiff(exported(image, extents, header)));
    const ab = await part([{ offset: 5, length: 10, exists: true }], { from: 'a', to: 'b' });
    const bc = await part([], { from: 'b', to: 'c' });
    const back = await part(
      [
        { offset: 50, length: 10, exists: true },
        { offset: 20, length: 10, exists: true },
      ],
      { from: 'b' },
    );
    const merge = (one: Uint8Array, two: Uint8Array) =>
      rejection(collect(mergeDiffs(new ByteReader([one]), new ByteReader([two]))));
    expect(await merge(bc, ab)).toMatchObject({ code: 'EINVAL' });
    expect(await merge(ab.subarray(0, 40), bc)).toMatchObject({ code: 'EBADMSG' });
    expect(await merge(Buffer.from('something else'), bc)).toMatchObject({ code: 'EINVAL' });
    expect(await merge(ab, back)).toMatchObject({ code: 'EOPNOTSUPP' });
  });
});
