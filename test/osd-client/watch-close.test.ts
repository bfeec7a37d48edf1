// Goal: a watch ends when its owner says so, in bounded time, without leaving a notifier waiting, a handler called, or a
// registration, timer or operation behind. Method: as watch.test.ts.

import { afterEach, describe, expect, it } from 'vitest';

import { rejection } from '../support/rejection.js';
import { bytes, closeWatchers, text, WatchScene } from '../support/watch-scene.js';

afterEach(closeWatchers);

/** Scheduling slack of every bound. */
const E = 250;

describe('closing a watch', () => {
  it('removes it at the OSD, and its handler hears nothing any more', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    await world.until(watcher.watch.close());
    expect(osds.of(scene.oid)).toEqual([]);
    expect(watcher.states.slice(-2)).toEqual(['unregistering', 'closed']);
    const asked = osds.log.length;
    await world.advance(60_000);
    expect(osds.log).toHaveLength(asked);
    await expect(watcher.watch.close()).resolves.toBeUndefined();
    await expect(watcher.watch.verify()).rejects.toMatchObject({ code: 'ENOTCONN' });
    expect(() => watcher.watch.check()).toThrow('the watch was closed');
    expect(scene.watching.watches()).toEqual([]);
  });

  it('W32 is sent again when its answer is lost, and done when the OSD knows no such watch', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    let lost = 0;
    osds.intercept = ({ what }, { connection }) => {
      if (what !== 'unwatch' || lost++ > 0) return false;
      osds.kill(scene.oid);
      connection.close();
      return true;
    };
    await world.until(watcher.watch.close());
    expect(osds.count('unwatch')).toBe(2);
    expect(watcher.lost).toEqual([]);

    const second = await scene.watch();
    osds.deleted.add(scene.oid);
    await world.until(second.watch.close());
    expect(second.watch.state).toBe('closed');
    expect(second.failed).toEqual([]);
  });

  it('W32 takes no longer than the OSD keeps a watch, even if the OSD is gone', async () => {
    const scene = await WatchScene.start();
    const { world } = scene;
    const watcher = await scene.watch({ timeoutSeconds: 12 });
    scene.swallow();
    const from = world.now;
    await world.until(watcher.watch.close());
    // B9.
    expect(world.now - from).toBeLessThanOrEqual(12_000 + E);
    expect(watcher.watch.state).toBe('closed');
    expect(scene.watching.pending).toBe(0);
  });

  it('W33 waits for the answers that its handler owes, and sends them', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    let finish = (_reply: Uint8Array) => {};
    watcher.answer = () => new Promise((resolve) => (finish = resolve));
    let answers: string[] | undefined;
    // Still listed while the unwatch is under way, as on an OSD that is slow.
    osds.intercept = (entry, arrival) => {
      if (entry.what !== 'unwatch') return false;
      world.after(2000, () => osds.answer(entry, arrival));
      return true;
    };
    osds.notify(scene.oid, bytes('slow'), 5000, (replies) => {
      answers = replies.map(({ payload }) => text(payload));
    });
    await world.until(() => watcher.notified.length === 1);
    let closed = false;
    void watcher.watch.close().then(() => (closed = true));
    await world.advance(1000);
    finish(bytes('late'));
    await world.until(() => answers);
    expect(answers).toEqual(['late']);
    expect(closed).toBe(false);
    await world.until(() => closed);
  });

  it('W33 answers with nothing what comes while it is under way, and does not handle it', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    osds.intercept = (entry, arrival) => {
      if (entry.what !== 'unwatch') return false;
      world.after(1000, () => osds.answer(entry, arrival));
      return true;
    };
    const closing = watcher.watch.close();
    await world.until(() => osds.count('unwatch') === 1);
    let answers: string[] | undefined;
    osds.notify(scene.oid, bytes('late'), 5000, (replies) => {
      answers = replies.map(({ payload }) => text(payload));
    });
    await world.until(closing);
    expect(answers).toEqual(['']);
    expect(watcher.notified).toEqual([]);
  });

  it('W33 may be asked for by the handler of a notification, which it does not wait for', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    const closedAfter: number[] = [];
    const from = world.now;
    watcher.answer = async () => {
      await watcher.watch.close();
      closedAfter.push(world.now - from);
      return undefined;
    };
    osds.notify(scene.oid, bytes('close'), 5000);
    await world.until(() => closedAfter.length === 1);
    expect(closedAfter[0]).toBeLessThanOrEqual(E);
    expect(watcher.watch.state).toBe('closed');
    // After something else was awaited it cannot be told apart: it is waited for as long as a notifier would.
    const second = await scene.watch();
    const again = world.now;
    second.answer = async () => {
      await Promise.resolve();
      await second.watch.close();
      closedAfter.push(world.now - again);
      return undefined;
    };
    osds.notify(scene.oid, bytes('close'), 5000);
    await world.until(() => closedAfter.length === 2);
    expect(closedAfter[1]).toBeLessThanOrEqual(5000 + E);
  });

  it('waits for a registration under way, then removes it', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    let answer = () => {};
    osds.intercept = (entry, arrival) => {
      if (entry.what !== 'watch') return false;
      answer = () => osds.answer(entry, arrival);
      return true;
    };
    osds.kill(scene.oid);
    await world.until(() => osds.count('watch') === 2);
    const unwatched = osds.count('unwatch');
    const closing = watcher.watch.close();
    await world.advance(1000);
    expect(osds.count('unwatch')).toBe(unwatched);
    answer();
    await world.until(closing);
    expect(osds.of(scene.oid)).toEqual([]);
    expect(watcher.reregistered).toEqual([]);
  });

  it('ends what waits for the watch to be good', async () => {
    const scene = await WatchScene.start();
    const { world } = scene;
    const watcher = await scene.watch();
    scene.swallow();
    const verifying = rejection(watcher.watch.verify());
    const closing = watcher.watch.close();
    expect(await world.until(verifying)).toMatchObject({ code: 'ENOTCONN' });
    scene.heal();
    await world.until(closing);
  });
});

