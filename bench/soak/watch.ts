/** `npm run soak:watch`: the trial of watch-soak.ts, on the embedded cluster, a real one, or one of your own. */

import { parseArgs } from 'node:util';
import { EmbeddedCluster } from '../../src/cluster/embedded-cluster.js';
import { CephCluster, cephAvailable } from '../../test/ceph/support/ceph-cluster.js';
import { type SoakReport, soakWatch } from './watch-soak.js';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '1' },
    every: { type: 'string', default: '5' },
    depth: { type: 'string', default: '128' },
    exclusive: { type: 'boolean', default: false },
    ceph: { type: 'boolean', default: false },
    conf: { type: 'string' },
    'no-rbd': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) {
  process.stdout.write(`npm run soak:watch -- [options]
  --minutes N    how long (1; the full trial: 60)
  --every S      seconds from a restored watch to the next watch error (5)
  --depth N      requests in flight (128)
  --exclusive    the image has the exclusive-lock feature, and is mapped with the option exclusive
  --ceph         on a real Ceph cluster, started for the run (needs Debian's ceph-mon, ceph-osd, ceph-common)
  --conf FILE    on the cluster of this ceph.conf; an image rbd/soak-watch-… is created there and removed
  --no-rbd       no snapshots by real rbd
Exits with 1 when anything stalled, failed or was lost.
`);
} else {
  const report = await soak();
  process.stdout.write(`${table(report)}\n${JSON.stringify(report)}\n`);
  process.exitCode = report.problems.length > 0 ? 1 : 0;
}

async function soak(): Promise<SoakReport> {
  const common = {
    exclusive: values.exclusive,
    durationMs: positive('minutes') * 60_000,
    everyMs: positive('every') * 1000,
    depth: positive('depth'),
    rbd: !values['no-rbd'] && cephAvailable(),
    onProgress: (line: string) => process.stderr.write(`${line}\n`),
  };
  if (values.conf !== undefined) return soakWatch({ ...common, confPath: values.conf });
  if (values.ceph) {
    await using cluster = await CephCluster.start({ osds: 3 });
    return await soakWatch({ ...common, confPath: cluster.confPath });
  }
  await using embedded = await EmbeddedCluster.start({ osds: 3, pools: ['rbd'] });
  return await soakWatch({ ...common, confPath: embedded.confPath, embedded });
}

function positive(name: 'minutes' | 'every' | 'depth'): number {
  const value = Number(values[name]);
  if (!(value > 0)) throw new RangeError(`--${name} must be a number above 0`);
  return value;
}

function table({ problems, ...counts }: SoakReport): string {
  const rows = Object.entries(counts).map(
    ([name, value]) => `  ${spelledOut(name).padEnd(20)} ${String(value).padStart(12)}`,
  );
  const verdict = problems.length === 0 ? 'nothing stalled, failed or was lost' : problems;
  return [...rows, ...[verdict].flat().map((line) => `  ${line}`)].join('\n');
}

/** `longestPauseMs` -> `longest pause ms` */
function spelledOut(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}
