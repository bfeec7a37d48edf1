// Goal: a diff that is made here and one that librbd makes are the same, extent by extent and, with their data, byte by
// byte: on both servers, for images with a random past, plain and striped, with object maps and without.
//
// LINGER_HISTORIES=N takes N histories of each kind, LINGER_SEED=N begins with that seed.

import { createReadStream, createWriteStream } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connect } from '../../src/index.js';
import { writeOp } from '../../src/messages/osd-op.js';
import type { RadosClient } from '../../src/rados/rados-client.js';
import { diffBatches } from '../../src/rbd/diff/diff.js';
import { exportImageDiff } from '../../src/rbd/diff/export-diff.js';
import { FEATURE } from '../../src/rbd/features.js';
import { Image } from '../../src/rbd/image.js';
import { dataObject } from '../../src/rbd/layout.js';
import { openHeader } from '../../src/rbd/open.js';
import { uncovered } from '../support/image-model.js';
import { describeCeph } from './support/ceph-cluster.js';
import {
  allPairs,
  type DiffPair,
  type DiffTuple,
  HISTORY_ORDER,
  type History,
  type HistoryOp,
  LibrbdPeer,
  randomHistory,
  wasCutBetween,
} from './support/image-histories.js';
import { callLinger, LINGER, lastWords } from './support/linger-cli.js';
import { connectTo } from './support/rbd-client.js';
import { despiteCrashes, WITHOUT_LOG } from './support/processes.js';
import { SERVERS, type Server } from './support/servers.js';

const extents = (tuples: readonly DiffTuple[]) =>
  tuples.map(([offset, length]) => ({ offset, length }));

const HISTORIES = Number(process.env['LINGER_HISTORIES'] ?? 1);
const SEED = Number(process.env['LINGER_SEED'] ?? 1);

const LAYERING = Number(FEATURE.LAYERING);
const MAPPED = LAYERING | Number(FEATURE.EXCLUSIVE_LOCK | FEATURE.OBJECT_MAP | FEATURE.FAST_DIFF);

const KINDS = [
  { name: 'plain', features: LAYERING },
  { name: 'with object maps', features: MAPPED },
  { name: 'striped', features: LAYERING, stripe: [8192, 3] as const },
  {
    name: 'striped, with object maps and a data pool',
    features: MAPPED,
    stripe: [4096, 4] as const,
    dataPool: 'data',
  },
];

