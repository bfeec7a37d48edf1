/**
 * `npm run bench:store`: the store on disk beside what the disk can do (fio with fdatasync) and beside the best ready-made
 * one (SQLite by better-sqlite3, where that is installed), on the same disk, one after the other in every round. A commit is
 * what an OSD's 4 KiB write is: a block, an omap key, a log entry, the PG's info.
 */

import { execFile } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { median } from '../report.js';
import { openSqlite } from './sqlite.js';
import { type StoreUnderTest, openDurable, openMemory } from './stores.js';
import { blockTransaction, fillTransaction, OBJECTS, objectAt } from './transactions.js';

const { values } = parseArgs({
  options: {
    dir: { type: 'string', default: join(tmpdir(), 'linger-bench-store') },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '3' },
  },
});
const SECONDS = Number(values.seconds);

/** Per second, unless it says otherwise. */
type Figures = Record<string, number>;

await mkdir(values.dir, { recursive: true });
try {
  const rounds: Figures[] = [];
  for (let round = 1; round <= Number(values.rounds); round++) {
    const figures = {
      ...(await fio('fio fdatasync 4k', 4)),
      ...(await fio('fio fdatasync 132k', 132)),
      ...(await sqlite()),
      ...(await measure('durable', () => openDurable(values.dir))),
      ...(await measure('memory', openMemory)),
    };
    rounds.push(figures);
    process.stderr.write(`round ${round}: ${JSON.stringify(rounded(figures))}\n`);
  }
  print(rounds);
} finally {
  await rm(values.dir, { recursive: true, force: true });
}

/** Overwrites of a file that is there, each made durable. Nothing where fio is not installed. */
async function fio(name: string, kib: number): Promise<Figures> {
  const args = [
    '--name=x',
    `--filename=${join(values.dir, 'fio')}`,
    '--size=64m',
    `--bs=${kib}k`,
    '--rw=write',
    '--overwrite=1',
    '--fdatasync=1',
    '--ioengine=sync',
    `--runtime=${SECONDS}`,
    '--time_based',
    '--output-format=json',
  ];
  try {
    const { stdout } = await promisify(execFile)('fio', args);
    const { jobs } = JSON.parse(stdout) as { jobs: { write: { iops: number } }[] };
    return { [name]: jobs[0]?.write.iops ?? 0 };
  } catch (error) {
    process.stderr.write(`${name}: ${(error as Error).message}\n`);
    return {};
  }
}

/** Its commits wait for the disk in this thread: so many that come together are one transaction. */
async function sqlite(): Promise<Figures> {
  const store = await openSqlite(values.dir);
  if (!store) {
    process.stderr.write('no better-sqlite3: npm install --no-save better-sqlite3\n');
    return {};
  }
  const figures: Figures = {};
  try {
    for (const depth of [1, 32]) {
      const cpuBefore = process.cpuUsage();
      const started = performance.now();
      let count = 0;
      for (; performance.now() - started < SECONDS * 1000; count += depth) store.commit(depth);
      const { user, system } = process.cpuUsage(cpuBefore);
      figures[`sqlite commits, depth ${depth}`] = count / ((performance.now() - started) / 1000);
      figures[`sqlite CPU us, depth ${depth}`] = (user + system) / count;
    }
  } finally {
    await store.close();
  }
  return figures;
}

async function measure(name: string, open: () => Promise<StoreUnderTest>): Promise<Figures> {
  const { store, close } = await open();
  const figures: Figures = {};
  try {
    const started = performance.now();
    for (let i = 0; i < OBJECTS; i++) await store.apply(fillTransaction(i));
    const megabytes = (OBJECTS * 4 * 1024 * 1024) / 1e6;
    figures[`${name} fill MB/s`] = megabytes / ((performance.now() - started) / 1000);
    for (const depth of [1, 32]) {
      const { rate, p50, p99, cpu } = await commits(store, depth);
      figures[`${name} commits, depth ${depth}`] = rate;
      figures[`${name} p50 us, depth ${depth}`] = p50;
      figures[`${name} p99 us, depth ${depth}`] = p99;
      figures[`${name} CPU us, depth ${depth}`] = cpu;
    }
    figures[`${name} reads 4k`] = reads(store);
  } finally {
    await close();
  }
  return figures;
}

async function commits(store: StoreUnderTest['store'], depth: number) {
  const latencies: number[] = [];
  const cpuBefore = process.cpuUsage();
  const end = performance.now() + SECONDS * 1000;
  const writer = async () => {
    for (let now = performance.now(); now < end; ) {
      await store.apply(blockTransaction());
      const done = performance.now();
      latencies.push(done - now);
      now = done;
    }
  };
  await Promise.all(Array.from({ length: depth }, writer));
  const { user, system } = process.cpuUsage(cpuBefore);
  latencies.sort((a, b) => a - b);
  const at = (part: number) => 1000 * (latencies[Math.floor(latencies.length * part)] ?? 0);
  return {
    rate: latencies.length / SECONDS,
    p50: at(0.5),
    p99: at(0.99),
    cpu: (user + system) / latencies.length,
  };
}

function reads(store: StoreUnderTest['store']): number {
  const started = performance.now();
  let count = 0;
  for (; performance.now() - started < 1000; count++) {
    const { collection, id } = objectAt(count * 7919);
    store.get(collection, id)?.read(4096 * ((count * 104729) % 1024), 4096);
  }
  return count / ((performance.now() - started) / 1000);
}

function rounded(figures: Figures): Figures {
  return Object.fromEntries(Object.entries(figures).map(([name, n]) => [name, Math.round(n)]));
}

function print(rounds: readonly Figures[]): void {
  const names = Object.keys(rounds[0] ?? {});
  process.stdout.write(
    `${cpus()[0]?.model}, ${cpus().length} cores, Node ${process.versions.node}\n`,
  );
  for (const name of names) {
    const all = rounds.map((figures) => figures[name] ?? 0);
    const spread = `${Math.round(Math.min(...all))}-${Math.round(Math.max(...all))}`;
    process.stdout.write(`${name.padEnd(32)} ${Math.round(median(all))} (${spread})\n`);
  }
  const ratio = (mine: string, theirs: string) =>
    median(rounds.map((figures) => (figures[mine] ?? 0) / (figures[theirs] ?? Number.NaN)));
  const toFio = ratio('durable commits, depth 1', 'fio fdatasync 4k');
  process.stdout.write(`depth 1 to fio's fdatasync: ${toFio.toFixed(2)}\n`);
  for (const depth of names.some((name) => name.startsWith('sqlite')) ? [1, 32] : []) {
    const toSqlite = ratio(`durable commits, depth ${depth}`, `sqlite commits, depth ${depth}`);
    process.stdout.write(`depth ${depth} to SQLite: ${toSqlite.toFixed(2)}\n`);
  }
}
