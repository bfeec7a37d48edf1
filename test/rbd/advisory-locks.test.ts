import { beforeEach, describe, expect, it } from 'vitest';
import {
  addImageLock,
  type LockBreaker,
  listImageLocks,
  removeImageLock,
} from '../../src/rbd/advisory-locks.js';
import type { RbdContext } from '../../src/rbd/context.js';
import type { ImageHandle } from '../../src/rbd/open.js';
import { type LockClient, LockWorld } from '../support/lock-world.js';
import { rejection } from '../support/rejection.js';

let at: LockWorld;
let a: LockClient;
let b: LockClient;

beforeEach(() => {
  at = new LockWorld();
  a = at.client();
  b = at.client();
});

const until = <T>(goal: Promise<T>) => at.world.until(goal);
const failed = (promise: Promise<unknown>) => until(rejection(promise));

/** The image, as far as its locks go. */
const image = (client: LockClient, readOnly = false): ImageHandle =>
  ({
    context: { environment: client.env } as RbdContext,
    ioctx: client.ioctx,
    id: '10a1',
    target: 'rbd/vm1',
    readOnly,
  }) as ImageHandle;

const breaker = (client: LockClient): LockBreaker => ({
  globalId: client.globalId,
  blocklistAdd: (addr, expireS) => client.blocklist(addr, expireS),
});

describe('advisory locks', () => {
  it('are exclusive, with who holds them and from where', async () => {
    expect(await until(listImageLocks(image(a)))).toEqual({ exclusive: false, tag: '', locks: [] });
    await until(addImageLock(image(a), 'mine'));
    expect(await until(listImageLocks(image(b)))).toEqual({
      exclusive: true,
      tag: '',
      locks: [{ client: 'client.1', id: 'mine', address: '10.0.0.5:0/7001' }],
    });
    expect(await failed(addImageLock(image(a), 'mine'))).toMatchObject({ code: 'EEXIST' });
    expect(await failed(addImageLock(image(b), 'mine'))).toMatchObject({
      code: 'EBUSY',
      message: expect.stringContaining("add lock 'mine' to rbd/vm1"),
    });
  });

  it('are shared by those with the same tag', async () => {
    await until(addImageLock(image(a), 'one', { shared: 'backup' }));
    await until(addImageLock(image(b), 'two', { shared: 'backup' }));
    expect(await failed(addImageLock(image(b), 'three', { shared: 'other' }))).toMatchObject({
      code: 'EBUSY',
    });
    expect(await failed(addImageLock(image(b), 'three'))).toMatchObject({ code: 'EBUSY' });
    const { exclusive, tag, locks } = await until(listImageLocks(image(a)));
    expect([exclusive, tag, locks.map(({ id }) => id)]).toEqual([false, 'backup', ['one', 'two']]);
  });

  it('keep live clients from the exclusive lock, and the other way round', async () => {
    await until(addImageLock(image(a), 'mine'));
    expect(await failed(b.write('b'))).toMatchObject({ code: 'EBUSY' });
    await until(removeImageLock(image(a), { client: 'client.1', id: 'mine' }, breaker(a)));
    await until(b.write('b'));
    expect(await failed(addImageLock(image(a), 'mine'))).toMatchObject({ code: 'EBUSY' });
    expect((await until(listImageLocks(image(a)))).locks).toMatchObject([{ id: 'auto 200' }]);
  });

  it('are removed from another after it was fenced, and the header counts as changed then', async () => {
    await until(addImageLock(image(a), 'mine'));
    at.log.length = 0;
    const holder = { client: 'client.1', id: 'mine' };
    await until(removeImageLock(image(b), holder, breaker(b), { blocklistExpireSeconds: 30 }));
    expect(at.log).toEqual([
      'client.2: get_info',
      'client.2: blocklist 10.0.0.5:0/7001 30',
      'client.2: break_lock',
      'client.2: notify',
    ]);
    expect(at.owner).toBeUndefined();
  });

  it('are given back by the very client without a fence', async () => {
    await until(addImageLock(image(a), 'mine'));
    await until(removeImageLock(image(a), { client: 'client.1', id: 'mine' }, breaker(a)));
    expect(at.blocklist.size).toBe(0);
    expect(at.owner).toBeUndefined();
  });

  it('fence nobody for a lock that is not there', async () => {
    await until(addImageLock(image(a), 'mine'));
    for (const holder of [
      { client: 'client.1', id: 'other' },
      { client: 'client.2', id: 'mine' },
    ]) {
      expect(await failed(removeImageLock(image(b), holder, breaker(b)))).toMatchObject({
        code: 'ENOENT',
      });
    }
    for (const client of ['osd.1', 'client.', 'client.x', '1', 'client.1 ']) {
      const removal = removeImageLock(image(b), { client, id: 'mine' }, breaker(b));
      expect(await failed(removal)).toMatchObject({ code: 'EINVAL' });
    }
    expect(at.blocklist.size).toBe(0);
    expect(at.owner).toBe('client.1 mine');
  });

  it('are not changed through an image that is open for reading only', async () => {
    const readOnly = image(a, true);
    expect(await failed(addImageLock(readOnly, 'mine'))).toMatchObject({ code: 'EROFS' });
    const holder = { client: 'client.1', id: 'mine' };
    expect(await failed(removeImageLock(readOnly, holder, breaker(a)))).toMatchObject({
      code: 'EROFS',
    });
    expect((await until(listImageLocks(readOnly))).locks).toEqual([]);
  });
});
