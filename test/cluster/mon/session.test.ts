// A client's session with the monitor, message by message, over the messenger.

import { describe, expect, it } from 'vitest';
import { CephxClient } from '../../../src/auth/cephx-client.js';
import { CON_MODE } from '../../../src/auth/method.js';
import type { Monitor } from '../../../src/cluster/mon/monitor.js';
import { type Codec, decodeAll, encodeWith } from '../../../src/encoding/codec.js';
import { ENTITY_TYPE, type EntityAddr, parseAuthEntity } from '../../../src/encoding/entity.js';
import {
  authMessage,
  authReply,
  configMessage,
  mgrMapHead,
  monCommand,
  monCommandAck,
  monGetVersion,
  monGetVersionReply,
  monMap,
  monMapMessage,
  monSubscribe,
  NO_PAXOS,
  osdMapMessage,
  POOL_OP,
  poolOp,
  poolOpReply,
  SUBSCRIBE_ONETIME,
  statfs,
  statfsReply,
} from '../../../src/messages/mon-messages.js';
import { MSG, outgoing } from '../../../src/messages/types.js';
import { Connection } from '../../../src/msgr/connection.js';
import { WindowPool } from '../../../src/msgr/window-pool.js';
import { loadKernels } from '../../../src/kernels/load.js';
import { VirtualWorld } from '../../../src/sim/virtual-world.js';
import { crc32c, FSID, run, startCluster } from './support.js';

interface Received {
  type: number;
  tid: number;
  version: number;
  front: Uint8Array;
  data: Uint8Array;
}

const windows = new WindowPool(loadKernels(), 0);

/** A raw client: sends what it is told, and keeps what comes. */
class TestClient {
  readonly received: Received[] = [];
  readonly auth: CephxClient;
  closed = false;
  connection!: Connection;
  #tid = 0;

  private constructor(
    readonly world: VirtualWorld,
    auth: CephxClient,
  ) {
    this.auth = auth;
  }

  static async connect(world: VirtualWorld, monitor: Monitor, name = 'client.admin') {
    const record = monitor.state.auth.get(name);
    if (!record) throw new Error(`no ${name}`);
    const client = new TestClient(
      world,
      new CephxClient(world.env, { entity: parseAuthEntity(name), key: record.key }),
    );
    const target = monitor.monMap.monInfo.get('a')?.publicAddrs[0] as EntityAddr;
    await world.until(
      new Promise<void>((resolve, reject) => {
        client.connection = Connection.connect({
          env: world.env,
          crc32c,
          windows,
          name: 'mon.a',
          target,
          expectedType: ENTITY_TYPE.MON,
          auth: [() => client.auth.monAuth()],
          modes: [CON_MODE.CRC],
          gid: () => client.auth.globalId,
          nonce: 1,
          globalSeq: 1n,
          timeoutMs: 10_000,
          handler: {
            onReady: () => resolve(),
            onMessage: (_, { type, tid, version, front, data }) =>
              client.received.push({ type, tid, version, front: front.slice(), data }),
            onClose: (_, error) => {
              client.closed = true;
              reject(error ?? new Error('closed'));
            },
          },
        });
      }),
    );
    return client;
  }

