// Goal: snapshots that we take, rename, protect, remove and go back to are librbd's, and the other way round. Method: each
// step by one program, looked at by the other, on both servers.

import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { RadosClient } from '../../src/rados/rados-client.js';
import { cloneImage } from '../../src/rbd/clone.js';
import { type CreateOptions, createImage } from '../../src/rbd/create.js';
import { FEATURE } from '../../src/rbd/features.js';
import { Image, type OpenOptions } from '../../src/rbd/image.js';
import { createNamespace } from '../../src/rbd/namespaces.js';
import { removeImage } from '../../src/rbd/remove.js';
import { parseImageSpec } from '../../src/rbd/spec.js';
import { describeCeph } from './support/ceph-cluster.js';
import { sleep } from './support/processes.js';
import { connectTo, patternBytes } from './support/rbd-client.js';
import { SERVERS, type Server, type ServerKind } from './support/servers.js';

const KIB = 1024;
const OBJECT = 64 * KIB;
const SIZE = 10 * OBJECT;
const LOCKED = FEATURE.LAYERING | FEATURE.EXCLUSIVE_LOCK;
const MAPPED = LOCKED | FEATURE.OBJECT_MAP | FEATURE.FAST_DIFF;

interface ListedSnapshot {
  id: number;
  name: string;
  size: number;
  protected: string;
  namespace: { type: string; original_name?: string };
}

interface Flagged {
  flags: string[];
}

for (const server of SERVERS) describeCeph(`snapshots on ${server.name}`, () => snapshots(server));

