// A PG that cannot serve keeps no requests: clients are asked to wait with them, and told when to come again.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { nodeEnvironment } from '../../../src/base/node-environment.js';
import { EmbeddedCluster } from '../../../src/cluster/embedded-cluster.js';
import { SESSION_BACKOFFS_MAX, SessionBackoffs } from '../../../src/cluster/osd/backoffs.js';
import type { ClientSession } from '../../../src/cluster/osd/client-request.js';
import { Blocker } from '../../../src/cluster/osd/pipeline/blocker.js';
import { OsdSession } from '../../../src/cluster/osd/session.js';
import { OsdDaemon } from '../../../src/cluster/osd-daemon.js';
import type { ClusterSettingsInput } from '../../../src/cluster/settings.js';
import { MemoryStore } from '../../../src/cluster/store/memory-store.js';
import { BLANK_ADDR, type EntityAddr, msgr2Addr } from '../../../src/encoding/entity.js';
import { INT64_MIN, NOSNAP } from '../../../src/encoding/types.js';
import { loadKernels } from '../../../src/kernels/load.js';
import { FEATURE_RADOS_BACKOFF, FEATURES_SUPPORTED } from '../../../src/messages/features.js';
import { BACKOFF_OP, type OsdBackoff } from '../../../src/messages/osd-messages.js';
import { appendOp, readOp, statOp, writeFullOp, writeOp } from '../../../src/messages/osd-op.js';
import type { OutgoingMessage } from '../../../src/messages/types.js';
import type { Connection } from '../../../src/msgr/connection.js';
import { objectHash, stableMod } from '../../../src/osdmap/object-hash.js';
import { OBJECT_HASH } from '../../../src/osdmap/pool.js';
import { connectRados } from '../../../src/rados/connect.js';
import { FakeMon } from './support/fake-mon.js';
import './support/pipeline-rules.js';
import { RawClient, type RawTarget, testMessenger } from './support/raw-client.js';

/** Needs two copies to serve; the other pool one. */
const POOL = 1;
const OTHER = 2;
const PGS = 4;
const data = (text: string) => Buffer.from(text);
const seedOf = (oid: string) => {
  const hash = objectHash(OBJECT_HASH.RJENKINS, { oid, key: '', nspace: '' });
  return stableMod(hash, PGS);
};
const oidsOf = (seed: number) =>
  Array.from({ length: 40 }, (_, i) => `object ${i}`).filter((oid) => seedOf(oid) === seed);

