// The trial of `npm run soak:kill`, scaled down: a cluster's process that is killed again and again.

import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { killAgainAndAgain } from '../../bench/soak/store-kills.js';

describe('a cluster on disk that is killed again and again', () => {
  it('has everything that it acknowledged, nothing by halves, and starts by itself', async () => {
    const report = await killAgainAndAgain({ kills: 5, seed: 1, size: 2 });
    expect(report.problems).toEqual([]);
    expect(report.acknowledged).toBeGreaterThan(20);
    expect(report.verified).toBeGreaterThan(50);
  });

  it('is judged by a trial that notices what is lost', async () => {
    const report = await killAgainAndAgain({
      ...{ kills: 4, seed: 2, size: 2 },
      afterKill: async (dir, kills) => {
        if (kills !== 3) return;
        // Disks that are new as far as the OSDs can tell.
        const osds = (await readdir(dir)).filter((name) => name.startsWith('osd.'));
        for (const name of osds) await rm(join(dir, name), { recursive: true });
      },
    });
    expect(report.problems.join()).toMatch(/kill_trial\.\d+ is at 0; \d+ was acknowledged/);
  });
});
