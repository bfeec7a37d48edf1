// Images on real Ceph and on the embedded cluster: what we write, rbd reads, and the other way round.

import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { RadosClient } from '../../src/rados/rados-client.js';
import { type CreateOptions, createImage } from '../../src/rbd/create.js';
import { Image } from '../../src/rbd/image.js';
import { createNamespace } from '../../src/rbd/namespaces.js';
import { parseImageSpec } from '../../src/rbd/spec.js';
import { describeCeph } from './support/ceph-cluster.js';
import { connectTo, patternBytes } from './support/rbd-client.js';
import { SERVERS, type Server, type ServerKind } from './support/servers.js';

const KIB = 1024;
const MIB = 1024 * KIB;

for (const server of SERVERS) describeCeph(`images on ${server.name}`, () => images(server));

function images(server: ServerKind): void {
  let cluster: Server;
  let client: RadosClient;

  beforeAll(async () => {
    cluster = await server.start({
      osds: 3,
      pools: [
        { name: 'rbd' },
        { name: 'fast', pgNum: 4 },
        { name: 'ec', pgNum: 4, erasure: { k: 2, m: 1 } },
      ],
    });
    client = await connectTo(cluster);
    await createNamespace(await client.ioctx('rbd'), 'ns');
  });
  afterAll(async () => {
    client?.close();
    await cluster?.stop();
  });

  const path = (name: string) => join(cluster.dir, name);
  const open = (spec: string, options = {}) => Image.open(client, parseImageSpec(spec), options);
  const create = (spec: string, options: Partial<CreateOptions> = {}) =>
    createImage(client, parseImageSpec(spec), { size: 10 * MIB, ...options });
  const exported = async (spec: string) => {
    // rbd overwrites nothing.
    await rm(path('exported'), { force: true });
    await cluster.rbd('export', '--no-progress', spec, path('exported'));
    return readFile(path('exported'));
  };
  const readAll = async (spec: string, options = {}) => {
    await using image = await open(spec, { readOnly: true, ...options });
    return image.read(0, image.size);
  };
  const same = (a: Uint8Array, b: Uint8Array) => expect(Buffer.compare(a, b)).toBe(0);

  /** An image that neither begins nor ends its holes and data where objects or stripes do. */
  const CONTENT = Buffer.concat([
    patternBytes(3 * MIB + 77, 1),
    Buffer.alloc(2 * MIB + 5),
    patternBytes(5 * MIB - 1234, 2),
  ]);

  const KINDS: { kind: string; spec: string; args: string[]; options: Partial<CreateOptions> }[] = [
    { kind: 'plain', spec: 'rbd/plain', args: [], options: {} },
    {
      kind: 'small-object',
      spec: 'rbd/small',
      args: ['--object-size', '64K'],
      options: { order: 16 },
    },
    {
      kind: 'striped',
      spec: 'rbd/striped',
      args: ['--object-size', '1M', '--stripe-unit', '64K', '--stripe-count', '3'],
      options: { order: 20, stripeUnit: 64 * KIB, stripeCount: 3 },
    },
    {
      kind: 'data-pool',
      spec: 'rbd/ecdata',
      args: ['--data-pool', 'ec'],
      options: { dataPool: 'ec' },
    },
    { kind: 'namespaced', spec: 'rbd/ns/inside', args: [], options: {} },
    {
      kind: 'namespaced, striped, data-pool',
      spec: 'rbd/ns/all',
      args: ['--stripe-unit', '4K', '--stripe-count', '5', '--data-pool', 'fast'],
      options: { stripeUnit: 4 * KIB, stripeCount: 5, dataPool: 'fast' },
    },
  ];

  it.each(KINDS)('reads a $kind image that rbd imported', async ({ spec, args }) => {
    await writeFile(path('content'), CONTENT);
    await cluster.rbd(
      ...['import', '--no-progress', '--image-feature', 'layering', ...args],
      ...[path('content'), `${spec}-theirs`],
    );
    same(await readAll(`${spec}-theirs`), CONTENT);
    await using image = await open(`${spec}-theirs`);
    // Across the boundary of data and hole, and of objects.
    for (const [offset, length] of [
      [3 * MIB, 200],
      [5 * MIB, 300],
      [4 * MIB - 10, 20],
      [0, 1],
      [CONTENT.length - 5, 5],
    ] as const) {
      same(await image.read(offset, length), CONTENT.subarray(offset, offset + length));
    }
  });

  it.each(KINDS)('writes a $kind image that rbd exports', async ({ spec, options }) => {
    await create(spec, { ...options, size: CONTENT.length });
    await using image = await open(spec);
    const step = 777_777;
    const writes: Promise<number>[] = [];
    for (let at = 0; at < CONTENT.length; at += step) {
      writes.push(image.write(at, CONTENT.subarray(at, at + step)));
    }
    await image.flush();
    expect((await Promise.all(writes)).reduce((a, b) => a + b)).toBe(CONTENT.length);
    same(await exported(spec), CONTENT);
  });

  it.each(KINDS)('discards, zeroes and repeats in a $kind image as rbd sees it', async (kind) => {
    const { spec, options } = kind;
    const name = `${spec}-zeroes`;
    await create(name, { ...options, size: CONTENT.length });
    await using image = await open(name, { allocSize: 4096 });
    const model = patternBytes(CONTENT.length, 9);
    await image.write(0, model);

    await image.writeZeroes(100, 1000);
    model.fill(0, 100, 1100);
    await image.writeZeroes(MIB - 1, 6 * MIB);
    model.fill(0, MIB - 1, 7 * MIB - 1);
    await image.discard(8 * MIB, 64 * KIB);
    model.fill(0, 8 * MIB, 8 * MIB + 64 * KIB);
    // Less than the alloc size in any object: nothing happens.
    await image.discard(9 * MIB + 1, 4095);
    await image.writeSame(2 * MIB - 512, 3 * 512, Buffer.alloc(512, 'pattern'));
    model.fill(Buffer.alloc(512, 'pattern'), 2 * MIB - 512, 2 * MIB + 1024);
    await image.writeSame(9 * MIB, 7 * 1000, Buffer.from('seven77'));
    model.fill('seven77', 9 * MIB, 9 * MIB + 7000);
    same(await exported(name), model);
    same(await readAll(name), model);
  });

  it('gives space back with a discard', async () => {
    await create('rbd/thin');
    await using image = await open('rbd/thin');
    const objects = async () =>
      (await cluster.rados('-p', 'rbd', 'ls'))
        .split('\n')
        .filter((oid) => oid.startsWith(image.objectPrefix));
    await image.write(0, CONTENT.subarray(0, image.size));
    expect(await objects()).toHaveLength(3);
    await image.discard(0, 8 * MIB);
    expect(await objects()).toEqual([`${image.objectPrefix}.0000000000000002`]);
    await image.discard(0, 8 * MIB);
    same(await image.read(0, 8 * MIB), Buffer.alloc(8 * MIB));
  });

  const POOL_TYPES = [
    { pools: 'a replicated pool', suffix: '', options: {} },
    { pools: 'an erasure-coded data pool', suffix: '-ec', options: { dataPool: 'ec' } },
  ];

  it.each(POOL_TYPES)('compares and writes in one step in $pools', async ({ suffix, options }) => {
    const spec = `rbd/compared${suffix}`;
    await create(spec, options);
    await using image = await open(spec);
    const at = 4 * MIB + 4096;
    // No object there yet.
    await expect(
      image.compareAndWrite(at, Buffer.from('\0\0x'), Buffer.from('new')),
    ).rejects.toMatchObject({ code: 'EILSEQ', mismatchOffset: at + 2 });
    await image.compareAndWrite(at, Buffer.alloc(512), Buffer.alloc(512, 'a'));
    await image.compareAndWrite(at, Buffer.alloc(512, 'a'), Buffer.alloc(512, 'b'));
    await expect(
      image.compareAndWrite(at + 500, Buffer.alloc(20, 'b'), Buffer.alloc(20, 'c')),
    ).rejects.toMatchObject({ code: 'EILSEQ', mismatchOffset: at + 512, target: spec });
    // Past the object's end, which reads as zeros.
    await image.compareAndWrite(at + 4096, Buffer.alloc(8), Buffer.from('12345678'));
    const bytes = await exported(spec);
    expect(bytes.subarray(at, at + 520).toString('latin1')).toBe(
      `${'b'.repeat(512)}${'\0'.repeat(8)}`,
    );
    expect(bytes.toString('latin1', at + 4096, at + 4104)).toBe('12345678');
  });

  it.each(POOL_TYPES)(
    'lets one of many that compare a missing object win, in $pools',
    async (type) => {
      const spec = `rbd/raced${type.suffix}`;
      await create(spec, type.options);
      await using image = await open(spec);
      const tries = Array.from({ length: 16 }, (_, i) =>
        image.compareAndWrite(0, Buffer.alloc(8), Buffer.from(`winner${i}`.padEnd(8))).then(
          () => i,
          (error: unknown) => {
            expect(error).toMatchObject({ code: 'EILSEQ', mismatchOffset: 0 });
            return -1;
          },
        ),
      );
      const winners = (await Promise.all(tries)).filter((i) => i >= 0);
      expect(winners).toHaveLength(1);
      const bytes = Buffer.from(await image.read(0, 8));
      expect(bytes.toString().trim()).toBe(`winner${winners[0]}`);
    },
  );

  it.each(POOL_TYPES)('gives up the space of zeros as rbd does, in $pools', async (type) => {
    const [ours, theirs] = [`rbd/sparse${type.suffix}`, `rbd/theirs${type.suffix}`];
    const object = 64 * KIB;
    for (const spec of [ours, theirs]) {
      await create(spec, { order: 16, size: 400 * object, ...type.options });
      await using image = await open(spec);
      await image.write(0, patternBytes(6 * object, 7));
      // Zeros in the midst of an object, at its end, and all of it: with a snapshot behind them, and without.
      await image.write(object + 8 * KIB, Buffer.alloc(8 * KIB));
      await image.write(2 * object + 40 * KIB, Buffer.alloc(24 * KIB));
      await image.snapshots.create('s1');
      await image.write(3 * object, Buffer.alloc(object));
      await image.write(399 * object, Buffer.alloc(object));
      await image.write(300 * object, patternBytes(5000, 8));
      await image.discard(4 * object + 10_000, object);
      await image.writeZeroes(5 * object + 20_000, 20_000);
      await image.resize(400 * object - 1000, { allowShrink: true });
    }
    const before = [await exported(ours), await exported(`${ours}@s1`)] as const;
    {
      await using image = await open(ours);
      await image.sparsify();
    }
    await cluster.rbd('sparsify', '--no-progress', theirs);
    same(await exported(ours), before[0]);
    same(await exported(`${ours}@s1`), before[1]);
    for (const how of [[], ['--whole-object'], ['--from-snap', 's1']]) {
      const diff = (spec: string) => cluster.rbd('diff', ...how, spec);
      expect(await diff(ours), how.join(' ')).toBe(await diff(theirs));
    }
    {
      // Few of the objects exist, so it is the pool that is listed.
      await using image = await open(ours);
      await image.rebuildObjectMap();
    }
    const check = ['object-map', 'check', '--no-progress'];
    const checked = await cluster.run('rbd', [...check, ours]);
    expect([checked.code, checked.stderr]).toEqual([0, '']);
    {
      await using image = await open(ours);
      await image.snapshots.rollback('s1');
    }
    same(await exported(ours), before[1]);
  });

  it('keeps the bytes of a snapshot that rbd took, whatever is done to the head', async () => {
    await create('rbd/snapped', { order: 16, size: MIB + 100 });
    const before = patternBytes(MIB + 100, 3);
    {
      await using image = await open('rbd/snapped');
      await image.write(0, before);
    }
    await cluster.rbd('snap', 'create', '--no-progress', 'rbd/snapped@s1');
    const after = Buffer.from(before);
    {
      await using image = await open('rbd/snapped');
      expect(image.header.snapshots.map(({ name }) => name)).toEqual(['s1']);
      await image.write(1000, patternBytes(200 * KIB, 4));
      patternBytes(200 * KIB, 4).copy(after, 1000);
      await image.discard(512 * KIB, 256 * KIB);
      after.fill(0, 512 * KIB, 768 * KIB);
      await image.writeSame(900 * KIB, 4096, Buffer.from('ab'));
      after.fill('ab', 900 * KIB, 904 * KIB);
      await image.compareAndWrite(5, before.subarray(5, 9), Buffer.from('comp'));
      after.write('comp', 5);
    }
    await cluster.rbd('snap', 'create', '--no-progress', 'rbd/snapped@s2');
    {
      await using image = await open('rbd/snapped');
      await image.resize(300 * KIB + 7, { allowShrink: true });
    }
    same(await exported('rbd/snapped@s1'), before);
    same(await exported('rbd/snapped@s2'), after);
    same(await exported('rbd/snapped'), after.subarray(0, 300 * KIB + 7));
    same(await readAll('rbd/snapped@s1'), before);
    same(await readAll('rbd/snapped@s2'), after);
    await using atId = await Image.open(client, {
      pool: 'rbd',
      name: 'snapped',
      snapId: (await open('rbd/snapped@s1')).snapshot?.id ?? 0n,
    });
    same(await atId.read(0, atId.size), before);
    await expect(atId.write(0, Buffer.from('x'))).rejects.toMatchObject({ code: 'EROFS' });
  });

  it('preserves a snapshot taken while it was open, after a refresh', async () => {
    await create('rbd/refreshed');
    await using image = await open('rbd/refreshed');
    await image.write(0, Buffer.from('before'));
    await cluster.rbd('snap', 'create', '--no-progress', 'rbd/refreshed@s');
    await image.refresh();
    await image.write(0, Buffer.from('after!'));
    expect((await exported('rbd/refreshed@s')).toString('latin1', 0, 6)).toBe('before');
    expect((await exported('rbd/refreshed')).toString('latin1', 0, 6)).toBe('after!');
  });

  it.each([
    { kind: 'plain', spec: 'rbd/resized', options: { order: 16 } },
    {
      kind: 'striped',
      spec: 'rbd/resized-striped',
      options: { order: 16, stripeUnit: 4096, stripeCount: 3 },
    },
    { kind: 'data-pool', spec: 'rbd/resized-ec', options: { order: 16, dataPool: 'ec' } },
  ])('resizes a $kind image, and rbd agrees on every byte', async ({ spec, options }) => {
    await create(spec, { ...options, size: MIB });
    await using image = await open(spec);
    let model = patternBytes(MIB, 5);
    await image.write(0, model);
    for (const size of [700_001, 900_000, 65_536, 200_000, 1, 0, 300_000]) {
      await image.resize(size, { allowShrink: true });
      expect(image.size).toBe(size);
      model = Buffer.concat([
        model.subarray(0, size),
        Buffer.alloc(Math.max(0, size - model.length)),
      ]);
      same(await exported(spec), model);
      same(await image.read(0, size), model);
    }
    await expect(image.resize(10)).rejects.toMatchObject({ code: 'EINVAL' });
    // And a size that rbd gives it.
    await cluster.rbd('resize', '--no-progress', spec, '--size', '5M');
    await image.refresh();
    expect(image.size).toBe(5 * MIB);
    expect(await image.write(5 * MIB - 1, Buffer.from('xyz'))).toBe(1);
  });

  it('tells rbd’s clients of a resize', async () => {
    await create('rbd/watched');
    await cluster.rbd('resize', '--no-progress', 'rbd/watched', '--size', '11M');
    // The watcher is a real librbd that waits for the new size.
    const watcher = cluster.runOrThrow('/usr/bin/python3', [
      '-c',
      [
        'import rados, rbd, sys, time',
        'cluster = rados.Rados(conffile=sys.argv[1]); cluster.connect()',
        'image = rbd.Image(cluster.open_ioctx("rbd"), "watched")',
        'print(image.size()); open(sys.argv[2], "w").close()',
        'deadline = time.time() + 20',
        'while image.size() == 11 << 20 and time.time() < deadline: time.sleep(0.05)',
        'print(image.size())',
      ].join('\n'),
      cluster.confPath,
      path('watching'),
    ]);
    await expect
      .poll(
        () =>
          readFile(path('watching')).then(
            () => true,
            () => false,
          ),
        { timeout: 20_000 },
      )
      .toBe(true);
    await using image = await open('rbd/watched');
    await image.resize(12 * MIB);
    expect((await watcher).stdout).toBe(`${11 * MIB}\n${12 * MIB}\n`);
  });
}
