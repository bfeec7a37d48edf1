// The exclusive lock on one header, in virtual time: its steps, its refusals, and what it does when things go wrong.

import { beforeEach, describe, expect, it } from 'vitest';
import { RadosError } from '../../src/base/errors.js';
import { mutate } from '../../src/rados/class-call.js';
import { LOCK_TYPE, lock as lockCall } from '../../src/rados/cls-lock.js';
import { HEADER, type LockClient, LockWorld } from '../support/lock-world.js';
import { rejection } from '../support/rejection.js';

let at: LockWorld;
let a: LockClient;
let b: LockClient;

beforeEach(() => {
  at = new LockWorld();
  a = at.client();
  b = at.client();
});

const until = <T>(goal: Promise<T> | (() => T | undefined | false)) => at.world.until(goal);
const failed = (promise: Promise<unknown>) => until(rejection(promise));
const requests = (client: LockClient) =>
  at.log.filter((line) => line.startsWith(`client.${client.id}:`)).map((line) => line.slice(10));
const onHeader = (identity: { cookie?: string; tag?: string; type?: number }) =>
  until(
    mutate(b.ioctx, HEADER, [
      lockCall({ name: 'rbd_lock', type: LOCK_TYPE.EXCLUSIVE, ...identity }),
    ]),
  );

describe('taking a free lock', () => {
  it('happens with the first write, which then goes through', async () => {
    await until(a.write('first'));
    expect(at.writes).toEqual(['first']);
    expect(at.owner).toBe('client.1 auto 100');
    expect(a.states).toEqual(['unlocked', 'acquiring', 'post-acquiring', 'locked']);
    expect(requests(a)).toEqual(['get_info', 'lock', 'notify acquired']);
    expect(a.events).toEqual(['acquired']);
    expect(a.refreshes).toBe(1);
  });

  it('is not needed twice', async () => {
    await until(a.write('first'));
    expect(a.lock.enter()).toBeUndefined();
    expect(a.lock.passObject()).toBeUndefined();
    a.lock.leave();
  });

  it('opens the image only when header and object map are loaded', async () => {
    const order: string[] = [];
    a.onRefresh = () => void order.push('refresh');
    a.onPostAcquire = async () => {
      await a.info();
      order.push(`object map while ${a.lock.state}`);
    };
    await until(a.write('first').then(() => order.push('write')));
    expect(order).toEqual(['refresh', 'object map while post-acquiring', 'write']);
  });

  it('gives the lock back when the object map cannot be loaded, and says so to who waits', async () => {
    a.onPostAcquire = () => Promise.reject(new RadosError('EIO', 'no map'));
    expect(await failed(a.write('first'))).toMatchObject({ code: 'EIO', message: 'no map' });
    await until(() => a.lock.state === 'unlocked');
    expect(at.owner).toBeUndefined();
    expect(at.writes).toEqual([]);
    a.onPostAcquire = () => {};
    await until(a.write('second'));
  });

  it('waits for the watch, whose cookie the lock has', async () => {
    a.loseWatch();
    const write = a.write('first');
    await at.world.advance(60_000);
    expect(a.lock.state).toBe('waiting-for-register');
    expect(at.log).toEqual([]);
    await until(a.reregister(150n));
    await until(write);
    expect(at.owner).toBe('client.1 auto 150');
  });

  it('takes the new cookie when the watch is registered anew in between', async () => {
    a.onPostAcquire = () => {
      a.onPostAcquire = () => {};
      a.loseWatch();
      return a.reregister(160n);
    };
    await until(a.write('first'));
    expect(at.owner).toBe('client.1 auto 160');
    expect(at.intruders).toEqual([]);
  });

  it.each([
    ['refuses the new cookie', -95],
    ['finds it lost', -16],
  ])(
    'starts over when the watch is registered anew in between and the OSD %s',
    async (_, errno) => {
      let closed = 0;
      a.onPreRelease = () => void closed++;
      a.onPostAcquire = () => {
        a.onPostAcquire = () => {};
        at.onRequest = (_client, text) => {
          if (text.includes('set_cookie')) throw RadosError.fromErrno(errno, {});
        };
        a.loseWatch();
        return a.reregister(160n);
      };
      await until(a.write('first'));
      expect(at.owner).toBe('client.1 auto 160');
      expect(a.lock.status().cookie).toBe('auto 160');
      expect(closed).toBe(1);
      expect(at.intruders).toEqual([]);
    },
  );

  it('lets in who waited for it before it is released to who asked meanwhile', async () => {
    a.onPostAcquire = () => {
      a.onPostAcquire = () => {};
      expect(a.lock.onRequestLock({ gid: 2n, handle: 200n })).toBe(0);
    };
    await until(a.write('first', 3));
    await until(() => a.lock.state === 'unlocked');
    expect(at.intruders).toEqual([]);
    expect(a.lock.status().counters).toMatchObject({ acquired: 1, handedOver: 1 });
  });

  it('counts a lock that this client and cookie has already as its own', async () => {
    await until(
      mutate(a.ioctx, HEADER, [
        lockCall({ name: 'rbd_lock', type: 1, cookie: 'auto 100', tag: 'internal' }),
      ]),
    );
    await until(a.write('first'));
    expect(requests(a).slice(1)).toEqual(['get_info', 'notify acquired']);
  });

  it('does not create a header anew that was removed', async () => {
    at.removeHeader();
    expect(await failed(a.write('first'))).toMatchObject({ code: 'ENOENT' });
    expect(at.headerExists).toBe(false);
    // Also not when it goes between the question and the lock.
    at = new LockWorld();
    a = at.client();
    at.onRequest = (_, text) => {
      if (text.includes('lock.lock')) at.removeHeader();
    };
    expect(await failed(a.write('first'))).toMatchObject({ code: 'ENOENT' });
    expect(at.headerExists).toBe(false);
  });
});

