// Goal: whoever notifies is told once who answered and who did not, in bounded time, whatever happens to the OSD meanwhile.
// Method: as watch.test.ts.

import { afterEach, describe, expect, it } from 'vitest';

import { notifyOp, readOp } from '../../src/messages/osd-op.js';
import { balanced } from '../../src/osd-client/replica-reads.js';
import { rejection } from '../support/rejection.js';
import { bytes, closeWatchers, notifiedBy, text, WatchScene } from '../support/watch-scene.js';

afterEach(closeWatchers);

/** Scheduling slack of every bound. */
const E = 250;

describe('a notification', () => {
  it('of an object that nobody watches is complete at once', async () => {
    const scene = await WatchScene.start();
    const { world, watching } = scene;
    const result = await world.until(watching.notify(scene.target, bytes('x')));
    expect(result).toMatchObject({ replies: [], missed: [] });
    expect(result.notifyId).toBeGreaterThan(0n);
    expect(watching.pending).toBe(0);
  });

  it('is complete also when that is said before the operation is answered', async () => {
    const scene = await WatchScene.start();
    const { world, osds, watching } = scene;
    osds.intercept = (entry, arrival) => {
      if (entry.what !== 'notify') return false;
      osds.answer(entry, { ...arrival, reply: () => world.after(100, () => arrival.reply()) });
      return true;
    };
    await world.until(watching.notify(scene.target, bytes('x')));
    expect(watching.pending).toBe(0);
    await world.advance(1000);
    expect(osds.count('notify')).toBe(1);
  });

  it('tells who did not answer in time', async () => {
    const scene = await WatchScene.start();
    const { world } = scene;
    const quick = await scene.watch();
    const slow = await scene.watch();
    slow.answer = () => new Promise(() => {});
    const from = world.now;
    const result = await world.until(
      scene.watching.notify(scene.target, bytes('x'), { timeoutSeconds: 5 }),
    );
    expect(result.replies.map(({ cookie }) => cookie)).toEqual([quick.watch.cookie]);
    expect(result.missed).toEqual([{ gid: scene.watching.globalId, cookie: slow.watch.cookie }]);
    // B8.
    expect(world.now - from).toBeLessThanOrEqual(5000 + E);
  });

  it('of a missing object, or of a client that is fenced, fails', async () => {
    const scene = await WatchScene.start();
    const { world, osds, watching } = scene;
    osds.deleted.add(scene.oid);
    const failure = await world.until(rejection(watching.notify(scene.target, bytes('x'))));
    expect(failure).toMatchObject({ code: 'ENOENT', op: 'notify' });
    osds.fenced.add(watching.globalId);
    const fenced = await world.until(rejection(watching.notify(scene.target, bytes('x'))));
    expect(fenced).toMatchObject({ code: 'EBLOCKLISTED' });
  });

  it('is sent again after a reset, with the time that is left, and completes once', async () => {
    const scene = await WatchScene.start();
    const { world, osds, cluster } = scene;
    const watcher = await scene.watch();
    const peer = await scene.client();
    let reply = (_value: undefined) => {};
    watcher.answer = () => new Promise((resolve) => (reply = resolve));
    const timeouts: number[] = [];
    osds.intercept = ({ what }, { request }) => {
      const data = request.ops[0]?.indata;
      if (what === 'notify' && data) timeouts.push(Buffer.from(data).readUInt32LE(4));
      return false;
    };
    let completions = 0;
    const notifying = peer
      .notify(scene.target, bytes('x'), { timeoutSeconds: 5 })
      .finally(() => completions++);
    await world.until(() => watcher.notified.length === 1);
    await world.advance(2000);
    cluster.osd(0).dropConnections();
    await world.until(() => watcher.notified.length === 2);
    reply(undefined);
    const result = await world.until(notifying);
    expect(result.replies).toHaveLength(1);
    expect(timeouts).toEqual([5, 2]);
    expect(
      new Set(osds.log.filter(({ what }) => what === 'notify').map((e) => e.cookie)).size,
    ).toBe(2);
    await world.advance(10_000);
    expect(completions).toBe(1);
  });

  it('W36 goes to the new primary when the interval changes, and completes once', async () => {
    const scene = await WatchScene.start({ cluster: { size: 2 } });
    const { world, osds, cluster } = scene;
    const watcher = await scene.watch();
    const peer = await scene.client();
    watcher.answer = () =>
      cluster.primaryOf(scene.oid) === 0 ? new Promise(() => {}) : bytes('here');
    const notifying = peer.notify(scene.target, bytes('x'), { timeoutSeconds: 10 });
    await world.until(() => watcher.notified.length === 1);
    osds.newInterval(scene.oid);
    cluster.markDown(0);
    // Who does not hear of the map by itself hears of it from the OSD.
    await cluster.osd(0).stop();
    const { replies, missed } = await world.until(notifying);
    expect(replies.map(({ payload }) => text(payload))).toEqual(['here']);
    expect(missed).toEqual([]);
    expect(osds.log.filter(({ what }) => what === 'notify').map(({ osd }) => osd)).toEqual([
      0,
      cluster.primaryOf(scene.oid),
    ]);
    expect(peer.pending).toBe(0);
  });

  it('W36 finds out by itself that its OSD is the primary no more', async () => {
    const scene = await WatchScene.start({ cluster: { size: 2 } });
    const { world, osds, cluster } = scene;
    const watcher = await scene.watch();
    const peer = await scene.client();
    watcher.answer = () =>
      cluster.primaryOf(scene.oid) === 0 ? new Promise(() => {}) : bytes('here');
    const notifying = peer.notify(scene.target, bytes('x'), { timeoutSeconds: 20 });
    await world.until(() => watcher.notified.length === 1);
    await world.advance(3000);
    // Its connection stays, and nothing else goes on there: only the monitors can tell.
    osds.newInterval(scene.oid);
    cluster.commit();
    await world.advance(100);
    cluster.markDown(0);
    const from = world.now;
    const { replies, missed } = await world.until(notifying);
    expect([replies.map(({ payload }) => text(payload)), missed]).toEqual([['here'], []]);
    expect(world.now - from).toBeLessThanOrEqual(5000 + E);
  });

  it('ends in time although the OSD is gone', async () => {
    const scene = await WatchScene.start();
    const { world, watching } = scene;
    await scene.watch();
    scene.swallow();
    const from = world.now;
    const failure = await world.until(
      rejection(watching.notify(scene.target, bytes('x'), { timeoutSeconds: 5 })),
    );
    expect(failure).toMatchObject({ code: 'ETIMEDOUT', outcome: 'unknown', retryable: true });
    expect(failure.message).toBe(`notify pool/${scene.oid}: did not complete in time`);
    expect(world.now - from).toBeLessThanOrEqual(5000 + E);
  });

  it('that was never sent says so', async () => {
    const scene = await WatchScene.start();
    const { world, watching } = scene;
    scene.cut();
    const failure = await world.until(
      rejection(watching.notify(scene.target, bytes('x'), { timeoutSeconds: 1 })),
    );
    expect(failure).toMatchObject({ code: 'ETIMEDOUT', outcome: 'not-applied' });
  });

  it('W34 of a client that dies before it is over leaves the watchers as they were', async () => {
    const scene = await WatchScene.start();
    const { world } = scene;
    const watcher = await scene.watch();
    let answer = () => {};
    watcher.answer = () => new Promise((resolve) => (answer = () => resolve(undefined)));
    const peer = await scene.client();
    const dying = rejection(peer.notify(scene.target, bytes('last words'), { timeoutSeconds: 5 }));
    await world.until(() => watcher.notified.length === 1);
    peer.close();
    expect(await world.until(dying)).toMatchObject({ code: 'ENOTCONN' });
    answer();
    await world.advance(20_000);
    expect([watcher.stale, watcher.lost, watcher.watch.state]).toEqual([[], [], 'connected']);
    watcher.answer = () => bytes('here');
    expect(await notifiedBy(scene, 'next')).toEqual(['here']);
    expect(watcher.notified).toEqual(['last words', 'next']);
  });

  it('is given up with its signal', async () => {
    const scene = await WatchScene.start();
    const { world, watching } = scene;
    const watcher = await scene.watch();
    watcher.answer = () => new Promise(() => {});
    const control = new AbortController();
    const failing = rejection(
      watching.notify(scene.target, bytes('x'), { signal: control.signal }),
    );
    await world.until(() => watcher.notified.length === 1);
    control.abort();
    expect(await world.until(failing)).toMatchObject({ code: 'ECANCELED', outcome: 'unknown' });
    const late = rejection(watching.notify(scene.target, bytes('x'), { signal: control.signal }));
    expect(await world.until(late)).toMatchObject({ code: 'ECANCELED', outcome: 'not-applied' });
  });

  it('and its answers go to the primary although reads are spread, and past what fills the client', async () => {
    const scene = await WatchScene.start({ cluster: { size: 3 } });
    const { world, cluster, osds } = scene;
    const client = await cluster.connect({ replicaReads: balanced(world.random) });
    const primary = cluster.primaryOf(scene.oid);
    osds.intercept = ({ what }) => what === 'other';
    const reads = Array.from({ length: 1500 }, () =>
      rejection(client.operate(scene.target, [readOp(0, 1)])),
    );
    for (let i = 0; i < 10; i++) await world.until(client.notify(scene.target, bytes('x')));
    const other = await cluster.connect({ replicaReads: balanced(world.random) });
    for (let i = 0; i < 10; i++) {
      await world.until(other.operate(scene.target, [notifyOp(99n, 5, bytes('x'))]));
    }
    other.close();
    const notifies = osds.log.filter(({ what }) => what === 'notify');
    expect(notifies.map(({ osd }) => osd)).toEqual(Array(20).fill(primary));
    client.close();
    await world.until(Promise.all(reads));
  });
});
