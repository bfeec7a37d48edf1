// How an OSD takes requests: maps, resends, fences, caps, and what a hostile client sends.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OsdDaemon } from '../../../src/cluster/osd-daemon.js';
import { OsdCaps, NEEDS } from '../../../src/cluster/osd/osd-caps.js';
import { MemoryStore } from '../../../src/cluster/store/memory-store.js';
import { ERRNO } from '../../../src/base/errors.js';
import { ADDR_TYPE, type EntityAddr, msgr2Addr } from '../../../src/encoding/entity.js';
import { encode } from '../../../src/encoding/encoder.js';
import {
  appendOp,
  callOp,
  createOp,
  deleteOp,
  OP,
  readOp,
  statOp,
  WATCH_OP,
  writeOp,
} from '../../../src/messages/osd-op.js';
import { OSD_FLAG } from '../../../src/messages/osd-messages.js';
import { blocklistKey } from '../../../src/osdmap/collections.js';
import { objectHash } from '../../../src/osdmap/object-hash.js';
import { OBJECT_HASH, POOL_FLAG } from '../../../src/osdmap/pool.js';
import './support/pipeline-rules.js';
import { FakeMon } from './support/fake-mon.js';
import { RawClient, type RawTarget, testMessenger } from './support/raw-client.js';

const POOL = 1;
const NONCE = 4711;

let mon: FakeMon;
let osds: Map<number, OsdDaemon>;
let clients: RawClient[];

async function startOsd(id: number, objectStore = new MemoryStore()): Promise<OsdDaemon> {
  const osd = await OsdDaemon.start({
    ...testMessenger(),
    id,
    host: '127.0.0.1',
    mon,
    peers: { osd: (peer) => osds.get(peer)?.peer },
    onReachable: (reachable) => osds.set(id, reachable),
    objectStore,
    heartbeatMs: 50,
  });
  return osd;
}

function target(osd: OsdDaemon, epoch = mon.map.epoch): RawTarget {
  return { addr: msgr2Addr(osd.addrs) as EntityAddr, pool: POOL, pgNum: 4, epoch };
}

