// The exclusive lock when the image is closed, and when answers do not come: nothing hangs, nothing is left behind.

import { beforeEach, describe, expect, it } from 'vitest';
import { RadosError } from '../../src/base/errors.js';
import { type LockClient, LockWorld, NO_ANSWER } from '../support/lock-world.js';
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

describe('closing', () => {
  it('gives the lock back when what is inside is done', async () => {
    const write = a.write('long', 5);
    await until(() => a.lock.state === 'locked');
    const closed = a.lock.shutdown();
    await until(Promise.all([write, closed]));
    expect(at.owner).toBeUndefined();
    expect(a.lock.state).toBe('shutdown');
    expect(a.events).toEqual(['acquired', 'lost: closed']);
    expect(at.log.indexOf('client.1: notify released')).toBeGreaterThan(0);
    expect(await failed(a.write('late'))).toMatchObject({ code: 'ECANCELED' });
    await until(a.lock.shutdown());
  });

  it('turns away who waits for the lock of another', async () => {
    await until(a.write('a'));
    b.answerRequest = async () => 0;
    const write = rejection(b.write('b'));
    const acquire = rejection(b.lock.acquire());
    await until(() => b.lock.state === 'waiting-for-lock');
    await until(b.lock.shutdown());
    expect(await until(write)).toMatchObject({ code: 'ECANCELED', outcome: 'not-applied' });
    expect(await until(acquire)).toMatchObject({ code: 'ECANCELED' });
    expect(b.lock.state).toBe('shutdown');
  });

  it('turns away who waits for the watch', async () => {
    a.loseWatch();
    const write = rejection(a.write('a'));
    await at.world.flush();
    await until(a.lock.shutdown());
    expect(await until(write)).toMatchObject({ code: 'ECANCELED' });
  });

  it('ends although the OSD does not answer, and leaves the lock to its watch', async () => {
    await until(a.write('a'));
    at.onRequest = (_, text) => {
      if (text.includes('unlock')) throw NO_ANSWER;
    };
    const started = at.world.now;
    await until(a.lock.shutdown());
    expect(at.world.now - started).toBeLessThan(36_000);
    at.onRequest = () => {};
    a.kill(0);
    await until(b.write('b'));
    expect([...at.blocklist]).toEqual(['10.0.0.5:0/7001']);
  });

  it('does not wait for a watcher that died', async () => {
    await until(a.write('a'));
    b.kill();
    const started = at.world.now;
    await until(a.lock.shutdown());
    expect(at.world.now - started).toBeLessThan(1100);
    expect(at.owner).toBeUndefined();
  });

  it('leaves no timer behind', async () => {
    await until(a.write('a'));
    await until(b.write('b'));
    await until(Promise.all([a.lock.shutdown(), b.lock.shutdown()]));
    await at.world.advance(31_000);
    expect(at.world.pendingEvents).toBe(0);
  });
});

describe('answers that do not come', () => {
  it('unlocks what a lock without an answer may have taken', async () => {
    at.onAnswer = (_, text) => {
      if (text.includes('lock.lock'))
        throw new RadosError('ETIMEDOUT', 'late', { outcome: 'unknown' });
    };
    expect(await failed(a.write('a'))).toMatchObject({ code: 'ETIMEDOUT' });
    await until(() => a.lock.state === 'unlocked');
    expect(at.owner).toBeUndefined();
  });

  it('unlocks it at the latest when another asks', async () => {
    at.onAnswer = (_, text) => {
      if (text.includes('lock.lock'))
        throw new RadosError('ETIMEDOUT', 'late', { outcome: 'unknown' });
    };
    at.onRequest = (_, text) => {
      if (text.includes('lock.unlock'))
        throw new RadosError('ETIMEDOUT', 'late', { outcome: 'unknown' });
    };
    expect(await failed(a.write('a'))).toMatchObject({ code: 'ETIMEDOUT' });
    await until(() => a.lock.state === 'unlocked');
    expect(at.owner).toBe('client.1 auto 100');
    at.onAnswer = () => {};
    at.onRequest = () => {};
    await until(b.write('b'));
    expect(at.owner).toBe('client.2 auto 200');
    expect(at.blocklist.size).toBe(0);
  });

  it('takes it over when it is needed again, under whatever cookie', async () => {
    at.onAnswer = (_, text) => {
      if (text.includes('lock.lock'))
        throw new RadosError('ETIMEDOUT', 'late', { outcome: 'unknown' });
    };
    at.onRequest = (_, text) => {
      if (text.includes('lock.unlock'))
        throw new RadosError('ETIMEDOUT', 'late', { outcome: 'unknown' });
    };
    expect(await failed(a.write('a'))).toMatchObject({ code: 'ETIMEDOUT' });
    await until(() => a.lock.state === 'unlocked');
    at.onAnswer = () => {};
    at.onRequest = () => {};
    a.loseWatch();
    await until(a.reregister());
    await until(a.write('a'));
    expect(at.owner).toBe('client.1 auto 101');
    expect(at.blocklist.size).toBe(0);
  });
});
