// Goal: watches and notifications that real OSDs keep and real librados clients see: answers, losses, restarts, fences.
// Method: one cluster; librados, in Python and by its C interface, is the peer.

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';

import { loadKernels } from '../../src/kernels/load.js';
import { writeFullOp } from '../../src/messages/osd-op.js';
import { watchTimes } from '../../src/osd-client/watch-times.js';
import type { Watch, WatchOptions } from '../../src/osd-client/watch-types.js';
import { connectRados } from '../../src/rados/connect.js';
import type { IoContext } from '../../src/rados/io-context.js';
import type { RadosClient } from '../../src/rados/rados-client.js';
import { bytes, text, Watcher } from '../support/watch-scene.js';
import { CephCluster, describeCeph } from './support/ceph-cluster.js';
import { FaultyNetwork } from './support/faulty-network.js';
import { connectTo } from './support/rados-clients.js';

/** Says what it was told, in order; see librados-watcher.py. */
interface Said {
  watch?: string;
  notify?: string;
  notifier?: number;
  replies?: [number, string, string][];
  missed?: [number, string][];
  errno?: number;
  error?: number;
  removed?: boolean;
  failed?: string;
}

class Librados {
  readonly said: Said[] = [];
  readonly #process: ChildProcessWithoutNullStreams;

  constructor(cluster: CephCluster) {
    const script = join(import.meta.dirname, 'support', 'librados-watcher.py');
    this.#process = spawn('/usr/bin/python3', [script, cluster.confPath], {
      env: { ...process.env, CEPH_CONF: cluster.confPath },
    });
    this.#process.stderr.pipe(process.stderr);
    createInterface(this.#process.stdout).on('line', (line) => {
      this.said.push(JSON.parse(line) as Said);
    });
  }

  /** The first thing said that has this property, since the call. */
  async ask<K extends keyof Said>(command: string, key: K): Promise<Said> {
    const from = this.said.length;
    this.#process.stdin.write(`${command}\n`);
    return eventually(() => {
      const failed = this.said.slice(from).find((said) => said.failed !== undefined);
      if (failed) throw new Error(failed.failed);
      return this.said.slice(from).find((said) => said[key] !== undefined);
    });
  }

  pause(): void {
    this.#process.kill('SIGSTOP');
  }

  resume(): void {
    this.#process.kill('SIGCONT');
  }

  close(): void {
    this.resume();
    this.#process.kill('SIGKILL');
  }
}

async function eventually<T>(
  look: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 60_000,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`nothing after ${timeoutMs} ms: ${look.toString()}`);
    await sleep(20);
  }
}

