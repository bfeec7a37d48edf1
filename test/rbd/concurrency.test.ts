import { describe, expect, it } from 'vitest';
import { eachLimited, WriteTracker } from '../../src/rbd/concurrency.js';

const turn = () => new Promise((resolve) => setImmediate(resolve));

function deferred() {
  let resolve = () => {};
  let reject: (error: Error) => void = () => {};
  const promise = new Promise<void>((done, failed) => {
    resolve = done;
    reject = failed;
  });
  return { promise, resolve, reject };
}

describe('eachLimited', () => {
  it('runs every item, so many at a time', async () => {
    let running = 0;
    let most = 0;
    const done: number[] = [];
    await eachLimited([1, 2, 3, 4, 5, 6, 7], 3, async (item) => {
      most = Math.max(most, ++running);
      await turn();
      running--;
      done.push(item);
    });
    expect(done.sort()).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(most).toBe(3);
  });

  it('starts nothing after a failure, and reports it when the rest has settled', async () => {
    const slow = deferred();
    const started: number[] = [];
    let settled = false;
    const all = eachLimited([1, 2, 3, 4], 2, async (item) => {
      started.push(item);
      if (item === 1) await slow.promise;
      else throw new Error(`item ${item}`);
    }).finally(() => {
      settled = true;
    });
    await turn();
    expect(settled).toBe(false);
    slow.resolve();
    await expect(all).rejects.toThrow('item 2');
    expect(started).toEqual([1, 2]);
  });

  it('is done at once with nothing to do', async () => {
    await eachLimited([], 4, () => expect.fail());
  });
});

describe('WriteTracker', () => {
  it('drains the writes that had begun, not the later ones', async () => {
    const tracker = new WriteTracker();
    const first = deferred();
    const later = deferred();
    void tracker.track(first.promise);
    let drained = false;
    const drain = tracker.drain().then(() => {
      drained = true;
    });
    void tracker.track(later.promise);
    await turn();
    expect(drained).toBe(false);
    first.resolve();
    await drain;
    later.resolve();
    await tracker.drain();
  });

  it('makes a second drain wait for what the first waits for', async () => {
    const tracker = new WriteTracker();
    const write = deferred();
    void tracker.track(write.promise);
    let count = 0;
    const both = [tracker.drain(), tracker.drain()].map((drain) => drain.then(() => count++));
    await turn();
    expect(count).toBe(0);
    write.resolve();
    await Promise.all(both);
    expect(count).toBe(2);
  });

  it('drains after writes that failed, and leaves the failure to the write', async () => {
    const tracker = new WriteTracker();
    const write = deferred();
    const tracked = tracker.track(write.promise);
    const drain = tracker.drain();
    write.reject(new Error('lost'));
    await expect(tracked).rejects.toThrow('lost');
    await drain;
  });

  it('has nothing to drain when nothing was written', async () => {
    await new WriteTracker().drain();
  });
});
