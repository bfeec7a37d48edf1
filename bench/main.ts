/**
 * `npm run bench`: our client beside librbd, on the embedded cluster or (`--ceph`) on a real one.
 *
 * Machines are noisy: every round measures each client once per case, one after the other, on an image that was
 * rewritten with 4 MiB writes before (a memstore OSD slows down with each small overwrite). What counts are the medians
 * and the ratios between clients of one run.
 */

import { mkdir, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { connect } from '../src/block/cluster.js';
import { EmbeddedCluster } from '../src/cluster/embedded-cluster.js';
import { FEATURE } from '../src/rbd/features.js';
import { CephCluster } from '../test/ceph/support/ceph-cluster.js';
import type { MsMode } from '../src/rados/connect.js';
import { CASES, caseName } from './cases.js';
import { type BenchClient, lingerClient, librbdClient, type Target } from './clients.js';
import { refill } from './refill.js';
import { markdownReport, medianOf, remember, type Results } from './report.js';

const { values } = parseArgs({
  options: {
    ceph: { type: 'boolean', default: false },
    conf: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '3' },
    size: { type: 'string', default: '512' },
    cases: { type: 'string', default: '' },
    'ms-mode': { type: 'string', default: 'crc' },
    out: { type: 'string', default: 'bench-results' },
    help: { type: 'boolean', default: false },
  },
});

const POOL = 'rbd';
const IMAGE = 'bench';
const MIB = 1024 * 1024;

if (values.help) {
  process.stdout.write(`npm run bench -- [options]
  --ceph            on a real Ceph cluster, started for the run (needs Debian's ceph-mon, ceph-osd, ceph-common)
  --conf FILE       on the cluster of this ceph.conf; the image ${POOL}/${IMAGE} is created there and removed
  --rounds N        rounds (3)          --seconds N   seconds of each measurement (3)
  --size MIB        image size (512)    --cases TEXT  only cases whose name contains one of these, e.g. "4K qd16,4M"
  --ms-mode MODE    crc or secure       --out DIR     where results.json and results.md go (bench-results)
`);
} else {
  await bench();
}

async function bench(): Promise<void> {
  const { conf, name, stop } = await startCluster();
  try {
    const target: Target = {
      conf,
      pool: POOL,
      image: IMAGE,
      msMode: values['ms-mode'] as MsMode,
      seconds: Number(values.seconds),
    };
    await using cluster = await connect({ conf });
    const { images } = cluster.pool(POOL);
    if ((await images.list()).includes(IMAGE)) await images.remove(IMAGE);
    // Plain: no lock goes to and fro between the clients, and no object map is kept.
    await images.create(IMAGE, { size: Number(values.size) * MIB, features: FEATURE.LAYERING });
    const librbd = await librbdClient();
    if (!librbd)
      process.stderr.write('fio with the rbd engine is not installed: nothing to compare with\n');
    const clients = [
      lingerClient('linger', 1),
      lingerClient('linger inline', 0),
      ...(librbd ? [librbd] : []),
    ];
    const results = await measure(cluster, target, clients);
    await report(name, results);
    await images.remove(IMAGE);
  } finally {
    await stop();
  }
}

async function startCluster(): Promise<{ conf: string; name: string; stop: () => Promise<void> }> {
  if (values.conf !== undefined)
    return { conf: values.conf, name: values.conf, stop: async () => {} };
  if (values.ceph) {
    const cluster = await CephCluster.start({ osds: 3 });
    return { conf: cluster.confPath, name: 'Ceph, 3 memstore OSDs', stop: () => cluster.stop() };
  }
  const cluster = await EmbeddedCluster.start({ osds: 3, size: 1 });
  return { conf: cluster.confPath, name: 'embedded cluster, 3 OSDs', stop: () => cluster.stop() };
}

async function measure(
  cluster: Awaited<ReturnType<typeof connect>>,
  target: Target,
  clients: readonly BenchClient[],
): Promise<Results> {
  const results: Results = new Map();
  const wanted = values.cases.split(',').filter((part) => part !== '');
  const cases = CASES.filter(
    (io) => wanted.length === 0 || wanted.some((part) => caseName(io).includes(part)),
  );
  for (let round = 1; round <= Number(values.rounds); round++) {
    for (const io of cases) {
      for (const client of clients) {
        await refill(cluster, target);
        const measurement = await client.run(target, io);
        remember(results, io, client.name, measurement);
        const { iops, mbps, cpuPerOp } = measurement;
        process.stderr.write(
          `round ${round}  ${caseName(io).padEnd(20)} ${client.name.padEnd(14)} ${iops.toFixed(0).padStart(7)} IOPS ${mbps.toFixed(0).padStart(6)} MB/s ${cpuPerOp.toFixed(1).padStart(8)} us CPU/op\n`,
        );
      }
    }
  }
  return results;
}

async function report(cluster: string, results: Results): Promise<void> {
  const machine = `${cpus()[0]?.model ?? 'unknown CPU'}, ${cpus().length} cores, Node ${process.versions.node}`;
  const about = {
    cluster,
    machine,
    msMode: values['ms-mode'],
    rounds: Number(values.rounds),
    seconds: Number(values.seconds),
  };
  const markdown = markdownReport(about, results);
  const medians = Object.fromEntries(
    [...results].map(([name, byClient]) => [
      name,
      Object.fromEntries([...byClient].map(([client, all]) => [client, medianOf(all)])),
    ]),
  );
  await mkdir(values.out, { recursive: true });
  const raw = Object.fromEntries(
    [...results].map(([name, byClient]) => [name, Object.fromEntries(byClient)]),
  );
  await writeFile(
    join(values.out, 'results.json'),
    `${JSON.stringify({ about, medians, raw }, null, 2)}\n`,
  );
  await writeFile(join(values.out, 'results.md'), markdown);
  process.stdout.write(markdown);
}
