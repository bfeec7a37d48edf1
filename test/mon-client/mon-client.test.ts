// Goal: the line to the monitors is found, kept and found again whatever single monitors do, and every request is
// answered or rejected in the end. Method: real sessions in virtual time, to monitors that a test scripts.

import { describe, expect, it } from 'vitest';

import type { ClusterAuth } from '../../src/auth/method.js';
import { isRadosError, type RadosError } from '../../src/base/errors.js';
import { decodeAll, encodeWith } from '../../src/encoding/codec.js';
import {
  authReply,
  monCommand,
  monCommandAck,
  NO_PAXOS,
  poolOp,
  poolOpReply,
  statfsReply,
} from '../../src/messages/mon-messages.js';
import { MSG, outgoing } from '../../src/messages/types.js';
import { MonClient, type MonClientOptions } from '../../src/mon-client/mon-client.js';
import { CephFloat, encodeMonCommand } from '../../src/mon-client/mon-command.js';
import {
  FakeCluster,
  type FakeClusterOptions,
  type FakeMon,
  FSID,
} from '../support/fake-cluster.js';
import { CRC_ONLY, cephxAuth, messengerContext, v2Addr } from '../support/messengers.js';
import { rejection } from '../support/rejection.js';

interface Options extends FakeClusterOptions {
  client?: Partial<MonClientOptions>;
  auths?: (cluster: FakeCluster) => ClusterAuth[];
}

async function setUp({ client, auths, ...options }: Options = {}) {
  const cluster = await FakeCluster.start({ osds: 1, ...options });
  const { world } = cluster;
  const osdMaps: { version: number; bytes: number }[] = [];
  const mon = new MonClient({
    ...messengerContext(world.env),
    monAddrs: cluster.monAddrs,
    auths: auths?.(cluster) ?? [cluster.auth.client()],
    modes: CRC_ONLY,
    nonce: 4711,
    opTimeoutMs: 0,
    onOsdMap: (front, version) => osdMaps.push({ version, bytes: front.length }),
    ...client,
  });
  return { cluster, world, mon, mons: cluster.mons as [FakeMon, ...FakeMon[]], osdMaps };
}

async function started(options: Options = {}) {
  const all = await setUp(options);
  await all.world.until(all.mon.start());
  return all;
}

/** The monitor that the client has a session with. */
function serving(cluster: FakeCluster): FakeMon {
  const mon = cluster.mons.find(({ sessions }) => sessions.size > 0);
  if (!mon) throw new Error('no monitor has a session');
  return mon;
}

