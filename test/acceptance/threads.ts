/** The thread that uses a device and the thread that serves it: the one may block, the other may die. */

import type { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { BlockDevice, Cluster } from '../../src/index.js';
import { rejection, thrown } from '../block/support/hosts.js';
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

    it('the death of the one that serves settles every call, and says what became of it', async () => {
      const size = 8 * MIB;
      await cluster.pool('rbd').images.create('orphaned', { size, order: 16 });
      const { mortal, worker } = await connectMortal(getTarget);
      const device = await mortal.map('rbd/orphaned', { queueDepth: 16 });
      const events: string[] = [];
      device.on('error', ({ code }) => events.push(code));
      device.on('close', () => events.push('close'));

      const image = new StampedImage(size);
      const calls = Array.from({ length: 600 }, (_, i) => {
        const range = { first: (i * 7) % (image.blocks - 3), count: 3 };
        return i % 5 === 4 ? image.read(device, range) : image.write(device, range);
      });
      // While they are under way: some are answered, some sent, some wait for their turn.
      await Promise.all(calls.slice(0, 20));
      const died = worker.terminate();
      const results = await Promise.allSettled([...calls, device.flush()]);
      await died;
      const errors = results.flatMap((result) =>
        result.status === 'rejected' ? [result.reason as Record<string, unknown>] : [],
      );
      expect(errors.length).toBeGreaterThan(100);
      for (const error of errors) {
        expect(error).toMatchObject({ code: 'ENOTCONN', target: 'rbd/orphaned' });
      }
      const outcomes = new Set(errors.map(({ outcome }) => outcome));
      expect(outcomes).toContain('unknown');
      expect(outcomes).toContain('not-applied');
      expect(await rejection(device.read(0, 1))).toMatchObject({ code: 'ENOTCONN' });
      expect(thrown(() => device.readSync(0, 1))).toMatchObject({ code: 'ENOTCONN' });
      expect(await rejection(mortal.map('rbd/orphaned'))).toMatchObject({ code: 'ENOTCONN' });
      await device.close();
      await mortal.close();
      expect(events).toEqual(['ENOTCONN', 'close']);

      // Nothing that was acknowledged is missing, and nothing is there that was said not to be.
      await using survivor = await cluster.map('rbd/orphaned');
      await image.verify(survivor);
      await survivor.write(0, Buffer.alloc(KIB, 1));
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
