// Goal: watches and notifications survive what happens to real OSDs and pools. Method: as watch.test.ts, on a cluster of
// real daemons that are stopped, killed and paused.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';

import { writeFullOp } from '../../src/messages/osd-op.js';
import { bytes } from '../support/watch-scene.js';
import { CephCluster, describeCeph } from './support/ceph-cluster.js';
import { eventually, WatchBench } from './support/watch-bench.js';

describeCeph('a watch on a cluster in trouble', () => {
  let cluster: CephCluster;
  let bench: WatchBench;

  beforeAll(async () => {
    cluster = await CephCluster.start({
      osds: 3,
      size: 2,
      pools: [
        { name: 'rbd', pgNum: 8, minSize: 1 },
        { name: 'single', size: 1 },
      ],
    });
    bench = await WatchBench.start(cluster);
  });
  afterEach(() => bench?.reset());
  afterAll(async () => {
    bench?.close();
    await cluster?.stop();
  });

  it('W11 survives the restart of the only OSD that has its object', async () => {
    const single = await bench.client.ioctx('single');
    await single.operate('alone', [writeFullOp(bytes('x'))]);
    const watcher = await bench.watch('alone', {}, single);
    const { cookie } = watcher.watch;
    const osd = watcher.watch.status().osd;
    await cluster.stopOsd(osd);
    await eventually(() => watcher.watch.state !== 'connected');
    await cluster.startOsd(osd);
    await eventually(() => watcher.watch.state === 'connected');
    expect(watcher.watch.cookie).toBe(cookie);
    expect([watcher.lost, watcher.stale.at(-1)]).toEqual([[], 'reconnected']);
    await cluster.settled();
    const { replies, errno } = await bench.peer.ask('notify single alone 5000 back', 'replies');
    expect([replies?.length, errno]).toEqual([1, 0]);
  });

  it('W16 ends when its pool is deleted', async () => {
    const single = await bench.client.ioctx('single');
    await single.operate('doomed', [writeFullOp(bytes('x'))]);
    const watcher = await bench.watch('doomed', {}, single);
    const sure = '--yes-i-really-really-mean-it';
    await cluster.ceph('osd', 'pool', 'rm', 'single', 'single', sure);
    await eventually(() => watcher.failed.length > 0);
    expect(watcher.failed).toMatchObject([{ code: 'ENOENT' }]);
    expect(watcher.watch.state).toBe('failed');
  });

  it('W12 W36 follows its object to another primary, as does a notification under way', async () => {
    const oid = await bench.object();
    const watcher = await bench.watch(oid);
    const { watch: other } = await bench.peer.ask(`watch rbd ${oid}`, 'watch');
    const before = watcher.watch.status().osd;
    await bench.peer.pause();
    const notifying = bench.ioctx.notify(oid, bytes('moving'), { timeoutSeconds: 30 });
    await eventually(() => watcher.notified.length === 1);
    await cluster.killOsd(before);
    await cluster.ceph('osd', 'down', String(before));
    await eventually(() => watcher.watch.state === 'connected' && watcher.stale.length > 0);
    expect(watcher.watch.status().osd).not.toBe(before);
    bench.peer.resume();
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

  it('W38 is not lost in a pause that is shorter than its timeout', async () => {
    const oid = await bench.object();
    const watcher = await bench.watch(oid);
    await cluster.ceph('osd', 'pause');
    await bench.client.waitForLatestMap();
    const { pings } = watcher.watch.status();
    await sleep(8000);
    expect(watcher.watch.status().pings).toBe(pings);
    await cluster.ceph('osd', 'unpause');
    await eventually(() => watcher.stale.length > 0 && watcher.watch.state === 'connected');
    expect([watcher.stale, watcher.lost]).toEqual([['reconnected'], []]);
  });
});
