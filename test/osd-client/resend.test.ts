// Goal: operations reach the OSD that the map names, in order for each object, however often connections break and maps
// change; none is lost, none is answered twice. Method: real sessions in virtual time, to OSDs that a test scripts.

import { afterEach, describe, expect, it } from 'vitest';

import { NO_SHARD, NOSNAP } from '../../src/encoding/types.js';
import { OSD_FLAG } from '../../src/messages/osd-messages.js';
import {
  appendOp,
  callOp,
  OP,
  readOp,
  statOp,
  writeFullOp,
  writeOp,
} from '../../src/messages/osd-op.js';
import { balanced } from '../../src/osd-client/replica-reads.js';
import { encodeOsdMap, OSDMAP_FLAG } from '../../src/osdmap/osdmap.js';
import { createPool, POOL_FLAG } from '../../src/osdmap/pool.js';
import type { RadosClient } from '../../src/rados/rados-client.js';
import {
  type Arrival,
  FakeCluster,
  type FakeClusterOptions,
  POOL,
} from '../support/fake-cluster.js';
import { crc32c } from '../support/frames.js';
import { rejection } from '../support/rejection.js';

const bytes = (text: string) => new TextEncoder().encode(text);

const clients: RadosClient[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});

async function setUp(
  options: FakeClusterOptions & { client?: Parameters<FakeCluster['connect']>[0] } = {},
) {
  const cluster = await FakeCluster.start(options);
  const client = await cluster.connect(options.client);
  clients.push(client);
  const write = (oid: string, text: string) =>
    client.operate({ pool: POOL, nspace: '', oid }, [appendOp(bytes(text))]);
  const read = (oid: string) => client.operate({ pool: POOL, nspace: '', oid }, [readOp(0, 100)]);
  return { cluster, world: cluster.world, client, write, read };
}

/** The texts that were appended to an object, in the order of arrival. */
function appended(arrivals: readonly Arrival[], oid: string): string[] {
  return arrivals
    .filter(({ request }) => request.oid === oid)
    .map(({ request }) => Buffer.from(request.ops[0]?.indata ?? []).toString());
}

const hold = () => {};

describe('an operation', () => {
  it('goes to the primary of its object with all that the OSD needs to know', async () => {
    const { cluster, world, client } = await setUp();
    for (const osd of [0, 1, 2]) {
      const oid = cluster.oidOn(osd);
      await world.until(
        client.operate(
          { pool: POOL, nspace: 'ns', oid: 'x', key: oid },
          [writeFullOp(bytes('v'))],
          {
            snapContext: { seq: 5n, snaps: [5n, 3n] },
          },
        ),
      );
    }
    const all = cluster.osds.flatMap((osd) => osd.arrivals);
    expect(all).toHaveLength(3);
    for (const { request } of all) {
      expect(request).toMatchObject({
        oid: 'x',
        epoch: 10,
        shard: NO_SHARD,
        snapid: NOSNAP,
        snapContext: { seq: 5n, snaps: [5n, 3n] },
        retryAttempt: 0,
        locator: { pool: POOL, nspace: 'ns', hash: -1 },
        flags: OSD_FLAG.ONDISK | OSD_FLAG.KNOWN_REDIR | OSD_FLAG.WRITE,
      });
      expect(request.pg.seed).toBe(request.hash & 7);
      expect(request.mtime.sec).toBeGreaterThan(1_600_000_000);
    }
  });

  it('brings its outputs, the version, and a positive result', async () => {
    const { cluster, world, client } = await setUp();
    const oid = cluster.oidOn(0);
    cluster.osd(0).onRequest = ({ reply }) =>
      reply({ result: 7, userVersion: 99n, outputs: [bytes('first'), bytes('second')] });
    const { result, ops, userVersion } = await world.until(
      client.operate({ pool: POOL, nspace: '', oid }, [statOp(), readOp(0, 6)]),
    );
    expect({ result, userVersion }).toEqual({ result: 7, userVersion: 99n });
    expect(ops.map(({ outdata }) => Buffer.from(outdata).toString())).toEqual(['first', 'second']);
    expect(client.pending).toBe(0);
  });

  it('that fails says what failed, where, and that nothing was changed', async () => {
    const { cluster, world, client } = await setUp({ osds: 1 });
    cluster.osd(0).onRequest = ({ request, reply }) =>
      reply({
        result: -125,
        ops: request.ops.map((op, i) => ({
          op,
          rval: i === 1 ? -125 : 0,
          outdata: new Uint8Array(0),
        })),
      });
    const operation = client.operate({ pool: POOL, nspace: 'ns', oid: 'x' }, [
      statOp(),
      callOp('lock', 'assert_locked'),
      writeFullOp(bytes('v')),
    ]);
    await expect(world.until(operation)).rejects.toMatchObject({
      code: 'ECANCELED',
      errno: -125,
      outcome: 'not-applied',
      op: 'call in stat, lock.assert_locked, writefull',
      target: 'pool/ns/x at osd.0',
    });
  });

  it('that cannot be expressed fails alone, before or after the session is open', async () => {
    const { cluster, world, client, write } = await setUp();
    const oid = cluster.oidOn(0);
    for (let round = 0; round < 2; round++) {
      const good = write(oid, `good${round}`);
      const target = { pool: POOL, nspace: '', oid };
      const bad = [readOp(-1, 5), writeOp(0.5, bytes('x'))].map((op) =>
        client.operate(target, [op]),
      );
      for (const outcome of await world.until(Promise.allSettled(bad))) {
        expect((outcome as PromiseRejectedResult).reason).toBeInstanceOf(RangeError);
      }
      await world.until(good);
    }
    expect(client.pending).toBe(0);
    expect(appended(cluster.osd(0).arrivals, oid)).toEqual(['good0', 'good1']);
  });
});

