// Goal: watches and notifications that OSDs keep and librados clients see: answers, losses, fences; the same on real Ceph
// and on the embedded cluster. Method: librados, in Python and by its C interface, is the peer.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';

import { packageFile } from '../../src/base/paths.js';
import { watchTimes } from '../../src/osd-client/watch-times.js';
import { bytes, Watcher } from '../support/watch-scene.js';
import { describeCeph } from './support/ceph-cluster.js';
import { stopInPlace } from './support/processes.js';
import { connectTo } from './support/rbd-client.js';
import { SERVERS, type Server, type ServerKind } from './support/servers.js';
import { eventually, WatchBench } from './support/watch-bench.js';

for (const server of SERVERS) {
  describeCeph(`a watch on ${server.name}`, () => watches(server));
}

function watches(server: ServerKind): void {
  let cluster: Server;
  let bench: WatchBench;

  beforeAll(async () => {
    cluster = await server.start({ osds: 3, pools: [{ name: 'rbd', pgNum: 8 }] });
    bench = await WatchBench.start(cluster);
  });
  afterEach(() => bench?.reset());
  afterAll(async () => {
    bench?.close();
    await cluster?.stop();
  });

  it('W1 W29 is listed, hears what librados notifies, and answers', async () => {
    const oid = await bench.object();
    const first = await bench.watch(oid);
    const second = await bench.watch(oid);
    const cookies = [first, second].map((each) => String(each.watch.cookie)).sort();
    expect(await bench.listWatchers(oid)).toEqual(cookies);
    const { replies, missed, errno } = await bench.peer.ask(
      `notify rbd ${oid} 5000 hello`,
      'replies',
    );
    expect({ missed, errno }).toEqual({ missed: [], errno: 0 });
    expect(replies?.map(([gid, cookie, answer]) => [BigInt(gid), cookie, answer]).sort()).toEqual(
      cookies.map((cookie) => [bench.client.globalId, cookie, 're:hello']),
    );
    expect([first.notified, second.notified]).toEqual([['hello'], ['hello']]);
    await first.watch.close();
    expect(await bench.listWatchers(oid)).toEqual([String(second.watch.cookie)]);
  });

  it('W29 W35 notifies librados and itself, and learns who did not answer', async () => {
    const oid = await bench.object();
    const own = await bench.watch(oid);
    const { watch: cookie = '' } = await bench.peer.ask(`watch rbd ${oid}`, 'watch');
    const result = await bench.ioctx.notify(oid, bytes('to all'), { timeoutSeconds: 5 });
    expect(result.missed).toEqual([]);
    expect(result.replies.map((reply) => String(reply.cookie)).sort()).toEqual(
      [cookie, String(own.watch.cookie)].sort(),
    );
    await eventually(() => bench.peer.said.some(({ notify }) => notify === 'to all'));
    const heard = bench.peer.said.find(({ notify }) => notify === 'to all');
    expect(BigInt(heard?.notifier ?? 0)).toBe(bench.client.globalId);
    await bench.peer.pause();
    const from = Date.now();
    const late = await bench.ioctx.notify(oid, bytes('missed'), { timeoutSeconds: 2 });
    expect(late.missed.map((each) => String(each.cookie))).toEqual([cookie]);
    expect(late.replies.map((reply) => String(reply.cookie))).toEqual([String(own.watch.cookie)]);
    expect(Date.now() - from).toBeGreaterThan(1900);
    bench.peer.resume();
    expect(own.notified).toEqual(['to all', 'missed']);
  });

  it('is refused for a missing object', async () => {
    await expect(bench.watch('no-such-object')).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(bench.ioctx.notify('no-such-object', bytes(''))).rejects.toMatchObject({
      code: 'ENOENT',
    });
  });

  it('outlives its timeout several times over by pings', async () => {
    const oid = await bench.object();
    const timeoutSeconds = 5;
    const watcher = await bench.watch(oid, { timeoutSeconds });
    await sleep(2.2 * 1000 * timeoutSeconds);
    expect(await bench.listWatchers(oid)).toEqual([String(watcher.watch.cookie)]);
    expect(watcher.stale).toEqual([]);
    expect(watcher.watch.check()).toBeLessThan(watchTimes(timeoutSeconds).stopMs);
    expect(watcher.watch.status()).toMatchObject({ losses: 0, reconnects: 0 });
  });

  it('W3 is made again after the OSD dropped it, and stale', async () => {
    const oid = await bench.object();
    const watcher = await bench.watch(oid, { timeoutSeconds: 6 });
    const old = watcher.watch.cookie;
    bench.network.begin('frozen', bench.isOsd);
    await eventually(async () => (await bench.listWatchers(oid)).length === 0);
    // No I/O would have relied on it for a while.
    const { validThru } = watcher.watch;
    expect(performance.now() - validThru).toBeGreaterThan(watchTimes(6).stopMs);
    bench.network.heal();
    await eventually(() => watcher.reregistered.length > 0 && watcher.watch.state === 'connected');
    expect(watcher.lost).toMatchObject([{ code: 'ENOTCONN' }]);
    expect(watcher.stale).toContain('lost');
    expect(watcher.watch.cookie).not.toBe(old);
    expect(await bench.listWatchers(oid)).toEqual([String(watcher.watch.cookie)]);
    const { replies, errno } = await bench.peer.ask(`notify rbd ${oid} 5000 again`, 'replies');
    expect([replies?.length, errno]).toEqual([1, 0]);
  });

  it('W8 is stale after a gap in which a notification came and went unseen', async () => {
    const oid = await bench.object();
    const watcher = await bench.watch(oid);
    bench.network.begin('cut', bench.isOsd);
    const { missed, errno } = await bench.peer.ask(`notify rbd ${oid} 2000 unseen`, 'replies');
    expect([missed?.length, errno]).toEqual([1, -110]);
    expect(watcher.stale).toEqual([]);
    bench.network.heal();
    await eventually(() => watcher.watch.state === 'connected');
    expect(watcher.stale).toEqual(['reconnected']);
    expect([watcher.notified, watcher.lost]).toEqual([[], []]);
    expect(watcher.watch.status()).toMatchObject({ generation: 2, losses: 0 });
    await watcher.watch.verify();
  });

  it('W6 hears after a reset what is still in progress', async () => {
    const oid = await bench.object();
    const watcher = await bench.watch(oid);
    bench.network.begin('cut', bench.isOsd);
    const asking = bench.peer.ask(`notify rbd ${oid} 10000 waiting`, 'replies');
    await sleep(1500);
    bench.network.heal();
    const { replies, errno } = await asking;
    expect([replies?.length, errno]).toEqual([1, 0]);
    expect(watcher.notified).toEqual(['waiting']);
  });

  it('W30 is registered once though the answer to its registration was lost', async () => {
    const oid = await bench.object();
    bench.network.begin('deaf', bench.isOsd);
    const watching = bench.watch(oid);
    await eventually(async () => (await bench.listWatchers(oid)).length === 1);
    bench.network.heal();
    bench.network.reset(bench.isOsd);
    const watcher = await watching;
    expect(await bench.listWatchers(oid)).toEqual([String(watcher.watch.cookie)]);
    expect(watcher.watch.status()).toMatchObject({ losses: 0 });
    const { errno } = await bench.peer.ask(`notify rbd ${oid} 5000 one`, 'replies');
    expect(errno).toBe(0);
    expect(watcher.notified).toEqual(['one']);
  });

  it('W15 ends when its object is removed', async () => {
    const oid = await bench.object();
    const watcher = await bench.watch(oid);
    await bench.peer.ask(`remove rbd ${oid}`, 'removed');
    await eventually(() => watcher.failed.length > 0);
    expect(watcher.failed).toMatchObject([{ code: 'ENOENT' }]);
    expect(watcher.watch.state).toBe('failed');
    await expect(watcher.watch.verify()).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('W17 ends when its client is blocklisted', async () => {
    const oid = await bench.object();
    using fenced = await connectTo(cluster);
    const watcher = new Watcher();
    watcher.watch = await (await fenced.ioctx('rbd')).watch(oid, watcher);
    await cluster.ceph('osd', 'blocklist', 'add', fenced.clientAddr);
    await eventually(() => watcher.failed.length > 0);
    expect(watcher.failed).toMatchObject([{ code: 'EBLOCKLISTED', errno: -108 }]);
    expect(watcher.watch.state).toBe('blocklisted');
    expect(await bench.listWatchers(oid)).toEqual([]);
  });

  it.each([
    ['W22 that is stopped for less than its timeout keeps its watch', 20, 2000, false],
    ['W23 that is stopped past its timeout finds out first, and registers again', 6, 8000, true],
  ])('in a process %s', async (_what, timeoutSeconds, stopMs, dropped) => {
    const oid = await bench.object();
    const script = packageFile('dist/test/ceph/support/watching-client.js');
    const args = [script, cluster.confPath, 'rbd', oid, String(timeoutSeconds)];
    const child = spawn(process.execPath, args);
    const events: string[][] = [];
    createInterface(child.stdout).on('line', (line) => events.push(JSON.parse(line) as string[]));
    const happened = (name: string) => events.some(([event]) => event === name);
    try {
      await eventually(() => happened('watching'));
      const before = await bench.listWatchers(oid);
      await stopInPlace(child.pid as number);
      await sleep(stopMs);
      expect(await bench.listWatchers(oid)).toEqual(dropped ? [] : before);
      const stopped = events.length;
      child.kill('SIGCONT');
      if (dropped) await eventually(() => happened('reregistered') && happened('trusted'));
      else await sleep(2000);
      const since = events.slice(stopped).map((event) => event.join(' '));
      const after = await bench.listWatchers(oid);
      if (dropped) {
        const trustedAgain = since.indexOf('trusted');
        expect(since.slice(0, trustedAgain)).toContain('lost ENOTCONN');
        // Nothing would have gone out by what was read before.
        const first = since.slice(0, since.indexOf('not trusted'));
        expect(first.filter((each) => each !== 'stale clock' && each !== 'suspect')).toEqual([]);
        expect(trustedAgain).toBeGreaterThan(since.findIndex((each) => each.startsWith('rereg')));
        expect(after).toHaveLength(1);
        expect(after).not.toEqual(before);
      } else {
        expect(since.filter((each) => each !== 'suspect' && each !== 'connected')).toEqual([]);
        expect(after).toEqual(before);
      }
    } finally {
      child.kill('SIGKILL');
    }
  });
}
