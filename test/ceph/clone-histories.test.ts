// Goal: whatever is done to a clone, it and its snapshots hold the same as if librbd had done it, and need the parent no
// longer than librbd's do. Method: twins, clones of one chain of parents, have the same random history, one by us and one by
// librbd; each is then read by both. In the end their parents are removed.

import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { RadosClient } from '../../src/rados/rados-client.js';
import { FEATURE } from '../../src/rbd/features.js';
import { Image } from '../../src/rbd/image.js';
import { describeCeph } from './support/ceph-cluster.js';
import { type HistoryOp, LibrbdPeer, randomNumbers } from './support/image-histories.js';
import { connectTo, patternBytes } from './support/rbd-client.js';
import { SERVERS, type Server, type ServerKind } from './support/servers.js';

const KIB = 1024;
const SIZE = 600 * KIB + 700;
const LOCKED = Number(FEATURE.LAYERING | FEATURE.EXCLUSIVE_LOCK);
const MAPPED = LOCKED | Number(FEATURE.OBJECT_MAP | FEATURE.FAST_DIFF);
const DEEP = Number(FEATURE.DEEP_FLATTEN);

interface Twins {
  readonly name: string;
  readonly features: number;
  readonly order: number;
  readonly stripe?: readonly [unit: number, count: number];
}

const TWINS: readonly Twins[] = [
  { name: 'plain', features: LOCKED | DEEP, order: 16 },
  { name: 'mapped', features: MAPPED | DEEP, order: 15 },
  { name: 'striped', features: MAPPED | DEEP, order: 17, stripe: [16 * KIB, 3] },
  { name: 'unlocked', features: Number(FEATURE.LAYERING) | DEEP, order: 16 },
];

for (const server of SERVERS) {
  describeCeph(`clones by us and by librbd on ${server.name}`, () => twins(server));
}

