import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Script } from 'node:vm';
import { beforeAll, describe, expect, it } from 'vitest';
import { timelinePage } from '../../src/cli/timeline-page.js';
import { planRun } from '../../src/sim/plan.js';
import { RunRecorder } from '../../src/sim/report/run-recorder.js';
import { LANE_GROUPS, type Timeline } from '../../src/sim/report/timeline.js';
import { run } from '../../src/sim/run.js';
import { linger } from './support.js';

/** One with faults of all layers, in which watches are lost and the lock changes hands. */
const PLAN = planRun(12, { workloads: ['lock'] });

/** What is within the one element of this name that has these attributes. */
function within(page: string, name: string, attributes = ''): string {
  const found = new RegExp(`<${name}${attributes}>([^]*?)</${name}>`).exec(page);
  expect(found, `<${name}${attributes}>`).not.toBeNull();
  return found?.[1] as string;
}

/** Names of the elements, outside of scripts and styles, that are not closed as they should be. */
function unbalanced(page: string): string[] {
  const markup = page.replace(/(<(script|style)[^>]*>)[^]*?(<\/\2>)/g, '$1$3');
  const open: string[] = [];
  const wrong: string[] = [];
  for (const [, slash, name = ''] of markup.matchAll(/<(\/?)([a-z][a-z0-9]*)[^>]*>/g)) {
    if (['meta', 'link', 'br'].includes(name)) continue;
    if (!slash) open.push(name);
    else if (open.pop() !== name) wrong.push(name);
  }
  return [...wrong, ...open];
}

describe('a timeline', () => {
  let timeline: Timeline;

  beforeAll(async () => {
    const recorder = new RunRecorder();
    timeline = recorder.timeline(PLAN, await run(PLAN, { witness: recorder }));
  });

  const marksOf = (group: string) =>
    timeline.lanes.filter((lane) => lane.group === group).flatMap(({ marks }) => marks);

  it('changes nothing of the run that it is of', async () => {
    expect(await run(PLAN)).toEqual(timeline.report);
  });

  it('has lanes of everything', () => {
    const groups = new Set(timeline.lanes.map(({ group }) => group));
    expect([...groups]).toEqual(LANE_GROUPS);
    const osds = timeline.lanes.filter(({ group }) => group === 'OSDs').map(({ name }) => name);
    expect(osds.sort()).toEqual(Array.from({ length: PLAN.osds }, (_, i) => `osd.${i}`));
    expect(marksOf('Operations')).toHaveLength(timeline.report.operations);
  });

  it('tells when a watch was lost, when it was there again, and who had the lock until when', () => {
    const kinds = marksOf('Watches').map(({ label }) => label);
    expect(kinds).toEqual(expect.arrayContaining(['registered', 'lost', 'registered again']));
    const owners = marksOf('Exclusive lock');
    expect(new Set(owners.map(({ label }) => label)).size).toBeGreaterThan(1);
    for (const [i, { to }] of owners.entries()) {
      expect(to).toBeLessThanOrEqual(owners[i + 1]?.from ?? Infinity);
    }
  });

  it('has an end for all that takes time, within the run', () => {
    for (const { from, to = from } of timeline.lanes.flatMap(({ marks }) => marks)) {
      expect(to).toBeGreaterThanOrEqual(from);
      expect(to).toBeLessThanOrEqual(timeline.report.virtualMs + 1);
    }
  });

  it('is a page of its own, which asks for nothing else', () => {
    const page = timelinePage(timeline);
    expect(unbalanced(page)).toEqual([]);
    expect(page).not.toMatch(/\{\{\w+\}\}|https?:|\bsrc=|\bhref=|@import|url\(/);
    expect(within(page, 'title')).toBe('linger sim: seed 12, lock');
    const data = within(page, 'script', ' type="application/json" id="run"');
    expect(JSON.parse(data)).toEqual(JSON.parse(JSON.stringify(timeline)));
    expect(() => new Script(within(page, 'script'))).not.toThrow();
  });

  it('escapes whatever names and messages hold', () => {
    const name = '</script><!--<b onclick="x">&$&{{run}}';
    const lanes = [{ group: 'Clients', name, marks: [{ kind: 'lives', from: 0, label: name }] }];
    const page = timelinePage({ ...timeline, lanes } as Timeline);
    expect(page).not.toContain('<b onclick');
    expect(unbalanced(page)).toEqual([]);
    const data = within(page, 'script', ' type="application/json" id="run"');
    expect((JSON.parse(data) as Timeline).lanes).toEqual(lanes);
  });
});

describe('linger sim replay --report', () => {
  it('writes a page, or JSON, and nothing by another name', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'linger-timeline-'));
    const replay = (file: string) =>
      linger('sim', 'replay', '1', '--seconds', '1', '--report', join(folder, file));
    try {
      expect((await replay('run.html')).code).toBe(0);
      expect(readFileSync(join(folder, 'run.html'), 'utf8')).toMatch(/^<!doctype html>/);
      expect((await replay('run.json')).code).toBe(0);
      const { report } = JSON.parse(readFileSync(join(folder, 'run.json'), 'utf8')) as Timeline;
      expect(report.seed).toBe(1);
      expect((await replay('run.pdf')).stderr).toContain('neither .html nor .json');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
