/** sim: clients, monitor and OSDs in one thread on a virtual clock, with faults that a seed draws. */

import { readFileSync, writeFileSync } from 'node:fs';
import { text as textOf } from 'node:stream/consumers';
import type { Command } from 'commander';
import type { CampaignReport } from '../../sim/campaign.js';
import { campaign } from '../../sim/campaign.js';
import type { Violation } from '../../sim/checkers/violation.js';
import { FAULT_CATALOGUE, SIM_FAULT_NAMES, type SimFaultName } from '../../sim/faults/catalogue.js';
import { type PlanOptions, planRun, type RunPlan } from '../../sim/plan.js';
import { timelinePage } from '../timeline-page.js';
import { RunRecorder } from '../../sim/report/run-recorder.js';
import type { Timeline } from '../../sim/report/timeline.js';
import { type RunReport, run as runPlan } from '../../sim/run.js';
import { shrink } from '../../sim/shrink.js';
import { readPlan, writePlan } from '../../sim/written-plan.js';
import { WORKLOAD_NAMES, type WorkloadName, WORKLOADS } from '../../sim/workloads/catalogue.js';
import { type Action, HELP_GROUPS, type Register } from '../command.js';
import type { CommandContext, GlobalOptions } from '../context.js';
import { CampaignFile } from '../campaign-file.js';
import { CommandError, commandError, EXIT_USAGE } from '../errors.js';
import { SimulationJob } from '../sim-jobs.js';
import { addFormatOptions, type FormatOptions, formatJson, formatTable } from '../output.js';
import { wholeNumber } from '../sizes.js';

const EXAMPLES = `
Examples:
  linger sim --seeds 1..100
  linger sim --seeds 1..1000000 --minutes 60 --faults watch,osd
  linger sim --workload lock,maintenance
  linger sim --seeds 1..20000 --jobs 2 --report runs.jsonl
  linger sim replay 4711 --trace
  linger sim replay 4711 --shrink --plan smallest.json
  linger sim replay smallest.json
`;

/** What did not hold: as on a failing test. */
const EXIT_VIOLATION = 1;
const MAX_SEED = 2 ** 31 - 1;
const MAX_SECONDS = 86_400;
const MAX_JOBS = 256;

interface PlanFlags {
  seconds?: number;
  workload?: string;
  faults?: string;
}

interface SimFlags extends PlanFlags, FormatOptions, GlobalOptions {
  seeds: string;
  minutes?: number;
  jobs: number;
  report?: string;
}

interface ReplayFlags extends PlanFlags {
  trace?: boolean;
  shrink?: boolean;
  plan?: string;
  report?: string;
}

export const registerSimCommands: Register = (program, run) => {
  program.commandsGroup(HELP_GROUPS.cluster);
  const group = addPlanOptions(addFormatOptions(program.command('sim')))
    .summary('Disasters simulated from seeds: run, replay, list the faults.')
    .description(
      'Runs clients on an embedded cluster in virtual time, with faults that the seed draws, and judges what the clients saw. The same seed is the same run.',
    )
    .option('--seeds <first..last>', 'which runs', '1..20')
    .option('--minutes <minutes>', 'begin no run after so many', (text) =>
      wholeNumber(text, 1, 10_000),
    )
    .option(
      '--jobs <number>',
      'processes that run seeds at a time',
      (text) => wholeNumber(text, 1, MAX_JOBS),
      1,
    )
    .option('--report <file>', 'keep all runs there; those that are there are not run again')
    .addHelpText('after', EXAMPLES)
    .action(run(simulate));
  addPlanOptions(group.command('replay'))
    .summary('Run one seed, or one plan, again.')
    .argument('<run>', 'the seed; or a file with a plan, - for stdin')
    .option('--trace', 'tell what happens')
    .option('--shrink', 'find out what it takes to fail')
    .option('--plan <file>', 'write the plan there: with --shrink the smallest that fails')
    .option(
      '--report <file>',
      'a time line of the run: FILE.html for people, FILE.json for programs',
    )
    .action(run(replay));
  group.command('faults').summary('List the kinds of faults.').action(run(listFaults));
  group.command('workloads').summary('List what clients do.').action(run(listWorkloads));
};