describe('starting', () => {
  it('ends with the monmap, a global id and the address that we are seen at', async () => {
    const { mon } = await started();
    expect(mon.fsid).toBe(FSID);
    expect(mon.globalId).toBe(4100n);
    expect(mon.seenAs?.host).toBe('127.0.0.1');
    expect([...(mon.monMap?.monInfo.keys() ?? [])]).toEqual(['a']);
    mon.close();
  });

  it('asks for the monmap and subscribes to its changes', async () => {
    const { mons, mon } = await started();
    expect(mons[0].requests.map(({ type }) => type)).toEqual([MSG.MON_GET_MAP, MSG.MON_SUBSCRIBE]);
    expect(mons[0].requests[1]?.wants).toEqual({ monmap: 0 });
    mon.close();
  });

  it.each(['refuse', 'silent'] as const)(
    'finds the one monitor of three that answers, where the others %s',
    async (fault) => {
      for (const seed of [1, 2, 3, 4, 5]) {
        const { world, cluster, mon } = await setUp({ mons: 3, seed });
        for (const each of cluster.mons.slice(1))
          world.network.port(each.addr.port).onConnect = fault;
        await world.until(mon.start());
        expect(cluster.mons[0]?.sessions.size).toBe(1);
        // Two silent ones cost their hunting interval each, at most.
        expect(world.now).toBeLessThan(6100);
        mon.close();
      }
    },
  );

  it('tries monitors in an order of its own, so that clients spread', async () => {
    const first = new Set<number>();
    for (let seed = 1; seed <= 20; seed++) {
      const { cluster, mon } = await started({ mons: 3, seed });
      first.add(serving(cluster).id);
      mon.close();
    }
    expect(first.size).toBe(3);
  });

  it('goes on hunting, ever slower, and succeeds when a monitor comes up', async () => {
    const { world, cluster, mons, mon } = await setUp({ mons: 2 });
    for (const each of mons) world.network.port(each.addr.port).onConnect = 'refuse';
    const start = mon.start();
    await world.advance(60_000);
    world.network.port(mons[0].addr.port).onConnect = 'accept';
    await world.until(start);
    expect(cluster.mons[0]?.sessions.size).toBe(1);
    mon.close();
  });

  it('does not flood monitors that refuse', async () => {
    const { world, mons, mon } = await setUp();
    const behaviour = world.network.port(mons[0].addr.port);
    let attempts = 0;
    Object.defineProperty(behaviour, 'onConnect', {
      get: () => {
        attempts++;
        return 'refuse';
      },
    });
    const start = mon.start({ timeoutMs: 120_000 });
    const failure = rejection(start);
    await world.until(failure);
    expect(attempts).toBeGreaterThan(10);
    expect(attempts).toBeLessThan(60);
  });

  it('fails in time with ETIMEDOUT, naming whom it tried and why the last attempt failed', async () => {
    const { world, cluster, mon } = await setUp({ mons: 2 });
    for (const each of cluster.mons) world.network.port(each.addr.port).onConnect = 'refuse';
    const failure = await world.until(rejection(mon.start({ timeoutMs: 10_000 })));
    expect(failure.code).toBe('ETIMEDOUT');
    expect(failure.retryable).toBe(true);
    expect(failure.message).toMatch(
      /^no monitor of v2:127.0.0.1:47100\/0, v2:127.0.0.1:47101\/0 answered in 10 s; last: .*ECONNREFUSED/,
    );
    await world.advance(100_000);
    expect(world.pendingEvents).toBe(0);
  });

  it('fails at once with EINVAL without an address', async () => {
    const { world, mon } = await setUp({ client: { monAddrs: [] } });
    expect((await world.until(rejection(mon.start()))).code).toBe('EINVAL');
  });

  it('fails at once with EACCES when the key is refused', async () => {
    const { world, mon } = await setUp({
      mons: 3,
      cephx: {},
      auths: (cluster) => [
        (cluster.cephx as NonNullable<typeof cluster.cephx>).client(
          cluster.cephx?.keys.generateKey(),
        ),
      ],
    });
    const failure = await world.until(rejection(mon.start({ timeoutMs: 60_000 })));
    expect(failure.code).toBe('EACCES');
    expect(failure.message).toContain('the key or the user was refused');
    expect(world.now).toBeLessThan(1000);
  });

  it('can be given up by a signal', async () => {
    const { world, cluster, mon } = await setUp();
    world.network.port((cluster.mons[0] as FakeMon).addr.port).onConnect = 'silent';
    const abort = new AbortController();
    const failure = rejection(mon.start({ signal: abort.signal }));
    await world.advance(500);
    abort.abort();
    expect((await world.until(failure)).code).toBe('ECANCELED');
    await world.advance(100_000);
    expect(world.pendingEvents).toBe(0);
  });

  it('is rejected when the client is closed meanwhile', async () => {
    const { world, cluster, mon } = await setUp();
    world.network.port((cluster.mons[0] as FakeMon).addr.port).onConnect = 'silent';
    const failure = rejection(mon.start());
    await world.advance(500);
    mon.close();
    expect((await world.until(failure)).code).toBe('ENOTCONN');
  });
});

