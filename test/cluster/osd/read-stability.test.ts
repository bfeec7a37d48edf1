// A read never returns what a failover takes back: a write that only the primary has is shown to nobody.

import { afterEach, expect, it } from 'vitest';
import { nodeEnvironment } from '../../../src/base/node-environment.js';
import { EmbeddedCluster } from '../../../src/cluster/embedded-cluster.js';
import { PIPELINE_MODES } from '../../../src/cluster/osd/pipeline/pg-pipeline.js';
import { loadKernels } from '../../../src/kernels/load.js';
import { writeFullOp } from '../../../src/messages/osd-op.js';
import { connectRados } from '../../../src/rados/connect.js';
import './support/pipeline-rules.js';

const OID = 'object';
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

it.each(PIPELINE_MODES)('in pipeline mode %s', async (mode) => {
  const cluster = await EmbeddedCluster.start({
    inThread: true,
    osds: 2,
    size: 2,
    pools: [{ name: 'rbd', pgNum: 1 }],
    pipeline: { mode },
  });
  cleanups.push(() => cluster.stop());
  const connect = async () => {
    const { client } = await connectRados(nodeEnvironment(), loadKernels(), cluster.connectOptions);
    cleanups.push(() => client.close());
    return { client, io: await client.ioctx('rbd') };
  };
  const reader = await connect();
  const read = async () =>
    Buffer.from(await reader.io.read(OID, 0, 0, { timeoutMs: 0 })).toString();
  const clean = async () => {
    while (Object.keys((await cluster.status()).pgs).join() !== 'active+clean') await sleep(5);
  };
  await clean();
  await reader.io.operate(OID, [writeFullOp(Buffer.from('acknowledged'))]);

  for (let round = 0; round < 4; round++) {
    const { output } = await reader.client.command({
      ...{ prefix: 'pg map', pgid: '1.0', format: 'json' },
    });
    const [primary = 0] = (JSON.parse(Buffer.from(output).toString()) as { acting: number[] })
      .acting;
    const frozen = await cluster.faults.freezeOsd({ osd: 1 - primary, graceMs: 0 });
    const writer = await connect();
    const writing = writer.io.operate(OID, [writeFullOp(Buffer.from(`lost ${round}`))]);
    const outcome = writing.then(
      () => 'acknowledged',
      () => 'failed',
    );
    await frozen.untilFired();
    // The primary has it by now, and the other has not.
    const early = Array.from({ length: 5 }, () => read());
    await sleep(30);
    // Nobody is left to send it again.
    writer.client.close();
    expect(await outcome).toBe('failed');
    const killed = await cluster.faults.killOsd(primary);
    // What the primary had sent to it is of an interval that is over when it wakes.
    await frozen.stop();
    const seen = await Promise.all([...early, read(), read()]);
    await killed.stop();
    await clean();
    const last = await read();
    // Either it counts for everybody, or nobody has seen it.
    const order = ['acknowledged', last];
    for (const value of seen) expect(order).toContain(value);
    expect([...seen].sort((a, b) => order.indexOf(a) - order.indexOf(b))).toEqual(seen);
    await reader.io.operate(OID, [writeFullOp(Buffer.from('acknowledged'))]);
    await clean();
  }
});