function addPlanOptions(command: Command): Command {
  return command
    .option('--seconds <seconds>', 'virtual seconds of each run (default: 60)', (text) =>
      wholeNumber(text, 1, MAX_SECONDS),
    )
    .option(
      '--workload <names>',
      'what clients do: one of these (default: of all that are not on request)',
    )
    .option(
      '--faults <names>',
      'kinds of faults, or their layers: osd.kill,watch (default: all not on request); none',
    );
}

const simulate: Action<SimFlags> = async (context, _args, options) => {
  const [firstSeed, lastSeed] = seedsOf(options.seeds);
  const { clock } = context.environment(options);
  const deadline =
    options.minutes === undefined ? Infinity : clock.monotonic() + options.minutes * 60_000;
  const plan = planOptions(options);
  const file = options.report === undefined ? undefined : CampaignFile.open(options.report, plan);
  // Also a single one is a process of its own: a run that goes round in circles cannot be ended from within.
  const jobs = Array.from({ length: options.jobs }, () => new SimulationJob());
  let report: CampaignReport;
  try {
    report = await campaign({
      ...{ firstSeed, lastSeed, ...plan },
      lanes: jobs,
      ...(file ? { done: file.runs } : {}),
      onRun: (run) => {
        file?.add(run);
        const { seed, violations } = run.report;
        for (const violation of violations) context.print(failure(seed, violation));
      },
      isOver: () => context.signal.aborted || clock.monotonic() > deadline,
    });
    file?.end(report);
  } finally {
    for (const job of jobs) job.close();
    file?.close();
  }
  if (options.format === 'json') context.print(`${formatJson(report, options)}\n`);
  else context.print(summary(report));
  if (report.failed.length > 0) {
    throw new CommandError(
      EXIT_VIOLATION,
      `${report.failed.length} of ${report.seeds} seeds failed`,
    );
  }
};

const replay: Action<ReplayFlags> = async (context, [text], options) => {
  const plan = await planOf(context, text as string, options);
  const recorder = options.report === undefined ? undefined : new RunRecorder();
  const render = options.report === undefined ? undefined : rendererFor(options.report);
  const report = await runPlan(plan, {
    onTrace: options.trace ? (line) => context.print(`${line}\n`) : undefined,
    witness: recorder,
  });
  if (recorder && render) {
    writeFileSync(options.report as string, render(recorder.timeline(plan, report)));
  }
  const failed = report.violations.length > 0;
  context.print(`${JSON.stringify(report, undefined, 2)}\n`);
  const shown = failed && options.shrink ? await smallestOf(context, plan, report) : plan;
  if (options.plan !== undefined) writeFileSync(options.plan, writePlan(shown));
  else if (shown !== plan) context.print(writePlan(shown));
  if (failed) throw new CommandError(EXIT_VIOLATION, `seed ${plan.seed} failed`);
};

/** Of a seed by the options, or one that was written down. */
async function planOf(
  context: CommandContext,
  run: string,
  options: ReplayFlags,
): Promise<RunPlan> {
  if (/^\d+$/.test(run)) return planRun(wholeNumber(run, 1, MAX_SEED), planOptions(options));
  const given = (['seconds', 'workload', 'faults'] as const).find(
    (name) => options[name] !== undefined,
  );
  if (given) throw new CommandError(EXIT_USAGE, `--${given}: a plan has its own`);
  let written: string;
  try {
    written = run === '-' ? await textOf(context.streams.stdin) : readFileSync(run, 'utf8');
  } catch (error) {
    throw commandError(run, error);
  }
  try {
    return readPlan(written);
  } catch (error) {
    const why = (error as TypeError).message;
    throw new CommandError(EXIT_USAGE, `${run} is no plan of a run: ${why}`, { cause: error });
  }
}

function rendererFor(path: string): (timeline: Timeline) => string {
  if (path.endsWith('.html')) return timelinePage;
  if (path.endsWith('.json')) return (timeline) => `${JSON.stringify(timeline)}\n`;
  throw new CommandError(EXIT_USAGE, `--report: '${path}' is neither .html nor .json`);
}

async function smallestOf(
  context: CommandContext,
  plan: RunPlan,
  { violations }: RunReport,
): Promise<RunPlan> {
  const checkers = new Set(violations.map(({ checker }) => checker));
  return shrink(plan, async (smaller) => {
    if (context.signal.aborted) return false;
    const report = await runPlan(smaller);
    return report.violations.some(({ checker }) => checkers.has(checker));
  });
}

