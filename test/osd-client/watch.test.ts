// Goal: a watch is what its owner may rely on: every notification is handled and answered, or its owner hears that what was
// read under the watch is stale; losses are found in bounded time and repaired. Method: real sessions in virtual time, to
// OSDs that keep watches as real ones do, and break as a test says. Names begin with the scenario's number.

import { afterEach, describe, expect, it } from 'vitest';
import { WATCH_STOP_MS } from '../../src/osd-client/watch-times.js';
import { rejection } from '../support/rejection.js';
import { bytes, closeWatchers, notifiedBy, text, WatchScene } from '../support/watch-scene.js';

afterEach(closeWatchers);

/** Scheduling slack of every bound. */
const E = 250;

describe('a watch', () => {
  it('W1 is told what another client notifies, and its answer reaches the notifier', async () => {
    const scene = await WatchScene.start();
    const { world } = scene;
    const watcher = await scene.watch();
    watcher.answer = () => bytes('pong');
    const peer = await scene.client();
    const result = await world.until(
      peer.notify(scene.target, bytes('ping'), { timeoutSeconds: 5 }),
    );
    expect(watcher.notified).toEqual(['ping']);
    expect(result.missed).toEqual([]);
    expect(result.replies.map(({ cookie, payload }) => [cookie, text(payload)])).toEqual([
      [watcher.watch.cookie, 'pong'],
    ]);
    expect(watcher.watch.state).toBe('connected');
    expect(watcher.stale).toEqual([]);
  });

  it('is pinged every five seconds on its session, and keeps it open', async () => {
    const scene = await WatchScene.start({ client: { osdIdleTtlMs: 10_000 } });
    const { world, osds } = scene;
    const { watch } = await scene.watch();
    const from = world.now;
    await world.advance(122_000);
    const pings = osds.log.filter(({ what }) => what === 'ping');
    expect(pings.length).toBeGreaterThanOrEqual(23);
    expect(pings.length).toBeLessThanOrEqual(24);
    expect(osds.count('reconnect')).toBe(0);
    expect(new Set(pings.map(({ cookie }) => cookie))).toEqual(new Set([watch.cookie]));
    expect(world.now - from - watch.check()).toBeGreaterThan(110_000);
    expect(watch.check()).toBeLessThanOrEqual(5000 + E);
    expect(watch.status()).toMatchObject({
      state: 'connected',
      reconnects: 0,
      losses: 0,
      generation: 1,
    });
  });

  it('W19 reconnects on its session when the OSD knows it by another', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    const [registration] = osds.of(scene.oid);
    if (registration) registration.connection = undefined;
    await world.until(() => watcher.stale.length > 0);
    expect(watcher.stale).toEqual(['reconnected']);
    expect(watcher.watch.state).toBe('connected');
    expect(watcher.watch.status()).toMatchObject({ generation: 2, reconnects: 1, losses: 0 });
    expect(osds.log.at(-1)).toMatchObject({
      what: 'reconnect',
      gen: 2,
      cookie: watcher.watch.cookie,
    });
    await world.until(() => osds.log.at(-1)?.what === 'ping');
    expect(osds.log.at(-1)).toMatchObject({ gen: 2 });
  });

  it('W20 ignores a pong of an earlier connection', async () => {
    const scene = await WatchScene.start();
    const { world, osds, cluster } = scene;
    const watcher = await scene.watch();
    let latePong: (() => void) | undefined;
    osds.intercept = ({ what }, { reply }) => {
      if (what !== 'ping' || latePong) return false;
      latePong = () => reply({ result: -107 });
      return true;
    };
    await world.until(() => latePong !== undefined);
    // A new interval with the same primary: the connection stays, the watch reconnects on it.
    osds.newInterval(scene.oid);
    const pool = cluster.map.pool(1);
    if (!pool) throw new Error('no pool');
    cluster.commit((incremental) => incremental.newPools.set(1, { ...pool, minSize: 2 }));
    await world.until(
      () => watcher.watch.status().generation === 2 && watcher.watch.state === 'connected',
    );
    const { validThru } = watcher.watch;
    latePong?.();
    await world.advance(100);
    expect(watcher.watch.validThru).toBe(validThru);
    expect(watcher.watch.state).toBe('connected');
    expect(watcher.lost).toEqual([]);
  });

  it('W26 answers a storm of notifications in order, each once', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    let completed = 0;
    for (let i = 0; i < 10_000; i++) {
      osds.notify(scene.oid, bytes(String(i)), 5000, (replies) => {
        completed += replies.length;
      });
    }
    await world.until(() => completed === 10_000);
    expect(watcher.notified).toEqual(Array.from({ length: 10_000 }, (_, i) => String(i)));
    expect(watcher.watch.status().queued).toBe(0);
    await world.advance(10);
    expect(scene.watching.pending).toBe(0);
  });

  it('W26 does not wait for answers without end: beyond a limit it acknowledges with nothing', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    const never = new Promise<undefined>(() => {});
    watcher.answer = () => never;
    let completed = 0;
    for (let i = 0; i < 1100; i++)
      osds.notify(scene.oid, bytes('x'), 5000, (r) => (completed += r.length));
    await world.advance(1000);
    expect(watcher.notified).toHaveLength(1100);
    expect(completed).toBe(76);
    expect(watcher.watch.status().queued).toBe(1024);
  });

  it('W27 whose handler takes longer than a notifier waits is missed by that one alone, and stays well', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    watcher.answer = ({ payload }) =>
      text(payload) === 'slow'
        ? new Promise((resolve) => world.after(8000, () => resolve(bytes('late'))))
        : bytes('quick');
    const peer = await scene.client();
    const slow = peer.notify(scene.target, bytes('slow'), { timeoutSeconds: 5 });
    await world.until(() => watcher.notified.length === 1);
    const from = world.now;
    expect(await notifiedBy(scene, 'another')).toEqual(['quick']);
    expect(world.now - from).toBeLessThan(E);
    const { replies, missed } = await world.until(slow);
    expect(replies).toEqual([]);
    expect(missed).toEqual([{ gid: scene.watching.globalId, cookie: watcher.watch.cookie }]);
    expect(watcher.watch.status().queued).toBe(1);
    await world.advance(20_000);
    expect(osds.count('ack')).toBe(2);
    expect(watcher.watch.status()).toMatchObject({ state: 'connected', queued: 0, losses: 0 });
    expect(watcher.watch.check()).toBeLessThanOrEqual(5000 + E);
  });

  it('W29 is one of several on its object: each hears everything, also from its own client', async () => {
    const scene = await WatchScene.start();
    const { world } = scene;
    const first = await scene.watch();
    const second = await scene.watch();
    expect(first.watch.cookie).not.toBe(second.watch.cookie);
    first.answer = () => bytes('1');
    second.answer = () => bytes('2');
    const result = await world.until(scene.watching.notify(scene.target, bytes('all')));
    expect(result.replies.map(({ cookie, payload }) => [cookie, text(payload)]).sort()).toEqual([
      [first.watch.cookie, '1'],
      [second.watch.cookie, '2'],
    ]);
    await world.until(first.watch.close());
    await world.until(scene.watching.notify(scene.target, bytes('rest')));
    expect(first.notified).toEqual(['all']);
    expect(second.notified).toEqual(['all', 'rest']);
  });

  it('W43 dates a pong by its ping, however late it comes', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    let pong: (() => void) | undefined;
    let sentAt = 0;
    osds.intercept = ({ what }, { reply }) => {
      if (what !== 'ping' || pong) return false;
      sentAt = world.now;
      pong = () => reply();
      return true;
    };
    await world.until(() => pong !== undefined);
    await world.advance(25_000);
    expect(watcher.watch.state).toBe('suspect');
    // An OSD that answers keepalives is slow, not gone.
    expect(osds.count('reconnect')).toBe(0);
    // No I/O relies on it meanwhile (R3).
    expect(watcher.watch.check()).toBeGreaterThan(WATCH_STOP_MS);
    pong?.();
    await world.until(() => watcher.watch.state === 'connected');
    expect(sentAt - watcher.watch.validThru).toBeLessThan(E);
  });
});

describe('a watch that cannot be made', () => {
  it('is refused with the error of the OSD', async () => {
    const scene = await WatchScene.start();
    scene.osds.deleted.add(scene.oid);
    expect(await scene.world.until(rejection(scene.watch()))).toMatchObject({ code: 'ENOENT' });
    expect(scene.watching.watches()).toEqual([]);
    expect(scene.watching.pending).toBe(0);
  });

  it('waits for its OSD as long as its caller does, and leaves nothing behind', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    let answer: (() => void) | undefined;
    osds.intercept = (entry, arrival) => {
      if (entry.what !== 'watch') return false;
      answer = () => osds.answer(entry, arrival);
      return true;
    };
    const control = new AbortController();
    const refused = rejection(scene.watch({ signal: control.signal }));
    await world.until(() => answer);
    control.abort();
    expect(await world.until(refused)).toMatchObject({ code: 'ECANCELED' });
    await world.advance(10);
    // What is under way is waited for: the unwatch must come after it.
    expect(osds.count('unwatch')).toBe(0);
    answer?.();
    await world.advance(100);
    expect(osds.count('unwatch')).toBe(1);
    expect(osds.of(scene.oid)).toEqual([]);
    expect(scene.watching.watches()).toEqual([]);
  });
});
