import { execFile } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { packageFile } from '../../src/base/paths.js';
import { OSD_CHANNEL, type OsdDaemon } from '../../src/cluster/osd-daemon.js';
import { SimulationJob } from '../../src/cli/sim-jobs.js';
import { campaign, type CampaignLane, HERE } from '../../src/sim/campaign.js';
import { SeedsDigest } from '../../src/sim/seeds-digest.js';
import { linger } from '../cli/support.js';

/** Says of each run what it is told to. */
function lane(took: number[], failing?: number): CampaignLane {
  return {
    async run(seed) {
      took.push(seed);
      await Promise.resolve();
      const violations = seed === failing ? [{ checker: 'made-up', message: 'wrong' }] : [];
      const report = {
        ...({
          seed,
          workload: 'lock',
          digest: '0',
          violations,
          virtualMs: 60_000,
          steps: 1,
        } as const),
        ...{ operations: 10, sectorsChecked: 5, failed: 0, unknown: 1 },
        faults: { 'osd.kill': 2, 'osd.stop': 0 },
      };
      return { report, cpuMs: 500, rssBytes: seed };
    },
  };
}

describe('a campaign', () => {
  it('has each seed run once, by whoever is free, and sums up', async () => {
    const took: number[] = [];
    const lanes = [lane(took, 3), lane(took, 3)];
    const report = await campaign({ firstSeed: 1, lastSeed: 4, lanes });
    expect(took).toEqual([1, 2, 3, 4]);
    expect(report).toMatchObject({
      ...{ seeds: 4, operations: 40, unknown: 4, sectorsChecked: 20, speed: 120 },
      workloads: { lock: { seeds: 4, operations: 40, speed: 120 } },
      faults: { 'osd.kill': { fired: 8, runs: 4 }, 'osd.stop': { fired: 0, runs: 0 } },
      memory: { firstHalfBytes: 1.5, secondHalfBytes: 3.5 },
      failed: [{ seed: 3 }],
    });
  });

  it('has one digest of all its seeds, in their order, whichever ends first', async () => {
    const digestOf = (seeds: readonly number[], wrong?: number) => {
      const digests = new SeedsDigest(1);
      for (const seed of seeds) digests.add({ seed, digest: seed === wrong ? 'x' : `${seed}` });
      return digests.value;
    };
    const digest = digestOf([1, 2, 3]);
    expect(digest).toMatch(/^[0-9a-f]{16}$/);
    expect(digestOf([3, 1, 2])).toBe(digest);
    expect(digestOf([1, 2])).not.toBe(digest);
    expect(digestOf([1, 2, 3], 2)).not.toBe(digest);
  });

  it('comes to the same digest by one process and by two, told by the command', async () => {
    const digestBy = async (jobs: number) => {
      const { stdout } = await promisify(execFile)(process.execPath, [
        packageFile('dist/bundle/linger.js'),
        ...['sim', '--seeds', '1..3', '--seconds', '2', '--jobs', `${jobs}`],
      ]);
      return /^digest of these seeds: ([0-9a-f]{16})$/m.exec(stdout)?.[1];
    };
    const [byOne, byTwo] = await Promise.all([digestBy(1), digestBy(2)]);
    expect(byOne).toBeDefined();
    expect(byTwo).toBe(byOne);
  });

  it('has its runs in a process that can be ended, also when that is a single one', async () => {
    let osds = 0;
    const onOsd = () => osds++;
    subscribe(OSD_CHANNEL, onOsd);
    const { code, stdout } = await linger('sim', '--seeds', '1', '--seconds', '1');
    unsubscribe(OSD_CHANNEL, onOsd);
    expect(stdout).toContain('1 seeds');
    expect({ code, osds }).toEqual({ code: 0, osds: 0 });
  });

  it('begins no run any more when it is over', async () => {
    const took: number[] = [];
    const isOver = () => took.length === 2;
    expect(
      await campaign({ firstSeed: 1, lastSeed: 9, lanes: [lane(took)], isOver }),
    ).toMatchObject({ seeds: 2 });
  });

  it('comes to the same in another process', async () => {
    const job = new SimulationJob();
    try {
      const options = { durationMs: 2000 };
      const [there, here] = [await job.run(5, options), await HERE.run(5, options)];
      expect(there.report).toEqual(here.report);
      expect(there.cpuMs).toBeGreaterThan(0);
    } finally {
      job.close();
    }
  });

  it('leaves nothing of a run behind when it is over', async () => {
    const osds: WeakRef<OsdDaemon>[] = [];
    const onOsd = (osd: unknown) => osds.push(new WeakRef(osd as OsdDaemon));
    subscribe(OSD_CHANNEL, onOsd);
    for (const seed of [1, 2]) await HERE.run(seed, { durationMs: 1000 });
    unsubscribe(OSD_CHANNEL, onOsd);
    expect(osds.length).toBeGreaterThan(1);
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    // What a reference was last asked for lives for the rest of its turn.
    await setImmediate();
    collect();
    expect(osds.filter((osd) => osd.deref() !== undefined)).toEqual([]);
  });

  it('ends with the job that runs its seeds', async () => {
    const job = new SimulationJob();
    const running = job.run(6, {});
    job.close();
    await expect(running).rejects.toThrow('the job has ended');
    await expect(job.run(7, {})).rejects.toThrow('ended');
  });

  it('goes on behind a run that comes to no end, which has failed', async () => {
    const job = new SimulationJob({ limitMs: 10 });
    const options = { durationMs: 3_600_000 };
    try {
      const report = await campaign({ firstSeed: 5, lastSeed: 6, lanes: [job], ...options });
      expect(report).toMatchObject({ seeds: 2, operations: 0 });
      const message = 'the run came to no end: it takes too long';
      expect(report.failed.map(({ violations }) => violations)).toEqual([
        [{ checker: 'end', message }],
        [{ checker: 'end', message }],
      ]);
    } finally {
      job.close();
    }
  });
});