describe('requests', () => {
  it('carry a command as JSON and bring its output and status', async () => {
    const { world, mons, mon } = await started();
    mons[0].onCommand = (command) => ({ rs: 'done', output: `${command['prefix']}!` });
    const { output, status } = await world.until(mon.command({ prefix: 'osd dump' }));
    expect(Buffer.from(output).toString()).toBe('osd dump!');
    expect(status).toBe('done');
    mon.close();
  });

  it('reject with the errno and the status line of a command that failed', async () => {
    const { world, mons, mon } = await started();
    mons[0].onCommand = () => ({ r: -22, rs: 'invalid pool name' });
    const failure = await world.until(rejection(mon.command({ prefix: 'osd pool create' })));
    expect(failure.code).toBe('EINVAL');
    expect(failure.message).toContain("mon command 'osd pool create'");
    expect(failure.message).toContain('invalid pool name');
    mon.close();
  });

  it('bring versions, space and snapshot ids', async () => {
    const { world, mons, mon } = await started();
    mons[0].intercept = (message, connection) => {
      if (message.type === MSG.STATFS) {
        const front = encodeWith(statfsReply, {
          fsid: FSID,
          version: 1,
          kb: 1000,
          kbUsed: 10,
          kbAvail: 990,
          numObjects: 3,
        });
        connection.send(outgoing(MSG.STATFS_REPLY, front, { tid: message.tid }));
        return true;
      }
      if (message.type === MSG.POOLOP) {
        const request = decodeAll('MPoolOp', poolOp, message.front);
        const front = encodeWith(poolOpReply, {
          paxos: NO_PAXOS,
          fsid: FSID,
          code: request.pool === 1 ? 0 : -2,
          epoch: 77,
          data: request.op === 0x21 ? Uint8Array.of(5, 0, 0, 0, 0, 0, 0, 0) : undefined,
        });
        connection.send(outgoing(MSG.POOLOP_REPLY, front, { tid: message.tid }));
        return true;
      }
      return false;
    };
    expect(await world.until(mon.getVersion('osdmap'))).toEqual({ newest: 10, oldest: 1 });
    expect(await world.until(mon.statfs())).toMatchObject({ kb: 1000, numObjects: 3 });
    expect(await world.until(mon.createSelfManagedSnap(1))).toEqual({ snapid: 5n, epoch: 77 });
    expect(await world.until(mon.removeSelfManagedSnap(1, 5n))).toMatchObject({ epoch: 77 });
    const failure = await world.until(rejection(mon.createSelfManagedSnap(9)));
    expect(failure).toMatchObject({ code: 'ENOENT', target: 'pool 9' });
    mon.close();
  });

  it('are sent again, with the same tid, on the next session', async () => {
    const { world, cluster, mon } = await started({ mons: 3 });
    const first = serving(cluster);
    first.intercept = (message) => message.type === MSG.MON_COMMAND;
    const commands = ['one', 'two', 'three'].map((prefix) => mon.command({ prefix }));
    await world.until(() => first.requests.filter((r) => r.type === MSG.MON_COMMAND).length === 3);
    const asked = first.requests.filter((r) => r.type === MSG.MON_COMMAND);
    await first.stop();
    for (const each of cluster.mons) each.onCommand = ({ prefix }) => ({ output: String(prefix) });
    const answers = await world.until(Promise.all(commands));
    expect(answers.map(({ output }) => Buffer.from(output).toString())).toEqual([
      'one',
      'two',
      'three',
    ]);
    const second = serving(cluster);
    expect(second).not.toBe(first);
    expect(second.requests.filter((r) => r.type === MSG.MON_COMMAND).map((r) => r.tid)).toEqual(
      asked.map((r) => r.tid),
    );
    mon.close();
  });

  it('made while no monitor can be reached are sent when one is', async () => {
    const { world, cluster, mons, mon } = await started();
    await mons[0].stop();
    await world.advance(5000);
    const command = mon.command({ prefix: 'late' });
    await world.advance(20_000);
    await (cluster.mons[0] as FakeMon).start();
    await world.until(command);
    mon.close();
  });

  it('fail in time, naming the monitor that is silent', async () => {
    const { world, mons, mon } = await started({ client: { opTimeoutMs: 5000 } });
    mons[0].intercept = (message) => message.type === MSG.MON_COMMAND;
    const failure = await world.until(rejection(mon.command({ prefix: 'osd dump' })));
    expect(failure).toMatchObject({ code: 'ETIMEDOUT', outcome: 'unknown', retryable: true });
    expect(failure.message).toBe('osd dump: mon at v2:127.0.0.1:47100/0 did not answer in 5000 ms');
    mon.close();
  });

  it('fail in time, saying that no monitor could be reached', async () => {
    const { world, mons, mon } = await started();
    await mons[0].stop();
    await world.advance(100);
    const failure = await world.until(
      rejection(mon.command({ prefix: 'osd dump' }, { timeoutMs: 5000 })),
    );
    expect(failure.message).toBe('osd dump: no monitor could be reached in 5000 ms');
    expect(isRadosError(failure.cause, 'ECONNREFUSED')).toBe(true);
    mon.close();
  });

  it('can be given up, before and while they are under way', async () => {
    const { world, mons, mon } = await started();
    mons[0].intercept = (message) => message.type === MSG.MON_COMMAND;
    const early = await world.until(
      rejection(mon.command({ prefix: 'x' }, { signal: AbortSignal.abort() })),
    );
    expect(early.code).toBe('ECANCELED');
    const abort = new AbortController();
    const failure = rejection(mon.command({ prefix: 'x' }, { signal: abort.signal }));
    await world.flush();
    abort.abort();
    expect(await world.until(failure)).toMatchObject({ code: 'ECANCELED', outcome: 'unknown' });
    mon.close();
  });

  it('ignore answers to what was not asked, of another kind, or given up', async () => {
    const { world, mons, mon } = await started();
    let connection: Parameters<FakeMon['intercept']>[1] | undefined;
    mons[0].intercept = (message, from) => {
      connection = from;
      return message.type === MSG.MON_COMMAND;
    };
    const command = mon.command({ prefix: 'x' });
    await world.until(() => connection);
    const tid = mons[0].requests.at(-1)?.tid ?? 0;
    const ack = (rs: string) => encodeWith(monCommandAck, { paxos: NO_PAXOS, r: 0, rs, cmd: [] });
    connection?.send(outgoing(MSG.MON_COMMAND_ACK, ack('wrong tid'), { tid: tid + 1 }));
    connection?.send(outgoing(MSG.STATFS_REPLY, ack('wrong type'), { tid }));
    connection?.send(outgoing(MSG.LOG, ack('unknown'), { tid: 0 }));
    connection?.send(outgoing(MSG.MON_COMMAND_ACK, ack('right'), { tid }));
    connection?.send(outgoing(MSG.MON_COMMAND_ACK, ack('again'), { tid }));
    expect((await world.until(command)).status).toBe('right');
    await world.advance(100);
    expect(mons[0].sessions.size).toBe(1);
    mon.close();
  });

  it('beyond 4096 that wait are refused, and taken again when some are answered', async () => {
    const { world, mons, mon } = await started();
    mons[0].intercept = (message) => message.type === MSG.MON_COMMAND;
    const waiting = Array.from({ length: 4096 }, () => mon.command({ prefix: 'x' }));
    const failure = await world.until(rejection(mon.command({ prefix: 'one too many' })));
    expect(failure).toMatchObject({ code: 'EAGAIN', outcome: 'not-applied' });
    await world.until(
      () => mons[0].requests.filter((r) => r.type === MSG.MON_COMMAND).length === 4096,
    );
    mons[0].intercept = () => false;
    mons[0].sessions.forEach(({ connection }) => connection.close());
    await world.until(Promise.all(waiting));
    await world.until(mon.command({ prefix: 'fits' }));
    mon.close();
  });

  it('that cannot be read reject, and leave the session', async () => {
    const { world, mons, mon } = await started();
    mons[0].intercept = (message, connection) => {
      if (message.type !== MSG.MON_COMMAND) return false;
      connection.send(outgoing(MSG.MON_COMMAND_ACK, new Uint8Array(5), { tid: message.tid }));
      return true;
    };
    const failure = await world.until(rejection(mon.command({ prefix: 'x' })));
    expect(failure.code).toBe('EPROTO');
    mon.close();
  });
});

