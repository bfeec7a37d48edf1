import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { planRun, type RunPlan } from '../../src/sim/plan.js';
import type { RunReport } from '../../src/sim/run.js';
import { readPlan, writePlan } from '../../src/sim/written-plan.js';
import { type CliResult, linger, lingerReading } from './support.js';

const SHORT = ['--seconds', '1', '--workload', 'block'];
/** Objects of 2^99 bytes: no client can make such an image, so that nothing else matters to how it fails. */
const failing = (): RunPlan => {
  const plan = planRun(3, { durationMs: 4000, workloads: ['block'], faults: ['tcp.reset'] });
  return { ...plan, clients: 2, image: { ...plan.image, order: 99, isClone: false } };
};

describe('a run that is replayed', () => {
  let folder: string;
  let file: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'linger-replay-'));
    file = join(folder, 'plan.json');
  });

  afterEach(() => rmSync(folder, { recursive: true }));

  const reportOf = ({ stdout }: CliResult) => JSON.parse(stdout) as RunReport;

  it('from the plan that was written comes to the same as from its seed', async () => {
    const bySeed = await linger('sim', 'replay', '3', ...SHORT, '--plan', file);
    expect(bySeed.code).toBe(0);
    const byPlan = await linger('sim', 'replay', file);
    expect(reportOf(byPlan)).toEqual(reportOf(bySeed));
    const fromStdin = await lingerReading(readFileSync(file, 'utf8'), 'sim', 'replay', '-');
    expect(reportOf(fromStdin)).toEqual(reportOf(bySeed));
  });

  it('is cut down to a plan that fails the same way', async () => {
    writeFileSync(file, writePlan(failing()));
    const smallest = join(folder, 'smallest.json');
    const shrunk = await linger('sim', 'replay', file, '--shrink', '--plan', smallest);
    expect(shrunk).toMatchObject({ code: 1, stderr: expect.stringContaining('seed 3 failed') });
    const { steps, faults, clients, durationMs } = readPlan(readFileSync(smallest, 'utf8'));
    expect({ steps, faults, clients }).toEqual({ steps: [], faults: [], clients: 1 });
    expect(durationMs).toBeLessThan(4000);
    const again = await linger('sim', 'replay', smallest);
    expect(again.code).toBe(1);
    expect(reportOf(again).violations).toEqual(reportOf(shrunk).violations);
  });

  it.each<[string, (plan: RunPlan) => unknown, string]>([
    ['without steps', ({ steps: _, ...plan }) => plan, 'steps is wrong'],
    [
      'with a fault that there is not',
      (plan) => ({ ...plan, faults: [{ kind: 'osd.kil', at: 1, forMs: 1, seed: 1 }] }),
      'faults[0].kind is wrong',
    ],
    ['that is a number', () => 4, 'all of it is wrong'],
  ])('is refused by a plan %s', async (_, change, why) => {
    writeFileSync(file, JSON.stringify(change(planRun(3))));
    const { code, stderr } = await linger('sim', 'replay', file);
    expect(code).toBe(1);
    expect(stderr).toContain(`${file} is no plan of a run: ${why}`);
  });

  it('is refused by what is no file, no JSON, or has options besides its plan', async () => {
    expect((await linger('sim', 'replay', file)).stderr).toContain('(2) No such file');
    writeFileSync(file, '{');
    expect((await linger('sim', 'replay', file)).stderr).toContain('it is not JSON');
    writeFileSync(file, writePlan(planRun(3)));
    const { code, stderr } = await linger('sim', 'replay', file, '--seconds', '3');
    expect({ code, stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('--seconds: a plan has its own'),
    });
  });
});

describe('the lists of sim', () => {
  it('tell what is drawn only on request', async () => {
    const faults = (await linger('sim', 'faults')).stdout;
    expect(faults).toMatch(/^osd\.kill +by default +no write/m);
    expect(faults).toMatch(/^store\.disk-full +on request +writes wait/m);
    const workloads = (await linger('sim', 'workloads')).stdout;
    expect(workloads).toMatch(/^block +by default +reads/m);
    expect(workloads).toMatch(/^objects +on request +whole objects/m);
  });
});
