// Creating, listing, describing, renaming and removing images on real Ceph and on the embedded cluster, next
// to rbd and in its eyes.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { deleteOp } from '../../src/messages/osd-op.js';
import { mutate } from '../../src/rados/class-call.js';
import {
  dirAddImage,
  dirRemoveImage,
  setFeatures,
  TRASH_SOURCE,
  TRASH_STATE,
  trashAdd,
} from '../../src/rados/cls-rbd.js';
import type { RadosClient } from '../../src/rados/rados-client.js';
import { type CreateOptions, createImage } from '../../src/rbd/create.js';
import { listImages, renameImage } from '../../src/rbd/directory.js';
import { FEATURE } from '../../src/rbd/features.js';
import { Image } from '../../src/rbd/image.js';
import { type ImageInfo, imageInfo } from '../../src/rbd/info.js';
import { getImageMetadata, listImageMetadata } from '../../src/rbd/metadata.js';
import { headerObject } from '../../src/rbd/names.js';
import { createNamespace, listNamespaces, removeNamespace } from '../../src/rbd/namespaces.js';
import { validatePool } from '../../src/rbd/pool.js';
import { removeImage } from '../../src/rbd/remove.js';
import { parseImageSpec } from '../../src/rbd/spec.js';
import { describeCeph } from './support/ceph-cluster.js';
import { connectTo } from './support/rbd-client.js';
import { SERVERS, type Server, type ServerKind } from './support/servers.js';

const MIB = 1 << 20;
const DEFAULT_BESIDE_LAYERING = ['exclusive-lock', 'object-map', 'fast-diff', 'deep-flatten'];

for (const server of SERVERS) {
  describeCeph(`the images of ${server.name}`, () => directory(server));
}