async function portsOfOsds(cluster: CephCluster): Promise<Set<number>> {
  const dump = await cluster.ceph('osd', 'dump');
  const lines = dump.split('\n').filter((line) => line.startsWith('osd.'));
  return new Set(
    lines.flatMap((line) => [...line.matchAll(/:(\d+)\//g)].map(([, n]) => Number(n))),
  );
}

describeCeph('a watch on a real cluster', () => {
  let cluster: CephCluster;
  let client: RadosClient;
  let ioctx: IoContext;
  let peer: Librados;
  const watches: Watch[] = [];
  let objects = 0;
  const network = new FaultyNetwork();
  let osdPorts = new Set<number>();
  const isOsd = (port: number) => osdPorts.has(port);

  beforeAll(async () => {
    cluster = await CephCluster.start({
      osds: 3,
      size: 2,
      pools: [{ name: 'rbd', pgNum: 8, minSize: 1 }],
    });
    await cluster.addPool({ name: 'single', size: 1 });
    const { client: connected } = await connectRados(network.env, loadKernels(), {
      conf: cluster.confPath,
      mountTimeoutMs: 30_000,
    });
    client = connected;
    osdPorts = await portsOfOsds(cluster);
    ioctx = await client.ioctx('rbd');
    peer = new Librados(cluster);
  });
  afterEach(async () => {
    await Promise.all(watches.splice(0).map((watch) => watch.close()));
  });
  afterAll(async () => {
    peer?.close();
    client?.close();
    await cluster?.stop();
  });

  async function object(): Promise<string> {
    const oid = `watched-${++objects}`;
    await ioctx.operate(oid, [writeFullOp(bytes('x'))]);
    return oid;
  }

  async function watch(oid: string, options?: WatchOptions): Promise<Watcher> {
    const watcher = new Watcher();
    watcher.answer = ({ payload }) => bytes(`re:${text(payload)}`);
    watcher.watch = await ioctx.watch(oid, watcher, options);
    watches.push(watcher.watch);
    return watcher;
  }

  async function listWatchers(oid: string): Promise<string[]> {
    const listed = await cluster.rados('-p', 'rbd', 'listwatchers', oid);
    return [...listed.matchAll(/cookie=(\d+)/g)].map(([, cookie]) => cookie ?? '').sort();
  }

  it('W1 W29 is listed, hears what librados notifies, and answers', async () => {
    const oid = await object();
    const first = await watch(oid);
    const second = await watch(oid);
    const cookies = [first, second].map((each) => String(each.watch.cookie)).sort();
    expect(await listWatchers(oid)).toEqual(cookies);
    const { replies, missed, errno } = await peer.ask(`notify rbd ${oid} 5000 hello`, 'replies');
    expect({ missed, errno }).toEqual({ missed: [], errno: 0 });
    expect(replies?.map(([gid, cookie, answer]) => [BigInt(gid), cookie, answer]).sort()).toEqual(
      cookies.map((cookie) => [client.globalId, cookie, 're:hello']),
    );
    expect([first.notified, second.notified]).toEqual([['hello'], ['hello']]);
    await first.watch.close();
    expect(await listWatchers(oid)).toEqual([String(second.watch.cookie)]);
  });

  it('W29 W35 notifies librados and itself, and learns who did not answer', async () => {
    const oid = await object();
    const own = await watch(oid);
    const { watch: cookie = '' } = await peer.ask(`watch rbd ${oid}`, 'watch');
    const result = await ioctx.notify(oid, bytes('to all'), { timeoutSeconds: 5 });
    expect(result.missed).toEqual([]);
    expect(result.replies.map((reply) => String(reply.cookie)).sort()).toEqual(
      [cookie, String(own.watch.cookie)].sort(),
    );
    await eventually(() => peer.said.some(({ notify }) => notify === 'to all'));
    const heard = peer.said.find(({ notify }) => notify === 'to all');
    expect(BigInt(heard?.notifier ?? 0)).toBe(client.globalId);
    peer.pause();
    const from = Date.now();
    const late = await ioctx.notify(oid, bytes('missed'), { timeoutSeconds: 2 });
    expect(late.missed.map((each) => String(each.cookie))).toEqual([cookie]);
    expect(late.replies.map((reply) => String(reply.cookie))).toEqual([String(own.watch.cookie)]);
    expect(Date.now() - from).toBeGreaterThan(1900);
    peer.resume();
    expect(own.notified).toEqual(['to all', 'missed']);
  });

  it('is refused for a missing object', async () => {
    await expect(watch('no-such-object')).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(ioctx.notify('no-such-object', bytes(''))).rejects.toMatchObject({
      code: 'ENOENT',
    });
  });

  it('outlives its timeout several times over by pings', async () => {
    const oid = await object();
    const watcher = await watch(oid, { timeoutSeconds: 3 });
    await sleep(8000);
    expect(await listWatchers(oid)).toEqual([String(watcher.watch.cookie)]);
    expect(watcher.stale).toEqual([]);
    expect(watcher.watch.check()).toBeLessThan(1500);
    expect(watcher.watch.status()).toMatchObject({ losses: 0, reconnects: 0 });
  });

  it('W3 is made again after the OSD dropped it, and stale', async () => {
    const oid = await object();
    const watcher = await watch(oid, { timeoutSeconds: 6 });
    const old = watcher.watch.cookie;
    network.begin('frozen', isOsd);
    await eventually(async () => (await listWatchers(oid)).length === 0);
    // No I/O would have relied on it for a while.
    const { validThru } = watcher.watch;
    expect(performance.now() - validThru).toBeGreaterThan(watchTimes(6).stopMs);
    network.heal();
    await eventually(() => watcher.reregistered.length > 0 && watcher.watch.state === 'connected');
    expect(watcher.lost).toMatchObject([{ code: 'ENOTCONN' }]);
    expect(watcher.stale).toContain('lost');
    expect(watcher.watch.cookie).not.toBe(old);
    expect(await listWatchers(oid)).toEqual([String(watcher.watch.cookie)]);
    const { replies, errno } = await peer.ask(`notify rbd ${oid} 5000 again`, 'replies');
    expect([replies?.length, errno]).toEqual([1, 0]);
  });

  it('W8 is stale after a gap in which a notification came and went unseen', async () => {
    const oid = await object();
    const watcher = await watch(oid);
    network.begin('cut', isOsd);
    const { missed, errno } = await peer.ask(`notify rbd ${oid} 2000 unseen`, 'replies');
    expect([missed?.length, errno]).toEqual([1, -110]);
    expect(watcher.stale).toEqual([]);
    network.heal();
    await eventually(() => watcher.watch.state === 'connected');
    expect(watcher.stale).toEqual(['reconnected']);
    expect([watcher.notified, watcher.lost]).toEqual([[], []]);
    expect(watcher.watch.status()).toMatchObject({ generation: 2, losses: 0 });
    await watcher.watch.verify();
  });

  it('W6 hears after a reset what is still in progress', async () => {
    const oid = await object();
    const watcher = await watch(oid);
    network.begin('cut', isOsd);
    const asking = peer.ask(`notify rbd ${oid} 10000 waiting`, 'replies');
    await sleep(1500);
    network.heal();
    const { replies, errno } = await asking;
    expect([replies?.length, errno]).toEqual([1, 0]);
    expect(watcher.notified).toEqual(['waiting']);
  });

  it('W30 is registered once though the answer to its registration was lost', async () => {
    const oid = await object();
    network.begin('deaf', isOsd);
    const watching = watch(oid);
    await eventually(async () => (await listWatchers(oid)).length === 1);
    network.heal();
    network.reset(isOsd);
    const watcher = await watching;
    expect(await listWatchers(oid)).toEqual([String(watcher.watch.cookie)]);
    expect(watcher.watch.status()).toMatchObject({ losses: 0 });
    const { errno } = await peer.ask(`notify rbd ${oid} 5000 one`, 'replies');
    expect(errno).toBe(0);
    expect(watcher.notified).toEqual(['one']);
  });

  it('W11 survives the restart of the only OSD that has its object', async () => {
    const single = await client.ioctx('single');
    await single.operate('alone', [writeFullOp(bytes('x'))]);
    const watcher = new Watcher();
    watcher.watch = await single.watch('alone', watcher);
    watches.push(watcher.watch);
    const { cookie } = watcher.watch;
    const osd = watcher.watch.status().osd;
    await cluster.stopOsd(osd);
    await eventually(() => watcher.watch.state !== 'connected');
    await cluster.startOsd(osd);
    await eventually(() => watcher.watch.state === 'connected');
    expect(watcher.watch.cookie).toBe(cookie);
    expect([watcher.lost, watcher.stale.at(-1)]).toEqual([[], 'reconnected']);
    await cluster.settled();
    const { replies, errno } = await peer.ask('notify single alone 5000 back', 'replies');
    expect([replies?.length, errno]).toEqual([1, 0]);
  });

  it('W16 ends when its pool is deleted', async () => {
    const single = await client.ioctx('single');
    await single.operate('doomed', [writeFullOp(bytes('x'))]);
    const watcher = new Watcher();
    watcher.watch = await single.watch('doomed', watcher);
    const sure = '--yes-i-really-really-mean-it';
    await cluster.ceph('osd', 'pool', 'rm', 'single', 'single', sure);
    await eventually(() => watcher.failed.length > 0);
    expect(watcher.failed).toMatchObject([{ code: 'ENOENT' }]);
    expect(watcher.watch.state).toBe('failed');
  });

  it('W12 W36 follows its object to another primary, as does a notification under way', async () => {
    const oid = await object();
    const watcher = await watch(oid);
    const { watch: other } = await peer.ask(`watch rbd ${oid}`, 'watch');
    const before = watcher.watch.status().osd;
    peer.pause();
    const notifying = ioctx.notify(oid, bytes('moving'), { timeoutSeconds: 30 });
    await eventually(() => watcher.notified.length === 1);
    await cluster.killOsd(before);
    await cluster.ceph('osd', 'down', String(before));
    await eventually(() => watcher.watch.state === 'connected' && watcher.stale.length > 0);
    expect(watcher.watch.status().osd).not.toBe(before);
    peer.resume();
    const { replies, missed } = await notifying;
    expect(missed).toEqual([]);
    expect(replies.map(({ cookie }) => String(cookie)).sort()).toEqual(
      [String(watcher.watch.cookie), other].sort(),
    );
    expect(watcher.lost).toEqual([]);
    // Told by both primaries.
    expect(watcher.notified).toEqual(['moving', 'moving']);
    await cluster.startOsd(before);
    await cluster.settled();
  });

  it('W15 ends when its object is removed', async () => {
    const oid = await object();
    const watcher = await watch(oid);
    await peer.ask(`remove rbd ${oid}`, 'removed');
    await eventually(() => watcher.failed.length > 0);
    expect(watcher.failed).toMatchObject([{ code: 'ENOENT' }]);
    expect(watcher.watch.state).toBe('failed');
    await expect(watcher.watch.verify()).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('W38 is not lost in a pause that is shorter than its timeout', async () => {
    const oid = await object();
    const watcher = await watch(oid);
    await cluster.ceph('osd', 'pause');
    await client.waitForLatestMap();
    const { pings } = watcher.watch.status();
    await sleep(8000);
    expect(watcher.watch.status().pings).toBe(pings);
    await cluster.ceph('osd', 'unpause');
    await eventually(() => watcher.stale.length > 0 && watcher.watch.state === 'connected');
    expect([watcher.stale, watcher.lost]).toEqual([['reconnected'], []]);
  });

  it('W17 ends when its client is blocklisted', async () => {
    const oid = await object();
    using fenced = await connectTo(cluster);
    const watcher = new Watcher();
    watcher.watch = await (await fenced.ioctx('rbd')).watch(oid, watcher);
    await cluster.ceph('osd', 'blocklist', 'add', fenced.clientAddr);
    await eventually(() => watcher.failed.length > 0);
    expect(watcher.failed).toMatchObject([{ code: 'EBLOCKLISTED', errno: -108 }]);
    expect(watcher.watch.state).toBe('blocklisted');
    expect(await listWatchers(oid)).toEqual([]);
  });
});
