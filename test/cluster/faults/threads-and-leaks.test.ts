// Faults of a cluster in a thread of its own, and what is left when they are over: nothing.

import { describe, expect, it } from 'vitest';
import type { Environment, Timer, Timers } from '../../../src/base/environment.js';
import { WATCH_OP } from '../../../src/messages/osd-op.js';
import { watchOp } from '../osd/support/watch-messages.js';
import {
  Bench,
  env,
  OID,
  pendsFor,
  POOL,
  read,
  sleep,
  type TestClient,
  until,
  write,
} from './support.js';

describe('faults of a cluster in a thread of its own', () => {
  it('are armed, counted, awaited and undone as in the caller’s', async () => {
    const bench = await Bench.start({ inThread: false });
    const { rados, io } = await bench.client();
    await write(io);
    const osd = await bench.primary(rados);
    const raw = await bench.raw(osd);
    await raw.result(watchOp(WATCH_OP.WATCH, 1n));
    expect(await bench.faults.watches()).toMatchObject([{ cookie: 1n, object: OID }]);
    await bench.faults.dropWatch({ pool: POOL, object: OID, client: raw.gid });
    expect(await raw.result(watchOp(WATCH_OP.PING, 1n))).toBe(-107);

    const hole = await bench.faults.blackHole({ client: rados.globalId, osd });
    const reading = read(io);
    expect(await hole.untilFired()).toBeGreaterThan(0);
    expect(await pendsFor(reading, 100)).toBe(true);
    await hole.stop();
    expect(await reading).toBe('data');
    await expect(hole.fired()).rejects.toMatchObject({ code: 'ENOENT' });

    await using fail = await bench.faults.failOps({ ops: 'read', errno: 'EIO', times: 1 });
    await expect(read(io)).rejects.toMatchObject({ code: 'EIO' });
    expect(fail.kind).toBe('failOps');
    expect(await bench.faults.counters()).toMatchObject({ dropWatch: 1, failOps: 1, killOsd: 0 });
    expect(await bench.faults.clients()).toContainEqual({
      client: `client.${rados.globalId}`,
      addr: rados.clientAddr,
      daemon: `osd.${osd}`,
    });
  });

  it('reject with the code of the error, and when the cluster ends', async () => {
    const bench = await Bench.start({ inThread: false });
    const { faults } = bench;
    await expect(faults.killOsd(9)).rejects.toThrow(RangeError);
    await expect(faults.blackHole({ client: 'x' })).rejects.toThrow(TypeError);
    await expect(faults.full({ pool: 'none' })).rejects.toMatchObject({ code: 'ENOENT' });
    const fault = await faults.freezeClock();
    const waiting = fault.untilFired(5, { timeoutMs: 60_000 });
    const late = fault.untilFired(5, { timeoutMs: 50 });
    await expect(late).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    const refused = expect(waiting).rejects.toMatchObject({ code: 'ECANCELED' });
    await bench.cluster.stop();
    await refused;
    await expect(faults.counters()).rejects.toMatchObject({ code: 'ENOTCONN' });
  });
});

describe('a fault', () => {
  it('tells who waits for it that it was stopped', async () => {
    const bench = await Bench.start();
    const fault = await bench.faults.dropNotify();
    const waiting = expect(fault.untilFired()).rejects.toMatchObject({ code: 'ECANCELED' });
    await Promise.all([fault.stop(), fault.stop()]);
    await waiting;
    await fault.stop();
  });

  it('is one of a thousand at most', async () => {
    const bench = await Bench.start();
    for (let i = 0; i < 1000; i++) await bench.faults.dropNotify({ object: 'none' });
    await expect(bench.faults.dropNotify()).rejects.toMatchObject({ code: 'EBUSY' });
    await bench.faults.clear();
    await bench.faults.dropNotify();
  });
});

/** An environment that knows which of its timers are still to come. */
function countingTimers(): { environment: Environment; pending: () => number } {
  const pending = new Set<object>();
  const track = (arm: (run: () => void) => Timer, callback: () => void): Timer => {
    const key = {};
    pending.add(key);
    const timer = arm(() => {
      pending.delete(key);
      callback();
    });
    return {
      cancel: () => {
        pending.delete(key);
        timer.cancel();
      },
    };
  };
  const timers: Timers = {
    after: (ms, callback, options) => track((run) => env.timers.after(ms, run, options), callback),
    nextTurn: (callback) => track((run) => env.timers.nextTurn(run), callback),
  };
  return { environment: { ...env, timers }, pending: () => pending.size };
}

/** Of this process: TCP ports that something listens on. */
const listeners = () =>
  process.getActiveResourcesInfo().filter((resource) => resource === 'TCPServerWrap').length;

/** One of each kind that stays in place, and work that they hold up. */
async function armEverything(bench: Bench, { rados, io }: TestClient): Promise<Promise<unknown>[]> {
  const { faults } = bench;
  const client = rados.globalId;
  await faults.dropNotify();
  await faults.delayNotify();
  await faults.duplicateNotify({ message: 'ack' });
  await faults.failOps({ object: 'nothing', errno: 'EIO' });
  const slow = await faults.delayReplies({ ms: 3_600_000 });
  const work: Promise<unknown>[] = [read(io)];
  await slow.untilFired();
  await faults.dropReplies({ object: 'nothing' });
  await faults.resetConnections({ everyMs: 1000, client: 1n });
  await faults.refuseConnections({ client: 2n });
  const late = await faults.delayConnections({ ms: 3_600_000, client, direction: 'toCluster' });
  work.push(write(io, 'other', 'more'));
  await late.untilFired();
  await faults.throttleConnections({ bytesPerSecond: 10, client });
  await faults.breakAfterBytes({ bytes: 1_000_000_000 });
  await faults.setFlags('noout', 'pauserd');
  await faults.full();
  await faults.movePg({ pool: POOL, pg: 0 });
  await faults.jumpClock({ ms: 1000 });
  await faults.freezeClock({ ms: 3_600_000 });
  await faults.freezeOsd({ osd: 0, ms: 3_600_000 });
  await faults.monUnavailable();
  await faults.killOsd(2);
  await faults.blackHole({ client });
  return work;
}

describe('when faults are cleared', () => {
  it('everything works as before', async () => {
    const bench = await Bench.start();
    const client = await bench.client();
    const { io } = client;
    await write(io);
    const before = await bench.cluster.status();
    const work = await armEverything(bench, client);
    await sleep(100);
    expect(await bench.faults.active()).toHaveLength(20);
    await bench.faults.clear();
    await bench.faults.clear();
    expect(await bench.faults.active()).toEqual([]);
    await Promise.all(work);
    expect(await read(io)).toBe('data');
    await until(async () => (await bench.cluster.status()).health === before.health);
    const { osds } = await bench.cluster.status();
    expect(osds.map(({ up, running }) => [up, running])).toEqual(osds.map(() => [true, true]));
  });

  it('no timer and no port is left when the cluster stops, whether they are or not', async () => {
    for (const clear of [true, false]) {
      const { environment, pending } = countingTimers();
      const before = listeners();
      const bench = await Bench.start({ environment });
      const client = await bench.client();
      await write(client.io);
      // The monitor's and the OSDs'.
      expect(listeners()).toBe(before + 4);
      const work = Promise.allSettled(await armEverything(bench, client));
      await sleep(100);
      if (clear) await bench.faults.clear();
      client.rados.close();
      await work;
      await bench.cluster.stop();
      expect(listeners()).toBe(before);
      await until(() => pending() === 0).catch(() => {
        expect.fail(`${pending()} timers are left (faults cleared: ${clear})`);
      });
    }
  });
});
