/**
 * One case with our client, in a process of its own, so that its CPU time can be told from everybody else's.
 * Argument: an `IoJob` as JSON. Prints a `Measurement` as JSON.
 */

import { createHistogram } from 'node:perf_hooks';
import type { BlockDevice } from '../src/block/device.js';
import { connect } from '../src/block/cluster.js';
import type { MsMode } from '../src/rados/connect.js';
import type { Case, Measurement } from './cases.js';

export interface IoJob {
  conf: string;
  image: string;
  threads: number;
  msMode: MsMode;
  seconds: number;
  io: Case;
}

/** Until the compiler has seen the data path: the first two seconds cost twice as much CPU as those after. */
const WARM_UP_SECONDS = 3;

const job = JSON.parse(process.argv[2] as string) as IoJob;
const MIB = 1024 * 1024;
// Views may hold half of the arena: the rest is for requests that are not views.
const arenaBytes = Math.max(32 * MIB, 2 * (job.io.depth + 2) * job.io.blockSize);
const cluster = await connect({
  conf: job.conf,
  threads: job.threads,
  memoryBytes: arenaBytes + 128 * MIB,
});
const device = await cluster.map(job.image, { msMode: job.msMode, arenaBytes });
const data = Buffer.alloc(job.io.blockSize, 0x5a);
await run(device, WARM_UP_SECONDS);
// A memstore OSD slows down with each small overwrite: the measurement begins where the other client's does.
if (job.io.rw.endsWith('write')) await rewrite(device);
const result = await run(device, job.seconds);
process.stdout.write(`${JSON.stringify(result)}\n`);
await device.close();
await cluster.close();

async function rewrite(target: BlockDevice): Promise<void> {
  const whole = Buffer.alloc(4 * MIB, 0x5a);
  for (let at = 0; at + whole.length <= target.size; at += whole.length) {
    await target.write(at, whole, { borrowed: true });
  }
}

async function run(target: BlockDevice, seconds: number): Promise<Measurement> {
  const { rw, blockSize, depth } = job.io;
  const blocks = Math.floor(target.size / blockSize);
  const latencies = createHistogram();
  const started = performance.now();
  const end = started + seconds * 1000;
  const cpuBefore = process.cpuUsage();
  let operations = 0;
  let next = 0;
  const pick = rw.startsWith('rand')
    ? () => Math.floor(Math.random() * blocks)
    : () => next++ % blocks;
  const worker = async () => {
    for (let at = performance.now(); at < end; ) {
      const offset = pick() * blockSize;
      if (rw.endsWith('read')) (await target.readView(offset, blockSize)).release();
      else await target.write(offset, data, { borrowed: true });
      const now = performance.now();
      latencies.record(Math.max(1, Math.round((now - at) * 1000)));
      at = now;
      operations++;
    }
  };
  await Promise.all(Array.from({ length: depth }, worker));
  const elapsed = (performance.now() - started) / 1000;
  const cpu = process.cpuUsage(cpuBefore);
  return {
    iops: operations / elapsed,
    mbps: (operations * blockSize) / elapsed / 1e6,
    latency: { mean: latencies.mean, p50: latencies.percentile(50), p99: latencies.percentile(99) },
    cpuPerOp: (cpu.user + cpu.system) / operations,
  };
}
