/** `npm run soak`: the simulation's workloads and checkers on real Ceph daemons, run after run, each on a cluster of its own. */

import { parseArgs } from 'node:util';
import { planRun } from '../../src/sim/plan.js';
import {
  DEFAULT_WORKLOAD_NAMES,
  WORKLOAD_NAMES,
  type WorkloadName,
} from '../../src/sim/workloads/catalogue.js';
import { type RealReport, realRun } from './real-run.js';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '2' },
    seed: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '30' },
    workload: { type: 'string', default: DEFAULT_WORKLOAD_NAMES.join() },
    trace: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) {
  process.stdout.write(`npm run soak -- [options]
  --minutes N      how long; the run that has begun is finished (2)
  --seed N         the first run's; the next ones have the next (1)
  --seconds N      of each run under faults (30)
  --workload A,B   only these: ${WORKLOAD_NAMES.join(', ')}
  --trace          tells what happens
Needs Debian's ceph-mon, ceph-osd, ceph-common. Exits with 1 when anything was violated.
`);
} else {
  process.exitCode = (await soak()) ? 0 : 1;
}

async function soak(): Promise<boolean> {
  const workloads = values.workload.split(',') as WorkloadName[];
  const strange = workloads.filter((name) => !WORKLOAD_NAMES.includes(name));
  if (strange.length > 0) throw new RangeError(`no workload ${strange.join()}`);
  const end = performance.now() + Number(values.minutes) * 60_000;
  const reports: RealReport[] = [];
  for (let seed = Number(values.seed); performance.now() < end; seed++) {
    const plan = planRun(seed, {
      durationMs: Number(values.seconds) * 1000,
      workloads,
      faults: [],
    });
    const report = await realRun(plan, values.trace ? say : () => {});
    reports.push(report);
    say(
      `seed ${seed} ${plan.workload}: ${report.operations} operations, ${report.violations.length} violations`,
    );
    for (const { checker, message, ops = [] } of report.violations) {
      say([`  ${checker}: ${message}`, ...ops.map((op) => `    ${op}`)].join('\n'));
    }
  }
  return summarise(reports);
}

function summarise(reports: readonly RealReport[]): boolean {
  const total = (of: (report: RealReport) => number) => reports.reduce((sum, r) => sum + of(r), 0);
  const faults = new Map<string, number>();
  for (const [name, count] of reports.flatMap((report) => Object.entries(report.faults))) {
    faults.set(name, (faults.get(name) ?? 0) + count);
  }
  const violations = total((report) => report.violations.length);
  process.stdout.write(`${reports.length} runs, ${total((r) => r.operations)} operations (${total((r) => r.unknown)} of unknown outcome), ${total((r) => r.sectorsChecked)} sectors checked
faults: ${[...faults].map(([name, count]) => `${name} ${count}`).join(', ')}
${violations === 0 ? 'nothing was violated' : `${violations} violations`}
`);
  return violations === 0;
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