async function connect(to: RawTarget, globalId = 900n, nonce = NONCE): Promise<RawClient> {
  const client = await RawClient.connect(to, { globalId, nonce });
  clients.push(client);
  return client;
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const data = (text: string) => Buffer.from(text);

describe('one OSD', () => {
  let osd: OsdDaemon;
  let client: RawClient;

  beforeEach(async () => {
    osds = new Map();
    clients = [];
    mon = new FakeMon({
      crc32c: testMessenger().crc32c,
      osds: 1,
      pools: [{ id: POOL, name: 'p', pgNum: 4 }],
    });
    osd = await startOsd(0);
    client = await connect(target(osd));
  });

  afterEach(async () => {
    for (const each of clients) each.close();
    await osd.stop();
  });

  it('answers the requests of one object in the order they came', async () => {
    const replies = Array.from(
      { length: 50 },
      (_, i) =>
        client.send({
          oid: 'o',
          ops: [i % 5 === 4 ? readOp(0, 0) : appendOp(data(String(i % 10)))],
        }).reply,
    );
    const reads = (await Promise.all(replies)).filter((_, i) => i % 5 === 4);
    expect(reads.map(({ reply }) => reply.ops[0]?.outdata.length)).toEqual(
      reads.map((_, i) => 4 * (i + 1)),
    );
  });

  it('executes a resent write once, over a new connection too, and answers the same', async () => {
    const first = await client.operate({ oid: 'o', ops: [appendOp(data('x'))], tid: 7 });
    const again = await client.operate({
      oid: 'o',
      ops: [appendOp(data('x'))],
      tid: 7,
      flags: OSD_FLAG.RETRY,
      retryAttempt: 1,
    });
    expect(again.reply).toMatchObject({
      result: 0,
      userVersion: first.reply.userVersion,
      replayVersion: first.reply.replayVersion,
      retryAttempt: 1,
      flags: OSD_FLAG.ONDISK | OSD_FLAG.WRITE | OSD_FLAG.RETRY | OSD_FLAG.KNOWN_REDIR,
    });
    client.close();
    const reconnected = await connect(target(osd));
    await reconnected.operate({ oid: 'o', ops: [appendOp(data('x'))], tid: 7, retryAttempt: 2 });
    const { reply } = await reconnected.operate({ oid: 'o', ops: [readOp(0, 0)] });
    expect(Buffer.from(reply.ops[0]?.outdata ?? []).toString()).toBe('x');
  });

  it('remembers that a write failed, even when it would succeed now', async () => {
    await client.operate({ oid: 'o', ops: [createOp(true)] });
    const failed = await client.operate({ oid: 'o', ops: [createOp(true)], tid: 50 });
    expect(failed.reply.result).toBe(-ERRNO.EEXIST);
    await client.operate({ oid: 'o', ops: [{ ...statOp(), code: OP.DELETE }] });
    const again = await client.operate({
      oid: 'o',
      ops: [createOp(true)],
      tid: 50,
      retryAttempt: 1,
    });
    expect(again.reply.result).toBe(-ERRNO.EEXIST);
  });

  it('does not take the tid of another client for a resend', async () => {
    const other = await connect(target(osd), 901n, 5);
    await client.operate({ oid: 'o', ops: [appendOp(data('a'))], tid: 9 });
    await other.operate({ oid: 'o', ops: [appendOp(data('b'))], tid: 9 });
    const { reply } = await client.operate({ oid: 'o', ops: [readOp(0, 0)] });
    expect(Buffer.from(reply.ops[0]?.outdata ?? []).toString()).toBe('ab');
  });

  it('keeps requests with a newer map, and those behind them, until it has the map', async () => {
    const early = await connect(target(osd, mon.map.epoch + 1), 902n, 6);
    let answered = false;
    const reply = early.send({ oid: 'o', ops: [writeOp(0, data('later'))] }).reply.then(() => {
      answered = true;
    });
    await sleep(100);
    expect(answered).toBe(false);
    mon.change(() => {});
    await reply;
    expect(answered).toBe(true);
  });

  it('sends newer maps to a client that shows an older epoch', async () => {
    const before = mon.map.epoch;
    mon.change(() => {});
    mon.change(() => {});
    const old = await connect(target(osd, before), 903n, 8);
    await old.operate({ oid: 'o', ops: [writeOp(0, data('x'))] });
    expect(old.maps).toBe(1);
    await old.operate({ oid: 'o', ops: [statOp()] });
    expect(old.maps).toBe(1);
  });

  it('drops requests for PGs and pools that do not exist, and goes on', async () => {
    const lost = await connect({ ...target(osd), pool: 77 }, 904n, 9);
    await expect(lost.operate({ oid: 'o', ops: [statOp()] }, 200)).rejects.toThrow('no reply');
    const wrong = await connect({ ...target(osd), pgNum: 64 }, 905n, 10);
    const misplaced = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((oid) =>
      wrong.operate({ oid, ops: [writeOp(0, data('x'))] }, 300).then(
        () => 'answered',
        () => 'dropped',
      ),
    );
    expect(await Promise.all(misplaced)).toContain('dropped');
    expect((await client.operate({ oid: 'o', ops: [writeOp(0, data('x'))] })).reply.result).toBe(0);
  });

  it('refuses a fenced client, removes its watches, and serves it again afterwards', async () => {
    const watch = (op: number) => ({
      code: OP.WATCH,
      flags: 0,
      arg: { kind: 'watch' as const, cookie: 3n, version: 0n, op, gen: 0, timeout: 0 },
      indata: new Uint8Array(0),
    });
    await client.operate({ oid: 'o', ops: [createOp(true)] });
    expect((await client.operate({ oid: 'o', ops: [watch(WATCH_OP.WATCH)] })).reply.result).toBe(0);
    const addr = { type: ADDR_TYPE.ANY, nonce: NONCE, host: '127.0.0.1', port: 0 };
    mon.change((fields) => {
      const until = { sec: 4_000_000_000, nsec: 0 };
      fields.blocklist = new Map([[blocklistKey(addr), { addr, until }]]);
    });
    await expect.poll(() => client.notifies).toHaveLength(1);
    const read = await client.operate({ oid: 'o', ops: [readOp(0, 0)] });
    const write = await client.operate({ oid: 'o', ops: [writeOp(0, data('x'))] });
    expect([read.reply.result, write.reply.result]).toEqual([
      -ERRNO.EBLOCKLISTED,
      -ERRNO.EBLOCKLISTED,
    ]);
    mon.change((fields) => {
      fields.blocklist = new Map();
    });
    const after = await client.operate({
      oid: 'o',
      ops: [{ ...statOp(), code: OP.LIST_WATCHERS }],
    });
    expect(after.reply.result).toBe(0);
    expect(Buffer.from(after.reply.ops[0]?.outdata ?? []).readUInt32LE(6)).toBe(0);
  });

  it('removes a deleted snapshot from every object, and refuses to read it at once', async () => {
    const context = { snapContext: { seq: 5n, snaps: [5n] } };
    await client.operate({ oid: 'o', ops: [writeOp(0, data('old'))] });
    await client.operate({ oid: 'o', ops: [writeOp(0, data('new'))], ...context });
    const at5 = { oid: 'o', ops: [readOp(0, 0)], snapid: 5n };
    expect(Buffer.from((await client.operate(at5)).reply.ops[0]?.outdata ?? []).toString()).toBe(
      'old',
    );
    mon.removeSnap(POOL, 5n);
    expect((await client.operate(at5)).reply.result).toBe(-ERRNO.ENOENT);
    const versions = async () => {
      const snaps = await client.operate({
        oid: 'o',
        ops: [{ ...statOp(), code: OP.LIST_SNAPS }],
        snapid: 0xffff_ffff_ffff_ffffn,
      });
      return Buffer.from(snaps.reply.ops[0]?.outdata ?? []).readUInt32LE(6);
    };
    // The head is left.
    await expect.poll(versions).toBe(1);
  });

  it('leaves nothing of a deleted object for a snapshot that is removed', async () => {
    mon.removeSnap(POOL, 5n);
    await sleep(50);
    await client.operate({ oid: 'o', ops: [writeOp(0, data('x'))] });
    const snapContext = { seq: 5n, snaps: [5n] };
    await client.operate({ oid: 'o', ops: [deleteOp()], snapContext });
    const left = osd.store.collections().flatMap((pg) => osd.store.list(pg, undefined, 100));
    expect(left).toEqual([]);
  });

  it('answers ENOSPC or EDQUOT to a full pool when asked to try, and nothing otherwise', async () => {
    await client.operate({ oid: 'o', ops: [writeOp(0, data('x'))] });
    const setFlags = (flags: number) =>
      mon.change((fields) => {
        const pool = fields.pools.get(POOL);
        if (pool) fields.pools = new Map([[POOL, { ...pool, flags: pool.flags | flags }]]);
      });
    setFlags(POOL_FLAG.FULL);
    const more = { oid: 'o', ops: [writeOp(0, data('longer'))] };
    await expect(client.operate(more, 200)).rejects.toThrow('no reply');
    const tried = await client.operate({ ...more, flags: OSD_FLAG.FULL_TRY });
    expect(tried.reply.result).toBe(-ERRNO.ENOSPC);
    const same = await client.operate({ oid: 'o', ops: [writeOp(0, data('y'))] });
    expect(same.reply.result).toBe(0);
    setFlags(POOL_FLAG.FULL_QUOTA);
    const quota = await client.operate({ ...more, flags: OSD_FLAG.FULL_TRY });
    expect(quota.reply.result).toBe(-ERRNO.EDQUOT);
  });

  it('closes the connection of a client that claims more data than it sent, and serves others', async () => {
    const liar = await connect(target(osd), 906n, 11);
    const { reply } = liar.send({
      oid: 'o',
      // The length on the wire is that of the data; the buffer handed over for sending is shorter.
      ops: [lyingOp()],
    });
    await expect(reply).rejects.toThrow();
    expect(liar.closed).toBe(true);
    expect((await client.operate({ oid: 'p', ops: [writeOp(0, data('x'))] })).reply.result).toBe(0);
  });

  it('takes a locator key that is the name itself for none', async () => {
    await client.operate({ oid: 'a', ops: [writeOp(0, data('one'))] });
    await client.operate({ oid: 'a', key: 'a', ops: [writeOp(0, data('two'))] });
    const { reply } = await client.operate({ oid: 'a', ops: [readOp(0, 10)] });
    expect(Buffer.from(reply.ops[0]?.outdata ?? []).toString()).toBe('two');
  });

  it('refuses an object whose hash is not that of its name', async () => {
    const seed = objectHash(OBJECT_HASH.RJENKINS, { oid: 'a' });
    const ops = [writeOp(0, data('x'))];
    // The PG is the right one, so only the name tells.
    const { reply } = await client.operate({ oid: 'a', hash: (seed ^ 0x8000_0000) >>> 0, ops });
    expect(reply.result).toBe(-ERRNO.EINVAL);
    expect((await client.operate({ oid: 'a', ops })).reply.result).toBe(0);
  });

  it('does not take an object to pieces of a byte', async () => {
    const comb = Buffer.alloc(4 << 20).map((_, i) => i & 1);
    await client.operate({ oid: 'o', ops: [writeOp(0, comb)] });
    const input = encode((e) => e.u64(1n).bool(true));
    const { reply } = await client.operate({ oid: 'o', ops: [callOp('rbd', 'sparsify', input)] });
    expect(reply.result).toBe(0);
    const map = { ...readOp(0, comb.length), code: OP.MAPEXT };
    const { data: extents } = await client.operate({ oid: 'o', ops: [map] });
    expect(Buffer.from(extents).readUInt32LE(0)).toBe(1);
  });

  it('answers what would end a real OSD: zero and writesame of nothing, lying class lengths', async () => {
    const zero = {
      code: OP.ZERO,
      flags: 0,
      arg: { kind: 'extent' as const, offset: 0, length: 0, truncateSize: 0, truncateSeq: 0 },
      indata: data(''),
    };
    await client.operate({ oid: 'o', ops: [writeOp(0, data('abc'))] });
    const answers = [
      await client.operate({ oid: 'o', ops: [zero] }),
      await client.operate({
        oid: 'o',
        ops: [
          {
            code: OP.CALL,
            flags: 0,
            arg: { kind: 'cls', classLength: 200, methodLength: 9, indataLength: 5 },
            indata: data('rbd'),
          },
        ],
      }),
      await client.operate({
        oid: 'o',
        ops: [
          {
            code: OP.GETXATTR,
            flags: 0,
            arg: { kind: 'xattr', nameLength: 99, valueLength: 0, cmpOp: 0, cmpMode: 0 },
            indata: data('n'),
          },
        ],
      }),
      await client.operate({
        oid: 'o',
        ops: [
          {
            code: OP.TRUNCATE,
            flags: 0,
            arg: { kind: 'extent', offset: 1, length: 0, truncateSize: 2, truncateSeq: 3 },
            indata: data(''),
          },
        ],
      }),
    ];
    expect(answers.map(({ reply }) => reply.result)).toEqual(answers.map(() => -ERRNO.EINVAL));
  });
});

/** An operation whose declared payload is longer than what is sent. */
function lyingOp() {
  let asked = 0;
  const op = writeOp(0, data('abcdef'));
  return {
    ...op,
    // encodeOsdOp reads it for the length; the data segment is built from the second reading.
    get indata() {
      return asked++ === 0 ? data('abcdef') : data('abc');
    },
  };
}

describe('two OSDs', () => {
  beforeEach(() => {
    osds = new Map();
    clients = [];
    mon = new FakeMon({
      crc32c: testMessenger().crc32c,
      osds: 2,
      pools: [{ id: POOL, name: 'p', pgNum: 4, size: 2, minSize: 2 }],
    });
  });

  afterEach(async () => {
    for (const client of clients) client.close();
    for (const osd of osds.values()) await osd.stop();
  });

  it('hold requests while fewer copies are up than min_size asks for', async () => {
    const first = await startOsd(0);
    const client = await connect(target(first));
    const { reply } = client.send({ oid: 'o', ops: [writeOp(0, data('x'))] });
    let answered = false;
    void reply.then(
      () => {
        answered = true;
      },
      () => {},
    );
    await sleep(150);
    expect(answered).toBe(false);
    expect([...first.pgStates().values()]).toContain('undersized+peered');
  });

  it('give a change to every copy before they answer', async () => {
    const stores = [new MemoryStore(), new MemoryStore()];
    for (const [id, store] of stores.entries()) await startOsd(id, store);
    const oids = Array.from({ length: 12 }, (_, i) => `object ${i}`);
    for (const osd of osds.values()) {
      const client = await connect(target(osd), BigInt(1000 + osd.whoami), 20 + osd.whoami);
      for (const oid of oids) {
        await client.operate({ oid, ops: [writeOp(0, data(oid))] }, 300).catch(() => {});
      }
    }
    const contents = stores.map((store) =>
      store
        .collections()
        .sort()
        .flatMap((pg) =>
          store.list(pg, undefined, 100).map((id) => [pg, id.oid, store.get(pg, id)?.size]),
        ),
    );
    expect(contents[0]).toHaveLength(oids.length);
    expect(contents[1]).toEqual(contents[0]);
  });

  it('report a dead one, once it is really gone', async () => {
    await startOsd(0);
    const second = await startOsd(1);
    second.kill();
    osds.delete(1);
    await expect.poll(() => mon.failures).toContainEqual({ osd: 1, reporter: 0 });
    await expect.poll(() => mon.map.isUp(1)).toBe(false);
  });

  it('boot again when a map has them down although they are there', async () => {
    await startOsd(0);
    await startOsd(1);
    mon.markDown(1);
    await expect.poll(() => mon.map.isUp(1)).toBe(true);
  });
});

describe('caps', () => {
  const applications = new Map([['rbd', new Map([['key', 'value']])]]);
  const host = '10.0.0.1';
  const target = { poolName: 'rbd', nspace: '', oid: 'rbd_data.1', applications, host };
  const { CLASS_READ, CLASS_WRITE } = NEEDS;
  const all = NEEDS.READ | NEEDS.WRITE | NEEDS.CLASS_READ | NEEDS.CLASS_WRITE;

  it.each([
    ['allow *', target, all, true],
    ['', target, NEEDS.READ, false],
    ['allow r', target, NEEDS.READ, true],
    ['allow r', target, NEEDS.WRITE, false],
    ['allow rw', target, NEEDS.CLASS_READ, false],
    ['allow rwx pool=rbd', target, all, true],
    ['allow rwx pool rbd', target, all, true],
    ['allow rwx pool=other', target, NEEDS.READ, false],
    // One grant must do for all of it.
    ['allow r, allow w pool=rbd', target, NEEDS.READ | NEEDS.WRITE, false],
    ['allow r tag rbd key=value', target, NEEDS.READ, true],
    ['allow r tag rbd *=*', target, NEEDS.READ, true],
    ['allow r tag rbd key=other', target, NEEDS.READ, false],
    ['allow r tag cephfs *=*', target, NEEDS.READ, false],
    ['allow class lock', target, CLASS_READ | CLASS_WRITE, true],
    ['allow class lock get_info', target, CLASS_READ, false],
    ['allow class rbd', target, CLASS_READ, false],
    ['allow r network 10.0.0.0/8', target, NEEDS.READ, true],
    ['allow r network 10.0.1.0/24', target, NEEDS.READ, false],
    ['allow r network fd00::/8', target, NEEDS.READ, false],
    ['allow rwx namespace=a', target, NEEDS.READ, false],
    ['allow rwx namespace=a', { ...target, nspace: 'a' }, all, true],
    ['allow rwx object_prefix rbd_data.', target, all, true],
    ['allow rwx object_prefix rbd_header.', target, NEEDS.READ, false],
    ['allow class-read', target, NEEDS.CLASS_READ, true],
    ['profile rbd', target, all, true],
    ['profile rbd pool=rbd', target, all, true],
    ['profile rbd pool=other', target, NEEDS.READ, false],
    ['profile rbd-read-only', target, NEEDS.READ | NEEDS.CLASS_READ, true],
    ['profile rbd-read-only', target, NEEDS.WRITE, false],
    ['nonsense', target, NEEDS.READ, false],
  ])('%s', (text, of, needs, allowed) => {
    const ofClass = needs & (CLASS_READ | CLASS_WRITE);
    const calls = ofClass ? [{ className: 'lock', method: 'lock', needs: ofClass }] : [];
    expect(OsdCaps.parse(text).allows(of, needs & ~ofClass, calls)).toBe(allowed);
  });
});
