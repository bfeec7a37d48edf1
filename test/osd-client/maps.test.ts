// Goal: the osdmap is followed through whatever monitors and OSDs send: out of order, twice, with gaps, from another
// cluster, or damaged. Method: real sessions in virtual time; the monitor's answers are scripted.

import { afterEach, describe, expect, it } from 'vitest';

import { readOp, statOp } from '../../src/messages/osd-op.js';
import { MSG, outgoing } from '../../src/messages/types.js';
import { encodeOsdMap } from '../../src/osdmap/osdmap.js';
import type { RadosClient } from '../../src/rados/rados-client.js';
import {
  type Arrival,
  FakeCluster,
  type FakeClusterOptions,
  type FakeMon,
  POOL,
} from '../support/fake-cluster.js';
import { crc32c } from '../support/frames.js';
import { rejection } from '../support/rejection.js';

const clients: RadosClient[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});

async function setUp(options: FakeClusterOptions = {}) {
  const cluster = await FakeCluster.start({ osds: 1, ...options });
  const client = await cluster.connect();
  clients.push(client);
  const mon = cluster.mons[0] as FakeMon;
  return { cluster, world: cluster.world, client, mon };
}

const wants = (mon: FakeMon) =>
  mon.requests.flatMap((request) => ('osdmap' in request.wants ? [request.wants['osdmap']] : []));

describe('the first map', () => {
  it('is asked for in full, once', async () => {
    const { client, mon } = await setUp();
    expect(wants(mon)).toEqual([0]);
    expect(client.osdMapEpoch).toBe(10);
  });
});

describe('a newer map', () => {
  it('is asked for from the next epoch on, and followed by incrementals', async () => {
    const { cluster, world, client, mon } = await setUp();
    for (let i = 0; i < 5; i++) cluster.change();
    await world.until(client.waitForLatestMap());
    expect(client.osdMapEpoch).toBe(15);
    expect(wants(mon)).toEqual([0, 11]);
  });

  it('that is further away than one message reaches is fetched in steps', async () => {
    const { cluster, world, client, mon } = await setUp();
    mon.mapsPerMessage = 7;
    for (let i = 0; i < 30; i++) cluster.change();
    await world.until(client.waitForLatestMap());
    expect(client.osdMapEpoch).toBe(40);
    expect(wants(mon)).toEqual([0, 11, 18, 25, 32, 39]);
  });

  it('that only another monitor has yet is waited for, and asked for again', async () => {
    const { cluster, world, client, mon } = await setUp();
    mon.newestOsdMap = () => 13;
    const waiting = client.waitForLatestMap();
    await world.advance(100);
    // This monitor learns of the epochs one by one: the first answer does not reach.
    cluster.commit();
    await world.advance(100);
    cluster.commit();
    await world.advance(100);
    expect(client.osdMapEpoch).toBe(12);
    cluster.commit();
    await world.until(waiting);
    expect(client.osdMapEpoch).toBe(13);
  });

  it('from an OSD counts as well, and the same again does not', async () => {
    const { cluster, world, client } = await setUp();
    await world.until(client.operate({ pool: POOL, nspace: '', oid: 'x' }, [statOp()]));
    const { connection } = cluster.osd(0).arrivals[0] as Arrival;
    cluster.change();
    for (let i = 0; i < 3; i++) connection.send(cluster.mapMessage(11));
    await world.until(() => client.osdMapEpoch === 11);
    connection.send(cluster.mapMessage(0));
    await world.advance(100);
    expect(client.osdMapEpoch).toBe(11);
    expect(cluster.osd(0).connections.size).toBe(1);
  });

  it('beyond a gap is not taken in part: the gap is asked for', async () => {
    const { cluster, world, client, mon } = await setUp();
    await world.until(client.operate({ pool: POOL, nspace: '', oid: 'x' }, [statOp()]));
    const { connection } = cluster.osd(0).arrivals[0] as Arrival;
    for (let i = 0; i < 5; i++) cluster.change();
    connection.send(cluster.mapMessage(14));
    await world.until(() => client.osdMapEpoch === 15);
    expect(wants(mon)).toEqual([0, 11]);
  });

  it('beyond a gap that the monitors have trimmed is asked for in full', async () => {
    const { cluster, world, client, mon } = await setUp();
    await world.until(client.operate({ pool: POOL, nspace: '', oid: 'x' }, [statOp()]));
    const { connection } = cluster.osd(0).arrivals[0] as Arrival;
    for (let i = 0; i < 5; i++) cluster.change();
    cluster.maps.splice(0, 4);
    connection.send(cluster.mapMessage(15));
    await world.until(() => client.osdMapEpoch === 15);
    expect(wants(mon)).toEqual([0, 0]);
  });
});