const listFaults: Action<unknown> = async (context) => {
  const rows = SIM_FAULT_NAMES.map((name) => {
    const { holds, onRequest } = FAULT_CATALOGUE[name];
    return [name, drawn(onRequest), holds];
  });
  context.print(
    formatTable(
      [
        { title: 'Fault', align: 'left' },
        { title: 'Drawn', align: 'left' },
        { title: 'What holds all the same', align: 'left' },
      ],
      rows,
    ),
  );
};

const listWorkloads: Action<unknown> = async (context) => {
  const rows = WORKLOAD_NAMES.map((name) => {
    const { onRequest, summary } = WORKLOADS[name];
    return [name, drawn(onRequest), summary];
  });
  context.print(
    formatTable(
      [
        { title: 'Workload', align: 'left' },
        { title: 'Drawn', align: 'left' },
        { title: 'What clients do', align: 'left' },
      ],
      rows,
    ),
  );
};

const drawn = (onRequest: boolean | undefined) => (onRequest ? 'on request' : 'by default');

function seedsOf(text: string): [first: number, last: number] {
  const match = /^(\d+)(?:\.\.(\d+))?$/.exec(text);
  const first = Number(match?.[1]);
  const last = match?.[2] === undefined ? first : Number(match[2]);
  if (!(first >= 1 && last >= first && last <= MAX_SEED)) {
    throw new CommandError(EXIT_USAGE, `--seeds: '${text}' is not like 1..100`);
  }
  return [first, last];
}

function planOptions({ seconds, workload, faults }: PlanFlags): PlanOptions {
  return {
    ...(seconds === undefined ? {} : { durationMs: seconds * 1000 }),
    ...(workload === undefined ? {} : { workloads: workloadsOf(workload) }),
    ...(faults === undefined ? {} : { faults: faultsOf(faults) }),
  };
}

function workloadsOf(text: string): WorkloadName[] {
  return text.split(',').map((word) => {
    const name = WORKLOAD_NAMES.find((each) => each === word);
    if (name) return name;
    throw new CommandError(EXIT_USAGE, `--workload: there is no workload '${word}'`);
  });
}

function faultsOf(text: string): SimFaultName[] {
  if (text === 'none') return [];
  return text.split(',').flatMap((word) => {
    const names = SIM_FAULT_NAMES.filter(
      (name) => name === word || FAULT_CATALOGUE[name].layer === word,
    );
    if (names.length === 0)
      throw new CommandError(EXIT_USAGE, `--faults: there is no fault '${word}'`);
    return names;
  });
}

function failure(seed: number, { checker, message, ops = [] }: Violation): string {
  return `seed ${seed}: ${checker}: ${message}\n${ops.map((op) => `    ${op}\n`).join('')}`;
}

function summary(report: CampaignReport): string {
  const { seeds, virtualHours, operations, sectorsChecked, unknown, failed, faults } = report;
  const { speed, workloads, memory } = report;
  // One that has come about may have met nothing to act on.
  const kinds = Object.values(faults).filter(({ fired: count }) => count > 0);
  const fired = kinds.reduce((sum, { fired: count }) => sum + count, 0);
  const rows = Object.entries(workloads).map(([name, figures]) => [
    name,
    String(figures.seeds),
    String(figures.operations),
    `${figures.speed.toFixed(0)}x`,
  ]);
  const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
  return [
    formatTable(
      [
        { title: 'Workload', align: 'left' },
        { title: 'Seeds', align: 'right' },
        { title: 'Operations', align: 'right' },
        { title: 'Virtual s / CPU s', align: 'right' },
      ],
      rows,
    ),
    `${seeds} seeds, ${virtualHours.toFixed(1)} hours of virtual time, ${speed.toFixed(0)} times as fast as time on one core`,
    `${operations} operations (${unknown} of unknown outcome), ${sectorsChecked} sectors checked`,
    `${fired} faults of ${kinds.length} kinds`,
    `memory of a process: ${mib(memory.firstHalfBytes)}, then ${mib(memory.secondHalfBytes)} on average`,
    failed.length === 0
      ? 'nothing was violated'
      : `failed: ${failed.map(({ seed }) => seed).join(' ')}`,
    `digest of these seeds: ${report.digest}`,
    '',
  ].join('\n');
}
