// What an application asks of a cluster, from a worker as from its own thread.

import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { describe, expect, it } from 'vitest';

import { CephFloat, connect, type DiffExtent, EmbeddedCluster } from '../../src/index.js';
import { rejection } from '../support/rejection.js';

describe.each([0, 1])('a monitor command (threads: %i)', (threads) => {
  it('takes floats, which are whole numbers as well', async () => {
    await using embedded = await EmbeddedCluster.start({ osds: 1, size: 1 });
    await using cluster = await connect(embedded, { threads });
    const reweight = async (weight: unknown) => {
      const { status } = await cluster.command({ prefix: 'osd reweight', id: 0, weight });
      return status;
    };
    expect(await reweight(new CephFloat(0.5))).toBe('reweighted osd.0 to 0.5 (8000)');
    expect(await reweight(new CephFloat(1))).toBe('reweighted osd.0 to 1 (10000)');
    const addr = '10.0.0.9:0/123';
    const blocklist = { prefix: 'osd blocklist', blocklistop: 'add', addr };
    const { status } = await cluster.command({ ...blocklist, expire: new CephFloat(60) });
    expect(status).toMatch(/^blocklisting 10.0.0.9:0\/123 until .* \(60 sec\)$/);
  });
});

describe.each([0, 1])('a cluster that is closed (threads: %i)', (threads) => {
  it('leaves no watch behind of images that are still mapped', async () => {
    await using embedded = await EmbeddedCluster.start({ osds: 1, size: 1, pools: ['rbd'] });
    const first = await connect(embedded, { threads });
    await first.pool('rbd').images.create('disk', { size: 2 ** 20 });
    const disk = await first.map('rbd/disk');
    await disk.write(0, Buffer.alloc(512));
    await using second = await connect(embedded, { threads: 0 });
    const { images } = second.pool('rbd');
    const [watcher, ...more] = await images.watchers('disk');
    expect([watcher?.client.replace('.', ''), more]).toEqual([disk.attributes.clientId, []]);
    // Asked by its id, whatever it is called by now.
    await images.rename('disk', 'renamed');
    expect(await disk.watchers()).toEqual([watcher]);
    await images.rename('renamed', 'disk');
    await first.close();
    await expect(disk.watchers()).rejects.toMatchObject({ code: 'EBADF' });
    expect(await images.watchers('disk')).toEqual([]);
    await images.remove('disk');
  });
});

describe.each([0, 1])('what changed in an image (threads: %i)', (threads) => {
  const collect = async (extents: AsyncIterable<DiffExtent>) => {
    const all: DiffExtent[] = [];
    for await (const extent of extents) all.push(extent);
    return all;
  };

  it('is told extent by extent, of a name and of a device, and can be copied', async () => {
    await using embedded = await EmbeddedCluster.start({ osds: 1, size: 1, pools: ['rbd'] });
    await using cluster = await connect(embedded, { threads });
    const { images } = cluster.pool('rbd');
    await images.create('disk', { size: 2 ** 20, order: 12 });
    const disk = await cluster.map('rbd/disk');
    await disk.write(0, Buffer.alloc(8192, 1));
    await images.snapshots('disk').create('monday');
    await disk.write(4096, Buffer.alloc(4096, 2));
    // Not joined with its neighbours, and more than is asked for at a time.
    for (let i = 0; i < 2 ** 8; i += 2) void disk.write(4096 * i, Buffer.alloc(512, 3));
    const changed = await collect(disk.diff({ from: 'monday' }));
    expect(changed).toHaveLength(1 + 2 ** 7);
    expect(changed.slice(0, 3)).toEqual([
      { offset: 0, length: 512, exists: true },
      { offset: 4096, length: 4096, exists: true },
      { offset: 8192, length: 512, exists: true },
    ]);
    expect(await collect(images.diff('disk', { from: 'monday' }))).toEqual(changed);
    expect(await collect(images.diff('disk', { to: 'monday', wholeObject: true }))).toEqual([
      { offset: 0, length: 4096, exists: true },
      { offset: 4096, length: 4096, exists: true },
    ]);
    for await (const extent of images.diff('disk', { from: 'monday' })) {
      if (extent.offset > 0) break;
    }
    const missing = await rejection(collect(images.diff('disk', { from: 'tuesday' })));
    expect(missing).toMatchObject({ code: 'ENOENT' });
    const { entries } = await images.usage('disk');
    expect(entries.map(({ usedSize }) => usedSize)).toEqual([8192, 4096 * (1 + 2 ** 7)]);

    await disk.writeZeroes(0, 4096);
    await images.sparsify('disk');
    await images.copy('disk@monday', 'copy');
    await images.deepCopy('disk', 'deep');
    const copy = await cluster.map('rbd/copy', { readOnly: true });
    expect(Buffer.alloc(8192, 1).equals(await copy.read(0, 8192))).toBe(true);
    const deep = await collect(images.diff('deep', { from: 'monday' }));
    expect(deep).toEqual(await collect(images.diff('disk', { from: 'monday' })));
    expect(await rejection(images.copy('disk', 'deep'))).toMatchObject({ code: 'EEXIST' });
  });
});

