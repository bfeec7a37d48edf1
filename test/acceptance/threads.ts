/** The thread that uses a device and the thread that serves it: the one may block, the other may die. */

import { once } from 'node:events';
import type { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { WorkerReplacement } from '../../src/block/device.js';
import type { BlockDevice, Cluster } from '../../src/index.js';
import { thrown } from '../block/support/hosts.js';
import { blockMainThread, watchFromAside } from './aside.js';
import { StampedImage } from './stamped-image.js';
import {
  connections,
  connectTo,
  expectSameBytes,
  type GetTarget,
  KIB,
  MIB,
  Random,
} from './support.js';

export function threads(getTarget: GetTarget): void {
  describe('threads', () => {
    let cluster: Cluster;

    beforeAll(async () => {
      cluster = await connectTo(getTarget());
    });
    afterAll(() => cluster?.close());

    it('synchronous calls work from the main thread, in order with the others', async () => {
      await cluster.pool('rbd').images.create('sync', { size: 16 * MIB });
      await using device = await cluster.map('rbd/sync');
      const content = new Random(1).bytes(9 * MIB);
      device.writeSync(12_345, content);
      device.flushSync();
      expectSameBytes(device.readSync(12_345, content.length), content);
      const later = device.write(12_345, Buffer.alloc(10, 1));
      expectSameBytes(device.readSync(12_345, 10), Buffer.alloc(10, 1));
      await later;
      device.discardSync(0, 4 * MIB);
      expectSameBytes(await device.read(0, 4 * MIB), Buffer.alloc(4 * MIB));
      expect(thrown(() => device.readSync(device.size, 1))).toMatchObject({ code: 'EINVAL' });
    });

    it('a main thread that blocks for 10 s stops neither the I/O before nor the sessions', async () => {
      const [size, block] = [4 * MIB, 16];
      await cluster.pool('rbd').images.create('unattended', { size, order: block });
      await using device = await cluster.map('rbd/unattended', { osdkeepalive: 1 });
      await device.write(0, Buffer.alloc(size));
      await using aside = await watchFromAside(getTarget(), 'rbd/unattended', { size, block });
      const before = connections();
      const writes = Array.from({ length: size >> block }, (_, i) =>
        device.write(i << block, Buffer.alloc(1 << block, 1)),
      );
      const blocked = blockMainThread(10_000);
      // No turn of the event loop lies between: what there is, is of the time of the block.
      const seenAt = aside.seenAt();
      const after = connections();
      expect(blocked.until - blocked.from).toBeGreaterThanOrEqual(9_990);
      expect(seenAt).toBeLessThan(blocked.from + 5_000);
      expect([...before].filter((connection) => !after.has(connection))).toEqual([]);
      expect(device.load.inFlight).toBe(writes.length);
      await Promise.all(writes);
      expectSameBytes(await device.read(0, size), Buffer.alloc(size, 1));
      expect([...before].filter((connection) => !connections().has(connection))).toEqual([]);
    });

    it('devices are spread over several, and one that closes leaves the others alone', async () => {
      await using several = await connectTo(getTarget(), { threads: 2 });
      expect(await several.status()).toHaveLength(2);
      const devices: BlockDevice[] = [];
      for (let i = 0; i < 4; i++) {
        await several.pool('rbd').images.create(`spread-${i}`, { size: MIB });
        devices.push(await several.map(`rbd/spread-${i}`));
      }
      const clients = new Set(devices.map(({ attributes }) => attributes.clientId));
      expect(clients.size).toBe(2);
      await devices[0]?.close();
      await Promise.all(devices.slice(1).map((device, i) => device.write(i, Buffer.alloc(KIB, i))));
      for (const [i, device] of devices.slice(1).entries()) {
        expectSameBytes(await device.read(i, KIB), Buffer.alloc(KIB, i));
      }
    });

    it('the death of the one that serves settles every call, says what became of it, and another goes on', async () => {
      const size = 8 * MIB;
      await cluster.pool('rbd').images.create('orphaned', { size, order: 16 });
      const { mortal, worker } = await connectMortal(getTarget);
      await using device = await mortal.map('rbd/orphaned', { queueDepth: 16 });
      const before = device.attributes.clientId;
      const replaced = once(device, 'worker-replaced') as Promise<[WorkerReplacement]>;
      let isReplaced = false;
      device.once('worker-replaced', () => {
        isReplaced = true;
      });

      // Without a pause, so that some are answered, some sent, and some wait when it dies.
      const image = new StampedImage(size);
      const errors: Record<string, unknown>[] = [];
      let died: Promise<number> | undefined;
      for (let i = 0; !isReplaced; i += 100) {
        const calls = Array.from({ length: 100 }, (_, k) => {
          const range = { first: ((i + k) * 7) % (image.blocks - 3), count: 3 };
          return k % 5 === 4 ? image.read(device, range) : image.write(device, range);
        });
        await Promise.race(calls);
        if (i === 300) died = worker.terminate();
        for (const result of await Promise.allSettled(calls)) {
          if (result.status === 'rejected') errors.push(result.reason as Record<string, unknown>);
        }
      }
      await died;
      const [replacement] = await replaced;
      expect(replacement.reason).toMatchObject({ code: 'ENOTCONN' });
      expect(errors).toHaveLength(replacement.unknown);
      for (const error of errors) {
        expect(error).toMatchObject({
          code: 'ENOTCONN',
          target: 'rbd/orphaned',
          outcome: 'unknown',
        });
      }
      expect(device.attributes.clientId).not.toBe(before);
      await device.flush();
      await image.verify(device);
      await image.write(device, { first: 0, count: 1 });

      // Nothing that was acknowledged is missing for others, and nothing is there that was said not to be.
      await using other = await cluster.map('rbd/orphaned', { readOnly: true });
      await image.verify(other);
      await device.close();
      await mortal.close();
    });
  });
}

/** A cluster with the worker thread that serves it, which its owner does not get to see. */
async function connectMortal(getTarget: GetTarget): Promise<{ mortal: Cluster; worker: Worker }> {
  const workers: Worker[] = [];
  const onWorker = (worker: Worker) => workers.push(worker);
  process.on('worker', onWorker);
  try {
    const mortal = await connectTo(getTarget());
    expect(workers).toHaveLength(1);
    return { mortal, worker: workers[0] as Worker };
  } finally {
    process.off('worker', onWorker);
  }
}
