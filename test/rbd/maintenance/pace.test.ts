// Goal: an operation over very many objects tells of itself now and then, and leaves the cluster to those who use the image.

import { afterEach, describe, expect, it } from 'vitest';
import { cloneImage } from '../../../src/rbd/clone.js';
import { RemoteRequests } from '../../../src/rbd/notify-requests.js';
import { FEATURE } from '../../../src/rbd/features.js';
import { MANAGEMENT_OPS_MAX } from '../../../src/rbd/concurrency.js';
import { Image } from '../../../src/rbd/image.js';
import type { KnownPayload } from '../../../src/rbd/notify-payloads.js';
import { ClusterWorld } from '../../support/cluster-world.js';
import { FakeImage } from '../../support/fake-image.js';
import { FakeObjects, fakeContext } from '../../support/fake-objects.js';
import { VirtualWorld } from '../../../src/sim/virtual-world.js';

const PROGRESS_INTERVAL_MS = 250;

let at: ClusterWorld | undefined;
afterEach(async () => {
  await at?.stop();
  at = undefined;
});

describe('M21 an operation over very many objects', () => {
  it('tells of its progress four times a second, over a million steps', async () => {
    const world = new VirtualWorld();
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

  it('leaves the image to its users, who wait for no more than the object that is at hand', async () => {
    at = await ClusterWorld.start();
    const client = await at.client();
    const spec = { pool: 'rbd', namespace: '' };
    const { LAYERING, EXCLUSIVE_LOCK, OBJECT_MAP, FAST_DIFF } = FEATURE;
    const features = LAYERING | EXCLUSIVE_LOCK | OBJECT_MAP | FAST_DIFF;
    await client.create('parent', { size: 400 << 16, order: 16, features: LAYERING });
    const parent = await client.open('parent');
    for (let no = 0; no < 400; no++) await at.until(parent.write(no << 16, Buffer.from('parent')));
    await at.until(parent.snapshots.create('s'));
    const from = { ...spec, name: 'parent', snap: 's' };
    const to = { ...spec, name: 'vm1' };
    await at.until(cloneImage(client.rados, from, to, { features, format: 2 }));
    const image = await client.open('vm1');
    await at.until(at.faults.delayReplies({ prefix: 'rbd_data.', ms: 100 }));
    const { world } = at;
    /** How long a user waits: every object for a write, all over the image, now and then. */
    const use = async (first: number, isOver: () => boolean) => {
      const waits: number[] = [];
      for (let i = 0; !isOver(); i++) {
        const began = world.now;
        await image.write(((first + i * 7) % 400) << 16, Buffer.from('user'));
        waits.push(world.now - began);
      }
      return waits.sort((a, b) => a - b);
    };
    const p99 = (waits: number[]) => waits[Math.floor(waits.length * 0.99)] as number;
    let left = 30;
    const alone = await at.until(use(0, () => left-- === 0));
    let isFlat = false;
    const flattened = image.flatten().then(() => (isFlat = true));
    const beside = await at.until(use(3, () => isFlat));
    await at.until(flattened);
    expect(beside.length).toBeGreaterThan(10);
    expect(p99(beside)).toBeLessThanOrEqual(2 * p99(alone));
  });
});
