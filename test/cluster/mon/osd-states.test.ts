import { describe, expect, it } from 'vitest';
import { OSD_IN, OSD_STATE } from '../../../src/osdmap/osdmap.js';
import { POOL_FLAG } from '../../../src/osdmap/pool.js';
import { VirtualWorld } from '../../../src/sim/virtual-world.js';
import { osdAddrs, run, startCluster, startMonitor } from './support.js';

describe('an OSD', () => {
  it('is down until it boots, and then up at its address with every weight that it had', async () => {
    const world = new VirtualWorld();
    const monitor = await startMonitor(world);
    const { osdMaps } = monitor.state;
    expect(osdMaps.map.isUp(0)).toBe(false);
    await world.until(monitor.link().boot(0, osdAddrs(0)));
    expect(osdMaps.map.isUp(0)).toBe(true);
    expect(osdMaps.map.osdAddrs(0)).toEqual(osdAddrs(0));
    expect(osdMaps.map.osdWeight[0]).toBe(OSD_IN);
    expect(osdMaps.map.osdState[0]).toBe(OSD_STATE.EXISTS | OSD_STATE.UP);
    expect(osdMaps.map.osdInfo[0]?.upFrom).toBe(osdMaps.epoch);
  });

  it('that is not in the map cannot boot', async () => {
    const world = new VirtualWorld();
    const monitor = await startMonitor(world);
    await expect(world.until(monitor.link().boot(9, osdAddrs(9)))).rejects.toMatchObject({
      code: 'ENOENT',
    });
  });

  it('that boots again while it seems up goes down and up in one epoch', async () => {
    const world = new VirtualWorld();
    const monitor = await startCluster(world);
    const { osdMaps } = monitor.state;
    const before = osdMaps.epoch;
    await world.until(monitor.link().boot(1, osdAddrs(1, 2)));
    expect(osdMaps.epoch).toBe(before + 1);
    expect(osdMaps.map.osdAddrs(1)).toEqual(osdAddrs(1, 2));
    expect(osdMaps.map.osdInfo[1]).toMatchObject({ upFrom: before + 1, downAt: before + 1 });
  });

  it('that is reported goes down at once, once, and comes back with a boot', async () => {
    const world = new VirtualWorld();
    const monitor = await startCluster(world);
    const link = monitor.link();
    const { osdMaps } = monitor.state;
    const before = osdMaps.epoch;
    link.reportFailure(2, 0);
    link.reportFailure(2, 1);
    expect(osdMaps.epoch).toBe(before + 1);
    expect(osdMaps.map.isUp(2)).toBe(false);
    expect(osdMaps.map.isOut(2)).toBe(false);
    await world.until(link.boot(2, osdAddrs(2, 5)));
    expect(osdMaps.map.isUp(2)).toBe(true);
  });

  it('without room has every pool full, until all have room', async () => {
    const world = new VirtualWorld();
    const monitor = await startCluster(world);
    for (const name of ['a', 'b']) monitor.createPool({ name });
    const link = monitor.link();
    const { osdMaps } = monitor.state;
    const fullPools = () =>
      [...osdMaps.map.pools.values()].filter(({ flags }) => flags & POOL_FLAG.FULL).length;
    await link.reportFull(0, true);
    await link.reportFull(1, true);
    expect(osdMaps.map.osdState[1]).toBe(OSD_STATE.EXISTS | OSD_STATE.UP | OSD_STATE.FULL);
    expect(run(monitor, { prefix: 'health', detail: 'detail' }).out).toBe(
      `HEALTH_ERR 2 full osd(s); 2 pool(s) full; 2 pool(s) have no replicas configured
[ERR] OSD_FULL: 2 full osd(s)
    osd.0 is full
    osd.1 is full
[WRN] POOL_FULL: 2 pool(s) full
    pool 'a' is full (no space)
    pool 'b' is full (no space)
[WRN] POOL_NO_REDUNDANCY: 2 pool(s) have no replicas configured
    pool 'a' has no replicas configured
    pool 'b' has no replicas configured
`,
    );
    const before = osdMaps.epoch;
    await link.reportFull(0, true);
    expect(osdMaps.epoch).toBe(before);
    // A pool that came since is filled by the next report.
    monitor.createPool({ name: 'c' });
    expect(fullPools()).toBe(2);
    await link.reportFull(0, true);
    expect(fullPools()).toBe(3);
    await link.reportFull(0, false);
    expect(fullPools()).toBe(3);
    // The other one does not wait until it is back.
    link.reportFailure(1, 0);
    expect(fullPools()).toBe(0);
    expect(osdMaps.map.osdState[1]).toBe(OSD_STATE.EXISTS);
  });

  it('stays up under `nodown`, and waits to boot under `noup`', async () => {
    const world = new VirtualWorld();
    const monitor = await startCluster(world);
    const link = monitor.link();
    const { osdMaps } = monitor.state;
    run(monitor, { prefix: 'osd set', key: 'nodown' });
    link.reportFailure(2, 0);
    expect(osdMaps.map.isUp(2)).toBe(true);
    run(monitor, { prefix: 'osd unset', key: 'nodown' });
    link.reportFailure(2, 0);
    run(monitor, { prefix: 'osd set', key: 'noup' });
    let booted = false;
    const boot = link.boot(2, osdAddrs(2, 5)).then(() => {
      booted = true;
    });
    await world.advance(60_000);
    expect(booted).toBe(false);
    expect(osdMaps.map.isUp(2)).toBe(false);
    run(monitor, { prefix: 'osd unset', key: 'noup' });
    await world.until(boot);
    expect(osdMaps.map.isUp(2)).toBe(true);
  });

  it('that ends while `noup` keeps it waiting does not come up when the flag is gone', async () => {
    const world = new VirtualWorld();
    const monitor = await startCluster(world);
    const link = monitor.link();
    const { osdMaps, osds } = monitor.state;
    link.reportFailure(2, 0);
    run(monitor, { prefix: 'osd set', key: 'noup' });
    const boot = link.boot(2, osdAddrs(2, 5));
    expect(link.boot(2, osdAddrs(2, 5))).toBe(boot);
    const outcome = expect(boot).rejects.toMatchObject({ code: 'EAGAIN' });
    osds.ended(2);
    await outcome;
    run(monitor, { prefix: 'osd unset', key: 'noup' });
    await world.advance(1000);
    expect(osdMaps.map.isUp(2)).toBe(false);
    await world.until(link.boot(2, osdAddrs(2, 6)));
    expect(osdMaps.map.isUp(2)).toBe(true);
  });

  it('is out after ten minutes of being down, and in again with the boot', async () => {
    const world = new VirtualWorld();
    const monitor = await startCluster(world);
    const link = monitor.link();
    const { osdMaps } = monitor.state;
    run(monitor, { prefix: 'osd reweight', id: 2, weight: 0.5 });
    link.reportFailure(2, 0);
    await world.advance(599_000);
    expect(osdMaps.map.isOut(2)).toBe(false);
    await world.advance(2_000);
    expect(osdMaps.map.isOut(2)).toBe(true);
    await world.until(link.boot(2, osdAddrs(2, 5)));
    expect(osdMaps.map.osdWeight[2]).toBe(OSD_IN / 2);
    expect((osdMaps.map.osdState[2] ?? 0) & OSD_STATE.AUTOOUT).toBe(0);
  });

  it('stays in under `noout`, and out when an operator put it out', async () => {
    const world = new VirtualWorld();
    const monitor = await startCluster(world);
    const link = monitor.link();
    const { osdMaps } = monitor.state;
    run(monitor, { prefix: 'osd set', key: 'noout' });
    link.reportFailure(1, 0);
    run(monitor, { prefix: 'osd out', ids: ['2'] });
    link.reportFailure(2, 0);
    await world.advance(700_000);
    expect(osdMaps.map.isOut(1)).toBe(false);
    await world.until(link.boot(2, osdAddrs(2, 5)));
    expect(osdMaps.map.isOut(2)).toBe(true);
    expect(run(monitor, { prefix: 'osd in', ids: ['2'] }).rs).toBe('marked in osd.2. ');
  });

  it('that waits to boot when the monitor stops is told so', async () => {
    const world = new VirtualWorld();
    const monitor = await startCluster(world);
    run(monitor, { prefix: 'osd set', key: 'noup' });
    monitor.link().reportFailure(0, 1);
    const boot = monitor.link().boot(0, osdAddrs(0, 2));
    const outcome = expect(boot).rejects.toMatchObject({ code: 'ESTALE' });
    await world.until(monitor.close());
    await outcome;
    await expect(monitor.link().boot(0, osdAddrs(0, 3))).rejects.toMatchObject({ code: 'ESTALE' });
    expect(world.pendingEvents).toBe(0);
  });
});