describe('when the connection is lost', () => {
  it('everything under way is sent again, in order, with its number and RETRY', async () => {
    const { cluster, world, write } = await setUp();
    const osd = cluster.osd(0);
    const [a, b] = [cluster.oidOn(0, 0), cluster.oidOn(0, 1)];
    osd.onRequest = hold;
    const writes = [write(a, '1'), write(b, '2'), write(a, '3'), write(a, '4'), write(b, '5')];
    await world.until(() => osd.arrivals.length === 5);
    const tids = osd.arrivals.map(({ tid }) => tid);
    for (let round = 1; round <= 3; round++) {
      osd.arrivals.length = 0;
      osd.dropConnections();
      await world.until(() => osd.arrivals.length === 5);
      expect(osd.arrivals.map(({ tid }) => tid)).toEqual(tids);
      expect(osd.arrivals.map(({ attempt }) => attempt)).toEqual(Array(5).fill(round));
      expect(osd.arrivals.every(({ request }) => (request.flags & OSD_FLAG.RETRY) !== 0)).toBe(
        true,
      );
      expect(appended(osd.arrivals, a)).toEqual(['1', '3', '4']);
      expect(appended(osd.arrivals, b)).toEqual(['2', '5']);
    }
    for (const { reply } of osd.arrivals) reply();
    await world.until(Promise.all(writes));
  });

  it('a later operation does not pass an earlier one that waits for the connection', async () => {
    const { cluster, world, write } = await setUp();
    const osd = cluster.osd(0);
    const oid = cluster.oidOn(0);
    await world.until(write(oid, 'before'));
    osd.dropConnections();
    await world.until(() => osd.connections.size === 0);
    const writes = ['1', '2', '3'].map((text) => write(oid, text));
    await world.advance(50);
    writes.push(write(oid, '4'));
    await world.until(Promise.all(writes));
    expect(appended(osd.arrivals, oid)).toEqual(['before', '1', '2', '3', '4']);
  });

  it('what was answered is not sent again', async () => {
    const { cluster, world, write } = await setUp();
    const osd = cluster.osd(0);
    const oid = cluster.oidOn(0);
    let held = 0;
    osd.onRequest = ({ reply }) => {
      if (held++ === 0) reply();
    };
    const first = write(oid, '1');
    const second = write(oid, '2');
    await world.until(first);
    osd.onRequest = ({ reply }) => reply();
    osd.dropConnections();
    await world.until(second);
    expect(appended(osd.arrivals, oid)).toEqual(['1', '2', '2']);
  });

  it('an answer to an earlier attempt is ignored', async () => {
    const { cluster, world, client } = await setUp();
    const osd = cluster.osd(0);
    const oid = cluster.oidOn(0);
    osd.onRequest = hold;
    const read = client.operate({ pool: POOL, nspace: '', oid }, [readOp(0, 3)]);
    await world.until(() => osd.arrivals.length === 1);
    osd.dropConnections();
    await world.until(() => osd.arrivals.length === 2);
    const second = osd.arrivals[1] as Arrival;
    second.reply({ retryAttempt: 0, outputs: [bytes('old')] });
    await world.advance(100);
    expect(client.pending).toBe(1);
    second.reply({ outputs: [bytes('new')] });
    const { ops } = await world.until(read);
    expect(Buffer.from(ops[0]?.outdata ?? []).toString()).toBe('new');
    second.reply({ outputs: [bytes('again')] });
    await world.advance(100);
    expect(osd.connections.size).toBe(1);
  });

  it('attempts to connect become slower, and the monitors are asked for a newer map', async () => {
    const { cluster, world, write } = await setUp();
    const osd = cluster.osd(0);
    const oid = cluster.oidOn(0);
    await osd.stop();
    const pending = write(oid, '1');
    let dials = 0;
    Object.defineProperty(world.network.port(osd.addr.port), 'onConnect', {
      get: () => {
        dials++;
        return 'refuse';
      },
      configurable: true,
    });
    await world.advance(60_000);
    expect(dials).toBeGreaterThan(8);
    expect(dials).toBeLessThan(25);
    expect(cluster.mons[0]?.requests.some(({ wants }) => wants['osdmap'] === 11)).toBe(true);
    Object.defineProperty(world.network.port(osd.addr.port), 'onConnect', { value: 'accept' });
    await osd.start();
    await world.until(pending);
  });
});

