import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FEATURE } from '../../../src/rbd/features.js';
import type { Image } from '../../../src/rbd/image.js';
import { listImageMetadata } from '../../../src/rbd/metadata.js';
import { ClusterWorld, type WorldClient } from '../../support/cluster-world.js';

const SIZE = 8 << 20;
const { LAYERING, EXCLUSIVE_LOCK } = FEATURE;

let at: ClusterWorld;
let client: WorldClient;
let image: Image;

beforeEach(async () => {
  at = await ClusterWorld.start();
  client = await at.client();
  await client.create('vm1', { size: SIZE, order: 20, features: LAYERING | EXCLUSIVE_LOCK });
  image = await client.open('vm1');
});

afterEach(() => at.stop());

const shared = async () => (await at.until(listImageMetadata(image))).get('linger.shared');
const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

describe('an image that is shared', () => {
  it('has no exclusive lock, and is written by all its clients at a time', async () => {
    await at.until(image.setShared(true));
    expect(image.features).toBe(LAYERING);
    expect(await shared()).toBe('1');
    const other = await (await at.client()).open('vm1');
    await at.until(Promise.all([image.write(0, Buffer.of(1)), other.write(1, Buffer.of(2))]));
    expect([...(await at.until(image.read(0, 2)))]).toEqual([1, 2]);
    expect([image.hasExclusiveLock, other.hasExclusiveLock]).toEqual([false, false]);
  });

  it('is so for a client that had it open, and waited for the lock', async () => {
    const other = await (await at.client()).open('vm1');
    await at.until(image.acquireLock());
    const share = image.setShared(true);
    const written = other.write(0, Buffer.of(1));
    await at.until(Promise.all([share, written]));
    expect(other.hasExclusiveLock).toBe(false);
  });

  it('is created so when that is asked for', async () => {
    const all = LAYERING | EXCLUSIVE_LOCK | FEATURE.DEEP_FLATTEN;
    await client.create('vm2', { size: SIZE, features: all, shared: true });
    const born = await client.open('vm2');
    expect(born.features).toBe(LAYERING | FEATURE.DEEP_FLATTEN);
    expect((await at.until(listImageMetadata(born))).get('linger.shared')).toBe('1');
  });

  it('M28 stays exclusive while another client writes it', async () => {
    const other = await (await at.client()).open('vm1');
    await at.until(other.write(0, Buffer.of(1)));
    expect(await at.until(failure(image.setShared(true)))).toMatchObject({ code: 'EBUSY' });
    expect(image.features).toBe(LAYERING | EXCLUSIVE_LOCK);
    expect(await shared()).toBeUndefined();
    expect(other.lock?.state).toBe('locked');
    await at.until(other.write(0, Buffer.of(2)));
  });
});

describe('an image that is shared no more', () => {
  it('has the exclusive lock again, and the mark is gone', async () => {
    await at.until(image.setShared(true));
    await at.until(image.write(0, Buffer.of(1)));
    await at.until(image.setShared(false));
    expect(image.features & EXCLUSIVE_LOCK).toBe(EXCLUSIVE_LOCK);
    expect(await shared()).toBeUndefined();
    await at.until(image.write(0, Buffer.of(2)));
    expect(image.lock?.state).toBe('locked');
  });

  it('stays shared while another client has it open', async () => {
    await at.until(image.setShared(true));
    const other = await (await at.client()).open('vm1');
    expect(await at.until(failure(image.setShared(false)))).toMatchObject({ code: 'EBUSY' });
    expect(image.features).toBe(LAYERING);
    expect(await shared()).toBe('1');
    await at.until(other.close());
    await at.until(image.setShared(false));
  });
});

describe('features', () => {
  const has = (feature: bigint) => (image.features & feature) !== 0n;

  it('come and go with writes under way', async () => {
    await at.until(image.write(0, Buffer.of(1)));
    const writes = Array.from({ length: 20 }, (_, i) => image.write(i, Buffer.of(i)));
    const off = image.updateFeatures(EXCLUSIVE_LOCK, false);
    await at.until(Promise.all([...writes, off]));
    expect(has(EXCLUSIVE_LOCK)).toBe(false);
    const more = Array.from({ length: 20 }, (_, i) => image.write(i, Buffer.of(100 + i)));
    const on = image.updateFeatures(EXCLUSIVE_LOCK, true);
    await at.until(Promise.all([...more, on]));
    expect(has(EXCLUSIVE_LOCK)).toBe(true);
    expect((await at.until(image.read(0, 20))).at(-1)).toBe(119);
  });

  it('that come while a large write is on its way hold for the rest of it', async () => {
    await at.until(image.setShared(true));
    const others = await at.client();
    const other = await others.open('vm1', { lock: { transitions: 'manual' } });
    // Two objects at a time, each for a second.
    const writer = await client.open('vm1', { objectOpsMax: 2 });
    const slow = { prefix: 'rbd_data.', client: client.name, ms: 1000 };
    await at.until(at.faults.delayReplies(slow));
    const written = writer.write(0, Buffer.alloc(SIZE, 7));
    await at.world.advance(1500);
    await at.until(other.updateFeatures(EXCLUSIVE_LOCK, true));
    await at.until(other.acquireLock());
    expect(writer.hasExclusiveLock).toBe(true);
    expect(await at.until(failure(written))).toMatchObject({ code: 'EROFS' });
    expect(writer.lock?.status().inside).toBe(0);
  });

  it('are changed by the owner of the lock at the request of a peer', async () => {
    await at.until(image.acquireLock());
    const peer = await (await at.client()).open('vm1');
    await at.until(peer.updateFeatures(EXCLUSIVE_LOCK, false));
    expect([peer.hasExclusiveLock, image.hasExclusiveLock]).toEqual([false, false]);
    await at.until(image.write(0, Buffer.of(1)));
  });

  it('that are as they are asked to be, or cannot change, are refused', async () => {
    const code = async (features: bigint, enabled: boolean) =>
      (await at.until(failure(image.updateFeatures(features, enabled)))) as { code: string };
    expect(await code(EXCLUSIVE_LOCK, true)).toMatchObject({ code: 'EINVAL' });
    expect(await code(FEATURE.DEEP_FLATTEN, false)).toMatchObject({ code: 'EINVAL' });
    expect(await code(FEATURE.DEEP_FLATTEN, true)).toMatchObject({ code: 'EINVAL' });
    expect(await code(LAYERING, false)).toMatchObject({ code: 'EINVAL' });
    expect(await code(0n, true)).toMatchObject({ code: 'EINVAL' });
    expect(image.features).toBe(LAYERING | EXCLUSIVE_LOCK);
  });
});
