import { describe, expect, it } from 'vitest';
import { appendOp } from '../../../src/messages/osd-op.js';
import { Bench, OID, pendsFor, read, sleep, timed, until, write } from './support.js';

describe('a reset', () => {
  it('breaks the connections of a client to an OSD and no others; work goes on over new ones', async () => {
    const bench = await Bench.start();
    const [one, two] = [await bench.client(), await bench.client()];
    await write(one.io);
    await read(two.io);
    const osd = await bench.primary(one.rados);
    const hit = async () =>
      (await bench.faults.clients()).filter(({ daemon }) => daemon === `osd.${osd}`);
    expect(await hit()).toHaveLength(2);
    const fault = await bench.faults.resetConnections({ client: one.rados.globalId, osd });
    await fault.untilFired();
    await until(async () => (await hit()).length === 1);
    expect((await hit())[0]?.client).toBe(`client.${two.rados.globalId}`);
    expect(await read(one.io)).toBe('data');
    expect(await fault.fired()).toBe(1);
  });

  it('is an RST on the wire', async () => {
    const bench = await Bench.start();
    const { rados } = await bench.client();
    const raw = await bench.raw(await bench.primary(rados));
    await bench.faults.resetConnections({ client: raw.gid });
    const lost = raw.ask([]).catch((error: Error) => error);
    expect(String(await lost)).toMatch(/ECONNRESET/);
  });

  it('of the monitor is made good too', async () => {
    const bench = await Bench.start();
    const { rados } = await bench.client();
    const fault = await bench.faults.resetConnections({ mon: true });
    await fault.untilFired();
    expect((await rados.command({ prefix: 'osd stat' })).output.length).toBeGreaterThan(0);
    expect(await fault.fired()).toBe(1);
  });

  it('can wait for the next connections', async () => {
    const bench = await Bench.start();
    const { rados, io } = await bench.client();
    const osd = await bench.primary(rados);
    const next = { connections: 'next', osd } as const;
    const fault = await bench.faults.resetConnections({ ...next, times: 2 });
    const other = await bench.faults.resetConnections({ connections: 'next', osd: (osd + 1) % 3 });
    await write(io);
    expect(await fault.fired()).toBe(2);
    expect(await other.fired()).toBe(0);
    const client = await bench.faults.resetConnections({ ...next, client: rados.globalId });
    expect(await read(io)).toBe('data');
    expect(await client.fired()).toBe(0);
    await bench.faults.resetConnections({ osd });
    expect(await read(io)).toBe('data');
    expect(await client.fired()).toBe(1);
  });

  it('can come again and again, until it is stopped', async () => {
    const bench = await Bench.start();
    const { io } = await bench.client();
    const storm = await bench.faults.resetConnections({ everyMs: 20 });
    const appends: Promise<unknown>[] = [];
    for (let i = 0; i < 40; i++) {
      appends.push(io.operate('log', [appendOp(Buffer.from('x'))]));
      await sleep(10);
    }
    await storm.untilFired(4);
    await storm.stop();
    await Promise.all(appends);
    expect(await read(io, 'log')).toBe('x'.repeat(40));
    const { resetConnections } = await bench.faults.counters();
    await sleep(100);
    expect((await bench.faults.counters()).resetConnections).toBe(resetConnections);
  });
});

describe('a refusal', () => {
  it('keeps an OSD’s clients away until it is over', async () => {
    const bench = await Bench.start();
    const { rados, io } = await bench.client();
    await write(io);
    const fault = await bench.faults.refuseConnections({ osd: await bench.primary(rados) });
    const reading = read(io);
    await fault.untilFired(3);
    expect(await pendsFor(reading, 100)).toBe(true);
    await fault.stop();
    expect(await reading).toBe('data');
  });

  it('of one client lets the others in', async () => {
    const bench = await Bench.start();
    const [one, two] = [await bench.client(), await bench.client()];
    await write(two.io);
    const fault = await bench.faults.refuseConnections({ client: `client.${one.rados.globalId}` });
    const reading = read(one.io);
    await fault.untilFired(3);
    expect(await read(two.io)).toBe('data');
    expect(await pendsFor(reading, 100)).toBe(true);
    await fault.stop();
    expect(await reading).toBe('data');
  });
});

