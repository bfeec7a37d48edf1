import { describe, expect, it, vi } from 'vitest';
import { begin, type SimFaultName } from '../../src/sim/faults/catalogue.js';
import { Nemesis } from '../../src/sim/nemesis.js';
import { planFaults } from '../../src/sim/plan.js';
import { Draw, seededRandom } from '../../src/sim/random.js';
import { simulate } from '../../src/sim/simulate.js';
import type { SimulatedClient, Simulation } from '../../src/sim/simulation.js';

const MIB = 1024 * 1024;
const BLOCK = 4096;

async function aDisk(simulation: Simulation) {
  const { cluster } = await simulation.connect();
  await cluster.pool('rbd').images.create('vm', { size: 4 * MIB });
  return cluster.map('rbd/vm', { arenaBytes: MIB });
}

describe('a disk of an OSD', () => {
  it.each<SimFaultName>(['store.lost-unsynced', 'store.torn-unsynced', 'store.write-error'])(
    'that suffers %s ends its OSD, which comes back with what it acknowledged',
    async (kind) => {
      const cluster = { osds: 1, size: 1 };
      await simulate({ seed: 3, durable: true, cluster }, async (simulation) => {
        const disk = await aDisk(simulation);
        for (let i = 0; i < 20; i++) await disk.write(i * BLOCK, Buffer.alloc(BLOCK, i + 1));
        const draw = new Draw(seededRandom(1));
        const fault = await begin(kind, { simulation, draw });
        const late = disk.write(20 * BLOCK, Buffer.alloc(BLOCK, 21));
        while ((await fault?.fired()) === 0) await simulation.sleep(10);
        // Once it has struck another may come, and meets the OSD as it starts.
        const next = await begin(kind, { simulation, draw });
        expect(next).toBeDefined();
        await simulation.sleep(100);
        const [osd] = (await simulation.cluster.status()).osds;
        expect(osd?.running).toBe(false);
        await fault?.stop();
        expect(await next?.fired()).toBe(1);
        await next?.stop();
        await late;
        const all = Buffer.from(await disk.read(0, 21 * BLOCK));
        expect([...all.filter((_, at) => at % BLOCK === 0)]).toEqual(
          Array.from({ length: 21 }, (_, i) => i + 1),
        );
      });
    },
  );

  it('does not fail where there is none', async () => {
    await simulate({ seed: 3 }, async (simulation) => {
      const draw = new Draw(seededRandom(1));
      expect(await begin('store.disk-full', { simulation, draw })).toBeUndefined();
      expect(await begin('store.write-error', { simulation, draw })).toBeUndefined();
    });
  });
});

describe('tickets that are good no more', () => {
  it('are replaced as soon as a connection needs them', async () => {
    await simulate({ seed: 5, cluster: { osds: 1, auth: 'cephx' } }, async (simulation) => {
      const disk = await aDisk(simulation);
      const { faults } = simulation.cluster;
      await faults.retireTickets();
      // Connections stand.
      await disk.write(0, Buffer.from('before'));
      await faults.resetConnections({ osd: 0 });
      await disk.write(0, Buffer.from('behind'));
      expect(Buffer.from(await disk.read(0, 6)).toString()).toBe('behind');
    });
  });

  it('are none where nobody needs any', async () => {
    await simulate({ seed: 5, cluster: { osds: 1, auth: 'none' } }, async ({ cluster }) => {
      await expect(cluster.faults.retireTickets()).rejects.toMatchObject({ code: 'EOPNOTSUPP' });
    });
  });
});

describe('a client whose timers are late', () => {
  it('keeps its watch, or finds out that it lost it', async () => {
    await simulate({ seed: 7 }, async (simulation) => {
      const disk = await aDisk(simulation);
      const [client] = simulation.clients;
      if (client) client.process.timersLateMs = 6000;
      await simulation.sleep(60_000);
      await disk.write(0, Buffer.from('late'));
      expect(Buffer.from(await disk.read(0, 4)).toString()).toBe('late');
    });
  });
});

describe('a daemon that is gone without a word', () => {
  it('is dialled again when it is back', async () => {
    await simulate({ seed: 7, cluster: { osds: 1, size: 1 } }, async (simulation) => {
      const disk = await aDisk(simulation);
      await disk.write(0, Buffer.from('before'));
      const draw = new Draw(seededRandom(1));
      const silent = [];
      // Every daemon: none of them twice.
      for (let i = 0; i < 10; i++) {
        const fault = await begin('tcp.silent', { simulation, draw });
        if (fault) silent.push(fault);
      }
      expect(silent).toHaveLength(2);
      let written = false;
      const write = disk.write(0, Buffer.from('behind')).then(() => {
        written = true;
      });
      await simulation.sleep(5000);
      expect(written).toBe(false);
      for (const fault of silent) await fault.stop();
      await write;
      expect(Buffer.from(await disk.read(0, 6)).toString()).toBe('behind');
    });
  });
});

