// Goal: a snapshot keeps what was written before it and nothing of after, whoever takes it and whatever gets in between, and
// an image goes back to it whole. Method: clients and the embedded cluster in virtual time.

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { RadosError } from '../../src/base/errors.js';
import { describeOps } from '../../src/messages/osd-op.js';
import { mutate } from '../../src/rados/class-call.js';
import {
  addChild,
  addSnapshot,
  attachChild,
  PROTECTION,
  removeChild,
  removeSnapshot,
  setMetadata,
  setProtectionStatus,
  USER_NAMESPACE,
} from '../../src/rados/cls-rbd.js';
import { FEATURE } from '../../src/rbd/features.js';
import { Image } from '../../src/rbd/image.js';
import { listImageMetadata } from '../../src/rbd/metadata.js';
import { headerObject, RBD_CHILDREN } from '../../src/rbd/names.js';
import { ClusterWorld, type WorldClient } from '../support/cluster-world.js';

const OBJECT = 1 << 16;
const SIZE = 8 * OBJECT;
const LOCKED = FEATURE.LAYERING | FEATURE.EXCLUSIVE_LOCK;

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
async function create(features: bigint = FEATURE.LAYERING): Promise<Image> {
  await client.create('vm1', { size: SIZE, order: 16, features });
  return client.open('vm1');
}
const write = (image: Image, objectNo: number, letter: string) =>
  until(image.write(objectNo * OBJECT, Buffer.alloc(OBJECT, letter)));
/** A letter for each object, a dot for zeros. */
async function contents(image: Image): Promise<string> {
  const read = await until(image.read(0, image.size));
  const letters: string[] = [];
  for (let i = 0; i < read.length; i += OBJECT) {
    const part = read.subarray(i, i + OBJECT);
    expect(part.every((byte) => byte === part[0])).toBe(true);
    letters.push(part[0] === 0 ? '.' : String.fromCharCode(part[0] as number));
  }
  return letters.join('');
}
async function contentsAt(snap: string): Promise<string> {
  const image = await until(Image.open(client.rados, { pool: 'rbd', name: 'vm1', snap }));
  return contents(image);
}
const listed = (image: Image) => until(image.snapshots.list({ all: true }));
const inHeader = (image: Image, ...calls: Parameters<typeof mutate>[2]) =>
  until(mutate(image.ioctx, headerObject(image.id), calls));