describe('a lock that is held', () => {
  it('is asked for, handed over, and written under by one at a time', async () => {
    await until(a.write('a'));
    const started = at.world.now;
    await until(b.write('b'));
    expect(at.world.now - started).toBeLessThan(50);
    expect(at.owner).toBe('client.2 auto 200');
    expect(b.states).toEqual([
      ...['unlocked', 'acquiring', 'waiting-for-lock', 'acquiring', 'post-acquiring', 'locked'],
    ]);
    expect(a.states.slice(-3)).toEqual(['pre-releasing', 'releasing', 'unlocked']);
    expect(a.events).toEqual(['acquired', 'lost: requested']);
    expect(a.lock.status().counters).toMatchObject({ handedOver: 1, released: 0, lost: 0 });
  });

  it('is locked before its release is acknowledged', async () => {
    await until(a.write('a'));
    await until(b.write('b'));
    const mine = requests(b);
    const locked = mine.lastIndexOf('lock');
    const acknowledged = mine.indexOf('ack released');
    expect(locked).toBeGreaterThan(0);
    expect(acknowledged).toBeGreaterThan(locked);
    // Without asking again whose it is.
    expect(mine.slice(0, locked + 1)).toEqual([
      ...[
        'ack acquired',
        'get_info',
        'lock',
        'list-watchers',
        'notify request',
        'ack request',
        'lock',
      ],
    ]);
  });

  it('goes to the other in the first round, however much its owner has to write', async () => {
    let stop = false;
    let written = 0;
    const busy = Promise.all(
      Array.from({ length: 8 }, async () => {
        while (!stop) {
          await a.write('a');
          written++;
        }
      }),
    );
    await until(() => written > 20);
    const started = at.world.now;
    await until(b.write('b'));
    expect(at.world.now - started).toBeLessThan(50);
    expect(b.lock.status().counters.acquired).toBe(1);
    expect(requests(b).filter((text) => text === 'notify request')).toHaveLength(1);
    stop = true;
    await until(busy);
    expect(at.intruders).toEqual([]);
  });

  it('is released only when what is inside is done, objects that have not begun included', async () => {
    await until(a.write('warm'));
    const long = a.write('long', 20);
    const other = b.write('b');
    await until(() => a.lock.state === 'pre-releasing');
    const late = a.write('late');
    await until(Promise.all([long, other, late]));
    expect(at.writes.indexOf('b')).toBeGreaterThan(at.writes.indexOf('long.19'));
    expect(at.writes.indexOf('late')).toBeGreaterThan(at.writes.indexOf('b'));
    expect(at.intruders).toEqual([]);
  });

  it('is not asked for again by who released it before the release was acknowledged', async () => {
    await until(a.write('a'));
    const other = b.write('b');
    await until(() => a.lock.state === 'releasing');
    const again = a.write('again');
    await until(Promise.all([other, again]));
    const mine = at.log;
    const acknowledged = mine.indexOf('client.2: ack released');
    const asked = mine.indexOf('client.1: get_info', mine.indexOf('client.1: notify released'));
    expect(acknowledged).toBeGreaterThan(0);
    expect(asked).toBeGreaterThan(acknowledged);
  });

  it('is kept while nobody needs it elsewhere, and not taken back without a write', async () => {
    await until(a.write('a'));
    await until(b.write('b'));
    await at.world.advance(120_000);
    expect(at.owner).toBe('client.2 auto 200');
    expect(a.lock.state).toBe('unlocked');
  });

  it('is asked for again 10 s after its owner said yes and did nothing', async () => {
    await until(a.write('a'));
    let asked = 0;
    b.answerRequest = async () => {
      asked++;
      return 0;
    };
    void b.write('b').catch(() => undefined);
    await at.world.advance(35_000);
    expect(asked).toBe(4);
    expect(b.lock.state).toBe('waiting-for-lock');
  });

  it('is asked for again after 1 s when the answer makes no sense', async () => {
    await until(a.write('a'));
    let asked = 0;
    b.answerRequest = async () => {
      asked++;
      return -22;
    };
    void b.write('b').catch(() => undefined);
    await at.world.advance(4500);
    expect(asked).toBe(5);
  });

  it('is not asked for in a tight loop when its owner lives and nobody answers for it', async () => {
    await until(a.write('a'));
    let asked = 0;
    b.answerRequest = async () => {
      asked++;
      return undefined;
    };
    void b.write('b').catch(() => undefined);
    await at.world.advance(60_000);
    expect(asked).toBeGreaterThan(50);
    expect(asked).toBeLessThan(150);
  });

  it('fails the write with EROFS when its owner keeps it', async () => {
    a.lock.transitions = 'manual';
    await until(a.lock.acquire());
    await until(a.write('a'));
    const error = await failed(b.write('b'));
    expect(error).toMatchObject({ code: 'EROFS', outcome: 'not-applied' });
    expect(error.message).toContain('client.1');
    expect(at.owner).toBe('client.1 auto 100');
    expect(a.lock.status().counters.refused).toBe(1);
    a.lock.transitions = 'auto';
    await until(b.write('b'));
  });

  it.each([
    ['of rbd lock add', { cookie: 'mine', tag: '' }, "external mechanism, tag ''"],
    ['with a foreign cookie', { cookie: 'auto x', tag: 'internal' }, "cookie 'auto x'"],
    [
      'with a cookie over 64 bits',
      { cookie: 'auto 18446744073709551616', tag: 'internal' },
      'cookie',
    ],
    ['that is shared', { cookie: 'auto 7', tag: 'internal', type: LOCK_TYPE.SHARED }, 'shared'],
  ])('fails the write with EBUSY when it is one %s', async (_, identity, why) => {
    await onHeader(identity);
    const error = await failed(a.write('a'));
    expect(error).toMatchObject({ code: 'EBUSY' });
    expect(error.message).toContain(why);
    expect(at.blocklist.size).toBe(0);
    expect(a.lock.state).toBe('unlocked');
  });

  it('is tried for without asking a living owner', async () => {
    await until(a.write('a'));
    expect(await until(b.lock.tryAcquire())).toBe(false);
    expect(b.lock.state).toBe('unlocked');
    expect(requests(b).filter((text) => text.startsWith('notify'))).toEqual([]);
    await until(a.lock.release());
    expect(await until(b.lock.tryAcquire())).toBe(true);
  });

  it('is not tried for while a write waits for it, whose owner lives', async () => {
    await until(a.write('a'));
    b.answerRequest = async () => 0;
    const abort = new AbortController();
    const entry = b.lock.enter(abort.signal) as Promise<void>;
    await until(() => b.lock.state === 'waiting-for-lock');
    expect(await b.lock.tryAcquire()).toBe(false);
    abort.abort();
    expect(await failed(entry)).toMatchObject({ code: 'ECANCELED' });
  });

  it('is tried for to the end although the write that came meanwhile gave up', async () => {
    const taken = b.lock.tryAcquire();
    const abort = new AbortController();
    const entry = b.lock.enter(abort.signal) as Promise<void>;
    abort.abort();
    expect(await failed(entry)).toMatchObject({ code: 'ECANCELED' });
    expect(await until(taken)).toBe(true);
  });

  it('is waited for as long as lock_timeout says, then ETIMEDOUT, and no longer wanted', async () => {
    await until(a.write('a'));
    b = at.client({ lockTimeoutMs: 7000 });
    b.answerRequest = async () => 0;
    const started = at.world.now;
    expect(await failed(b.lock.acquire())).toMatchObject({ code: 'ETIMEDOUT' });
    expect(at.world.now - started).toBeGreaterThanOrEqual(7000);
    expect(at.world.now - started).toBeLessThan(7100);
    await until(() => b.lock.state === 'unlocked');
    await until(a.lock.release());
    await at.world.advance(60_000);
    expect(at.owner).toBeUndefined();
  });

  it('is no longer wanted when the write is aborted', async () => {
    await until(a.write('a'));
    b.answerRequest = async () => 0;
    const abort = new AbortController();
    const entry = b.lock.enter(abort.signal) as Promise<void>;
    await until(() => b.lock.state === 'waiting-for-lock');
    abort.abort();
    expect(await failed(entry)).toMatchObject({ code: 'ECANCELED', outcome: 'not-applied' });
    await until(() => b.lock.state === 'unlocked');
    expect(b.lock.status()).toMatchObject({ inside: 0, waiting: 0 });
  });

  it('is wanted again when a write comes just after the last one gave up', async () => {
    await until(a.write('a'));
    const abort = new AbortController();
    const entry = b.lock.enter(abort.signal) as Promise<void>;
    await until(() => b.lock.state === 'waiting-for-lock');
    abort.abort();
    const write = b.write('b');
    expect(await failed(entry)).toMatchObject({ code: 'ECANCELED' });
    await until(write);
  });
});