describe('subscriptions', () => {
  it('bring osdmaps, once or with every change', async () => {
    const { world, cluster, mon, osdMaps } = await started();
    mon.subscribe('osdmap', 0, { onetime: true });
    await world.until(() => osdMaps.length === 1);
    mon.subscriptionGot('osdmap', cluster.epoch);
    cluster.commit();
    await world.advance(100);
    expect(osdMaps).toHaveLength(1);
    mon.subscribe('osdmap', 11, { onetime: false });
    await world.until(() => osdMaps.length === 2);
    mon.subscriptionGot('osdmap', 11);
    cluster.commit();
    cluster.commit();
    await world.until(() => osdMaps.length === 4);
    mon.close();
  });

  it('are made again on the next session, from where they were', async () => {
    const { world, cluster, mon } = await started({ mons: 2 });
    mon.subscribe('osdmap', 10, { onetime: false });
    await world.advance(100);
    mon.subscriptionGot('osdmap', 14);
    const first = serving(cluster);
    await first.stop();
    await world.until(() => cluster.mons.some((each) => each !== first && each.sessions.size > 0));
    await world.advance(10);
    expect(serving(cluster).requests.at(-1)?.wants).toEqual({ monmap: 2, osdmap: 15 });
    mon.close();
  });

  it('that are fulfilled are not made again', async () => {
    const { world, cluster, mon } = await started({ mons: 2 });
    mon.subscribe('osdmap', 0, { onetime: true });
    await world.advance(100);
    mon.subscriptionGot('osdmap', cluster.epoch);
    const first = serving(cluster);
    await first.stop();
    await world.until(() => cluster.mons.some((each) => each !== first && each.sessions.size > 0));
    await world.advance(10);
    expect(serving(cluster).requests.at(-1)?.wants).toEqual({ monmap: 2 });
    mon.close();
  });

  it('that ask for the same are sent once', async () => {
    const { world, mons, mon } = await started();
    for (let i = 0; i < 5; i++) mon.subscribe('osdmap', 30, { onetime: true });
    await world.advance(100);
    const wishes = mons[0].requests.filter(({ wants }) => 'osdmap' in wants);
    expect(wishes.map(({ wants }) => wants['osdmap'])).toEqual([30]);
    mon.close();
  });

  it('bring a new monmap, whose monitors are hunted from then on', async () => {
    const { world, cluster, mons, mon } = await started();
    const moved = { ...cluster.monMap, epoch: 2 };
    moved.monInfo = new Map([
      [
        'z',
        { name: 'z', publicAddrs: [v2Addr(47_150)], priority: 0, weight: 0, crushLoc: new Map() },
      ],
    ]);
    for (const { connection } of mons[0].sessions) connection.send(mons[0].monMapMessage(moved));
    await world.until(() => mon.monMap?.epoch === 2);
    await mons[0].stop();
    await world.until(() => world.network.to(47_150).length > 0);
    mon.close();
  });

  it('end the session when a monmap of another cluster comes', async () => {
    const { world, cluster, mons, mon } = await started();
    const foreign = { ...cluster.monMap, fsid: '00000000-0000-0000-0000-000000000001', epoch: 3 };
    for (const { connection } of mons[0].sessions) connection.send(mons[0].monMapMessage(foreign));
    await world.until(() => mons[0].sessions.size === 0);
    expect(mon.fsid).toBe(FSID);
    mon.close();
  });
});

