// The exclusive lock when its watch is lost, and when the lock is: nothing is written in between.

import { beforeEach, describe, expect, it } from 'vitest';
import { RadosError } from '../../src/base/errors.js';
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

const until = <T>(goal: Promise<T> | (() => T | undefined | false)) => at.world.until(goal);
const failed = (promise: Promise<unknown>) => until(rejection(promise));
const refuseCookie = (errno: number) => {
  at.onRequest = (_, text) => {
    if (!text.includes('set_cookie')) return;
    at.onRequest = () => {};
    throw RadosError.fromErrno(errno, { outcome: 'not-applied' });
  };
};

describe('a watch that is registered again', () => {
  it('carries the lock to its new cookie, and says so', async () => {
    await until(a.write('a'));
    await at.world.advance(10);
    at.log.length = 0;
    a.loseWatch();
    await until(a.reregister(777n));
    expect(at.owner).toBe('client.1 auto 777');
    expect(a.lock.state).toBe('locked');
    await at.world.advance(10);
    expect(at.log.slice(0, 2)).toEqual(['client.1: set_cookie', 'client.1: notify acquired']);
    expect(a.events).toEqual(['acquired']);
    // The others find the owner alive under it, and are answered.
    await until(b.write('b'));
    expect(at.blocklist.size).toBe(0);
  });

  it('needs nothing when its cookie is the old one', async () => {
    await until(a.write('a'));
    await at.world.advance(10);
    at.log.length = 0;
    a.loseWatch();
    await until(a.reregister(a.watchCookie));
    await at.world.advance(10);
    expect(at.log.filter((line) => line.startsWith('client.1'))).toEqual([
      'client.1: notify acquired',
      'client.1: ack acquired',
    ]);
    expect(a.lock.state).toBe('locked');
  });

  it('holds back what has entered while the cookies differ', async () => {
    const write = a.write('long', 6);
    await until(() => at.writes.length === 2);
    await until(() => a.inFlight === 0 || at.writes.length > 2);
    const seen = at.writes.length;
    a.loseWatch();
    const again = a.reregister();
    expect(a.lock.state).toBe('reacquiring');
    expect(a.lock.enter()).toBeInstanceOf(Promise);
    expect(a.lock.passObject()).toBeInstanceOf(Promise);
    await until(again);
    expect(at.writes.length).toBeLessThanOrEqual(seen + 1);
    a.lock.leave();
    await until(write);
    expect(at.writes).toHaveLength(6);
  });

  it.each([
    ['EOPNOTSUPP', -95],
    ['EIO', -5],
  ])('takes the lock anew when the OSD answers %s, after what was under way', async (_, errno) => {
    await until(a.write('warm'));
    const write = a.write('long', 10);
    refuseCookie(errno);
    a.loseWatch();
    await until(a.reregister());
    const late = a.write('late');
    await until(Promise.all([write, late]));
    expect(at.owner).toBe(`client.1 auto ${a.watchCookie}`);
    expect(a.events).toEqual(['acquired', 'lost: refused', 'acquired']);
    expect(at.writes.indexOf('late')).toBe(at.writes.length - 1);
    expect(at.intruders).toEqual([]);
  });

  it('W44 takes the lock anew when it was broken meanwhile, and writes nothing in between', async () => {
    await until(a.write('warm'));
    const write = a.write('long', 10);
    await until(() => a.inFlight === 1);
    a.loseWatch();
    // What is on its way has arrived.
    await at.world.advance(5);
    at.stealLock();
    await until(b.lock.tryAcquire());
    const seen = at.writes.length;
    await until(a.reregister());
    expect(a.lock.isOwner).toBe(false);
    const late = a.write('late');
    await until(Promise.all([write, late]));
    expect(at.intruders).toEqual([]);
    expect(at.writes).toHaveLength(12);
    expect(seen).toBeLessThan(5);
    expect(a.events).toEqual(['acquired', 'lost: broken', 'acquired']);
    expect(a.lock.status().counters).toMatchObject({ lost: 1, handedOver: 0 });
  });

  it('is found dead no more once it has moved during a release', async () => {
    await until(a.write('warm'));
    const write = a.write('long', 50);
    const other = b.write('b');
    await until(() => a.lock.state === 'pre-releasing');
    a.loseWatch();
    await until(a.reregister(888n));
    expect(a.lock.state).toBe('pre-releasing');
    expect(at.owner).toBe('client.1 auto 888');
    await until(Promise.all([write, other]));
    expect(at.owner).toBe('client.2 auto 200');
    expect(at.intruders).toEqual([]);
    expect(at.blocklist.size).toBe(0);
  });

  it('leaves nothing to wait for when the lock is lost during a release', async () => {
    await until(a.write('warm'));
    const write = a.write('long', 50);
    const other = b.write('b');
    await until(() => a.lock.state === 'pre-releasing');
    a.loseWatch();
    await at.world.advance(5);
    at.stealLock();
    await until(a.reregister());
    await until(other);
    await until(write);
    expect(at.writes.indexOf('b')).toBeLessThan(at.writes.indexOf('long.49'));
    expect(at.intruders).toEqual([]);
  });

  it('is followed when it changes again while the lock follows', async () => {
    await until(a.write('a'));
    a.loseWatch();
    const first = a.reregister(901n);
    const second = a.reregister(902n);
    await until(Promise.all([first, second]));
    expect(at.owner).toBe('client.1 auto 902');
    expect(a.lock.state).toBe('locked');
  });
});