describe('an OSD whose PGs have too few members', () => {
  let mon: FakeMon;
  let osds: Map<number, OsdDaemon>;
  let clients: RawClient[];
  let first: OsdDaemon;
  let client: RawClient;

  const start = (id: number) =>
    OsdDaemon.start({
      ...{ ...testMessenger(), id, host: '127.0.0.1', mon, objectStore: new MemoryStore() },
      peers: { osd: (peer) => osds.get(peer)?.peer },
      onReachable: (reachable) => osds.set(id, reachable),
      heartbeatMs: 50,
    });
  const connect = async (pool = POOL, nonce = 1) => {
    const addr = msgr2Addr(first.addrs) as EntityAddr;
    const target: RawTarget = { addr, pool, pgNum: PGS, epoch: mon.map.epoch };
    const connected = await RawClient.connect(target, { globalId: BigInt(900 + nonce), nonce });
    clients.push(connected);
    return connected;
  };
  const asked = async (count: number): Promise<OsdBackoff> => {
    await expect.poll(() => client.backoffs.length).toBeGreaterThanOrEqual(count);
    return client.backoffs[count - 1] as OsdBackoff;
  };
  /** Sends what must not be answered, and waits until the OSD has dealt with it. */
  const sendInVain = async (oid: string, text: string, more = {}): Promise<number> => {
    const { tid, reply } = client.send({ oid, ops: [appendOp(data(text))], ...more });
    reply.then(
      () => expect.unreachable('it was answered'),
      () => {},
    );
    const end = () => first.tracker.history().find(({ op }) => op.client.tid === tid)?.how;
    await expect.poll(end).toMatch(/^dropped: (sent away|held back)$/);
    return tid;
  };

  beforeEach(async () => {
    osds = new Map();
    clients = [];
    mon = new FakeMon({
      crc32c: testMessenger().crc32c,
      osds: 2,
      pools: [
        { id: POOL, name: 'p', pgNum: PGS, size: 2, minSize: 2 },
        { id: OTHER, name: 'q', pgNum: PGS, size: 1, minSize: 1 },
      ],
    });
    first = await start(0);
    client = await connect();
  });

  afterEach(async () => {
    for (const each of clients) each.close();
    for (const osd of osds.values()) await osd.stop();
  });

  it.each([0, 1, 2, 3])('asks to wait with all of PG %i, as a real OSD says it', async (seed) => {
    const [oid = ''] = oidsOf(seed);
    await sendInVain(oid, 'x');
    // In the order of reversed bits the PGs are 0, 2, 1, 3.
    const next = [2, 3, 1][seed];
    const nobody = { key: '', oid: '', max: 0, nspace: '', pool: BigInt(POOL) };
    expect(await asked(1)).toEqual({
      ...{ pg: { pg: { pool: POOL, seed }, shard: -1 }, epoch: mon.map.epoch },
      ...{ op: BACKOFF_OP.BLOCK, id: 1n },
      begin: { ...nobody, snap: 0n, hash: seed },
      end:
        next === undefined
          ? { ...nobody, snap: 0n, hash: 0, max: 1, pool: INT64_MIN }
          : { ...nobody, snap: NOSNAP, hash: next },
    });
  });

  it('asks once for each PG, and lets go of what it has', async () => {
    const [a = '', b = ''] = oidsOf(1);
    const [c = ''] = oidsOf(2);
    for (const oid of [a, b, c, a]) await sendInVain(oid, 'x');
    expect(client.backoffs.map(({ id, pg }) => [id, pg.pg.seed])).toEqual([
      [1n, 1],
      [2n, 2],
    ]);
    expect([first.throttle.messages, first.throttle.bytes]).toEqual([0, 0]);
    client.close();
    await expect.poll(() => first.backoffs()).toEqual([]);
  });

  it('says when the PG serves, and takes what comes again', async () => {
    const [oid = ''] = oidsOf(1);
    const tid = await sendInVain(oid, '1');
    const block = await asked(1);
    client.acknowledge(block);
    await expect.poll(() => first.backoffs()[0]?.state).toBe('acked');
    // A client that does not keep to it gets nothing by it.
    const second = await sendInVain(oid, '2');
    expect(client.backoffs).toHaveLength(1);
    await start(1);
    expect(await asked(2)).toMatchObject({ op: BACKOFF_OP.UNBLOCK, id: block.id, pg: block.pg });
    await expect.poll(() => [...first.pgStates().values()].join()).not.toContain('peer');
    for (const [again, text] of [
      [tid, '1'],
      [second, '2'],
    ] as const) {
      await client.operate({ oid, ops: [appendOp(data(text))], tid: again, retryAttempt: 1 });
    }
    const { data: found } = await client.operate({ oid, ops: [readOp(0, 0)] });
    expect(Buffer.from(found).toString()).toBe('12');
    expect(first.backoffs()).toEqual([]);
  });

  it('executes nothing that was sent before the client knew, even when the PG serves by then', async () => {
    const [oid = ''] = oidsOf(1);
    const tid = await sendInVain(oid, '1');
    const block = await asked(1);
    await start(1);
    await asked(2);
    expect(first.backoffs()[0]?.state).toBe('deleting');
    await expect.poll(() => [...first.pgStates().values()].join()).not.toContain('peer');
    // It is on its way while BLOCK and UNBLOCK are: to be done now it would have overtaken the first.
    const second = await sendInVain(oid, '2');
    client.acknowledge(block);
    await expect.poll(() => first.backoffs()).toEqual([]);
    await client.operate({ oid, ops: [appendOp(data('1'))], tid, retryAttempt: 1 });
    await client.operate({ oid, ops: [appendOp(data('2'))], tid: second, retryAttempt: 1 });
    const { data: found } = await client.operate({ oid, ops: [readOp(0, 0)] });
    expect(Buffer.from(found).toString()).toBe('12');
  });

  it('asks those that waited while it peered, when it turns out that it cannot serve', async () => {
    const [oid = ''] = oidsOf(1);
    await start(1);
    await client.operate({ oid, ops: [appendOp(data('x'))] });
    const second = osds.get(1) as OsdDaemon;
    second.kill();
    osds.delete(1);
    await expect.poll(() => mon.map.isUp(1)).toBe(false);
    await sendInVain(oid, 'y');
    expect(await asked(1)).toMatchObject({ op: BACKOFF_OP.BLOCK });
  });

  it('serves others meanwhile, whatever is sent to the PGs that cannot', async () => {
    const other = await connect(OTHER, 2);
    for (let i = 0; i < 1000; i++) {
      client.send({ oid: `o${i}`, ops: [writeOp(0, data('x'))] }).reply.catch(() => {});
    }
    const { reply } = await other.operate({ oid: 'o', ops: [writeOp(0, data('x'))] });
    expect(reply.result).toBe(0);
    await expect.poll(() => first.throttle.messages).toBe(0);
    expect(client.backoffs).toHaveLength(PGS);
  });

  it('takes no acknowledgement of what it did not ask', async () => {
    const [oid = ''] = oidsOf(1);
    await sendInVain(oid, 'x');
    const block = await asked(1);
    const wrong = { ...block, begin: { ...block.begin, hash: 2 } };
    for (const ack of [
      { ...block, id: 7n },
      { ...block, pg: { ...block.pg, pg: { pool: POOL, seed: 2 } } },
      wrong,
    ]) {
      client.acknowledge(ack);
    }
    await sendInVain(oid, 'x');
    expect(first.backoffs().map(({ state }) => state)).toEqual(['new']);
  });

  it('keeps the requests of a client that cannot be asked', async () => {
    const sent: OutgoingMessage[] = [];
    const old = {
      id: 99,
      peer: {
        ...{ entityType: 8, gid: 5n, addrs: [BLANK_ADDR], caps: 'allow *' },
        features: FEATURES_SUPPORTED & ~FEATURE_RADOS_BACKOFF,
      },
      send: (message: OutgoingMessage) => sent.push(message),
    } as unknown as Connection;
    const session = new OsdSession(first, old);
    session.onReady(old);
    expect(session.backoffs).toBeUndefined();
    // The raw client's own message, taken from the wire's other side.
    const [oid = ''] = oidsOf(1);
    client.tap = (message) => session.onMessage(old, message);
    client.send({ oid, ops: [appendOp(data('x'))] }).reply.catch(() => {});
    client.tap = undefined;
    await expect
      .poll(() => first.tracker.inFlight().map(({ block }) => block?.type))
      .toEqual(['pg_active']);
    expect(sent.filter(({ type }) => type === 61)).toEqual([]);
    await start(1);
    await expect.poll(() => sent.map(({ type }) => type)).toContain(43);
    session.onClose();
  });
});

