// Goal: a watch is what its owner may rely on: every notification is handled and answered, or its owner hears that what was
// read under the watch is stale; losses are found in bounded time and repaired. Method: real sessions in virtual time, to
// OSDs that keep watches as real ones do, and break as a test says. Names begin with the scenario's number.

import { afterEach, describe, expect, it } from 'vitest';

import { ADDR_TYPE } from '../../src/encoding/entity.js';
import { blocklistKey } from '../../src/osdmap/collections.js';
import { MSG, outgoing } from '../../src/messages/types.js';
import { encodeOsdMap, OSDMAP_FLAG } from '../../src/osdmap/osdmap.js';
import { WATCH_STOP_MS } from '../../src/osd-client/watch-times.js';
import { crc32c } from '../support/frames.js';
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
