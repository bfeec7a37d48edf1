// Goal: how long a watch's owner may be mistaken, and how long anything about a watch may take, is bounded; what was measured
// is printed. Method: as watch.test.ts, the worst of many moments at which things go wrong. B6 and B7 are about images and
// threads: test/block/watch-soak.test.ts and test/ceph/blocked-main.test.ts.

import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { WATCH_STOP_MS, watchTimes } from '../../src/osd-client/watch-times.js';
import { FreshnessGate } from '../../src/rbd/freshness-gate.js';
import { Bounds } from '../support/bounds.js';
import { bytes, closeWatchers, WatchScene } from '../support/watch-scene.js';

const bounds = new Bounds('Watches, in virtual time');
const { pingMs, timeoutMs } = watchTimes();
/** Scheduling slack of every bound. */
const E = 250;
/** Moments of a ping's period at which something happens: when it was just answered, and when the next is due. */
const MOMENTS = [0, 1, 2500, pingMs - 1, pingMs, pingMs + 1];

afterEach(closeWatchers);
afterAll(() => bounds.print());

describe('a watch', () => {
  it('B1 B5 that the OSD dropped is found out within a period, and made again at once', async () => {
    let found = 0;
    let again = 0;
    for (const moment of MOMENTS) {
      const scene = await WatchScene.start();
      const { world, osds } = scene;
      const watcher = await scene.watch();
      await world.advance(moment);
      osds.kill(scene.oid);
      const killedAt = world.now;
      await world.until(() => watcher.lost.length === 1);
      const lostAt = world.now;
      await world.until(() => watcher.watch.state === 'connected');
      found = Math.max(found, lostAt - killedAt);
      again = Math.max(again, world.now - lostAt);
    }
    bounds.hold('B1', 'a dropped watch is found out', { limit: pingMs + E, measured: found });
    bounds.hold('B5', 'it is registered again', { limit: E, measured: again });
  });

  it('B2 whose network swallows everything holds I/O back before the OSD can have dropped it', async () => {
    let closed = 0;
    let spare = Number.POSITIVE_INFINITY;
    for (const moment of MOMENTS) {
      const scene = await WatchScene.start();
      const { world, osds } = scene;
      const watcher = await scene.watch();
      const gate = new FreshnessGate({
        clock: world.env.clock,
        refresh: () => Promise.resolve(),
        target: 'image',
      });
      gate.watchedBy(watcher.watch);
      await world.advance(pingMs + moment);
      expect(gate.isWatchGood).toBe(true);
      const good = watcher.watch.validThru;
      scene.swallow();
      while (gate.isWatchGood) await world.advance(10);
      closed = Math.max(closed, world.now - good);
      const closedAt = world.now;
      await world.until(() => osds.of(scene.oid).length === 0);
      spare = Math.min(spare, world.now - closedAt);
    }
    bounds.hold('B2', 'a black hole: I/O waits', { limit: WATCH_STOP_MS + E, measured: closed });
    // Whoever changes the image while the OSD has no watch of ours is not waiting for us: by then nothing goes out.
    expect(spare).toBeGreaterThan(pingMs);
  });

  it('B3 whose connection breaks asks to be connected again at once', async () => {
    let asked = 0;
    for (const moment of MOMENTS) {
      const scene = await WatchScene.start();
      const { world, osds } = scene;
      await scene.watch();
      await world.advance(moment);
      const brokenAt = world.now;
      for (const stream of world.network.to(scene.port)) stream.reset();
      await world.until(() => osds.count('reconnect') > 0);
      asked = Math.max(asked, world.now - brokenAt);
    }
    bounds.hold('B3', 'a broken connection: reconnect sent', { limit: E, measured: asked });
  });

  it('B4 whose OSD died is connected to the new primary as soon as there is one', async () => {
    let connected = 0;
    for (const moment of MOMENTS) {
      const scene = await WatchScene.start({ cluster: { size: 2 } });
      const { world, osds, cluster } = scene;
      const watcher = await scene.watch();
      await world.advance(moment);
      await cluster.osd(0).stop();
      // What a cluster takes to notice and to agree is not ours to bound.
      await world.advance(20_000);
      osds.newInterval(scene.oid);
      cluster.markDown(0);
      const mapAt = world.now;
      await world.until(
        () => watcher.watch.state === 'connected' && watcher.watch.status().osd !== 0,
      );
      expect(watcher.lost).toEqual([]);
      connected = Math.max(connected, world.now - mapAt);
    }
    bounds.hold('B4', 'a new primary: connected there', { limit: pingMs + E, measured: connected });
  });

  it.each([1, 5, 10])(
    'B8 a notification is over in time when nobody answers (%i s)',
    async (timeoutSeconds) => {
      const scene = await WatchScene.start();
      const { world } = scene;
      const watcher = await scene.watch();
      watcher.answer = () => new Promise(() => {});
      const from = world.now;
      await world.until(scene.watching.notify(scene.target, bytes('x'), { timeoutSeconds }));
      bounds.hold('B8', `a notification of ${timeoutSeconds} s is over`, {
        limit: 1000 * timeoutSeconds + E,
        measured: world.now - from,
      });
    },
  );

  it('B8 a notification is over in time when the OSD itself does not answer', async () => {
    const scene = await WatchScene.start();
    const { world } = scene;
    await scene.watch();
    scene.swallow();
    const from = world.now;
    const failing = scene.watching.notify(scene.target, bytes('x'), { timeoutSeconds: 5 });
    await world.until(failing.catch(() => undefined));
    bounds.hold('B8', 'a notification that no OSD hears is over', {
      limit: 5000 + E,
      measured: world.now - from,
    });
  });

  it('B9 is closed in time although its OSD is gone', async () => {
    const scene = await WatchScene.start();
    const { world } = scene;
    const watcher = await scene.watch();
    scene.swallow();
    const from = world.now;
    await world.until(watcher.watch.close());
    bounds.hold('B9', 'closing, while the OSD is gone', {
      limit: timeoutMs + E,
      measured: world.now - from,
    });
  });

  it('B10 costs a ping in a period, and never two at a time', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watchers = await Promise.all(Array.from({ length: 5 }, () => scene.watch()));
    let atOnce = 0;
    const underWay = new Map<bigint, number>();
    // Answers that take long do not lead to more questions.
    osds.intercept = (entry, arrival) => {
      if (entry.what !== 'ping') return false;
      const asked = (underWay.get(entry.cookie) ?? 0) + 1;
      underWay.set(entry.cookie, asked);
      atOnce = Math.max(atOnce, asked);
      world.after(Number(entry.cookie) * 400, () => {
        underWay.set(entry.cookie, 0);
        osds.answer(entry, arrival);
      });
      return true;
    };
    await world.advance(10 * 60_000);
    const counts = watchers.map(({ watch }) => watch.status().pings);
    expect(Math.min(...counts)).toBeGreaterThan(100);
    bounds.hold('B10', 'pings of a watch in 10 minutes', {
      limit: (10 * 60_000) / pingMs,
      measured: Math.max(...counts),
      unit: '',
    });
    bounds.hold('B10', 'pings of a watch at a time', { limit: 1, measured: atOnce, unit: '' });
  });
});