describe('creating a snapshot', () => {
  it('keeps what was written before, and nothing of after', async () => {
    const image = await create();
    await write(image, 0, 'a');
    await until(image.snapshots.create('s1'));
    await write(image, 0, 'b');
    await write(image, 1, 'c');
    await until(image.snapshots.create('s2'));
    await until(image.discard(0, SIZE));
    expect(await contentsAt('s1')).toBe('a.......');
    expect(await contentsAt('s2')).toBe('bc......');
    expect(await contents(image)).toBe('........');
    expect(await listed(image)).toMatchObject([
      { name: 's1', size: SIZE, protected: false, childCount: 0, namespace: { type: 'user' } },
      { name: 's2' },
    ]);
  });

  it('holds writes back until they go by the new header', async () => {
    const image = await create(LOCKED);
    await write(image, 0, 'a');
    await until(at.faults.delayReplies({ prefix: 'rbd_header', ops: 'call', ms: 3000 }));
    const created = image.snapshots.create('s1');
    const writes: Promise<unknown>[] = [];
    const letters = [...'bcdefgh'];
    while (letters.length > 0) {
      writes.push(image.write(OBJECT, Buffer.alloc(OBJECT, letters.shift())));
      await at.world.advance(1000);
    }
    await until(Promise.all([created, ...writes]));
    const then = (await contentsAt('s1'))[1];
    await until(image.write(OBJECT, Buffer.alloc(OBJECT, 'z')));
    expect((await contentsAt('s1'))[1]).toBe(then);
  });

  it('goes by the new header also when it could not be read at once', async () => {
    const image = await create();
    await write(image, 0, 'a');
    const { operate } = client.rados;
    let added = false;
    const spy = vi
      .spyOn(client.rados, 'operate')
      .mockImplementation(async (target, ops, options) => {
        if (added) throw new RadosError('EIO', 'the header cannot be read');
        const result = await operate.call(client.rados, target, ops, options);
        added = ops.some(({ indata }) => Buffer.from(indata).includes('snapshot_add'));
        return result;
      });
    expect(await failure(image.snapshots.create('s1'))).toMatchObject({ code: 'EIO' });
    expect(added).toBe(true);
    spy.mockRestore();
    await write(image, 0, 'b');
    expect(await contentsAt('s1')).toBe('a.......');
  });

  it('refuses a name that is taken or cannot be, and more than the limit', async () => {
    const image = await create();
    await until(image.snapshots.create('s1'));
    expect(await failure(image.snapshots.create('s1'))).toMatchObject({
      code: 'EEXIST',
      op: 'snap create',
      target: 'rbd/vm1',
    });
    for (const name of ['', 'a/b', 'a@b']) {
      expect(await failure(image.snapshots.create(name))).toMatchObject({ code: 'EINVAL' });
    }
    expect(await failure(image.snapshots.setLimit(0))).toMatchObject({ code: 'ERANGE' });
    await until(image.snapshots.setLimit(1));
    expect(await failure(image.snapshots.create('s2'))).toMatchObject({ code: 'EDQUOT' });
    await until(image.snapshots.setLimit(undefined));
    await until(image.snapshots.create('s2'));
  });

  it('gives an id back that it did not use, and takes a higher one when the image had one', async () => {
    const image = await create();
    const given = vi.spyOn(client.rados, 'createSelfManagedSnap');
    const back = vi.spyOn(client.rados, 'removeSelfManagedSnap');
    await inHeader(image, addSnapshot('other', 1n, USER_NAMESPACE));
    await until(image.snapshots.setLimit(1));
    expect(await failure(image.snapshots.create('s1'))).toMatchObject({ code: 'EDQUOT' });
    const unused = await given.mock.results[0]?.value;
    expect(back.mock.calls).toEqual([[1, unused]]);
    await until(image.snapshots.setLimit(undefined));
    // As if another client's snapshot had come in between: it had an id that the monitor has not given yet.
    const third = unused + 5n;
    await inHeader(image, addSnapshot('third', third, USER_NAMESPACE));
    await until(image.snapshots.create('s1'));
    const ids = await Promise.all(given.mock.results.map(({ value }) => value as Promise<bigint>));
    expect(ids.length).toBeGreaterThan(2);
    expect(back.mock.calls).toEqual(ids.slice(0, -1).map((id) => [1, id]));
    expect((await listed(image)).map(({ id, name }) => [id, name])).toEqual([
      [1n, 'other'],
      [third, 'third'],
      [ids.at(-1), 's1'],
    ]);
  });

  it('does not give an id back that the header may have', async () => {
    const image = await create();
    const back = vi.spyOn(client.rados, 'removeSelfManagedSnap');
    const { operate } = client.rados;
    const spy = vi
      .spyOn(client.rados, 'operate')
      .mockImplementation(async (target, ops, options) => {
        const result = await operate.call(client.rados, target, ops, options);
        if (!ops.some(({ indata }) => Buffer.from(indata).includes('snapshot_add'))) return result;
        throw new RadosError('ETIMEDOUT', 'no answer', { outcome: 'unknown' });
      });
    const error = await failure(image.snapshots.create('s1'));
    expect(error).toMatchObject({ code: 'ETIMEDOUT', outcome: 'unknown' });
    expect(back).not.toHaveBeenCalled();
    spy.mockRestore();
    await write(image, 0, 'b');
    expect(await contentsAt('s1')).toBe('........');
  });

  it('is done once, and known by its record, when the owner dies before it has told', async () => {
    const owner = await create(LOCKED);
    await until(owner.acquireLock());
    const others = await at.client();
    const other = await others.open('vm1');
    // What follows the creation takes long, for the owner.
    const slow = { prefix: 'rbd_header', client: client.name, ops: 'call', ms: 2000 } as const;
    await until(at.faults.delayReplies(slow));
    const asked = other.snapshots.create('s1');
    const third = await at.client();
    const watching = await third.open('vm1');
    await at.until(() => {
      void watching.reread();
      return watching.header.snapshots.length > 0;
    });
    client.kill();
    await until(asked);
    expect((await listed(other)).map(({ name }) => name)).toEqual(['s1']);
    // Whose it is stays known for a while, for it was asked for by another.
    const records = [...(await until(listImageMetadata(other))).keys()];
    expect(records).toEqual([expect.stringMatching(/^linger\.op\.\d+\.\d+\.\d+$/)]);
    expect(await failure(watching.snapshots.create('s1'))).toMatchObject({ code: 'EEXIST' });
  });

  it('of one name by two clients is one snapshot and one refusal', async () => {
    const owner = await create(LOCKED);
    await until(owner.acquireLock());
    const peers = await Promise.all([1, 2].map(async () => (await at.client()).open('vm1')));
    const errors = await until(
      Promise.all(
        peers.map((peer) =>
          peer.snapshots.create('s1').then(
            () => 'done',
            (e) => e.code,
          ),
        ),
      ),
    );
    expect(errors.sort()).toEqual(['EEXIST', 'done']);
    expect(await listed(owner)).toHaveLength(1);
  });

  it('forgets whom it created snapshots for, after an hour, and all but the last 64', async () => {
    const owner = await create(LOCKED);
    await until(owner.acquireLock());
    const now = Math.floor(at.world.env.clock.now());
    const record = (i: number, age: number) =>
      [`linger.op.1.2.${i}`, Buffer.from(`${i} ${now - age}`)] as const;
    const old = Array.from({ length: 10 }, (_, i) => record(i, 3_700_000));
    const young = Array.from({ length: 70 }, (_, i) => record(100 + i, 1000 * i));
    await inHeader(owner, setMetadata(new Map([...old, ...young])));
    const peer = await (await at.client()).open('vm1');
    await until(peer.snapshots.create('s1'));
    const keys = [...(await until(listImageMetadata(peer))).keys()];
    expect(keys).toHaveLength(64);
    expect(keys).toContain('linger.op.1.2.162');
    expect(keys).not.toContain('linger.op.1.2.163');
  });
});

