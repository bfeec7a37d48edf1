/**
 * The process that is killed: a cluster on a data directory, and a client that changes objects. It tells what it is about
 * to do and what was acknowledged, line by line, before it goes on: what it told is known, however it ends.
 *
 *     node kill-child.js DIR '{"seed": 1, "size": 2, "objects": [[acknowledged, begun], ...]}'
 */

import { writeSync } from 'node:fs';
import { nodeEnvironment } from '../../src/base/node-environment.js';
import { EmbeddedCluster } from '../../src/cluster/embedded-cluster.js';
import { loadKernels } from '../../src/kernels/load.js';
import { connectRados } from '../../src/rados/connect.js';
import type { IoContext } from '../../src/rados/io-context.js';
import { examine } from './kill-check.js';
import { objectName, vectorOf } from './kill-model.js';

const [dataDir = '', argument = '{}'] = process.argv.slice(2);
const { seed, size, objects } = JSON.parse(argument) as {
  seed: number;
  size: number;
  objects: [acknowledged: number, begun: number][];
};
const KIB = 1024;
const say = (line: string) => writeSync(1, `${line}\n`);

/** Changes of one object follow one another; those of several are under way together. */
const WRITERS = 6;

async function main(): Promise<void> {
  // Small, so that a short life sees flushes, checkpoints and compactions; not the same ones each time.
  const scale = 1 + (seed % 5);
  const ceph = await EmbeddedCluster.start({
    dataDir,
    inThread: true,
    osds: 3,
    size,
    pools: [{ name: 'trial', pgNum: 8 }],
    storeLimits: {
      segments: { firstBytes: 64 * KIB, maxBytes: 256 * KIB * scale },
      checkpointBytes: 512 * KIB * scale,
      flushBytes: 128 * KIB * scale,
      changedMaxBytes: 2048 * KIB,
      slackBytes: 256 * KIB,
      idleMs: 100,
    },
  });
  const { client } = await connectRados(nodeEnvironment(), loadKernels(), ceph.connectOptions);
  const io = await client.ioctx('trial');
  const numbers: number[] = [];
  for (const [object, [acknowledged, begun]] of objects.entries()) {
    const { number, problems } = await examine(io, object, { acknowledged, begun });
    for (const problem of problems) say(`problem ${problem}`);
    say(`found ${object} ${number}`);
    numbers.push(number);
  }
  say('ready');
  await Promise.all(Array.from({ length: WRITERS }, (_, i) => write(io, numbers, i)));
}

async function write(io: IoContext, numbers: number[], writer: number): Promise<never> {
  for (let turn = seed + writer; ; turn++) {
    const object = writer + WRITERS * (turn % Math.ceil((numbers.length - writer) / WRITERS));
    const number = (numbers[object] as number) + 1;
    numbers[object] = number;
    say(`begun ${object} ${number}`);
    await io.operate(objectName(object), vectorOf(object, number));
    say(`acknowledged ${object} ${number}`);
  }
}

main().catch((error: unknown) => {
  say(`problem ${(error as Error).stack?.replaceAll('\n', ' | ')}`);
  process.exitCode = 1;
});
