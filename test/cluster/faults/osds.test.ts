import { describe, expect, it } from 'vitest';
import { listWatchersOp, WATCH_OP } from '../../../src/messages/osd-op.js';
import type { RadosClient } from '../../../src/rados/rados-client.js';
import { Watcher } from '../../support/watch-scene.js';
import { notifyOp, watchOp } from '../osd/support/watch-messages.js';
import { Bench, OID, pendsFor, POOL, read, sleep, until, write } from './support.js';

const placement = async (rados: RadosClient) => {
  const { output } = await rados.command({
    ...{ prefix: 'osd map', pool: POOL, object: OID, format: 'json' },
  });
  return JSON.parse(Buffer.from(output).toString()) as { acting: number[] };
};

const running = async (bench: Bench, osd: number) => {
  const { osds } = await bench.cluster.status();
  return [osds[osd]?.running, osds[osd]?.up];
};

describe('an OSD', () => {
  it('that is killed is down until the fault is stopped; the others serve', async () => {
    const bench = await Bench.start();
    const { rados, io } = await bench.client();
    await write(io);
    const osd = await bench.primary(rados);
    const fault = await bench.faults.killOsd(osd);
    expect(await running(bench, osd)).toEqual([false, false]);
    expect(await read(io)).toBe('data');
    expect(await bench.primary(rados)).not.toBe(osd);
    await expect(bench.faults.killOsd(osd)).rejects.toMatchObject({ code: 'ENOENT' });
    await fault.stop();
    expect(await running(bench, osd)).toEqual([true, true]);
    expect((await bench.faults.counters()).killOsd).toBe(1);
  });

  it('that was started by somebody else stays so when its fault is stopped', async () => {
    const bench = await Bench.start();
    const fault = await bench.faults.killOsd(1);
    await bench.cluster.startOsd(1);
    await fault.stop();
    expect(await running(bench, 1)).toEqual([true, true]);
    await expect(bench.faults.killOsd(7)).rejects.toThrow(RangeError);
  });

  it('that is stopped in order has the map say so first', async () => {
    const bench = await Bench.start();
    const { rados, io } = await bench.client();
    await write(io);
    const osd = await bench.primary(rados);
    const before = (await bench.cluster.status()).epoch;
    await using fault = await bench.faults.stopOsd(osd);
    expect(await running(bench, osd)).toEqual([false, false]);
    expect((await bench.cluster.status()).epoch).toBe(before + 1);
    expect(await read(io)).toBe('data');
    expect(await fault.fired()).toBe(1);
    // It stays down: nobody takes it for one that was marked down wrongly.
    await sleep(200);
    expect(await running(bench, osd)).toEqual([false, false]);
  });

  it('that is restarted has its watches still, and their clients to reconnect', async () => {
    const bench = await Bench.start({ osds: 1, size: 1 });
    const raw = await bench.raw(0);
    await raw.create();
    await raw.result(watchOp(WATCH_OP.WATCH, 1n));
    const fault = await bench.faults.restartOsd(0);
    expect(await fault.fired()).toBe(1);
    await until(() => raw.client.closed);
    await until(async () => (await bench.faults.watches()).length === 1);
    expect(await bench.faults.watches()).toMatchObject([{ connected: false, silentMs: undefined }]);
    const again = await bench.raw(0, raw.gid);
    expect(await again.result(watchOp(WATCH_OP.PING, 1n))).toBe(-110);
    expect(await again.result(watchOp(WATCH_OP.RECONNECT, 1n, { gen: 1 }))).toBe(0);
    expect(await again.result(watchOp(WATCH_OP.PING, 1n))).toBe(0);
  });
});