describe('removing a snapshot', () => {
  it('takes it out of the image, by name or by id, and gives its space back', async () => {
    const image = await create();
    const back = vi.spyOn(client.rados, 'removeSelfManagedSnap');
    await write(image, 0, 'a');
    for (const name of ['s1', 's2', 's3']) await until(image.snapshots.create(name));
    const ids = (await listed(image)).map(({ id }) => id);
    await until(image.snapshots.remove('s2'));
    await until(image.snapshots.remove(ids[0] as bigint));
    expect((await listed(image)).map(({ name }) => name)).toEqual(['s3']);
    expect(back.mock.calls).toEqual([
      [1, ids[1]],
      [1, ids[0]],
    ]);
    expect(image.header.opFeatures).toBe(0n);
    for (const gone of ['s2', 99n]) {
      const error = await failure(image.snapshots.remove(gone));
      expect(error).toMatchObject({ code: 'ENOENT', op: 'snap remove' });
    }
    expect(await contentsAt('s3')).toBe('a.......');
  });

  it('refuses one that is protected, or is being unprotected', async () => {
    const image = await create();
    await until(image.snapshots.create('s1'));
    await until(image.snapshots.protect('s1'));
    expect(await failure(image.snapshots.remove('s1'))).toMatchObject({ code: 'EBUSY' });
    const [{ id } = { id: 0n }] = await listed(image);
    await inHeader(image, setProtectionStatus(id, PROTECTION.UNPROTECTING));
    await until(image.refresh());
    expect(await failure(image.snapshots.remove('s1'))).toMatchObject({ code: 'EBUSY' });
    expect(await until(image.snapshots.list())).toMatchObject([{ protected: true }]);
  });

  it('hides one that has clones, and forgets those that are none any more', async () => {
    const image = await create();
    await client.create('child', { size: SIZE, order: 16, features: FEATURE.LAYERING });
    const child = await client.open('child');
    for (const name of ['s1', 's2']) await until(image.snapshots.create(name));
    const ids = (await listed(image)).map(({ id }) => id);
    const entry = (imageId: string, poolId = 1) => ({ poolId, imageId, poolNamespace: '' });
    await inHeader(image, attachChild(ids[0] as bigint, entry(child.id)));
    await inHeader(image, attachChild(ids[1] as bigint, entry('abcdef')));
    await inHeader(image, attachChild(ids[1] as bigint, entry(child.id, 99)));
    for (const name of ['s1', 's2']) await until(image.snapshots.remove(name));
    expect(await listed(image)).toMatchObject([
      { id: ids[0], namespace: { type: 'trash', originalName: 's1', originalType: 'user' } },
    ]);
    expect(await until(image.snapshots.list())).toEqual([]);
    expect(await failure(image.snapshots.remove('s1'))).toMatchObject({ code: 'ENOENT' });
    const still = await failure(image.snapshots.remove(ids[0] as bigint));
    expect(still).toMatchObject({ code: 'EBUSY' });
    // The name is free.
    await until(image.snapshots.create('s1'));
  });

  it('has been done when another client, which took the last clone away, removed it meanwhile', async () => {
    const other = await at.client();
    for (let after = 1; ; after++) {
      const name = `vm-${after}`;
      await client.create(name, { size: SIZE, order: 16, features: FEATURE.LAYERING });
      const image = await client.open(name);
      await until(image.snapshots.create('s1'));
      const [{ id } = { id: 0n }] = await listed(image);
      const { operate } = client.rados;
      /** Since it is in the trash, and until it is removed. */
      let inTrash = false;
      let sent = 0;
      const spy = vi
        .spyOn(client.rados, 'operate')
        .mockImplementation(async (target, ops, options) => {
          const what = describeOps(ops);
          if (inTrash && ++sent === after) {
            const theirs = await other.rados.ioctx('rbd');
            await mutate(theirs, headerObject(image.id), [removeSnapshot(id)]);
          }
          if (what.includes('snapshot_trash_add')) inTrash = true;
          if (what.includes('snapshot_remove')) inTrash = false;
          return operate.call(client.rados, target, ops, options);
        });
      await until(image.snapshots.remove('s1'));
      spy.mockRestore();
      expect(await listed(image)).toEqual([]);
      await until(image.close());
      if (sent < after) break;
      expect(after).toBeLessThan(9);
    }
  });

  it('can be asked for again wherever it was interrupted', async () => {
    const { operate } = client.rados;
    for (let failAt = 1; ; failAt++) {
      const name = `vm-${failAt}`;
      await client.create(name, { size: SIZE, order: 16, features: FEATURE.LAYERING });
      const image = await client.open(name);
      await until(image.snapshots.create('s1'));
      const [{ id } = { id: 0n }] = await listed(image);
      let count = 0;
      const spy = vi
        .spyOn(client.rados, 'operate')
        .mockImplementation(async (target, ops, options) => {
          if (options?.write && ++count === failAt) throw new RadosError('EIO', 'failed');
          return operate.call(client.rados, target, ops, options);
        });
      const error = await failure(image.snapshots.remove('s1'));
      spy.mockRestore();
      if (!error) break;
      await until(image.refresh());
      await until(image.snapshots.remove(id));
      expect(await listed(image)).toEqual([]);
      await until(image.close());
      expect(failAt).toBeLessThan(9);
    }
  });
});

