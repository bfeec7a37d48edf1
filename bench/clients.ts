/** The clients that are compared: ours with and without a worker thread, and librbd through fio. */

import { spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { MsMode } from '../src/rados/connect.js';
import type { Case, Measurement } from './cases.js';
import type { IoJob } from './io-client.js';

/** What a client runs on. */
export interface Target {
  conf: string;
  pool: string;
  image: string;
  msMode: MsMode;
  seconds: number;
}

export interface BenchClient {
  name: string;
  run(target: Target, io: Case): Promise<Measurement>;
}

export function lingerClient(name: string, threads: number): BenchClient {
  const script = fileURLToPath(new URL('./io-client.js', import.meta.url));
  return {
    name,
    async run(target, io) {
      const { conf, pool, image, msMode, seconds } = target;
      const job: IoJob = { conf, image: `${pool}/${image}`, threads, msMode, seconds, io };
      const { stdout } = await execute(process.execPath, [script, JSON.stringify(job)]);
      return JSON.parse(stdout) as Measurement;
    },
  };
}

interface FioReport {
  jobs: [{ read: FioDirection; write: FioDirection }];
}

interface FioDirection {
  total_ios: number;
  runtime: number;
  clat_ns: { mean: number; percentile: Record<string, number> };
}

/** librbd by fio's rbd engine, its cache off so that each request reaches an OSD. */
export async function librbdClient(): Promise<BenchClient | undefined> {
  const engines = await execute('fio', ['--enghelp']).catch(() => undefined);
  if (!engines?.stdout.includes('rbd')) return undefined;
  let startUp: number | undefined;
  return {
    name: 'librbd',
    async run(target, io) {
      startUp ??= (
        await fio(target, { ...io, rw: 'randread', depth: 1 }, ['--io_size=4k', '--size=4k'])
      ).cpu;
      const timed = [
        '--time_based',
        `--runtime=${target.seconds}`,
        `--ramp_time=${target.seconds * 0.15}`,
      ];
      const { report, cpu } = await fio(target, io, timed);
      const [job] = report.jobs;
      const direction = io.rw.endsWith('write') ? job.write : job.read;
      const seconds = direction.runtime / 1000;
      const { percentile, mean } = direction.clat_ns;
      return {
        iops: direction.total_ios / seconds,
        mbps: (direction.total_ios * io.blockSize) / seconds / 1e6,
        latency: {
          mean: mean / 1000,
          p50: (percentile['50.000000'] ?? 0) / 1000,
          p99: (percentile['99.000000'] ?? 0) / 1000,
        },
        // The ramp's operations cost CPU too, but are not counted by fio: scale them in.
        cpuPerOp: ((cpu - startUp) * 1e6) / (direction.total_ios * 1.15),
      };
    },
  };
}

/** A copy of the configuration with the client's settings: fio passes none of its own on to librados. */
async function clientConf({ conf, msMode }: Target): Promise<string> {
  const path = `${conf}.bench`;
  const settings = `
[client]
admin socket =
rbd cache = false
rbd skip partial discard = false
ms client mode = ${msMode}
ms mon client mode = ${msMode}
`;
  await writeFile(path, (await readFile(conf, 'utf8')) + settings);
  return path;
}

async function fio(
  target: Target,
  io: Case,
  more: string[],
): Promise<{ report: FioReport; cpu: number }> {
  const args = [
    '--name=b',
    '--ioengine=rbd',
    '--clientname=admin',
    `--pool=${target.pool}`,
    `--rbdname=${target.image}`,
    `--rw=${io.rw}`,
    `--bs=${io.blockSize}`,
    `--iodepth=${io.depth}`,
    '--randrepeat=0',
    '--norandommap',
    '--output-format=json',
    ...more,
  ];
  // bash's `time` knows the user and system time of the child and everything it waited for.
  const { stdout, stderr } = await execute(
    'bash',
    ['-c', 'TIMEFORMAT="%U %S"; time "$@"', 'bash', 'fio', ...args],
    {
      CEPH_CONF: await clientConf(target),
    },
  );
  const times = stderr.trim().split('\n').at(-1)?.split(' ').map(Number) ?? [];
  return {
    report: JSON.parse(stdout.slice(stdout.indexOf('{'))) as FioReport,
    cpu: (times[0] ?? 0) + (times[1] ?? 0),
  };
}

/** Runs a program; its failure is an error with what it said. */
export function execute(
  command: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<{ stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve({ stdout, stderr });
      else
        reject(
          new Error(
            `${command} ended with ${code}: ${stderr.trim().split('\n').slice(-3).join(' | ')}`,
          ),
        );
    });
  });
}
