import { beforeEach, describe, expect, it } from 'vitest';
import type { Monitor } from '../../../src/cluster/mon/monitor.js';
import { runPoolOp } from '../../../src/cluster/mon/pools.js';
import { POOL_OP } from '../../../src/messages/mon-messages.js';
import { type PgPool, POOL_FLAG } from '../../../src/osdmap/pool.js';
import { VirtualWorld } from '../../../src/sim/virtual-world.js';
import { run, startCluster } from './support.js';

let monitor: Monitor;

beforeEach(async () => {
  monitor = await startCluster(new VirtualWorld());
  monitor.createPool({ name: 'rbd', pgNum: 8, applications: ['rbd'] });
});

const pool = () => monitor.state.osdMaps.map.pool(1) as PgPool;
const op = (code: number, options: { pool?: number; snapid?: bigint; name?: string } = {}) =>
  runPoolOp(monitor.state, { op: code, pool: 1, snapid: 0n, name: '', ...options });

describe('snapshot ids of clients', () => {
  it('begin at 2 and grow by one, each with an epoch of its own', () => {
    const before = monitor.state.osdMaps.epoch;
    expect(op(POOL_OP.CREATE_UNMANAGED_SNAP)).toEqual({ code: 0, snapid: 2n });
    expect(op(POOL_OP.CREATE_UNMANAGED_SNAP)).toEqual({ code: 0, snapid: 3n });
    expect(monitor.state.osdMaps.epoch).toBe(before + 2);
    expect(pool()).toMatchObject({ snapSeq: 3n, snapEpoch: before + 2 });
    expect(pool().flags & POOL_FLAG.SELFMANAGED_SNAPS).not.toBe(0);
  });

  it('move the sequence when they are removed, and are queued for trimming once', () => {
    op(POOL_OP.CREATE_UNMANAGED_SNAP);
    op(POOL_OP.CREATE_UNMANAGED_SNAP);
    op(POOL_OP.CREATE_UNMANAGED_SNAP);
    expect(op(POOL_OP.DELETE_UNMANAGED_SNAP, { snapid: 3n })).toEqual({ code: 0 });
    expect(pool().snapSeq).toBe(5n);
    const { map } = monitor.state.osdMaps;
    expect(map.removedSnapsQueue.get(1)).toEqual([[3n, 1n]]);
    expect(map.newRemovedSnaps.get(1)).toEqual([[3n, 1n]]);
    const epoch = monitor.state.osdMaps.epoch;
    expect(op(POOL_OP.DELETE_UNMANAGED_SNAP, { snapid: 3n })).toEqual({ code: 0 });
    expect(monitor.state.osdMaps.epoch).toBe(epoch);
  });

  it('that were never given out cannot be removed', () => {
    op(POOL_OP.CREATE_UNMANAGED_SNAP);
    expect(op(POOL_OP.DELETE_UNMANAGED_SNAP, { snapid: 9n })).toEqual({ code: -2 });
    expect(op(POOL_OP.DELETE_UNMANAGED_SNAP, { snapid: 0n })).toEqual({ code: -2 });
  });

  it('and snapshots of the whole pool exclude each other', () => {
    op(POOL_OP.CREATE_UNMANAGED_SNAP);
    expect(op(POOL_OP.CREATE_SNAP, { name: 'x' })).toEqual({ code: -22 });
    monitor.createPool({ name: 'other' });
    expect(op(POOL_OP.CREATE_SNAP, { pool: 2, name: 'x' })).toEqual({ code: 0 });
    expect(op(POOL_OP.CREATE_UNMANAGED_SNAP, { pool: 2 })).toEqual({ code: -22 });
    expect(op(POOL_OP.DELETE_SNAP, { pool: 2, name: 'x' })).toEqual({ code: 0 });
    expect(monitor.state.osdMaps.map.pool(2)?.snaps.size).toBe(0);
  });

  it('of a pool that is not there are refused', () => {
    expect(op(POOL_OP.CREATE_UNMANAGED_SNAP, { pool: 7 })).toEqual({ code: -2 });
  });
});

describe('pools', () => {
  it('are created and deleted by operations too', () => {
    expect(op(POOL_OP.CREATE, { name: 'made' })).toEqual({ code: 0 });
    expect(op(POOL_OP.CREATE, { name: 'made' })).toEqual({ code: -17 });
    expect(op(POOL_OP.CREATE, { name: '' })).toEqual({ code: -22 });
    expect(op(POOL_OP.DELETE, { pool: 2 })).toEqual({ code: 0 });
    expect(op(POOL_OP.DELETE, { pool: 2 })).toEqual({ code: 0 });
    expect(monitor.state.osdMaps.map.poolIdByName('made')).toBeUndefined();
  });

  it('never get the id of one that was', () => {
    op(POOL_OP.CREATE, { name: 'second' });
    op(POOL_OP.DELETE, { pool: 2 });
    op(POOL_OP.CREATE, { name: 'third' });
    expect(monitor.state.osdMaps.map.poolIdByName('third')).toBe(3);
  });

  it('take their placement exceptions and waiting snapshots along', () => {
    op(POOL_OP.CREATE_UNMANAGED_SNAP);
    op(POOL_OP.DELETE_UNMANAGED_SNAP, { snapid: 2n });
    run(monitor, { prefix: 'osd pg-upmap', pgid: '1.3', id: [2] });
    run(monitor, { prefix: 'osd pg-temp', pgid: '1.4', id: [1] });
    run(monitor, { prefix: 'osd primary-temp', pgid: '1.4', id: 1 });
    run(monitor, { prefix: 'osd pg-upmap-items', pgid: '1.5', id: [0, 1] });
    const exceptions = () => {
      const { pgUpmap, pgUpmapItems, pgTemp, primaryTemp, removedSnapsQueue } =
        monitor.state.osdMaps.map;
      return [pgUpmap, pgUpmapItems, pgTemp, primaryTemp, removedSnapsQueue].map(
        ({ size }) => size,
      );
    };
    expect(exceptions()).toEqual([1, 1, 1, 1, 1]);
    op(POOL_OP.DELETE);
    expect(exceptions()).toEqual([0, 0, 0, 0, 0]);
  });

  it('need half of their copies, and one for an odd number', () => {
    run(monitor, { prefix: 'osd pool create', pool: 'three', size: 3 });
    run(monitor, { prefix: 'osd pool create', pool: 'two', size: 2 });
    const minSize = (name: string) => monitor.state.osdMaps.map.poolByName(name)?.pool.minSize;
    expect([minSize('rbd'), minSize('two'), minSize('three')]).toEqual([1, 1, 2]);
  });
});
