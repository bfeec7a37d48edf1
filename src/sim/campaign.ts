/** Many seeds, by several processes at a time, and what came of them in figures. */

import { SeedsDigest } from './seeds-digest.js';
import type { SimFaultName } from './faults/catalogue.js';
import { type PlanOptions, planRun } from './plan.js';
import { run, type RunReport } from './run.js';
import type { WorkloadName } from './workloads/catalogue.js';

/** A run, and what it cost: which is not the same every time. */
export interface MeasuredRun {
  readonly report: RunReport;
  readonly cpuMs: number;
  /** Memory of its process when it was over. */
  readonly rssBytes: number;
}

/** Something that performs one run after the other. */
export interface CampaignLane {
  run(seed: number, options: PlanOptions): Promise<MeasuredRun>;
}

export interface CampaignOptions extends PlanOptions {
  readonly firstSeed: number;
  readonly lastSeed: number;
  /** They take the next seed as soon as they are done with one. Default: one, in this process. */
  readonly lanes?: readonly CampaignLane[];
  /** Runs of seeds, which are not run again. Those of other seeds do not count. */
  readonly done?: readonly MeasuredRun[];
  /** Of every run, as it ends. */
  readonly onRun?: (run: MeasuredRun) => void;
  /** Asked before each run: whether to end before the last seed. */
  readonly isOver?: () => boolean;
}

export interface WorkloadFigures {
  readonly seeds: number;
  readonly operations: number;
  /** Virtual time for each unit of processor time. */
  readonly speed: number;
}

export interface CampaignReport {
  readonly seeds: number;
  /** Of all runs, in the order of their seeds: the same on every machine, by however many processes. */
  readonly digest: string;
  /** In the order of their seeds. */
  readonly failed: RunReport[];
  readonly virtualHours: number;
  readonly operations: number;
  readonly sectorsChecked: number;
  readonly unknown: number;
  /** Virtual time for each unit of processor time. */
  readonly speed: number;
  readonly workloads: Partial<Record<WorkloadName, WorkloadFigures>>;
  /** Memory of one process, on average over the first half of its runs, and over the second. */
  readonly memory: { readonly firstHalfBytes: number; readonly secondHalfBytes: number };
  /** How often faults of each kind have acted, and in how many runs. */
  readonly faults: Partial<Record<SimFaultName, { fired: number; runs: number }>>;
}

const MS_PER_HOUR = 3_600_000;

export const HERE: CampaignLane = {
  async run(seed, options) {
    const before = process.cpuUsage();
    const report = await run(planRun(seed, options));
    const { user, system } = process.cpuUsage(before);
    return { report, cpuMs: (user + system) / 1000, rssBytes: process.memoryUsage.rss() };
  },
};

export async function campaign(options: CampaignOptions): Promise<CampaignReport> {
  const { firstSeed, lastSeed, lanes = [HERE], done = [], onRun, isOver, ...plan } = options;
  const figures = new Figures(firstSeed);
  const before = done.filter(({ report: { seed } }) => seed >= firstSeed && seed <= lastSeed);
  for (const measured of before) figures.add(measured);
  figures.addMemory(before.map(({ rssBytes }) => rssBytes));
  const seeds = seedsFrom(firstSeed, lastSeed, new Set(before.map(({ report }) => report.seed)));
  await Promise.all(
    lanes.map(async (lane) => {
      const memory: number[] = [];
      while (!isOver?.()) {
        const { value: seed } = seeds.next();
        if (seed === undefined) break;
        const measured = await lane.run(seed, plan);
        memory.push(measured.rssBytes);
        figures.add(measured);
        onRun?.(measured);
      }
      figures.addMemory(memory);
    }),
  );
  return figures.report();
}

function* seedsFrom(
  first: number,
  last: number,
  without: ReadonlySet<number>,
): Generator<number, undefined> {
  for (let seed = first; seed <= last; seed++) if (!without.has(seed)) yield seed;
  return undefined;
}

interface Sum {
  seeds: number;
  operations: number;
  virtualMs: number;
  cpuMs: number;
}

const NOTHING: Sum = { seeds: 0, operations: 0, virtualMs: 0, cpuMs: 0 };

class Figures {
  readonly #failed: RunReport[] = [];
  readonly #workloads = new Map<WorkloadName, Sum>();
  readonly #faults: CampaignReport['faults'] = {};
  readonly #halves: [first: number[], second: number[]] = [[], []];
  readonly #digest: SeedsDigest;
  #sectorsChecked = 0;
  #unknown = 0;

  constructor(firstSeed: number) {
    this.#digest = new SeedsDigest(firstSeed);
  }

  add({ report, cpuMs }: MeasuredRun): void {
    const sum = this.#workloads.get(report.workload) ?? { ...NOTHING };
    this.#workloads.set(report.workload, sum);
    addTo(sum, { seeds: 1, operations: report.operations, virtualMs: report.virtualMs, cpuMs });
    this.#digest.add(report);
    this.#sectorsChecked += report.sectorsChecked;
    this.#unknown += report.unknown;
    if (report.violations.length > 0) this.#failed.push(report);
    for (const [name, fired] of Object.entries(report.faults)) {
      const counts = (this.#faults[name as SimFaultName] ??= { fired: 0, runs: 0 });
      counts.fired += fired;
      if (fired > 0) counts.runs++;
    }
  }

  addMemory(ofRuns: readonly number[]): void {
    const middle = Math.ceil(ofRuns.length / 2);
    this.#halves[0].push(...ofRuns.slice(0, middle));
    this.#halves[1].push(...ofRuns.slice(middle));
  }

  report(): CampaignReport {
    const total = { ...NOTHING };
    for (const sum of this.#workloads.values()) addTo(total, sum);
    const { seeds, operations, virtualMs } = total;
    return {
      ...{ seeds, digest: this.#digest.value, operations },
      sectorsChecked: this.#sectorsChecked,
      unknown: this.#unknown,
      virtualHours: virtualMs / MS_PER_HOUR,
      speed: speedOf(total),
      workloads: Object.fromEntries(
        [...this.#workloads].sort().map(([name, sum]) => [name, figuresOf(sum)]),
      ),
      memory: {
        firstHalfBytes: mean(this.#halves[0]),
        secondHalfBytes: mean(this.#halves[1].length > 0 ? this.#halves[1] : this.#halves[0]),
      },
      failed: this.#failed.sort((a, b) => a.seed - b.seed),
      faults: this.#faults,
    };
  }
}

function addTo(sum: Sum, more: Sum): void {
  for (const key of Object.keys(NOTHING) as (keyof Sum)[]) sum[key] += more[key];
}

function figuresOf(sum: Sum): WorkloadFigures {
  const { seeds, operations } = sum;
  return { seeds, operations, speed: speedOf(sum) };
}

function speedOf({ virtualMs, cpuMs }: Sum): number {
  return cpuMs === 0 ? 0 : virtualMs / cpuMs;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}
