// Faults at single events of an OSD's request pipeline.

import { describe, expect, it } from 'vitest';
import { parseOpPoint } from '../../../src/cluster/faults/op-points.js';
import { appendOp } from '../../../src/messages/osd-op.js';
import { Bench, OID, pendsFor, POOL, read, until, write } from './support.js';

const HOLDING = [
  'C1.await_active.entered',
  'C2.await_map.enter',
  'C3.get_pg_mapping.leave',
  'S1.create_or_wait_pg.entered',
  'G1.wait_pg_ready.entered',
  'G2.get_obc.enter',
  'O1.process.entered',
  'O1.process.submit',
  'O2.wait_repop.entered',
  'O2.wait_repop.unblock',
  'O2.wait_repop.commit',
  'O3.send_reply.reply',
  'O3.send_reply.leave',
];

const KILLING = [
  'O1.process.entered',
  'O1.process.submit',
  'O2.wait_repop.commit',
  'O3.send_reply.reply',
];

const phaseOf = (point: string) => point.slice(0, point.lastIndexOf('.'));

describe('a point of the pipeline', () => {
  it('holds a write there, with those behind it, until it is stopped', async () => {
    const bench = await Bench.start({ osds: 2, size: 2 });
    const { io, rados } = await bench.client();
    let expected = 'before';
    await write(io, OID, expected);
    const osd = await bench.primary(rados);
    for (const at of HOLDING) {
      const fault = await bench.faults.opPoint({
        ...{ point: `osd.${osd}.op.${at}`, action: 'delay', pool: POOL, ops: 'write' },
        object: OID,
        times: 1,
      });
      const first = io.operate(OID, [appendOp(Buffer.from('-1'))]);
      await fault.untilFired();
      const second = io.operate(OID, [appendOp(Buffer.from('-2'))]);
      // It has answered already when it leaves the last.
      if (at !== 'O3.send_reply.leave') expect(await pendsFor(first, 20), at).toBe(true);
      expect(await pendsFor(second, 20), at).toBe(true);
      const { ops } = (await bench.cluster.daemon(`osd.${osd}`, 'dump_ops_in_flight')) as {
        ops: { current: { phase: string; blocked_on?: { type: string } } }[];
      };
      const held = ops.find(({ current }) => current.blocked_on?.type === 'fault');
      expect(held, at).toBeDefined();
      // Who is about to enter is in the phase before.
      if (!at.endsWith('.enter')) expect(held?.current.phase).toBe(phaseOf(at));
      await fault.stop();
      await Promise.all([first, second]);
      expected += '-1-2';
      expect(await read(io)).toBe(expected.slice(0, 100));
    }
  });

  it('P26: has who was held look again at what keeps it, before it executes', async () => {
    const bench = await Bench.start();
    const [one, two] = [await bench.client(), await bench.client()];
    await write(one.io, OID, 'before');
    const point = 'osd.*.op.O1.process.submit';
    const fault = await bench.faults.opPoint({
      point,
      action: 'delay',
      client: one.rados.globalId,
    });
    const writing = write(one.io, OID, 'after').catch((error: unknown) => error);
    await fault.untilFired();
    await bench.faults.blocklist({ client: one.rados.globalId });
    await until(async () => {
      const { epoch } = await bench.cluster.status();
      const { newest_map } = (await bench.cluster.daemon('osd.0', 'status')) as {
        newest_map: number;
      };
      return newest_map === epoch;
    });
    await fault.stop();
    expect(await writing).toMatchObject({ code: 'EBLOCKLISTED' });
    expect(await read(two.io)).toBe('before');
  });

  it('holds for a while, as often as it was said, requests that match', async () => {
    const bench = await Bench.start();
    const { io } = await bench.client();
    const fault = await bench.faults.opPoint({
      ...{ point: 'osd.*.op.O1.process.entered', action: 'delay', ms: 30, times: 2 },
      prefix: 'slow',
    });
    await write(io, 'fast');
    expect(await fault.fired()).toBe(0);
    await write(io, 'slow.1');
    await write(io, 'slow.2');
    await write(io, 'slow.3');
    expect(await fault.fired()).toBe(2);
    expect((await bench.faults.counters()).opPoint).toBe(2);
  });

  it('kills its OSD there, and the write happens once', async () => {
    const bench = await Bench.start({ osds: 3, size: 2 });
    const { io, rados } = await bench.client();
    let expected = 'before';
    await write(io, OID, expected);
    for (const at of KILLING) {
      const osd = await bench.primary(rados);
      const fault = await bench.faults.opPoint({
        ...{ point: `osd.${osd}.op.${at}`, action: 'kill', object: OID, ops: 'write', times: 1 },
      });
      await io.operate(OID, [appendOp(Buffer.from('-1'))]);
      expected += '-1';
      expect(await fault.fired(), at).toBe(1);
      expect((await bench.cluster.status()).osds[osd]?.running).toBe(false);
      expect(await read(io), at).toBe(expected);
      await fault.stop();
      expect((await bench.cluster.status()).osds[osd]?.running).toBe(true);
      expect(await read(io), at).toBe(expected);
    }
  });

  it.each(['reset', 'move'] as const)(
    '%s at each event, and the write happens once',
    async (action) => {
      const bench = await Bench.start({ osds: 3, size: 2 });
      const { io } = await bench.client();
      let expected = 'before';
      await write(io, OID, expected);
      for (const event of [
        'enter',
        'entered',
        'leave',
        'block',
        'unblock',
        'submit',
        'commit',
        'reply',
      ]) {
        const point = `osd.*.op.*.${event}`;
        const fault = await bench.faults.opPoint({
          point,
          action,
          object: OID,
          ops: 'write',
          times: 1,
        });
        await io.operate(OID, [appendOp(Buffer.from(`-${event}`))]);
        expected += `-${event}`;
        expect(await fault.fired(), event).toBe(1);
        await fault.stop();
        expect(await read(io)).toBe(expected);
      }
    },
  );

  it('moves nothing when no other OSD is up, and the write happens', async () => {
    const bench = await Bench.start({ osds: 1, size: 1 });
    const { io } = await bench.client();
    for (const event of ['entered', 'leave', 'submit', 'commit', 'reply']) {
      const fault = await bench.faults.opPoint({
        ...{ point: `osd.*.op.*.${event}`, action: 'move', object: OID, ops: 'write', times: 1 },
      });
      const text = event.padEnd(10);
      await write(io, OID, text);
      expect(await fault.fired(), event).toBe(1);
      await fault.stop();
      expect(await read(io)).toBe(text);
    }
  });

  it('has requests get no answer; the client sends them again on its next connection', async () => {
    const bench = await Bench.start();
    const { io } = await bench.client();
    await write(io, OID, 'before');
    const point = 'osd.*.op.O1.process.entered';
    const fault = await bench.faults.opPoint({ point, action: 'drop', ops: 'read', times: 1 });
    const reading = read(io);
    await fault.untilFired();
    expect(await pendsFor(reading, 20)).toBe(true);
    await bench.faults.resetConnections({});
    expect(await reading).toBe('before');
  });

  it('goes on when the cluster stops, with nothing left', async () => {
    const bench = await Bench.start();
    const { io } = await bench.client();
    const point = 'osd.*.op.G1.wait_pg_ready.entered';
    const fault = await bench.faults.opPoint({ point, action: 'delay', ms: 60_000 });
    const writing = write(io).catch(() => {});
    await until(async () => (await fault.fired()) === 1);
    await bench.cluster.stop();
    void writing;
  });

  it('is refused when there is none of its name, or nothing can be done there', async () => {
    expect(parseOpPoint('osd.*.op.O1.process.enter')).toEqual({
      ...{ osd: undefined, phase: 'O1.process', event: 'enter' },
    });
    const bench = await Bench.start();
    const { faults } = bench;
    for (const point of ['', 'osd.0', 'osd.0.op.O1.process.nosuch', 'mon.a.op.x.enter']) {
      await expect(faults.opPoint({ point, action: 'delay' })).rejects.toThrow(TypeError);
    }
    const at = (point: string) => faults.opPoint({ point, action: 'delay' });
    await expect(at('osd.9.op.*.enter')).rejects.toThrow(RangeError);
    await expect(at('osd.0.op.*.drop')).rejects.toMatchObject({ code: 'EINVAL' });
  });
});