function snapshots(kind: ServerKind): void {
  let server: Server;
  let client: RadosClient;

  beforeAll(async () => {
    server = await kind.start({ osds: 2, pools: [{ name: 'rbd' }, { name: 'data', pgNum: 4 }] });
    client = await connectTo(server);
    await createNamespace(await client.ioctx('rbd'), 'ns');
  });
  afterAll(async () => {
    client?.close();
    await server?.stop();
  });

  const open = (spec: string, options: OpenOptions = {}) =>
    Image.open(client, parseImageSpec(spec), options);
  const create = (spec: string, options: Partial<CreateOptions> = {}) =>
    createImage(client, parseImageSpec(spec), { size: SIZE, order: 16, ...options });
  const read = async (spec: string) => {
    await using image = await open(spec, { readOnly: true });
    return await image.read(0, image.size);
  };
  const exported = async (spec: string) => {
    const path = join(server.dir, 'exported');
    await rm(path, { force: true });
    await server.rbd('export', '--no-progress', spec, path);
    return readFile(path);
  };
  const listed = async (spec: string) =>
    JSON.parse(await server.rbd('snap', 'ls', '--all', '--format=json', spec)) as ListedSnapshot[];
  const names = async (spec: string) => (await listed(spec)).map(({ name }) => name);
  /** Object maps of the head and all snapshots say what is there. */
  const expectRightMaps = async (spec: string) => {
    for (const at of [spec, ...(await names(spec)).map((name) => `${spec}@${name}`)]) {
      const { stdout, stderr } = await server.runOrThrow('rbd', [
        ...['object-map', 'check', '--no-progress', at],
      ]);
      expect(stdout + stderr).not.toMatch(/invalid|error/i);
      const { flags } = JSON.parse(await server.rbd('info', '--format=json', at)) as Flagged;
      expect(flags).toEqual([]);
    }
  };
  /** What we see and what rbd sees, of the head or a snapshot. */
  const expectContents = async (spec: string, expected: Uint8Array) => {
    expect(Buffer.compare(await exported(spec), expected)).toBe(0);
    expect(Buffer.compare(await read(spec), expected)).toBe(0);
  };
  const failure = async (...args: string[]) => {
    const { code } = await server.run('rbd', args);
    return code;
  };

  const KINDS: { kind: string; spec: string; options: Partial<CreateOptions> }[] = [
    { kind: 'plain', spec: 'rbd/plain', options: {} },
    { kind: 'mapped', spec: 'rbd/mapped', options: { features: MAPPED } },
    {
      kind: 'namespaced, striped, data-pool',
      spec: 'rbd/ns/all',
      options: { stripeUnit: 4 * KIB, stripeCount: 3, dataPool: 'data' },
    },
  ];

  it.each(KINDS)(
    'of a $kind image are taken by either while we write',
    async ({ spec, options }) => {
      await create(spec, options);
      await using image = await open(spec);
      const model = patternBytes(SIZE, 1);
      const versions = new Map<string, Buffer>();
      await image.write(0, model);
      for (const [i, by] of ['ours', 'theirs', 'ours', 'theirs'].entries()) {
        const snap = `${by}-${i}`;
        versions.set(snap, Buffer.from(model));
        if (by === 'ours') await image.snapshots.create(snap);
        else await server.rbd('snap', 'create', '--no-progress', `${spec}@${snap}`);
        const change = patternBytes(3 * OBJECT, i + 2);
        await image.write(i * OBJECT + 100, change);
        model.set(change, i * OBJECT + 100);
        await image.discard(8 * OBJECT, (i % 2) * OBJECT);
        if (i % 2 === 1) model.fill(0, 8 * OBJECT, 9 * OBJECT);
      }
      for (const [snap, bytes] of versions) await expectContents(`${spec}@${snap}`, bytes);
      await expectContents(spec, model);
      expect(await names(spec)).toEqual([...versions.keys()]);
      const ours = await image.snapshots.list();
      const theirs = await listed(spec);
      expect(ours.map(({ id, name, size }) => ({ id: Number(id), name, size }))).toEqual(
        theirs.map(({ id, name, size }) => ({ id, name, size })),
      );
      // What was asked for by rbd was done here: the lock did not change hands.
      expect(image.lock?.status().counters.handedOver ?? 0).toBe(0);

      await image.snapshots.remove('theirs-1');
      await server.rbd('snap', 'rm', '--no-progress', `${spec}@ours-0`);
      for (const gone of ['theirs-1', 'ours-0']) versions.delete(gone);
      await image.refresh();
      await image.write(0, patternBytes(SIZE, 9));
      for (const [snap, bytes] of versions) await expectContents(`${spec}@${snap}`, bytes);
      expect(await names(spec)).toEqual(['ours-2', 'theirs-3']);
      if (spec === 'rbd/mapped') await expectRightMaps(spec);
    },
  );

  it('are renamed, protected and limited by either, as the other finds them', async () => {
    await create('rbd/named');
    await using image = await open('rbd/named');
    await image.snapshots.create('a');
    await image.snapshots.rename('a', 'größer');
    await image.snapshots.protect('größer');
    expect(await listed('rbd/named')).toMatchObject([{ name: 'größer', protected: 'true' }]);
    expect(await failure('snap', 'rm', 'rbd/named@größer')).toBe(16);
    await server.rbd('snap', 'unprotect', 'rbd/named@größer');
    await server.rbd('snap', 'rename', 'rbd/named@größer', 'rbd/named@b');
    await expect(image.snapshots.unprotect('b')).rejects.toMatchObject({ code: 'EINVAL' });
    await image.snapshots.setLimit(1);
    expect(await failure('snap', 'create', 'rbd/named@c')).toBe(122);
    await server.rbd('snap', 'limit', 'set', '--limit', '2', 'rbd/named');
    await image.snapshots.create('c');
    await expect(image.snapshots.create('d')).rejects.toMatchObject({ code: 'EDQUOT' });
    await expect(image.snapshots.setLimit(1)).rejects.toMatchObject({ code: 'ERANGE' });
    await image.snapshots.setLimit(undefined);
    await server.rbd('snap', 'create', 'rbd/named@d');
    expect(await image.snapshots.purge()).toEqual([]);
    expect(await names('rbd/named')).toEqual([]);
  });

  it('of format 1 clones stay protected while there are some, in any pool and namespace', async () => {
    const format1 = ['--rbd-default-clone-format', '1', '--image-feature', 'layering'];
    for (const [parent, child] of [
      ['rbd/old', 'data/old-child'],
      ['rbd/ns/old', 'rbd/ns/old-child'],
    ] as const) {
      await create(parent);
      await using image = await open(parent);
      await image.snapshots.create('s');
      await image.snapshots.protect('s');
      await server.rbd('clone', ...format1, `${parent}@s`, child);
      await expect(image.snapshots.unprotect('s')).rejects.toMatchObject({ code: 'EBUSY' });
      expect(await listed(parent)).toMatchObject([{ protected: 'true' }]);
      await removeImage(client, parseImageSpec(child));
      await image.snapshots.unprotect('s');
      expect(await listed(parent)).toMatchObject([{ protected: 'false' }]);
    }
  });

  it('with clones of format 2 are hidden, and go with the last of them, whoever does it', async () => {
    await create('rbd/kept');
    await using image = await open('rbd/kept');
    await image.write(0, patternBytes(SIZE, 1));
    const clone = (snap: string, name: string) =>
      cloneImage(client, parseImageSpec(`rbd/kept@${snap}`), parseImageSpec(name), { format: 2 });
    for (const i of [1, 2, 3, 4]) {
      await image.snapshots.create(`s${i}`);
      await clone(`s${i}`, `rbd/kept-child-${i}`);
    }
    await image.snapshots.remove('s1');
    await image.snapshots.remove('s2');
    await server.rbd('snap', 'rm', '--no-progress', 'rbd/kept@s3');
    await server.rbd('snap', 'rm', '--no-progress', 'rbd/kept@s4');
    const hidden = await listed('rbd/kept');
    expect(hidden.map(({ namespace }) => namespace)).toEqual(
      [1, 2, 3, 4].map((i) => ({ type: 'trash', original_name: `s${i}` })),
    );
    expect(await image.snapshots.list()).toEqual([]);
    await expectContents('rbd/kept-child-1', patternBytes(SIZE, 1));
    const id = BigInt(hidden[0]?.id as number);
    await expect(image.snapshots.remove(id)).rejects.toMatchObject({ code: 'EBUSY' });

    // The last clone goes in four ways.
    await server.rbd('rm', '--no-progress', 'rbd/kept-child-1');
    await removeImage(client, parseImageSpec('rbd/kept-child-2'));
    await server.rbd('flatten', '--no-progress', 'rbd/kept-child-3');
    await using flattened = await open('rbd/kept-child-4');
    await flattened.flatten();
    expect(await listed('rbd/kept')).toEqual([]);
    await image.refresh();
    expect(image.header.opFeatures).toBe(0n);
    await expectContents('rbd/kept-child-4', patternBytes(SIZE, 1));
  });

  it('of a flattened clone keep its parent until the last of them is removed', async () => {
    await create('rbd/base');
    await using base = await open('rbd/base');
    await base.snapshots.create('s');
    for (const by of ['ours', 'theirs']) {
      const spec = `rbd/flat-${by}`;
      // Without deep-flatten.
      const options = { format: 2, features: ['layering', 'exclusive-lock'] } as const;
      await cloneImage(client, parseImageSpec('rbd/base@s'), parseImageSpec(spec), options);
      await using image = await open(spec);
      await image.snapshots.create('c1');
      await image.snapshots.create('c2');
      if (by === 'ours') await image.flatten();
      else await server.rbd('flatten', '--no-progress', spec);
      expect(await server.rbd('children', 'rbd/base@s')).toBe(`${spec}\n`);
      await image.snapshots.remove('c2');
      expect(await server.rbd('children', 'rbd/base@s')).toBe(`${spec}\n`);
      await image.snapshots.remove('c1');
      expect(await server.rbd('children', 'rbd/base@s')).toBe('');
    }
  });

  it('give their space back when they are removed', async () => {
    const id = await create('rbd/spacious');
    await using image = await open('rbd/spacious');
    for (const i of [1, 2]) {
      await image.write(0, patternBytes(OBJECT, i));
      await image.snapshots.create(`s${i}`);
    }
    await image.write(0, patternBytes(OBJECT, 4));
    const clones = async () => {
      const object = `rbd_data.${id}.${'0'.repeat(16)}`;
      const text = await server.rados('listsnaps', object, '-p', 'rbd', '--format=json');
      return (JSON.parse(text) as { clones: unknown[] }).clones.length - 1;
    };
    expect(await clones()).toBe(2);
    await image.snapshots.remove('s1');
    while ((await clones()) > 1) await sleep(200);
  });

  const ROLLBACKS: { kind: string; options: Partial<CreateOptions> }[] = [
    { kind: 'plain', options: {} },
    { kind: 'mapped', options: { features: MAPPED } },
    {
      kind: 'striped',
      options: { stripeUnit: 4 * KIB, stripeCount: 3, dataPool: 'data' },
    },
  ];
  it.each(ROLLBACKS)(
    'are gone back to by either, of a $kind image of another size',
    async (what) => {
      const spec = `rbd/back-${what.kind}`;
      await create(spec, what.options);
      const first = patternBytes(SIZE, 1);
      first.fill(0, OBJECT, 3 * OBJECT);
      const second = patternBytes(SIZE / 2 + 5, 2);
      {
        await using image = await open(spec);
        await image.write(0, first);
        await image.discard(OBJECT, 2 * OBJECT);
        await image.snapshots.create('large');
        await image.resize(second.length, { allowShrink: true });
        await image.write(0, second);
        await image.snapshots.create('small');
        await image.resize(2 * SIZE);
        await image.write(SIZE, patternBytes(SIZE, 3));
        await image.snapshots.rollback('large');
        await expectContents(spec, first);
        await image.snapshots.rollback('small');
        await expectContents(spec, second);
      }
      await server.rbd('snap', 'rollback', '--no-progress', `${spec}@large`);
      await expectContents(spec, first);
      await server.rbd('snap', 'rollback', '--no-progress', `${spec}@small`);
      await expectContents(spec, second);
      await expectContents(`${spec}@large`, first);
      await expectContents(`${spec}@small`, second);
      if (what.kind === 'mapped') await expectRightMaps(spec);
    },
  );

  it('of a clone show what the parent has again where it was cut off since', async () => {
    await create('rbd/whole');
    const bytes = patternBytes(SIZE, 7);
    await using parent = await open('rbd/whole');
    await parent.write(0, bytes);
    await parent.snapshots.create('s');
    const spec = 'rbd/cut';
    await cloneImage(client, parseImageSpec('rbd/whole@s'), parseImageSpec(spec), { format: 2 });
    await using image = await open(spec);
    await image.write(OBJECT, patternBytes(OBJECT, 8));
    const model = Buffer.from(bytes);
    model.set(patternBytes(OBJECT, 8), OBJECT);
    await image.snapshots.create('c');
    await image.resize(OBJECT / 2, { allowShrink: true });
    await image.resize(SIZE);
    await image.snapshots.rollback('c');
    await expectContents(spec, model);
    await image.flatten();
    await image.write(0, patternBytes(SIZE, 9));
    await image.snapshots.rollback('c');
    await expectContents(spec, model);
    expect(await server.rbd('info', spec)).not.toContain('parent');
  });

  it('are not gone back to while another client owns the lock', async () => {
    await create('rbd/owned', { features: LOCKED });
    await using image = await open('rbd/owned');
    await image.snapshots.create('s');
    expect(await failure('snap', 'rollback', 'rbd/owned@s')).toBe(30);
  });
}