function directory(server: ServerKind): void {
  let cluster: Server;
  let client: RadosClient;

  beforeAll(async () => {
    cluster = await server.start({
      osds: 1,
      pools: [
        { name: 'rbd', pgNum: 4 },
        { name: 'fast', pgNum: 4 },
      ],
    });
    client = await connectTo(cluster);
    await createNamespace(await client.ioctx('rbd'), 'ns');
  });
  afterAll(async () => {
    client?.close();
    await cluster?.stop();
  });

  const spec = parseImageSpec;
  const create = (text: string, options: Partial<CreateOptions> = {}) =>
    createImage(client, spec(text), { size: 10 * MIB, ...options });
  const theirs = (text: string, ...args: string[]) =>
    cluster.rbd('create', '--size', '10M', text, ...args);
  const rbdJson = async (...args: string[]): Promise<unknown> =>
    JSON.parse(await cluster.rbd(...args, '--format', 'json'));
  const rbdFails = async (...args: string[]) => (await cluster.run('rbd', args)).code;
  const objectsOf = async (text: string) =>
    (await cluster.rados('-p', 'rbd', ...(text ? ['-N', text] : []), 'ls'))
      .split('\n')
      .filter(Boolean);
  /** ctime, as rbd prints it. */
  const ctime = (date: Date) => {
    const [weekday, month, day, year] = date.toDateString().split(' ') as [
      string,
      string,
      string,
      string,
    ];
    return `${weekday} ${month} ${day.replace(/^0/, ' ')} ${date.toTimeString().slice(0, 8)} ${year}`;
  };

  /** The fields of `rbd info --format json`, in its order. */
  const asJson = (info: ImageInfo) => ({
    name: info.name,
    id: info.id,
    size: info.size,
    objects: info.objects,
    order: info.order,
    object_size: info.objectSize,
    snapshot_count: info.snapshotCount,
    ...(info.dataPool === undefined ? {} : { data_pool: info.dataPool }),
    block_name_prefix: info.blockNamePrefix,
    format: info.format,
    features: info.features,
    op_features: info.opFeatures,
    flags: info.flags,
    ...(info.group === undefined ? {} : { group: info.group }),
    create_timestamp: ctime(info.createTimestamp),
    access_timestamp: ctime(info.accessTimestamp),
    modify_timestamp: ctime(info.modifyTimestamp),
    ...(info.protected === undefined ? {} : { protected: String(info.protected) }),
    ...(info.snapshotLimit === undefined ? {} : { snapshot_limit: info.snapshotLimit }),
    ...(info.parent === undefined
      ? {}
      : {
          parent: {
            pool: info.parent.pool,
            pool_namespace: info.parent.poolNamespace,
            image: info.parent.image,
            id: info.parent.id,
            snapshot: info.parent.snapshot,
            trash: info.parent.trash,
            overlap: info.parent.overlap,
          },
        }),
    ...(info.stripeUnit === undefined
      ? {}
      : { stripe_unit: info.stripeUnit, stripe_count: info.stripeCount }),
  });

  /** Field by field and in order. */
  /** A feature that this version lacks, set or taken away without what makes it work. */
  async function setJournaling(text: string, on: boolean): Promise<void> {
    const { id } = await imageInfo(client, spec(text));
    const features = on ? FEATURE.JOURNALING : 0n;
    await mutate(await client.ioctx('rbd'), headerObject(id), [
      setFeatures(features, FEATURE.JOURNALING),
    ]);
  }

  async function sameInfo(text: string): Promise<ImageInfo> {
    const info = await imageInfo(client, spec(text));
    const ours = JSON.stringify(asJson(info), undefined, 1);
    expect(ours).toBe(JSON.stringify(await rbdJson('info', text), undefined, 1));
    return info;
  }

  describe('imageInfo', () => {
    it.each([
      ['rbd/i-plain', ['--image-feature', 'layering']],
      ['rbd/i-default', []],
      ['rbd/i-all', ['--image-feature', 'layering,exclusive-lock,object-map,fast-diff']],
      ['rbd/i-striped', ['--stripe-unit', '64K', '--stripe-count', '4', '--object-size', '1M']],
      ['rbd/i-data', ['--data-pool', 'fast']],
      ['rbd/ns/i-inside', ['--object-size', '8K']],
    ])('agrees with rbd on %s', async (text, args) => {
      await theirs(text, ...args);
      await sameInfo(text);
    });

    it.each<[string, Partial<CreateOptions>]>([
      ['rbd/o-plain', {}],
      ['rbd/o-odd', { size: 12_345_678, order: 16 }],
      ['rbd/o-empty', { size: 0 }],
      ['rbd/o-huge', { size: 2 ** 50, features: FEATURE.LAYERING }],
      ['rbd/o-striped', { stripeUnit: 4096, stripeCount: 7, order: 20 }],
      ['rbd/o-one', { stripeUnit: 4096, stripeCount: 1 }],
      ['rbd/o-data', { dataPool: 'fast' }],
      ['rbd/o-same', { dataPool: 'rbd', stripeUnit: 4 * MIB, stripeCount: 1 }],
      ['rbd/o-none', { features: 0n }],
      ['rbd/ns/o-all', { dataPool: 'fast', stripeUnit: 65_536, stripeCount: 2 }],
    ])('agrees with rbd on our own %s', async (text, options) => {
      const id = await create(text, options);
      const info = await sameInfo(text);
      expect(info.id).toBe(id);
      expect(info.features).toEqual([
        ...(options.features === 0n ? [] : ['layering']),
        ...(info.stripeUnit === undefined ? [] : ['striping']),
        ...(options.features === undefined ? DEFAULT_BESIDE_LAYERING : []),
        ...(info.dataPool === undefined ? [] : ['data-pool']),
      ]);
      expect(info.stripeUnit === undefined).toBe(!/-striped|-one|-all/.test(text));
    });

    it('agrees with rbd on snapshots, their limit and clones', async () => {
      await theirs('rbd/i-parent', '--image-feature', 'layering');
      await cluster.rbd('snap', 'create', '--no-progress', 'rbd/i-parent@s1');
      await cluster.rbd('snap', 'protect', 'rbd/i-parent@s1');
      await cluster.rbd('snap', 'create', '--no-progress', 'rbd/i-parent@s2');
      await cluster.rbd('snap', 'limit', 'set', 'rbd/i-parent', '--limit', '5');
      expect(await sameInfo('rbd/i-parent')).toMatchObject({ snapshotCount: 2, snapshotLimit: 5 });
      expect(await sameInfo('rbd/i-parent@s1')).toMatchObject({ protected: true });
      expect(await sameInfo('rbd/i-parent@s2')).toMatchObject({ protected: false });
      await cluster.rbd('clone', 'rbd/i-parent@s1', 'rbd/i-clone1');
      await cluster.rbd(
        'clone',
        '--rbd-default-clone-format',
        '2',
        'rbd/i-parent@s2',
        'rbd/ns/i-clone2',
      );
      await cluster.rbd(
        'resize',
        '--no-progress',
        '--allow-shrink',
        'rbd/ns/i-clone2',
        '--size',
        '3M',
      );
      expect((await sameInfo('rbd/i-clone1')).parent).toMatchObject({ overlap: 10 * MIB });
      const info = await sameInfo('rbd/ns/i-clone2');
      expect(info.parent).toMatchObject({ image: 'i-parent', overlap: 3 * MIB, snapshot: 's2' });
      expect(info.opFeatures).toEqual(['clone-child']);
      expect((await sameInfo('rbd/i-parent')).opFeatures).toEqual(['clone-parent']);
      // The clone needs the snapshot, which therefore goes to the trash.
      await cluster.rbd('snap', 'rm', '--no-progress', 'rbd/i-parent@s2');
      expect((await sameInfo('rbd/ns/i-clone2')).parent?.snapshot).toMatch(/^[0-9a-f-]{36}$/);
    });

    it('finds an image by its id, also one in the trash', async () => {
      const id = await create('rbd/i-byid');
      expect(await imageInfo(client, { pool: 'rbd', id })).toMatchObject({ name: 'i-byid' });
      await cluster.rbd('trash', 'mv', 'rbd/i-byid');
      expect(await imageInfo(client, { pool: 'rbd', id })).toMatchObject({ name: 'i-byid', id });
      await expect(imageInfo(client, spec('rbd/i-byid'))).rejects.toMatchObject({ code: 'ENOENT' });
    });
  });

  describe('createImage', () => {
    it('makes images that rbd can use', async () => {
      await create('rbd/c-use', { features: FEATURE.LAYERING });
      await cluster.rbd('snap', 'create', '--no-progress', 'rbd/c-use@s');
      await cluster.rbd('snap', 'purge', '--no-progress', 'rbd/c-use');
      await cluster.rbd('feature', 'enable', 'rbd/c-use', 'exclusive-lock,object-map,fast-diff');
      await cluster.rbd('bench', '--io-type', 'write', '--io-total', '1M', 'rbd/c-use');
      await cluster.rbd('rm', '--no-progress', 'rbd/c-use');
    });

    it('answers as rbd does to what it cannot create', async () => {
      await create('rbd/c-there');
      await expect(create('rbd/c-there')).rejects.toMatchObject({
        code: 'EEXIST',
        target: 'rbd/c-there',
      });
      await expect(create('rbd/c-x', { order: 11 })).rejects.toMatchObject({ code: 'EDOM' });
      await expect(create('nopool/c-x')).rejects.toMatchObject({ code: 'ENOENT' });
      await expect(create('rbd/nons/c-x')).rejects.toMatchObject({
        code: 'ENOENT',
        message: expect.stringContaining("namespace 'nons' does not exist"),
      });
      await expect(create('rbd/c-x', { dataPool: 'nopool' })).rejects.toMatchObject({
        code: 'ENOENT',
      });
      await expect(create('rbd/c-x', { stripeUnit: 4096 })).rejects.toMatchObject({
        code: 'EINVAL',
      });
      await expect(create('rbd/c-x', { stripeUnit: 3000, stripeCount: 2 })).rejects.toMatchObject({
        code: 'EINVAL',
      });
      await expect(create('rbd/c-x', { features: FEATURE.JOURNALING })).rejects.toMatchObject({
        code: 'ENOSYS',
        message: expect.stringContaining("'journaling'"),
      });
      expect((await objectsOf('')).filter((oid) => oid.includes('c-x'))).toEqual([]);
    });

    it('lets one of many that create the same name at once win, and leaves no trace of the others', async () => {
      const before = await objectsOf('');
      const results = await Promise.allSettled(
        Array.from({ length: 8 }, () => create('rbd/c-race')),
      );
      const won = results.filter((result) => result.status === 'fulfilled');
      const lost = results.filter((result) => result.status === 'rejected');
      expect(won).toHaveLength(1);
      expect(lost.every(({ reason }) => (reason as { code: string }).code === 'EEXIST')).toBe(true);
      expect(await sameInfo('rbd/c-race')).toMatchObject({ id: won[0]?.value });
      const created = (await objectsOf('')).filter((oid) => !before.includes(oid));
      const id = won[0]?.value;
      const objects = [`rbd_header.${id}`, 'rbd_id.c-race', `rbd_object_map.${id}`];
      expect(created.sort()).toEqual(objects);
    });

    it('validates a pool that holds no image yet', async () => {
      await cluster.ceph('osd', 'pool', 'create', 'fresh', '4');
      await cluster.ceph('osd', 'pool', 'application', 'enable', 'fresh', 'rbd');
      await create('fresh/first');
      expect(await cluster.rados('-p', 'fresh', 'get', 'rbd_info', '-')).toBe(
        'overwrite validated',
      );
      // Validated already, and not touched again.
      await validatePool(await client.ioctx('fresh'));
      await cluster.rbd('snap', 'create', '--no-progress', 'fresh/first@s');
    });

    it('refuses a pool that has pool snapshots', async () => {
      await cluster.ceph('osd', 'pool', 'create', 'snappy', '4');
      await cluster.rados('-p', 'snappy', 'mksnap', 'ps');
      await expect(create('snappy/x')).rejects.toMatchObject({
        code: 'EINVAL',
        message: expect.stringContaining('pool snappy cannot hold images'),
      });
      expect(await cluster.rados('-p', 'snappy', 'ls')).toBe('');
    });
  });

  describe('listImages', () => {
    it('lists what rbd lists', async () => {
      for (const [pool, nspace, path] of [
        ['rbd', '', 'rbd'],
        ['rbd', 'ns', 'rbd/ns'],
        ['fast', '', 'fast'],
      ] as const) {
        const names = (await listImages(await client.ioctx(pool, nspace))).map(({ name }) => name);
        expect(names).toEqual(await rbdJson('ls', path));
      }
      await expect(listImages(await client.ioctx('rbd', 'nons'))).rejects.toMatchObject({
        code: 'ENOENT',
      });
    });

    it('pages through a directory of many images', async () => {
      const ioctx = await client.ioctx('fast', '');
      // Names alone: the directory does not look further.
      const names = Array.from({ length: 2100 }, (_, i) => `many-${i}`);
      for (let at = 0; at < names.length; at += 50) {
        await Promise.all(
          names
            .slice(at, at + 50)
            .map((name, i) => mutate(ioctx, 'rbd_directory', [dirAddImage(name, `m${at + i}`)])),
        );
      }
      const listed = await listImages(ioctx);
      expect(listed.map(({ name }) => name)).toEqual(await rbdJson('ls', 'fast'));
      expect(listed).toHaveLength(2100);
      await ioctx.operate('rbd_directory', [deleteOp()]);
    });
  });

  describe('renameImage', () => {
    it('gives a name that rbd knows, and follows rbd’s', async () => {
      const ioctx = await client.ioctx('rbd', 'ns');
      await create('rbd/ns/r-1');
      await renameImage(ioctx, 'r-1', 'r-2');
      await sameInfo('rbd/ns/r-2');
      expect(await rbdFails('info', 'rbd/ns/r-1')).toBe(2);
      await cluster.rbd('rename', 'rbd/ns/r-2', 'rbd/ns/r-3');
      await sameInfo('rbd/ns/r-3');
      await create('rbd/ns/r-there');
      await expect(renameImage(ioctx, 'r-3', 'r-there')).rejects.toMatchObject({ code: 'EEXIST' });
      await expect(renameImage(ioctx, 'r-1', 'r-4')).rejects.toMatchObject({ code: 'ENOENT' });
      await expect(renameImage(ioctx, 'r-3', 'a/b')).rejects.toMatchObject({ code: 'EINVAL' });
      await sameInfo('rbd/ns/r-3');
    });

    it('leaves those alone that have the image open', async () => {
      await create('rbd/r-open');
      await using image = await Image.open(client, spec('rbd/r-open'));
      await renameImage(await client.ioctx('rbd'), 'r-open', 'r-opened');
      await image.write(0, Buffer.from('still'));
      await image.resize(11 * MIB);
      expect((await sameInfo('rbd/r-opened')).size).toBe(11 * MIB);
    });
  });

  describe('removeImage', () => {
    const remove = (text: string, options = {}) => removeImage(client, spec(text), options);

    it('leaves nothing behind', async () => {
      const before = { pool: await objectsOf(''), ns: await objectsOf('ns') };
      for (const [text, options] of [
        ['rbd/d-plain', {}],
        ['rbd/d-striped', { order: 16, stripeUnit: 4096, stripeCount: 3 }],
        ['rbd/d-data', { dataPool: 'fast' }],
        ['rbd/ns/d-inside', {}],
      ] as const) {
        await create(text, options);
        const image = await Image.open(client, spec(text));
        await image.write(0, Buffer.alloc(image.size, 1));
        await expect(remove(text)).rejects.toMatchObject({ code: 'EBUSY' });
        await image.close();
        const progress: [number, number][] = [];
        await remove(text, {
          onProgress: (done: number, total: number) => progress.push([done, total]),
        });
        expect(progress.at(-1)).toEqual([image.objectCount, image.objectCount]);
        expect(await rbdFails('info', text)).toBe(2);
      }
      const except = (oids: string[]) => oids.filter((oid) => oid !== 'rbd_trash').sort();
      expect(except(await objectsOf(''))).toEqual(except(before.pool));
      expect(except(await objectsOf('ns'))).toEqual(except(before.ns));
      expect(await cluster.rados('-p', 'fast', 'ls')).not.toContain('rbd_data.1.');
      expect(await rbdJson('trash', 'ls', '--all', 'rbd')).not.toContainEqual(
        expect.objectContaining({ name: expect.stringMatching(/^d-/) }),
      );
    });

    it('removes what rbd made, and rbd what we made', async () => {
      await theirs('rbd/d-theirs', '--image-feature', 'layering');
      await remove('rbd/d-theirs');
      expect(await rbdFails('info', 'rbd/d-theirs')).toBe(2);
      await create('rbd/d-ours');
      await cluster.rbd('rm', '--no-progress', 'rbd/d-ours');
      await expect(imageInfo(client, spec('rbd/d-ours'))).rejects.toMatchObject({ code: 'ENOENT' });
      await expect(remove('rbd/d-ours')).rejects.toMatchObject({ code: 'ENOENT' });
    });

    it('refuses an image with snapshots, with another client’s watch, or with features that it lacks', async () => {
      await create('rbd/d-kept');
      await cluster.rbd('snap', 'create', '--no-progress', 'rbd/d-kept@s');
      await expect(remove('rbd/d-kept')).rejects.toMatchObject({ code: 'ENOTEMPTY' });
      await cluster.rbd('snap', 'rm', '--no-progress', 'rbd/d-kept@s');

      const watcher = spawn('rbd', ['-c', cluster.confPath, 'watch', 'rbd/d-kept'], {
        stdio: 'pipe',
      });
      await once(watcher.stdout, 'data');
      await expect(remove('rbd/d-kept')).rejects.toMatchObject({ code: 'EBUSY' });
      watcher.stdin.end('\n');
      await once(watcher, 'exit');

      await setJournaling('rbd/d-kept', true);
      await expect(remove('rbd/d-kept')).rejects.toMatchObject({
        code: 'ENOSYS',
        message: expect.stringContaining("'journaling'"),
      });
      await setJournaling('rbd/d-kept', false);
      await sameInfo('rbd/d-kept');
      await remove('rbd/d-kept');
    });

    it('makes the parent of a clone forget it', async () => {
      await theirs('rbd/d-parent', '--image-feature', 'layering');
      await cluster.rbd('snap', 'create', '--no-progress', 'rbd/d-parent@s');
      await cluster.rbd('snap', 'protect', 'rbd/d-parent@s');
      await cluster.rbd('clone', '--image-feature', 'layering', 'rbd/d-parent@s', 'rbd/d-clone');
      expect(await cluster.rbd('children', 'rbd/d-parent@s')).toBe('rbd/d-clone\n');
      await remove('rbd/d-clone');
      expect(await cluster.rbd('children', 'rbd/d-parent@s')).toBe('');
      await cluster.rbd('snap', 'unprotect', 'rbd/d-parent@s');
    });

    it('can be interrupted: rbd lists the rest and finishes it, and so do we', async () => {
      for (const finish of [
        () => cluster.rbd('rm', '--no-progress', 'rbd/d-half'),
        () => remove('rbd/d-half'),
      ]) {
        // Without a map that says that there is nothing to remove.
        await create('rbd/d-half', { order: 16, features: FEATURE.LAYERING });
        const abort = new AbortController();
        const onProgress = (done: number) => {
          if (done === 20) abort.abort();
        };
        await expect(
          remove('rbd/d-half', { onProgress, signal: abort.signal }),
        ).rejects.toMatchObject({
          code: 'ECANCELED',
        });
        expect(await rbdJson('ls', 'rbd')).toContain('d-half');
        expect((await listImages(await client.ioctx('rbd'))).map(({ name }) => name)).toContain(
          'd-half',
        );
        expect(await rbdFails('info', 'rbd/d-half')).toBe(2);
        await finish();
        expect(await rbdJson('ls', 'rbd')).not.toContain('d-half');
      }
    });

    it('finishes a removal that rbd did not', async () => {
      await cluster.rbd(
        'create',
        '--image-feature',
        'layering',
        '--object-size',
        '4K',
        '--size',
        '48M',
        'rbd/d-killed',
      );
      const rm = spawn('rbd', ['-c', cluster.confPath, 'rm', 'rbd/d-killed'], { stdio: 'pipe' });
      await once(rm.stderr, 'data');
      rm.kill('SIGKILL');
      await once(rm, 'exit');
      expect(await rbdJson('ls', 'rbd')).toContain('d-killed');
      const left = (await listImages(await client.ioctx('rbd'))).find(
        ({ name }) => name === 'd-killed',
      );
      // The dead client still counts as watching, until that expires or it is fenced.
      await expect(remove('rbd/d-killed')).rejects.toMatchObject({ code: 'EBUSY' });
      const watchers = await cluster.rados('-p', 'rbd', 'listwatchers', `rbd_header.${left?.id}`);
      const address = /watcher=(\S+)/.exec(watchers)?.[1] ?? expect.fail(watchers);
      await cluster.ceph('osd', 'blocklist', 'add', address);
      await expect
        .poll(
          () =>
            remove('rbd/d-killed').then(
              () => 'removed',
              (error: { code: string }) => error.code,
            ),
          { timeout: 20_000, interval: 100 },
        )
        .toBe('removed');
      expect(await rbdJson('ls', 'rbd')).not.toContain('d-killed');
      expect(await rbdJson('trash', 'ls', '--all', 'rbd')).not.toContainEqual(
        expect.objectContaining({ name: 'd-killed' }),
      );
    });

    it('lists an image once whose removal has only begun, which rbd lists twice, and removes it', async () => {
      const id = await create('rbd/d-begun');
      const ioctx = await client.ioctx('rbd');
      const now = { sec: 1, nsec: 0 };
      await mutate(ioctx, 'rbd_trash', [
        trashAdd(id, {
          ...{ source: TRASH_SOURCE.REMOVING, name: 'd-begun', state: TRASH_STATE.MOVING },
          ...{ deletionTime: now, defermentEndTime: now },
        }),
      ]);
      const begun = (names: readonly string[]) => names.filter((name) => name === 'd-begun');
      const ours = async () => begun((await listImages(ioctx)).map(({ name }) => name));
      expect(await ours()).toEqual(['d-begun']);
      expect(begun((await rbdJson('ls', 'rbd')) as string[])).toEqual(['d-begun', 'd-begun']);
      await remove('rbd/d-begun');
      expect(await ours()).toEqual([]);
      expect(begun((await rbdJson('ls', 'rbd')) as string[])).toEqual([]);
    });

    it('removes the name that an interrupted creation left', async () => {
      const ioctx = await client.ioctx('rbd');
      await mutate(ioctx, 'rbd_directory', [dirAddImage('d-name', 'abc123')]);
      await remove('rbd/d-name');
      expect(await rbdJson('ls', 'rbd')).not.toContain('d-name');
      await expect(
        mutate(ioctx, 'rbd_directory', [dirRemoveImage('d-name', 'abc123')]),
      ).rejects.toMatchObject({
        code: 'ENOENT',
      });
    });
  });

  describe('image metadata', () => {
    it('is what rbd shows and sets', async () => {
      await create('rbd/m');
      await using image = await Image.open(client, spec('rbd/m'));
      expect(await listImageMetadata(image)).toEqual(new Map());
      await image.setMetadata('b', 'zwei');
      await image.setMetadata('a', 'größe');
      await cluster.rbd('image-meta', 'set', 'rbd/m', 'c', 'theirs');
      expect(await rbdJson('image-meta', 'ls', 'rbd/m')).toEqual(
        Object.fromEntries(await listImageMetadata(image)),
      );
      expect([...(await listImageMetadata(image)).keys()]).toEqual(['a', 'b', 'c']);
      expect(await getImageMetadata(image, 'c')).toBe('theirs');
      expect(await cluster.rbd('image-meta', 'get', 'rbd/m', 'a')).toBe('größe\n');
      await image.removeMetadata('a');
      expect(await rbdJson('image-meta', 'ls', 'rbd/m')).toEqual({ b: 'zwei', c: 'theirs' });
      for (const call of [getImageMetadata(image, 'a'), image.removeMetadata('a')]) {
        await expect(call).rejects.toMatchObject({ code: 'ENOENT', target: 'rbd/m' });
      }
    });

    it('is listed in pages', async () => {
      await create('rbd/m-many');
      await using image = await Image.open(client, spec('rbd/m-many'));
      for (let i = 0; i < 130; i++) await image.setMetadata(`key-${i}`, String(i));
      expect((await listImageMetadata(image)).size).toBe(130);
    });
  });

  describe('namespaces', () => {
    it('are those of rbd', async () => {
      const pool = await client.ioctx('rbd');
      await createNamespace(pool, 'ours');
      await cluster.rbd('namespace', 'create', 'rbd/theirs');
      const listed = (await rbdJson('namespace', 'ls', 'rbd')) as { name: string }[];
      expect(await listNamespaces(pool)).toEqual(listed.map(({ name }) => name));
      expect(await listNamespaces(pool)).toEqual(['ns', 'ours', 'theirs']);
      await theirs('rbd/ours/image', '--image-feature', 'layering');
      await create('rbd/theirs/image');
      await expect(createNamespace(pool, 'theirs')).rejects.toMatchObject({ code: 'EEXIST' });
      await expect(removeNamespace(pool, 'theirs')).rejects.toMatchObject({ code: 'EBUSY' });
      expect(await rbdFails('namespace', 'rm', 'rbd/ours')).toBe(16);

      await cluster.rbd('trash', 'mv', 'rbd/theirs/image');
      await expect(removeNamespace(pool, 'theirs')).rejects.toMatchObject({ code: 'EBUSY' });
      // It is open again after the refusal.
      await create('rbd/theirs/another');
      await removeImage(client, spec('rbd/theirs/another'));
      await cluster.rbd('trash', 'purge', '--no-progress', 'rbd/theirs');
      await removeNamespace(pool, 'theirs');
      await removeImage(client, spec('rbd/ours/image'));
      await cluster.rbd('namespace', 'rm', 'rbd/ours');

      expect(await listNamespaces(pool)).toEqual(['ns']);
      expect([await objectsOf('ours'), await objectsOf('theirs')]).toEqual([[], []]);
      await expect(removeNamespace(pool, 'theirs')).rejects.toMatchObject({ code: 'ENOENT' });
      await expect(createNamespace(pool, 'a/b')).rejects.toMatchObject({ code: 'EINVAL' });
    });

    it('are none in a pool that never had one', async () => {
      expect(await listNamespaces(await client.ioctx('fast'))).toEqual([]);
    });
  });

  describe('an image with features that this version lacks', () => {
    it('is refused for writing by their names, and read', async () => {
      await cluster.rbd('create', '--size', '1M', 'rbd/f-default');
      await cluster.rbd('bench', '--io-type', 'write', '--io-total', '64K', 'rbd/f-default');
      await setJournaling('rbd/f-default', true);
      await expect(Image.open(client, spec('rbd/f-default'))).rejects.toMatchObject({
        code: 'ENOSYS',
        message: expect.stringContaining(
          "image rbd/f-default has feature 'journaling', which this version cannot write",
        ),
      });
      await using image = await Image.open(client, spec('rbd/f-default'), { readOnly: true });
      expect((await image.read(0, image.size)).some((byte) => byte !== 0)).toBe(true);
      await expect(image.write(0, Buffer.from('x'))).rejects.toMatchObject({ code: 'EROFS' });
    });
  });

  it('opens no image for a user whose caps do not allow it, and says which', async () => {
    const keyring = join(cluster.dir, 'client.reader.keyring');
    await cluster.ceph(
      ...['auth', 'get-or-create', 'client.reader', 'mon', 'profile rbd'],
      ...['osd', 'profile rbd-read-only pool=rbd', '-o', keyring],
    );
    await create('rbd/caps');
    using reader = await connectTo(cluster, { name: 'client.reader', keyring });
    await using image = await Image.open(reader, spec('rbd/caps'), { readOnly: true });
    expect(await image.read(0, 10)).toHaveLength(10);
    await expect(Image.open(reader, spec('rbd/caps'))).rejects.toMatchObject({
      code: 'EPERM',
      target: 'rbd/caps',
    });
    await expect(removeImage(reader, spec('rbd/caps'))).rejects.toMatchObject({ code: 'EPERM' });
    await expect(createImage(reader, spec('rbd/caps2'), { size: 1 })).rejects.toMatchObject({
      code: 'EPERM',
    });
    await sameInfo('rbd/caps');
  });
}
