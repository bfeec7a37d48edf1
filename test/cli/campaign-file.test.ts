import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { buildId } from '../../src/cli/build-id.js';
import { linger } from './support.js';

/** Short runs: the digest is the last figure. */
const OPTIONS = ['--seconds', '1', '--faults', 'none', '--workload', 'block'];

describe('a campaign whose runs are kept in a file', () => {
  let folder: string;
  let file: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'linger-campaign-'));
    file = join(folder, 'runs.jsonl');
  });

  afterEach(() => rmSync(folder, { recursive: true }));

  async function campaign(seeds: string, ...more: string[]) {
    const args = ['sim', '--seeds', seeds, ...OPTIONS, '--report', file, ...more];
    const { code, stdout, stderr } = await linger(...args);
    const digest = /^digest of these seeds: ([0-9a-f]{16})$/m.exec(stdout)?.[1];
    return { code, digest, stderr };
  }

  const lines = () => readFileSync(file, 'utf8').trim().split('\n');
  const seedsRun = () =>
    lines().flatMap((line) => {
      const { run } = JSON.parse(line) as { run?: { report: { seed: number } } };
      return run ? [run.report.seed] : [];
    });

  it('goes on where the file ends, and comes to the same', async () => {
    const whole = await campaign('1..3');
    const kept = lines();
    // The head, one run, and a part of the second.
    writeFileSync(file, `${kept.slice(0, 2).join('\n')}\n${(kept[2] as string).slice(0, 40)}`);
    const { code, digest } = await campaign('1..3');
    expect(code).toBe(0);
    expect(digest).toBe(whole.digest);
    expect(seedsRun()).toEqual([1, 2, 3]);
    expect(JSON.parse(lines()[0] as string)).toMatchObject({ build: buildId() });
    expect(JSON.parse(lines().at(-1) as string)).toMatchObject({
      campaign: { seeds: 3, digest, failed: [] },
    });
  });

  it('is summed up of pieces', async () => {
    await campaign('3..4');
    await campaign('1..2');
    expect(seedsRun()).toEqual([3, 4, 1, 2]);
    const summed = await campaign('1..4');
    expect(seedsRun()).toHaveLength(4);
    rmSync(file);
    expect(summed.digest).toBe((await campaign('1..4')).digest);
  });

  it('keeps no runs of another build, or by other options, in it', async () => {
    await campaign('1');
    const other = await linger('sim', '--seeds', '2', '--report', file);
    expect(other).toMatchObject({ code: 1, stderr: expect.stringContaining('is of other runs') });
    const head = lines()[0] as string;
    writeFileSync(file, `${head.replace(buildId(), '0123456789abcdef')}\n`);
    expect((await campaign('2')).stderr).toContain('is of other runs');
    expect(lines()).toHaveLength(1);
  });

  it('does not take a line for a run that is none', async () => {
    await campaign('1');
    appendFileSync(file, '{"run":{}}\n');
    expect((await campaign('2')).stderr).toContain('runs.jsonl:4: this is no run');
  });
});
