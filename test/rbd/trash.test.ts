// Goal: an image in the trash is whole, comes back whole, or goes for good, and what was interrupted can be asked for again.
// Method: the embedded cluster in virtual time, with each request failing once.

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { RadosError } from '../../src/base/errors.js';
import { isWriteOp } from '../../src/messages/osd-op.js';
import { executeOne, mutate } from '../../src/rados/class-call.js';
import { dirAddImage, setOpFeatures, TRASH_STATE, trashGet } from '../../src/rados/cls-rbd.js';
import { cloneImage } from '../../src/rbd/clone.js';
import { createImage } from '../../src/rbd/create.js';
import { listImages } from '../../src/rbd/directory.js';
import { FEATURE, OP_FEATURE } from '../../src/rbd/features.js';
import { Image } from '../../src/rbd/image.js';
import { headerObject, RBD_DIRECTORY, RBD_TRASH } from '../../src/rbd/names.js';
import { removeImage } from '../../src/rbd/remove.js';
import {
  listTrash,
  moveToTrash,
  purgeTrash,
  removeFromTrash,
  restoreFromTrash,
} from '../../src/rbd/trash.js';
import { setTrashState } from '../../src/rbd/trash-entries.js';
import { ClusterWorld, type WorldClient } from '../support/cluster-world.js';

const SIZE = 4 << 16;
const POOL = { pool: 'rbd', namespace: '' };
const HOUR = 3_600_000;

let at: ClusterWorld;
let client: WorldClient;

beforeEach(async () => {
  at = await ClusterWorld.start();
  client = await at.client();
});
afterEach(() => at.stop());

const until = <T>(promise: Promise<T>) => at.until(promise);
const failure = (promise: Promise<unknown>) =>
  until(
    promise.then(
      () => undefined,
      (error: unknown) => error,
    ),
  );
const create = (name: string, features: bigint = FEATURE.LAYERING) =>
  until(createImage(client.rados, { ...POOL, name }, { size: SIZE, order: 16, features }));
const move = (name: string, options = {}) =>
  until(moveToTrash(client.rados, { ...POOL, name }, options));
const restore = (id: string, options = {}) =>
  until(restoreFromTrash(client.rados, { ...POOL, id }, options));
const remove = (id: string, options = {}) =>
  until(removeFromTrash(client.rados, { ...POOL, id }, options));
const ioctx = () => until(client.rados.ioctx('rbd'));
const images = async () => (await until(listImages(await ioctx()))).map(({ name }) => name);
const trashed = async () => (await until(listTrash(await ioctx()))).map(({ id }) => id);
const now = () => at.world.env.clock.now();

/** Runs it with the n-th request that writes failing, for n from 1 on, until none of them does. */
async function interrupted(step: () => Promise<unknown>, afterwards: () => Promise<void>) {
  const { operate } = client.rados;
  for (let failAt = 1; ; failAt++) {
    let count = 0;
    const spy = vi
      .spyOn(client.rados, 'operate')
      .mockImplementation(async (target, ops, options) => {
        const writes = options?.write || ops.some(({ code }) => isWriteOp(code));
        if (writes && ++count === failAt) throw new RadosError('EIO', 'failed');
        return operate.call(client.rados, target, ops, options);
      });
    const error = await failure(step());
    spy.mockRestore();
    if (!error) return failAt;
    await afterwards();
  }
}

describe('moving to the trash', () => {
  it('takes the name and leaves the image, which those who have it open go on with', async () => {
    const id = await create('vm1', FEATURE.LAYERING | FEATURE.EXCLUSIVE_LOCK);
    const other = await at.client();
    const open = await other.open('vm1');
    await until(open.write(0, Buffer.from('before')));
    await move('vm1', { expiresAt: new Date(now() + HOUR) });
    expect(await images()).toEqual([]);
    const [entry] = await until(listTrash(await ioctx()));
    expect(entry).toMatchObject({ id, name: 'vm1', source: 'user' });
    expect(entry?.expiresAt.getTime()).toBeCloseTo((entry?.deletedAt.getTime() ?? 0) + HOUR, -3);
    await until(open.write(0, Buffer.from('after.')));
    await create('vm1');
    await restore(id, { name: 'vm2' });
    const image = await client.open('vm2');
    expect(Buffer.from(await until(image.read(0, 6))).toString()).toBe('after.');
  });

  it('is refused where it would do harm', async () => {
    expect(await failure(move('vm1'))).toMatchObject({ code: 'ENOENT' });
    const id = await create('vm1', FEATURE.LAYERING | FEATURE.EXCLUSIVE_LOCK);
    const keeper = await (await at.client()).open('vm1', { lock: { transitions: 'manual' } });
    await until(keeper.acquireLock());
    expect(await failure(move('vm1'))).toMatchObject({ code: 'EBUSY', target: 'rbd/vm1' });
    await until(keeper.close());
    const { GROUP } = OP_FEATURE;
    await until(mutate(await ioctx(), headerObject(id), [setOpFeatures(GROUP, GROUP)]));
    expect(await failure(move('vm1'))).toMatchObject({ code: 'EMLINK' });
    const removal = removeImage(client.rados, { ...POOL, name: 'vm1' });
    expect(await failure(removal)).toMatchObject({ code: 'EMLINK' });
    expect(await images()).toEqual(['vm1']);
  });

  it('goes on where it was interrupted', async () => {
    const id = await create('vm1');
    const steps = await interrupted(
      () => moveToTrash(client.rados, { ...POOL, name: 'vm1' }),
      async () => {
        const found = [...(await images()), ...(await trashed())];
        expect(found.length).toBeGreaterThan(0);
      },
    );
    expect(steps).toBeGreaterThan(3);
    expect([await images(), await trashed()]).toEqual([[], [id]]);
    await restore(id);
    expect(await images()).toEqual(['vm1']);
  });
});

