// Goal: every operation ends: answered, refused, in time, given up or closed; and its error says truly whether a write may
// have happened. A buffer that was lent for a read is not touched any more once the read has ended.

import { afterEach, describe, expect, it } from 'vitest';

import type { RadosError } from '../../src/base/errors.js';
import { encodeWith } from '../../src/encoding/codec.js';
import { ENTITY_TYPE } from '../../src/encoding/entity.js';
import { encodeOsdReply } from '../../src/messages/osd-messages.js';
import { appendOp, callOp, readOp, statOp } from '../../src/messages/osd-op.js';
import { MSG, outgoing } from '../../src/messages/types.js';
import { WATCH_EVENT, watchNotify } from '../../src/messages/watch-notify.js';
import type { OperateOptions } from '../../src/osd-client/request.js';
import { OSDMAP_FLAG } from '../../src/osdmap/osdmap.js';
import type { RadosClient } from '../../src/rados/rados-client.js';
import {
  type Arrival,
  FakeCluster,
  type FakeClusterOptions,
  type FakeMon,
  osdReplyOf,
  POOL,
} from '../support/fake-cluster.js';
import { cephxAuth } from '../support/messengers.js';
import { rejection } from '../support/rejection.js';

const bytes = (text: string) => new TextEncoder().encode(text);
const hold = () => {};

const clients: RadosClient[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});

async function setUp(
  options: FakeClusterOptions & { client?: Parameters<FakeCluster['connect']>[0] } = {},
) {
  const cluster = await FakeCluster.start({ osds: 1, ...options });
  const client = await cluster.connect(options.client);
  clients.push(client);
  const at = (oid: string) => ({ pool: POOL, nspace: '', oid });
  const write = (oid: string, text: string, more?: OperateOptions) =>
    client.operate(at(oid), [appendOp(bytes(text))], more);
  const read = (oid: string, more?: OperateOptions & { length?: number }) =>
    client.operate(at(oid), [readOp(0, more?.length ?? 100)], more);
  const call = (oid: string, more?: OperateOptions) =>
    client.operate(at(oid), [callOp('rbd', 'object_map_load')], more);
  const mon = cluster.mons[0] as FakeMon;
  return { cluster, world: cluster.world, client, write, read, call, osd: cluster.osd(0), mon };
}

describe('a deadline', () => {
  it('ends what a silent OSD does not answer, and names the OSD', async () => {
    const { world, osd, client, write } = await setUp({ client: { osdOpTimeoutMs: 3000 } });
    osd.onRequest = hold;
    const before = world.now;
    const failure = await world.until(rejection(write('x', '1')));
    expect(failure).toMatchObject({
      code: 'ETIMEDOUT',
      outcome: 'unknown',
      retryable: true,
      op: 'append',
      target: 'pool/x',
    });
    expect(failure.message).toBe(
      'append pool/x: osd.0 at v2:127.0.0.1:47200/1000 did not answer in 3.0 s',
    );
    expect(world.now - before).toBeLessThan(3010);
    expect(client.pending).toBe(0);
  });

  it('of one operation does not end another', async () => {
    const { world, osd, write } = await setUp();
    osd.onRequest = hold;
    const patient = write('x', '1');
    const failures = [500, 100, 300].map((timeoutMs) => rejection(write('x', '2', { timeoutMs })));
    await world.until(Promise.all(failures));
    for (const { reply } of osd.arrivals) reply();
    await world.until(patient);
  });

  it('says that a write which was never sent did not happen', async () => {
    const { world, cluster, write } = await setUp();
    world.network.port(cluster.osd(0).addr.port).onConnect = 'silent';
    const failure = await world.until(rejection(write('x', '1', { timeoutMs: 2000 })));
    expect(failure).toMatchObject({ code: 'ETIMEDOUT', outcome: 'not-applied' });
    expect(failure.message).toContain('did not answer (not connected)');
  });

  it('has no outcome for a read', async () => {
    const { world, osd, read } = await setUp();
    osd.onRequest = hold;
    expect((await world.until(rejection(read('x', { timeoutMs: 10 })))).outcome).toBeUndefined();
  });

  it.each([
    [
      'the cluster is paused or full',
      (c: FakeCluster) => c.setFlags(c.map.flags | OSDMAP_FLAG.PAUSEWR),
    ],
    ['pg 1.', (c: FakeCluster) => c.markDown(0)],
  ] as const)('says why it waited: %s', async (reason, change) => {
    const { world, cluster, client, write } = await setUp();
    change(cluster);
    await world.until(client.waitForLatestMap());
    const failure = await world.until(rejection(write('x', '1', { timeoutMs: 1000 })));
    expect(failure.message).toContain(reason);
    expect(failure.outcome).toBe('not-applied');
  });

  it('counts the time that an operation waits for its turn', async () => {
    const { world, osd, write } = await setUp();
    osd.onRequest = hold;
    const first = Array.from({ length: 1024 }, (_, i) => write('x', `${i}`));
    const failure = await world.until(rejection(write('x', 'late', { timeoutMs: 2000 })));
    expect(failure).toMatchObject({ code: 'ETIMEDOUT', outcome: 'not-applied' });
    expect(failure.message).toContain('1024 operations are under way');
    for (const { reply } of osd.arrivals) reply();
    await world.until(Promise.all(first));
  });
});