describe('a dead owner', () => {
  it('is asked until its watch has gone, then fenced, and its delayed write changes nothing', async () => {
    await until(a.write('a'));
    a.kill();
    const started = at.world.now;
    await until(b.write('b'));
    const took = at.world.now - started;
    expect(took).toBeGreaterThan(29_000);
    expect(took).toBeLessThan(36_000);
    expect([...at.blocklist]).toEqual(['10.0.0.5:0/7001']);
    expect(at.owner).toBe('client.2 auto 200');
    expect(b.lock.status().counters.broken).toBe(1);
    // Twice the question whose it is, the fence before the break, all before the lock.
    expect(requests(b).slice(-8)).toEqual([
      ...['get_info', 'lock', 'list-watchers', 'get_info', 'blocklist 10.0.0.5:0/7001 default'],
      ...['break_lock', 'lock', 'notify acquired'],
    ]);
    expect(() => at.apply(a, 'delayed')).toThrow();
  });

  it('is fenced for as long as told', async () => {
    b = at.client({ blocklistExpireSeconds: 60 });
    await until(a.write('a'));
    a.kill(0);
    await until(b.write('b'));
    expect(at.log).toContain('client.3: blocklist 10.0.0.5:0/7001 60');
  });

  it('is left alone when the lock changed hands between the two questions', async () => {
    await until(a.write('a'));
    a.kill(0);
    const c = at.client();
    const { op } = lockCall({ name: 'rbd_lock', type: 1, cookie: 'auto 300', tag: 'internal' });
    at.onRequest = (client, text) => {
      if (client !== b || !text.includes('list-watchers')) return;
      at.onRequest = () => {};
      at.stealLock();
      at.execute(c, [op], { write: true });
    };
    void b.write('b').catch(() => undefined);
    await at.world.advance(60_000);
    expect(at.blocklist.size).toBe(0);
    expect(at.owner).toBe('client.3 auto 300');
  });

  it('keeps the lock when it cannot be fenced', async () => {
    await until(a.write('a'));
    a.kill(0);
    at.onRequest = (_, text) => {
      if (text === 'blocklist') throw new RadosError('EACCES', 'no caps');
    };
    expect(await failed(b.write('b'))).toMatchObject({ code: 'EACCES' });
    expect(at.owner).toBe('client.1 auto 100');
  });

  it('is broken once when two find it dead', async () => {
    const c = at.client();
    await until(a.write('a'));
    a.kill(0);
    await until(Promise.all([b.write('b'), c.write('c')]));
    expect([...at.blocklist]).toEqual(['10.0.0.5:0/7001']);
    expect(at.intruders).toEqual([]);
  });

  it('is never this very client, whatever its watch says', async () => {
    const second = at.handle(a);
    await until(a.write('a'));
    a.loseWatch();
    void second.write('second').catch(() => undefined);
    await at.world.advance(20_000);
    expect(at.blocklist.size).toBe(0);
    expect(second.lock.isOwner).toBe(false);
    await until(a.reregister());
    await until(() => second.lock.isOwner);
    expect(at.intruders).toEqual([]);
  });
});