describe('a session', () => {
  it('is kept alive, and replaced when the monitor falls silent', async () => {
    const { world, cluster, mon } = await started({ mons: 2 });
    const first = serving(cluster);
    await world.advance(120_000);
    expect(serving(cluster)).toBe(first);
    for (const stream of world.network.to(first.addr.port)) stream.stalled = true;
    world.network.port(first.addr.port).onConnect = 'silent';
    const second = cluster.mons.find((each) => each !== first) as FakeMon;
    const silentSince = world.now;
    await world.until(() => second.sessions.size > 0);
    expect(world.now - silentSince).toBeGreaterThan(29_000);
    expect(world.now - silentSince).toBeLessThan(45_000);
    mon.close();
  });

  it('that breaks is replaced at once', async () => {
    const { world, cluster, mon } = await started({ mons: 3 });
    await world.advance(2000);
    const before = world.now;
    await serving(cluster).stop();
    await world.advance(10);
    await world.until(() => cluster.mons.some(({ sessions }) => sessions.size > 0));
    expect(world.now - before).toBeLessThan(100);
    mon.close();
  });

  it('that breaks as soon as it is there does not make the client dial in a tight loop', async () => {
    const { world, mons, mon } = await started();
    let sessions = 0;
    mons[0].intercept = (message, connection) => {
      if (message.type !== MSG.MON_SUBSCRIBE) return false;
      sessions++;
      connection.close();
      return true;
    };
    mon.subscribe('osdmap', 0, { onetime: true });
    await world.advance(60_000);
    expect(sessions).toBeGreaterThan(5);
    expect(sessions).toBeLessThan(30);
    mons[0].intercept = () => false;
    await world.until(mon.command({ prefix: 'x' }));
    mon.close();
  });

  it('keeps the global id over reconnects, with cephx by its ticket', async () => {
    const { world, mons, mon } = await started({ cephx: {} });
    const id = mon.globalId;
    for (let i = 0; i < 3; i++) {
      for (const { connection } of mons[0].sessions) connection.close();
      await world.until(() => mons[0].sessions.size === 0);
      await world.until(() => mons[0].sessions.size === 1);
      expect(mon.globalId).toBe(id);
    }
    mon.close();
  });

  it('renews its tickets before they expire', async () => {
    const { world, mons, mon } = await started({ cephx: { serviceTicketTtlMs: 60_000 } });
    const generation = mon.ticketGeneration;
    await world.advance(300_000);
    const renewals = mons[0].requests.filter(({ type }) => type === MSG.AUTH).length;
    expect(renewals).toBeGreaterThanOrEqual(5);
    expect(renewals).toBeLessThan(30);
    expect(mon.ticketGeneration).toBe(generation + renewals);
    expect(mon.auth.hasTicket(4)).toBe(true);
    expect(mons[0].sessions.size).toBe(1);
    mon.close();
  });

  it('renews refused tickets once, however many OSDs refuse them', async () => {
    const { world, mons, mon } = await started({ cephx: {} });
    for (let i = 0; i < 10; i++) {
      mon.auth.dropTicket(4);
      mon.renewTickets();
    }
    await world.advance(1000);
    expect(mons[0].requests.filter(({ type }) => type === MSG.AUTH)).toHaveLength(1);
    expect(mon.auth.hasTicket(4)).toBe(true);
    expect(mons[0].sessions.size).toBe(1);
    mon.close();
  });

  it('becomes another client when no monitor takes the old one back, and says so', async () => {
    const lost: RadosError[] = [];
    const { world, cluster, mon } = await started({
      mons: 2,
      cephx: { monTicketTtlMs: 60_000, serviceTicketTtlMs: 60_000 },
      client: { onIdentityLost: (error) => lost.push(error) },
    });
    const id = mon.globalId;
    for (const each of cluster.mons) await each.stop();
    await world.advance(3600_000);
    for (const each of cluster.mons) await each.start();
    await world.until(() => cluster.mons.some(({ sessions }) => sessions.size > 0));
    await world.advance(10);
    expect(mon.globalId).not.toBe(id);
    expect(lost).toHaveLength(1);
    expect(lost[0]).toMatchObject({ code: 'ESTALE' });
    expect(lost[0]?.message).toContain(`client.${id}`);
    mon.close();
  });

  it('of a cluster without authentication has no tickets to renew', async () => {
    const { world, mons, mon } = await started();
    mon.auth.dropTicket(4);
    mon.renewTickets();
    await world.advance(1000);
    expect(mons[0].requests.filter(({ type }) => type === MSG.AUTH)).toHaveLength(0);
    mon.close();
  });

  it('tries the ways to authenticate in order, and keeps the one that was taken', async () => {
    const { world, cluster, mons, mon } = await started({
      auths: ({ world: { env }, auth }) => [cephxAuth(env).client(), auth.client()],
    });
    expect(mon.auth.method).toBe(1);
    for (const { connection } of mons[0].sessions) connection.close();
    await world.until(() => mons[0].sessions.size === 0);
    await world.until(() => mons[0].sessions.size === 1);
    expect(cluster.mons[0]?.sessions.size).toBe(1);
    mon.close();
  });
});

