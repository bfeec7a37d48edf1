// Goal: an object map that we keep is what librbd would have kept, byte for byte, and each is content with the other's, and
// makes it right when it is not. Method: the same operations on two images, by librbd on one and by us on the other, and both
// in turns on a third; the bytes of the maps are compared, and judged by `rbd object-map check`.

import { afterAll, beforeAll, expect, it } from 'vitest';
import { truncateOp } from '../../src/messages/osd-op.js';
import { executeOne, mutate } from '../../src/rados/class-call.js';
import { getId, objectMapUpdate, setFlags } from '../../src/rados/cls-rbd.js';
import type { IoContext } from '../../src/rados/io-context.js';
import type { RadosClient } from '../../src/rados/rados-client.js';
import { createImage } from '../../src/rbd/create.js';
import { FEATURE } from '../../src/rbd/features.js';
import { Image } from '../../src/rbd/image.js';
import { dataObject } from '../../src/rbd/layout.js';
import { headerObject, idObject, objectMapObject } from '../../src/rbd/names.js';
import { describeCeph } from './support/ceph-cluster.js';
import { LibrbdActor } from './support/librbd-actor.js';
import { callLinger } from './support/linger-cli.js';
import { connectTo } from './support/rbd-client.js';
import { SERVERS, type Server, type ServerKind } from './support/servers.js';

const KIB = 1024;
const OBJECT = 64 * KIB;
const OBJECTS = 64;
const { LAYERING, EXCLUSIVE_LOCK, OBJECT_MAP, FAST_DIFF } = FEATURE;
const INVALID = 3;

for (const server of SERVERS) {
  describeCeph(`object maps on ${server.name}`, () => objectMaps(server));
}

/** `[method, ...arguments]` of an image, the same for both. */
type Step =
  | readonly ['write', offset: number, length: number]
  | readonly ['discard', offset: number, length: number]
  | readonly ['writeZeroes', offset: number, length: number]
  | readonly ['resize', size: number];