describe('a signal', () => {
  it('ends an operation before it begins, while it waits, and while it is under way', async () => {
    const { world, osd, client, write } = await setUp();
    osd.onRequest = hold;
    const gone = await world.until(rejection(write('x', '0', { signal: AbortSignal.abort() })));
    expect(gone).toMatchObject({ code: 'ECANCELED', outcome: 'not-applied' });

    const abort = new AbortController();
    const underWay = rejection(write('x', '1', { signal: abort.signal }));
    await world.until(() => osd.arrivals.length === 1);
    const others = Array.from({ length: 1023 }, (_, i) => rejection(write('y', `${i}`)));
    const waiting = rejection(write('x', '2', { signal: abort.signal }));
    await world.until(() => osd.arrivals.length === 1024);
    abort.abort();
    expect(await world.until(underWay)).toMatchObject({ code: 'ECANCELED', outcome: 'unknown' });
    expect(await world.until(waiting)).toMatchObject({ code: 'ECANCELED', outcome: 'not-applied' });
    expect(client.pending).toBe(1023);
    client.close();
    await world.until(Promise.all(others));
  });

  it('that fires in the turn in which the operation gets its place still ends it', async () => {
    const { world, osd, client, write } = await setUp();
    osd.onRequest = hold;
    const first = Array.from({ length: 1024 }, (_, i) => write('x', `${i}`));
    await world.until(() => osd.arrivals.length === 1024);
    const abort = new AbortController();
    const late = rejection(write('x', 'late', { signal: abort.signal }));
    osd.arrivals[0]?.reply();
    // The first operation's end gives its place away; what follows on it runs before the one that waited.
    void first[0]?.then(() => abort.abort());
    expect(await world.until(late)).toMatchObject({ code: 'ECANCELED' });
    for (const { reply } of osd.arrivals.slice(1)) reply();
    await world.until(Promise.all(first));
    expect(client.pending).toBe(0);
  });

  it('of a timeout says that it was one', async () => {
    const { world, osd, write } = await setUp();
    osd.onRequest = hold;
    const signal = AbortSignal.abort(new DOMException('too slow', 'TimeoutError'));
    expect((await world.until(rejection(write('x', '1', { signal })))).code).toBe('ETIMEDOUT');
  });

  it('is not listened to any more when the operation has ended', async () => {
    const { world, write } = await setUp();
    const abort = new AbortController();
    let listeners = 0;
    const { addEventListener, removeEventListener } = abort.signal;
    Object.assign(abort.signal, {
      addEventListener: (...args: Parameters<typeof addEventListener>) => {
        listeners++;
        addEventListener.apply(abort.signal, args);
      },
      removeEventListener: (...args: Parameters<typeof removeEventListener>) => {
        listeners--;
        removeEventListener.apply(abort.signal, args);
      },
    });
    await world.until(
      Promise.all(['1', '2', '3'].map((text) => write('x', text, { signal: abort.signal }))),
    );
    expect(listeners).toBe(0);
  });
});