describe('hostile monitors', () => {
  const send = (mon: FakeMon, type: number, front: Uint8Array, tid = 0) => {
    for (const { connection } of mon.sessions) connection.send(outgoing(type, front, { tid }));
  };

  it.each([
    ['a truncated monmap', MSG.MON_MAP, Uint8Array.of(100, 0, 0, 0, 9, 6)],
    ['a monmap of nothing', MSG.MON_MAP, new Uint8Array(0)],
    ['a monmap with bytes left over', MSG.MON_MAP, new Uint8Array(50)],
    ['the answer to a renewal that nobody asked for', MSG.AUTH_REPLY, authReplyBytes(0)],
    ['a truncated answer to a renewal', MSG.AUTH_REPLY, authReplyBytes(0).subarray(0, 9)],
  ])('that send %s lose the session, and another is made', async (_what, type, front) => {
    const { world, mons, mon } = await started({ cephx: {} });
    const [first] = mons[0].sessions;
    send(mons[0], type, front);
    await world.until(() => first?.connection.closed);
    await world.until(mon.command({ prefix: 'x' }));
    expect(mon.fsid).toBe(FSID);
    mon.close();
  });

  it('that refuse a renewal lose the session; the next one brings tickets', async () => {
    const { world, mons, mon } = await started({ cephx: {} });
    const [first] = mons[0].sessions;
    mons[0].intercept = (message, connection) => {
      if (message.type !== MSG.AUTH) return false;
      connection.send(outgoing(MSG.AUTH_REPLY, authReplyBytes(-13)));
      return true;
    };
    mon.auth.dropTicket(4);
    mon.renewTickets();
    await world.until(() => first?.connection.closed);
    await world.until(() => mons[0].sessions.size === 1);
    expect(mon.auth.hasTicket(4)).toBe(true);
    mon.close();
  });

  it.each([
    ['get_version', MSG.MON_GET_VERSION_REPLY, (mon: MonClient) => mon.getVersion('osdmap')],
    ['statfs', MSG.STATFS_REPLY, (mon: MonClient) => mon.statfs()],
    ['pool op', MSG.POOLOP_REPLY, (mon: MonClient) => mon.createSelfManagedSnap(1)],
    ['command', MSG.MON_COMMAND_ACK, (mon: MonClient) => mon.command({ prefix: 'x' })],
  ] as const)(
    'that answer %s with any piece of nothing reject it with EPROTO',
    async (_what, type, ask) => {
      for (let length = 0; length < 24; length += 3) {
        const { world, mons, mon } = await started();
        mons[0].intercept = (message, connection) => {
          connection.send(outgoing(type, new Uint8Array(length).fill(0xff), { tid: message.tid }));
          return true;
        };
        expect((await world.until(rejection(ask(mon)))).code).toBe('EPROTO');
        mon.close();
      }
    },
  );

  it('that allocate no snapshot id, or half of one, are told apart from success', async () => {
    for (const data of [undefined, new Uint8Array(0), new Uint8Array(7), new Uint8Array(9)]) {
      const { world, mons, mon } = await started();
      mons[0].intercept = (message, connection) => {
        const front = encodeWith(poolOpReply, {
          paxos: NO_PAXOS,
          fsid: FSID,
          code: 0,
          epoch: 1,
          data,
        });
        connection.send(outgoing(MSG.POOLOP_REPLY, front, { tid: message.tid }));
        return true;
      };
      expect((await world.until(rejection(mon.createSelfManagedSnap(1)))).code).toBe('EBADMSG');
      mon.close();
    }
  });
});