describe('a black hole', () => {
  it('lets nothing through and loses nothing: after it everything happens, once', async () => {
    const bench = await Bench.start();
    const [one, two] = [await bench.client(), await bench.client()];
    await write(one.io, OID, 'a');
    const fault = await bench.faults.blackHole({ client: one.rados.globalId });
    const appending = one.io.operate(OID, [appendOp(Buffer.from('b'))]);
    await fault.untilFired();
    expect(await pendsFor(appending, 300)).toBe(true);
    expect(await read(two.io)).toBe('a');
    await fault.stop();
    await appending;
    expect(await read(one.io)).toBe('ab');
  });

  it('towards the client swallows answers only', async () => {
    const bench = await Bench.start();
    const [one, two] = [await bench.client(), await bench.client()];
    await write(one.io, OID, 'a');
    const osd = await bench.primary(one.rados);
    const client = one.rados.globalId;
    const fault = await bench.faults.blackHole({ client, osd, direction: 'toClient' });
    const appending = one.io.operate(OID, [appendOp(Buffer.from('b'))]);
    await fault.untilFired();
    await until(async () => (await read(two.io)) === 'ab');
    expect(await pendsFor(appending, 100)).toBe(true);
    await fault.stop();
    await appending;
    expect(await read(two.io)).toBe('ab');
  });

  it('swallows the end of a connection too: the client does not hear that its OSD dropped it', async () => {
    const bench = await Bench.start();
    const { rados } = await bench.client();
    const osd = await bench.primary(rados);
    const raw = await bench.raw(osd);
    const fault = await bench.faults.blackHole({ client: raw.gid, direction: 'toClient' });
    // A second connection of the same client ends the first, at the OSD.
    const again = await bench.raw(osd, raw.gid).catch(() => undefined);
    expect(again).toBeDefined();
    await sleep(200);
    expect(raw.client.closed).toBe(false);
    await fault.stop();
    await until(() => raw.client.closed);
  }, 15_000);

  it('of connections to come swallows their handshakes', async () => {
    const bench = await Bench.start();
    const { rados, io } = await bench.client();
    await write(io);
    const osd = await bench.primary(rados);
    const fault = await bench.faults.blackHole({ osd, connections: 'next' });
    await bench.faults.resetConnections({ osd });
    const reading = read(io);
    await fault.untilFired();
    expect(await pendsFor(reading, 300)).toBe(true);
    await fault.stop();
    expect(await reading).toBe('data');
  });
});

describe('a slow network', () => {
  it('delays each way by what was asked for, in order', async () => {
    const bench = await Bench.start();
    const { rados, io } = await bench.client();
    await write(io);
    const client = rados.globalId;
    await using there = await bench.faults.delayConnections({
      client,
      ms: 100,
      direction: 'toCluster',
    });
    expect(await timed(() => read(io))).toBeGreaterThan(90);
    await using back = await bench.faults.delayConnections({ client, ms: 150, jitterMs: 50 });
    expect(await timed(() => read(io))).toBeGreaterThan(390);
    const order: number[] = [];
    const appends = [1, 2, 3, 4].map((i) =>
      io.operate('log', [appendOp(Buffer.from(String(i)))]).then(() => order.push(i)),
    );
    await Promise.all(appends);
    expect(order).toEqual([1, 2, 3, 4]);
    expect(await read(io, 'log')).toBe('1234');
    expect(await there.fired()).toBeGreaterThan(2);
    expect(await back.fired()).toBeGreaterThan(2);
    await bench.faults.clear();
    // Less than the smallest of the delays would make it, however busy the machine is in between.
    await until(async () => (await timed(() => read(io))) < 90);
  });

  it('carries so many bytes a second', async () => {
    const bench = await Bench.start();
    const { rados, io } = await bench.client();
    await write(io);
    const osd = await bench.primary(rados);
    const bytes = Buffer.alloc(50_000, 'x').toString();
    const fault = await bench.faults.throttleConnections({ osd, bytesPerSecond: 100_000 });
    const took = await timed(() => write(io, OID, bytes));
    expect(took).toBeGreaterThan(400);
    expect(await fault.fired()).toBeGreaterThan(0);
    await fault.stop();
    await until(async () => (await timed(() => write(io, OID, bytes))) < 300);
    expect((await io.read(OID, 0, 100_000)).length).toBe(50_000);
  });
});

describe('a connection that breaks in the middle', () => {
  it('breaks after so many bytes, wherever that is, and the work is done once', async () => {
    const bench = await Bench.start();
    const { rados, io } = await bench.client();
    await write(io, OID, 'start ');
    const osd = await bench.primary(rados);
    let length = 6;
    for (const bytes of [0, 1, 31, 32, 33, 100, 150, 200, 333]) {
      for (const direction of ['toCluster', 'toClient'] as const) {
        const fault = await bench.faults.breakAfterBytes({ osd, bytes, direction });
        for (let i = 0; i < 5; i++) {
          await io.operate(OID, [appendOp(Buffer.from('x'))]);
          length++;
        }
        expect(await fault.fired()).toBe(1);
        await fault.stop();
      }
    }
    expect((await io.read(OID, 0, 1000)).length).toBe(length);
    expect((await bench.faults.counters()).breakAfterBytes).toBe(18);
  });
});