describe('the limit of operations under way', () => {
  it('is 1024: more wait, and go in the order in which they came', async () => {
    const { world, osd, write } = await setUp();
    osd.onRequest = hold;
    const all = Array.from({ length: 1100 }, (_, i) => write('x', `${i}`));
    await world.until(() => osd.arrivals.length === 1024);
    await world.advance(1000);
    expect(osd.arrivals).toHaveLength(1024);
    osd.onRequest = ({ reply }) => reply();
    for (const { reply } of osd.arrivals.slice()) reply();
    await world.until(Promise.all(all));
    expect(
      osd.arrivals.map(({ request }) => Buffer.from(request.ops[0]?.indata ?? []).toString()),
    ).toEqual(Array.from({ length: 1100 }, (_, i) => `${i}`));
  });

  it('lets 65,536 wait, and refuses the next with EAGAIN', async () => {
    const { world, osd, client } = await setUp();
    osd.onRequest = hold;
    const target = { pool: POOL, nspace: '', oid: 'x' };
    const stat = [statOp()];
    const all = Array.from({ length: 1024 + 65_536 }, () =>
      client.operate(target, stat).catch((error: RadosError) => error.code),
    );
    const failure = await world.until(rejection(client.operate(target, stat)));
    expect(failure).toMatchObject({ code: 'EAGAIN', outcome: 'not-applied', retryable: true });
    client.close();
    const codes = await world.until(Promise.all(all));
    expect(new Set(codes)).toEqual(new Set(['ENOTCONN']));
  });
});

describe('closing', () => {
  it('settles everything, whatever it was waiting for, and leaves nothing behind', async () => {
    const { world, cluster, osd, client, write, read } = await setUp({ osds: 3 });
    for (const each of cluster.osds) each.onRequest = hold;
    const [a, b, c] = [cluster.oidOn(0), cluster.oidOn(1), cluster.oidOn(2)];
    world.network.port(cluster.osd(1).addr.port).onConnect = 'silent';
    const promises = [
      write(a, 'under way'),
      read(a),
      write(b, 'not connected'),
      client.operate({ pool: 99, nspace: '', oid: 'x' }, [statOp()]),
    ];
    for (const promise of promises) promise.catch(() => {});
    await world.until(() => osd.arrivals.length === 2);
    cluster.setFlags(cluster.map.flags | OSDMAP_FLAG.PAUSEWR);
    await world.until(client.waitForLatestMap());
    promises.push(write(c, 'paused'));
    for (let i = 0; i < 2000; i++) promises.push(read(c));
    const waits = [client.waitForLatestMap(), client.command({ prefix: 'x' })];
    // Never answered from here on.
    for (const mon of cluster.mons) mon.intercept = () => true;
    waits.push(client.waitForLatestMap());
    const settled = Promise.allSettled(promises);
    const others = Promise.allSettled(waits);
    await world.advance(10);
    client.close();
    client.close();
    const outcomes = await world.until(settled);
    expect(outcomes).toHaveLength(2005);
    const errors = outcomes.map(
      (outcome) => (outcome as PromiseRejectedResult).reason as RadosError,
    );
    expect(errors[0]).toMatchObject({ code: 'ENOTCONN', outcome: 'unknown' });
    expect(errors[2]).toMatchObject({ code: 'ENOTCONN', outcome: 'not-applied' });
    expect(errors[4]).toMatchObject({ code: 'ENOTCONN', outcome: 'not-applied' });
    await world.until(others);
    expect(client.pending).toBe(0);
    await expect(world.until(write(a, 'late'))).rejects.toMatchObject({ code: 'ENOTCONN' });
    await world.advance(100_000);
    expect(world.network.streams.size).toBe(0);
    expect(world.pendingEvents).toBe(0);
  });

  it('rejects whoever waits for a map that does not come', async () => {
    const { world, client, mon } = await setUp();
    mon.newestOsdMap = () => 1000;
    const waiting = rejection(client.waitForLatestMap());
    await world.advance(1000);
    client.close();
    expect((await world.until(waiting)).code).toBe('ENOTCONN');
    expect((await world.until(rejection(client.waitForLatestMap()))).code).toBe('ENOTCONN');
  });
});

