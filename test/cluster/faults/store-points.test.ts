// Faults where an OSD's store acknowledges a change, at primaries and at replicas.

import { describe, expect, it } from 'vitest';
import { nodeEnvironment } from '../../../src/base/node-environment.js';
import { ArmedFault } from '../../../src/cluster/faults/armed-fault.js';
import { parseStorePoint, StorePoints } from '../../../src/cluster/faults/store-points.js';
import type { ObjectId } from '../../../src/cluster/store/object-id.js';
import { appendOp } from '../../../src/messages/osd-op.js';
import { Bench, OID, pendsFor, POOL, read, write } from './support.js';

describe('a point of the store', () => {
  it.each(['primary', 'replica'] as const)(
    'has the disk of a %s be late with an object, until it is stopped',
    async (where) => {
      const bench = await Bench.start({ osds: 2, size: 2 });
      const { io, rados } = await bench.client();
      await write(io, OID, 'before');
      const osd = (await bench.acting(rados))[where === 'primary' ? 0 : 1];
      const fault = await bench.faults.storePoint({
        ...{ point: `osd.${osd}.store.commit`, action: 'delay' },
        ...{ pool: POOL, object: OID, times: 1 },
      });
      const late = write(io, OID, 'behind');
      await fault.untilFired();
      expect(await pendsFor(late, 30)).toBe(true);
      await write(io, 'another', 'x');
      await fault.stop();
      await late;
      expect(await read(io)).toBe('behind');
    },
  );

  it('has it be late for a while, as often as it was said', async () => {
    const bench = await Bench.start();
    const { io } = await bench.client();
    const fault = await bench.faults.storePoint({
      ...{ point: 'osd.*.store.commit', action: 'delay', ms: 20, times: 2, prefix: 'slow' },
    });
    await write(io, 'fast');
    for (const name of ['slow.1', 'slow.2', 'slow.3']) await write(io, name);
    expect(await fault.fired()).toBe(2);
    expect((await bench.faults.counters()).storePoint).toBe(2);
  });

  it.each(['primary', 'replica'] as const)(
    'kills a %s that has the change and told nobody, and the change happens once',
    async (where) => {
      const bench = await Bench.start({ osds: 3, size: 2 });
      const { io, rados } = await bench.client();
      await write(io, OID, 'before');
      const osd = (await bench.acting(rados))[where === 'primary' ? 0 : 1];
      const fault = await bench.faults.storePoint({
        ...{ point: `osd.${osd}.store.commit`, action: 'kill', object: OID, times: 1 },
      });
      await io.operate(OID, [appendOp(Buffer.from('-once'))]);
      expect(await fault.fired()).toBe(1);
      const running = async () =>
        (await bench.cluster.status()).osds.filter((each) => each.running).length;
      expect(await running()).toBe(2);
      expect(await read(io)).toBe('before-once');
      await fault.stop();
      expect(await running()).toBe(3);
      expect(await read(io)).toBe('before-once');
    },
  );

  it('kills nobody any more whose change is durable only after it was stopped', async () => {
    const points = new StorePoints(nodeEnvironment());
    const killed: number[] = [];
    const disarm = points.arm({
      ...{ osd: undefined, action: 'kill', ms: undefined, matches: () => true },
      fault: new ArmedFault(1, 'storePoint', 1, () => {}),
      kill: (osd) => killed.push(osd),
    });
    let settle = () => {};
    const durable = new Promise<void>((resolve) => {
      settle = resolve;
    });
    const passed = points.pass?.(1, [{} as ObjectId], durable);
    disarm();
    settle();
    await passed;
    expect(killed).toEqual([]);
  });

  it('has a name, and who is asked for another says so', async () => {
    expect(parseStorePoint('osd.3.store.commit')).toBe(3);
    expect(parseStorePoint('osd.*.store.commit')).toBeUndefined();
    for (const text of ['osd.x.store.commit', 'osd.0.store.read', 'mon.store.commit', '']) {
      expect(() => parseStorePoint(text)).toThrow(TypeError);
    }
    const bench = await Bench.start();
    const arm = (point: string, action: 'delay' | 'kill') =>
      bench.faults.storePoint({ point, action });
    await expect(arm('osd.9.store.commit', 'kill')).rejects.toThrow(/osd\.9/);
    await expect(arm('osd.0.store.commit', 'drop' as 'kill')).rejects.toThrow(/no action/);
  });
});