describe('a frozen OSD', () => {
  it('answers nobody, and goes on where it was when it is let go', async () => {
    const bench = await Bench.start();
    const { rados, io } = await bench.client();
    await write(io, OID, 'before');
    const osd = await bench.primary(rados);
    const fault = await bench.faults.freezeOsd({ osd });
    const writing = write(io, OID, 'during');
    await fault.untilFired();
    expect(await pendsFor(writing, 300)).toBe(true);
    expect(await running(bench, osd)).toEqual([true, true]);
    await fault.stop();
    await writing;
    expect(await read(io)).toBe('during');
  });

  it('lets itself go when its time is over', async () => {
    const bench = await Bench.start();
    const { rados, io } = await bench.client();
    await write(io);
    const fault = await bench.faults.freezeOsd({ osd: await bench.primary(rados), ms: 300 });
    const reading = read(io);
    expect(await pendsFor(reading, 150)).toBe(true);
    expect(await reading).toBe('data');
    expect(await fault.fired()).toBeGreaterThan(0);
  });

  it('holds up the primaries that it has copies for', async () => {
    const bench = await Bench.start({ osds: 2, size: 2 });
    const { rados, io } = await bench.client();
    await write(io);
    const replica = 1 - (await bench.primary(rados));
    const fault = await bench.faults.freezeOsd({ osd: replica });
    const writing = write(io, 'other', 'more');
    await fault.untilFired();
    expect(await pendsFor(writing, 300)).toBe(true);
    expect(await read(io)).toBe('data');
    await fault.stop();
    await writing;
  });

  it('is reported by its peers after the grace, and joins again when it wakes', async () => {
    const bench = await Bench.start();
    // A client asks for a map when its OSD has been silent for twice that.
    const { rados, io } = await bench.client({ osdKeepaliveMs: 200 });
    await write(io);
    const osd = await bench.primary(rados);
    const fault = await bench.faults.freezeOsd({ osd, graceMs: 200 });
    const reading = read(io);
    await until(async () => (await running(bench, osd))[1] === false);
    expect(await reading).toBe('data');
    await write(io, OID, 'from the others');
    await fault.stop();
    await until(async () => (await running(bench, osd))[1] === true);
    expect(await read(io)).toBe('from the others');
  });

  it('hears of no ping: its watches time out when it wakes', async () => {
    const bench = await Bench.start({ watchTimeoutS: 1 });
    const { rados } = await bench.client();
    const osd = await bench.primary(rados);
    const raw = await bench.raw(osd);
    await raw.create();
    await raw.result(watchOp(WATCH_OP.WATCH, 1n));
    const fault = await bench.faults.freezeOsd({ osd });
    await sleep(1500);
    expect(raw.client.notifies).toEqual([]);
    await fault.stop();
    expect(await raw.events(1)).toMatchObject([{ event: 'DISCONNECT', cookie: 1n }]);
    expect(await raw.result(watchOp(WATCH_OP.PING, 1n))).toBe(-107);
  });

  it('that is killed and started stays frozen until it is let go', async () => {
    const bench = await Bench.start({ osds: 1, size: 1 });
    const { io } = await bench.client();
    await write(io);
    const fault = await bench.faults.freezeOsd({ osd: 0 });
    await bench.faults.restartOsd(0);
    const reading = read(io);
    expect(await pendsFor(reading, 200)).toBe(true);
    await fault.stop();
    expect(await reading).toBe('data');
  });
});

describe('OSDs that do not hear of each other', () => {
  it('serve what needs no other, and do what they had been asked in its order when they do', async () => {
    const bench = await Bench.start({ osds: 3, size: 2 });
    const { rados, io } = await bench.client();
    await write(io);
    const osd = await bench.primary(rados);
    const fault = await bench.faults.partOsds({ osds: [osd] });
    const writing = ['aaaa', 'bbbb', 'cccc'].map((text) => write(io, OID, text));
    await fault.untilFired(3);
    expect(await pendsFor(Promise.race(writing), 300)).toBe(true);
    await fault.stop();
    await Promise.all([...writing, write(io, 'other', 'more')]);
    expect(await read(io)).toBe('cccc');
    expect(await running(bench, osd)).toEqual([true, true]);
  });

  it('are parted from those that are named, and from no others', async () => {
    const bench = await Bench.start({ osds: 3, size: 2 });
    const { rados, io } = await bench.client();
    const osd = await bench.primary(rados);
    const { acting } = await placement(rados);
    const replica = acting.find((member) => member !== osd) as number;
    const third = 3 - osd - replica;
    await using apart = await bench.faults.partOsds({ osds: [osd], from: [third] });
    await write(io);
    expect(await read(io)).toBe('data');
    await using _together = await bench.faults.partOsds({ osds: [osd], from: [replica] });
    await apart.stop();
    expect(await pendsFor(write(io, OID, 'waits'), 200)).toBe(true);
  });

  it('are no faults that make sense', async () => {
    const bench = await Bench.start();
    await expect(bench.faults.partOsds({ osds: [7] })).rejects.toThrow(RangeError);
    await expect(bench.faults.partOsds({ osds: [0], from: [0] })).rejects.toThrow(TypeError);
  });
});