function twins(kind: ServerKind): void {
  let server: Server;
  let client: RadosClient;
  let peer: LibrbdPeer;

  beforeAll(async () => {
    server = await kind.start({ osds: 1, pools: [{ name: 'rbd' }] });
    await server.ceph('osd', 'set-require-min-compat-client', 'mimic');
    client = await connectTo(server);
    peer = new LibrbdPeer(server.confPath);
    // Runs of zeros, holes and bytes, some of which only the grandparent has.
    await peer.create({
      ...{ image: 'base', size: SIZE, features: MAPPED, order: 16 },
      ops: [
        ['write', 0, 300 * KIB, 1],
        ['zeroes', 40 * KIB, 60 * KIB],
        ['write', 500 * KIB, 100 * KIB + 700, 2],
        ['snap', 's'],
      ],
    });
    await peer.clone({
      ...{ parent: 'base', snap: 's', image: 'mid', features: MAPPED, order: 17 },
      stripe: [32 * KIB, 2],
      ops: [
        ['write', 200 * KIB + 5, 150 * KIB, 3],
        ['discard', 520 * KIB, 20 * KIB],
        ['snap', 's'],
      ],
    });
  });
  afterAll(async () => {
    await peer?.close();
    client?.close();
    await server?.stop();
  });

  const open = (name: string, snap?: string) =>
    Image.open(
      client,
      { pool: 'rbd', name, ...(snap === undefined ? {} : { snap }) },
      {
        allocSize: 1,
        readOnly: snap !== undefined,
      },
    );
  const digestOf = async (name: string, snap: string | null) => {
    await using image = await open(name, snap ?? undefined);
    return createHash('sha256')
      .update(await image.read(0, image.size))
      .digest('hex');
  };
  /** Both twins, at each snapshot, as both programs read them. */
  const expectTwins = async (name: string, snaps: readonly (string | null)[]) => {
    const expected = await peer.digests(`${name}-theirs`, snaps);
    expect(await peer.digests(`${name}-ours`, snaps)).toEqual(expected);
    for (const [i, snap] of snaps.entries()) {
      expect(await digestOf(`${name}-ours`, snap)).toBe(expected[i]);
      expect(await digestOf(`${name}-theirs`, snap)).toBe(expected[i]);
    }
  };

  it.each(TWINS)('hold the same: $name', async ({ name, ...shape }) => {
    const [ours, theirs] = [`${name}-ours`, `${name}-theirs`];
    for (const image of [ours, theirs])
      await peer.clone({ parent: 'mid', snap: 's', image, ...shape });
    const draw = randomNumbers(name.length * 7919);
    const snaps: (string | null)[] = [null];
    let size = SIZE;
    for (let burst = 0; burst < 4; burst++) {
      const ops: HistoryOp[] = Array.from({ length: 6 }, () => {
        const offset = draw(size);
        const length = 1 + draw(Math.min(size - offset, draw(2) ? 3000 : 100 * KIB));
        const what = draw(10);
        if (what < 5) return ['put', offset, patternBytes(length, draw(1000)).toString('base64')];
        if (what < 8) return ['discard', offset, length];
        if (what < 9) return ['erase', offset, length];
        return ['resize', (size = SIZE - draw(400 * KIB))];
      });
      // What the first snapshot sees of the parent, beyond.
      if (burst === 1) ops.push(['resize', 130 * KIB], ['resize', (size = SIZE)]);
      const snap = `s${burst}`;
      ops.push(['snap', snap]);
      snaps.push(snap);
      await applyOurs(ours, ops);
      await peer.apply(theirs, ...ops);
    }
    await expectTwins(name, snaps);
    if (shape.features & Number(FEATURE.OBJECT_MAP)) {
      // librbd's maps may say of an object that is as it was that it changed.
      expect(await invalidMaps(ours, snaps)).toEqual(await invalidMaps(theirs, snaps));
    }
  });

  /** Of which snapshots the map is not what the objects are, says rbd. */
  async function invalidMaps(name: string, snaps: readonly (string | null)[]): Promise<string[]> {
    const found: string[] = [];
    for (const snap of snaps) {
      const spec = snap === null ? `rbd/${name}` : `rbd/${name}@${snap}`;
      await server.rbd('object-map', 'check', '--no-progress', spec);
      if ((await server.rbd('info', spec)).includes('invalid')) found.push(spec.replace(name, ''));
    }
    return found;
  }

  it('need no parent any more once they are flattened', async () => {
    // One more of each is cut, and a rollback finds all that the snapshot saw; then they are flattened.
    for (const { name } of TWINS) {
      const steps: HistoryOp[][] = [
        [
          ['resize', 130 * KIB],
          ['rollback', 's0'],
        ],
        [['flatten']],
      ];
      for (const ops of steps) {
        await applyOurs(`${name}-ours`, ops);
        await peer.apply(`${name}-theirs`, ...ops);
        await expectTwins(name, [null, 's0']);
      }
      // Of bytes that are its own already.
      await applyOurs(`${name}-ours`, [['rollback', 's1']]);
      await peer.apply(`${name}-theirs`, ['rollback', 's1']);
      for (const twin of ['ours', 'theirs']) {
        expect(await server.rbd('info', `rbd/${name}-${twin}`)).not.toContain('parent');
      }
    }
    await server.rbd('snap', 'rm', '--no-progress', 'rbd/mid@s');
    await server.rbd('rm', '--no-progress', 'rbd/mid');
    await server.rbd('snap', 'rm', '--no-progress', 'rbd/base@s');
    await server.rbd('rm', '--no-progress', 'rbd/base');
    for (const { name } of TWINS) {
      await expectTwins(name, [null, 's0', 's1', 's2', 's3']);
    }
  });

  async function applyOurs(name: string, ops: readonly HistoryOp[]): Promise<void> {
    await using image = await open(name);
    for (const [op, ...args] of ops) {
      const [offset, length] = args as [number, number];
      if (op === 'put') await image.write(offset, Buffer.from(args[1] as string, 'base64'));
      else if (op === 'discard') await image.discard(offset, length);
      else if (op === 'erase') await image.writeZeroes(offset, length);
      else if (op === 'resize') await image.resize(offset, { allowShrink: true });
      else if (op === 'snap') await image.snapshots.create(args[0] as string);
      else if (op === 'rollback') await image.snapshots.rollback(args[0] as string);
      else if (op === 'flatten') await image.flatten();
      else throw new Error(op);
    }
  }
}