describe('an OSD that dies alone', () => {
  it('has logged what nobody else has, and comes back to what the others have', async () => {
    await simulate({ seed: 7, cluster: { osds: 2, size: 2 } }, async (simulation) => {
      const disk = await aDisk(simulation);
      const before = Buffer.alloc(16 * BLOCK, 1);
      await disk.write(0, before);
      const draw = new Draw(seededRandom(1));
      const dying = begin('osd.dies-alone', { simulation, draw });
      const writes = Array.from({ length: 16 }, (_, i) =>
        disk.write(i * BLOCK, Buffer.alloc(BLOCK, 2)),
      );
      const fault = await dying;
      expect(
        (await simulation.cluster.status()).osds.filter(({ running }) => running),
      ).toHaveLength(1);
      await Promise.all(writes);
      await fault?.stop();
      await simulation.sleep(10_000);
      expect(Object.keys((await simulation.cluster.status()).pgs)).toEqual(['active+clean']);
      expect(Buffer.from(await disk.read(0, 16 * BLOCK)).equals(Buffer.alloc(16 * BLOCK, 2))).toBe(
        true,
      );
    });
  });
});

describe('who is fenced', () => {
  it('stays so when the faults end: it may not have heard of it', async () => {
    await simulate({ seed: 3 }, async (simulation) => {
      await aDisk(simulation);
      const errors: unknown[] = [];
      const onError = (_: SimFaultName, error: unknown) => errors.push(error);
      const nemesis = new Nemesis(simulation, { trace: () => undefined, onError });
      nemesis.start([{ kind: 'lock.blocklisted', at: 10, forMs: 0, seed: 1 }]);
      await simulation.sleep(100);
      await nemesis.stop();
      expect([nemesis.fired['lock.blocklisted'], errors]).toEqual([1, []]);
      const { cluster } = await simulation.connect();
      expect(await cluster.blocklist.list()).toHaveLength(1);
    });
  });
});

describe('faults of who owns the lock', () => {
  it.each<SimFaultName>(['lock.owner-dies', 'lock.owner-sleeps'])(
    'as %s meet the owner, however many others there are',
    async (kind) => {
      await simulate({ seed: 3 }, async (simulation) => {
        const draw = new Draw(seededRandom(1));
        await simulation.connect();
        const disk = await aDisk(simulation);
        const owner = simulation.clients.at(-1);
        for (let i = 0; i < 8; i++)
          await (await simulation.connect()).cluster.pool('rbd').images.list();
        await disk.write(0, Buffer.from('mine'));
        expect(await Promise.all(simulation.clients.map((client) => client.ownsLock()))).toEqual(
          simulation.clients.map((client) => client === owner),
        );
        const asleep = vi.spyOn((owner as SimulatedClient).process, 'stop');
        await begin(kind, { simulation, draw });
        expect(owner?.alive).toBe(kind !== 'lock.owner-dies');
        expect(asleep).toHaveBeenCalledTimes(kind === 'lock.owner-sleeps' ? 1 : 0);
      });
    },
  );
});

describe('a fault', () => {
  it.each<SimFaultName>(['tcp.small-segments', 'tcp.distance', 'tcp.slow', 'osd.pause-short'])(
    'as %s counts the connections that it acts on, not the pieces that they carry',
    async (kind) => {
      await simulate({ seed: 3, cluster: { osds: 1, size: 1 } }, async (simulation) => {
        const disk = await aDisk(simulation);
        await disk.write(0, Buffer.from('before'));
        const draw = new Draw(seededRandom(1));
        const fault = await begin(kind, { simulation, draw });
        const writes = Array.from({ length: 50 }, (_, i) =>
          disk.write(i * BLOCK, Buffer.alloc(BLOCK, i)),
        );
        await simulation.sleep(2000);
        const fired = await fault?.fired();
        expect(fired).toBeGreaterThan(0);
        // Of one client with a monitor and an OSD, in both directions, and an OSD that stands still.
        expect(fired).toBeLessThanOrEqual(2 * simulation.world.network.streams.size + 1);
        await fault?.stop();
        await Promise.all(writes);
      });
    },
  );

  it('that loses pongs lasts until watches are pinged', () => {
    const lasting = Array.from({ length: 50 }, (_, seed) =>
      planFaults(seed, 60_000, ['watch.lost-pong'], 1).map(({ forMs }) => forMs),
    ).flat();
    expect(Math.min(...lasting)).toBeGreaterThanOrEqual(10_000);
    expect(Math.max(...lasting)).toBeLessThanOrEqual(20_000);
  });
});
