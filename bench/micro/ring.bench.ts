/**
 * The block device's own cost: 4 KiB requests to a backend that does nothing, at several depths, beside a bare
 * round trip between two threads, which is what waking a thread costs here. One JSON object per line.
 *
 *   node dist/bench/micro/ring.bench.js
 *
 * With a depth of 1 a round trip is two wake-ups, whatever the API. CPU is of all threads of the process.
 */

import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';

import { nodeEnvironment } from '../../src/base/node-environment.js';
import { packageFile } from '../../src/base/paths.js';
import type { BlockDevice } from '../../src/block/device.js';
import { DirectHost } from '../../src/block/device-host.js';
import { mapOptions } from '../../src/block/map-options.js';
import { WorkerHost } from '../../src/block/worker-host.js';
import { createRuntime } from './support/null-runtime.js';

const BYTES = 4096;
const DEPTHS = [1, 16, 128];
const WARM_UP_MS = 300;
const ROUND_MS = 700;
const ROUNDS = 3;
const RANGE_BLOCKS = 2 ** 20;

const env = nodeEnvironment();
const spec = { pool: 'rbd', namespace: '', image: 'null' };

type Operation = (device: BlockDevice, lane: number, offset: number) => Promise<unknown>;
const lanes = Array.from({ length: Math.max(...DEPTHS) }, () => Buffer.alloc(BYTES));

const operations: Record<string, Operation> = {
  'read into': (device, lane, offset) => device.read(offset, lanes[lane]!),
  'read, fresh buffer': (device, _lane, offset) => device.read(offset, BYTES),
  'read, view': async (device, _lane, offset) => (await device.readView(offset, BYTES)).release(),
  write: (device, lane, offset) => device.write(offset, lanes[lane]!),
};

await pingPong();
await benchDevice('worker', await openInWorker());
await benchDevice('threads: 0', await openHere());

async function openInWorker() {
  const runtimeModule = pathToFileURL(packageFile('dist/bench/micro/support/null-runtime.js')).href;
  const host = await WorkerHost.start({ env, runtimeModule });
  return { host, device: await host.open(spec, mapOptions()) };
}

async function openHere() {
  const host = await DirectHost.start({ env, createRuntime });
  return { host, device: await host.open(spec, mapOptions()) };
}

async function benchDevice(
  where: string,
  { host, device }: { host: WorkerHost | DirectHost; device: BlockDevice },
): Promise<void> {
  for (const [operation, run] of Object.entries(operations)) {
    for (const depth of DEPTHS) {
      await measure(where, operation, depth, (until) =>
        Promise.all(Array.from({ length: depth }, (_, lane) => drive(device, run, lane, until))),
      );
    }
  }
  if (where === 'worker') {
    await measure(where, 'readSync into', 1, (until) => {
      let count = 0;
      for (; performance.now() < until; count++) {
        device.readSync((count % RANGE_BLOCKS) * BYTES, lanes[0]!);
      }
      return Promise.resolve([count]);
    });
  }
  await host.close();
}

async function drive(
  device: BlockDevice,
  run: Operation,
  lane: number,
  until: number,
): Promise<number> {
  let count = 0;
  // The clock is not asked for every request: at a million a second that would show.
  do {
    for (let i = 0; i < 16; i++, count++) {
      await run(device, lane, ((lane * 7919 + count * 31) % RANGE_BLOCKS) * BYTES);
    }
  } while (performance.now() < until);
  return count;
}

async function pingPong(): Promise<void> {
  const worker = new Worker(
    "const { parentPort } = require('node:worker_threads'); parentPort.on('message', (m) => parentPort.postMessage(m));",
    { eval: true },
  );
  await measure('two threads', 'postMessage, empty', 1, async (until) => {
    let count = 0;
    for (; performance.now() < until; count++) {
      const answer = new Promise((resolve) => worker.once('message', resolve));
      worker.postMessage(0);
      await answer;
    }
    return [count];
  });
  await worker.terminate();
}

async function measure(
  where: string,
  operation: string,
  depth: number,
  round: (until: number) => Promise<number[]>,
): Promise<void> {
  await round(performance.now() + WARM_UP_MS);
  const rates: number[] = [];
  const cpu: number[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    const startedAt = performance.now();
    const cpuBefore = process.cpuUsage();
    const count = (await round(startedAt + ROUND_MS)).reduce((sum, lane) => sum + lane, 0);
    const { user, system } = process.cpuUsage(cpuBefore);
    rates.push((count / (performance.now() - startedAt)) * 1000);
    cpu.push((user + system) / count);
  }
  const opsPerSecond = median(rates);
  console.log(
    JSON.stringify({
      bench: 'ring',
      where,
      operation,
      depth,
      opsPerSecond: Math.round(opsPerSecond),
      spreadPercent: Math.round(((Math.max(...rates) - Math.min(...rates)) / opsPerSecond) * 100),
      usPerRoundTrip: Number(((depth * 1e6) / opsPerSecond).toPrecision(3)),
      cpuUsPerOp: Number(median(cpu).toPrecision(3)),
    }),
  );
}

function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}
