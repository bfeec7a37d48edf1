// Goal: an image whose watch its OSD has dropped goes on by the header of now, and it alone waits; on real Ceph and on the
// embedded cluster. Method: the OSD is asked to forget the watch, in the client's own name and past the watch, which finds
// out by its next ping; meanwhile real rbd changes the header.

import { afterAll, beforeAll, expect, it } from 'vitest';
import { WATCH_OP, watchOp } from '../../src/messages/osd-op.js';
import type { RadosClient } from '../../src/rados/rados-client.js';
import { Image } from '../../src/rbd/image.js';
import { headerObject } from '../../src/rbd/names.js';
import { describeCeph } from './support/ceph-cluster.js';
import { connectTo } from './support/rbd-client.js';
import { SERVERS, type Server, type ServerKind } from './support/servers.js';
import { eventually } from './support/watch-bench.js';

const MIB = 1024 * 1024;

for (const server of SERVERS) {
  describeCeph(`an image that loses its watch on ${server.name}`, () => losing(server));
}

function losing(server: ServerKind): void {
  let cluster: Server;
  let client: RadosClient;

  beforeAll(async () => {
    // One PG: all headers lie on one OSD.
    cluster = await server.start({ osds: 2, pools: [{ name: 'rbd', pgNum: 1 }] });
    client = await connectTo(cluster);
  });
  afterAll(async () => {
    client?.close();
    await cluster?.stop();
  });

  const create = async (name: string) => {
    await cluster.rbd('create', '--size', '16M', '--image-feature', 'layering', name);
    return Image.open(client, { pool: 'rbd', name });
  };
  const status = (image: Image) => {
    const found = image.watchStatus();
    if (!found) throw new Error('not watched');
    return found;
  };
  const dropWatch = async (image: Image) => {
    const ioctx = await client.ioctx('rbd');
    const cookie = BigInt(status(image).watch.cookie);
    await ioctx.operate(headerObject(image.id), [watchOp(WATCH_OP.UNWATCH, cookie)]);
  };

  it('W4 W5 W28 writes on by the new header, and keeps no other image waiting', async () => {
    await using lost = await create('lost');
    await using kept = await create('kept');
    let stop = false;
    const writes = new Map([lost, kept].map((image) => [image, 0]));
    const write = async (image: Image) => {
      for (let i = 0; !stop; i++) {
        await image.write((i % 64) * 4096, Buffer.alloc(4096, i));
        writes.set(image, i);
      }
    };
    const writers = [lost, kept].map(write);
    const before = status(kept);
    const cookie = status(lost).watch.cookie;
    await dropWatch(lost);
    // Nobody is left to be told.
    await cluster.rbd('resize', '--no-progress', 'lost', '--size', '24M');
    await eventually(() => {
      const { watch } = status(lost);
      return watch.reregistrations === 1 && watch.state === 'connected';
    });
    const at = new Map(writes);
    await eventually(() => [...at].every(([image, count]) => (writes.get(image) ?? 0) > count + 5));
    stop = true;
    await Promise.all(writers);
    expect(lost.size).toBe(24 * MIB);
    expect(await lost.write(20 * MIB, Buffer.from('beyond'))).toBe(6);
    expect(status(lost).watch.cookie).not.toBe(cookie);
    expect(status(lost)).toMatchObject({ staleSends: 0, watch: { losses: 1 } });
    const { refreshes, staleSends, watch } = status(kept);
    expect({ refreshes, staleSends, losses: watch.losses, reconnects: watch.reconnects }).toEqual({
      ...{ refreshes: before.refreshes, staleSends: 0, losses: 0, reconnects: 0 },
    });
  });
}