describe('a bad map', () => {
  const good = (cluster: FakeCluster, epoch: number) =>
    cluster.incrementals.get(epoch) as Uint8Array;

  it.each([
    [
      'of another cluster',
      (c: FakeCluster) => c.rawMapMessage({ fsid: '00000000-0000-0000-0000-000000000001' }),
    ],
    [
      'whose epoch is not the one it is sent as',
      (c: FakeCluster) =>
        c.rawMapMessage({
          maps: new Map([[99, encodeOsdMap(c.map, crc32c).slice()]]),
          newestMap: 99,
        }),
    ],
    [
      'with an incremental for another epoch',
      (c: FakeCluster) => c.rawMapMessage({ incrementalMaps: new Map([[11, good(c, 12)]]) }),
    ],
    [
      'with a truncated incremental',
      (c: FakeCluster) =>
        c.rawMapMessage({ incrementalMaps: new Map([[11, good(c, 11).subarray(0, 50)]]) }),
    ],
    [
      'with a wrong checksum',
      (c: FakeCluster) => {
        const damaged = new Uint8Array(good(c, 11));
        damaged[30] = (damaged[30] as number) ^ 1;
        return c.rawMapMessage({ incrementalMaps: new Map([[11, damaged]]) });
      },
    ],
    [
      'that is good at first',
      (c: FakeCluster) =>
        c.rawMapMessage({
          incrementalMaps: new Map([
            [11, good(c, 11)],
            [12, new Uint8Array(9)],
          ]),
        }),
    ],
    [
      'that is empty bytes',
      () => outgoing(MSG.OSD_MAP, new Uint8Array(3), { version: 4, compat: 3 }),
    ],
  ] as const)('%s ends the session that it came from, and changes nothing', async (_what, bad) => {
    const { cluster, world, client } = await setUp();
    await world.until(client.operate({ pool: POOL, nspace: '', oid: 'x' }, [statOp()]));
    const osd = cluster.osd(0);
    osd.onRequest = () => {};
    const pending = client.operate({ pool: POOL, nspace: '', oid: 'x' }, [readOp(0, 1)]);
    await world.until(() => osd.arrivals.length === 2);
    cluster.change();
    cluster.change();
    const [connection] = osd.connections;
    connection?.send(bad(cluster));
    await world.until(() => connection?.closed);
    expect(client.osdMapEpoch).toBe(10);
    osd.onRequest = ({ reply }) => reply();
    await world.until(pending);
    await world.until(client.waitForLatestMap());
    expect(client.osdMapEpoch).toBe(12);
  });

  it('from a monitor makes the client look for another monitor', async () => {
    const { cluster, world, client } = await setUp({ mons: 2 });
    const first = cluster.mons.find(({ sessions }) => sessions.size > 0) as FakeMon;
    const second = cluster.mons.find((each) => each !== first) as FakeMon;
    cluster.change();
    first.intercept = (message, connection) => {
      if (message.type !== MSG.MON_SUBSCRIBE) return false;
      connection.send(
        cluster.rawMapMessage({ incrementalMaps: new Map([[11, new Uint8Array(7)]]) }),
      );
      return true;
    };
    await world.until(client.waitForLatestMap());
    expect(client.osdMapEpoch).toBe(11);
    expect(second.sessions.size).toBe(1);
  });
});

describe('waiting for a map', () => {
  it('can be given up', async () => {
    const { world, client, mon } = await setUp();
    mon.newestOsdMap = () => 100;
    const abort = new AbortController();
    const waiting = rejection(client.waitForLatestMap(abort.signal));
    await world.advance(100);
    abort.abort();
    expect((await world.until(waiting)).code).toBe('ECANCELED');
    const gone = rejection(client.waitForLatestMap(AbortSignal.abort()));
    expect((await world.until(gone)).code).toBe('ECANCELED');
  });
});

describe('pool names', () => {
  it('that our map lacks are looked up in the newest one', async () => {
    const { cluster, world, client } = await setUp();
    cluster.change(({ newPools, newPoolNames }) => {
      newPools.set(7, {
        ...(cluster.map.pool(POOL) as NonNullable<ReturnType<typeof cluster.map.pool>>),
      });
      newPoolNames.set(7, 'young');
    });
    expect((await world.until(client.ioctx('young'))).pool).toEqual({ id: 7, name: 'young' });
    expect((await world.until(client.ioctx(7))).pool.name).toBe('young');
    expect((await world.until(rejection(client.ioctx('nobody')))).message).toBe(
      "open pool 'nobody': (2) No such file or directory",
    );
  });
});
