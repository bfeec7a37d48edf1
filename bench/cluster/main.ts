/**
 * `npm run bench:cluster`: the embedded cluster, in memory and on disk, beside a real one of as many memstore OSDs.
 *
 * The same clients and loads on each, in turns in every round. What counts are the medians and their ratios to the real
 * cluster's: clients, clusters and this machine's other work share its cores.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Cluster, connect } from '../../src/block/cluster.js';
import { FEATURE } from '../../src/rbd/features.js';
import { CASES, type Case, caseName } from '../cases.js';
import { type BenchClient, lingerClient, librbdClient, type Target } from '../clients.js';
import { refill } from '../refill.js';
import { median, medianOf, remember, type Results } from '../report.js';
import { OSDS, type Server, startCeph, startEmbedded } from './servers.js';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '3' },
    size: { type: 'string', default: '256' },
    cases: { type: 'string', default: 'read 4K qd16,write 4K qd16,4M qd16' },
    data: { type: 'string', default: tmpdir() },
    help: { type: 'boolean', default: false },
  },
});

const REAL = 'Ceph, memstore';
const MEMORY = 'embedded, memory';
const DURABLE = 'embedded, on disk';
const MIB = 1024 * 1024;
const START_UPS = 5;

if (values.help) {
  process.stdout.write(`npm run bench:cluster -- [options]
  --rounds N     rounds (3)             --seconds N   seconds of each measurement (3)
  --size MIB     image size (256)       --cases TEXT  only cases whose name ends in one of these ("read 4K qd16,write 4K qd16,4M qd16")
  --data DIR     where the cluster on disk is kept meanwhile (the directory for temporary files)
`);
} else {
  await bench();
}

async function bench(): Promise<void> {
  const data = await mkdtemp(join(values.data, 'linger-bench-cluster-'));
  const servers: Server[] = [];
  try {
    const startUps = await measureStartUps(data);
    for (const start of [
      () => startCeph(REAL),
      () => startEmbedded(MEMORY, { size: 1 }),
      () => startEmbedded(DURABLE, { size: 1, dataDir: join(data, 'load') }),
    ]) {
      servers.push(await start());
    }
    const empty = await Promise.all(servers.map((server) => server.rssMiB()));
    report(servers, startUps, empty, await measure(servers));
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
    await rm(data, { recursive: true, force: true });
  }
}

/** In milliseconds, by cluster. The first of each is left out: it reads the files of the program. */
async function measureStartUps(data: string): Promise<Map<string, number>> {
  const times = new Map<string, number[]>();
  for (let i = 0; i <= START_UPS; i++) {
    for (const [name, start] of [
      [REAL, () => startCeph(REAL)],
      [MEMORY, () => startEmbedded(MEMORY, { size: 1 })],
      [DURABLE, () => startEmbedded(DURABLE, { size: 1, dataDir: join(data, `start-${i}`) })],
    ] as const) {
      const server = await start();
      if (i > 0) times.set(name, [...(times.get(name) ?? []), server.startUpMs]);
      await server.stop();
    }
  }
  return new Map([...times].map(([name, all]) => [name, median(all)]));
}

/** Case → `client on cluster` → measurements. */
async function measure(servers: readonly Server[]): Promise<Results> {
  const results: Results = new Map();
  const wanted = values.cases.split(',');
  const cases = CASES.filter((io) => wanted.some((part) => caseName(io).endsWith(part)));
  const librbd = await librbdClient();
  if (!librbd) throw new Error('fio with the rbd engine is not installed');
  const clients = [librbd, lingerClient('linger', 1)];
  const clusters = new Map<Server, Cluster>();
  for (const server of servers) {
    const cluster = await connect({ conf: server.conf });
    clusters.set(server, cluster);
    await cluster
      .pool('rbd')
      .images.create('bench', { size: Number(values.size) * MIB, features: FEATURE.LAYERING });
  }
  for (let round = 1; round <= Number(values.rounds); round++) {
    for (const io of cases) {
      for (const client of clients) {
        for (const [server, cluster] of clusters) {
          await measureOne(results, round, io, client, server, cluster);
        }
      }
    }
  }
  await Promise.all([...clusters.values()].map((cluster) => cluster.close()));
  return results;
}

async function measureOne(
  results: Results,
  round: number,
  io: Case,
  client: BenchClient,
  server: Server,
  cluster: Cluster,
): Promise<void> {
  const target: Target = {
    conf: server.conf,
    pool: 'rbd',
    image: 'bench',
    msMode: 'crc',
    seconds: Number(values.seconds),
  };
  await refill(cluster, target);
  const measurement = await client.run(target, io);
  remember(results, io, on(client.name, server.name), measurement);
  const { iops, mbps } = measurement;
  process.stderr.write(
    `round ${round}  ${caseName(io).padEnd(20)} ${on(client.name, server.name).padEnd(28)} ${iops.toFixed(0).padStart(7)} IOPS ${mbps.toFixed(0).padStart(6)} MB/s\n`,
  );
}

function on(client: string, server: string): string {
  return `${client} on ${server}`;
}

function report(
  servers: readonly Server[],
  startUps: ReadonlyMap<string, number>,
  empty: readonly number[],
  results: Results,
): void {
  const names = servers.map(({ name }) => name);
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const lines = [
    `${cpus()[0]?.model}, ${cpus().length} cores, Node ${process.versions.node}; one monitor, ${OSDS} OSDs, size 1; medians of ${values.rounds} rounds of ${values.seconds} s`,
    '',
    row(['', ...names.flatMap((name, i) => (i === 0 ? [name] : [name, 'ratio']))]),
    row(Array.from({ length: 2 * names.length }, () => '---')),
    row(['start-up, ms', ...withRatios(names.map((name) => startUps.get(name) as number))]),
    row(['memory when empty, MiB', ...withRatios(empty)]),
  ];
  for (const [name, byClient] of results) {
    for (const client of ['librbd', 'linger']) {
      const iops = names.map((server) => medianOf(byClient.get(on(client, server)) ?? []).iops);
      lines.push(row([`${name}, ${client}, IOPS`, ...withRatios(iops)]));
    }
  }
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** The first, and each of the others with its ratio to the first. */
function withRatios([first = Number.NaN, ...others]: readonly number[]): string[] {
  return [
    first.toFixed(0),
    ...others.flatMap((figure) => [figure.toFixed(0), (figure / first).toFixed(2)]),
  ];
}
