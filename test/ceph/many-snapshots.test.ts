// Goal: an image with as many snapshots as any client copes with, 510, works as one with few. krbd maps no image with more, as
// the snapshot context of a write would pass 4 KiB; librbd and we have no limit of our own. Method: one snapshot after each
// write, each of another object; what each shows, and what lies between any two, follows from that. Then, on the embedded
// cluster, whether it answers librbd, which asks for all of them in one request.

import { afterAll, beforeAll, expect, it } from 'vitest';
import { mutate } from '../../src/rados/class-call.js';
import { addSnapshot } from '../../src/rados/cls-rbd.js';
import type { RadosClient } from '../../src/rados/rados-client.js';
import { createImage } from '../../src/rbd/create.js';
import { diffBatches } from '../../src/rbd/diff/diff.js';
import { FEATURE } from '../../src/rbd/features.js';
import { Image } from '../../src/rbd/image.js';
import { headerObject } from '../../src/rbd/names.js';
import { openHeader } from '../../src/rbd/open.js';
import { listSnapshots } from '../../src/rbd/snapshots.js';
import { CephCluster, describeCeph } from './support/ceph-cluster.js';
import { type DiffPair, LibrbdPeer } from './support/image-histories.js';
import { connectTo } from './support/rbd-client.js';
import { SERVERS, type Server } from './support/servers.js';

const SNAPSHOTS = 510;
const OBJECT = 64 * 1024;
const OBJECTS = 100;
const FEATURES = FEATURE.LAYERING | FEATURE.EXCLUSIVE_LOCK | FEATURE.OBJECT_MAP | FEATURE.FAST_DIFF;
const spec = (snap?: string) => ({
  ...{ pool: 'rbd', namespace: '', name: 'vm1' },
  ...(snap ? { snap } : {}),
});
const numbers = (first: number, end: number) =>
  Array.from({ length: end - first }, (_, i) => first + i);

/** What is written between the snapshots `s(i-1)` and `si`: each object once in a round, far from the one before. */
const writtenAt = (i: number) => (i * 37) % OBJECTS;
const stamp = (i: number) => Buffer.from(`write ${i}`.padEnd(16));
/** The last write to an object that the snapshot shows. */
const shownBy = (snapshot: number, object: number) =>
  numbers(0, snapshot + 1).findLast((i) => writtenAt(i) === object);

async function listedByRbd(server: Pick<Server, 'rbd'>): Promise<string[]> {
  const text = await server.rbd('snap', 'ls', '--format=json', 'vm1');
  return (JSON.parse(text) as { name: string }[]).map(({ name }) => name);
}

describeCeph(`an image with ${SNAPSHOTS} snapshots`, () => {
  let server: CephCluster;
  let client: RadosClient;
  let image: Image;
  let librbd: LibrbdPeer;

  beforeAll(async () => {
    server = await CephCluster.start({ osds: 1, pools: [{ name: 'rbd' }] });
    client = await connectTo(server);
    librbd = new LibrbdPeer(server.confPath);
    await createImage(client, spec(), { size: OBJECTS * OBJECT, order: 16, features: FEATURES });
    image = await Image.open(client, spec());
    for (const i of numbers(0, SNAPSHOTS)) {
      await image.write(writtenAt(i) * OBJECT, stamp(i));
      await image.snapshots.create(`s${i}`, { skipQuiesce: true });
    }
  }, 200_000);
  afterAll(async () => {
    await librbd?.close();
    await image?.close();
    client?.close();
    await server?.stop();
  });

  it('lists them all, and so does rbd', async () => {
    const names = numbers(0, SNAPSHOTS).map((i) => `s${i}`);
    expect((await image.snapshots.list()).map(({ name }) => name)).toEqual(names);
    expect(await listedByRbd(server)).toEqual(names);
  });

  it('shows in each what was written before it', async () => {
    for (const snapshot of [0, 1, 99, 100, 254, 255, 256, 508, 509]) {
      await using at = await Image.open(client, spec(`s${snapshot}`), { readOnly: true });
      for (const object of [0, writtenAt(snapshot), writtenAt(snapshot + 1), OBJECTS - 1]) {
        const write = shownBy(snapshot, object);
        const expected = write === undefined ? Buffer.alloc(16) : stamp(write);
        const bytes = Buffer.from(await at.read(object * OBJECT, 16));
        expect(bytes, `${object} of s${snapshot}`).toEqual(expected);
      }
    }
  });

  it('knows what lies between any two, as librbd does', async () => {
    const pairs: DiffPair[] = [];
    for (const [from, to] of [
      [0, 509],
      [0, 1],
      [100, 140],
      [508, 509],
      [254, 256],
    ] as const) {
      pairs.push([`s${from}`, `s${to}`, true, true], [`s${from}`, `s${to}`, false, true]);
    }
    pairs.push([null, 's509', true, true], ['s400', null, true, true]);
    const theirs = await librbd.diffs('vm1', pairs);
    for (const [i, pair] of pairs.entries()) {
      const [from, to, wholeObject, includeParent] = pair;
      const at = await openHeader(client, spec(to ?? undefined), { readOnly: true });
      const extents: unknown[] = [];
      for await (const batch of diffBatches(at, {
        from: from ?? undefined,
        wholeObject,
        includeParent,
      })) {
        extents.push(...batch.map(({ offset, length, exists }) => [offset, length, exists]));
      }
      expect(extents, `${from} ${to}`).toEqual(theirs[i]);
    }
  });
});

describeCeph(`${SNAPSHOTS} snapshots on the embedded cluster`, () => {
  it('are listed by rbd and by us', async () => {
    const embedded = SERVERS.find((kind) => kind.embedded)!;
    const server = await embedded.start({ osds: 1, pools: [{ name: 'rbd' }] });
    try {
      const client = await connectTo(server);
      const id = await createImage(client, spec(), { size: OBJECT, features: FEATURE.LAYERING });
      const ioctx = await client.ioctx('rbd');
      const names = numbers(0, SNAPSHOTS).map((i) => `s${i}`);
      const ids = await Promise.all(names.map(() => ioctx.createSelfManagedSnap()));
      ids.sort((a, b) => Number(a - b));
      const added = names.map((name, i) => addSnapshot(name, ids[i] as bigint, { type: 'user' }));
      await mutate(ioctx, headerObject(id), added);
      expect(await listedByRbd(server)).toEqual(names);
      const image = await openHeader(client, spec(), { readOnly: true });
      expect((await listSnapshots(image)).map(({ name }) => name)).toEqual(names);
      client.close();
    } finally {
      await server.stop();
    }
  });
});
