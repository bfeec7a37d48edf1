// P30: whatever goes side by side, clients see the same; and what the OSDs tell of what they are at.

import { describe, expect, it } from 'vitest';
import { PIPELINE_MODES } from '../../../../src/cluster/settings.js';
import { appendOp, readOp, writeOp } from '../../../../src/messages/osd-op.js';
import { Bench, OID, POOL, until } from '../../faults/support.js';
import { random } from './support/lane-world.js';

interface Dump {
  num_ops: number;
  ops: {
    description: string;
    age: number;
    current: { phase: string; blocked_on?: { type: string } };
    phases: { name: string; wait: number; in: number }[];
    instances: unknown[];
  }[];
}

const word = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};

describe.each(PIPELINE_MODES)('a cluster in mode %s', (mode) => {
  it('P30, P12, P14: appends once each and in order, and shows no reader what is not there to stay', async () => {
    const bench = await Bench.start({
      osds: 2,
      size: 2,
      pools: [{ name: POOL, pgNum: 2 }],
      pipeline: { mode },
    });
    const { io } = await bench.client();
    const draw = random(2026);
    const objects = Array.from({ length: 4 }, (_, i) => ({ oid: `o${i}`, sent: 0, seen: 0 }));
    const under: Promise<unknown>[] = [];
    for (let i = 0; i < 300; i++) {
      const object = objects[draw(objects.length)] as (typeof objects)[number];
      if (draw(3) > 0) {
        under.push(io.operate(object.oid, [appendOp(word(++object.sent))]));
      } else if (object.sent > 0) {
        const sent = object.sent;
        const before = object.seen;
        under.push(
          io.operate(object.oid, [readOp(0, 0)]).then(({ ops }) => {
            // One client's requests of one object take effect in the order of their calls.
            const length = (ops[0]?.outdata.length ?? 0) / 4;
            expect(length).toBe(sent);
            expect(length).toBeGreaterThanOrEqual(before);
            object.seen = length;
          }),
        );
      }
      if (i === 150) under.push(bench.faults.movePg({ pool: POOL, pg: 0 }));
    }
    await Promise.all(under);
    for (const { oid, sent } of objects) {
      const bytes = Buffer.from(await io.read(oid, 0, 0));
      const words = Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readUInt32LE(4 * i));
      expect(words).toEqual(Array.from({ length: sent }, (_, i) => i + 1));
    }
    // P19, P29: nothing is left.
    for (const osd of ['osd.0', 'osd.1']) {
      const { num_ops } = (await bench.cluster.daemon(osd, 'dump_ops_in_flight')) as Dump;
      expect(num_ops).toBe(0);
      const { phases } = (await bench.cluster.daemon(osd, 'dump_pipelines')) as {
        phases: unknown[];
      };
      expect(phases).toEqual([]);
    }
  });

  it('P28: tells where an operation is, what holds it up, and how long it was where', async () => {
    const bench = await Bench.start({ osds: 2, size: 2, pipeline: { mode } });
    const { io, rados } = await bench.client();
    await io.operate(OID, [writeOp(0, Buffer.from('x'))]);
    const primary = await bench.primary(rados);
    // Its replica does not answer.
    const frozen = await bench.faults.freezeOsd({ osd: 1 - primary, graceMs: 0 });
    const write = io.operate(OID, [writeOp(0, Buffer.from('y'))]);
    const read = io.operate(OID, [readOp(0, 0)]);
    const dump = async (command: string) =>
      (await bench.cluster.daemon(`osd.${primary}`, command)) as Dump;
    await until(async () => (await dump('dump_ops_in_flight')).num_ops === 2);
    const { ops } = await dump('dump_ops_in_flight');
    expect(ops.map(({ current }) => [current.phase, current.blocked_on?.type])).toEqual([
      ['O2.wait_repop', 'repop'],
      ['O1.process', 'obc_lock'],
    ]);
    for (const { age, phases } of ops) {
      const sum = phases.reduce((total, phase) => total + phase.wait + phase.in, 0);
      expect(Math.abs(sum - age)).toBeLessThanOrEqual(0.001);
    }
    await frozen.stop();
    await write;
    expect(Buffer.from((await read).ops[0]?.outdata ?? []).toString()).toBe('y');
    const history = await dump('dump_historic_ops');
    expect(history.ops.map(({ description }) => description.includes(OID))).toContain(true);
    await expect(dump('dump_everything')).rejects.toMatchObject({ code: 'EINVAL' });
  });
});
