// Goal: what rbd lock adds, we list and remove, and the other way round, on a real cluster and on the embedded one.

import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import type { RadosClient } from '../../src/rados/rados-client.js';
import { addImageLock, listImageLocks, removeImageLock } from '../../src/rbd/advisory-locks.js';
import { type ImageHandle, openHeader } from '../../src/rbd/open.js';
import { rejection } from '../support/rejection.js';
import { describeCeph } from './support/ceph-cluster.js';
import { connectTo } from './support/rbd-client.js';
import { SERVERS, type Server, type ServerKind } from './support/servers.js';

for (const server of SERVERS) {
  describeCeph(`advisory locks on ${server.name}`, () => advisoryLocks(server));
}

function advisoryLocks(server: ServerKind): void {
  let cluster: Server;
  let client: RadosClient;
  let name: string;
  let image: ImageHandle;
  let images = 0;

  beforeAll(async () => {
    cluster = await server.start({ osds: 1, pools: [{ name: 'rbd' }] });
    client = await connectTo(cluster);
  });
  afterAll(async () => {
    client?.close();
    await cluster?.stop();
  });
  beforeEach(async () => {
    name = `image${++images}`;
    await cluster.rbd('create', '--size', '8M', '--image-feature', 'layering', name);
    image = await openHeader(client, { pool: 'rbd', name });
  });

  const theirs = async () =>
    JSON.parse(await cluster.rbd('lock', 'ls', name, '--format', 'json')) as {
      id: string;
      locker: string;
      address: string;
    }[];
  const blocklist = () => cluster.ceph('osd', 'blocklist', 'ls');

  it('of ours are those that rbd lists', async () => {
    expect((await listImageLocks(image)).locks).toEqual([]);
    await addImageLock(image, 'mine');
    const { exclusive, tag, locks } = await listImageLocks(image);
    expect([exclusive, tag]).toEqual([true, '']);
    expect(locks).toEqual([
      { client: `client.${client.globalId}`, id: 'mine', address: client.clientAddr },
    ]);
    expect(await theirs()).toEqual([
      { id: 'mine', locker: locks[0]?.client, address: locks[0]?.address },
    ]);
    const refused = await cluster.run('rbd', ['lock', 'add', name, 'theirs']);
    expect(refused.code).toBe(16);
    expect(await rejection(addImageLock(image, 'mine'))).toMatchObject({ code: 'EEXIST' });
    // Our own needs no fence.
    await removeImageLock(image, { client: `client.${client.globalId}`, id: 'mine' }, client);
    expect(await theirs()).toEqual([]);
    expect(await blocklist()).not.toContain(client.clientAddr);
  });

  it('of rbd are those that we list, and remove after fencing who added them', async () => {
    await cluster.rbd('lock', 'add', name, 'theirs');
    expect(await rejection(addImageLock(image, 'mine'))).toMatchObject({ code: 'EBUSY' });
    const { locks } = await listImageLocks(image);
    const [lock] = locks;
    expect(await theirs()).toEqual([
      { id: 'theirs', locker: lock?.client, address: lock?.address },
    ]);
    if (!lock) throw new Error('no lock');
    const wrong = removeImageLock(image, { ...lock, id: 'other' }, client);
    expect(await rejection(wrong)).toMatchObject({ code: 'ENOENT' });
    expect(await blocklist()).not.toContain(lock.address);
    await removeImageLock(image, lock, client, { blocklistExpireSeconds: 600 });
    expect(await theirs()).toEqual([]);
    expect(await blocklist()).toContain(lock.address);
  });

  it('are shared between rbd and us by their tag', async () => {
    await cluster.rbd('lock', 'add', '--shared', 'backup', name, 'theirs');
    await addImageLock(image, 'ours', { shared: 'backup' });
    const other = addImageLock(image, 'again', { shared: 'other' });
    expect(await rejection(other)).toMatchObject({ code: 'EBUSY' });
    const { exclusive, tag, locks } = await listImageLocks(image);
    expect([exclusive, tag]).toEqual([false, 'backup']);
    expect(locks.map(({ id }) => id).sort()).toEqual(['ours', 'theirs']);
    expect(await cluster.rbd('lock', 'ls', name)).toContain('Lock tag: backup');
  });

  it('make watchers of the image read its header again', async () => {
    let heard = 0;
    const watch = await image.ioctx.watch(`rbd_header.${image.id}`, {
      onNotify: () => {
        heard++;
        return undefined;
      },
      onStale: () => {},
      onLost: () => {},
      onReregistered: async () => {},
      onFailed: () => {},
    });
    await addImageLock(image, 'mine');
    await watch.flush();
    const deadline = Date.now() + 5000;
    while (heard === 0 && Date.now() < deadline) await new Promise((r) => setTimeout(r, 10));
    expect(heard).toBe(1);
    await watch.close();
  });

  it('of ours are broken by rbd, which fences us', async () => {
    const victim = await connectTo(cluster);
    try {
      const handle = await openHeader(victim, { pool: 'rbd', name });
      await addImageLock(handle, 'mine');
      await cluster.rbd('lock', 'rm', name, 'mine', `client.${victim.globalId}`);
      expect(await theirs()).toEqual([]);
      await victim.waitForLatestMap();
      expect(await rejection(addImageLock(handle, 'again'))).toMatchObject({
        code: 'EBLOCKLISTED',
      });
    } finally {
      victim.close();
    }
  });
}
