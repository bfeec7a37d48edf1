// Goal: whole images of ours and librbd's pass the exclusive lock round, on a real cluster and on the embedded one: every
// write that was acknowledged is there, a new size is seen, and closing waits for nobody.

import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import type { RadosClient } from '../../src/rados/rados-client.js';
import { Image, type OpenOptions } from '../../src/rbd/image.js';
import { rejection } from '../support/rejection.js';
import { describeCeph } from './support/ceph-cluster.js';
import { LibrbdClient } from './support/lock-clients.js';
import { sleep } from './support/processes.js';
import { connectTo } from './support/rbd-client.js';
import { SERVERS, type Server, type ServerKind } from './support/servers.js';

const MIB = 2 ** 20;
const HAND_OVERS = 200;

for (const server of SERVERS) {
  describeCeph(`images that share the exclusive lock on ${server.name}`, () => sharing(server));
}

function sharing(server: ServerKind): void {
  let cluster: Server;
  let one: RadosClient;
  let two: RadosClient;
  let name: string;
  let images = 0;

  beforeAll(async () => {
    cluster = await server.start({ osds: 2, pools: [{ name: 'rbd' }] });
    [one, two] = await Promise.all([connectTo(cluster), connectTo(cluster)]);
  });
  afterAll(async () => {
    one?.close();
    two?.close();
    await cluster?.stop();
  });
  beforeEach(async () => {
    name = `image${++images}`;
    await cluster.rbd('create', '--size', '64M', '--image-feature', 'exclusive-lock', name);
  });

  const open = (client: RadosClient, options: OpenOptions = {}) =>
    Image.open(client, { pool: 'rbd', name }, options);
  const counters = (image: Image) => {
    const counted = image.watchStatus()?.lock?.counters;
    if (!counted) throw new Error('no lock');
    return counted;
  };

  it(`passes it round ${HAND_OVERS} times under load, with nothing lost`, async () => {
    await using a = await open(one);
    await using b = await open(two);
    const peer = await LibrbdClient.open(cluster.confPath, name);
    let stop = false;
    const last = new Map<number, string>();
    const write = async (image: Image, who: string, block: number) => {
      for (let seq = 1; !stop; seq++) {
        const text = `${who}.${block}.${seq}`.padEnd(512);
        await image.write(512 * block, Buffer.from(text));
        last.set(block, text);
      }
    };
    /** Across objects, so that a release has to wait for more than one. */
    const large = async (image: Image, byte: number, at: number) => {
      for (let seq = 0; !stop; seq++) {
        await image.write(at, Buffer.alloc(9 * MIB, byte + (seq % 16)));
        last.set(-at, String(byte + (seq % 16)));
      }
    };
    const writers = [
      write(a, 'a', 10),
      write(a, 'a', 11),
      write(b, 'b', 20),
      write(b, 'b', 21),
      large(b, 32, 20 * MIB),
    ];
    await peer.call('start', 30, 2);
    const handedOver = () => counters(a).handedOver + counters(b).handedOver;
    const started = Date.now();
    while (handedOver() < HAND_OVERS && Date.now() - started < 90_000) await sleep(20);
    stop = true;
    await Promise.all(writers);
    const theirs = await peer.call<Record<string, string>>('stop');
    for (const [block, text] of Object.entries(theirs)) last.set(Number(block), text);
    await peer.call('close');
    peer.kill();
    expect(handedOver()).toBeGreaterThanOrEqual(HAND_OVERS);
    expect(counters(a).lost + counters(b).lost).toBe(0);
    expect(last.size).toBe(7);
    for (const [block, text] of last) {
      if (block < 0) {
        const there = await a.read(-block, 9 * MIB);
        expect(Buffer.from(there).equals(Buffer.alloc(9 * MIB, Number(text)))).toBe(true);
      } else {
        expect(Buffer.from(await a.read(512 * block, 512)).toString()).toBe(text);
      }
    }
    expect(await cluster.ceph('osd', 'blocklist', 'ls')).not.toContain(':0/');
  });

  it('shows the new owner the size that the old one gave the image', async () => {
    await using a = await open(one);
    await using b = await open(two);
    await a.write(0, Buffer.from('a'));
    await a.resize(80 * MIB);
    expect(await b.write(79 * MIB, Buffer.from('b'))).toBe(1);
    const peer = await LibrbdClient.open(cluster.confPath, name);
    await peer.call('write', 78 * MIB, 'c');
    await peer.call('close');
    peer.kill();
    expect(Buffer.from(await a.read(78 * MIB, 1)).toString()).toBe('c');
  });

  it('gives it back when it closes, at once', async () => {
    const a = await open(one);
    await a.write(0, Buffer.from('a'));
    const started = Date.now();
    await a.close();
    expect(Date.now() - started).toBeLessThan(20_000);
    expect((await cluster.rbd('lock', 'ls', name)).trim()).toBe('');
    await using b = await open(two);
    await b.write(0, Buffer.from('b'));
  });

  it('closes when the writes that wait for it are done, without delay', async () => {
    await using a = await open(one);
    await a.write(0, Buffer.from('a'));
    const b = await open(two);
    const started = Date.now();
    const write = b.write(0, Buffer.from('b'));
    await b.close();
    expect(await write).toBe(1);
    expect(Date.now() - started).toBeLessThan(20_000);
    expect(Buffer.from(await a.read(0, 1)).toString()).toBe('b');
  });

  it('keeps it when it was opened to do so, and tells who asks', async () => {
    await using a = await open(one, { lock: { transitions: 'manual' } });
    await a.acquireLock();
    await a.write(0, Buffer.from('a'));
    await using b = await open(two);
    expect(await rejection(b.write(0, Buffer.from('b')))).toMatchObject({ code: 'EROFS' });
    const bench = await cluster.run('rbd', [
      ...['bench', '--io-type', 'write', '--io-total', '4K', '--io-size', '4K', name],
    ]);
    expect(bench.code).not.toBe(0);
    expect(Buffer.from(await b.read(0, 1)).toString()).toBe('a');
  });
}
