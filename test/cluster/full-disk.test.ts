// Goal: a disk that fills up under a cluster is for clients what a full Ceph cluster is: writes wait, or fail with ENOSPC
// where that is asked for; deletes and reads do not; nothing is lost, and all goes on when there is room. The cluster
// is the real one on a disk in memory, outside of time.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OSD_FLAG } from '../../src/messages/osd-messages.js';
import { deleteOp, writeFullOp } from '../../src/messages/osd-op.js';
import type { IoContext } from '../../src/rados/io-context.js';
import { ClusterWorld, type WorldClient } from '../support/cluster-world.js';
import { VirtualDisk } from '../../src/sim/virtual-disk.js';
import { VirtualWorld } from '../../src/sim/virtual-world.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const OBJECT_BYTES = 256 * KIB;
const OBJECTS = 60;

const name = (i: number) => `object ${i}`;
const contentOf = (i: number) => Buffer.alloc(OBJECT_BYTES, 1 + (i % 255));

describe('a cluster whose disk is full', () => {
  let world: VirtualWorld;
  let disk: VirtualDisk;
  let cluster: ClusterWorld;
  let client: WorldClient;
  let io: IoContext;
  const acknowledged = new Set<number>();

  const start = async () => {
    cluster = await ClusterWorld.startIn(world, {
      disk,
      dataDir: '/data',
      osds: 3,
      size: 2,
      storeLimits: {
        segments: { firstBytes: 64 * KIB, maxBytes: 512 * KIB },
        checkpointBytes: MIB,
        flushBytes: 512 * KIB,
        changedMaxBytes: 8 * MIB,
        slackBytes: 256 * KIB,
        idleMs: 100,
      },
    });
    client = await cluster.client();
    io = await cluster.until(client.rados.ioctx('rbd'));
  };
  const write = (i: number) =>
    io.operate(name(i), [writeFullOp(contentOf(i))]).then(() => acknowledged.add(i));
  const status = () => cluster.host.status();

  beforeEach(async () => {
    world = new VirtualWorld();
    disk = new VirtualDisk(world);
    disk.capacityBytes = 32 * MIB;
    acknowledged.clear();
    await start();
  });
  afterEach(() => cluster.stop());

  /** Begins more writes than there is room for; resolves when no more of them are acknowledged. */
  async function fill(): Promise<Promise<unknown>[]> {
    const writes: Promise<unknown>[] = [];
    // Each comes some time after the one before: what is under way at the end is known to be too much.
    for (let i = 0; i < OBJECTS; i++) {
      writes.push(write(i));
      await world.advance(20);
    }
    await world.advance(5000);
    expect(acknowledged.size).toBeGreaterThan(10);
    expect(acknowledged.size).toBeLessThan(OBJECTS - 10);
    return writes;
  }

  async function expectAll(): Promise<void> {
    for (const i of acknowledged) {
      const found = await cluster.until(io.read(name(i), 0, OBJECT_BYTES));
      expect(Buffer.from(found).equals(contentOf(i)), name(i)).toBe(true);
    }
  }

  it('has writes wait, says what is wrong, and serves reads', async () => {
    const writes = await fill();
    const { health, healthChecks } = status();
    expect(health).toBe('HEALTH_ERR');
    expect(healthChecks.join()).toMatch(/\d full osd\(s\),1 pool\(s\) full/);
    await expectAll();
    // There never was more on it than fits.
    expect(disk.usedBytes).toBeLessThanOrEqual(disk.capacityBytes);
    disk.capacityBytes = 256 * MIB;
    await cluster.until(Promise.all(writes));
    await world.advance(2000);
    expect([status().health, status().healthChecks]).toEqual(['HEALTH_OK', []]);
    await expectAll();
    expect(acknowledged.size).toBe(OBJECTS);
  });

  it('fails writes that ask for it with ENOSPC, and takes deletes that make room', async () => {
    const writes = await fill();
    const tried: unknown = await cluster.until(
      io
        .operate('one more', [writeFullOp(contentOf(0))], { flags: OSD_FLAG.FULL_TRY })
        .catch((error: unknown) => error),
    );
    expect(tried).toMatchObject({ code: 'ENOSPC' });
    const kept = new Set(acknowledged);
    for (const i of [...kept].slice(5)) {
      kept.delete(i);
      await cluster.until(io.operate(name(i), [deleteOp()], { flags: OSD_FLAG.FULL_TRY }));
      acknowledged.delete(i);
    }
    // The room goes to those that waited.
    await world.advance(10_000);
    expect(acknowledged.size).toBeGreaterThan(kept.size);
    await expectAll();
    disk.capacityBytes = 256 * MIB;
    await cluster.until(Promise.all(writes));
  });

  it('has what it acknowledged after a restart, and is full or not by what it finds', async () => {
    void (await fill());
    client.kill();
    await cluster.stop();
    await start();
    await expectAll();
    // The log, which was long when it ended, is short now: there is room for some.
    const late = Array.from({ length: OBJECTS }, (_, i) => write(500 + i));
    await world.advance(5000);
    expect(acknowledged.size).toBeLessThan(OBJECTS);
    expect(status().health).toBe('HEALTH_ERR');
    disk.capacityBytes = 256 * MIB;
    await cluster.until(Promise.all(late));
    await world.advance(2000);
    expect(status().health).toBe('HEALTH_OK');
    await expectAll();
  });
});