describe('restoring', () => {
  it('gives the name back, or another that is free', async () => {
    const id = await create('vm1');
    await move('vm1');
    await create('vm1');
    expect(await failure(restore(id))).toMatchObject({ code: 'EEXIST' });
    expect(await failure(restore(id, { name: 'a/b' }))).toMatchObject({ code: 'EINVAL' });
    expect(await failure(restore('abc'))).toMatchObject({ code: 'ENOENT' });
    await restore(id, { name: 'vm2' });
    expect(await images()).toEqual(['vm1', 'vm2']);
    expect(await failure(restore(id))).toMatchObject({ code: 'ENOENT' });
  });

  it('goes on where it was interrupted', async () => {
    const id = await create('vm1');
    await move('vm1');
    const steps = await interrupted(
      () => restoreFromTrash(client.rados, { ...POOL, id }),
      async () => expect(await trashed()).toEqual([id]),
    );
    expect(steps).toBeGreaterThan(3);
    expect([await images(), await trashed()]).toEqual([['vm1'], []]);
  });

  it('is refused while another image of that name is being created', async () => {
    const id = await create('vm1');
    await move('vm1');
    await until(mutate(await ioctx(), RBD_DIRECTORY, [dirAddImage('vm1', 'abc')]));
    expect(await failure(restore(id))).toMatchObject({ code: 'EEXIST' });
    expect([await images(), await trashed()]).toEqual([['vm1'], [id]]);
    // The name is that one's: whether it is left half-way or not.
    expect(await failure(client.open('vm1'))).toMatchObject({ code: 'ENOENT' });
    await until(removeImage(client.rados, { ...POOL, name: 'vm1' }));
    await restore(id);
    expect([await images(), await trashed()]).toEqual([['vm1'], []]);
  });

  it('is refused while the image is being removed', async () => {
    const id = await create('vm1');
    await move('vm1');
    const { REMOVING, NORMAL } = TRASH_STATE;
    await until(setTrashState(await ioctx(), id, REMOVING, NORMAL));
    expect(await failure(restore(id))).toMatchObject({ code: 'EBUSY' });
    await remove(id);
    expect(await trashed()).toEqual([]);
  });
});

describe('removing for good', () => {
  it('waits until the image has expired, unless forced', async () => {
    const id = await create('vm1');
    await move('vm1', { expiresAt: new Date(now() + HOUR) });
    expect(await failure(remove(id))).toMatchObject({ code: 'EPERM' });
    await at.world.advance(HOUR + 1000);
    await remove(id);
    expect(await failure(remove(id))).toMatchObject({ code: 'ENOENT' });
    const other = await create('vm2');
    await move('vm2', { expiresAt: new Date(now() + HOUR) });
    await remove(other, { force: true });
    expect(await trashed()).toEqual([]);
  });

  it('leaves an image that has snapshots, or is open, as it was', async () => {
    const id = await create('vm1');
    const open = await client.open('vm1');
    await until(open.snapshots.create('s1'));
    await move('vm1');
    expect(await failure(remove(id))).toMatchObject({ code: 'ENOTEMPTY' });
    await until(open.snapshots.remove('s1'));
    expect(await failure(remove(id))).toMatchObject({ code: 'EBUSY' });
    const { state } = await until(executeOne(await ioctx(), RBD_TRASH, trashGet(id)));
    expect(state).toBe(TRASH_STATE.NORMAL);
    await until(open.close());
    await remove(id);
  });

  it('refuses one whose move there was interrupted', async () => {
    const id = await create('vm1');
    await move('vm1');
    await until(setTrashState(await ioctx(), id, TRASH_STATE.MOVING, TRASH_STATE.NORMAL));
    expect(await failure(remove(id))).toMatchObject({ code: 'EUCLEAN' });
    expect(await failure(restore(id))).toMatchObject({ code: 'EBUSY' });
    await move('vm1');
    await remove(id);
  });
});