describe('a buffer that is lent for a read', () => {
  const size = 400_000;
  const data = (value: number) => new Uint8Array(size).fill(value);

  /** Makes the OSD send its answer so slowly that the test can act in the middle of it. */
  async function halfWay(
    setup: Awaited<ReturnType<typeof setUp>>,
    oid: string,
    options?: OperateOptions,
  ) {
    const { world, osd, read } = setup;
    world.network.segmentBytes = 10_000;
    const into = new Uint8Array(size);
    osd.onRequest = ({ reply }) => reply({ outputs: [data(1)] });
    const pending = read(oid, { ...options, into, length: size });
    await world.until(() => into[size / 2] === 1);
    expect(into[size - 1]).toBe(0);
    return { into, pending };
  }

  it('receives the data in place, large or small', async () => {
    const { world, osd, read } = await setUp();
    for (const length of [1, 4096, 70_000, size]) {
      const into = new Uint8Array(length);
      osd.onRequest = ({ reply }) => reply({ outputs: [new Uint8Array(length).fill(7)] });
      const { ops } = await world.until(read('x', { into, length }));
      expect(ops[0]?.outdata.buffer).toBe(into.buffer);
      expect(into.every((byte) => byte === 7)).toBe(true);
    }
  });

  it('is not written any more when the read is given up half-way, and other operations go on', async () => {
    const setup = await setUp();
    const { world, osd, write } = setup;
    const abort = new AbortController();
    const { into, pending } = await halfWay(setup, 'x', { signal: abort.signal });
    osd.onRequest = ({ reply }) => reply();
    const other = write('y', 'other');
    abort.abort();
    await expect(world.until(pending)).rejects.toMatchObject({ code: 'ECANCELED' });
    into.fill(9);
    await world.until(other);
    await world.advance(1000);
    expect(into.every((byte) => byte === 9)).toBe(true);
    expect(osd.arrivals.filter(({ request }) => request.oid === 'y').at(-1)?.attempt).toBe(1);
  });

  it('is not written any more when the deadline passes half-way', async () => {
    const setup = await setUp();
    const { world } = setup;
    const { into, pending } = await halfWay(setup, 'x', { timeoutMs: 4000 });
    for (const stream of world.network.to(setup.osd.addr.port)) stream.stalled = true;
    const failure = await world.until(rejection(pending));
    expect(failure.code).toBe('ETIMEDOUT');
    into.fill(9);
    for (const stream of world.network.streams) stream.stalled = false;
    await world.advance(1000);
    expect(into.every((byte) => byte === 9)).toBe(true);
  });

  it('is not written by one OSD any more when the read has moved to another', async () => {
    const setup = await setUp({ osds: 2 });
    const { world, cluster } = setup;
    const oid = cluster.oidOn(0);
    const { into, pending } = await halfWay(setup, oid);
    for (const stream of world.network.to(cluster.osd(0).addr.port)) stream.stalled = true;
    const { pg } = (cluster.osd(0).arrivals[0] as Arrival).request;
    cluster.osd(1).onRequest = ({ reply }) => reply({ outputs: [data(2)] });
    cluster.commit(({ newPgTemp }) => newPgTemp.set(`${pg.pool}.${pg.seed}`, [1]));
    await world.until(setup.client.waitForLatestMap());
    await world.until(pending);
    for (const stream of world.network.streams) stream.stalled = false;
    await world.advance(1000);
    expect(into.every((byte) => byte === 2)).toBe(true);
  });

  it('holds the data of the attempt that succeeded when the connection broke half-way', async () => {
    const setup = await setUp();
    const { world, osd } = setup;
    const { into, pending } = await halfWay(setup, 'x');
    osd.onRequest = ({ reply }) => reply({ outputs: [data(3)] });
    world.network.to(osd.addr.port)[0]?.reset();
    await world.until(pending);
    expect(into.every((byte) => byte === 3)).toBe(true);
  });

  it('that is too small fails the read, and is not overrun', async () => {
    const { world, osd, read } = await setUp();
    const memory = Buffer.allocUnsafe(100).fill(5);
    osd.onRequest = ({ reply }) => reply({ outputs: [new Uint8Array(60).fill(1)] });
    const pending = read('x', { into: memory.subarray(10, 50), length: 40 });
    expect((await world.until(rejection(pending))).code).toBe('EOVERFLOW');
    expect(memory.subarray(50).every((byte) => byte === 5)).toBe(true);
  });

  it('holds what a class method answers, and is left alone by an answer that is longer', async () => {
    const { world, osd, call } = await setUp();
    osd.onRequest = ({ reply }) => reply({ outputs: [data(4)] });
    const fitting = new Uint8Array(data(4).length);
    const { outdata } = (await world.until(call('x', { into: fitting }))).ops[0]!;
    expect(outdata.buffer).toBe(fitting.buffer);
    expect(Buffer.from(fitting).equals(data(4))).toBe(true);
    const short = new Uint8Array(100);
    const longer = (await world.until(call('x', { into: short }))).ops[0]!;
    expect(Buffer.from(longer.outdata).equals(data(4))).toBe(true);
    expect(short.every((byte) => byte === 0)).toBe(true);
  });

  it('is not written by messages that are no answers', async () => {
    const { world, osd, read } = await setUp();
    osd.onRequest = hold;
    const into = new Uint8Array(1000);
    const pending = read('x', { into, length: 1000 });
    await world.until(() => osd.arrivals.length === 1);
    const { tid, connection, reply } = osd.arrivals[0] as Arrival;
    const event = { protocolVersion: 1, event: WATCH_EVENT.COMPLETE, cookie: 1n, version: 1n };
    const front = encodeWith(watchNotify, {
      ...event,
      ...{ notifyId: 1n, payload: new Uint8Array(0), returnCode: 0, notifierGid: 1n },
    });
    connection.send(outgoing(MSG.WATCH_NOTIFY, front, { tid, data: [data(6).subarray(0, 1000)] }));
    await world.advance(100);
    expect(into.every((byte) => byte === 0)).toBe(true);
    reply();
    await world.until(pending);
  });
});

