// Reads that their client lets any member of the PG serve.

import { afterEach, describe, expect, it } from 'vitest';
import { nodeEnvironment } from '../../../src/base/node-environment.js';
import { ERRNO } from '../../../src/base/errors.js';
import { EmbeddedCluster } from '../../../src/cluster/embedded-cluster.js';
import { OsdDaemon } from '../../../src/cluster/osd-daemon.js';
import { MemoryStore } from '../../../src/cluster/store/memory-store.js';
import { type EntityAddr, msgr2Addr } from '../../../src/encoding/entity.js';
import { loadKernels } from '../../../src/kernels/load.js';
import { OSD_FLAG } from '../../../src/messages/osd-messages.js';
import { readOp, statOp, writeFullOp, writeOp } from '../../../src/messages/osd-op.js';
import { connectRados } from '../../../src/rados/connect.js';
import { FakeMon } from './support/fake-mon.js';
import './support/pipeline-rules.js';
import { RawClient, testMessenger } from './support/raw-client.js';

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

describe('a member that is not the primary', () => {
  /** A client of each of two OSDs: of the primary of the object `o`, and of the other. */
  async function connectBoth(): Promise<{ primary: RawClient; replica: RawClient }> {
    const osds = new Map<number, OsdDaemon>();
    const { crc32c } = testMessenger();
    const pools = [{ id: 1, name: 'p', pgNum: 1, size: 2 }];
    const mon = new FakeMon({ crc32c, osds: 2, pools });
    for (const id of [0, 1]) {
      const osd = await OsdDaemon.start({
        ...testMessenger(),
        ...{ id, host: '127.0.0.1', mon },
        peers: { osd: (peer) => osds.get(peer)?.peer },
        onReachable: (reachable) => osds.set(id, reachable),
        objectStore: new MemoryStore(),
      });
      cleanups.push(() => osd.stop());
    }
    const clients = [...osds.values()].map(async (osd) => {
      const addr = msgr2Addr(osd.addrs) as EntityAddr;
      const client = await RawClient.connect(
        { addr, pool: 1, pgNum: 1, epoch: mon.map.epoch },
        { globalId: BigInt(900 + osd.whoami), nonce: 1 + osd.whoami },
      );
      cleanups.push(() => client.close());
      return { client, isPrimary: osd.pgStates().size > 0 };
    });
    const all = await Promise.all(clients);
    const [primary] = all.filter(({ isPrimary }) => isPrimary);
    const [replica] = all.filter(({ isPrimary }) => !isPrimary);
    if (!primary || !replica) throw new Error('nobody is the primary');
    return { primary: primary.client, replica: replica.client };
  }

  it.each([
    ['balanced', OSD_FLAG.BALANCE_READS],
    ['localized', OSD_FLAG.LOCALIZE_READS],
  ])('sends %s reads on, in their order', async (_, flags) => {
    const { primary, replica } = await connectBoth();
    await primary.operate({ oid: 'o', ops: [writeFullOp(Buffer.from('x'))] });
    const answered: number[] = [];
    const reads = Array.from({ length: 10 }, async (_unused, i) => {
      const { reply } = await replica.send({
        oid: 'o',
        ops: [i % 2 ? readOp(0, 0) : statOp()],
        ...{ flags, retryAttempt: i },
      }).reply;
      answered.push(reply.retryAttempt);
      return reply;
    });
    for (const { result, ops } of await Promise.all(reads)) {
      expect(result).toBe(-ERRNO.EAGAIN);
      expect(ops.map(({ outdata }) => outdata.length)).toEqual([0]);
    }
    expect(answered).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('does not answer what only the primary may do', async () => {
    const { primary, replica } = await connectBoth();
    const flags = OSD_FLAG.BALANCE_READS;
    const write = { oid: 'o', ops: [readOp(0, 0), writeOp(0, Buffer.from('x'))], flags };
    await expect(replica.operate(write, 200)).rejects.toThrow('no reply');
    await expect(replica.operate({ oid: 'o', ops: [readOp(0, 0)] }, 200)).rejects.toThrow(
      'no reply',
    );
    expect((await primary.operate(write)).reply.result).toBe(0);
    const { reply } = await primary.operate({ oid: 'o', ops: [readOp(0, 0)], flags });
    expect(Buffer.from(reply.ops[0]?.outdata ?? []).toString()).toBe('x');
  });
});

describe('a client that lets any member serve its reads', () => {
  it('has all of them answered', async () => {
    const cluster = await EmbeddedCluster.start({
      ...{ inThread: true, osds: 3, size: 3 },
      pools: [{ name: 'rbd', pgNum: 8 }],
    });
    cleanups.push(() => cluster.stop());
    const { client } = await connectRados(nodeEnvironment(), loadKernels(), {
      ...cluster.connectOptions,
      readFromReplica: 'balance',
    });
    cleanups.push(() => client.close());
    const io = await client.ioctx('rbd');
    for (let i = 0; i < 30; i++) {
      await io.operate(`object-${i}`, [writeFullOp(Buffer.from(`content ${i}`))]);
      const content = await io.read(`object-${i}`, 0, 0, { timeoutMs: 5000 });
      expect(Buffer.from(content).toString()).toBe(`content ${i}`);
    }
  });
});
