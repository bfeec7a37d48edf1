// Goal: the exclusive lock goes round among our clients and librbd, on a real cluster and on the embedded one. Whoever
// asks gets it, whoever dies is fenced, and at no time do two of them write.

import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { writeOp } from '../../src/messages/osd-op.js';
import { mutate } from '../../src/rados/class-call.js';
import { LOCK_TYPE, lock as lockCall } from '../../src/rados/cls-lock.js';
import type { RadosClient } from '../../src/rados/rados-client.js';
import type { LockOptions } from '../../src/rbd/lock-host.js';
import { isAlive, readOwner } from '../../src/rbd/lock-owner.js';
import { rejection } from '../support/rejection.js';
import { describeCeph } from './support/ceph-cluster.js';
import { LibrbdClient, LockHolder } from './support/lock-clients.js';
import { sleep } from './support/processes.js';
import { connectTo } from './support/rbd-client.js';
import { SERVERS, type Server, type ServerKind } from './support/servers.js';

/** Three pings of librbd: what waits for a dead client's watch to go waits half as long. */
const WATCH_TIMEOUT_S = 15;

const bytes = (text: string) => new TextEncoder().encode(text);
const stamp = (who: string, block: number, seq: number) => `${who}.${block}.${seq}`.padEnd(512);

for (const server of SERVERS) {
  describeCeph(`the exclusive lock on ${server.name}`, () => exclusiveLock(server));
}

