import { describe, expect, it } from 'vitest';
import { DEFAULT_FAULT_NAMES, FAULT_CATALOGUE } from '../../src/sim/faults/catalogue.js';
import { type PlanOptions, planRun } from '../../src/sim/plan.js';
import { run } from '../../src/sim/run.js';
import { shrink } from '../../src/sim/shrink.js';
import { type SimulateOptions, simulate } from '../../src/sim/simulate.js';
import type { SimulatedClient, Simulation } from '../../src/sim/simulation.js';
import { ACTIONS } from '../../src/sim/workloads/actions/actions.js';
import { WORKLOAD_NAMES } from '../../src/sim/workloads/catalogue.js';

const MIB = 1024 * 1024;

describe('a function of the user, simulated', () => {
  it('hears that its disk lost its watch, and has it back', async () => {
    const { value, virtualMs } = await simulate({ seed: 7 }, async (simulation) => {
      const { cluster } = await simulation.connect();
      await cluster.pool('rbd').images.create('vm', { size: 16 * MIB });
      const disk = await cluster.map('rbd/vm');
      const heard: string[] = [];
      disk.on('watch-error', () => heard.push('lost'));
      disk.on('watch-restored', () => heard.push('restored'));
      const object = `rbd_header.${disk.attributes.imageId}`;
      await using _fault = await simulation.cluster.faults.dropWatch({ pool: 'rbd', object });
      await simulation.sleep(15_000);
      await disk.write(0, Buffer.alloc(4096, 1));
      await disk.close();
      return heard;
    });
    expect(value).toEqual(['lost', 'restored']);
    expect(virtualMs).toBeGreaterThan(15_000);
  });

  it('runs the same way for the same seed, and another way for another', async () => {
    const once = (seed: number) =>
      simulate({ seed, faults: 'all', faultsForMs: 5000 }, async (simulation) => {
        const { cluster } = await simulation.connect();
        await cluster.pool('rbd').images.create('vm', { size: 4 * MIB });
        const disk = await cluster.map('rbd/vm', { arenaBytes: MIB });
        for (let i = 0; i < 20; i++) {
          await disk.write(i * 4096, Buffer.alloc(4096, i)).catch(() => {});
          await simulation.sleep(100);
        }
      }).then(
        ({ digest, faults }) => ({ digest, faults }),
        (error: Error) => error.message,
      );
    const [first, again, other] = [await once(11), await once(11), await once(12)];
    expect(again).toEqual(first);
    expect(other).not.toEqual(first);
  });

  it('that fails rejects with what it failed with', async () => {
    const failing = simulate({ seed: 1 }, async (simulation) => {
      await simulation.sleep(10);
      throw new Error('mine');
    });
    await expect(failing).rejects.toThrow('mine');
  });

  describe.each<[string, (simulation: Simulation) => unknown]>([
    ['a dead OSD', ({ cluster }) => cluster.killOsd(0)],
    ['an OSD that a fault killed', ({ cluster }) => cluster.faults.killOsd(0)],
    ['a black hole', ({ cluster }) => cluster.faults.blackHole()],
    ['a client that stands still', ({ clients }) => clients[0]?.process.stop()],
    ['a pause of the cluster', ({ cluster }) => cluster.faults.setFlags('pause')],
    [
      'ports that say nothing',
      ({ world: { network } }) => {
        for (const port of network.listening) network.port(port).onConnect = 'silent';
        for (const stream of network.streams) stream.reset();
      },
    ],
    [
      'streams that stall, far away',
      ({ world: { network } }) => {
        network.latencyMs = 1_000_000;
        for (const stream of network.streams) stream.stalled = true;
      },
    ],
  ])('that leaves %s', (_, disturb) => {
    const leaving = (cluster: NonNullable<SimulateOptions['cluster']>, last: () => string) =>
      simulate({ seed: 1, cluster }, async (simulation) => {
        const { cluster: client } = await simulation.connect();
        await client.pool('rbd').images.create('vm', { size: 4 * MIB });
        const disk = await client.map('rbd/vm', { arenaBytes: MIB });
        await disturb(simulation);
        // Perhaps it can be done, perhaps not before the end.
        disk.write(0, Buffer.alloc(4096)).catch(() => {});
        await simulation.sleep(100);
        return last();
      });

    it.each([1, 3])('comes to its own end with %s OSDs', async (osds) => {
      const failing = leaving({ osds, size: osds }, () => {
        throw new Error('mine');
      });
      await expect(failing).rejects.toThrow('mine');
      expect(await leaving({ osds, size: osds }, () => 'done')).toMatchObject({ value: 'done' });
    });
  });

  it.each<[string, object]>([
    ['no seed', {}],
    ['half a seed', { seed: 1.5 }],
    ['a fault that there is not', { seed: 1, faults: ['osd.kill', 'osd.kil'] }],
    ['a name that every object has', { seed: 1, faults: ['toString'] }],
    ['one name instead of a list', { seed: 1, faults: 'osd.kill' }],
    ['a fault of disks without disks', { seed: 1, faults: ['store.disk-full'] }],
    ['no time for faults', { seed: 1, faultsForMs: Number.NaN }],
  ])('is not begun with %s', async (_, options) => {
    let begun = false;
    const wrong = simulate(options as SimulateOptions, async () => {
      begun = true;
    });
    await expect(wrong).rejects.toMatchObject({ name: 'RadosError', code: 'EINVAL' });
    expect(begun).toBe(false);
  });

  it('has all faults that it lists, for every seed', async () => {
    for (let seed = 1; seed <= 5; seed++) {
      const faults = ['osd.kill', 'tcp.reset'] as const;
      const options = { seed, faults, faultsForMs: 10_000 };
      const result = await simulate(options, async (simulation) => {
        const { cluster } = await simulation.connect();
        await cluster.pool('rbd').images.create('vm', { size: 4 * MIB });
        const disk = await cluster.map('rbd/vm', { arenaBytes: MIB });
        await simulation.sleep(12_000);
        await disk.write(0, Buffer.alloc(512, seed));
      });
      for (const kind of faults) expect(result.faults[kind]).toBeGreaterThan(0);
    }
  });

  it('hears of the death of a client that it waits for', async () => {
    const dying = (how: (client: SimulatedClient, work: Promise<void>) => Promise<unknown>) =>
      simulate({ seed: 4, timeoutMs: 60_000 }, async (simulation) => {
        const client = await simulation.connect();
        await client.cluster.pool('rbd').images.create('vm', { size: 4 * MIB });
        const disk = await client.cluster.map('rbd/vm', { arenaBytes: MIB });
        await client.whileAlive(disk.write(0, Buffer.from('alive')));
        const work = disk.write(0, Buffer.from('dying'));
        // Before an answer can be there.
        simulation.world.after(0.05, () => client.kill());
        await how(client, work);
      });
    await expect(dying((client, work) => client.whileAlive(work))).rejects.toMatchObject({
      code: 'ECANCELED',
      message: 'client.1 is dead',
    });
    await expect(dying((_, work) => work)).rejects.toThrow(/no end.*: client\.1 died/);
  });

  it('tells its own error before what goes wrong at the end', async () => {
    const failing = simulate({ seed: 1 }, async (simulation) => {
      simulation.stop = () => Promise.reject(new Error('of the end'));
      throw new Error('mine');
    });
    await expect(failing).rejects.toMatchObject({
      message: 'mine',
      cause: { message: 'of the end' },
    });
  });
});