describe('when the map changes', () => {
  it('operations follow the primary, in order, and only those that must', async () => {
    const { cluster, world, write } = await setUp();
    const moving = cluster.oidOn(0);
    const staying = cluster.oidOn(1);
    for (const osd of cluster.osds) osd.onRequest = hold;
    const writes = [write(moving, '1'), write(staying, '2'), write(moving, '3')];
    await world.until(
      () => cluster.osd(0).arrivals.length === 2 && cluster.osd(1).arrivals.length === 1,
    );
    const { pg } = (cluster.osd(0).arrivals[0] as Arrival).request;
    cluster.commit(({ newPgTemp }) => newPgTemp.set(`${pg.pool}.${pg.seed}`, [2]));
    await world.until(() => cluster.osd(2).arrivals.length === 2);
    expect(appended(cluster.osd(2).arrivals, moving)).toEqual(['1', '3']);
    expect(cluster.osd(2).arrivals.map(({ attempt, request }) => [attempt, request.epoch])).toEqual(
      [
        [1, 11],
        [1, 11],
      ],
    );
    // The old primary's answer comes too late to count.
    cluster.osd(0).arrivals[0]?.reply({ result: -5 });
    await world.advance(100);
    expect(cluster.osd(1).arrivals).toHaveLength(1);
    for (const { arrivals } of cluster.osds.slice(1)) for (const { reply } of arrivals) reply();
    await world.until(Promise.all(writes));
  });

  it('operations are sent again even if the primary changed and changed back within one message', async () => {
    const { cluster, world, write } = await setUp();
    const oid = cluster.oidOn(0);
    const osd = cluster.osd(0);
    osd.onRequest = hold;
    const pending = write(oid, '1');
    await world.until(() => osd.arrivals.length === 1);
    const { pg } = (osd.arrivals[0] as Arrival).request;
    const key = `${pg.pool}.${pg.seed}`;
    cluster.change(({ newPgTemp }) => newPgTemp.set(key, [2]));
    cluster.change(({ newPgTemp }) => newPgTemp.set(key, []));
    cluster.publish();
    // The OSD dropped the operation while it was not the primary: nobody would ever answer.
    await world.advance(1);
    osd.arrivals[0]?.connection.send(cluster.mapMessage(11));
    await world.until(() => osd.arrivals.length === 2);
    osd.arrivals[1]?.reply();
    await world.until(pending);
  });

  it('operations of a PG that was split are sent again, in order', async () => {
    const { cluster, world, write } = await setUp({ osds: 1, pgNum: 4 });
    const osd = cluster.osd(0);
    osd.onRequest = hold;
    const oids = Array.from({ length: 20 }, (_, i) => `object${i}`);
    const writes = [1, 2].flatMap((n) => oids.map((oid) => write(oid, `${n}`)));
    await world.until(() => osd.arrivals.length === 40);
    osd.onRequest = ({ reply }) => reply();
    osd.arrivals.length = 0;
    cluster.change(({ newPools }) => newPools.set(POOL, { ...createPool({ size: 1, pgNum: 8 }) }));
    osd.connections.forEach((connection) => connection.send(cluster.mapMessage(11)));
    await world.until(Promise.all(writes));
    for (const oid of oids) expect(appended(osd.arrivals, oid)).toEqual(['1', '2']);
    for (const { request } of osd.arrivals) expect(request.pg.seed).toBe(request.hash & 7);
  });

  it('operations are sent again when the pool forces it, to the same OSD', async () => {
    const { cluster, world, write } = await setUp();
    const oid = cluster.oidOn(0);
    const osd = cluster.osd(0);
    osd.onRequest = hold;
    const pending = write(oid, '1');
    await world.until(() => osd.arrivals.length === 1);
    osd.onRequest = ({ reply }) => reply();
    cluster.change(({ newPools }) =>
      newPools.set(POOL, { ...createPool({ size: 1, pgNum: 8 }), lastForceOpResend: 11 }),
    );
    osd.arrivals[0]?.connection.send(cluster.mapMessage(11));
    await world.until(pending);
    expect(osd.arrivals).toHaveLength(2);
  });

  it('operations that the change does not touch are not sent again', async () => {
    const { cluster, world, write } = await setUp();
    const oid = cluster.oidOn(0);
    const osd = cluster.osd(0);
    osd.onRequest = hold;
    const pending = write(oid, '1');
    await world.until(() => osd.arrivals.length === 1);
    for (let i = 0; i < 5; i++) {
      cluster.change();
      osd.arrivals[0]?.connection.send(cluster.mapMessage(11));
      await world.advance(10);
    }
    expect(osd.arrivals).toHaveLength(1);
    osd.arrivals[0]?.reply();
    await world.until(pending);
  });

  it('and epochs are missing, everything is sent again', async () => {
    const { cluster, world, client, write } = await setUp();
    const osd = cluster.osd(0);
    const oid = cluster.oidOn(0);
    osd.onRequest = hold;
    const pending = write(oid, '1');
    await world.until(() => osd.arrivals.length === 1);
    for (let i = 0; i < 5; i++) cluster.change();
    const maps = new Map([[cluster.epoch, encodeOsdMap(cluster.map, crc32c).slice()]]);
    osd.arrivals[0]?.connection.send(cluster.rawMapMessage({ maps }));
    await world.until(() => osd.arrivals.length === 2);
    expect(client.osdMapEpoch).toBe(15);
    osd.arrivals[1]?.reply();
    await world.until(pending);
  });

  it('and the OSD is down, operations wait for another primary or for its return', async () => {
    const { cluster, world, write, read } = await setUp({ osds: 1 });
    const osd = cluster.osd(0);
    osd.onRequest = hold;
    const pending = [write('a', '1'), write('b', '2'), write('a', '3')];
    await world.until(() => osd.arrivals.length === 3);
    osd.arrivals.length = 0;
    cluster.markDown(0);
    osd.connections.forEach((connection) => connection.send(cluster.mapMessage(11)));
    await world.until(() => osd.connections.size === 0);
    pending.push(write('a', '4'), read('b'));
    await world.advance(30_000);
    expect(osd.arrivals).toEqual([]);
    osd.onRequest = ({ reply }) => reply();
    await osd.restart();
    cluster.markUp(0);
    await world.until(Promise.all(pending));
    expect(appended(osd.arrivals, 'a')).toEqual(['1', '3', '4']);
  });

  it('and the OSD came back as another process, the old connection is given up', async () => {
    const { cluster, world, write } = await setUp();
    const osd = cluster.osd(0);
    const oid = cluster.oidOn(0);
    osd.onRequest = hold;
    const pending = write(oid, '1');
    await world.until(() => osd.arrivals.length === 1);
    osd.onRequest = ({ reply }) => reply();
    await osd.restart();
    // The old address: the new process hangs up on whoever looks for the old one.
    await world.advance(1000);
    expect(osd.arrivals).toHaveLength(1);
    cluster.markUp(0);
    await world.until(pending);
    expect(osd.arrivals.map(({ attempt }) => attempt)).toEqual([0, 1]);
  });

  it('a read from a replica moves when the acting set changes, though the replica stays', async () => {
    const { cluster, world, client } = await setUp({
      osds: 3,
      size: 2,
      client: {
        replicaReads: balanced({ u32: () => 1, float: () => 0.5, bytes: () => new Uint8Array(0) }),
      },
    });
    for (const osd of cluster.osds) osd.onRequest = hold;
    const pending = client.operate({ pool: POOL, nspace: '', oid: 'x' }, [readOp(0, 1)]);
    await world.until(() => cluster.osds.some((osd) => osd.arrivals.length === 1));
    const asked = cluster.osds.find((osd) => osd.arrivals.length === 1);
    const arrival = asked?.arrivals[0] as Arrival;
    expect(asked?.id).not.toBe(cluster.primaryOf('x'));
    expect(arrival.request.flags & OSD_FLAG.BALANCE_READS).not.toBe(0);
    const { pg } = arrival.request;
    const other = [0, 1, 2].find(
      (id) => id !== asked?.id && id !== cluster.primaryOf('x'),
    ) as number;
    cluster.change(({ newPgTemp }) =>
      newPgTemp.set(`${pg.pool}.${pg.seed}`, [other, asked?.id ?? 0]),
    );
    arrival.connection.send(cluster.mapMessage(11));
    await world.until(() => asked?.arrivals.length === 2);
    asked?.arrivals[1]?.reply({ outputs: [bytes('x')] });
    await world.until(pending);
  });
});