it('a session is asked to wait with so many ranges, and what else there is waits at the OSD', () => {
  const sent: OutgoingMessage[] = [];
  const session = {
    ...{ name: { type: 8, num: 1n }, addr: BLANK_ADDR, closed: false },
    send: (message: OutgoingMessage) => sent.push(message),
  } as unknown as ClientSession;
  const backoffs = new SessionBackoffs({ session, epoch: () => 1, log: () => undefined });
  const blocker = new Blocker('missing');
  const place = { key: '', oid: 'o', snap: NOSNAP, hash: 1, max: 0, nspace: '', pool: 1n };
  const one = { begin: place, end: place };
  for (let i = 0; i < SESSION_BACKOFFS_MAX; i++) {
    expect(backoffs.block({ pool: 1, seed: 1 }, one, blocker)).toBe(true);
  }
  expect(backoffs.block({ pool: 1, seed: 1 }, one, blocker)).toBe(false);
  expect(sent).toHaveLength(SESSION_BACKOFFS_MAX);
  backoffs.clear();
  expect(blocker.size).toBe(0);
});

interface Dump {
  readonly backoffs: {
    pgid: string;
    begin: string;
    end: string;
    state: string;
    waits_for: string;
  }[];
  readonly num_backoffs: number;
}

describe('a cluster whose OSDs are not all there', () => {
  const cleanups: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });

  const begin = async (settings: ClusterSettingsInput) => {
    const pools = [{ name: 'rbd', pgNum: PGS }];
    const cluster = await EmbeddedCluster.start({ inThread: true, pools, ...settings });
    const { client } = await connectRados(nodeEnvironment(), loadKernels(), cluster.connectOptions);
    cleanups.push(async () => {
      client.close();
      await cluster.stop();
    });
    const dump = (osd: number) => cluster.daemon(`osd.${osd}`, 'dump_backoffs') as Promise<Dump>;
    const inFlight = async (osd: number) =>
      ((await cluster.daemon(`osd.${osd}`, 'dump_ops_in_flight')) as { num_ops: number }).num_ops;
    const active = () =>
      expect
        .poll(async () => Object.keys((await cluster.status()).pgs).join(), { timeout: 10_000 })
        .toMatch(/^(active[^,]*,?)+$/);
    return { cluster, io: await client.ioctx('rbd'), dump, inFlight, active };
  };

  it.each(['object', 'object-rw', 'seed'] as const)(
    'leaves what is to be done to an object that nobody has to its clients, in mode %s, and does it in order',
    async (mode) => {
      const { cluster, io, dump, inFlight, active } = await begin({
        ...{ osds: 2, size: 2, pipeline: { mode } },
      });
      const names = Array.from({ length: 8 }, (_, i) => `o${i}`);
      const writeAll = (text: string) =>
        Promise.all(
          names.map((name) => io.operate(name, [writeFullOp(data(text))], { timeoutMs: 0 })),
        );
      await writeAll('old');
      await cluster.killOsd(1);
      await writeAll('new');
      const flags = await cluster.faults.setFlags('norecover');
      await cluster.startOsd(1);
      await active();
      await cluster.killOsd(0);
      const options = { timeoutMs: 0 };
      const reads: Promise<unknown>[] = [];
      for (const name of names) {
        reads.push(io.operate(name, [appendOp(data('1'))], options));
        reads.push(io.operate(name, [appendOp(data('2'))], options));
        reads.push(io.operate(name, [statOp()], options));
      }
      await expect.poll(async () => (await dump(1)).num_backoffs).toBe(names.length);
      const { backoffs } = await dump(1);
      expect(new Set(backoffs.map(({ waits_for }) => waits_for))).toEqual(
        new Set(['missing (unfound)']),
      );
      for (const { begin: from, end } of backoffs) expect(from).toBe(end);
      await expect.poll(() => inFlight(1)).toBe(0);
      // What can be done is.
      await io.operate('another', [writeFullOp(data('x'))], options);
      await cluster.startOsd(0);
      await flags.stop();
      await Promise.all(reads);
      for (const name of names) {
        expect(Buffer.from(await io.read(name, 0, 0, options)).toString()).toBe('new12');
      }
      await expect
        .poll(async () => (await dump(0)).num_backoffs + (await dump(1)).num_backoffs)
        .toBe(0);
    },
  );

  it('asks clients of a PG that is down to wait with it, and no longer than that', async () => {
    const { cluster, io, dump, inFlight, active } = await begin({ osds: 2, size: 2 });
    const options = { timeoutMs: 0 };
    await io.operate('o', [writeFullOp(data('old'))], options);
    await cluster.killOsd(1);
    await io.operate('o', [writeFullOp(data('new'))], options);
    await cluster.killOsd(0);
    await cluster.startOsd(1);
    const read = io.read('o', 0, 0, options);
    await expect.poll(async () => (await dump(1)).backoffs[0]?.waits_for).toBe('pg_active (down)');
    await expect.poll(() => inFlight(1)).toBe(0);
    await cluster.startOsd(0);
    expect(Buffer.from(await read).toString()).toBe('new');
    await active();
    await expect
      .poll(async () => (await dump(0)).num_backoffs + (await dump(1)).num_backoffs)
      .toBe(0);
  });
});
