import { describe, expect, it } from 'vitest';
import { ClockFaults } from '../../../src/cluster/faults/clock-faults.js';
import { WATCH_OP } from '../../../src/messages/osd-op.js';
import { VirtualWorld } from '../../../src/sim/virtual-world.js';
import { notifyOp, watchOp } from '../osd/support/watch-messages.js';
import { Bench, sleep } from './support.js';

async function watchedFor(timeout: number) {
  const bench = await Bench.start();
  const { rados } = await bench.client();
  const raw = await bench.raw(await bench.primary(rados));
  await raw.create();
  await raw.result(watchOp(WATCH_OP.WATCH, 1n, { timeout }));
  return { bench, raw };
}

describe('the cluster’s clock', () => {
  it('that stands still lets no watch time out; their time goes on when it does', async () => {
    const { bench, raw } = await watchedFor(1);
    const fault = await bench.faults.freezeClock();
    await sleep(1500);
    expect(raw.client.notifies).toEqual([]);
    expect((await bench.faults.watches())[0]?.silentMs).toBeLessThan(900);
    await fault.stop();
    expect(raw.client.notifies).toEqual([]);
    expect(await raw.events(1)).toMatchObject([{ event: 'DISCONNECT' }]);
    expect((await bench.faults.counters()).freezeClock).toBe(1);
  });

  it('goes on by itself when it was stopped for a time', async () => {
    const { bench, raw } = await watchedFor(1);
    await bench.faults.freezeClock({ ms: 3000 });
    const silent = (await bench.faults.watches())[0]?.silentMs;
    await sleep(50);
    expect((await bench.faults.watches())[0]?.silentMs).toBe(silent);
    expect(await raw.events(1)).toMatchObject([{ event: 'DISCONNECT' }]);
  });

  it('that jumps takes the watches with it that nobody pinged meanwhile', async () => {
    const { bench, raw } = await watchedFor(30);
    const fault = await bench.faults.jumpClock({ ms: 31_000, clock: 'monotonic' });
    expect(await raw.events(1)).toMatchObject([{ event: 'DISCONNECT' }]);
    expect(await raw.result(watchOp(WATCH_OP.PING, 1n))).toBe(-107);
    expect(await fault.fired()).toBe(1);
  });

  it('whose date jumps removes no watch, but lets notifies pass it over until its next ping', async () => {
    const { bench, raw } = await watchedFor(30);
    const fault = await bench.faults.jumpClock({ ms: 3_600_000, clock: 'wall' });
    await sleep(100);
    expect(await bench.faults.watches()).toMatchObject([{ connected: true }]);
    await raw.result(notifyOp(9n, 5, 'news'));
    // Nobody was told, nobody is waited for, and the OSD takes the client for gone (`Watch::start_notify`).
    expect(await raw.events(1)).toMatchObject([{ event: 'COMPLETE', result: 0 }]);
    expect(await raw.result(watchOp(WATCH_OP.PING, 1n))).toBe(-110);
    expect(await raw.result(watchOp(WATCH_OP.RECONNECT, 1n, { gen: 1 }))).toBe(0);
    await raw.result(notifyOp(9n, 5, 'more'));
    expect(await raw.events(1)).toMatchObject([{ event: 'NOTIFY', payload: 'more' }]);
    await fault.stop();
  });

  it('goes back only where a clock can', async () => {
    const bench = await Bench.start();
    await expect(bench.faults.jumpClock({ ms: -1 })).rejects.toThrow(RangeError);
    await bench.faults.jumpClock({ ms: -3_600_000, clock: 'wall' });
  });
});

describe('a clock with faults', () => {
  it('fires timers in their order, whatever happens to time', async () => {
    const world = new VirtualWorld();
    const faults = new ClockFaults(world.env);
    const fired: string[] = [];
    const at = (ms: number) => faults.timers.after(ms, () => fired.push(`${ms}`));
    at(100);
    at(50);
    const cancelled = at(60);
    at(200);
    const thaw = faults.freeze();
    const again = faults.freeze();
    at(70);
    await world.advance(1000);
    expect(fired).toEqual([]);
    expect(faults.clock.monotonic()).toBe(0);
    cancelled.cancel();
    thaw();
    thaw();
    await world.advance(1000);
    expect(fired).toEqual([]);
    again();
    await world.advance(60);
    expect(fired).toEqual(['50']);
    faults.jumpMonotonic(45);
    await world.flush();
    expect(fired).toEqual(['50', '70', '100']);
    expect(faults.clock.monotonic()).toBe(105);
    await world.advance(95);
    expect(fired).toEqual(['50', '70', '100', '200']);
    expect(world.pendingEvents).toBe(0);
  });
});
