// Goal: images come out of exports, imports and copies as they went in, with their snapshots, metadata and parents, whether
// it is rbd that reads what linger wrote or the other way round; and sparsify leaves of an image what rbd's leaves.

import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RadosClient } from '../../src/rados/rados-client.js';
import { FEATURE } from '../../src/rbd/features.js';
import { Image } from '../../src/rbd/image.js';
import { describeCeph } from './support/ceph-cluster.js';
import {
  HISTORY_ORDER,
  type HistoryOp,
  type ImageRequest,
  LibrbdPeer,
  randomHistory,
} from './support/image-histories.js';
import { callLinger, LINGER } from './support/linger-cli.js';
import { LibrbdClient } from './support/lock-clients.js';
import { connectTo } from './support/rbd-client.js';
import { type Server, SERVERS } from './support/servers.js';

const SEED = Number(process.env['LINGER_SEED'] ?? 1);
const LAYERING = Number(FEATURE.LAYERING);
const MAPPED = LAYERING | Number(FEATURE.EXCLUSIVE_LOCK | FEATURE.OBJECT_MAP | FEATURE.FAST_DIFF);
const OBJECT = 2 ** HISTORY_ORDER;

interface Snap {
  name: string;
  size: number;
  protected: string;
}

describe.each(SERVERS)('on $name', (kind) => {
  describeCeph('copies', () => {
    let server: Server;
    let client: RadosClient;
    let librbd: LibrbdPeer;
    let images = 0;

    beforeAll(async () => {
      server = await kind.start({ osds: 1, pools: [{ name: 'rbd' }, { name: 'data' }] });
      client = await connectTo(server);
      librbd = new LibrbdPeer(server.confPath);
    });
    afterAll(async () => {
      await librbd?.close();
      client?.close();
      await server?.stop();
    });

    const path = (name: string) => join(server.dir, name);
    const newName = () => `image${images++}`;

    async function linger(...args: string[]): Promise<string> {
      const { code, stdout, stderr } = await callLinger(server.confPath, args);
      expect([code, stderr], args.join(' ')).toEqual([0, '']);
      return stdout;
    }

    async function make(request: Omit<ImageRequest, 'image'>, size: number): Promise<string> {
      const image = newName();
      await librbd.create({ order: HISTORY_ORDER, ...request, image, size });
      return image;
    }

    async function bytesOf(name: string, snap?: string): Promise<Buffer> {
      const at = snap === undefined ? {} : { snap };
      await using image = await Image.open(
        client,
        { pool: 'rbd', name, ...at },
        { readOnly: true },
      );
      return Buffer.from(await image.read(0, image.size));
    }

    const infoOf = async (name: string) =>
      JSON.parse(await server.rbd('info', '--format', 'json', name)) as Record<string, unknown>;
    const snapsOf = async (name: string) =>
      JSON.parse(await server.rbd('snap', 'ls', '--format', 'json', name)) as Snap[];

    /** The same history: sizes, contents, protection, metadata; and object maps that rbd finds right. */
    async function expectSame(copy: string, source: string) {
      const snaps = await snapsOf(source);
      const shown = (all: Snap[]) =>
        all.map(({ name, size, ...more }) => [name, size, more.protected]);
      expect(shown(await snapsOf(copy))).toEqual(shown(snaps));
      for (const snap of [...snaps.map(({ name }) => name), undefined]) {
        const [ours, theirs] = [await bytesOf(copy, snap), await bytesOf(source, snap)];
        expect(ours.equals(theirs), `${copy}@${snap}`).toBe(true);
      }
      const metadata = ['image-meta', 'ls', '--format', 'json'];
      expect(await server.rbd(...metadata, copy)).toBe(await server.rbd(...metadata, source));
      await expectRightMaps(copy);
    }

    async function expectRightMaps(name: string) {
      const { features, flags } = await infoOf(name);
      if (!(features as string[]).includes('object-map')) return;
      for (const snap of [...(await snapsOf(name)).map((each) => `@${each.name}`), '']) {
        const { code, stderr } = await server.run('rbd', ['object-map', 'check', `${name}${snap}`]);
        expect(code, stderr).toBe(0);
      }
      expect(flags).toEqual([]);
      expect((await infoOf(name))['flags']).toEqual([]);
    }

    const PAST: readonly HistoryOp[] = [
      ['write', 1000, 200_000, 1],
      ['snap', 'first'],
      ['protect', 'first'],
      ['write', 100, 5000, 2],
      ['discard', OBJECT, OBJECT],
      ['resize', 260_000],
      ['snap', 'second'],
      ['resize', 500_000],
      ['write', 300_000, 100_000, 3],
      ['zeroes', 310_000, 30_000],
    ];
    const striped = { name: 'mapped and striped', features: MAPPED, stripe: [8192, 3] as const };
    const LAYOUTS = kind.embedded ? [striped] : [{ name: 'plain', features: LAYERING }, striped];

    it.each(LAYOUTS)(
      'go to files of format 2 and back, by either program: $name',
      async (layout) => {
        const { name: _, ...request } = layout;
        const source = await make({ ...request, ops: PAST }, 400_000);
        await server.rbd('image-meta', 'set', source, 'colour', 'blue');
        await server.rbd('image-meta', 'set', source, 'size', 'medium');
        const [theirs, ours] = [path('theirs'), path('ours')];
        await server.rbd('export', '--export-format', '2', '--no-progress', source, theirs);
        await linger('export', '--export-format', '2', source, ours);
        expect((await readFile(ours)).equals(await readFile(theirs))).toBe(true);

        const copies = [newName(), newName(), newName()] as const;
        await linger('import', '--export-format', '2', theirs, copies[0]);
        await server.rbd('import', '--export-format', '2', '--no-progress', ours, copies[1]);
        // As a pipe has it, onto another layout.
        await server.runOrThrow('bash', [
          '-c',
          'cat "$1" | "$2" "$3" import --export-format 2 --object-size 32K --image-feature layering - "$4"',
          'bash',
          ...[ours, process.execPath, LINGER, copies[2]],
        ]);
        for (const copy of copies) await expectSame(copy, source);
        for (const copy of copies.slice(0, 2)) {
          const [{ features, order, stripe_unit: unit }, wanted] = [
            await infoOf(copy),
            await infoOf(source),
          ];
          expect({ features, order, unit }).toEqual({
            features: wanted['features'],
            order: wanted['order'],
            unit: wanted['stripe_unit'],
          });
        }
        const features = layout === striped ? ['layering', 'striping'] : ['layering'];
        expect(await infoOf(copies[2])).toMatchObject({ order: 15, features });
        await Promise.all([rm(ours), rm(theirs)]);
      },
    );

    it('follow their source by exported diffs, of either program', async () => {
      const source = await make({ features: MAPPED, ops: PAST }, 400_000);
      const copy = await make({ features: MAPPED }, 1000);
      const steps = [
        ['rbd', 'linger', [], 'first'],
        ['linger', 'rbd', ['--from-snap', 'first'], 'second'],
        ['rbd', 'linger', ['--from-snap', 'second'], undefined],
      ] as const;
      const run = (program: 'rbd' | 'linger', ...args: string[]) =>
        program === 'rbd' ? server.rbd(...args) : linger(...args);
      for (const [exporter, importer, from, to] of steps) {
        const spec = to === undefined ? source : `${source}@${to}`;
        const file = path('step');
        await run(exporter, 'export-diff', '--no-progress', ...from, spec, file);
        await run(importer, 'import-diff', '--no-progress', file, copy);
        expect((await bytesOf(copy)).equals(await bytesOf(source, to))).toBe(true);
        await rm(file);
      }
      expect((await snapsOf(copy)).map(({ name }) => name)).toEqual(['first', 'second']);
      await expectRightMaps(copy);
    });

    it('are refused as rbd refuses them, and leave no image behind', async () => {
      const source = await make({ features: LAYERING, ops: PAST }, 400_000);
      await linger('export-diff', `${source}@first`, path('diff'));
      await linger('export-diff', '--from-snap', 'first', source, path('next'));
      const empty = await make({ features: LAYERING }, 1000);
      const cases: string[][] = [
        ['import-diff'],
        ['import-diff', path('diff')],
        ['import-diff', path('nosuch'), empty],
        ['import-diff', path('next'), empty],
        ['import-diff', path('diff'), source],
        ['import-diff', path('diff'), 'nosuch'],
        ['cp', source],
        ['cp', 'nosuch', 'copy'],
        ['cp', source, empty],
        ['cp', `${source}@nosuch`, 'copy'],
        ['deep', 'cp', source, empty],
        ['deep', 'cp', `${source}@nosuch`, 'copy'],
        ['sparsify', 'nosuch'],
        ['sparsify', '--sparse-size', '2K', source],
        ['import', '--export-format', '2', path('diff'), 'copy'],
      ];
      for (const args of cases) {
        const theirs = await server.run('rbd', [...args, '--no-progress']);
        const ours = await callLinger(server.confPath, args);
        expect(ours.code, args.join(' ')).toBe(theirs.code);
      }
      const listed = await linger('ls');
      expect(listed.split('\n')).not.toContain('copy');
      await Promise.all([rm(path('diff')), rm(path('next'))]);
    });

    it('hold what an image or a snapshot of it holds', async () => {
      const source = await make({ features: MAPPED, ops: PAST }, 400_000);
      await server.rbd('image-meta', 'set', source, 'colour', 'green');
      for (const [spec, snap] of [
        [source, undefined],
        [`${source}@first`, 'first'],
      ] as const) {
        const copy = newName();
        await linger('cp', '--no-progress', spec, copy);
        expect((await bytesOf(copy)).equals(await bytesOf(source, snap))).toBe(true);
        expect(await snapsOf(copy)).toEqual([]);
        expect(await server.rbd('image-meta', 'get', copy, 'colour')).toBe('green\n');
        await expectRightMaps(copy);
      }
      const other = newName();
      const layout = ['--stripe-unit', '8192', '--stripe-count', '2', '--data-pool', 'data'];
      await linger('cp', ...layout, '--image-shared', source, other);
      expect((await bytesOf(other)).equals(await bytesOf(source))).toBe(true);
      expect(await infoOf(other)).toMatchObject({
        stripe_count: 2,
        data_pool: 'data',
        features: ['layering', 'striping', 'data-pool'],
      });
    });

    it.each(LAYOUTS)('have the past of their source, and its parent: $name', async (layout) => {
      const { name: _, ...request } = layout;
      const source = await make({ ...request, ops: PAST }, 400_000);
      await server.rbd('image-meta', 'set', source, 'colour', 'red');
      const deep = newName();
      await linger('deep', 'cp', source, deep);
      await expectSame(deep, source);

      // A past in which the parent is hidden, shows through again, and shows less.
      const child = newName();
      const { ops } = randomHistory(SEED, 200_000);
      await librbd.clone({
        ...{ image: child, parent: source, snap: 'first', order: HISTORY_ORDER, ...request },
        ops: [
          ['snap', 'empty'],
          ['write', 5000, 30_000, 2],
          ['discard', OBJECT, OBJECT],
          ['snap', 'written'],
          ['protect', 'written'],
          ['rollback', 'empty'],
          ['write', 2 * OBJECT, 10, 3],
          ['snap', 'back'],
          ['resize', OBJECT],
          ['resize', 200_000],
          ['snap', 'less'],
          ...ops,
        ],
      });
      await server.rbd('image-meta', 'rm', child, 'colour');
      const copy = newName();
      await linger('deep', 'cp', '--no-progress', child, copy);
      await expectSame(copy, child);
      const { parent } = await infoOf(copy);
      expect(parent).toMatchObject({ image: source, snapshot: 'first' });

      const flat = newName();
      await linger('deep', 'cp', '--flatten', `${child}@back`, flat);
      expect((await snapsOf(flat)).map(({ name }) => name)).toEqual(['empty', 'written', 'back']);
      for (const snap of ['empty', 'written', 'back']) {
        expect((await bytesOf(flat, snap)).equals(await bytesOf(child, snap)), snap).toBe(true);
      }
      expect((await bytesOf(flat)).equals(await bytesOf(child, 'back'))).toBe(true);
      expect(await infoOf(flat)).not.toHaveProperty('parent');
      await expectRightMaps(flat);

      await server.rbd('flatten', '--no-progress', child);
      const ofFlattened = newName();
      await linger('deep', 'cp', child, ofFlattened);
      await expectSame(ofFlattened, child);
      expect(await infoOf(ofFlattened)).not.toHaveProperty('parent');
    });

    const ZEROED: readonly HistoryOp[] = [
      ['write', 0, 3 * OBJECT, 1],
      ['zeroes', 0, 40_000],
      ['zeroes', OBJECT, OBJECT],
      ['zeroes', 2 * OBJECT + 30_000, OBJECT - 30_000],
      ['snap', 's'],
      ['zeroes', 2 * OBJECT, 30_000],
      ['zeroes', 4 * OBJECT, OBJECT],
      ['write', 5 * OBJECT + 4000, 5, 1],
      ['zeroes', 5 * OBJECT + 8000, 20_000],
    ];

    /** Which of the objects are there, and which of their bytes, now and since the snapshot. */
    async function expectSameSpace(ours: string, theirs: string) {
      for (const options of [[], ['--whole-object'], ['--from-snap', 's']]) {
        const diff = (name: string) => server.rbd('diff', ...options, name);
        expect(await diff(ours), options.join(' ')).toBe(await diff(theirs));
      }
      await expectRightMaps(ours);
    }

    it.each([
      { name: 'plain', features: LAYERING },
      { name: 'mapped', features: MAPPED },
    ])('take no space for zeros once they are sparsified: $name', async ({ features }) => {
      const ours = await make({ features, ops: ZEROED }, 600_000);
      const theirs = await make({ features, ops: ZEROED }, 600_000);
      const before = [await bytesOf(ours), await bytesOf(ours, 's')] as const;
      await linger('sparsify', ours);
      await server.rbd('sparsify', '--no-progress', theirs);
      expect((await bytesOf(ours)).equals(before[0])).toBe(true);
      expect((await bytesOf(ours, 's')).equals(before[1])).toBe(true);
      await expectSameSpace(ours, theirs);
    });

    it('are sparsified by the owner of the lock, for librbd and by librbd', async () => {
      const ours = await make({ features: MAPPED, ops: ZEROED }, 600_000);
      const theirs = await make({ features: MAPPED, ops: ZEROED }, 600_000);
      {
        await using owner = await Image.open(client, { pool: 'rbd', name: ours });
        await owner.acquireLock();
        await server.rbd('sparsify', '--no-progress', ours);
        expect(owner.lock?.status().counters.handedOver).toBe(0);
      }
      const peer = await LibrbdClient.open(server.confPath, theirs);
      try {
        await peer.call('acquire');
        await linger('sparsify', theirs);
        expect(await peer.call('owner')).toBe(true);
      } finally {
        peer.kill();
      }
      await expectSameSpace(ours, theirs);
    });
  });
});