describe('a watch whose removal cannot be written', () => {
  it('W37 waits for the write, and so does a notify', async () => {
    const bench = await Bench.start({ osds: 2, size: 2, watchTimeoutS: 1 });
    const { rados } = await bench.client();
    const osd = await bench.primary(rados);
    const [a, b] = [await bench.raw(osd), await bench.raw(osd)];
    await a.create();
    await a.result(watchOp(WATCH_OP.WATCH, 1n));
    await b.result(watchOp(WATCH_OP.WATCH, 2n, { timeout: 60 }));
    const replica = await bench.faults.freezeOsd({ osd: 1 - osd });
    await sleep(1200);
    await replica.untilFired();
    expect(await bench.faults.watches()).toMatchObject([{ cookie: 1n }, { cookie: 2n }]);
    expect(a.client.notifies).toEqual([]);
    // A notify is a read: it waits for what is being written to its object.
    const notified = b.result(notifyOp(9n, 5, 'news'));
    expect(await pendsFor(notified, 100)).toBe(true);
    await replica.stop();
    expect(await a.events(1)).toMatchObject([{ event: 'DISCONNECT' }]);
    await notified;
    expect(await b.events(1)).toMatchObject([{ event: 'NOTIFY', payload: 'news' }]);
    expect(await bench.faults.watches()).toMatchObject([{ cookie: 2n }]);
  });
});

describe('a PG', () => {
  it.each(['pg-temp', 'upmap'] as const)('moves to another primary and back (%s)', async (by) => {
    const bench = await Bench.start();
    const { rados, io } = await bench.client();
    await write(io);
    const osd = await bench.primary(rados);
    const fault = await bench.faults.movePg({ pool: POOL, object: OID, by });
    const moved = await bench.primary(rados);
    expect(moved).not.toBe(osd);
    expect(await read(io)).toBe('data');
    expect(await fault.fired()).toBe(1);
    await fault.stop();
    expect(await bench.primary(rados)).toBe(osd);
    expect(await read(io)).toBe('data');
  });

  it('moves to where it is told, with its watches: their clients reconnect there', async () => {
    const bench = await Bench.start();
    const { rados } = await bench.client();
    const osd = await bench.primary(rados);
    const raw = await bench.raw(osd);
    await raw.create();
    await raw.result(watchOp(WATCH_OP.WATCH, 1n));
    const to = (osd + 1) % 3;
    await bench.faults.movePg({ pool: POOL, pg: 0, to });
    expect(await bench.primary(rados)).toBe(to);
    await until(async () => (await bench.faults.watches())[0]?.osd === to);
    const there = await bench.raw(to, raw.gid);
    expect(await there.result(watchOp(WATCH_OP.RECONNECT, 1n, { gen: 1 }))).toBe(0);
    expect((await there.ask([listWatchersOp()])).reply.result).toBe(0);
  });

  it('W13 moves with a watch and a notification under way: neither is lost', async () => {
    const bench = await Bench.start();
    const { io } = await bench.client();
    const peer = await bench.client();
    await write(io);
    const watcher = new Watcher();
    let release = () => {};
    const released = new Promise<void>((resolve) => (release = resolve));
    watcher.answer = () => released.then(() => Buffer.from('here'));
    watcher.watch = await io.watch(OID, watcher);
    const { cookie } = watcher.watch;
    const reconnects = () =>
      watcher.watch.state === 'connected' ? watcher.watch.status().reconnects : 0;
    const notifying = peer.io.notify(OID, Buffer.from('moving'), { timeoutSeconds: 20 });
    await until(() => watcher.notified.length > 0);
    const fault = await bench.faults.movePg({ pool: POOL, object: OID });
    await until(() => reconnects() === 1);
    release();
    const { replies, missed } = await notifying;
    expect(replies.map((reply) => reply.cookie)).toEqual([cookie]);
    expect(missed).toEqual([]);
    await fault.stop();
    await until(() => reconnects() === 2);
    expect((await peer.io.notify(OID, Buffer.from('back'))).missed).toEqual([]);
    expect([watcher.lost, watcher.watch.cookie]).toEqual([[], cookie]);
    await watcher.watch.close();
  });

  it('must exist, and its new primary be up', async () => {
    const bench = await Bench.start();
    const move = (options: object) => bench.faults.movePg({ pool: POOL, ...options });
    await expect(move({})).rejects.toThrow(RangeError);
    await expect(move({ pg: 1 })).rejects.toThrow(RangeError);
    await bench.faults.killOsd(2);
    await expect(move({ pg: 0, to: 2 })).rejects.toMatchObject({ code: 'EINVAL' });
    await expect(move({ pg: 0, to: 9 })).rejects.toMatchObject({ code: 'EINVAL' });
  });
});