describe.each([0, 1])('streams of images (threads: %i)', (threads) => {
  const bytesOf = async (stream: Readable) => Buffer.concat(await stream.toArray());

  it('carry a diff, and a whole image, to others', async () => {
    await using embedded = await EmbeddedCluster.start({ osds: 1, size: 1, pools: ['rbd'] });
    await using cluster = await connect(embedded, { threads });
    const { images } = cluster.pool('rbd');
    await images.create('disk', { size: 8 * 2 ** 20, order: 20 });
    await images.metadata('disk').set('colour', 'blue');
    const disk = await cluster.map('rbd/disk');
    const old = Buffer.alloc(5 * 2 ** 20, 'old ');
    await disk.write(0, old);
    await images.snapshots('disk').create('monday');
    await disk.write(2 ** 20 + 1000, Buffer.alloc(3 * 2 ** 20, 'new '));
    await disk.writeZeroes(0, 4096);
    await images.snapshots('disk').create('tuesday');
    await disk.write(7 * 2 ** 20, Buffer.alloc(4096, 'newest'));
    const now = Buffer.from(await disk.read(0, disk.size));

    await pipeline(images.export('disk'), images.import('copy', { layout: { order: 21 } }));
    const names = async (image: string) =>
      (await images.snapshots(image).list()).map(({ name }) => name);
    expect(await names('copy')).toEqual(['monday', 'tuesday']);
    expect(await images.metadata('copy').list()).toMatchObject({ colour: 'blue' });
    expect(await images.info('copy')).toMatchObject({ order: 21, size: disk.size });
    const copy = await cluster.map('rbd/copy', { readOnly: true });
    expect(now.equals(await copy.read(0, copy.size))).toBe(true);

    await images.create('backup', { size: 1, order: 20 });
    await pipeline(images.exportDiff('disk', { to: 'monday' }), images.importDiff('backup'));
    expect(await names('backup')).toEqual(['monday']);
    const diff = await bytesOf(images.exportDiff('disk', { from: 'monday' }));
    expect(diff.length).toBeGreaterThan(3 * 2 ** 20);
    expect(diff.length).toBeLessThan(4 * 2 ** 20);
    // In odd pieces, of one large buffer.
    const pieces = Array.from({ length: Math.ceil(diff.length / 77_777) }, (_, i) =>
      diff.subarray(i * 77_777, (i + 1) * 77_777),
    );
    await pipeline(pieces, images.importDiff('backup', { sparseSize: 0 }));
    const backup = await cluster.map('rbd/backup', { readOnly: true });
    expect(now.equals(await backup.read(0, backup.size))).toBe(true);
  });

  it('fail with what is wrong, and leave no half of an image behind', async () => {
    await using embedded = await EmbeddedCluster.start({ osds: 1, size: 1, pools: ['rbd'] });
    await using cluster = await connect(embedded, { threads });
    const { images } = cluster.pool('rbd');
    await images.create('disk', { size: 4 * 2 ** 20 });
    const disk = await cluster.map('rbd/disk');
    await disk.write(0, Buffer.alloc(4 * 2 ** 20, 1));
    expect(await rejection(bytesOf(images.exportDiff('nobody')))).toMatchObject({ code: 'ENOENT' });
    expect(await rejection(bytesOf(images.exportDiff('disk', { from: 'monday' })))).toMatchObject({
      code: 'ENOENT',
    });
    const into = (sink: Writable, ...chunks: Buffer[]) => rejection(pipeline(chunks, sink));
    expect(await into(images.importDiff('nobody'), Buffer.alloc(1))).toMatchObject({
      code: 'ENOENT',
    });
    expect(await into(images.importDiff('disk'), Buffer.alloc(100))).toMatchObject({
      code: 'EINVAL',
    });
    const whole = await bytesOf(images.export('disk'));
    expect(await into(images.import('disk'), whole)).toMatchObject({ code: 'EEXIST' });
    expect(await into(images.import('cut'), whole.subarray(0, -100))).toMatchObject({
      code: 'EBADMSG',
    });
    const half = images.import('half');
    half.on('error', () => {});
    await new Promise((resolve) => half.write(whole.subarray(0, 2 ** 21), resolve));
    half.destroy();
    await once(half, 'close');
    expect(await images.list()).toEqual(['disk']);
  });
});
