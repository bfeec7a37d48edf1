// Goal: connections, OSDs, maps and clocks break, and a watch goes on, saying each time that what was read may be stale.
// Method: as watch.test.ts.

import { afterEach, describe, expect, it } from 'vitest';
import { MSG, outgoing } from '../../src/messages/types.js';
import { encodeOsdMap, OSDMAP_FLAG } from '../../src/osdmap/osdmap.js';
import { crc32c } from '../support/frames.js';
import { bytes, closeWatchers, notifiedBy, text, WatchScene } from '../support/watch-scene.js';

afterEach(closeWatchers);

/** Scheduling slack of every bound. */
const E = 250;

describe('a watch', () => {
  it('W6 W7 is told again after a reset, and answers again without handling again', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    watcher.answer = () => bytes('done');
    let completed: string[] | undefined;
    // The notification arrives, its acknowledgement does not.
    osds.intercept = ({ what }, { connection }) => {
      if (what !== 'ack') return false;
      connection.close();
      osds.intercept = () => false;
      return true;
    };
    osds.notify(scene.oid, bytes('once'), 5000, (replies) => {
      completed = replies.map(({ payload }) => text(payload));
    });
    await world.until(() => completed !== undefined);
    expect(completed).toEqual(['done']);
    expect(watcher.notified).toEqual(['once']);
    expect(osds.count('ack')).toBe(2);
    // Lost on its way instead: told once all the same.
    let second: string[] | undefined;
    scene.stall();
    osds.notify(scene.oid, bytes('twice'), 5000, (replies) => {
      second = replies.map(({ payload }) => text(payload));
    });
    await world.advance(1);
    for (const stream of world.network.to(scene.port)) stream.reset();
    scene.unstall();
    await world.until(() => second !== undefined);
    expect(watcher.notified).toEqual(['once', 'twice']);
    expect(second).toEqual(['done']);
  });

  it('W8 is stale after every reconnect: a notification may have come and gone meanwhile', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    scene.cut();
    await world.advance(3000);
    let missed = 0;
    osds.notify(scene.oid, bytes('gone'), 5000, (_replies, left) => {
      missed = left.length;
    });
    await world.advance(9000);
    expect(missed).toBe(1);
    expect(watcher.stale).toEqual([]);
    scene.heal();
    await world.until(() => watcher.watch.state === 'connected');
    expect(watcher.notified).toEqual([]);
    expect(watcher.lost).toEqual([]);
    expect(watcher.stale).toEqual(['reconnected']);
    // Stale before connected: whoever looks at the state first finds the sequence raised.
    expect(watcher.events.slice(-2)).toEqual(['stale reconnected', 'connected']);
    expect(osds.of(scene.oid)).toHaveLength(1);
  });

  it('W9 survives a network that swallows everything for 15 s, suspect after 3', async () => {
    const scene = await WatchScene.start();
    const { world } = scene;
    const watcher = await scene.watch();
    await world.until(() => watcher.watch.state === 'pinging');
    await world.until(() => watcher.watch.state === 'connected');
    scene.swallow();
    await world.until(() => watcher.watch.state === 'pinging');
    const pingAt = world.now;
    await world.until(() => watcher.watch.state === 'suspect');
    expect(world.now - pingAt).toBe(3000);
    await world.advance(7000);
    scene.heal();
    await world.until(() => watcher.watch.state === 'connected');
    expect(watcher.lost).toEqual([]);
    expect(watcher.watch.check()).toBeLessThanOrEqual(22_000);
  });

  it('W11 is connected again to an OSD that restarts', async () => {
    const scene = await WatchScene.start();
    const { world, cluster, osds } = scene;
    const watcher = await scene.watch();
    const { cookie } = watcher.watch;
    await cluster.osd(0).stop();
    cluster.markDown(0);
    await world.until(() => watcher.watch.state === 'homeless');
    await world.advance(5000);
    osds.newInterval(scene.oid);
    await cluster.osd(0).restart();
    cluster.markUp(0);
    const upAt = world.now;
    await world.until(() => watcher.watch.state === 'connected');
    expect(world.now - upAt).toBeLessThanOrEqual(5000 + E);
    expect(watcher.watch.cookie).toBe(cookie);
    expect(watcher.lost).toEqual([]);
    expect(watcher.stale).toContain('interval');
    expect(watcher.stale.at(-1)).toBe('reconnected');
    expect(watcher.watch.status()).toMatchObject({ losses: 0, reregistrations: 0 });
  });

  it('W12 follows its object to another primary', async () => {
    const scene = await WatchScene.start({ cluster: { size: 2 } });
    const { world, cluster, osds } = scene;
    const watcher = await scene.watch();
    const { cookie } = watcher.watch;
    await cluster.osd(0).stop();
    osds.newInterval(scene.oid);
    cluster.markDown(0);
    await world.until(() => watcher.watch.state === 'connected' && watcher.stale.length > 0);
    const last = osds.log.filter(({ what }) => what === 'reconnect').at(-1);
    expect(last).toMatchObject({ osd: cluster.primaryOf(scene.oid), cookie });
    expect(last?.osd).not.toBe(0);
    expect(watcher.lost).toEqual([]);
    expect(await notifiedBy(scene, 'hello')).toEqual(['']);
    expect(watcher.notified).toEqual(['hello']);
  });

  it('W14 goes with its object when its PG splits', async () => {
    const scene = await WatchScene.start({ cluster: { osds: 1 } });
    const { world, cluster, osds } = scene;
    const watcher = await scene.watch();
    const pool = cluster.map.pool(1);
    if (!pool) throw new Error('no pool');
    osds.newInterval(scene.oid);
    cluster.commit((incremental) => {
      incremental.newPools.set(1, { ...pool, pgNum: 64, pgpNum: 64 });
    });
    await world.until(() => watcher.stale.includes('reconnected'));
    expect(osds.log.at(-1)).toMatchObject({
      what: 'reconnect',
      cookie: watcher.watch.cookie,
      gen: 2,
    });
    expect(watcher.watch.state).toBe('connected');
    expect(watcher.stale[0]).toBe('interval');
    expect(watcher.lost).toEqual([]);
  });

  it('W22 W23 asks the OSD before anything else when its thread did not run', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    await world.advance(2000);
    const asked = osds.log.length;
    world.now += 20_000;
    await world.until(() => watcher.watch.state === 'suspect');
    expect(watcher.stale).toEqual(['clock']);
    await world.until(() => watcher.watch.state === 'connected');
    expect(osds.log[asked]).toMatchObject({ what: 'ping' });
    expect(watcher.lost).toEqual([]);
    // Longer than the OSD waits.
    osds.kill(scene.oid);
    world.now += 40_000;
    expect(world.now - watcher.watch.validThru).toBeGreaterThan(30_000);
    expect(watcher.watch.state).toBe('suspect');
    await world.until(
      () => watcher.reregistered.length === 1 && watcher.watch.state === 'connected',
    );
    expect(watcher.lost).toMatchObject([{ code: 'ENOTCONN' }]);
  });

  it('W24 W25 does not trust the clock that stood still, nor mind one that is set back', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    await world.advance(2000);
    world.wallOffsetMs -= 3_600_000;
    await world.advance(1000);
    expect(watcher.stale).toEqual([]);
    expect(watcher.watch.state).toBe('connected');
    // A machine that slept for ten minutes: nobody ticked but the wall clock.
    const asked = osds.log.length;
    world.wallOffsetMs += 600_000;
    expect(watcher.watch.check()).toBeGreaterThan(600_000);
    expect(watcher.watch.state).toBe('suspect');
    expect(watcher.stale).toEqual(['clock']);
    await world.until(() => watcher.watch.state === 'connected');
    expect(watcher.watch.check()).toBeLessThan(E);
    expect(osds.log.slice(asked).map(({ what }) => what)).toEqual(['ping']);
    await world.advance(4000);
    expect(osds.log.slice(asked)).toHaveLength(1);
  });

  it('W24 counts no pong of a ping that was sent before the sleep', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    let pong: (() => void) | undefined;
    osds.intercept = ({ what }, { reply }) => {
      if (what !== 'ping' || pong) return false;
      pong = () => reply();
      return true;
    };
    await world.until(() => pong !== undefined);
    world.wallOffsetMs += 600_000;
    const verified = watcher.watch.verify();
    pong?.();
    await world.until(verified);
    expect(osds.count('ping')).toBe(2);
    expect(watcher.watch.state).toBe('connected');
    expect(watcher.watch.check()).toBeLessThan(E);
  });

  it('W39 does not need the monitors while its OSD is well', async () => {
    const scene = await WatchScene.start();
    const { world, cluster } = scene;
    const watcher = await scene.watch();
    for (const mon of cluster.mons) await mon.stop();
    await world.advance(300_000);
    expect([watcher.stale, watcher.lost]).toEqual([[], []]);
    expect(watcher.watch.check()).toBeLessThanOrEqual(5000 + E);
  });

  it('W40 reconnects when maps are missing: nobody knows what happened in them', async () => {
    const scene = await WatchScene.start();
    const { world, cluster } = scene;
    const watcher = await scene.watch();
    for (let i = 0; i < 5; i++) cluster.change();
    // Trimmed: all that is left is the newest map, in full.
    const [connection] = cluster.osd(0).connections;
    const full = encodeOsdMap(cluster.map, crc32c).slice();
    connection?.send(cluster.rawMapMessage({ maps: new Map([[cluster.epoch, full]]) }));
    await world.until(() => watcher.stale.includes('reconnected'));
    expect(watcher.stale).toEqual(['interval', 'reconnected']);
    expect(watcher.lost).toEqual([]);
  });

  it('is connected again after a message that cannot be read', async () => {
    const scene = await WatchScene.start();
    const { world, cluster } = scene;
    const watcher = await scene.watch();
    const [connection] = cluster.osd(0).connections;
    connection?.send(outgoing(MSG.WATCH_NOTIFY, bytes('x')));
    await world.until(() => watcher.stale.length > 0 && watcher.watch.state === 'connected');
    expect(watcher.stale).toEqual(['reconnected']);
    expect(await notifiedBy(scene, 'hello')).toEqual(['']);
  });

  it('W30 registers with the same cookie and another tid when the answer is lost', async () => {
    const scene = await WatchScene.start();
    const { osds } = scene;
    osds.intercept = (entry, arrival) => {
      if (entry.what !== 'watch') return false;
      osds.intercept = () => false;
      osds.answer(entry, { ...arrival, reply: () => arrival.connection.close() });
      return true;
    };
    const { watch } = await scene.watch();
    const asked = osds.log.filter(({ what }) => what === 'watch');
    expect(asked.map(({ cookie }) => cookie)).toEqual([watch.cookie, watch.cookie]);
    expect(new Set(asked.map(({ tid }) => tid)).size).toBe(2);
    expect(osds.of(scene.oid)).toHaveLength(1);
    expect(osds.of(scene.oid)[0]?.connection).toBeDefined();
  });

  it('W38 is not pinged while the cluster is paused, and reconnects when it goes on', async () => {
    const scene = await WatchScene.start();
    const { world, cluster, osds } = scene;
    const watcher = await scene.watch();
    const flags = cluster.map.flags;
    cluster.setFlags(flags | OSDMAP_FLAG.PAUSERD);
    // The answer to the first ping comes with the news.
    await world.advance(20_000);
    expect(osds.count('ping')).toBe(1);
    expect(watcher.watch.check()).toBeGreaterThanOrEqual(14_000);
    cluster.setFlags(flags);
    await world.until(() => watcher.watch.state === 'connected' && watcher.stale.length > 0);
    expect(watcher.stale).toEqual(['reconnected']);
    // Longer than the OSD waits: dropped, and made again only when it can be kept.
    cluster.setFlags(flags | OSDMAP_FLAG.PAUSERD);
    await world.advance(60_000);
    expect(watcher.lost).toHaveLength(1);
    expect(osds.count('watch')).toBe(1);
    cluster.setFlags(flags);
    await world.until(() => watcher.watch.state === 'connected');
    expect(watcher.reregistered).toHaveLength(1);
    await world.advance(20_000);
    expect(osds.count('ping')).toBeGreaterThanOrEqual(3);
  });

  it('W41 outlives a storm of resets with one registration, and nothing is left behind', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    for (let i = 0; i < 300; i++) {
      for (const stream of world.network.to(scene.port)) stream.reset();
      await world.advance(100);
      expect(scene.watching.pending).toBeLessThanOrEqual(1);
    }
    await world.until(() => watcher.watch.state === 'connected');
    expect(osds.of(scene.oid)).toHaveLength(1);
    await world.advance(10_000);
    expect(scene.watching.pending).toBe(0);
    expect(watcher.watch.state).toBe('connected');
  });

  it('W42 a thousand of them come back to their OSD in order, two hundred a second', async () => {
    const scene = await WatchScene.start({ cluster: { osds: 1 } });
    const { world, cluster, osds, watching } = scene;
    const watchers = [];
    for (let i = 0; i < 1000; i++) watchers.push(scene.watch({ oid: `object${i}` }));
    const all = await Promise.all(watchers);
    await cluster.osd(0).stop();
    cluster.markDown(0);
    await world.advance(5000);
    for (const { oid } of osds.registrations) osds.newInterval(oid);
    await cluster.osd(0).restart();
    const asked = osds.log.length;
    cluster.markUp(0);
    const upAt = world.now;
    await world.until(() => all.every(({ watch }) => watch.state === 'connected'));
    expect(world.now - upAt).toBeLessThan(10_000);
    const times = osds.log
      .slice(asked)
      .flatMap(({ what, at }) => (what === 'reconnect' ? [at] : []));
    expect(times).toHaveLength(1000);
    for (const from of times) {
      expect(times.filter((at) => at >= from && at < from + 1000).length).toBeLessThanOrEqual(420);
    }
    expect(watching.watches()).toHaveLength(1000);
    expect(all.flatMap(({ lost }) => lost)).toEqual([]);
  });

  it('asks anew after a backoff of the OSD swallowed its ping', async () => {
    const scene = await WatchScene.start();
    const { world, osds, cluster } = scene;
    const watcher = await scene.watch();
    let held: { pg: { pool: number; seed: number } } | undefined;
    osds.intercept = ({ what }, { request }) => {
      if (what !== 'ping' || held) return false;
      held = request;
      return true;
    };
    const found = await world.until(() => held);
    const [connection] = cluster.osd(0).connections;
    if (!connection) throw new Error('no connection');
    const whole = { key: '', oid: '', snap: 0n, hash: 0, max: 0, nspace: '', pool: -(2n ** 63n) };
    const backoff = {
      pg: { pg: found.pg, shard: -1 },
      id: 1n,
      begin: whole,
      end: { ...whole, max: 1 },
    };
    cluster.osd(0).backoff(connection, backoff, 'BLOCK');
    await world.until(() => watcher.watch.state === 'suspect');
    cluster.osd(0).backoff(connection, backoff, 'UNBLOCK');
    await world.until(() => watcher.watch.state === 'connected');
    expect(osds.count('ping')).toBe(2);
    expect(watcher.lost).toEqual([]);
  });

  it('gives up a connection that does not even answer its reconnect', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    let swallowed = 0;
    osds.intercept = ({ what }) => {
      if (what !== 'reconnect' || swallowed > 0) return false;
      swallowed = world.now;
      scene.stall();
      return true;
    };
    for (const stream of world.network.to(scene.port)) stream.reset();
    await world.until(() => watcher.watch.state === 'connected' && swallowed > 0);
    expect(world.now - swallowed).toBeLessThanOrEqual(20_000 + E);
    expect(osds.count('reconnect')).toBe(2);
    expect(watcher.watch.status()).toMatchObject({ generation: 3, losses: 0 });
  });

  it('gives up a connection that says nothing for 20 s', async () => {
    const scene = await WatchScene.start();
    const { world, osds } = scene;
    const watcher = await scene.watch();
    await world.until(() => watcher.watch.state === 'pinging');
    await world.until(() => watcher.watch.state === 'connected');
    scene.stall();
    const good = watcher.watch.validThru;
    await world.until(() => watcher.watch.state === 'reconnecting');
    expect(world.now - good).toBeLessThanOrEqual(5000 + 20_000 + E);
    // A new connection goes another way.
    await world.until(() => watcher.watch.state === 'connected');
    expect(osds.count('reconnect')).toBe(1);
    expect(world.now - good).toBeLessThan(30_000);
    expect(watcher.stale).toEqual(['reconnected']);
  });
});