describe('a replica that cannot serve a read', () => {
  it('sends it to the primary, without the flags that allow replicas', async () => {
    const { cluster, world, client } = await setUp({
      osds: 3,
      size: 2,
      client: {
        replicaReads: balanced({ u32: () => 1, float: () => 0.5, bytes: () => new Uint8Array(0) }),
      },
    });
    for (const osd of cluster.osds) {
      osd.onRequest = ({ request, reply }) =>
        reply(
          (request.flags & OSD_FLAG.BALANCE_READS) !== 0
            ? { result: -11 }
            : { outputs: [bytes('x')] },
        );
    }
    await world.until(client.operate({ pool: POOL, nspace: '', oid: 'x' }, [readOp(0, 1)]));
    const primary = cluster.osd(cluster.primaryOf('x'));
    expect(primary.arrivals).toHaveLength(1);
    expect(cluster.osds.flatMap((osd) => osd.arrivals)).toHaveLength(2);
  });
});

describe('a redirect', () => {
  it('leads to the object that it names', async () => {
    const { cluster, world, read } = await setUp();
    const elsewhere = cluster.oidOn(2);
    for (const osd of cluster.osds) {
      osd.onRequest = ({ request, reply }) =>
        request.oid === elsewhere
          ? reply({ outputs: [bytes('there')] })
          : reply({
              redirect: {
                locator: { pool: POOL, key: '', nspace: '', hash: -1 },
                objectName: elsewhere,
              },
            });
    }
    const { ops } = await world.until(read(cluster.oidOn(0)));
    expect(Buffer.from(ops[0]?.outdata ?? []).toString()).toBe('there');
    const [arrival] = cluster.osd(2).arrivals;
    expect((arrival?.request.flags ?? 0) & OSD_FLAG.REDIRECTED).not.toBe(0);
  });

  it('in circles ends the operation, not the session', async () => {
    const { cluster, world, client, read } = await setUp();
    for (const osd of cluster.osds) {
      osd.onRequest = ({ reply }) =>
        reply({
          redirect: { locator: { pool: POOL, key: '', nspace: '', hash: -1 }, objectName: 'round' },
        });
    }
    await expect(world.until(read('and'))).rejects.toMatchObject({ code: 'EPROTO' });
    expect(client.pending).toBe(0);
    expect(cluster.osds.flatMap((osd) => osd.arrivals).length).toBeLessThan(12);
  });
});

