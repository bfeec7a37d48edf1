// Goal: while daemons die, sockets break and maps change under load, no acknowledged write is lost, none is applied twice,
// the order on each object holds, and the load goes on by itself. Method: appends of numbered records, many at a time.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';

import { readOp, statOp, writeFullOp } from '../../src/messages/osd-op.js';
import type { RadosClient } from '../../src/rados/rados-client.js';
import { rejection } from '../support/rejection.js';
import { CephCluster, describeCeph } from './support/ceph-cluster.js';
import { AppendLoad } from './support/load.js';
import { connectTo } from './support/rados-clients.js';

describeCeph('a pool of two copies under load', () => {
  let cluster: CephCluster;
  let client: RadosClient;

  beforeAll(async () => {
    cluster = await CephCluster.start({
      osds: 3,
      size: 2,
      pools: [{ name: 'rbd', pgNum: 8, minSize: 1 }],
    });
    client = await connectTo(cluster);
  });
  afterAll(async () => {
    client?.close();
    await cluster?.stop();
  });

  async function under(name: string, faults: (load: AppendLoad) => Promise<void>): Promise<void> {
    const ioctx = await client.ioctx('rbd');
    const load = new AppendLoad(ioctx, { name });
    await load.start();
    try {
      await load.progress(200);
      await faults(load);
      await load.progress(500);
    } finally {
      await load.stop();
    }
    expect(load.errors).toEqual([]);
    expect(await load.verify()).toEqual([]);
    // What we read may be right by chance of our own doing: another client must see the same.
    using other = await connectTo(cluster);
    expect(await load.verify(await other.ioctx('rbd'))).toEqual([]);
    expect(client.pending).toBe(0);
  }

  it('survives the death and the return of each OSD in turn', async () => {
    await under('killed', async (load) => {
      for (const osd of [0, 1, 2]) {
        await cluster.killOsd(osd);
        await load.progress(300);
        await cluster.startOsd(osd);
        await load.progress(100);
        await cluster.settled();
      }
    });
  });

  it('survives an OSD that is marked down though it lives', async () => {
    await under('down', async (load) => {
      for (const osd of [0, 1, 2, 0]) {
        await cluster.ceph('osd', 'down', String(osd));
        await load.progress(200);
      }
      await cluster.settled();
    });
  });

  it('survives OSDs that go out and come back in, and their weights', async () => {
    await under('out', async (load) => {
      await cluster.ceph('osd', 'out', '0');
      await load.progress(200);
      await cluster.ceph('osd', 'reweight', '1', '0.5');
      await load.progress(200);
      await cluster.ceph('osd', 'in', '0');
      await cluster.ceph('osd', 'reweight', '1', '1.0');
      await load.progress(200);
      await cluster.settled();
    });
  });

  it('survives primaries that are moved by affinity', async () => {
    await under('affinity', async (load) => {
      await cluster.ceph('osd', 'set-require-min-compat-client', 'luminous');
      for (const osd of [0, 1, 2]) {
        await cluster.ceph('osd', 'primary-affinity', String(osd), '0');
        await load.progress(150);
        await cluster.ceph('osd', 'primary-affinity', String(osd), '1');
        await load.progress(150);
      }
    });
  });

  it('survives PGs that are split', async () => {
    await under('split', async (load) => {
      await cluster.ceph('osd', 'pool', 'set', 'rbd', 'pg_num', '16');
      await load.progress(300);
      await cluster.ceph('osd', 'pool', 'set', 'rbd', 'pgp_num', '16');
      await load.progress(300);
      await cluster.settled();
    });
  });

  it('waits while the cluster is paused, and goes on afterwards', async () => {
    await under('paused', async (load) => {
      await cluster.ceph('osd', 'pause');
      await client.waitForLatestMap();
      // What was sent before may still be answered.
      let during = -1;
      const answered = () => {
        const before = during;
        during = load.acknowledged;
        return during - before;
      };
      await expect.poll(answered, { interval: 1000 }).toBe(0);
      await sleep(1000);
      expect(load.acknowledged).toBe(during);
      await cluster.ceph('osd', 'unpause');
    });
  });

  it('survives an OSD that stops for a while', async () => {
    await under('stopped', async (load) => {
      await cluster.killOsd(1, 'SIGSTOP');
      await sleep(1500);
      await cluster.killOsd(1, 'SIGCONT');
      await load.progress(200);
    });
  });

  it('does not need the monitor, which may go and come back', async () => {
    await under('monitor', async (load) => {
      await cluster.killMon(0);
      await load.progress(500);
      await cluster.startMon(0);
      await client.waitForLatestMap();
      await load.progress(200);
    });
  });

  it('survives everything at once', async () => {
    await under('all', async (load) => {
      for (let round = 0; round < 3; round++) {
        const osd = round % 3;
        await cluster.killOsd(osd);
        await cluster.ceph('osd', 'primary-affinity', String((osd + 1) % 3), '0');
        await load.progress(100);
        await cluster.startOsd(osd);
        await cluster.ceph('osd', 'primary-affinity', String((osd + 1) % 3), '1');
        await cluster.settled();
      }
    });
  });

  it('ends with ENOENT when its pool is deleted', async () => {
    await cluster.addPool({ name: 'doomed', pgNum: 8 });
    const ioctx = await client.ioctx('doomed');
    const load = new AppendLoad(ioctx, { name: 'doomed' });
    await load.start();
    await load.progress(100);
    await cluster.ceph('osd', 'pool', 'rm', 'doomed', 'doomed', '--yes-i-really-really-mean-it');
    await load.ended();
    expect(load.errors.length).toBe(48);
    for (const error of load.errors) expect(error).toMatchObject({ code: 'ENOENT' });
    expect(await rejection(ioctx.operate('x', [statOp()]))).toMatchObject({ code: 'ENOENT' });
    expect(client.pending).toBe(0);
  });
});