function authReplyBytes(result: number): Uint8Array {
  const payload = new Uint8Array(0);
  return encodeWith(authReply, { protocol: 2, result, globalId: 1n, payload, message: '' });
}

describe('closing', () => {
  it('settles every request, ends the session, and leaves no timer', async () => {
    const { world, mons, mon } = await started();
    mons[0].intercept = (message) => message.type === MSG.MON_COMMAND;
    const pending = Array.from({ length: 50 }, (_, i) =>
      rejection(mon.command({ prefix: `${i}` })),
    );
    await world.flush();
    mon.close();
    mon.close();
    const errors = await world.until(Promise.all(pending));
    expect(errors).toHaveLength(50);
    expect(new Set(errors.map(({ code }) => code))).toEqual(new Set(['ENOTCONN']));
    expect((await world.until(rejection(mon.command({ prefix: 'late' })))).code).toBe('ENOTCONN');
    await world.until(() => mons[0].sessions.size === 0);
    await world.advance(100_000);
    expect(world.pendingEvents).toBe(0);
  });

  it('while hunting ends the hunt', async () => {
    const { world, cluster, mons, mon } = await started();
    await mons[0].stop();
    await world.advance(3000);
    mon.close();
    await world.advance(100_000);
    expect(world.pendingEvents).toBe(0);
    expect(world.network.to((cluster.mons[0] as FakeMon).addr.port)).toEqual([]);
  });
});

it('a float is written as one, for monitors take no other', () => {
  const command = {
    prefix: 'x',
    expire: new CephFloat(60),
    ratio: new CephFloat(0.5),
    n: 3,
    no: undefined,
  };
  expect(encodeMonCommand(command)).toBe('{"prefix":"x","expire":60.0,"ratio":0.5,"n":3}');
});

it('a command names the cluster that it is for', async () => {
  const { world, mons, mon } = await started();
  await world.until(mon.command({ prefix: 'x', pool: 'rbd' }));
  const { message } = mons[0].requests.at(-1) as FakeMon['requests'][number];
  const decoded = decodeAll('MMonCommand', monCommand, message.front);
  expect(decoded.fsid).toBe(FSID);
  expect(JSON.parse(decoded.cmd[0] ?? '')).toEqual({ prefix: 'x', pool: 'rbd' });
  mon.close();
});
