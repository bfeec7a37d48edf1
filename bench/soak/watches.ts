/**
 * What it costs to keep images open: CPU and messages of a process that does nothing with 1, 100 and 1,000 of them, whose
 * cluster is another process.
 *
 *   node dist/bench/soak/watches.js [--ceph] [--seconds 20] [--images 1,100,1000]
 *
 * Each count is measured in a process of its own, in one thread (`threads: 0`), so that its CPU time is the loops' alone. By
 * plan every watch costs a ping and its answer every 5 s. Segments are what was written to and read from sockets: pings that
 * leave at the same time may share one.
 */

import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import type { Environment, Stream, StreamHandler } from '../../src/base/environment.js';
import { nodeEnvironment } from '../../src/base/node-environment.js';
import { DirectHost } from '../../src/block/device-host.js';
import { mapOptions } from '../../src/block/map-options.js';
import { createRuntime } from '../../src/block/runtime.js';
import { EmbeddedCluster } from '../../src/cluster/embedded-cluster.js';
import { FEATURE } from '../../src/rbd/features.js';
import type { ImageGuardStatus } from '../../src/rbd/image-guard.js';
import { CephCluster } from '../../test/ceph/support/ceph-cluster.js';

const { values } = parseArgs({
  options: {
    ceph: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '20' },
    images: { type: 'string', default: '1,100,1000' },
    /** For the processes that measure. */
    conf: { type: 'string' },
  },
});

const POOL = 'rbd';
const MIB = 1024 * 1024;
const ARENA_BYTES = 64 * 1024;
const PARALLEL = 16;
/** For the work of opening to be over. */
const SETTLE_MS = 6000;

interface Cost {
  images: number;
  seconds: number;
  cpuPercent: number;
  pingsPerSecond: number;
  segmentsPerSecond: number;
  bytesPerSecond: number;
  rssMiB: number;
  watchesLost: number;
}

if (values.conf !== undefined) {
  process.stdout.write(JSON.stringify(await measure(values.conf, Number(values.images))));
} else {
  await using cluster = await (values.ceph
    ? CephCluster.start({ osds: 3 })
    : EmbeddedCluster.start({ osds: 3, pools: [POOL] }));
  for (const images of values.images.split(',')) {
    const script = fileURLToPath(import.meta.url);
    const args = ['--conf', cluster.confPath, '--images', images, '--seconds', values.seconds];
    const { stdout } = await promisify(execFile)(process.execPath, [script, ...args]);
    process.stdout.write(`${stdout}\n`);
  }
}

async function measure(conf: string, count: number): Promise<Cost> {
  const traffic = { segments: 0, bytes: 0 };
  const env = countingEnvironment(nodeEnvironment(), traffic);
  const host = await DirectHost.start({ env, config: { conf }, createRuntime });
  const names = Array.from({ length: count }, (_, i) => `watched-${count}-${i}`);
  await inParallel(names, async (name) => {
    const spec = { pool: POOL, namespace: '', name };
    await host.manage('createImage', [spec, { size: 4 * MIB, features: FEATURE.LAYERING }]);
    const image = { pool: POOL, namespace: '', image: name };
    await host.open(image, mapOptions(), { arenaBytes: ARENA_BYTES });
  });
  await sleep(SETTLE_MS);
  const watches = async () =>
    ((await host.status()) as { images: ImageGuardStatus[] }[]).flatMap(({ images }) =>
      images.map(({ watch }) => watch),
    );
  const pings = async () => (await watches()).reduce((sum, watch) => sum + watch.pings, 0);
  const before = { pings: await pings(), cpu: process.cpuUsage(), ...traffic, at: Date.now() };
  await sleep(Number(values.seconds) * 1000);
  const cpu = process.cpuUsage(before.cpu);
  const seconds = (Date.now() - before.at) / 1000;
  const perSecond = (amount: number) => Number((amount / seconds).toFixed(2));
  const cost = {
    images: count,
    seconds,
    cpuPercent: perSecond((cpu.user + cpu.system) / 10_000),
    pingsPerSecond: perSecond((await pings()) - before.pings),
    segmentsPerSecond: perSecond(traffic.segments - before.segments),
    bytesPerSecond: perSecond(traffic.bytes - before.bytes),
    rssMiB: Math.round(process.memoryUsage.rss() / MIB),
    watchesLost: (await watches()).reduce((sum, { losses }) => sum + losses, 0),
  };
  await host.close();
  return cost;
}

async function inParallel(names: readonly string[], work: (name: string) => Promise<void>) {
  const queue = names.values();
  const lane = async () => {
    for (const name of queue) await work(name);
  };
  await Promise.all(Array.from({ length: PARALLEL }, lane));
}

/** The same world, with its sockets counted. */
function countingEnvironment(
  env: Environment,
  traffic: { segments: number; bytes: number },
): Environment {
  const count = (bytes: number) => {
    traffic.segments++;
    traffic.bytes += bytes;
  };
  const counting = (handler: StreamHandler): StreamHandler => ({
    readInto: () => handler.readInto(),
    onRead: (length) => {
      count(length);
      handler.onRead(length);
    },
    onDrain: () => handler.onDrain(),
    onClose: (error) => handler.onClose(error),
  });
  const countWrites = (stream: Stream): Stream => {
    const write = stream.write.bind(stream);
    stream.write = (buffers) => {
      count(buffers.reduce((sum, { length }) => sum + length, 0));
      write(buffers);
    };
    return stream;
  };
  const { network } = env;
  return {
    ...env,
    network: {
      lookup: (host) => network.lookup(host),
      listen: (at, accept) => network.listen(at, accept),
      connect: (target, handler, onConnect) =>
        countWrites(network.connect(target, counting(handler), onConnect)),
    },
  };
}
