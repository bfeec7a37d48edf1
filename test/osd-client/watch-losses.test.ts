// Goal: a watch that is lost for certain is found out in bounded time and made again, or ended with the reason; its owner
// hears of it once. Method: as watch.test.ts.

import { afterEach, describe, expect, it } from 'vitest';
import { ADDR_TYPE } from '../../src/encoding/entity.js';
import { blocklistKey } from '../../src/osdmap/collections.js';
import { bytes, closeWatchers, WatchScene } from '../support/watch-scene.js';

afterEach(closeWatchers);

/** Scheduling slack of every bound. */
const E = 250;

describe('a watch', () => {
  it('W3 W5 that the OSD dropped without a word is found by the next ping and made again', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    const old = watcher.watch.cookie;
    await world.advance(1000);
    osds.kill(scene.oid);
    const killedAt = world.now;
    await world.until(() => watcher.lost.length === 1);
    // B1: by the ping; B5: two round trips.
    const lostAt = world.now;
    expect(lostAt - killedAt).toBeLessThanOrEqual(5000 + E);
    expect(watcher.lost[0]).toMatchObject({ code: 'ENOTCONN' });
    expect(watcher.events.slice(-2)).toEqual(['stale lost', 'lost ENOTCONN']);
    expect(() => watcher.watch.check()).toThrow('(107)');
    await world.until(() => watcher.watch.state === 'connected');
    expect(world.now - lostAt).toBeLessThanOrEqual(E);
    expect(watcher.watch.cookie).not.toBe(old);
    expect(watcher.reregistered).toEqual([[old, watcher.watch.cookie]]);
    // What was read while there was no watch is stale as well.
    expect(watcher.events.slice(-3)).toEqual([
      'stale lost',
      `reregistered ${watcher.watch.cookie}`,
      'connected',
    ]);
    expect(osds.of(scene.oid).map(({ cookie }) => cookie)).toEqual([watcher.watch.cookie]);
    expect(watcher.states).toEqual([
      'connected',
      'pinging',
      'error',
      'backoff',
      'reregistering',
      'connected',
    ]);
  });

  it('W10 after 60 s of it is certainly lost: too old to rely on before the OSD drops it, then made again', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    await world.until(() => watcher.watch.status().pings === 2);
    await world.advance(E);
    const good = watcher.watch.validThru;
    scene.swallow();
    await world.until(() => osds.of(scene.oid).length === 0);
    // B2: the OSD expired it; the owner could not rely on it for at least five seconds before.
    expect(world.now - good).toBeGreaterThanOrEqual(30_000);
    expect(watcher.watch.validThru).toBe(good);
    expect(world.now - 5000 - watcher.watch.validThru).toBeGreaterThan(22_000);
    await world.advance(30_000);
    scene.heal();
    await world.until(
      () => watcher.reregistered.length === 1 && watcher.watch.state === 'connected',
    );
    expect(watcher.lost).toHaveLength(1);
    expect(watcher.stale).toContain('lost');
  });

  it('W15 ends with ENOENT when its object is deleted', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    osds.delete(scene.oid);
    await world.until(() => watcher.failed.length > 0);
    expect(watcher.failed).toMatchObject([{ code: 'ENOENT' }]);
    expect(watcher.lost).toHaveLength(1);
    expect(watcher.watch.state).toBe('failed');
    await expect(watcher.watch.verify()).rejects.toMatchObject({ code: 'ENOENT' });
    expect(scene.watching.watches()).toEqual([]);
    expect(scene.watching.pending).toBe(0);
  });

  it('W16 ends with ENOENT when its pool is deleted', async () => {
    const scene = await WatchScene.start();
    const { world, cluster } = scene;
    const watcher = await scene.watch();
    cluster.commit((incremental) => incremental.oldPools.push(1));
    await world.until(() => watcher.failed.length > 0);
    expect(watcher.failed).toMatchObject([{ code: 'ENOENT' }]);
    expect(watcher.watch.state).toBe('failed');
    expect(watcher.states).toContain('homeless');
  });

  it('W17 W18 ends when the client is blocklisted, while connected and while registering again', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    osds.fence(scene.watching.globalId);
    await world.until(() => watcher.failed.length > 0);
    expect(watcher.failed).toMatchObject([{ code: 'EBLOCKLISTED', errno: -108 }]);
    expect(watcher.watch.state).toBe('blocklisted');
    const asked = osds.log.length;
    await world.advance(60_000);
    expect(osds.log.length).toBe(asked);

    const other = await WatchScene.start();
    const second = await other.watch();
    other.osds.intercept = ({ what }) => {
      if (what === 'watch') other.osds.fenced.add(other.watching.globalId);
      return false;
    };
    other.osds.kill(other.oid);
    await other.world.until(() => second.failed.length > 0);
    expect(second.watch.state).toBe('blocklisted');
    expect(second.states).toContain('reregistering');
    expect(second.failed).toMatchObject([{ code: 'EBLOCKLISTED' }]);
  });

  it('W17 sees it in the osdmap, too', async () => {
    const scene = await WatchScene.start();
    const { world, cluster } = scene;
    const watcher = await scene.watch();
    const [host = '', nonce] = scene.watching.clientAddr.split(':0/');
    const addr = { type: ADDR_TYPE.ANY, nonce: Number(nonce), host, port: 0 };
    cluster.commit((incremental) => {
      incremental.newBlocklist.set(blocklistKey(addr), {
        addr,
        until: { sec: 2_000_000_000, nsec: 0 },
      });
    });
    await world.until(() => watcher.failed.length > 0);
    expect(watcher.watch.state).toBe('blocklisted');
  });

  it('W28 is lost alone, whoever shares its OSD', async () => {
    const scene = await WatchScene.start();
    const { world, osds, cluster } = scene;
    const other = cluster.oidOn(0, 1);
    const [lost, kept] = [await scene.watch(), await scene.watch({ oid: other })];
    osds.kill(scene.oid);
    await world.until(() => lost.reregistered.length > 0);
    await world.advance(10_000);
    expect([kept.stale, kept.lost, kept.watch.status().reconnects]).toEqual([[], [], 0]);
  });

  it('W45 may be closed by the handler that hears of its loss', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    let closed = false;
    watcher.onLostDo = () => void watcher.watch.close().then(() => (closed = true));
    osds.kill(scene.oid);
    await world.until(() => closed);
    expect(watcher.watch.state).toBe('closed');
    await world.advance(60_000);
    expect(osds.of(scene.oid)).toEqual([]);
    expect(watcher.reregistered).toEqual([]);
    expect(scene.watching.watches()).toEqual([]);
  });

  it.each(['stale', 'state'] as const)(
    'W45 may be closed by a handler that hears of its %s, at any time',
    async (when) => {
      // Each event in turn is the one at which it is closed.
      for (let at = 0; at < 12; at++) {
        const scene = await WatchScene.start();
        const { world, osds } = scene;
        const watcher = await scene.watch();
        let events = 0;
        let closing: Promise<void> | undefined;
        const close = () => {
          if (events++ === at) closing = watcher.watch.close();
        };
        if (when === 'stale') watcher.onStaleDo = close;
        else watcher.onStateDo = close;
        osds.kill(scene.oid);
        await world.advance(12_000);
        for (const stream of world.network.to(scene.port)) stream.reset();
        await world.advance(12_000);
        if (!closing) break;
        await world.until(closing);
        expect(watcher.watch.state).toBe('closed');
        expect(watcher.states.at(-1)).toBe('closed');
        expect(scene.watching.watches()).toEqual([]);
        await world.advance(31_000);
        expect(osds.of(scene.oid)).toEqual([]);
        expect(scene.watching.pending).toBe(0);
        scene.watching.close();
      }
    },
  );

  it('W47 answers at once for a cookie that it had before, and handles once', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    const [old] = osds.of(scene.oid);
    if (!old) throw new Error('no registration');
    // The registration is lost for its client, but its removal never happens.
    osds.intercept = ({ what }, { reply }) => {
      if (what !== 'unwatch') return false;
      reply();
      return true;
    };
    osds.disconnect(old);
    osds.registrations.push(old);
    await world.until(() => watcher.watch.state === 'connected' && watcher.reregistered.length > 0);
    expect(osds.of(scene.oid)).toHaveLength(2);
    let missed: number | undefined;
    const from = world.now;
    osds.notify(scene.oid, bytes('one'), 5000, (_replies, left) => (missed = left.length));
    await world.until(() => missed !== undefined);
    expect(missed).toBe(0);
    expect(world.now - from).toBeLessThan(E);
    expect(watcher.notified).toEqual(['one']);
  });

  it('tries again with growing delays while registering again fails', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    let refusals = 0;
    osds.intercept = ({ what }, { reply }) => {
      if (what !== 'watch' || refusals++ >= 5) return false;
      reply({ result: -5 });
      return true;
    };
    osds.kill(scene.oid);
    await world.until(() => watcher.reregistered.length > 0);
    const at = osds.log.filter(({ what }) => what === 'watch').map((entry) => entry.at);
    const gaps = at.slice(2).map((time, i) => time - (at[i + 1] ?? 0));
    expect(gaps).toHaveLength(5);
    gaps.forEach((gap, i) => {
      expect(gap).toBeGreaterThan(800 * 1.5 ** i);
      expect(gap).toBeLessThan(1000 * 1.5 ** i + E);
    });
    expect(watcher.watch.status()).toMatchObject({ losses: 1, reregistrations: 1, generation: 1 });
  });

  it('is pinged, and counts as not yet connected, while its owner takes a new registration over', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    let take = () => {};
    watcher.onReregisteredDo = () => new Promise<void>((resolve) => (take = resolve));
    osds.kill(scene.oid);
    await world.until(() => watcher.reregistered.length > 0);
    const pings = osds.count('ping');
    let verified = false;
    void watcher.watch.verify().then(() => (verified = true));
    await world.advance(40_000);
    expect(watcher.watch.state).toBe('reregistering');
    expect(osds.count('ping') - pings).toBeGreaterThanOrEqual(7);
    expect(verified).toBe(false);
    expect(watcher.lost).toHaveLength(1);
    take();
    await world.advance(E);
    expect(watcher.watch.state).toBe('connected');
    expect(verified).toBe(true);
  });

  it('is lost again when its owner cannot take a new registration over', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    watcher.onReregisteredDo = () =>
      watcher.reregistered.length < 3 ? Promise.reject(new Error('no')) : Promise.resolve();
    osds.kill(scene.oid);
    await world.until(
      () => watcher.watch.state === 'connected' && watcher.reregistered.length === 3,
    );
    expect(watcher.lost).toHaveLength(3);
    expect(osds.of(scene.oid).map(({ cookie }) => cookie)).toEqual([watcher.watch.cookie]);
  });
});
