/** OSDs that end and come back, and connections that break, while an image is in use. */

import net from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { BlockDevice, Cluster } from '../../src/index.js';
import { blockMainThread, watchFromAside } from './aside.js';
import { Load } from './load.js';
import { StampedImage } from './stamped-image.js';
import { connectTo, KIB, MIB, Random } from './support.js';
import { OSDS, type Target, type TargetKind } from './target.js';

/** More than the calls that a device sends at a time, and many objects: every PG is in use. */
const DEPTH = 48;
const SIZE = 8 * MIB;
const ORDER = 16;
/** Connections broken. */
const CUTS = 100;

export function failover(kind: TargetKind): void {
  describe(`a pool of two copies on ${kind.name}, through the loss and return of OSDs`, () => {
    let target: Target;
    let cluster: Cluster;
    let other: Cluster;

    // A cluster for each: one that failed may leave an OSD down.
    beforeEach(async () => {
      target = await kind.start([{ name: 'rbd', pgNum: 8, size: 2 }]);
      [cluster, other] = await Promise.all([connectTo(target), connectTo(target)]);
    });
    afterEach(async () => {
      await Promise.allSettled([cluster?.close(), other?.close()]);
      await target?.stop();
    });

    /** One OSD after the other ends under load and comes back, and is whole before the next one goes. */
    async function loseOsds(load: Load, victims: readonly number[]): Promise<void> {
      for (const osd of victims) {
        await load.progress(300);
        await target.killOsd(osd);
        await load.progress(300);
        await target.startOsd(osd);
        await load.progress(300);
        await target.settled();
      }
    }

    it.each([
      { name: 'plain', options: {}, threads: 1 },
      { name: 'striped', options: { stripeUnit: 4 * KIB, stripeCount: 4 }, threads: 0 },
    ])(
      'loses no acknowledged write of a $name image (threads: $threads)',
      { timeout: kind.failoverTimeoutMs },
      async (image) => {
        const { name, options, threads } = image;
        const images = cluster.pool('rbd').images;
        await images.create(name, { size: SIZE, order: ORDER, ...options });
        await using writers = await connectTo(target, { threads });
        // Closed by force with their clusters: in good order they would wait for calls that never end.
        const device = await writers.map(`rbd/${name}`);
        const observer = await other.map(`rbd/${name}`, { readOnly: true });
        const stamps = new StampedImage(SIZE);
        const seed = Date.now() & 0x7fffffff;
        const victims = Array.from({ length: kind.failures }, (_, i) => i % OSDS);
        const load = new Load({ image: stamps, device, observer, depth: DEPTH, seed });
        try {
          await loseOsds(load, victims);
          await load.progress(300);
          await load.stop();
          expect(load.abandoned).toBeGreaterThan(0);
          // A write that was given up last may still be on its way.
          const idle = { inFlight: 0, waiting: 0, viewBytes: 0 };
          await vi.waitFor(() => expect(device.load).toEqual(idle), { timeout: 20_000 });
          await stamps.verify(device);
          await stamps.verify(observer);
        } catch (error) {
          await load.stop().catch(() => {});
          throw new Error(`with seed ${seed}: ${(error as Error).message}`, { cause: error });
        }
      },
    );

    it('loses nothing and does nothing twice when connections break', {
      timeout: kind.failoverTimeoutMs,
    }, async () => {
      await cluster.pool('rbd').images.create('cut', { size: SIZE, order: ORDER });
      const connect = vi.spyOn(net, 'connect');
      await using writers = await connectTo(target, { threads: 0 });
      const device = await writers.map('rbd/cut');
      const observer = await other.map('rbd/cut', { readOnly: true });
      const stamps = new StampedImage(SIZE);
      const seed = Date.now() & 0x7fffffff;
      const random = new Random(seed);
      const load = new Load({ image: stamps, device, observer, depth: DEPTH, seed });
      try {
        for (let cuts = 0; cuts < CUTS; cuts++) {
          await load.progress(1 + random.below(40));
          // Requests that were carried out lose their answers: sent again, they must be recognised.
          const open = connect.mock.results
            .map(({ value }) => value as net.Socket)
            .filter((socket) => !socket.destroyed);
          open[random.below(open.length)]?.resetAndDestroy();
        }
        await load.progress(300);
        await load.stop();
        expect(connect.mock.calls.length).toBeGreaterThan(CUTS / 2);
        await stamps.verify(observer);
      } catch (error) {
        await load.stop().catch(() => {});
        throw new Error(`with seed ${seed}: ${(error as Error).message}`, { cause: error });
      } finally {
        connect.mockRestore();
      }
    });

    it('goes on while the main thread is blocked', {
      timeout: kind.failoverTimeoutMs,
    }, async () => {
      await cluster.pool('rbd').images.create('blocked', { size: SIZE, order: ORDER });
      await using device: BlockDevice = await cluster.map('rbd/blocked');
      await device.write(0, Buffer.alloc(SIZE));
      await using aside = await watchFromAside(target, 'rbd/blocked', { size: SIZE, block: ORDER });
      await target.killOsd(1);
      const writes = Array.from({ length: SIZE >> ORDER }, (_, i) =>
        device.write(i << ORDER, Buffer.alloc(1 << ORDER, 1)),
      );
      const blocked = blockMainThread(10_000);
      expect(aside.seenAt()).toBeLessThan(blocked.until);
      await Promise.all(writes);
      await target.startOsd(1);
      await target.settled();
    });
  });
}