describe('renaming a snapshot', () => {
  it('changes its name, by name or by id', async () => {
    const image = await create();
    await until(image.snapshots.create('s1'));
    await until(image.snapshots.create('s2'));
    const [{ id } = { id: 0n }] = await listed(image);
    await until(image.snapshots.rename('s1', 'a'));
    await until(image.snapshots.rename(id, 'b'));
    expect(await failure(image.snapshots.rename('b', 's2'))).toMatchObject({ code: 'EEXIST' });
    expect(await failure(image.snapshots.rename('s1', 'c'))).toMatchObject({ code: 'ENOENT' });
    expect((await listed(image)).map(({ name }) => name)).toEqual(['b', 's2']);
  });
});

describe('protecting a snapshot', () => {
  it('is refused where it is so already, and ends when there are no clones', async () => {
    const image = await create();
    await until(image.snapshots.create('s1'));
    const { snapshots } = image;
    const parent = { poolId: 1, imageId: image.id, snapId: (await listed(image))[0]?.id as bigint };
    expect(await failure(snapshots.unprotect('s1'))).toMatchObject({ code: 'EINVAL' });
    await until(snapshots.protect('s1'));
    expect(await failure(snapshots.protect('s1'))).toMatchObject({ code: 'EBUSY' });
    expect(await failure(snapshots.protect('s2'))).toMatchObject({ code: 'ENOENT' });
    await until(mutate(image.ioctx, RBD_CHILDREN, [addChild(parent, 'abc')]));
    expect(await failure(snapshots.unprotect('s1'))).toMatchObject({
      code: 'EBUSY',
      message: expect.stringContaining('has 1 clones in pool rbd: id abc'),
    });
    await until(image.refresh());
    expect(image.header.snapshots[0]?.isProtected).toBe(true);
    await until(mutate(image.ioctx, RBD_CHILDREN, [removeChild(parent, 'abc')]));
    await until(snapshots.unprotect('s1'));
    expect(image.header.snapshots[0]?.protectionStatus).toBe(PROTECTION.UNPROTECTED);
  });

  it('is taken up where somebody left off unprotecting', async () => {
    const image = await create();
    await until(image.snapshots.create('s1'));
    const [{ id } = { id: 0n }] = await listed(image);
    await inHeader(image, setProtectionStatus(id, PROTECTION.UNPROTECTING));
    await until(image.refresh());
    await until(image.snapshots.unprotect('s1'));
    await inHeader(image, setProtectionStatus(id, PROTECTION.UNPROTECTING));
    await until(image.refresh());
    await until(image.snapshots.protect('s1'));
    expect(image.header.snapshots[0]?.isProtected).toBe(true);
  });

  it('needs feature layering', async () => {
    const image = await create(0n);
    await until(image.snapshots.create('s1'));
    expect(await failure(image.snapshots.protect('s1'))).toMatchObject({ code: 'ENOSYS' });
  });
});