function exclusiveLock(server: ServerKind): void {
  let cluster: Server;
  let name: string;
  let images = 0;
  const clients: RadosClient[] = [];
  const holders: LockHolder[] = [];
  const peers: LibrbdClient[] = [];

  beforeAll(async () => {
    cluster = await server.start({
      osds: 2,
      pools: [{ name: 'rbd' }],
      watchTimeoutS: WATCH_TIMEOUT_S,
    });
  });
  afterAll(() => cluster?.stop());
  beforeEach(async () => {
    name = `image${++images}`;
    await cluster.rbd('create', '--size', '8M', '--image-feature', 'exclusive-lock', name);
  });
  afterEach(async () => {
    await Promise.all(holders.splice(0).map((holder) => holder.close()));
    for (const peer of peers.splice(0)) peer.kill();
    for (const client of clients.splice(0)) client.close();
  });

  const connect = async () => {
    const client = await connectTo(cluster);
    clients.push(client);
    return client;
  };
  const ours = async (options: LockOptions = {}) => {
    const holder = await LockHolder.open(await connect(), name, options);
    holders.push(holder);
    return holder;
  };
  const librbd = async () => {
    const peer = await LibrbdClient.open(cluster.confPath, name);
    peers.push(peer);
    return peer;
  };
  const lockers = async () =>
    JSON.parse(await cluster.rbd('lock', 'ls', name, '--format', 'json')) as {
      id: string;
      locker: string;
      address: string;
    }[];
  const blocklisted = async () => cluster.ceph('osd', 'blocklist', 'ls');

  it('is shown by rbd as ours, and is gone after closing', async () => {
    const a = await ours();
    await a.write(0, bytes('a'));
    expect(await lockers()).toEqual([
      {
        id: `auto ${a.cookie()}`,
        locker: `client.${a.globalId}`,
        address: a.clientAddr,
      },
    ]);
    const owner = await readOwner(a);
    expect(owner).toBeDefined();
    expect(owner && (await isAlive(a, owner))).toBe(true);
    await a.close();
    expect(await lockers()).toEqual([]);
  });

  it('is handed to librbd when it writes, and back when we do', async () => {
    const a = await ours();
    const peer = await librbd();
    await a.write(0, bytes('first'));
    await peer.call('write', 0, 'second');
    expect(await peer.call('owner')).toBe(true);
    expect(a.events).toEqual(['acquired', 'lost: requested']);
    await a.write(0, bytes('third!'));
    expect(await peer.call('owner')).toBe(false);
    expect(a.lock.isOwner).toBe(true);
    expect(await blocklisted()).not.toContain(':0/');
  });

  it('is ours in the first round although librbd never stops writing', async () => {
    const a = await ours();
    const peer = await librbd();
    await peer.call('start', 0, 4);
    for (let round = 1; round <= 10; round++) {
      await expect.poll(() => peer.call('owner')).toBe(true);
      await a.write(4096, bytes(`round ${round}`));
      // Who lost the lock to librbd after it was given away has to be given it again. A request that nobody answers does
      // not count: librbd is between its lock and its announcement.
      expect(a.granted).toBeLessThanOrEqual(round);
    }
    expect(a.lock.status().counters).toMatchObject({ acquired: 10, handedOver: 9 });
    await peer.call('stop');
  });

  it('stays with librbd when that took it by hand: our write fails with EROFS', async () => {
    const a = await ours();
    const peer = await librbd();
    await peer.call('acquire');
    expect(await rejection(a.write(0, bytes('no')))).toMatchObject({ code: 'EROFS', errno: -30 });
    expect(await a.lock.tryAcquire()).toBe(false);
    await peer.call('release');
    await a.write(0, bytes('yes'));
  });

  it('stays with us when we took it by hand: librbd fails with EROFS', async () => {
    const a = await ours({ transitions: 'manual' });
    expect(await rejection(a.write(0, bytes('no')))).toMatchObject({ code: 'EROFS' });
    await a.lock.acquire();
    const peer = await librbd();
    await expect(peer.call('write', 0, 'no')).rejects.toMatchObject({ errno: 30 });
    await a.write(0, bytes('yes'));
    expect(a.lock.status().counters.refused).toBeGreaterThan(0);
    await a.lock.release();
    await peer.call('write', 0, 'now');
  });

  it('follows our watch to a new cookie, under which librbd finds us alive', async () => {
    const a = await ours();
    await a.write(0, bytes('a'));
    const before = a.cookie();
    await a.watch();
    expect(a.cookie()).not.toBe(before);
    await a.lock.reregistered();
    expect(a.lock.state).toBe('locked');
    expect(await lockers()).toMatchObject([{ id: `auto ${a.cookie()}` }]);
    const peer = await librbd();
    await peer.call('write', 0, 'b');
    expect(a.events).toEqual(['acquired', 'lost: requested']);
    expect(await blocklisted()).not.toContain(a.clientAddr);
  });

  it('is taken anew when it was broken behind our back', async () => {
    const a = await ours();
    await a.write(0, bytes('a'));
    const [locker] = await lockers();
    await cluster.rados(
      ...['-p', 'rbd', 'lock', 'break', a.headerOid, 'rbd_lock', locker?.locker ?? ''],
      ...['--lock-cookie', locker?.id ?? ''],
    );
    expect(await lockers()).toEqual([]);
    await a.watch();
    await a.lock.reregistered();
    await a.write(0, bytes('b'));
    expect(a.events).toEqual(['acquired', 'lost: broken', 'acquired']);
    expect(await lockers()).toMatchObject([{ id: `auto ${a.cookie()}` }]);
  });

  it('is not taken from rbd lock add: EBUSY, and nobody is fenced', async () => {
    await cluster.rbd('lock', 'add', name, 'mine');
    const a = await ours();
    const error = await rejection(a.write(0, bytes('no')));
    expect(error).toMatchObject({ code: 'EBUSY' });
    expect(error.message).toContain('external mechanism');
    const [locker] = await lockers();
    expect(locker).toMatchObject({ id: 'mine' });
    await cluster.rbd('lock', 'rm', name, 'mine', locker?.locker ?? '');
    await a.write(0, bytes('yes'));
  });

  it('is taken by rbd lock rm: the fenced client fails with EBLOCKLISTED for good', async () => {
    const a = await ours();
    await a.write(0, bytes('a'));
    const [locker] = await lockers();
    await cluster.rbd('lock', 'rm', name, locker?.id ?? '', locker?.locker ?? '');
    expect(await blocklisted()).toContain(a.clientAddr);
    await a.client.waitForLatestMap();
    expect(await rejection(a.write(0, bytes('late')))).toMatchObject({ code: 'EBLOCKLISTED' });
    const deadline = Date.now() + 30_000;
    while (a.lock.state !== 'shutdown' && Date.now() < deadline) await sleep(100);
    expect(a.lock.state).toBe('shutdown');
    expect(a.events).toEqual(['acquired', 'lost: blocklisted']);
    expect(await rejection(a.lock.acquire())).toMatchObject({ code: 'EBLOCKLISTED' });
  });

  it('is taken from a librbd that was killed, after its watch has gone and it was fenced', async () => {
    const peer = await librbd();
    await peer.call('write', 0, 'x');
    const [locker] = await lockers();
    const a = await ours();
    peer.kill();
    const started = Date.now();
    await a.write(0, bytes('a'));
    // Its last ping was up to 5 s before.
    expect(Date.now() - started).toBeGreaterThan(500 * WATCH_TIMEOUT_S);
    expect(a.events).toEqual([`fenced ${locker?.address}`, 'acquired']);
    expect(await blocklisted()).toContain(locker?.address);
    expect(a.lock.status().counters.broken).toBe(1);
  });

  it('is taken from us by librbd when we die, and what we still send changes nothing', async () => {
    const a = await ours();
    await a.write(0, bytes('a'));
    // The watch goes and does not come back; the client itself lives on and does not know.
    await a.watcher.close();
    const peer = await librbd();
    await peer.call('write', 0, 'librbd');
    expect(await blocklisted()).toContain(a.clientAddr);
    // As a packet that was held up on its way: past the lock and past the watch.
    const delayed = a.ioctx.operate(a.dataObject, [writeOp(0, bytes('delayed'))]);
    expect(await rejection(delayed)).toMatchObject({ code: 'EBLOCKLISTED' });
    await peer.call('close');
    const b = await connect();
    const data = await (await b.ioctx('rbd')).read(a.dataObject, 0, 6);
    expect(Buffer.from(data).toString()).toBe('librbd');
  });

  it('does not create the header of a removed image anew', async () => {
    const a = await ours();
    await cluster.rados('-p', 'rbd', 'rm', a.headerOid);
    expect(await rejection(a.write(0, bytes('a')))).toMatchObject({ code: 'ENOENT' });
    const objects = (await cluster.rados('-p', 'rbd', 'ls')).split('\n');
    expect(objects).not.toContain(a.headerOid);
  });

  it('is recognised when an earlier request of ours took it already', async () => {
    const a = await ours();
    const identity = {
      name: 'rbd_lock',
      type: LOCK_TYPE.EXCLUSIVE,
      cookie: `auto ${a.cookie()}`,
      tag: 'internal',
    };
    await mutate(a.ioctx, a.headerOid, [lockCall(identity)]);
    await a.write(0, bytes('a'));
    expect(a.lock.isOwner).toBe(true);
  });

  it('goes round 200 times among two of ours and librbd, all writing: no overlap, no lost write', async () => {
    const [a, b] = await Promise.all([ours(), ours()]);
    const peer = await librbd();
    let stop = false;
    let overlaps = 0;
    const last = new Map<number, string>();
    const lane = async (holder: LockHolder, who: string, block: number) => {
      for (let seq = 1; !stop; seq++) {
        const text = stamp(who, block, seq);
        if (seq % 8 === 0) {
          if (!(await holder.writeAndAsk(512 * block, bytes(text)))) overlaps++;
        } else {
          await holder.write(512 * block, bytes(text));
        }
        if (a.lock.isOwner && b.lock.isOwner) overlaps++;
        last.set(block, text);
      }
    };
    const lanes = [0, 1].flatMap((n) => [lane(a, 'a', 10 + n), lane(b, 'b', 20 + n)]);
    await peer.call('start', 30, 2);
    const started = Date.now();
    const handOvers = () =>
      [a, b].reduce((sum, { lock }) => {
        const { acquired, handedOver } = lock.status().counters;
        return sum + acquired + handedOver;
      }, 0);
    // Of three in a round, every hand-over but librbd's to itself is one of ours taking or giving.
    while (handOvers() < 300 && Date.now() - started < 100_000) await sleep(50);
    stop = true;
    await Promise.all(lanes);
    const theirs = await peer.call<Record<string, string>>('stop');
    expect(handOvers()).toBeGreaterThanOrEqual(300);
    expect(overlaps).toBe(0);
    expect(a.lock.status().counters.acquired).toBeGreaterThan(20);
    expect(b.lock.status().counters.acquired).toBeGreaterThan(20);
    for (const [block, text] of Object.entries(theirs)) last.set(Number(block), text);
    expect(last.size).toBe(6);
    await peer.call('close');
    const data = await a.ioctx.read(a.dataObject, 0, 512 * 40);
    for (const [block, text] of last) {
      const there = Buffer.from(data.subarray(512 * block, 512 * (block + 1))).toString();
      expect(there).toBe(text);
    }
    expect(await blocklisted()).not.toContain(a.clientAddr);
    expect(await blocklisted()).not.toContain(b.clientAddr);
  });
}