describe('flushing a watch', () => {
  it('waits until what came before is answered, not for what comes after', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    const answers: (() => void)[] = [];
    watcher.answer = () => new Promise((resolve) => answers.push(() => resolve(undefined)));
    osds.notify(scene.oid, bytes('1'), 5000);
    await world.until(() => answers.length === 1);
    let flushed = false;
    void watcher.watch.flush().then(() => (flushed = true));
    osds.notify(scene.oid, bytes('2'), 5000);
    await world.until(() => answers.length === 2);
    expect(flushed).toBe(false);
    answers[0]?.();
    await world.until(() => flushed);
    await world.advance(1);
    expect(osds.count('ack')).toBe(1);
    expect(watcher.watch.status().queued).toBe(1);
    answers[1]?.();
    await world.until(watcher.watch.flush());
    await world.advance(1);
    expect(osds.count('ack')).toBe(2);
  });
});

describe('closing the client', () => {
  it('ends all its watches at once, and their handlers hear nothing', async () => {
    const scene = await WatchScene.start();
    const { world, osds, watching } = scene;
    const watcher = await scene.watch();
    osds.intercept = ({ what }) => what === 'watch' || what === 'notify';
    const events = watcher.events.length;
    const opening = rejection(watching.watch(scene.target, watcher));
    const notifying = rejection(watching.notify(scene.target, bytes('x')));
    const verifying = rejection(watcher.watch.verify());
    await world.until(() => osds.count('notify') === 1);
    watching.close();
    for (const failure of await world.until(Promise.all([opening, notifying]))) {
      expect(failure).toMatchObject({ code: 'ENOTCONN' });
    }
    await world.until(verifying);
    expect(watcher.watch.state).toBe('closed');
    await expect(watcher.watch.close()).resolves.toBeUndefined();
    expect(watching.watches()).toEqual([]);
    osds.intercept = () => false;
    osds.notify(scene.oid, bytes('late'), 1000);
    await world.advance(60_000);
    expect(watcher.events).toHaveLength(events);
    await expect(watching.watch(scene.target, watcher)).rejects.toMatchObject({ code: 'ENOTCONN' });
    await expect(watching.notify(scene.target, bytes('x'))).rejects.toMatchObject({
      code: 'ENOTCONN',
    });
  });

  it('W31 leaves registrations to the OSD, which drops them in its time', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    await scene.watch();
    scene.watching.close();
    await world.advance(29_000);
    expect(osds.of(scene.oid)).toHaveLength(1);
    await world.advance(2000);
    expect(osds.of(scene.oid)).toEqual([]);
  });
});