describe('a fence', () => {
  it('ends when its time has come, and not before', async () => {
    const world = new VirtualWorld();
    const monitor = await startCluster(world);
    const add = (addr: string, expire: number) =>
      run(monitor, { prefix: 'osd blocklist', blocklistop: 'add', addr, expire });
    add('10.0.0.1:0/1', 30);
    add('10.0.0.1:0/2', 7200);
    const size = () => monitor.state.osdMaps.map.blocklist.size;
    await world.advance(29_000);
    expect(size()).toBe(2);
    await world.advance(2_000);
    expect(size()).toBe(1);
    await world.advance(7_100_000);
    expect(size()).toBe(1);
    await world.advance(100_000);
    expect(size()).toBe(0);
    // Nothing is left to wait for.
    const epoch = monitor.state.osdMaps.epoch;
    await world.advance(3_600_000);
    expect(monitor.state.osdMaps.epoch).toBe(epoch);
  });

  it('is of the address whichever messenger its client speaks', async () => {
    const monitor = await startCluster(new VirtualWorld());
    run(monitor, { prefix: 'osd blocklist', blocklistop: 'add', addr: 'v2:10.0.0.1:0/1' });
    const { map } = monitor.state.osdMaps;
    const addr = { host: '10.0.0.1', port: 0, nonce: 1 };
    expect(map.isBlocklisted({ ...addr, type: 2 })).toBe(true);
    expect(map.isBlocklisted({ ...addr, type: 1 })).toBe(true);
    expect(map.isBlocklisted({ ...addr, type: 2, nonce: 2 })).toBe(false);
  });
});
