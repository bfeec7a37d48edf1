/** Pools, namespaces and images: made, described, changed and removed. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Cluster, Images } from '../../src/index.js';
import { rejection } from '../block/support/hosts.js';
import {
  connectTo,
  expectSameBytes,
  type GetTarget,
  imageKinds,
  KIB,
  MIB,
  NAMESPACE,
  Random,
  specOf,
} from './support.js';
import type { TargetKind } from './target.js';

export function images(kind: TargetKind, getTarget: GetTarget): void {
  describe('pools, namespaces and images', () => {
    let cluster: Cluster;
    let rbd: Images;

    beforeAll(async () => {
      cluster = await connectTo(getTarget());
      rbd = cluster.pool('rbd').images;
    });
    afterAll(() => cluster?.close());

    const json = async (...args: string[]) =>
      JSON.parse((await getTarget().tools?.rbd(...args, '--format', 'json')) ?? 'null') as Record<
        string,
        unknown
      >;

    it('belong to the cluster that they say', async () => {
      const { output } = await cluster.command({ prefix: 'fsid', format: 'json' });
      expect(JSON.parse(Buffer.from(output).toString())).toEqual({ fsid: cluster.fsid });
      expect(await cluster.listPools()).toEqual(expect.arrayContaining(['rbd', 'data']));
    });

    it('pools come and go', async () => {
      await cluster.createPool('passing', { pgNum: 4, size: 2 });
      expect(await cluster.listPools()).toContain('passing');
      const inside = cluster.pool('passing').images;
      await inside.create('image', { size: MIB });
      expect(await inside.list()).toEqual(['image']);
      await using device = await cluster.map('passing/image');
      await device.write(0, Buffer.from('soon gone'));
      await cluster.removePool('passing');
      expect(await cluster.listPools()).not.toContain('passing');
      expect(await rejection(inside.list())).toMatchObject({ code: 'ENOENT' });
      // A pool may go away under a mapped image: its calls fail, they do not hang.
      expect(await rejection(device.read(0, 1))).toMatchObject({ code: 'ENOENT' });
      const write = await rejection(device.write(0, Buffer.alloc(1)));
      expect(write).toMatchObject({ code: 'ENOENT', outcome: 'not-applied' });
    });

    it('namespaces come and go, and keep their images apart', async () => {
      const { namespaces } = cluster.pool('rbd');
      await namespaces.create('passing');
      expect(await namespaces.list()).toEqual([NAMESPACE, 'passing'].sort());
      expect(await rejection(namespaces.create('passing'))).toMatchObject({ code: 'EEXIST' });
      const inside = cluster.pool('rbd', 'passing').images;
      await inside.create('same-name', { size: MIB });
      await rbd.create('same-name', { size: 2 * MIB });
      expect((await inside.info('same-name')).size).toBe(MIB);
      expect(await rejection(namespaces.remove('passing'))).toMatchObject({ code: 'EBUSY' });
      await inside.remove('same-name');
      await namespaces.remove('passing');
      expect(await namespaces.list()).toEqual([NAMESPACE]);
      expect(await rejection(inside.list())).toMatchObject({ code: 'ENOENT' });
      expect((await rbd.info('same-name')).size).toBe(2 * MIB);
      await rbd.remove('same-name');
    });

    describe.each(imageKinds(kind))('a $kind image', (imageKind) => {
      const { namespace, options } = imageKind;
      const spec = specOf(imageKind, 'made');
      const place = () => cluster.pool('rbd', namespace).images;

      it('lives from its creation to its removal', async () => {
        const inside = place();
        const size = 5 * MIB + 3;
        const id = await inside.create('made', { size, ...options });
        expect(await inside.list()).toContain('made');
        expect(await rejection(inside.create('made', { size }))).toMatchObject({ code: 'EEXIST' });

        const info = await inside.info('made');
        const order = options.order ?? 22;
        expect(info).toMatchObject({
          ...{ name: 'made', id, size, order, objectSize: 2 ** order, snapshotCount: 0 },
          dataPool: options.dataPool,
          stripeUnit: options.stripeUnit,
          stripeCount: options.stripeCount,
        });
        expect(info.features).toEqual([
          'layering',
          ...(options.stripeUnit ? ['striping'] : []),
          ...['exclusive-lock', 'object-map', 'fast-diff', 'deep-flatten'],
          ...(options.dataPool ? ['data-pool'] : []),
        ]);
        if (kind.hasTools) {
          expect(await json('info', spec)).toMatchObject({
            ...{ name: info.name, id: info.id, size: info.size, objects: info.objects },
            ...{ order: info.order, object_size: info.objectSize, format: info.format },
            ...{ snapshot_count: info.snapshotCount, block_name_prefix: info.blockNamePrefix },
            ...{ features: info.features, op_features: info.opFeatures, flags: info.flags },
            ...(info.dataPool ? { data_pool: info.dataPool } : {}),
            ...(info.stripeUnit
              ? { stripe_unit: info.stripeUnit, stripe_count: info.stripeCount }
              : {}),
          });
        }

        await inside.rename('made', 'renamed');
        expect(await inside.list()).not.toContain('made');
        const features = ['layering', 'deep-flatten'];
        await inside.create('made', { size: 1, features, ...options });
        const made = (await inside.info('made')).features;
        expect(made).toEqual(expect.arrayContaining(features));
        expect(made).not.toContain('exclusive-lock');
        expect(await rejection(inside.rename('renamed', 'made'))).toMatchObject({
          code: 'EEXIST',
        });
        await inside.remove('made');

        const metadata = inside.metadata('renamed');
        await metadata.set('owner', 'größe & co');
        expect(await metadata.list()).toEqual({ owner: 'größe & co' });
        await metadata.remove('owner');
        expect(await metadata.get('owner')).toBeUndefined();

        const progress: [number, number][] = [];
        await inside.remove('renamed', {
          onProgress: (done, total) => progress.push([done, total]),
        });
        expect(progress.at(-1)?.[0]).toBe(progress.at(-1)?.[1]);
        expect(await inside.list()).not.toContain('renamed');
        expect(await rejection(inside.info('renamed'))).toMatchObject({ code: 'ENOENT' });
        expect(await rejection(inside.remove('renamed'))).toMatchObject({ code: 'ENOENT' });
      });

      it('is larger or smaller after a resize, and forgets what was cut off', async () => {
        const inside = place();
        const content = new Random(1).bytes(3 * MIB);
        await inside.create('resized', { size: content.length, ...options });
        const name = specOf(imageKind, 'resized');
        {
          await using device = await cluster.map(name);
          await device.write(0, content);
        }
        const kept = MIB + 77_777;
        expect(await rejection(inside.resize('resized', kept))).toMatchObject({ code: 'EINVAL' });
        await inside.resize('resized', kept, { allowShrink: true });
        await inside.resize('resized', content.length);
        {
          await using device = await cluster.map(name);
          expect(device.size).toBe(content.length);
          const expected = Buffer.alloc(content.length);
          content.copy(expected, 0, 0, kept);
          expectSameBytes(await device.read(0, device.size), expected);

          const sizes: number[] = [];
          device.on('resize', (size) => sizes.push(size));
          await device.resize(4 * MIB);
          await device.write(4 * MIB - 1, Buffer.from('x'));
          await device.resize(64 * KIB);
          expect(sizes).toEqual([4 * MIB, 64 * KIB]);
          expect(await rejection(device.read(64 * KIB, 1))).toMatchObject({ code: 'EINVAL' });
          expectSameBytes(await device.read(0, 64 * KIB), content.subarray(0, 64 * KIB));
        }
        expect((await inside.info('resized')).size).toBe(64 * KIB);
        await inside.remove('resized');
      });
    });

    it('leave no object behind when they are removed', async () => {
      // What stays of an empty pool: its directories.
      const allowed = /^rbd_(directory|info|namespace|trash)$/;
      for (const image of imageKinds(kind)) {
        const inside = cluster.pool('rbd', image.namespace).images;
        await inside.create('leftover', { size: 3 * MIB, ...image.options });
        {
          await using device = await cluster.map(specOf(image, 'leftover'));
          await device.writeSame(0, 3 * MIB, Buffer.from('x'));
        }
        const { blockNamePrefix } = await inside.info('leftover');
        await inside.remove('leftover');
        const { tools } = getTarget();
        for (const pool of tools ? ['rbd', image.options.dataPool ?? 'rbd'] : []) {
          const names = (await tools?.rados('-p', pool, '--all', 'ls'))?.trim().split('\n') ?? [];
          // `rados --all ls` prints the namespace, a tab, and the object.
          const oids = names.map((line) => line.split('\t').at(-1) ?? '').filter(Boolean);
          expect(oids.filter((oid) => oid.startsWith(blockNamePrefix))).toEqual([]);
          if (pool === 'rbd') expect(oids.filter((oid) => !allowed.test(oid))).toEqual([]);
        }
        expect(await inside.list()).toEqual([]);
      }
    });
  });
}