describe('pause and full', () => {
  const flagsOf = (cluster: FakeCluster, more: number) => cluster.map.flags | more;

  it.each([
    ['reads wait while reads are paused', OSDMAP_FLAG.PAUSERD, ['write']],
    ['writes wait while writes are paused', OSDMAP_FLAG.PAUSEWR, ['read']],
    ['everything waits while both are', OSDMAP_FLAG.PAUSERD | OSDMAP_FLAG.PAUSEWR, []],
    ['writes wait while the cluster is full', OSDMAP_FLAG.FULL, ['read']],
  ] as const)('%s', async (_what, flag, pass) => {
    const { cluster, world, client, write, read } = await setUp();
    const oid = cluster.oidOn(0);
    const osd = cluster.osd(0);
    const before = cluster.map.flags;
    cluster.setFlags(flagsOf(cluster, flag));
    await world.until(client.waitForLatestMap());
    const settled: string[] = [];
    const all = [
      write(oid, '1').then(() => settled.push('write')),
      read(oid).then(() => settled.push('read')),
    ];
    await world.advance(20_000);
    expect(settled).toEqual(pass);
    cluster.setFlags(before);
    await world.until(Promise.all(all));
    expect(osd.arrivals).toHaveLength(2);
  });

  it('an operation that both reads and writes waits for either', async () => {
    const { cluster, world, client } = await setUp();
    const oid = cluster.oidOn(0);
    const before = cluster.map.flags;
    cluster.setFlags(flagsOf(cluster, OSDMAP_FLAG.PAUSERD));
    await world.until(client.waitForLatestMap());
    const pending = client.operate({ pool: POOL, nspace: '', oid }, [
      statOp(),
      appendOp(bytes('x')),
    ]);
    await world.advance(10_000);
    expect(cluster.osd(0).arrivals).toEqual([]);
    cluster.setFlags(before);
    await world.until(pending);
  });

  it('what is under way when a pause begins may still be answered, and is not sent again then', async () => {
    const { cluster, world, client, write } = await setUp();
    const oid = cluster.oidOn(0);
    const osd = cluster.osd(0);
    const before = cluster.map.flags;
    osd.onRequest = hold;
    const pending = [write(oid, '1'), write(oid, '2')];
    await world.until(() => osd.arrivals.length === 2);
    cluster.setFlags(flagsOf(cluster, OSDMAP_FLAG.PAUSEWR));
    await world.until(client.waitForLatestMap());
    osd.arrivals[0]?.reply();
    await world.until(pending[0] as Promise<unknown>);
    osd.dropConnections();
    await world.advance(10_000);
    expect(osd.arrivals).toHaveLength(2);
    osd.onRequest = ({ reply }) => reply();
    const later = write(oid, '3');
    cluster.setFlags(before);
    await world.until(Promise.all([...pending, later]));
    expect(appended(osd.arrivals, oid)).toEqual(['1', '2', '2', '3']);
  });

  it('writes wait for a full pool, but not those that make room', async () => {
    const { cluster, world, client, write } = await setUp();
    const oid = cluster.oidOn(0);
    const full = (flags: number) =>
      cluster.commit(({ newPools }) =>
        newPools.set(POOL, createPool({ size: 1, pgNum: 8, flags: POOL_FLAG.HASHPSPOOL | flags })),
      );
    full(POOL_FLAG.FULL_QUOTA | POOL_FLAG.FULL);
    await world.until(client.waitForLatestMap());
    const waiting = write(oid, 'more');
    await world.advance(5000);
    expect(cluster.osd(0).arrivals).toEqual([]);
    await world.until(
      client.operate({ pool: POOL, nspace: '', oid }, [{ ...statOp(), code: OP.DELETE }], {
        flags: OSD_FLAG.FULL_TRY,
      }),
    );
    full(0);
    await world.until(waiting);
    expect(cluster.osd(0).arrivals).toHaveLength(2);
  });

  it('writes to a full cluster fail with ENOSPC where that was asked for', async () => {
    const { cluster, world, client, write } = await setUp({ client: { abortOnFull: true } });
    const oid = cluster.oidOn(0);
    cluster.osd(0).onRequest = hold;
    const underWay = write(oid, '1');
    await world.until(() => cluster.osd(0).arrivals.length === 1);
    const failure = rejection(underWay);
    cluster.setFlags(flagsOf(cluster, OSDMAP_FLAG.FULL));
    await world.until(client.waitForLatestMap());
    expect(await world.until(failure)).toMatchObject({ code: 'ENOSPC', outcome: 'unknown' });
    await expect(world.until(write(oid, '2'))).rejects.toMatchObject({
      code: 'ENOSPC',
      outcome: 'not-applied',
    });
  });
});

