// Goal: our messenger agrees with real daemons in every mode that both sides may choose, with and without cephx, and fails
// with the right error where they cannot agree.

import { afterAll, beforeAll, expect, it } from 'vitest';

import { readOp, writeFullOp } from '../../src/messages/osd-op.js';
import type { MsMode } from '../../src/rados/connect.js';
import type { RadosClient } from '../../src/rados/rados-client.js';
import { CephCluster, describeCeph } from './support/ceph-cluster.js';
import { connectTo } from './support/rados-clients.js';

/** Sizes on both sides of every threshold of the frame reader and writer, and what an OSD takes at most in one write. */
const SIZES = [
  0,
  1,
  47,
  48,
  49,
  4096,
  16_383,
  16_384,
  65_535,
  65_536,
  131_073,
  1 << 20,
  (4 << 20) + 7,
  32 << 20,
];

function pattern(length: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4));
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i + length, 2654435761);
  return new Uint8Array(words.buffer, 0, length);
}

async function exchange(client: RadosClient): Promise<void> {
  const ioctx = await client.ioctx('rbd');
  await Promise.all(
    SIZES.map(async (size) => {
      const data = pattern(size);
      await ioctx.operate(`object-${size}`, [writeFullOp(data)]);
      const copy = await ioctx.read(`object-${size}`, 0, 0);
      expect(Buffer.compare(copy, data), `${size} bytes`).toBe(0);
      const into = new Uint8Array(size + 10);
      const { ops } = await ioctx.operate(`object-${size}`, [readOp(0, size + 10)], { into });
      expect(ops[0]?.outdata).toHaveLength(size);
      expect(Buffer.compare(into.subarray(0, size), data), `${size} bytes in place`).toBe(0);
    }),
  );
}

describeCeph('a cluster that allows every mode', () => {
  let cluster: CephCluster;
  beforeAll(async () => {
    cluster = await CephCluster.start({ osds: 2 });
  });
  afterAll(() => cluster?.stop());

  it.each<MsMode>(['crc', 'secure', 'prefer-crc', 'prefer-secure'])(
    'exchanges data of every size in mode %s',
    async (msMode) => {
      using client = await connectTo(cluster, { msMode });
      await exchange(client);
    },
  );

  it('keeps order and tells everything to hundreds of operations at once', async () => {
    using client = await connectTo(cluster);
    const ioctx = await client.ioctx('rbd');
    const writes = Array.from({ length: 2000 }, (_, i) =>
      ioctx.operate(`many-${i % 7}`, [writeFullOp(pattern(i))]),
    );
    await Promise.all(writes);
    for (let i = 1993; i < 2000; i++) {
      expect(Buffer.compare(await ioctx.read(`many-${i % 7}`, 0, 0), pattern(i))).toBe(0);
    }
  });
});

describeCeph('a cluster that allows only secure mode', () => {
  let cluster: CephCluster;
  beforeAll(async () => {
    cluster = await CephCluster.start({
      osds: 1,
      conf: 'ms service mode = secure\nms mon service mode = secure\nms client mode = secure\nms mon client mode = secure',
    });
  });
  afterAll(() => cluster?.stop());

  it.each<MsMode>(['secure', 'prefer-crc', 'prefer-secure'])('takes mode %s', async (msMode) => {
    using client = await connectTo(cluster, { msMode });
    await exchange(client);
  });

  it('is refused in mode crc, at once', async () => {
    const started = Date.now();
    await expect(connectTo(cluster, { msMode: 'crc' })).rejects.toMatchObject({
      code: 'EOPNOTSUPP',
    });
    expect(Date.now() - started).toBeLessThan(20_000);
  });

  it('is met in secure mode when its configuration says so', async () => {
    using client = await connectTo(cluster);
    await exchange(client);
  });
});

describeCeph('a cluster that allows only crc mode', () => {
  let cluster: CephCluster;
  beforeAll(async () => {
    cluster = await CephCluster.start({
      osds: 1,
      conf: 'ms service mode = crc\nms mon service mode = crc\nms client mode = crc\nms mon client mode = crc',
    });
  });
  afterAll(() => cluster?.stop());

  it('does not take secure mode, which never falls back', async () => {
    await expect(connectTo(cluster, { msMode: 'secure' })).rejects.toMatchObject({
      code: 'EOPNOTSUPP',
    });
  });

  it.each<MsMode>(['crc', 'prefer-crc', 'prefer-secure'])('takes mode %s', async (msMode) => {
    using client = await connectTo(cluster, { msMode });
    await exchange(client);
  });
});

describeCeph('a cluster without authentication', () => {
  let cluster: CephCluster;
  beforeAll(async () => {
    cluster = await CephCluster.start({ osds: 1, auth: 'none' });
  });
  afterAll(() => cluster?.stop());

  it('is used without a key', async () => {
    using client = await connectTo(cluster);
    await exchange(client);
    expect(client.globalId).toBeGreaterThan(0n);
  });

  it('has no secure mode', async () => {
    await expect(connectTo(cluster, { msMode: 'secure' })).rejects.toMatchObject({
      code: 'EOPNOTSUPP',
    });
  });
});

describeCeph('the messenger v1 port of a monitor', () => {
  let cluster: CephCluster;
  beforeAll(async () => {
    cluster = await CephCluster.start({ osds: 0, pools: [] });
  });
  afterAll(() => cluster?.stop());

  it('is recognised as what it is', async () => {
    const port = /v1:127\.0\.0\.1:(\d+)/.exec(cluster.monAddrs[0] ?? '')?.[1] ?? '';
    const monHost = `v2:127.0.0.1:${port}`;
    await expect(connectTo(cluster, { monHost, mountTimeoutMs: 3000 })).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      message: expect.stringContaining('messenger v1 only') as string,
    });
  });
});