describe('a lock that another client says to have', () => {
  it('stays ours when the OSD says so', async () => {
    await until(a.write('a'));
    a.lock.onAcquiredLock({ gid: 2n, handle: 200n });
    expect(a.lock.state).toBe('reacquiring');
    await until(() => a.lock.state === 'locked');
    await at.world.advance(10);
    expect(a.events).toEqual(['acquired']);
    expect(at.log.filter((line) => line === 'client.1: notify acquired')).toHaveLength(1);
    expect(a.lock.status().counters.reacquired).toBe(0);
  });

  it('is lost when the OSD says so too, and taken anew by asking', async () => {
    await until(a.write('a'));
    at.stealLock();
    await until(b.write('b'));
    await until(() => a.events.includes('lost: broken'));
    await until(a.write('a again'));
    expect(at.intruders).toEqual([]);
  });
});

describe('a client that is fenced', () => {
  it('has lost the lock for good: all that waits and all that comes fails', async () => {
    await until(a.write('a'));
    const inside = rejection(a.write('long', 5));
    at.blocklist.add(a.addrText);
    expect(await until(inside)).toMatchObject({ code: 'EBLOCKLISTED' });
    a.failWatch(RadosError.fromErrno(-108, {}));
    expect(a.lock.state).toBe('shutdown');
    expect(a.events).toEqual(['acquired', 'lost: blocklisted']);
    expect(await failed(a.write('late'))).toMatchObject({ code: 'EBLOCKLISTED', errno: -108 });
    expect(await failed(a.lock.acquire())).toMatchObject({ code: 'EBLOCKLISTED' });
    expect(await failed(a.lock.tryAcquire())).toMatchObject({ code: 'EBLOCKLISTED' });
    await until(a.lock.release());
    await until(a.lock.shutdown());
  });

  it('learns of it from its own request for the lock', async () => {
    at.blocklist.add(a.addrText);
    expect(await failed(a.write('a'))).toMatchObject({ code: 'EBLOCKLISTED' });
    expect(a.lock.state).toBe('shutdown');
  });

  it('learns of it while it waits for another', async () => {
    await until(b.write('b'));
    b.answerRequest = async () => 0;
    a.answerRequest = async () => 0;
    const write = rejection(a.write('a'));
    await until(() => a.lock.state === 'waiting-for-lock');
    a.failWatch(RadosError.fromErrno(-108, {}));
    expect(await until(write)).toMatchObject({ code: 'EBLOCKLISTED' });
  });

  it('does not hang in a release that was under way', async () => {
    const write = rejection(a.write('long', 1000));
    await until(() => a.lock.state === 'locked');
    const released = a.lock.release();
    const closed = a.lock.shutdown();
    at.blocklist.add(a.addrText);
    a.failWatch(RadosError.fromErrno(-108, {}));
    await until(Promise.all([released, closed]));
    expect(await until(write)).toMatchObject({ code: 'EBLOCKLISTED' });
    await until(b.write('b'));
  });

  it('does not wait for what is inside and does not end', async () => {
    await until(a.write('a'));
    expect(a.lock.enter()).toBeUndefined();
    const released = a.lock.release();
    await at.world.advance(10_000);
    expect(a.lock.state).toBe('pre-releasing');
    a.failWatch(RadosError.fromErrno(-108, {}));
    await until(released);
    a.lock.leave();
  });

  it('learns of it when the lock cannot follow the watch', async () => {
    await until(a.write('a'));
    at.blocklist.add(a.addrText);
    a.loseWatch();
    await until(a.reregister());
    expect(a.lock.state).toBe('shutdown');
    expect(a.events).toEqual(['acquired', 'lost: blocklisted']);
  });
});

describe('an image that is removed', () => {
  it('fails what waits with ENOENT', async () => {
    await until(a.write('a'));
    a.failWatch(RadosError.fromErrno(-2, {}));
    expect(a.events).toEqual(['acquired', 'lost: broken']);
    expect(await failed(a.write('late'))).toMatchObject({ code: 'ENOENT' });
  });
});
