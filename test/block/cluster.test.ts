// What an application asks of a cluster, from a worker as from its own thread.

import { describe, expect, it } from 'vitest';

import { CephFloat, connect, EmbeddedCluster } from '../../src/index.js';

describe.each([0, 1])('a monitor command (threads: %i)', (threads) => {
  it('takes floats, which are whole numbers as well', async () => {
    await using embedded = await EmbeddedCluster.start({ osds: 1, size: 1 });
    await using cluster = await connect(embedded, { threads });
    const reweight = async (weight: unknown) => {
      const { status } = await cluster.command({ prefix: 'osd reweight', id: 0, weight });
      return status;
    };
    expect(await reweight(new CephFloat(0.5))).toBe('reweighted osd.0 to 0.5 (8000)');
    expect(await reweight(new CephFloat(1))).toBe('reweighted osd.0 to 1 (10000)');
    const addr = '10.0.0.9:0/123';
    const blocklist = { prefix: 'osd blocklist', blocklistop: 'add', addr };
    const { status } = await cluster.command({ ...blocklist, expire: new CephFloat(60) });
    expect(status).toMatch(/^blocklisting 10.0.0.9:0\/123 until .* \(60 sec\)$/);
  });
});

describe.each([0, 1])('a cluster that is closed (threads: %i)', (threads) => {
  it('leaves no watch behind of images that are still mapped', async () => {
    await using embedded = await EmbeddedCluster.start({ osds: 1, size: 1, pools: ['rbd'] });
    const first = await connect(embedded, { threads });
    await first.pool('rbd').images.create('disk', { size: 2 ** 20 });
    const disk = await first.map('rbd/disk');
    await disk.write(0, Buffer.alloc(512));
    await using second = await connect(embedded, { threads: 0 });
    const { images } = second.pool('rbd');
    expect(await images.watchers('disk')).toHaveLength(1);
    await first.close();
    expect(await images.watchers('disk')).toEqual([]);
    await images.remove('disk');
  });
});