describe('purging', () => {
  it('removes what has expired, a parent after its clones, and keeps the rest', async () => {
    const parent = await create('parent');
    const open = await client.open('parent');
    await until(open.snapshots.create('s1'));
    const spec = { ...POOL, name: 'parent', snap: 's1' };
    const clone = { ...POOL, name: 'clone' };
    await until(cloneImage(client.rados, spec, clone, { format: 2 }));
    await until(open.snapshots.remove('s1'));
    await until(open.close());
    await move('parent');
    await move('clone');
    const later = await create('later');
    await move('later', { expiresAt: new Date(now() + HOUR) });
    const snapped = await create('snapped');
    const withSnapshot = await client.open('snapped');
    await until(withSnapshot.snapshots.create('s1'));
    await until(withSnapshot.close());
    await move('snapped');
    const progress: number[][] = [];
    const onProgress = (...share: number[]) => progress.push(share);
    const purged = purgeTrash(client.rados, POOL, { onProgress });
    expect(await failure(purged)).toMatchObject({ code: 'ENOTEMPTY' });
    expect(progress).toEqual([
      [1, 3],
      [2, 3],
    ]);
    expect((await trashed()).sort()).toEqual([later, snapped].sort());
    expect(await trashed()).not.toContain(parent);
    const image = await until(Image.open(client.rados, { ...POOL, id: snapped }));
    await until(image.snapshots.purge());
    await until(image.close());
    await until(purgeTrash(client.rados, POOL, { expiredBefore: new Date(now() + 2 * HOUR) }));
    expect(await trashed()).toEqual([]);
  });
});

describe('purging where a pool is too full', () => {
  const OBJECT = 2 ** 16;
  /** One object each; the one that expires last was moved first. */
  async function three(): Promise<string[]> {
    const ids: string[] = [];
    for (const [i, name] of ['last', 'second', 'first'].entries()) {
      ids.unshift(await create(name));
      const image = await client.open(name);
      await until(image.write(0, Buffer.from('data')));
      await until(image.close());
      await move(name, { expiresAt: new Date(now() + (4 - i) * HOUR) });
    }
    return ids;
  }
  const purge = (threshold: number, pools: Record<string, [share: number, bytes: number]>) => {
    const usage = async () =>
      Object.entries(pools).map(([name, [usedShare, bytes]]) => ({
        ...{ name, usedShare },
        usedBytes: bytes * usedShare,
        availableBytes: bytes * (1 - usedShare),
      }));
    return until(purgeTrash(client.rados, POOL, { limit: { threshold, usage } }));
  };

  it('removes what expires first, also before it has, until the pool is not', async () => {
    const [, second, last] = await three();
    // Half an object too much, and five.
    await purge(0.5, { rbd: [0.55, 10 * OBJECT] });
    expect((await trashed()).sort()).toEqual([second, last].sort());
    await purge(0.5, { rbd: [1, 10 * OBJECT], other: [1, OBJECT] });
    expect(await trashed()).toEqual([]);
  });

  it('leaves all where no pool is, and what has expired as well', async () => {
    await three();
    await create('expired');
    await move('expired');
    await purge(0.8, { rbd: [0.8, 10 * OBJECT], other: [1, 10 * OBJECT] });
    await purge(0.8, {});
    expect(await trashed()).toHaveLength(4);
    await expect(purge(1.5, {})).rejects.toMatchObject({ code: 'EINVAL' });
  });
});

it('an image on its way out is listed with the images, and its removal goes on by its name', async () => {
  await create('vm1');
  const removal = () => removeImage(client.rados, { ...POOL, name: 'vm1' });
  const { operate } = client.rados;
  const spy = vi.spyOn(client.rados, 'operate').mockImplementation(async (target, ...rest) => {
    if (target.oid.startsWith('rbd_data.')) throw new RadosError('EIO', 'failed');
    return operate.call(client.rados, target, ...rest);
  });
  expect(await failure(removal())).toMatchObject({ code: 'EIO' });
  spy.mockRestore();
  expect(await images()).toEqual(['vm1']);
  expect(await until(listTrash(await ioctx(), { all: true }))).toEqual([]);
  await until(removal());
  expect(await images()).toEqual([]);
});