describe('pools', () => {
  it('that are deleted fail their operations with ENOENT, when the monitors confirm it', async () => {
    const { cluster, world, client, write } = await setUp();
    const oid = cluster.oidOn(0);
    cluster.osd(0).onRequest = hold;
    const underWay = write(oid, '1');
    await world.until(() => cluster.osd(0).arrivals.length === 1);
    const checked = () => cluster.mons[0]?.requests.filter(({ type }) => type === 19).length ?? 0;
    const before = checked();
    cluster.change(({ oldPools }) => oldPools.push(POOL));
    cluster.osd(0).arrivals[0]?.connection.send(cluster.mapMessage(11));
    await expect(world.until(underWay)).rejects.toMatchObject({
      code: 'ENOENT',
      outcome: 'unknown',
    });
    expect(checked()).toBe(before + 1);
    const late = write(oid, '2');
    await expect(world.until(late)).rejects.toThrow(/pool 1 does not exist/);
    await expect(world.until(late)).rejects.toMatchObject({ outcome: 'not-applied' });
    expect(client.pending).toBe(0);
  });

  it('that are younger than our map are waited for', async () => {
    const { cluster, world, client } = await setUp();
    const epoch = cluster.change(({ newPools, newPoolNames }) => {
      newPools.set(2, createPool({ size: 1, pgNum: 8 }));
      newPoolNames.set(2, 'young');
    });
    expect(epoch).toBe(11);
    await world.until(client.operate({ pool: 2, nspace: '', oid: 'x' }, [statOp()]));
    expect(client.osdMapEpoch).toBe(11);
  });

  it('are asked for at most once at a time, however many operations miss them', async () => {
    const { cluster, world, client } = await setUp();
    const before = cluster.mons[0]?.requests.length ?? 0;
    const all = Array.from({ length: 100 }, () =>
      client.operate({ pool: 9, nspace: '', oid: 'x' }, [statOp()]),
    );
    const settled = await world.until(Promise.allSettled(all));
    expect(settled.every(({ status }) => status === 'rejected')).toBe(true);
    expect((cluster.mons[0]?.requests.length ?? 0) - before).toBeLessThanOrEqual(2);
  });
});