  /** Sends a message, and returns what has come in answer when all is quiet. */
  async ask(type: number, front: Uint8Array, version = 1): Promise<Received[]> {
    this.received.length = 0;
    this.connection.send(outgoing(type, front, { tid: ++this.#tid, version }));
    await this.world.advance(100);
    return [...this.received];
  }

  subscribe(what: Record<string, { start: number; once?: boolean }>): Promise<Received[]> {
    const items = Object.entries(what).map(
      ([name, { start, once }]) => [name, { start, flags: once ? SUBSCRIBE_ONETIME : 0 }] as const,
    );
    const front = encodeWith(monSubscribe, { what: new Map(items), hostname: 'test' });
    return this.ask(MSG.MON_SUBSCRIBE, front, 3);
  }

  async command(command: Record<string, unknown>) {
    const cmd = [JSON.stringify(command)];
    const front = encodeWith(monCommand, { paxos: NO_PAXOS, fsid: FSID, cmd });
    const answers = await this.ask(MSG.MON_COMMAND, front);
    const answer = answers.find(({ type }) => type === MSG.MON_COMMAND_ACK);
    return { ...read(monCommandAck, answer), out: Buffer.from(answer?.data ?? []).toString() };
  }

  async poolOp(op: number, snapid = 0n) {
    const front = encodeWith(poolOp, {
      paxos: NO_PAXOS,
      fsid: FSID,
      pool: 1,
      op,
      auid: 0n,
      snapid,
      name: '',
      pad: 0,
      crushRule: -1,
    });
    const answers = await this.ask(MSG.POOLOP, front, 4);
    return read(
      poolOpReply,
      answers.find(({ type }) => type === MSG.POOLOP_REPLY),
    );
  }
}

function read<T>(codec: Codec<T>, message: Received | undefined): T {
  if (!message) throw new Error('no message came');
  return decodeAll('front', codec, message.front);
}

const types = (messages: readonly Received[]) => messages.map(({ type }) => type);
const epochsOf = (message: Received | undefined) => {
  const { maps, incrementalMaps } = read(osdMapMessage, message);
  return { full: [...maps.keys()], incrementals: [...incrementalMaps.keys()] };
};

async function start(options: Parameters<typeof startCluster>[1] = {}) {
  const world = new VirtualWorld();
  const monitor = await startCluster(world, options);
  monitor.createPool({ name: 'rbd' });
  return { world, monitor };
}

describe('a session', () => {
  it('brings the configuration of the client when it changes for it, and not otherwise', async () => {
    const world = new VirtualWorld();
    const monitor = await startCluster(world);
    const client = await TestClient.connect(world, monitor);
    await client.subscribe({ config: { start: 0 } });
    const set = async (who: string, name: string, value: string) => {
      client.received.length = 0;
      expect(run(monitor, { prefix: 'config set', who, name, value }).r).toBe(0);
      await world.advance(100);
      return client.received.map((message) =>
        Object.fromEntries(read(configMessage, message).config),
      );
    };
    expect(await set('client', 'rbd_cache_size', '32M')).toEqual([{ rbd_cache_size: '33554432' }]);
    expect(await set('osd', 'osd_max_backfills', '3')).toEqual([]);
    expect(await set('client.other', 'rbd_cache_size', '1M')).toEqual([]);
    expect(await set('client.admin', 'rbd_cache_size', '1M')).toEqual([
      { rbd_cache_size: '1048576' },
    ]);
    // `test` is where the client says that it runs, and no host of the CRUSH map.
    expect(await set('client/host:test', 'rbd_cache', 'false')).toEqual([]);
    run(monitor, { prefix: 'config reset', num: 1 });
    await world.advance(100);
    expect(read(configMessage, client.received.at(-1)).config.size).toBe(0);
  });

  it('begins with the monitor map, an empty configuration and a manager map without manager', async () => {
    const { world, monitor } = await start();
    const client = await TestClient.connect(world, monitor);
    const [map] = await client.ask(MSG.MON_GET_MAP, new Uint8Array());
    const { monmap } = read(monMapMessage, map);
    expect(decodeAll('MonMap', monMap, monmap)).toMatchObject({
      fsid: FSID,
      epoch: 1,
      ranks: ['a'],
    });
    const answers = await client.subscribe({
      config: { start: 0 },
      monmap: { start: 0 },
      mgrmap: { start: 0 },
      'kv:anything': { start: 0 },
    });
    expect(types(answers)).toEqual([MSG.CONFIG, MSG.MON_MAP, MSG.MGR_MAP]);
    expect(read(configMessage, answers[0]).config.size).toBe(0);
    expect(read(mgrMapHead, answers[2])).toMatchObject({ available: 0, activeName: '' });
  });

  it('is told of the monitor map’s next epoch only when there is one', async () => {
    const { world, monitor } = await start();
    const client = await TestClient.connect(world, monitor);
    expect(await client.subscribe({ monmap: { start: 2 }, config: { start: 2 } })).toEqual([]);
  });

  it('that subscribed gets a full OSD map and then every change', async () => {
    const { world, monitor } = await start();
    const client = await TestClient.connect(world, monitor);
    const [first] = await client.subscribe({ osdmap: { start: 0 } });
    const { epoch } = monitor.state.osdMaps;
    expect(first?.version).toBe(4);
    expect(epochsOf(first)).toEqual({ full: [epoch], incrementals: [] });
    client.received.length = 0;
    run(monitor, { prefix: 'osd set', key: 'noout' });
    run(monitor, { prefix: 'osd unset', key: 'noout' });
    await world.advance(100);
    expect(client.received.map(epochsOf)).toEqual([
      { full: [], incrementals: [epoch + 1] },
      { full: [], incrementals: [epoch + 2] },
    ]);
  });

  it('that subscribed once gets one map: at once, or when it comes', async () => {
    const { world, monitor } = await start();
    const client = await TestClient.connect(world, monitor);
    const { epoch } = monitor.state.osdMaps;
    expect(await client.subscribe({ osdmap: { start: epoch + 1, once: true } })).toEqual([]);
    run(monitor, { prefix: 'osd set', key: 'noout' });
    run(monitor, { prefix: 'osd set', key: 'noin' });
    await world.advance(100);
    expect(client.received.map(epochsOf)).toEqual([{ full: [], incrementals: [epoch + 1] }]);
    const [late] = await client.subscribe({ osdmap: { start: epoch + 1, once: true } });
    expect(epochsOf(late).incrementals).toEqual([epoch + 1, epoch + 2]);
  });

  it('far behind gets 40 incrementals a message: all of them, or the first when it asked once', async () => {
    const { world, monitor } = await start();
    const client = await TestClient.connect(world, monitor);
    const { epoch } = monitor.state.osdMaps;
    for (let i = 0; i < 45; i++) {
      run(monitor, { prefix: i % 2 ? 'osd unset' : 'osd set', key: 'noout' });
    }
    const once = await client.subscribe({ osdmap: { start: epoch + 1, once: true } });
    expect(once.map((message) => epochsOf(message).incrementals.length)).toEqual([40]);
    const all = await client.subscribe({ osdmap: { start: epoch + 1 } });
    expect(all.map((message) => epochsOf(message).incrementals.length)).toEqual([40, 5]);
  });

  it('without the right to read OSD maps gets none', async () => {
    const { world, monitor } = await start();
    monitor.state.auth.set('client.mute', { mon: 'allow service mon r' });
    const client = await TestClient.connect(world, monitor, 'client.mute');
    expect(types(await client.subscribe({ osdmap: { start: 0 }, monmap: { start: 0 } }))).toEqual([
      MSG.MON_MAP,
    ]);
  });

  it('is told the newest and oldest version of a map, and nothing of maps that do not exist', async () => {
    const { world, monitor } = await start();
    const client = await TestClient.connect(world, monitor);
    const ask = (what: string) =>
      client.ask(MSG.MON_GET_VERSION, encodeWith(monGetVersion, { handle: 77, what }));
    const [reply] = await ask('osdmap');
    expect(reply?.tid).toBe(1);
    expect(read(monGetVersionReply, reply)).toEqual({
      handle: 77,
      version: monitor.state.osdMaps.epoch,
      oldestVersion: 1,
    });
    expect(await ask('nosuchmap')).toEqual([]);
    expect(await ask('constructor')).toEqual([]);
  });

  it('runs commands, and sees the map that a command made before its answer', async () => {
    const { world, monitor } = await start();
    const client = await TestClient.connect(world, monitor);
    await client.subscribe({ osdmap: { start: monitor.state.osdMaps.epoch + 1 } });
    const answer = await client.command({ prefix: 'osd pool create', pool: 'new' });
    expect(answer).toMatchObject({ r: 0, rs: "pool 'new' created" });
    expect(answer.paxos.version).toBe(monitor.state.osdMaps.epoch);
    expect(types(client.received)).toEqual([MSG.OSD_MAP, MSG.MON_COMMAND_ACK]);
    expect((await client.command({ prefix: 'osd pool ls' })).out).toBe('rbd\nnew\n');
  });

  it('makes snapshot ids, with the map before the reply', async () => {
    const { world, monitor } = await start();
    const client = await TestClient.connect(world, monitor);
    await client.subscribe({ osdmap: { start: monitor.state.osdMaps.epoch + 1 } });
    const reply = await client.poolOp(POOL_OP.CREATE_UNMANAGED_SNAP);
    expect(types(client.received)).toEqual([MSG.OSD_MAP, MSG.POOLOP_REPLY]);
    expect(reply.epoch).toBe(monitor.state.osdMaps.epoch);
    expect(Buffer.from(reply.data ?? []).readBigUInt64LE()).toBe(2n);
    expect(await client.poolOp(POOL_OP.DELETE_UNMANAGED_SNAP, 2n)).toMatchObject({
      code: 0,
      data: undefined,
    });
  });

  it('makes snapshot ids only for who may write to the pool, and pools only for who may change maps', async () => {
    const { world, monitor } = await start();
    const caps = (osd: string) => ({ mon: 'profile rbd', osd });
    monitor.state.auth.set('client.writer', caps('profile rbd pool=rbd'));
    monitor.state.auth.set('client.reader', caps('profile rbd-read-only'));
    const writer = await TestClient.connect(world, monitor, 'client.writer');
    const reader = await TestClient.connect(world, monitor, 'client.reader');
    expect((await writer.poolOp(POOL_OP.CREATE_UNMANAGED_SNAP)).code).toBe(0);
    expect((await reader.poolOp(POOL_OP.CREATE_UNMANAGED_SNAP)).code).toBe(-1);
    expect((await writer.poolOp(POOL_OP.DELETE)).code).toBe(-1);
    expect(await reader.command({ prefix: 'osd set', key: 'pause' })).toMatchObject({
      r: -13,
      rs: 'access denied',
    });
  });

  it('asks for statistics, of which there are none', async () => {
    const { world, monitor } = await start();
    const client = await TestClient.connect(world, monitor);
    const front = encodeWith(statfs, { paxos: NO_PAXOS, fsid: FSID, dataPool: undefined });
    const [reply] = await client.ask(MSG.STATFS, front, 2);
    expect(read(statfsReply, reply)).toMatchObject({ fsid: FSID, kb: 0, numObjects: 0 });
  });

  it('renews tickets', async () => {
    const { world, monitor } = await start({ ticketTtlMs: { service: 60_000 } });
    const client = await TestClient.connect(world, monitor);
    await world.advance(50_000);
    expect(client.auth.renewalDue(world.env.clock.now())).toBe(true);
    const front = encodeWith(authMessage, {
      paxos: NO_PAXOS,
      protocol: client.auth.method,
      payload: client.auth.buildRenewal(),
      monmapEpoch: 1,
    });
    const [reply] = await client.ask(MSG.AUTH, front);
    const { result, payload } = read(authReply, reply);
    expect(result).toBe(0);
    client.auth.onRenewalReply(result, payload);
    expect(client.auth.renewalDue(world.env.clock.now())).toBe(false);
  });

  it('with an unknown message goes on', async () => {
    const { world, monitor } = await start();
    const client = await TestClient.connect(world, monitor);
    expect(await client.ask(MSG.LOG, new Uint8Array(3))).toEqual([]);
    expect(await client.ask(0x7777, new Uint8Array(3))).toEqual([]);
    expect(client.closed).toBe(false);
  });

  it.each([
    ['MON_SUBSCRIBE', MSG.MON_SUBSCRIBE],
    ['MON_COMMAND', MSG.MON_COMMAND],
    ['MON_GET_VERSION', MSG.MON_GET_VERSION],
    ['POOLOP', MSG.POOLOP],
    ['AUTH', MSG.AUTH],
    ['STATFS', MSG.STATFS],
  ])('ends, alone, with a %s that does not decode', async (_, type) => {
    const { world, monitor } = await start();
    const client = await TestClient.connect(world, monitor);
    const other = await TestClient.connect(world, monitor);
    // A count that promises more than there is.
    expect(await client.ask(type, Buffer.from('ffffffff0102', 'hex'))).toEqual([]);
    expect(client.closed).toBe(true);
    expect(other.closed).toBe(false);
    expect((await other.command({ prefix: 'fsid' })).out).toBe(`${FSID}\n`);
  });

  it('is over when the monitor stops', async () => {
    const { world, monitor } = await start();
    const client = await TestClient.connect(world, monitor);
    await world.until(monitor.close());
    await world.advance(100);
    expect(client.closed).toBe(true);
  });

  it('is refused to a client with another key, and to one without rights at the monitor', async () => {
    const { world, monitor } = await start();
    monitor.state.auth.set('client.nobody', {});
    await expect(TestClient.connect(world, monitor, 'client.nobody')).rejects.toMatchObject({
      code: 'EACCES',
    });
  });
});