describe('a reply that cannot be read', () => {
  it.each([
    [
      'is truncated',
      (arrival: Arrival) => encodeOsdReply(osdReplyOf(arrival.request)).subarray(0, 40),
    ],
    ['is empty', () => new Uint8Array(0)],
    [
      'is for another number of operations',
      (arrival: Arrival) => encodeOsdReply(osdReplyOf(arrival.request, { ops: [] })),
    ],
  ])('because it %s ends its operation and the session; others go on', async (_what, front) => {
    const { world, osd, client, write } = await setUp();
    osd.onRequest = hold;
    const bad = rejection(write('bad', '1'));
    const good = write('good', '2');
    await world.until(() => osd.arrivals.length === 2);
    osd.onRequest = ({ reply }) => reply();
    const arrival = osd.arrivals[0] as Arrival;
    arrival.connection.send(
      outgoing(MSG.OSD_OPREPLY, front(arrival), { version: 8, compat: 2, tid: arrival.tid }),
    );
    const failure = await world.until(bad);
    expect(failure).toMatchObject({ code: 'EPROTO', outcome: 'unknown', op: 'append' });
    expect(failure.message).toContain('osd.0 at v2:127.0.0.1:47200/1000');
    await world.until(good);
    expect(osd.arrivals.map(({ request }) => request.oid)).toEqual(['bad', 'good', 'good']);
    expect(client.pending).toBe(0);
  });
});