describe('handles of one client', () => {
  it('ask one another as two clients do', async () => {
    const second = at.handle(a);
    await until(a.write('a'));
    await until(second.write('second'));
    await until(a.write('a again'));
    expect(at.owner).toBe('client.1 auto 100');
    expect(at.blocklist.size).toBe(0);
  });
});

describe('the exclusive option', () => {
  beforeEach(() => {
    a = at.client({ transitions: 'manual' });
  });

  it('lets nothing be written before the lock is taken by hand', async () => {
    expect(await failed(a.write('a'))).toMatchObject({ code: 'EROFS' });
    expect(at.log).toEqual([]);
    const acquired = a.lock.acquire();
    const write = a.write('a');
    await until(Promise.all([acquired, write]));
    expect(at.writes).toEqual(['a']);
  });

  it('keeps the lock until it is released by hand', async () => {
    await until(a.lock.acquire());
    expect(await failed(b.write('b'))).toMatchObject({ code: 'EROFS' });
    await until(a.lock.release());
    expect(a.events).toEqual(['acquired', 'lost: released']);
    await until(b.write('b'));
    expect(await failed(a.write('a'))).toMatchObject({ code: 'EROFS' });
  });

  it('takes the lock anew by itself when the OSD refuses the new cookie', async () => {
    await until(a.lock.acquire());
    at.onRequest = (_, text) => {
      if (text.includes('set_cookie')) throw RadosError.fromErrno(-95, { outcome: 'not-applied' });
    };
    a.loseWatch();
    await until(a.reregister());
    await until(a.write('a'));
    expect(at.owner).toBe(`client.3 auto ${a.watchCookie}`);
  });
});
