// Goal: an operation over very many objects tells of itself now and then, and leaves the cluster to those who use the image.

import { afterEach, describe, expect, it } from 'vitest';
import { RemoteRequests } from '../../../src/rbd/notify-requests.js';
import { FEATURE } from '../../../src/rbd/features.js';
import { MANAGEMENT_OPS_MAX } from '../../../src/rbd/concurrency.js';
import { Image } from '../../../src/rbd/image.js';
import type { KnownPayload } from '../../../src/rbd/notify-payloads.js';
import { ClusterWorld } from '../../support/cluster-world.js';
import { FakeImage } from '../../support/fake-image.js';
import { FakeObjects, fakeContext } from '../../support/fake-objects.js';
import { MemoryWorld } from '../../support/memory-network.js';

const PROGRESS_INTERVAL_MS = 250;

let at: ClusterWorld | undefined;
afterEach(async () => {
  await at?.stop();
  at = undefined;
});

describe('M21 an operation over very many objects', () => {
  it('tells of its progress four times a second, over a million steps', async () => {
    const world = new MemoryWorld();
    const announced: { at: number; payload: KnownPayload }[] = [];
    const requests = new RemoteRequests(world.env, async (payload) => {
      announced.push({ at: world.now, payload });
      return { notifyId: 1n, replies: [], missed: [] };
    });
    const steps = 1_000_000;
    const perMs = 100;
    const job = async (report: (done: number, total: number) => void) => {
      for (let done = 0; done < steps; ) {
        for (let i = 0; i < perMs; i++) report(++done, steps);
        await new Promise<void>((resolve) => world.after(1, resolve));
      }
    };
    const id = { client: { gid: 1n, handle: 1n }, requestId: 1n };
    expect(requests.accept(id, () => job)).toBe(0);
    await world.until(() => announced.some(({ payload }) => payload.op === 'asyncComplete'));
    const progress = announced.filter(({ payload }) => payload.op === 'asyncProgress');
    expect(progress.length).toBeGreaterThan(10);
    for (const [i, { at: time }] of progress.entries()) {
      const before = progress[i - 1];
      if (before) expect(time - before.at).toBeGreaterThanOrEqual(PROGRESS_INTERVAL_MS);
    }
  });

  it('has ten of them in hand at a time', async () => {
    const objects = new FakeObjects();
    const fake = new FakeImage(objects, { size: 500 * 65_536 });
    const image = await Image.open(fakeContext(objects), { pool: 'rbd', name: fake.name });
    objects.inFlightMax = 0;
    await image.resize(0, { allowShrink: true });
    expect(objects.inFlightMax).toBe(MANAGEMENT_OPS_MAX);
    await image.close();
  });

  it('is heard of at a peer no more often than that', async () => {
    at = await ClusterWorld.start();
    const client = await at.client();
    const features = FEATURE.LAYERING | FEATURE.EXCLUSIVE_LOCK;
    await client.create('vm1', { size: 400 << 20, order: 20, features });
    const owner = await client.open('vm1');
    await at.until(owner.acquireLock());
    const bystander = await (await at.client()).observe('vm1');
    const peer = await (await at.client()).open('vm1');
    await at.until(at.faults.delayReplies({ prefix: 'rbd_data.', ops: 'write', ms: 100 }));
    const began = at.world.now;
    await at.until(peer.resize(0, { allowShrink: true }));
    const seconds = (at.world.now - began) / 1000;
    expect(seconds).toBeGreaterThan(3);
    expect(bystander.of('asyncProgress').length).toBeLessThanOrEqual(4 * seconds + 1);
    expect(bystander.of('asyncProgress').length).toBeGreaterThan(seconds);
  });
});
