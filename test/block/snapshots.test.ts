// Goal: snapshots and the trash, as an application has them, from its own thread and through a worker.

import { describe, expect, it } from 'vitest';
import { type Cluster, connect, EmbeddedCluster } from '../../src/index.js';

const MIB = 2 ** 20;
const HOUR = 3_600_000;

const start = () => EmbeddedCluster.start({ osds: 1, size: 1, pools: ['rbd'] });

async function contents(cluster: Cluster, spec: string): Promise<string> {
  await using disk = await cluster.map(spec, { readOnly: true });
  return (await disk.read(0, 6)).toString();
}

describe.each([0, 1])('snapshots (threads: %i)', (threads) => {
  it('are taken of an image that is mapped, listed, read, rolled back to and removed', async () => {
    await using embedded = await start();
    await using cluster = await connect(embedded, { threads });
    const { images } = cluster.pool('rbd');
    await images.create('vm1', { size: MIB, order: 16 });
    const snapshots = images.snapshots('vm1');
    {
      await using disk = await cluster.map('rbd/vm1');
      await disk.write(0, Buffer.from('first.'));
      await snapshots.create('s1');
      await disk.write(0, Buffer.from('second'));
    }
    expect(await contents(cluster, 'rbd/vm1@s1')).toBe('first.');
    const [s1] = await snapshots.list();
    expect(s1).toMatchObject({ name: 's1', size: MIB, namespace: { type: 'user' }, childCount: 0 });
    expect(s1?.timestamp).toBeInstanceOf(Date);
    await snapshots.rollback('s1');
    expect(await contents(cluster, 'rbd/vm1')).toBe('first.');
    await snapshots.setLimit(1);
    await expect(snapshots.create('s2')).rejects.toMatchObject({ code: 'EDQUOT' });
    await snapshots.setLimit(undefined);
    await snapshots.create('s2');
    await snapshots.protect('s1');
    await expect(snapshots.remove('s1')).rejects.toMatchObject({ code: 'EBUSY' });
    await snapshots.rename('s2', 's3');
    expect(await snapshots.purge()).toEqual(['s1']);
    await snapshots.unprotect('s1');
    await snapshots.remove(s1?.id as bigint);
    expect(await snapshots.list({ all: true })).toEqual([]);
  });

  it('that clones need are hidden until the last of them is gone, or flattened by force', async () => {
    await using embedded = await start();
    await using cluster = await connect(embedded, { threads });
    const { images } = cluster.pool('rbd');
    await images.create('vm1', { size: MIB, order: 16 });
    const snapshots = images.snapshots('vm1');
    for (const snap of ['s1', 's2']) {
      await snapshots.create(snap);
      await images.clone(`vm1@${snap}`, `clone-of-${snap}`, { format: 2 });
    }
    await snapshots.remove('s1');
    expect(await snapshots.list()).toMatchObject([{ name: 's2', childCount: 1 }]);
    const [hidden] = await snapshots.list({ all: true });
    expect(hidden?.namespace).toMatchObject({ type: 'trash', originalName: 's1' });
    await expect(images.remove('vm1')).rejects.toMatchObject({ code: 'ENOTEMPTY' });
    const progress: number[][] = [];
    const onProgress = (...share: number[]) => progress.push(share);
    await snapshots.remove('s2', { force: true, onProgress });
    expect(progress.at(-1)).toEqual([2, 2]);
    await images.remove('clone-of-s1');
    expect(await snapshots.list({ all: true })).toEqual([]);
    expect((await images.info('clone-of-s2')).parent).toBeUndefined();
  });

  it('of a clone have a parent still when the clone has been flattened and has none', async () => {
    await using embedded = await start();
    await using cluster = await connect(embedded, { threads });
    const { images } = cluster.pool('rbd');
    await images.create('vm1', { size: MIB, order: 16 });
    await images.snapshots('vm1').create('s1');
    // Without deep-flatten.
    const features = ['layering', 'exclusive-lock'];
    await images.clone('vm1@s1', 'child', { format: 2, features });
    await images.snapshots('child').create('s2');
    await images.flatten('child');
    expect((await images.info('child')).parent).toBeUndefined();
    expect((await images.info('child', { snap: 's2' })).parent).toMatchObject({ image: 'vm1' });
  });
});

describe.each([0, 1])('the trash (threads: %i)', (threads) => {
  it('keeps images without their names until they are restored, removed or purged', async () => {
    await using embedded = await start();
    await using cluster = await connect(embedded, { threads });
    const { images, trash } = cluster.pool('rbd');
    const ids = new Map<string, string>();
    for (const name of ['vm1', 'vm2', 'vm3']) {
      ids.set(name, await images.create(name, { size: MIB, order: 16 }));
      await trash.move(name, name === 'vm3' ? {} : { expiresAt: new Date(Date.now() + HOUR) });
    }
    const id = (name: string) => ids.get(name) as string;
    expect(await images.list()).toEqual([]);
    expect(await trash.list()).toContainEqual(
      expect.objectContaining({ id: id('vm1'), name: 'vm1', source: 'user' }),
    );
    await trash.purge();
    expect((await trash.list()).map(({ name }) => name).sort()).toEqual(['vm1', 'vm2']);
    await expect(trash.remove(id('vm1'))).rejects.toMatchObject({ code: 'EPERM' });
    await trash.remove(id('vm1'), { force: true });
    await trash.restore(id('vm2'), { name: 'vm4' });
    await expect(trash.restore(id('vm2'))).rejects.toMatchObject({ code: 'ENOENT' });
    expect([await images.list(), await trash.list()]).toEqual([['vm4'], []]);
  });
});