describe('rolling back', () => {
  it('makes the image what it was, also of another size, and leaves the snapshots', async () => {
    const image = await create(LOCKED);
    await write(image, 0, 'a');
    await write(image, 5, 'b');
    await until(image.snapshots.create('s1'));
    await write(image, 0, 'c');
    await write(image, 1, 'd');
    await until(image.resize(3 * OBJECT, { allowShrink: true }));
    await until(image.snapshots.create('s2'));
    await until(image.discard(0, OBJECT));
    const progress: number[] = [];
    const onProgress = (done: number, total: number) => progress.push(done / total);
    await until(image.snapshots.rollback('s1', { onProgress }));
    expect(await contents(image)).toBe('a....b..');
    expect(progress.at(-1)).toBe(1);
    await until(image.snapshots.rollback('s2'));
    expect(await contents(image)).toBe('cd.');
    expect(await contentsAt('s1')).toBe('a....b..');
    expect(await contentsAt('s2')).toBe('cd.');
    expect(await failure(image.snapshots.rollback('s3'))).toMatchObject({ code: 'ENOENT' });
  });

  it('is refused while another client has the lock', async () => {
    const image = await create(LOCKED);
    await until(image.snapshots.create('s1'));
    const other = await (await at.client()).open('vm1');
    const error = await failure(other.snapshots.rollback('s1'));
    expect(error).toMatchObject({ code: 'EROFS', op: 'snap rollback' });
    await until(image.close());
    await until(other.snapshots.rollback('s1'));
  });

  it('is not left half-done to who asks for the lock', async () => {
    const image = await create(LOCKED);
    for (let i = 0; i < 8; i++) await write(image, i, 'a');
    await until(image.snapshots.create('s1'));
    for (let i = 0; i < 8; i++) await write(image, i, 'b');
    const other = await (await at.client()).open('vm1');
    const slow = { prefix: 'rbd_data', client: client.name, ms: 400 };
    await until(at.faults.delayReplies(slow));
    const back = image.snapshots.rollback('s1');
    await at.world.advance(100);
    const written = other.write(0, Buffer.alloc(OBJECT, 'c'));
    await until(Promise.all([back, written]));
    await until(at.faults.clear());
    await until(other.flush());
    // Before the rollback began, or after it was done: it was not in between.
    const [first, ...rest] = await contents(image);
    expect(rest.join('')).toBe('aaaaaaa');
    expect('ac').toContain(first);
  });
});

describe('purging', () => {
  it('removes the snapshots of users that are not protected, and names the others', async () => {
    const image = await create();
    for (const name of ['s1', 's2', 's3']) await until(image.snapshots.create(name));
    await until(image.snapshots.protect('s2'));
    const progress: number[][] = [];
    const onProgress = (...share: number[]) => progress.push(share);
    expect(await until(image.snapshots.purge({ onProgress }))).toEqual(['s2']);
    expect(progress).toEqual([
      [1, 3],
      [2, 3],
    ]);
    expect((await listed(image)).map(({ name }) => name)).toEqual(['s2']);
  });
});

it('snapshots of an image that is open for reading only are listed and not changed', async () => {
  const image = await create();
  await until(image.snapshots.create('s1'));
  const reader = await client.open('vm1', { readOnly: true });
  expect((await listed(reader)).map(({ name }) => name)).toEqual(['s1']);
  const { snapshots } = reader;
  for (const change of [
    () => snapshots.create('s2'),
    () => snapshots.remove('s1'),
    () => snapshots.rename('s1', 's2'),
    () => snapshots.protect('s1'),
    () => snapshots.rollback('s1'),
    () => snapshots.setLimit(3),
  ]) {
    expect(await failure(change())).toMatchObject({ code: 'EROFS' });
  }
});
