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