describeCeph('OSDs whose sockets break', () => {
  let cluster: CephCluster;
  beforeAll(async () => {
    cluster = await CephCluster.start({
      osds: 3,
      size: 2,
      pools: [{ name: 'rbd', pgNum: 8, minSize: 1 }],
      osdConf: 'ms inject socket failures = 200',
    });
  });
  afterAll(() => cluster?.stop());

  it.each(['crc', 'secure'] as const)(
    'every 200 messages, in mode %s, lose and repeat nothing',
    async (msMode) => {
      using client = await connectTo(cluster, { msMode });
      const ioctx = await client.ioctx('rbd');
      const load = new AppendLoad(ioctx, { name: `sockets-${msMode}`, paceMs: 0 });
      await load.start();
      await load.progress(5000, 90_000);
      await load.stop();
      expect(load.errors).toEqual([]);
      expect(await load.verify()).toEqual([]);
      expect(await brokenSockets()).toBeGreaterThan(10);
    },
  );

  /** How often the OSDs say that they broke a socket. */
  async function brokenSockets(): Promise<number> {
    const logs = await Promise.all(
      [0, 1, 2].map((osd) => readFile(join(cluster.dir, 'log', `osd.${osd}.log`), 'utf8')),
    );
    return logs.join('').split('injecting socket failure').length - 1;
  }

  it('bring large reads whole, in place', async () => {
    using client = await connectTo(cluster);
    const ioctx = await client.ioctx('rbd');
    const data = Buffer.alloc(2 << 20, 'linger over large reads ');
    await ioctx.operate('large', [writeFullOp(data)]);
    for (let round = 0; round < 20; round++) {
      const places = await Promise.all(
        Array.from({ length: 8 }, async () => {
          const into = new Uint8Array(data.length);
          await client.operate(
            { pool: ioctx.pool.id, nspace: '', oid: 'large' },
            [readOp(0, data.length)],
            { into },
          );
          return into;
        }),
      );
      for (const into of places) expect(Buffer.compare(into, data)).toBe(0);
    }
  });
});

describeCeph('several monitors', () => {
  let cluster: CephCluster;
  beforeAll(async () => {
    cluster = await CephCluster.start({
      mons: 3,
      osds: 2,
      size: 2,
      pools: [{ name: 'rbd', pgNum: 4, minSize: 1 }],
    });
  });
  afterAll(() => cluster?.stop());

  it('may fail one by one: commands, maps and load go on', async () => {
    using client = await connectTo(cluster);
    const load = new AppendLoad(await client.ioctx('rbd'), { name: 'mons' });
    await load.start();
    for (const mon of [0, 1, 2]) {
      await cluster.killMon(mon);
      const { output } = await client.command({ prefix: 'fsid' });
      expect(Buffer.from(output).toString().trim()).toBe(cluster.fsid);
      await client.command({ prefix: 'osd set', key: mon % 2 === 0 ? 'noout' : 'nobackfill' });
      await client.waitForLatestMap();
      await load.progress(100);
      await cluster.startMon(mon);
    }
    await load.stop();
    expect(load.errors).toEqual([]);
    expect(await load.verify()).toEqual([]);
  });
});

describeCeph('tickets that live for seconds', () => {
  let cluster: CephCluster;
  beforeAll(async () => {
    cluster = await CephCluster.start({
      osds: 2,
      size: 2,
      pools: [{ name: 'rbd', pgNum: 4, minSize: 1 }],
      conf: 'auth service ticket ttl = 6\nauth mon ticket ttl = 20',
    });
  });
  afterAll(() => cluster?.stop());

  it('are renewed in time: new connections to OSDs are taken long after', async () => {
    using client = await connectTo(cluster);
    const load = new AppendLoad(await client.ioctx('rbd'), { name: 'tickets' });
    const id = client.globalId;
    await load.start();
    for (let round = 0; round < 6; round++) {
      await sleep(5000);
      // New connections, with the tickets of now.
      await cluster.ceph('osd', 'down', String(round % 2));
      await load.progress(50);
    }
    await load.stop();
    expect(load.errors).toEqual([]);
    expect(await load.verify()).toEqual([]);
    expect(client.globalId).toBe(id);
  });
});
