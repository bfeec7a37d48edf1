import { describe, expect, it } from 'vitest';
import { WATCH_OP } from '../../../src/messages/osd-op.js';
import { watchOp } from '../osd/support/watch-messages.js';
import { Bench, OID, pendsFor, POOL, read, write } from './support.js';

describe('flags of the map', () => {
  it('pause reads and writes until they are taken back', async () => {
    const bench = await Bench.start();
    const { rados, io } = await bench.client();
    await write(io);
    const fault = await bench.faults.setFlags('pausewr');
    await rados.waitForLatestMap();
    expect(await read(io)).toBe('data');
    const writing = write(io, OID, 'more');
    const reads = await bench.faults.setFlags('pauserd', 'pausewr');
    await rados.waitForLatestMap();
    const reading = read(io, 'missing').catch(() => 'none');
    expect(await pendsFor(Promise.race([writing, reading]), 200)).toBe(true);
    await fault.stop();
    await writing;
    // Taken back is what the fault itself had set.
    expect(await pendsFor(reading, 100)).toBe(true);
    await reads.stop();
    expect(await reading).toBe('none');
    expect((await bench.faults.counters()).setFlags).toBe(2);
  });

  it('keep a dead OSD up', async () => {
    const bench = await Bench.start();
    await using nodown = await bench.faults.setFlags('nodown');
    expect(nodown.kind).toBe('setFlags');
    await bench.faults.killOsd(1);
    expect((await bench.cluster.status()).osds[1]).toMatchObject({ running: false, up: true });
    await expect(bench.faults.setFlags('nonsense' as never)).rejects.toThrow(TypeError);
  });
});

describe('a full pool', () => {
  it('takes no more data, and gives what it has', async () => {
    const bench = await Bench.start({ pools: [{ name: POOL, pgNum: 1 }, 'other'] });
    const { rados, io } = await bench.client();
    await write(io);
    const fault = await bench.faults.full({ pool: POOL });
    await rados.waitForLatestMap();
    const writing = write(io, 'another');
    expect(await pendsFor(writing, 200)).toBe(true);
    expect(await read(io)).toBe('data');
    await write(await rados.ioctx('other'));
    await fault.stop();
    await writing;
    const all = await bench.faults.full();
    await rados.waitForLatestMap();
    const everywhere = write(await rados.ioctx('other'), 'more');
    expect(await pendsFor(everywhere, 200)).toBe(true);
    await all.stop();
    await everywhere;
    expect((await bench.faults.counters()).full).toBe(2);
  });
});

describe('a blocklisted client', () => {
  it('is refused until it is taken off the list, by its global id', async () => {
    const bench = await Bench.start();
    const [one, two] = [await bench.client(), await bench.client()];
    await write(one.io);
    const fault = await bench.faults.blocklist({ client: one.rados.globalId });
    await expect(write(one.io)).rejects.toMatchObject({ code: 'EBLOCKLISTED' });
    expect(await read(two.io)).toBe('data');
    await fault.stop();
    const { map } = { map: await two.rados.command({ prefix: 'osd blocklist ls' }) };
    expect(Buffer.from(map.output).toString()).toBe('');
    expect((await bench.faults.counters()).blocklist).toBe(1);
  });

  it('loses its watches, and may be named by its address', async () => {
    const bench = await Bench.start();
    const { rados } = await bench.client();
    const raw = await bench.raw(await bench.primary(rados));
    await raw.create();
    await raw.result(watchOp(WATCH_OP.WATCH, 1n));
    const [{ addr } = { addr: '' }] = await bench.faults.watches();
    await using fault = await bench.faults.blocklist({ client: addr, expireS: 60 });
    expect(await raw.events(1)).toMatchObject([{ event: 'DISCONNECT', cookie: 1n }]);
    expect(await raw.result(watchOp(WATCH_OP.PING, 1n))).toBe(-108);
    expect(await bench.faults.watches()).toEqual([]);
    expect(await fault.fired()).toBe(1);
    await expect(bench.faults.blocklist({ client: 99999 })).rejects.toMatchObject({
      code: 'ENOENT',
    });
  });
});

describe('the map’s churn', () => {
  it('leaves a client that was away with no incrementals to follow', async () => {
    const bench = await Bench.start();
    const { rados, io } = await bench.client();
    await write(io);
    const away = await bench.faults.monUnavailable({ how: 'refuse' });
    await bench.faults.resetConnections();
    const before = rados.osdMapEpoch;
    const fault = await bench.faults.churnMap(600);
    expect(await fault.fired()).toBe(600);
    expect(rados.osdMapEpoch).toBe(before);
    await away.stop();
    await rados.waitForLatestMap();
    expect(rados.osdMapEpoch).toBe(before + 600);
    expect(await read(io)).toBe('data');
  });
});

describe('the monitor', () => {
  it('that is silent leaves reads and writes alone, and commands waiting', async () => {
    const bench = await Bench.start();
    const { rados, io } = await bench.client();
    await write(io);
    const fault = await bench.faults.monUnavailable();
    const command = rados.command({ prefix: 'osd stat' });
    await fault.untilFired();
    expect(await pendsFor(command, 200)).toBe(true);
    await write(io, OID, 'meanwhile');
    expect(await read(io)).toBe('meanwhile');
    await expect(bench.client({ mountTimeoutMs: 300 })).rejects.toMatchObject({
      code: 'ETIMEDOUT',
    });
    await fault.stop();
    expect((await command).output.length).toBeGreaterThan(0);
  });

  it('that refuses everybody is found again when it is back', async () => {
    const bench = await Bench.start();
    const { rados, io } = await bench.client();
    const fault = await bench.faults.monUnavailable({ how: 'refuse' });
    const command = rados.command({ prefix: 'osd stat' });
    await fault.untilFired(2);
    expect(await pendsFor(command, 200)).toBe(true);
    await write(io);
    await fault.stop();
    expect((await command).output.length).toBeGreaterThan(0);
  });
});
