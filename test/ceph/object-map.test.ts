// Goal: an object map that we keep is what librbd would have kept, byte for byte, and each is content with the other's.
// Method: the same operations on two images, by librbd on one and by us on the other, and both in turns on a third; the bytes
// of the maps are compared, and judged by `rbd object-map check`.

import { afterAll, beforeAll, expect, it } from 'vitest';
import { executeOne } from '../../src/rados/class-call.js';
import { getId } from '../../src/rados/cls-rbd.js';
import type { RadosClient } from '../../src/rados/rados-client.js';
import { Image } from '../../src/rbd/image.js';
import { idObject, objectMapObject } from '../../src/rbd/names.js';
import { describeCeph } from './support/ceph-cluster.js';
import { connectTo } from './support/rbd-client.js';
import { SERVERS, type Server, type ServerKind } from './support/servers.js';

const KIB = 1024;
const OBJECT = 64 * KIB;
const FEATURES = ['--image-feature', 'layering,exclusive-lock,object-map,fast-diff'];

for (const server of SERVERS) {
  describeCeph(`object maps on ${server.name}`, () => objectMaps(server));
}

/** `[method, ...arguments]` of an image, the same for both. */
type Step =
  | readonly ['write', offset: number, length: number]
  | readonly ['discard', offset: number, length: number]
  | readonly ['writeZeroes', offset: number, length: number]
  | readonly ['resize', size: number];

const LIBRBD = `
import json, sys
import rados, rbd
cluster = rados.Rados(conffile=sys.argv[1], rados_id='admin')
cluster.connect()
with rbd.Image(cluster.open_ioctx('rbd'), sys.argv[2]) as image:
    for name, *args in json.loads(sys.argv[3]):
        if name == 'write':
            image.write(b'x' * args[1], args[0])
        elif name == 'discard':
            image.discard(*args)
        elif name == 'writeZeroes':
            image.write_zeroes(*args)
        else:
            image.resize(args[0])
`;

function objectMaps(kind: ServerKind): void {
  let server: Server;
  let client: RadosClient;
  let images = 0;

  beforeAll(async () => {
    server = await kind.start({ osds: 2, pools: [{ name: 'rbd' }] });
    client = await connectTo(server);
  });
  afterAll(async () => {
    client?.close();
    await server?.stop();
  });

  const newName = () => `image${++images}`;
  const create = async (name = newName()) => {
    await server.rbd('create', '--size', '4M', '--object-size', '64K', ...FEATURES, name);
    return name;
  };
  const open = (name: string) => Image.open(client, { pool: 'rbd', name });
  const theirs = (name: string, steps: readonly Step[]) =>
    server.runOrThrow('/usr/bin/python3', [
      ...['-c', LIBRBD, server.confPath, name, JSON.stringify(steps)],
    ]);
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
  const info = async (spec: string) =>
    JSON.parse(await server.rbd('info', spec, '--format', 'json')) as {
      id: string;
      flags: string[];
    };
  /** The stored map of the head, or of a snapshot, as it lies there. */
  const mapOf = async (name: string, snapId?: bigint) => {
    const ioctx = await client.ioctx('rbd');
    const id = await executeOne(ioctx, idObject(name), getId());
    return Buffer.from(await ioctx.read(objectMapObject(id, snapId), 0, 0)).toString('hex');
  };
  const expectGood = async (spec: string) => {
    expect((await server.run('rbd', ['object-map', 'check', spec])).stderr).not.toContain('error');
    expect((await info(spec)).flags).toEqual([]);
  };

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
}