describe.each(SERVERS)('on $name', (kind) => {
  describeCeph('diffs', () => {
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
    const linger = (...args: string[]) => callLinger(server.confPath, args);

    const rbd = (...args: string[]) =>
      despiteCrashes(() => server.run('rbd', args, { ...WITHOUT_LOG, limitMs: 20_000 }));

    async function make(request: Omit<(typeof KINDS)[number], 'name'>, history: History) {
      const image = `image${images++}`;
      const { size, ops } = history;
      await librbd.create({ image, size, order: HISTORY_ORDER, ...request, ops });
      return image;
    }

    const at = (image: string, snap: string | null) => ({
      pool: 'rbd',
      name: image,
      ...(snap === null ? {} : { snap }),
    });

    async function ourDiff(name: string, [from, to, wholeObject, includeParent]: DiffPair) {
      const image = await openHeader(client, at(name, to), { readOnly: true });
      const extents: DiffTuple[] = [];
      const options = { from: from ?? undefined, wholeObject, includeParent };
      for await (const batch of diffBatches(image, options)) {
        extents.push(
          ...batch.map(({ offset, length, exists }) => [offset, length, exists] as const),
        );
      }
      return extents;
    }

    async function ourExport(name: string, [from, to, wholeObject]: DiffPair): Promise<Buffer> {
      await using image = await Image.open(client, at(name, to), { readOnly: true });
      const chunks: Uint8Array[] = [];
      for await (const chunk of exportImageDiff(image, { from: from ?? undefined, wholeObject })) {
        chunks.push(Uint8Array.from(chunk));
      }
      return Buffer.concat(chunks);
    }

    async function theirExport(name: string, [from, to, wholeObject]: DiffPair): Promise<Buffer> {
      const file = path('theirs.diff');
      const start = from === null ? [] : ['--from-snap', from];
      const whole = wholeObject ? ['--whole-object'] : [];
      const spec = to === null ? name : `${name}@${to}`;
      await server.rbd('export-diff', '--no-progress', ...start, ...whole, spec, file);
      const bytes = await readFile(file);
      await rm(file);
      return bytes;
    }

    it("are streams of an application's, byte by byte as `rbd` writes and reads them", async () => {
      await using cluster = await connect({ conf: server.confPath });
      const { images } = cluster.pool('rbd');
      await images.create('streamed', { size: 9 * 2 ** 20 });
      const disk = await cluster.map('rbd/streamed');
      await disk.write(4096, Buffer.alloc(5 * 2 ** 20, 'old '));
      await images.snapshots('streamed').create('s1');
      await disk.write(2 ** 20, Buffer.alloc(2 ** 20, 'new '));
      await disk.writeZeroes(0, 65_536);
      await disk.close();
      const [diff, whole] = [path('streamed.diff'), path('streamed.image')];
      await server.rbd('export-diff', '--no-progress', '--from-snap', 's1', 'streamed', diff);
      await server.rbd('export', '--no-progress', '--export-format', '2', 'streamed', whole);
      const bytesOf = async (stream: Readable) => Buffer.concat(await stream.toArray());
      const theirs = await readFile(diff);
      expect(theirs.length).toBeGreaterThan(2 ** 20);
      expect(theirs.equals(await bytesOf(images.exportDiff('streamed', { from: 's1' })))).toBe(
        true,
      );
      await pipeline(createReadStream(whole), images.import('imported'));
      const ours = path('ours.image');
      await pipeline(images.export('imported'), createWriteStream(ours));
      await server.rbd('import', '--no-progress', '--export-format', '2', ours, 'again');
      for (const name of ['imported', 'again']) {
        await server.rbd('export', '--no-progress', name, path(name));
        await server.rbd('export', '--no-progress', 'streamed', path('plain'));
        expect((await readFile(path(name))).equals(await readFile(path('plain')))).toBe(true);
        for (const file of [name, 'plain']) await rm(path(file));
      }
    });

    describe.each(KINDS)('of images that are $name', ({ name: _, ...request }) => {
      it.each(Array.from({ length: HISTORIES }, (__, i) => SEED + i))(
        "are librbd's, of all pairs of snapshots (seed %i)",
        async (seed) => {
          const history = randomHistory(seed);
          const image = await make(request, history);
          const pairs = allPairs(history);
          const theirs = await librbd.diffs(image, pairs);
          const knowsMore = (pair: DiffPair) =>
            request.features === MAPPED && wasCutBetween(history, pair);
          for (const [i, pair] of pairs.entries()) {
            const ours = await ourDiff(image, pair);
            const about = JSON.stringify({ pair, history });
            if (!knowsMore(pair)) expect(ours, about).toEqual(theirs[i]);
            else expect(uncovered(extents(theirs[i] ?? []), extents(ours)), about).toEqual([]);
          }
          for (const pair of pairs.filter((___, i) => i % 7 === seed % 7)) {
            if (knowsMore(pair)) continue;
            const ours = await ourExport(image, pair);
            expect(ours.equals(await theirExport(image, pair)), JSON.stringify(pair)).toBe(true);
          }
        },
      );
    });

    it.each([
      { name: 'plain', features: LAYERING, order: HISTORY_ORDER },
      { name: 'mapped, of larger objects', features: MAPPED, order: HISTORY_ORDER + 2 },
      { name: 'striped', features: LAYERING, order: HISTORY_ORDER, stripe: [8192, 4] as const },
      { name: 'mapped and striped', features: MAPPED, order: 18, stripe: [16384, 3] as const },
    ])("of clones are librbd's, parents and grandparents included: $name", async (layout) => {
      const { name: _, ...request } = layout;
      const parent = await make({ features: MAPPED }, randomHistory(SEED + 3));
      await librbd.apply(parent, ['write', 0, 80_000, 1], ['snap', 'p'], ['protect', 'p']);
      const ops = [
        ['write', 5000, 30_000, 2],
        ['discard', 65_536, 65_536],
        ['snap', 'p'],
        ['protect', 'p'],
      ] as const;
      const child = `image${images++}`;
      await librbd.clone({ parent, snap: 'p', image: child, ...request, ops });
      const history = randomHistory(SEED + 4, 80_000);
      const grandchild = `image${images++}`;
      await librbd.clone({
        parent: child,
        snap: 'p',
        image: grandchild,
        ...request,
        ops: history.ops,
      });
      const pairs = allPairs(history).flatMap((pair): DiffPair[] => [
        pair,
        [pair[0], pair[1], pair[2], false],
      ]);
      const theirs = await librbd.diffs(grandchild, pairs);
      for (const [i, pair] of pairs.entries()) {
        expect(await ourDiff(grandchild, pair), JSON.stringify({ pair, history })).toEqual(
          theirs[i],
        );
      }
      const pair = pairs.find(([from, , whole]) => from === null && !whole) as DiffPair;
      expect((await ourExport(grandchild, pair)).equals(await theirExport(grandchild, pair))).toBe(
        true,
      );
    });

    it('are printed as rbd prints them', async () => {
      const history = randomHistory(SEED);
      const image = await make({ features: LAYERING }, history);
      await librbd.apply(
        image,
        ['snap', 'first'],
        ['discard', 0, 20_000],
        ['write', 70_000, 10, 1],
      );
      for (const args of [
        [image],
        ['--format', 'json', image],
        ['--format', 'json', '--pretty-format', '--whole-object', `${image}@first`],
        ['--from-snap', 'first', image],
        ['--from-snap', 'first', `${image}@first`],
        ['--from-snap', 'first', '--format', 'json', `${image}@first`],
      ]) {
        const theirs = await rbd('diff', ...args);
        expect(await linger('diff', ...args), args.join(' ')).toEqual(theirs);
      }
    });

    it('tell what was cut off for a snapshot in between, by object maps too', async () => {
      const objects = (count: number) => count * 2 ** HISTORY_ORDER;
      const ops: HistoryOp[] = [
        ...[['write', 0, objects(4), 1] as const, ['snap', 'a'] as const],
        ...[['resize', objects(1)] as const, ['snap', 'b'] as const],
        ...[['resize', objects(4)] as const, ['write', objects(2), 10, 2] as const],
        ['snap', 'c'],
      ];
      const history = { size: objects(4), ops, snapshots: [], sizes: [] };
      const plain = await make({ features: LAYERING }, history);
      const mapped = await make({ features: MAPPED }, history);
      const pair: DiffPair = ['a', 'c', true, true];
      const [theirs = []] = await librbd.diffs(plain, [pair]);
      const ours = await ourDiff(mapped, pair);
      expect(extents(ours)).toEqual([
        { offset: objects(1), length: objects(1) },
        { offset: objects(2), length: objects(1) },
        { offset: objects(3), length: objects(1) },
      ]);
      expect(ours.map(([, , exists]) => exists)).toEqual([false, true, false]);
      expect(uncovered(extents(theirs), extents(ours))).toEqual([]);
      expect(await ourDiff(plain, pair)).toEqual(theirs);
    });

    it('tell what was written beyond the end of an image, once it has grown: librbd does not', async () => {
      const objects = (count: number) => count * 2 ** HISTORY_ORDER;
      const size = objects(1.5);
      const image = await make({ features: LAYERING }, { size, ops: [], snapshots: [], sizes: [] });
      // As a client does that does not know yet that another has shrunk the image.
      const { header, ioctx } = await openHeader(client, at(image, null));
      for (const [objectNo, offset] of [
        [1, 40_000],
        [2, 0],
      ] as const) {
        const oid = dataObject(header.objectPrefix, objectNo);
        await ioctx.operate(oid, [writeOp(offset, Buffer.alloc(10, 'late'))]);
      }
      await librbd.apply(image, ['snap', 'small'], ['resize', objects(4)], ['snap', 'grown']);
      await server.rbd('export', '--no-progress', `${image}@grown`, path('grown'));
      const bytes = await readFile(path('grown'));
      for (const offset of [objects(1) + 40_000, objects(2)]) {
        expect(bytes.subarray(offset, offset + 10).toString()).toBe('latelatela');
      }
      const pair: DiffPair = ['small', 'grown', false, true];
      expect(await librbd.diffs(image, [pair])).toEqual([[]]);
      expect(await ourDiff(image, pair)).toEqual([
        [size, objects(1) + 40_010 - size, true],
        [objects(2), 10, true],
      ]);
      // Nor does `rbd du` count it.
      await server.rbd('snap', 'purge', '--no-progress', image);
      await server.rbd('rm', '--no-progress', image);
    });

    it("fail as rbd's do", async () => {
      const image = await make(
        { features: LAYERING },
        { size: 100_000, ops: [], snapshots: [], sizes: [] },
      );
      await librbd.apply(image, ['snap', 'a'], ['snap', 'b']);
      await writeFile(path('taken'), '');
      for (const args of [
        ['diff'],
        ['diff', 'nosuch'],
        ['diff', `${image}@nosuch`],
        ['diff', '--from-snap', 'nosuch', image],
        ['diff', '--from-snap', 'b', `${image}@a`],
        ['export-diff', image],
        ['export-diff', '--no-progress', image, path('taken')],
        ['export-diff', '--no-progress', '--from-snap', 'b', `${image}@a`, path('never')],
        ['export-diff', '--no-progress', '--from-snap', 'nosuch', image, path('never')],
        ['merge-diff'],
        ['merge-diff', 'x'],
        ['merge-diff', 'x', 'y'],
        ['merge-diff', '--no-progress', path('nosuch'), path('taken'), path('never')],
        ['merge-diff', '--no-progress', path('taken'), path('taken'), path('never')],
        ['du', 'nosuch'],
        ['du', `${image}@nosuch`],
        ['du', '--from-snap', 'b', `${image}@a`],
      ]) {
        const theirs = await rbd(...args);
        const ours = await linger(...args);
        expect(ours.code, args.join(' ')).toBe(theirs.code);
        expect(ours.stdout, args.join(' ')).toBe(theirs.stdout);
        const words = lastWords('rbd', theirs);
        expect(lastWords('linger', ours).slice(0, words.length), args.join(' ')).toBe(words);
      }
      await expect(readFile(path('never'))).rejects.toThrow('ENOENT');
    });

    it('are merged as rbd merges them', async () => {
      const history = randomHistory(SEED + 2);
      const image = await make({ features: LAYERING }, history);
      await librbd.apply(
        image,
        ['resize', 300_000],
        ['write', 1000, 200_000, 1],
        ['snap', 'm1'],
        ['write', 0, 5000, 2],
        ['discard', 65_536, 65_536],
        ['write', 150_000, 10_000, 3],
        ['resize', 180_000],
        ['snap', 'm2'],
        ['resize', 400_000],
        ['write', 3000, 4000, 4],
        ['write', 90_000, 20_000, 5],
        ['snap', 'm3'],
      );
      const diffs: readonly DiffPair[] = [
        [null, 'm1', false, true],
        ['m1', 'm2', false, true],
        ['m2', 'm3', false, true],
        ['m3', null, false, true],
      ];
      for (const [i, pair] of diffs.entries()) {
        await writeFile(path(`part${i}`), await ourExport(image, pair));
      }
      const merges: readonly (readonly [string, string])[] = [
        ['part0', 'part1'],
        ['part1', 'part2'],
        ['part2', 'part3'],
        ['merged0', 'part2'],
      ];
      for (const [i, [first, second]] of merges.entries()) {
        await server.rbd(
          'merge-diff',
          '--no-progress',
          path(first),
          path(second),
          path(`merged${i}`),
        );
        const theirs = await readFile(path(`merged${i}`));
        await linger('merge-diff', path(first), path(second), path('ours'));
        expect((await readFile(path('ours'))).equals(theirs), `${first} ${second}`).toBe(true);
        await rm(path('ours'));
      }
      // The first may come by a pipe, and the result leave by one.
      const piped = await server.runOrThrow('bash', [
        '-c',
        `set -o pipefail; cat ${path('part0')} | "$@" merge-diff - ${path('part1')} - | cmp - ${path('merged0')}`,
        'bash',
        process.execPath,
        LINGER,
      ]);
      expect(piped.code).toBe(0);
    });

    it('count what du counts', async () => {
      const past = randomHistory(SEED + 1);
      const plain = await make({ features: LAYERING }, past);
      const mapped = await make({ features: MAPPED }, past);
      for (const image of [plain, mapped]) {
        await librbd.apply(
          image,
          ['snap', 'd1'],
          ['write', 10, 90, 1],
          ['snap', 'd2'],
          ['discard', 0, 65_536],
        );
        for (const args of [
          [image],
          ['--exact', image],
          [`${image}@d1`],
          ['--format', 'json', image],
          ['--from-snap', 'd1', image],
          ['--from-snap', 'd1', '--format', 'json', `${image}@d2`],
          ['--from-snap', 'd1', `${image}@d1`],
          ['--merge-snapshots', image],
          ['--merge-snapshots', '--format', 'json', image],
        ]) {
          const theirs = await rbd('du', ...args);
          expect(await linger('du', ...args), args.join(' ')).toEqual(theirs);
        }
      }
      for (const args of [
        [],
        ['--format', 'json'],
        ['--pool', 'data'],
        ['--pool', 'data', '--format', 'json'],
      ]) {
        const { code, stdout } = await rbd('du', ...args);
        expect(await linger('du', ...args), args.join(' ')).toMatchObject({ code, stdout });
      }
    });
  });
});