describe('whether a write happened', () => {
  it.each([
    // The OSD may have begun anew with it, behind its own back.
    ['EBLOCKLISTED', -108, 'unknown', 'unknown'],
    ['EPERM', -1, 'unknown', 'not-applied'],
    ['EEXIST', -17, 'not-applied', 'not-applied'],
  ] as const)(
    'is told truly when a repetition is answered with %s',
    async (code, result, outcome, ofTheFirst) => {
      const { world, osd, write } = await setUp();
      osd.onRequest = hold;
      const pending = rejection(write('x', '1'));
      await world.until(() => osd.arrivals.length === 1);
      osd.dropConnections();
      await world.until(() => osd.arrivals.length === 2);
      osd.arrivals[1]?.reply({ result });
      expect(await world.until(pending)).toMatchObject({ code, outcome });
      osd.onRequest = ({ reply }) => reply({ result });
      expect(await world.until(rejection(write('x', '2')))).toMatchObject({
        code,
        outcome: ofTheFirst,
      });
    },
  );
});

describe('tickets', () => {
  it('that expired while the monitors were away are renewed when they are back, and operations go on', async () => {
    const { world, cluster, osd, mon, write } = await setUp({
      cephx: { serviceTicketTtlMs: 60_000 },
    });
    await world.until(write('x', '1'));
    await mon.stop();
    await world.advance(120_000);
    osd.dropConnections();
    const pending = write('x', '2');
    await world.advance(120_000);
    expect(osd.oids).toEqual(['x']);
    await (cluster.mons[0] as FakeMon).start();
    await world.until(pending);
  });

  it('that an OSD refuses are renewed, and operations go on', async () => {
    const { world, cluster, osd, mon, write } = await setUp({ cephx: {} });
    await world.until(write('x', '1'));
    // The OSD forgot the secrets for two connections, as one that has not fetched new ones yet.
    const stranger = cephxAuth(world.env);
    const own = cluster.auth.server.bind(cluster.auth);
    let refusals = 2;
    cluster.auth.server = (service) =>
      service === ENTITY_TYPE.OSD && refusals-- > 0 ? stranger.server(service) : own(service);
    osd.dropConnections();
    await world.until(write('x', '2'));
    expect(mon.requests.filter(({ type }) => type === MSG.AUTH).length).toBe(2);
  });

  it('that an OSD refuses while it waits for the rotating keys are no reason to fail', async () => {
    const { world, cluster, osd, write } = await setUp({ cephx: {} });
    const stranger = cephxAuth(world.env);
    const own = cluster.auth.server.bind(cluster.auth);
    const knowsAt = world.now + 30_000;
    let refusals = 0;
    cluster.auth.server = (service) => {
      if (service !== ENTITY_TYPE.OSD || world.now >= knowsAt) return own(service);
      refusals++;
      return stranger.server(service);
    };
    await world.until(write('x', '1'));
    expect(refusals).toBeGreaterThan(6);
    expect(world.now - knowsAt).toBeLessThan(10_000);
    expect(osd.oids).toEqual(['x']);
  });

  it('that an OSD refused long ago do not count when it comes back', async () => {
    const { world, cluster, osd, write } = await setUp({ cephx: {} });
    const stranger = cephxAuth(world.env);
    const own = cluster.auth.server.bind(cluster.auth);
    let refuses = true;
    cluster.auth.server = (service) =>
      service === ENTITY_TYPE.OSD && refuses ? stranger.server(service) : own(service);
    const pending = write('x', '1');
    await world.advance(40_000);
    await osd.stop();
    await world.advance(60_000);
    await osd.start();
    await world.advance(10_000);
    refuses = false;
    await world.until(pending);
    expect(osd.oids).toEqual(['x']);
  });

  it('that an OSD refuses for more than a minute end the operations with EACCES', async () => {
    const { world, cluster, client, write } = await setUp({ cephx: {} });
    const stranger = cephxAuth(world.env);
    const own = cluster.auth.server.bind(cluster.auth);
    cluster.auth.server = (service) =>
      service === ENTITY_TYPE.OSD ? stranger.server(service) : own(service);
    const before = world.now;
    const failure = await world.until(rejection(write('x', '1')));
    expect(failure).toMatchObject({ code: 'EACCES', outcome: 'not-applied', op: 'append' });
    expect(failure.message).toContain('osd.0');
    expect(world.now - before).toBeGreaterThan(60_000);
    expect(world.now - before).toBeLessThan(70_000);
    expect(client.pending).toBe(0);
  });

  it('that no monitor accepts any more cost the identity: writes that were sent fail, the rest goes on', async () => {
    const { world, cluster, osd, mon, client, write, read } = await setUp({
      cephx: { serviceTicketTtlMs: 60_000, monTicketTtlMs: 60_000 },
    });
    const id = client.globalId;
    osd.onRequest = hold;
    const sent = rejection(write('x', '1'));
    const pendingRead = read('x');
    await world.until(() => osd.arrivals.length === 2);
    await mon.stop();
    await world.advance(3600_000);
    osd.dropConnections();
    osd.onRequest = ({ reply }) => reply();
    await world.advance(1000);
    const unsent = write('x', '2');
    await (cluster.mons[0] as FakeMon).start();
    expect(await world.until(sent)).toMatchObject({ code: 'ESTALE', outcome: 'unknown' });
    await world.until(Promise.all([pendingRead, unsent]));
    expect(client.globalId).not.toBe(id);
  });
});