function objectMaps(kind: ServerKind): void {
  let server: Server;
  let client: RadosClient;
  let ioctx: IoContext;
  let librbd: LibrbdActor;
  let images = 0;

  beforeAll(async () => {
    server = await kind.start({ osds: 2, pools: [{ name: 'rbd' }] });
    client = await connectTo(server);
    ioctx = await client.ioctx('rbd');
    librbd = await LibrbdActor.start(server.confPath);
  });
  afterAll(async () => {
    await librbd?.[Symbol.asyncDispose]();
    client?.close();
    await server?.stop();
  });

  const create = async (
    features = LAYERING | EXCLUSIVE_LOCK | OBJECT_MAP | FAST_DIFF,
    objects = OBJECTS,
  ) => {
    const name = `image${++images}`;
    const spec = { pool: 'rbd', namespace: '', name };
    await createImage(client, spec, { size: objects * OBJECT, order: 16, features });
    return name;
  };
  const open = (name: string) => Image.open(client, { pool: 'rbd', name });
  const theirs = async (name: string, steps: readonly Step[]) => {
    await librbd.call('open', name);
    try {
      for (const [method, first, length = 0] of steps) {
        if (method === 'write') {
          const data = Buffer.alloc(length, 'x').toString('base64');
          await librbd.call('write', name, first, data);
        } else if (method === 'resize') await librbd.call('resize', name, first);
        else await librbd.call(method === 'discard' ? 'discard' : 'zero', name, first, length);
      }
    } finally {
      await librbd.call('close', name);
    }
  };
  const ours = async (name: string, steps: readonly Step[]) => {
    await using image = await open(name);
    for (const step of steps) {
      switch (step[0]) {
        case 'write':
          await image.write(step[1], Buffer.alloc(step[2], 'x'));
          break;
        case 'resize':
          await image.resize(step[1], { allowShrink: true });
          break;
        default:
          await image[step[0]](step[1], step[2]);
      }
    }
  };
  const idOf = (name: string) => executeOne(ioctx, idObject(name), getId());
  /** The stored map of the head, or of a snapshot, as it lies there. */
  const mapOf = async (name: string, snapId?: bigint) =>
    Buffer.from(await ioctx.read(objectMapObject(await idOf(name), snapId), 0, 0)).toString('hex');
  /** The maps of the snapshots and of the head, and their flags. */
  const mapsOf = async (name: string) => {
    await using image = await Image.open(client, { pool: 'rbd', name }, { readOnly: true });
    const { snapshots, flags } = image.header;
    const maps = await Promise.all(snapshots.map(({ id }) => mapOf(name, id)));
    return [...maps, await mapOf(name), ...snapshots.map((each) => each.flags), flags];
  };
  /** What `rbd`, and `linger`, say of a map. */
  const check = async (spec: string) => {
    const args = ['object-map', 'check', spec, '--no-progress'];
    const errorsOf = ({ stderr }: { stderr: string }) =>
      (stderr.match(/object map error: .*$/gm) ?? []).sort();
    const [mine, other] = [await callLinger(server.confPath, args), await server.run('rbd', args)];
    return { mine: errorsOf(mine), theirs: errorsOf(other), codes: [mine.code, other.code] };
  };
  const expectGood = async (name: string) => {
    expect(await check(name)).toEqual({ mine: [], theirs: [], codes: [0, 0] });
    expect((await mapsOf(name)).at(-1)).toBe(0n);
  };
  /** As nobody would: without a lock, and past everything that keeps maps right. */
  const spoil = async (name: string) => {
    const id = await idOf(name);
    await using image = await Image.open(client, { pool: 'rbd', name }, { readOnly: true });
    for (const snapId of [...image.header.snapshots.map((each) => each.id), undefined]) {
      const oid = objectMapObject(id, snapId);
      for (const [objectNo, state] of SPOILT.entries()) {
        await mutate(ioctx, oid, [objectMapUpdate(objectNo, objectNo + 1, state)]);
      }
      await mutate(ioctx, headerObject(id), [setFlags(3n, 3n, snapId)]);
    }
  };
  /** With a snapshot, and everything that a map can say. */
  const lively = async () => {
    const name = await create();
    await using image = await open(name);
    await image.write(0, Buffer.alloc(8 * OBJECT, 1));
    await image.snapshots.create('s1');
    await image.write(2 * OBJECT, Buffer.alloc(2 * OBJECT, 2));
    await image.discard(4 * OBJECT, OBJECT);
    await image.snapshots.create('s2');
    await image.write(9 * OBJECT, Buffer.alloc(OBJECT, 3));
    return name;
  };

  it('are the same after the same operations', async () => {
    const [mine, other] = [await create(), await create()];
    for (const steps of STEPS) {
      await ours(mine, steps);
      await theirs(other, steps);
      expect([steps, await mapOf(mine)]).toEqual([steps, await mapOf(other)]);
    }
    await expectGood(mine);
  });

  it('are kept by us and by librbd in turns', async () => {
    const [both, other] = [await create(), await create()];
    for (const [i, steps] of STEPS.entries()) {
      await (i % 2 === 0 ? ours : theirs)(both, steps);
      await theirs(other, steps);
    }
    expect(await mapOf(both)).toBe(await mapOf(other));
    await expectGood(both);
  });

  it('that are wrong are found out in the same words', async () => {
    const name = await lively();
    const right = await mapsOf(name);
    await spoil(name);
    for (const spec of [name, `${name}@s2`]) {
      const { mine, theirs, codes } = await check(spec);
      expect(mine.length).toBeGreaterThan(3);
      expect(mine).toEqual(theirs);
      expect(codes).toEqual([0, 0]);
    }
    expect(await mapsOf(name)).not.toEqual(right);
  });

  it.each([
    ['us', (name: string) => callLinger(server.confPath, ['object-map', 'rebuild', name])],
    ['librbd', (name: string) => rebuiltByLibrbd(name)],
    ['us, when librbd asks for it', (name: string) => askedByLibrbd(name)],
    ['librbd, when we ask for it', (name: string) => askedByUs(name)],
  ])('are made right by %s, as librbd had kept them', async (_, rebuild) => {
    const name = await lively();
    const right = await mapsOf(name);
    await spoil(name);
    await rebuild(name);
    expect(await mapsOf(name)).toEqual(right);
    await expectGood(name);
  });

  it('of an image of which little exists are made right by what the pool lists, as librbd had kept them', async () => {
    const objects = 2000;
    const name = await create(LAYERING | EXCLUSIVE_LOCK | OBJECT_MAP | FAST_DIFF, objects);
    let prefix: string;
    {
      await using image = await open(name);
      prefix = image.objectPrefix;
      for (const at of [0, 1, 2, 999, 1999]) await image.write(at * OBJECT, Buffer.alloc(100, 1));
      await image.snapshots.create('s1');
      await image.discard(OBJECT, OBJECT);
      await image.write(2 * OBJECT, Buffer.alloc(100, 2));
      await image.write(1000 * OBJECT, Buffer.alloc(100, 2));
      await image.snapshots.create('s2');
      await image.discard(1000 * OBJECT, OBJECT);
      await image.write(1500 * OBJECT, Buffer.alloc(100, 3));
    }
    // OSDs list what only snapshots have.
    const listed = (await server.rados('-p', 'rbd', 'ls')).split('\n').sort();
    expect(listed.filter((oid) => oid.startsWith(prefix))).toEqual(
      [0, 1, 2, 999, 1000, 1500, 1999].map((objectNo) => dataObject(prefix, objectNo)),
    );
    const right = await mapsOf(name);
    const id = await idOf(name);
    for (const how of ['lost', 'empty']) {
      await using image = await Image.open(client, { pool: 'rbd', name }, { readOnly: true });
      for (const snapId of [...image.header.snapshots.map((each) => each.id), undefined]) {
        const oid = objectMapObject(id, snapId);
        if (how === 'lost') await ioctx.operate(oid, [truncateOp(0)]);
        else await mutate(ioctx, oid, [objectMapUpdate(0, objects, 0)]);
        await mutate(ioctx, headerObject(id), [setFlags(3n, 3n, snapId)]);
      }
      await callLinger(server.confPath, ['object-map', 'rebuild', name]);
      expect(await mapsOf(name)).toEqual(right);
      await expectGood(name);
      for (const spec of [`${name}@s1`, `${name}@s2`]) {
        expect(await check(spec)).toEqual({ mine: [], theirs: [], codes: [0, 0] });
      }
    }
  });

  const rebuiltByLibrbd = async (name: string) => {
    await librbd.call('open', name);
    await librbd.call('rebuildAll', name);
    await librbd.call('close', name);
  };
  const askedByLibrbd = async (name: string) => {
    await using image = await open(name);
    await image.acquireLock();
    await librbd.call('open', name);
    await librbd.call('rebuild', name);
    await librbd.call('close', name);
    expect(image.lock?.state).toBe('locked');
  };
  const askedByUs = async (name: string) => {
    await librbd.call('open', name);
    await librbd.call('lock', name);
    {
      await using image = await open(name);
      await image.rebuildObjectMap();
      expect(image.lock?.state).not.toBe('locked');
    }
    // That was the head's.
    await librbd.call('rebuildAll', name);
    await librbd.call('close', name);
  };

  it('come and go with the feature, by us as by librbd', async () => {
    const [mine, other] = [
      await create(LAYERING | EXCLUSIVE_LOCK),
      await create(LAYERING | EXCLUSIVE_LOCK),
    ];
    for (const name of [mine, other]) {
      await using image = await open(name);
      await image.write(3 * OBJECT, Buffer.alloc(2 * OBJECT, 1));
      await image.snapshots.create('s1');
      await image.write(9 * OBJECT, Buffer.alloc(OBJECT, 1));
    }
    const update = async (enabled: boolean) => {
      const args = ['feature', enabled ? 'enable' : 'disable', mine, 'object-map'];
      expect((await callLinger(server.confPath, args)).stderr).toBe('');
      await librbd.call('open', other);
      await librbd.call('features', other, Number(OBJECT_MAP), enabled);
      await librbd.call('close', other);
      return [await featuresOf(mine), await featuresOf(other)];
    };
    const [enabled, alike] = await update(true);
    expect(enabled).toEqual(alike);
    expect(enabled).toMatchObject({
      features: LAYERING | EXCLUSIVE_LOCK | OBJECT_MAP | FAST_DIFF,
      flags: BigInt(INVALID),
    });
    expect(await mapsOf(mine)).toEqual(await mapsOf(other));
    // Each makes the other's right.
    await rebuiltByLibrbd(mine);
    await callLinger(server.confPath, ['object-map', 'rebuild', other]);
    expect(await mapsOf(mine)).toEqual(await mapsOf(other));
    const [disabled, alikeToo] = await update(false);
    expect(disabled).toEqual(alikeToo);
    expect(disabled).toMatchObject({ features: LAYERING | EXCLUSIVE_LOCK, flags: 0n });
    await expect(mapOf(mine)).rejects.toMatchObject({ code: 'ENOENT' });
    const args = ['feature', 'disable', mine, 'object-map'];
    const [ours, rbds] = [await callLinger(server.confPath, args), await server.run('rbd', args)];
    expect([ours.code, rbds.code]).toEqual([22, 22]);
  });
  const featuresOf = async (name: string) => {
    await using image = await Image.open(client, { pool: 'rbd', name }, { readOnly: true });
    const { features, flags, snapshots } = image.header;
    return { features, flags, snapshots: snapshots.map((each) => each.flags) };
  };
}

/** By object. That one which is not there is called EXISTS librbd leaves as it is. */
const SPOILT = [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3];

const STEPS: readonly (readonly Step[])[] = [
  [['write', 0, 100]],
  [['write', 5 * OBJECT + 100, 3 * OBJECT]],
  [['discard', 6 * OBJECT, OBJECT]],
  [['discard', 7 * OBJECT + 4 * KIB, 8 * KIB]],
  [['writeZeroes', 5 * OBJECT + 200, OBJECT]],
  [['writeZeroes', 20 * OBJECT + 200, 4 * OBJECT]],
  [['resize', 2 ** 20]],
  [['resize', 8 * 2 ** 20 + 1000]],
  [
    ['write', 8 * 2 ** 20, 1000],
    ['discard', 0, 4 * 2 ** 20],
    ['write', 63 * OBJECT, 2 * OBJECT],
  ],
  [['resize', 7 * 2 ** 20 + 5]],
];