describe('a run', () => {
  it('comes out the same to the last byte for the same seed', async () => {
    for (const seed of [8, 22]) {
      const plan = planRun(seed, { durationMs: 20_000 });
      const reports = [await run(plan), await run(plan)];
      expect(reports[1]).toEqual(reports[0]);
    }
  });

  it('leaves nothing of a client that died while it waited for its next step', async () => {
    const quiet = planRun(1, { workloads: ['block'], durationMs: 2000, faults: [] });
    const { violations } = await run({
      ...{ ...quiet, clients: 1 },
      steps: [{ client: 1, lane: 0, pauseMs: 100_000, action: 'read', seed: 1 }],
      faults: [{ kind: 'lock.owner-dies', at: 1000, forMs: 0, seed: 1 }],
    });
    expect(violations).toEqual([]);
  });

  it.each(WORKLOAD_NAMES)('violates nothing with workload %s', async (workload) => {
    for (const seed of [1, 2]) {
      const plan = planRun(seed, { workloads: [workload], durationMs: 30_000 });
      const { violations, operations } = await run(plan);
      const replay = `linger sim replay ${seed} --workload ${workload} --seconds 30 --trace`;
      expect(violations, replay).toEqual([]);
      expect(operations).toBeGreaterThan(10);
    }
  });

  it('does all of what clients may do sooner or later', () => {
    const planned = new Set(
      Array.from({ length: 50 }, (_, i) =>
        planRun(i + 1, { workloads: WORKLOAD_NAMES }).steps.map(({ action }) => action),
      ).flat(),
    );
    expect([...planned].sort()).toEqual(Object.keys(ACTIONS).sort());
  });

  it('brings every kind of fault about sooner or later', () => {
    const planned = new Set(
      Array.from({ length: 200 }, (_, i) => planRun(i + 1).faults.map(({ kind }) => kind)).flat(),
    );
    expect([...planned].sort()).toEqual([...DEFAULT_FAULT_NAMES].sort());
  });

  it('has the faults that it is asked to have, and some of them all the time', () => {
    const kindsOf = (options: PlanOptions) => planRun(1, options).faults.map(({ kind }) => kind);
    const faults = ['osd.kill', 'tcp.silent'] as const;
    expect(new Set(kindsOf({ faults, faultChance: 1 }))).toEqual(new Set(faults));
    const frequent = kindsOf({ workloads: ['block'], faults: [], frequentFaults: ['osd.kill'] });
    expect(new Set(frequent)).toEqual(new Set(['osd.kill']));
    expect(frequent.length).toBeGreaterThanOrEqual(5);
  });

  it('is cut down to the fault and the step that it takes to fail', async () => {
    const plan = planRun(8, { durationMs: 20_000 });
    const culprits = [plan.faults.at(-2), plan.steps.find(({ client }) => client === 1)] as const;
    const smallest = await shrink(plan, async ({ faults, steps, clients }) => {
      const [fault, step] = culprits;
      return clients >= 1 && faults.some((f) => f === fault) && steps.some((s) => s === step);
    });
    expect(smallest.faults).toEqual([culprits[0]]);
    expect(smallest.steps).toEqual([culprits[1]]);
    expect(smallest.clients).toBe(1);
    expect(smallest.durationMs).toBeLessThanOrEqual(1000);
  });
});

describe('the catalogue of faults', () => {
  it('names each by its layer, and says what holds', () => {
    for (const [name, { layer, holds }] of Object.entries(FAULT_CATALOGUE)) {
      expect(name.split('.')[0]).toBe(layer);
      expect(holds).not.toBe('');
    }
  });
});