describe('sessions', () => {
  it('without operations are closed after a while, and opened again when needed', async () => {
    const { world, osd, write } = await setUp({ client: { osdIdleTtlMs: 20_000 } });
    await world.until(write('x', '1'));
    expect(osd.connections.size).toBe(1);
    await world.advance(15_000);
    expect(osd.connections.size).toBe(1);
    await world.advance(15_000);
    expect(osd.connections.size).toBe(0);
    await world.until(write('x', '2'));
    expect(osd.connections.size).toBe(1);
  });

  it('whose OSD owes an answer are not idle, and are pinged', async () => {
    const { world, osd, write } = await setUp({ client: { osdIdleTtlMs: 20_000 } });
    osd.onRequest = hold;
    const pending = write('x', '1');
    await world.advance(61_000);
    expect(osd.connections.size).toBe(1);
    expect(osd.pings.length).toBeGreaterThanOrEqual(10);
    osd.arrivals[0]?.reply();
    await world.until(pending);
  });
});

describe('connecting', () => {
  it('fails in time when a monitor accepts us and has no map', async () => {
    const cluster = await FakeCluster.start();
    const mon = cluster.mons[0] as FakeMon;
    mon.intercept = (message) => message.type === MSG.MON_SUBSCRIBE && mon.requests.length > 2;
    const failure = await cluster.world.until(
      rejection(cluster.connecting({ mountTimeoutMs: 5000 })),
    );
    expect(failure.code).toBe('ETIMEDOUT');
    await cluster.world.advance(100_000);
    expect(cluster.world.pendingEvents).toBe(0);
  });

  it('can be given up', async () => {
    const cluster = await FakeCluster.start();
    (cluster.mons[0] as FakeMon).intercept = () => true;
    const abort = new AbortController();
    const connecting = rejection(cluster.connecting({ signal: abort.signal }));
    await cluster.world.advance(1000);
    abort.abort();
    expect((await cluster.world.until(connecting)).code).toBe('ECANCELED');
    await cluster.world.advance(100_000);
    expect(cluster.world.pendingEvents).toBe(0);
  });
});
